"""What one record does in a stage: results, branches, routes, failures, contexts, life of functions."""

from __future__ import annotations

import gc
import json
import threading

import pytest

from mini_flink.common import Row
from mini_flink.console import current
from mini_flink.datastream import (
    FilterFunction,
    FlatMapFunction,
    KeyedProcessFunction,
    MapFunction,
    ProcessFunction,
    ReduceFunction,
    TimersNotAvailableError,
    ValueStateDescriptor,
)
from mini_flink.errors import EncodeError, JobError, KeyTypeError, StorageError
from mini_flink.keys import encode_key
from mini_flink.operators.failure import OperatorFailure
from mini_flink.values import decode, encode


def bodies(answers):
    return [json.loads(answer.body) for answer in answers]


class Total(KeyedProcessFunction):
    def open(self, runtime_context):
        self.total = runtime_context.get_state(ValueStateDescriptor("total"))

    def process_element(self, value, ctx):
        total = (self.total.value() or 0) + value["amount"]
        self.total.update(total)
        yield {"key": ctx.get_current_key(), "total": total}


def running_total(env):
    env.from_requests("/total").key_by(lambda value: value["key"]).process(Total()).uid("total").reply()


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_running_total(job_of, workers):
    job = job_of(running_total, workers)
    answers = [bodies(job.feed({"key": key, "amount": 3})) for key in ("a", "b", "a", 1, True, "a")]
    assert [(answer["key"], answer["total"]) for [answer] in answers] == [
        ("a", 3), ("b", 3), ("a", 6), (1, 3), (True, 3), ("a", 9),
    ]  # fmt: skip


def test_a_keyed_stream_reduces_per_key(job_of):
    class Sum(ReduceFunction):
        def reduce(self, value1, value2):
            return {"key": value1["key"], "n": value1["n"] + value2["n"]}

    def job(env):
        env.from_requests("/a").key_by(lambda value: value["key"]).reduce(Sum()).reply()

    running = job_of(job, workers=2)
    values = [bodies(running.feed({"key": key, "n": 1})) for key in "aabab"]
    assert [value["n"] for [value] in values] == [1, 2, 1, 3, 2]


def test_functions_of_all_kinds_in_one_chain(job_of):
    class Half(MapFunction):
        def map(self, value):
            return value / 2

    class Whole(FilterFunction):
        def filter(self, value):
            return value == int(value)

    class Twice(FlatMapFunction):
        def flat_map(self, value):
            yield value
            yield value + 1

    class Tag(ProcessFunction):
        def process_element(self, value, ctx):
            return [[ctx.timestamp(), value]]

    def job(env):
        values = env.from_requests("/a", type_info=object)
        values.map(Half()).filter(Whole()).flat_map(Twice()).process(Tag()).reply()

    running = job_of(job)
    assert bodies(running.feed(4)) == [[123, 2.0], [123, 3.0]]
    assert running.feed(3) == []


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        (None, []),
        ([], []),
        ([1, 2], [1, 2]),
        ((1, 2), [1, 2]),
        (range(2), [0, 1]),
        (iter([5]), [5]),
        ({7}, [7]),
    ],
)
def test_what_a_flat_map_may_return(job_of, returned, expected):
    running = job_of(lambda env: env.from_requests("/a").flat_map(lambda value: returned).reply())
    assert bodies(running.feed({})) == expected


@pytest.mark.parametrize("returned", ["ab", b"ab", {"a": 1}, 5, Row(1, 2), object()])
@pytest.mark.parametrize("call", ["flat_map", "process"])
def test_what_would_fall_into_parts_is_refused(job_of, returned, call):
    def job(env):
        stream = env.from_requests("/a")
        if call == "flat_map":
            stream.flat_map(lambda value: returned).reply()
        else:
            stream.process(lambda value, ctx: returned).reply()

    cause = job_of(job).failure({}).cause
    assert isinstance(cause, TypeError)
    assert type(returned).__name__ in str(cause)
    assert "yield" in str(cause)


# --- branches and routes -------------------------------------------------------------------------------


def spoil(value):
    value["seen"].append("spoiled")
    return value


