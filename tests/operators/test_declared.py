"""Which states a job declares, found by opening it; and migrations on stored bytes."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from mini_flink.common import Types
from mini_flink.datastream import AggregateFunction, KeyedProcessFunction, MapFunction
from mini_flink.datastream.state import (
    AggregatingStateDescriptor,
    ListStateDescriptor,
    MapStateDescriptor,
    ReducingStateDescriptor,
    ValueStateDescriptor,
)
from mini_flink.errors import EXIT_CONFIG, JobError, MigrationError
from mini_flink.failures import render_error
from mini_flink.operators.declared import declared_states
from mini_flink.values import decode, decode_many, encode


class Count(AggregateFunction):
    def create_accumulator(self):
        return 0

    def add(self, value, accumulator):
        return accumulator + 1

    def get_result(self, accumulator):
        return accumulator

    def merge(self, acc_a, acc_b):
        return acc_a + acc_b


class Keeping(KeyedProcessFunction):
    """Asks for the states of its descriptors, and notes where it was opened and closed."""

    events: list[tuple[str, int, int]] = []  # noqa: RUF012 - emptied by the tests

    def __init__(self, *descriptors):
        self.descriptors = descriptors

    def open(self, runtime_context):
        self.at = (
            runtime_context.get_index_of_this_subtask(),
            runtime_context.get_number_of_parallel_subtasks(),
        )
        self.events.append(("open", *self.at))
        for descriptor in self.descriptors:
            call = {"value": "state"}.get(descriptor.kind, f"{descriptor.kind}_state")
            getattr(runtime_context, f"get_{call}")(descriptor)

    def close(self):
        self.events.append(("close", *self.at))

    def process_element(self, value, ctx):
        yield value


def keyed(*descriptors, uid="keeping"):
    return lambda env: (
        env.from_requests("/a").key_by(str).process(Keeping(*descriptors)).uid(uid).set_parallelism(4).reply()
    )


@pytest.fixture
def states_of(job_of):
    def find(job):
        plan = job_of(job, 2).plan
        Keeping.events.clear()
        return declared_states(plan)

    return find


def test_every_state_in_the_order_in_which_it_is_asked_for(states_of):
    def job(env):
        stream = env.from_requests("/a").map(abs).key_by(str)
        all_kinds = Keeping(
            ValueStateDescriptor("value", int),
            ListStateDescriptor("list"),
            MapStateDescriptor("map", str, Types.INT()),
            ReducingStateDescriptor("reducing", max, int),
            AggregatingStateDescriptor("aggregating", Count()),
        )
        stream.process(all_kinds).uid("first").key_by(str).reduce(max).uid("second").set_parallelism(
            3
        ).reply()

    found = [
        (state.uid, state.operator, state.name, state.kind, state.type_text, state.parallelism)
        for state in states_of(job)
    ]
    assert found == [
        ("first", 3, "value", "value", "int", 2),
        ("first", 3, "list", "list", "", 2),
        ("first", 3, "map", "map", "str, INT", 2),
        ("first", 3, "reducing", "reducing", "int", 2),
        ("first", 3, "aggregating", "aggregating", "", 2),
        ("second", 4, "reduce", "reducing", "", 3),
    ]


def test_one_subtask_is_opened_and_closed(states_of):
    [state] = states_of(keyed(ValueStateDescriptor("total")))
    assert Keeping.events == [("open", 0, 4), ("close", 0, 4)]
    assert state.parallelism == 4


def test_what_was_opened_is_closed_if_another_cannot_be(job_of):
    class Broken(MapFunction):
        works = True

        def open(self, runtime_context):
            if not self.works:
                raise ValueError("no model")

        def map(self, value):
            return value

    def job(env):
        keyed(ValueStateDescriptor("total"))(env)
        env.from_requests("/b").map(Broken()).reply()

    plan = job_of(job).plan
    Keeping.events.clear()
    Broken.works = False
    with pytest.raises(JobError, match="raised ValueError: no model"):
        declared_states(plan)
    assert [event[0] for event in Keeping.events] == ["open", "close"]


def test_a_close_that_raises_is_logged(states_of, caplog):
    class Leaving(Keeping):
        def close(self):
            raise ValueError("still busy")

    function = Leaving(ValueStateDescriptor("total"))
    with caplog.at_level(logging.WARNING):
        assert len(states_of(lambda env: env.from_requests("/a").key_by(str).process(function).reply())) == 1
    assert "still busy" in caplog.text


def test_one_name_for_two_states_is_refused(states_of):
    with pytest.raises(JobError, match="declares the state 'x' twice") as caught:
        states_of(keyed(ValueStateDescriptor("x", int), ListStateDescriptor("x", int)))
    assert "value state of int and as list state of int" in caught.value.message
    again = ValueStateDescriptor("x", int)
    [state] = states_of(keyed(again.migrate_from(str, int), ValueStateDescriptor("x", int)))
    assert set(state.migrations) == {"str"}


# --- migrations -------------------------------------------------------------------------------------------


def migration_of(states_of, descriptor, old):
    [state] = states_of(keyed(descriptor))
    return state.migrations[old]


def test_a_value_and_an_accumulator(states_of):
    for descriptor in (
        ValueStateDescriptor("x", float),
        ReducingStateDescriptor("x", max, float),
        AggregatingStateDescriptor("x", Count(), float),
    ):
        descriptor.migrate_from(int, float).migrate_from(Types.STRING(), lambda text: float(text) + 1)
        value = decode(migration_of(states_of, descriptor, "int")(encode(3)))
        assert (value, type(value)) == (3.0, float)
        assert decode(migration_of(states_of, descriptor, "STRING")(encode("2.5"))) == 3.5


def test_each_element_of_a_list(states_of):
    descriptor = ListStateDescriptor("x", str).migrate_from(int, str)
    migrate = migration_of(states_of, descriptor, "int")
    assert decode_many(migrate(encode(1) + encode(22))) == ["1", "22"]


def test_the_value_of_an_entry(states_of):
    descriptor = MapStateDescriptor("x", str, float).migrate_from(int, float)
    assert decode(migration_of(states_of, descriptor, "str, int")(encode(1))) == 1.0
    descriptor = MapStateDescriptor("x", str, float).migrate_from(None, float)
    [state] = states_of(keyed(descriptor))
    assert set(state.migrations) == {"", "str"}
    assert MapStateDescriptor("x", str, float).migrate_from("int, int", float).migrations.keys() == {
        "int, int"
    }


def test_an_undeclared_type_and_a_text(states_of):
    descriptor = ValueStateDescriptor("x", int).migrate_from(None, int).migrate_from("shop:Total", int)
    [state] = states_of(keyed(descriptor))
    assert set(state.migrations) == {"", "shop:Total"}


def divide(value):
    return 1 / value


async def later(value):
    return value


def test_what_the_function_raises_names_operator_state_and_line(states_of):
    migrate = migration_of(states_of, ValueStateDescriptor("total", float).migrate_from(int, divide), "int")
    with pytest.raises(MigrationError) as caught:
        migrate(encode(0))
    error = caught.value
    assert str(error) == (
        "the migration of state 'total' of operator 'keeping' from int raised ZeroDivisionError: division by "
        "zero"
    )
    assert error.exit_code == EXIT_CONFIG
    assert error.location is not None
    assert Path(error.location.file) == Path(__file__)
    assert error.location.function == "divide"
    assert "return 1 / value" in render_error(error)


@pytest.mark.parametrize(
    ("function", "data", "said"),
    [
        (lambda value: object(), encode(1), "object"),
        (lambda value: later(value), encode(1), "returned a coroutine"),
        (float, b"\xc1", "raised"),
    ],
)
def test_what_cannot_be_stored_or_read_is_an_error_at_the_line_that_named_it(states_of, function, data, said):
    migrate = migration_of(states_of, ValueStateDescriptor("total", float).migrate_from(int, function), "int")
    with pytest.raises(MigrationError, match=said) as caught:
        migrate(data)
    assert caught.value.location is not None
    assert Path(caught.value.location.file) == Path(__file__)
    assert caught.value.help


@pytest.mark.parametrize(
    ("declare", "said"),
    [
        (lambda: ValueStateDescriptor("x", int).migrate_from(int, int), "declared as that now"),
        (lambda: ValueStateDescriptor("x").migrate_from(None, int), "an undeclared type"),
        (
            lambda: ValueStateDescriptor("x", str).migrate_from(int, str).migrate_from(int, repr),
            "has one from it already",
        ),
        (lambda: ValueStateDescriptor("x", int).migrate_from(str, later), "an async def"),
        (lambda: ValueStateDescriptor("x", int).migrate_from(str, "int"), "takes a function, not str"),
    ],
)
def test_a_migration_that_makes_no_sense_is_refused_where_it_is_written(declare, said):
    with pytest.raises(JobError, match=said) as caught:
        declare()
    assert caught.value.location is not None
    assert caught.value.location.file == __file__
    assert caught.value.help
