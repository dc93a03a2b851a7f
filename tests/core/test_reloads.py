"""When an edited job is loaded again: the machine alone, with its times as numbers."""

from __future__ import annotations

from mini_flink.core.reloads import QUIET_MS, ReloadPolicy

JOB, HELPER, FOLDER = "job.py", "helper.py", "."


def settled(policy: ReloadPolicy, found: dict[str, str], since_ms: int) -> list[str]:
    """What is said of something that is found, and lasts."""
    assert policy.look(found, since_ms) == []
    assert policy.look(found, since_ms + QUIET_MS - 1) == []
    return policy.look(found, since_ms + QUIET_MS)


def test_a_change_counts_once_it_has_lasted() -> None:
    policy = ReloadPolicy({JOB: "1", HELPER: "1"})
    assert settled(policy, {JOB: "1", HELPER: "1"}, 0) == []
    assert settled(policy, {JOB: "2", HELPER: "1"}, 1_000) == [JOB]


def test_several_quick_saves_are_one_reload() -> None:
    policy = ReloadPolicy({JOB: "1", HELPER: "1"})
    for step in range(10):
        assert policy.look({JOB: f"1.{step}", HELPER: "1"}, step * (QUIET_MS - 1)) == []
    assert settled(policy, {JOB: "2", HELPER: "2"}, 10_000) == [HELPER, JOB]


def test_a_save_without_a_change_and_one_that_is_taken_back_are_none() -> None:
    policy = ReloadPolicy({JOB: "1"})
    assert policy.look({JOB: "2"}, 0) == []
    assert policy.look({JOB: "1"}, QUIET_MS - 1) == []
    assert policy.look({JOB: "1"}, 10 * QUIET_MS) == []
    assert policy.look({JOB: "2"}, 10 * QUIET_MS + 1) == [], "it must last anew"


def test_a_file_that_is_gone_is_waited_for() -> None:
    policy = ReloadPolicy({JOB: "1", HELPER: "1"})
    assert settled(policy, {HELPER: "1"}, 0) == []
    assert settled(policy, {HELPER: "1", JOB: "2"}, 1_000) == [JOB]
    policy.ended({JOB: "2"})
    assert settled(policy, {JOB: "3"}, 2_000) == [JOB], "what is not read any more is not waited for"


def test_a_change_while_the_job_is_loaded_counts_after_it() -> None:
    policy = ReloadPolicy({JOB: "1"})
    assert settled(policy, {JOB: "2"}, 0) == [JOB]
    for now_ms in (1_000, 2_000, 3_000):
        assert policy.look({JOB: "3"}, now_ms) == [], "one at a time"
    policy.ended({JOB: "2"})
    assert policy.look({JOB: "3"}, 3_050) == [JOB], "it has lasted long enough"
    policy.ended({JOB: "3"})
    assert settled(policy, {JOB: "3"}, 9_000) == []


def test_a_change_overtakes_what_is_being_loaded_once_it_has_lasted() -> None:
    policy = ReloadPolicy({JOB: "1"})
    assert settled(policy, {JOB: "hangs"}, 0) == [JOB]
    policy.look({JOB: "hangs"}, 900)
    assert policy.overtaken == []
    policy.look({JOB: "2"}, 1_000)
    assert policy.overtaken == []
    policy.look({JOB: "2"}, 1_000 + QUIET_MS)
    assert policy.overtaken == [JOB]
    policy.look({JOB: "1"}, 2_000)
    policy.look({JOB: "1"}, 2_000 + QUIET_MS)
    assert policy.overtaken == [JOB], "also when the change is taken back"
    policy.ended()
    assert policy.overtaken == []
    assert settled(policy, {JOB: "1"}, 3_000) == [JOB]


def test_a_file_that_is_read_on_the_way_counts_already() -> None:
    policy = ReloadPolicy({JOB: "1"})
    assert settled(policy, {JOB: "2"}, 0) == [JOB]
    policy.reads({JOB: "2", HELPER: "hangs"})
    policy.look({JOB: "2", HELPER: "hangs"}, 900)
    policy.look({JOB: "2", HELPER: "1"}, 1_000)
    assert policy.overtaken == []
    policy.look({JOB: "2", HELPER: "1"}, 1_000 + QUIET_MS)
    assert policy.overtaken == [HELPER]
    policy.ended()
    assert settled(policy, {JOB: "2", HELPER: "1"}, 2_000) == [HELPER]


def test_what_was_read_counts_and_not_what_was_looked_at() -> None:
    policy = ReloadPolicy({JOB: "1"})
    assert settled(policy, {JOB: "2"}, 0) == [JOB]
    policy.ended({JOB: "3"})  # saved between the look and the reading
    assert settled(policy, {JOB: "3"}, 1_000) == []


def test_what_did_not_load_is_not_tried_again_as_it_is() -> None:
    policy = ReloadPolicy({JOB: "1"})
    assert settled(policy, {JOB: "wrong"}, 0) == [JOB]
    policy.ended()
    assert settled(policy, {JOB: "wrong"}, 1_000) == []
    assert settled(policy, {JOB: "1"}, 2_000) == [JOB], "also when the change is taken back"


def test_a_new_file_counts_where_one_was_missing() -> None:
    policy = ReloadPolicy({JOB: "1"})
    assert policy.look({JOB: "2", FOLDER: "job.py"}, 0) == []
    assert policy.look({JOB: "2", FOLDER: "job.py"}, QUIET_MS) == [JOB]
    before = policy.noticed(FOLDER)
    assert before == "job.py"
    policy.ended({JOB: "2", FOLDER: before})
    assert settled(policy, {JOB: "2", FOLDER: "job.py helper.py"}, 1_000) == [FOLDER]
    policy.ended({JOB: "2", HELPER: "1"})
    assert settled(policy, {JOB: "2", HELPER: "1", FOLDER: "job.py helper.py more.py"}, 2_000) == []
