// The views beside Flow: latency, processes, snapshots, dead letters.
import { useEffect, useState } from "preact/hooks";
import { Operate } from "./actions.js";
import { api, feed } from "./feed.js";
import { NONE, bytes, clock, count, micros, percent, processState, rate, seconds, text } from "./format.js";
import { html } from "./html.js";
import { Table } from "./parts.js";
import { Spark } from "./spark.js";

const Heading = ({ children }) => html`<h1>${children}</h1>`;

// An answer of the API, asked for again every so often.
const useAsked = (path, everyMs) => {
  const [asked, setAsked] = useState({ content: null, error: null });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let live = true;
    const ask = () =>
      !feed.state.paused &&
      api(path).then(
        (content) => live && setAsked({ content, error: null }),
        (error) => live && setAsked({ content: null, error: error.message }),
      );
    ask();
    const timer = setInterval(ask, everyMs);
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
  const rows = (asked.content?.snapshots ?? []).map((each) => ({
    key: each.id,
    cells: [text(each.id), text(each.kind), clock(each.created_ms), seconds(each.duration_ms == null ? null : each.duration_ms / 1000), bytes(each.total_bytes)],
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
    ${asked.error ? html`<p class="problem">${asked.error}</p>` : ""}
    <${Table} caption="Snapshots on disk" columns=${["Id", "Kind", "Created", "Took", "Size"]} rows=${rows} empty="No snapshots yet." />`;
};

const groupBy = (letters) => {
  const groups = new Map();
  for (const letter of letters) {
    const name = `${letter.operator} · ${letter.error}`;
    groups.set(name, [...(groups.get(name) ?? []), letter]);
  }
  return [...groups];
};

const Letter = ({ letter, state, open }) => html`<details>
  <summary>${letter.error_id} · ${clock(letter.failed_at)} · ${letter.key ? `key ${letter.key}` : "no key"}</summary>
  <h3>Payload</h3><pre tabindex="0">${letter.value}</pre>
  <h3>Traceback</h3><pre tabindex="0">${[...letter.frames, letter.error].join("\n")}</pre>
  <p>Request ${text(letter.request_id)}, worker ${letter.worker}.</p>
  <p><button disabled=${state.readOnly} onClick=${() => open("dlq_retry", { ids: [letter.error_id] })}>Retry…</button> <button disabled=${state.readOnly} onClick=${() => open("dlq_drop", { ids: [letter.error_id] })}>Drop…</button></p>
</details>`;

export const DeadLetters = ({ state, open }) => {
  const asked = useAsked("deadletters", 5000);
  const letters = asked.content?.dead_letters ?? [];
  return html`<${Heading}>Dead letters<//>
    <p>Records that failed, with what they carried. Since its start the server has put away ${count(state.tick?.dlq?.total)}; ${rate(state.tick?.dlq?.rate)} at present.</p>
    ${asked.error ? html`<p class="problem">${asked.error} <button onClick=${asked.again}>Ask again</button></p>` : ""}
    ${asked.content && letters.length === 0 ? html`<p class="empty">● None. Nothing was lost on the way.</p>` : ""}
    ${asked.content?.more ? html`<p>${count(asked.content.more)} more are not shown.</p>` : ""}
    ${groupBy(letters).map(([name, group]) => html`<section class="group" key=${name}>
      <h2>${name} <span class="many">×${group.length}</span></h2>
      ${group.map((letter) => html`<${Letter} key=${letter.error_id} letter=${letter} state=${state} open=${open} />`)}
    </section>`)}`;
};

export const Actions = ({ state, open, route }) => html`<${Heading}>Actions<//><${Operate} state=${state} open=${open} route=${route} />`;
