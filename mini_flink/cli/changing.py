"""What the commands that change a running server have in common: a line a step on stderr, the end on stdout.

Ctrl-C calls the change off, and everything goes back to how it was; so do SIGTERM and a terminal that closes.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from mini_flink.config import Settings
from mini_flink.supervisor.words import count

STEPS = {
    "prepare": "the job is loaded, and held against its state",
    "track": "",
    "copy": "state is copied while the server serves",
    "hold": "requests wait from here on",
    "finish": "the old workers end what they have begun",
    "build": "what has changed since is added",
    "trial": "the new version is tried on state that is thrown away",
    "probe": "",
    "trial end": "",
    "start": "the new workers start",
    "release": "requests go on",
    "abort": "back to how it was",
    "ended": "",
}


def change(data_dir: str, what: str, question: Mapping[str, Any]) -> dict[str, Any]:
    """Ask the server for a change, and wait for its end; what the server says of that."""
    from mini_flink.asking import RefusedError, ask  # once the command line is known to be right

    try:
        with _interrupted_by(signal.SIGTERM, signal.SIGHUP):
            return follow(data_dir, what, what, question)
    except KeyboardInterrupt:
        with contextlib.suppress(RefusedError):  # it was over just then
            ask(data_dir, "cancel", {})
        with contextlib.suppress(OSError):  # the terminal may be gone
            print(f"{what}: called off; what had begun was taken back", file=sys.stderr, flush=True)
        raise


@contextlib.contextmanager
def _interrupted_by(*signals: signal.Signals) -> Iterator[None]:
    """Each of them is as Ctrl-C; one that is ignored, as under nohup, stays so."""

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in signals}
    heard = [number for number in signals if before[number] is not signal.SIG_IGN]
    for number in heard:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])


def follow(data_dir: str, title: str, what: str, question: Mapping[str, Any]) -> dict[str, Any]:
    """Ask the server for ``what``, and show under ``title`` how far it is until it has ended."""
    from mini_flink.asking import ask
    from mini_flink.bar import Bar

    bar = Bar(title)

    def heard(told: Mapping[str, Any]) -> None:
        for line in _lines(told):
            bar.say(f"{title}: {line}")
        if "phase" in told:
            bar.begin(f"{title}: {told['phase']}")
        if "progress" in told:
            bar.show(**told["progress"])

    try:
        return ask(data_dir, what, question, heard, bar.turn)
    finally:
        bar.close()


def wanted_workers(settings: Settings) -> int | None:
    """The number of workers, if it was given to this very command: a file says what a *start* is to take."""
    return settings.workers if settings.origin("workers").startswith("--") else None


def waited(changed: Mapping[str, Any]) -> str:
    """How clients have fared: ``clients waited 0.31 s, none was refused for it``."""
    refused = changed["refused"]
    how_many = f"{count(refused, 'request')} got 503" if refused else "none was refused for it"
    return f"clients waited {changed['pause_ms'] / 1000:.2f} s, {how_many}"


def _lines(told: Mapping[str, Any]) -> list[str]:
    if "phase" in told:
        is_repeated = told["phase"] == "copy" and told["copies"]
        step = "" if is_repeated else STEPS.get(told["phase"], told["phase"])
        return [step] if step else []
    if "retry" in told:
        return [f"once more, because {told['retry']}"]
    if "probe" in told:
        return [f"the probe was answered with {told['probe']['status']}: {told['probe']['body']}"]
    return [
        f"state {one['state']!r} of operator {one['operator']!r}: {one['outcome']} {one['detail']}".rstrip()
        for one in told.get("findings", ())
        if one["outcome"] != "kept"
    ]
