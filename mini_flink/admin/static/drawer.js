// One operator, close up.
import { useEffect, useRef } from "preact/hooks";
import { NONE, UNKNOWN, bytes, count, micros, millis, stateOf, percent, rate, shorten, text, took } from "./format.js";
import { html } from "./html.js";
import { titleOf, whenOf } from "./letters.js";
import { Copy, Facts, Problem, State, Table, Tabs, useAsked, useSteady } from "./parts.js";
import { Chart, Spark, spanOf } from "./spark.js";

export const kind = (node) => `${node.keyed ? "keyed" : node.in_gateway ? "gateway" : node.kind} ×${node.parallelism}`;
export const backlog = (node, now) => (node.in_gateway ? NONE : count(now.queue));
export const busy = (node, now) => (node.in_gateway && now.busy == null ? NONE : percent(now.busy));
const STATELESS = new Set(["map", "flat_map", "filter", "reply", "requests"]);
export const hasState = (node) => node.keyed && !STATELESS.has(node.kind);
export const stateSize = (node, now) => (hasState(node) ? bytes(now.state_bytes) : NONE);
export const keyCount = (node, now) => (hasState(node) ? count(now.keys) : NONE);

const useSeries = (id, names) => {
  const asked = useAsked(`history?range=15m&series=${names.map((name) => encodeURIComponent(`node.${id}.${name}`))}`, 2000);
  const series = asked.content?.series ?? {};
  return names.map((name) => series[`node.${id}.${name}`] ?? []);
};

const Line = ({ name, points, label }) => html`<figure><figcaption>${name}</figcaption><${Spark} points=${points} label=${label} width=${300} height=${48} /></figure>`;

const Overview = ({ node, now }) => {
  const [ins, outs, shares, queued] = useSeries(node.id, ["in", "out", "busy", "queue"]);
  return html`<${Facts} facts=${[
    ["Operator", `${node.id} · ${kind(node)}`],
    ["Written at", node.location ?? UNKNOWN],
    ["Stage", node.stage ?? (node.in_gateway ? "in the gateway" : NONE)],
    ["In → out", `${rate(now.in)} → ${rate(now.out)}`],
    ["In → out, since the start", `${count(now.in_total)} → ${count(now.out_total)}`],
    ["Busy, skew", `${busy(node, now)}, ${node.in_gateway ? NONE : text(now.skew)}`],
    ["Waiting, oldest", node.in_gateway ? NONE : `${backlog(node, now)}, ${millis(now.oldest_ms)}`],
    ["Failures", `${rate(now.errors)}, ${count(now.failed_total)} in all`],
    ["State, keys", hasState(node) ? `${stateSize(node, now)}, ${keyCount(node, now)}` : NONE],
  ]} />
  <div class="lines">
    <${Line} name="in, 15 min" points=${ins} label="records in per second" />
    <${Line} name="out, 15 min" points=${outs} label="records out per second" />
    ${node.in_gateway ? "" : html`<${Line} name="busy, 15 min" points=${shares} label="busy share" /><${Line} name="waiting, 15 min" points=${queued} label="records waiting" />`}
  </div>`;
};

const Bar = ({ share }) => html`<svg class="bar-of" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"><rect class="trough" width="100" height="8" /><rect class="fill" width=${100 * (share ?? 0)} height="8" /></svg>`;

