// What is known of the server: a store that views subscribe to, filled by the stream and by questions.
import { Share } from "./share.js";

const WINDOW_MS = 15 * 60_000;
const SILENT_MS = 3000;
const EVENTS = 200;
const TOKEN = "mini_flink.token";
const FIGURES = ["rps", "err_rate", "shed_rate", "inflight", "p50_us", "p95_us", "p99_us"];

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

const ask = async (path, options) => {
  try {
    return await fetch(`api/v1/${path}`, options);
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Refused(0, "the server does not answer");
  }
};

const keyOfRequest = () => crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;

// A request of the API; an answer that is not one of success is a Refused with the server's own words.
export const api = async (path, body) => {
  const more = { "Content-Type": "application/json", "Idempotency-Key": keyOfRequest() };
  const response = await ask(path, body === undefined ? { headers: headers() } : { method: "POST", headers: headers(more), body: JSON.stringify(body) });
  const isJson = (response.headers.get("Content-Type") ?? "").includes("json");
  const content = isJson ? await response.json() : await response.text();
  if (response.status === 401) feed.lock();
  if (!response.ok) throw new Refused(response.status, content?.detail ?? `the server answered ${response.status}`);
  return content;
};

class Feed {
  state = {
    plan: null, tick: null, points: [], turns: [], events: [], ops: {}, kinds: [],
    link: "connecting", locked: null, paused: false, stale: false, age: null,
  };
  #heard = null;
  #last = null;
  #hello = null;
  #watchers = new Set();
  #everyMs = 1000;
  #shown = 0;
  #share = new Share({
    read: (signal) => this.#read(signal),
    take: (name, message, id) => {
      this.#last = id ?? this.#last;
      void this.#receive(name, message);
    },
    greeting: () => (this.#hello ? [["hello", this.#hello, this.#last], ["tick", this.state.tick, this.#last]] : []),
  });

  subscribe(watcher) {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  change(part) {
    this.state = { ...this.state, ...part };
    for (const watcher of this.#watchers) watcher(this.state);
  }

  start() {
    void this.#share.run();
    setInterval(() => this.#look(), 500);
    document.addEventListener("visibilitychange", () => !document.hidden && this.change({}));
  }

  // The token is wanted: because there is none, or because the one that was given is none.
  lock() {
    const had = sessionStorage.getItem(TOKEN) !== null;
    sessionStorage.removeItem(TOKEN);
    this.#share.bar(true);
    if (had || this.state.locked === null) this.change({ locked: had ? "wrong" : "wanted" });
  }

  async unlock(token) {
    sessionStorage.setItem(TOKEN, token);
    try {
      await api("plan");
    } catch (error) {
      if (error.status === 401) return;
    }
    this.change({ locked: null });
    this.#share.bar(false);
  }

  pause(paused) {
    this.change({ paused });
  }

  every(ms) {
    this.#everyMs = ms;
  }

  keepOp(op) {
    const old = this.state.ops[op.id] ?? {};
    this.change({ ops: { ...this.state.ops, [op.id]: { ...old, ...op } } });
  }

  async #read(signal) {
    try {
      const more = { Accept: "text/event-stream", ...(this.#last ? { "Last-Event-ID": this.#last } : {}) };
      const response = await ask("stream", { headers: headers(more), signal, cache: "no-store" });
      if (response.status === 401) return this.lock();
      if (!response.ok) throw new Refused(response.status, "the stream was refused");
      await this.#pass("link", "live");
      await this.#readAll(response.body.pipeThrough(new TextDecoderStream()).getReader());
    } catch {
      // A stream that ends, is refused or cannot be opened: the page says so, and it is tried again.
      if (!signal.aborted) await this.#pass("link", "lost");
    }
  }

  async #readAll(reader) {
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
    if (data.length) await this.#pass(name, JSON.parse(data.join("\n")));
  }

  async #pass(name, message) {
    this.#share.tell(name, message, this.#last);
    await this.#receive(name, message);
  }

  async #receive(name, message) {
    if (name === "hello") await this.#begin(message);
    else if (name === "tick") await this.#tick(message);
    else if (name === "event") this.#event(message);
    else if (name === "op") this.keepOp(message);
    else if (name === "link") this.change({ link: message });
  }

  async #begin(hello) {
    this.#hello = hello;
    const turns = turnsOf(hello.history ?? []);
    this.change({ events: hello.events ?? [], turns });
    await this.#getPlan(hello.plan_hash);
    // What was before this page, and operations begun elsewhere; without them it still shows what is now.
    api(`history?range=15m&series=${FIGURES.map((name) => `http.${name}`)}`).then(({ series }) => this.#recall(series), () => {});
    api("ops").then(({ ops, kinds }) => {
      this.change({ kinds: kinds ?? this.state.kinds });
      ops.reverse().forEach((op) => this.keepOp(op));
    }, () => {});
  }

  #recall(series) {
    const past = series["http.rps"].map(([ts], at) => ({ ts, ...Object.fromEntries(FIGURES.map((name) => [name, series[`http.${name}`][at][1]])) }));
    const last = past.at(-1)?.ts ?? 0;
    this.change({ points: [...past, ...this.state.points.filter(({ ts }) => ts > last)] });
  }

  async #tick(tick) {
    if (!tick || (this.state.tick && this.state.tick.ts >= tick.ts)) return;
    this.#heard = Date.now();
    if (this.state.plan?.plan_hash !== tick.plan_hash) await this.#getPlan(tick.plan_hash);
    const points = this.state.points.filter(({ ts }) => ts > tick.ts - WINDOW_MS);
    points.push({ ts: tick.ts, ...tick.http });
    const turns = turnsOf([tick], this.state.turns).filter(({ ts }) => ts > tick.ts - WINDOW_MS);
    const known = { tick: this.state.paused ? this.state.tick : tick, points, turns };
    if (this.state.paused || document.hidden || Date.now() - this.#shown < this.#everyMs - 300) {
      Object.assign(this.state, known);
      return;
    }
    this.#shown = Date.now();
    this.change({ ...known, stale: false, age: 0 });
  }

  #event(event) {
    const { events } = this.state;
    if (event.number !== undefined && events.some((each) => each.number === event.number && each.ts === event.ts)) return;
    this.change({ events: [...events, event].slice(-EVENTS) });
  }

  async #getPlan(hash) {
    if (hash && this.state.plan?.plan_hash === hash) return;
    const plan = await api("plan").catch(() => null);
    if (plan) this.change({ plan });
  }

  #look() {
    if (this.#heard === null) return;
    const silent = Date.now() - this.#heard;
    const now = { stale: silent > SILENT_MS, age: Math.floor(silent / 1000) };
    if (now.stale !== this.state.stale || now.age !== this.state.age) this.change(now);
  }
}

// When the verdict has changed: limits that were crossed, shown among the events.
const turnsOf = (ticks, known = []) => {
  const turns = [...known];
  for (const { ts, verdict } of ticks) {
    const last = turns.at(-1);
    if (!verdict || (last && last.code === verdict.code && last.node === verdict.node)) continue;
    turns.push({ ts, code: verdict.code, node: verdict.node, kind: "verdict", severity: verdict.level, text: `${verdict.code}: ${verdict.text}`, isFirst: !last });
  }
  return turns;
};

export const feed = new Feed();
