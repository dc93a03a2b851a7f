// The page: verdict bar, navigation by hash, the view, the dialog, the live line.
import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { ActionDialog, Actions } from "./actions.js";
import { feed } from "./feed.js";
import { Flow } from "./flow.js";
import { count, level } from "./format.js";
import { html } from "./html.js";
import { Keys } from "./keys.js";
import { DeadLetters } from "./letters.js";
import { Latency, Processes, Snapshots } from "./views.js";

// Each view: its name in the address, its title, what draws it; in the order of the navigation.
const VIEWS = {
  flow: ["Flow", Flow],
  latency: ["Latency", Latency],
  processes: ["Processes", Processes],
  snapshots: ["Snapshots", Snapshots],
  deadletters: ["Dead letters", DeadLetters],
  keys: ["Keys", Keys],
  actions: ["Actions", Actions],
};
const SPOKEN_MS = 10_000;
const THEME = "mini_flink.theme";

const readRoute = () => {
  const [name, query] = location.hash.replace(/^#\/?/, "").split("?");
  return { name: VIEWS[name] ? name : "flow", params: new URLSearchParams(query) };
};

// Changes of the route keep what is not named; null takes a part away.
const go = (name, changes = {}) => {
  const { name: old, params } = readRoute();
  const next = name === old ? params : new URLSearchParams();
  for (const [key, value] of Object.entries(changes)) {
    if (value === null) next.delete(key);
    else next.set(key, value);
  }
  location.hash = `/${name}${next.size ? `?${next}` : ""}`;
};

const applyTheme = (theme) => {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
};

const verdictOf = ({ tick, stale, age, link }) => {
  if (stale) return { level: "stale", word: `STALE ${age} s`, text: "no news from the server; what is shown below is old" };
  if (!tick) return { level: "unknown", word: "CONNECTING", text: link === "lost" ? "the server does not answer; trying again" : "waiting for the first second" };
  const { verdict } = tick;
  const shown = level(verdict.level).word;
  const word = verdict.code && verdict.code !== shown ? `${shown} ${verdict.code}` : shown;
  return { level: verdict.level, word, text: verdict.text, node: verdict.node };
};

// Speaks changes only, and not more often than people can listen.
const Live = ({ words, isDown }) => {
  const [spoken, setSpoken] = useState("");
  const last = useRef(0);
  useEffect(() => {
    const wait = Math.max(0, last.current + SPOKEN_MS - Date.now());
    const timer = setTimeout(() => {
      last.current = Date.now();
      setSpoken(words);
    }, wait);
    return () => clearTimeout(timer);
  }, [words]);
  return html`<p class="unseen" aria-live="polite" aria-atomic="true">${spoken}</p><div class="unseen" role="alert">${isDown ? words : ""}</div>`;
};

const Token = ({ why }) => {
  const field = useRef(null);
  const [isAsking, setAsking] = useState(false);
  useEffect(() => field.current.focus(), []);
  const send = (event) => {
    event.preventDefault();
    setAsking(true);
    void feed.unlock(field.current.value.trim()).finally(() => setAsking(false));
  };
  return html`<main id="main"><form class="form token" onSubmit=${send}>
    <h1>A token is needed</h1>
    <p>The server asks for its admin token: what is in the file that <code>--admin-token-file</code> names. It is kept until this tab is closed.</p>
    ${why === "wrong" ? html`<p class="problem" role="alert">This is not the server's token.</p>` : ""}
    <label>Token <input ref=${field} name="token" type="password" required autocomplete="off" /></label>
    <button class="go" disabled=${isAsking}>Open</button>
  </form></main>`;
};

const THEMES = { "": "auto", light: "light", dark: "dark" };

const Theme = () => {
  const [theme, setTheme] = useState(localStorage.getItem(THEME) ?? "");
  const change = (event) => {
    localStorage.setItem(THEME, event.target.value);
    applyTheme(event.target.value);
    setTheme(event.target.value);
  };
  return html`<label><span>Theme</span> <select value=${theme} onChange=${change}>${Object.entries(THEMES).map(([name, title]) => html`<option key=${name} value=${name}>${title}</option>`)}</select></label>`;
};

const Every = () => html`<label><span>Every</span> <select onChange=${(event) => feed.every(Number(event.target.value))}><option value="1000">1 s</option><option value="5000">5 s</option><option value="30000">30 s</option></select></label>`;

// On a phone the tabs are wider than the screen: the chosen one is brought into it.
const Nav = ({ current, dead }) => {
  const list = useRef(null);
  useEffect(() => {
    const chosen = list.current.querySelector("[aria-current]");
    list.current.scrollLeft = chosen.offsetLeft - (list.current.clientWidth - chosen.offsetWidth) / 2;
  }, [current, dead > 0]);
  return html`<nav aria-label="Views"><ul ref=${list}>${Object.entries(VIEWS).map(([name, [title]]) => html`<li key=${name}><a href="#/${name}" aria-current=${name === current ? "page" : null}>${title}${name === "deadletters" && dead > 0 ? html` <span class="badge">${count(dead)}</span>` : ""}</a></li>`)}</ul></nav>`;
};

const Page = () => {
  const [state, setState] = useState(feed.state);
  const [route, setRoute] = useState(readRoute());
  const [asked, setAsked] = useState(null);
  const opener = useRef(null);
  useEffect(() => feed.subscribe(setState), []);
  useEffect(() => {
    const onHash = () => setRoute(readRoute());
    const onKey = (event) => {
      const isTyping = event.target.closest?.("input, select, textarea, dialog");
      if (event.key === "t" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
        const isTable = readRoute().name === "flow" && readRoute().params.get("view") === "table";
        go("flow", { view: isTable ? null : "table" });
      }
    };
    addEventListener("hashchange", onHash);
    addEventListener("keydown", onKey);
    return () => {
      removeEventListener("hashchange", onHash);
      removeEventListener("keydown", onKey);
    };
  }, []);
  const verdict = verdictOf(state);
  const job = state.plan?.job ?? "mini_flink";
  const word = verdict.level === "stale" ? "STALE" : verdict.word;
  useEffect(() => {
    document.title = `${level(verdict.level).shape} ${word} ${job}`;
  }, [verdict.level, word, job]);
  if (state.locked !== null) return html`<${Token} key=${state.locked} why=${state.locked} />`;
  const open = (kind, args = {}, many = null) => {
    opener.current = document.activeElement;
    setAsked({ kind, args, many });
  };
  const close = (isSent) => {
    setAsked(null);
    if (isSent) go("actions");
    else opener.current?.focus();
  };
  const View = VIEWS[route.name][1];
  const { dlq, verdict: told } = state.tick ?? {};
  return html`<a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.getElementById("main").focus(); }}>To the content</a>
    <header class="bar ${verdict.level}">
      <p class="verdict"><b class="job" title=${job}>${job}</b> <span class="state ${verdict.level}" id="verdict"><span aria-hidden="true">${level(verdict.level).shape}</span> ${verdict.word}</span></p>
      <p class="tools"><span class="age">${state.age === null ? "" : state.paused ? "paused" : `updated ${state.age} s ago`}</span>
        <button aria-pressed=${state.paused} onClick=${() => feed.pause(!state.paused)}>${state.paused ? "Go on" : "Pause"}</button> <${Every} /> <${Theme} /></p>
      <p class="sentence"><span class="clamp" title=${verdict.text}>${verdict.text}</span> ${verdict.node ? html`<button class="link" onClick=${() => go("flow", { node: verdict.node })}>Look at it</button>` : ""}</p>
    </header>
    <${Nav} current=${route.name} dead=${dlq?.present ?? dlq?.total} />
    <main id="main" tabindex="-1" data-seq=${state.tick?.seq} class=${state.stale ? "stale" : ""}>${state.plan ? html`<${View} key=${route.name} state=${state} route=${route} go=${go} open=${open} />` : html`<p class="empty">${verdict.text}</p>`}</main>
    ${asked ? html`<${ActionDialog} state=${state} asked=${asked} close=${close} />` : ""}
    <${Live} words=${word} isDown=${told?.code === "DOWN" || told?.code === "LOOPING"} />`;
};

applyTheme(localStorage.getItem(THEME));
const root = document.getElementById("app");
root.replaceChildren();
render(html`<${Page} />`, root);
feed.start();
