"""The files of one job under systemd: the templates as shipped, and what is this job's own.

    /etc/systemd/system/mini-flink@.service, .socket, mini-flink.slice     the templates
    /etc/systemd/system/mini-flink@NAME.service.d/10-install.conf          interpreter, job and its arguments
    /etc/systemd/system/mini-flink@NAME.socket.d/10-install.conf           host and port
    /etc/mini-flink/NAME/mini_flink.toml, job.py                           settings and a copy of the job

A job that is a module is run by its name. Owns those paths and texts; writes all of them or, where a file is
there with other content, none. Never talks to systemd: what to type is said. Called by the command line.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mini_flink.config import BY_NAME, VARIABLE_PREFIX, Settings
from mini_flink.config_layers import CONFIG_FILE
from mini_flink.errors import ChangedFilesError, ConfigError, UsageError
from mini_flink.jobs import JobTarget
from mini_flink.runners.check import check
from mini_flink.snapshots.location import is_url
from mini_flink.source import is_users, short_path

TEMPLATES = ("mini-flink@.service", "mini-flink@.socket", "mini-flink.slice")
UNITS = "/etc/systemd/system"
CONFIGURATION = "/etc/mini-flink"
DROP_IN = "10-install.conf"
UNFIT = {
    "dev": "it reloads a file that is edited, and shows failures to clients",
    "data_dir": "systemd says where its state is: /var/lib/mini-flink/NAME",
    "runtime_dir": "systemd says where its sockets are: /run/mini-flink/NAME",
}
"""Settings that a service does not take, and why."""
PATHS = ("snapshot_dir", "admin_token_file")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_PLAIN = re.compile(r"[A-Za-z0-9_./:=,@+-]+")


@dataclass(frozen=True, slots=True)
class Installed:
    """What was written, or would be, by its absolute path in the system, what to beware of, how to go on."""

    name: str
    written: tuple[str, ...]
    warnings: tuple[str, ...]
    commands: tuple[str, ...]


def install(
    settings: Settings,
    job: JobTarget,
    *,
    name: str | None,
    root: str,
    force: bool,
    dry_run: bool,
) -> Installed:
    """Put the files of ``job`` below ``root``, once it is known to start."""
    settings, left_out = _fit(settings, job.directory)
    checked = check(settings, job, against=None, allow_dropped=False)
    instance = name or str(checked.report["job"])
    if not _NAME.fullmatch(instance):
        raise UsageError(
            f"{instance!r} is no name for a unit", help="letters, digits, - and _: --name orders"
        )
    files = _files(settings, job, instance)
    written = [path for path, content in files.items() if _read(_below(root, path)) != content]
    changed = [path for path in written if os.path.exists(_below(root, path))]
    if changed and not force:
        raise ChangedFilesError(changed)
    if not dry_run:
        for path in written:
            _write(_below(root, path), files[path])
    warnings = (*left_out, *_not_copied(job), *_taken(settings, root, instance))
    return Installed(instance, tuple(written), warnings, _commands(instance, again=bool(changed)))


def _fit(settings: Settings, directory: str) -> tuple[Settings, list[str]]:
    """The settings of a service, and what of them was left out: those of this shell, and the unfit ones."""
    values, origins, left_out = dict[str, object](), dict(settings.origins), list[str]()
    for name, origin in settings.origins.items():
        option = BY_NAME[name]
        if name in UNFIT and origin == option.flag:
            raise UsageError(f"{option.flag} is nothing for a service: {UNFIT[name]}", help="leave it out")
        if name in UNFIT or origin.startswith(VARIABLE_PREFIX):
            values[name] = option.default
            del origins[name]
            why = UNFIT.get(name, f"it is this shell's; the service gets it from {option.flag}")
            left_out.append(f"{origin} ({name}) is left out: {why}")
    for name in PATHS & origins.keys():
        path = str(getattr(settings, name))
        values[name] = path if is_url(path) else os.path.abspath(os.path.join(directory, path))
    return replace(settings, **values, origins=origins), left_out  # type: ignore[arg-type]


def _not_copied(job: JobTarget) -> list[str]:
    """Modules beside the job that it has imported: they may be anywhere, so they are the user's to copy."""
    folder = os.path.realpath(
        os.path.dirname(os.path.join(job.directory, "" if job.is_module else job.target))
    )
    loaded = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
    if not job.is_module:
        loaded.pop("__main__", None)
    files = sorted({os.path.realpath(file) for file in loaded.values() if file and is_users(file)})
    return [
        f"{short_path(file)} is not copied: put it beside the copy of the job, or install it"
        for file in files
        if file.startswith(os.path.join(folder, ""))
    ]


