// The task that is looked at, beside the views.

import { get, runPath } from "./api.js";
import { retryFrom } from "./actions.js";
import { chip, clock, el, show, took } from "./dom.js";
import { Questions } from "./questions.js";
import { valueTree } from "./value.js";

export class TaskPanel {
  constructor(page) {
    this.page = page;
    this.forms = new Questions(page);
    this.node = el("aside", { class: "task", hidden: true, "aria-label": "Task" });
  }

  async open(path) {
    this.path = path;
    this.node.hidden = !path;
    if (!path) {
      show(this.node);
      return;
    }
    await this.load();
  }

  async refresh() {
    if (this.path && !this.node.contains(document.activeElement)) await this.load();
  }

  async load() {
    const path = this.path;
    try {
      const found = await get(runPath(this.page.id, "task"), { path });
      if (path === this.path) this.draw(found);
    } catch (error) {
      show(this.node, this.top(path), el("p", { class: "nothing" }, error.message));
    }
  }

  top(title, state) {
    const close = el("button", { class: "quiet close", "aria-label": "Close (Esc)", title: "Close (Esc)", onclick: () => this.page.select("") }, "✕");
    return el("div", { class: "top" }, el("h2", {}, title), state && chip(state), close);
  }

  draw(found) {
    const kept = this.node.scrollTop;
    const isSame = this.drawn === found.path;
    this.drawn = found.path;
    const state = this.stateOf(found);
    show(
      this.node,
      this.top(found.path, state),
      this.facts(found, state),
      this.asked(found),
      this.failure(found),
      this.links(found),
      this.value(found, "arguments", "Arguments", found.each ? "Each item has its own: see the items in the table." : "They cannot be told: what they are made of is not there."),
      this.value(found, "output", "Output"),
      this.waits(found),
      this.events(found),
      this.value(found, "definition", "Definition"),
    );
    this.node.scrollTop = isSame ? kept : 0;
  }

  stateOf(found) {
    const settled = found.state?.status;
    if (settled) return settled;
    const name = this.page.state.taskOf(found.path);
    return found.within === this.page.within && found.item === null ? this.page.state.state(name) : "pending";
  }

  facts(found, state) {
    const known = found.state || {};
    const active = this.page.state.active[this.page.state.taskOf(found.path)];
    const name = this.page.state.taskOf(found.path);
    const isHere = found.within === this.page.within && found.item === null;
    const isGoing = isHere && (known.started_ms ?? null) === null;
    const span = isHere && this.page.state.span(name);
    const items = isHere && this.page.state.items(name);
    const rows = [
      ["Calls", found.target || found.kind],
      known.started_ms !== undefined && known.started_ms !== null && ["Began", `${took(known.started_ms)} after the run`],
      isGoing && span && ["Began", `${took(span[0])} after the run`],
      isGoing && span && ["So far", took(span[1])],
      found.each && items && ["Items", items],
      isGoing && !found.each && active?.progress && ["Progress", active.progress],
      known.duration_ms > 0 && ["Took", took(known.duration_ms)],
      known.waited_ms >= 1 && ["Waited", took(known.waited_ms)],
      known.attempts > 0 && ["Attempts", String(known.attempts)],
      known.reused && ["Reused", "from the run that this one comes from, with its times"],
      isGoing && active?.attempt > 1 && ["Attempt", String(active.attempt)],
      known.cached && ["Answered", "from the memo, without a call"],
      known.recovered && ["Recovered", "its fallback answered in place of the error"],
      known.reason && ["Reason", known.reason],
      state === "waiting" && active?.waiting_for && ["Waits for", active.waiting_for],
      found.after.length > 0 && ["After", found.after.join(", ")],
    ];
    return el(
      "dl",
      { class: "facts" },
      rows.filter(Boolean).map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]),
    );
  }

  asked(found) {
    const own = this.page.state.questions.filter((question) => {
      const where = question.item === null ? question.task : `${question.task}[${question.item}]`;
      return where === found.path || (found.item === null && question.task === found.path);
    });
    return this.forms.of(own);
  }

  failure(found) {
    const error = found.state?.error;
    if (!error) return null;
    return el(
      "section",
      { class: "failure" },
      el("h3", {}, error.kind),
      el("p", {}, error.message),
      found.words.length > 0 && [el("h4", {}, "The server's last words"), el("pre", {}, found.words.join("\n"))],
      found.error && el("details", {}, el("summary", {}, "The whole error"), valueTree(found.error, this.where(found, "error"), "Error")),
    );
  }

  where(found, part) {
    return { run: this.page.id, path: found.path, of: part };
  }

  links(found) {
    const { page } = this;
    const inside = found.inner && (!found.each || found.item !== null);
    return el(
      "div",
      { class: "links" },
      inside && el("a", { class: "button", href: page.address({ within: `${found.path}/`, task: "" }) }, "Tasks inside"),
      found.each && el("button", { onclick: () => this.items(found) }, "Items in the table"),
      found.item !== null && el("a", { class: "button", href: page.address({ task: found.path.replace(/\[\d+\]$/, "") }) }, "The whole task"),
      page.state.run.can.retry && !found.within && found.item === null && el("button", { onclick: () => retryFrom(page, found.id) }, "Retry from here"),
    );
  }

  items(found) {
    location.hash = this.page.address({ view: "table" });
    setTimeout(() => {
      const shown = this.page.shown;
      if (!shown.opened?.has(found.id)) shown.unfold?.(found.id);
    });
  }

  value(found, part, title, otherwise) {
    if (part === "output" && found.state?.status !== "success" && found.output?.t === "null") return null;
    if (found[part]) return valueTree(found[part], this.where(found, part), title);
    return otherwise ? el("section", { class: "value" }, el("h3", {}, title), el("p", { class: "soft" }, otherwise)) : null;
  }

  waits(found) {
    if (!found.waits.length) return null;
    const rows = found.waits.map((wait) => el("tr", {}, el("td", { class: "n" }, took(wait.since_ms)), el("td", { class: "n" }, took(wait.waited_ms)), el("td", {}, wait.for)));
    const head = el("tr", {}, el("th", { class: "n" }, "From"), el("th", { class: "n" }, "Waited"), el("th", {}, "For"));
    return el("section", {}, el("h3", {}, "Waits"), el("table", {}, el("thead", {}, head), el("tbody", {}, rows)));
  }

  events(found) {
    if (!found.events.length) return null;
    const rows = found.events.map((event) => el("tr", {}, el("td", { class: "n" }, event.at ? clock(event.at) : "earlier"), el("td", {}, saying(event))));
    return el("section", {}, el("h3", {}, "Events"), el("table", {}, el("tbody", {}, rows)));
  }
}

const WORDS = {
  began: "began to wait for its calls",
  intent: "is about to call",
  failure: "attempt failed",
  answer: "a call ended",
  question: "asked",
  reply: "was answered",
  inside: "began the tasks inside",
  task: "settled",
  item: "settled",
  added: "was added to the plan",
};

function saying(event) {
  const parts = [WORDS[event.kind] || event.kind];
  if (event.kind === "intent" || event.kind === "failure") parts[0] += ` (attempt ${event.number})`;
  if (event.fallback) parts.push("of its fallback");
  if (event.status) parts.push(event.status);
  if (event.refused) parts.push("refused");
  if (event.message) parts.push(event.message);
  if (event.error) parts.push(event.error);
  if (event.wait_s !== undefined) parts.push(`the next after ${took(event.wait_s * 1000)}`);
  return parts.join(": ");
}

