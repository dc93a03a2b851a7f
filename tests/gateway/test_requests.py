"""What a well-behaved client sees, whichever way its requests take."""

from __future__ import annotations

import email.utils
import json
import logging
import time
from random import Random

import pytest

from mini_flink.gateway.port import Answer
from tests.gateway.conftest import Serve
from tests.gateway.served import Client, Limits, Served, eventually, head


def test_a_json_object_is_answered(served: Served) -> None:
    with served.connect() as client:
        response = client.ask("/event", b'{"request": "hello"}')
    assert response.status == 200
    assert response.json() == {"source": 1, "value": {"request": "hello"}}
    assert response.headers["content-type"] == "application/json"
    sent = email.utils.parsedate_to_datetime(response.headers["date"]).timestamp()
    assert abs(sent - time.time()) < 3
    assert "server" not in response.headers
    assert "connection" not in response.headers


def test_a_connection_lives_on(served: Served) -> None:
    with served.connect() as client:
        for number in range(20):
            assert client.ask("/event", b'{"n": %d}' % number).json()["value"] == {"n": number}
        assert served.connections() == 1
    assert [value["n"] for _, value in served.ingress.submitted] == list(range(20))


def test_the_content_type_of_a_body_does_not_matter(served: Served) -> None:
    with served.connect() as client:
        form = "Content-Type: application/x-www-form-urlencoded"
        assert client.ask("/event", b'{"a": 1}', form).json()["value"] == {"a": 1}


def test_an_empty_body_is_an_empty_object(served: Served) -> None:
    with served.connect() as client:
        assert client.ask("/event").json()["value"] == {}
        client.send(head("POST", "/event"))
        assert client.read().json()["value"] == {}


def test_a_request_may_come_byte_by_byte(served: Served) -> None:
    request = head("POST", "/event", "Content-Length: 8", "X-Long: " + "x" * 100) + b'{"a": 1}'
    with served.connect() as client:
        for byte in request:
            client.send(bytes([byte]))
        assert client.read().json()["value"] == {"a": 1}


def test_a_chunked_body(served: Served) -> None:
    with served.connect() as client:
        client.send(head("POST", "/event", "Transfer-Encoding: chunked"))
        for piece in (b'{"', b"a", b'": ', b"1}"):
            client.send(b"%x;extension=1\r\n%b\r\n" % (len(piece), piece))
        client.send(b"0\r\nX-Trailer: 1\r\n\r\n")
        assert client.read().json()["value"] == {"a": 1}
        assert client.ask("/event", b"{}").status == 200


def test_a_large_body(served: Served) -> None:
    body = json.dumps({"text": "x" * 1_000_000}).encode()
    with served.connect() as client:
        response = client.ask("/event", body)
        assert len(response.json()["value"]["text"]) == 1_000_000
        assert client.ask("/event", b"{}").status == 200


def test_expect_100_continue(served: Served) -> None:
    with served.connect() as client:
        client.send(head("POST", "/event", "Content-Length: 8", "Expect: 100-continue"))
        assert client.read().status == 100
        client.send(b'{"a": 1}')
        assert client.read().json()["value"] == {"a": 1}
        assert client.ask("/event", b"{}").status == 200


def test_an_early_no_to_who_expects_100_continue_ends_the_connection(served: Served) -> None:
    with served.connect() as client:
        client.send(head("POST", "/nowhere", "Content-Length: 8", "Expect: 100-continue"))
        response = client.read()
        assert response.status == 404
        assert response.headers["connection"] == "close"
        assert client.is_at_end()


def test_pipelined_requests_are_worked_off_in_turn(served: Served) -> None:
    served.ingress.holding = True
    with served.connect() as client:
        for number in range(5):
            client.post("/event", b'{"n": %d}' % number)
        for number in range(5):
            eventually(lambda: len(served.ingress.held) == 1)
            assert len(served.ingress.submitted) == number + 1
            served.ingress.release()
            assert client.read().json()["value"] == {"n": number}
        served.ingress.holding = False
        assert client.ask("/event", b"{}").status == 200


def test_pipelined_requests_in_one_packet(served: Served) -> None:
    with served.connect() as client:
        one = head("POST", "/event", "Content-Length: 2") + b"{}"
        other = head("GET", "/things?a=b")
        client.send(one + other + head("GET", "/healthz") + one + other)
        answers = [client.read() for _ in range(5)]
    assert [answer.status for answer in answers] == [200] * 5
    assert [source for source, _ in served.ingress.submitted] == [1, 2, 1, 2]


