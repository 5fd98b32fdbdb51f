// What the timeline and the table have in common: which rows there are, and the items below them.

import { get, runPath } from "./api.js";
import { el, toast } from "./dom.js";
import { Rows } from "./rows.js";

export class TaskRows {
  constructor(page, height) {
    this.page = page;
    this.opened = new Map(); // the items of the tasks that are unfolded
    this.scroll = el("div", { class: `scroll ${this.kind}` });
    this.headRow = el("div", { class: "headings", role: "row" });
    this.scroll.append(this.headRow);
    page.body.append(this.scroll);
    this.rows = new Rows(this.scroll, height, (row) => this.row(row));
    this.heading();
    this.filtered();
  }

  end() {
    this.rows.end();
  }

  filtered() {
    const { state } = this.page;
    const names = this.sorted(state.order.filter((name) => this.page.fits(name)));
    const list = [];
    for (const name of names) {
      list.push({ name, path: this.page.within + name });
      for (const item of this.opened.get(name) || []) {
        list.push({ name, item, path: `${this.page.within}${name}[${item.index}]` });
      }
    }
    this.rows.set(list);
  }

  sorted(names) {
    return names;
  }

  update(names) {
    if (this.reorders(names)) {
      this.filtered();
      return;
    }
    const touched = new Set(names);
    this.rows.renew((row) => touched.has(row.name));
  }

  reorders() {
    return this.page.filter.states.size > 0;
  }

  select(name) {
    this.selected = this.page.task;
    const index = this.rows.list.findIndex((row) => row.path === this.page.task);
    if (name && index >= 0) this.rows.see(index);
    this.rows.renew(() => true);
  }

  async unfold(name) {
    if (this.opened.delete(name)) {
      this.filtered();
      return;
    }
    try {
      const found = await get(runPath(this.page.id, "items"), { path: this.page.within + name });
      this.opened.set(name, this.withActive(name, found));
      this.filtered();
    } catch (error) {
      toast(error.message, true);
    }
  }

  withActive(name, settled) {
    const known = new Set(settled.map((item) => item.index));
    const active = Object.entries(this.page.state.active[name]?.items || {});
    const others = active
      .filter(([index]) => !known.has(Number(index)))
      .map(([index, [since, waiting]]) => ({ index: Number(index), status: waiting ? "waiting" : "running", started_ms: since ?? undefined }));
    return [...settled, ...others].sort((a, b) => a.index - b.index);
  }

  // The name of a row, and what unfolds its items.
  label(row) {
    const task = this.page.state.tasks.get(row.name);
    if (row.item) return el("span", { class: "name item" }, `[${row.item.index}]`);
    const isOpen = this.opened.has(row.name);
    const fold =
      task.each &&
      el(
        "button",
        {
          class: "fold",
          tabindex: "-1",
          "aria-expanded": String(isOpen),
          "aria-label": `Items of ${row.name}`,
          onclick: (event) => {
            event.stopPropagation();
            this.unfold(row.name);
          },
        },
        isOpen ? "▾" : "▸",
      );
    return el("span", { class: "name" }, fold, row.name);
  }

  stateOf(row) {
    return row.item ? row.item.status : this.page.state.state(row.name);
  }

  spanOf(row) {
    if (!row.item) return this.page.state.span(row.name);
    const { started_ms: began, duration_ms: lasted, waited_ms: waited } = row.item;
    if (began === undefined) return null;
    return [began, lasted ?? this.page.state.now() - began, waited || 0];
  }

  attributes(row) {
    const state = this.stateOf(row);
    return {
      class: `row ${state}${row.path === this.page.task ? " selected" : ""}`,
      role: "row",
      tabindex: "0",
      "data-key": row.path,
      "data-state": state,
      onclick: () => (location.hash = this.page.address({ task: row.path })),
    };
  }

  key(event) {
    const step = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1, PageDown: 20, PageUp: -20 }[event.key];
    if (step) this.rows.move(step);
    else if (event.key === "Home") this.rows.move(-this.rows.list.length);
    else if (event.key === "End") this.rows.move(this.rows.list.length);
    else return this.keyOfRow(event);
    return true;
  }

  keyOfRow(event) {
    const row = this.rows.list.find((each) => each.path === document.activeElement?.dataset?.key);
    if (!row) return false;
    if (event.key === "Enter") {
      location.hash = this.page.address({ task: row.path });
      return true;
    }
    const isOpen = this.opened.has(row.name);
    const isFold = (event.key === "ArrowRight" && !isOpen) || (event.key === "ArrowLeft" && isOpen);
    if (!isFold || !this.page.state.tasks.get(row.name).each) return false;
    this.unfold(row.name);
    return true;
  }
}
