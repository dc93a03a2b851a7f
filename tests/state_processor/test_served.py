"""What a real server wrote is read as the server's clients know it, and can be changed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mini_flink.datastream.state import ValueStateDescriptor
from mini_flink.state_processor import SavepointReader, SavepointWriter
from tests.codec.sample_classes import Point
from tests.e2e import checks
from tests.e2e.client import Load, post, post_all
from tests.e2e.server import ROOT, Server
from tests.state_processor.jobs import keeping
from tests.state_processor.stored import channels, state_items

TOTAL = ValueStateDescriptor("total", int)
KEYS = [*(f"k{number}" for number in range(20)), "ключ", "long" * 700]
MISTAKES = 3


def take_savepoint(server: Server) -> str:
    """The path of a new one."""
    command = [sys.executable, "-m", "mini_flink", "savepoint", "--data-dir", str(server.data_dir), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    taken = json.loads(done.stdout)
    return f"{taken['location']}/{taken['id']}"


def rows() -> list[tuple[str, int]]:
    """What is sent; a key may be asked for before it has been seen."""
    return [(KEYS[number * 7 % len(KEYS)], number * number % 1000) for number in range(600)]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A savepoint of two workers with all kinds of state and some dead letters."""
    server = Server(
        tmp_path_factory.mktemp("kept"),
        Path(keeping.__file__),
        "--workers",
        "2",
        environment={"PYTHONPATH": str(ROOT)},
    )
    try:
        server.start()
        chains: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for key, number in rows():
            chains[key].append({"key": key, "number": number})
        answers = post_all(server.url, "/keep", chains.values())
        assert {exchange.status for chain in answers for exchange in chain} == {200}
        for number in range(1, MISTAKES + 1):
            assert post(server.url, "/keep", {"key": "wrong", "number": -number}).status == 500
        yield take_savepoint(server)
    finally:
        server.clean_up()


