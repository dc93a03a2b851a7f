"""The page's Keys in a real browser: the value that is shown is the one that a request made."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from mini_flink.keys import encode_key, key_group
from mini_flink.state.position import Position
from tests.e2e.client import post, post_all
from tests.e2e.conftest import Serve
from tests.e2e.pages import FEW, PATIENCE_MS, Shared, needs_chromium, violations, with_page
from tests.e2e.server import Server

pytestmark = needs_chromium
HOSTILE = "<img src=x onerror=\"document.title='owned'\">"


@pytest.fixture(scope="module")
def served(shared: Shared) -> tuple[Server, str]:
    """A server with some keys, and the address of its page."""
    server, url = shared("keeping.py", "--workers", "2")
    values: list[dict[str, Any]] = [{"key": f"k{number}", "amount": number} for number in range(60)]
    values += [{"key": HOSTILE, "amount": 7}, {"key": ["a", 1], "amount": 8}]
    values += [{"key": HOSTILE, "order": {"item": HOSTILE, "count": 2}}]
    assert all(answer.ok for answer in post_all(server.url, "/keep", [values])[0])
    return server, url


def look_up(page: Page, key: str) -> None:
    field = page.get_by_label("Key", exact=True)
    field.fill(key)
    field.press("Enter")


def test_what_is_shown_is_what_a_request_made(served: tuple[Server, str], page: Page) -> None:
    server, url = served
    page.goto(url)
    page.get_by_role("link", name="Keys").click()
    look_up(page, "k17")
    found = page.get_by_role("region", name="State of the key")
    expect(found.get_by_label("State total")).to_have_text("17")
    expect(found.get_by_label("State seen")).to_have_text("{'17': 1}")
    expect(found).to_contain_text("subtask")
    assert "key=k17" in page.url
    assert post(server.url, "/keep", {"key": "k17", "amount": 100}).ok
    expect(found.get_by_label("State total")).to_have_text("117")
    page.reload()
    expect(found.get_by_label("State total")).to_have_text("117")
    look_up(page, '["a", 1]')
    expect(found.get_by_label("State total")).to_have_text("8")
    look_up(page, "nobody")
    expect(found).to_contain_text("This key has no state here.")
    expect(found.get_by_label("State total")).to_have_count(0)
    page.go_back()
    expect(found.get_by_label("State total")).to_have_text("8")


def test_text_of_keys_and_values_is_text(served: tuple[Server, str], page: Page) -> None:
    _, url = served
    before = Position(key_group(encode_key(HOSTILE), 128)).cursor()
    page.goto(f"{url}/#/keys?key={quote(HOSTILE)}&after={before}")
    found = page.get_by_role("region", name="State of the key")
    expect(found.get_by_role("heading", level=2)).to_have_text(f"Key {json.dumps(HOSTILE)}")
    expect(found.get_by_label("State order")).to_have_text(f"Order(item={HOSTILE!r}, count=2)")
    expect(page.get_by_role("button", name=json.dumps(HOSTILE)).first).to_be_attached()
    assert page.locator("img").count() == 0
    assert "owned" not in page.title()


def test_keys_are_paged_through_on_a_phone_and_by_keyboard(served: tuple[Server, str], page: Page) -> None:
    _, url = served
    page.set_viewport_size({"width": 375, "height": 800})
    page.goto(f"{url}/#/keys")
    keys: set[str] = set()
    following = page.get_by_role("button", name="Next page")
    table = page.get_by_role("region", name="Keys of")
    first = page.get_by_role("button", name="First page")
    pages = 0
    while True:
        pages += 1
        expect(table).to_be_visible()
        keys |= {str(each) for each in table.locator("tbody th").all_inner_texts()}
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
        if following.is_disabled():
            break
        before = page.url
        following.focus()
        page.keyboard.press("Enter")
        page.wait_for_url(lambda now, before=before: now != before, timeout=PATIENCE_MS)
        expect(first).to_be_enabled()
        expect(table).to_be_visible()
    assert pages > 1
    assert {f'"k{each}"' for each in range(60)} <= keys
    table.get_by_role("button").first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="State of the key").get_by_label("State ").first).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_is_accessible(served: tuple[Server, str], page: Page, theme: str) -> None:
    _, url = served
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    page.goto(f"{url}/#/keys?key=k3")
    expect(page.get_by_label("State total")).to_have_text("3")
    expect(page.get_by_role("region", name="Keys of")).to_be_visible()
    assert violations(page) == []


def test_what_goes_wrong_is_said_in_words(serve: Serve, page: Page) -> None:
    _, url = with_page(serve, "keeping.py", *FEW, "--no-admin-payloads")
    assert page.context.browser is not None
    refused = page.context.browser.new_page()  # the browser complains of a 403, as it is to
    refused.goto(f"{url}/#/keys?key=k3")
    for place in ("State of the key", ""):
        scope = refused.get_by_role("region", name=place) if place else refused.get_by_role("main")
        expect(scope.get_by_role("alert").last).to_contain_text("admin_payloads is off")
    expect(refused.get_by_role("button", name="Next page")).to_be_disabled()
