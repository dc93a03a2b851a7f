// Keys: what the state of one key is and who owns it, or all keys of an operator page by page.
import { useRef } from "preact/hooks";
import { NONE, bytes, count, text } from "./format.js";
import { html } from "./html.js";
import { Copy, Problem, Table, useAsked } from "./parts.js";

const PAGE_MS = 60_000; // a page stands still while it is read
const KEY_MS = 2000;
const ROWS = 50;

const query = (given) => new URLSearchParams(Object.entries(given).filter(([, value]) => value !== null && value !== ""));
const place = (where) => `key group ${where.key_group}, subtask ${where.subtask}, worker ${where.worker}`;
const kind = (row) => (row.type ? `${row.kind} of ${row.type}` : row.kind);

const remarks = (row) =>
  [
    row.bytes === null ? "size not counted" : bytes(row.bytes),
    row.kind === "map" ? (row.entries === null ? "many entries" : `${count(row.entries)} ${row.entries === 1 ? "entry" : "entries"}`) : null,
    row.kind === "aggregating" ? "this is its accumulator" : null,
    row.decoded ? null : "as it is stored: it is too long, or cannot be decoded",
    row.cut ? "only the beginning is shown" : null,
  ].filter(Boolean).join(" · ");

const Value = ({ row }) => html`<section>
  <h3>${row.state} <span class="soft">${kind(row)}</span> <${Copy} text=${row.text} /></h3>
  <pre tabindex="0" aria-label=${`State ${row.state}`}>${row.text}</pre>
  <p class="soft">${remarks(row)}</p>
</section>`;

// Its own component, by key and operator: what was found for another key is never shown below this one's name.
const Found = ({ node, wanted }) => {
  const { content, error, again } = useAsked(`keys/${encodeURIComponent(node.id)}?${new URLSearchParams({ key: wanted })}`, KEY_MS);
  const owner = content?.owners[0];
  return html`<div class="group" role="region" aria-label="State of the key">
    <h2>Key ${content ? html`<code>${JSON.stringify(content.key)}</code>` : html`<code>${wanted}</code>`}</h2>
    ${error ? html`<${Problem}>${text(error)} <button onClick=${again}>Ask again</button><//>` : ""}
    ${owner ? html`<p>${node.name}: ${place(owner)}.</p>` : ""}
    ${!content && !error ? html`<p class="empty">Asking its owner…</p>` : ""}
    ${content && content.states.length === 0 ? html`<p class="empty">This key has no state here. ${content.hint ? `${content.hint}.` : ""}</p>` : ""}
    ${content?.states.map((row) => html`<${Value} key=${row.state} row=${row} />`)}
    ${content?.states.length ? html`<p class="soft">As committed; asked again every 2 s.</p>` : ""}
  </div>`;
};

const Page = ({ node, after, look, turn }) => {
  const { content, error, again } = useAsked(`keys/${encodeURIComponent(node.id)}?${query({ limit: ROWS, after })}`, PAGE_MS);
  const rows = (content?.rows ?? []).map((row, at) => ({
    key: at,
    cells: [
      row.key === null
        ? html`<span class="long">${row.key_text.slice(0, 80)}…</span>`
        : html`<button class="link long" onClick=${() => look(row.key_text)}>${row.key_text.length > 80 ? `${row.key_text.slice(0, 79)}…` : row.key_text}</button>`,
      row.state,
      html`<span class="long">${row.text.length > 120 ? `${row.text.slice(0, 119)}…` : row.text}</span>`,
      row.bytes === null ? NONE : bytes(row.bytes),
      row.key_group,
      row.worker,
    ],
  }));
  return html`<h2>All keys, in stored order</h2>
    ${error ? html`<${Problem}>${text(error)} <button onClick=${again}>Ask again</button><//>` : ""}
    ${content ? html`<${Table} caption=${`Keys of ${node.name}`} columns=${["Key", "State", "Value", "Size", "Key group", "Worker"]} rows=${rows} empty=${after ? "No more keys." : "No key has state yet."} />` : error ? "" : html`<p class="empty">Asking the workers…</p>`}
    <p class="buttons start">
      <button disabled=${!after} onClick=${() => turn(null)}>First page</button>
      <button disabled=${!content?.after} onClick=${() => turn(content.after)}>Next page</button>
      <button onClick=${again}>Read again</button>
    </p>`;
};

export const Keys = ({ state, route, go }) => {
  const field = useRef(null);
  const nodes = state.plan.nodes.filter((node) => node.keyed && node.stage === node.id);
  const node = nodes.find((each) => each.id === route.params.get("node")) ?? nodes[0];
  const wanted = route.params.get("key");
  const after = route.params.get("after");
  if (!node) return html`<h1>Keys</h1><p class="empty">No operator of this job has a key: state belongs to a key.</p>`;
  const look = (key) => {
    go("keys", { node: node.id, key });
    scrollTo(0, 0);
    field.current?.focus();
  };
  const send = (event) => {
    event.preventDefault();
    look(field.current.value === "" ? null : field.current.value);
  };
  return html`<h1>Keys</h1>
    <form class="form" onSubmit=${send}>
      <label>Operator <select name="node" value=${node.id} onChange=${(event) => go("keys", { node: event.target.value, after: null })}>${nodes.map((each) => html`<option key=${each.id} value=${each.id}>${each.name}</option>`)}</select></label>
      <label>Key <input key=${wanted} ref=${field} name="key" autocomplete="off" spellcheck=${false} aria-describedby="key-help" defaultValue=${wanted ?? ""} /></label>
      <p class="soft" id="key-help">As JSON: 42, true, ["a", 1] for a tuple. Any other text is the string itself; the string 42 is "42" in quotes.</p>
      <button class="go">Look it up</button>
    </form>
    ${wanted === null ? "" : html`<${Found} key=${`${node.id} ${wanted}`} node=${node} wanted=${wanted} />`}
    <${Page} key=${`${node.id} ${after}`} node=${node} after=${after} look=${look} turn=${(cursor) => go("keys", { node: node.id, after: cursor })} />`;
};
