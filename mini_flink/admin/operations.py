"""What operators have the server do: asked of the supervisor in a thread, followed to its end, and logged."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mini_flink import console
from mini_flink.admin.guard import Refusal
from mini_flink.asking import RefusedError, UnavailableError, ask
from mini_flink.config import BY_NAME
from mini_flink.snapshots import location

KEPT = 100
AT_ONCE = 8
ACCEPTED, RUNNING, DONE, FAILED = "accepted", "running", "done", "failed"

QUESTIONS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "savepoint": ("savepoint", {}),
    "rescale": ("rescale", {}),
    "cancel": ("cancel", {}),
    "drain": ("drain", {}),
    "resume": ("resume", {}),
    "dlq_retry": ("dead_letters", {"do": "retry"}),
    "dlq_drop": ("dead_letters", {"do": "drop"}),
}
"""What the supervisor is asked for each kind of operation."""

_ARGUMENTS: Mapping[str, Mapping[str, type | tuple[type, ...]]] = {
    "savepoint": {"location": (str, type(None))},
    "rescale": {"workers": (int, type(None)), "parallelisms": dict},
    "cancel": {},
    "drain": {"job": str},
    "resume": {},
    "dlq_retry": {"ids": list, "all": bool, "operator": str},
    "dlq_drop": {"ids": list, "all": bool, "operator": str},
}

_JSON_TYPES: Mapping[type, str] = {
    str: "string",
    int: "integer",
    bool: "boolean",
    list: "array",
    dict: "object",
    type(None): "null",
}


@dataclass(slots=True)
class Operation:
    """One change, from its acceptance to its end."""

    id: str
    kind: str
    args: dict[str, Any]
    who: str
    ts: int
    state: str = ACCEPTED
    text: str = ""
    result: dict[str, Any] | None = None
    key: str = field(default="", repr=False)

    def public(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "kind": self.kind,
            "args": shown(self.args),
            "who": self.who,
            "ts": self.ts,
            "state": self.state,
            "text": self.text,
            "result": self.result,
        }


class Operations:
    """The last of them; ``tell`` hears whenever one gets on."""

    def __init__(self, data_dir: str, tell: Callable[[str, dict[str, Any]], None]) -> None:
        self._data_dir = data_dir
        self._tell = tell
        self._all: dict[str, Operation] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def all(self) -> list[dict[str, Any]]:
        """Newest first."""
        return [operation.public() for operation in reversed(self._all.values())]

    def get(self, id: str) -> Operation:
        """Refusal if there is none, or none any more."""
        if id not in self._all:
            raise Refusal(404, "no-such-operation", f"there is no operation {id!r}")
        return self._all[id]

    def begin(self, kind: str, args: dict[str, Any], who: str, key: str = "") -> Operation:
        """Start it, unless a request with the same ``key`` has done so."""
        for known in self._all.values():
            if key and known.key == key:
                if (known.kind, known.args) != (kind, args):
                    text = f"this Idempotency-Key began another operation, {known.kind} {known.id}"
                    raise Refusal(409, "key-in-use", text)
                return known
        if len(self._tasks) >= AT_ONCE:
            raise Refusal(429, "too-many-operations", f"{AT_ONCE} operations are under way")
        operation = Operation(secrets.token_hex(8), kind, args, who, time.time_ns() // 1_000_000, key=key)
        self._all[operation.id] = operation
        while len(self._all) > KEPT:
            del self._all[next(iter(self._all))]
        said = ", ".join(f"{name} {value}" for name, value in shown(args).items() if value is not None)
        console.event(
            "info",
            f"{kind} asked for by {who}" + (f": {said}" if said else ""),
            name="operation.begun",
            kind=kind,
            who=who,
        )
        task = asyncio.create_task(self._follow(operation))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._tell("op", operation.public())
        return operation

    async def _follow(self, operation: Operation) -> None:
        loop = asyncio.get_running_loop()

        def heard(told: Mapping[str, Any]) -> None:
            loop.call_soon_threadsafe(self._move, operation, RUNNING, _words(told), None)

        what, more = QUESTIONS[operation.kind]
        self._move(operation, RUNNING, "", None)
        try:
            question = {**operation.args, **more, "who": operation.who}
            result = await asyncio.to_thread(ask, self._data_dir, what, question, heard)
        except (RefusedError, UnavailableError) as error:
            self._move(operation, FAILED, "; ".join([error.message, *error.details]), None)
        else:
            self._move(operation, DONE, _words(result), result)
        console.event(
            "info",
            f"{operation.kind} of {operation.who}: {operation.state} {operation.text}".rstrip(),
            name="operation.ended",
            kind=operation.kind,
            who=operation.who,
            state=operation.state,
        )

    def _move(self, operation: Operation, state: str, text: str, result: dict[str, Any] | None) -> None:
        if operation.state in (DONE, FAILED):
            return
        operation.state, operation.text, operation.result = state, text or operation.text, result
        self._tell("op", operation.public())


def shown(args: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as people, logs and reports may see them: a location may hold a password."""
    place = args.get("location")
    return {**args, "location": location.shown(place)} if isinstance(place, str) else dict(args)


