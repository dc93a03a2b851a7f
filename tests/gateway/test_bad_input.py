"""What bad input gets: every row of the table in the README that is HTTP's, and what attackers send."""

from __future__ import annotations

import threading
import time

import pytest

from tests.gateway.conftest import Serve
from tests.gateway.served import Limits, Served, eventually, head

POST = "POST /event HTTP/1.1\r\nHost: test\r\n"


# --- bodies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "line", "column"),
    [
        (b'{"a": 1,\n "b": oops}', 2, 7),
        (b"hello", 1, 1),
        (b'{"a": 1', 1, 8),
        (b'{"a": NaN}', 1, 7),
        (b'{"a": \xff}', 1, 7),
        (b'{"a": "\xff"}', 1, 8),
        (b'{"a":' * 200 + b"1" + b"}" * 200, 1, 641),
        (b"\n  [1]", 2, 3),
        (b'"text"', 1, 1),
        (b"null", 1, 1),
    ],
)
def test_a_body_that_is_not_the_json_that_is_due(served: Served, body: bytes, line: int, column: int) -> None:
    with served.connect() as client:
        response = client.ask("/event", body)
        assert response.status == 400
        problem = response.problem()
        assert problem["code"] == "bad-body"
        assert (problem["line"], problem["column"]) == (line, column)
        assert client.ask("/event", b"{}").status == 200
    assert len(served.ingress.submitted) == 1


def test_a_name_that_is_given_twice(served: Served) -> None:
    with served.connect() as client:
        response = client.ask("/things/7", b'{"thing_id": 8}')
        assert response.status == 400
        assert response.problem()["name"] == "thing_id"
        assert client.ask("/things/7?thing_id=8", method="GET").status == 400
        assert client.ask("/things/7", b"{}").json()["value"] == {"thing_id": 7}


@pytest.mark.parametrize("url", ["/%ff", "/things?a=%ff", "/things/%ff"])
def test_a_url_that_is_not_utf_8(served: Served, url: str) -> None:
    with served.connect() as client:
        response = client.ask(url, method="GET")
        assert response.status == 400
        assert response.problem()["code"] == "bad-parameters"


def test_a_body_that_says_it_is_too_large(served: Served) -> None:
    with served.connect() as client:
        client.send(head("POST", "/event", f"Content-Length: {(1 << 20) + 1}"))
        response = client.read()  # before any of the body
        assert response.status == 413
        assert response.problem()["limit_bytes"] == 1 << 20
        assert client.is_at_end()


def test_a_body_that_says_it_is_too_large_where_nothing_is(served: Served) -> None:
    with served.connect() as client:
        client.send(head("POST", "/nowhere", "Content-Length: 999999999"))
        assert client.read().status == 413


