"""The job as it is drawn: nodes, edges and stages, from what the supervisor says of its plan. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mini_flink import plan as plans
from mini_flink.errors import Location
from mini_flink.graph import REQUESTS, Edge, JobGraph, Node, RequestOptions
from mini_flink.limits import DEFAULT as DEFAULT_LIMITS
from mini_flink.limits import Limits

SCHEMA = 1
_NOWHERE = Location("", 0)


@dataclass(frozen=True, slots=True)
class Drawing:
    """``public`` is what the page gets; ``stage_of`` names the head of a node's stage, if workers run it."""

    public: dict[str, Any]
    stage_of: Mapping[str, str]
    parallelism: Mapping[str, int]

    @property
    def hash(self) -> str:
        found: str = self.public["plan_hash"]
        return found


def draw(status: Mapping[str, Any], version: str, limits: Limits = DEFAULT_LIMITS) -> Drawing:
    """The drawing of the plan in a status report."""
    told = status["plan"]
    graph = _graph(status["job"], told["fingerprint"], told["max_parallelism"])
    plan = plans.build(graph, told["workers"], told["numbers"], told["parallelisms"])
    stages = {node.uid: stage for stage in plan.stages.values() for node in stage.nodes}
    links = {
        (graph.nodes[source].uid, link.target.uid): link
        for source, several in plan.links.items()
        for link in several
    }
    places = told["locations"]
    nodes: list[dict[str, Any]] = []
    for node in graph.nodes:
        stage = stages.get(node.uid)
        nodes.append(
            {
                "id": node.uid,
                "name": node.name,
                "kind": node.kind,
                "parallelism": stage.parallelism if stage else told["gateways"],
                "stage": stage.uid if stage else None,
                "in_gateway": stage is None,
                "keyed": bool(stage and stage.keyed),
                "location": places.get(node.uid),
                "route": _route(node),
            }
        )
    edges = []
    for node in graph.nodes:
        for edge in node.inputs:
            source = graph.nodes[edge.source]
            link = links.get((source.uid, node.uid))
            name = f"{source.uid}->{node.uid}"
            ship = "key_by" if edge.selector else "rebalance"
            if link is not None and not edge.selector:
                ship = "chained" if link.chained else "forward" if link.forward else "rebalance"
            edges.append(
                {
                    "id": name,
                    "source": source.uid,
                    "target": node.uid,
                    "ship": ship,
                    "key": told["key_names"].get(name),
                }
            )
    content = {
        "schema": SCHEMA,
        "job": status["job"],
        "version": version,
        "workers": told["workers"],
        "gateways": told["gateways"],
        "generation": told["generation"],
        "durability": status["durability"],
        "max_parallelism": told["max_parallelism"],
        "request_timeout_ms": told["request_timeout_ms"],
        "pending_capacity": told["pending_capacity"],
        "limits": limits.public(),
        "nodes": nodes,
        "edges": edges,
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    return Drawing(
        public={**content, "plan_hash": digest},
        stage_of={uid: stage.uid for uid, stage in stages.items()},
        parallelism={node["id"]: node["parallelism"] for node in nodes},
    )


def _route(node: Node) -> str | None:
    if not isinstance(node.options, RequestOptions):
        return None
    return f"{'|'.join(node.options.methods)} {node.options.path}"


def _graph(job: str, fingerprint: list[Any], max_parallelism: int) -> JobGraph:
    """The graph without its functions: what stages are made of is in the fingerprint."""
    ids = {entry[0]: number for number, entry in enumerate(fingerprint)}
    nodes = []
    for number, (uid, kind, name, parallelism, inputs, options) in enumerate(fingerprint):
        request = RequestOptions(options[0], tuple(options[1]), options[2]) if kind == REQUESTS else None
        edges = tuple(Edge(ids[source], _key if keyed else None) for source, keyed in inputs)
        nodes.append(Node(number, kind, name, uid, True, parallelism, None, edges, _NOWHERE, request))
    return JobGraph(job, tuple(nodes), max_parallelism, _NOWHERE)


def _key(value: Any) -> Any:
    """Stands where a key selector was: only whether there is one counts here."""
    return value
