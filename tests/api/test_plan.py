"""Stages, links and routes of a plan."""

from __future__ import annotations

import pytest

from mini_flink import plan as planning
from mini_flink.errors import JobError
from mini_flink.values import decode


@pytest.fixture
def plan_of(graph_of):
    def build(job, workers=2, **parallelisms):
        graph = graph_of(job)
        return planning.build(graph, workers, {node.uid: 10 + node.id for node in graph.nodes}, parallelisms)

    return build


def same(value):
    return value


def short(node):
    """``map1``: the kind, and the position in the graph."""
    return f"{node.kind}{node.id}"


def shorts(stage):
    return [short(node) for node in stage.nodes]


def links(plan, node_id):
    return [(short(link.target), link.stage, link.chained, link.forward) for link in plan.links[node_id]]


def test_a_chain_behind_requests_is_one_stage(plan_of):
    plan = plan_of(lambda env: env.from_requests("/a").map(same).filter(same).reply())
    [stage] = plan.stages.values()
    assert (stage.number, stage.uid, stage.parallelism, stage.keyed) == (11, stage.head.uid, 2, False)
    assert shorts(stage) == ["map1", "filter2", "reply3"]
    [source] = plan.request_sources
    assert (source.number, source.stage, source.parallelism, source.selector) == (10, 11, 2, None)
    assert source.request_options.path == "/a"
    assert 0 not in plan.links
    assert plan.collection_sources == ()
    assert {number: short(node) for number, node in plan.operators.items()} == {
        10: "requests0", 11: "map1", 12: "filter2", 13: "reply3",
    }  # fmt: skip


def test_key_by_behind_requests_is_for_the_gateway(plan_of):
    plan = plan_of(lambda env: env.from_requests("/a").key_by(lambda v: v["k"]).map(same).reply())
    [source] = plan.sources
    assert source.selector({"k": 3}) == 3
    assert short(source.target) == "map1"
    assert plan.stages[source.stage].keyed


def test_key_by_begins_a_stage(plan_of):
    plan = plan_of(
        lambda env: env.from_requests("/a").map(same).key_by(same).map(same).key_by(same).filter(same)
    )
    assert [shorts(stage) for stage in plan.stages.values()] == [["map1"], ["map2"], ["filter3"]]
    assert links(plan, 1) == [("map2", 12, False, False)]
    assert plan.links[1][0].selector is same


@pytest.mark.parametrize("workers", [1, 2, 3, 5])
def test_declared_parallelism_makes_stages_whatever_the_number_of_workers(plan_of, workers):
    def job(env):
        stream = env.from_requests("/a").map(same).map(same).set_parallelism(2)
        stream.filter(same).set_parallelism(2).map(same).set_parallelism(3)

    plan = plan_of(job, workers)
    assert [shorts(stage) for stage in plan.stages.values()] == [["map1"], ["map2", "filter3"], ["map4"]]
    assert [stage.parallelism for stage in plan.stages.values()] == [workers, 2, 3]


def test_several_consumers_make_a_stage_of_the_source(plan_of):
    def job(env):
        source = env.from_requests("/a")
        source.map(same).reply()
        source.key_by(same).filter(same)

    plan = plan_of(job)
    assert [shorts(stage) for stage in plan.stages.values()] == [["requests0", "map1", "reply2"], ["filter3"]]
    [source] = plan.sources
    assert (source.stage, short(source.target), source.selector) == (10, "requests0", None)
    assert links(plan, 0) == [("map1", 10, True, False), ("filter3", 13, False, False)]


def test_an_operator_with_several_inputs_heads_a_stage(plan_of):
    def job(env):
        one = env.from_requests("/a").map(same)
        two = env.from_requests("/b").filter(same).set_parallelism(3)
        one.union(two).map(same).reply()

    plan = plan_of(job)
    assert shorts(plan.stages[14]) == ["map4", "reply5"]
    assert links(plan, 1) == [("map4", 14, False, True)]
    assert links(plan, 3) == [("map4", 14, False, False)]


def test_two_sources_may_lead_to_one_operator(plan_of):
    plan = plan_of(
        lambda env: env.from_requests("/a").union(env.from_requests("/b")).key_by(same).map(same).reply()
    )
    assert [(source.stage, source.selector) for source in plan.sources] == [(12, same), (12, same)]
    assert len(plan.stages) == 1


def test_a_union_with_itself_arrives_twice(plan_of):
    def job(env):
        source = env.from_requests("/a")
        source.union(source).map(same).reply()

    plan = plan_of(job)
    assert links(plan, 0) == [("map1", 11, False, True), ("map1", 11, False, True)]


