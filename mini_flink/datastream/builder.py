"""The graph while it is being built: what the stream API appends to.

Owns: drafts of nodes, generated uids, and the checks that need the whole graph. Never: running anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mini_flink.datastream.uids import numbered, operator_uid, source_uid
from mini_flink.errors import JobError, Location
from mini_flink.graph import (
    DEFAULT_MAX_PARALLELISM,
    MAX_MAX_PARALLELISM,
    REQUESTS,
    Edge,
    JobGraph,
    Node,
    Options,
    RequestOptions,
)


@dataclass(frozen=True, slots=True)
class Parallelism:
    """A declared number of subtasks, and where it was declared."""

    subtasks: int
    location: Location


@dataclass(slots=True)
class Draft:
    """A node that may still be named, given a uid or a parallelism."""

    id: int
    kind: str
    name: str
    function: Any
    inputs: tuple[Edge, ...]
    location: Location
    options: Options | None
    uid: str | None = None
    parallelism: Parallelism | None = None
    single: bool = False

    @property
    def keyed(self) -> bool:
        return any(edge.selector is not None for edge in self.inputs)

    @property
    def is_sink(self) -> bool:
        return bool(self.inputs) and self.function is None


class GraphBuilder:
    """All drafts of one environment."""

    def __init__(self) -> None:
        self._drafts: list[Draft] = []
        self._routes: dict[tuple[str, str], Draft] = {}
        self.parallelism: Parallelism | None = None
        self.max_parallelism = DEFAULT_MAX_PARALLELISM

    def add(
        self,
        kind: str,
        name: str,
        location: Location,
        *,
        function: Any = None,
        inputs: tuple[Edge, ...] = (),
        options: Options | None = None,
    ) -> Draft:
        """Appends a node."""
        draft = Draft(len(self._drafts), kind, name, function, inputs, location, options)
        self._drafts.append(draft)
        return draft

    def add_request_source(self, name: str, location: Location, shape: str, options: RequestOptions) -> Draft:
        """Appends a source of requests, unless another takes the same method and path."""
        for method in options.methods:
            other = self._routes.get((method, shape))
            if other is not None:
                raise JobError(
                    f"{method} {options.path} is already taken by the source at {other.location}",
                    help="use that stream twice (a stream may have many consumers), or another path",
                    location=location,
                )
        draft = self.add(REQUESTS, name, location, options=options)
        self._routes.update({(method, shape): draft for method in options.methods})
        return draft

    def has_request_upstream(self, edges: Iterable[Edge]) -> bool:
        """Whether records on these edges may come from a request."""
        drafts = (self._drafts[edge.source] for edge in edges)
        return any(draft.kind == REQUESTS or self.has_request_upstream(draft.inputs) for draft in drafts)

    def freeze(self, job_name: str, location: Location) -> JobGraph:
        """The graph as it is now."""
        if not self._drafts:
            raise JobError(
                "the job has no source: there is nothing to do",
                help="begin with env.from_requests(path) or env.from_collection(list)",
                location=location,
            )
        self._check_consumed()
        uids = self._uids()
        nodes = tuple(self._node(draft, uids[draft.id]) for draft in self._drafts)
        self._check_parallelism()
        return JobGraph(job_name, nodes, self.max_parallelism, location)

    def _node(self, draft: Draft, uid: str) -> Node:
        parallelism = draft.parallelism or self.parallelism
        return Node(
            id=draft.id,
            kind=draft.kind,
            name=draft.name,
            uid=uid,
            has_uid=draft.uid is not None,
            parallelism=parallelism.subtasks if parallelism else None,
            function=draft.function,
            inputs=draft.inputs,
            location=draft.location,
            options=draft.options,
        )

    def _check_consumed(self) -> None:
        consumed = {edge.source for draft in self._drafts for edge in draft.inputs}
        for draft in self._drafts:
            if not draft.inputs and draft.id not in consumed:
                raise JobError(
                    f"nothing reads the source {draft.name!r}",
                    help="add an operator or a sink behind it, such as .map(…).reply(), or remove it",
                    location=draft.location,
                )

    def _check_parallelism(self) -> None:
        declared = [draft.parallelism for draft in self._drafts] + [self.parallelism]
        for parallelism in declared:
            if parallelism is not None and parallelism.subtasks > self.max_parallelism:
                raise JobError(
                    f"parallelism {parallelism.subtasks} is more than the maximum of {self.max_parallelism}",
                    help="there is one key group for each at most: lower it, or env.set_max_parallelism(n)",
                    location=parallelism.location,
                )

    def _uids(self) -> list[str]:
        """Each node's uid: the user's, else a generated one.

        A draft comes after all that it reads, so the uids of its inputs are known when it is its turn. Those
        that have a uid count too, so giving one a uid does not rename the next one like it; keyed ones have
        other uids then anyway.
        """
        seen: dict[str, Draft] = {}
        counts: Counter[str] = Counter()
        sources = self._sources()
        for draft in self._drafts:
            generated = self._generated_uid(draft, list(seen), sources)
            if draft.uid is None or not draft.keyed:
                counts[generated] += 1
            uid = draft.uid or numbered(generated, counts[generated], always=draft.is_sink)
            if uid in seen:
                raise JobError(
                    f"two operators have the uid {uid!r}: the other is at {seen[uid].location}",
                    help="state is found by uid: give each operator its own",
                    location=draft.location,
                )
            seen[uid] = draft
        return list(seen)

    def _generated_uid(self, draft: Draft, uids: list[str], sources: list[frozenset[int]]) -> str:
        if not draft.inputs:
            return source_uid(draft.options)
        if draft.is_sink:
            return draft.kind
        inputs = ((uids[edge.source], edge.selector is not None) for edge in draft.inputs)
        return operator_uid(draft.kind, draft.name, inputs, self._like(draft, sources) if draft.keyed else 1)

    def _like(self, draft: Draft, sources: list[frozenset[int]]) -> int:
        """How many keyed operators that read the same source differ from this one in their place only."""
        return sum(
            (other.kind, other.name, other.keyed, other.uid) == (draft.kind, draft.name, True, None)
            and not sources[draft.id].isdisjoint(sources[other.id])
            for other in self._drafts
        )

    def _sources(self) -> list[frozenset[int]]:
        """The sources that each draft reads, however far up they are."""
        sources: list[frozenset[int]] = []
        for draft in self._drafts:
            above = (sources[edge.source] for edge in draft.inputs)
            sources.append(frozenset((draft.id,) if not draft.inputs else ()).union(*above))
        return sources


def checked_parallelism(parallelism: object, location: Location) -> Parallelism:
    """A declared parallelism; the maximum, which may still be set, is compared at the end."""
    if isinstance(parallelism, bool) or not isinstance(parallelism, int) or parallelism < 1:
        raise JobError(
            f"parallelism {parallelism!r} is not a positive number", help="give 1 or more", location=location
        )
    return Parallelism(parallelism, location)


def checked_max_parallelism(number: object, location: Location) -> int:
    """A number of key groups that Flink allows."""
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= MAX_MAX_PARALLELISM:
        raise JobError(
            f"maximum parallelism {number!r} is not one of 1 to {MAX_MAX_PARALLELISM}",
            help=f"the default is {DEFAULT_MAX_PARALLELISM}",
            location=location,
        )
    return number
