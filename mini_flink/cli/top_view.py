"""What ``top`` shows: a tick and the plan as lines that fit a terminal. Pure.

The verdict and all numbers are the admin process's, so that page and terminal never disagree. A state is a
shape and a word, colour comes last; ``0``, ``–`` and ``?`` are what ``units`` says they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from mini_flink.units import NONE, amount, duration, exact, known, percent, plain, shorten, size

OK, IDLE, WARN, BAD, STALE = "ok", "idle", "warn", "bad", "stale"
SHAPES = {OK: "●", IDLE: "○", WARN: "▲", BAD: "■"}
"""``?`` stands for everything else."""
STYLES = {OK: "green", IDLE: "dim", WARN: "yellow", BAD: "bold red", STALE: "bold yellow"}
FEWEST_ROWS = 3
TABLE_HEADS = 3
"""The lines that two tables take beside their rows."""
NAME_WIDTH = 28
KEYS = "q quit   s sort   p pause   ? help"
HELP = """\
◆ is the bottleneck; what waits for it is not marked. ● all is well, ○ idle,
▲ look, ■ act. 0 was measured, – does not apply, ? is not known. Queue, oldest
record and p99 are a stage's, and stand at its first operator. s sorts by the
next column, p holds the picture, q ends."""


@dataclass(frozen=True, slots=True)
class View:
    """One moment to show. ``age_s`` is that of the tick, ``sort`` the place of a column in ``SORTS``."""

    tick: Mapping[str, Any]
    plan: Mapping[str, Any]
    url: str
    interval_s: float
    age_s: float
    is_stale: bool = False
    is_paused: bool = False
    sort: int = 0
    has_help: bool = False
    has_keys: bool = False


class State(NamedTuple):
    """A level and the word that says why."""

    level: str
    word: str

    def text(self) -> Text:
        return Text(f"{SHAPES.get(self.level, '?')} {self.word}", STYLES.get(self.level, ""))


class Cell(NamedTuple):
    text: str
    style: str = ""


Row = Mapping[str, Any]


class Column(NamedTuple):
    """``rank`` says which columns go first where there is little room; the highest go first."""

    title: str
    rank: int
    write: Callable[[Row], Cell]
    is_number: bool = True


def _state(row: Row) -> Cell:
    """The word of the tick, which does not flicker; ``_styled`` puts its shape before it."""
    return Cell(row["state"].upper(), row["level"])


# --- operators --------------------------------------------------------------------------------------------


def _rows(view: View) -> list[Row]:
    """The nodes of the tick with what the plan says of them, as they are sorted."""
    planned = {node["id"]: node for node in view.plan["nodes"]}
    verdict = view.tick["verdict"]
    rows: list[Row] = [
        {
            **planned[node["id"]],
            **node,
            "is_cause": _blames(verdict, node),
        }
        for node in view.tick["nodes"]
        if node["id"] in planned
    ]
    key = SORTS[view.sort].key
    return sorted(rows, key=key) if key else rows


def _blames(verdict: Row, node: Row) -> bool:
    return verdict["node"] == node["id"] and verdict["level"] in (BAD, WARN)


def _name(row: Row) -> Cell:
    return Cell(("◆ " if row["is_cause"] else "") + shorten(plain(row["name"]), NAME_WIDTH), "bold")


def _rate(name: str) -> Callable[[Row], Cell]:
    return lambda row: Cell(known(row[name], amount))


def _busy(row: Row) -> Cell:
    if row["in_gateway"] and row["busy"] is None:
        return Cell(NONE)
    return Cell(known(row["busy"], percent))


def _of_stage(name: str, write: Callable[[float], str]) -> Callable[[Row], Cell]:
    def cell(row: Row) -> Cell:
        if row["stage"] != row["id"] or (name == "p99_us" and row[name] is None and row["in"] == 0):
            return Cell(NONE)
        return Cell(known(row[name], write))

    return cell


def _state_size(row: Row) -> Cell:
    may_have_state = row["keyed"] and row["kind"] != "reply"
    return Cell(known(row["state_bytes"], size)) if may_have_state else Cell(NONE)


def _failures(row: Row) -> Cell:
    return Cell(amount(row["failed_total"]), "red" if row["failed_total"] else "")


OPERATORS = (
    Column("operator", 0, _name, is_number=False),
    Column("state", 1, _state, is_number=False),
    Column("×", 9, lambda row: Cell(str(row["parallelism"]))),
    Column("in/s", 2, _rate("in")),
    Column("out/s", 6, _rate("out")),
    Column("busy", 3, _busy),
    Column("queue", 4, _of_stage("queue", amount)),
    Column("oldest", 7, _of_stage("oldest_ms", lambda value: duration(value / 1000))),
    Column("failures", 5, _failures),
    Column("size", 10, _state_size),
    Column("p99", 8, _of_stage("p99_us", lambda value: duration(value / 1e6))),
)


class Sort(NamedTuple):
    """An order of operators, and the column that is marked for it."""

    title: str
    key: Callable[[Row], Any] | None = None


def _most(name: str) -> Callable[[Row], Any]:
    return lambda row: -(row[name] if row[name] is not None else -1)


SORTS = (
    Sort(""),
    Sort("busy", _most("busy")),
    Sort("in/s", _most("in")),
    Sort("queue", _most("queue")),
    Sort("oldest", _most("oldest_ms")),
    Sort("failures", _most("failed_total")),
    Sort("operator", lambda row: row["name"]),
)
"""As the job has them, then by what an operator looks for."""

# --- processes --------------------------------------------------------------------------------------------


PROCESSES = (
    Column("process", 0, lambda row: Cell(row["id"], "bold"), is_number=False),
    Column("pid", 3, lambda row: Cell(NONE if row["pid"] is None else str(row["pid"]))),
    Column("state", 1, _state, is_number=False),
    Column("cpu", 2, lambda row: Cell(_of_running(row, "cpu", percent))),
    Column("memory", 4, lambda row: Cell(_of_running(row, "rss", size))),
    Column("restarts", 2, lambda row: Cell(exact(row["restarts"]), "yellow" if row["restarts"] else "")),
    Column("uptime", 5, lambda row: Cell(_of_running(row, "uptime_s", duration))),
    Column("last exit", 6, lambda row: Cell(plain(row["last_exit"] or NONE)), is_number=False),
)


def _of_running(row: Row, name: str, write: Callable[[float], str]) -> str:
    return NONE if row["pid"] is None else known(row[name], write)


# --- the screen -------------------------------------------------------------------------------------------


class Screen:
    """A view as rich draws it: at most as many lines as the terminal has, if it says so."""

    def __init__(self, view: View, height: int | None = None) -> None:
        self._view = view
        self._height = height

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        view, width, empty = self._view, options.max_width, Text("")
        verdict = _verdict(view).wrap(console, width)
        head = [*_wrapped(_header(view), width), *verdict, empty, *_wrapped(_figures(view), width), empty]
        foot = [empty, *_wrapped(_snapshots(view.tick), width), *_wrapped(_disk(view.tick), width)]
        keys = [Text(shorten(KEYS, width), "dim")] if view.has_keys else []
        if view.has_help:
            foot += [empty, *map(Text, HELP.splitlines())]
        foot += [empty, *keys] if keys else []
        if self._height is not None and self._height - len(head) - len(foot) <= FEWEST_ROWS:
            foot = keys  # the verdict and a few operators say more
        nodes, processes = _rows(view), _worst_first(view.tick["procs"])
        shares = _shares(self._height, len(head) + len(foot), len(nodes), len(processes))
        yield from head
        yield from _table(OPERATORS, nodes, shares[0], width, SORTS[view.sort].title)
        if shares[1]:
            yield empty
            yield from _table(PROCESSES, processes, shares[1], width)
        yield from foot


def _shares(height: int | None, taken: int, nodes: int, processes: int) -> tuple[int, int]:
    """How many rows either table gets: processes give way first, they are sorted for that."""
    if height is None:
        return nodes, processes
    room = height - taken - TABLE_HEADS
    if nodes + processes <= room:
        return nodes, processes
    if room < 2 * FEWEST_ROWS:  # one table that can be read is better than two that cannot
        return min(nodes, max(2, height - taken - 1)), 0
    shown = min(nodes, room - min(processes, FEWEST_ROWS))
    return shown, min(processes, room - shown)


def _worst_first(processes: Sequence[Row]) -> list[Row]:
    order = (BAD, WARN, "unknown", IDLE, OK)
    return sorted(processes, key=lambda each: order.index(each["level"]))


def _header(view: View) -> Iterator[Text]:
    tick = view.tick
    yield Text(plain(view.plan["job"]), "bold")
    yield Text(tick["state"])
    yield Text(f"up {duration(tick['uptime_s'])}")
    if view.is_stale:
        yield Text(f"STALE {duration(view.age_s)}", STYLES[STALE])
    elif view.is_paused:
        yield Text(f"PAUSED, {duration(view.age_s)} old", STYLES[STALE])
    else:
        yield Text(f"updated {round(view.age_s)} s ago")
    yield Text(f"{view.url} every {view.interval_s:g} s", "dim")


def _verdict(view: View) -> Text:
    verdict = view.tick["verdict"]
    if view.is_stale:
        state, said = State(STALE, "STALE"), "no news from the server; what stands below is old"
    else:
        state, said = State(verdict["level"], verdict["level"].upper()), plain(verdict["text"])
        if verdict["code"] not in ("", state.word):
            state = State(state.level, f"{state.word} {verdict['code']}")
    return Text.assemble(state.text(), f"  {said}")


def _figures(view: View) -> Iterator[Text]:
    http, dead = view.tick["http"], view.tick["dlq"]
    for name, key, style in (
        ("requests", "rps", ""),
        ("errors", "err_rate", "red"),
        ("refused", "shed_rate", "red"),
    ):
        yield _figure(name, f"{known(http[key], amount)}/s", style if http[key] else "")
    for name in ("p50", "p95", "p99"):
        value = http[f"{name}_us"]
        is_idle = value is None and http["rps"] == 0
        yield _figure(name, NONE if is_idle else known(value, lambda us: duration(us / 1e6)))
    yield _figure("in flight", exact(http["inflight"]))
    yield _figure("dead letters", known(dead["present"], amount), "yellow" if dead["present"] else "")


def _figure(name: str, value: str, style: str = "") -> Text:
    return Text.assemble((f"{name} ", "dim"), (value, style or "bold"))


def _snapshots(tick: Row) -> Iterator[Text]:
    snap = tick["snap"]
    yield Text("snapshots", "dim")
    if snap["age_s"] is None:
        yield Text("none yet by this run")
    else:
        yield Text(f"last {duration(snap['age_s'])} ago")
        yield Text(f"{known(snap['bytes'], size)} in {known(snap['dur_ms'], lambda ms: duration(ms / 1000))}")
    yield Text(f"{snap['completed']} complete")
    yield Text(f"{snap['failed']} failed", "yellow" if snap["failed"] else "")
    yield Text(f"every {duration(snap['interval_s'])}" if snap["interval_s"] else "none by themselves")
    if snap["running"]:
        yield Text("one is being taken")
    if snap["replay_s"] is not None:
        yield Text(f"redo after a crash about {duration(snap['replay_s'])}")


def _disk(tick: Row) -> Iterator[Text]:
    disk = tick["disk"]
    yield Text("disk", "dim")
    yield Text(f"{known(disk['used'], percent)} used")
    if disk["full_in_s"] is not None:
        yield Text(f"full in about {duration(disk['full_in_s'])}", "yellow")
    if disk["is_full"]:
        yield Text("FULL: nothing is taken in", STYLES[BAD])


def _wrapped(parts: Iterable[Text], width: int) -> Iterator[Text]:
    """Parts side by side, none of them broken; what does not fit goes on in the next line."""
    line = Text()
    for part in parts:
        if line and line.cell_len + 3 + part.cell_len > width:
            yield line
            line = Text("  ")
            line.append_text(part)
        else:
            line = Text.assemble(line, "   ", part) if line else part.copy()
    yield line


# --- tables -----------------------------------------------------------------------------------------------


def _table(
    columns: Sequence[Column], rows: Sequence[Row], number: int, width: int, sorted_by: str = ""
) -> Iterator[Table | Text]:
    left = len(rows) - number
    number -= bool(left)
    cells = [[column.write(row) for column in columns] for row in rows[:number]]
    shown = _fitting(columns, cells, width)
    drawn = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for place in shown:
        column = columns[place]
        title = f"{column.title} ▼" if sorted_by == column.title else column.title
        justify = "right" if column.is_number else "left"
        drawn.add_column(title, justify=justify, no_wrap=True, overflow="ellipsis")  # type: ignore[arg-type]
    for row in cells:
        drawn.add_row(*(_styled(columns[place], row[place]) for place in shown))
    yield drawn
    if left:
        yield Text(f"… {left + 1} more", "dim")


def _styled(column: Column, cell: Cell) -> Text:
    if column.title == "state":
        return State(cell.style, cell.text).text()
    return Text(cell.text, cell.style)


def _fitting(columns: Sequence[Column], cells: Sequence[Sequence[Cell]], width: int) -> list[int]:
    """The places of the columns for which there is room, in their order."""
    widths = [
        max([cell_len(column.title) + 2, *(_styled(column, row[place]).cell_len for row in cells)])
        for place, column in enumerate(columns)
    ]
    shown = sorted(range(len(columns)), key=lambda place: columns[place].rank)
    while len(shown) > 2 and sum(widths[place] + 2 for place in shown) > width:
        shown.pop()
    return sorted(shown)
