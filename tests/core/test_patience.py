"""How long somebody is waited for: the machine alone, with its times as numbers."""

from __future__ import annotations

from mini_flink.core.patience import Patience


def test_it_ends_when_nothing_has_moved_for_so_long() -> None:
    patience = Patience()
    assert patience.due_ms() is None
    patience.begin(60, 1_000)
    assert not patience.over(1_059)
    patience.moved(1_050)
    assert not patience.over(1_109)
    assert patience.due_ms() == 1_110
    assert patience.over(1_110)


def test_who_says_the_same_again_has_not_moved() -> None:
    patience = Patience()
    patience.begin(60, 0)
    patience.moved(50, (10, 100))
    patience.moved(100, (10, 100))
    assert patience.over(110)
    patience.moved(109, (11, 100))
    assert not patience.over(110)


def test_without_a_limit_it_never_ends() -> None:
    patience = Patience()
    patience.begin(60, 0)
    patience.begin(None, 10)
    patience.moved(20)
    assert not patience.over(1_000_000)
