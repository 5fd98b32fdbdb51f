// Requests to the server that this page came from, with the key that it gave to this page alone.

const KEPT = "orchestrator-key";
const ACT_MS = 120_000; // servers may have to start
const READ_MS = 30_000;
const SLOW_MS = 2000;
const STREAMS = 4; // of six connections that a browser makes to a server for all its tabs
const LOOK_MS = 2000;

// The link has become an address with the key behind the #, where no server sees it.
const given = /^#key=([\w-]+)$/.exec(location.hash);
if (given) {
  localStorage.setItem(KEPT, given[1]);
  history.replaceState(null, "", "#/");
}
const key = () => localStorage.getItem(KEPT) || "";

async function asked(path, options, most) {
  const headers = { "X-Orchestrator-Key": key(), ...options.headers };
  try {
    return await fetch(path, { ...options, headers, signal: AbortSignal.timeout(most) });
  } catch (error) {
    const isLate = error.name === "TimeoutError";
    throw new Error(isLate ? `There was no answer for ${most / 1000} s.` : "The page's server cannot be reached: is orchestrator ui still running?");
  }
}

async function answer(response) {
  const text = await response.text();
  let found = { error: text.trim() || response.statusText };
  try {
    found = JSON.parse(text);
  } catch {} // a refusal is a line of text
  if (!response.ok) throw new Error(found.error || response.statusText);
  return found;
}

export function address(path, query) {
  const given = Object.entries(query || {}).filter(([, value]) => value !== "" && value !== undefined && value !== null);
  const text = new URLSearchParams(given).toString();
  return `/api/${path}${text ? `?${text}` : ""}`;
}

// An address that a browser asks for by itself: of a file, or a stream.
export const ownAddress = (path, query) => address(path, { ...query, key: key() });

export async function get(path, query) {
  return answer(await asked(address(path, query), {}, READ_MS));
}

export async function post(path, body, onSlow) {
  const headers = { "Content-Type": "application/json" };
  const timer = setTimeout(() => onSlow?.(), SLOW_MS);
  try {
    return await answer(await asked(`/api/${path}`, { method: "POST", headers, body: JSON.stringify(body || {}) }, ACT_MS));
  } finally {
    clearTimeout(timer);
  }
}

export const runPath = (run, rest) => `runs/${encodeURIComponent(run)}${rest ? `/${rest}` : ""}`;

// Hold one of the few streams that all tabs have together; what ends it, or null if none is free.
async function slot() {
  for (let number = 0; number < STREAMS; number += 1) {
    const held = await new Promise((done) => {
      const hold = (lock) => new Promise((end) => (lock ? done(end) : (done(null), end())));
      navigator.locks.request(`stream-${number}`, { ifAvailable: true }, hold);
    });
    if (held) return held;
  }
  return null;
}

// Follow what changes while the page is seen: a hidden tab would hold one of six connections. Where
// other tabs hold as many as there may be, this one looks from time to time.
export class Stream {
  // `where` gives the path and query as of now; `onChange` receives what has changed; `onReturn`
  // is called when the page is seen again, before it goes on.
  constructor(where, onChange, onReturn) {
    this.where = where;
    this.onChange = onChange;
    this.onReturn = onReturn;
    this.visible = () => this.follow(true);
    document.addEventListener("visibilitychange", this.visible);
    this.follow(false);
  }

  async follow(isBack) {
    if (document.hidden || this.ended) {
      this.close();
      return;
    }
    if (this.source) return;
    if (isBack && this.onReturn) await this.onReturn();
    if (this.source || this.isAsking) return;
    this.isAsking = true;
    this.free = await slot();
    this.isAsking = false;
    if (this.ended || document.hidden) {
      this.close();
      return;
    }
    if (!this.free) {
      this.look();
      return;
    }
    this.source = new EventSource(ownAddress(...this.where()));
    this.source.onopen = () => told("");
    this.source.onerror = () => (this.source?.readyState === EventSource.CLOSED ? this.lost() : told("not connected"));
    this.source.onmessage = (event) => this.onChange(JSON.parse(event.data));
  }

  // The browser has given up: the server has ended, or is another one by now. Say so, and try again.
  async lost() {
    this.close();
    try {
      await get("runs", { text: "-" });
      this.follow(true);
    } catch (error) {
      told(error.message);
      this.timer = setTimeout(() => this.ended || this.lost(), LOOK_MS);
    }
  }

  look() {
    clearTimeout(this.timer);
    this.timer = setTimeout(async () => {
      if (this.ended || document.hidden) return;
      await this.onReturn?.();
      this.follow(false); // a stream may be free by now
    }, LOOK_MS);
  }

  close() {
    clearTimeout(this.timer);
    this.source?.close();
    this.free?.();
    this.source = null;
    this.free = null;
  }

  end() {
    this.ended = true;
    document.removeEventListener("visibilitychange", this.visible);
    this.close();
    told("");
  }
}

function told(text) {
  document.getElementById("link-state").textContent = text;
}
