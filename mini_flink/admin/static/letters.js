// Dead letters: by operator and error, with what they carried; to take away, to run again, to drop.
import { useEffect, useState } from "preact/hooks";
import { api } from "./feed.js";
import { ago, clock, count, rate, shorten, text } from "./format.js";
import { html } from "./html.js";
import { Copy, Problem, download, useAsked, useSteady } from "./parts.js";

const AT_ONCE = 3000;
// More different messages of a group are not counted.
const MANY = 50;

const pageOf = (group, cursor) => api(`deadletters?${new URLSearchParams({ ...(group && { group }), ...(cursor && { cursor }) })}`);

// The newest, page by page, while the caller wants more.
const gather = async (group, wants) => {
  const found = [];
  let cursor = null;
  do {
    const page = await pageOf(group, cursor);
    found.push(...page.dead_letters);
    cursor = page.cursor;
  } while (cursor && found.length < AT_ONCE && wants(found.at(-1)));
  return found.slice(0, AT_ONCE);
};

// Those that a retry has brought back: no request made them.
export const failedAgain = async (since) => {
  const isSince = (letter) => Date.parse(letter.failed_at) >= since;
  return (await gather(null, isSince)).filter((letter) => !letter.request_id && isSince(letter)).length;
};

// A list has the beginning of a long payload only: who takes letters away gets them whole.
const exported = async (group) => {
  const letters = await gather(group, () => true);
  for (const [at, letter] of letters.entries()) {
    if (letter.value?.endsWith("…")) letters[at] = await api(`deadletters/${encodeURIComponent(letter.error_id)}`).catch(() => letter);
  }
  return letters;
};

export const titleOf = (group) => `${group.type}: ${group.message}${group.messages > 1 ? ` (and ${group.messages < MANY ? group.messages - 1 : "many"} other messages)` : ""}`;
export const whenOf = (group) => {
  const [first, last] = [Date.parse(group.first_seen), Date.parse(group.last_seen)];
  return `first ${clock(first)}, last ${clock(last)} (${ago(Date.now() - last)})`;
};

// Retry, export, drop: of one group, or of all. What is meant are those that are there when the button is
// pressed, by their ids, and none that comes after; only where they are too many, all that there are.
const Deeds = ({ group, many, state, open, children }) => {
  const [said, setSaid] = useState(null);
  const these = group ? "these" : "all";
  const act = (kind) => async () => {
    setSaid("Looking for them…");
    try {
      if (!group && many > AT_ONCE) open(kind, { all: true }, state.tick.dlq.present);
      else {
        const ids = (await gather(group, () => true)).map((letter) => letter.error_id);
        open(kind, { ids }, ids.length);
      }
      setSaid(null);
    } catch (error) {
      setSaid(error.message);
    }
  };
  const take = () => {
    setSaid("Gathering them…");
    exported(group).then(
      (letters) => {
        download(`dead-letters-${state.plan.job}.json`, letters);
        setSaid(letters.length < many ? `Exported the newest ${count(letters.length)}` : null);
      },
      (error) => setSaid(error.message),
    );
  };
  return html`<p class="buttons start">${children}
    <button onClick=${act("dlq_retry")}>Retry ${these} ${count(many)}…</button>
    <button onClick=${take}>Export as JSON</button>
    <button onClick=${act("dlq_drop")}>Drop ${these} ${count(many)}…</button>
    <span class="soft" role="status">${said}</span>
  </p>`;
};

