"""The kinds of worlds that seeds stand for: how rough they are, and what changes in them."""

from __future__ import annotations

from dataclasses import replace

from tests.simulation.world import Chaos, World

USUAL, LOSSY, CRASHES, POWER, KILLS, FULL = "usual", "lossy", "crashes", "power", "kills", "full"
PLAIN = {
    USUAL: Chaos(),
    LOSSY: Chaos(loss=0.2, duplicate=0.2),
    CRASHES: Chaos(crash=0.2, crash_gateway=0.03),
    POWER: Chaos(crash=0.1, crash_all=0.03, power=1.0, flush=0.9),
    KILLS: Chaos(crash=0.1, crash_all=0.03, power=0.0, flush=0.1),
    FULL: Chaos(disk_full=0.3),
}
"""One generation, two workers, no snapshots."""
RESTORE, LATE, RESCALE, UPGRADE, ALL = "restore", "late", "rescale", "upgrade", "all"
CHANGES = {
    RESTORE: Chaos(loss=0.1, crash=0.01, crash_all=0.002, announce=0.4, snapshot=0.05, restore=0.01),
    LATE: Chaos(crash=0.02, crash_gateway=0.003, crash_all=0.001, late=0.8, snapshot=0.02, restore=0.004),
    RESCALE: Chaos(loss=0.25, crash=0.003, crash_gateway=0.001, crash_all=0.002, announce=0.4, rescale=0.05),
    UPGRADE: Chaos(loss=0.1, crash=0.003, crash_gateway=0.001, crash_all=0.002, upgrade=0.05),
    ALL: Chaos(crash=0.005, crash_all=0.003, snapshot=0.05, restore=0.003, rescale=0.02, upgrade=0.015),
}
"""Snapshots, and one generation after the other."""
PLAIN_STEPS, CHANGE_STEPS = 250, 500
SHARE = 6
"""One world in so many has changes: it takes several times as long."""
VOLATILE = 7
"""In one world in so many a power cut would take back what was committed, so there is none."""


def world_of(seed: int) -> World:
    """The world that a seed stands for."""
    kinds = list(CHANGES if seed % SHARE == SHARE - 1 else PLAIN)
    return make_world(seed, kinds[seed // SHARE % len(kinds)])


def make_world(seed: int, kind: str) -> World:
    """A world of a kind."""
    durable = seed % VOLATILE != VOLATILE - 1
    chaos = (PLAIN | CHANGES)[kind]
    steps = CHANGE_STEPS if kind in CHANGES else PLAIN_STEPS
    return World(seed, steps, durable, chaos if durable else replace(chaos, power=0.0))
