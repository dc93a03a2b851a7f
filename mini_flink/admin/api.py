"""The routes: one table, from which routing, the OpenAPI text and the tests follow.

Handlers only look up what ``Watch`` knows, or hand a change to ``Operations``. GET changes nothing.
"""

from __future__ import annotations

import asyncio
import json
import time
import traceback
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Match, Route
from starlette.staticfiles import StaticFiles

from mini_flink import console
from mini_flink.admin import flink
from mini_flink.admin.drawing import Drawing
from mini_flink.admin.exposition import CONTENT_TYPE, expose
from mini_flink.admin.feed import Feed, Viewer
from mini_flink.admin.guard import BODY_BYTES, Refusal
from mini_flink.admin.letters import Letters
from mini_flink.admin.openapi import Entry, Handler, describe
from mini_flink.admin.operations import QUESTIONS, Operations, checked, effect, request_schema, shown
from mini_flink.admin.sampling import name_of
from mini_flink.admin.states import UNKNOWN
from mini_flink.admin.watch import INTERVAL_S, Known, Watch
from mini_flink.asking import RefusedError, UnavailableError
from mini_flink.errors import BusyError, FolderError, UsageError
from mini_flink.runners import keyed_state
from mini_flink.runners.snapshots import list_all
from mini_flink.spec import AdminSpec
from mini_flink.state.position import Position

STATIC = Path(__file__).parent / "static"
STALE_S = 5.0
ROWS = 100
_KEEP_ALIVE_S = 15.0
_SAVEPOINT = {
    "type": "object",
    "properties": {"target-directory": {"type": ["string", "null"]}, "cancel-job": {"const": False}},
}
_RANGES = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600, "6h": 21_600, "24h": 86_400}


