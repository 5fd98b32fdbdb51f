// What decided how long a run took, and what was waited for longest.

import { get, runPath } from "./api.js";
import { counted, el, show, took, toast } from "./dom.js";

export class Time {
  constructor(page) {
    this.page = page;
    this.scroll = el("div", { class: "scroll time", tabindex: "-1" }, el("p", { class: "nothing" }, "Looking…"));
    page.body.append(this.scroll);
    this.load();
  }

  end() {
    this.ended = true;
  }

  update() {}

  async load() {
    try {
      const found = await get(runPath(this.page.id, "story"));
      if (!this.ended) this.draw(found);
    } catch (error) {
      toast(error.message, true);
    }
  }

  draw(found) {
    if (!found.path.length) {
      show(this.scroll, el("p", { class: "nothing" }, this.page.state.run.status === "running" ? "No call was made yet." : "No call was made."));
      return;
    }
    show(
      this.scroll,
      el("h2", {}, "What decided how long it took"),
      el("div", { class: "steps" }, found.path.map((step) => this.step(step, found.duration_ms))),
      found.waits.length > 0 && [
        el("h2", {}, "The longest waits"),
        el("div", { class: "steps" }, found.waits.map((step) => this.step(step, found.duration_ms))),
        found.more > 0 && el("p", { class: "soft" }, `and ${counted(found.more, "shorter wait")}`),
      ],
      el("p", { class: "soft" }, "What other limits or another schedule would have saved: ", el("code", {}, `orchestrator explain ${this.page.id}`)),
    );
  }

  step(step, whole) {
    const bar = el("i", { class: step.waiting_for ? "wait" : "bar" });
    const from = Math.max(0, step.from_ms); // before the clock of the run began, it waited for its servers
    bar.style.left = `${(100 * from) / whole}%`;
    bar.style.width = `${Math.max(0.2, (100 * (step.to_ms - from)) / whole)}%`;
    return el(
      "a",
      { class: "step", href: this.page.address({ task: step.path }) },
      el("span", { class: "n soft" }, took(Math.max(0, step.from_ms))),
      el("span", { class: "words" }, step.words),
      el("span", { class: "track" }, bar),
    );
  }

  key(event) {
    const step = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 }[event.key];
    if (!step) return false;
    const links = [...this.scroll.querySelectorAll("a.step")];
    const at = links.indexOf(document.activeElement);
    links[Math.max(0, Math.min(links.length - 1, at < 0 ? 0 : at + step))]?.focus();
    return true;
  }
}
