"""The kinds of worlds that seeds stand for: how rough they are, and what changes in them."""

from __future__ import annotations

from dataclasses import replace

from tests.simulation.world import Chaos, World

PLAIN = (
    Chaos(),
    Chaos(loss=0.2, duplicate=0.2),
    Chaos(crash=0.2, crash_gateway=0.03),
    Chaos(crash=0.1, crash_all=0.03, power=1.0, flush=0.9),
    Chaos(crash=0.1, crash_all=0.03, power=0.0, flush=0.1),
    Chaos(disk_full=0.3),
)
RESTORE, LATE, RESCALE, UPGRADE, ALL = "restore", "late", "rescale", "upgrade", "all"
CHANGES = {
    RESTORE: Chaos(loss=0.1, crash=0.01, crash_all=0.002, announce=0.4, snapshot=0.05, restore=0.01),
    LATE: Chaos(crash=0.02, crash_gateway=0.003, crash_all=0.001, late=0.8, snapshot=0.02, restore=0.004),
    RESCALE: Chaos(loss=0.25, crash=0.003, crash_gateway=0.001, crash_all=0.002, announce=0.4, rescale=0.05),
    UPGRADE: Chaos(loss=0.1, crash=0.003, crash_gateway=0.001, crash_all=0.002, upgrade=0.05),
    ALL: Chaos(crash=0.005, crash_all=0.003, snapshot=0.05, restore=0.003, rescale=0.02, upgrade=0.015),
}
CHANGE_STEPS = 500
SHARE = 5
"""One world in so many has snapshots and changes its generation: it takes several times as long."""


def world_of(seed: int) -> World:
    """The world that a seed stands for."""
    number, rest = divmod(seed, SHARE)
    if rest == SHARE - 1:
        return changing_world(number, list(CHANGES)[number % len(CHANGES)])
    return plain_world(seed)


def plain_world(seed: int) -> World:
    """One generation, two workers, no snapshots."""
    durable = seed % 7 != 6
    chaos = PLAIN[seed % len(PLAIN)]
    return World(seed, chaos=chaos if durable else replace(chaos, power=0.0), durable=durable)


def changing_world(seed: int, kind: str) -> World:
    """Snapshots, and one generation after the other."""
    durable = seed % 6 != 5
    chaos = CHANGES[kind]
    return World(seed, CHANGE_STEPS, durable, chaos if durable else replace(chaos, power=0.0))
