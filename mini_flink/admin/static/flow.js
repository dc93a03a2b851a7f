// The job as it flows: figures, events on their time axis, the graph (a list on a phone, a table with "t").
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { Drawer, backlog, busy, hasState, keyCount, kind, stateSize } from "./drawer.js";
import { NONE, ago, clock, count, fit, level, micros, millis, percent, rate, shorten, stateOf, took } from "./format.js";
import { html } from "./html.js";
import { CARD, fitting, inOrder } from "./layout.js";
import { State, Table } from "./parts.js";
import { Spark } from "./spark.js";

const byId = (list) => new Map((list ?? []).map((each) => [each.id, each]));
const worst = (now) => (now.worst ? `p${now.worst.part} ${percent(now.worst.busy)}` : null);
const isKnown = (value) => value !== null && value !== undefined;
// Of all that were answered: those that were let in, and those that were not.
const errorShare = ({ rps, shed_rate: refused, err_rate: errors }) => {
  if (!isKnown(errors) || !isKnown(rps)) return null;
  return errors === 0 ? 0 : Math.min(1, errors / Math.max(errors, rps + (refused ?? 0)));
};

// One second's share swings; the words of the verdict look further back too.
const SHARE_MS = 5000;
export const errorsLately = (points, until) => {
  const shares = points.filter(({ ts }) => ts <= until && ts > until - SHARE_MS);
  const sum = (name) => shares.reduce((all, point) => all + (point[name] ?? 0), 0);
  return shares.some(({ err_rate: errors }) => isKnown(errors)) ? errorShare({ rps: sum("rps"), shed_rate: sum("shed_rate"), err_rate: sum("err_rate") }) : null;
};

// Each: its name, its value at a point, how it is written; and its value now, if that is not the last point's.
const KPIS = [
  ["requests", (point) => point.rps, rate],
  ["errors", errorShare, percent, errorsLately],
  ["refused", (point) => point.shed_rate, rate],
  ["p50", (point) => point.p50_us, took],
  ["p99", (point) => point.p99_us, took],
  ["in flight", (point) => point.inflight, count],
];

// Then is the first point of the line that was measured: 15 minutes ago if the server has run that long.
const Kpi = ({ name, pick, write, lately, points, span, now, until }) => {
  const line = points.map((point) => [point.ts, pick(point)]);
  const then = line.find(([, value]) => isKnown(value));
  const isOld = then && span.until - then[0] > 60_000;
  return html`<li class="kpi" data-kpi=${name}>
    <span class="name">${name}</span> <strong>${write(lately ? lately(points, until) : pick(now), now.rps)}</strong>
    <${Spark} points=${line} span=${span} label=${`${name} over ${ago(span.until - span.since).replace(" ago", "")}`} />
    <span class="was">${isOld ? `${ago(span.until - then[0])}: ${write(then[1])}` : ""}</span>
  </li>`;
};

export const Kpis = ({ tick, points, span }) =>
  html`<ul class="kpis" aria-label="Key figures">
    ${KPIS.map(([name, pick, write, lately]) => html`<${Kpi} key=${name} name=${name} pick=${pick} write=${write} lately=${lately} points=${points} span=${span} now=${tick.http} until=${tick.ts} />`)}
  </ul>`;

const SIGNS = { died: "✕", back: "R", serving: "▸", snapshot: "S", snapshot_failed: "✕", dead_letters: "L", rescale: "P", upgrade: "U", reload: "U", stopping: "■", draining: "D", drained: "D", resumed: "▸" };
const SEVERITIES = { warning: "warn", error: "bad", info: "idle" };
const FEW = 4;
const sign = (event) => (event.kind === "verdict" ? level(event.level).shape : (SIGNS[event.kind] ?? "·"));

const MARK_PX = 22;
const RANKS = ["bad", "warn", "ok", "idle"];

