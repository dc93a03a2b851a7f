// A line of the last points. Gaps stay gaps: what was not measured is not drawn as zero.
import { html } from "./html.js";

export const Spark = ({ values, label, width = 140, height = 28 }) => {
  const known = values.filter((value) => value !== null && value !== undefined);
  const top = Math.max(...known, 0) || 1;
  const step = width / Math.max(values.length - 1, 1);
  const lines = [];
  let line = [];
  values.forEach((value, at) => {
    if (value === null || value === undefined) {
      if (line.length) lines.push(line);
      line = [];
    } else line.push(`${(at * step).toFixed(1)},${(height - 2 - (value / top) * (height - 4)).toFixed(1)}`);
  });
  if (line.length) lines.push(line);
  return html`<svg class="spark" viewBox="0 0 ${width} ${height}" preserveAspectRatio="none" role="img" aria-label=${label}>
    <line x1="0" x2=${width} y1=${height - 1} y2=${height - 1} class="axis" />
    ${lines.map((points, at) => html`<polyline key=${at} points=${points.join(" ")} vector-effect="non-scaling-stroke" />`)}
  </svg>`;
};
