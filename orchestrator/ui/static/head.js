// What the header of a run says.

import { counted, el } from "./dom.js";

// What can be done with a run that does not go on, but for its buttons.
export const HINTS = {
  interrupted: "No process carries this run any more. Resume goes on with it: what has settled is not called again.",
  queued: "A worker begins it: orchestrator worker.",
  paused: "It waits for answers, and no process carries it: it goes on here when the last one is given.",
};

function leftOf(left) {
  const words = Object.entries(left).map(([name, number]) => `${number.toLocaleString("en", { maximumFractionDigits: 1 })} ${BUDGET[name] || name}`);
  return words.length ? `${words.join(", ")} left of the budget` : "";
}

const BUDGET = { calls: "calls", minutes: "minutes", result_mb: "MB of answers" };

// What a run does at this moment, and what is left of its budget.
export function doing(calls, left, isSilent) {
  if (isSilent) return "its process has said nothing for some seconds: it may be stopped, or very busy";
  return [calls ? `${counted(calls, "call")} in flight` : "", leftOf(left)].filter(Boolean).join(" · ");
}

// The task that failed first, as a link to it.
export function failureLine(page, { name, error }) {
  const task = page.within + name;
  return el("p", { class: "failure" }, "First failed: ", el("a", { class: "first", href: page.address({ task }) }, task), `: ${error.kind}: ${error.message}`);
}

// The levels above the one that is shown, each as a link.
export function levels(page) {
  const parts = page.within.split("/").slice(0, -1);
  return parts.map((part, index) => {
    const within = parts.slice(0, index + 1).join("/") + "/";
    return el("a", { href: page.address({ within, task: "" }) }, part);
  });
}

