"""The restart policy, by the clock in the test's hand."""

from __future__ import annotations

from mini_flink.core.restarts import LONGEST_DELAY_MS, START_ATTEMPTS, GiveUp, Restart, RestartPolicy


def served(policy: RestartPolicy, at_ms: int, for_ms: int) -> Restart | GiveUp:
    policy.ready(at_ms)
    return policy.died(at_ms + for_ms)


def test_the_first_restart_is_at_once_then_delays_grow_to_a_limit() -> None:
    policy = RestartPolicy()
    delays = [served(policy, at, 100) for at in range(0, 90_000, 10_000)]
    assert delays == [Restart(ms) for ms in (0, 100, 200, 400, 800, 1600, 3200, 5000, LONGEST_DELAY_MS)]
    assert policy.restarts == 9


def test_ten_healthy_seconds_reset_the_delay() -> None:
    policy = RestartPolicy()
    for at in range(0, 80_000, 10_000):
        served(policy, at, 0)
    assert served(policy, 100_000, 10_000) == Restart(0)
    assert served(policy, 120_000, 0) == Restart(100)


def test_a_process_that_is_killed_now_and_then_is_back_at_once() -> None:
    policy = RestartPolicy()
    assert {served(policy, at, 2_500) for at in range(0, 60_000, 3_000)} == {Restart(0)}


def test_never_ready_is_given_up_after_a_few_starts() -> None:
    policy = RestartPolicy()
    outcomes = [policy.died(at) for at in range(START_ATTEMPTS)]
    assert outcomes == [Restart(0), Restart(100), GiveUp(START_ATTEMPTS)]


def test_once_ready_it_is_never_given_up() -> None:
    policy = RestartPolicy()
    served(policy, 0, 100)
    outcomes = [policy.died(at) for at in range(1000, 30_000, 1000)]
    assert all(isinstance(outcome, Restart) for outcome in outcomes)
    assert outcomes[-1] == Restart(LONGEST_DELAY_MS)


def test_a_process_that_worked_is_back_at_once_however_often_it_is_killed() -> None:
    policy = RestartPolicy()
    for second in range(20):
        policy.ready(second * 1000)
        assert policy.died(second * 1000 + 300, worked=True) == Restart(0)