@pytest.mark.parametrize("workers", [1, 2])
def test_branches_see_values_of_their_own(job_of, workers):
    def job(env):
        source = env.from_requests("/a").map(lambda value: value)
        for name in ("one", "two"):
            source.map(spoil).map(lambda value, name=name: [name, value["seen"]]).reply()
        source.key_by(lambda value: spoil(value)["key"]).map(lambda value: ["keyed", value["seen"]]).reply()

    running = job_of(job, workers)
    assert sorted(bodies(running.feed({"key": "a", "seen": []}))) == [
        ["keyed", []], ["one", ["spoiled"]], ["two", ["spoiled"]],
    ]  # fmt: skip


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_a_diamond_gives_the_same_on_any_number_of_workers(job_of, workers):
    class Join(KeyedProcessFunction):
        def open(self, runtime_context):
            self.parts = runtime_context.get_state(ValueStateDescriptor("parts"))

        def process_element(self, value, ctx):
            parts = {**(self.parts.value() or {}), **value["part"]}
            self.parts.update(parts)
            if len(parts) == 2:
                yield {"id": ctx.get_current_key(), "parts": dict(sorted(parts.items()))}

    def job(env):
        events = env.from_requests("/event")
        left = events.key_by(lambda e: e["a"]).map(lambda e: {"id": e["id"], "part": {"left": e["a"]}})
        right = events.key_by(lambda e: e["b"]).map(lambda e: {"id": e["id"], "part": {"right": e["b"]}})
        left.union(right).key_by(lambda part: part["id"]).process(Join()).reply()

    running = job_of(job, workers)
    for number in range(50):
        answer = running.feed({"id": number, "a": number % 7, "b": number % 5})
        assert bodies(answer) == [{"id": number, "parts": {"left": number % 7, "right": number % 5}}]


def test_what_a_stage_sends(job_of):
    def job(env):
        stream = env.from_requests("/a").map(lambda value: value)
        stream.key_by(lambda value: value["key"]).map(lambda value: value).uid("keyed")
        stream.map(lambda value: value).set_parallelism(3).uid("three")

    running = job_of(job, workers=2)
    numbers = running.plan.numbers
    worker = running.workers[1]
    sent = [
        worker.process(running.route({"key": key})._replace(subtask=1), None)[0] for key in ("a", "b", "c")
    ]
    keyed = [records[0] for records in sent]
    assert [record.key for record in keyed] == [encode_key(key) for key in "abc"]
    assert {record.stage for record in keyed} == {numbers["keyed"]}
    in_turn = [records[1] for records in sent]
    assert [record.subtask for record in in_turn] == [1, 2, 0]
    assert {record.key for record in in_turn} == {None}
    assert all(records[0].value is records[1].value for records in sent), "encoded once"


def test_equal_parallelism_forwards_to_the_same_subtask(job_of):
    def job(env):
        one = env.from_requests("/a").map(lambda value: value)
        one.union(one).map(lambda value: value)

    running = job_of(job, workers=3)
    sent, _ = running.workers[2].process(running.route({})._replace(subtask=2), None)
    assert [record.subtask for record in sent] == [2, 2]


def test_a_collection_enters_at_the_source(job_of, capsys):
    def job(env):
        env.from_collection([(1, "a"), (2, "b")]).map(lambda pair: pair[0]).print()

    running = job_of(job)
    for element in running.plan.collection_elements(running.plan.sources[0].node):
        running.feed(decode(element), origin=None)
    assert capsys.readouterr().out == "1\n2\n"


# --- failures ------------------------------------------------------------------------------------------


def test_a_failure_names_the_innermost_operator_once(job_of):
    def parse(value):
        return value["missing"]

    def job(env):
        stream = env.from_requests("/a").key_by(lambda value: value["key"]).flat_map(lambda value: [value])
        stream.map(lambda value: value).map(parse).uid("parse-it").reply()

    running = job_of(job)
    failure = running.failure({"key": ("a", 1)})
    assert (failure.uid, failure.name, failure.key) == ("parse-it", "parse", ("a", 1))
    assert failure.number == running.plan.numbers["parse-it"]
    assert failure.cause is failure.__cause__
    assert isinstance(failure.cause, KeyError)
    assert "parse" in failure.message


def test_failures_and_records_are_counted_per_operator(job_of):
    running = job_of(lambda env: env.from_requests("/a").map(lambda v: 1 / v["n"]).uid("divide").reply())
    for number in (1, 0, 2):
        running.feed({"n": number})
    assert running.tasks[0].statistics() == {
        "divide": {"records_in": 3, "records_out": 2, "failures": 1},
        "reply-1": {"records_in": 2, "records_out": 2, "failures": 0},
    }


