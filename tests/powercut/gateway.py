"""The gateway of one worker: the machine that ships, its clients' requests, and what they were told.

Requests are numbers: ``value_of`` says what the one with a token asks for. A copy is the gateway as it was.
"""

from __future__ import annotations

import copy
import json
import runpy
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from mini_flink import execution, keys, plan, values, wire
from mini_flink.core.base import Identity
from mini_flink.core.effects import Connect, Effect, Send
from mini_flink.core.pending import Ended, Extra, Failed, Outcome, PendingMap, Replied
from mini_flink.graph import JobGraph
from mini_flink.transport.base import Transport

JOB = Path(__file__).with_name("ledger_job.py")
STAGES = {"first": "key", "second": "bucket"}
KEYS = 6
CAPACITY = 4096
TIMEOUT_S = 3600.0
_FATES = ("answers",) * 7 + ("ends first", "ends second", "fails second")


@cache
def graph() -> JobGraph:
    """The job's."""
    graphs: list[JobGraph] = []
    with execution.executing_with(graphs.append):
        runpy.run_path(str(JOB))
    return graphs[0]


def numbers() -> dict[str, int]:
    """The durable numbers of its operators."""
    return {node.uid: number for number, node in enumerate(graph().nodes, 1)}


@cache
def the_plan() -> plan.Plan:
    """The job on one worker."""
    return plan.build(graph(), 1, numbers())


@cache
def value_of(token: int) -> dict[str, Any]:
    """What the request with this token says: always the same."""
    rng = Random(token)
    padding = "x" * rng.choice([0, 0, 40, 700, 3000])
    return {
        "token": token,
        "key": rng.randrange(KEYS),
        "bucket": rng.randrange(KEYS),
        "fate": rng.choice(_FATES),
        "padding": padding,
    }


@dataclass
class Told:
    """What a worker has said so far: it must never take anything of it back."""

    position: int = 0
    records: dict[int, bytes] = field(default_factory=dict)

    def hear(self, message: wire.Data) -> list[str]:
        """Take one more message in; where it takes something back."""
        if message.session == 0:
            return []
        found = []
        if message.position < self.position:
            found.append(f"position {message.position} was told after {self.position}")
        self.position = max(self.position, message.position)
        for number, record in enumerate(message.records, message.first):
            if self.records.setdefault(number, record) != record:
                found.append(f"answer {number} was told again, and differs")
        return found


class Gateway:
    """One gateway, which never dies. It does nothing by itself; ``carry_out`` sends for it."""

    def __init__(self, endpoint: str) -> None:
        identity = Identity("g0", 1, 1, endpoint)
        self.endpoint = endpoint
        self.pending: PendingMap[int] = PendingMap(identity, 0, 1, capacity=CAPACITY)
        self.submitted = 0
        self.outcomes: dict[int, Outcome] = {}
        self.told = Told()
        self.problems: list[str] = []

    def copy(self) -> Gateway:
        """This gateway as it is now."""
        twin = copy.copy(self)
        twin.pending = copy.deepcopy(self.pending)
        twin.outcomes = dict(self.outcomes)
        twin.told = Told(self.told.position, dict(self.told.records))
        twin.problems = list(self.problems)
        return twin

    def submit(self, count: int) -> None:
        """So many new requests."""
        source = the_plan().sources[0]
        for token in range(self.submitted, self.submitted + count):
            value = value_of(token)
            target = (source.stage, 0, keys.encode_key(value["key"]), values.encode(value))
            now = time.monotonic()
            self.pending.submit(token, target, TIMEOUT_S, now, time.time_ns() // 1_000_000)
        self.submitted += count

    def receive(self, message: wire.Data) -> list[Effect]:
        """Take a message of the worker's in."""
        self.problems += self.told.hear(message)
        outcomes: list[tuple[int, Outcome]] = []
        effects = self.pending.receive(message, time.monotonic(), outcomes)
        for token, outcome in outcomes:
            if isinstance(outcome, Extra) or token in self.outcomes:
                self.problems.append(f"request {token} was answered twice")
            elif not isinstance(outcome, _EXPECTED[value_of(token)["fate"].split()[0]]):
                self.problems.append(f"request {token} was answered with {outcome}")
            self.outcomes[token] = outcome
        return effects

    def places(self, token: int) -> dict[str, int]:
        """Where the client was told that its token stands, by stage."""
        outcome = self.outcomes.get(token)
        if not isinstance(outcome, Replied):
            return {}
        reply = json.loads(outcome.body)
        return {stage: reply[stage] for stage in STAGES}


_EXPECTED: dict[str, type[Outcome]] = {"answers": Replied, "ends": Ended, "fails": Failed}


def carry_out(effects: Iterable[Effect], transport: Transport) -> None:
    """Do what the machine asks for."""
    for effect in effects:
        if isinstance(effect, Send):
            transport.send(effect.peer, effect.message)
        elif isinstance(effect, Connect):
            transport.connect(effect.peer, effect.endpoint)
