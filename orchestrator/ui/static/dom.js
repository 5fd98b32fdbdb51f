// Elements and words. What others wrote becomes a text node or an attribute that is no code.

const SVG = "http://www.w3.org/2000/svg";

// Characters that are shown as nothing, or change how others are shown.
const UNSEEN = /(?![\n\t])[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Cs}\p{Zl}\p{Zp}\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\u{e0100}-\u{e01ef}]|(?! )\p{Zs}/gu;

const escaped = (character) =>
  Array.from({ length: character.length }, (_, at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, "0")}`).join("");

// The text with each of those written as a JSON escape, as the command line has it.
export const visible = (text) => String(text).replace(UNSEEN, escaped);

function fill(node, properties, children) {
  for (const [name, value] of Object.entries(properties || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") node[name] = value;
    else if (name === "title" || name === "aria-label") node.setAttribute(name, visible(value));
    else node.setAttribute(name, value === true ? "" : value);
  }
  const shown = children.flat(Infinity).filter((each) => each !== null && each !== undefined && each !== false);
  node.append(...shown.map((each) => (each instanceof Node ? each : visible(each))));
  return node;
}

export function el(tag, properties, ...children) {
  return fill(document.createElement(tag), properties, children);
}

export function svg(tag, properties, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

export function show(node, ...children) {
  const shown = children.flat(Infinity).filter((each) => each !== null && each !== undefined && each !== false);
  const isSame = shown.length === node.childNodes.length && shown.every((each, index) => each === node.childNodes[index]);
  if (isSame) return;
  const focused = document.activeElement;
  node.replaceChildren(...shown);
  if (focused !== document.activeElement && node.contains(focused)) focused.focus(); // what stays, but was moved
}

// A duration as the command line has it: 1.2 ms, 12 ms, 1.20 s; longer ones as 3 min 20 s.
export function took(ms) {
  if (ms === null || ms === undefined) return "";
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(2)} s`;
  const s = Math.round(ms / 1000);
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

const STAMP = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const DAY = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23" });

export const stamp = (seconds) => STAMP.format(seconds * 1000);
export const clock = (seconds) => CLOCK.format(seconds * 1000);

export function ago(seconds) {
  const s = Date.now() / 1000 - seconds;
  if (s < 5) return "now";
  if (s < 60) return `${Math.round(s)} s ago`;
  if (s < 3600) return `${Math.round(s / 60)} min ago`;
  if (s < 86_400) return `${Math.round(s / 3600)} h ago`;
  return DAY.format(seconds * 1000);
}

export function counted(number, what) {
  return `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;
}

export function chip(state, text) {
  return el("span", { class: `chip ${state}` }, el("i", { "aria-hidden": "true" }), text || state);
}

export function toast(text, isError) {
  const node = el("div", { class: isError ? "toast bad" : "toast" }, text);
  document.getElementById("toasts").append(node);
  setTimeout(() => node.remove(), isError ? 12_000 : 5000);
}

// A dialog with a form; resolves with what `read` gives, or null if it was left.
export function ask(title, body, verb, read, isDangerous) {
  return new Promise((resolve) => {
    const error = el("p", { class: "bad", role: "alert" });
    const done = (value) => {
      dialog.close();
      dialog.remove();
      resolve(value);
    };
    const submit = (event) => {
      event.preventDefault();
      try {
        done(read ? read() : true);
      } catch (wrong) {
        error.textContent = visible(wrong.message);
      }
    };
    const form = el(
      "form",
      { onsubmit: submit },
      el("h2", {}, title),
      el("div", { class: "body" }, body),
      error,
      el(
        "div",
        { class: "buttons" },
        el("button", { type: "button", onclick: () => done(null) }, verb ? "Back" : "Close"),
        verb && el("button", { class: isDangerous ? "danger" : "primary", autofocus: !isDangerous }, verb),
      ),
    );
    const dialog = el("dialog", { "aria-label": title, oncancel: () => done(null) }, form);
    document.body.append(dialog);
    dialog.showModal();
    form.querySelector(".body input, .body textarea, .body select")?.focus();
  });
}
