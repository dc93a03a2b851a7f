"""What building a job gives: frozen, comparable data with the user's lines."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re

import pytest

from mini_flink.common import Duration
from mini_flink.datastream import MapFunction, Request
from mini_flink.graph import ReplyOptions, RequestOptions


class Add(MapFunction[int, int]):
    def __init__(self, number: int) -> None:
        self.number = number

    def map(self, value: int) -> int:
        return value + self.number


def three_stages(env):
    events = env.from_requests("/event", ["post", "PUT"], timeout=Duration.of_seconds(2))
    parts = events.key_by(lambda value: value["key"]).flat_map(lambda value: [value]).uid("split")
    joined = parts.key_by(lambda value: value["id"]).map(lambda value: value).name("join")
    joined.filter(bool).reply(201, headers={"X-Kind": "a"})
    parts.print()


def test_nodes_edges_and_options(graph_of):
    graph = graph_of(three_stages)
    assert [node.kind for node in graph.nodes] == [
        "requests", "flat_map", "map", "filter", "reply", "print",
    ]  # fmt: skip
    assert [[edge.source for edge in node.inputs] for node in graph.nodes] == [[], [0], [1], [2], [3], [1]]
    assert [node.keyed for node in graph.nodes] == [False, True, True, False, False, False]
    assert graph.nodes[0].options == RequestOptions("/event", ("POST", "PUT"), "dict", (), 2000)
    assert graph.nodes[4].options == ReplyOptions(201, (("X-Kind", "a"),), None)
    assert graph.name == "test"
    assert graph.max_parallelism == 128
    assert graph.nodes[1].inputs[0].selector({"key": 5}) == 5


def test_a_graph_is_frozen(graph_of):
    graph = graph_of(three_stages)
    with pytest.raises(dataclasses.FrozenInstanceError):
        graph.nodes[0].name = "other"


def uids_of(graph):
    return [node.uid for node in graph.nodes]


def test_generated_uids_are_readable_and_stay_when_others_like_them_are_given_one(graph_of):
    def plain(env):
        numbers = env.from_collection([1])
        numbers.map(lambda v: v).print()
        numbers.map(lambda v: v).print()
        env.from_collection([2]).print()
        env.from_requests("/a", ["PUT", "POST"]).reply()

    def named(env):
        numbers = env.from_collection([1])
        numbers.map(lambda v: v).uid("mine").print()
        numbers.map(lambda v: v).print()

    plain_uids = uids_of(graph_of(plain))
    one = plain_uids[1]
    assert re.fullmatch("map-[0-9a-f]{6}", one)
    assert plain_uids == [
        "collection", one, "print-1", f"{one}-2", "print-2", "collection-2", "print-3",
        "POST PUT /a", "reply-1",
    ]  # fmt: skip
    assert uids_of(graph_of(named)) == ["collection", "mine", "print-1", f"{one}-2", "print-2"]
    assert [node.has_uid for node in graph_of(named).nodes] == [False, True, False, False, False]


def test_what_a_job_gets_is_the_same_in_every_version_of_python(graph_of):
    graph = graph_of(lambda env: env.from_requests("/a").key_by(lambda v: v).reduce(max).reply())
    assert uids_of(graph) == ["POST /a", "reduce-ab6260", "reply-1"]


def add(one, other):
    return one + other


def keep(value, ctx):
    yield value


def totals(stream):
    return stream.key_by(lambda v: v).reduce(add)


@pytest.mark.parametrize(
    "changed",
    [
        lambda stream: totals(stream.key_by(lambda v: v).process(keep)),
        lambda stream: totals(stream.map(lambda v: v)),
        lambda stream: totals(stream.filter(bool)),
        lambda stream: totals(stream).name("renamed"),
    ],
)
def test_what_stands_before_an_operator_or_its_name_makes_its_generated_uid_another(graph_of, changed):
    """Else an inserted operator would take over the state of the one behind it, or of itself."""
    uids = [
        uids_of(graph_of(lambda env, of=of: of(env.from_requests("/a")).reply())) for of in (totals, changed)
    ]
    assert {uid for uid in uids[0] if "reduce" in uid} & {uid for uid in uids[1] if "reduce" in uid} == set()


def test_an_inserted_operator_of_the_same_kind_does_not_get_the_old_ones_uid(graph_of):
    def old(env):
        env.from_requests("/a").key_by(lambda v: v).process(keep).name("total").reply()

    def new(env):
        keyed = env.from_requests("/a").key_by(lambda v: v).process(keep).name("seen")
        keyed.key_by(lambda v: v).process(keep).name("total").reply()

    assert set(uids_of(graph_of(old))[1:2]) & set(uids_of(graph_of(new))) == set()


def parsed(stream):
    return stream.map(lambda v: v)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (totals, lambda source: totals(totals(source))),
        (totals, lambda source: [totals(source), totals(source)]),
        (
            lambda source: totals(parsed(source)),
            lambda source: [totals(parsed(source)), totals(parsed(source))],
        ),
    ],
)
def test_one_more_of_the_same_before_or_beside_takes_over_nothing(graph_of, old, new):
    """Which of them is the old one cannot be seen: none is."""
    before, after = (
        {node.uid for node in graph_of(lambda env, of=of: of(env.from_requests("/a"))).nodes if node.keyed}
        for of in (old, new)
    )
    assert (len(before), len(after), before & after) == (1, 2, set())


def test_one_more_of_the_same_with_a_uid_changes_nothing(graph_of):
    def more(env):
        source = env.from_requests("/a")
        totals(source).uid("new")
        totals(source)

    assert uids_of(graph_of(more))[2] == uids_of(graph_of(lambda env: totals(env.from_requests("/a"))))[1]


def test_an_unrelated_branch_or_what_stands_behind_changes_no_generated_uid(graph_of):
    def more(env):
        env.from_requests("/before").key_by(lambda v: v).process(keep).reply()
        stream = totals(env.from_requests("/a"))
        stream.map(lambda v: v).reply()
        env.from_collection([1]).key_by(lambda v: v).reduce(add).print()

    alone = uids_of(graph_of(lambda env: totals(env.from_requests("/a")).reply()))
    assert alone[1] == uids_of(graph_of(more))[4]


def test_a_uid_of_ones_own_keeps_what_stands_behind_as_it_is(graph_of):
    def job(env, insert):
        stream = env.from_requests("/a")
        stream = stream.filter(bool) if insert else stream
        totals(stream.map(lambda v: v).uid("parsed")).reply()

    one, other = (uids_of(graph_of(lambda env, i=insert: job(env, i))) for insert in (False, True))
    assert one[2] == other[3]


def test_names_come_from_the_user_else_from_the_function(graph_of):
    def parse(value):
        return value

    def job(env):
        stream = env.from_requests("/a").map(parse).map(Add(1)).map(lambda v: v)
        stream.map(parse).name("second parse").print().name("out")

    assert [node.name for node in graph_of(job).nodes] == [
        "POST /a", "parse", "Add", "map", "second parse", "out",
    ]  # fmt: skip


def test_each_node_has_the_line_of_its_call(graph_of):
    def job(env):
        (
            env.from_requests("/a")
            .map(lambda value: value)
            .reply()
        )  # fmt: skip

    first = inspect.getsourcelines(job)[1]
    locations = [node.location for node in graph_of(job).nodes]
    assert [location.line - first for location in locations] == [2, 3, 4]
    assert {location.file for location in locations} == {__file__}
    assert locations[0].function == "job"


def test_the_default_parallelism_is_the_environments(graph_of):
    def job(env):
        env.from_collection([1]).map(lambda v: v).set_parallelism(3).map(lambda v: v).print()
        env.set_parallelism(2).set_max_parallelism(16)

    graph = graph_of(job)
    assert [node.parallelism for node in graph.nodes] == [1, 3, 2, 2]
    assert graph.max_parallelism == 16


def test_the_maximum_may_be_set_after_the_parallelism(graph_of):
    def job(env):
        env.from_collection([1]).map(lambda v: v).set_parallelism(200)
        env.set_max_parallelism(256)

    assert graph_of(job).nodes[1].parallelism == 200


def test_equal_jobs_have_equal_fingerprints_and_they_are_plain_data(graph_of):
    one, two = graph_of(three_stages), graph_of(three_stages)
    assert one.fingerprint() == two.fingerprint()
    assert json.loads(json.dumps(one.fingerprint())) == one.fingerprint()


@pytest.mark.parametrize(
    "other",
    [
        lambda env: env.from_requests("/b").map(lambda v: v).reply(),
        lambda env: env.from_requests("/a").filter(lambda v: v).reply(),
        lambda env: env.from_requests("/a").key_by(lambda v: v).map(lambda v: v).reply(),
        lambda env: env.from_requests("/a").map(lambda v: v).uid("x").reply(),
        lambda env: env.from_requests("/a").map(lambda v: v).set_parallelism(2).reply(),
        lambda env: env.from_requests("/a").map(lambda v: v).reply(201),
    ],
)
def test_different_jobs_have_different_fingerprints(graph_of, other):
    base = graph_of(lambda env: env.from_requests("/a").map(lambda v: v).reply())
    assert graph_of(other).fingerprint() != base.fingerprint()


def test_the_elements_of_a_collection_are_part_of_the_fingerprint(graph_of):
    prints = [
        graph_of(lambda env, numbers=numbers: env.from_collection(numbers).print()).fingerprint()
        for numbers in ([1, 2], [1, 2], [2, 1])
    ]
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize(
    ("type_info", "body"),
    [
        (None, "dict"),
        (dict, "dict"),
        (dict[str, int], "dict"),
        (object, "object"),
        (bytes, "bytes"),
        (Request, "request"),
    ],
)
def test_type_info_says_what_the_values_are(graph_of, type_info, body):
    graph = graph_of(lambda env: env.from_requests("/a", type_info=type_info, headers=["User-Agent"]).reply())
    assert graph.nodes[0].options.body == body
    assert graph.nodes[0].options.headers == ("user-agent",)


def test_union_has_no_node_of_its_own(graph_of):
    def job(env):
        one, two = env.from_requests("/a"), env.from_requests("/b")
        one.union(two, env.from_collection([{}])).key_by(lambda v: v["k"]).map(lambda v: v).reply()

    graph = graph_of(job)
    assert [edge.source for edge in graph.nodes[3].inputs] == [0, 1, 2]
    assert graph.nodes[3].keyed


def test_a_replied_stream_may_go_on(graph_of):
    def job(env):
        stream = env.from_requests("/a").map(lambda v: v)
        stream.reply()
        stream.map(lambda v: v).print()

    assert [node.kind for node in graph_of(job).nodes] == ["requests", "map", "reply", "map", "print"]


def test_several_sources_may_share_a_path_with_other_methods(graph_of):
    def job(env):
        env.from_requests("/a/{id}", "GET").reply()
        env.from_requests("/a/{name}", "DELETE").reply()
        env.from_requests("/a/{name:int}", "GET").reply()

    assert len(graph_of(job).nodes) == 6


def test_the_default_job_name_is_the_files():
    from mini_flink.datastream import StreamExecutionEnvironment
    from mini_flink.execution import executing_with

    graphs = []
    with executing_with(graphs.append):
        env = StreamExecutionEnvironment.get_execution_environment()
        env.from_requests("/a").reply()
        env.execute()
    assert graphs[0].name == "test_graph"
