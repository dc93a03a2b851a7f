// What an operator may do. Each: a dialog with what it will do (told by the server), then a row that says how it went.
import { useEffect, useRef, useState } from "preact/hooks";
import { Refused, api, feed } from "./feed.js";
import { clock, count, text } from "./format.js";
import { html } from "./html.js";
import { failedAgain } from "./letters.js";
import { Problem, Table } from "./parts.js";

// asks: a field of the form. over: what is said at the end, in place of how far it was. confirm: what has to be typed, the job's name or the count of what is meant.
const KINDS = {
  savepoint: { title: "Take a savepoint", does: "Writes the whole state to a folder that is kept until it is deleted. Serving goes on." },
  rescale: { title: "Rescale", does: "Changes the number of workers, or of an operator's subtasks. Requests wait while state moves; none is lost.", asks: "scale", over: "state has moved" },
  cancel: { title: "Call off the change", does: "Ends the rescale, upgrade or reload that is under way: the server goes on as it was before.", over: "called off" },
  drain: { title: "Drain", does: "Lets nobody in, answers what is in flight, and writes everything down. New requests get 503 until it is resumed.", confirm: "job", over: "the door is closed, workers are at rest" },
  resume: { title: "Resume", does: "Lets requests in again after a drain.", over: "requests are let in again" },
  dlq_retry: { title: "Retry dead letters", does: "Hands the records to their operator again. What fails once more is a dead letter again.", confirm: "count", elsewhere: true },
  dlq_drop: { title: "Drop dead letters", does: "Deletes the records for good. Export them first if they may be wanted.", confirm: "job", elsewhere: true },
};
// As the option "workers" has it.
const MAX_WORKERS = 128;
const OVER = new Set(["done", "failed", "skipped"]);
// Also while it is rescaled behind its closed door.
const isDrained = (state) => /^drain(ed|ing)/.test(state.tick?.state ?? "");

