"""Row, Duration, Time, Types."""

from __future__ import annotations

import copy
import pickle

import pytest

from mini_flink.common import Duration, Row, Time, Types
from mini_flink.datastream.state import MapStateDescriptor, ValueStateDescriptor
from mini_flink.values import decode, encode


def test_durations():
    assert Duration.of_days(1) == Duration.of_hours(24) == Duration.of_minutes(1440)
    assert Duration.of_seconds(1, 500_000_000).to_millis() == 1500
    assert Duration.of_nanos(1_999_999).to_millis() == 1
    assert Duration.of_millis(2) > Duration.of_millis(1)
    assert Time.days(1).to_milliseconds() == Time.hours(24).to_milliseconds() == 86_400_000
    assert Time.minutes(1) == Time.seconds(60) == Time.milliseconds(60_000)


def test_a_row_by_position_and_by_name():
    row = Row(name="Ann", age=11)
    assert (row.name, row["age"], row[0], row[-1]) == ("Ann", 11, "Ann", 11)
    assert (list(row), len(row), "age" in row, "Ann" in row) == (["Ann", 11], 2, True, False)
    row.age = 12
    row["name"] = "Bo"
    assert row.as_dict() == {"name": "Bo", "age": 12}
    assert Row("a", 1)[0:2] == ["a", 1]
    assert "a" in Row("a", 1)


def test_rows_compare_by_names_and_values():
    assert Row(1, 2) == Row(1, 2) != Row(2, 1)
    assert Row(a=1) == Row(a=1) != Row(b=1)
    assert Row(a=1) != Row(1)
    assert hash(Row(1, "a")) == hash(Row(1, "a"))
    assert Row(1) != (1,)


def test_what_a_row_refuses():
    with pytest.raises(ValueError, match="not both"):
        Row(1, a=2)
    with pytest.raises(AttributeError):
        Row(a=1).b  # noqa: B018
    with pytest.raises(AttributeError):
        Row(a=1).b = 2
    with pytest.raises(KeyError):
        Row(1)["a"]
    with pytest.raises(TypeError, match="without names"):
        Row(1).as_dict()
    with pytest.raises(ValueError, match="2 names for 1"):
        Row(1).set_field_names(["a", "b"])


def test_rows_as_dicts():
    assert Row(a=Row(b=1), c=[Row(d=2)], e={"f": Row(g=3)}).as_dict(recursive=True) == {
        "a": {"b": 1}, "c": [{"d": 2}], "e": {"f": {"g": 3}},
    }  # fmt: skip


@pytest.mark.parametrize("row", [Row(1, "a"), Row(a=1, b=None), Row()])
def test_a_row_survives_copies_and_shuffles(row):
    for again in (pickle.loads(pickle.dumps(row)), copy.deepcopy(row), decode(encode(row))):
        assert again == row
        assert again.get_field_names() == row.get_field_names()


def test_the_type_of_a_state_as_text():
    assert ValueStateDescriptor("a").type_text == ""
    assert ValueStateDescriptor("a", int).type_text == "int"
    assert ValueStateDescriptor("a", Row).type_text == "mini_flink.common.row:Row"
    assert ValueStateDescriptor("a", dict[str, int]).type_text == "dict[str, int]"
    assert MapStateDescriptor("a", Types.STRING(), Types.LIST(Types.INT())).type_text == "STRING, LIST<INT>"
    assert str(Types.ROW_NAMED(["a"], [Types.LONG()])) == "ROW<a: LONG>"
    assert ValueStateDescriptor("a").get_name() == "a"
