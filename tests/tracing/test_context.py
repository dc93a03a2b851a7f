"""W3C's header fields: what is taken, and what is as if it were not there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from mini_flink.tracing.context import Context, decode, read

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{SPAN}-01"


def of(parent: str, *states: str) -> Context | None:
    headers = [(b"host", b"x"), (b"traceparent", parent.encode("latin-1"))]
    return read([*headers, *((b"tracestate", state.encode("latin-1")) for state in states)])


def test_a_good_one() -> None:
    context = of(GOOD, "congo=t61rcWkgMzE, rojo=00f067aa0ba902b7,")
    assert context == Context(int(TRACE, 16), int(SPAN, 16), 1, "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7")
    assert context.is_sampled
    assert context.header.decode() == GOOD
    assert decode(context.encode()) == context


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "garbage",
        GOOD.upper(),
        GOOD[:-1],
        GOOD + "0",
        GOOD + "-",
        GOOD + "-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}x-{SPAN}-01",
        f"0-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01.what",
        f"00-{TRACE}-{SPAN}-01, {GOOD}",
        f"00-{TRACE}-{SPAN}-é1",
    ],
)
def test_garbage_is_as_none(parent: str) -> None:
    assert of(parent, "a=b") is None


def test_none_and_two() -> None:
    assert read([(b"tracestate", b"a=b")]) is None
    assert read([(b"traceparent", GOOD.encode())] * 2) is None


def test_a_version_to_come_is_read_as_far_as_it_is_known() -> None:
    for text in (f"cc-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-ff-what-else"):
        assert of(text) == Context(int(TRACE, 16), int(SPAN, 16), 1)


def test_flags() -> None:
    sampled = {flags: of(f"00-{TRACE}-{SPAN}-{flags}") for flags in ("00", "01", "02", "03", "ff")}
    assert {flags for flags, each in sampled.items() if each and each.is_sampled} == {"01", "03", "ff"}


@pytest.mark.parametrize(
    "states",
    [
        ["no member"],
        ["=v"],
        ["UPPER=v"],
        ["a=b,a=c"],
        ["a=b", "a=c"],
        ["a=b=c"],
        ["a=ü"],
        ["a=" + "x" * 257],
        [f"{'k' * 257}=v"],
        [",".join(f"k{number}=v" for number in range(33))],
        [",".join(f"k{number}={'v' * 100}" for number in range(6))],
    ],
)
def test_a_bad_state_is_dropped_alone(states: list[str]) -> None:
    context = of(GOOD, *states)
    assert context is not None
    assert (context.header.decode(), context.state) == (GOOD, "")


SHAPED = st.from_regex(r"(00|cc|ff)-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-x)?", fullmatch=True)


@given(st.text("0123456789abcdef-g", max_size=60) | SHAPED)
def test_it_judges_as_opentelemetry_does(parent: str) -> None:
    found = trace.get_current_span(
        TraceContextTextMapPropagator().extract({"traceparent": parent})
    ).get_span_context()
    ours = of(parent)
    assert (ours is not None) == found.is_valid
    assert ours is None or (ours.trace_id, ours.span_id) == (found.trace_id, found.span_id)
