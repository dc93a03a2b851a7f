"""Every setting of the server: one list, from which help, checks and merging follow.

Owns the names, types, units, defaults and limits of all options. The fields of :class:`Settings` are that
list; ``OPTIONS`` is the same list as data. Settings travel to the child processes as plain JSON data.
Never reads a file, a variable or the command line: ``config_layers`` merges those, cli/ parses.

Called by ``config_layers`` (to check), by the supervisor (to hand on), by workers and gateways
(``Settings.from_dict``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from mini_flink.errors import ConfigError, Location
from mini_flink.suggest import did_you_mean

VARIABLE_PREFIX = "MINI_FLINK_"

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
HOUR_MS = 3_600_000
DAY_S = 86_400

TRUE_WORDS = ("true", "1", "yes", "on")
FALSE_WORDS = ("false", "0", "no", "off")

HIDDEN = "(set)"
"""What is shown of a secret that is set."""


@dataclass(frozen=True, slots=True)
class Option:
    """One setting: ``unit`` is what its number counts, ``commands`` which commands take it.

    The value of a ``secret`` one is never shown.
    """

    name: str
    type: type[Any]
    default: Any
    unit: str
    meaning: str
    group: str
    commands: tuple[str, ...]
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    secret: bool

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return VARIABLE_PREFIX + self.name.upper()

    @property
    def allowed(self) -> str:
        """What a value must be, as it stands in an error: ``a whole number from 0 to 65535``."""
        if self.type is bool:
            return "true or false"
        if self.choices:
            return " or ".join(self.choices)
        if self.type is str:
            return "a text that is not empty"
        upper = "up" if self.maximum is None else f"to {self.maximum}"
        if self.type is float:
            return f"a number from {self.minimum} {upper}"
        return f"a whole number from {self.minimum} {upper}" + (f" ({self.unit})" if self.unit else "")


def _option(
    default: Any,
    meaning: str,
    *,
    group: str,
    unit: str = "",
    commands: tuple[str, ...] = ("serve",),
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    secret: bool = False,
) -> Any:
    limits = {"minimum": minimum, "maximum": maximum, "choices": choices, "secret": secret}
    about = {"unit": unit, "meaning": meaning, "group": group, "commands": commands}
    return field(default=default, metadata={"option": {**about, **limits}})


def _milliseconds(default: int, meaning: str, *, group: str, minimum: int = 0) -> Any:
    return _option(default, meaning, group=group, unit="ms", minimum=minimum, maximum=24 * HOUR_MS)


def _bytes(default: int, meaning: str, *, group: str, minimum: int, maximum: int = 4 * GIB) -> Any:
    return _option(default, meaning, group=group, unit="bytes", minimum=minimum, maximum=maximum)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value stands, and what to do about a bad one there."""

    text: str
    help: str = ""
    location: Location | None = None
    error: type[ConfigError] = ConfigError


WHERE = "Where"
PROCESSES = "Processes"
DOOR = "The door (HTTP)"
DURABILITY = "Durability and state"
SNAPSHOTS = "Snapshots"
BATCHES = "Batches and channels"
ADMIN = "Admin"
TRACING = "Tracing"
MESSAGES = "Messages"
DEVELOPMENT = "Development"

LOOKS_INTO_SNAPSHOTS = ("snapshot list", "snapshot show", "snapshot verify")


