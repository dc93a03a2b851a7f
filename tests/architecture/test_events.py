"""Whatever the package says has a name of the table in ``events``, and nothing else is in that table."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from mini_flink.events import EVENTS, SHOWN, USER_OUTPUT
from mini_flink.supervisor.loop import BACK, DIED
from tests.architecture.imports import MODULES

SAYING = {"console.event", "console.say", "console.note", "self._say", "self._tell", "event"}
MADE = "Notice"


def spoken() -> Iterator[tuple[str, ast.Call]]:
    """Every call that says something, with its place."""
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in SAYING:
                names = [each for each in node.keywords if each.arg == "name"]
                if names or ast.unparse(node.func).startswith("console."):
                    yield f"{module}:{node.lineno}", node


def names_of(call: ast.Call) -> set[str] | None:
    """The names that a call may pass; None if it passes on what a notice holds."""
    (value,) = [each.value for each in call.keywords if each.arg == "name"] or [None]
    if isinstance(value, ast.Constant):
        return {str(value.value)}
    if isinstance(value, ast.Subscript):  # by role: DIED[member.role]
        return set()
    return None if value is not None and ast.unparse(value) == "notice.name" else {"(none)"}


def test_what_is_said_has_a_known_name() -> None:
    wrong = {
        place: names for place, call in spoken() if (names := names_of(call)) and not names <= EVENTS.keys()
    }
    assert wrong == {}


def test_every_name_is_used() -> None:
    used = {USER_OUTPUT}
    for module, path in MODULES.items():
        if module != "mini_flink.events":
            tree = ast.parse(path.read_text())
            used |= {str(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert EVENTS.keys() - used == set()
    assert all(EVENTS.values())


def test_what_is_kept_for_later_is_what_is_said() -> None:
    """The supervisor's ring and the log have one list of names; by role: ``DIED[member.role]``."""
    assert SHOWN.keys() <= EVENTS.keys()
    noted = set()
    for module, path in MODULES.items():
        if module.startswith("mini_flink.supervisor"):
            for call in ast.walk(ast.parse(path.read_text())):
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "self._events.note":
                    noted |= {str(call.args[0].value)} if isinstance(call.args[0], ast.Constant) else set()
    assert noted == {name for name in SHOWN if name.partition(".")[0] not in ("worker", "gateway")}
    assert {*DIED.values(), *BACK.values()} == SHOWN.keys() - noted
