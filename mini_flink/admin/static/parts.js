// Small parts that several views use.
import { useEffect, useRef, useState } from "preact/hooks";
import { api, feed } from "./feed.js";
import { level } from "./format.js";
import { html } from "./html.js";

// Shape and word; colour only repeats them.
export const State = ({ state, ...more }) =>
  html`<span class="state ${state.level}" ...${more}><span aria-hidden="true">${level(state.level).shape}</span> ${state.word}</span>`;

// A table that scrolls in itself, never the page; rows are arrays of cells, the first is the row's header.
export const Table = ({ caption, columns, rows, empty }) =>
  rows.length === 0
    ? html`<p class="empty">${empty}</p>`
    : html`<div class="scroll" tabindex="0" role="region" aria-label=${caption}>
        <table>
          <caption class="unseen">${caption}</caption>
          <thead><tr>${columns.map((name) => html`<th key=${name} scope="col">${name}</th>`)}</tr></thead>
          <tbody>
            ${rows.map((row) => html`<tr key=${row.key}>
              ${row.cells.map((cell, at) => (at === 0 ? html`<th key=${at} scope="row">${cell}</th>` : html`<td key=${at}>${cell}</td>`))}
            </tr>`)}
          </tbody>
        </table>
      </div>`;

export const Facts = ({ facts }) =>
  html`<dl>${facts.filter(Boolean).map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;

export const Problem = ({ children }) => html`<p class="problem" role="alert">${children}</p>`;

// A button that copies, and says that it has: where the browser does not let it, the text is there to be marked.
export const Copy = ({ text }) => {
  const [said, setSaid] = useState("Copy");
  const copy = () => (navigator.clipboard ? navigator.clipboard.writeText(text) : Promise.reject()).then(() => setSaid("Copied"), () => setSaid("Not allowed here: mark the text"));
  return html`<button type="button" onClick=${copy}>${said}</button>`;
};

export const download = (name, content) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(content, null, 2)], { type: "application/json" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
};

// An answer of the API, asked for again every so often; not while the page is paused or out of sight.
export const useAsked = (path, everyMs) => {
  const [asked, setAsked] = useState({ content: null, error: null });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let live = true;
    const ask = () =>
      api(path).then(
        (content) => live && setAsked({ content, error: null }),
        (error) => live && setAsked((before) => ({ ...before, error: error.message })),
      );
    void ask();
    const timer = setInterval(() => feed.state.paused || document.hidden || ask(), everyMs);
    return () => {
      live = false;
      clearInterval(timer);
    };
  }, [path, turn]);
  return { ...asked, again: () => setTurn(turn + 1) };
};

// Rows in an order that holds still while somebody points at them or has the focus in them.
export const useSteady = (rows, keyOf) => {
  const place = useRef(null);
  const order = useRef([]);
  const isHeld = place.current && (place.current.matches(":hover") || place.current.contains(document.activeElement));
  if (!isHeld) order.current = rows.map(keyOf);
  const at = (row) => {
    const found = order.current.indexOf(keyOf(row));
    return found < 0 ? order.current.length : found;
  };
  return [[...rows].sort((a, b) => at(a) - at(b)), place];
};

// Tabs as the pattern wants them: one is in the order of the keyboard, arrows go to the others.
export const Tabs = ({ tabs, chosen, choose, label }) => {
  const onKey = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const names = tabs.map(([name]) => name);
    const next = names[(names.indexOf(chosen) + step + names.length) % names.length];
    choose(next);
    event.currentTarget.querySelector(`[data-tab="${next}"]`).focus();
  };
  return html`<div class="tabs" role="tablist" aria-label=${label} onKeyDown=${onKey}>
    ${tabs.map(([name, title]) => html`<button key=${name} type="button" role="tab" id="tab-${name}" data-tab=${name} aria-selected=${name === chosen} aria-controls="panel" tabindex=${name === chosen ? 0 : -1} onClick=${() => choose(name)}>${title}</button>`)}
  </div>`;
};
