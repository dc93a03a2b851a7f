// The views beside Flow: latency, processes, snapshots, dead letters, keys.
import { useEffect, useState } from "preact/hooks";
import { Operate } from "./actions.js";
import { api, feed } from "./feed.js";
import { NONE, bytes, clock, count, micros, percent, processState, rate, seconds, text } from "./format.js";
import { html } from "./html.js";
import { Table } from "./parts.js";
import { Spark } from "./spark.js";

const Heading = ({ children }) => html`<h1>${children}</h1>`;

// An answer of the API, asked for again every so often. A route that is not there is told apart from an error.
const useAsked = (path, everyMs) => {
  const [asked, setAsked] = useState({ content: null, error: null, absent: false });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let live = true;
    const ask = () =>
      !feed.state.paused &&
      api(path).then(
        (content) => live && setAsked({ content, error: null, absent: false }),
        (error) => live && setAsked({ content: null, error: error.message, absent: error.status === 404 || error.status === 501 }),
      );
    ask();
    const timer = everyMs ? setInterval(ask, everyMs) : null;
    return () => {
      live = false;
      clearInterval(timer);
    };
  }, [path, turn]);
  return { ...asked, again: () => setTurn(turn + 1) };
};

export const Latency = ({ state }) => {
  const { plan, tick, ticks } = state;
  const name = (id) => plan.nodes.find((node) => node.id === id)?.name ?? id;
  const row = (key, title, now, pick) => ({
    key,
    cells: [title, micros(now.p50_us), micros(now.p95_us), micros(now.p99_us), html`<${Spark} values=${ticks.map((each) => pick(each)?.p99_us)} label=${`p99 of ${title} over time`} />`],
  });
  const rows = tick
    ? [
        row("http", "Requests, end to end", tick.http, (each) => each.http),
        ...tick.stages.map((stage) => row(stage.id, `Stage ${name(stage.id)}`, stage, (each) => each.stages?.find((one) => one.id === stage.id))),
      ]
    : [];
  return html`<${Heading}>Latency<//>
    <p>Measured over the last second. A stage counts from a record's arrival at its worker until it is committed. ? is "nothing to measure".</p>
    <${Table} caption="Percentiles" columns=${["Where", "p50", "p95", "p99", "p99 over time"]} rows=${rows} empty="Waiting for the first second." />`;
};

export const Processes = ({ state }) => {
  const rows = (state.tick?.procs ?? []).map((each) => ({
    key: each.id,
    cells: [
      each.id, html`<${ProcessState} process=${each} />`, text(each.role), text(each.pid), percent(each.cpu), bytes(each.rss), count(each.restarts), count(each.restarts_1h),
      seconds(each.uptime_s), each.last_exit ?? NONE, each.role === "worker" ? percent(each.busy) : NONE, each.role === "worker" ? bytes(each.state_bytes) : NONE,
    ],
  }));
  const columns = ["Process", "State", "Role", "PID", "CPU", "Memory", "Restarts", "In 1 h", "Uptime", "Last exit", "Busy", "State size"];
  return html`<${Heading}>Processes<//><${Table} caption="Processes" columns=${columns} rows=${rows} empty="Waiting for the first second." />`;
};

const ProcessState = ({ process }) => {
  const state = processState(process);
  const shape = { ok: "●", warn: "▲", bad: "■" }[state.level] ?? "?";
  return html`<span class="state ${state.level}" data-process=${process.id}><span aria-hidden="true">${shape}</span> ${state.word}</span>`;
};

export const Snapshots = ({ state, open }) => {
  const asked = useAsked("snapshots", 5000);
  const snap = state.tick?.snap ?? {};
  const list = asked.content?.snapshots ?? asked.content?.rows ?? (Array.isArray(asked.content) ? asked.content : []);
  const rows = list.map((each) => ({
    key: each.id,
    cells: [text(each.id), text(each.kind), clock(each.created_ms), seconds(each.duration_ms == null ? null : each.duration_ms / 1000), bytes(each.total_bytes ?? each.bytes)],
  }));
  return html`<${Heading}>Snapshots<//>
    <dl class="facts">
      <div><dt>Last good one</dt><dd>${snap.id ? `${snap.id}, ${seconds(snap.age_s)} ago` : "none yet"}</dd></div>
      <div><dt>Took</dt><dd>${snap.id ? seconds(snap.dur_ms == null ? null : snap.dur_ms / 1000) : NONE}</dd></div>
      <div><dt>Size</dt><dd>${snap.id ? bytes(snap.bytes) : NONE}</dd></div>
      <div><dt>Completed, failed</dt><dd>${count(snap.completed)}, ${count(snap.failed)}</dd></div>
      <div><dt>Every</dt><dd>${snap.interval_s ? seconds(snap.interval_s) : "only when asked for"}</dd></div>
      ${snap.last_failure ? html`<div><dt>Last failure</dt><dd>${snap.last_failure}</dd></div>` : ""}
    </dl>
    <p><button onClick=${() => open("savepoint")} disabled=${state.readOnly}>Take a savepoint…</button></p>
    ${asked.error && !asked.absent ? html`<p class="problem">${asked.error}</p>` : ""}
    <${Table} caption="Snapshots on disk" columns=${["Id", "Kind", "Created", "Took", "Size"]} rows=${rows} empty=${asked.absent ? "This server does not list snapshots here; `mini-flink snapshots` does." : "No snapshots yet."} />`;
};

