// One run: its header, its views, and the task that is looked at.

import { Stream, get, runPath } from "./api.js";
import { actionsOf, act } from "./actions.js";
import { ago, chip, el, show, stamp, toast, took } from "./dom.js";
import { Graph } from "./graph.js";
import { HINTS, doing, failureLine, levels } from "./head.js";
import { Questions } from "./questions.js";
import { RunState, STATES } from "./state.js";
import { Table } from "./table.js";
import { TaskPanel } from "./task.js";
import { Time } from "./time.js";
import { Timeline } from "./timeline.js";

const VIEWS = { graph: Graph, timeline: Timeline, table: Table, time: Time };

export function runPage(main, parts, query) {
  const page = new RunPage(main, parts, query);
  page.load();
  return page;
}

class RunPage {
  constructor(main, parts, query) {
    this.id = parts[1];
    this.within = query.get("in") || "";
    this.state = new RunState();
    this.filter = { text: "", states: new Set() };
    this.head = el("div", { class: "run-head" });
    this.asked = el("div", { class: "questions" });
    this.forms = new Questions(this);
    this.search = el("input", {
      type: "search",
      placeholder: "Tasks and tools  ( / )",
      "aria-label": "Search tasks",
      oninput: () => this.filtered({ text: this.search.value.trim().toLowerCase() }),
    });
    this.states = el("div", { class: "filters", role: "group", "aria-label": "States" });
    this.tabs = el("div", { class: "tabs", role: "tablist" });
    this.tools = el("div", { class: "tools" });
    this.body = el("div", { class: "view", role: "tabpanel" });
    this.panel = new TaskPanel(this);
    const bar = el("div", { class: "bar" }, this.tabs, this.search, this.states, this.tools);
    const left = el("div", { class: "left" }, bar, this.body);
    main.append(el("div", { class: "run-page" }, this.head, this.asked, el("div", { class: "split" }, left, this.panel.node)));
    this.clock = setInterval(() => this.tick(), 250);
    this.go(parts, query);
  }

  // The address of a view or a task of this run.
  address({ view = this.view, task = this.task, within = this.within } = {}) {
    const query = new URLSearchParams();
    if (within) query.set("in", within);
    if (task) query.set("task", task);
    return `#/run/${encodeURIComponent(this.id)}/${view}${query.size ? `?${query}` : ""}`;
  }

  go(parts, query) {
    const view = parts[2] in VIEWS ? parts[2] : "graph";
    const task = query.get("task") || "";
    const [before, hadTask] = [this.view, this.task];
    this.view = view;
    this.task = task;
    if (!this.state.run) return;
    if (view !== before) this.drawView();
    if (task !== hadTask) {
      this.drawTabs();
      this.panel.open(task);
      this.shown.select?.(this.levelTask(task));
    }
  }

  levelTask(path) {
    return path && this.state.taskOf(path);
  }

  select(name) {
    location.hash = this.address({ task: name ? this.within + name : "" });
  }

  end() {
    clearInterval(this.clock);
    clearTimeout(this.timer);
    this.stream?.end();
    this.shown?.end?.();
    this.ended = true;
  }

  async load() {
    try {
      const found = await get(runPath(this.id), { within: this.within });
      if (this.ended) return;
      if (found.run.id !== this.id) {
        this.id = found.run.id; // it was the beginning of an id, or `last`
        history.replaceState(null, "", this.address());
      }
      const isFirst = !this.state.run;
      const tasks = this.state.order?.length;
      this.state.take(found);
      document.title = `${found.run.workflow} · ${found.run.status}`;
      this.draw();
      if (isFirst || tasks !== found.tasks.length) this.drawView();
      else this.shown.update(this.state.order);
      if (isFirst && this.task) this.panel.open(this.task);
      else this.panel.refresh();
      this.stream ||= new Stream(
        () => [runPath(this.id, "events"), { within: this.within, after: this.state.moment }],
        (change) => this.change(change),
        () => this.load(),
      );
    } catch (error) {
      if (this.state.run) toast(error.message, true);
      else show(this.head, el("p", { class: "nothing" }, error.message));
    }
  }

