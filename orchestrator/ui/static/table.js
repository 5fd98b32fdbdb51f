// The tasks as a table that can be sorted.

import { chip, el, show, took } from "./dom.js";
import { STATES } from "./state.js";
import { TaskRows } from "./tasks.js";

const COLUMNS = [
  ["task", "Task", null],
  ["state", "State", (state, name) => STATES.indexOf(state.state(name))],
  ["tool", "Calls", (state, name) => state.tasks.get(name).target],
  ["began", "Began", (state, name) => state.span(name)?.[0] ?? Infinity],
  ["took", "Took", (state, name) => -(state.span(name)?.[1] ?? -1)],
  ["waited", "Waited", (state, name) => -(state.span(name)?.[2] ?? -1)],
  ["tries", "Tries", (state, name) => -(state.states.get(name)?.attempts ?? -1)],
  ["note", "", null],
];

export class Table extends TaskRows {
  get kind() {
    return "table";
  }

  constructor(page) {
    super(page, 30);
  }

  heading() {
    const by = this.by || ["task", 1];
    const cell = ([key, text]) =>
      el(
        "button",
        {
          class: `c ${key}`,
          role: "columnheader",
          disabled: key === "note",
          "aria-sort": by[0] === key ? (by[1] > 0 ? "ascending" : "descending") : null,
          onclick: () => this.sortBy(key),
        },
        text,
        by[0] === key && key !== "note" ? (by[1] > 0 ? " ↓" : " ↑") : "",
      );
    show(this.headRow, COLUMNS.map(cell));
  }

  sortBy(key) {
    const [last, way] = this.by || ["task", 1];
    this.by = [key, last === key ? -way : 1];
    this.heading();
    this.filtered();
  }

  sorted(names) {
    const [key, way] = this.by || ["task", 1];
    const value = COLUMNS.find(([each]) => each === key)[2];
    if (!value) return way > 0 ? names : names.reverse();
    const keyed = names.map((name, index) => [value(this.page.state, name), index, name]);
    keyed.sort((a, b) => (a[0] < b[0] ? -way : a[0] > b[0] ? way : a[1] - b[1]));
    return keyed.map((each) => each[2]);
  }

  row(row) {
    const { state } = this.page;
    const known = row.item || state.states.get(row.name) || {};
    const span = this.spanOf(row);
    const shown = this.stateOf(row);
    const active = row.item ? null : state.active[row.name];
    const note = known.error?.message || known.reason || (shown === "waiting" && active?.waiting_for && `waits for ${active.waiting_for}`) || (shown === "running" && !state.each.has(row.name) && active?.progress) || state.items(row.item ? "" : row.name);
    return el(
      "div",
      this.attributes(row),
      el("span", { class: "c task" }, this.label(row)),
      el("span", { class: "c state" }, chip(shown)),
      el("span", { class: "c tool" }, row.item ? "" : state.tasks.get(row.name).target),
      el("span", { class: "c n began" }, span ? took(span[0]) : ""),
      el("span", { class: "c n took" }, span ? took(span[1]) : ""),
      el("span", { class: "c n waited" }, span && span[2] >= 1 ? took(span[2]) : ""),
      el("span", { class: "c n tries" }, known.attempts ?? active?.attempt ?? ""),
      el("span", { class: "c note", title: note || null }, note || ""),
    );
  }

  tick() {
    this.rows.renew((row) => this.stateOf(row) === "running");
  }
}
