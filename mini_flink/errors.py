"""The errors of mini_flink: one base class; every message says what happened and what to do.

Ground floor: imported by all rooms, imports nothing of the package.
"""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterable
from dataclasses import dataclass

EXIT_DECLINED = 1
EXIT_USAGE = 2
EXIT_DEGRADED = 3
EXIT_UNAVAILABLE = 69
EXIT_INTERNAL = 70
EXIT_STORAGE = 74
EXIT_TRY_AGAIN = 75
EXIT_CONFIG = 78


@dataclass(frozen=True, slots=True)
class Location:
    """A place in the user's own source: absolute file, line (from 1), and the function it stands in."""

    file: str
    line: int
    function: str = "<module>"

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class MiniFlinkError(Exception):
    """Base of all errors raised on purpose.

    ``message`` says what happened, ``help`` what to do (one line, may be empty), ``location`` where in the
    user's source, ``exit_code`` what a command that ends with it returns. Place and help are notes, too: a
    traceback and pytest show them below the message.
    """

    exit_code: int = EXIT_INTERNAL
    context: str = ""
    """For what the line at ``location`` was called, where it does not say so itself."""
    details: tuple[str, ...] = ()
    """What the message counts up: a line each."""

    def __init__(self, message: str, *, help: str = "", location: Location | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.help = help
        self.location = location

    @property
    def location(self) -> Location | None:
        """Where in the user's source; may be set by who catches the error and knows it."""
        return self._location

    @location.setter
    def location(self, location: Location | None) -> None:
        self._location = location
        self.__notes__ = [
            *([f"  --> {location}"] if location else []),
            *([f"  = help: {self.help}"] if self.help else []),
        ]


class ChangedFilesError(MiniFlinkError):
    """Files are there that say something else than what is to be written; they may have been edited."""

    exit_code = EXIT_TRY_AGAIN

    def __init__(self, paths: Iterable[str]) -> None:
        super().__init__(
            "files are there that say something else; nothing was written",
            help="look at them, and let them be written anew with --force",
        )
        self.details = tuple(paths)


class JobError(MiniFlinkError):
    """The job cannot be built or opened; the location is the user's line."""

    exit_code = EXIT_CONFIG


class ConfigError(MiniFlinkError):
    """A setting from file, environment or command line is unusable."""

    exit_code = EXIT_CONFIG


class UsageError(ConfigError):
    """An unknown or malformed command line option."""

    exit_code = EXIT_USAGE


class FolderError(MiniFlinkError):
    """The data folder is unusable: not writable, of another job, of a newer version."""

    exit_code = EXIT_CONFIG


class IncompatibleError(FolderError):
    """The job does not fit what is stored; where that has several reasons they are the ``details``."""

    def __init__(self, message: str, *, help: str = "", details: tuple[str, ...] = ()) -> None:
        super().__init__(message, help=help)
        self.details = details
        self.__notes__ = [*(f"  - {detail}" for detail in details), *self.__notes__]


class MigrationError(FolderError):
    """A stored value could not be made one of the type that is declared now; nothing stored was touched."""


class BusyError(MiniFlinkError):
    """A port or a folder is in use by someone else; trying again later may work."""

    exit_code = EXIT_TRY_AGAIN


class StorageError(MiniFlinkError):
    """A file of the data folder cannot be read or written."""

    exit_code = EXIT_STORAGE


class CorruptionError(StorageError):
    """A file holds what was never written there: refused, never served."""


class StorageFullError(StorageError):
    """No space is left; the step was undone and may be tried again."""


class SnapshotMissingError(StorageError):
    """A file of a snapshot is not there."""


class SnapshotError(MiniFlinkError):
    """No such snapshot, or one that this job cannot use."""

    exit_code = EXIT_CONFIG


def storage_error(path: str, error: OSError) -> StorageError:
    """What to raise when a file could not be written."""
    kind = StorageFullError if error.errno in (errno.ENOSPC, errno.EDQUOT) else StorageError
    return kind(f"{path} cannot be written: {error.strerror}")


class RecordError(MiniFlinkError):
    """A record cannot be handled; it alone fails."""


class EncodeError(RecordError, TypeError):
    """A value has a type that cannot cross a shuffle or be kept in state."""


class DecodeError(RecordError, ValueError):
    """Bytes do not hold a value, or name a class that the job has not imported."""


class KeyTypeError(RecordError, TypeError):
    """A key has a type without a stable encoding."""


def told_of(error: Exception) -> dict[str, str | int]:
    """An error as another process is told of it: ``asking.RefusedError`` is made of that."""
    if isinstance(error, MiniFlinkError):
        return {"reason": error.message, "help": error.help, "exit_code": error.exit_code}
    code = EXIT_STORAGE if isinstance(error, OSError) else EXIT_INTERNAL
    return {"reason": f"{type(error).__name__}: {error}", "help": "", "exit_code": code}


def is_interrupt(error: BaseException) -> bool:
    """Whether this is somebody's Ctrl-C, which ends the process and is no fault of the code that it met.

    Workers and gateways ignore SIGINT: there a KeyboardInterrupt was raised by the user's own code. In
    ``python job.py``, the test harness and pytest Python's handler, or asyncio's, is in place.
    """
    return isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
