// The graph of a level: drawn once, colored as states change.

import { get, runPath } from "./api.js";
import { el, show, svg, toast, visible } from "./dom.js";
import { STATES } from "./state.js";

const MARGIN = 16;
const PIECE = 100; // nodes that are drawn in one frame

const nextFrame = () => new Promise((done) => requestAnimationFrame(done));

export class Graph {
  constructor(page) {
    this.page = page;
    this.zoom = 1;
    this.scroll = el("div", { class: "scroll", tabindex: "-1" });
    page.body.append(this.scroll);
    this.load();
  }

  end() {
    this.ended = true;
  }

  async load(fold) {
    try {
      const found = await get(runPath(this.page.id, "graph"), { within: this.page.within, fold });
      if (this.ended) return;
      this.draw(found);
      this.fit();
      await this.drawAll();
    } catch (error) {
      toast(error.message, true);
    }
  }

  draw(found) {
    this.found = found;
    this.nodeOf = new Map();
    this.nodes = new Map();
    this.size = [found.width + 2 * MARGIN, found.height + 2 * MARGIN];
    for (const node of found.nodes) for (const name of node.tasks) this.nodeOf.set(name, node.id);
    this.edges = [];
    this.below = svg("g", {});
    this.above = svg("g", {});
    this.image = svg(
      "svg",
      { class: "graph", role: "group", "aria-label": "Graph of the tasks", viewBox: `${-MARGIN} ${-MARGIN} ${this.size[0]} ${this.size[1]}` },
      this.below,
      this.above,
    );
    show(this.scroll, this.image);
    const isLarge = found.tasks > 20;
    show(
      this.page.tools,
      isLarge &&
        el(
          "button",
          { class: "quiet", "aria-pressed": String(found.folded), onclick: () => this.load(found.folded ? "0" : "1") },
          "Fold",
        ),
      el("button", { class: "quiet", title: "Smaller (-)", onclick: () => this.scale(1 / 1.25) }, "−"),
      el("button", { class: "quiet", title: "All of it (0)", onclick: () => this.fit() }, "Fit"),
      el("button", { class: "quiet", title: "Larger (+)", onclick: () => this.scale(1.25) }, "+"),
    );
  }

  // Draw what there is in pieces, so that the page answers meanwhile.
  async drawAll() {
    const { found } = this;
    for (let at = 0; at < found.nodes.length; at += PIECE) {
      const nodes = found.nodes.slice(at, at + PIECE);
      this.above.append(...nodes.map((node) => this.box(node)));
      for (const node of nodes) this.color(this.nodes.get(node.id));
      if (at + PIECE < found.nodes.length) await nextFrame();
      if (this.ended || found !== this.found) return;
    }
    for (let at = 0; at < found.edges.length; at += 3 * PIECE) {
      this.below.append(...found.edges.slice(at, at + 3 * PIECE).map((edge) => this.edge(edge)));
      if (at + 3 * PIECE < found.edges.length) await nextFrame();
      if (this.ended || found !== this.found) return;
    }
    this.filtered();
    this.select(this.selected);
  }

  edge(edge) {
    const [x, y] = edge.tip;
    const tip = svg("path", { class: "tip", d: `M${x} ${y}l-8 -4v8z` });
    const node = svg("g", { class: "edge" }, svg("path", { d: edge.d }), tip);
    this.edges.push({ ...edge, node });
    return node;
  }

  box(node) {
    const title = svg("title", {}, "");
    const bar = svg("g", {});
    const isGroup = node.tasks.length > 1;
    const group = svg(
      "g",
      {
        class: "node",
        tabindex: "-1",
        role: "button",
        transform: `translate(${node.x} ${node.y})`,
        onclick: () => this.open(node.id),
      },
      title,
      isGroup && svg("rect", { class: "box back", x: 4, y: 4, width: node.width, height: node.height, rx: 6 }),
      svg("rect", { class: "box", width: node.width, height: node.height, rx: 6 }),
      svg("rect", { class: "mark", width: 5, height: node.height, rx: 2 }),
      svg("text", { class: "label", x: 14, y: 17 }, node.label),
      svg("text", { class: "below", x: 14, y: 32 }, node.below),
      bar,
    );
    this.nodes.set(node.id, { ...node, group, title, bar, isGroup });
    return group;
  }

  open(id) {
    const node = this.nodes.get(id);
    if (!node.isGroup) {
      this.page.select(id);
      return;
    }
    this.page.search.value = this.page.state.tasks.get(id).target;
    this.page.filter.text = this.page.search.value.toLowerCase();
    location.hash = this.page.address({ view: "table" });
  }

