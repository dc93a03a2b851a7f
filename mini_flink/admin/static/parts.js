// Small parts that several views use.
import { level } from "./format.js";
import { html } from "./html.js";

// Shape and word; colour only repeats them.
export const State = ({ state }) =>
  html`<span class="state ${state.level}"><span aria-hidden="true">${level(state.level).shape}</span> ${state.word}</span>`;

// A table that scrolls in itself, never the page; rows are arrays of cells, the first is the row's header.
export const Table = ({ caption, columns, rows, empty }) =>
  rows.length === 0
    ? html`<p class="empty">${empty}</p>`
    : html`<div class="scroll" tabindex="0" role="region" aria-label=${caption}>
        <table>
          <caption>${caption}</caption>
          <thead><tr>${columns.map((name) => html`<th key=${name} scope="col">${name}</th>`)}</tr></thead>
          <tbody>
            ${rows.map((row) => html`<tr key=${row.key}>
              ${row.cells.map((cell, at) => (at === 0 ? html`<th key=${at} scope="row">${cell}</th>` : html`<td key=${at}>${cell}</td>`))}
            </tr>`)}
          </tbody>
        </table>
      </div>`;
