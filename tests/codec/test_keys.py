"""Keys: golden encodings and hashes, one encoding per key, an even spread, refusals by name."""

from __future__ import annotations

import itertools
import random
import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mini_flink import keys
from mini_flink.errors import KeyTypeError
from tests.codec import sample_classes as samples

BERLIN = ZoneInfo("Europe/Berlin")

GOLDEN: list[tuple[Any, str, int, int]] = [
    ("k17", "a36b3137", 1525098821, 69),
    ("", "a0", 4239927415, 119),
    ("Grüße", "a74772c3bcc39f65", 3849820103, 71),
    (b"k17", "c4036b3137", 942490018, 34),
    (17, "11", 3585402201, 89),
    (0, "00", 2904199831, 23),
    (-1, "ff", 1526413871, 47),
    (2**63, "cf8000000000000000", 820686957, 109),
    (2**64, "c70905010000000000000000", 2835578908, 28),
    (-(2**100), "c70d05f0000000000000000000000000", 3021516594, 50),
    (True, "c3", 2804848012, 12),
    (False, "c2", 2623431242, 74),
    (("count", "acc-1"), "c70d0292a5636f756e74a56163632d31", 2459305669, 69),
    ((1, (True, b"x")), "c70a029201c7050292c3c40178", 3295086932, 84),
    (uuid.UUID(int=1), "d80700000000000000000000000000000001", 3416832873, 105),
    (date(2024, 2, 29), "d60807e8021d", 1384728242, 50),
    (datetime(2024, 1, 2, 3, 4, 5, 6), "c70c0a07e801020304050000000600", 3858680279, 87),
    (datetime(2024, 1, 2, 3, 4, 5, 6, UTC), "c70d0a07e80102030405000000060090", 2476249662, 62),
    (
        samples.Color.CRIMSON,
        "c7270192d92074657374732e636f6465632e73616d706c655f636c61737365733a436f6c6f72a3524544",
        3955332485,
        5,
    ),
    (
        samples.Level.HIGH,
        "c7280192d92074657374732e636f6465632e73616d706c655f636c61737365733a4c6576656ca448494748",
        943655736,
        56,
    ),
    (
        samples.IntAccess(3),
        "c7280192d92474657374732e636f6465632e73616d706c655f636c61737365733a496e7441636365737303",
        1906703329,
        97,
    ),
]


@pytest.mark.parametrize(("key", "encoded", "hashed", "group"), GOLDEN, ids=repr)
def test_encoding_hash_and_group_never_change(key: Any, encoded: str, hashed: int, group: int) -> None:
    data = keys.encode_key(key)
    assert data.hex() == encoded
    assert keys.stable_hash(data) == hashed
    assert keys.key_group(data, 128) == group
    assert keys.decode_key(data) == key
    assert type(keys.decode_key(data)) is type(key)


DIFFERENT: list[Any] = [
    *(
        1,
        True,
        0,
        False,
        "1",
        b"1",
        "",
        b"",
        (),
        (1,),
        (True,),
        ("1",),
        ((1,),),
        (1, 1),
        ((1, 1),),
        2**64,
        -1,
    ),
    *(
        uuid.UUID(int=1),
        uuid.UUID(int=1).bytes,
        str(uuid.UUID(int=1)),
        date(2024, 1, 1),
        datetime(2024, 1, 1),
    ),
    *(datetime(2024, 1, 1, tzinfo=UTC), samples.Color.RED, samples.Level.LOW, samples.Word.YES, "yes", "RED"),
    *(
        samples.Access.READ,
        samples.IntAccess.READ,
        samples.Access(3),
        ("a", "b"),
        ("ab",),
        ("a", ("b",)),
        "\ud800",
    ),
]


def test_keys_of_other_type_or_value_have_other_bytes_and_none_begins_another() -> None:
    for left, right in itertools.permutations(DIFFERENT, 2):
        assert not keys.encode_key(right).startswith(keys.encode_key(left)), (left, right)


key_parts = (
    st.text(st.characters(exclude_categories=()))
    | st.binary()
    | st.integers()
    | st.booleans()
    | st.uuids()
    | st.dates()
    | st.datetimes(timezones=st.none() | st.timezones() | st.just(UTC))
    | st.sampled_from([*samples.Color, *samples.Level, *samples.Word])
)
any_key = st.recursive(key_parts, lambda inner: st.tuples(inner) | st.tuples(inner, inner), max_leaves=5)


def shape(key: Any) -> Any:
    return (tuple, *map(shape, key)) if type(key) is tuple else (type(key), key)