const groupBy = (letters) => {
  const groups = new Map();
  for (const letter of letters) {
    const name = `${letter.operator ?? letter.node ?? UNNAMED} · ${letter.error ?? letter.type ?? UNNAMED}`;
    groups.set(name, [...(groups.get(name) ?? []), letter]);
  }
  return [...groups];
};
const UNNAMED = "?";
const asText = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 1));

export const DeadLetters = ({ state, open }) => {
  const asked = useAsked("deadletters", 5000);
  const total = state.tick?.dlq?.total;
  const letters = asked.content?.dead_letters ?? asked.content?.letters ?? asked.content?.rows ?? (Array.isArray(asked.content) ? asked.content : []);
  return html`<${Heading}>Dead letters<//>
    <p>Records whose handling failed for good, with what they carried. Since its start the server has put away ${count(total)}; ${rate(state.tick?.dlq?.rate)} at present.</p>
    ${asked.error && !asked.absent ? html`<p class="problem">${asked.error} <button onClick=${asked.again}>Ask again</button></p>` : ""}
    ${asked.absent ? html`<p class="empty">This server does not list them here.</p>` : ""}
    ${asked.content && letters.length === 0 ? html`<p class="empty">● None. Nothing was lost on the way.</p>` : ""}
    ${groupBy(letters).map(([name, group]) => html`<section class="group" key=${name}>
      <h2>${name} <span class="many">×${group.length}</span></h2>
      ${group.map((letter) => html`<details key=${letter.id}>
        <summary>${text(letter.id)} · ${clock(letter.ts ?? letter.at_ms ?? letter.created_ms)} · ${text(letter.message ?? letter.reason ?? letter.error)}</summary>
        <h3>Payload</h3><pre tabindex="0">${asText(letter.payload ?? letter.value ?? UNNAMED)}</pre>
        ${letter.traceback ? html`<h3>Traceback</h3><pre tabindex="0">${letter.traceback}</pre>` : ""}
        <p><button disabled=${state.readOnly} onClick=${() => open("dlq_retry", { ids: [letter.id] })}>Retry…</button> <button disabled=${state.readOnly} onClick=${() => open("dlq_drop", { ids: [letter.id] })}>Drop…</button></p>
      </details>`)}
    </section>`)}`;
};

export const Keys = ({ state }) => {
  const keyed = state.plan.nodes.filter((node) => node.keyed);
  const [asked, setAsked] = useState(null);
  if (keyed.length === 0) return html`<${Heading}>Keys<//><p class="empty">This job keeps no state by key.</p>`;
  const look = async (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    const path = `keys/${encodeURIComponent(form.get("node"))}?key=${encodeURIComponent(form.get("key"))}`;
    try {
      setAsked({ found: await api(path) });
    } catch (error) {
      setAsked({ error: error.status === 404 || error.status === 501 ? `Not found, or not offered by this server: ${error.message}` : error.message });
    }
  };
  return html`<${Heading}>Keys<//>
    <form class="form" onSubmit=${look}>
      <label>Operator <select name="node">${keyed.map((node) => html`<option key=${node.id} value=${node.id}>${node.name}</option>`)}</select></label>
      <label>Key <input name="key" required autocomplete="off" placeholder='"anna", 7 or text' /></label>
      <button>Look up</button>
    </form>
    ${asked?.error ? html`<p class="problem" role="status">${asked.error}</p>` : ""}
    ${asked?.found ? html`<pre tabindex="0" role="region" aria-label="State of the key">${asText(asked.found)}</pre>` : ""}`;
};

export const Actions = ({ state, open, route }) => html`<${Heading}>Actions<//><${Operate} state=${state} open=${open} route=${route} />`;
