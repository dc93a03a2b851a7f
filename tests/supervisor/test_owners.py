"""Only those are asked who own what is asked about."""

from __future__ import annotations

from typing import Any

import pytest

from mini_flink.config import Settings
from mini_flink.errors import UsageError
from mini_flink.jobs import JobTarget
from mini_flink.keys import encode_key, key_group, subtask_of_group
from mini_flink.state.position import Position
from mini_flink.supervisor.owners import owners_of
from mini_flink.supervisor.spec import ServerPlan

GROUPS = 128


def plan(workers: int, **parallelisms: int) -> ServerPlan:
    fingerprint: list[Any] = [
        [uid, "process", uid, declared, [], []] for uid, declared in (("a", 0), ("b", 2))
    ]
    return ServerPlan(
        settings=Settings(),
        job=JobTarget.parse("job.py", directory="/"),
        job_name="job",
        workers=workers,
        gateways=1,
        max_parallelism=GROUPS,
        numbers={},
        fingerprint=fingerprint,
        operator_names={},
        data_dir="",
        runtime_dir="",
        folder_id=0,
        generation=1,
        parallelisms=parallelisms,
    )


@pytest.mark.parametrize("key", range(40))
def test_the_owner_of_a_key_is_asked_and_nobody_else(key: int) -> None:
    encoded = encode_key(key)
    group = key_group(encoded, GROUPS)
    question = {"do": "get", "key": encoded}
    for workers, parallelisms, counts in ((5, {}, (5, 2)), (3, {"b": 7}, (3, 7))):
        own = [subtask_of_group(group, GROUPS, count) % workers for count in counts]
        for uid, owner in zip("ab", own, strict=True):
            assert set(owners_of(plan(workers, **parallelisms), {**question, "operator": uid})) == {owner}
        assert set(owners_of(plan(workers, **parallelisms), question)) == set(own)


def test_a_page_is_asked_of_the_owner_of_its_begin() -> None:
    question = {"do": "scan", "operator": "b", "after": Position(64).cursor()}
    assert set(owners_of(plan(5), question)) == {1}
    assert set(owners_of(plan(5), {**question, "after": None})) == {0}
    assert set(owners_of(plan(5), {**question, "operator": "nobody"})) == {0}
    with pytest.raises(UsageError, match="no cursor"):
        owners_of(plan(5), {**question, "after": "?"})
