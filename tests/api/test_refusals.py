"""What is refused while a job is built: with the user's own line, in words, and with what to do."""

from __future__ import annotations

import inspect
import itertools

import pytest

from mini_flink import execution
from mini_flink.common import Duration
from mini_flink.datastream import (
    AggregateFunction,
    AggregatingStateDescriptor,
    KeyedProcessFunction,
    KeySelector,
    MapFunction,
    ProcessFunction,
    ReduceFunction,
    ReducingStateDescriptor,
    StreamExecutionEnvironment,
)
from mini_flink.errors import EXIT_CONFIG, JobError


class Keyed(KeyedProcessFunction):
    def process_element(self, value, ctx):
        yield value


class AsyncProcess(ProcessFunction):
    async def process_element(self, value, ctx):
        yield value


class AsyncMap(MapFunction):
    async def map(self, value):
        return value


class AsyncKey(KeySelector):
    async def get_key(self, value):
        return value


class AsyncCall:
    async def __call__(self, value):
        return value


class Callable(MapFunction):
    def map(self, value):
        return value

    __call__ = map


class Identity(MapFunction):
    def map(self, value):
        return value


async def later(value):
    return value


async def each_later(value):
    yield value


def requests(env):
    return env.from_requests("/a")


REFUSED = {
    "a source that nothing reads": (requests, "nothing reads"),
    "a keyed function on an unkeyed stream": (lambda env: requests(env).process(Keyed()), "not keyed"),
    "reduce on an unkeyed stream": (lambda env: requests(env).reduce(lambda a, b: a), "keyed stream"),
    "reply without requests": (lambda env: env.from_collection([1]).reply(), "no request to answer"),
    "no selector": (lambda env: requests(env).key_by("key"), "not str"),
    "no function": (lambda env: requests(env).map(None), "not NoneType"),
    "a class": (lambda env: requests(env).map(Identity), "not an object of it"),
    "another function class": (lambda env: requests(env).filter(Identity()), "FilterFunction"),
    "another class that can be called": (lambda env: requests(env).filter(Callable()), "not Callable"),
    "a union of nothing": (lambda env: requests(env).union(), "union() of nothing"),
    "a union with no stream": (lambda env: requests(env).union([1]), "no stream of this environment"),
    "a union with a sink": (lambda env: requests(env).union(env.from_collection([1]).print()), "no stream"),
    "name of a key_by": (lambda env: requests(env).key_by(len).name("a"), "no operator"),
    "uid of a union": (lambda env: requests(env).union(env.from_collection([1])).uid("a"), "no operator"),
    "an empty uid": (lambda env: requests(env).map(len).uid(" "), "uid ' '"),
    "an empty name": (lambda env: requests(env).map(len).name(""), "name ''"),
    "parallelism 0": (lambda env: requests(env).map(len).set_parallelism(0), "not a positive number"),
    "parallelism as text": (lambda env: requests(env).map(len).set_parallelism("2"), "not a positive"),
    "parallelism 129": (lambda env: requests(env).map(len).set_parallelism(129), "maximum of 128"),
    "default parallelism 129": (lambda env: [env.set_parallelism(129), requests(env).print()], "maximum"),
    "default parallelism 0": (lambda env: env.set_parallelism(0), "not a positive number"),
    "no key groups": (lambda env: env.set_max_parallelism(0), "1 to 32768"),
    "too many key groups": (lambda env: env.set_max_parallelism(32769), "1 to 32768"),
    "a parallel collection": (lambda env: env.from_collection([1]).set_parallelism(2), "one subtask"),
    "a set as collection": (lambda env: env.from_collection({1, 2}), "list or tuple"),
    "a text as collection": (lambda env: env.from_collection("ab"), "list or tuple"),
    "an iterator as collection": (lambda env: env.from_collection(itertools.count()), "list or tuple"),
    "elements that cannot be sent": (lambda env: env.from_collection([1, object()]), "object"),
    "status 199": (lambda env: requests(env).reply(199), "199"),
    "status 600": (lambda env: requests(env).reply(600), "600"),
    "status as text": (lambda env: requests(env).reply("200"), "'200'"),
    "status True": (lambda env: requests(env).reply(True), "True"),
    "a header of the connection": (
        lambda env: requests(env).reply(headers={"Transfer-Encoding": "chunked"}),
        "belongs to the connection",
    ),
    "a length": (lambda env: requests(env).reply(headers={"content-length": "1"}), "belongs to the conn"),
    "a line end": (lambda env: requests(env).reply(headers={"x": "a\r\nset-cookie: b"}), "line end"),
    "a line end in a name": (lambda env: requests(env).reply(headers={"x\r\n": "a"}), "not the name"),
    "a NUL": (lambda env: requests(env).reply(headers={"x": "\0"}), "control character"),
    "a value beyond latin-1": (lambda env: requests(env).reply(headers={"x": "€"}), "latin-1"),
    "a number as header": (lambda env: requests(env).reply(headers={"x": 1}), "int, not str"),
    "a list of headers": (lambda env: requests(env).reply(headers=[("x", "1")]), "mapping"),
    "a content type twice": (lambda env: requests(env).reply(headers={"Content-Type": "a"}), "content_type="),
    "a line end in the content type": (lambda env: requests(env).reply(content_type="a\n"), "line end"),
    "a path without slash": (lambda env: env.from_requests("a"), "begin with '/'"),
    "no path": (lambda env: env.from_requests(None), "begin with '/'"),
    "a query in the path": (lambda env: env.from_requests("/a?b=1"), "character"),
    "a blank in the path": (lambda env: env.from_requests("/a b"), "character"),
    "an open brace": (lambda env: env.from_requests("/{a"), "brace"),
    "a closing brace": (lambda env: env.from_requests("/a}"), "brace"),
    "an empty parameter": (lambda env: env.from_requests("/{}"), "brace"),
    "a parameter in braces": (lambda env: env.from_requests("/{{a}}"), "brace"),
    "an unknown convertor": (lambda env: env.from_requests("/{a:date}"), "convertor 'date'"),
    "a parameter twice": (lambda env: env.from_requests("/{a}/{a:int}"), "twice"),
    "the server's path": (lambda env: env.from_requests("/healthz", "GET"), "the server's own"),
    "an unknown method": (lambda env: env.from_requests("/a", "FETCH"), "'FETCH'"),
    "no method": (lambda env: env.from_requests("/a", []), "no method"),
    "a number as method": (lambda env: env.from_requests("/a", [1]), "method 1"),
    "an unknown type": (lambda env: env.from_requests("/a", type_info=list), "type_info"),
    "an unhashable type": (lambda env: env.from_requests("/a", type_info=[]), "type_info"),
    "headers as text": (lambda env: env.from_requests("/a", headers="accept"), "list of names"),
    "no header's name": (lambda env: env.from_requests("/a", headers=["a b"]), "not the name"),
    "seconds as timeout": (lambda env: env.from_requests("/a", timeout=3), "Duration"),
    "no time": (lambda env: env.from_requests("/a", timeout=Duration.of_millis(0)), "Duration"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(refusal_of, name):
    job, text = REFUSED[name]
    error = refusal_of(job)
    assert text in error.message
    assert error.exit_code == EXIT_CONFIG


ASYNC = {
    "map": lambda stream: stream.map(later),
    "flat_map": lambda stream: stream.flat_map(each_later),
    "filter": lambda stream: stream.filter(later),
    "key_by": lambda stream: stream.key_by(later),
    "process": lambda stream: stream.process(AsyncProcess()),
    "reduce": lambda stream: stream.key_by(len).reduce(later),
    "map of a class": lambda stream: stream.map(AsyncMap()),
    "map of an object": lambda stream: stream.map(AsyncCall()),
    "key_by of a class": lambda stream: stream.key_by(AsyncKey()),
}


@pytest.mark.parametrize("name", ASYNC)
def test_an_async_def_is_refused_where_nothing_awaits_it(name):
    env = StreamExecutionEnvironment.get_execution_environment()
    with pytest.raises(JobError, match="async def") as caught:
        ASYNC[name](env.from_requests("/a"))
    assert "AsyncDataStream" in caught.value.help
    assert caught.value.location.line == ASYNC[name].__code__.co_firstlineno


def test_a_job_without_source():
    env = StreamExecutionEnvironment.get_execution_environment()
    with execution.executing_with(lambda graph: None), pytest.raises(JobError, match="no source") as caught:
        env.execute("empty")
    assert "from_requests" in caught.value.help
    assert caught.value.location.file == __file__


def test_the_same_method_and_path_twice(refusal_of):
    def job(env):
        env.from_requests("/a/{id}", ["GET", "POST"]).reply()
        env.from_requests("/a/{name:str}", "POST").reply()

    error = refusal_of(job)
    first = inspect.getsourcelines(job)[1]
    assert "POST /a/{name:str}" in error.message
    assert f"{__file__}:{first + 1}" in error.message
    assert error.location.line == first + 2


@pytest.mark.parametrize("uid", ["mine", "POST /a"])
def test_a_uid_twice(refusal_of, uid):
    def job(env):
        env.from_requests("/a").map(lambda v: v).filter(bool).uid(uid).map(lambda v: v).uid("mine").reply()

    assert repr(uid) in refusal_of(job).message


class OpensLater(Identity):
    async def open(self, runtime_context):
        """Would never run."""


class ClosesLater(Identity):
    async def close(self):
        """Would never run."""


@pytest.mark.parametrize(("function", "method"), [(OpensLater(), "open"), (ClosesLater(), "close")])
def test_an_async_open_or_close(refusal_of, function, method):
    error = refusal_of(lambda env: env.from_requests("/a").map(function).reply())
    assert f"{method}() of {type(function).__name__} is an async def" in error.message


class AddsLater(AggregateFunction):
    def create_accumulator(self):
        return 0

    async def add(self, value, accumulator):
        return accumulator

    def get_result(self, accumulator):
        return accumulator

    def merge(self, a, b):
        return a


class ReducesLater(ReduceFunction):
    async def reduce(self, value1, value2):
        return value1


@pytest.mark.parametrize(
    "describe",
    [
        lambda: AggregatingStateDescriptor("sum", AddsLater()),
        lambda: ReducingStateDescriptor("sum", ReducesLater()),
        lambda: ReducingStateDescriptor("sum", later),
    ],
)
def test_a_state_whose_function_is_async(describe):
    with pytest.raises(JobError, match="async def") as caught:
        describe()
    assert caught.value.location.file == __file__


def test_streams_of_two_environments_do_not_mix(refusal_of):
    other = StreamExecutionEnvironment.get_execution_environment().from_collection([1])
    assert "this environment" in refusal_of(lambda env: env.from_collection([1]).union(other)).message


def test_a_second_job_is_refused_with_both_lines():
    graphs = []
    with execution.executing_with(graphs.append):
        for name in ("one", "two"):
            env = StreamExecutionEnvironment.get_execution_environment()
            env.from_requests("/a").reply()
            if name == "one":
                env.execute(name)
        with pytest.raises(JobError, match=r"'two' is executed after 'one' .*test_refusals\.py") as caught:
            env.execute("two")
    assert caught.value.location.function == "test_a_second_job_is_refused_with_both_lines"
    assert len(graphs) == 1


def test_registering_an_executor_begins_anew():
    first, second = [], []
    with execution.executing_with(first.append):
        for graphs in (first, second):
            execution.register_executor(graphs.append)
            env = StreamExecutionEnvironment.get_execution_environment()
            env.from_requests("/a").reply()
            env.execute("again")
    assert len(first) == len(second) == 1


@pytest.mark.parametrize("name", ["", " a", ".hidden", "a/b", "..", "a\nb", "x" * 101, 7])
def test_job_names_that_are_no_folders(name):
    env = StreamExecutionEnvironment.get_execution_environment()
    env.from_requests("/a").reply()
    with execution.executing_with(lambda graph: None), pytest.raises(JobError, match="job name"):
        env.execute(name)
