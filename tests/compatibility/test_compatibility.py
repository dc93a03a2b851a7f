"""A job beside what another version of it has stored: every outcome, its words, and the states' indexes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mini_flink.core.compatibility import (
    Comparison,
    DeclaredJob,
    DeclaredState,
    StoredJob,
    StoredState,
    compare,
    stored_states,
)
from mini_flink.errors import EXIT_CONFIG, FolderError
from mini_flink.failures import render_error
from mini_flink.state.layout import MAX_STATES


def stored(name="total", kind="value", type_text="int", uid="count", **more) -> StoredState:
    return StoredState(uid, name, kind, type_text, **more)


def declared(
    name="total", kind="value", type_text="int", uid="count", parallelism=2, **more
) -> DeclaredState:
    return DeclaredState(uid, 7, name, kind, type_text, parallelism, **more)


def of(before: list[StoredState], now: list[DeclaredState], job="shop", maximum=128) -> Comparison:
    return compare(StoredJob("shop", 128, tuple(before)), DeclaredJob(job, maximum, tuple(now)))


def outcomes(comparison: Comparison) -> dict[str, tuple[str, str]]:
    return {f"{one.uid}.{one.name}": (one.outcome, one.detail) for one in comparison.states}


def refusal(comparison: Comparison, *, allow_dropped: bool = False) -> FolderError:
    error = comparison.refusal(allow_dropped=allow_dropped)
    assert error is not None
    assert error.exit_code == EXIT_CONFIG
    return error


def plus_one(data: bytes) -> bytes:
    return data + b"1"


def test_the_same_job_keeps_everything():
    comparison = of([stored(index=4, parallelism=2)], [declared()])
    assert outcomes(comparison) == {"count.total": ("kept", "")}
    assert comparison.refusal(allow_dropped=False) is None
    target = comparison.state_map()["count", "total"]
    assert target is not None
    assert (target.uid, target.name, target.kind, target.type_text) == ("count", "total", "value", "int")
    assert (target.operator, target.index, target.parallelism, target.migrate) == (7, 4, 2, None)


def test_new_states_begin_empty():
    comparison = of([stored(index=0)], [declared("first"), declared(), declared(uid="other")])
    assert outcomes(comparison) == {
        "count.first": ("new", "begins empty"),
        "count.total": ("kept", ""),
        "other.total": ("new", "begins empty"),
    }
    assert comparison.refusal(allow_dropped=False) is None
    indexes = {place: target.index for place, target in comparison.state_map().items() if target}
    assert indexes == {("count", "first"): 1, ("count", "total"): 0, ("other", "total"): 0}


def test_another_parallelism_moves_a_state():
    assert outcomes(of([stored(parallelism=2)], [declared(parallelism=3)])) == {
        "count.total": ("moved", "parallelism 2 → 3")
    }
    assert outcomes(of([stored()], [declared(parallelism=3)])) == {"count.total": ("kept", "")}


def test_a_migration_is_handed_on():
    now = declared(type_text="float", parallelism=3, migrations={"int": plus_one, "": plus_one})
    comparison = of([stored(parallelism=2)], [now])
    assert outcomes(comparison) == {"count.total": ("migrated", "int → float, parallelism 2 → 3")}
    assert comparison.refusal(allow_dropped=False) is None
    target = comparison.state_map()["count", "total"]
    assert target is not None
    assert (target.type_text, target.migrate) == ("float", plus_one)
    assert outcomes(of([stored(type_text="")], [now]))["count.total"] == ("migrated", "undeclared → float")


@pytest.mark.parametrize(
    ("before", "now", "line"),
    [
        (
            stored(),
            declared(type_text="float"),
            "ValueStateDescriptor('total', float).migrate_from(int, float)",
        ),
        (
            stored(kind="list", type_text=""),
            declared(kind="list", type_text="INT"),
            "ListStateDescriptor('total', Types.INT()).migrate_from(None, lambda value: …)",
        ),
        (
            stored(kind="map", type_text="str, int"),
            declared(kind="map", type_text="str, float"),
            "MapStateDescriptor('total', …).migrate_from('str, int', lambda value: …)",
        ),
        (
            stored(kind="aggregating", type_text="shop:Old"),
            declared(kind="aggregating", type_text="shop:New"),
            "AggregatingStateDescriptor('total', …).migrate_from('shop:Old', lambda value: …)",
        ),
        (
            stored(type_text="shop:Old"),
            declared(type_text=""),
            "ValueStateDescriptor('total', None).migrate_from('shop:Old', lambda value: …)",
        ),
    ],
)
def test_another_type_without_a_migration_is_refused_with_the_line_to_write(before, now, line):
    comparison = of([before], [replace(now, migrations={"bytes": plus_one})])
    assert outcomes(comparison)["count.total"][0] == "refused"
    error = refusal(comparison, allow_dropped=True)
    assert error.help == f"say how it changes: {line}"
    assert "state 'total' of operator 'count'" in error.message
    for one in (before, now):
        assert f"{one.kind} state of {one.type_text or 'an undeclared type'}" in error.message


def test_another_kind_is_refused_whatever_migrations_there_are():
    now = declared(kind="list", type_text="float", migrations={"int": plus_one})
    error = refusal(of([stored()], [now]), allow_dropped=True)
    assert "stored as value state of int, and the job declares list state of float" in error.message
    assert error.help.startswith("a value cannot become a list")


def test_what_is_not_declared_any_more_is_dropped_only_on_purpose():
    comparison = of([stored(), stored("last")], [declared()])
    assert outcomes(comparison)["count.last"] == ("dropped", "is stored and not declared any more")
    assert comparison.refusal(allow_dropped=True) is None
    assert comparison.state_map()["count", "last"] is None
    error = refusal(comparison)
    assert error.message == "state 'last' of operator 'count' is stored and not declared any more"
    assert error.help == "--allow-dropped-state lets it go"


@pytest.mark.parametrize(
    ("now", "remedy"),
    [
        (
            declared(uid="tally"),
            "if it is state 'total' of operator 'tally' now, give that .uid('count'); else",
        ),
        (declared("sum"), "if it is state 'sum' of operator 'count' now, give that the name 'total'; else"),
        (declared("sum", uid="tally"), "--allow-dropped-state lets it go"),
        (declared(uid="tally", type_text="float"), "--allow-dropped-state lets it go"),
    ],
)
def test_a_lost_name_is_guessed(now, remedy):
    assert refusal(of([stored()], [now])).help.startswith(remedy)


def test_states_without_content_are_no_obstacle():
    before = [stored(has_content=False), stored("last", has_content=False)]
    comparison = of(before, [declared(kind="list", type_text="float")])
    assert outcomes(comparison) == {
        "count.total": ("kept", "nothing is stored in it, which was value state of int"),
        "count.last": ("dropped", "nothing is stored in it"),
    }
    assert comparison.refusal(allow_dropped=False) is None
    target = comparison.state_map()["count", "total"]
    assert target is not None
    assert (target.kind, target.migrate) == ("list", None)


def test_what_has_content_at_one_worker_counts():
    now = declared(type_text="float")
    before = [stored(type_text="float", has_content=False, index=0), stored(index=0)]
    for order in (before, before[::-1]):
        assert outcomes(of(order, [now]))["count.total"][0] == "refused"
    assert outcomes(of([stored(), stored()], [declared()]))["count.total"] == ("kept", "")


def test_two_workers_that_contradict_each_other_are_refused():
    now = declared(type_text="float", migrations={"int": plus_one})
    error = refusal(of([stored(index=0), stored(type_text="float", index=0)], [now]))
    assert "as value state of float at one worker and as value state of int at another" in error.message


def test_another_job_and_another_number_of_key_groups():
    foreign = of([stored()], [declared()], job="other")
    assert foreign.states == ()
    assert "belongs to job 'shop', not to 'other'" in refusal(foreign).message
    error = refusal(of([stored()], [declared()], maximum=64))
    assert "max_parallelism 128; the job now says 64" in error.message
    assert error.help.startswith("set_max_parallelism(128)")


def test_all_problems_are_named_each_with_its_remedy():
    before = [stored(), stored("seen", "list"), stored("last")]
    now = [declared(type_text="float"), declared("seen", "map")]
    comparison = of(before, now, maximum=64)
    error = refusal(comparison)
    assert error.message == "the job does not fit what is stored, for 4 reasons"
    begin = [
        "the state was stored with max_parallelism 128",
        *(f"state '{name}'" for name in ("total", "seen", "last")),
    ]
    assert all(map(str.startswith, error.details, begin))
    shown = render_error(error)
    for problem in comparison.problems(allow_dropped=False):
        assert problem.text in shown
        assert problem.remedy in shown
        assert any(problem.text in note and problem.remedy in note for note in error.__notes__)
    assert len(refusal(comparison, allow_dropped=True).details) == 3


def test_many_problems_are_cut_where_people_read_them_only():
    error = refusal(of([stored(f"s{number}") for number in range(50)], []))
    assert len(error.details) == 50
    lines = render_error(error).splitlines()
    assert len(lines) == 23
    assert lines[-2] == "  - … and 30 more"


def test_too_many_states_of_one_operator():
    few = [declared(f"s{number}") for number in range(MAX_STATES)]
    assert of([], few).refusal(allow_dropped=False) is None
    error = refusal(of([], [*few, declared("one more")]))
    assert error.message == "operator 'count' declares more than 256 states"


def test_the_states_of_a_manifest():
    rows = [
        [3, "total", "value", "int"],
        [3, "seen", "list", ""],
        [9, "x", "map", ""],
        [4, "parts", "list", ""],
    ]
    states = stored_states(
        rows,
        operators={"count": 3, "join": 4},
        fingerprint=[["count", "process", "count", 5, [], []], ["join", "process", "join", None, [], []]],
        parallelisms={"count": 6},
        workers=2,
        max_parallelism=128,
    )
    assert states == (
        StoredState("count", "total", "value", "int", parallelism=6),
        StoredState("count", "seen", "list", "", parallelism=6),
        StoredState("number 9", "x", "map", "", parallelism=2),
        StoredState("join", "parts", "list", "", parallelism=2),
    )
    indexes = compare(
        StoredJob("shop", 128, states),
        DeclaredJob("shop", 128, (declared("seen", "list", ""), declared("total"), declared("new"))),
    ).state_map()
    assert [target.index for target in indexes.values() if target] == [1, 0, 2]


# --- operators and sources --------------------------------------------------------------------------------

ROUTE = ["/total", ["POST"], "dict", [], None]


def changes(before, now) -> dict[str, tuple[str, str]]:
    old, new = StoredJob("shop", 128, (), before), DeclaredJob("shop", 128, (), now)
    return {one.uid: (one.change, one.detail) for one in compare(old, new).operators}


def test_operators_and_sources_are_compared_for_information():
    before = [
        ["POST /total", "requests", "requests", None, [], ROUTE],
        ["numbers", "collection", "collection", None, [], [2, "ab"]],
        ["count", "process", "Count", 2, [["POST /total", True]], []],
        ["gone", "map", "map", None, [["count", False]], []],
        ["reply-1", "reply", "reply", None, [["gone", False]], [200, [], None]],
    ]
    now = [
        ["POST /total", "requests", "requests", None, [], ["/sum", ["POST", "PUT"], "dict", [], None]],
        ["numbers", "collection", "collection", None, [], [3, "cd"]],
        ["count", "flat_map", "Tally", None, [["POST /total", False]], []],
        ["reply-1", "reply", "reply", None, [["count", False]], [201, [], None]],
        ["more", "map", "map", None, [["count", False]], []],
    ]
    assert changes(before, now) == {
        "POST /total": ("changed", "route POST /total → POST|PUT /sum"),
        "numbers": ("changed", "elements changed, 2 → 3: only appending is taken once any is done"),
        "count": (
            "changed",
            "process → flat_map, name Count → Tally, parallelism 2 → default, reads POST /total instead of "
            "POST /total by key",
        ),
        "reply-1": ("changed", "reads count instead of gone, options changed"),
        "more": ("new", ""),
        "gone": ("removed", ""),
    }
    assert set(changes(before, before).values()) == {("kept", "")}


# --- indexes ----------------------------------------------------------------------------------------------

UIDS, NAMES = st.sampled_from(["a", "b", "c"]), st.sampled_from([f"s{number}" for number in range(12)])
PLACES = st.lists(st.tuples(UIDS, NAMES), unique=True, max_size=24)


@st.composite
def both(draw) -> tuple[list[StoredState], list[DeclaredState]]:
    """A folder with unique indexes, gaps among them, and a job that has some of its states and others."""
    before = []
    taken: set[tuple[str, int]] = set()
    for uid, name in draw(PLACES):
        index = draw(st.integers(0, MAX_STATES - 1).filter(lambda one, uid=uid: (uid, one) not in taken))
        taken.add((uid, index))
        before.append(stored(name, uid=uid, index=index))
    return before, [declared(name, uid=uid) for uid, name in draw(PLACES)]


@given(both(), st.randoms())
def test_indexes_are_stable_unique_and_as_low_as_can_be(sides, random):
    before, now = sides
    first = of(before, now).state_map()
    shuffled = [*before, *before]  # of two workers, read in any order
    random.shuffle(shuffled)
    assert of(shuffled, now).state_map() == first
    assert set(first) == {(one.uid, one.name) for one in [*before, *now]}

    indexes = {place: target.index for place, target in first.items() if target}
    assert set(indexes) == {(one.uid, one.name) for one in now}
    assert len({(uid, index) for (uid, _), index in indexes.items()}) == len(indexes)
    assert all(0 <= index < MAX_STATES for index in indexes.values())
    at = {(one.uid, one.name): one.index for one in before}
    assert all(indexes[place] == at[place] for place in indexes if place in at)
    for uid in {one.uid for one in now}:
        used = {index for (owner, _), index in indexes.items() if owner == uid}
        kept = {at[place] for place in indexes if place in at and place[0] == uid}
        free = [index for index in range(MAX_STATES) if index not in kept]
        assert used - kept == set(free[: len(used - kept)])


@given(both(), both())
def test_indexes_stay_through_many_versions(one, two):
    """What a version is restored as is what the next one finds stored."""
    before, now = one
    after = two[1]

    def as_stored(comparison: Comparison) -> list[StoredState]:
        targets = [target for target in comparison.state_map().values() if target]
        return [stored(target.name, uid=target.uid, index=target.index) for target in targets]

    middle = as_stored(of(before, now))
    end = {(state.uid, state.name): state.index for state in as_stored(of(middle, after))}
    was = {(state.uid, state.name): state.index for state in middle}
    assert all(end[place] == was[place] for place in end.keys() & was.keys())


@given(st.permutations(["b", "a", "c"]))
def test_states_that_claim_one_index_are_told_apart_by_name(order):
    before = [stored(name, index=0) for name in order]
    targets = of(before, [declared(name) for name in order]).state_map()
    kept = {name: target.index for (_, name), target in targets.items() if target}
    assert kept["a"] == 0
    assert sorted(kept.values()) == [0, 1, 2]