def checked(kind: Any, args: Any, plan: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Refusal if it is no operation, or none with such arguments; ``plan`` is that of what is served."""
    if not isinstance(kind, str) or kind not in QUESTIONS:
        raise Refusal(400, "no-such-operation", f"{kind!r} is none of {', '.join(QUESTIONS)}")
    if not isinstance(args, dict):
        raise Refusal(400, "bad-arguments", "args is an object")
    for name, value in args.items():
        wanted = _ARGUMENTS[kind].get(name)
        if (
            wanted is None
            or not isinstance(value, wanted)
            or (isinstance(value, bool) and wanted is not bool)
        ):
            raise Refusal(400, "bad-arguments", f"{name!r} is no argument of {kind}, or not of its type")
    if kind.startswith("dlq_") and not (args.get("ids") or args.get("operator") or args.get("all")):
        raise Refusal(400, "bad-arguments", "say which: ids, an operator, or all")
    if not all(isinstance(id, str) for id in args.get("ids", ())):
        raise Refusal(400, "bad-arguments", "ids are those of dead letters, as texts")
    job = plan["job"]
    if kind == "drain" and args.get("job") != job:  # typed by whoever means it: clients will hear 503
        raise Refusal(400, "bad-arguments", f"to drain it, give the job's name: job {job!r}")
    if kind == "rescale":
        _check_rescale(args.get("workers"), args.get("parallelisms") or {}, plan)
    return kind, args


def request_schema() -> dict[str, Any]:
    """The JSON schema of what asks for an operation."""
    each = [
        {
            "properties": {
                "kind": {"const": kind},
                "args": {
                    "properties": {name: {"type": _json_types(type)} for name, type in arguments.items()},
                    "additionalProperties": False,
                },
            }
        }
        for kind, arguments in _ARGUMENTS.items()
    ]
    expected = {"plan_hash": {"type": "string"}, "count": {"type": ["integer", "null"]}}
    about = "refused with 409 if it is otherwise by now: count is that of dead letters"
    return {
        "type": "object",
        "properties": {
            "kind": {"enum": [*QUESTIONS]},
            "args": {"type": "object"},
            "expect": {"type": "object", "properties": expected, "description": about},
            "dry_run": {"type": "boolean"},
        },
        "required": ["kind"],
        "oneOf": each,
    }


def _json_types(wanted: type | tuple[type, ...]) -> list[str]:
    return [_JSON_TYPES[each] for each in (wanted if isinstance(wanted, tuple) else (wanted,))]


def _check_rescale(workers: int | None, parallelisms: Mapping[str, Any], plan: Mapping[str, Any]) -> None:
    most = BY_NAME["workers"].maximum or 0
    if workers is None and not parallelisms:
        raise Refusal(400, "bad-arguments", "say how many workers, or the parallelism of an operator")
    if workers is not None and not 1 <= workers <= most:
        raise Refusal(400, "bad-arguments", f"workers is a whole number from 1 to {most}")
    uids = [node["id"] for node in plan["nodes"] if not node["in_gateway"]]
    for uid, number in parallelisms.items():
        if uid not in uids:
            raise Refusal(400, "bad-arguments", f"workers run no operator {uid!r}: {', '.join(uids)}")
        if type(number) is not int or not 1 <= number <= plan["max_parallelism"]:
            text = f"the parallelism of {uid} is a whole number from 1 to {plan['max_parallelism']}"
            raise Refusal(400, "bad-arguments", text)


def effect(kind: str, args: Mapping[str, Any], tick: Mapping[str, Any], plan: Mapping[str, Any]) -> str:
    """What an operation would do, in words."""
    workers, inflight, dead = plan["workers"], tick["http"]["inflight"], tick["dlq"]["present"]
    if kind == "savepoint":
        size = tick["snap"]["bytes"]
        about = "" if size is None else f", about {size} bytes as the last snapshot"
        return (
            f"writes all state of {workers} workers{about}, while requests are served; nothing is lost by it"
        )
    if kind == "rescale":
        names = {node["id"]: node["name"] for node in plan["nodes"]}
        wanted = args.get("workers") or workers
        changes = [f"from {workers} to {wanted} workers"]
        changes += [f"{names.get(uid, uid)} in {number} subtasks"
                    for uid, number in (args.get("parallelisms") or {}).items()]  # fmt: skip
        return (
            f"{', '.join(changes)}: state is copied while requests are served, then new ones "
            f"wait for a moment ({inflight} in flight now); it can be changed back the same way"
        )
    if kind == "cancel":
        return (
            "calls off the rescale, upgrade or reload that is under way: everything goes back to how it was"
        )
    if kind == "drain":
        return (
            f"closes the door: new requests get 503, the {inflight} in flight are answered, workers come to "
            "rest; nothing is lost, and resume opens the door again"
        )
    if kind == "resume":
        return "opens the door: requests are let in again"
    count = len(args["ids"]) if args.get("ids") else dead
    which = "the" if count is None else f"up to {count}"
    if kind == "dlq_retry":
        return f"runs {which} dead letters again; those that fail once more are dead letters again"
    return f"removes {which} dead letters for good"


def _words(told: Mapping[str, Any]) -> str:
    for name in ("text", "phase", "reason", "id"):
        if told.get(name):
            return str(told[name])
    return ""