def model() -> dict[str, list[int]]:
    """The numbers of each key, in order."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for key, number in rows():
        numbers[key].append(number)
    return numbers


def test_every_kind_of_state_is_what_the_job_has_kept(kept: str) -> None:
    numbers = model()
    with SavepointReader.read(kept) as savepoint:
        read = savepoint.read_keyed_state
        assert dict(read("keep", keeping.TOTAL)) == {key: sum(each) for key, each in numbers.items()}
        assert dict(read("keep", keeping.NUMBERS)) == numbers
        assert dict(read("keep", keeping.LARGEST)) == {key: max(each) for key, each in numbers.items()}
        assert dict(read("keep", keeping.MEAN)) == {k: (sum(each), len(each)) for k, each in numbers.items()}
        assert dict(read("keep", keeping.LAST)) == {
            key: Point(each[-1], key) for key, each in numbers.items()
        }


def test_a_map_state_is_read_with_keys_of_its_own(kept: str) -> None:
    days: dict[Any, dict[Any, int]] = defaultdict(lambda: defaultdict(int))
    for key, number in rows():
        days[keeping.group_of({"key": key, "number": number})][keeping.day_of(number)] += 1
    with SavepointReader.read(kept) as savepoint:
        found = list(savepoint.read_keyed_state("days", keeping.DAYS))
    assert dict(found) == days
    assert len(found) == len(days), "each key once"


def test_a_savepoint_says_what_it_is(kept: str) -> None:
    with SavepointReader.read(kept) as savepoint:
        assert (savepoint.job, savepoint.max_parallelism) == ("keeping", 128)
        assert savepoint.id == Path(kept).name
        found = {
            uid: {one.name: (one.kind, one.type_text) for one in states}
            for uid, states in savepoint.operators.items()
        }
        savepoint.verify()
    assert found == {
        "keep": {
            "total": ("value", "int"),
            "last": ("value", ""),
            "numbers": ("list", "int"),
            "largest": ("reducing", "int"),
            "mean": ("aggregating", ""),
        },
        "days": {"days": ("map", "")},
    }


def test_dead_letters_are_read_as_values(kept: str) -> None:
    with SavepointReader.read(kept) as savepoint:
        letters = sorted(savepoint.dead_letters(), key=lambda letter: letter.failed_at)
    assert [letter.value for letter in letters] == [
        {"key": "wrong", "number": -n} for n in range(1, MISTAKES + 1)
    ]
    assert {(one.operator, one.key, one.error_type, one.error_message) for one in letters} >= {
        ("keep", "wrong", "ValueError", "-1 is below 0")
    }
    assert len({letter.error_id for letter in letters}) == MISTAKES


def test_what_is_not_replaced_stays(kept: str, tmp_path: Path) -> None:
    doubled = [(key, sum(each) * 2) for key, each in model().items()]
    written = (
        SavepointWriter.from_existing_savepoint(kept)
        .with_operator("keep", keeping.TOTAL, doubled)
        .with_operator("keep", ValueStateDescriptor("note", str), {"k1": "first"})
        .with_operator("extra", keeping.NUMBERS, {1: [2, 3]})
        .write(tmp_path)
    )
    with SavepointReader.read(kept) as before, SavepointReader.read(written.path) as after:
        after.verify()
        assert dict(after.read_keyed_state("keep", keeping.TOTAL)) == dict(doubled)
        assert dict(after.read_keyed_state("keep", ValueStateDescriptor("note", str))) == {"k1": "first"}
        assert dict(after.read_keyed_state("extra", keeping.NUMBERS)) == {1: [2, 3]}
        for uid, descriptor in (("keep", keeping.NUMBERS), ("keep", keeping.LAST), ("days", keeping.DAYS)):
            assert list(after.read_keyed_state(uid, descriptor)) == list(
                before.read_keyed_state(uid, descriptor)
            )
        assert sorted(after.operators) == ["days", "extra", "keep"]
        assert list(after.dead_letters()) == list(before.dead_letters())
        assert (after.job, after.max_parallelism) == (before.job, before.max_parallelism)


def test_the_same_state_written_from_python_is_the_same_byte_for_byte(kept: str, tmp_path: Path) -> None:
    writer = SavepointWriter.new_savepoint("keeping")
    with SavepointReader.read(kept) as savepoint:
        for descriptor in (keeping.MEAN, keeping.LARGEST, keeping.NUMBERS, keeping.LAST, keeping.TOTAL):
            writer.with_operator("keep", descriptor, savepoint.read_keyed_state("keep", descriptor))
        writer.with_operator("days", keeping.DAYS, savepoint.read_keyed_state("days", keeping.DAYS))
        written = writer.write(tmp_path)
    assert written.keys == 5 * len(model()) + len(dict(savepoint.read_keyed_state("days", keeping.DAYS)))
    assert state_items(written.path) == state_items(kept)


def test_an_operator_is_removed_and_begun_anew(kept: str, tmp_path: Path) -> None:
    without = SavepointWriter.from_existing_savepoint(kept).remove_operator("keep").write(tmp_path)
    with SavepointReader.read(without.path) as savepoint:
        assert list(savepoint.operators) == ["days"]
    anew = (
        SavepointWriter.from_existing_savepoint(kept)
        .remove_operator("keep")
        .with_operator("keep", keeping.LARGEST, [("k1", 5)])
        .write(tmp_path)
    )
    with SavepointReader.read(anew.path) as savepoint:
        assert [state.name for state in savepoint.operators["keep"]] == ["largest"]
        assert list(savepoint.read_keyed_state("keep", keeping.LARGEST)) == [("k1", 5)]


def test_under_load_each_total_is_one_that_a_client_was_told(tmp_path: Path) -> None:
    server = Server(tmp_path, "mini_flink.examples.running_total", "--workers", "2")
    try:
        server.start()
        load = Load(lambda: server.url, "/total", checks.amounts(5, connections=8)).start()
        load.until_done(400)
        path = take_savepoint(server)
        load.until_done(400)
        exchanges = load.stop()
        assert checks.total_problems(exchanges) == []
        told = {(exchange.value["key"], exchange.body["total"]) for exchange in exchanges}
        with SavepointReader.read(path) as savepoint:
            found = dict(savepoint.read_keyed_state("total", TOTAL))
        assert len(found) == checks.KEYS
        assert found.items() <= told
        after = dict(SavepointReader.read(take_savepoint(server)).read_keyed_state("total", TOTAL))
        assert after == {key: max(total for other, total in told if other == key) for key in found}
    finally:
        server.clean_up()


def test_what_is_under_way_goes_along(tmp_path: Path) -> None:
    """Between two stages there is nearly always something on its way; it is part of the cut."""
    server = Server(tmp_path, Path(keeping.__file__), "--workers", "2", environment={"PYTHONPATH": str(ROOT)})
    try:
        server.start()
        chains = [[{"key": f"k{chain}", "number": number} for number in range(2000)] for chain in range(16)]
        load = Load(lambda: server.url, "/keep", chains).start()
        load.until_done(300)
        before = take_savepoint(server)
        load.stop()
    finally:
        server.clean_up()
    written = (
        SavepointWriter.from_existing_savepoint(before)
        .with_operator("keep", keeping.TOTAL, {"k1": 1})
        .write(tmp_path)
    )
    assert channels(written.path) == channels(before)
