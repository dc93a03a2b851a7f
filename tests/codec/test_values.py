"""Values keep their type, unknown ones are refused by name, and arbitrary bytes do no harm."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import enum
import io
import math
import random
import struct
import sys
import tracemalloc
import types
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mini_flink import value_classes, values
from mini_flink.common.row import Row
from mini_flink.errors import DecodeError, EncodeError
from tests.codec import sample_classes as samples
from tests.codec.titles import title

BERLIN = ZoneInfo("Europe/Berlin")
CLASSES = samples.__name__


def same(left: Any, right: Any) -> bool:
    """Equal, of equal type, in every part; NaN equals NaN, and -0.0 is not 0.0."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return struct.pack(">d", left) == struct.pack(">d", right)
    if isinstance(left, dict):
        return len(left) == len(right) and all(map(same, left.items(), right.items()))
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, Decimal):
        return str(left) == str(right)
    if isinstance(left, datetime | time):
        return repr(left) == repr(right)
    return bool(left == right)


VALUES: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        -1,
        127,
        128,
        -129,
        2**63,
        2**64 - 1,
        2**64,
        -(2**63),
        -(2**63) - 1,
        10**400,
        -(10**400),
    ),
    *(0.0, -0.0, 1.0, 1e308, 5e-324, math.nan, math.inf, -math.inf),
    *("", "a", "Grüße 😀", "\ud800", "\udc00\ud800", "a\ud83d", "\x00", "ā" * 70_000),
    *(b"", b"\x00\xff", b"\xc4" * 70_000),
    *([], [1, [2, []]], (), (1, (2, ())), ([1], {2: (3,)})),
    *({}, {"a": {"b": 1}}, {1: 1, "1": 2, (1, "a"): 3, None: 4, 2.5: 5, b"x": 6, frozenset({1}): 7, (): 8}),
    *({True: 1}, {samples.Color.RED: 1}, {uuid.UUID(int=5): 1, date(2020, 1, 1): 2, Decimal(3): 3}),
    *(set(), {1, "a", (2,)}, frozenset(), frozenset({frozenset({1})}), {b"\xc4"}),
    *(
        Decimal("1.20"),
        Decimal("-0E+3"),
        Decimal("NaN"),
        Decimal("sNaN5"),
        Decimal("-Infinity"),
        Decimal("1e-999"),
    ),
    *(date.min, date.max, time.min, time.max, time(1, 2, 3, 4, fold=1), time(1, tzinfo=UTC)),
    *(datetime.min, datetime.max, datetime(2024, 2, 29, 1, 2, 3, 4), datetime(2024, 1, 1, tzinfo=UTC)),
    datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=30, seconds=7, microseconds=9))),
    datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=-1), "Azores")),
    datetime(2024, 1, 1, tzinfo=timezone(timedelta(0), "UTC")),
    datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=1),
    datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN),
    *(timedelta.min, timedelta.max, timedelta(0), timedelta(-1, 3, 4)),
    *(uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)),
    *(samples.Color.RED, samples.Color.CRIMSON, samples.Color.GREEN, samples.Level.HIGH, samples.Word.YES),
    *(samples.Access.READ, samples.Access(0), samples.Access.READ | samples.Access.WRITE),
    samples.IntAccess.READ | samples.IntAccess.WRITE | 64,
    *(samples.Point(1), samples.Point(1, [samples.Point(2, None)]), samples.Pair(1, (2,))),
    *(
        samples.Plain(1),
        samples.Plain(a=[samples.Plain(2)], b={"x": (1,)}),
        samples.Outer.Inner(5),
        samples.Empty(),
    ),
    *(
        samples.Frozen("n", (1, b"\xc4")),
        {samples.Frozen("n"): 1},
        samples.Node(value=1, below=samples.Node(value=2)),
    ),
    *(
        samples.Struct(1),
        samples.FrozenStruct(name="ä", items=[samples.Struct((1,))]),
        samples.CountingStruct(3),
    ),
    *(Row(), Row(1, "a"), Row(name="Ann", age=(1, 2)), Row(Row(1), [Row(x=Row())])),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__} {title(value, 40)}")
