"""Keyed state as functions use it: what is read is fresh, what is put counts, what fails is undone."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from mini_flink.common import Types
from mini_flink.datastream import AggregateFunction, KeyedProcessFunction, MapFunction, ReduceFunction
from mini_flink.datastream.state import (
    AggregatingStateDescriptor,
    ListStateDescriptor,
    MapStateDescriptor,
    ReducingStateDescriptor,
    ValueStateDescriptor,
)
from mini_flink.errors import JobError, KeyTypeError
from mini_flink.keys import encode_key, key_group
from mini_flink.state.layout import state_prefix
from mini_flink.values import encode


class Mean(AggregateFunction):
    def create_accumulator(self):
        return [0, 0]

    def add(self, value, accumulator):
        accumulator[0] += value
        accumulator[1] += 1
        return accumulator

    def get_result(self, accumulator):
        return accumulator[0] / accumulator[1]

    def merge(self, acc_a, acc_b):
        return [acc_a[0] + acc_b[0], acc_a[1] + acc_b[1]]


class Largest(ReduceFunction):
    def reduce(self, value1, value2):
        return max(value1, value2)


class States(KeyedProcessFunction):
    """Runs the function that a test sends by name, with all kinds of state at hand."""

    steps: dict[str, Callable] = {}  # noqa: RUF012 - filled by the tests

    def open(self, runtime_context):
        self.value = runtime_context.get_state(ValueStateDescriptor("value"))
        self.list = runtime_context.get_list_state(ListStateDescriptor("list", int))
        self.map = runtime_context.get_map_state(MapStateDescriptor("map", Types.STRING(), Types.INT()))
        self.largest = runtime_context.get_reducing_state(ReducingStateDescriptor("largest", Largest()))
        self.sum = runtime_context.get_reducing_state(ReducingStateDescriptor("sum", lambda a, b: a + b))
        self.mean = runtime_context.get_aggregating_state(AggregatingStateDescriptor("mean", Mean()))

    def process_element(self, value, ctx):
        yield self.steps[value["step"]](self)


@pytest.fixture
def run(job_of):
    """Runs a step for a key and gives what it returned; a step that raises is undone."""

    def keyed(env):
        env.from_requests("/a").key_by(lambda value: value["key"]).process(States()).uid("states").reply()

    job = job_of(keyed, workers=2)

    def run_step(step, key="k"):
        States.steps["step"] = step
        answers = job.feed({"key": key, "step": "step"})
        return json.loads(answers[0].body or b"null") if answers else job.failures.pop().cause

    run_step.job = job
    return run_step


def does(*calls):
    """A step of several calls, of which the last gives the result."""
    return lambda states: [call(states) for call in calls][-1]


def test_a_value(run):
    assert run(lambda s: s.value.value()) is None
    run(lambda s: s.value.update({"a": [1]}))
    assert run(lambda s: s.value.value()) == {"a": [1]}
    assert run(lambda s: s.value.value(), key="other") is None
    run(lambda s: s.value.clear())
    assert run(lambda s: s.value.value()) is None


def test_none_removes_a_value(run):
    run(lambda s: s.value.update(1))
    run(lambda s: s.value.update(None))
    assert run(lambda s: s.value.value()) is None


@pytest.mark.parametrize("value", [0, False, "", [], {}, 0.0])
def test_what_is_false_is_still_a_value(run, value):
    run(lambda s: s.value.update(value))
    assert run(lambda s: [s.value.value()]) == [value]


def test_a_list(run):
    assert run(lambda s: s.list.get()) == []
    run(lambda s: s.list.add(1))
    run(lambda s: s.list.add_all([2, None, 3]))
    assert run(lambda s: s.list.get()) == [1, 2, None, 3]
    run(lambda s: s.list.update([9, 8]))
    run(lambda s: s.list.add_all([]))
    assert run(lambda s: s.list.get()) == [9, 8]
    run(lambda s: s.list.update([]))
    assert run(lambda s: s.list.get()) == []
    run(lambda s: s.list.add("a"))
    run(lambda s: s.list.clear())
    assert run(lambda s: s.list.get()) == []


def test_a_map(run):
    assert run(lambda s: s.map.is_empty()) is True
    run(lambda s: s.map.put("b", 2))
    run(lambda s: s.map.put_all({"a": 1, "n": None}))
    assert run(lambda s: sorted(s.map.items())) == [["a", 1], ["b", 2], ["n", None]]
    assert run(lambda s: [sorted(s.map.keys()), sorted(s.map)]) == [["a", "b", "n"]] * 2
    assert run(lambda s: sorted(s.map.values(), key=str)) == [1, 2, None]
    assert run(lambda s: [s.map.get("n"), s.map.contains("n"), "x" in s.map, s.map["x"]]) == [
        None,
        True,
        False,
        None,
    ]
    assert run(lambda s: s.map.is_empty(), key="other") is True
    run(does(lambda s: s.map.remove("a"), lambda s: s.map.remove("absent"), lambda s: s.map.__delitem__("n")))
    assert run(lambda s: [s.map.items(), s.map.is_empty()]) == [[["b", 2]], False]
    run(lambda s: s.map.clear())
    assert run(lambda s: [s.map.items(), s.map.is_empty(), s.map.get("b")]) == [[], True, None]


def test_keys_of_a_map_are_told_apart_by_type(run):
    keys = [1, True, "1", b"1", (1, "1")]
    run(lambda s: s.map.put_all({key: number for number, key in enumerate(["1", b"1", (1, "1")])}))
    run(does(lambda s: s.map.put(1, 3), lambda s: s.map.put(True, 4)))
    assert run(lambda s: [s.map.get(key) for key in keys]) == [3, 4, 0, 1, 2]
    assert run(lambda s: len(s.map.keys())) == 5


def test_a_map_takes_only_keys(run):
    assert isinstance(run(lambda s: s.map.put(1.5, 1)), KeyTypeError)


def test_a_map_may_be_changed_while_it_is_walked(run):
    run(lambda s: s.map.put_all({"a": 1, "b": 2}))
    run(lambda s: [s.map.remove(key) for key in s.map])
    assert run(lambda s: s.map.is_empty())


def test_reducing_and_aggregating(run):
    assert run(lambda s: [s.largest.get(), s.sum.get(), s.mean.get()]) == [None, None, None]
    for number in (3, 5, 1):
        run(lambda s, number=number: [state.add(number) for state in (s.largest, s.sum, s.mean)])
    assert run(lambda s: [s.largest.get(), s.sum.get(), s.mean.get()]) == [5, 9, 3.0]
    run(does(lambda s: s.largest.clear(), lambda s: s.mean.clear()))
    assert run(lambda s: [s.largest.get(), s.sum.get(), s.mean.get()]) == [None, 9, None]


def test_what_is_read_is_fresh_and_changing_it_changes_nothing(run):
    run(does(lambda s: s.value.update([1]), lambda s: s.list.add([1]), lambda s: s.map.put("a", [1])))
    run(
        does(
            lambda s: s.value.value().append(2),
            lambda s: s.list.get()[0].append(2),
            lambda s: s.map.get("a").append(2),
            lambda s: s.map.values()[0].append(2),
        )
    )
    assert run(lambda s: [s.value.value(), s.list.get(), s.map.get("a")]) == [[1], [[1]], [1]]


def test_what_is_put_is_a_copy(run):
    def step(states):
        kept = [1]
        states.value.update(kept)
        states.list.add(kept)
        states.map.put("a", kept)
        kept.append(2)
        return [states.value.value(), states.list.get(), states.map.get("a")]

    assert run(step) == [[1], [[1]], [1]]


def test_a_record_that_raises_is_undone_in_every_state(run):
    run(does(lambda s: s.value.update(1), lambda s: s.list.add(1), lambda s: s.map.put("a", 1)))

    def step(states):
        states.value.update(2)
        states.list.add(2)
        states.map.put("b", 2)
        states.map.remove("a")
        states.sum.add(7)
        states.mean.add(7)
        raise RuntimeError("no")

    assert isinstance(run(step), RuntimeError)
    assert run(lambda s: [s.value.value(), s.list.get(), s.map.items(), s.sum.get(), s.mean.get()]) == [
        1, [1], [["a", 1]], None, None,
    ]  # fmt: skip


def test_where_state_lies_in_the_store(run):
    run(does(lambda s: s.value.update(5), lambda s: s.map.put("m", 6), lambda s: s.sum.clear()), key="k")
    changes = {key: value for worker in run.job.workers for key, value in worker.store.take_batch().items()}
    number, key = run.job.plan.numbers["states"], encode_key("k")
    group = key_group(key, 128)
    assert changes == {
        state_prefix(group, number, 0) + key: encode(5),
        state_prefix(group, number, 2) + key + encode_key("m"): encode(6),
    }


def test_what_the_registry_is_told(run):
    registered = run.job.workers[0].registry.registered
    number = run.job.plan.numbers["states"]
    assert registered == {
        (number, "value"): ("value", "", 2),
        (number, "list"): ("list", "int", 2),
        (number, "map"): ("map", "STRING, INT", 2),
        (number, "largest"): ("reducing", "", 2),
        (number, "sum"): ("reducing", "", 2),
        (number, "mean"): ("aggregating", "", 2),
    }


# --- refusals ------------------------------------------------------------------------------------------


def keyless(open_function):
    class Opens(MapFunction):
        def open(self, runtime_context):
            open_function(runtime_context)

        def map(self, value):
            return value

    return Opens()


def test_state_on_an_unkeyed_stream_names_operator_and_line(job_of):
    function = keyless(lambda context: context.get_state(ValueStateDescriptor("total")))
    with pytest.raises(JobError, match=r"'sum up' asks for the state 'total', .* not keyed") as caught:
        job_of(lambda env: env.from_requests("/a").map(function).name("sum up").reply())
    assert "key_by" in caught.value.help
    assert caught.value.location.file == __file__


def test_behind_a_keyed_operator_the_stream_is_not_keyed_any_more(job_of):
    function = keyless(lambda context: context.get_state(ValueStateDescriptor("total")))
    with pytest.raises(JobError, match="not keyed"):
        job_of(lambda env: env.from_requests("/a").key_by(len).map(len).map(function).reply())


def test_any_function_behind_a_key_by_may_have_state(job_of):
    class Count(MapFunction):
        def open(self, runtime_context):
            self.count = runtime_context.get_state(ValueStateDescriptor("count"))

        def map(self, value):
            self.count.update((self.count.value() or 0) + 1)
            return self.count.value()

    job = job_of(lambda env: env.from_requests("/a").key_by(lambda v: v["k"]).map(Count()).reply())
    assert [job.feed({"k": key})[0].body for key in "aba"] == [b"1", b"1", b"2"]


def test_a_descriptor_of_another_kind(job_of):
    function = keyless(lambda context: context.get_map_state(ValueStateDescriptor("total")))
    with pytest.raises(JobError, match="takes a MapStateDescriptor, not ValueStateDescriptor"):
        job_of(lambda env: env.from_requests("/a").key_by(len).map(function).reply())


def test_state_is_to_be_had_in_open_only(job_of):
    class Late(MapFunction):
        def open(self, runtime_context):
            self.context = runtime_context

        def map(self, value):
            return self.context.get_state(ValueStateDescriptor("late"))

    job = job_of(lambda env: env.from_requests("/a").key_by(len).map(Late()).name("late").reply())
    cause = job.failure({}).cause
    assert isinstance(cause, JobError)
    assert "'late' calls get_state() outside open()" in cause.message


def test_state_has_no_key_between_records(job_of):
    def read(context):
        context.get_state(ValueStateDescriptor("early")).value()

    with pytest.raises(JobError, match="while no record was processed") as caught:
        job_of(lambda env: env.from_requests("/a").key_by(len).map(keyless(read)).reply())
    assert caught.value.location.file == __file__