// Where several would cover each other stands the worst of them, and tells of all.
const marksOf = (told, { since, until }) => {
  const places = new Map();
  for (const event of told) {
    if (event.ts < since || event.ts > until) continue;
    const part = (event.ts - since) / Math.max(until - since, 1);
    const at = Math.round((part * innerWidth) / MARK_PX);
    const mark = places.get(at) ?? { at: part, events: [] };
    mark.events.push(event);
    places.set(at, mark);
  }
  return [...places.values()].map(({ at, events }) => ({
    at,
    worst: [...events].sort((a, b) => RANKS.indexOf(a.level) - RANKS.indexOf(b.level))[0],
    text: events.map((each) => `${clock(each.ts)} ${each.text}`).join("\n"),
  }));
};

export const Events = ({ events, turns, span }) => {
  const [all, setAll] = useState(false);
  const told = [...events, ...turns.filter((turn) => !turn.isFirst)].map((each) => ({ ...each, level: SEVERITIES[each.severity] ?? each.severity })).sort((a, b) => a.ts - b.ts);
  const shown = told.slice(all ? 0 : -FEW).reverse();
  return html`<section class="events" aria-label="Events">
    <p class="axis-of" aria-hidden="true"><span>${ago(span.until - span.since)}</span>
      ${marksOf(told, span).map(({ at, worst, text }) => html`<b key=${`${worst.ts}${worst.text}`} class="mark ${worst.level}" style=${{ left: `${100 * at}%` }} title=${text}>${sign(worst)}</b>`)}
      <span class="end">now</span></p>
    <ol class=${all ? "all" : ""}>${shown.map((each) => html`<li key=${`${each.ts}${each.text}`} title=${each.text}><time>${clock(each.ts)}</time> <b class="state ${each.level}" aria-hidden="true">${sign(each)}</b> ${each.text}</li>`)}</ol>
    ${told.length > FEW ? html`<button class="link" aria-expanded=${all} onClick=${() => setAll(!all)}>${all ? "The last ones only" : `All ${told.length} events`}</button>` : ""}
    ${told.length === 0 ? html`<p>No events so far.</p>` : ""}
  </section>`;
};

// What holds beside the verdict, which is only the worst of it.
const Also = ({ tick, plan, open }) => {
  const isWorth = (each) => (each.level === "warn" || each.level === "bad") && each.why && each.why !== tick.verdict.text;
  // Of which the dead letters are only what follows.
  const isSomeFailing = tick.nodes.some((each) => each.state === "failing");
  const nodes = tick.nodes.filter(isWorth).map((each) => ({ ...each, node: plan.nodes.find((node) => node.id === each.id) }));
  const all = [...nodes, ...tick.procs.filter(isWorth), ...(tick.health ?? []).filter((each) => isWorth(each) && (each.id !== "dead letters" || !isSomeFailing))];
  if (all.length === 0) return null;
  return html`<ul class="also" aria-label="Also">${all.map((each) => html`<li key=${each.why}><${State} state=${stateOf(each)} /> ${each.why} ${each.node ? html`<button class="link" onClick=${() => open(each.id)}>Look at it</button>` : ""}</li>`)}</ul>`;
};

