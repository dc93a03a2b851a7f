// The job as it flows: figures, events, the graph (a list on a phone, a table with "t"), and one operator's drawer.
import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "./feed.js";
import { NONE, bytes, clock, count, level, micros, millis, nodeState, percent, rate, shorten, text } from "./format.js";
import { html } from "./html.js";
import { CARD, inOrder, layout } from "./layout.js";
import { State, Table } from "./parts.js";
import { Spark } from "./spark.js";

const byId = (list) => new Map((list ?? []).map((each) => [each.id, each]));
const UNMEASURED = { in: null, out: null };
const backlog = (plan, now) => (plan.in_gateway ? NONE : count(now.queue));
const busy = (plan, now) => (plan.in_gateway && now.busy == null ? NONE : percent(now.busy));
const kind = (node) => `${node.keyed ? "keyed" : node.in_gateway ? "gateway" : node.kind} ×${node.parallelism}`;
const worst = (now) => (now.worst ? `p${now.worst.part} ${percent(now.worst.busy)}` : null);

const Kpi = ({ name, value, values, was }) => html`<li class="kpi">
  <span class="name">${name}</span> <strong>${value}</strong>
  <${Spark} values=${values} label=${`${name}, last ${values.length} s`} />
  <span class="was">${was === null ? "" : `${was} at the start of the line`}</span>
</li>`;

export const Kpis = ({ tick, ticks }) => {
  const shown = ticks.slice(-900);
  const line = (pick) => shown.map(pick);
  const first = shown.length > 30 ? shown[0] : null;
  const http = tick.http;
  const kpi = (name, pick, write, value) =>
    html`<${Kpi} key=${name} name=${name} value=${value ?? write(pick(tick))} values=${line(pick)} was=${first ? write(pick(first)) : null} />`;
  return html`<ul class="kpis" aria-label="Key figures">
    ${kpi("requests", (t) => t.http.rps, rate)}
    ${kpi("errors", (t) => t.http.err_rate, rate)}
    ${kpi("refused", (t) => t.http.shed_rate, rate)}
    ${kpi("p99", (t) => t.http.p99_us, micros, `${micros(http.p99_us)}`)}
    ${kpi("p50", (t) => t.http.p50_us, micros)}
    ${kpi("in flight", (t) => t.http.inflight, count)}
  </ul>`;
};

const SIGNS = { died: "!", restart: "R", restarted: "R", snapshot: "S", snapshot_failed: "!", rescale: "P", deploy: "U" };

// On the time axis of the lines above it.
export const Events = ({ events, ticks }) => {
  if (!events.length || !ticks.length) return html`<p class="events quiet">No events since this page was opened.</p>`;
  const since = ticks[0].ts;
  const span = Math.max(ticks[ticks.length - 1].ts - since, 1);
  const recent = events.slice(-5).reverse();
  return html`<section class="events" aria-label="Events">
    <svg viewBox="0 0 1000 16" preserveAspectRatio="none" aria-hidden="true"><line x1="0" x2="1000" y1="8" y2="8" class="axis" />
      ${events.filter((each) => each.ts >= since).map((each, at) => html`<rect key=${at} x=${Math.min(996, (1000 * (each.ts - since)) / span)} y="2" width="3" height="12" class=${each.severity} />`)}
    </svg>
    <ol>${recent.map((each) => html`<li key=${`${each.ts}${each.text}`}><time>${clock(each.ts)}</time> <b>${SIGNS[each.kind] ?? "·"}</b> ${each.text}</li>`)}</ol>
  </section>`;
};