const Subtasks = ({ node }) => {
  const asked = useAsked(`nodes/${encodeURIComponent(node.id)}`, 2000);
  const busiest = [...(asked.content?.subtasks ?? [])].sort((a, b) => (b.busy ?? 0) - (a.busy ?? 0));
  const [steady, place] = useSteady(busiest, (each) => each.part);
  if (node.in_gateway) return html`<p class="empty">Runs in the gateways; it has no subtasks of its own.</p>`;
  const rows = steady.map((each) => ({
    key: each.part,
    cells: [`p${each.part}`, text(each.process), html`<span class="share"><${Bar} share=${each.busy} /> ${percent(each.busy)}</span>`, rate(each.in), rate(each.out), count(each.failures)],
  }));
  return html`${asked.error ? html`<${Problem}>${asked.error}<//>` : ""}
    <div ref=${place}><${Table} caption="Subtasks, the busiest first" columns=${["Subtask", "Worker", "Busy", "In", "Out", "Failures"]} rows=${rows} empty="Nothing is known of its subtasks yet." /></div>`;
};

const Errors = ({ node }) => {
  const asked = useAsked(`nodes/${encodeURIComponent(node.id)}/errors`, 5000);
  const [steady, place] = useSteady(asked.content?.errors ?? [], (group) => group.group);
  return html`${asked.error ? html`<${Problem}>${asked.error}<//>` : ""}
    ${asked.content && steady.length === 0 ? html`<p class="empty">● No dead letters of this operator.</p>` : ""}
    <div ref=${place}>${steady.map((group) => {
      const trace = group.traceback.join("\n");
      return html`<section class="group" key=${group.group}><h3>${titleOf(group)} <span class="many">×${count(group.count)}</span></h3>
        <p class="soft">${whenOf(group)} <${Copy} text=${trace} /></p><pre tabindex="0">${trace}</pre></section>`;
    })}</div>
    ${steady.length > 0 ? html`<p><a href="#/deadletters">Retry, export or drop them</a></p>` : ""}`;
};

const Latency = ({ node, now }) => {
  const [p50, p99] = useSeries(node.id, ["p50_us", "p99_us"]);
  if (node.in_gateway) return html`<p class="empty">Requests as their clients see them are in the <a href="#/latency">Latency</a> view.</p>`;
  return html`<p>Of its stage: from a record's arrival at its worker until it is committed. Now p50 ${took(now.p50_us, now.in)}, p99 ${took(now.p99_us, now.in)}.</p>
    <${Chart} series=${[["p50", p50], ["p99", p99]]} span=${spanOf(p99)} write=${micros} label="Latency of the stage over 15 minutes" />`;
};

const StateOf = ({ node, now }) =>
  hasState(node)
    ? html`<${Facts} facts=${[["Size", stateSize(node, now)], ["Keys", keyCount(node, now)]]} /><p class="soft">Sizes are measured when state is written to the table, not at each record.</p>`
    : html`<p class="empty">It keeps no state by key.</p>`;

// Each word, from where on it is said, and what stands beside it now.
const limitsOf = (limits, { request_timeout_ms: timeout }, now) => [
  ["BUSY", `worst subtask ≥ ${percent(limits.busy_warn)}`, `its worker ≥ ${percent(limits.busy_bad)} and behind: SATURATED`, now.worst ? percent(now.worst.busy) : UNKNOWN],
  ["LATE", `oldest record ≥ ${millis(limits.late_warn * timeout)}`, `≥ ${millis(limits.late_bad * timeout)}`, millis(now.oldest_ms)],
  ["FAILING", "any record in a minute", `> ${percent(limits.failing_bad)} of a minute's records`, rate(now.errors)],
  ["SKEWED", `worst subtask ≥ ${limits.skew_warn} × the mean, and ≥ ${percent(limits.skewed_busy)} busy`, NONE, text(now.skew)],
];

const Limits = ({ plan, node, now }) => {
  const { limits } = plan;
  if (!limits || node.in_gateway) return html`<p class="empty">${limits ? "What runs in the gateways has no limits of its own." : "The server does not tell its limits."}</p>`;
  const rows = limitsOf(limits, plan, now).map(([word, warn, bad, value]) => ({ key: word, cells: [word, value, `▲ ${warn}`, bad === NONE ? NONE : `■ ${bad}`] }));
  return html`<${Table} caption="Limits" columns=${["Word", "Now", "Amber from", "Red from"]} rows=${rows} empty="" />
    <p class="soft">A word is said after ${limits.enter_ticks} seconds in a row, and taken back after ${limits.leave_ticks}.</p>`;
};

const TABS = [["overview", "Overview", Overview], ["subtasks", "Subtasks", Subtasks], ["errors", "Errors", Errors], ["latency", "Latency", Latency], ["state", "State", StateOf], ["limits", "Limits", Limits]];

export const Drawer = ({ plan, tick, node, tab, choose, close }) => {
  const now = tick?.nodes.find((each) => each.id === node.id) ?? { id: node.id };
  const heading = useRef(null);
  useEffect(() => heading.current?.focus(), []);
  const [name, , Panel] = TABS.find(([each]) => each === tab) ?? TABS[0];
  const titles = TABS.map(([each, title]) => [each, each === "errors" && now.failed_total > 0 ? `${title} ${count(now.failed_total)}` : title]);
  return html`<section class="drawer" aria-labelledby="drawer-title">
    <header><h2 id="drawer-title" tabindex="-1" ref=${heading} title=${node.name}>${shorten(node.name, 80)}</h2> <${State} state=${stateOf(now)} /> <button onClick=${close}>Close (Esc)</button></header>
    ${now.why ? html`<p class="why">${now.why}</p>` : ""}
    <${Tabs} tabs=${titles} chosen=${name} choose=${choose} label="About ${node.name}" />
    <div id="panel" role="tabpanel" aria-labelledby="tab-${name}"><${Panel} key=${name} plan=${plan} node=${node} now=${now} /></div>
  </section>`;
};
