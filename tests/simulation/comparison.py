"""What must be true when a simulated world has come to rest, against what its clients were told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mini_flink import wire
from mini_flink.core.pending import Ended, Failed, Replied
from tests.simulation.job import FED, FED_PARTS, JOIN, KEYS, PART, PART_KEYS, TOTAL

if TYPE_CHECKING:
    from tests.simulation.processes import Request
    from tests.simulation.world import World

Lists = dict[bytes, list[list[int]]]
"""By key the tokens that came for it, each with the number of its part."""


def compare(world: World) -> None:
    """Adds to ``world.problems``."""
    fans = [request.token for request in world.requests if request.kind == "fan"]
    fed = [FED + index for index in range(len(FED_PARTS))] if world.is_fed else []
    totals = _state(world, TOTAL, range(KEYS))
    parts = _state(world, PART, range(PART_KEYS))
    joins = _state(world, JOIN, [*fans, *fed])
    _compare_requests(world, totals, parts, joins)
    for index, token in enumerate(fed):
        found = sum(1 for items in parts.values() for other, _ in items if other == token)
        joined = len(joins.get(b"k%d" % token, []))
        world.check(found == joined == FED_PARTS[index], f"element {index}: {found} parts, {joined} joined")
    _compare_order(world, totals, parts)


def _state(world: World, uid: str, keys: Iterable[int]) -> Lists:
    state: Lists = {}
    for key in keys:
        packed_key = b"k%d" % key
        home = world.folder.job.home(uid, packed_key)
        for worker in world.workers:
            if worker.is_down:
                continue
            overlay = worker.engine.overlay
            packed = overlay.get(home.seen)
            if packed is None:
                continue
            if worker.index != home.worker:
                world.problems.append(
                    f"{packed_key!r} of {uid} is in worker {worker.index}, not {home.worker}"
                )
            state[packed_key] = seen = wire.unpack(packed)[1]
            odd = overlay.get(home.odd)
            if world.changes and (odd is not None) != len(seen) % 2:
                world.problems.append(f"{packed_key!r} of {uid} was removed or kept against its will")
    return state


def _compare_requests(world: World, totals: Lists, parts: Lists, joins: Lists) -> None:
    seen_parts = [tuple(item) for items in parts.values() for item in items]
    if len(seen_parts) != len(set(seen_parts)):
        world.problems.append("a part was applied twice")
    known = {request.token for request in world.requests}
    strangers = {token for items in totals.values() for token, _ in items} - known
    strangers |= {token for token, _ in seen_parts if token < FED} - known
    if strangers:
        world.problems.append(f"nobody has asked for {strangers}")
    letters = _letters(world)
    live = {(gateway.slot, gateway.incarnation) for gateway in world.gateways}
    for request in world.requests:
        tokens = [token for token, _ in totals.get(request.packed_key, [])]
        count = tokens.count(request.token)
        if request.kind == "fail":
            problem = _problem_of_failed(world, request, count, letters.get(request.token, []))
        else:
            problem = _problem_of(request, count, tokens)
        if request.outcome is None and request.gateway in live and not request.undone:
            problem = "never answered"
        if problem:
            world.problems.append(f"{request}: {problem}")
        if request.kind == "fan":
            found = sum(1 for token, _ in seen_parts if token == request.token)
            joined = len(joins.get(b"k%d" % request.token, []))
            if (found, joined) != (count * request.parts,) * 2:
                world.problems.append(f"{request}: applied {count} times, {found} parts, {joined} joined")


def _letters(world: World) -> dict[int, list[int]]:
    """By token the workers in which a dead letter of it is."""
    letters: dict[int, list[int]] = {}
    for worker in world.workers:
        for _, packed in worker.engine.dead_letters():
            token = wire.unpack(wire.unpack(packed)["value"])[0]
            letters.setdefault(token, []).append(worker.index)
    return letters


def _problem_of(request: Request, count: int, tokens: list[int]) -> str:
    outcome = request.outcome
    if count > 1:
        return f"applied {count} times"
    if outcome is None:
        return ""
    expected = Ended if request.kind == "silent" else Replied
    if not isinstance(outcome, expected):
        return f"expected {expected.__name__}"
    if not count and not request.undone:
        return "answered, and not applied"
    if isinstance(outcome, Replied):
        token, number = wire.unpack(outcome.body)
        if token != request.token:
            return f"it got the answer of {token}"
        if request.kind == "plain" and not request.undone and tokens.index(token) != number:
            return "its place has changed"
    return ""


def _problem_of_failed(world: World, request: Request, count: int, letters: list[int]) -> str:
    """What failed is a dead letter, until it is dropped, or retried with success: then it is applied."""
    token, outcome = request.token, request.outcome
    if count and token not in world.mended:
        return "failed, and left state behind"
    if count + len(letters) > 1:
        return f"applied {count} times, with dead letters in workers {letters}"
    home = world.folder.job.home(TOTAL, request.packed_key).worker
    if letters not in ([], [home]):
        return f"its dead letter is in workers {letters}, its key in {home}"
    if outcome is None or request.undone:
        return ""
    if not isinstance(outcome, Failed):
        return "not failed"
    return "" if count or letters or token in world.dropped else "neither applied nor a dead letter"


def _compare_order(world: World, totals: Lists, parts: Lists) -> None:
    """Per key and sender in the first stage, per key and sending key in the second."""
    sent = {request.token: request for request in world.requests}
    for key, items in totals.items():
        last: dict[tuple[int, int], int] = {}
        for token, _ in items:
            if token in world.mended:  # it came when it was retried
                continue
            gateway = sent[token].gateway if token in sent else (-1, -1)
            if last.get(gateway, 0) > token:
                world.problems.append(f"{key!r}: {token} was overtaken")
            last[gateway] = token
    places = {token: (key, place) for key, items in totals.items() for place, (token, _) in enumerate(items)}
    for key, items in parts.items():
        furthest: dict[bytes, int] = {}
        for token, _ in items:
            sender, place = places.get(token, (b"fed", token))
            if furthest.get(sender, -1) > place:
                world.problems.append(f"{key!r}: {token} was overtaken on its way from {sender!r}")
            furthest[sender] = place
