"""What cannot be read or written is refused by name, with what there is instead; nothing half done stays."""

from __future__ import annotations

import datetime
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mini_flink.datastream.state import (
    ListStateDescriptor,
    MapStateDescriptor,
    StateDescriptor,
    ValueStateDescriptor,
)
from mini_flink.errors import (
    CorruptionError,
    DecodeError,
    EncodeError,
    JobError,
    KeyTypeError,
    MiniFlinkError,
    SnapshotError,
)
from mini_flink.state_processor import SavepointReader, SavepointWriter

TOTAL: ValueStateDescriptor[Any] = ValueStateDescriptor("total")
SEEN: ListStateDescriptor[Any] = ListStateDescriptor("seen")
PARTS: MapStateDescriptor[Any, Any] = MapStateDescriptor("parts")
ITEMS = {f"k{number}": number for number in range(30_000)}


@pytest.fixture
def path(tmp_path: Path) -> str:
    writer = SavepointWriter.new_savepoint("shop").with_operator("total", TOTAL, ITEMS)
    writer.with_operator("total", ListStateDescriptor[int]("totals"), {"a": [1]})
    return writer.with_operator("payments", PARTS, {"a": {"b": 1}}).write(tmp_path / "savepoints").path


def refused(kind: type[MiniFlinkError], act: Any) -> tuple[str, str]:
    """Message and help."""
    with pytest.raises(kind) as caught:
        act()
    return caught.value.message, caught.value.help


# --- reading ----------------------------------------------------------------------------------------------


def test_an_unknown_operator(path: str) -> None:
    savepoint = SavepointReader.read(path)
    assert refused(SnapshotError, lambda: savepoint.read_keyed_state("totl", TOTAL)) == (
        f"no operator 'totl' has state in savepoint {savepoint.id} of job 'shop'",
        "did you mean 'total'? operators with state: 'total', 'payments'",
    )


def test_an_unknown_state(path: str) -> None:
    savepoint = SavepointReader.read(path)
    assert refused(SnapshotError, lambda: savepoint.read_keyed_state("total", SEEN)) == (
        f"operator 'total' has no state 'seen' in {savepoint.id}",
        "states of operator 'total': 'total', 'totals'",
    )


def test_another_kind(path: str) -> None:
    savepoint = SavepointReader.read(path)
    act = lambda: savepoint.read_keyed_state("payments", ListStateDescriptor("parts"))  # noqa: E731
    assert refused(SnapshotError, act) == (
        "state 'parts' of operator 'payments' is a map state, not a list state",
        "give a MapStateDescriptor",
    )


def test_nothing_there(tmp_path: Path) -> None:
    message, _ = refused(SnapshotError, lambda: SavepointReader.read(tmp_path / "none"))
    assert message == f"{tmp_path / 'none'} is neither a snapshot nor a folder that holds some"
    message, _ = refused(SnapshotError, lambda: SavepointWriter.from_existing_savepoint(tmp_path / "none"))
    assert message == f"{tmp_path / 'none'} is neither a snapshot nor a folder that holds some"


def state_file(path: str) -> Path:
    return Path(path, "w0.state")


def test_a_file_of_another_size(path: str) -> None:
    with state_file(path).open("ab") as file:
        file.write(b"x")
    message, _ = refused(CorruptionError, lambda: SavepointReader.read(path))
    assert f"{state_file(path)} has " in message


def test_a_missing_file(path: str) -> None:
    state_file(path).unlink()
    message, _ = refused(CorruptionError, lambda: SavepointReader.read(path))
    assert f"{state_file(path)} is missing" in message