def _taken(settings: Settings, root: str, name: str) -> list[str]:
    """Other instances whose socket has the port."""
    mine = f"mini-flink@{name}.socket.d"
    wanted, choose = f":{settings.port}", "choose another, --port"
    return [
        f"port {settings.port} is also that of {drop_in.parent.name.removesuffix('.d')}: {choose}"
        for drop_in in sorted(_below(root, UNITS).glob(f"mini-flink@*.socket.d/{DROP_IN}"))
        if drop_in.parent.name != mine
        and any(line.startswith("ListenStream=") and line.endswith(wanted) for line in _lines(drop_in))
    ]


def _lines(path: Path) -> list[str]:
    return (_read(path) or b"").decode(errors="replace").splitlines()


def _files(settings: Settings, job: JobTarget, name: str) -> Mapping[str, bytes]:
    here = Path(__file__).parent
    templates = {f"{UNITS}/{template}": (here / template).read_bytes() for template in TEMPLATES}
    target, files = _job(job, f"{CONFIGURATION}/{name}")
    unit = f"{UNITS}/mini-flink@{name}"
    return {
        **templates,
        f"{unit}.service.d/{DROP_IN}": _service(target, job.args).encode(),
        f"{unit}.socket.d/{DROP_IN}": _socket(settings).encode(),
        f"{CONFIGURATION}/{name}/{CONFIG_FILE}": _configuration(settings).encode(),
        **files,
    }


def _job(job: JobTarget, folder: str) -> tuple[str, Mapping[str, bytes]]:
    """What the job is called in its folder, and the copy of its file: DynamicUser sees no home."""
    if job.is_module:
        return job.target, {}
    return "job.py", {f"{folder}/job.py": Path(job.directory, job.target).read_bytes()}


def _service(target: str, args: tuple[str, ...]) -> str:
    def command(verb: str) -> str:
        words = [sys.executable, "-m", "mini_flink", verb, target]
        tail = ["--", *args] if args else []
        quoted = (*map(_quoted, words), "--data-dir", "${STATE_DIRECTORY}", *map(_quoted, tail))
        return " ".join(quoted)

    return (
        f"[Service]\nExecStart=\nExecStart={command('serve')}\nExecReload=\nExecReload={command('upgrade')}\n"
    )


def _quoted(word: str) -> str:
    """A word of a command as systemd reads it."""
    word = word.replace("%", "%%").replace("$", "$$")
    if _PLAIN.fullmatch(word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _socket(settings: Settings) -> str:
    if settings.port == 0:
        raise ConfigError("systemd needs a port of its own for the job", help="choose one: --port 7071")
    host = settings.host if settings.host != "localhost" else "127.0.0.1"
    shown = f"[{host}]" if ":" in host else host
    return f"[Socket]\nListenStream=\nListenStream={shown}:{settings.port}\n"


def _configuration(settings: Settings) -> str:
    """The settings that are not the defaults; where state and sockets are is systemd's to say."""
    lines = [f"# The settings of this job: {os.path.basename(sys.executable)} -m mini_flink serve --help"]
    lines += [f"{name} = {_toml(getattr(settings, name))}" for name in sorted(settings.origins)]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _commands(name: str, *, again: bool) -> tuple[str, ...]:
    if again:
        return ("systemctl daemon-reload", f"systemctl reload mini-flink@{name}")
    units = f"mini-flink@{name}.socket mini-flink@{name}.service"
    return ("systemctl daemon-reload", f"systemctl enable --now {units}")


def _below(root: str, path: str) -> Path:
    return Path(root, path.removeprefix("/"))


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", help="run it as root") from error


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    draft = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        draft.write_bytes(content)
        draft.chmod(0o644)
        draft.replace(path)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}", help="run it as root, or below another --root"
        ) from error
