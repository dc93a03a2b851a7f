"""The way of a context through door, channels and machines, on the twins: no process, no OpenTelemetry."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from mini_flink import wire
from mini_flink.core.channel import TRACES_LIMIT, Outbound
from mini_flink.datastream import KeyedProcessFunction, StreamExecutionEnvironment
from mini_flink.gateway.bodies import Incoming
from mini_flink.gateway.tracing import RequestTracer
from mini_flink.tracing.base import Start
from mini_flink.tracing.context import Context, decode
from mini_flink.tracing.memory import MemorySpan, MemoryTracing
from tests.tracing.twins import traced

PARENT = Context(0xABC, 0xDEF, 1, "vendor=7")


class Check(KeyedProcessFunction[str, Any, Any]):
    """Passes on once, or as often as it is told to."""

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        if value.get("raise"):
            raise ValueError("a secret")
        for _ in range(value.get("times", 1)):
            yield value


class Total(KeyedProcessFunction[str, Any, Any]):
    """Answers."""

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        yield {"shop": ctx.get_current_key()}


def two_stages() -> None:
    env = StreamExecutionEnvironment.get_execution_environment()
    source = env.from_requests("/pay").uid("pay")
    checked = source.key_by(lambda value: value["account"]).process(Check()).uid("check")
    checked.key_by(lambda value: value["shop"]).process(Total()).uid("total").reply().uid("answer")
    env.execute("two stages")


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 60))


def pay(account: str = "a", shop: str = "y", **more: Any) -> dict[str, Any]:
    return {"account": account, "shop": shop, **more}  # for worker 0, then for worker 1


def header(context: Context) -> dict[str, str]:
    return {"traceparent": context.header.decode(), "tracestate": context.state}


# --- a whole request ------------------------------------------------------------------------------------


def test_the_tree() -> None:
    async def story() -> None:
        async with traced(two_stages) as job:
            response = await job.post("/pay", pay())
            request, check, total = (job.one(name) for name in ("POST /pay", "check", "total"))
            assert (request.parent, check.parent, total.parent) == (b"", request.context, check.context)
            commits = [span for span in job.spans if span.name == "commit"]
            assert [job.parent(commit) for commit in commits] == [check, total]
            assert {decode(span.context).trace_id for span in job.spans} == {1}
            assert all(span.ended for span in job.spans)
            assert [span.kind for span in (request, check, commits[0])] == ["server", "consumer", "internal"]
            assert response.headers["traceresponse"] == decode(request.context).header.decode()
            assert request.attributes["http.response.status_code"] == 200
            ids = {span.attributes["mini_flink.request_id"] for span in (request, check, total)}
            assert len(ids) == 1
            assert total.attributes["mini_flink.operators"] == ["total", "answer"]
            assert commits[0].attributes["mini_flink.records"] == 1
            assert "mini_flink.sync_ms" in commits[0].attributes
            assert job.tracing.within == []

    run(story())


def test_what_comes_along_goes_on() -> None:
    async def story() -> None:
        async with traced(two_stages, trace_ratio=0) as job:
            response = await job.post("/pay", pay(), header(PARENT))
            assert job.one("POST /pay").parent == PARENT.encode()
            contexts = [decode(span.context) for span in job.spans]
            assert {(each.trace_id, each.state) for each in contexts} == {(0xABC, "vendor=7")}
            assert response.headers["traceresponse"].startswith(f"00-{0xABC:032x}-")

    run(story())


def test_who_is_not_sampled_leaves_no_trace() -> None:
    async def story() -> None:
        async with traced(two_stages) as job:
            response = await job.post("/pay", pay(), header(PARENT._replace(flags=0)))
            assert job.spans == []
            assert "traceresponse" not in response.headers
            # Garbage is as none: the ratio decides.
            await job.post("/pay", pay(), {"traceparent": PARENT.header.decode().upper()})
            assert job.one("POST /pay").parent == b""

    run(story())


def test_fan_out() -> None:
    """Five records of one trace in one batch: one span of the commit, linked to those that it holds."""

    async def story() -> None:
        async with traced(two_stages) as job:
            await job.post("/pay", pay(times=5))
            totals = [span for span in job.spans if span.name == "total"]
            assert {span.parent for span in totals} == {job.one("check").context}
            assert len(totals) == 5
            commits = [span for span in job.spans if span.name == "commit"]
            held = [{commit.parent, *commit.links} for commit in commits]
            assert sorted(len(each) for each in held) == [1, 5]
            assert set().union(*held) == {job.one("check").context, *(span.context for span in totals)}

    run(story())


def test_traces_in_one_batch_know_nothing_of_each_other() -> None:
    async def story() -> None:
        async with traced(two_stages) as job:
            others = header(PARENT._replace(flags=0))
            requests = [
                job.send("/pay", pay(), headers) for headers in (header(PARENT), others, header(PARENT), {})
            ]
            for request in requests:
                assert (await job.until(request)).status == 200
            commits = [span for span in job.spans if span.name == "commit"]
            assert {span.attributes["mini_flink.records"] for span in commits} == {4}
            for commit in commits:
                traces = {decode(each).trace_id for each in (commit.parent, *commit.links)}
                assert traces == {decode(commit.context).trace_id}
            assert len(commits) == 4, "two traces at two stages"
            assert job.names().count("check") == job.names().count("total") == 3

    run(story())


# --- what goes wrong ------------------------------------------------------------------------------------


def test_a_record_that_fails() -> None:
    async def story() -> None:
        async with traced(two_stages) as job:
            assert (await job.post("/pay", {**pay(), "raise": True})).status == 500
            check, request = job.one("check"), job.one("POST /pay")
            assert (check.failed, request.failed) == ("ValueError", "answered 500")
            ((name, told),) = check.events
            assert (name, told["exception.type"]) == ("exception", "ValueError")
            assert "in process_element" in str(told["exception.stacktrace"])
            assert "a secret" not in repr(job.spans).replace("raise ValueError", "").replace(
                '("a secret")', ""
            )
            assert check.attributes["mini_flink.error_id"]
            assert job.parent(job.one("commit")) is check

    run(story())


def test_a_selector_that_fails() -> None:
    async def story() -> None:
        async with traced(two_stages) as job:
            assert (await job.post("/pay", {"shop": "y"})).status == 500
            assert job.names() == ["POST /pay"], "no stage ran"
            request = job.one("POST /pay")
            assert request.attributes["error.type"] == "500"
            assert [told["exception.type"] for _, told in request.events] == ["KeyError"]
            assert request.attributes["mini_flink.request_id"]

    run(story())


def test_what_the_client_did_wrong_is_no_error() -> None:
    async def story() -> None:
        async with traced(two_stages) as job:
            assert (await job.post("/pay", [])).status == 400
            (request,) = job.spans
            assert (request.failed, request.ended) == (None, True)
            assert request.attributes["http.response.status_code"] == 400

    run(story())


def test_a_wait_at_the_door_is_seen() -> None:
    async def story() -> None:
        async with traced(two_stages, pending_capacity=1, admission_wait_ms=60_000) as job:
            first, second = job.send("/pay", pay()), job.send("/pay", pay())
            await asyncio.sleep(0)
            for request in (first, second):
                assert (await job.until(request)).status == 200
            waited = [span for span in job.spans if span.events]
            assert [[name for name, _ in span.events] for span in waited] == [["waits at the door", "let in"]]
            assert waited[0].attributes["mini_flink.door_wait_ms"] > 0
            assert job.names().count("check") == 2

    run(story())


def test_who_is_refused() -> None:
    async def story() -> None:
        async with traced(two_stages, pending_capacity=1) as job:
            first, second = job.send("/pay", pay()), job.send("/pay", pay())
            await asyncio.sleep(0)
            assert [(await job.until(each)).status for each in (first, second)] == [200, 503]
            refused = [span for span in job.spans if span.failed]
            assert [span.attributes["http.response.status_code"] for span in refused] == [503]

    run(story())


def test_a_worker_that_dies_before_its_commit() -> None:
    """The gateway still has the context: what is sent again is traced again."""

    async def story() -> None:
        async with traced(two_stages) as job:
            request = job.send("/pay", pay())
            await asyncio.sleep(0)
            for place in job.job.workers:
                place.crash()
                place.start()
            job.door.link.meet(job.job.peers())
            for place in job.job.workers:
                assert place.worker is not None
                place.worker.meet(job.job.peers())
            assert (await job.until(request)).status == 200
            assert job.parent(job.one("total")) is job.one("check")

    run(story())


# --- the parts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("drawn", "begins"), [(0.0, True), (0.249, True), (0.25, False), (0.999, False)])
def test_the_ratio(drawn: float, begins: bool) -> None:
    tracer = RequestTracer(MemoryTracing(), 0.25, lambda: drawn)
    assert (tracer.begin("/pay", Incoming("POST", "/pay", {}, b"", [], b"")) is not None) == begins


def test_a_frame_without_traces_has_no_place_for_them() -> None:
    plain = wire.Data(wire.DATA, 1, "w0", 1, 0, 0, 1, [b"r"], 0, 0, "")
    fields = plain[1:-1]
    assert len(wire.unpack(wire.encode_data(*fields))) == 11
    assert wire.decode(wire.encode_data(*fields)) == plain
    with_traces = wire.encode_data(*fields, [(0, b"context")])
    assert wire.decode(with_traces) == plain._replace(traces=[[0, b"context"]])


def test_a_channel_keeps_contexts_until_they_have_arrived() -> None:
    channel = Outbound(1 << 20, lambda _: None)
    for number in range(1, 6):
        channel.append(b"record")
        if number != 3:
            channel.trace(number, b"%d" % number)
    assert channel.traces(1, 5) == [(0, b"1"), (1, b"2"), (3, b"4"), (4, b"5")]
    channel.acknowledge(2, 0.0)
    assert channel.traces(1, 5) == [(3, b"4"), (4, b"5")]
    channel.rewind(2)
    assert channel.traces(3, 2) == [(1, b"4")]
    channel.acknowledge(5, 0.0)
    assert channel.traces(1, 5) == []


def test_a_channel_keeps_so_many_contexts_and_no_more() -> None:
    channel = Outbound(1 << 20, lambda _: None)
    for _ in range(TRACES_LIMIT + 10):
        channel.trace(channel.append(b"record"), b"context")
    assert len(channel.traces(1, channel.next - 1)) == TRACES_LIMIT


def test_a_span_ends_once() -> None:
    span: MemorySpan = MemoryTracing().start(Start("a", "internal", b"", {}))
    span.end()
    with pytest.raises(RuntimeError):
        span.end()
