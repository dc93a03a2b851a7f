"""The promises, under every order of events that a few thousand seeds find. Rerun one by its number:

SEED=1234 pytest tests/simulation -k one_seed
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable

import pytest

from mini_flink.errors import MiniFlinkError
from tests.simulation import mutants, mutants_of_change
from tests.simulation.world import World
from tests.simulation.worlds import changing_world, plain_world, world_of

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "2000"))
PARTS = 4
WORLDS_PER_MUTANT = 600
EVENTS = {
    "whole snapshot",
    "incremental snapshot",
    "abandoned epoch",
    "restore",
    "rescale switched",
    "upgrade switched",
    "copied ahead",
    "trial answered",
    "rescale aborted in hold",
    "rescale aborted in finish",
    "upgrade aborted in hold",
    "upgrade aborted in trial",
}
"""What at least one in two thousand worlds has seen; else they are not what they are meant to be."""


def run(seed: int) -> Counter[str]:
    """What has happened in the world; an error that names its seed."""
    world = world_of(seed)
    try:
        problems = world.run()
    except Exception as error:
        error.add_note(f"SEED={seed}")
        raise
    assert not problems, f"SEED={seed}: " + "\n".join(problems[:5])
    return world.events


@pytest.mark.parametrize("part", range(PARTS))
def test_exactly_once_whatever_dies(part: int) -> None:
    events: Counter[str] = Counter()
    for seed in range(part, SEEDS, PARTS):
        events += run(seed)
    if SEEDS >= 2000:
        assert events.keys() >= EVENTS


@pytest.mark.skipif("SEED" not in os.environ, reason="give SEED=number")
def test_one_seed() -> None:
    run(int(os.environ["SEED"]))


def notice(worlds: Iterable[World]) -> bool:
    """Whether one of the worlds finds something wrong, or a module's own alarm goes off."""
    for world in worlds:
        try:
            if world.run():
                return True
        except (LookupError, MiniFlinkError):
            return True
    return False


@pytest.mark.parametrize("name", sorted(mutants.mutant))
def test_planted_mistake_is_caught(name: str) -> None:
    worlds = (plain_world(seed) for seed in range(WORLDS_PER_MUTANT))
    with mutants.mutant[name]():
        assert notice(worlds), f"{name}: no one of {WORLDS_PER_MUTANT} worlds notices"


@pytest.mark.parametrize("name", sorted(mutants_of_change.mutant))
def test_planted_mistake_of_a_change_is_caught(name: str) -> None:
    kinds = mutants_of_change.mutant.worlds[name]
    worlds = (changing_world(seed, kinds[seed % len(kinds)]) for seed in range(WORLDS_PER_MUTANT))
    with mutants_of_change.mutant[name]():
        assert notice(worlds), f"{name}: no one of {WORLDS_PER_MUTANT} worlds notices"