def test_a_flipped_bit(path: str, tmp_path: Path) -> None:
    data = bytearray(state_file(path).read_bytes())
    data[len(data) // 2] ^= 1
    state_file(path).write_bytes(data)
    savepoint = SavepointReader.read(path)
    read: list[tuple[Any, Any]] = []
    message, _ = refused(CorruptionError, lambda: read.extend(savepoint.read_keyed_state("total", TOTAL)))
    assert message.startswith(f"{state_file(path)} is damaged")
    assert message == refused(CorruptionError, savepoint.verify)[0]
    assert all(ITEMS[key] == value for key, value in read)
    writer = SavepointWriter.from_existing_savepoint(path).with_operator("other", TOTAL, {"a": 1})
    assert message == refused(CorruptionError, lambda: writer.write(tmp_path / "others"))[0]
    assert left_in(tmp_path / "others") == []


def test_a_changed_manifest(path: str) -> None:
    manifest = Path(path, "manifest.json")
    manifest.write_text(manifest.read_text().replace('"shop"', '"ship"'))
    message, _ = refused(CorruptionError, lambda: SavepointReader.read(path))
    assert message.startswith(f"{manifest} is damaged")


def left_in(folder: Path) -> list[Path]:
    return list(folder.rglob("*"))


@dataclass
class Order:
    number: int


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module of a job that a reader may or may not have imported."""
    module = types.ModuleType("shop_orders")
    module.Order = Order  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "shop_orders", module)
    monkeypatch.setattr(Order, "__module__", "shop_orders")
    return module


def test_a_class_that_is_not_imported(
    orders: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = (
        SavepointWriter.new_savepoint("shop")
        .with_operator("total", TOTAL, [("k", Order(7))])
        .with_operator("total", SEEN, [("k", [Order(7)])])
        .with_operator("total", PARTS, [("k", {"p": Order(7)})])
        .write(tmp_path)
    )
    savepoint = SavepointReader.read(written.path)
    assert list(savepoint.read_keyed_state("total", TOTAL)) == [("k", Order(7))]
    monkeypatch.delitem(sys.modules, "shop_orders")
    for descriptor in (TOTAL, SEEN, PARTS):
        message, remedy = refused(DecodeError, lambda: list(savepoint.read_keyed_state("total", descriptor)))  # noqa: B023
        assert message == (
            f"state {descriptor.name!r} of operator 'total', key 'k': a stored value is a Order of module "
            "shop_orders, which this job has not imported"
        )
        assert remedy.startswith(
            "import shop_orders at the top of the job (classes are looked for among the "
        )


# --- writing ----------------------------------------------------------------------------------------------


def write_error(
    folder: Path, kind: type[MiniFlinkError], descriptor: StateDescriptor[Any], items: Any
) -> tuple[str, str]:
    writer: Any = SavepointWriter.new_savepoint("shop")
    writer.with_operator("total", descriptor, items)
    found = refused(kind, lambda: writer.write(folder))
    assert left_in(folder) == []
    return found


@pytest.mark.parametrize(
    ("descriptor", "value"),
    [(TOTAL, 1), (TOTAL, None), (SEEN, []), (SEEN, [1]), (PARTS, {}), (PARTS, {"b": 1})],
)
def test_a_key_that_comes_twice(tmp_path: Path, descriptor: StateDescriptor[Any], value: Any) -> None:
    items = [("a", value), ("b", value), ("a", value)]
    assert write_error(tmp_path, SnapshotError, descriptor, items) == (
        f"state {descriptor.name!r} of operator 'total': the key 'a' comes twice",
        "give each key once, with all that is to be kept for it",
    )


def test_a_key_that_comes_again_much_later(tmp_path: Path) -> None:
    """The first one is in a file by then."""
    items = ((number % 599_999, number) for number in range(600_000))
    message, _ = write_error(tmp_path, SnapshotError, TOTAL, items)
    assert message == "state 'total' of operator 'total': the key 0 comes twice"


def test_what_is_no_key(tmp_path: Path) -> None:
    for key in (None, 1.5, ["a"]):
        message, _ = write_error(tmp_path, KeyTypeError, TOTAL, [("a", 1), (key, 2)])
        assert message.startswith(f"state 'total' of operator 'total', key {key!r}: ")
    message, _ = write_error(tmp_path, KeyTypeError, PARTS, {"a": {1.5: 2}})
    assert message.startswith("state 'parts' of operator 'total', key 'a': a float cannot be a key")


def test_what_cannot_be_stored(tmp_path: Path) -> None:
    for descriptor, value in ((TOTAL, object()), (SEEN, [object()]), (PARTS, {"b": object()})):
        message, remedy = write_error(tmp_path, EncodeError, descriptor, {"a": value})
        assert message.startswith(
            f"state {descriptor.name!r} of operator 'total', key 'a': a value of type object"
        )
        assert remedy


@pytest.mark.parametrize(
    ("descriptor", "value", "wanted"),
    [(SEEN, "abc", "a list of its elements, not as str"), (PARTS, [1], "a dict of its entries, not as list")],
)
def test_a_value_of_another_kind_of_state(
    tmp_path: Path, descriptor: StateDescriptor[Any], value: Any, wanted: str
) -> None:
    message, _ = write_error(tmp_path, EncodeError, descriptor, {"a": value})
    assert (
        message == f"state {descriptor.name!r} of operator 'total', key 'a': its value is given as {wanted}"
    )


def test_items_that_are_no_pairs(tmp_path: Path) -> None:
    message, remedy = write_error(tmp_path, EncodeError, TOTAL, [("a", 1), ("b", 2, 3)])
    assert message == "state 'total' of operator 'total': item 2 is no pair of key and value: ('b', 2, 3)"
    assert remedy == "give an iterable of (key, value), as the items() of a dict"


def test_a_mistake_of_the_generator_is_its_own(tmp_path: Path) -> None:
    rows = [["a", "1"], ["b", "x"]]
    writer = SavepointWriter.new_savepoint("shop")
    writer.with_operator("total", TOTAL, ((key, int(number)) for key, number in rows))
    with pytest.raises(ValueError, match="invalid literal for int"):
        writer.write(tmp_path)
    assert left_in(tmp_path) == []


def test_a_state_that_is_added_twice() -> None:
    writer = SavepointWriter.new_savepoint("shop").with_operator("total", TOTAL, {})
    message, _ = refused(SnapshotError, lambda: writer.with_operator("total", TOTAL, {}))
    assert message == "state 'total' of operator 'total' is added twice"


def test_a_descriptor_that_is_none() -> None:
    writer: Any = SavepointWriter.new_savepoint("shop")
    message, _ = refused(SnapshotError, lambda: writer.with_operator("total", "total", {}))
    assert message == "with_operator('total', …) takes a descriptor of a state, not str"


def test_an_operator_that_is_not_there_cannot_be_removed(path: str) -> None:
    writer = SavepointWriter.from_existing_savepoint(path).with_operator("extra", TOTAL, {})
    assert refused(SnapshotError, lambda: writer.remove_operator("totals")) == (
        "no operator 'totals' has state that could be left out",
        "did you mean 'total'? operators with state: 'total', 'payments', 'extra'",
    )
    writer.remove_operator("extra").remove_operator("total")
    message, _ = refused(SnapshotError, lambda: writer.remove_operator("extra"))
    assert message == "no operator 'extra' has state that could be left out"


def test_a_writer_writes_once(tmp_path: Path) -> None:
    writer = SavepointWriter.new_savepoint("shop")
    writer.write(tmp_path)
    message, _ = refused(SnapshotError, lambda: writer.write(tmp_path))
    assert message == "this savepoint was written already"


@pytest.mark.parametrize("number", [0, 40_000, True, "128"])
def test_a_number_of_key_groups_that_cannot_be(number: Any) -> None:
    message, _ = refused(JobError, lambda: SavepointWriter.new_savepoint("shop", max_parallelism=number))
    assert message == f"maximum parallelism {number!r} is not one of 1 to 32768"


def test_an_operator_has_room_for_so_many_states(tmp_path: Path) -> None:
    writer = SavepointWriter.new_savepoint("shop")
    for number in range(256):
        writer.with_operator("total", ValueStateDescriptor(f"s{number}", int), {"a": number})
    full = writer.write(tmp_path)
    more = SavepointWriter.from_existing_savepoint(full.path).with_operator("total", TOTAL, {})
    message, _ = refused(SnapshotError, lambda: more.write(tmp_path))
    assert message == "operator 'total' has more than 256 states"
    instead = SavepointWriter.from_existing_savepoint(full.path)
    instead.with_operator(
        "total", ValueStateDescriptor("s7", datetime.date), {"a": datetime.date(2024, 2, 29)}
    )
    written = instead.write(tmp_path)
    with SavepointReader.read(written.path) as savepoint:
        assert len(savepoint.operators["total"]) == 256
        for number in (6, 8, 255):
            found = savepoint.read_keyed_state("total", ValueStateDescriptor(f"s{number}", int))
            assert list(found) == [("a", number)]
        found_days = savepoint.read_keyed_state("total", ValueStateDescriptor("s7", datetime.date))
        assert list(found_days) == [("a", datetime.date(2024, 2, 29))]