def test_value_comes_back_with_its_type(value: Any) -> None:
    assert same(values.decode(values.encode(value)), value)
    wrapped = {"k": [(value,), {"v": value}]}
    assert same(values.decode(values.encode(wrapped)), wrapped)


def test_zones_come_back_as_the_same_kind_of_zone() -> None:
    for zone in (UTC, timezone(timedelta(hours=1)), timezone(timedelta(hours=1), "X"), BERLIN):
        back = values.decode(values.encode(datetime(2024, 1, 1, tzinfo=zone))).tzinfo
        assert type(back) is type(zone)
        assert repr(back) == repr(zone)


def test_encodings_can_be_written_one_after_another() -> None:
    data = b"".join(map(values.encode, VALUES))
    assert same(values.decode_many(data), VALUES)
    assert values.decode_many(b"") == []
    with pytest.raises(DecodeError):
        values.decode_many(values.encode([1, 2])[:-1])
    with pytest.raises(DecodeError, match="unknown type code"):
        values.decode_many(values.encode(1) + b"\xd4\x63\x00")


def test_plain_values_have_the_bytes_of_msgpack() -> None:
    assert values.encode({"a": [1, None, True, 2.5, "ä", b"x"]}).hex() == (
        "81a16196" + "01" + "c0" + "c3" + "cb4004000000000000" + "a2c3a4" + "c40178"
    )


GOLDEN: list[tuple[Any, str]] = [
    ((1, "a"), "d6029201a161"),
    ({1}, "d5039101"),
    (frozenset({1}), "d5049101"),
    (2**64, "c70905010000000000000000"),
    (Decimal("1.20"), "d606312e3230"),
    (uuid.UUID(int=1), "d80700000000000000000000000000000001"),
    (date(2024, 1, 2), "d60807e80102"),
    (time(1, 2, 3, 4), "d709" + "0102030000000400"),
    (datetime(2024, 1, 2, 3, 4, 5, 6, UTC), "c70d0a" + "07e80102" + "0304050000000600" + "90"),
    (timedelta(1, 2, 3), "c70c0b" + "000000010000000200000003"),
    (Row(a=1), "c7210192" + "b9" + b"mini_flink.common.row:Row".hex() + "929" + "1a161" + "9101"),
]


@pytest.mark.parametrize(("value", "hexadecimal"), GOLDEN)
def test_stored_bytes_never_change(value: Any, hexadecimal: str) -> None:
    assert values.encode(value).hex() == hexadecimal
    assert same(values.decode(bytes.fromhex(hexadecimal)), value)


# --- what is refused -----------------------------------------------------------------------------


class CustomZone(tzinfo):
    def utcoffset(self, moment: datetime | None) -> timedelta:
        return timedelta(0)


EMPTY_ZONE = b"TZif" + bytes(16) + struct.pack(">6I", 0, 0, 0, 0, 1, 4) + bytes(6) + b"UTC\0"

REFUSED: list[tuple[Any, str]] = [
    (samples.NotStorable(), "sample_classes.NotStorable"),
    (collections.OrderedDict(a=1), "collections.OrderedDict"),
    (collections.defaultdict(int), "collections.defaultdict"),
    (collections.Counter("a"), "collections.Counter"),
    (type("MyList", (list,), {})([1]), "MyList"),
    (type("MyStr", (str,), {})("x"), "MyStr"),
    (type("MyInt", (int,), {})(1), "MyInt"),
    (type("MyTuple", (tuple,), {})((1,)), "MyTuple"),
    (samples.DictLike(), "DictLike"),
    (bytearray(b"x"), "bytearray"),
    (memoryview(b"x"), "memoryview"),
    (1j, "complex"),
    (object(), "object"),
    (int, "type"),
    (len, "builtin_function_or_method"),
    (ValueError("x"), "ValueError"),
    (datetime(2024, 1, 1, tzinfo=CustomZone()), "CustomZone"),
    (datetime(2024, 1, 1, tzinfo=ZoneInfo.from_file(io.BytesIO(EMPTY_ZONE))), "ZoneInfo"),
]


