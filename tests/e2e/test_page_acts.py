"""What an operator does on the page, in a real browser and on a real server; and who may."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import BrowserContext, Page, expect

from mini_flink.config import BY_NAME
from tests.e2e.conftest import Serve
from tests.e2e.pages import FEW, Shared, needs_chromium, with_page
from tests.e2e.server import Server

TABS = 8
TOKEN = "open-sesame-0123456789"

pytestmark = needs_chromium

HIDE = """() => {
  Object.defineProperty(document, "hidden", { value: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def _until_streams(server: Server, url: str, count: int) -> None:
    """Wait until the server feeds as many streams: it hears a little later that one has gone."""

    def holds(_: Any) -> bool:
        return f"\nmini_flink_admin_streams {count}.0\n" in httpx.get(f"{url}/metrics").text

    server.until_status(holds, f"there are {count} streams")


def _leader(page: Page) -> str:
    """Which tab of a browser reads the stream."""
    found: str = page.evaluate("navigator.locks.query().then(({ held }) => held[0]?.clientId ?? '')")
    return found


def _get_on(*pages: Page) -> None:
    """Ticks are still shown by each of them."""
    seen = [page.locator("#main").get_attribute("data-seq") for page in pages]
    for page, seq in zip(pages, seen, strict=True):
        expect(page.locator("#main")).not_to_have_attribute("data-seq", str(seq))


def test_eight_tabs_read_one_stream_and_any_of_them_may_go(shared: Shared, context: BrowserContext) -> None:
    server, url = shared("ledger.py")
    pages = [context.new_page() for _ in range(TABS)]
    pages[1].clock.install()
    pages[0].goto(url)  # the first to come reads for all
    expect(pages[0].locator("#verdict")).to_contain_text("IDLE")
    for page in pages[1:]:
        page.goto(url, wait_until="commit")
    for page in pages[1:]:
        expect(page.locator("#verdict")).to_contain_text("IDLE")
    _get_on(*pages)
    _until_streams(server, url, 1)
    first = _leader(pages[1])
    pages[0].close()
    _get_on(*pages[1:])
    second = _leader(pages[1])
    assert second not in ("", first)
    # Who looks away for a minute hands it on.
    pages[1].evaluate(HIDE)
    pages[1].clock.fast_forward(61_000)
    pages[2].wait_for_function(
        "old => navigator.locks.query().then(({ held }) => held.length === 1 && held[0].clientId !== old)",
        arg=second,
    )
    _get_on(*pages[2:])
    _until_streams(server, url, 1)


def test_where_tabs_cannot_agree_each_reads_for_itself(shared: Shared, context: BrowserContext) -> None:
    server, url = shared("ledger.py")
    # So it is on a page that came over plain HTTP from another host.
    context.add_init_script("Object.defineProperty(Navigator.prototype, 'locks', { value: undefined })")
    pages = [context.new_page(), context.new_page()]
    for page in pages:
        page.goto(url)
        expect(page.locator("#verdict")).to_contain_text("IDLE")
    _get_on(*pages)
    _until_streams(server, url, len(pages))


def test_the_token_is_asked_for_and_a_wrong_one_is_refused(
    serve: Serve, context: BrowserContext, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(TOKEN)
    _, url = with_page(serve, "ledger.py", *FEW, "--admin-token-file", str(tmp_path / "token"))
    page = context.new_page()
    page.goto(url)
    for wrong in ("guessed", "guessed again"):
        page.get_by_label("Token").fill(wrong)
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("not the server's token")
    page.get_by_label("Token").fill(TOKEN)
    page.keyboard.press("Enter")
    expect(page.locator("#verdict")).to_contain_text("IDLE")
    page.reload()
    expect(page.locator("#verdict")).to_contain_text("IDLE")
    assert TOKEN not in page.evaluate("JSON.stringify(localStorage) + document.cookie + location.href")
    # A tab without it shows nothing, though another one reads.
    other = context.new_page()
    other.goto(url)
    expect(other.get_by_label("Token")).to_be_visible()
    _get_on(page)


def test_a_dead_letter_is_shown_whole_and_a_group_is_retried_exported_and_dropped(
    shared: Shared, page: Page
) -> None:
    server, url = shared("failing.py")
    for key in ("<b>k</b>", "poor"):
        bad = {"key": key, "amount": 1, "do": "early"}
        assert httpx.post(f"{server.url}/total", json=bad).status_code == 500
    page.goto(f"{url}/#/deadletters")
    group = page.locator(".group", has_text="ValueError: too early")
    expect(group.locator(".many")).to_have_text("×2")
    group.get_by_role("button", name="Show the records").click()
    group.locator("summary", has_text="<b>k</b>").click()
    payload, traceback = group.locator("details[open] pre").all()
    expect(payload).to_contain_text("<b>k</b>")
    expect(traceback).to_contain_text("process_element")
    with page.expect_download() as download:
        group.get_by_role("button", name="Export").click()
    exported = json.loads(Path(download.value.path()).read_text())
    assert sorted(letter["key"] for letter in exported) == ["'<b>k</b>'", "'poor'"]
    poor = next(letter["error_id"] for letter in exported if letter["key"] == "'poor'")
    page.goto(f"{url}/#/deadletters?id={poor}")
    expect(page.locator("#main > details[open] summary")).to_contain_text(f"{poor} · ")

    # One of the two would succeed now.
    rich = {"key": "<b>k</b>", "amount": 100}
    assert httpx.post(f"{server.url}/total", json=rich).json() == {"total": 100}
    group.get_by_role("button", name="Retry these 2…").click()
    expect(page.locator("dialog .effect")).to_contain_text("2 dead letters")
    expect(page.locator("dialog .go")).to_be_disabled()
    page.get_by_label("To confirm").fill("2")
    page.locator("dialog .go").click()
    said = page.locator("tbody tr").first
    expect(said.locator(".state")).to_contain_text("done")
    expect(said).to_contain_text("2 were retried, 0 skipped; 1 failed again")

    page.goto(f"{url}/#/deadletters")
    expect(page.locator(".group .many")).to_have_text("×1")
    page.get_by_role("button", name="Drop all 1…").click()
    expect(page.locator("dialog .go")).to_be_disabled()
    page.get_by_label("To confirm").fill("failing")
    page.locator("dialog .go").dblclick()
    expect(page.locator("tbody tr").first).to_contain_text("1 were dropped")
    ops = httpx.get(f"{url}/api/v1/ops").json()["ops"]
    assert [op["kind"] for op in ops] == ["dlq_drop", "dlq_retry"]
    page.goto(f"{url}/#/deadletters")
    expect(page.locator(".empty")).to_contain_text("None")


def test_workers_and_subtasks_become_more(shared: Shared, page: Page) -> None:
    _, url = shared("failing.py")
    page.goto(f"{url}/#/actions")
    page.get_by_role("button", name="Rescale…").click()
    expect(page.locator("dialog .effect")).to_contain_text("Nothing would change")
    expect(page.locator("dialog .go")).to_be_disabled()
    most = str(BY_NAME["workers"].maximum)
    expect(page.get_by_label("Workers")).to_have_attribute("max", most)
    page.get_by_label("Workers").fill("2")
    page.get_by_label("Workers").press("Tab")
    expect(page.locator("dialog .effect")).to_contain_text("from 1 to 2 workers")
    page.get_by_label("Subtasks of").select_option("total")
    page.get_by_label("Number of subtasks").fill("4")
    page.get_by_label("Number of subtasks").press("Tab")
    expect(page.locator("dialog .effect")).to_contain_text("Total in 4 subtasks")
    page.locator("dialog .go").click()
    expect(page.locator("tbody tr").first).to_contain_text("Rescale")
    expect(page.locator("tbody tr").first.locator(".state")).to_contain_text("done")
    page.goto(f"{url}/#/processes")
    expect(page.locator('[data-process="w1"]')).to_contain_text("OK")
    page.goto(f"{url}/#/flow")
    expect(page.locator('[data-node="total"]')).to_contain_text("keyed ×4")


def test_the_server_is_drained_and_resumed(shared: Shared, page: Page) -> None:
    server, url = shared("ledger.py")
    page.goto(f"{url}/#/actions")
    page.get_by_role("button", name="Drain…").click()
    expect(page.locator("dialog .effect")).to_contain_text("new requests get 503")
    expect(page.locator("dialog .go")).to_be_disabled()
    page.get_by_label("To confirm").fill("ledger")
    page.locator("dialog .go").click()
    expect(page.locator("#verdict")).to_contain_text("DRAINED")
    body = {"key": "k", "token": "t", "bucket": "b"}
    assert httpx.post(f"{server.url}/add", json=body).status_code == 503
    expect(page.get_by_role("button", name="Drain…")).to_have_count(0)
    page.get_by_role("button", name="Resume…").click()
    page.locator("dialog .go").click()
    expect(page.locator("#verdict")).not_to_contain_text("DRAIN")
    assert httpx.post(f"{server.url}/add", json=body).status_code == 200