const path = (points) => points.map(({ x, y }, at) => `${at ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join(" ");
const thickness = (value) => (value > 0 ? Math.min(5, 1 + Math.floor(Math.log10(value + 1))) : 1);
const how = (edge) => (edge.ship === "key_by" && edge.key ? `by ${edge.key}` : edge.ship);


// An edge with its ends and how things stand on it. Nothing waits where one function calls the next, nor before
// what runs in a gateway.
const edgesIn = (plan, tick) => {
  const nodes = byId(plan.nodes);
  const known = byId(tick?.edges);
  return plan.edges.map((edge) => {
    const now = known.get(edge.id) ?? { id: edge.id };
    const [source, target] = [nodes.get(edge.source), nodes.get(edge.target)];
    const unlessCalled = (words) => (edge.ship === "chained" || target.in_gateway ? NONE : words);
    return { edge, now, source, target, flow: rate(now.rate), waiting: unlessCalled(count(now.queue)), oldest: unlessCalled(millis(now.oldest_ms)) };
  });
};

const spoken = ({ edge, flow, waiting, oldest }) => `${how(edge)}, ${flow}, waiting ${waiting}, oldest ${oldest}`;

const EdgeLine = ({ found, at }) => {
  const { edge, now, source, target, flow, oldest } = found;
  return html`<g class="edge ${now.rate > 0 ? "" : "still"}" data-edge=${edge.id} role="img" aria-label=${`From ${source.name} to ${target.name}: ${spoken(found)}`}>
    <path d=${path(at.points)} stroke-width=${thickness(now.rate)} marker-end="url(#arrow)" />
    <text x=${at.x} y=${at.y - 7}>${flow}</text>
    <text x=${at.x} y=${at.y + 15} class="small">${shorten(how(edge), 16)}</text>
    <text x=${at.x} y=${at.y + 29} class="small" data-field="lag">oldest ${oldest}</text>
  </g>`;
};

const describe = (node, now, state, outs) =>
  [`${node.name}, ${state.word}, ${kind(node)}, in ${rate(now.in)}, out ${rate(now.out)}, busy ${busy(node, now)}, waiting ${backlog(node, now)}`, ...outs.map((each) => `to ${each.target.name} ${spoken(each)}`)].join("; ");

const BAR = CARD.width - 20;
const TITLE = "700 14px system-ui";

const Card = ({ node, now, state, outs, at, focusable, open, onKey, onFocus, isCause }) => {
  const share = Math.max(0, Math.min(1, now.busy ?? 0));
  return html`<g class="card ${state.level}" data-node=${node.id} transform="translate(${at.x - CARD.width / 2} ${at.y - CARD.height / 2})" role="button" tabindex=${focusable ? 0 : -1}
      aria-label=${describe(node, now, state, outs)} onClick=${open} onKeyDown=${onKey} onFocus=${onFocus}>
    <title>${now.why ? `${node.name}: ${now.why}` : node.name}</title>
    <rect class="box" width=${CARD.width} height=${CARD.height} rx="6" />
    <text x="10" y="21" class="title"><tspan class="shape">${isCause ? "◆" : level(state.level).shape}</tspan> ${fit(node.name, BAR - 20, TITLE)}</text>
    <text x="10" y="39" class="small">${shorten(kind(node), 16)}</text>
    <text x=${CARD.width - 10} y="39" class="word end">${state.word}</text>
    <text x="10" y="58" data-field="flow">${rate(now.in)} → ${rate(now.out)}</text>
    <rect class="trough" x="10" y="65" width=${BAR} height="6" />
    <rect class="fill" x="10" y="65" width=${BAR * share} height="6" />
    ${now.worst ? html`<rect class="peak" x=${9 + BAR * Math.min(1, now.worst.busy)} y="62" width="2" height="12" />` : ""}
    <text x="10" y="87" class="small">busy ${busy(node, now)}${worst(now) ? ` · worst ${worst(now)}` : ""}</text>
    <text x="10" y="104" class="small">q ${backlog(node, now)} · err ${rate(now.errors)} · p99 ${node.in_gateway ? NONE : took(now.p99_us, now.in)}</text>
    <text x="10" y="121" class="small">${hasState(node) ? `${stateSize(node, now)} · ${keyCount(node, now)} keys` : "no state"}</text>
  </g>`;
};

// As wide as there is room; measured when the window changes, never by a tick.
const useWidth = () => {
  const place = useRef(null);
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    const watch = new ResizeObserver(([{ contentRect }]) => setWidth(Math.floor(contentRect.width)));
    watch.observe(place.current);
    return () => watch.disconnect();
  }, []);
  return [place, width];
};

const Graph = ({ plan, tick, open }) => {
  const [place, width] = useWidth();
  const nodes = byId(tick?.nodes);
  const edges = edgesIn(plan, tick);
  const [current, setCurrent] = useState(plan.nodes[0]?.id);
  const drawn = fitting(plan, width || 1400);
  const focus = (id) => {
    if (!id) return;
    setCurrent(id);
    [...place.current.querySelectorAll("[data-node]")].find((each) => each.dataset.node === id)?.focus();
  };
  const [along, across] = drawn.direction === "LR" ? ["x", "y"] : ["y", "x"];
  const [forward, back, next] = drawn.direction === "LR" ? ["ArrowRight", "ArrowLeft", "ArrowDown"] : ["ArrowDown", "ArrowUp", "ArrowRight"];
  const step = (id, key) => {
    if (key === forward) return plan.edges.find((edge) => edge.source === id)?.target;
    if (key === back) return plan.edges.find((edge) => edge.target === id)?.source;
    const of = (each) => drawn.nodes.get(each);
    const same = plan.nodes.map((node) => node.id).filter((each) => Math.abs(of(each)[along] - of(id)[along]) < 5).sort((a, b) => of(a)[across] - of(b)[across]);
    return same[same.indexOf(id) + (key === next ? 1 : -1)];
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
  return html`<div ref=${place} class="graph" role="region" aria-label="The job's graph"><svg class=${drawn.width * 0.85 <= width ? "fits" : ""} viewBox="0 0 ${drawn.width} ${drawn.height}" width=${drawn.width} height=${drawn.height} role="group" aria-label="Operators; arrow keys follow the edges, Enter opens one">
    <defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="9" markerHeight="9" markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8z" /></marker></defs>
    ${edges.map((found) => html`<${EdgeLine} key=${found.edge.id} found=${found} at=${drawn.edges.get(found.edge.id)} />`)}
    ${plan.nodes.map((node) => {
      const now = nodes.get(node.id) ?? { id: node.id };
      return html`<${Card} key=${node.id} node=${node} now=${now} at=${drawn.nodes.get(node.id)} state=${stateOf(now)} outs=${edges.filter(({ edge }) => edge.source === node.id)}
        isCause=${tick?.verdict?.node === node.id} focusable=${node.id === current} open=${() => open(node.id)} onKey=${onKey(node.id)} onFocus=${() => setCurrent(node.id)} />`;
    })}
  </svg></div>`;
};

const PhoneList = ({ plan, tick, open }) => {
  const nodes = byId(tick?.nodes);
  const edges = edgesIn(plan, tick);
  return html`<ol class="phone">${inOrder(plan).map(({ node, depth }, place, all) => {
    const now = nodes.get(node.id) ?? { id: node.id };
    const state = stateOf(now);
    const above = all[place - 1]?.node;
    return html`<li key=${node.id} class="depth${Math.min(depth, 4)}">
      ${edges.filter(({ edge }) => edge.target === node.id).map(({ edge, source, flow, waiting, oldest }) => html`<p key=${edge.id} class="edge-line" data-edge=${edge.id}><span aria-hidden="true">↓</span> ${source === above ? "" : `from ${shorten(source.name, 24)}: `}${flow} · ${shorten(how(edge), 24)} · q ${waiting} · oldest ${oldest}</p>`)}
      <button class="entry ${state.level}" onClick=${() => open(node.id)}>
      <span class="top"><b>${shorten(node.name, 40)}</b> <${State} state=${state} /></span>
      <span>${rate(now.in)} → ${rate(now.out)} · busy ${busy(node, now)}${worst(now) ? ` (${worst(now)})` : ""} </span>
    </button></li>`;
  })}</ol>`;
};

export const NodeTable = ({ plan, tick, open }) => {
  const nodes = byId(tick?.nodes);
  const rows = inOrder(plan).map(({ node }) => {
    const now = nodes.get(node.id) ?? { id: node.id };
    const unlessGateway = (words) => (node.in_gateway ? NONE : words);
    const cells = [
      html`<button class="link" data-node=${node.id} title=${node.name} onClick=${() => open(node.id)}>${shorten(node.name, 40)}</button>`,
      html`<${State} state=${stateOf(now)} />`, kind(node), rate(now.in), rate(now.out), count(now.in_total), count(now.out_total),
      busy(node, now), unlessGateway(worst(now) ?? "?"), unlessGateway(percent(now.queueing)), backlog(node, now), unlessGateway(millis(now.oldest_ms)), rate(now.errors),
      unlessGateway(took(now.p99_us, now.in)), stateSize(node, now), keyCount(node, now),
    ];
    return { key: node.id, cells };
  });
  const columns = ["Operator", "State", "Kind", "In", "Out", "In, total", "Out, total", "Busy", "Worst subtask", "Waiting share", "Waiting", "Oldest", "Failures", "p99", "State size", "Keys"];
  return html`<${Table} caption="Operators" columns=${columns} rows=${rows} empty="The job has no operators." />`;
};

const EdgeTable = ({ plan, tick }) => {
  const place = new Map(inOrder(plan).map(({ node }, at) => [node, at]));
  const edges = edgesIn(plan, tick).sort((a, b) => place.get(a.source) - place.get(b.source) || place.get(a.target) - place.get(b.target));
  const rows = edges.map(({ edge, source, target, flow, waiting, oldest }) => ({
    key: edge.id,
    cells: [html`<span data-edge=${edge.id} title=${source.name}>${shorten(source.name, 40)}</span>`, html`<span title=${target.name}>${shorten(target.name, 40)}</span>`, html`<span title=${how(edge)}>${shorten(how(edge), 40)}</span>`, flow, waiting, oldest],
  }));
  return html`<h2>Edges</h2><${Table} caption="Edges" columns=${["From", "To", "How", "Rate", "Waiting", "Oldest"]} rows=${rows} empty="The job has no edges." />`;
};

export const Flow = ({ state, route, go }) => {
  const { plan, tick, points, events, turns } = state;
  const isTable = route.params.get("view") === "table";
  const node = plan.nodes.find((each) => each.id === route.params.get("node"));
  const open = (id) => go("flow", { node: id });
  const close = () => go("flow", { node: null, tab: null });
  // Who closes a drawer stands again where it was opened.
  const opened = useRef(null);
  useEffect(() => {
    if (!node) [...document.querySelectorAll("[data-node]")].find((each) => each.dataset.node === opened.current)?.focus();
    opened.current = node?.id ?? null;
  }, [node?.id]);
  useEffect(() => {
    const onKey = (event) => event.key === "Escape" && node && !document.querySelector("dialog[open]") && close();
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, [node?.id]);
  const span = { since: points[0]?.ts ?? 0, until: points.at(-1)?.ts ?? 1 };
  // Each part has a place of its own that is always there: what comes and goes in one moves no other, and so takes
  // nobody the focus.
  return html`<h1 class="unseen">Flow</h1>
    <div>${tick ? html`<${Also} tick=${tick} plan=${plan} open=${open} />` : html`<p class="empty">Waiting for the first second.</p>`}</div>
    <div>${tick ? html`<${Kpis} tick=${tick} points=${points} span=${span} /><${Events} events=${events} turns=${turns} span=${span} />` : ""}</div>
    <p class="switch"><button aria-pressed=${isTable} onClick=${() => go("flow", { view: isTable ? null : "table" })}>${isTable ? "Show as graph" : "Show as table"} (t)</button></p>
    <div>${isTable ? html`<${NodeTable} plan=${plan} tick=${tick} open=${open} /><${EdgeTable} plan=${plan} tick=${tick} />` : html`<${Graph} key=${plan.plan_hash} plan=${plan} tick=${tick} open=${open} /><${PhoneList} plan=${plan} tick=${tick} open=${open} />`}</div>
    <div>${node ? html`<${Drawer} key=${node.id} plan=${plan} tick=${tick} node=${node} tab=${route.params.get("tab")} choose=${(tab) => go("flow", { tab })} close=${close} />` : ""}</div>`;
};