class Api:
    """What the handlers need; ``routes`` is the table."""

    def __init__(self, spec: AdminSpec, watch: Watch) -> None:
        self._spec = spec
        self._watch = watch
        self._feed = Feed(watch.hello)
        watch.tell = self._feed.send
        self._letters = Letters(spec.data_dir, payloads=spec.payloads)
        self._operations = Operations(spec.data_dir, self._tell_operation)
        self.routes = self._table()

    def _tell_operation(self, kind: str, operation: dict[str, Any]) -> None:
        if str(operation["kind"]).startswith("dlq_"):
            self._letters.changed()
        self._feed.send(kind, operation)

    def app(self) -> Starlette:
        """The application, without its guard."""
        routes: list[Any] = [
            Route(each.path, _answering(each.handler), methods=[each.method]) for each in self.routes
        ]
        routes.append(Route("/", self._page, methods=["GET"]))
        handlers: dict[Any, Any] = {
            Refusal: _refused,
            HTTPException: self._no_such_route,
            ClientDisconnect: _gone,
        }
        app = Starlette(routes=routes, exception_handlers=handlers)
        app.mount("/static", StaticFiles(directory=STATIC, check_dir=False))
        return app

    def _table(self) -> list[Entry]:
        v1, job = "/api/v1", "/jobs/{jid}"
        return [
            Entry("GET", "/healthz", self._health, "Whether this process knows of the server", is_open=True),
            Entry(
                "GET", "/metrics", self._metrics, "All metrics as Prometheus reads them", media="text/plain"
            ),
            Entry("GET", "/overview", self._cluster, "The cluster, as Flink shows it: workers and jobs"),
            Entry("GET", "/config", self._configuration, "How often to ask, and the version"),
            Entry("GET", "/jobs", self._jobs, "The job and its status"),
            Entry("GET", "/jobs/overview", self._overview, "The job, as Flink shows it"),
            Entry("GET", job, self._job, "The job with its vertices and plan"),
            Entry(
                "GET",
                f"{job}/vertices/{{vid:path}}/backpressure",
                self._back_pressure,
                "Whether records wait",
            ),
            Entry(
                "GET",
                f"{job}/vertices/{{vid:path}}/subtasks/metrics",
                self._subtask_metrics,
                "Metrics over all subtasks: ?get=numRecordsIn,…&agg=min,max,avg,sum",
                query=("get", "agg"),
            ),
            Entry(
                "GET",
                f"{job}/vertices/{{vid:path}}/metrics",
                self._vertex_metrics,
                "Metrics of each subtask by Flink's names: ?get=0.numRecordsIn,…",
                query=("get",),
            ),
            Entry("GET", f"{job}/vertices/{{vid:path}}", self._vertex, "One vertex"),
            Entry("GET", f"{job}/plan", self._job_plan, "The job's nodes and their inputs"),
            Entry(
                "GET",
                f"{job}/exceptions",
                self._exceptions,
                "What made records dead letters: ?maxExceptions=20",
                query=("maxExceptions",),
            ),
            Entry(
                "GET",
                f"{job}/metrics",
                self._job_metrics,
                "Metrics of the job by Flink's names",
                query=("get",),
            ),
            Entry("GET", f"{job}/checkpoints", self._checkpoints, "Snapshots: counts and the latest"),
            Entry(
                "POST",
                f"{job}/savepoints",
                self._savepoint,
                "Take a savepoint; the answer has its trigger id",
                body=_SAVEPOINT,
            ),
            Entry("GET", f"{job}/savepoints/{{trigger}}", self._trigger, "What has become of a savepoint"),
            Entry("GET", f"{v1}/openapi.json", self._openapi, "This description"),
            Entry(
                "GET",
                f"{v1}/plan",
                self._plan,
                "Nodes and edges; the ETag is the plan's hash",
                headers=("if-none-match",),
            ),
            Entry("GET", f"{v1}/tick", self._tick, "The latest second: verdict, rates, shares, percentiles"),
            Entry(
                "GET",
                f"{v1}/nodes/{{id:path}}/errors",
                self._node_errors,
                "What fails in one node, in groups",
            ),
            Entry("GET", f"{v1}/nodes/{{id:path}}", self._node, "One node with its subtasks"),
            Entry(
                "GET",
                f"{v1}/history",
                self._history,
                "Series over time: ?series=http.rps,…&range=15m",
                query=("series", "range"),
            ),
            Entry("GET", f"{v1}/processes", self._processes, "Processes with what they use"),
            Entry("GET", f"{v1}/snapshots", self._snapshots, "Snapshots that are there"),
            Entry("GET", f"{v1}/events", self._events, "What happened lately"),
            Entry(
                "GET",
                f"{v1}/deadletters",
                self._dead_letters,
                "Records that failed, newest first, 100 at a time: ?operator=&group=&cursor=",
                query=("operator", "group", "cursor"),
            ),
            Entry(
                "GET", f"{v1}/deadletters/{{id}}", self._dead_letter, "One of them whole, with its traceback"
            ),
            Entry(
                "GET",
                f"{v1}/errors",
                self._errors,
                "What fails, in groups of one place and kind of error",
                query=("operator",),
            ),
            Entry(
                "GET",
                f"{v1}/keys/{{node:path}}",
                self._keys,
                "State of a key, ?key= as JSON or plain, &state=; without key a page: &after=&limit=",
                query=("key", "state", "after", "limit"),
            ),
            Entry(
                "GET",
                f"{v1}/stream",
                self._stream,
                "Server-sent events: hello, tick, event, op",
                headers=("last-event-id",),
                media="text/event-stream",
            ),
            Entry("GET", f"{v1}/ops", self._ops, "Operations, newest first"),
            Entry("GET", f"{v1}/ops/{{id}}", self._op, "One operation"),
            Entry(
                "POST",
                f"{v1}/ops",
                self._operate,
                "Begin an operation, or with dry_run say its effect",
                headers=("idempotency-key",),
                body=request_schema(),
            ),
        ]

    # --- looks ------------------------------------------------------------------------------------------

    @property
    def _known(self) -> Known:
        known = self._watch.known
        if known is None:
            raise Refusal(503, "not-ready", "nothing is known of the server yet", {"retry-after": "1"})
        return known

    @property
    def _last(self) -> dict[str, Any]:
        """The latest tick with its age; of a supervisor that answers no more nothing is known now."""
        known = self._known
        age_s = round(time.monotonic() - known.reading.at_s, 1)
        if age_s < STALE_S:
            return {**known.tick, "stale_s": age_s}
        text = f"the supervisor has not answered for {age_s:.0f} s: all else is of that time"
        verdict = {"level": UNKNOWN, "code": "UNKNOWN", "node": None, "text": text}
        return {**known.tick, "stale_s": age_s, "state": UNKNOWN, "verdict": verdict}

    @property
    def _drawing(self) -> Drawing:
        return self._known.drawing

    @property
    def _status(self) -> Mapping[str, Any]:
        return self._known.reading.status

    def _own_job(self, request: Request) -> None:
        jid = request.path_params["jid"]
        if jid not in (flink.job_id(self._spec.job), self._spec.job):
            raise Refusal(404, "no-such-job", f"the job is {flink.job_id(self._spec.job)}")

    def _own_node(self, uid: str) -> str:
        if uid not in self._drawing.parallelism:
            raise Refusal(404, "no-such-node", f"the nodes are {', '.join(self._drawing.parallelism)}")
        return uid

    async def _health(self, _: Request) -> Response:
        known = self._watch.known
        age_s = None if known is None else round(time.monotonic() - known.reading.at_s, 1)
        fresh = age_s is not None and age_s < STALE_S
        return JSONResponse({"ok": fresh, "age_s": age_s}, 200 if fresh else 503)

    async def _metrics(self, _: Request) -> Response:
        reading = self._known.reading
        if time.monotonic() - reading.at_s >= STALE_S:
            raise Refusal(503, "stale", "the supervisor does not answer: nothing is known of this moment")
        text = expose(reading, self._feed.viewers)
        return Response(text, headers={"content-type": CONTENT_TYPE})

    async def _overview(self, _: Request) -> Response:
        return JSONResponse(flink.overview(self._last, self._drawing.public))

    async def _job(self, request: Request) -> Response:
        self._own_job(request)
        return JSONResponse(flink.job(self._last, self._drawing.public))

    async def _vertex(self, request: Request) -> Response:
        self._own_job(request)
        uid = self._own_node(request.path_params["vid"])
        return JSONResponse(flink.vertex(self._last, self._drawing.public, uid))

    async def _back_pressure(self, request: Request) -> Response:
        self._own_job(request)
        return JSONResponse(flink.back_pressure(self._last, self._own_node(request.path_params["vid"])))

    async def _job_metrics(self, request: Request) -> Response:
        self._own_job(request)
        return JSONResponse(_chosen(flink.metrics(self._last), request))

    async def _cluster(self, _: Request) -> Response:
        return JSONResponse(flink.cluster(self._last, self._drawing.public))

    async def _configuration(self, _: Request) -> Response:
        return JSONResponse(flink.configuration(self._drawing.public, round(INTERVAL_S * 1000)))

    async def _jobs(self, _: Request) -> Response:
        return JSONResponse(flink.jobs(self._last, self._drawing.public))

    async def _job_plan(self, request: Request) -> Response:
        self._own_job(request)
        return JSONResponse(flink.job_plan(self._drawing.public))

    async def _vertex_metrics(self, request: Request) -> Response:
        self._own_job(request)
        subtasks = self._watch.subtasks(self._own_node(request.path_params["vid"]))
        return JSONResponse(_chosen(flink.vertex_metrics(subtasks), request))

    async def _subtask_metrics(self, request: Request) -> Response:
        self._own_job(request)
        subtasks = self._watch.subtasks(self._own_node(request.path_params["vid"]))
        wanted = _names(request, "agg")
        if not set(wanted) <= set(flink.AGGREGATES):
            raise Refusal(400, "bad-aggregate", f"agg is some of {', '.join(flink.AGGREGATES)}")
        return JSONResponse(_chosen(flink.subtask_metrics(subtasks, wanted), request))

    async def _exceptions(self, request: Request) -> Response:
        self._own_job(request)
        most = request.query_params.get("maxExceptions", "20")
        if not most.isdecimal() or not 1 <= int(most[:6]) <= ROWS:
            raise Refusal(400, "bad-limit", f"maxExceptions is a number from 1 to {ROWS}")
        groups = (await self._letters.errors(None))["errors"]
        shown = groups[: int(most)]
        return JSONResponse(flink.exceptions(shown, truncated=len(shown) < len(groups)))

    async def _checkpoints(self, request: Request) -> Response:
        self._own_job(request)
        return JSONResponse(flink.checkpoints(self._last, self._status))

    async def _trigger(self, request: Request) -> Response:
        self._own_job(request)
        return JSONResponse(flink.trigger(self._operations.get(request.path_params["trigger"]).public()))

    async def _openapi(self, _: Request) -> Response:
        return JSONResponse(describe(self.routes, has_token=bool(self._spec.token)))

    async def _plan(self, request: Request) -> Response:
        tag = f'"{self._drawing.hash}"'
        headers = {"etag": tag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return JSONResponse(self._drawing.public, headers=headers)

    async def _tick(self, _: Request) -> Response:
        return JSONResponse(self._last)

    async def _node(self, request: Request) -> Response:
        uid = self._own_node(request.path_params["id"])
        node = next(each for each in self._drawing.public["nodes"] if each["id"] == uid)
        now = next(each for each in self._last["nodes"] if each["id"] == uid)
        return JSONResponse({**node, "now": now, "subtasks": self._watch.subtasks(uid)})

    async def _history(self, request: Request) -> Response:
        last = self._last
        span = request.query_params.get("range", "15m")
        if span not in _RANGES:
            raise Refusal(400, "bad-range", f"a range is one of {', '.join(_RANGES)}")
        known = self._watch.history.names()
        names = [name for name in request.query_params.get("series", "").split(",") if name][:ROWS]
        if not names:
            return JSONResponse({"names": known})
        series = self._watch.history.series(names, _RANGES[span], last["ts"])
        return JSONResponse({"range": span, "series": series})

    async def _processes(self, _: Request) -> Response:
        known = {process["id"]: process for process in self._last["procs"]}
        rows = [{**known.get(name_of(process), {}), "counters": process["counters"]}
                for process in self._status["processes"]]  # fmt: skip
        return JSONResponse({"processes": rows})

    async def _snapshots(self, _: Request) -> Response:
        facts = self._status["snapshots"]
        try:
            found = await asyncio.to_thread(list_all, facts["location"], may_be_new=True)
        except (RefusedError, OSError) as error:
            raise Refusal(503, "store-unavailable", str(error)) from error
        newest_first = found["snapshots"][::-1]
        more = max(0, len(newest_first) - ROWS)
        return JSONResponse({**facts, "snapshots": newest_first[:ROWS], "more": more})

    async def _events(self, _: Request) -> Response:
        return JSONResponse({"events": list(reversed(self._status["events"]))[:ROWS]})

    async def _dead_letters(self, request: Request) -> Response:
        asked = request.query_params
        found = await self._letters.page(asked.get("operator"), asked.get("group"), asked.get("cursor"))
        return JSONResponse(found)

    async def _dead_letter(self, request: Request) -> Response:
        return JSONResponse(await self._letters.one(request.path_params["id"]))

    async def _errors(self, request: Request) -> Response:
        return JSONResponse(await self._letters.errors(request.query_params.get("operator")))

    async def _node_errors(self, request: Request) -> Response:
        uid = self._own_node(request.path_params["id"])
        return JSONResponse(await self._letters.errors(uid))

    async def _keys(self, request: Request) -> Response:
        uid, given = self._own_node(request.path_params["node"]), request.query_params
        if not self._spec.payloads:
            hidden = "what state holds is not shown here: admin_payloads is off"
            raise Refusal(403, "payloads-hidden", f"{hidden}; python -m mini_flink state get KEY shows it")
        state, server = given.get("state") or None, keyed_state.server(self._spec.data_dir)
        if "key" in given:
            told = await _asked(keyed_state.get, server, given["key"], uid, state)
        else:
            limit, after = _limit(given.get("limit")), _cursor(given.get("after"))
            told = await _asked(keyed_state.scan, server, uid, state, limit, after)
        return JSONResponse(told)

    # --- the stream -------------------------------------------------------------------------------------

    async def _stream(self, request: Request) -> Response:
        _ = self._known
        if self._feed.is_full:
            raise Refusal(503, "too-many-streams", "as many pages look as may", {"retry-after": "5"})
        viewer = self._feed.open(request.headers.get("last-event-id", ""))
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(self._frames(viewer), media_type="text/event-stream", headers=headers)

    async def _frames(self, viewer: Viewer) -> AsyncIterator[bytes]:
        try:
            while True:
                try:
                    yield await asyncio.wait_for(viewer.next(), _KEEP_ALIVE_S)
                except TimeoutError:
                    yield b": still here\n\n"
        finally:
            self._feed.close(viewer)

    # --- changes ----------------------------------------------------------------------------------------

    async def _ops(self, _: Request) -> Response:
        return JSONResponse({"ops": self._operations.all(), "kinds": [*QUESTIONS]})

    async def _op(self, request: Request) -> Response:
        return JSONResponse(self._operations.get(request.path_params["id"]).public())

    async def _operate(self, request: Request) -> Response:
        body = await _body(request)
        kind, args = checked(body.get("kind"), body.get("args") or {}, self._drawing.public)
        self._check_expected(body.get("expect") or {})
        if body.get("dry_run"):
            text = effect(kind, args, self._last, self._drawing.public)
            return JSONResponse({"kind": kind, "args": shown(args), "dry_run": True, "text": text})
        key = request.headers.get("idempotency-key", "")
        operation = self._operations.begin(kind, args, _who(request), key)
        return JSONResponse(operation.public(), 202, {"location": f"/api/v1/ops/{operation.id}"})

    def _check_expected(self, expected: Any) -> None:
        if not isinstance(expected, dict):
            raise Refusal(400, "bad-arguments", "expect is an object")
        now = {"plan_hash": self._drawing.hash, "count": self._last["dlq"]["present"]}
        for name, value in expected.items():
            if name in now and now[name] != value:
                raise Refusal(409, "changed-meanwhile", f"{name} is {now[name]} now")

    async def _savepoint(self, request: Request) -> Response:
        self._own_job(request)
        body = await _body(request)
        if body.get("cancel-job"):
            raise Refusal(400, "not-supported", "a savepoint cancels nothing here: drain the server instead")
        asked = {"location": body.get("target-directory")}
        kind, args = checked("savepoint", asked, self._drawing.public)
        operation = self._operations.begin(kind, args, _who(request))
        return JSONResponse({"request-id": operation.id}, 202)

    async def _no_such_route(self, request: Request, error: HTTPException) -> Response:
        """404 and 405 of the routing; the methods of a path are those of all routes that have it."""
        if error.status_code != 405:
            refusal = Refusal(error.status_code, "not-found", f"there is nothing at {request.url.path}")
            return await _refused(request, refusal)
        routes = [Route(each.path, each.handler, methods=[each.method]) for each in self.routes]
        allowed = sorted(
            {
                method
                for route in routes
                if route.matches(request.scope)[0] != Match.NONE
                for method in route.methods or ()
            }
            or {"GET", "HEAD"}
        )
        text = f"{request.method} is not for {request.url.path}; {', '.join(allowed)} may be"
        return await _refused(
            request, Refusal(405, "method-not-allowed", text, {"allow": ", ".join(allowed)})
        )

    # --- the page ---------------------------------------------------------------------------------------

    async def _page(self, _: Request) -> Response:
        page = STATIC / "index.html"
        if not page.exists():
            return Response(f"{self._spec.job}: see /api/v1/openapi.json\n", media_type="text/plain")
        return FileResponse(page, headers={"cache-control": "no-cache"})


async def _asked(ask: Callable[..., dict[str, Any]], *question: Any) -> dict[str, Any]:
    """What the supervisor answers to a question that changes nothing."""
    try:
        return await asyncio.to_thread(ask, *question)
    except UsageError as error:
        raise Refusal(404, "no-such-state", "; ".join(filter(None, [error.message, error.help]))) from error
    except (RefusedError, BusyError) as error:
        raise Refusal(409, "refused", "; ".join(filter(None, [error.message, error.help]))) from error
    except (UnavailableError, FolderError) as error:
        raise Refusal(503, "not-ready", error.message) from error


def _limit(given: str | None) -> int:
    if given is None:
        return ROWS
    if not given.isdecimal() or not 1 <= int(given[:6]) <= ROWS:
        raise Refusal(400, "bad-limit", f"a page has 1 to {ROWS} rows")
    return int(given)


def _cursor(given: str | None) -> str | None:
    try:
        Position.read(given or None)
    except UsageError as error:
        raise Refusal(400, "bad-cursor", error.message) from error
    return given or None


def _names(request: Request, parameter: str) -> list[str]:
    return [name for name in request.query_params.get(parameter, "").split(",") if name]


def _chosen(metrics: list[dict[str, Any]], request: Request) -> list[dict[str, Any]]:
    """Those that were asked for with ``get``; all of them if none was."""
    wanted = _names(request, "get")
    return [each for each in metrics if not wanted or each["id"] in wanted]


def page_text() -> str:
    """The page as it is served; nothing if there is none."""
    page = STATIC / "index.html"
    return page.read_text() if page.exists() else ""


async def _body(request: Request) -> dict[str, Any]:
    """A JSON object of at most ``BODY_BYTES``, all of it UTF-8; nothing at all is an empty one."""
    data = b""
    async for part in request.stream():
        data += part
        if len(data) > BODY_BYTES:
            raise Refusal(413, "body-too-large", f"at most {BODY_BYTES} bytes are taken")
    try:
        body = json.loads(data or b"{}")
        json.dumps(body, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "bad-body", f"the body is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise Refusal(400, "bad-body", "the body is a JSON object")
    return body


def _who(request: Request) -> str:
    peer = request.client.host if request.client else "an unknown address"
    return f"{peer} with the token" if request.scope["mini_flink.has_token"] else peer


def _answering(handler: Handler) -> Handler:
    """The handler, whose unforeseen errors are an answer, and one event of the log instead of many lines."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except (Refusal, HTTPException, ClientDisconnect):
            raise
        except Exception as error:
            text = "".join(traceback.format_exception(error)).rstrip()
            at = f"{request.method} {request.url.path}"
            console.event("error", f"{at} failed, a bug in mini_flink:\n{text}", name="admin.failed", at=at)
            raise Refusal(500, "internal-error", "a bug in mini_flink; the server's log has more") from error

    return answer


async def _gone(_: Request, __: Exception) -> Response:
    """To a client that has hung up: nobody reads it."""
    return Response(status_code=400)


async def _refused(_: Request, refusal: Refusal) -> Response:
    headers = {"content-type": "application/problem+json", **refusal.headers}
    return Response(refusal.body(), refusal.status, headers)
