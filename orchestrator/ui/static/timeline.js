// The tasks as bars over time, and before each bar, lighter, how long it waited.

import { el, show, took } from "./dom.js";
import { TaskRows } from "./tasks.js";

const LABEL = 220;
const NARROW_LABEL = 120;
const LENGTH = 60; // of the words beside a bar
const EVERY_MS = 450; // all bars move while a run goes on
const STEPS = [1, 2, 5];

export class Timeline extends TaskRows {
  get kind() {
    return "timeline";
  }

  constructor(page) {
    page.zoomOfTime ??= 1;
    super(page, 24);
    let before = this.scroll.clientWidth;
    this.sized = new ResizeObserver(() => {
      if (before === this.scroll.clientWidth) return;
      before = this.scroll.clientWidth;
      this.heading();
      this.rows.redraw();
    });
    this.sized.observe(this.scroll);
    show(
      page.tools,
      el("button", { class: "quiet", title: "Smaller (-)", onclick: () => this.scale(1 / 1.5) }, "−"),
      el("button", { class: "quiet", title: "All of it (0)", onclick: () => this.scale(0) }, "Fit"),
      el("button", { class: "quiet", title: "Larger (+)", onclick: () => this.scale(1.5) }, "+"),
    );
  }

  end() {
    this.sized.disconnect();
    super.end();
  }

  get label_px() {
    return this.scroll.clientWidth < 600 ? NARROW_LABEL : LABEL;
  }

  measure() {
    this.end_ms = Math.max(this.page.state.now() || 0, this.page.state.end(), 1);
    this.width = Math.max(100, (this.scroll.clientWidth - this.label_px - 24) * this.page.zoomOfTime);
    this.perMs = this.width / this.end_ms;
  }

  heading() {
    this.measure();
    const room = this.label_px;
    const marks = [];
    const step = nice((this.end_ms * 110) / this.width);
    for (let at = 0; at <= this.end_ms; at += step) {
      const mark = el("span", { class: "mark" }, took(at).replace(/\.0+ /, " ").replace("0 ms", at ? "0 ms" : "0"));
      mark.style.left = `${room + at * this.perMs}px`;
      marks.push(mark);
    }
    show(this.headRow, marks);
    this.headRow.style.width = `${room + this.width}px`;
    this.scroll.style.setProperty("--label", `${room}px`);
    this.scroll.style.setProperty("--tick", `${step * this.perMs}px`);
    if (this.rows) this.rows.space.style.width = `${room + this.width}px`;
  }

  scale(factor) {
    this.page.zoomOfTime = factor ? Math.max(1, Math.min(200, this.page.zoomOfTime * factor)) : 1;
    this.heading();
    this.rows.redraw();
  }

  filtered() {
    this.heading();
    super.filtered();
  }

  sorted(names) {
    const keyed = names.map((name, index) => [this.page.state.span(name)?.[0] ?? Infinity, index, name]);
    keyed.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    return keyed.map((each) => each[2]);
  }

  // What is new changes the order of the rows: while the run goes on, all of it is drawn by `tick`.
  update(names) {
    this.isStale = true;
    if (this.page.state.run.status !== "running") this.tick();
    else super.update(names);
  }

  reorders() {
    return false;
  }

  row(row) {
    const span = this.spanOf(row);
    const parts = [];
    if (span) {
      const [began, lasted, waited] = span;
      // A wait for a server can be longer than that: the clock of the run stands still meanwhile.
      const before = Math.min(waited, began - this.ready(row));
      if (before * this.perMs >= 1) parts.push(this.bar("wait", began - before, before));
      const bar = this.bar("bar", began, lasted);
      bar.title = `${row.path}: ${took(lasted)}, from ${took(began)}${waited >= 1 ? `, waited ${took(waited)}` : ""}`;
      parts.push(bar);
      const end = (began + lasted) * this.perMs;
      const room = end + LENGTH < this.width ? end + 5 : began * this.perMs - LENGTH;
      if (room > 0) {
        const text = el("span", { class: "length" }, took(lasted));
        text.style.left = `${this.label_px + room}px`;
        parts.push(text);
      }
    }
    return el("div", this.attributes(row), el("span", { class: "label" }, this.label(row)), parts);
  }

  // When all had settled that a task comes after.
  ready(row) {
    const { state } = this.page;
    const spans = state.tasks.get(row.name).after.map((name) => state.span(name)).filter(Boolean);
    return Math.max(0, ...spans.map(([began, lasted]) => began + lasted));
  }

  bar(kind, began, lasted) {
    const node = el("i", { class: kind });
    node.style.left = `${this.label_px + began * this.perMs}px`;
    node.style.width = `${Math.max(2, lasted * this.perMs)}px`;
    return node;
  }

  tick() {
    const now = performance.now();
    if (this.page.state.run.status === "running" && now - (this.drawnAt || 0) < EVERY_MS) return;
    this.drawnAt = now;
    if (this.isStale) {
      this.isStale = false;
      this.filtered();
    } else {
      this.heading();
      this.rows.redraw();
    }
  }

  key(event) {
    const zoom = { "+": 1.5, "=": 1.5, "-": 1 / 1.5, 0: 0 }[event.key];
    if (zoom === undefined) return super.key(event);
    this.scale(zoom);
    return true;
  }
}

// A round number of milliseconds that is at least this.
function nice(ms) {
  const power = 10 ** Math.floor(Math.log10(Math.max(ms, 0.1)));
  return (STEPS.find((step) => step * power >= ms) || 10) * power;
}
