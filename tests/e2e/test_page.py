"""The operator's page in a real browser, on a real server: what is shown is what flows."""

from __future__ import annotations

import os
import re
import signal
import threading
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from tests.e2e.conftest import Serve
from tests.e2e.pages import FEW, Shared, look_at, needs_chromium, violations, with_page

ROUTES = ("flow", "flow?view=table", "latency", "processes", "snapshots", "deadletters", "actions")
LONG = "W" * 200
"""An operator of the hostile job, with state."""
TABS = ("overview", "subtasks", "errors", "latency", "state", "limits")
RECORDS = 40

pytestmark = needs_chromium

SAME_SECOND = """async () => {
  // What the page shows, and the server's tick of that very second.
  for (;;) {
    const seen = () => document.getElementById("main").dataset.seq;
    const before = seen();
    const tick = await (await fetch("api/v1/tick")).json();
    const cards = {};
    for (const card of document.querySelectorAll("[data-node]")) {
      cards[card.dataset.node] = card.querySelector('[data-field="flow"]').textContent;
    }
    const edges = {};
    for (const edge of document.querySelectorAll("[data-edge]")) {
      edges[edge.dataset.edge] ??= [edge.getAttribute("aria-label"), edge.textContent.trim()];
    }
    const kpis = {};
    for (const kpi of document.querySelectorAll("[data-kpi]")) {
      kpis[kpi.dataset.kpi] = kpi.querySelector("strong").textContent;
    }
    const isSame = String(tick.seq) === before && seen() === before;
    if (tick.http.rps > 0 && isSame) return { tick, cards, edges, kpis };
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}"""


HOLD = """
// The page hears nothing after the greeting until it is let go.
const read = ReadableStreamDefaultReader.prototype.read;
const gate = new Promise((resolve) => { window.letGo = resolve; });
let reads = 0;
ReadableStreamDefaultReader.prototype.read = async function () {
  const got = await read.call(this);
  if (reads++ > 0) await gate;
  return got;
};"""

SMALL = """all => all
  .filter((each) => each.checkVisibility() && each.offsetHeight < 44)
  .map((each) => each.textContent)"""

TOO_WIDE = """cards => cards.filter((card) => {
  const end = (each) => each.getBoundingClientRect().right;
  return [...card.querySelectorAll("text")].some((text) => end(text) > end(card.querySelector(".box")));
}).map((card) => card.dataset.node)"""

DRAWN = """() => {
  const of = (query, name) => getComputedStyle(document.querySelector(query))[name];
  const probe = document.body.appendChild(document.createElement("p"));
  const system = (name) => { probe.style.color = name; return getComputedStyle(probe).color; };
  return [system("Canvas"), system("CanvasText"), {
    page: of("body", "backgroundColor"),
    box: of(".card .box", "fill"),
    border: of(".card:not(:focus) .box", "stroke"),
    title: of(".card .title", "fill"),
    edge: of(".edge path", "stroke"),
    focus: of(".card:focus .box", "stroke"),
  }];
}"""


LATELY = """async () => {
  const { errorsLately } = await import("/static/flow.js");
  const second = (at, errors, rps = 100) => ({ ts: at * 1000, rps, shed_rate: 0, err_rate: errors });
  const points = [second(1, 100), second(2, 0), second(3, 10), second(4, 0), second(5, 10), second(6, 0)];
  const of = (...several) => errorsLately(several, several.at(-1).ts);
  return [of(...points), of(second(1, null, null)), of(second(1, 0, 0)), errorsLately(points, 2000)];
}"""


def _with_seven_more(route: Route) -> None:
    """The server's answer, as if it knew of more snapshots than fit."""
    answer = route.fetch()
    route.fulfill(response=answer, json={**answer.json(), "more": 7})


def _hostile(shared: Shared) -> str:
    """A job with names that no page must take for anything but text, and a dead letter of it."""
    server, url = shared("hostile.py")
    assert httpx.post(f"{server.url}/total", json={"key": "<b>k</b>", "amount": 0}).status_code == 500
    return url


def _number(text: str) -> float:
    """``1.2k/s`` as a number."""
    found = re.match(r"([\d.]+)([kM]?)", text)
    assert found, text
    return float(found[1]) * {"": 1, "k": 1e3, "M": 1e6}[found[2]]


