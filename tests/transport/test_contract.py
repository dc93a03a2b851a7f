"""What every transport must do, run on the real twin and on the one in memory."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mini_flink.transport.base import MAX_MESSAGE_BYTES, Transport, ipc_endpoint
from mini_flink.transport.memory import MemoryNetwork, MemoryTransport
from mini_flink.transport.zmq import ZmqTransport

Make = Callable[[], Transport]


@pytest.fixture(params=["zmq", "memory"])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    made: list[Transport] = []
    network = MemoryNetwork()

    def create() -> Transport:
        transport: Transport = ZmqTransport() if request.param == "zmq" else MemoryTransport(network)
        made.append(transport)
        return transport

    yield create
    for transport in made:
        transport.close()


@pytest.fixture
def endpoint(tmp_path: Path) -> Callable[[str, int], str]:
    return lambda name, incarnation: ipc_endpoint(str(tmp_path), name, incarnation)


def collect(transport: Transport, count: int, seconds: float = 5.0) -> list[bytes]:
    received: list[bytes] = []
    deadline = time.monotonic() + seconds
    while len(received) < count and time.monotonic() < deadline:
        transport.wait(100, ())
        received += transport.receive(1000)
    return received


def test_messages_arrive_in_order_and_whole(make, endpoint):
    receiver, sender = make(), make()
    receiver.bind(endpoint("w0", 1))
    sender.connect("w0", endpoint("w0", 1))
    messages = [bytes([index]) * (index * 1000) for index in range(100)]
    assert all(sender.send("w0", message) for message in messages)
    assert collect(receiver, 100) == messages


def test_each_peer_has_its_own_pipe(make, endpoint):
    first, second, sender = make(), make(), make()
    first.bind(endpoint("w0", 1))
    second.bind(endpoint("w1", 1))
    sender.connect("w0", endpoint("w0", 1))
    sender.connect("w1", endpoint("w1", 1))
    for index in range(20):
        assert sender.send("w0", b"first %d" % index)
        assert sender.send("w1", b"second %d" % index)
    assert collect(first, 20) == [b"first %d" % index for index in range(20)]
    assert collect(second, 20) == [b"second %d" % index for index in range(20)]


def test_a_message_sent_before_the_peer_binds_waits_for_it(make, endpoint):
    sender = make()
    sender.connect("w0", endpoint("w0", 1))
    assert sender.send("w0", b"early")
    receiver = make()
    receiver.bind(endpoint("w0", 1))
    assert collect(receiver, 1) == [b"early"]


def test_send_to_an_unknown_peer_is_refused(make):
    assert make().send("w9", b"x") is False


def test_connecting_to_a_new_endpoint_replaces_the_pipe(make, endpoint):
    old, new, sender = make(), make(), make()
    old.bind(endpoint("w0", 1))
    new.bind(endpoint("w0", 2))
    sender.connect("w0", endpoint("w0", 1))
    assert sender.send("w0", b"to the old one")
    assert collect(old, 1) == [b"to the old one"]
    sender.connect("w0", endpoint("w0", 2))
    assert sender.send("w0", b"to the new one")
    assert collect(new, 1) == [b"to the new one"]
    assert collect(old, 1, seconds=0.2) == []


def test_what_waits_for_a_dead_incarnation_never_reaches_the_next(make, endpoint):
    sender, old = make(), make()
    old.bind(endpoint("w0", 1))
    sender.connect("w0", endpoint("w0", 1))
    sender.send("w0", b"lost")
    old.close()
    sender.send("w0", b"lost too")
    new = make()
    new.bind(endpoint("w0", 2))
    sender.connect("w0", endpoint("w0", 2))
    sender.send("w0", b"kept")
    assert collect(new, 2, seconds=0.5) == [b"kept"]


def test_disconnect_drops_the_pipe(make, endpoint):
    receiver, sender = make(), make()
    receiver.bind(endpoint("w0", 1))
    sender.connect("w0", endpoint("w0", 1))
    sender.disconnect("w0")
    sender.disconnect("w0")
    assert sender.send("w0", b"x") is False


def test_send_never_blocks_and_says_when_the_pipe_is_full(make, endpoint):
    receiver, sender = make(), make()
    receiver.bind(endpoint("w0", 1))
    sender.connect("w0", endpoint("w0", 1))
    message = b"x" * 20_000
    accepted = 0
    started = time.monotonic()
    while accepted < 20_000 and sender.send("w0", message):
        accepted += 1
    assert accepted < 20_000
    assert time.monotonic() - started < 5
    assert len(collect(receiver, accepted)) == accepted
    deadline = time.monotonic() + 5
    while not sender.send("w0", b"room again") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert collect(receiver, 1) == [b"room again"]


def test_a_message_that_its_receiver_would_cut_off_is_refused(make, endpoint):
    sender = make()
    sender.connect("w0", endpoint("w0", 1))
    with pytest.raises(ValueError, match="cut it off"):
        sender.send("w0", bytes(MAX_MESSAGE_BYTES + 1))


def test_receive_keeps_to_its_limit_and_pending_knows_the_rest(make, endpoint):
    receiver, sender = make(), make()
    receiver.bind(endpoint("w0", 1))
    sender.connect("w0", endpoint("w0", 1))
    assert receiver.receive(10) == []
    assert not receiver.pending()
    for index in range(5):
        sender.send("w0", bytes([index]))
    received: list[bytes] = []
    while len(received) < 3:
        receiver.wait(1000, ())
        received += receiver.receive(3 - len(received))
    assert len(received) == 3
    assert receiver.fileno() in receiver.wait(1000, ())
    assert receiver.pending()
    assert received + collect(receiver, 2) == [bytes([index]) for index in range(5)]
    assert not receiver.pending()


def test_wait_ends_at_its_time_out(make, endpoint):
    receiver = make()
    receiver.bind(endpoint("w0", 1))
    started = time.monotonic()
    assert receiver.wait(50, ()) == set()
    assert 0.04 < time.monotonic() - started < 1
    assert receiver.wait(0, ()) == set()


def test_wait_sees_other_descriptors(make, endpoint):
    receiver = make()
    receiver.bind(endpoint("w0", 1))
    reader, writer = os.pipe()
    try:
        assert receiver.wait(10, (reader,)) == set()
        os.write(writer, b"x")
        assert receiver.wait(None, (reader,)) == {reader}
        os.read(reader, 1)
        assert receiver.wait(10, ()) == set()
    finally:
        os.close(reader)
        os.close(writer)


def test_wait_wakes_for_a_message_from_another_thread(make, endpoint):
    receiver, sender = make(), make()
    receiver.bind(endpoint("w0", 1))
    sender.connect("w0", endpoint("w0", 1))

    def later() -> None:
        time.sleep(0.1)
        sender.send("w0", b"late")

    thread = threading.Thread(target=later)
    thread.start()
    try:
        assert receiver.wait(5000, ()) == {receiver.fileno()}
        assert receiver.receive(10) == [b"late"]
    finally:
        thread.join()


def test_a_message_left_behind_is_seen_although_the_edge_is_gone(make, endpoint):
    receiver, sender = make(), make()
    receiver.bind(endpoint("w0", 1))
    sender.connect("w0", endpoint("w0", 1))
    sender.send("w0", b"one")
    sender.send("w0", b"two")
    received: list[bytes] = []
    while not received:
        receiver.wait(1000, ())
        received = receiver.receive(1)
    for _ in range(3):
        assert receiver.wait(1000, ()) == {receiver.fileno()}
    assert receiver.receive(1) == [b"two"]


def test_what_was_sent_last_arrives_if_close_may_linger(make, endpoint):
    receiver, sender = make(), make()
    receiver.bind(endpoint("w0", 1))
    sender.connect("w0", endpoint("w0", 1))
    sender.send("w0", b"last words")
    sender.close(linger_ms=2000)
    assert collect(receiver, 1) == [b"last words"]


def test_close_with_unsent_messages_returns_at_once(make, endpoint):
    sender = make()
    sender.connect("w0", endpoint("w0", 1))
    for _ in range(10):
        sender.send("w0", b"x" * 1000)
    started = time.monotonic()
    sender.close()
    assert time.monotonic() - started < 1
