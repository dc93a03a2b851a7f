"""Values that user code goes on changing after it gave them away: only what was given counts."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.client import post
from tests.e2e.conftest import Serve
from tests.e2e.server import JOBS

KEYS = [f"k{number}" for number in range(6)]


@pytest.mark.parametrize("workers", [1, 2])
def test_what_was_not_given_to_state_is_not_there(serve: Serve, workers: int) -> None:
    server = serve(JOBS / "aliased.py", "--workers", str(workers)).start()

    def do(key: str, action: str) -> Any:
        return post(server.url, "/state", {"key": key, "do": action})

    empty: dict[str, Any] = {"value": None, "list": [], "map": {}}
    once = {
        "value": {"seen": ["update, then mutate"]},
        "list": [["update, then mutate"]],
        "map": {"entry": ["update, then mutate"]},
    }
    for key in KEYS:
        assert do(key, "mutate").body == empty
        assert do(key, "update, then raise").status == 500
        assert do(key, "read").body == empty
        assert do(key, "update, then mutate").body == once
        assert do(key, "mutate").body == once
        assert do(key, "update, then raise").status == 500
        assert do(key, "read").body == once
    server.kill_all()
    server.start()
    for key in KEYS:
        assert do(key, "read").body == once
        assert do(key, "mutate").body == once
        assert do(key, "read").body == once
    assert server.stop() == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_the_branches_of_a_diamond_do_not_see_each_others_changes(serve: Serve, workers: int) -> None:
    server = serve(JOBS / "aliased.py", "--workers", str(workers)).start()
    both = [["start", "left"], ["start", "right"]]
    for key in KEYS:
        assert post(server.url, "/diamond", {"key": key}).body == {"parts": both}
    server.kill_all()
    server.start()
    for key in KEYS:
        assert post(server.url, "/diamond", {"key": key}).body == {"parts": sorted(both * 2)}
    assert server.stop() == 0
