// Numbers and states as words. 0 is a measured zero, – is "does not apply", ? is "not known".
export const NONE = "–";
export const UNKNOWN = "?";

const known = (value, write) => (value === null || value === undefined ? UNKNOWN : write(value));

const scaled = (value, units, step) => {
  let unit = 0;
  while (Math.abs(value) >= step * 0.9995 && unit < units.length - 1) {
    value /= step;
    unit += 1;
  }
  const digits = value === 0 || Math.abs(value) >= 100 || (unit === 0 && Number.isInteger(value)) ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return `${Number(value.toFixed(digits))}${units[unit]}`;
};

export const count = (value) => known(value, (v) => scaled(v, ["", "k", "M", "G", "T"], 1000));
export const rate = (value) => known(value, (v) => `${scaled(v, ["", "k", "M", "G"], 1000)}/s`);
export const bytes = (value) => known(value, (v) => scaled(v, [" B", " KB", " MB", " GB", " TB"], 1024));
export const percent = (value) => known(value, (v) => (v > 0 && v < 0.01 ? "<1 %" : `${Math.round(v * 100)} %`));
export const micros = (value) =>
  known(value, (v) => (v < 1000 ? `${Math.round(v)} µs` : v < 1e6 ? `${Number((v / 1000).toPrecision(3))} ms` : seconds(v / 1e6)));
export const millis = (value) => known(value, (v) => (v < 1000 ? `${Math.round(v)} ms` : seconds(v / 1000)));
export const seconds = (value) =>
  known(value, (v) => {
    if (v < 60) return `${Number(v.toFixed(v < 10 && v % 1 ? 1 : 0))} s`;
    if (v < 3600) return `${Math.floor(v / 60)} min`;
    if (v < 86400) return `${Math.floor(v / 3600)} h ${Math.floor((v % 3600) / 60)} min`;
    return `${Math.floor(v / 86400)} d ${Math.floor((v % 86400) / 3600)} h`;
  });
// The day stands there only if it is not today.
export const clock = (ts) => {
  if (!ts) return UNKNOWN;
  const then = new Date(ts);
  const day = then.toDateString() === new Date().toDateString() ? "" : `${then.toLocaleDateString()} `;
  return `${day}${then.toLocaleTimeString([], { hour12: false })}`;
};
export const ago = (ms) => `${seconds(Math.max(0, Math.round(ms / 1000)))} ago`;
export const text = (value) => (value === null || value === undefined || value === "" ? UNKNOWN : String(value));

// The middle goes, not the end: names of one family differ at both ends.
const cut = (signs, length) => {
  const head = Math.ceil((length - 1) / 2);
  return `${signs.slice(0, head).join("")}…${signs.slice(signs.length - (length - 1 - head)).join("")}`;
};

export const shorten = (name, length) => {
  const signs = [...name];
  return signs.length <= length ? name : cut(signs, length);
};

const pen = document.createElement("canvas").getContext("2d");
const fitted = new Map();

// As much of a name as there is room for, as it is drawn: letters differ in width.
export const fit = (name, width, font) => {
  const key = `${font} ${width} ${name}`;
  if (!fitted.has(key)) {
    pen.font = font.replace("system-ui", getComputedStyle(document.documentElement).fontFamily);
    const signs = [...name];
    let length = signs.length;
    while (length > 3 && pen.measureText(length === signs.length ? name : cut(signs, length)).width > width) length -= 1;
    fitted.set(key, length === signs.length ? name : cut(signs, length));
  }
  return fitted.get(key);
};

// How long something took: of nothing, nothing is to be measured.
export const took = (value, many) => (many === 0 && (value === null || value === undefined) ? NONE : micros(value));

const LEVELS = {
  ok: { shape: "●", word: "OK" },
  idle: { shape: "○", word: "IDLE" },
  warn: { shape: "▲", word: "WARN" },
  bad: { shape: "■", word: "BAD" },
  stale: { shape: "?", word: "STALE" },
  unknown: { shape: "?", word: "UNKNOWN" },
};
export const level = (name) => LEVELS[name] ?? LEVELS.unknown;

// The server says how things stand, and keeps its words from flickering: here they are only written.
export const stateOf = ({ level: name, state }) => ({ level: LEVELS[name] ? name : "unknown", word: text(state ?? "unknown").toUpperCase() });