const path = (points) => points.map(({ x, y }, at) => `${at ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join(" ");
const thickness = (value) => (value > 0 ? Math.min(5, 1 + Math.floor(Math.log10(value + 1))) : 1);

const EdgeLine = ({ edge, now, points }) => {
  const middle = points[Math.floor(points.length / 2)];
  return html`<g class="edge ${now.rate > 0 ? "" : "still"}">
    <path d=${path(points)} stroke-width=${thickness(now.rate)} marker-end="url(#arrow)" />
    <text x=${middle.x} y=${middle.y - 6}>${rate(now.rate)}</text>
    <text x=${middle.x} y=${middle.y + 13} class="small">${edge.ship === "chained" ? "chained" : `${edge.ship}${now.oldest_ms > 0 ? ` · ${millis(now.oldest_ms)}` : ""}`}</text>
  </g>`;
};

const describe = (node, now, state) =>
  `${node.name}, ${state.word}, ${kind(node)}, in ${rate(now.in)}, out ${rate(now.out)}, busy ${busy(node, now)}, waiting ${backlog(node, now)}`;

const Card = ({ node, now, state, at, focusable, open, onKey, onFocus, isCause }) => {
  const share = Math.max(0, Math.min(1, now.busy ?? 0));
  const x = at.x - CARD.width / 2;
  const y = at.y - CARD.height / 2;
  return html`<g class="card ${state.level}" data-node=${node.id} transform="translate(${x} ${y})" role="button" tabindex=${focusable ? 0 : -1}
      aria-label=${describe(node, now, state)} onClick=${open} onKeyDown=${onKey} onFocus=${onFocus}>
    <title>${node.name}</title>
    <rect class="box" width=${CARD.width} height=${CARD.height} rx="6" />
    <text x="10" y="20" class="title">${isCause ? "◆ " : ""}${level(state.level).shape} ${shorten(node.name, isCause ? 16 : 18)}</text>
    <text x="10" y="37" class="small">${kind(node)}</text>
    <text x=${CARD.width - 10} y="37" class="word end">${state.word}</text>
    <text x="10" y="56" data-field="flow">${rate(now.in)} → ${rate(now.out)}</text>
    <rect class="trough" x="10" y="63" width=${CARD.width - 20} height="6" />
    <rect class="fill" x="10" y="63" width=${(CARD.width - 20) * share} height="6" />
    <text x="10" y="85" class="small">busy ${busy(node, now)}${worst(now) ? ` · ${worst(now)}` : ""}</text>
    <text x="10" y="102" class="small">q ${backlog(node, now)} · err ${rate(now.errors)} · p99 ${node.in_gateway ? NONE : micros(now.p99_us)}</text>
  </g>`;
};

const Graph = ({ plan, tick, open }) => {
  const drawn = layout(plan, "LR");
  const nodes = byId(tick?.nodes);
  const edges = byId(tick?.edges);
  const [current, setCurrent] = useState(plan.nodes[0]?.id);
  const svg = useRef(null);
  const focus = (id) => {
    if (!id) return;
    setCurrent(id);
    [...svg.current.querySelectorAll("[data-node]")].find((each) => each.dataset.node === id)?.focus();
  };
  const step = (id, key) => {
    if (key === "ArrowRight") return plan.edges.find((edge) => edge.source === id)?.target;
    if (key === "ArrowLeft") return plan.edges.find((edge) => edge.target === id)?.source;
    const here = drawn.nodes.get(id);
    const same = plan.nodes.map((node) => node.id).filter((each) => Math.abs(drawn.nodes.get(each).x - here.x) < 5).sort((a, b) => drawn.nodes.get(a).y - drawn.nodes.get(b).y);
    return same[same.indexOf(id) + (key === "ArrowDown" ? 1 : -1)];
  };
  const onKey = (id) => (event) => {
    if (event.key.startsWith("Arrow")) {
      event.preventDefault();
      focus(step(id, event.key));
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      open(id);
    }
  };
  return html`<div class="graph" role="region" aria-label="The job's graph"><svg ref=${svg} viewBox="0 0 ${drawn.width} ${drawn.height}" width=${drawn.width} role="group" aria-label="Operators; arrow keys follow the edges, Enter opens one">
    <defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8z" /></marker></defs>
    ${plan.edges.map((edge) => html`<${EdgeLine} key=${edge.id} edge=${edge} now=${edges.get(edge.id) ?? {}} points=${drawn.edges.get(edge.id)} />`)}
    ${plan.nodes.map((node) => {
      const now = nodes.get(node.id) ?? UNMEASURED;
      return html`<${Card} key=${node.id} node=${node} now=${now} at=${drawn.nodes.get(node.id)} state=${nodeState(now.id ? now : { ...UNMEASURED, id: node.id }, tick?.verdict)}
        isCause=${tick?.verdict?.node === node.id} focusable=${node.id === current} open=${() => open(node.id)} onKey=${onKey(node.id)} onFocus=${() => setCurrent(node.id)} />`;
    })}
  </svg></div>`;
};

const PhoneList = ({ plan, tick, open }) => {
  const nodes = byId(tick?.nodes);
  return html`<ol class="phone">${inOrder(plan).map(({ node, depth }) => {
    const now = nodes.get(node.id) ?? { ...UNMEASURED, id: node.id };
    const state = nodeState(now, tick?.verdict);
    return html`<li key=${node.id} class="depth${Math.min(depth, 4)}"><button class="entry ${state.level}" onClick=${() => open(node.id)}>
      <b>${node.name}</b> <${State} state=${state} />
      <span>${rate(now.in)} → ${rate(now.out)} · busy ${busy(node, now)} · q ${backlog(node, now)}</span>
    </button></li>`;
  })}</ol>`;
};

export const NodeTable = ({ plan, tick, open }) => {
  const nodes = byId(tick?.nodes);
  const rows = inOrder(plan).map(({ node }) => {
    const now = nodes.get(node.id) ?? { ...UNMEASURED, id: node.id };
    const p99 = node.in_gateway ? NONE : micros(now.p99_us);
    const cells = [
      html`<button class="link" onClick=${() => open(node.id)}>${node.name}</button>`,
      html`<${State} state=${nodeState(now, tick?.verdict)} />`, kind(node), rate(now.in), rate(now.out), count(now.in_total), count(now.out_total),
      busy(node, now), worst(now) ?? NONE, node.in_gateway ? NONE : percent(now.queueing), backlog(node, now), node.in_gateway ? NONE : millis(now.oldest_ms), rate(now.errors), p99,
    ];
    return { key: node.id, cells };
  });
  const columns = ["Operator", "State", "Kind", "In", "Out", "In, total", "Out, total", "Busy", "Worst subtask", "Waiting share", "Waiting", "Oldest", "Failures", "p99"];
  return html`<${Table} caption="Operators" columns=${columns} rows=${rows} empty="The job has no operators." />`;
};

const Drawer = ({ plan, tick, ticks, id, close }) => {
  const node = plan.nodes.find((each) => each.id === id);
  const now = byId(tick?.nodes).get(id) ?? { ...UNMEASURED, id };
  const [detail, setDetail] = useState({ parts: null, error: null });
  const heading = useRef(null);
  useEffect(() => heading.current?.focus(), [id]);
  useEffect(() => {
    let live = true;
    const load = () =>
      api(`nodes/${encodeURIComponent(id)}`).then(
        (found) => live && setDetail({ parts: found.subtasks ?? found.partitions ?? [], error: null }),
        (error) => live && setDetail({ parts: null, error: error.message }),
      );
    load();
    const timer = setInterval(load, 2000);
    return () => {
      live = false;
      clearInterval(timer);
    };
  }, [id]);
  if (!node) return null;
  const history = ticks.map((each) => each.nodes?.find((one) => one.id === id) ?? UNMEASURED);
  const parts = detail.parts ?? (now.worst ? [{ part: now.worst.part, busy: now.worst.busy }] : []);
  return html`<section class="drawer" aria-labelledby="drawer-title">
    <header><h2 id="drawer-title" tabindex="-1" ref=${heading}>${node.name}</h2> <${State} state=${nodeState(now, tick?.verdict)} /> <button onClick=${close}>Close (Esc)</button></header>
    <dl>
      <div><dt>Operator</dt><dd>${node.id} · ${kind(node)}${node.route ? ` · ${node.route}` : ""}</dd></div>
      <div><dt>Stage</dt><dd>${node.stage ?? (node.in_gateway ? "in the gateway" : NONE)}</dd></div>
      <div><dt>In, out</dt><dd>${rate(now.in)} → ${rate(now.out)} (${count(now.in_total)} → ${count(now.out_total)})</dd></div>
      <div><dt>Busy</dt><dd>${busy(node, now)}, skew ${node.in_gateway ? NONE : text(now.skew)}</dd></div>
      <div><dt>Waiting</dt><dd>${backlog(node, now)} records, oldest ${node.in_gateway ? NONE : millis(now.oldest_ms)}</dd></div>
      <div><dt>Failures</dt><dd>${rate(now.errors)}, ${count(now.failed_total)} in all</dd></div>
      <div><dt>State</dt><dd>${node.keyed ? bytes(now.state_bytes) : NONE}</dd></div>
    </dl>
    <div class="lines">
      <figure><figcaption>in, per second</figcaption><${Spark} values=${history.map((each) => each.in)} label="records in per second" width=${300} height=${48} /></figure>
      <figure><figcaption>busy</figcaption><${Spark} values=${history.map((each) => each.busy)} label="busy share" width=${300} height=${48} /></figure>
      <figure><figcaption>waiting</figcaption><${Spark} values=${history.map((each) => each.queue)} label="records waiting" width=${300} height=${48} /></figure>
    </div>
    <h3>Subtasks${detail.parts ? "" : ": the busiest"}</h3>
    ${parts.length === 0 ? html`<p class="empty">${node.in_gateway ? "Runs in the gateways; it has no subtasks of its own." : "Nothing is known of its subtasks yet."}</p>` : ""}
    <ul class="parts">${parts.map((each) => html`<li key=${each.part ?? each.subtask}><span>p${each.part ?? each.subtask}</span> <svg class="bar-of" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"><rect class="trough" width="100" height="8" /><rect class="fill" width=${100 * (each.busy ?? 0)} height="8" /></svg> <span>${percent(each.busy)}</span></li>`)}</ul>
  </section>`;
};

export const Flow = ({ state, route, go }) => {
  const { plan, tick, ticks, events } = state;
  const isTable = route.params.get("view") === "table";
  const chosen = route.params.get("node");
  const open = (id) => go("flow", { node: id });
  const close = () => {
    const id = chosen;
    go("flow", { node: null });
    setTimeout(() => [...document.querySelectorAll("[data-node]")].find((each) => each.dataset.node === id)?.focus());
  };
  useEffect(() => {
    const onKey = (event) => event.key === "Escape" && chosen && !document.querySelector("dialog[open]") && close();
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, [chosen]);
  return html`<h1 class="unseen">Flow</h1>
    ${tick ? html`<${Kpis} tick=${tick} ticks=${ticks} /><${Events} events=${events} ticks=${ticks} />` : html`<p class="empty">Waiting for the first second.</p>`}
    <p class="switch"><button aria-pressed=${isTable} onClick=${() => go("flow", { view: isTable ? null : "table" })}>${isTable ? "Show as graph" : "Show as table"} (t)</button></p>
    ${isTable ? html`<${NodeTable} plan=${plan} tick=${tick} open=${open} />` : html`<${Graph} key=${plan.plan_hash} plan=${plan} tick=${tick} open=${open} /><${PhoneList} plan=${plan} tick=${tick} open=${open} />`}
    ${chosen ? html`<${Drawer} key=${chosen} plan=${plan} tick=${tick} ticks=${ticks} id=${chosen} close=${close} />` : ""}`;
};
