"""What ``status`` says of the supervisor itself."""

from __future__ import annotations

import pytest

from mini_flink.supervisor.report import own_state


@pytest.mark.parametrize(
    ("server", "own"),
    [
        ("starting", "starting"),
        ("serving", "ready"),
        ("degraded", "ready"),
        ("serving (rescale: copy)", "ready"),
        ("drained", "ready"),
        ("stopping", "stopping"),
    ],
)
def test_the_supervisor_is_not_down_while_another_process_is(server: str, own: str) -> None:
    assert own_state(server) == own