@pytest.mark.parametrize(("value", "name"), REFUSED, ids=lambda value: title(value, 30))
def test_other_types_are_refused_by_name(value: Any, name: str) -> None:
    for whole in (value, [value], {"a": (1, value)}, samples.Plain(value), samples.Struct([{"x": value}])):
        with pytest.raises(EncodeError, match=name):
            values.encode(whole)
    assert values.encode("works again") == b"\xabworks again"


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ([1, object()], "[1]"),
        ({"a": {"b": [0, object()]}}, "['a']['b'][1]"),
        ({"a": samples.Plain(a=(1, object()))}, "['a'].a[1]"),
        (["\ud800", {1: bytearray()}], "[1][1]"),
        ({(1, samples.NotStorable): 1}, " key (1, <class"),
    ],
)
def test_the_place_of_a_refused_part_is_named(value: Any, path: str) -> None:
    with pytest.raises(EncodeError) as caught:
        values.encode(value)
    assert f"(at {path}" in caught.value.message


def test_local_class_is_refused_with_what_to_do() -> None:
    @dataclasses.dataclass
    class Local:
        a: int

    with pytest.raises(EncodeError) as caught:
        values.encode({"x": Local(1)})
    assert "Local stands inside a function" in caught.value.message
    assert "top level" in caught.value.help


def test_class_that_cannot_be_found_again_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = dataclasses.make_dataclass("Hidden", ["a"], namespace={"__module__": CLASSES})
    with pytest.raises(EncodeError, match="Hidden is not found under its own name"):
        values.encode(hidden(1))
    other = dataclasses.make_dataclass("Plain", ["a"], namespace={"__module__": CLASSES})
    with pytest.raises(EncodeError, match="Plain is not found"):
        values.encode(other(1))


def test_field_without_value_is_refused() -> None:
    value = samples.Plain(1)
    del value.a
    with pytest.raises(EncodeError, match="Plain has no value"):
        values.encode(value)


# --- depth ---------------------------------------------------------------------------------------


def nested(wrap: Any, depth: int, leaf: Any = 1) -> Any:
    value = leaf
    for _ in range(depth):
        value = wrap(value)
    return value


WRAPS: dict[str, Any] = {
    "list": lambda value: [value],
    "dict": lambda value: {"a": value},
    "tuple": lambda value: (value,),
    "dataclass": samples.Plain,
    "tuple of lists": lambda value: (nested(lambda inner: [inner], 40, value),),
    "struct of dicts": lambda value: samples.Struct({"a": [value]}),
}


@pytest.mark.parametrize("kind", WRAPS)
@pytest.mark.parametrize("depth", [10, 60, 64, 65, 1000, 1022, 1023, 1024, 1025, 5000])
def test_depth_is_either_kept_or_refused(kind: str, depth: int) -> None:
    value = nested(WRAPS[kind], depth)
    try:
        data = values.encode(value)
    except EncodeError:
        assert depth >= (1024 if kind in ("list", "dict") else 10 if kind == "tuple of lists" else 65)
    else:
        assert values.encode(values.decode(data)) == data


@pytest.mark.parametrize("leaf", [[], {}, (), 1])
@pytest.mark.parametrize("depth", range(1020, 1028))
def test_no_depth_is_written_that_cannot_be_read(leaf: Any, depth: int) -> None:
    for wrap in (WRAPS["list"], WRAPS["dict"]):
        try:
            data = values.encode(nested(wrap, depth, leaf))
        except EncodeError:
            continue
        assert values.encode(values.decode(data)) == data


def test_value_that_contains_itself_is_refused() -> None:
    ring: list[Any] = []
    ring.append(ring)
    knot = samples.Plain(1)
    knot.a = {"x": [knot]}
    for value in (ring, knot, {"a": (1, ring)}):
        with pytest.raises(EncodeError):
            values.encode(value)