const Letter = ({ letter, state, open, isOpen }) => {
  const [whole, setWhole] = useState(null);
  const [error, setError] = useState(null);
  const look = (event) =>
    event.target.open && !whole && api(`deadletters/${encodeURIComponent(letter.error_id)}`).then(setWhole, (problem) => setError(problem.message));
  const one = { ids: [letter.error_id] };
  const trace = (whole?.traceback ?? [...letter.frames, letter.error]).join("\n");
  return html`<details class="letter" open=${isOpen} onToggle=${look}>
    <summary>${letter.error_id} · ${clock(Date.parse(letter.failed_at))}${letter.key ? ` · key ${shorten(letter.key, 60)}` : ""}</summary>
    ${error ? html`<${Problem}>${error}<//>` : ""}
    <h3>Payload</h3><pre tabindex="0">${whole?.value ?? letter.value ?? "not shown here: payloads are switched off (admin_payloads)"}</pre>
    <h3>Traceback <${Copy} text=${trace} /></h3><pre tabindex="0">${trace}</pre>
    <p>${letter.request_id ? `Request ${letter.request_id}` : "Failed when it was retried"}, worker ${letter.worker}.</p>
    <p class="buttons start"><button onClick=${() => open("dlq_retry", one, 1)}>Retry…</button>
      <button onClick=${() => open("dlq_drop", one, 1)}>Drop…</button></p>
  </details>`;
};

// Loaded when they are asked for, and no more by themselves: nothing moves under the pointer.
const Records = ({ group, state, open }) => {
  const [page, setPage] = useState({ letters: [], cursor: null, error: null });
  const load = (known, cursor) =>
    pageOf(group.group, cursor).then(
      (found) => setPage({ letters: [...known, ...found.dead_letters], cursor: found.cursor, error: null }),
      (error) => setPage({ ...page, error: error.message }),
    );
  useEffect(() => void load([], null), []);
  const newer = group.error_id !== page.letters[0]?.error_id && page.letters.length > 0;
  return html`${page.error ? html`<${Problem}>${page.error}<//>` : ""}
    ${newer ? html`<p><button onClick=${() => load([], null)}>There are newer ones: show them</button></p>` : ""}
    ${page.letters.map((letter) => html`<${Letter} key=${letter.error_id} letter=${letter} state=${state} open=${open} />`)}
    ${page.cursor ? html`<p><button onClick=${() => load(page.letters, page.cursor)}>Show more</button></p>` : ""}`;
};

const Group = ({ group, state, open, name }) => {
  const [isOpen, setOpen] = useState(false);
  const title = titleOf(group);
  return html`<section class="group">
    <h2 title=${`${name} · ${title}`}>${shorten(name, 60)} · ${title} <span class="many">×${count(group.count)}</span></h2>
    <p class="soft">${group.location ?? "before any operator"} · ${whenOf(group)}</p>
    <${Deeds} group=${group.group} many=${group.count} state=${state} open=${open}>
      <button aria-expanded=${isOpen} onClick=${() => setOpen(!isOpen)}>${isOpen ? "Hide the records" : "Show the records"}</button>
    <//>
    ${isOpen ? html`<${Records} group=${group} state=${state} open=${open} />` : ""}
  </section>`;
};

// The one that a link names, as that in the answer of a server under --dev.
const Named = ({ id, state, open }) => {
  const asked = useAsked(`deadletters/${encodeURIComponent(id)}`, 5000);
  if (asked.error) return html`<${Problem}>The dead letter ${id} is not there, or not any more: ${asked.error}<//>`;
  return asked.content ? html`<${Letter} letter=${asked.content} state=${state} open=${open} isOpen />` : "";
};

export const DeadLetters = ({ state, route, open }) => {
  const named = route.params.get("id");
  const asked = useAsked("errors", 5000);
  const { dlq } = state.tick ?? {};
  useEffect(() => asked.again(), [dlq?.total, dlq?.present]);
  const [steady, place] = useSteady(asked.content?.errors ?? [], (group) => group.group);
  const listed = steady.reduce((sum, group) => sum + group.count, 0);
  const all = asked.content?.complete === false ? Math.max(listed, dlq?.present ?? 0) : listed;
  const nameOf = (id) => state.plan.nodes.find((node) => node.id === id)?.name ?? id;
  return html`<h1>Dead letters</h1>
    <p>Records that failed, kept with what they carried: <b>${asked.content ? count(all) : "?"}</b> are there now. ${count(dlq?.total)} failed since the server started; ${rate(dlq?.rate)} at present.</p>
    ${asked.error ? html`<${Problem}>${text(asked.error)} <button onClick=${asked.again}>Ask again</button><//>` : ""}
    ${asked.content && all === 0 ? html`<p class="empty">● None. Nothing was lost on the way.</p>` : ""}
    ${named ? html`<${Named} key=${named} id=${named} state=${state} open=${open} />` : ""}
    ${all > 0 ? html`<${Deeds} group=${null} many=${all} state=${state} open=${open} />` : ""}
    <div ref=${place}>${steady.map((group) => html`<${Group} key=${group.group} group=${group} state=${state} open=${open} name=${nameOf(group.operator)} />`)}</div>`;
};
