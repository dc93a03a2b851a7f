"""The recovery that ships, on an image, and what is wrong with what it finds.

The worker runs in this process, on the log and the table that ship; only its sockets are queues.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from mini_flink import keys, values, wire
from mini_flink.core.base import Identity
from mini_flink.core.pending import Failed, Replied
from mini_flink.errors import MiniFlinkError
from mini_flink.runners.twins import NoProgressPage
from mini_flink.state import layout
from mini_flink.state.lmdb import LmdbTable
from mini_flink.state.log import FileLog
from mini_flink.transport.memory import MemoryNetwork, MemoryTransport
from mini_flink.worker.background import InlineBackground
from mini_flink.worker.worker import Devices, Place, Worker
from tests.powercut.gateway import KEYS, STAGES, Gateway, carry_out, numbers, the_plan, value_of
from tests.powercut.shipped import FOLDER_ID, SETTINGS

ROUNDS = 2000


def problems(image: Path, gateway: Gateway, incarnation: int) -> list[str]:
    """What is wrong with what a worker finds in ``image``, given what its gateway was told and still asks.

    First with the state as it was recovered, then with the answers to what was not answered. The image and
    the gateway are used up.
    """
    try:
        with _Recovered(image, gateway, incarnation) as worker:
            found = worker.taken_back()
            worker.answer_all()
            return found + gateway.problems + worker.differences()
    except (MiniFlinkError, LookupError) as error:
        return [str(error)]


class _Recovered(ExitStack):
    """A worker that has recovered, and a gateway that it has not said hello to yet."""

    def __init__(self, image: Path, gateway: Gateway, incarnation: int) -> None:
        super().__init__()
        self._gateway = gateway
        self._incarnation = incarnation
        network = MemoryNetwork()
        self._inbox, self._door = (self._transport(network, name) for name in ("w0", "g0"))
        table = LmdbTable(image / "state", map_size_bytes=SETTINGS.state_map_bytes)
        self.callback(table.close)
        log = FileLog(image / "log", segment_bytes=SETTINGS.log_segment_bytes, durable=True)
        self.callback(log.close)
        self._worker = Worker(
            Identity("w0", incarnation, 1, "w0"),
            Place(0, 1, FOLDER_ID, {number: uid for uid, number in numbers().items()}),
            the_plan(),
            SETTINGS,
            Devices(log, table, self._inbox, InlineBackground()),
            NoProgressPage(),
            lambda *_, **__: None,
        )
        self._worker.recover()
        self._worker.secure()
        self._worker.open()

    def _transport(self, network: MemoryNetwork, name: str) -> MemoryTransport:
        transport = MemoryTransport(network)
        transport.bind(name)
        self.callback(transport.close)
        return transport

    def answer_all(self) -> None:
        """Hello, and everything that the gateway still waits for."""
        pending = self._gateway.pending
        self._worker.greet({"g0": [1, "g0"]})
        carry_out(pending.meet("w0", self._incarnation, "w0"), self._door)
        for _ in range(ROUNDS):
            now = time.monotonic()
            carry_out(pending.due(now), self._door)
            for message in map(wire.decode, self._inbox.receive(64)):
                assert isinstance(message, wire.Data)
                self._worker.take(message, now)
            self._worker.turn(now)
            received = self._door.receive(64)
            for message in map(wire.decode, received):
                assert isinstance(message, wire.Data)
                carry_out(self._gateway.receive(message), self._door)
            if not (received or pending or self._worker.engine.has_work):
                return

    # --- the state --------------------------------------------------------------------------------------

    def taken_back(self) -> list[str]:
        """What a client was told and is not there, and what nobody sent or is there twice."""
        tokens = self._tokens()
        return [*self._strangers(tokens), *self._broken_promises(tokens)]

    def differences(self) -> list[str]:
        """The same once all is answered: each token is there exactly once in each stage that it reaches."""
        tokens, gateway = self._tokens(), self._gateway
        found = [
            f"request {token} is never answered"
            for token in range(gateway.submitted)
            if token not in gateway.outcomes
        ]
        for token in range(gateway.submitted):
            for stage in STAGES:
                there = token in tokens[stage][value_of(token)[STAGES[stage]]]
                if there != (stage in _stages_of(token)):
                    found.append(f"token {token} is {'' if there else 'not '}in the {stage} stage")
        return [*found, *self._strangers(tokens), *self._broken_promises(tokens)]

    def _tokens(self) -> dict[str, list[list[int]]]:
        """By stage and key, in order."""
        return {stage: [self._list(stage, key) for key in range(KEYS)] for stage in STAGES}

    def _list(self, stage: str, key: int) -> list[int]:
        encoded = keys.encode_key(key)
        group = keys.key_group(encoded, the_plan().max_parallelism)
        data = self._worker.engine.overlay.get(layout.state_prefix(group, numbers()[stage], 0) + encoded)
        return [] if data is None else values.decode_many(data)

    def _strangers(self, tokens: dict[str, list[list[int]]]) -> Iterator[str]:
        for stage, lists in tokens.items():
            for key, there in enumerate(lists):
                if len(there) != len(set(there)):
                    yield f"the {stage} stage holds a token twice: {there}"
                for token in there:
                    if token >= self._gateway.submitted or value_of(token)[STAGES[stage]] != key:
                        yield f"nobody sent token {token} to key {key} of the {stage} stage"

    def _broken_promises(self, tokens: dict[str, list[list[int]]]) -> Iterator[str]:
        for token, outcome in self._gateway.outcomes.items():
            for stage in _stages_of(token):
                there = tokens[stage][value_of(token)[STAGES[stage]]]
                if token not in there:
                    yield f"token {token} was answered and is not in the {stage} stage"
                elif (
                    isinstance(outcome, Replied) and there.index(token) != self._gateway.places(token)[stage]
                ):
                    yield f"token {token} has another place in the {stage} stage than the answer said"
            if isinstance(outcome, Failed):
                letter = self._worker.engine.overlay.get(layout.DEAD_LETTER + outcome.error_id.encode())
                if letter is None:
                    yield f"token {token} has failed, and there is no dead letter"


def _stages_of(token: int) -> list[str]:
    """Where a token is written down: a record that fails leaves nothing, one that ends goes no further."""
    return {"ends first": ["first"], "fails second": ["first"]}.get(value_of(token)["fate"], list(STAGES))