@dataclass(frozen=True)
class Settings:
    """All settings of one server, resolved and checked; ``origins`` says where each value came from.

    >>> Settings(port=0).port
    0
    """

    host: str = _option("127.0.0.1", "address to listen on", group=WHERE)
    port: int = _option(7071, "TCP port; 0 takes a free one", group=WHERE, minimum=0, maximum=65535)
    data_dir: str | None = _option(
        None,
        "folder of the state; else .mini_flink/<job> here",
        group=WHERE,
        commands=(
            "serve",
            "check",
            "status",
            "top",
            "drain",
            "resume",
            "savepoint",
            "rescale",
            "upgrade",
            "dead-letters list",
            "dead-letters show",
            "dead-letters retry",
            "dead-letters drop",
            "state get",
            "state scan",
            *LOOKS_INTO_SNAPSHOTS,
        ),
    )
    runtime_dir: str | None = _option(None, "folder of sockets; else a private one", group=WHERE)

    workers: int | None = _option(
        None,
        "processes that run the job; else as the folder has, or the cores",
        group=PROCESSES,
        commands=("serve", "check", "graph", "rescale", "upgrade"),
        minimum=1,
        maximum=128,
    )
    gateways: int | None = _option(
        None, "processes that speak HTTP; else the cores", group=PROCESSES, minimum=1, maximum=64
    )
    hang_timeout_ms: int = _milliseconds(
        10_000, "a worker busy with one record for longer is killed; 0 = never", group=PROCESSES
    )
    shutdown_grace_ms: int = _milliseconds(
        10_000, "after Ctrl-C or SIGTERM, time for requests in flight", group=PROCESSES
    )

    pending_capacity: int = _option(
        1024,
        "requests in flight per gateway; more get 503",
        group=DOOR,
        unit="requests",
        minimum=1,
        maximum=1_000_000,
    )
    admission_wait_ms: int = _milliseconds(
        0,
        "time a request waits for a free place, else 503",
        group=DOOR,
    )
    request_timeout_ms: int = _milliseconds(10_000, "time until the client hears 504", group=DOOR, minimum=1)
    max_body_bytes: int = _bytes(MIB, "longer bodies get 413", group=DOOR, minimum=1, maximum=GIB)
    max_header_bytes: int = _bytes(
        32 * KIB, "longer request heads get 431", group=DOOR, minimum=KIB, maximum=16 * MIB
    )
    max_header_fields: int = _option(
        100, "more header fields get 431", group=DOOR, unit="fields", minimum=1, maximum=10_000
    )
    header_timeout_ms: int = _milliseconds(5_000, "time for a request head to arrive", group=DOOR, minimum=1)
    body_timeout_ms: int = _milliseconds(30_000, "time for a body to arrive, else 408", group=DOOR, minimum=1)
    keep_alive_timeout_ms: int = _milliseconds(
        75_000, "idle connections are closed after this", group=DOOR, minimum=1
    )

    durability: str = _option(
        "disk",
        "a reply survives: disk = power cuts too, process = kill -9",
        group=DURABILITY,
        choices=("disk", "process"),
    )
    accept_inconsistent_state: bool = _option(
        False, "start a 'process' folder after a power cut all the same", group=DURABILITY
    )
    flush_interval_ms: int = _milliseconds(
        1_000, "time between writes of changed state to LMDB", group=DURABILITY, minimum=1
    )
    overlay_bytes: int = _bytes(
        32 * MIB, "changed state held in memory before it is written", group=DURABILITY, minimum=64 * KIB
    )
    log_segment_bytes: int = _bytes(
        8 * MIB, "size of one file of the commit log", group=DURABILITY, minimum=64 * KIB
    )
    state_map_bytes: int = _bytes(
        64 * GIB,
        "largest state per worker (sparse, not reserved)",
        group=DURABILITY,
        minimum=MIB,
        maximum=16 * KIB * GIB,
    )

    snapshot_dir: str | None = _option(
        None,
        "folder or fsspec URL of the snapshots; else snapshots/ of the data folder",
        group=SNAPSHOTS,
        commands=("serve", "check", *LOOKS_INTO_SNAPSHOTS),
    )
    snapshot_interval_s: int | None = _option(
        None,
        "time between snapshots, 0 = none; else 60 in 'process', 0 in 'disk'",
        group=SNAPSHOTS,
        unit="s",
        minimum=0,
        maximum=30 * DAY_S,
    )
    snapshots_kept: int = _option(
        3, "periodic snapshots kept; savepoints all are", group=SNAPSHOTS, minimum=1, maximum=10_000
    )
    snapshot_max_age_s: int = _option(
        0,
        "older ones are removed, but for the last; 0 = never",
        group=SNAPSHOTS,
        unit="s",
        minimum=0,
        maximum=36_500 * DAY_S,
    )
    snapshot_base_every: int = _option(
        10, "so many hold changes only, then one all state", group=SNAPSHOTS, minimum=0, maximum=1_000
    )

    batch_records: int = _option(
        1024, "records per commit, at most", group=BATCHES, unit="records", minimum=1, maximum=1_000_000
    )
    batch_bytes: int = _bytes(4 * MIB, "input per commit, at most", group=BATCHES, minimum=KIB)
    batch_ms: int = _milliseconds(10, "a batch ends after this at the latest", group=BATCHES, minimum=1)
    commit_limit_bytes: int = _bytes(
        16 * MIB,
        "changes and outputs of one record; more fails it",
        group=BATCHES,
        minimum=KIB,
        maximum=32 * MIB,
    )
    channel_window_bytes: int = _bytes(
        4 * MIB, "sent and unacknowledged bytes per pair of processes", group=BATCHES, minimum=64 * KIB
    )

    admin: bool = _option(True, "serve the page and the API for operators", group=ADMIN)
    admin_host: str = _option(
        "127.0.0.1", "address of the page; another than this host's own wants a token", group=ADMIN
    )
    admin_port: int = _option(
        7072,
        "port of the page; if it is taken and was not asked for, a free one",
        group=ADMIN,
        minimum=0,
        maximum=65535,
    )
    admin_token_file: str | None = _option(
        None,
        "file with the token that is wanted; else systemd's credential admin-token",
        group=ADMIN,
        commands=("serve", "top"),
    )
    admin_payloads: bool = _option(True, "show what state and dead letters hold on the page", group=ADMIN)
    admin_limits: str | None = _option(
        None, "limits of the page's words, as busy_warn=0.9,disk_bad=0.95; else the usual", group=ADMIN
    )

    trace_ratio: float = _option(
        0.0,
        "part of the requests that are traced; 0 = none",
        group=TRACING,
        minimum=0,
        maximum=1,
    )
    trace_endpoint: str | None = _option(
        None, "OTLP/HTTP collector, http://host:4318; else as OTEL_EXPORTER_OTLP_… say", group=TRACING
    )

    full_trace: bool = _option(False, "show all frames of a failure, not the job's only", group=MESSAGES)
    log: str = _option(
        "auto",
        "json = an object a line; auto: in journal and container",
        group=MESSAGES,
        choices=("auto", "text", "json"),
    )

    dev: bool = _option(
        False,
        "reload the job when it is saved, show failures to clients; on 127.0.0.1 only",
        group=DEVELOPMENT,
    )
    access_log: bool = _option(
        True, "with --dev and on a terminal: a line for each request", group=DEVELOPMENT
    )

    origins: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def origin(self, name: str) -> str:
        """Where a value came from: ``default``, ``mini_flink.toml:3``, a variable or a flag."""
        return self.origins.get(name, "default")

    def as_dict(self) -> dict[str, Any]:
        """These settings as JSON data; :meth:`from_dict` gives them back."""
        values = {option.name: getattr(self, option.name) for option in OPTIONS}
        return {**values, "origins": dict(self.origins)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Settings:
        """Settings that were handed over by another process; checked again, unknown names refused."""
        origins = dict(data.get("origins", {}))
        given = {name: value for name, value in data.items() if name != "origins" and value is not None}
        for name in given:
            if name not in BY_NAME:
                raise ConfigError(f"unknown setting {name!r}", help=did_you_mean(name, BY_NAME))
        checked = {name: check(BY_NAME[name], value, Source(name)) for name, value in given.items()}
        return cls(**checked, origins=origins)


TYPES: Mapping[str, type[Any]] = {"int": int, "float": float, "str": str, "bool": bool}

OPTIONS: tuple[Option, ...] = tuple(
    Option(
        name=one.name,
        type=TYPES[str(one.type).removesuffix(" | None")],
        default=one.default,
        **one.metadata["option"],
    )
    for one in fields(Settings)
    if "option" in one.metadata
)
BY_NAME: Mapping[str, Option] = {option.name: option for option in OPTIONS}


def check(option: Option, value: Any, source: Source) -> Any:
    """``value`` (text, or already of the option's type) as the option's type and within its limits."""
    converted = _convert(option, value)
    if converted is None or not _within(option, converted):
        text = HIDDEN if option.secret else repr(value)
        shown = text if len(text) <= 80 else text[:79] + "…"
        raise source.error(
            f"{option.name} = {shown} (from {source.text}) must be {option.allowed}",
            help=source.help,
            location=source.location,
        )
    return converted


def _convert(option: Option, value: Any) -> Any:
    """None where ``value`` is nothing of the kind: a bool is no number, and a number no bool."""
    if option.type is bool and isinstance(value, str):
        word = value.strip().lower()
        return True if word in TRUE_WORDS else False if word in FALSE_WORDS else None
    if option.type is int and isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            return None
    if option.type is float and type(value) in (int, str):
        try:
            return float(value)
        except ValueError:
            return None
    return value if type(value) is option.type else None


def _within(option: Option, value: Any) -> bool:
    if option.type is str:
        return value in option.choices if option.choices else bool(value) and "\0" not in value
    if option.type is bool:
        return True
    low = option.minimum is None or value >= option.minimum
    return low and (option.maximum is None or value <= option.maximum)
