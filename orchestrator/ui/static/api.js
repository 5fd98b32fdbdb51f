// Requests to the server that this page came from.

async function answer(response) {
  const found = await response.json().catch(() => ({ error: response.statusText }));
  if (!response.ok) throw new Error(found.error || response.statusText);
  return found;
}

export function address(path, query) {
  const given = Object.entries(query || {}).filter(([, value]) => value !== "" && value !== undefined && value !== null);
  const text = new URLSearchParams(given).toString();
  return `/api/${path}${text ? `?${text}` : ""}`;
}

export async function get(path, query) {
  return answer(await fetch(address(path, query)));
}

export async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  return answer(await fetch(`/api/${path}`, { method: "POST", headers, body: JSON.stringify(body || {}) }));
}

export const runPath = (run, rest) => `runs/${encodeURIComponent(run)}${rest ? `/${rest}` : ""}`;

// Follow what changes while the page is seen: a hidden tab would hold one of six connections.
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
    if (this.source || this.ended || document.hidden) return;
    this.source = new EventSource(address(...this.where()));
    this.source.onopen = () => told("");
    this.source.onerror = () => told("not connected");
    this.source.onmessage = (event) => this.onChange(JSON.parse(event.data));
  }

  close() {
    if (this.source) this.source.close();
    this.source = null;
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