def test_what_is_shown_is_what_flows_and_a_killed_worker_returns(serve: Serve, page: Page) -> None:
    server, url = with_page(serve)
    page.goto(url)
    expect(page.locator("#verdict")).to_contain_text("IDLE")
    ended = threading.Event()

    def load() -> None:
        with httpx.Client(base_url=server.url) as client:
            for number in range(RECORDS):
                body = {"key": f"k{number}", "token": f"t{number}", "bucket": "b"}
                assert client.post("/add", json=body).status_code == 200
                ended.wait(0.05)

    client = threading.Thread(target=load)
    client.start()
    seen: dict[str, Any] = page.evaluate(SAME_SECOND)
    for node in seen["tick"]["nodes"]:
        shown = [_number(part) for part in seen["cards"][node["id"]].split(" → ")]
        assert shown == pytest.approx([node["in"], node["out"]], rel=0.01), node["id"]
    for edge in seen["tick"]["edges"]:
        label, drawn = seen["edges"][edge["id"]]
        lag = "–" if edge["oldest_ms"] is None else "[0-9.]+ m?s"
        assert re.match(r"From .+ to .+: ", label), label
        assert re.search(rf"oldest {lag}$", label), label
        assert re.search(rf"oldest {lag}$", drawn), drawn
    assert _number(seen["kpis"]["requests"]) == pytest.approx(seen["tick"]["http"]["rps"], rel=0.01)
    assert seen["kpis"]["in flight"] == str(seen["tick"]["http"]["inflight"])
    client.join()

    plan = httpx.get(f"{url}/api/v1/plan").json()
    first = next(node for node in plan["nodes"] if node["keyed"])
    page.keyboard.press("t")
    row = page.locator("tbody tr", has=page.locator(f'[data-node="{first["id"]}"]'))
    expect(row.locator("td").nth(4)).to_have_text(str(RECORDS))
    edges = page.get_by_role("region", name="Edges").locator("tbody tr")
    expect(edges).to_have_count(len(plan["edges"]))
    expect(edges.first.locator("td").last).to_have_text("0 ms")

    page.goto(f"{url}/#/processes")
    worker = server.of("worker")
    shown_worker = page.locator("tbody tr", has=page.locator('[data-process="w0"]'))
    expect(shown_worker.locator("td").nth(0)).to_contain_text("OK")
    expect(shown_worker.locator("td").nth(7)).to_have_text("–")
    os.kill(worker["pid"], signal.SIGKILL)
    expect(shown_worker.locator("td").nth(3)).to_have_text("1")
    expect(shown_worker.locator("td").nth(0)).to_contain_text("RESTARTED")
    page.goto(f"{url}/#/flow")
    expect(page.locator(".events ol")).to_contain_text("worker 0 is back")
    expect(page.locator(".events .mark.warn").first).to_be_visible()


def test_a_worker_that_stays_down_is_said_until_it_is_back(serve: Serve, page: Page, tmp_path: Path) -> None:
    asleep = tmp_path / "asleep"
    server, url = with_page(serve, "sleeping.py", *FEW, args=[str(asleep)])
    page.goto(url)
    expect(page.locator("#verdict")).to_contain_text("IDLE")
    asleep.touch()
    server.kill("worker")
    expect(page.locator("#verdict")).to_have_text(re.compile("■ BAD DOWN"))
    expect(page.locator(".sentence")).to_contain_text("worker 0 is down")
    expect(page.get_by_role("alert")).to_contain_text("DOWN")
    asleep.unlink()
    expect(page.locator("#verdict")).not_to_contain_text("DOWN")


def test_it_says_so_when_nothing_is_heard_and_comes_back_by_itself(shared: Shared, page: Page) -> None:
    server, url = shared("ledger.py")
    page.goto(url)
    expect(page.locator(".kpis")).to_be_visible()
    server.stop()
    expect(page.locator("#verdict")).to_contain_text("STALE")
    server.start("--admin-port", url.rpartition(":")[2])
    expect(page.locator("#verdict")).to_contain_text("IDLE")


def test_all_views_for_the_eye_the_reader_and_the_phone(shared: Shared, page: Page) -> None:
    url = _hostile(shared)
    views = [*ROUTES, *(f"flow?node={LONG}&tab={tab}" for tab in TABS)]
    themes: list[tuple[Literal["light", "dark"], list[str], list[str]]] = [
        ("light", views, []),
        ("dark", [*ROUTES, views[-1]], ["color-contrast"]),
    ]
    for theme, shown, rules in themes:
        page.emulate_media(color_scheme=theme)
        for route in shown:
            look_at(page, url, route)
            found = violations(page, *rules, within=".drawer" if "tab=" in route else "html")
            serious = [each["id"] for each in found if each["impact"] in ("serious", "critical")]
            assert serious == [], f"{route}, {theme}"
    page.goto(f"{url}/#/actions")
    page.get_by_role("button", name="Drain…").click()
    expect(page.locator("dialog .effect")).to_contain_text("503")
    assert violations(page) == []
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Drain…")).to_be_focused()
    page.set_viewport_size({"width": 375, "height": 800})
    page.goto(f"{url}/#/flow")
    expect(page.locator(".edge-line").first).to_contain_text(re.compile(r"/s · .+ · q \d+ · oldest \d+ ms"))
    for route in views:
        look_at(page, url, route)
        assert page.evaluate("document.documentElement.scrollWidth") <= 375, route
        if route in ROUTES:
            expect(page.locator("nav [aria-current]")).to_be_in_viewport(ratio=0.99)
        small = page.locator("main button:not(.link), main select").evaluate_all(SMALL)
        assert small == [], route


