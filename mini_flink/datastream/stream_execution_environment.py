"""Where a job begins: sources, defaults, and ``execute``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, TypeVar, overload

from mini_flink import execution
from mini_flink.common.time import Duration
from mini_flink.datastream import routes
from mini_flink.datastream.builder import GraphBuilder, checked_max_parallelism, checked_parallelism
from mini_flink.datastream.data_stream import DataStream
from mini_flink.datastream.location import user_location
from mini_flink.datastream.request import Request
from mini_flink.datastream.uncaught import say_errors_in_short
from mini_flink.errors import EncodeError, JobError, Location
from mini_flink.graph import COLLECTION, CollectionOptions, Edge, RequestOptions
from mini_flink.values import encode

T = TypeVar("T")


class StreamExecutionEnvironment:
    """The beginning of a job; see the README for a whole one.

    >>> env = StreamExecutionEnvironment.get_execution_environment()
    >>> sink = env.from_requests("/double").map(lambda value: value["n"] * 2).reply()
    """

    def __init__(self) -> None:
        say_errors_in_short()
        self._builder = GraphBuilder()

    @staticmethod
    def get_execution_environment() -> StreamExecutionEnvironment:
        """A new, empty environment."""
        return StreamExecutionEnvironment()

    def set_parallelism(self, parallelism: int) -> StreamExecutionEnvironment:
        """The parallelism of all operators that set none themselves (default: the number of workers)."""
        self._builder.parallelism = checked_parallelism(parallelism, user_location())
        return self

    def set_max_parallelism(self, max_parallelism: int) -> StreamExecutionEnvironment:
        """The number of key groups (default 128). It cannot change once the job has state."""
        self._builder.max_parallelism = checked_max_parallelism(max_parallelism, user_location())
        return self

    def from_collection(self, collection: Sequence[T], type_info: Any = None) -> DataStream[T]:  # noqa: ARG002
        """The elements of a list or tuple, in order, once; the source has one subtask."""
        location = user_location()
        draft = self._builder.add(
            COLLECTION, COLLECTION, location, options=CollectionOptions(_encoded(collection, location))
        )
        draft.parallelism, draft.single = checked_parallelism(1, location), True
        return DataStream(self._builder, (Edge(draft.id),), draft)

    @overload
    def from_requests(
        self,
        path: str,
        methods: str | Sequence[str] = "POST",
        *,
        type_info: type[dict[Any, Any]] | None = None,
        headers: Sequence[str] = (),
        timeout: Duration | None = None,
        source_name: str | None = None,
    ) -> DataStream[dict[str, Any]]: ...

    @overload
    def from_requests(
        self,
        path: str,
        methods: str | Sequence[str] = "POST",
        *,
        type_info: type[bytes],
        headers: Sequence[str] = (),
        timeout: Duration | None = None,
        source_name: str | None = None,
    ) -> DataStream[bytes]: ...

    @overload
    def from_requests(
        self,
        path: str,
        methods: str | Sequence[str] = "POST",
        *,
        type_info: type[Request],
        headers: Sequence[str] = (),
        timeout: Duration | None = None,
        source_name: str | None = None,
    ) -> DataStream[Request]: ...

    @overload
    def from_requests(
        self,
        path: str,
        methods: str | Sequence[str] = "POST",
        *,
        type_info: Any,
        headers: Sequence[str] = (),
        timeout: Duration | None = None,
        source_name: str | None = None,
    ) -> DataStream[Any]: ...

    def from_requests(
        self,
        path: str,
        methods: str | Sequence[str] = "POST",
        *,
        type_info: Any = None,
        headers: Sequence[str] = (),
        timeout: Duration | None = None,
        source_name: str | None = None,
    ) -> DataStream[Any]:
        """HTTP requests to a path, as values.

        ``path`` is exact, with parameters as in ``/accounts/{id}`` or ``/items/{n:int}``. ``type_info`` says
        what the values are: ``dict`` (the default: the JSON object, with path parameters, and query
        parameters of GET and DELETE, under their names), ``object`` (any JSON), ``bytes`` (the raw body) or
        ``Request`` (all of it, with only those headers that ``headers`` lists: what is stored must not hold
        credentials by accident). ``timeout`` is when the client hears 504 (default: the server's).
        """
        location = user_location()
        try:
            shape = routes.path_shape(path)
            options = RequestOptions(
                path=path,
                methods=routes.checked_methods(methods),
                body=routes.body_of(type_info),
                headers=routes.checked_header_names(headers),
                timeout_ms=_timeout_ms(timeout),
            )
        except ValueError as error:
            raise JobError(
                f"from_requests(): {error}",
                help='for example from_requests("/accounts/{id}", ["GET", "POST"])',
                location=location,
            ) from error
        name = source_name or f"{' '.join(options.methods)} {path}"
        draft = self._builder.add_request_source(name, location, shape, options)
        return DataStream(self._builder, (Edge(draft.id),), draft)

    def execute(self, job_name: str | None = None) -> None:
        """Hands the finished job to whoever runs it: the server, the test harness, or this process itself.

        ``job_name`` names its data folder; the default is the name of the job's file.
        """
        location = user_location()
        name = _checked_job_name(job_name, location)
        execution.executor()(self._builder.freeze(name, location))


def _encoded(collection: Sequence[Any], location: Location) -> tuple[bytes, ...]:
    if not isinstance(collection, Sequence) or isinstance(collection, str | bytes):
        raise JobError(
            f"from_collection() takes a list or tuple, not {type(collection).__name__}",
            help="every process must see the same elements in the same order: make a list of them",
            location=location,
        )
    try:
        return tuple(encode(element) for element in collection)
    except EncodeError as error:
        raise JobError(f"from_collection(): {error.message}", help=error.help, location=location) from error


def _timeout_ms(timeout: Duration | None) -> int | None:
    if timeout is None:
        return None
    if not isinstance(timeout, Duration) or timeout.to_millis() < 1:
        raise ValueError(f"timeout={timeout!r} is not a Duration of at least a millisecond")
    return timeout.to_millis()


def _checked_job_name(job_name: str | None, location: Location) -> str:
    if job_name is None:
        return os.path.splitext(os.path.basename(location.file))[0].strip("<>") or "job"
    valid = isinstance(job_name, str) and job_name.isprintable() and 0 < len(job_name) <= 100
    if not valid or job_name != job_name.strip() or job_name.startswith(".") or set(job_name) & set("/\\:"):
        raise JobError(
            f"job name {job_name!r} cannot be the name of a folder",
            help='give a short one without slashes, such as env.execute("orders")',
            location=location,
        )
    return job_name