@pytest.mark.parametrize("seed", range(5))
def test_it_does_not_matter_where_packets_end(served: Served, seed: int) -> None:
    random = Random(seed)
    kinds = {
        head("POST", "/event", "Content-Length: 8") + b'{"a": 1}': 200,
        head("POST", "/event", "Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\nX: 1\r\n\r\n": 200,
        head("GET", "/things?a=b"): 200,
        head("POST", "/nowhere", "Content-Length: 8") + b"GET / HT": 404,
        head("POST", "/event", "Content-Length: 4") + b"oops": 400,
        head("POST", "/raw", "Connection: Upgrade", "Upgrade: h2c", "Content-Length: 3") + b"abc": 200,
    }
    requests = random.choices(list(kinds), k=60)
    stream = b"".join(requests)
    with served.connect() as client:
        while stream:
            size = random.choice((1, 2, 5, 20, 100, 400))
            client.send(stream[:size])
            stream = stream[size:]
        assert [client.read().status for _ in requests] == [kinds[request] for request in requests]


def test_http_1_0_gets_its_answer_and_the_end(served: Served) -> None:
    with served.connect() as client:
        client.send(b"POST /event HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}")
        response = client.read()
        assert response.status == 200
        assert response.headers["connection"] == "close"
        assert client.is_at_end()


def test_connection_close(served: Served) -> None:
    with served.connect() as client:
        response = client.ask("/event", b"{}", "Connection: close")
        assert response.status == 200
        assert response.headers["connection"] == "close"
        assert client.is_at_end()


def test_connection_keep_alive(served: Served) -> None:
    with served.connect() as client:
        for _ in range(2):
            assert client.ask("/event", b"{}", "Connection: keep-alive").status == 200


def test_a_client_that_has_closed_its_side_gets_its_answer(served: Served) -> None:
    served.ingress.holding = True
    with served.connect() as client:
        client.post("/event", b"{}")
        client.socket.shutdown(1)
        eventually(lambda: len(served.ingress.held) == 1)
        served.ingress.release()
        assert client.read().status == 200
        assert client.is_at_end()


def test_a_client_that_leaves_costs_nothing(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    served.ingress.holding = True
    clients = [served.connect() for _ in range(10)]
    for client in clients:
        client.post("/event", b"{}")
    eventually(lambda: len(served.ingress.held) == 10)
    for client in clients:
        client.leave()
    eventually(lambda: served.connections() == 0)
    served.ingress.release()
    eventually(lambda: served.tasks() == 0)
    with served.connect() as client:
        served.ingress.holding = False
        assert client.ask("/event", b"{}").status == 200
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_client_that_leaves_while_it_pipelines(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    served.ingress.holding = True
    with served.connect() as client:
        for _ in range(5):
            client.post("/event", b"{}")
        eventually(lambda: len(served.ingress.held) == 1)
        client.leave()
    served.ingress.holding = False
    served.ingress.release()
    eventually(lambda: served.connections() == 0 and served.tasks() == 0)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_an_answer_without_a_body(served: Served) -> None:
    served.ingress.answers[1] = Answer(204, ((b"x-extra", b"1"),), b"")
    with served.connect() as client:
        response = client.ask("/event", b"{}")
        assert response.status == 204
        assert response.headers["x-extra"] == "1"
        assert "content-length" not in response.headers
        assert "transfer-encoding" not in response.headers
        assert client.ask("/any", b"1").status == 200


def test_an_answers_own_headers(served: Served) -> None:
    headers = ((b"content-type", b"text/plain"), (b"x-one", b"1"))
    served.ingress.answers[1] = Answer(201, headers, b"made")
    with served.connect() as client:
        response = client.ask("/event", b"{}")
    assert (response.status, response.body) == (201, b"made")
    assert response.headers["content-type"] == "text/plain"
    assert response.headers["x-one"] == "1"


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\0b"])
def test_a_header_that_would_break_out_of_its_line_is_never_sent(served: Served, value: bytes) -> None:
    served.ingress.answers[1] = Answer(200, ((b"x-evil", value),), b"secret")
    with served.connect() as client:
        response = client.ask("/event", b"{}")
        assert response.status == 500
        assert response.problem()["code"] == "internal-error"
        assert client.ask("/any", b"1").status == 200


def test_a_closed_door(served: Served) -> None:
    served.ingress.refuse("As many requests are pending as this gateway takes", 7)
    with served.connect() as client:
        response = client.ask("/event", b"{}")
        assert response.status == 503
        assert response.headers["retry-after"] == "7"
        assert response.problem()["code"] == "overloaded"
        served.ingress.error = None
        assert client.ask("/event", b"{}").status == 200


def test_a_mistake_of_ours_is_a_500_that_tells_nothing(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    served.ingress.error = RuntimeError("password=hunter2")
    with served.connect() as client:
        response = client.ask("/event", b'{"secret": "value"}')
        assert response.status == 500
        assert response.problem()["code"] == "internal-error"
        assert b"hunter2" not in response.body
        served.ingress.error = None
        assert client.ask("/event", b"{}").status == 200
    assert "hunter2" in caplog.text


def test_an_upgrade_is_ignored_and_its_body_is_a_body(served: Served) -> None:
    inner = head("POST", "/any", "Content-Length: 1") + b"1"
    upgrade = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
    with served.connect() as client:
        client.post("/raw", inner, *upgrade)
        assert client.read().json() == {"source": 6, "value": inner.decode()}
        client.send(head("POST", "/raw", "Transfer-Encoding: chunked", *upgrade), b"3\r\na")
        client.send(b"bc\r\n0\r\n\r\n")
        assert client.read().json() == {"source": 6, "value": "abc"}
        client.send(head("GET", "/things", "Connection: upgrade", "Upgrade: websocket"))
        assert client.read().status == 200
    assert [source for source, _ in served.ingress.submitted] == [6, 6, 2]


def test_who_does_not_read_its_answers_is_not_read_either(serve: Serve) -> None:
    served = serve(limits=Limits(body_timeout_ms=400))
    served.ingress.answers[1] = Answer(200, ((b"content-type", b"text/plain"),), b"x" * 1_000_000)
    with served.connect() as client:
        eventually(lambda: served.connections() == 1)
        client.socket.setblocking(False)
        request = head("POST", "/event", "Content-Length: 2") + b"{}"
        unsent = b""

        def is_cut() -> bool:
            nonlocal unsent
            try:
                unsent = (unsent or request)[client.socket.send(unsent or request) :]
            except BlockingIOError:
                pass
            except (ConnectionResetError, BrokenPipeError):
                return True
            return served.connections() == 0

        eventually(is_cut)
    assert len(served.ingress.submitted) < 100


def test_health_and_readiness(served: Served) -> None:
    with served.connect() as client:
        for path in ("/healthz", "/readyz"):
            assert client.ask(path, method="GET").json() == {"status": "ok"}
            assert client.ask(path, method="HEAD").status == 200
            assert client.ask(path, b"{}").headers["allow"] == "GET, HEAD"
        served.ingress.ready = False
        assert client.ask("/healthz", method="GET").status == 200
        response = client.ask("/readyz", method="GET")
        assert response.status == 503
        assert "retry-after" in response.headers


def test_head_is_get_without_the_body(served: Served) -> None:
    with served.connect() as client:
        whole = client.ask("/things?a=b", method="GET")
        bare = client.ask("/things?a=b", method="HEAD")
        assert bare.status == 200
        assert bare.headers["content-length"] == whole.headers["content-length"]
        assert client.ask("/things", method="GET").status == 200


def test_options_says_what_is_allowed(served: Served) -> None:
    with served.connect() as client:
        response = client.ask("/things", method="OPTIONS")
        assert response.status == 204
        assert response.headers["allow"] == "DELETE, GET, HEAD, PUT"
    assert served.ingress.submitted == []


def test_many_clients_at_once(served: Served) -> None:
    clients = [Client(served.port) for _ in range(50)]
    for round_number in range(3):
        for number, client in enumerate(clients):
            client.post("/event", b'{"n": %d, "round": %d}' % (number, round_number))
        for number, client in enumerate(clients):
            assert client.read().json()["value"] == {"n": number, "round": round_number}
    for client in clients:
        client.close()
    eventually(lambda: served.connections() == 0)