@settings(max_examples=300, deadline=None)
@given(any_key, any_key)
def test_equal_keys_of_equal_type_and_no_others_have_equal_bytes(left: Any, right: Any) -> None:
    try:
        one, other = keys.encode_key(left), keys.encode_key(right)
    except KeyTypeError as error:
        assert "outside the years" in error.message  # noqa: PT017
        return
    assert keys.decode_key(one) == left or "datetime" in repr(left)
    assert keys.encode_key(keys.decode_key(one)) == one
    assert (one == other) == (shape(left) == shape(right))
    assert one == other or not (one.startswith(other) or other.startswith(one))


def test_the_same_moment_is_the_same_key_in_every_zone() -> None:
    moment = datetime(2024, 7, 1, 12, tzinfo=UTC)
    same = {
        keys.encode_key(moment.astimezone(zone)) for zone in (BERLIN, timezone(timedelta(hours=-3), "X"), UTC)
    }
    assert len(same) == 1
    assert keys.decode_key(same.pop()).tzinfo is UTC
    early, late = (datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=fold) for fold in (0, 1))
    assert keys.encode_key(early) != keys.encode_key(late)
    assert keys.encode_key(datetime(2024, 1, 1, fold=1)) == keys.encode_key(datetime(2024, 1, 1))
    with pytest.raises(KeyTypeError, match="outside the years"):
        keys.encode_key(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5))))


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (1.0, "a float cannot be a key: its equal numbers have several forms"),
        (("a", 1.0), "a key holds a float, which cannot be a key"),
        (None, "a NoneType cannot"),
        ([1], "a list cannot"),
        (("a", [1]), "a key holds a list, which cannot"),
        ({}, "a dict cannot"),
        (frozenset(), "a frozenset cannot"),
        (Decimal(1), "a decimal.Decimal cannot"),
        (samples.Point(1), "sample_classes.Point cannot"),
        (samples.Frozen("a"), "sample_classes.Frozen cannot"),
        (Text("a"), "Text cannot"),
        (timedelta(1), "a datetime.timedelta cannot"),
        (bytearray(b"a"), "a bytearray cannot"),
    ],
    ids=repr,
)
def test_other_types_are_refused_by_name(key: Any, name: str) -> None:
    with pytest.raises(KeyTypeError) as caught:
        keys.encode_key(key)
    assert name in caught.value.message
    assert isinstance(caught.value, TypeError)


def test_enum_of_a_local_class_and_endless_tuples_are_refused() -> None:
    import enum

    with pytest.raises(KeyTypeError, match="stands inside a function"):
        keys.encode_key(("a", enum.Enum("Local", "A", qualname="f.<locals>.Local").A))  # type: ignore[attr-defined]
    key: Any = 1
    for _ in range(2000):
        key = (key,)
    with pytest.raises(KeyTypeError, match="nested"):
        keys.encode_key(key)
    with pytest.raises(KeyTypeError, match="inside each other"):
        keys.encode_key(eval("(" * 70 + "1" + ",)" * 70))


SEQUENCES: dict[str, list[Any]] = {
    "text": [f"k{number}" for number in range(10_000)],
    "integers": list(range(10_000)),
    "large integers": [2**40 + number * 1024 for number in range(10_000)],
    "pairs": [(feature, number) for feature in ("count", "sum") for number in range(5_000)],
    "uuids": [uuid.UUID(int=random.Random(number).getrandbits(128)) for number in range(10_000)],
    "sequential uuids": [uuid.UUID(int=number) for number in range(10_000)],
    "dates": [date.fromordinal(number + 700_000) for number in range(10_000)],
}


@pytest.mark.parametrize("kind", SEQUENCES)
@pytest.mark.parametrize("groups", [128, 100, 2])
def test_keys_spread_evenly_over_groups(kind: str, groups: int) -> None:
    counts = [0] * groups
    for key in SEQUENCES[kind]:
        counts[keys.key_group(keys.encode_key(key), groups)] += 1
    expected = 10_000 / groups
    chi_squared = sum((count - expected) ** 2 / expected for count in counts)
    # The mean is groups - 1, the deviation sqrt(2 * groups): within five of them either way.
    assert abs(chi_squared - (groups - 1)) < 5 * (2 * groups) ** 0.5 + 5


def test_subtasks_own_equal_ranges_of_groups() -> None:
    for groups, subtasks in ((128, 1), (128, 3), (128, 128), (7, 2), (32768, 5)):
        owners = [keys.subtask_of_group(group, groups, subtasks) for group in range(groups)]
        assert owners == sorted(owners)
        assert set(owners) == set(range(subtasks))
        sizes = [owners.count(subtask) for subtask in range(subtasks)]
        assert max(sizes) - min(sizes) <= 1