  change(found) {
    if (found.trouble) toast(found.trouble, true);
    if (!("status" in found) && !found.gone) return;
    if (found.gone) {
      toast("This run was deleted.", true);
      this.stream.end();
      return;
    }
    const before = this.state.run.status;
    const touched = this.state.change(found);
    if (found.reload || before !== this.state.run.status) {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.load(), 50);
    }
    if (found.questions) this.drawQuestions();
    this.drawCounts();
    this.shown.update([...touched]);
    if (this.task && touched.has(this.levelTask(this.task)) && found.states) this.panel.refresh();
  }

  // Draw what goes on by itself.
  tick() {
    if (this.state.run?.status !== "running" || document.hidden) return;
    this.elapsed.textContent = took(this.state.now());
    this.began.textContent = `began ${ago(this.state.run.started)}`;
    this.drawNow();
    this.shown.tick?.();
  }

  draw() {
    const { run } = this.state;
    this.elapsed = el("span", { class: "took" }, took(this.state.now()));
    this.progress = el("div", { class: "progress" });
    this.began = el("time", { title: stamp(run.started) }, `began ${ago(run.started)}`);
    this.doing = el("span", { class: "doing" });
    this.wrong = el("div", {});
    this.said = null;
    const crumbs = [el("a", { href: "#/" }, "Runs"), el("a", { href: this.address({ within: "", task: "" }) }, run.workflow)];
    if (this.within) crumbs.push(...levels(this));
    const about = [
      el("span", { class: "id", title: "The id of the run" }, run.id),
      this.began,
      this.doing,
      run.schedule && el("span", {}, run.schedule),
      run.resumed > 0 && el("span", {}, `resumed ${run.resumed}×`),
      run.origin && el("a", { href: `#/run/${run.origin}` }, `${run.kind} of ${run.origin.slice(0, 12)}`),
      // What was reused took no time here.
      !run.origin && run.speedup > 1 && el("span", { title: "against one call after the other" }, `${run.speedup.toFixed(1)}× as fast`),
    ];
    show(
      this.head,
      el("div", { class: "crumbs" }, crumbs),
      el("div", { class: "title" }, el("h1", {}, run.workflow), chip(run.status), this.elapsed, el("div", { class: "actions" }, actionsOf(this))),
      el("div", { class: "about" }, about),
      run.description && el("p", { class: "soft" }, run.description),
      HINTS[run.status] && el("p", { class: "soft" }, HINTS[run.status]),
      this.wrong,
      run.error && el("p", { class: "failure" }, `The run ended early: ${run.error.message}`),
      run.failed_here && el("p", { class: "failure" }, run.failed_here),
      this.progress,
    );
    this.drawQuestions();
    this.drawCounts();
    this.drawNow();
  }

  // What the run does at this moment, and what is left of its budget.
  drawNow() {
    const { calls, left, run, isSilent } = this.state;
    const text = run.status === "running" ? doing(calls, left, isSilent) : "";
    if (this.doing.textContent !== text) this.doing.textContent = text;
  }

  // What failed first, as soon as anything has.
  drawFailure() {
    const first = this.state.firstFailure();
    const said = first && `${first.name} ${first.error.kind} ${first.error.message}`;
    if (said === this.said) return;
    this.said = said;
    show(this.wrong, first && failureLine(this, first));
  }

  drawQuestions() {
    show(this.asked, this.forms.of());
  }

  drawCounts() {
    this.drawFailure();
    const { counts, order } = this.state;
    const total = order.length || 1;
    const parts = STATES.filter((state) => counts[state]).map((state) => {
      const part = el("i", { class: state, title: `${counts[state]} ${state}` });
      part.style.flexGrow = counts[state] / total;
      return part;
    });
    show(this.progress, parts);
    const button = (state) =>
      el(
        "button",
        {
          class: `filter ${state}`,
          "aria-pressed": String(this.filter.states.has(state)),
          onclick: () => this.toggle(state),
        },
        el("i", { "aria-hidden": "true" }),
        `${counts[state].toLocaleString("en")} ${state}`,
      );
    const focused = document.activeElement?.className;
    const shown = STATES.filter((state) => counts[state] || this.filter.states.has(state));
    show(this.states, shown.map(button));
    if (focused?.startsWith?.("filter ")) this.states.querySelector(`.${focused.replace(" ", ".")}`)?.focus();
  }

  toggle(state) {
    const { states } = this.filter;
    if (!states.delete(state)) states.add(state);
    this.filtered({});
    this.drawCounts();
  }

  filtered(change) {
    Object.assign(this.filter, change);
    this.shown?.filtered?.();
  }

  // Whether a task fits what is searched for.
  fits(name) {
    const { text, states } = this.filter;
    if (states.size && !states.has(this.state.state(name))) return false;
    if (!text) return true;
    return name.toLowerCase().includes(text) || this.state.tasks.get(name).target.toLowerCase().includes(text);
  }

  // The views as links, which keep the task that is looked at.
  drawTabs() {
    const tab = (view, index) =>
      el(
        "a",
        { role: "tab", href: this.address({ view }), "aria-selected": String(view === this.view), title: `Key ${index + 1}` },
        view[0].toUpperCase() + view.slice(1),
      );
    show(this.tabs, Object.keys(VIEWS).map(tab));
  }

  drawView() {
    this.shown?.end?.();
    this.drawTabs();
    show(this.body);
    show(this.tools);
    if (!this.state.order.length) {
      show(this.body, el("p", { class: "nothing" }, "The plan has no tasks yet."));
      this.shown = { update() {} };
      return;
    }
    this.shown = new VIEWS[this.view](this);
    this.shown.select?.(this.levelTask(this.task));
  }

  key(event) {
    if (!this.state.run) return false;
    const views = Object.keys(VIEWS);
    if (["1", "2", "3", "4"].includes(event.key)) {
      location.hash = this.address({ view: views[Number(event.key) - 1] });
      return true;
    }
    if (event.key === "Escape") {
      if (this.task) this.select("");
      else location.hash = this.within ? this.address({ within: "", task: "" }) : "#/";
      return true;
    }
    if (event.key === "a") {
      this.asked.querySelector("input, textarea, select, button")?.focus();
      return true;
    }
    return act(this, event.key) || this.shown.key?.(event) || false;
  }
}