def test_a_collection_is_a_stage_of_one_subtask(plan_of):
    plan = plan_of(lambda env: env.from_collection([{"n": 1}, (2, 3)]).map(same).print(), workers=4)
    [source] = plan.collection_sources
    assert (source.stage, source.parallelism, plan.stages[source.stage].parallelism) == (10, 1, 1)
    assert [decode(element) for element in plan.collection_elements(source.node)] == [{"n": 1}, (2, 3)]
    assert links(plan, 0) == [("map1", 11, False, False)]


def test_what_is_declared_with_one_subtask_chains_to_a_collection(plan_of):
    plan = plan_of(lambda env: env.from_collection([1]).map(same).set_parallelism(1).print())
    assert [shorts(stage) for stage in plan.stages.values()] == [["collection0", "map1"], ["print2"]]


def test_subtasks_are_dealt_to_workers_in_turn(plan_of):
    plan = plan_of(lambda env: env.from_requests("/a").map(same).set_parallelism(5), workers=2)
    stage = plan.stages[11]
    assert [plan.worker_of(11, subtask) for subtask in range(5)] == [0, 1, 0, 1, 0]
    assert [list(stage.subtasks_of(worker, 2)) for worker in range(2)] == [[0, 2, 4], [1, 3]]


def test_there_are_at_most_as_many_subtasks_as_key_groups(plan_of):
    def job(env):
        env.set_max_parallelism(2)
        env.from_requests("/a").map(same)

    assert plan_of(job, workers=4).stages[11].parallelism == 2


def two_stages(env):
    first = env.from_requests("/a").uid("source").map(same).uid("first").filter(same).uid("behind")
    first.key_by(same).map(same).uid("second").set_parallelism(3).reply().uid("answer").set_parallelism(3)


def parallelisms(plan):
    return {stage.uid: stage.parallelism for stage in plan.stages.values()}


def test_a_parallelism_may_be_given_to_a_stage(plan_of):
    plan = plan_of(two_stages, first=4)
    assert parallelisms(plan) == {"first": 4, "second": 3}
    [source] = plan.sources
    assert source.parallelism == 4
    assert parallelisms(plan_of(two_stages, second=1)) == {"first": 2, "second": 1}
    assert [link.parallelism for link in plan_of(two_stages, first=4, second=5).links[1]] == [4]
    assert [link.parallelism for link in plan_of(two_stages, first=4, second=5).links[2]] == [5]


def test_where_stages_begin_does_not_change_with_a_given_parallelism(plan_of):
    def job(env):
        stream = env.from_requests("/a").map(same).uid("one").set_parallelism(2)
        stream.map(same).uid("two").set_parallelism(3).map(same).uid("three").set_parallelism(3)

    declared = [shorts(stage) for stage in plan_of(job).stages.values()]
    assert [shorts(stage) for stage in plan_of(job, one=3).stages.values()] == declared
    assert [link[3] for link in links(plan_of(job), 1)] == [False]
    assert [link[3] for link in links(plan_of(job, one=3), 1)] == [True]
    assert [link[3] for link in links(plan_of(job, one=1, two=1), 1)] == [True]


def test_a_given_parallelism_ends_forwarding_between_equals(plan_of):
    def job(env):
        one = env.from_requests("/a").map(same).uid("one")
        one.union(env.from_requests("/b").map(same).uid("other")).map(same).uid("both")

    assert links(plan_of(job), 1) == [("map4", 14, False, True)]
    assert links(plan_of(job, both=3), 1) == [("map4", 14, False, False)]
    assert links(plan_of(job, both=3, one=3), 1) == [("map4", 14, False, True)]


@pytest.mark.parametrize(
    ("given", "message", "help"),
    [
        ({"frist": 2}, "no operator 'frist'", "did you mean first?"),
        ({"behind": 2}, "'behind' runs in the stage of 'first'", "set the parallelism of 'first'"),
        ({"source": 2}, "'source' runs in gateways", "set the parallelism of 'first', to which it leads"),
        ({"first": 0}, "'first' cannot have 0 subtasks", "1 to 128"),
        ({"second": 129}, "'second' cannot have 129 subtasks", "1 to 128"),
    ],
)
def test_a_parallelism_that_cannot_be_given_is_refused(plan_of, given, message, help):
    with pytest.raises(JobError, match=message) as caught:
        plan_of(two_stages, **given)
    assert help in caught.value.help


def test_a_collection_keeps_its_one_subtask(plan_of):
    def job(env):
        env.from_collection([1]).uid("numbers").map(same)

    assert parallelisms(plan_of(job, numbers=1))["numbers"] == 1
    with pytest.raises(JobError, match="'numbers' is a collection"):
        plan_of(job, numbers=2)