def test_a_record_that_raises_leaves_nothing(job_of):
    class Fails(KeyedProcessFunction):
        def open(self, runtime_context):
            self.count = runtime_context.get_state(ValueStateDescriptor("count"))

        def process_element(self, value, ctx):
            self.count.update((self.count.value() or 0) + 1)
            yield self.count.value()
            if value.get("fail"):
                raise RuntimeError("after the update and the reply")

    def job(env):
        env.from_requests("/a").key_by(lambda value: "one").process(Fails()).reply()

    running = job_of(job)
    assert [bodies(running.feed({"fail": fail})) for fail in (False, True, True, False)] == [[1], [], [], [2]]


@pytest.mark.parametrize("raised", [SystemExit(3), StopIteration(), RecursionError(), MemoryError()])
def test_what_user_code_may_raise_at_the_cost_of_its_record(job_of, raised):
    def fails(value):
        raise raised

    failure = job_of(lambda env: env.from_requests("/a").map(fails).reply()).failure({})
    assert failure.cause is raised


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), StorageError("disk")])
def test_what_goes_through(job_of, raised):
    def fails(value):
        raise raised

    running = job_of(lambda env: env.from_requests("/a").map(fails).reply())
    with pytest.raises(type(raised)):
        running.feed({})


def test_values_that_cannot_be_sent_fail_where_they_were_made(job_of):
    def job(env):
        stream = env.from_requests("/a").map(lambda value: threading.Lock()).uid("lock")
        stream.key_by(id).map(lambda value: value).reply()

    failure = job_of(job).failure({})
    assert failure.uid == "lock"
    assert isinstance(failure.cause, EncodeError)


@pytest.mark.parametrize(
    ("selector", "cause"), [(lambda v: v["no"], KeyError), (lambda v: 1.5, KeyTypeError)]
)
def test_a_key_selector_that_fails_inside_the_job(job_of, selector, cause):
    def job(env):
        stream = env.from_requests("/a").key_by(lambda value: "k").map(lambda value: value)
        stream.key_by(selector).map(lambda value: value).uid("keyed").reply()

    failure = job_of(job).failure({})
    assert (failure.uid, failure.key) == ("keyed", "k")
    assert isinstance(failure.cause, cause)


def test_bytes_that_are_no_value_fail_at_the_head(job_of):
    running = job_of(lambda env: env.from_requests("/a").map(lambda value: value).uid("head").reply())
    with pytest.raises(OperatorFailure) as caught:
        running.workers[0].process(running.route({})._replace(value=b"\xc1"), None)
    assert caught.value.uid == "head"


def test_a_generator_is_ended_with_its_record(job_of):
    """Its ``finally`` must not write into the next record."""
    ended = []

    def each(value):
        try:
            yield value
            yield value
        finally:
            ended.append(current.operator)

    running = job_of(
        lambda env: env.from_requests("/a").flat_map(each).map(lambda v: v["no"]).uid("no").reply()
    )
    failure = running.failure({})
    assert failure.uid == "no"
    assert len(ended) == 1


# --- contexts ------------------------------------------------------------------------------------------


def test_contexts_know_the_request(job_of):
    class Look(KeyedProcessFunction):
        def process_element(self, value, ctx):
            yield [ctx.request_id(), ctx.timestamp(), ctx.get_current_key(), ctx.get_current_key()]

    def job(env):
        env.from_requests("/a").key_by(lambda value: value["key"]).process(Look()).reply()

    running = job_of(job)
    seen = [bodies(running.feed({"key": key})) for key in ("a", "a", "b")]
    assert seen == [[["00c0ffee-0000000100000007", 123, key, key]] for key in ("a", "a", "b")]


def test_contexts_of_what_comes_from_no_request(job_of):
    seen = []
    running = job_of(
        lambda env: env.from_collection([1]).process(
            lambda value, ctx: seen.append((ctx.request_id(), ctx.timestamp()))
        )
    )
    running.feed(1, origin=None)
    assert seen == [(None, None)]


def test_timers_are_refused_by_name(job_of):
    running = job_of(
        lambda env: env.from_requests("/a").key_by(len).process(lambda v, ctx: ctx.timer_service()).reply()
    )
    cause = running.failure({}).cause
    assert isinstance(cause, TimersNotAvailableError)
    assert isinstance(cause, JobError)
    assert cause.location.file == __file__


def test_an_unkeyed_context_has_no_key(job_of):
    running = job_of(
        lambda env: env.from_requests("/a").process(lambda v, ctx: ctx.get_current_key()).reply()
    )
    assert isinstance(running.failure({}).cause, AttributeError)


