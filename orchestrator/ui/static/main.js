// Which page is shown, and the keys that all pages have.

import { ask, el, show } from "./dom.js";
import { list } from "./list.js";
import { runPage } from "./run.js";
import { serversPage } from "./servers.js";

const main = document.getElementById("main");
let page = null;
let where = "";

// An address: #/run/ID/VIEW?task=PATH&in=LEVEL
export function parsed(hash) {
  const [path, query] = hash.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").map(decodeURIComponent);
  return { parts, query: new URLSearchParams(query || "") };
}

function route() {
  const { parts, query } = parsed(location.hash);
  const [kind, run] = parts;
  const next = kind === "run" ? `run ${run} ${query.get("in") || ""}` : kind;
  if (page && next === where) {
    page.go(parts, query);
    return;
  }
  if (page) page.end();
  where = next;
  show(main);
  const pages = { run: runPage, servers: serversPage };
  page = (pages[kind] || list)(main, parts, query);
  for (const link of document.querySelectorAll("#top nav a")) {
    const isHere = link.dataset.page === (kind === "servers" ? "servers" : "list");
    if (isHere) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

const KEYS = [
  ["/", "search"],
  ["j k, ↓ ↑", "next, previous"],
  ["Enter", "open"],
  ["Esc", "close the task; back to the list"],
  ["1 2 3 4", "graph, timeline, table, where the time went"],
  ["← → ↓ ↑", "in the graph: to a dependency, a dependent, a neighbor"],
  ["+ − 0", "larger, smaller, all of it"],
  ["a", "answer the first question"],
  ["c", "cancel the run"],
  ["r", "resume or retry the run"],
  ["f", "fork the run with other inputs"],
  ["g", "the list of runs"],
  ["s", "the servers"],
];

function help() {
  const rows = KEYS.map(([key, what]) => el("tr", {}, el("td", {}, el("kbd", {}, key)), el("td", {}, what)));
  ask("Keys", el("table", { class: "keys" }, rows), "");
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const isTyping = event.target.matches("input, textarea, select");
  if (isTyping) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (page.key && page.key(event)) {
    event.preventDefault();
    return;
  }
  const own = {
    "?": help,
    g: () => (location.hash = "#/"),
    s: () => (location.hash = "#/servers"),
    "/": () => document.querySelector("input[type=search]")?.focus(),
  }[event.key];
  if (own) {
    event.preventDefault();
    own();
  }
}

document.getElementById("help").addEventListener("click", help);
document.addEventListener("keydown", onKey);
window.addEventListener("hashchange", route);
route();
