// Lines over time. Gaps stay gaps: what was not measured is not drawn as zero. A line has few points, however
// many were measured: each is the highest of its share of the time.
import { UNKNOWN } from "./format.js";
import { html } from "./html.js";

const FEW = 150;
const isKnown = (value) => value !== null && value !== undefined;

// [[ts, value], …] as runs of [ts, value] without gaps, each at most FEW points over the whole span.
const runs = (points, { since, until }) => {
  const width = Math.max((until - since) / FEW, 1);
  const found = [];
  let run = null;
  let last = null;
  for (const [ts, value] of points) {
    if (ts < since || ts > until) continue;
    const at = Math.floor((ts - since) / width);
    if (!isKnown(value) || (last !== null && ts - last > Math.max(5 * width, 5000))) run = null;
    if (!isKnown(value)) continue;
    last = ts;
    if (!run) found.push((run = []));
    const end = run.at(-1);
    if (end && end.at === at) end.value = Math.max(end.value, value);
    else run.push({ at, ts, value });
  }
  return found;
};

const place = (run, span, top, { width, height, left = 0 }) => {
  const x = (ts) => (left + ((ts - span.since) / Math.max(span.until - span.since, 1)) * (width - left)).toFixed(1);
  const y = (value) => (height - 2 - (value / top) * (height - 4)).toFixed(1);
  const placed = run.map(({ ts, value }) => `${x(ts)},${y(value)}`);
  // A single point would be no line at all.
  return (placed.length > 1 ? placed : [`${x(run[0].ts - 500)},${y(run[0].value)}`, ...placed]).join(" ");
};

export const spanOf = (points) => ({ since: points[0]?.[0] ?? 0, until: points.at(-1)?.[0] ?? 1 });

export const Spark = ({ points, span = spanOf(points), label, width = 160, height = 28 }) => {
  const lines = runs(points, span);
  const top = Math.max(...lines.flat().map(({ value }) => value), 0) || 1;
  return html`<svg class="spark" viewBox="0 0 ${width} ${height}" preserveAspectRatio="none" role="img" aria-label=${label}>
    <line x1="0" x2=${width} y1=${height - 1} y2=${height - 1} class="axis" />
    ${lines.map((run, at) => html`<polyline key=${at} points=${place(run, span, top, { width, height })} vector-effect="non-scaling-stroke" />`)}
  </svg>`;
};

// The next higher of 1, 2, 5, 10, 20, … : the top of an axis.
const roundUp = (value) => {
  const power = 10 ** Math.floor(Math.log10(value || 1));
  return [1, 2, 5, 10].find((each) => each * power >= value) * power;
};

// Several lines with an axis; each has its own dash, so that colour is not needed. series: [[name, points], …].
export const Chart = ({ series, span, write, label }) => {
  const size = { width: 900, height: 160 };
  const lines = series.map(([name, points]) => [name, runs(points, span), points.findLast(([, value]) => isKnown(value))?.[1]]);
  const top = roundUp(Math.max(...lines.flatMap(([, found]) => found.flat()).map(({ value }) => value), 0));
  const isEmpty = lines.every(([, found]) => found.length === 0);
  return html`<figure class="chart">
    <div class="scale" aria-hidden="true">${[1, 0.5, 0].map((share) => html`<span key=${share}>${isEmpty ? "" : share === 0 ? "0" : write(top * share)}</span>`)}</div>
    <svg viewBox="0 0 ${size.width} ${size.height}" preserveAspectRatio="none" role="img" aria-label=${label}>
      ${[0, 0.5, 1].map((share) => html`<line key=${share} class="axis" x1="0" x2=${size.width} y1=${2 + (size.height - 4) * share} y2=${2 + (size.height - 4) * share} />`)}
      ${lines.map(([name, found], line) => found.map((run, at) => html`<polyline key=${`${name}${at}`} class="line${line}" points=${place(run, span, top, size)} vector-effect="non-scaling-stroke" />`))}
    </svg>
    <p class="legend">${lines.map(([name, , last], line) => html`<span key=${name}><svg viewBox="0 0 28 8" aria-hidden="true"><line class="line${line}" x1="0" x2="28" y1="4" y2="4" /></svg> ${name} ${isKnown(last) ? write(last) : UNKNOWN}</span>`)}</p>
    ${isEmpty ? html`<p class="none">Nothing was measured in this time.</p>` : ""}
  </figure>`;
};
