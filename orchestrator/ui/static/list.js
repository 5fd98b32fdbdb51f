// The list of runs.

import { Stream, get } from "./api.js";
import { ago, chip, el, show, stamp, toast, took } from "./dom.js";

const STATES = ["queued", "running", "paused", "interrupted", "success", "partial", "failed", "cancelled"];

export function list(main, parts, query) {
  const page = new List(main, query);
  page.load();
  return page;
}

class List {
  constructor(main, query) {
    document.title = "Runs · orchestrator";
    this.asked = { text: query.get("text") || "", status: query.get("status") || "", workflow: query.get("workflow") || "" };
    this.runs = [];
    this.next = null;
    this.search = el("input", {
      type: "search",
      placeholder: "Workflow or id  ( / )",
      "aria-label": "Search runs",
      value: this.asked.text,
      oninput: () => this.ask({ text: this.search.value.trim() }),
    });
    this.workflow = el("select", { "aria-label": "Workflow", onchange: () => this.ask({ workflow: this.workflow.value }) });
    this.states = el("div", { class: "filters", role: "group", "aria-label": "Status" });
    this.rows = el("div", { class: "runs", role: "list" });
    this.more = el("button", { class: "more", onclick: () => this.loadMore() }, "Older runs");
    const bar = el("div", { class: "bar" }, this.search, this.workflow, this.states);
    main.append(el("div", { class: "page" }, bar, this.rows, this.more));
    this.draw();
    this.stream = new Stream(() => ["events", {}], () => this.later(), () => this.load());
    this.clock = setInterval(() => this.tick(), 5000);
  }

  go() {}

  end() {
    this.stream.end();
    clearInterval(this.clock);
    clearTimeout(this.timer);
    clearTimeout(this.delay);
  }

  ask(change) {
    Object.assign(this.asked, change);
    const given = Object.entries(this.asked).filter(([, value]) => value);
    history.replaceState(null, "", `#/${given.length ? `?${new URLSearchParams(given)}` : ""}`);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.load(), "text" in change ? 150 : 0);
    this.drawFilters();
  }

  later() {
    if (this.delay) return;
    this.delay = setTimeout(() => {
      this.delay = null;
      this.load();
    }, 500);
  }

  async load() {
    const asked = JSON.stringify(this.asked);
    try {
      const found = await get("runs", this.asked);
      if (asked !== JSON.stringify(this.asked)) return;
      const last = found.runs.at(-1);
      const older = last && this.loaded === asked ? this.runs.filter((run) => run.id < last.id) : [];
      this.runs = [...found.runs, ...older];
      if (!older.length) this.next = found.next;
      this.loaded = asked;
      this.workflows = found.workflows;
      this.draw();
    } catch (error) {
      toast(error.message, true);
    }
  }

  async loadMore() {
    try {
      const found = await get("runs", { ...this.asked, before: this.next });
      this.runs.push(...found.runs);
      this.next = found.next;
      this.draw();
    } catch (error) {
      toast(error.message, true);
    }
  }

  draw() {
    this.drawFilters();
    const focused = document.activeElement?.dataset?.run;
    show(this.rows, this.runs.map(row));
    if (focused) this.rows.querySelector(`[data-run="${CSS.escape(focused)}"]`)?.focus();
    if (!this.runs.length && this.loaded) show(this.rows, this.nothing());
    this.more.hidden = !this.next;
  }

  nothing() {
    const isFiltered = Object.values(this.asked).some(Boolean);
    const text = isFiltered ? "No run fits." : "No runs yet. They appear here as soon as one begins:";
    return el("div", { class: "nothing" }, el("p", {}, text), !isFiltered && el("code", {}, "orchestrator run workflow.json"));
  }

  drawFilters() {
    const button = (state) =>
      el(
        "button",
        {
          class: `filter ${state}`,
          "aria-pressed": String(this.asked.status === state),
          onclick: () => this.ask({ status: this.asked.status === state ? "" : state }),
        },
        el("i", { "aria-hidden": "true" }),
        state,
      );
    show(this.states, STATES.map(button));
    const names = this.workflows || [];
    if (document.activeElement !== this.workflow) {
      show(
        this.workflow,
        el("option", { value: "" }, "All workflows"),
        names.map((name) => el("option", { value: name }, name)),
      );
      this.workflow.value = this.asked.workflow;
    }
  }

  tick() {
    for (const node of this.rows.querySelectorAll("[data-at]")) node.textContent = ago(Number(node.dataset.at));
  }

  key(event) {
    const links = [...this.rows.querySelectorAll("a.run")];
    const at = links.indexOf(document.activeElement);
    const step = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 }[event.key];
    if (!step || !links.length) return false;
    const next = Math.max(0, Math.min(links.length - 1, at < 0 ? 0 : at + step));
    links[next].focus();
    return true;
  }
}

function row(run) {
  const lasts = run.duration_ms ?? (run.status === "running" ? Date.now() - run.started * 1000 : null);
  const notes = [];
  if (run.origin) notes.push(`${run.kind} of ${run.origin.slice(0, 12)}`);
  if (run.resumed) notes.push(`resumed ${run.resumed}×`);
  const [settled, total] = run.progress || [0, 0];
  const bar = run.progress && el("progress", { max: total || 1, value: settled, "aria-label": "settled tasks" });
  return el(
    "a",
    { class: "run", role: "listitem", href: `#/run/${run.id}`, "data-run": run.id },
    chip(run.status),
    el("span", { class: "name" }, run.workflow),
    el("span", { class: "note" }, bar, run.progress && `${settled} of ${total}`, notes.join(", ")),
    el("span", { class: "id", title: run.id }, run.id.slice(0, 16)),
    el("span", { class: "n took" }, took(lasts)),
    el("time", { class: "n", title: stamp(run.started), "data-at": run.started }, ago(run.started)),
  );
}