def test_expect_100_continue_with_a_body_that_is_too_large(served: Served) -> None:
    with served.connect() as client:
        client.send(head("POST", "/event", "Content-Length: 999999999", "Expect: 100-continue"))
        assert client.read().status == 413


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_client_that_sends_50_megabytes_can_read_its_413(served: Served, framing: str) -> None:
    size, piece = 50_000_000, b"x" * 500_000
    with served.connect() as client:
        if framing == "length":
            client.send(head("POST", "/raw", f"Content-Length: {size}"))
        else:
            client.send(head("POST", "/raw", "Transfer-Encoding: chunked"))
        for _ in range(size // len(piece)):
            client.send(piece if framing == "length" else b"%x\r\n%b\r\n" % (len(piece), piece))
        assert client.read().status == 413
        assert client.is_at_end()
        client.socket.shutdown(1)
        eventually(lambda: served.connections() == 0)
    assert served.ingress.submitted == []


def test_a_body_of_just_the_limit(serve: Serve) -> None:
    served = serve(limits=Limits(max_body_bytes=1000))
    with served.connect() as client:
        assert client.ask("/raw", b"x" * 1000).status == 200
        assert client.ask("/raw", b"x" * 1001).status == 413


def test_a_body_that_does_not_arrive(serve: Serve) -> None:
    served = serve(limits=Limits(body_timeout_ms=200))
    with served.connect() as client:
        client.send(head("POST", "/event", "Content-Length: 8"), b'{"a')
        response = client.read()
        assert response.status == 408
        assert response.headers["connection"] == "close"
        assert client.is_at_end()
    eventually(lambda: served.connections() == 0)
    eventually(lambda: served.tasks() == 0)
    assert served.ingress.submitted == []


def test_a_body_that_trickles(serve: Serve) -> None:
    served = serve(limits=Limits(body_timeout_ms=200))
    with served.connect() as client:
        client.send(head("POST", "/event", "Content-Length: 100000"))
        stop = threading.Event()

        def trickle() -> None:
            while not stop.wait(0.01):
                client.send(b" ")

        thread = threading.Thread(target=trickle)
        thread.start()
        assert client.read().status == 408
        stop.set()
        thread.join()


# --- routes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/nowhere", "/event/", "//event", "/Event", "/things/x", "/things/1%0A"])
def test_a_path_that_is_no_input(served: Served, path: str) -> None:
    with served.connect() as client:
        response = client.ask(path, b"{}")
        assert response.status == 404
        assert "POST /event" in response.problem()["inputs"]
        assert client.ask("/event", b"{}").status == 200


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/event", "POST"),
        ("POST", "/things", "DELETE, GET, HEAD, PUT"),
        ("PATCH", "/things/7", "GET, HEAD, POST"),
        ("HEAD", "/event", "POST"),
    ],
)
def test_a_method_that_the_path_does_not_take(served: Served, method: str, path: str, allow: str) -> None:
    with served.connect() as client:
        response = client.ask(path, method=method)
        assert response.status == 405
        assert response.headers["allow"] == allow
        assert client.ask("/event", b"{}").status == 200


# --- heads ------------------------------------------------------------------------------------------------


def test_a_head_that_is_too_large(served: Served) -> None:
    with served.connect() as client:
        lines = [f"X-{number}: {'x' * 1000}" for number in range(33)]
        response = client.ask("/event", b"{}", *lines)
        assert response.status == 431
        assert response.problem()["code"] == "head-too-large"
        assert client.is_at_end()


def test_a_head_of_just_the_limit(serve: Serve) -> None:
    served = serve(limits=Limits(max_header_fields=4))
    with served.connect() as client:
        assert client.ask("/event", b"{}", "A: 1", "B: 2").status == 200
        assert client.ask("/event", b"{}", "A: 1", "B: 2", "C: 3").status == 431


def test_too_many_fields(served: Served) -> None:
    with served.connect() as client:
        assert client.ask("/event", b"{}", *(f"X-{number}: 1" for number in range(99))).status == 431


def test_a_url_that_is_too_long(served: Served) -> None:
    with served.connect() as client:
        assert client.ask("/things?" + "x" * 33_000, method="GET").status == 431


@pytest.mark.parametrize("endless", [b"x" * 1000, b"X-Field: 1\r\n" * 100])
@pytest.mark.parametrize("start", [POST.encode() + b"X-Endless: 1\r\nX-More: ", b"GET /"])
def test_an_endless_head(served: Served, start: bytes, endless: bytes) -> None:
    with served.connect() as client:
        client.send(start)
        sent = 0
        try:
            while sent < 400_000:
                client.send(endless)
                sent += len(endless)
                time.sleep(0)
        except OSError:
            pass
        assert client.read().status in (400, 431)


def test_endless_trailers(served: Served) -> None:
    with served.connect() as client:
        client.send(head("POST", "/event", "Transfer-Encoding: chunked"), b"2\r\n{}\r\n0\r\n")
        client.send(b"X-Trailer: 1\r\n" * 4000)
        assert client.read().status == 431
    assert served.ingress.submitted == []