def test_what_is_printed_can_be_told_by_operator_and_request(job_of):
    seen = []

    def note(value):
        seen.append((current.operator, current.request and current.request()))
        return value

    def each(value):
        note(value)
        yield value
        note(value)

    def job(env):
        env.from_requests("/a").flat_map(each).name("split").map(note).name("inner").reply()

    running = job_of(job)
    running.feed({})
    running.feed({}, origin=None)
    request = "00c0ffee-0000000100000007"
    names = ["split", "inner", "split"]
    assert seen == [(name, request) for name in names] + [(name, None) for name in names]
    assert (current.operator, current.request) == ("", None)


# --- the life of functions -----------------------------------------------------------------------------


class Lives(MapFunction):
    log: list[tuple[str, str, int, int]] = []  # noqa: RUF012 - shared by all copies, on purpose

    def __init__(self):
        self.mine = []

    def open(self, runtime_context):
        self.where = (
            runtime_context.get_task_name_with_subtasks(),
            runtime_context.get_index_of_this_subtask(),
            runtime_context.get_number_of_parallel_subtasks(),
        )
        assert runtime_context.get_task_name() == "lives"
        assert runtime_context.get_max_number_of_parallel_subtasks() == 128
        self.log.append(("open", *self.where))

    def close(self):
        self.log.append(("close", *self.where))

    def map(self, value):
        self.mine.append(value)
        return len(self.mine)


def test_each_subtask_has_a_function_object_of_its_own(job_of):
    Lives.log.clear()
    original = Lives()
    running = job_of(
        lambda env: env.from_requests("/a").map(original).name("lives").set_parallelism(3).reply(), workers=2
    )
    wheres = [("lives (1/3)", 0, 3), ("lives (3/3)", 2, 3), ("lives (2/3)", 1, 3)]
    assert Lives.log == [("open", *where) for where in wheres]
    record = running.route({})
    counts = [running.workers[i % 2].process(record._replace(subtask=i), None) for i in (0, 0, 2, 1)]
    assert len(counts) == 4
    assert original.mine == []
    for task in running.tasks:
        task.close()
    assert Lives.log[3:] == [("close", *where) for where in wheres]


def test_a_function_that_cannot_be_copied_is_named(job_of):
    class Locked(MapFunction):
        def __init__(self):
            self.lock = threading.Lock()

        def map(self, value):
            return value

    with pytest.raises(JobError, match=r"Locked of operator 'locked' cannot be copied") as caught:
        job_of(lambda env: env.from_requests("/a").map(Locked()).name("locked").reply())
    assert "open()" in caught.value.help
    assert caught.value.location.file == __file__


def test_an_open_that_raises_names_operator_and_line(job_of):
    class Broken(MapFunction):
        def open(self, runtime_context):
            raise ConnectionError("no database")

        def map(self, value):
            return value

    with pytest.raises(JobError, match=r"'Broken' raised ConnectionError: no database") as caught:
        job_of(lambda env: env.from_requests("/a").map(Broken()).reply())
    assert caught.value.location.file == __file__
    assert isinstance(caught.value.__cause__, ConnectionError)


def test_a_close_that_raises_stops_nobody_else(job_of, caplog):
    closed = []

    class Close(MapFunction):
        def close(self):
            closed.append(self)
            raise RuntimeError("too late")

        def map(self, value):
            return value

    running = job_of(lambda env: env.from_requests("/a").map(Close()).map(Close()).reply())
    running.tasks[0].close()
    assert len(closed) == 2
    assert "too late" in caplog.text


def test_a_value_is_handed_on_as_it_is_inside_a_chain(job_of):
    """No copies where nothing shares the value: the hot path."""
    seen = []
    running = job_of(lambda env: env.from_requests("/a").map(lambda v: seen.append(v) or v).map(seen.append))
    running.feed(decode(encode({"a": 1})))
    assert seen[0] is seen[1]


# --- what nothing awaits -------------------------------------------------------------------------------


async def later(*values):
    return False


async def each_later(*values):
    yield False


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("unawaited", [later, each_later])
@pytest.mark.parametrize("kind", ["map", "filter", "flat_map", "process", "reduce"])
def test_a_coroutine_as_a_result_fails_its_record(job_of, kind, unawaited):
    """A coroutine is true: a filter would let everything through."""

    def job(env):
        stream = env.from_requests("/a").key_by(lambda value: "key")
        getattr(stream, kind)(lambda *values: unawaited(*values)).uid("hasty").reply()

    running = job_of(job)
    if kind == "reduce":
        running.feed({})
    failure = running.failure({})
    assert failure.uid == "hasty"
    assert isinstance(failure.cause, TypeError)
    assert "AsyncDataStream" in str(failure.cause)
    gc.collect()
