// Dead letters: by operator and error, with what they carried; to take away, to run again, to drop.
import { useEffect, useState } from "preact/hooks";
import { api } from "./feed.js";
import { ago, clock, count, rate, shorten, text } from "./format.js";
import { html } from "./html.js";
import { Copy, Problem, download, useAsked } from "./parts.js";

const SHOWN = 20;
const MOST_IDS = 3000;

const typeOf = (letter) => letter.error.split(":", 1)[0];
const traceOf = (letter) => [...letter.frames, letter.error].join("\n");
const time = (letter) => Date.parse(letter.failed_at);

// One group for what failed at one place with one kind of error: messages differ in the values they name.
export const groups = (letters) => {
  const found = new Map();
  for (const letter of letters) {
    const id = [letter.operator, typeOf(letter), letter.frames.at(-1) ?? ""].join("\n");
    const group = found.get(id) ?? { id, operator: letter.operator, type: typeOf(letter), letters: [], messages: new Set() };
    group.letters.push(letter);
    group.messages.add(letter.error);
    found.set(id, group);
  }
  for (const group of found.values()) {
    group.letters.sort((a, b) => time(b) - time(a));
    group.last = group.letters[0];
    group.title = group.messages.size === 1 ? group.last.error : `${group.last.error} (and ${group.messages.size - 1} other messages)`;
    group.when = `first ${clock(time(group.letters.at(-1)))}, last ${clock(time(group.last))} (${ago(Date.now() - time(group.last))})`;
  }
  return [...found.values()].sort((a, b) => b.letters.length - a.letters.length);
};

// Those that a retry has brought back: no request made them.
export const failedAgain = (letters, since) => letters.filter((letter) => !letter.request_id && time(letter) >= since);

const Letter = ({ letter, state, open }) => {
  const [whole, setWhole] = useState(letter);
  const look = (event) =>
    // A list has the beginning of a long payload only.
    event.target.open && whole.value?.endsWith("…") && api(`deadletters/${encodeURIComponent(letter.error_id)}`).then(setWhole, () => {});
  const one = { ids: [letter.error_id] };
  return html`<details class="letter" onToggle=${look}>
    <summary>${letter.error_id} · ${clock(time(letter))} · ${letter.key ? `key ${letter.key}` : "no key"}</summary>
    <h3>Payload</h3><pre tabindex="0">${whole.value ?? "not shown here: payloads are switched off (admin_payloads)"}</pre>
    <h3>Traceback <${Copy} text=${traceOf(whole)} /></h3><pre tabindex="0">${traceOf(whole)}</pre>
    <p>${letter.request_id ? `Request ${letter.request_id}` : "Failed when it was retried"}, worker ${letter.worker}.</p>
    <p class="buttons start"><button disabled=${state.readOnly} onClick=${() => open("dlq_retry", one, 1)}>Retry…</button>
      <button disabled=${state.readOnly} onClick=${() => open("dlq_drop", one, 1)}>Drop…</button></p>
  </details>`;
};

const Group = ({ group, state, open, name }) => {
  const [all, setAll] = useState(false);
  const { letters } = group;
  const args = { ids: letters.map((letter) => letter.error_id) };
  return html`<section class="group">
    <h2 title=${`${name} · ${group.title}`}><span class="clamp">${shorten(name, 60)} · ${group.title}</span> <span class="many">×${count(letters.length)}</span></h2>
    <p class="soft">${group.last.frames.at(-1) ?? "before any operator"} · ${group.when}</p>
    <p class="buttons start">
      <button disabled=${state.readOnly} onClick=${() => open("dlq_retry", args, letters.length)}>Retry these ${count(letters.length)}…</button>
      <button onClick=${() => download(`dead-letters-${state.plan.job}.json`, letters)}>Export as JSON</button>
      <button disabled=${state.readOnly} onClick=${() => open("dlq_drop", args, letters.length)}>Drop these ${count(letters.length)}…</button>
    </p>
    ${letters.slice(0, all ? undefined : SHOWN).map((letter) => html`<${Letter} key=${letter.error_id} letter=${letter} state=${state} open=${open} />`)}
    ${letters.length > SHOWN && !all ? html`<p><button onClick=${() => setAll(true)}>Show all ${count(letters.length)}</button></p>` : ""}
  </section>`;
};

export const DeadLetters = ({ state, open }) => {
  const asked = useAsked("deadletters", 5000);
  const { dlq } = state.tick ?? {};
  useEffect(() => asked.again(), [dlq?.total]);
  const letters = asked.content?.dead_letters ?? [];
  const more = asked.content?.more ?? 0;
  const all = letters.length + more;
  // Those that are seen, and none that has come since; only where they are too many all that there are.
  const every = more > 0 || letters.length > MOST_IDS ? { all: true } : { ids: letters.map((letter) => letter.error_id) };
  const nameOf = (id) => state.plan.nodes.find((node) => node.id === id)?.name ?? id;
  return html`<h1>Dead letters</h1>
    <p>Records that failed, kept with what they carried: ${asked.content ? count(all) : "?"} are there now. ${count(dlq?.total)} failed since the server started; ${rate(dlq?.rate)} at present.</p>
    ${asked.error ? html`<${Problem}>${text(asked.error)} <button onClick=${asked.again}>Ask again</button><//>` : ""}
    ${asked.content && all === 0 ? html`<p class="empty">● None. Nothing was lost on the way.</p>` : ""}
    ${all > 0 ? html`<p class="buttons start">
      <button disabled=${state.readOnly} onClick=${() => open("dlq_retry", every, all)}>Retry all ${count(all)}…</button>
      <button onClick=${() => download(`dead-letters-${state.plan.job}.json`, letters)}>Export as JSON</button>
      <button disabled=${state.readOnly} onClick=${() => open("dlq_drop", every, all)}>Drop all ${count(all)}…</button></p>` : ""}
    ${more > 0 ? html`<p class="problem">${count(more)} more are there than can be listed at once. They come up when these are retried or dropped.</p>` : ""}
    ${groups(letters).map((group) => html`<${Group} key=${group.id} group=${group} state=${state} open=${open} name=${nameOf(group.operator)} />`)}`;
};
