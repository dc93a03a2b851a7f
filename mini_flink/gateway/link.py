"""The gateway's channels in its event loop: transport and pending map, one flush per turn of the loop.

The transport's descriptor is edge-triggered: it is drained until empty, and asked again after every send.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from mini_flink import wire
from mini_flink.core.effects import Connect, Effect, Send
from mini_flink.core.pending import PendingMap
from mini_flink.gateway.ingress import GatewayIngress
from mini_flink.gateway.port import Done
from mini_flink.transport.base import Transport

_RECEIVE_LIMIT = 64


class GatewayLink:
    """Moves messages between one pending map and the workers, in the running loop."""

    def __init__(
        self,
        pending: PendingMap[Done],
        ingress: GatewayIngress,
        transport: Transport,
        control: Callable[[wire.Control], None],
        failed: Callable[[Exception], None],
        acknowledged: Callable[[], None] = lambda: None,
    ) -> None:
        """``acknowledged`` is called whenever workers may have taken over what was sent to them."""
        self.all_met = asyncio.Event()
        """Set once every worker has said hello: from then on a request would succeed."""
        self.activity = asyncio.Event()
        self._pending = pending
        self._ingress = ingress
        self._transport = transport
        self._control = control
        self._failed = failed
        self._acknowledged = acknowledged
        self._loop = asyncio.get_running_loop()
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s = 0.0

    def start(self, peers: Mapping[str, Sequence[Any]]) -> None:
        """Connect to the workers and say hello."""
        self._loop.add_reader(self._transport.fileno(), self._guarded, self._readable)
        self.meet(peers)
        self._carry_out(self._pending.hello())
        self._readable()

    def meet_generation(self, peers: Mapping[str, Sequence[Any]]) -> None:
        """Connect to other workers than before and say hello; ``all_met`` is about them."""
        self.all_met.clear()
        self.meet(peers)
        self._carry_out(self._pending.hello())
        self.wake()

    def stop(self) -> None:
        """Leave the loop."""
        self._flush()
        self._loop.remove_reader(self._transport.fileno())
        if self._timer is not None:
            self._timer.cancel()

    def meet(self, peers: Mapping[str, Sequence[Any]]) -> None:
        """The supervisor says where peers listen."""
        for name, (incarnation, endpoint) in peers.items():
            self._carry_out(self._pending.meet(name, incarnation, endpoint))
        self.wake()

    def wake(self) -> None:
        """There is something to send: at the end of this turn of the loop, together with all else."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._guarded, self._flush)

    def _guarded(self, callback: Callable[[], None]) -> None:
        """A failure here is the process's, not the loop's to log and forget: clients would wait for ever."""
        try:
            callback()
        except Exception as error:  # the main of all that the loop runs for the channels
            self._failed(error)

    def _flush(self) -> None:
        self._scheduled = False
        self.activity.set()
        now = time.monotonic()
        self._carry_out(self._pending.due(now))
        self._set_timer(now)
        if self._transport.pending():
            self._loop.call_soon(self._guarded, self._readable)

    def _carry_out(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self._transport.send(effect.peer, effect.message)
            elif isinstance(effect, Connect):
                self._transport.connect(effect.peer, effect.endpoint)

    def _readable(self) -> None:
        now = time.monotonic()
        data: list[wire.Data] = []
        while messages := self._transport.receive(_RECEIVE_LIMIT):
            for message in map(wire.decode, messages):
                if isinstance(message, wire.Data):
                    data.append(message)
                else:
                    self._control(message)
        if data:
            self._carry_out(self._ingress.receive(data, now))
            if not self.all_met.is_set() and self._pending.all_met:
                self.all_met.set()
            self._acknowledged()
            self.wake()

    def _set_timer(self, now: float) -> None:
        due = self._ingress.due_s()
        if due is None:
            return
        if self._timer is not None:
            if self._timer_s <= due:
                return
            self._timer.cancel()
        self._timer_s = due
        self._timer = self._loop.call_later(max(0.001, due - now), self._guarded, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._ingress.tick(time.monotonic())
        self._flush()
