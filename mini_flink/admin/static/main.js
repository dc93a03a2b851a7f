// The page: verdict bar, navigation by hash, the view, the dialog, the live line.
import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { ActionDialog } from "./actions.js";
import { feed } from "./feed.js";
import { Flow } from "./flow.js";
import { count, level } from "./format.js";
import { html } from "./html.js";
import { Actions, DeadLetters, Latency, Processes, Snapshots } from "./views.js";

const VIEWS = { flow: ["Flow", Flow], latency: ["Latency", Latency], processes: ["Processes", Processes], snapshots: ["Snapshots", Snapshots], dead: ["Dead letters", DeadLetters], actions: ["Actions", Actions] };
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
  return { level: verdict.level, word, text: verdict.text };
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

const Token = () => {
  const send = (event) => {
    event.preventDefault();
    feed.setToken(new FormData(event.target).get("token"));
  };
  return html`<main><form class="form token" onSubmit=${send}>
    <h1>A token is needed</h1><p>The server asks for its admin token. It is kept until this tab is closed.</p>
    <label>Token <input name="token" type="password" required autocomplete="off" /></label> <button>Open</button>
  </form></main>`;
};

const Theme = () => {
  const [theme, setTheme] = useState(localStorage.getItem(THEME) ?? "");
  const change = (event) => {
    localStorage.setItem(THEME, event.target.value);
    applyTheme(event.target.value);
    setTheme(event.target.value);
  };
  return html`<label class="theme"><span>Theme</span> <select value=${theme} onChange=${change}><option value="">as the system</option><option value="light">light</option><option value="dark">dark</option></select></label>`;
};

const Every = () => html`<label><span>Every</span> <select onChange=${(event) => feed.every(Number(event.target.value))}><option value="1000">1 s</option><option value="5000">5 s</option><option value="30000">30 s</option></select></label>`;

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
  useEffect(() => {
    document.title = `${level(verdict.level).shape} ${verdict.word.split(" ")[0]} ${job}`;
  }, [verdict.level, verdict.word, job]);
  if (state.needsToken) return html`<${Token} />`;
  const open = (kind, args = {}) => {
    opener.current = document.activeElement;
    setAsked({ kind, args });
  };
  const close = (isSent) => {
    setAsked(null);
    if (isSent) go("actions");
    else opener.current?.focus();
  };
  const View = VIEWS[route.name][1];
  const dead = state.tick?.dlq?.total;
  const words = `${verdict.level === "stale" ? "STALE" : verdict.word}`;
  return html`<a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.getElementById("main").focus(); }}>To the content</a>
    <header class="bar ${verdict.level}">
      <p class="verdict"><b class="job">${job}</b> <span class="state ${verdict.level}" id="verdict"><span aria-hidden="true">${level(verdict.level).shape}</span> ${verdict.word}</span> <span class="sentence">${verdict.text}</span></p>
      <p class="tools"><span class="age">${state.age === null ? "" : state.paused ? "paused" : `updated ${state.age} s ago`}</span>
        <button aria-pressed=${state.paused} onClick=${() => feed.pause(!state.paused)}>${state.paused ? "Go on" : "Pause"}</button> <${Every} /> <${Theme} /></p>
    </header>
    <nav aria-label="Views"><ul>${Object.entries(VIEWS).map(([name, [title]]) => html`<li key=${name}><a href="#/${name}" aria-current=${name === route.name ? "page" : null}>${title}${name === "dead" && dead > 0 ? ` ${count(dead)}` : ""}</a></li>`)}</ul></nav>
    <main id="main" tabindex="-1" class=${state.stale ? "stale" : ""}>${state.plan ? html`<${View} state=${state} route=${route} go=${go} open=${open} />` : html`<p class="empty">${verdict.text}</p>`}</main>
    ${asked ? html`<${ActionDialog} state=${state} asked=${asked} close=${close} />` : ""}
    <${Live} words=${words} isDown=${state.tick?.verdict?.code === "DOWN" || state.tick?.verdict?.code === "LOOPING"} />`;
};

applyTheme(localStorage.getItem(THEME));
const root = document.getElementById("app");
root.replaceChildren();
render(html`<${Page} />`, root);
feed.start();