def test_an_endless_chunk_extension(served: Served) -> None:
    with served.connect() as client:
        client.send(head("POST", "/event", "Transfer-Encoding: chunked"), b"2;")
        for _ in range(100):
            client.send(b"x" * 1000)
        assert client.read().status == 431
        client.close()


def test_trailers_are_no_headers(served: Served) -> None:
    with served.connect() as client:
        client.send(head("POST", "/request/a", "Transfer-Encoding: chunked"), b"2\r\n{}\r\n0\r\n")
        client.send(b"X-Trace: from the trailer\r\n\r\n")
        assert client.read().json()["value"]["headers"] == {}


def test_a_head_that_does_not_arrive(serve: Serve) -> None:
    served = serve(limits=Limits(header_timeout_ms=200))
    with served.connect() as client:
        client.send(b"POST /event HTTP/1.1\r\nHost: te")
        started = time.monotonic()
        assert client.is_at_end()
        assert time.monotonic() - started > 0.15
    eventually(lambda: served.connections() == 0)


def test_slow_loris(serve: Serve) -> None:
    served = serve(limits=Limits(header_timeout_ms=300))
    clients = [served.connect() for _ in range(20)]
    for client in clients:
        client.send(b"POST /event HTTP/1.1\r\nHost: test\r\nX: ")

    def are_cut() -> bool:
        for client in clients:
            try:
                client.send(b"x")
            except OSError:
                continue
        return served.connections() == 0

    eventually(are_cut)
    for client in clients:
        client.close()


@pytest.mark.parametrize("sent", [b"", b"\r\n\r\n"])
def test_a_connection_without_a_request(serve: Serve, sent: bytes) -> None:
    served = serve(limits=Limits(header_timeout_ms=200))
    with served.connect() as client:
        client.send(sent)
        assert client.is_at_end()


def test_an_idle_connection(serve: Serve) -> None:
    served = serve(limits=Limits(keep_alive_timeout_ms=200))
    with served.connect() as client:
        assert client.ask("/event", b"{}").status == 200
        assert client.is_at_end()


def test_a_request_that_waits_for_its_answer_has_no_deadline(serve: Serve) -> None:
    limits = Limits(header_timeout_ms=80, body_timeout_ms=80, keep_alive_timeout_ms=80)
    served = serve(limits=limits)
    served.ingress.holding = True
    with served.connect() as client:
        client.post("/event", b"{}")
        eventually(lambda: len(served.ingress.held) == 1)
        threading.Timer(0.5, served.ingress.release).start()
        assert client.read().status == 200
        assert client.is_at_end()


def test_an_unfinished_head_does_not_cost_the_answer_before_it(serve: Serve) -> None:
    served = serve(limits=Limits(header_timeout_ms=80))
    served.ingress.holding = True
    with served.connect() as client:
        client.post("/event", b"{}")
        client.send(b"POST /event HT")
        eventually(lambda: len(served.ingress.held) == 1)
        threading.Timer(0.5, served.ingress.release).start()
        assert client.read().status == 200
        assert client.is_at_end()


def test_a_body_that_we_do_not_read_has_no_deadline(serve: Serve) -> None:
    served = serve(limits=Limits(header_timeout_ms=80, body_timeout_ms=80))
    served.ingress.holding = True
    with served.connect() as client:
        client.post("/event", b"{}")
        client.send(head("POST", "/event", "Content-Length: 2"), b"{")
        eventually(lambda: len(served.ingress.held) == 1)
        client.send(b"}")
        served.ingress.holding = False
        threading.Timer(0.5, served.ingress.release).start()
        assert [client.read().status, client.read().status] == [200, 200]


