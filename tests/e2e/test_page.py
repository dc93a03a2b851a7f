"""The operator's page in a real browser, on a real server: what is shown is what flows."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect, sync_playwright

from tests.e2e.conftest import Serve
from tests.e2e.server import JOBS, Server

CHROMIUM = "/usr/bin/chromium"
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
EXPECTED = ("net::ERR_",)
"""A server that is gone."""
ROUTES = ("flow", "flow?view=table", "latency", "processes", "snapshots", "deadletters", "actions")
PATIENCE_MS = 30_000
RECORDS = 40

pytestmark = pytest.mark.skipif(not os.path.exists(CHROMIUM), reason=f"there is no {CHROMIUM}")


@pytest.fixture
def page() -> Iterator[Page]:
    """A page; what it complains of unexpectedly, or asks of another host, fails the test."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        complaints: list[str] = []
        hosts: set[str] = set()
        page.on(
            "console", lambda message: complaints.append(message.text) if message.type == "error" else None
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: hosts.add(httpx.URL(request.url).host))
        yield page
        browser.close()
    assert [each for each in complaints if not any(known in each for known in EXPECTED)] == []
    assert hosts <= {"127.0.0.1", ""}


def _serve(serve: Serve, job: str = "ledger.py") -> tuple[Server, str]:
    server = serve(JOBS / job, environment={"MINI_FLINK_ADMIN": "true"}).start()
    report = server.until_status(lambda status: status["admin_url"], "the admin process has an address")
    url = str(report["admin_url"]).rstrip("/")
    server.until_status(lambda _: _answers(url), "the page is served")
    return server, url


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/api/v1/tick").status_code == 200
    except httpx.TransportError:
        return False


def _node_totals(url: str) -> dict[str, Any]:
    return {node["id"]: node["in_total"] for node in httpx.get(f"{url}/api/v1/tick").json()["nodes"]}


def test_what_is_shown_is_what_flows_and_a_killed_worker_returns(serve: Serve, page: Page) -> None:
    server, url = _serve(serve)
    page.goto(url)
    expect(page.locator("#verdict")).to_contain_text("IDLE")
    for number in range(RECORDS):
        body = {"key": f"k{number}", "token": f"t{number}", "bucket": "b"}
        assert httpx.post(f"{server.url}/add", json=body).status_code == 200
    plan = httpx.get(f"{url}/api/v1/plan").json()
    first = next(node for node in plan["nodes"] if node["keyed"])
    expect(page.locator("[data-node]")).to_have_count(len(plan["nodes"]))
    page.keyboard.press("t")
    row = page.locator("tbody tr", has=page.get_by_role("button", name=first["name"], exact=True)).first
    expect(row.locator("td").nth(4)).to_have_text(str(RECORDS))
    assert _node_totals(url)[first["id"]] == RECORDS

    page.goto(f"{url}/#/processes")
    worker = next(each for each in server.status()["processes"] if each["role"] == "worker")
    shown = page.locator("tbody tr", has=page.locator(f'[data-process="w{worker["index"]}"]'))
    expect(shown.locator("td").nth(0)).to_contain_text("OK")
    os.kill(worker["pid"], signal.SIGKILL)
    expect(shown.locator("td").nth(5)).to_have_text("1")
    expect(shown.locator("td").nth(0)).to_contain_text("OK")


def test_it_says_so_when_nothing_is_heard(serve: Serve, page: Page) -> None:
    server, url = _serve(serve)
    page.goto(url)
    expect(page.locator(".kpis")).to_be_visible()
    server.stop()
    expect(page.locator("#verdict")).to_contain_text("STALE")


def test_all_views_for_the_eye_the_reader_and_the_phone(serve: Serve, page: Page) -> None:
    _, url = _serve(serve)
    page.goto(url)
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
        for route in ROUTES:
            page.goto(f"{url}/#/{route}")
            expect(page.get_by_role("heading", level=1)).to_be_attached()
            found = Axe().run(page).response["violations"]
            serious = [each["id"] for each in found if each["impact"] in ("serious", "critical")]
            assert serious == [], f"{route}, {theme}"
    page.set_viewport_size({"width": 375, "height": 800})
    for route in ROUTES:
        page.goto(f"{url}/#/{route}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 375, route


def test_the_keyboard_alone_takes_a_savepoint(serve: Serve, page: Page) -> None:
    _, url = _serve(serve)
    page.goto(f"{url}/#/flow")
    page.locator('[data-node][tabindex="0"]').focus()
    page.keyboard.press("Enter")
    expect(page.locator(".drawer h2")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator(".drawer")).to_have_count(0)
    page.goto(f"{url}/#/actions")
    page.get_by_role("button", name="Take a savepoint…").focus()
    page.keyboard.press("Enter")
    expect(page.locator("dialog .effect")).to_contain_text("writes all state")
    page.locator("dialog .go").focus()
    page.keyboard.press("Enter")
    expect(page.locator("tbody .state").first).to_contain_text("done")


def test_a_dead_letter_is_shown_whole_retried_and_dropped(serve: Serve, page: Page) -> None:
    server, url = _serve(serve, "failing.py")
    bad = {"key": "<b>k</b>", "amount": 1, "do": "raise"}
    assert httpx.post(f"{server.url}/total", json=bad).status_code == 500
    page.goto(f"{url}/#/deadletters")
    expect(page.locator(".group h2")).to_contain_text("ValueError: on purpose")
    page.locator("summary").click()
    payload, traceback = page.locator("details pre").all()
    expect(payload).to_contain_text("<b>k</b>")
    expect(traceback).to_contain_text("process_element")
    page.get_by_role("button", name="Retry…").click()
    page.locator("dialog .go").click()
    expect(page.locator("tbody .state").first).to_contain_text("done")

    page.goto(f"{url}/#/deadletters")  # it has failed again
    page.locator("summary").click()
    page.get_by_role("button", name="Drop…").click()
    expect(page.locator("dialog .go")).to_be_disabled()
    job = httpx.get(f"{url}/api/v1/plan").json()["job"]
    page.locator("dialog input").fill(job)
    page.locator("dialog .go").click()
    expect(page.locator("tbody .state").first).to_contain_text("done")
    page.goto(f"{url}/#/deadletters")
    expect(page.locator(".empty")).to_contain_text("None")
