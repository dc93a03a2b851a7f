"""The physical plan: a graph and a number of workers become stages, subtasks and links.

Owns: where stages begin, their parallelism, which worker runs which subtask, where a node's output goes.
Never: user code being run, sockets. Built by every process from the same graph and the same operator
numbers, hence equal in all of them.

A *stage* is a tree of operators between shuffles and the unit of failure. It begins at a ``key_by``, at an
operator with several inputs, where the declared parallelism changes, and behind a request source. What was
*declared* counts, never the number of workers nor an override: results must not depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mini_flink.errors import JobError, Location
from mini_flink.graph import COLLECTION, REQUESTS, CollectionOptions, Edge, JobGraph, Node, RequestOptions
from mini_flink.suggest import did_you_mean

_NO_OVERRIDES: Mapping[str, int] = {}


@dataclass(frozen=True, slots=True)
class Link:
    """An edge as its sender sees it.

    ``chained``: the target runs in the same stage, by a call. Otherwise records go to ``stage``: by key if
    there is a ``selector``, to the sender's own subtask index if ``forward``, else to its subtasks in turn.
    ``location`` is the ``key_by``, or the target without one.
    """

    target: Node
    number: int
    stage: int
    parallelism: int
    selector: Callable[[Any], Any] | None
    chained: bool
    forward: bool
    location: Location


@dataclass(frozen=True, slots=True)
class Stage:
    """A tree of operators that one call runs; ``number`` is its head's operator number, and records carry it.

    ``nodes`` has the head first and each node before those that it feeds. ``keyed``: records carry a key.
    """

    number: int
    head: Node
    parallelism: int
    keyed: bool
    nodes: tuple[Node, ...]

    @property
    def uid(self) -> str:
        return self.head.uid

    def subtasks_of(self, worker: int, workers: int) -> range:
        """The subtasks that a worker runs."""
        return range(worker, self.parallelism, workers)


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """Where the values of a source go: to a subtask of ``stage``, found by the key or in turn.

    ``selector`` is set if a ``key_by`` stands directly behind the source: whoever feeds the source (the
    gateway) evaluates it. ``target`` is the stage's head (for a source with several consumers: the source
    itself). ``location`` is the ``key_by``, or the target without one.
    """

    node: Node
    number: int
    target: Node
    stage: int
    parallelism: int
    selector: Callable[[Any], Any] | None
    location: Location

    @property
    def kind(self) -> str:
        """``"requests"`` or ``"collection"``."""
        return self.node.kind

    @property
    def request_options(self) -> RequestOptions:
        if not isinstance(self.node.options, RequestOptions):
            raise TypeError(f"{self.node.uid} is no source of requests")
        return self.node.options


@dataclass(frozen=True, slots=True)
class Plan:
    """What every process of a job knows about all of it."""

    job_name: str
    workers: int
    max_parallelism: int
    stages: Mapping[int, Stage]
    sources: tuple[SourcePlan, ...]
    operators: Mapping[int, Node]
    numbers: Mapping[str, int]
    links: Mapping[int, tuple[Link, ...]]

    def worker_of(self, stage_number: int, subtask: int) -> int:  # noqa: ARG002 - all are dealt alike
        """The index of the worker that runs a subtask of a stage."""
        return subtask % self.workers

    @property
    def request_sources(self) -> tuple[SourcePlan, ...]:
        return tuple(source for source in self.sources if source.kind == REQUESTS)

    @property
    def collection_sources(self) -> tuple[SourcePlan, ...]:
        return tuple(source for source in self.sources if source.kind == COLLECTION)

    def collection_elements(self, node: Node) -> Iterator[bytes]:
        """The encoded elements, in order: records for subtask 0 of the stage that the collection heads."""
        if not isinstance(node.options, CollectionOptions):
            raise TypeError(f"{node.uid} is no collection")
        return iter(node.options.elements)


def build(
    graph: JobGraph, workers: int, numbers: Mapping[str, int], parallelisms: Mapping[str, int] = _NO_OVERRIDES
) -> Plan:
    """The plan of a graph for a number of workers; ``numbers`` gives each node's uid its durable number.

    ``parallelisms`` takes the place of what was declared, by the uid of a stage's head. JobError if there is
    no such stage, or if it cannot have that many subtasks.
    """
    return _Planner(graph, workers, numbers, parallelisms).plan()


class _Planner:
    def __init__(
        self, graph: JobGraph, workers: int, numbers: Mapping[str, int], parallelisms: Mapping[str, int]
    ) -> None:
        self._graph = graph
        self._workers = workers
        self._overrides = parallelisms
        self._numbers = {node.uid: numbers[node.uid] for node in graph.nodes}
        self._consumers = [tuple(graph.consumers(node.id)) for node in graph.nodes]
        self._head = self._find_heads()
        self._check_overrides()

    def plan(self) -> Plan:
        graph = self._graph
        stages = [self._stage(head) for head in graph.nodes if self._head.get(head.id) == head.id]
        return Plan(
            job_name=graph.name,
            workers=self._workers,
            max_parallelism=graph.max_parallelism,
            stages={stage.number: stage for stage in stages},
            sources=tuple(self._source(node) for node in graph.nodes if node.is_source),
            operators={self._numbers[node.uid]: node for node in graph.nodes},
            numbers=self._numbers,
            links={node.id: tuple(self._links(node)) for node in graph.nodes if node.id in self._head},
        )

    def _find_heads(self) -> dict[int, int]:
        """The id of the head of each node's stage; a source that only gateways run is in none."""
        heads: dict[int, int] = {}
        for node in self._graph.nodes:
            if node.is_source:
                if not self._in_gateway(node):
                    heads[node.id] = node.id
            else:
                heads[node.id] = node.id if self._begins_stage(node) else heads[node.inputs[0].source]
        return heads

    def _begins_stage(self, node: Node) -> bool:
        first, *more = node.inputs
        if more or node.keyed:
            return True
        upstream = self._graph.nodes[first.source]
        return self._in_gateway(upstream) or upstream.parallelism != node.parallelism

    def _in_gateway(self, node: Node) -> bool:
        """Requests with one consumer go from the gateway to it; with several they fan out in a worker."""
        return node.kind == REQUESTS and len(self._consumers[node.id]) == 1

    def _check_overrides(self) -> None:
        nodes = {node.uid: node for node in self._graph.nodes}
        for uid, parallelism in self._overrides.items():
            node = nodes.get(uid)
            if node is None:
                raise JobError(
                    f"the job has no operator {uid!r} to give {parallelism} subtasks to",
                    help=did_you_mean(uid, nodes, otherwise=f"its operators are {', '.join(nodes)}"),
                )
            self._check_override(node, parallelism)

    def _check_override(self, node: Node, parallelism: int) -> None:
        head, most = self._head.get(node.id), self._graph.max_parallelism
        if head is None:
            [(consumer, _)] = self._consumers[node.id]
            message, help = "runs in gateways", f"set the parallelism of {consumer.uid!r}, to which it leads"
        elif head != node.id:
            uid = self._graph.nodes[head].uid
            message, help = f"runs in the stage of {uid!r}", f"set the parallelism of {uid!r}"
        elif node.kind == COLLECTION and parallelism != 1:
            message, help = "is a collection, which one subtask reads", "leave its parallelism away"
        elif not 1 <= parallelism <= most:
            message, help = f"cannot have {parallelism} subtasks", f"1 to {most} is possible: max_parallelism"
        else:
            return
        raise JobError(f"the operator {node.uid!r} {message}", help=help, location=node.location)

    def _stage(self, head: Node) -> Stage:
        return Stage(
            number=self._numbers[head.uid],
            head=head,
            parallelism=self._parallelism(head),
            keyed=head.keyed,
            nodes=tuple(node for node in self._graph.nodes if self._head.get(node.id) == head.id),
        )

    def _parallelism(self, node: Node) -> int:
        """How many subtasks the node's stage has; a source that only gateways run counts for itself."""
        head = self._graph.nodes[self._head.get(node.id, node.id)]
        declared = self._overrides.get(head.uid) or head.parallelism
        return declared or min(self._workers, self._graph.max_parallelism)

    def _links(self, node: Node) -> Iterator[Link]:
        for target, edge in self._consumers[node.id]:
            chained = self._head[target.id] != target.id
            yield Link(
                target=target,
                number=self._numbers[target.uid],
                stage=self._numbers[self._graph.nodes[self._head[target.id]].uid],
                parallelism=self._parallelism(target),
                selector=edge.selector,
                chained=chained,
                forward=not chained and self._forwards(node, target, edge),
                location=edge.location or target.location,
            )

    def _forwards(self, node: Node, target: Node, edge: Edge) -> bool:
        return edge.selector is None and self._parallelism(node) == self._parallelism(target)

    def _source(self, node: Node) -> SourcePlan:
        target, selector, location = node, None, node.location
        if self._in_gateway(node):
            [(target, edge)] = self._consumers[node.id]
            selector, location = edge.selector, edge.location or target.location
        return SourcePlan(
            node=node,
            number=self._numbers[node.uid],
            target=target,
            stage=self._numbers[target.uid],
            parallelism=self._parallelism(target),
            selector=selector,
            location=location,
        )
