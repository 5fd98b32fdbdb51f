// The questions that a run waits with, and their answers.

import { post, runPath } from "./api.js";
import { resume } from "./actions.js";
import { el, toast, visible } from "./dom.js";
import { fieldsOf } from "./form.js";

const MOST = 3; // above the views; the others are beside their tasks

// The forms that are shown of a run; a question that stays keeps its own, with what was typed into it.
export class Questions {
  constructor(page) {
    this.page = page;
    this.cards = new Map();
  }

  // The questions with their forms; all of the run, or some.
  of(some) {
    const all = some || this.page.state.questions;
    const shown = some ? all : all.slice(0, MOST);
    const more = all.length - shown.length;
    const before = this.cards;
    this.cards = new Map(shown.map((question) => [JSON.stringify(question), question]));
    for (const [key, question] of this.cards) this.cards.set(key, before.get(key) ?? card(this.page, question));
    return [...this.cards.values(), more > 0 && el("p", { class: "soft" }, `and ${more} more, beside their tasks`)];
  }
}

function card(page, question) {
  const where = question.item === null ? question.task : `${question.task}[${question.item}]`;
  const isConfirmed = question.kind === "approve" || question.schema === null;
  const isUnknown = question.kind === "unknown";
  const fields = isUnknown || isConfirmed || isYesOrNo(question.schema) ? null : fieldsOf(question.schema);
  const error = el("p", { class: "bad", role: "alert" });
  const every = question.item !== null && el("input", { type: "checkbox" });
  const send = async (body) => {
    error.textContent = "";
    try {
      const done = await post(runPath(page.id, "answer"), { task: question.task, item: question.item, all_items: Boolean(every && every.checked), ...body });
      const goesOn = done.left === 0 && done.by_worker;
      toast(`${where} is answered.${goesOn ? " A worker goes on with the run." : ""}`);
      if (done.left === 0 && done.status !== "running" && !done.by_worker) await resume(page);
      else page.load();
    } catch (wrong) {
      error.textContent = visible(wrong.message);
    }
  };
  const give = (event) => {
    event.preventDefault();
    try {
      send({ value: fields.read() });
    } catch (wrong) {
      error.textContent = visible(wrong.message);
    }
  };
  const yes = isConfirmed ? "Approve" : "Yes";
  const button = (text, body, kind) => el("button", { type: "button", class: kind || "", onclick: () => send(body) }, text);
  const buttons = isUnknown
    ? [button("Make it again", { value: "repeat" }, "primary"), button("Fail its task", { value: "fail" }, "danger")]
    : fields
    ? [el("button", { class: "primary" }, "Answer"), el("button", { type: "button", onclick: () => send({ refuse: true }) }, "Refuse")]
    : [
        button(yes, { value: true }, "primary"),
        !isConfirmed && button("No", { value: false }),
        button("Refuse", { refuse: true }, isConfirmed ? "danger" : ""),
      ];
  return el(
    "form",
    { class: "question", onsubmit: give, "data-question": where },
    el("div", { class: "asks" }, el("a", { class: "name", href: page.address({ task: where }) }, where), ` ${VERBS[question.kind]}`),
    el("p", { class: "message" }, question.message),
    question.arguments && el("details", { open: true }, el("summary", {}, "It would be called with"), el("pre", {}, JSON.stringify(question.arguments, null, 2))),
    fields?.node,
    every && el("label", {}, every, " for all items, those to come, too"),
    error,
    el("div", { class: "buttons" }, buttons),
  );
}

const VERBS = { ask: "asks", approve: "asks for approval", elicitation: "has a question of its server", unknown: "may have been carried out" };

const isYesOrNo = (schema) => schema?.type === "boolean";