  update(names) {
    if (!this.nodes) return;
    const touched = new Set(names.map((name) => this.nodeOf.get(name)));
    for (const id of touched) {
      const node = this.nodes.get(id);
      if (node) this.color(node);
    }
  }

  color(node) {
    const { state } = this.page;
    if (!node.isGroup) {
      const shown = state.state(node.id);
      node.group.dataset.state = shown;
      const items = state.items(node.id);
      const more = items ? `, ${items}` : "";
      const text = `${node.id}: ${shown}${more}`;
      if (node.said !== text) {
        node.said = text;
        node.title.textContent = visible(`${text}\n${state.tasks.get(node.id)?.target || ""}`);
        node.group.setAttribute("aria-label", visible(text));
        if (items) node.group.querySelector(".below").textContent = items;
      }
      return;
    }
    const counts = {};
    for (const name of node.tasks) counts[state.state(name)] = (counts[state.state(name)] || 0) + 1;
    const present = STATES.filter((each) => counts[each]);
    const text = present.map((each) => `${counts[each]} ${each}`).join(", ");
    if (node.said === text) return;
    node.said = text;
    node.title.textContent = visible(`${node.label}: ${text}`);
    node.group.setAttribute("aria-label", visible(`${node.label}: ${text}`));
    node.group.dataset.state = present[0];
    let x = 14;
    const room = node.width - 28;
    show(
      node.bar,
      present.map((each) => {
        const width = (room * counts[each]) / node.tasks.length;
        const part = svg("rect", { class: `part ${each}`, x, y: node.height - 5, width, height: 3 });
        x += width;
        return part;
      }),
    );
  }

  filtered() {
    if (!this.nodes) return;
    const { text, states } = this.page.filter;
    const isOn = Boolean(text || states.size);
    for (const node of this.nodes.values()) {
      node.group.classList.toggle("dim", isOn && !node.tasks.some((name) => this.page.fits(name)));
    }
  }

  select(name) {
    this.selected = name;
    if (!this.nodes) return;
    const id = name ? this.nodeOf.get(name) : null;
    for (const node of this.nodes.values()) {
      node.group.classList.toggle("selected", node.id === id);
      node.group.setAttribute("tabindex", "-1");
    }
    for (const edge of this.edges) edge.node.classList.toggle("near", id && (edge.from === id || edge.to === id));
    const first = this.nodes.get(id) || this.nodes.values().next().value;
    if (!first) return;
    first.group.setAttribute("tabindex", "0");
    if (id) first.group.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  scale(factor) {
    this.zoom = Math.max(0.1, Math.min(3, this.zoom * factor));
    this.image.setAttribute("width", this.size[0] * this.zoom);
    this.image.setAttribute("height", this.size[1] * this.zoom);
  }

  fit() {
    const { clientWidth, clientHeight } = this.scroll;
    this.zoom = 1;
    const whole = Math.min(clientWidth / this.size[0], clientHeight / this.size[1]);
    this.scale(Math.max(0.6, Math.min(1.25, whole)));
  }

  key(event) {
    if (!this.nodes) return false;
    const zoom = { "+": 1.25, "=": 1.25, "-": 1 / 1.25 }[event.key];
    if (zoom) this.scale(zoom);
    else if (event.key === "0") this.fit();
    else return this.move(event);
    return true;
  }

  move(event) {
    const own = [...this.nodes.values()].find((node) => node.group === document.activeElement);
    const arrows = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "j", "k"];
    if (!own) {
      if (!arrows.includes(event.key)) return false;
      (this.nodes.get(this.nodeOf.get(this.selected)) || this.nodes.values().next().value).group.focus();
      return true;
    }
    if (event.key === "Enter" || event.key === " ") {
      this.open(own.id);
      return true;
    }
    if (!arrows.includes(event.key)) return false;
    const next = this.neighbor(own, event.key);
    if (next) next.group.focus();
    return true;
  }

  neighbor(own, key) {
    if (key === "ArrowLeft" || key === "ArrowRight") {
      const isLeft = key === "ArrowLeft";
      const near = this.edges
        .filter((edge) => (isLeft ? edge.to : edge.from) === own.id)
        .map((edge) => this.nodes.get(isLeft ? edge.from : edge.to));
      return near.sort((a, b) => Math.abs(a.y - own.y) - Math.abs(b.y - own.y))[0];
    }
    const down = key === "ArrowDown" || key === "j" ? 1 : -1;
    const column = [...this.nodes.values()].filter((node) => node.x === own.x && (node.y - own.y) * down > 0);
    return column.sort((a, b) => Math.abs(a.y - own.y) - Math.abs(b.y - own.y))[0];
  }
}
