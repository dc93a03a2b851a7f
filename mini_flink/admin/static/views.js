// The views beside Flow that only show: latency, processes, snapshots.
import { NONE, bytes, clock, count, micros, millis, percent, shorten, seconds, stateOf, text, took } from "./format.js";
import { html } from "./html.js";
import { Facts, Problem, State, Table, useAsked } from "./parts.js";
import { Chart, Spark, spanOf } from "./spark.js";

const RANGES = { "1m": "1 minute", "5m": "5 minutes", "15m": "15 minutes", "1h": "1 hour", "6h": "6 hours", "24h": "24 hours" };

export const Latency = ({ state, route, go }) => {
  const { plan, tick } = state;
  const range = RANGES[route.params.get("range")] ? route.params.get("range") : "15m";
  const heads = (tick?.stages ?? []).map((stage) => stage.id);
  const names = ["http.p50_us", "http.p95_us", "http.p99_us", ...heads.map((id) => `node.${id}.p99_us`)];
  const asked = useAsked(`history?range=${range}&series=${names.map(encodeURIComponent)}`, 2000);
  const line = (name) => asked.content?.series?.[name] ?? [];
  const span = spanOf(line("http.p99_us"));
  const nameOf = (id) => plan.nodes.find((node) => node.id === id)?.name ?? id;
  const row = (key, title, now, points, many) => ({
    key,
    cells: [html`<span class="long">${title}</span>`, took(now.p50_us, many), took(now.p95_us, many), took(now.p99_us, many), html`<${Spark} points=${points} span=${span} label=${`p99 of ${title} over ${RANGES[range]}`} width=${320} height=${36} />`],
  });
  const rows = tick
    ? [row("http", "Requests, end to end", tick.http, line("http.p99_us"), tick.http.rps), ...tick.stages.map((stage) => row(stage.id, `Stage ${shorten(nameOf(stage.id), 40)}`, stage, line(`node.${stage.id}.p99_us`), tick.nodes.find((node) => node.id === stage.id)?.in))]
    : [];
  return html`<h1>Latency</h1>
    <p class="buttons start"><label>Over <select value=${range} onChange=${(event) => go("latency", { range: event.target.value })}>${Object.entries(RANGES).map(([name, title]) => html`<option key=${name} value=${name}>${title}</option>`)}</select></label></p>
    ${asked.error ? html`<${Problem}>${asked.error}<//>` : ""}
    <h2>Requests, end to end</h2>
    <${Chart} series=${[["p99", line("http.p99_us")], ["p95", line("http.p95_us")], ["p50", line("http.p50_us")]]} span=${span} write=${micros} label=${`Latency of requests over ${RANGES[range]}: the figures of now are in the table below`} />
    <p class="times" aria-hidden="true"><span>${span.since ? clock(span.since) : ""}</span><span>${span.since ? clock(span.until) : ""}</span></p>
    <h2>Now, and by stage</h2>
    <p>Over the last second. A stage counts from a record's arrival at its worker until it is committed.</p>
    <${Table} caption="Percentiles" columns=${["Where", "p50", "p95", "p99", `p99 over ${RANGES[range]}`]} rows=${rows} empty="Waiting for the first second." />`;
};

// Who has nothing to get on with is not waited for; of one that is not there nothing is known.
const heard = (process) => (process.hb_ms === null && process.pid ? NONE : millis(process.hb_ms));

const unlessWorker = (process, words) => (process.role === "worker" ? words : NONE);

export const Processes = ({ state }) => {
  const rows = (state.tick?.procs ?? []).map((each) => ({
    key: each.id,
    cells: [
      each.role === "worker" || each.role === "gateway" ? `${each.role} ${each.index}` : each.role, html`<${State} state=${stateOf(each)} data-process=${each.id} />`, percent(each.cpu), bytes(each.rss), count(each.restarts), count(each.restarts_1h),
      each.last_exit ?? NONE, seconds(each.uptime_s), unlessWorker(each, heard(each)), unlessWorker(each, percent(each.busy)), unlessWorker(each, bytes(each.state_bytes)), each.pid ? text(each.pid) : NONE, html`<span class="long">${each.why || NONE}</span>`,
    ],
  }));
  const columns = ["Process", "State", "CPU", "Memory", "Restarts", "In 1 h", "Last exit", "Uptime", "Heard of", "Busy", "State size", "PID", "Why"];
  return html`<h1>Processes</h1>
    <p>CPU is of one core. "Heard of" is how long ago a worker has last got on with its work; – if it has none.</p>
    <${Table} caption="Processes" columns=${columns} rows=${rows} empty="Waiting for the first second." />`;
};

export const Snapshots = ({ state, open }) => {
  const asked = useAsked("snapshots", 5000);
  const snap = state.tick?.snap ?? {};
  const disk = state.tick?.disk ?? {};
  const more = asked.content?.more ?? 0;
  const rows = (asked.content?.snapshots ?? []).map((each) => ({
    key: each.id,
    cells: [text(each.id), text(each.kind), clock(Date.parse(each.created_at)), millis(each.duration_ms), bytes(each.total_bytes)],
  }));
  return html`<h1>Snapshots</h1>
    <${Facts} facts=${[
      ["Last good one", snap.id ? `${snap.id}, ${seconds(snap.age_s)} ago` : "none yet"],
      ["Took, size", snap.id ? `${millis(snap.dur_ms)}, ${bytes(snap.bytes)}` : NONE],
      ["Completed, failed", `${count(snap.completed)}, ${count(snap.failed)}${snap.failed_in_a_row > 0 ? ` (${snap.failed_in_a_row} in a row)` : ""}`],
      ["Every", snap.interval_s ? seconds(snap.interval_s) : "only when asked for"],
      ["Log to redo if all died now", snap.replay_s === null || snap.replay_s === undefined ? "?" : `about ${seconds(snap.replay_s)}`],
      ["Disk of the state", `${percent(disk.used)} full${disk.full_in_s ? `, no space in about ${seconds(disk.full_in_s)}` : ""}`],
      ["Kept in", text(asked.content?.location)],
      snap.last_failure && ["Last failure", snap.last_failure],
    ]} />
    <p><button onClick=${() => open("savepoint")}>Take a savepoint…</button></p>
    ${asked.error ? html`<${Problem}>${asked.error}<//>` : ""}
    <${Table} caption="Snapshots on disk" columns=${["Id", "Kind", "Created", "Took", "Size"]} rows=${rows} empty="No snapshots yet." />
    ${more > 0 ? html`<p class="soft">${count(more)} older ones: <code>mini_flink snapshot list</code> shows all.</p>` : ""}`;
};