def test_called_deep_in_the_stack_it_is_an_encode_error() -> None:
    value = nested(WRAPS["dataclass"], 60)
    data = values.encode(value)

    def deep(depth: int) -> None:
        if depth:
            return deep(depth - 1)
        with pytest.raises(EncodeError):
            values.encode(value)
        with pytest.raises(DecodeError):
            values.decode(data)
        return None

    frame, used = sys._getframe(), 0
    while frame is not None:
        frame, used = frame.f_back, used + 1  # type: ignore[assignment]
    deep(sys.getrecursionlimit() - used - 60)


# --- classes that change -------------------------------------------------------------------------


def version(name: str, cls: type, monkeypatch: pytest.MonkeyPatch) -> type:
    cls.__module__, cls.__qualname__, cls.__name__ = CLASSES, name, name
    monkeypatch.setattr(samples, name, cls, raising=False)
    return cls


def test_new_field_with_default_reads_old_values(monkeypatch: pytest.MonkeyPatch) -> None:
    old = version("Order", dataclasses.make_dataclass("Order", ["a"]), monkeypatch)
    data = values.encode(old(1))
    fields = ["a", ("b", int, 5), ("c", list, dataclasses.field(default_factory=list))]
    version("Order", dataclasses.make_dataclass("Order", fields), monkeypatch)
    assert dataclasses.asdict(values.decode(data)) == {"a": 1, "b": 5, "c": []}
    version("Order", dataclasses.make_dataclass("Order", ["a", "d"]), monkeypatch)
    with pytest.raises(DecodeError, match=f"{CLASSES}:Order has no field 'd'"):
        values.decode(data)


def test_removed_field_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    old = version("Order", dataclasses.make_dataclass("Order", ["a", "gone"]), monkeypatch)
    data = values.encode([old(1, 2)])
    version("Order", dataclasses.make_dataclass("Order", ["a"]), monkeypatch)
    with pytest.raises(DecodeError, match=r"Order has the field 'gone'"):
        values.decode(data)


def test_reordered_fields_and_another_kind_of_class_read_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    old = version("Order", dataclasses.make_dataclass("Order", ["a", "b"]), monkeypatch)
    data = values.encode(old(1, 2))
    version("Order", collections.namedtuple("Order", "b a"), monkeypatch)
    assert values.decode(data) == (2, 1)


def test_removed_member_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    old = version("Kind", enum.Enum("Kind", "A B"), monkeypatch)
    data = values.encode(old["B"])
    version("Kind", enum.Enum("Kind", "A"), monkeypatch)
    with pytest.raises(DecodeError, match="member 'B'"):
        values.decode(data)


def test_init_does_not_run_again() -> None:
    assert values.decode(values.encode(samples.Computed(3))) == samples.Computed(3)
    value = samples.Computed(3)
    value.double = 100
    back = values.decode(values.encode(value))
    assert (back.double, back.started) == (100, 1)


