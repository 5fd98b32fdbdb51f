// The servers: what is known of each without starting any.

import { get } from "./api.js";
import { chip, counted, el, show, toast, took } from "./dom.js";

const EVERY_MS = 3000;

export function serversPage(main) {
  document.title = "Servers · orchestrator";
  const body = el("div", { class: "page servers" }, el("p", { class: "nothing" }, "Looking…"));
  const opened = new Set();
  let timer = null;
  let isOver = false;
  main.append(body);
  const load = async () => {
    clearTimeout(timer);
    if (isOver || document.hidden) return;
    try {
      draw(body, await get("servers"), opened);
    } catch (error) {
      toast(error.message, true);
    }
    timer = setTimeout(load, EVERY_MS);
  };
  document.addEventListener("visibilitychange", load);
  load();
  return {
    go() {},
    end() {
      isOver = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", load);
    },
    key(event) {
      const step = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 }[event.key];
      if (!step) return false;
      const rows = [...body.querySelectorAll("summary")];
      const at = rows.indexOf(document.activeElement);
      rows[Math.max(0, Math.min(rows.length - 1, at < 0 ? 0 : at + step))]?.focus();
      return true;
    },
  };
}

function draw(body, found, opened) {
  const focused = document.activeElement?.closest?.("details[data-server]")?.dataset.server;
  const { pool, servers } = found;
  const about = pool
    ? `The warm pool is up for ${took(pool.up_s * 1000)}, with ${counted(pool.clients, "client")}.`
    : "No warm pool is up: each run starts its servers. orchestrator up keeps them running.";
  show(
    body,
    el("p", { class: "soft" }, about, ` Times are those of the last ${found.days} days.`),
    found.error && el("p", { class: "failure" }, found.error),
    servers.length ? el("div", { class: "list" }, servers.map((server) => card(server, opened))) : el("p", { class: "nothing" }, "There is no servers.toml here, and no call in the journal."),
  );
  if (focused) body.querySelector(`details[data-server="${CSS.escape(focused)}"] > summary`)?.focus();
}

function card(server, opened) {
  const { warm, total } = server;
  const state = warm ? (warm.error ? "error" : "success") : "pending";
  const words = warm ? (warm.error ? "failed" : "ready") : "not kept";
  const flying = Math.max(server.in_flight, warm?.calls || 0);
  const details = el(
    "details",
    { "data-server": server.name, open: opened.has(server.name) },
    el(
      "summary",
      {},
      el("span", { class: "name" }, server.name),
      chip(state, words),
      el("span", { class: "flying" }, flying ? chip("running", `${counted(flying, "call")} in flight`) : ""),
      el("span", { class: "soft where" }, server.description || ""),
      el("span", { class: "n soft" }, total ? figures(total) : ""),
    ),
    el("div", { class: "inside" }, facts(server), tools(server)),
  );
  details.addEventListener("toggle", () => (details.open ? opened.add(server.name) : opened.delete(server.name)));
  return details;
}

const percent = (share) => (share === null ? "" : `${(share * 100).toFixed(share < 1 ? 1 : 0)} %`);

function figures(total) {
  return [counted(total.count, "call"), percent(total.success_rate), total.p50_ms !== null && `P50 ${took(total.p50_ms)}`].filter(Boolean).join(" · ");
}

function facts(server) {
  const { warm, limits, settings } = server;
  const rows = [
    server.description && ["Where", server.description],
    warm && ["Started in", took(warm.startup_ms)],
    warm?.protocol && ["Protocol", warm.protocol],
    warm && warm.tools !== null && ["Tools", String(warm.tools)],
    warm?.error && ["Error", warm.error],
    ...Object.entries(settings).map(([name, value]) => [name, [].concat(value).join(", ")]),
    ...Object.entries(limits).map(([name, value]) => [name, typeof value === "object" ? JSON.stringify(value) : String(value)]),
  ];
  return el("dl", { class: "facts" }, rows.filter(Boolean).map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

function tools(server) {
  if (!server.tools.length) return el("p", { class: "soft" }, "No tool is known: orchestrator lock keeps their definitions.");
  const head = ["Tool", "", "Calls", "Succeeded", "P50", "P95", "What it does"];
  const rows = server.tools.map(({ tool, total, description, read_only: reads, destructive }) =>
    el(
      "tr",
      {},
      el("td", { class: "id" }, tool.slice(server.name.length + 1)),
      el("td", { class: "soft" }, reads ? "reads" : destructive ? "destroys" : ""),
      el("td", { class: "n" }, total ? total.count.toLocaleString("en") : ""),
      el("td", { class: "n" }, total ? percent(total.success_rate) : ""),
      el("td", { class: "n" }, total ? took(total.p50_ms) : ""),
      el("td", { class: "n" }, total ? took(total.p95_ms) : ""),
      el("td", { class: "soft" }, description || ""),
    ),
  );
  const cells = head.map((text, index) => el("th", { class: index > 1 && index < 6 ? "n" : "" }, text));
  const others = !server.locked && el("p", { class: "soft" }, "Those that were called; orchestrator lock keeps the definitions of all.");
  return el("div", { class: "wide" }, el("table", {}, el("thead", {}, el("tr", {}, cells)), el("tbody", {}, rows)), others);
}
