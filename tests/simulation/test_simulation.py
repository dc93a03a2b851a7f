"""The promises, under every order of events that a few thousand seeds find. Rerun one by its number:

SEED=1234 pytest tests/simulation -k one_seed
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from mini_flink.errors import MiniFlinkError
from tests.simulation import mutants, mutants_of_change
from tests.simulation.world import Chaos, World

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "2000"))
SEEDS_PER_MUTANT = 600

CHAOS = (
    Chaos(),
    Chaos(loss=0.2, duplicate=0.2),
    Chaos(crash=0.2, crash_gateway=0.03),
    Chaos(crash=0.1, crash_all=0.03, power=1.0, flush=0.9),
    Chaos(crash=0.1, crash_all=0.03, power=0.0, flush=0.1),
    Chaos(disk_full=0.3),
)
CHANGES = (
    Chaos(crash=0.01, crash_gateway=0.003, crash_all=0.002, snapshot=0.05, restore=0.01),
    Chaos(loss=0.15, crash=0.003, crash_gateway=0.001, crash_all=0.002, rescale=0.05),
    Chaos(loss=0.1, crash=0.003, crash_gateway=0.001, crash_all=0.002, upgrade=0.05),
    Chaos(crash=0.005, crash_all=0.003, snapshot=0.03, restore=0.003, rescale=0.02, upgrade=0.02),
)
CHANGE_STEPS = 500


def run(seed: int) -> list[str]:
    """Every third world has snapshots and changes its generation."""
    return run_changing(seed // 3) if seed % 3 == 2 else run_plain(seed)


def run_plain(seed: int) -> list[str]:
    durable = seed % 5 != 4
    chaos = CHAOS[seed % len(CHAOS)]
    return World(seed, chaos=chaos if durable else replace(chaos, power=0.0), durable=durable).run()


def run_changing(seed: int) -> list[str]:
    return changing(seed).run()


def changing(seed: int) -> World:
    durable = seed % 5 != 4
    chaos = CHANGES[seed % len(CHANGES)]
    return World(seed, CHANGE_STEPS, durable, chaos if durable else replace(chaos, power=0.0))


@pytest.mark.parametrize("part", range(4))
def test_exactly_once_whatever_dies(part: int) -> None:
    for seed in range(part, SEEDS, 4):
        problems = run(seed)
        assert not problems, f"SEED={seed}: {problems[:5]}"


@pytest.mark.skipif("SEED" not in os.environ, reason="give SEED=number")
def test_one_seed() -> None:
    problems = run(int(os.environ["SEED"]))
    assert not problems, "\n".join(problems)


def notices(problems_of: Callable[[int], list[str]], seeds: Iterable[int]) -> bool:
    """Whether one of the worlds finds something wrong, or a module's own alarm goes off."""
    for seed in seeds:
        try:
            if problems_of(seed):
                return True
        except (LookupError, MiniFlinkError):
            return True
    return False


@pytest.mark.parametrize("name", sorted(mutants.mutant))
def test_planted_mistake_is_caught(name: str) -> None:
    with mutants.mutant[name]():
        assert notices(run_plain, range(SEEDS_PER_MUTANT)), f"{SEEDS_PER_MUTANT} worlds do not notice"


@pytest.mark.parametrize("name", sorted(mutants_of_change.mutant))
def test_planted_mistake_of_a_change_is_caught(name: str) -> None:
    with mutants_of_change.mutant[name]():
        assert notices(run_changing, range(SEEDS_PER_MUTANT)), f"{SEEDS_PER_MUTANT} worlds do not notice"
