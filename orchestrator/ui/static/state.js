// What is known of a level of a run: its tasks, their states, and what follows from both.

import { counted } from "./dom.js";

export const STATES = ["running", "waiting", "ready", "pending", "success", "error", "cancelled", "skipped"];
const STOOD_MS = 2500;
const SETTLED = new Set(["success", "error", "cancelled", "skipped"]);

export class RunState {
  take(snapshot) {
    this.run = snapshot.run;
    this.within = snapshot.within;
    this.moment = snapshot.moment;
    this.tasks = new Map(snapshot.tasks.map((task) => [task.id, task]));
    this.order = snapshot.tasks.map((task) => task.id);
    this.dependents = new Map();
    for (const task of snapshot.tasks) {
      for (const needed of task.after) {
        if (!this.dependents.has(needed)) this.dependents.set(needed, []);
        this.dependents.get(needed).push(task.id);
      }
    }
    this.each = new Set(snapshot.tasks.filter((task) => task.each).map((task) => task.id));
    this.states = new Map(Object.entries(snapshot.states));
    this.questions = snapshot.questions;
    this.isSilent = snapshot.silent;
    this.setActive(snapshot);
    this.shown = new Map();
    this.counts = Object.fromEntries(STATES.map((state) => [state, 0]));
    for (const name of this.order) this.count(name);
  }

  setActive({ active, at_ms: atMs, calls, items, left }) {
    this.active = active || {};
    this.knowsActive = Boolean(active);
    if (atMs !== null && atMs !== undefined && atMs !== this.toldMs) {
      // The same may be told again: the clock goes back only if that of the run has stood still.
      const shown = this.toldMs === undefined ? 0 : this.now();
      this.toldMs = atMs;
      this.atMs = shown - atMs < STOOD_MS ? Math.max(atMs, shown) : atMs;
      this.atTime = performance.now();
    }
    this.calls = calls;
    this.going = items || {};
    this.left = left || {};
  }

  count(name) {
    const state = this.derived(name);
    const before = this.shown.get(name);
    if (state === before) return false;
    if (before) this.counts[before] -= 1;
    this.counts[state] += 1;
    this.shown.set(name, state);
    return true;
  }

  derived(name) {
    const known = this.states.get(name);
    if (known && SETTLED.has(known.status)) return known.status;
    const isRunning = this.run.status === "running";
    const active = this.active[name];
    if (isRunning && active) return active.calls || !active.waiting ? "running" : "waiting";
    if (this.questions.some((question) => this.taskOf(question.task) === name)) return "waiting";
    if (isRunning && known) return "running";
    const task = this.tasks.get(name);
    const isReady = task && task.after.every((needed) => SETTLED.has(this.states.get(needed)?.status));
    return isRunning && isReady && task.generation !== null ? "ready" : "pending";
  }

  // The task of this level that a path belongs to.
  taskOf(path) {
    if (!path.startsWith(this.within)) return null;
    return path.slice(this.within.length).split(/[[/]/)[0];
  }

  // Take what has changed; the names of the tasks that look different now.
  change(found) {
    const touched = new Set();
    const add = (name) => {
      if (!this.tasks.has(name)) return;
      touched.add(name);
      for (const dependent of this.dependents.get(name) || []) touched.add(dependent);
    };
    if (found.status) this.run.status = found.status;
    this.isSilent = found.silent;
    if ("active" in found) {
      Object.keys({ ...this.active, ...this.going }).forEach(add);
      this.setActive(found);
      Object.keys({ ...this.active, ...this.going }).forEach(add);
    }
    if (found.questions) {
      for (const question of [...this.questions, ...found.questions]) add(this.taskOf(question.task));
      this.questions = found.questions;
    }
    for (const [name, state] of Object.entries(found.states || {})) {
      this.states.set(name, state);
      add(name);
    }
    for (const name of touched) this.count(name);
    return touched;
  }

  state(name) {
    return this.shown.get(name);
  }

  // Milliseconds since the run began, as of now.
  now() {
    if (this.run.status !== "running") return this.run.duration_ms ?? this.end();
    if (this.atMs !== undefined) return this.atMs + performance.now() - this.atTime;
    return Date.now() - this.run.started * 1000;
  }

  // When the last task settled.
  end() {
    let last = 0;
    for (const state of this.states.values()) if (!state.reused) last = Math.max(last, (state.started_ms || 0) + (state.duration_ms || 0), state.last_ms || 0);
    return last;
  }

  // When a task began and how long it has taken, or null.
  span(name) {
    const known = this.states.get(name);
    if (known?.started_ms !== undefined) return [known.started_ms, known.duration_ms, known.waited_ms || 0];
    if (this.run.status !== "running" && known?.last_ms) return [known.began_ms, known.last_ms - known.began_ms, 0];
    const since = known?.began_ms ?? this.active[name]?.since_ms;
    if (since !== null && since !== undefined) return [since, Math.max(0, this.now() - since), 0];
    return null;
  }

  // The task that failed first, or null.
  firstFailure() {
    let first = null;
    for (const [name, state] of this.states) {
      if (state.status !== "error" || !state.error) continue;
      const at = (state.started_ms ?? Infinity) + (state.duration_ms || 0);
      if (!first || at < first.at) first = { name, at, error: state.error };
    }
    return first;
  }

  items(name) {
    const known = this.states.get(name);
    const going = this.run.status === "running" && !SETTLED.has(known?.status) && this.going[name];
    if (going) return `${going[0].toLocaleString("en")} of ${counted(going[1], "item")}`;
    const counts = known?.items;
    if (!counts) return "";
    const total = Object.values(counts).reduce((sum, each) => sum + each, 0);
    const bad = total - (counts.success || 0) - (counts.skipped || 0);
    if (!SETTLED.has(known.status)) return `${counted(total, "item")} settled`;
    return bad ? `${(total - bad).toLocaleString("en")} of ${total.toLocaleString("en")} succeeded` : counted(total, "item");
  }
}
