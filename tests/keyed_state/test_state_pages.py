"""Workers' states, by key and page by page, against a dict that holds the same: on table, layers and both."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mini_flink import wire
from mini_flink.errors import EXIT_USAGE
from mini_flink.keys import encode_key, key_group, subtask_of_group
from mini_flink.state import layout
from mini_flink.state.layout import Stored
from mini_flink.state.lmdb import LmdbTable
from mini_flink.state.memory import MemoryDisk, MemoryTable
from mini_flink.state.overlay import Overlay
from mini_flink.state.position import Position
from mini_flink.values import encode
from mini_flink.worker import keyed
from mini_flink.worker.keyed import KeyedStates

GROUPS = 16
WORKERS = 3
UIDS = {1: "first", 2: "second"}
TOTAL, TOKENS, OTHER = (
    Stored(1, "total", 0, "value", "int", 5),
    Stored(1, "tokens", 1, "map", "", 5),
    Stored(2, "total", 0, "value", "", 1),
)


class World:
    """The workers of a job, each with a table and layers over it, and what they hold."""

    def __init__(self, tables: list[Any]) -> None:
        self.tables = tables
        self.overlays = [Overlay(table) for table in tables]
        self.commits = [0 for _ in tables]
        self.model: dict[tuple[str, str, Any], Any] = {}
        for overlay in self.overlays:
            for stored in (TOTAL, TOKENS, OTHER):
                key = layout.registry_key(stored.operator, stored.name)
                overlay.put_entry(layout.REGISTRY, key, wire.pack(stored))
            overlay.take_batch()

    def place(self, stored: Stored, key: Any) -> tuple[Overlay, bytes]:
        encoded = encode_key(key)
        group = key_group(encoded, GROUPS)
        subtask = subtask_of_group(group, GROUPS, stored.parallelism)
        overlay = self.overlays[subtask % len(self.overlays)]
        return overlay, layout.state_prefix(group, stored.operator, stored.number) + encoded

    def put(self, stored: Stored, key: Any, value: Any) -> None:
        overlay, place = self.place(stored, key)
        name = UIDS[stored.operator], stored.name, key
        if stored.kind == "map":
            for entry, _ in overlay.scan(place):
                overlay.delete_entry(place, entry)
            for map_key, each in (value or {}).items():
                overlay.put_entry(place, place + encode_key(map_key), encode(each))
        elif value is None:
            overlay.delete(place)
        else:
            overlay.put(place, encode(value))
        self.model.pop(name, None)
        if value:
            self.model[name] = value
        overlay.take_batch()

    def freeze(self, worker: int, *, flush: bool) -> None:
        overlay, table = self.overlays[worker], self.tables[worker]
        frozen = overlay.freeze()
        if flush:
            self.commits[worker] += 1
            table.write(frozen.items(), self.commits[worker])
            table.renew()
            overlay.drop_frozen()

    def states(self, worker: int) -> KeyedStates:
        return KeyedStates(self.overlays[worker], UIDS, worker, len(self.overlays), GROUPS)

    def ask(self, worker: int, **question: Any) -> dict[str, Any]:
        return self.states(worker).look(
            {"operator": None, "state": None, "after": None, "limit": 100, **question}
        )

    def pages(self, operator: str, limit: int, state: str | None = None) -> Iterator[list[dict[str, Any]]]:
        """As whoever asks goes on: with the worker that owns the place where the page begins."""
        parallelism = 5 if operator == "first" else 1
        after = None
        while True:
            subtask = subtask_of_group(Position.read(after).group, GROUPS, parallelism)
            worker = subtask % len(self.overlays)
            question = {"do": "scan", "operator": operator, "state": state, "after": after, "limit": limit}
            told = self.states(worker).look(question)
            yield told["rows"]
            after = told["after"]
            if after is None:
                return


@pytest.fixture(params=["memory", "lmdb"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    tables: list[Any]
    if request.param == "memory":
        tables = [MemoryTable(MemoryDisk()) for _ in range(WORKERS)]
    else:
        tables = [LmdbTable(tmp_path / str(each), map_size_bytes=1 << 26) for each in range(WORKERS)]
    yield World(tables)
    for table in tables:
        table.close()


def some_key(chance: random.Random) -> Any:
    number = chance.randrange(40)
    heads = (
        number,
        f"k{number}",
        ("t", number),
        "é\u202e" * number,
        "long" * 150 + str(number),
        b"\xff" * number,
    )
    return heads[number % len(heads)]


@pytest.mark.parametrize("seed", range(6))
def test_pages_and_keys_are_what_was_put(world: World, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(400):
        stored = chance.choice((TOTAL, TOKENS, OTHER))
        amount = chance.randrange(4)
        value: Any = amount or None
        if stored is TOKENS:
            value = {some_key(chance): each for each in range(amount)}
        world.put(stored, some_key(chance), value)
        if chance.random() < 0.02:
            world.freeze(chance.randrange(WORKERS), flush=True)
    world.freeze(0, flush=False)
    for (uid, name, key), value in world.model.items():
        told = [
            world.ask(worker, do="get", key=encode_key(key), operator=uid, state=name) for worker in range(3)
        ]
        ((row,),) = [each["states"] for each in told if each["states"]]
        assert row["text"] == repr(value) or (name == "tokens" and row["entries"] == len(value))
        ((owner,),) = [each["owners"] for each in told if each["owners"]]
        assert (owner["worker"], owner["subtask"]) == (row["worker"], row["subtask"])
    for uid in ("first", "second"):
        for limit in (1, 7, 100):
            rows = [row for page in world.pages(uid, limit) for row in page]
            assert all(len(page) <= limit for page in world.pages(uid, limit))
            found = [(row["operator"], row["state"], row["key"]) for row in rows]
            assert len(found) == len(set(found)), "no key comes twice"
            assert len(found) == sum(1 for known, *_ in world.model if known == uid), "and none is left out"
            groups = [row["key_group"] for row in rows]
            assert groups == sorted(groups), "in stored order, across workers"
    only = [row for page in world.pages("first", 100, "total") for row in page]
    assert {row["state"] for row in only} == {"total"}


def test_a_long_key_behind_which_a_page_begins_may_be_gone(world: World) -> None:
    long = [f"{'x' * 2000}{number}" for number in range(200)]
    for key in long:
        world.put(OTHER, key, 1)
    world.freeze(0, flush=True)
    first, *_ = world.pages("second", 3)
    told = world.ask(0, do="scan", operator="second", limit=3)
    assert len(told["after"]) < 1000, "a cursor fits in a URL"
    gone = first[-1]["key"][1:-1]
    world.put(OTHER, gone, None)
    seen = [row["key"][1:-1] for row in first]
    after = told["after"]
    while after is not None:
        page = world.ask(0, do="scan", operator="second", limit=50, after=after)
        seen += [row["key"][1:-1] for row in page["rows"]]
        after = page["after"]
    assert set(seen) == set(long), "none is left out"


def test_too_many_long_keys_that_begin_alike_are_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyed, "ALIKE", 10)
    monkeypatch.setattr(keyed, "PAGE_S", 60.0)
    long = (f"{'x' * 2000}{number:03}" for number in range(200))
    for key in [key for key in long if key_group(encode_key(key), GROUPS) == 3]:
        world.put(OTHER, key, 1)
    after = world.ask(0, do="scan", operator="second", limit=3)["after"]
    assert world.ask(0, do="scan", operator="second", limit=3, after=after)["rows"]
    monkeypatch.setattr(keyed, "ALIKE", 1)
    assert world.ask(0, do="scan", operator="second", after=after)["exit_code"] == EXIT_USAGE


def test_answers_are_bounded(world: World) -> None:
    for number in range(2_000):
        world.put(OTHER, number, "v" * 900)
    world.put(OTHER, "k" * 100_000, "x" * 100_000)
    world.put(TOKENS, "many", dict.fromkeys(range(keyed.MAP_ENTRIES + 1), "y" * 10))
    for page in world.pages("second", 10_000):
        size = sum(len(row["text"]) + len(row["key"]) for row in page)
        assert size < keyed.PAGE_BYTES + keyed.VALUE_LIMIT + keyed.ROW_LIMIT
        assert len(page) <= keyed.PAGE_ROWS
    (row,) = world.ask(0, do="get", key=encode_key("k" * 100_000))["states"]
    assert (row["bytes"], row["cut"], row["key_cut"], len(row["text"])) == (
        100_005,
        True,
        True,
        keyed.VALUE_LIMIT,
    )
    rows = [
        row for worker in range(3) for row in world.ask(worker, do="get", key=encode_key("many"))["states"]
    ]
    assert [(row["entries"], row["bytes"], row["cut"]) for row in rows] == [(None, None, True)]


def test_wrong_questions_are_refused_and_names_are_told(world: World) -> None:
    for question in ({"do": "drop"}, {"do": "scan", "operator": "second", "after": "!"}):
        told = world.ask(0, **question)
        assert told["exit_code"] == EXIT_USAGE
    told = world.ask(0, do="scan", operator="nobody")
    assert (told["rows"], told["after"]) == ([], None)
    assert ["first", "tokens", "map", ""] in told["known"]


@pytest.mark.parametrize("cursor", ["", "AAAA", "é", "a" * 100, wire.pack([1, 2]).hex()])
def test_a_cursor_is_nothing_else(cursor: str) -> None:
    with pytest.raises(Exception, match="no cursor of a scan"):
        Position.read(cursor)
