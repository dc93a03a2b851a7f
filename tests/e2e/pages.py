"""The operator's page in a real browser: fixtures, and what several tests ask of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.e2e.server import JOBS, Server

Shared = Callable[..., tuple[Server, str]]

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
EXPECTED = ("net::ERR_", "status of 401", "status of 503")
"""A server that is gone, starts, or asks for its token."""
PATIENCE_MS = 30_000
FEW = ("--workers", "1", "--gateways", "1")
"""What is not looked at need not be started."""

needs_chromium = pytest.mark.skipif(not os.path.exists(CHROMIUM), reason=f"there is no {CHROMIUM}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        expect.set_options(timeout=PATIENCE_MS)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A user's browser; what its pages complain of unexpectedly, or ask of another host, fails the test."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    complaints: list[str] = []
    hosts: set[str] = set()
    context.on(
        "console", lambda message: complaints.append(message.text) if message.type == "error" else None
    )
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    context.on("request", lambda request: hosts.add(httpx.URL(request.url).host))
    yield context
    context.close()
    bad = [each for each in complaints if not any(known in each for known in EXPECTED)]
    assert bad == [], bad
    assert hosts <= {"127.0.0.1", ""}


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """Servers that several tests of a module look at, one for each job, and the address of its page.

    Whoever uses one leaves it serving. What a test needs for itself alone it makes with ``serve``.
    """
    servers: dict[str, Server] = {}

    def get(job: str, *options: str) -> tuple[Server, str]:
        if job not in servers:
            folder = tmp_path_factory.mktemp("shared")
            servers[job] = Server(
                folder, JOBS / job, *FEW, *options, environment={"MINI_FLINK_ADMIN": "true"}
            )
            servers[job].start()
        return servers[job], page_of(servers[job])

    yield get
    for server in servers.values():
        server.clean_up()
    assert [line for server in servers.values() for line in server.surprises()] == []


def look_at(page: Page, url: str, route: str) -> None:
    """Go to a view, and wait until it is the one that is shown."""
    page.goto(f"{url}/#/{route}")
    name, _, query = route.partition("?")
    expect(page.locator(f'nav [aria-current][href="#/{name}"]')).to_be_attached()
    expect(page.get_by_role("heading", level=1)).to_be_attached()
    if tab := dict(httpx.QueryParams(query)).get("tab"):
        expect(page.locator(f'[data-tab="{tab}"][aria-selected="true"]')).to_be_attached()


def violations(page: Page, *only: str, within: str = "html") -> list[dict[str, Any]]:
    """What axe finds on the page or in a part of it, by all its rules or a few; it is brought there once."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(Axe().axe_script)
    options = {"resultTypes": ["violations"], **({"runOnly": list(only)} if only else {})}
    found: list[dict[str, Any]] = page.evaluate(
        "async ([within, options]) => (await axe.run(within, options)).violations", [within, options]
    )
    return found


def with_page(serve: Any, job: str | Path = "ledger.py", *options: str, **more: Any) -> tuple[Server, str]:
    """A server and the address of its page, which answers."""
    server = serve(JOBS / job, *options, environment={"MINI_FLINK_ADMIN": "true"}, **more).start()
    return server, page_of(server)


def page_of(server: Server) -> str:
    """The address of a server's page, once it answers."""
    report = server.until_status(lambda status: status["admin_url"], "the admin process has an address")
    url = str(report["admin_url"]).rstrip("/")
    server.until_status(lambda _: _answers(url), "the page is served")
    return url


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/api/v1/tick").status_code in (200, 401)
    except httpx.TransportError:
        return False
