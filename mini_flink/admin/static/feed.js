// The feed: one stream read with fetch, so that it can carry a token. A store that components subscribe to.
const KEEP = 900;
const SILENT_MS = 3000;
const TOKEN = "mini_flink.token";

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const headers = (more = {}) => {
  const token = sessionStorage.getItem(TOKEN);
  return token ? { ...more, Authorization: `Bearer ${token}` } : more;
};

// A request of the API; an answer that is not one of success is a Refused with the server's own words.
export const api = async (path, body) => {
  const options =
    body === undefined
      ? { headers: headers() }
      : {
          method: "POST",
          headers: headers({ "Content-Type": "application/json", "Idempotency-Key": crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}` }),
          body: JSON.stringify(body),
        };
  const response = await fetch(`api/v1/${path}`, options);
  const content = (response.headers.get("Content-Type") ?? "").includes("json") ? await response.json() : await response.text();
  if (response.status === 401) feed.change({ needsToken: true });
  if (!response.ok) {
    const words = content?.error?.message ?? content?.message ?? content?.detail ?? content?.error ?? content;
    throw new Refused(response.status, typeof words === "string" && words ? words : `the server answered ${response.status}`);
  }
  return content;
};

class Feed {
  state = { plan: null, tick: null, ticks: [], events: [], ops: {}, readOnly: false, link: "connecting", needsToken: false, paused: false, stale: false, age: null };
  #heard = null;
  #last = null;
  #watchers = new Set();
  #stop = null;
  #everyMs = 1000;
  #shown = 0;

  subscribe(watcher) {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  change(part) {
    this.state = { ...this.state, ...part };
    for (const watcher of this.#watchers) watcher(this.state);
  }

  start() {
    this.#run();
    setInterval(() => this.#look(), 500);
    let hiddenSince = null;
    document.addEventListener("visibilitychange", () => {
      hiddenSince = document.hidden ? Date.now() : null;
      if (!document.hidden) this.#wake?.();
    });
    setInterval(() => {
      if (hiddenSince && Date.now() - hiddenSince > 60_000) this.#stop?.abort();
    }, 5000);
  }

  setToken(token) {
    sessionStorage.setItem(TOKEN, token);
    this.change({ needsToken: false });
    this.#wake?.();
  }

  pause(paused) {
    this.change({ paused });
  }

  every(ms) {
    this.#everyMs = ms;
  }

  #wake = null;

  async #run() {
    for (;;) {
      try {
        await this.#read();
      } catch (error) {
        // A stream that ends, is refused or cannot be opened: the page says so and tries again.
        this.change({ link: error instanceof Refused && error.status === 401 ? "locked" : "lost" });
      }
      await new Promise((resolve) => {
        this.#wake = resolve;
        if (!document.hidden && !this.state.needsToken) setTimeout(resolve, 1000);
      });
    }
  }

  async #read() {
    this.#stop = new AbortController();
    const more = { Accept: "text/event-stream", ...(this.#last ? { "Last-Event-ID": this.#last } : {}) };
    const response = await fetch("api/v1/stream", { headers: headers(more), signal: this.#stop.signal, cache: "no-store" });
    if (response.status === 401) {
      this.change({ needsToken: true });
      throw new Refused(401, "a token is needed");
    }
    if (!response.ok) throw new Refused(response.status, "the stream was refused");
    this.change({ link: "live" });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) throw new Error("the stream ended");
      const parts = (rest + value.replaceAll("\r", "")).split("\n\n");
      rest = parts.pop();
      for (const part of parts) await this.#take(part);
    }
  }

  async #take(part) {
    let name = "message";
    const data = [];
    for (const line of part.split("\n")) {
      if (line.startsWith("event:")) name = line.slice(6).trim();
      else if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
      else if (line.startsWith("id:")) this.#last = line.slice(3).trim();
    }
    if (data.length) await this.#receive(name, JSON.parse(data.join("\n")));
  }

  async #receive(name, message) {
    if (name === "hello") {
      const ticks = (message.history ?? []).filter((each) => each.http);
      this.change({ readOnly: Boolean(message.read_only), events: message.events ?? [], ...(ticks.length ? { ticks } : {}) });
      // Operations begun elsewhere; without them the page still shows all else.
      api("ops").then(({ ops }) => ops.reverse().forEach((op) => this.keepOp(op)), () => {});
      await this.#getPlan(message.plan_hash);
    } else if (name === "tick") {
      this.#heard = Date.now();
      if (this.state.plan?.plan_hash !== message.plan_hash) await this.#getPlan(message.plan_hash);
      const known = this.state.ticks;
      if (known.length && known[known.length - 1].ts >= message.ts) return;
      const ticks = [...known, message].slice(-KEEP);
      if (this.state.paused || Date.now() - this.#shown < this.#everyMs - 300) {
        this.state.ticks = ticks;
        return;
      }
      this.#shown = Date.now();
      this.change({ tick: message, ticks, stale: false, age: 0 });
    } else if (name === "event") {
      this.change({ events: [...this.state.events, message].slice(-200) });
    } else if (name === "op") {
      this.keepOp(message);
    }
  }

  keepOp(op) {
    const old = this.state.ops[op.id] ?? {};
    this.change({ ops: { ...this.state.ops, [op.id]: { ...old, ...op } } });
  }

  async #getPlan(hash) {
    if (hash && this.state.plan?.plan_hash === hash) return;
    this.change({ plan: await api("plan") });
  }

  #look() {
    if (this.#heard === null) return;
    const silent = Date.now() - this.#heard;
    this.change({ stale: silent > SILENT_MS, age: Math.floor(silent / 1000) });
  }
}

export const feed = new Feed();
