// Rows of which only those are made that are seen: 10,000 tasks cost no more than 50.

import { el } from "./dom.js";

const SPARE = 8; // rows above and below

export class Rows {
  // `make` makes the element of a row of the list; `height` is that of each in pixels.
  constructor(scroll, height, make) {
    this.scroll = scroll;
    this.height = height;
    this.make = make;
    this.list = [];
    this.made = new Map();
    this.space = el("div", { class: "rows" });
    scroll.append(this.space);
    this.onScroll = () => this.draw();
    scroll.addEventListener("scroll", this.onScroll, { passive: true });
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(scroll);
  }

  end() {
    this.observer.disconnect();
  }

  set(list) {
    this.list = list;
    this.space.style.height = `${list.length * this.height}px`;
    this.redraw();
  }

  // Make all that is seen anew.
  redraw() {
    const focused = this.space.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    for (const node of this.made.values()) node.remove();
    this.made.clear();
    this.draw();
    if (focused) this.byKey(focused)?.focus({ preventScroll: true });
  }

  byKey(key) {
    return this.space.querySelector(`[data-key="${CSS.escape(key)}"]`);
  }

  // Make the rows anew that fit, if they are seen.
  renew(fits) {
    const focused = this.space.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    for (const [index, node] of this.made) {
      if (index >= this.list.length || !fits(this.list[index])) continue;
      const fresh = this.placed(index);
      node.replaceWith(fresh);
      this.made.set(index, fresh);
    }
    if (focused && document.activeElement?.dataset?.key !== focused) this.byKey(focused)?.focus({ preventScroll: true });
  }

  placed(index) {
    const node = this.make(this.list[index], index);
    node.style.top = `${index * this.height}px`;
    node.style.height = `${this.height}px`;
    node.setAttribute("aria-rowindex", String(index + 1));
    return node;
  }

  draw() {
    const top = Math.max(0, this.scroll.scrollTop - this.space.offsetTop);
    const first = Math.max(0, Math.floor(top / this.height) - SPARE);
    const last = Math.min(this.list.length, Math.ceil((top + this.scroll.clientHeight) / this.height) + SPARE);
    for (const [index, node] of this.made) {
      if (index < first || index >= last) {
        node.remove();
        this.made.delete(index);
      }
    }
    for (let index = first; index < last; index += 1) {
      if (this.made.has(index)) continue;
      const node = this.placed(index);
      this.made.set(index, node);
      this.space.append(node);
    }
  }

  // Focus the row that is so many after the one that has it.
  move(step) {
    const focused = document.activeElement;
    const at = [...this.made].find(([, node]) => node === focused)?.[0];
    const from = at ?? (step < this.list.length ? -step : 0); // without one the first, or the last for End
    const next = Math.max(0, Math.min(this.list.length - 1, from + step));
    this.see(next);
    this.made.get(next)?.focus({ preventScroll: true });
  }

  see(index) {
    const top = index * this.height;
    const { scrollTop, clientHeight } = this.scroll;
    const above = this.space.offsetTop;
    if (top < scrollTop) this.scroll.scrollTop = top;
    else if (top + this.height + above > scrollTop + clientHeight) {
      this.scroll.scrollTop = top + this.height + above - clientHeight;
    }
    this.draw();
  }
}