def instance(reference: Any, content: Any) -> bytes:
    body: bytes = values.encode([reference, content])
    return b"\xc9" + struct.pack(">I", len(body)) + b"\x01" + body


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("os:system", "no such class"),
        ("subprocess:Popen", "is no dataclass"),
        ("builtins:dict", "is no dataclass"),
        ("builtins:eval", "no such class"),
        (f"{CLASSES}:NotStorable", "is no dataclass"),
        (f"{CLASSES}:Missing", "no such class"),
        (f"{CLASSES}:Outer.Missing.More", "no such class"),
        ("not_imported_by_anyone:Thing", "not_imported_by_anyone, which this job has not imported"),
        ("this:Zen", "module this, which this job has not imported"),
        ("nocolon", "malformed"),
        ("a:b:c", "malformed"),
        (5, "malformed"),
    ],
)
def test_only_classes_of_the_right_kind_are_made(reference: Any, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        values.decode(instance(reference, {"a": 1}))
    assert "this" not in sys.modules


def test_a_name_is_never_imported_by_looking_it_up(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("lazy_module")
    module.__getattr__ = lambda name: pytest.fail("looked up dynamically")  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "lazy_module", module)
    with pytest.raises(DecodeError):
        value_classes.resolve("lazy_module:Thing")


@pytest.mark.parametrize("content", [None, 5, "RED2", [], {"a": 1, 2: 3}, {}, [1, 2, 3], {"zzz": 1}])
@pytest.mark.parametrize("name", ["Color", "Access", "Plain", "Struct", "Point"])
def test_content_of_another_shape_is_refused(name: str, content: Any) -> None:
    if name == "Access" and content == 5:
        content = 1 << 70
    with pytest.raises(DecodeError):
        values.decode(instance(f"{CLASSES}:{name}", content))


# --- arbitrary input -----------------------------------------------------------------------------

leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()))
    | st.binary()
    | st.decimals()
    | st.dates()
    | st.times()
    | st.datetimes(timezones=st.none() | st.timezones())
    | st.timedeltas()
    | st.uuids()
    | st.sampled_from([*samples.Color, *samples.Level, *samples.Word, samples.Access(3)])
)
hashable = st.recursive(
    leaves.filter(lambda value: not (isinstance(value, Decimal) and value.is_snan())),
    lambda inner: (
        st.tuples(inner, inner) | st.frozensets(inner, max_size=3) | st.builds(samples.Point, inner, inner)
    ),
    max_leaves=6,
)
anything = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner)
        | st.dictionaries(hashable, inner, max_size=4)
        | st.sets(hashable, max_size=4)
        | st.builds(samples.Plain, inner, inner)
        | st.builds(samples.Struct, inner, inner)
        | st.builds(Row, inner, inner)
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(anything)
def test_any_value_comes_back(value: Any) -> None:
    data = values.encode(value)
    assert text(values.decode(data)) == text(value)


def text(value: Any) -> str:
    """Like repr, with the elements of sets in order."""
    if isinstance(value, set | frozenset):
        return f"{type(value).__name__}{sorted(map(text, value))}"
    if isinstance(value, dict):
        return f"dict{[(text(key), text(item)) for key, item in value.items()]}"
    if type(value) in (list, tuple, Row, samples.Point):
        return f"{type(value).__name__}{list(map(text, value))}"
    if isinstance(value, samples.Plain | samples.Struct):
        return f"{type(value).__name__}{text([value.a, value.b])}"
    return f"{type(value).__name__} {value!r}"


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_decode_errors_only(data: bytes) -> None:
    for read in (values.decode, values.decode_many):
        with contextlib.suppress(DecodeError):
            read(data)


def test_damaged_encodings_raise_decode_errors_only() -> None:
    source = random.Random(7)
    originals = [values.encode(value) for value in VALUES if len(values.encode(value)) < 10_000]
    for _ in range(20_000):
        data = bytearray(source.choice(originals))
        for _ in range(source.randint(1, 4)):
            where = source.randrange(len(data))
            change = source.randrange(3)
            if change == 0:
                data[where] = source.randrange(256)
            elif change == 1:
                data[where:where] = source.choice(originals)[:20]
            elif len(data) > 1:
                del data[where]
        with contextlib.suppress(DecodeError):
            values.decode(bytes(data))


def test_claimed_sizes_cost_no_memory() -> None:
    hostile = [
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
    ]
    hostile += [b"\xdd\x00\x00\xff\xff" * 500, (b"\xdc\xff\xff" * 900).ljust(70_000, b"\xc0")]
    hostile += [b"\xdb\xff\xff\xff\xff", b"\x91" * 100_000, b"\xdd\x00\x00\x00\x10" * 10_000]
    tracemalloc.start()
    try:
        for data in hostile:
            for read in (values.decode, values.decode_many):
                with pytest.raises(DecodeError):
                    read(data)
        assert tracemalloc.get_traced_memory()[1] < 600_000_000
    finally:
        tracemalloc.stop()


def test_threads_do_not_disturb_each_other() -> None:
    value = {"a": [(number, {number}, samples.Plain(number)) for number in range(50)]}
    data = values.encode(value)

    def work(_: int) -> bool:
        return all(values.encode(values.decode(data)) == data for _ in range(30))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            assert all(pool.map(work, range(8)))
    finally:
        sys.setswitchinterval(interval)
