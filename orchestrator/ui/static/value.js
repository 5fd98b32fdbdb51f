// A value of any size as a tree: folded where it is deep, in pages where it is long.

import { get, ownAddress, runPath } from "./api.js";
import { counted, el, toast } from "./dom.js";

const OPEN_DEPTH = 2;
const OPEN_MEMBERS = 30;

// `ask` is where parts are fetched: { run, path, of }.
export function valueTree(part, ask, title) {
  const body = el("div", { class: "tree" }, line(part, "", ask, 0, ""));
  const where = { path: ask.path, of: ask.of };
  const download = el("a", { class: "quiet", href: ownAddress(runPath(ask.run, "download"), where), download: `${ask.of}.json` }, "Download");
  const copy = el("button", { class: "quiet", onclick: () => copied(ask) }, "Copy");
  const head = el("h3", {}, title, el("span", { class: "size" }, size(part)), el("span", { class: "do" }, copy, download));
  return el("section", { class: "value", "data-part": ask.of }, head, body);
}

async function copied(ask) {
  try {
    const response = await fetch(ownAddress(runPath(ask.run, "download"), { path: ask.path, of: ask.of }));
    await navigator.clipboard.writeText(await response.text());
    toast("Copied.");
  } catch (error) {
    toast(`It could not be copied: ${error.message}`, true);
  }
}

function size(part) {
  if (part.t === "object") return counted(part.n, "member");
  if (part.t === "array") return counted(part.n, "item");
  return part.t === "string" && part.n > 100 ? counted(part.n, "character") : "";
}

// The place of a member, a JSON Pointer.
const below = (place, name) => `${place}/${String(name).replaceAll("~", "~0").replaceAll("/", "~1")}`;

function line(part, place, ask, depth, name) {
  const label = name === "" ? null : el("span", { class: "key" }, `${name}: `);
  if (part.t === "object" || part.t === "array") return branch(part, place, ask, depth, label);
  const node = el("div", { class: "leaf" }, label, leaf(part, place, ask));
  return node;
}

function leaf(part, place, ask) {
  if (part.t !== "string") return el("span", { class: part.t }, part.v);
  const text = el("span", { class: "string" }, part.v);
  const rest = el("button", { class: "more" }, "");
  const box = el("span", {}, text, rest);
  let end = (part.from || 0) + part.v.length;
  const told = () => {
    rest.textContent = `… ${(part.n - end).toLocaleString("en")} more characters`;
    rest.hidden = end >= part.n;
  };
  rest.addEventListener("click", async () => {
    const found = await fetched(ask, place, end);
    if (!found) return;
    text.append(found.v);
    end += found.v.length;
    told();
  });
  told();
  return box;
}

async function fetched(ask, place, offset) {
  try {
    return await get(runPath(ask.run, "value"), { path: ask.path, of: ask.of, at: place, offset });
  } catch (error) {
    toast(error.message, true);
    return null;
  }
}

function branch(part, place, ask, depth, label) {
  const [begin, end] = part.t === "object" ? ["{", "}"] : ["[", "]"];
  if (!part.n) return el("div", { class: "leaf" }, label, `${begin}${end}`);
  const inside = el("div", { class: "inside" });
  const count = counted(part.n, part.t === "object" ? "member" : "item");
  const details = el(
    "details",
    { open: depth < OPEN_DEPTH && part.n <= OPEN_MEMBERS && Boolean(part.e) },
    el("summary", {}, label, el("span", { class: "soft" }, `${begin} ${count} ${end}`)),
    inside,
  );
  const open = async () => {
    if (!details.open || inside.childElementCount) return;
    const whole = part.e ? part : await fetched(ask, place, 0);
    if (whole) members(inside, whole, place, ask, depth);
  };
  details.addEventListener("toggle", open);
  if (details.open) members(inside, part, place, ask, depth);
  return details;
}

function members(inside, part, place, ask, depth) {
  const from = part.from || 0;
  const lines = part.e.map((each, index) => {
    const [name, member] = part.t === "object" ? each : [from + index, each];
    return line(member, below(place, name), ask, depth + 1, name);
  });
  inside.append(...lines);
  const end = from + part.e.length;
  if (end >= part.n) return;
  const more = el("button", { class: "more" }, `… ${(part.n - end).toLocaleString("en")} more`);
  more.addEventListener("click", async () => {
    const found = await fetched(ask, place, end);
    if (!found) return;
    more.remove();
    members(inside, found, place, ask, depth);
  });
  inside.append(more);
}

