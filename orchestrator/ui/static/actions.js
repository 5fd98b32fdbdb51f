// What can be done to a run.

import { get, ownAddress, post, runPath } from "./api.js";
import { ask, el, toast } from "./dom.js";
import { fieldsOf } from "./form.js";

const KEYS = { c: "cancel", r: "resume", f: "fork" };

export function actionsOf(page) {
  const { can } = page.state.run;
  const button = (name, text, title, isMain) =>
    can[name] && el("button", { class: isMain ? "primary" : "", title, onclick: () => DO[name](page) }, text);
  const { has_result: hasResult, workflow } = page.state.run;
  const file = ownAddress(runPath(page.id, "report"));
  return [
    hasResult && el("a", { class: "button", href: file, download: `${workflow}.html`, title: "The run as one HTML file" }, "Report"),
    button("resume", "Resume", "Go on with it (r)", true),
    button("retry", "Retry", "A new run that makes again what did not succeed (r)", page.state.run.status !== "success"),
    button("fork", "Fork", "A new run with other inputs (f)"),
    button("cancel", "Cancel", "End it (c)"),
  ];
}

export function act(page, key) {
  const { can } = page.state.run;
  let name = KEYS[key];
  if (name === "resume" && !can.resume) name = "retry";
  if (!name || !can[name]) return false;
  DO[name](page);
  return true;
}

async function send(page, action, body, said) {
  try {
    const done = await post(runPath(page.id, action), body, () => toast("Not done yet: servers start, or the journal is busy."));
    toast(said(done));
    if (done.run !== page.id) location.hash = `#/run/${done.run}`;
    else page.load();
    return done;
  } catch (error) {
    toast(error.message, true);
    return null;
  }
}

async function goOn(page) {
  const text = "This page carries it then: what has settled is not called again, all other calls are made.";
  if (await ask("Go on with this run?", el("p", {}, text), "Resume")) await resume(page);
}

export function resume(page, unknown) {
  toast("Going on: its servers start.");
  return send(page, "resume", unknown ? { unknown } : {}, () => "This page carries the run now.");
}

async function cancel(page) {
  const text = "Its calls are cancelled on their servers, and the tasks of finally run.";
  if (!(await ask("Cancel this run?", el("p", {}, text), "Cancel the run", null, true))) return;
  await send(page, "cancel", {}, (done) => (done.status === "cancelling" ? "The run is asked to end." : `The run is ${done.status}.`));
}

async function retry(page) {
  const text = "A new run makes again what failed, was cancelled or was skipped for that. The rest is reused.";
  if (!(await ask("Retry this run?", el("p", {}, text), "Retry"))) return;
  await send(page, "retry", {}, () => "A new run has begun.");
}

export async function retryFrom(page, task) {
  const alone = el("input", { type: "checkbox", id: "alone" });
  const body = [
    el("p", {}, `A new run makes ${task} again, with all that depends on it, and what did not succeed.`),
    el("label", { for: "alone" }, alone, " not those that depend on it"),
  ];
  const chosen = await ask(`Retry from ${task}?`, body, "Retry", () => ({ [alone.checked ? "alone" : "again"]: [task] }));
  if (chosen) await send(page, "retry", chosen, () => "A new run has begun.");
}

async function fork(page) {
  try {
    const { schemas, values } = await get(runPath(page.id, "inputs"));
    const schema = { type: "object", properties: schemas };
    const fields = fieldsOf(schema, values);
    const isEmpty = !Object.keys(schemas).length;
    const text = isEmpty ? "The workflow has no inputs: all that succeeded is reused." : "Tasks whose arguments stay the same are reused.";
    const body = [el("p", { class: "soft" }, text), fields.node];
    const inputs = await ask("Fork this run", body, "Run it", () => fields.read());
    if (!inputs) return;
    const changed = Object.entries(inputs).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(values[name]));
    await send(page, "fork", { inputs: Object.fromEntries(changed) }, () => "A new run has begun.");
  } catch (error) {
    toast(error.message, true);
  }
}

const DO = { cancel, resume: goOn, retry, fork };