# --- the protocol -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_text",
    [
        "nonsense\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS hello
        "POST /event\r\n\r\n {}",
        "POST /ev ent HTTP/1.1\r\nHost: test\r\n\r\n",
        "POST event HTTP/1.1\r\nHost: test\r\n\r\n",
        "POST http://test HTTP/1.1\r\nHost: test\r\n\r\n",
        "POST /event HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
        POST + "Host: other\r\nContent-Length: 2\r\n\r\n{}",
        POST + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
        POST + "Transfer-Encoding: gzip\r\n\r\n{}",
        POST + "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        POST + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        POST + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        POST + "Content-Length: 2, 2\r\n\r\n{}",
        POST + "Content-Length: +2\r\n\r\n{}",
        POST + "Content-Length: 0x2\r\n\r\n{}",
        POST + "Content-Length: -2\r\n\r\n{}",
        POST + "Content-Length: 99999999999999999999999\r\n\r\n{}",
        POST + "Content-Length : 2\r\n\r\n{}",
        POST + "X: 1\r\n folded\r\nContent-Length: 2\r\n\r\n{}",
        POST + "X: a\x00b\r\nContent-Length: 2\r\n\r\n{}",
        POST + "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        POST + "Transfer-Encoding: chunked\r\n\r\n-1\r\n",
        POST + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}xx\r\n",
        "POST /event HTTP/1.1\nHost: test\nContent-Length: 2\n\n{}",
        "POST /event HTTP/1.0\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_what_is_not_http_or_could_be_read_in_two_ways(served: Served, request_text: str) -> None:
    with served.connect() as client:
        client.send(request_text.encode("latin-1"))
        response = client.read()
        assert response.status in (400, 505)
        assert response.problem()["detail"]
        assert response.headers["connection"] == "close"
        assert client.is_at_end()
    eventually(lambda: served.connections() == 0)
    eventually(lambda: served.tasks() == 0)
    assert served.ingress.submitted == []


@pytest.mark.parametrize("version", ["0.9", "2.0"])
def test_another_version_of_http(served: Served, version: str) -> None:
    with served.connect() as client:
        client.send(f"POST /event HTTP/{version}\r\nHost: test\r\n\r\n".encode())
        assert client.read().status == 505


def test_connect(served: Served) -> None:
    with served.connect() as client:
        client.send(b"CONNECT other:80 HTTP/1.1\r\nHost: other:80\r\n\r\nGET /things HTTP/1.1\r\n\r\n")
        assert client.read().status == 501
        assert client.is_at_end()
    assert served.ingress.submitted == []


def test_a_refusal_waits_for_the_answers_before_it(served: Served) -> None:
    served.ingress.holding = True
    good = head("POST", "/event", "Content-Length: 2") + b"{}"
    for bad in (
        b"nonsense\r\n\r\n",
        head("POST", "/event", "Content-Length: 999999999"),
        head("POST", "/event", "Transfer-Encoding: chunked") + b"zz\r\n",
    ):
        with served.connect() as client:
            client.send(good, good, bad, good)
            for _ in range(2):
                eventually(lambda: len(served.ingress.held) == 1)
                served.ingress.release()
                assert client.read().status == 200
            assert client.read().status in (400, 413)
            assert client.is_at_end()
    assert len(served.ingress.submitted) == 6


def test_a_request_after_the_last_is_not_read(served: Served) -> None:
    with served.connect() as client:
        good = b"Content-Length: 2\r\n\r\n{}"
        client.send(POST.encode(), b"Connection: close\r\n", good, POST.encode(), good)
        assert client.read().status == 200
    eventually(lambda: served.connections() == 0)
    assert len(served.ingress.submitted) == 1


def test_a_bad_body_of_the_last_request_is_answered(served: Served) -> None:
    with served.connect() as client:
        client.send(POST.encode(), b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        assert client.read().status == 400


def test_too_many_pipelined_requests(served: Served) -> None:
    served.ingress.holding = True
    with served.connect() as client:
        client.send((head("POST", "/event", "Content-Length: 2") + b"{}") * 500)
        eventually(lambda: len(served.ingress.held) == 1)
        served.ingress.holding = False
        served.ingress.release()
        statuses = [client.read().status for _ in range(66)]
        assert statuses == [200] * 65 + [429]
