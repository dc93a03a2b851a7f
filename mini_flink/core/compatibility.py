"""What a job does to the state that another version of it has stored: compared by operator uid, as in Flink.

Owns: what is kept, new, moved, migrated, dropped or refused, the words for it, and the index of each state
in its operator. Never: reading what is stored, running a migration or other code of the user's; both sides
come as data. Called by whoever restores or upgrades a job, and by the command ``check``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from mini_flink.core.reshard import StateMap, TargetState
from mini_flink.errors import FolderError, IncompatibleError
from mini_flink.graph import COLLECTION, REQUESTS
from mini_flink.state.layout import MAX_STATES

Outcome = Literal["kept", "new", "moved", "migrated", "dropped", "refused"]
Change = Literal["kept", "new", "changed", "removed"]

ALLOW_DROPPED: Final = "--allow-dropped-state"
_PLAIN_TYPES = {"int", "float", "str", "bytes", "bool", "list", "dict", "tuple", "set", "frozenset"}
_CONVERTS = {"int", "float", "str", "bool"}


# --- both sides -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredState:
    """A state as it was declared when it was stored.

    ``index`` None: as it comes among those of its operator. ``parallelism`` None: not known.
    ``has_content`` False: there is no key that has it.
    """

    uid: str
    name: str
    kind: str
    type_text: str
    index: int | None = None
    parallelism: int | None = None
    has_content: bool = True

    def describe(self) -> str:
        return _described(self.kind, self.type_text)


@dataclass(frozen=True, slots=True)
class StoredJob:
    """What is stored: the job, its graph's fingerprint, and its states (of all workers, in any order)."""

    job: str
    max_parallelism: int
    states: tuple[StoredState, ...]
    fingerprint: Sequence[Sequence[Any]] = ()


@dataclass(frozen=True, slots=True)
class DeclaredState:
    """A state as the job declares it; ``migrations`` change stored values, by the older type's text."""

    uid: str
    operator: int
    name: str
    kind: str
    type_text: str
    parallelism: int
    migrations: Mapping[str, Callable[[bytes], bytes]] = field(default_factory=dict)

    def describe(self) -> str:
        return _described(self.kind, self.type_text)


@dataclass(frozen=True, slots=True)
class DeclaredJob:
    """What the job is now; ``states`` in the order in which each operator declares them."""

    job: str
    max_parallelism: int
    states: tuple[DeclaredState, ...]
    fingerprint: Sequence[Sequence[Any]] = ()


def stored_states(
    states: Iterable[Sequence[Any]],
    *,
    operators: Mapping[str, int],
    fingerprint: Iterable[Sequence[Any]],
    parallelisms: Mapping[str, int],
    workers: int,
    max_parallelism: int,
) -> tuple[StoredState, ...]:
    """The states that a snapshot's manifest lists as ``[operator number, name, kind, type text]``.

    An operator that keeps state heads its stage: its parallelism is what a rescale set, else what was
    declared, else the default of that time.
    """
    uids = {number: uid for uid, number in operators.items()}
    declared = {node[0]: node[3] for node in fingerprint}
    default = min(workers, max_parallelism)

    def stored(number: int, name: str, kind: str, type_text: str) -> StoredState:
        uid = uids.get(number, f"number {number}")
        parallelism = parallelisms.get(uid) or declared.get(uid) or default
        return StoredState(uid, name, kind, type_text, parallelism=parallelism)

    return tuple(stored(*row) for row in states)


