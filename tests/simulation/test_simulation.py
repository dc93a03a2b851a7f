"""The promises, under every order of events that a few thousand seeds find. Rerun one by its number:

SEED=1234 pytest tests/simulation -k one_seed
"""

from __future__ import annotations

import os
from collections import Counter

import pytest

from mini_flink.errors import MiniFlinkError
from tests.simulation.mutants_of_change import MUTANTS
from tests.simulation.worlds import make_world, world_of

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
    "copied again",
    "trial answered",
    "rescale aborted in hold",
    "upgrade aborted in hold",
    "dead letters: retry",
    "dead letters: drop",
}
"""What happens in some of five hundred worlds, or they are not what they are meant to be."""


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
    for seed in range(SEEDS * part // PARTS, SEEDS * (part + 1) // PARTS):
        events += run(seed)
    if SEEDS >= 2000:
        assert events.keys() >= EVENTS


@pytest.mark.skipif("SEED" not in os.environ, reason="give SEED=number")
def test_one_seed() -> None:
    run(int(os.environ["SEED"]))


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_planted_mistake_is_caught(name: str) -> None:
    """Worlds find something wrong, or a module's own alarm goes off."""
    plant, kinds = MUTANTS[name], MUTANTS.worlds[name]
    with plant():
        for seed in range(WORLDS_PER_MUTANT):
            try:
                if make_world(seed, kinds[seed % len(kinds)]).run():
                    return
            except (LookupError, MiniFlinkError):
                return
    pytest.fail(f"{name}: no one of {WORLDS_PER_MUTANT} worlds notices")