const isChanging = (state) => /[(]/.test(state.tick?.state ?? "");
const FITS = { cancel: isChanging, resume: isDrained, drain: (state) => !isDrained(state) };

const follow = async (id) => {
  while (!OVER.has(feed.state.ops[id]?.state)) {
    try {
      feed.keepOp(await api(`ops/${encodeURIComponent(id)}`));
    } catch (error) {
      if (error instanceof Refused && error.status === 404) return feed.keepOp({ id, state: "failed", text: "the server no longer knows of it: see the events for how it ended" });
      feed.keepOp({ id, text: `not known how it goes: ${error.message}` });
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
};

// What a retry has run may fail again a little later: it is counted apart, and for a while.
const LOOKS_MS = [500, 2000, 6000];
const settled = new Set();
const settle = async (op) => {
  if (op.kind !== "dlq_retry" || op.state !== "done" || settled.has(op.id)) return;
  settled.add(op.id);
  for (const wait of LOOKS_MS) {
    await new Promise((resolve) => setTimeout(resolve, wait));
    const again = await failedAgain(op.ts).catch(() => null);
    if (again !== null) feed.keepOp({ id: op.id, again });
  }
};

const argsOf = (kind, given, form, plan) => {
  if (kind === "drain") return { ...given, job: plan.job };
  if (KINDS[kind].asks !== "scale") return given;
  const operator = form.get("operator");
  const parallelisms = operator ? { parallelisms: { [operator]: Number(form.get("parallelism")) } } : {};
  return { ...given, workers: Number(form.get("workers")), ...parallelisms };
};

const changes = (kind, { workers, parallelisms = {} }, plan) =>
  KINDS[kind].asks !== "scale" || workers !== plan.workers || Object.entries(parallelisms).some(([id, many]) => plan.nodes.find((node) => node.id === id)?.parallelism !== many);

const Scale = ({ plan, ask }) => {
  const able = plan.nodes.filter((node) => !node.in_gateway);
  const [operator, setOperator] = useState("");
  useEffect(ask, [operator]);
  return html`<label>Workers <input name="workers" type="number" min="1" max=${MAX_WORKERS} required defaultValue=${plan.workers} onChange=${ask} /></label>
    <label>Subtasks of <select name="operator" value=${operator} onChange=${(event) => setOperator(event.target.value)}>
      <option value="">no operator: as they are</option>${able.map((node) => html`<option key=${node.id} value=${node.id}>${node.name}, now ${node.parallelism}</option>`)}
    </select></label>
    ${operator ? html`<label key=${operator}>Number of subtasks <input name="parallelism" type="number" min="1" max=${plan.max_parallelism} required defaultValue=${able.find((node) => node.id === operator).parallelism} onChange=${ask} /></label>` : ""}`;
};

export const ActionDialog = ({ state, asked, close }) => {
  const { kind, args, many } = asked;
  const about = KINDS[kind];
  const dialog = useRef(null);
  const form = useRef(null);
  const [told, setTold] = useState({ text: null, error: null });
  const [typed, setTyped] = useState("");
  const [sent, setSent] = useState(false);
  const [isSame, setSame] = useState(false);
  useEffect(() => dialog.current.showModal(), []);
  const chosen = () => argsOf(kind, args, new FormData(form.current), state.plan);
  const ask = () => {
    setSame(!changes(kind, chosen(), state.plan));
    api("ops", { kind, args: chosen(), dry_run: true }).then(
      (answer) => setTold({ text: answer.text, error: null }),
      (error) => setTold({ text: null, error: error.message }),
    );
  };
  useEffect(ask, []);
  const send = async (event) => {
    event.preventDefault();
    if (sent || isBlocked || isSame) return;
    setSent(true);
    const expect = { plan_hash: state.plan.plan_hash, ...(args.all ? { count: many } : {}) };
    try {
      const op = await api("ops", { kind, args: chosen(), dry_run: false, expect });
      feed.keepOp(op);
      void follow(op.id);
      close(true);
    } catch (error) {
      setTold({ ...told, error: error.message });
      setSent(false);
    }
  };
  const wanted = about.confirm === "job" ? state.plan.job : about.confirm === "count" && many > 1 ? String(many) : null;
  const isBlocked = wanted !== null && typed !== wanted;
  return html`<dialog ref=${dialog} aria-labelledby="dialog-title" onClose=${() => close(false)}>
    <form ref=${form} class="form" onSubmit=${send}>
      <h2 id="dialog-title">${about.title}${many ? ` (${count(many)})` : ""}</h2>
      <p>${about.does}</p>
      ${about.asks === "scale" ? html`<${Scale} plan=${state.plan} ask=${ask} />` : ""}
      <p class="effect" role="status">${isSame ? "Nothing would change: choose another number." : told.text ?? (told.error ? "" : "Asking the server what this would do…")}</p>
      ${told.error && !isSame ? html`<${Problem}>${told.error}<//>` : ""}
      ${wanted === null ? "" : html`<label>To confirm, type ${about.confirm === "job" ? "the job's name" : "how many"}: <b>${wanted}</b>
        <input name="typed" autocomplete="off" value=${typed} onInput=${(event) => setTyped(event.target.value)} /></label>`}
      <p class="buttons"><button type="button" onClick=${() => dialog.current.close()}>Cancel</button> <button class="go" disabled=${sent || isBlocked || isSame}>${about.title}</button></p>
    </form>
  </dialog>`;
};

const LEVELS = { done: "ok", failed: "bad", skipped: "warn" };
const SHAPES = { ok: "●", bad: "■", warn: "▲" };

const outcome = (op) => {
  const { result } = op;
  const words = [op.state === "done" ? (KINDS[op.kind]?.over ?? op.text) : op.text];
  if (result?.retried !== undefined) words.push(`${count(result.retried)} were retried, ${count(result.skipped)} skipped`);
  if (result?.dropped !== undefined) words.push(`${count(result.dropped)} were dropped, ${count(result.skipped)} skipped`);
  if (op.again > 0) words.push(`${count(op.again)} failed again and are dead letters once more`);
  if (op.again === 0) words.push("none has failed again so far");
  return words.filter(Boolean).join("; ") || "–";
};

export const Operations = ({ state }) => {
  const ops = Object.values(state.ops).sort((a, b) => b.ts - a.ts);
  useEffect(() => ops.forEach((op) => void settle(op)), [ops.map((op) => op.state).join()]);
  const rows = ops.map((op) => {
    const level = LEVELS[op.state] ?? "warn";
    const progress = op.total ? ` ${op.done ?? 0}/${op.total}` : "";
    const word = html`<span class="state ${level}"><span aria-hidden="true">${SHAPES[level]}</span> ${text(op.state)}${progress}</span>`;
    return { key: op.id, cells: [KINDS[op.kind]?.title ?? text(op.kind), word, html`<span class="long">${outcome(op)}</span>`, clock(op.ts), text(op.who)] };
  });
  return html`<h2>Operations</h2>
    <${Table} caption="Operations" columns=${["What", "State", "What it says", "Since", "By"]} rows=${rows} empty="None since the server's page was started." />`;
};

export const Actions = ({ state, open }) => {
  const offered = Object.keys(KINDS).filter((kind) => !KINDS[kind].elsewhere && state.kinds.includes(kind));
  const fits = (kind) => FITS[kind]?.(state) ?? true;
  return html`<h1>Actions</h1>
    <ul class="actions">${offered.filter(fits).map((kind) => html`<li key=${kind}><button onClick=${() => open(kind)}>${KINDS[kind].title}…</button> <span>${KINDS[kind].does}</span></li>`)}</ul>
    <${Operations} state=${state} />`;
};