# --- what comes of it -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StateFinding:
    """What happens to one state. ``remedy`` says what to do where it is dropped or refused."""

    uid: str
    name: str
    outcome: Outcome
    detail: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class OperatorFinding:
    """What became of one operator or source; for information only."""

    uid: str
    kind: str
    change: Change
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the job cannot take over what is stored, and what to do."""

    text: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """A job beside what is stored: ``states`` and ``operators`` in the job's order, then what is gone.

    ``unfit`` is what is wrong with the job as a whole.
    """

    states: tuple[StateFinding, ...]
    operators: tuple[OperatorFinding, ...]
    unfit: tuple[Problem, ...]
    targets: Mapping[tuple[str, str], TargetState | None]

    def problems(self, *, allow_dropped: bool) -> list[Problem]:
        """Everything that keeps the job from being started on this state."""
        refused = [finding for finding in self.states if finding.outcome == "refused"]
        dropped = [finding for finding in self.states if finding.outcome == "dropped" and finding.remedy]
        wrong = refused if allow_dropped else refused + dropped
        return [*self.unfit, *(Problem(_sentence(finding), finding.remedy) for finding in wrong)]

    def refusal(self, *, allow_dropped: bool) -> FolderError | None:
        """The error that names all of them, each with its remedy; None if there are none."""
        problems = self.problems(allow_dropped=allow_dropped)
        if not problems:
            return None
        if len(problems) == 1:
            return IncompatibleError(problems[0].text, help=problems[0].remedy)
        return IncompatibleError(
            f"the job does not fit what is stored, for {len(problems)} reasons",
            help="each line ends with what to do; what is stored was not touched",
            details=tuple(f"{problem.text}: {problem.remedy}" for problem in problems),
        )

    def state_map(self) -> StateMap:
        """Where each stored state goes (None: it is dropped), and the states that begin empty.

        To be used only once ``refusal`` has nothing to say.
        """
        return dict(self.targets)


def compare(stored: StoredJob, declared: DeclaredJob) -> Comparison:
    """What happens to every state if ``declared`` goes on with what ``stored`` has left."""
    if stored.job != declared.job:
        return _foreign(stored, declared)
    before, conflicts = _merged(stored.states)
    now = {(state.uid, state.name): state for state in declared.states}
    findings = [_of_declared(state, before.get(place), conflicts) for place, state in now.items()]
    gone = [state for place, state in before.items() if place not in now]
    findings += [_of_gone(state, now.values(), before) for state in gone]
    indexes = _indexes(before, now)
    targets: dict[tuple[str, str], TargetState | None] = {
        place: _target(state, before.get(place), indexes[place]) for place, state in now.items()
    }
    targets |= {(state.uid, state.name): None for state in gone}
    return Comparison(
        states=tuple(findings),
        operators=tuple(_operators(stored.fingerprint, declared.fingerprint)),
        unfit=(*_unfit(stored, declared), *_too_many(indexes)),
        targets=targets,
    )


def _foreign(stored: StoredJob, declared: DeclaredJob) -> Comparison:
    problem = Problem(
        f"what is stored belongs to job {stored.job!r}, not to {declared.job!r}",
        f"name another one, or the job as it was: env.execute({stored.job!r})",
    )
    return Comparison(states=(), operators=(), unfit=(problem,), targets={})


def _unfit(stored: StoredJob, declared: DeclaredJob) -> Iterator[Problem]:
    if stored.max_parallelism != declared.max_parallelism:
        yield Problem(
            f"the state was stored with max_parallelism {stored.max_parallelism}; the job now says "
            f"{declared.max_parallelism}",
            f"set_max_parallelism({stored.max_parallelism}): it decides where each key's state is kept",
        )


# --- states -----------------------------------------------------------------------------------------------


_Place = tuple[str, str]


def _merged(states: Iterable[StoredState]) -> tuple[dict[_Place, StoredState], dict[_Place, StoredState]]:
    """One entry per state of what the workers have; and those of which two workers say different things.

    A worker at which nothing is stored yet only knows what was declared last: it does not count beside one
    that has content.
    """
    merged: dict[_Place, StoredState] = {}
    conflicts: dict[_Place, StoredState] = {}
    for state in _indexed(states):
        place = (state.uid, state.name)
        first = merged.setdefault(place, state)
        if state.has_content and not first.has_content:
            merged[place] = replace(state, index=first.index)
        elif state.has_content and (state.kind, state.type_text) != (first.kind, first.type_text):
            conflicts[place] = state
    return merged, conflicts


def _indexed(states: Iterable[StoredState]) -> list[StoredState]:
    """By operator, index and name, so that nothing depends on the order in which they were read."""
    names: dict[str, dict[str, int]] = {}
    indexed: list[StoredState] = []
    for state in states:
        known = names.setdefault(state.uid, {})
        following = known.setdefault(state.name, len(known))
        indexed.append(state if state.index is not None else replace(state, index=following))
    return sorted(indexed, key=lambda one: (one.uid, one.index, one.name, not one.has_content, one.type_text))


def _of_declared(
    state: DeclaredState, before: StoredState | None, conflicts: Mapping[_Place, StoredState]
) -> StateFinding:
    if before is None:
        return StateFinding(state.uid, state.name, "new", "begins empty")
    other = conflicts.get((state.uid, state.name))
    if other is not None:
        return _refused(
            state,
            f"is stored as {before.describe()} at one worker and as {other.describe()} at another",
            "go back to the version that wrote it",
        )
    if not before.has_content:
        return _of_empty(state, before)
    remedy = _what_it_lacks(state, before)
    if remedy:
        differs = f"is stored as {before.describe()}, and the job declares {state.describe()}"
        return _refused(state, differs, remedy)
    return _of_taken(state, before)


def _what_it_lacks(state: DeclaredState, before: StoredState) -> str:
    """What to do so that the state can be taken over; "" if it can."""
    if before.kind != state.kind:
        return (
            f"a {before.kind} cannot become a {state.kind}: give the new one another name, and let the old "
            f"one go with {ALLOW_DROPPED}"
        )
    if before.type_text != state.type_text and before.type_text not in state.migrations:
        return f"say how it changes: {_migration_line(state, before.type_text)}"
    return ""


def _of_taken(state: DeclaredState, before: StoredState) -> StateFinding:
    moves = _moves(state, before)
    if before.type_text != state.type_text:
        types = f"{before.type_text or 'undeclared'} → {state.type_text or 'undeclared'}"
        return StateFinding(state.uid, state.name, "migrated", ", ".join(filter(None, [types, moves])))
    return StateFinding(state.uid, state.name, "moved" if moves else "kept", moves)


def _of_empty(state: DeclaredState, before: StoredState) -> StateFinding:
    same = (before.kind, before.type_text) == (state.kind, state.type_text)
    detail = "nothing is stored in it" + ("" if same else f", which was {before.describe()}")
    return StateFinding(state.uid, state.name, "kept", detail)


def _moves(state: DeclaredState, before: StoredState) -> str:
    if before.parallelism in (None, state.parallelism):
        return ""
    return f"parallelism {before.parallelism} → {state.parallelism}"


def _refused(state: DeclaredState, detail: str, remedy: str) -> StateFinding:
    return StateFinding(state.uid, state.name, "refused", detail, remedy)


def _of_gone(
    state: StoredState, declared: Iterable[DeclaredState], before: Mapping[_Place, StoredState]
) -> StateFinding:
    if not state.has_content:
        return StateFinding(state.uid, state.name, "dropped", "nothing is stored in it")
    remedy = f"{ALLOW_DROPPED} lets it go"
    alike = [
        one
        for one in declared
        if (one.uid, one.name) not in before
        and (one.kind, one.type_text) == (state.kind, state.type_text)
        and (one.uid == state.uid) != (one.name == state.name)
    ]
    if len(alike) == 1:
        [now] = alike
        back = f".uid({state.uid!r})" if now.uid != state.uid else f"the name {state.name!r}"
        remedy = f"if it is state {now.name!r} of operator {now.uid!r} now, give that {back}; else {remedy}"
    return StateFinding(state.uid, state.name, "dropped", "is stored and not declared any more", remedy)


def _sentence(finding: StateFinding) -> str:
    return f"state {finding.name!r} of operator {finding.uid!r} {finding.detail}"


# --- indexes ----------------------------------------------------------------------------------------------


def _indexes(before: Mapping[_Place, StoredState], now: Mapping[_Place, DeclaredState]) -> dict[_Place, int]:
    """Each declared state's index: the one that it is stored under, else the lowest that is free.

    Two workers may have given one index to different states: the first by name keeps it.
    """
    indexes: dict[_Place, int] = {}
    taken: dict[str, set[int]] = {}
    kept = sorted((state.index or 0, place) for place, state in before.items() if place in now)
    for index, place in kept:
        if index not in taken.setdefault(place[0], set()):
            taken[place[0]].add(index)
            indexes[place] = index
    for place in now:
        if place not in indexes:
            used = taken.setdefault(place[0], set())
            indexes[place] = next(number for number in range(len(used) + 1) if number not in used)
            used.add(indexes[place])
    return indexes


def _too_many(indexes: Mapping[_Place, int]) -> Iterator[Problem]:
    for uid in dict.fromkeys(uid for (uid, _), index in indexes.items() if index >= MAX_STATES):
        yield Problem(
            f"operator {uid!r} declares more than {MAX_STATES} states", "keep some as entries of a map"
        )


def _target(state: DeclaredState, before: StoredState | None, index: int) -> TargetState:
    changes = before is not None and before.has_content and before.type_text != state.type_text
    return TargetState(
        uid=state.uid,
        name=state.name,
        kind=state.kind,
        type_text=state.type_text,
        operator=state.operator,
        index=index,
        parallelism=state.parallelism,
        migrate=state.migrations.get(before.type_text) if before is not None and changes else None,
    )


# --- operators --------------------------------------------------------------------------------------------


def _operators(before: Sequence[Sequence[Any]], now: Sequence[Sequence[Any]]) -> Iterator[OperatorFinding]:
    """Nodes of two fingerprints, matched by uid."""
    old = {node[0]: node for node in before}
    for node in now:
        uid, kind = node[0], node[1]
        if uid not in old:
            yield OperatorFinding(uid, kind, "new")
        else:
            detail = ", ".join(_differences(old[uid], node))
            yield OperatorFinding(uid, kind, "changed" if detail else "kept", detail)
    left = {node[0] for node in now}
    yield from (OperatorFinding(uid, node[1], "removed") for uid, node in old.items() if uid not in left)


def _differences(old: Sequence[Any], new: Sequence[Any]) -> Iterator[str]:
    _, old_kind, old_name, old_parallelism, old_inputs, old_options = old
    _, kind, name, parallelism, inputs, options = new
    if old_kind != kind:
        yield f"{old_kind} → {kind}"
    if old_name != name:
        yield f"name {old_name} → {name}"
    if old_parallelism != parallelism:
        yield f"parallelism {old_parallelism or 'default'} → {parallelism or 'default'}"
    if old_inputs != inputs:
        yield f"reads {_read(inputs)} instead of {_read(old_inputs)}"
    if old_kind == kind and old_options != options:
        yield _changed_options(kind, old_options, options)


def _changed_options(kind: str, old: Sequence[Any], new: Sequence[Any]) -> str:
    if kind == COLLECTION:
        return f"elements changed, {old[0]} → {new[0]}: only appending is taken once any is done"
    if kind == REQUESTS and old[:2] != new[:2]:
        return f"route {_route(old)} → {_route(new)}"
    return "options changed"


def _route(options: Sequence[Any]) -> str:
    return f"{'|'.join(options[1])} {options[0]}"


def _read(inputs: Iterable[Sequence[Any]]) -> str:
    return " and ".join(f"{uid} by key" if keyed else str(uid) for uid, keyed in inputs) or "nothing"


# --- words ------------------------------------------------------------------------------------------------


def _described(kind: str, type_text: str) -> str:
    return f"{kind} state" + (f" of {type_text}" if type_text else " of an undeclared type")


def _migration_line(state: DeclaredState, old: str) -> str:
    """What to write: ``ValueStateDescriptor('total', float).migrate_from(int, float)``."""
    new = _code(state.type_text, "…") if state.kind in ("value", "list") else "…"
    function = state.type_text if state.type_text in _CONVERTS else "lambda value: …"
    descriptor = f"{state.kind.capitalize()}StateDescriptor({state.name!r}, {new})"
    return f"{descriptor}.migrate_from({_code(old, repr(old))}, {function})"


def _code(type_text: str, otherwise: str) -> str:
    """The hint that gives this text, if it is a plain one."""
    if not type_text:
        return "None"
    if re.fullmatch("[A-Z][A-Z_]*", type_text):
        return f"Types.{type_text}()"
    return type_text if type_text in _PLAIN_TYPES else otherwise
