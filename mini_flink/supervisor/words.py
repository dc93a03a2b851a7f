"""What the supervisor says to a person: pure functions from facts to lines. Nothing here writes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mini_flink.example_body import example_body
from mini_flink.graph import JobGraph, RequestOptions

_SHOWN_ROUTES = 4
_PARAMETER = re.compile(r"{(\w+)(?::(\w+))?}")
_EXAMPLES = {"int": "1", "float": "1.5", "uuid": "00000000-0000-4000-8000-000000000000"}
_LOCAL_ADDRESS = re.compile(r"(?:https?://)?(?:localhost|127\.0\.0\.1)(?::\d+)?(?=[/\s'\"]|$)")

SURVIVES = {
    "disk": "survives kill -9 and power cuts",
    "process": "survives kill -9, but no power cut",
}


@dataclass(frozen=True, slots=True)
class Started:
    """The facts of the banner; ``restored`` names the snapshot that this start goes on from, ``reloads`` the
    files whose change brings a new version.
    """

    version: str
    graph: JobGraph
    job_doc: str
    url: str
    workers: int
    gateways: int
    durability: str
    data_dir: str
    is_new: bool
    redone: int
    seconds: float
    restored: str = ""
    page: str = ""
    reloads: str = ""


def banner(facts: Started) -> str:
    """The lines printed when requests succeed."""
    graph = facts.graph
    place = f"{os.path.basename(graph.location.file)}:{graph.location.line}"
    sizes = (
        count(len(graph.nodes), "step"),
        count(facts.workers, "worker"),
        count(facts.gateways, "gateway"),
    )
    known = "new" if facts.is_new else "continued"
    if facts.restored:
        known = f"restored from {facts.restored}"
    if facts.redone:
        known += f", {count(facts.redone, 'commit')} redone"
    lines = [
        f"mini_flink {facts.version}   {graph.name}   {place}   {', '.join(sizes)}",
        f"  Ready   {facts.url}   {routes(graph)}   in {facts.seconds:.1f} s",
        *([f"  Try     {attempt}"] if (attempt := curl_line(graph, facts.job_doc, facts.url)) else []),
        f"  State   {short_path(facts.data_dir)}   {SURVIVES[facts.durability]}, {known}",
        *([f"  Page    {facts.page}"] if facts.page else []),
        *([f"  Reload  on save of {facts.reloads}"] if facts.reloads else []),
        "  Stop    Ctrl-C",
    ]
    return "\n".join(lines)


def routes(graph: JobGraph) -> str:
    """What is served: ``POST /total, GET /totals/{key}``."""
    served = [
        f"{'|'.join(node.options.methods)} {node.options.path}"
        for node in graph.nodes
        if isinstance(node.options, RequestOptions)
    ]
    more = f" and {len(served) - _SHOWN_ROUTES} more" if len(served) > _SHOWN_ROUTES else ""
    return ", ".join(served[:_SHOWN_ROUTES]) + more if served else "no requests"


def curl_line(graph: JobGraph, job_doc: str, url: str) -> str:
    """A command to try: the one in the job's docstring if there is one, else for the first route."""
    written = _curl_of(job_doc)
    if written:
        return _LOCAL_ADDRESS.sub(lambda _: url, written, count=1)
    for node in graph.nodes:
        if isinstance(node.options, RequestOptions):
            return _curl_for(node.options, url, example_body(graph, node))
    return ""


def _curl_of(doc: str) -> str:
    """The first command in a text that begins with curl, its continued and quoted lines joined."""
    lines = iter(line.strip().removeprefix("$ ") for line in doc.splitlines())
    for line in lines:
        if line.startswith("curl "):
            for following in lines:
                if line.endswith("\\"):
                    line = line.removesuffix("\\") + following
                elif line.count("'") % 2:
                    line = f"{line} {following}"
                else:
                    break
            return line
    return ""


