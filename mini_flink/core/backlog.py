"""The input backlog: records that old workers had for each other and nobody has taken in yet.

A worker commits its positions and its outbox together, so in a consistent cut what is undelivered is exactly
what the senders' outboxes hold above the receivers' positions. In a new generation these records are *taken
in*, not sent: they lie in the outbox of their new owner to itself, which recovery puts before any frame. Sent
again by new senders they would be overtaken by what those send themselves.

Pure reading: nothing here judges whether the sources are a consistent cut beyond the holes it can see.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import permutations
from typing import NamedTuple, Protocol

from mini_flink import wire
from mini_flink.core.routes import Routes
from mini_flink.errors import CorruptionError
from mini_flink.ids import worker_name
from mini_flink.state import layout


class Source(Protocol):
    """One old worker: a view of its table, final or frozen, that holds all it has committed."""

    def scan(self, prefix: bytes) -> Iterable[tuple[bytes, bytes]]: ...
    def range(self, start: bytes, stop: bytes | None) -> Iterable[tuple[bytes, bytes]]: ...


class Channel(NamedTuple):
    """What a worker's table says of its channel with a peer; numbers as in ``links.Link``."""

    session: int
    position: int
    acked: int
    next: int


_UNUSED = Channel(0, 0, 0, 1)


def value_of(source: Source, key: bytes) -> bytes | None:
    """The value of one key."""
    return next((value for _, value in source.range(key, key + b"\0")), None)


def channels_of(source: Source) -> Mapping[str, Channel]:
    """A worker's channels by peer."""
    packed = value_of(source, layout.CHANNELS)
    return {peer: Channel(*rest) for peer, *rest in wire.unpack(packed)} if packed else {}


class Backlog:
    """The undelivered records of ``sources``, renumbered by ``routes`` and numbered anew per owner."""

    def __init__(self, sources: Sequence[Source], routes: Routes) -> None:
        self._sources = sources
        self._routes = routes
        self.channels = [channels_of(source) for source in sources]

    def undeliverable(self) -> Counter[str]:
        """How many records wait for an operator, by uid, where no stage of the new plan begins."""
        stages = (wire.decode_record(data).stage for data in self._undelivered())
        return Counter(self._routes.uid(stage) for stage in stages if self._routes.stage(stage) is None)

    def reroutes(self) -> bool:
        """Whether a record that is under way is for another subtask now, or for none."""
        for data in self._undelivered():
            record = wire.decode_record(data)
            stage = self._routes.stage(record.stage)
            if stage is None or stage.number != record.stage:
                return True
            if self._routes.subtask(stage, record.subtask, record.key) != record.subtask:
                return True
        return False

    def outboxes(self, counts: list[int], lost: Counter[str]) -> Iterator[tuple[int, bytes, bytes]]:
        """Worker, key and value of each record, in order per old channel.

        ``counts`` are the records that each new worker has, raised on the way; ``lost`` counts those that
        have no stage and are left out.
        """
        routes = self._routes
        peers = [f"{worker_name(index)}/0".encode() for index in range(len(counts))]
        for data in self._undelivered():
            record = wire.decode_record(data)
            stage = routes.stage(record.stage)
            if stage is None:
                lost[routes.uid(record.stage)] += 1
                continue
            subtask = routes.subtask(stage, record.subtask, record.key)
            worker = routes.plan.worker_of(stage.number, subtask)
            counts[worker] += 1
            moved = record._replace(stage=stage.number, subtask=subtask)
            yield worker, layout.outbox_key(peers[worker], counts[worker]), wire.pack(moved)

    def _undelivered(self) -> Iterator[bytes]:
        """Channel by channel, each in its order.

        Home channels first: they may still hold the backlog of the generation before, which is older than
        anything that was sent in this one.
        """
        workers = range(len(self._sources))
        for worker in workers:
            yield from self._channel(worker, worker)
        for sender, receiver in permutations(workers, 2):
            yield from self._channel(sender, receiver)

    def _channel(self, sender: int, receiver: int) -> Iterator[bytes]:
        """What the one has sent and the other has not committed; also that of a worker to itself."""
        position = self.channels[receiver].get(worker_name(sender), _UNUSED).position
        next = self.channels[sender].get(worker_name(receiver), _UNUSED).next
        peer = f"{worker_name(receiver)}/0".encode()
        first, stop = (layout.outbox_key(peer, number) for number in (position + 1, next))
        count = 0
        for _, data in self._sources[sender].range(first, stop):
            count += 1
            yield data
        if position + count + 1 != next:
            raise self._hole(sender, receiver)

    @staticmethod
    def _hole(sender: int, receiver: int) -> CorruptionError:
        return CorruptionError(
            f"what worker {sender} has sent and what worker {receiver} has received do not fit together",
            help="restore the latest snapshot",
        )
