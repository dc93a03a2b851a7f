// What an operator may do. Each: a dialog with what it will do (told by the server), then a row that says how it went.
import { useEffect, useRef, useState } from "preact/hooks";
import { api, feed } from "./feed.js";
import { text } from "./format.js";
import { html } from "./html.js";
import { Table } from "./parts.js";

const KINDS = {
  savepoint: { title: "Take a savepoint", does: "Writes the whole state to a folder that is kept until it is deleted. Serving goes on." },
  rescale: { title: "Rescale", does: "Changes the number of workers. Requests wait while state moves; none is lost.", asks: "workers" },
  dlq_retry: { title: "Retry dead letters", does: "Hands the records to their operator again." },
  dlq_drop: { title: "Drop dead letters", does: "Deletes the records for good.", typed: true },
};
const OVER = new Set(["done", "failed", "skipped"]);
const OFFERED = ["savepoint", "rescale"];

const follow = async (id) => {
  while (!OVER.has(feed.state.ops[id]?.state)) {
    try {
      feed.keepOp(await api(`ops/${encodeURIComponent(id)}`));
    } catch (error) {
      feed.keepOp({ id, text: `not known how it goes: ${error.message}` });
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
};

const argsOf = (kind, given, form) => (KINDS[kind].asks === "workers" ? { ...given, workers: Number(form.get("workers")) } : given);

export const ActionDialog = ({ state, asked, close }) => {
  const { kind, args } = asked;
  const about = KINDS[kind];
  const dialog = useRef(null);
  const form = useRef(null);
  const [told, setTold] = useState({ text: null, error: null });
  const [typed, setTyped] = useState("");
  const [sent, setSent] = useState(false);
  useEffect(() => dialog.current.showModal(), []);
  const ask = async () => {
    try {
      const answer = await api("ops", { kind, args: argsOf(kind, args, new FormData(form.current)), dry_run: true });
      setTold({ text: answer.text ?? answer.effect ?? JSON.stringify(answer), error: null });
    } catch (error) {
      setTold({ text: null, error: error.message });
    }
  };
  useEffect(() => void ask(), []);
  const send = async (event) => {
    event.preventDefault();
    if (sent) return;
    setSent(true);
    try {
      const all = argsOf(kind, args, new FormData(form.current));
      const op = await api("ops", { kind, args: all, dry_run: false, expect: { plan_hash: state.plan.plan_hash } });
      feed.keepOp({ kind, state: "accepted", at: Date.now(), ...op });
      follow(op.id);
      close(true);
    } catch (error) {
      setTold({ ...told, error: error.message });
      setSent(false);
    }
  };
  const blocked = sent || (about.typed && typed !== state.plan.job);
  return html`<dialog ref=${dialog} aria-labelledby="dialog-title" onClose=${() => close(false)}>
    <form ref=${form} class="form" onSubmit=${send}>
      <h2 id="dialog-title">${about.title}</h2>
      <p>${about.does}</p>
      ${about.asks === "workers" ? html`<label>Workers <input name="workers" type="number" min="1" max="64" required value=${state.plan.workers} onChange=${ask} /></label>` : ""}
      <p class="effect" role="status">${told.text ?? (told.error ? "" : "Asking the server what this would do…")}</p>
      ${told.error ? html`<p class="problem" role="alert">${told.error}</p>` : ""}
      ${about.typed ? html`<label>To confirm, type the job's name: ${state.plan.job} <input autocomplete="off" value=${typed} onInput=${(event) => setTyped(event.target.value)} /></label>` : ""}
      <p class="buttons"><button type="button" onClick=${() => dialog.current.close()}>Cancel</button> <button class="go" disabled=${blocked}>${about.title}</button></p>
    </form>
  </dialog>`;
};

export const Operate = ({ state, open }) => {
  const rows = Object.values(state.ops).reverse().map((op) => {
    const progress = op.total ? ` ${op.done ?? 0}/${op.total}` : "";
    const failed = op.state === "failed";
    const word = html`<span class="state ${failed ? "bad" : op.state === "done" ? "ok" : "warn"}">${failed ? "■" : op.state === "done" ? "●" : "▲"} ${text(op.state)}${progress}</span>`;
    return { key: op.id, cells: [KINDS[op.kind]?.title ?? text(op.kind), word, op.text ?? (op.result ? JSON.stringify(op.result) : "–"), op.id] };
  });
  return html`${state.readOnly ? html`<p class="problem">This page is read-only: the server takes no actions from here.</p>` : ""}
    <ul class="actions">${OFFERED.map((kind) => html`<li key=${kind}><button disabled=${state.readOnly} onClick=${() => open(kind)}>${KINDS[kind].title}…</button> <span>${KINDS[kind].does}</span></li>`)}</ul>
    <h2>Operations</h2>
    <${Table} caption="Operations" columns=${["What", "State", "What it says", "Id"]} rows=${rows} empty="None since this page was opened." />`;
};