def _curl_for(options: RequestOptions, url: str, body: str) -> str:
    path = _PARAMETER.sub(lambda match: _EXAMPLES.get(match[2], "x"), options.path)
    method = "POST" if "POST" in options.methods else options.methods[0]
    words = ["curl", f"'{url}{path}'" if "'" not in path else url + path]
    if method not in ("GET", "POST"):
        words.append(f"-X {method}")
    if method not in ("GET", "DELETE"):
        words.append("-d 'hello'" if options.body == "bytes" else f"-d '{body}'")
    return " ".join(words)


def died(title: str, pid: int, cause: str, waiting: int) -> str:
    """A process is gone."""
    return f"{title} (pid {pid}) died: {cause}{_waiting(waiting)}"


def came_back(title: str, pid: int, seconds: float, redone: int) -> str:
    """It serves again."""
    again = f"   {count(redone, 'commit')} redone" if redone else ""
    return f"{title} is back (pid {pid}) after {seconds:.2f} s{again}"


def hung(what: str, seconds: float, operator: str) -> str:
    """What a stuck process is at: ``busy with one record (user code) for 2 s in total``."""
    return f"{what} for {seconds:.0f} s" + (f" in {operator}" if operator else "")


def gave_up(title: str, attempts: int, cause: str) -> str:
    """A process that never came up."""
    return (
        f"error: {title} died {count(attempts, 'time')} in a row before it was ready: {cause}\n"
        "  = help: what it printed stands above; the job's top level and open() run at every start"
    )


def draining(pending: int, by: str) -> str:
    """An operator has closed the door."""
    return f"Draining{by}: new requests get 503, {requests_in_flight(pending)}"


def requests_in_flight(pending: int) -> str:
    """Who waits for an answer."""
    return f"{count(pending, 'request')} in flight"


def coming_to_rest(records: int) -> str:
    """Who was let in has an answer, and something may still be done for it."""
    return f"workers come to rest, {count(records, 'record')} waiting"


def drained(seconds: float, totals: Mapping[str, int]) -> str:
    """All is at rest behind the closed door."""
    counts = f"{totals['answered']} answered, {totals['timed_out']} timed out"
    return f"Drained in {seconds:.1f} s: {counts}. Workers are at rest; `resume` opens the door again"


DRAINED_AGAIN = "All is at rest again; the door stays closed"


def stopping(pending: int, grace_ms: int) -> str:
    """Shut-down begins."""
    limit = f"limit {grace_ms / 1000:g} s; Ctrl-C again stops now"
    return f"Stopping: no new requests, {pending} in flight ({limit})"


def stopped(seconds: float, totals: Mapping[str, int], data_dir: str) -> str:
    """Shut-down is done."""
    counts = f"{totals['answered']} answered, {totals['timed_out']} timed out, {totals['pending']} dropped"
    return f"Stopped in {seconds:.1f} s. {counts}. State is safe in {short_path(data_dir)}."


def cut_short(data_dir: str) -> str:
    """The second Ctrl-C."""
    return f"Stopped at once. What was answered is safe in {short_path(data_dir)}."


def still_starting(titles: Sequence[str]) -> str:
    """Why it is not ready yet."""
    return f"waiting for {', '.join(titles)}"


def status_line(state: str, url: str, *, waiting_for: Sequence[str], workers: int, gateways: int) -> str:
    """What ``systemctl status`` shows: ``serving http://…, 2 workers, 1 gateway``."""
    missing = still_starting(waiting_for) if waiting_for else ""
    if state in ("starting", "stopping"):
        return f"{state}: {missing}" if missing else state
    sizes = f"{count(workers, 'worker')}, {count(gateways, 'gateway')}"
    if state.startswith("drain"):
        drained = f"{state}: {url} answers 503, {sizes}"
        return f"{drained}: {missing}" if missing else drained
    served = f"serving {url}, {sizes}"
    if state != "serving":
        served += f", {state.removeprefix('serving ').strip('()')}"
    return f"{served}: {missing}" if missing else served


def _waiting(requests: int) -> str:
    return f"   {count(requests, 'request')} {'waits' if requests == 1 else 'wait'}" if requests else ""


def count(number: int, noun: str) -> str:
    """``1 worker``, ``2 workers``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def short_path(path: str) -> str:
    """Relative to here if it is below."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else f"./{relative}"