def test_with_forced_colours_words_lines_and_focus_stay(shared: Shared, page: Page) -> None:
    _, url = shared("ledger.py")
    page.emulate_media(forced_colors="active", reduced_motion="reduce")
    page.goto(url)
    expect(page.locator("[data-node] .word").first).to_have_text("IDLE")
    page.locator('[data-node][tabindex="0"]').focus()
    page.keyboard.press("ArrowRight")
    canvas, text, drawn = page.evaluate(DRAWN)
    assert (drawn["box"], drawn["page"]) == (canvas, canvas)
    assert (drawn["border"], drawn["title"], drawn["edge"]) == (text, text, text)
    assert drawn["focus"] not in (canvas, text)


def test_hostile_names_are_text_and_fit(shared: Shared, page: Page) -> None:
    url = _hostile(shared)
    plan = httpx.get(f"{url}/api/v1/plan").json()
    page.goto(url)
    expect(page.locator(".card")).to_have_count(len(plan["nodes"]))
    assert page.locator(".card").evaluate_all(TOO_WIDE) == []
    for number, node in enumerate(plan["nodes"]):
        page.locator(".card").nth(number).click()
        expect(page.locator(".drawer h2")).to_have_attribute("title", node["name"])
        expect(page.locator(".drawer dl")).to_contain_text(node["id"])
        page.get_by_role("tab", name="Subtasks").click()
        expect(page.locator("#panel")).to_contain_text("p0" if not node["in_gateway"] else "in the gateways")
        page.keyboard.press("Escape")
        expect(page.locator(".drawer")).to_have_count(0)
    for route in ROUTES:
        look_at(page, url, route)
        assert page.evaluate("document.documentElement.scrollWidth") <= 1440, route
    page.goto(f"{url}/#/deadletters")
    expect(page.locator(".group h2")).to_contain_text("<script>window.hacked = 1</script>")
    assert page.evaluate("window.hacked") is None


def test_the_keyboard_alone_looks_closer_and_takes_a_savepoint(shared: Shared, page: Page) -> None:
    _, url = shared("ledger.py")
    page.add_init_script(HOLD)
    page.goto(f"{url}/#/flow")
    plan = httpx.get(f"{url}/api/v1/plan").json()
    expect(page.locator('[data-node][tabindex="0"]')).to_have_count(1)
    page.locator('[data-node][tabindex="0"]').focus()
    page.keyboard.press("ArrowRight")
    second = plan["edges"][0]["target"]
    expect(page.locator("[data-node]:focus")).to_have_attribute("data-node", second)
    page.evaluate("letGo()")
    expect(page.locator(".kpis")).to_be_visible()
    expect(page.locator("[data-node]:focus")).to_have_attribute("data-node", second)
    page.keyboard.press("Enter")
    expect(page.locator(".drawer h2")).to_be_focused()
    page.locator('[role="tab"][tabindex="0"]').focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Subtasks")).to_be_focused()
    expect(page.locator("#panel")).to_contain_text("p0")
    page.keyboard.press("Escape")
    expect(page.locator("[data-node]:focus")).to_have_attribute("data-node", second)
    page.goto(f"{url}/#/actions")
    page.get_by_role("button", name="Take a savepoint…").focus()
    page.keyboard.press("Enter")
    expect(page.locator("dialog .effect")).to_contain_text("writes all state")
    page.locator("dialog .go").focus()
    page.keyboard.press("Enter")
    expect(page.locator("tbody .state").first).to_contain_text("done")
    page.route("**/api/v1/snapshots", _with_seven_more)
    page.goto(f"{url}/#/snapshots")
    expect(page.locator("tbody td").nth(2)).to_have_text(re.compile(r"^[1-9]\d* ms$|^[1-9][\d.]* s$"))
    expect(page.locator("main")).to_contain_text("7 older ones")


def test_latency_is_drawn_over_time(shared: Shared, page: Page) -> None:
    server, url = shared("ledger.py")
    page.goto(f"{url}/#/latency")
    for number in range(RECORDS):
        httpx.post(f"{server.url}/add", json={"key": f"k{number}", "token": f"t{number}", "bucket": "b"})
    names = ("p99", "p95", "p50")
    for line in range(len(names)):
        expect(page.locator(f".chart polyline.line{line}").first).to_be_attached()
    for name in names:
        expect(page.locator(".legend")).to_contain_text(re.compile(rf"{name} [\d.]+ [µm]?s"))
    page.get_by_role("combobox", name="Over").select_option("1m")
    assert "range=1m" in page.url
    # What is shown as the share of errors is that of the last five seconds.
    assert page.evaluate(LATELY) == [0.04, None, 0, 0.5]
    expect(page.locator(".chart polyline.line0").first).to_be_attached()
    history = httpx.get(f"{url}/api/v1/history", params={"series": "http.p99_us", "range": "1m"}).json()
    assert any(value for _, value in history["series"]["http.p99_us"])
