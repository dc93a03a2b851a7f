"""What there is to see of a job: steps and arrows, made of its graph and plan.

The names of ``as_data`` are those that programs know: change none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from mini_flink.drawings.captions import place
from mini_flink.graph import Edge, JobGraph, Node
from mini_flink.plan import Link, Plan

CHAINED, BY_KEY, FORWARD, IN_TURN = "chained", "key_by", "forward", "rebalance"
WORDS = {CHAINED: "", BY_KEY: "by key", FORWARD: "one to one", IN_TURN: "in turn"}
"""How an arrow is labelled; a chained step is called, and nothing travels."""


class Step(NamedTuple):
    """An operator, source or sink. ``stage`` is the uid of its stage's head; None: the gateways run it."""

    uid: str
    name: str
    kind: str
    parallelism: int | None
    stage: str | None
    keyed: bool
    location: str

    @property
    def size(self) -> str:
        """How many there are of it: ``gateways``, or ``x2``."""
        return "gateways" if self.stage is None else f"x{self.parallelism}"


class Arrow(NamedTuple):
    """Records that go from one step to another, by their places in the list of steps."""

    source: int
    target: int
    ship: str


class Picture(NamedTuple):
    """A job; each arrow leads to a later step."""

    job: str
    workers: int
    steps: tuple[Step, ...]
    arrows: tuple[Arrow, ...]

    @property
    def stages(self) -> dict[str | None, list[int]]:
        """The steps of each stage, by the uid of its head; None: of the gateways."""
        found: dict[str | None, list[int]] = {}
        for index, step in enumerate(self.steps):
            found.setdefault(step.stage, []).append(index)
        return found

    def as_data(self) -> dict[str, Any]:
        """For programs."""
        return {
            "schema": 1,
            "job": self.job,
            "workers": self.workers,
            "nodes": [_node(step) for step in self.steps],
            "edges": [self._edge(arrow) for arrow in self.arrows],
        }

    def _edge(self, arrow: Arrow) -> dict[str, Any]:
        source, target = self.steps[arrow.source].uid, self.steps[arrow.target].uid
        return {"id": f"{source}->{target}", "source": source, "target": target, "ship": arrow.ship}


def _node(step: Step) -> dict[str, Any]:
    return {
        "id": step.uid,
        "name": step.name,
        "kind": step.kind,
        "parallelism": step.parallelism,
        "stage": step.stage,
        "in_gateway": step.stage is None,
        "keyed": step.keyed,
        "location": step.location,
    }


def picture(graph: JobGraph, plan: Plan) -> Picture:
    """What a job looks like when it runs on the plan's number of workers."""
    stages = {node.id: stage for stage in plan.stages.values() for node in stage.nodes}
    steps = []
    for node in graph.nodes:
        stage = stages.get(node.id)
        size, head = (stage.parallelism, stage.uid) if stage else (None, None)
        step = Step(node.uid, node.name, node.kind, size, head, node.keyed, place(node.location))
        steps.append(step)
    arrows = tuple(arrow for node in graph.nodes for arrow in _arrows(graph, plan, node))
    return Picture(graph.name, plan.workers, tuple(steps), arrows)


def _arrows(graph: JobGraph, plan: Plan, node: Node) -> Iterator[Arrow]:
    consumers = list(graph.consumers(node.id))
    links = plan.links.get(node.id)
    if links is None:  # the gateways deal its values out
        yield from (Arrow(node.id, target.id, _dealt(edge)) for target, edge in consumers)
        return
    yield from (Arrow(node.id, link.target.id, _ship(link)) for link in links)


def _dealt(edge: Edge) -> str:
    return BY_KEY if edge.selector else IN_TURN


def _ship(link: Link) -> str:
    if link.chained:
        return CHAINED
    if link.selector is not None:
        return BY_KEY
    return FORWARD if link.forward else IN_TURN
