"""Which job a server runs, and loading it exactly as ``python JOB ARGS`` would, in every process.

Owns the identity of a job's source (:class:`JobTarget`), the ``__main__`` module that it becomes, and what is
said when that fails: the user's own file and line, never this module's. Never runs the graph:
``env.execute()`` hands it to the executor registered here, which only records it.

Called by the supervisor (aloud), by workers and gateways (quiet), each once per process and before it serves:
``sys.argv``, ``sys.path[0]`` and ``sys.modules["__main__"]`` stay as the job needs them.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import pkgutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

from mini_flink import console, execution
from mini_flink.errors import JobError, Location, MiniFlinkError
from mini_flink.failures import summary
from mini_flink.pinned import PinnedSources
from mini_flink.source import Frame, is_users, short_path, users_frames
from mini_flink.suggest import nearest

if TYPE_CHECKING:
    from mini_flink.graph import JobGraph

_SHORTEST_SLIP = 4
_SLIP_LIKENESS = 0.85

EXECUTE_HINT = 'end it with: env.execute("name")'


@dataclass(frozen=True, slots=True)
class JobTarget:
    """A job as it was named on the command line: a file or a module, and what follows ``--``.

    ``directory`` is where the command was typed: relative files and modules are found from there, in every
    process.
    """

    target: str
    is_module: bool
    args: tuple[str, ...]
    directory: str

    @classmethod
    def parse(cls, text: str, args: tuple[str, ...] = (), *, directory: str | None = None) -> JobTarget:
        """``job.py``, ``shop/job.py`` and whatever is a file here are files; all else is a module's name."""
        folder = directory or os.getcwd()
        separators = [os.sep, *([os.altsep] if os.altsep else [])]
        named_as_file = text.endswith(".py") or any(separator in text for separator in separators)
        is_file = named_as_file or os.path.exists(os.path.join(folder, text))
        return cls(text, not is_file, args, folder)

    @property
    def words(self) -> str:
        """How it is named on mini_flink's own command line."""
        return " ".join([self.target, *(["--", *self.args] if self.args else [])])

    @property
    def command(self) -> str:
        """How the same job is run without mini_flink."""
        words = ["python", *(["-m"] if self.is_module else []), self.target, *self.args]
        return " ".join(words)

    def as_dict(self) -> dict[str, Any]:
        """This target as JSON data; :meth:`from_dict` gives it back."""
        return {
            "target": self.target,
            "is_module": self.is_module,
            "args": list(self.args),
            "directory": self.directory,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> JobTarget:
        return cls(data["target"], data["is_module"], tuple(data["args"]), data["directory"])


def load_graph(target: JobTarget, *, quiet: bool, sources: PinnedSources | None = None) -> JobGraph:
    """Run the job's top level as ``__main__`` and give back the one graph that it builds.

    With ``quiet`` what the top level prints is discarded, also what its C code or child processes write. What
    is in ``sources`` is run in the place of what the user's files hold now; what is not, is put there.
    Raises JobError with the user's own line.
    """
    graphs: list[JobGraph] = []
    execution.register_executor(graphs.append)
    if sources is not None:
        sources.install()
    with _muted() if quiet else nullcontext():
        _run(target, sources)
    if not graphs:
        raise JobError(
            f"{target.target} builds no graph: env.execute() was not called",
            help=EXECUTE_HINT,
            location=_last_statement(),
        )
    return graphs[0]


def _location(frame: Frame | None) -> Location | None:
    return Location(frame.file, frame.line, frame.function) if frame else None


@contextmanager
def _muted() -> Iterator[None]:
    """Descriptors 1 and 2 lead nowhere, so that handlers which the job installs work again afterwards."""
    _flush_streams()
    saved = [(descriptor, os.dup(descriptor)) for descriptor in (1, 2) if _is_open(descriptor)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for descriptor, _ in saved:
            os.dup2(nowhere, descriptor)
        yield
    finally:
        _flush_streams()
        for descriptor, copy in saved:
            os.dup2(copy, descriptor)
            os.close(copy)
        os.close(nowhere)


def _flush_streams() -> None:
    console.finish()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _run(target: JobTarget, sources: PinnedSources | None) -> None:
    """Become the job: find it, make ``__main__`` and run its code there, every failure told as the user's."""
    try:
        module, code = _module(target) if target.is_module else _file(target, sources)
        sys.modules["__main__"] = module
        exec(code, module.__dict__)  # noqa: S102 - the user's job, as Python itself would run it
    except SystemExit as stop:
        if stop.code not in (None, 0):
            raise _stopped(target, stop) from stop
    except MiniFlinkError as error:
        error.location = error.location or _location(_innermost(error))
        raise
    except SyntaxError as error:
        raise _unparsable(target, error) from error
    except ImportError as error:
        raise _unimportable(target, error) from error
    except KeyboardInterrupt:  # Ctrl-C
        raise
    except BaseException as error:  # the job's own top level
        raise _raised(target, error) from error


def _file(target: JobTarget, sources: PinnedSources | None) -> tuple[ModuleType, CodeType]:
    path = os.path.join(target.directory, target.target)  # as Python does: not normalised
    if os.path.isdir(path):
        raise JobError(f"{target.target} is a folder, not a job", help=_files_in(path, target.target))
    # Python resolves a link to a script before it takes its folder.
    _first_on_path(os.path.dirname(os.path.realpath(path)))
    sys.argv[:] = [target.target, *target.args]
    make_loader = importlib.machinery.SourceFileLoader if sources is None else sources.loader
    loader = make_loader("__main__", path)
    try:
        source = loader.get_data(path)
    except FileNotFoundError:
        raise JobError(f"no file {target.target} here", help=_near_file(target)) from None
    except OSError as error:
        raise JobError(f"{target.target} cannot be read: {error.strerror}", help=_files_hint()) from error
    module = ModuleType("__main__")
    module.__dict__.update(__file__=path, __loader__=loader, __builtins__=sys.modules["builtins"])
    module.__dict__.update(__cached__=None, __annotations__={})
    return module, loader.source_to_code(source, path)


def _module(target: JobTarget) -> tuple[ModuleType, CodeType]:
    _first_on_path(target.directory)
    spec = _spec(target.target, target)
    if spec.submodule_search_locations is not None:
        spec = _spec(f"{target.target}.__main__", target)
    code = getattr(spec.loader, "get_code", lambda _name: None)(spec.name)
    if code is None:
        raise JobError(f"the module {target.target} has no Python source", help=_files_hint())
    sys.argv[:] = [spec.origin or target.target, *target.args]
    module = ModuleType("__main__")
    module.__dict__.update(__file__=spec.origin, __loader__=spec.loader, __package__=spec.parent)
    module.__dict__.update(
        __spec__=spec, __cached__=spec.cached, __builtins__=sys.modules["builtins"], __annotations__={}
    )
    return module, code


def _spec(name: str, target: JobTarget) -> importlib.machinery.ModuleSpec:
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # a module on the way there lacks another one
        spec = None
    except ValueError:  # a name such as ".." or "__main__"
        spec = None
    if spec is None:
        what = "no file or module" if name == target.target else f"{target.target} is a package without"
        shown = target.target if name == target.target else "a module __main__"
        raise JobError(f"{what} {shown} here", help=_near_file(target))
    return spec


def _first_on_path(folder: str) -> None:
    """What ``python JOB`` puts first on the path, in the place of what ``python -m mini_flink`` put there."""
    if not sys.flags.safe_path:
        sys.path[0] = folder


def _near_file(target: JobTarget) -> str:
    folder, name = os.path.split(os.path.join(target.directory, target.target))
    match = nearest(name, _scripts(folder)) or nearest(f"{name}.py", _scripts(folder))
    if match is None:
        return _near_module(target.target) or _files_hint()
    return f"did you mean {os.path.join(os.path.dirname(target.target), match)}?"


def _near_module(name: str) -> str:
    """A module of the same package; what is found in no package has none beside it."""
    parent, _, last = name.rpartition(".")
    try:
        package = importlib.util.find_spec(parent) if parent else None
    except (ImportError, ValueError):
        return ""
    if package is None or package.submodule_search_locations is None:
        return ""
    match = nearest(last, [found.name for found in pkgutil.iter_modules(package.submodule_search_locations)])
    return f"did you mean {parent}.{match}?" if match else ""


def _files_in(folder: str, shown: str) -> str:
    scripts = sorted(_scripts(folder), key=lambda name: name != "job.py")
    if not scripts:
        return _files_hint()
    return f"did you mean {os.path.normpath(os.path.join(shown, scripts[0]))}?"


def _scripts(folder: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith(".py"))
    except OSError:
        return []


def _files_hint() -> str:
    return "name a file or a module, such as job.py or shop.orders"


def _innermost(error: BaseException) -> Frame | None:
    users = users_frames(error.__traceback__)
    return users[-1] if users else None


def _stopped(target: JobTarget, stop: SystemExit) -> JobError:
    how = f"exit code {stop.code}" if isinstance(stop.code, int) else str(stop.code)
    return JobError(
        f"{target.target} stopped by itself while it was loaded: {how}",
        help=f"the job must go on to env.execute(); try: {target.command}",
        location=_location(_innermost(stop)),
    )


def _unparsable(target: JobTarget, error: SyntaxError) -> JobError:
    file = error.filename
    if file is None or not os.path.exists(file):  # from eval() or exec() in the job
        return _raised(target, error)
    return JobError(
        f"{short_path(file)} does not parse: {error.msg}",
        help=f"correct that line; to check it alone: python -m py_compile {short_path(file)}",
        location=Location(file, error.lineno or 1, ""),
    )


def _unimportable(target: JobTarget, error: ImportError) -> JobError:
    if "circular import" in str(error):
        hint = "move the import into the function that needs it, or what both need into a third module"
    elif isinstance(error, ModuleNotFoundError) and error.name:
        hint = _missing_module_help(error.name)
    else:
        hint = f"check the name; python shows the rest: {target.command}"
    return JobError(str(error), help=hint, location=_location(_innermost(error)))


def _missing_module_help(name: str) -> str:
    parent, _, last = name.rpartition(".")
    folder = os.path.join(sys.path[0], *parent.split("."))
    known = [script.removesuffix(".py") for script in _scripts(folder)]
    match = nearest(last, known)
    if parent:
        return f"did you mean {parent}.{match}?" if match else f"check the name; {parent} has no such module"
    # Most packages resemble some module of Python's: only a slip of the finger is meant.
    if match is None and len(name) >= _SHORTEST_SLIP:
        match = nearest(name, sys.stdlib_module_names, cutoff=_SLIP_LIKENESS)
    asked = f"did you mean {match}?" if match else f"is there a {name}.py?"
    return f"{asked} or install it: pip install {name}"


def _raised(target: JobTarget, error: BaseException) -> JobError:
    return JobError(
        f"{summary(error)} while {target.target} was loaded",
        help=f"python shows the whole traceback: {target.command}",
        location=_location(_innermost(error)),
    )


def _last_statement() -> Location | None:
    """Where ``env.execute()`` should have stood: the last statement of the job's file."""
    import ast  # only this error needs it

    file = getattr(sys.modules["__main__"], "__file__", None)
    if file is None or not is_users(file) or not os.path.isfile(file):
        return None
    with open(file, "rb") as source:
        body = ast.parse(source.read()).body
    return Location(file, (body[-1].end_lineno or 1) if body else 1, "")
