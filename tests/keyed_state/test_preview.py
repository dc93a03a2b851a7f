"""What is shown of a stored value: bounded, without the job's classes, whatever it is."""

from __future__ import annotations

import dataclasses
import json
from decimal import Decimal
from typing import Any

import pytest

from mini_flink.values import encode
from mini_flink.worker import letters, preview

LIMIT = 1024


@dataclasses.dataclass(frozen=True)
class Order:
    item: str
    count: int

    def __repr__(self) -> str:
        raise RuntimeError("code of the job was run by somebody who only looks")


def test_objects_are_shown_without_code_of_theirs() -> None:
    seen = preview.of_value(encode({"last": Order("tea", 2)}), LIMIT)
    assert seen["text"] == "{'last': Order(item='tea', count=2)}"
    assert json.loads(seen["json"]) == {"last": {"item": "tea", "count": 2}}


def test_a_class_that_nobody_knows_is_shown_all_the_same() -> None:
    stored = encode(Order("tea", 2)).replace(b"Order", b"Odder").replace(b"test_preview", b"test_nowhere")
    assert preview.of_value(stored, LIMIT)["text"] == "Odder(item='tea', count=2)"


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ((1, {"a"}), [1, ["a"]]),
        ({1: "a"}, [[1, "a"]]),
        (float("nan"), "nan"),
        (Decimal("1.50"), "1.50"),
        (1 << 80, 1 << 80),
        (b"\xff", "ff"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_json_has_not_comes_as_near_as_it_can(value: Any, plain: Any) -> None:
    seen = preview.of_value(encode(value), LIMIT)
    assert json.loads(seen["json"]) == plain
    seen["json"].encode()


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        "x" * 100_000,
        ["ä"] * 10_000,
        "\u202e" * 1000,
        nested(1000),
        10**5000,
        {"k": "\x1b[31m" * 500},
        b"\0" * 50_000,
        "x" * 10_000_000,
    ],
    ids=range(8),
)
def test_nothing_is_too_much(value: Any) -> None:
    data = encode(value)
    for seen in (preview.of_value(data, LIMIT), preview.of_list(data, LIMIT)):
        assert len(seen["text"]) <= LIMIT
        assert seen["cut"]
        assert seen["json"] is None
        assert seen["text"].isprintable()


def test_what_is_no_value_is_shown_as_it_is_stored() -> None:
    for seen in (preview.of_value(b"\xc1\x01", LIMIT), preview.of_list(b"\x01\xc1", LIMIT)):
        assert not seen["decoded"]
        assert seen["text"].startswith("0x")


def test_a_map_is_shown_as_far_as_it_fits() -> None:
    entries = [(encode(number), encode("x" * 100)) for number in range(1000)]
    few, many = preview.of_map(entries[:2], LIMIT, whole=True), preview.of_map(entries, LIMIT, whole=True)
    assert json.loads(few["json"]) == [[0, "x" * 100], [1, "x" * 100]]
    assert not few["cut"]
    assert many["cut"]
    assert len(many["text"]) == LIMIT


def test_a_dead_letter_is_shown_without_code_of_the_job_too() -> None:
    letter = {
        "failed_ms": 0,
        "error_id": "0-1-1",
        "operator": "total",
        "key": encode("a"),
        "value": encode(Order("tea", 2)),
        "error": {"type": "KeyError", "message": "'amount'"},
        "request_id": "",
    }
    row = letters.shown(0, letter)
    assert (row["key"], row["value"]) == ("'a'", "Order(item='tea', count=2)")
