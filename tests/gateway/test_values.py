"""What a source's value is, for each kind of source, in both lanes; and the names of routes."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import pytest

from mini_flink.gateway import problem
from mini_flink.gateway.port import Answer
from mini_flink.gateway.routes import RouteTable, SourceRoute
from tests.gateway.conftest import Serve
from tests.gateway.served import Served


@pytest.mark.parametrize(
    ("method", "url", "body", "value"),
    [
        ("POST", "/event", b'{"a": [1, null]}', {"a": [1, None]}),
        ("POST", "/event?a=1", b"{}", {}),  # query parameters belong to GET and DELETE
        ("PUT", "/things?a=1", b'{"b": 2}', {"b": 2}),
        ("GET", "/things?a=1&b=&c=%C3%A4+%26", b"", {"a": "1", "b": "", "c": "ä &"}),
        ("GET", "/things?a=1&a=2&a=3", b"", {"a": ["1", "2", "3"]}),
        ("GET", "/things?", b"", {}),
        ("GET", "/things?a=1#fragment", b"", {"a": "1"}),
        ("GET", "http://test/things?a=1", b"", {"a": "1"}),
        ("GET", "/things?a=1", b'{"b": 2}', {"a": "1", "b": 2}),
        ("DELETE", "/things?a=1", b"", {"a": "1"}),
        ("POST", "/things/7?a=1", b'{"b": 2}', {"thing_id": 7, "b": 2}),
        ("GET", "/things/7?a=1", b"", {"thing_id": 7, "a": "1"}),
        ("POST", "/any", b"[1, 2.5]", [1, 2.5]),
        ("POST", "/any", b'"text"', "text"),
        ("POST", "/any", b"null", None),
        ("POST", "/any", b"", {}),
        ("POST", "/raw", b"\xff\x00{", b"\xff\x00{"),
        ("POST", "/raw", b"", b""),
    ],
)
def test_values(served: Served, method: str, url: str, body: bytes, value: Any) -> None:
    with served.connect() as client:
        assert client.ask(url, body, method=method).status == 200
    ((_, submitted),) = served.ingress.submitted
    assert submitted == value
    assert type(submitted) is type(value)


def test_a_whole_request(served: Served) -> None:
    with served.connect() as client:
        secret = ("Authorization: Bearer secret", "X-Trace: one", "x-trace: two", "Cookie: secret")
        response = client.ask("/request/%C3%A4?q=1&q=2&r=", b"[1]", *secret)
    value = response.json()["value"]
    assert abs(value.pop("timestamp") - 1000 * time.time()) < 5000
    assert value == {
        "id": "request-1",
        "method": "POST",
        "path": "/request/ä",
        "path_params": {"name": "ä"},
        "query": {"q": ["1", "2"], "r": [""]},
        "headers": {"x-trace": "one, two"},
        "body": [1],
    }


def test_convertors_and_percent_signs(serve: Serve) -> None:
    routes = [
        SourceRoute(1, "/u/{u:uuid}"),
        SourceRoute(2, "/f/{f:float}"),
        SourceRoute(3, "/p/{p:path}"),
        SourceRoute(4, "/a b/ä"),
    ]
    served = serve(routes)
    identity = uuid.uuid4()
    with served.connect() as client:
        assert client.ask(f"/u/{identity}").status == 200
        assert client.ask("/f/1.5").status == 200
        assert client.ask("/p/a/b%20c").status == 200
        assert client.ask("/a%20b/%c3%a4").status == 200
    assert served.ingress.submitted == [(1, {"u": identity}), (2, {"f": 1.5}), (3, {"p": "a/b c"}), (4, {})]


def test_a_job_may_have_the_servers_paths(serve: Serve) -> None:
    served = serve([SourceRoute(1, "/healthz", ("GET",))])
    with served.connect() as client:
        assert client.ask("/healthz", method="GET").json()["source"] == 1
        assert client.ask("/readyz", method="GET").json() == {"status": "ok"}


# --- routes -----------------------------------------------------------------------------------------------


def table(*routes: tuple[str, str]) -> RouteTable[str]:
    return RouteTable([(SourceRoute(1, path, (method,)), f"{method} {path}") for method, path in routes])


def test_a_path_without_parameters_goes_first() -> None:
    routes = table(("GET", "/a/{x}"), ("GET", "/a/b"), ("POST", "/a/{y:int}"))
    assert routes.resolve("GET", "/a/b") == ("GET /a/b", {})
    assert routes.resolve("GET", "/a/c") == ("GET /a/{x}", {"x": "c"})
    assert routes.resolve("POST", "/a/5") == ("POST /a/{y:int}", {"y": 5})
    assert routes.resolve("HEAD", "/a/b") == ("GET /a/b", {})


def test_allow_is_merged_from_all_that_match() -> None:
    routes = table(("GET", "/a/{x}"), ("PUT", "/a/b"), ("DELETE", "/a/{y:int}"))
    assert routes.resolve("POST", "/a/b") == problem.method_not_allowed("GET, HEAD, PUT")
    assert routes.resolve("POST", "/a/5") == problem.method_not_allowed("DELETE, GET, HEAD")
    assert routes.resolve("OPTIONS", "/a/5") == Answer(204, ((b"allow", b"DELETE, GET, HEAD"),), b"")


@pytest.mark.parametrize("path", ["/a/b/", "/a", "/i/1\n", "/a//b", "", "/i/" + "9" * 5000])
def test_paths_are_exact(path: str) -> None:
    answer = table(("GET", "/a/{x}"), ("GET", "/i/{i:int}")).resolve("GET", path)
    assert answer == problem.not_found(["GET /a/{x}", "GET /i/{i:int}"])


# --- problems ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "status", "members"),
    [
        (problem.failed_record("e1", "total"), 500, {"error_id": "e1", "operator": "total"}),
        (problem.timeout(), 504, {}),
        (problem.overloaded(0), 503, {}),
        (problem.bad_body("expected a value", 2, 3), 400, {"line": 2, "column": 3}),
        (
            problem.not_found([f"POST /{n}" for n in range(99)]),
            404,
            {"inputs": [f"POST /{n}" for n in range(50)]},
        ),
        (problem.bad_body("lone surrogate \ud800", 1, 1), 400, {}),
    ],
)
def test_problems(answer: Answer, status: int, members: dict[str, Any]) -> None:
    assert answer.status == status
    headers = dict(answer.headers)
    assert headers[b"content-type"] == b"application/problem+json"
    content = json.loads(answer.body)
    assert content["status"] == status
    assert content["type"] == f"urn:mini-flink:problem:{content['code']}"
    assert content["title"]
    assert members.items() <= content.items()
    if status == 503:
        assert headers[b"retry-after"] == b"1"
