"""Messages between our processes: whole, in order, with their descriptors, and bounded."""

from __future__ import annotations

import os
import socket
import threading

import pytest

from proofq.workers.wire import Channel, Decoder, Message, WireError, encode


@pytest.fixture
def pair():
    """Two joined channels, closed at the end."""
    channels = [Channel(sock, max_bytes=1 << 20) for sock in socket.socketpair()]
    yield channels
    for channel in channels:
        channel.close()


def test_decodes_byte_by_byte():
    """A frame cut anywhere is one message once its last byte is there."""
    decoder = Decoder()
    frame = encode({"type": "a", "text": "é\ud800"}) + encode({"type": "b"})
    got = [message.body for byte in frame for message in decoder.feed(bytes([byte]))]
    assert got == [{"type": "a", "text": "é\ud800"}, {"type": "b"}]


@pytest.mark.parametrize(
    "frame",
    [b"\xff\xff\xff\xff", b"\0\0\0\2[]", b"\0\0\0\1{", b'\0\0\0\x09{"fds":1}', b'\0\0\0\x0a{"fds":-1}'],
)
def test_refuses_what_breaks_the_rules(frame):
    """Too long, no object, no JSON, or descriptors that never came: a WireError."""
    with pytest.raises(WireError):
        list(Decoder().feed(frame))


def test_refuses_to_send_what_is_too_long_or_no_json(pair):
    """The sender is told, and nothing has been written."""
    with pytest.raises(WireError):
        pair[0].send({"text": "x" * (1 << 20)})
    with pytest.raises(ValueError, match="JSON"):
        pair[0].send({"number": float("nan")})
    assert pair[1].read() == []


def test_descriptors_arrive_with_their_own_message(pair):
    """Messages glued together on the way keep their own descriptors."""
    pipes = [os.pipe() for _ in range(3)]
    pair[0].send({"n": 0})
    pair[0].send({"n": 1}, [pipes[0][1], pipes[1][1]])
    pair[0].send({"n": 2})
    pair[0].send({"n": 3}, [pipes[2][1]])
    messages = pair[1].read()
    assert [(m.body["n"], len(m.fds)) for m in messages] == [(0, 0), (1, 2), (2, 0), (3, 1)]
    passed = [fd for m in messages for fd in m.fds]
    assert not any(os.get_inheritable(fd) for fd in passed)
    for fd, (read_end, write_end) in zip(passed, pipes, strict=True):
        os.write(fd, b"x")
        assert os.read(read_end, 10) == b"x"
        for one in (fd, read_end, write_end):
            os.close(one)


def test_a_long_message_goes_through_while_the_other_side_reads(pair):
    """`send` waits for room instead of failing."""
    sender = threading.Thread(target=pair[0].send, args=({"text": "x" * 900_000},))
    sender.start()
    message = next(pair[1].receive(timeout_s=10))
    sender.join()
    assert len(message.body["text"]) == 900_000


def test_a_send_nobody_reads_ends(pair):
    """A peer that is stopped costs the sender its timeout, not for ever."""
    with pytest.raises(TimeoutError):
        pair[0].send({"text": "x" * 900_000}, timeout_s=0.05)


def test_the_queue_never_waits_and_the_end_is_seen(pair):
    """`put` keeps what does not fit; messages before the end are given out, and then `eof`."""
    pair[0].put({"text": "x" * 900_000})
    assert not pair[0].flush()
    got: list[Message] = []
    while not got:
        got = pair[1].read()
        pair[0].flush()
    assert len(got) == 1
    pair[0].put({"last": True})
    pair[0].close()
    assert [m.body for m in pair[1].receive()] == [{"last": True}]
    assert pair[1].eof
    pair[1].put({"into": "the void"})
