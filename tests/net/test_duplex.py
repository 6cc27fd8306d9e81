from __future__ import annotations

import contextlib
import gc
import io
import math
import select
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hume_sync import ConnectionLost, HumeClientException, InboxOverflow, MessageTooLarge, MisuseError, ProtocolError
from hume_sync import Timeout as HumeTimeout
from hume_sync.net import fork, keepalive
from hume_sync.net import io_thread as module
from hume_sync.net.clock import monotonic
from hume_sync.net.deadline import Deadline
from hume_sync.net.duplex import Duplex, Heartbeat, Message
from hume_sync.net.endpoint import Endpoint
from hume_sync.net.io_thread import IOThread
from tests.faultproxy import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Peer,
    announce,
    frame,
    head,
    read_frame,
    upgrade,
    upgrade_answer,
)

from .support import Script, in_child, server, tls_contexts

pytestmark = pytest.mark.slow

Contexts = tuple[ssl.SSLContext, ssl.SSLContext]
Session = Callable[..., contextlib.AbstractContextManager[Duplex]]

SOON = 10.0
"""Seconds that nothing here takes."""


@pytest.fixture(scope="module", name="contexts")
def _contexts() -> Contexts:
    """A server's and a client's."""
    return tls_contexts("127.0.0.1")


def small(script: Script) -> Script:
    """With buffers of the system's that are soon full and never grow."""

    def run(peer: Peer) -> None:
        peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**17)
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**17)
        script(peer)

    return run


def encrypted(serving: ssl.SSLContext, script: Script) -> Script:
    def run(peer: Peer) -> None:
        inner = Peer(serving.wrap_socket(peer.sock, server_side=True), peer.stop)
        try:
            script(inner)
        finally:
            inner.close()

    return run


@pytest.fixture(params=["plain", pytest.param("tls", marks=pytest.mark.slow)])
def session(request: pytest.FixtureRequest, contexts: Contexts) -> Session:
    """A session with a server that runs a script behind the upgrade. Nothing of it stays, even if the test fails."""
    return _maker(contexts if request.param == "tls" else None)


@pytest.fixture
def plain() -> Session:
    """The same, where encryption makes no difference."""
    return _maker(None)


def _maker(contexts: Contexts | None) -> Session:
    @contextlib.contextmanager
    def opened(script: Script, *, upgraded: bool = False, limit: int = 2**24, **more: Any) -> Iterator[Duplex]:
        def behind_the_upgrade(peer: Peer) -> None:
            peer.send(upgrade(peer))
            script(peer)

        whole = script if upgraded else behind_the_upgrade
        with server(small(encrypted(contexts[0], whole) if contexts else whole)) as port:
            tls = contexts[1] if contexts else None
            endpoint = Endpoint("127.0.0.1", port, "/", tls=tls, max_message_size=limit)
            duplex = Duplex.open(endpoint, Deadline(SOON), **more)
            try:
                yield duplex
            finally:
                duplex.abort()
                gone(duplex._io_thread)

    return opened


def gone(owner: IOThread) -> None:
    """Nothing is left but what was received."""
    owner.thread.join(SOON)
    assert not owner.thread.is_alive()
    sockets: Any = [owner._sock, owner._wake_receiver, owner._wake_sender]
    assert [sock.fileno() for sock in sockets] == [-1, -1, -1]


def said(peer: Peer) -> tuple[int, bytes]:
    """The next frame of the client's, unmasked."""
    opcode, raw, payload = read_frame(peer.file)
    assert raw[1] & 0x80
    key = raw[len(raw) - len(payload) - 4 :][:4]
    mask = (key * (len(payload) // 4 + 1))[: len(payload)]
    return opcode, (int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")).to_bytes(len(payload), "big")


def all_said(peer: Peer) -> list[tuple[int, bytes]]:
    """Frames until the client is gone."""
    frames = []
    with contextlib.suppress(OSError):
        while True:
            frames.append(said(peer))
    return frames


def echo(peer: Peer) -> None:
    """Send back every message and the close frame."""
    while True:
        opcode, payload = said(peer)
        peer.send_frame(payload, opcode)
        if opcode == CLOSE:
            return


def silent(peer: Peer) -> None:
    """Never read, never say a word."""
    peer.stop.wait(SOON)


def fill(duplex: Duplex, size: int = 200_000) -> int:
    """Send until there is no room, nor any comes; the number of messages that are on their way."""
    duplex._io_thread._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**17)  # the system's are not to grow
    count, there = 0, -1
    while True:
        try:
            duplex.send([b"%06d" % count, bytes(size)], Deadline(0.03))
            count += 1
        except HumeTimeout:
            if there == duplex._io_thread._outbox_bytes:
                return count
            there = duplex._io_thread._outbox_bytes


def message_of(duplex: Duplex, *, binary: bool = False) -> bytes | None:
    """The next message, which is text, or binary."""
    message = duplex.receive(Deadline(SOON))
    assert isinstance(message, Message | None)
    assert message is None or message.is_text is not binary
    return None if message is None else message.data


def received(duplex: Duplex, *, binary: bool = False) -> Iterator[bytes]:
    """All until it ends."""
    while (message := message_of(duplex, binary=binary)) is not None:
        yield message


def end_of(duplex: Duplex, *, binary: bool = False) -> tuple[list[bytes], HumeClientException]:
    """All that is received, and the error behind it."""
    messages = []
    try:
        for message in received(duplex, binary=binary):
            messages.append(message)
    except HumeClientException as exc:
        return messages, exc
    raise AssertionError("it has not ended")


def waiting(threads: ThreadPoolExecutor, duplex: Duplex, call: Callable[[], object]) -> Any:
    """Run a call on another thread, and return once it waits."""
    conditions: list[Any] = [duplex._io_thread._changed, duplex._io_thread._room]
    before = sum(len(condition._waiters) for condition in conditions)
    future = threads.submit(call)
    end = time.monotonic() + SOON
    while sum(len(condition._waiters) for condition in conditions) <= before:
        assert time.monotonic() < end
        time.sleep(0.001)
    return future


# --- messages


def test_messages_of_any_size_go_both_ways_in_order(session: Session) -> None:
    sizes = [0, 1, 125, 126, 65535, 65536, 1_000_000, 3]
    with session(echo) as duplex:
        for size in sizes:
            duplex.send([b"a" * (size // 2), b"b" * (size - size // 2)], Deadline(SOON))
        for size in sizes:
            assert message_of(duplex) == b"a" * (size // 2) + b"b" * (size - size // 2)
        assert duplex.receive(Deadline(0)) is None
        assert not duplex.error


def test_what_comes_in_one_piece_with_the_upgrade_is_received_and_then_the_close_frame(session: Session) -> None:
    def script(peer: Peer) -> None:
        closing = frame((1008).to_bytes(2, "big") + b"too \xff many", CLOSE)
        peer.send(upgrade_answer(list(head(peer.file))) + frame(b"one") + frame(b"two") + closing + frame(b"three"))
        assert all_said(peer) == [(CLOSE, (1008).to_bytes(2, "big"))]

    with session(script, upgraded=True) as duplex:
        messages, error = end_of(duplex)
        assert messages == [b"one", b"two"]
        assert isinstance(error, ConnectionLost)
        assert (error.close_code, error.close_reason) == (1008, "too \ufffd many")
        assert duplex.error
        with pytest.raises(ConnectionLost) as caught:
            duplex.send([b"x"], Deadline(SOON))
        assert caught.value.close_code == 1008


@pytest.mark.parametrize(("code", "reported"), [(None, 1005), (1000, 1000), (1012, 1012), (4999, 4999)])
def test_the_code_of_the_server_s_close_frame_is_reported(plain: Session, code: int | None, reported: int) -> None:
    with plain(lambda peer: (peer.send_close(code), peer.wait_gone())) as duplex:
        assert end_of(duplex)[1].close_code == reported


def test_fragments_are_put_together_and_pings_between_them_answered(session: Session) -> None:
    def script(peer: Peer) -> None:
        peer.send_frame(b"one, ", final=False)
        peer.send_frame(b"still there?", PING)
        assert said(peer) == (PONG, b"still there?")
        peer.send_frame(b"two, ", CONTINUATION, final=False)
        peer.send_frame(b"", PONG)
        peer.send_frame(b"three", CONTINUATION)
        peer.wait_gone()

    with session(script) as duplex:
        assert message_of(duplex) == b"one, two, three"


def test_a_flood_of_pings_takes_no_memory_and_the_last_one_is_answered(session: Session) -> None:
    count = 20_000

    def script(peer: Peer) -> None:
        peer.send(b"".join(frame(b"%0100d" % number, PING) for number in range(count)) + frame(b"done"))
        pongs = 0
        while True:
            opcode, payload = said(peer)
            assert opcode == PONG
            pongs += 1
            if payload == b"%0100d" % (count - 1):
                break
        assert pongs < count  # RFC 6455, 5.5.3
        peer.send_frame(b"enough")

    with session(script) as duplex:
        assert message_of(duplex) == b"done"
        assert message_of(duplex) == b"enough"


def send_all(duplex: Duplex, sizes: list[int]) -> None:
    for size in sizes:
        duplex.send([b"c" * size], Deadline(SOON))


def talk(contexts: Contexts | None, sessions: int, messages: int) -> None:
    """Sessions one after another in which both sides speak at the same time, without regard to each other."""
    sizes = [1000 + 19_000 * number // messages for number in range(messages)]

    def script(peer: Peer) -> None:
        # TLS on this side is not to be used by two threads at once either: so it takes turns.
        peer.sock.setblocking(False)
        out = bytearray(b"".join(frame(b"s" * size) for size in sizes))
        there, awaited = bytearray(), sum(size + 8 for size in sizes) + 8  # the last is the close frame
        not_now = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
        while out or len(there) < awaited:
            idle = True
            with contextlib.suppress(*not_now):
                data = peer.sock.recv(16384)
                assert data
                there += data
                idle = False
            if out:
                with contextlib.suppress(*not_now):
                    del out[: peer.sock.send(bytes(out[:16384]))]
                    idle = False
            if idle:
                select.select([peer.sock], [peer.sock] if out else [], [], SOON)
        peer.sock.setblocking(True)
        peer.file = io.BufferedReader(io.BytesIO(there))
        whole = [(TEXT, b"c" * size) for size in sizes]
        assert [said(peer) for _ in range(len(sizes) + 1)] == [*whole, (CLOSE, (1000).to_bytes(2, "big"))]
        peer.send_close(1000)

    for _ in range(sessions):
        with _maker(contexts)(script) as duplex, ThreadPoolExecutor(1) as threads:
            sending = threads.submit(send_all, duplex, sizes)
            assert [len(message_of(duplex) or b"") for _ in sizes] == sizes
            sending.result(SOON)
            duplex.close(SOON)
            assert isinstance(end_of(duplex)[1], MisuseError)


def test_both_sides_speak_at_the_same_time(contexts: Contexts) -> None:
    talk(contexts, sessions=3, messages=50)
    talk(None, sessions=3, messages=50)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_five_hundred_full_duplex_sessions_over_tls_end_without_one_spurious_drop(contexts: Contexts) -> None:
    talk(contexts, sessions=500, messages=50)


# --- servers that do not play along


def test_sends_wait_for_a_server_that_does_not_read_and_nothing_of_a_refused_one_is_sent(session: Session) -> None:
    read = threading.Event()
    seen: list[tuple[int, bytes]] = []

    def script(peer: Peer) -> None:
        assert read.wait(SOON)
        while not seen or seen[-1][0] != CLOSE:
            seen.append(said(peer))

    with session(script) as duplex:
        count = fill(duplex)
        assert duplex._io_thread._outbox_bytes < 2**20 + 2 * 200_020  # bounded, but for one message
        start = time.monotonic()
        with pytest.raises(HumeTimeout) as caught:
            duplex.send([b"refused"], Deadline(0))
        assert caught.value.phase == "send"
        assert time.monotonic() - start < 1
        read.set()
        duplex.send([b"last"], Deadline(SOON))
        duplex.close(SOON)
    assert [payload[:6] for _, payload in seen] == [*(b"%06d" % n for n in range(count)), b"last", b"\x03\xe8"]


def test_a_server_that_echoes_and_reads_slowly_cannot_dead_lock_a_caller_who_only_sends(session: Session) -> None:
    count, size = 400, 100_000  # far more than all buffers between the two hold
    most = 0

    with session(echo) as duplex:
        for number in range(count):
            duplex.send([b"%06d" % number, bytes(size)], Deadline(SOON))
            most = max(most, duplex._io_thread._outbox_bytes)
        for number in range(count):
            message = message_of(duplex)
            assert message is not None
            assert (message[:6], len(message)) == (b"%06d" % number, size + 6)
    assert most <= 2**20 + size + 20


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [0, 1000])
def test_more_than_the_inbox_holds_ends_the_session_with_all_that_came_before(
    session: Session, size: int, opcode: int
) -> None:
    received: list[tuple[int, bytes]] = []

    def script(peer: Peer) -> None:
        peer.send(b"".join(frame(b"x" * size, opcode) for _ in range(200_000 // (size + module._PER_MESSAGE) + 1)))
        received.extend(all_said(peer))

    with session(script, inbox=200_000) as duplex:
        duplex._io_thread.thread.join(SOON)  # receiving would make room
        messages, error = end_of(duplex, binary=opcode == BINARY)
        assert isinstance(error, InboxOverflow)
        assert "200000 bytes" in str(error)
        assert len(messages) == 200_000 // (size + module._PER_MESSAGE) + 1
    assert received == [(CLOSE, (1008).to_bytes(2, "big"))]


@pytest.mark.parametrize("size", [0, 1, 126, 2048, 70_000])
def test_text_and_binary_messages_keep_their_kind_and_their_order_both_ways(session: Session, size: int) -> None:
    with session(echo) as duplex:
        for binary in (True, False, True):
            duplex.send([b"x" * (size // 2), b"y" * (size - size // 2)], Deadline(SOON), binary=binary)
        for binary in (True, False, True):
            assert message_of(duplex, binary=binary) == b"x" * (size // 2) + b"y" * (size - size // 2)


def test_a_binary_message_is_never_the_answer_to_a_beat(plain: Session) -> None:
    def script(peer: Peer) -> None:
        assert said(peer) == (TEXT, b"beat")
        peer.send(frame(b"beat", BINARY) + frame(b"beat"))
        peer.wait_gone()

    beat = Heartbeat(b"beat", interval=SOON, timeout=SOON, is_answer=lambda message: message == b"beat")
    with plain(script, beat=beat) as duplex:
        duplex.send_heartbeat("note", Deadline(SOON))
        assert message_of(duplex, binary=True) == b"beat"
        assert duplex.receive(Deadline(SOON)) == "note"


def test_a_message_has_the_time_at_which_the_last_of_it_came_however_late_it_is_received(plain: Session) -> None:
    go = threading.Event()

    def script(peer: Peer) -> None:
        peer.send(frame(b"one") + frame(b"two", BINARY) + frame(b"begun, ", final=False))
        assert go.wait(SOON)
        peer.send(frame(b"ended", CONTINUATION))
        peer.wait_gone()

    before = monotonic()
    with plain(script) as duplex:
        assert duplex._io_thread._changed.wait_for(lambda: len(duplex._io_thread._inbox) == 2 or None, Deadline(SOON))
        between = monotonic()
        go.set()
        assert duplex._io_thread._changed.wait_for(lambda: len(duplex._io_thread._inbox) == 3 or None, Deadline(SOON))
        behind = monotonic()
        one, two, three = (duplex.receive(Deadline(SOON)) for _ in range(3))
    assert isinstance(one, Message)
    assert isinstance(two, Message)
    assert isinstance(three, Message)
    assert before <= one.arrived <= two.arrived <= between <= three.arrived <= behind
    assert three.data == b"begun, ended"


def test_what_is_received_makes_room_in_the_inbox(plain: Session) -> None:
    with plain(echo, inbox=3000) as duplex:
        for number in range(20):
            duplex.send([b"%d" % number * 1000], Deadline(SOON))
            assert message_of(duplex) == b"%d" % number * 1000
        assert duplex._io_thread._inbox_bytes == 0


@pytest.mark.parametrize("end", [lambda peer: None, Peer.reset], ids=["eof", "reset"])
def test_a_cut_connection_is_reported_as_1006_after_what_came_before(session: Session, end: Script) -> None:
    taken = threading.Event()

    def script(peer: Peer) -> None:
        peer.send_frame(b"before")
        peer.send(frame(b"never whole")[:-1])
        assert taken.wait(SOON)  # a reset takes what was not read yet with it
        end(peer)

    with session(script) as duplex:
        assert message_of(duplex) == b"before"
        taken.set()
        messages, error = end_of(duplex)
        assert not messages
        assert isinstance(error, ConnectionLost)
        assert error.close_code == 1006
        with pytest.raises(ConnectionLost):
            duplex.send([b"x"], Deadline(SOON))


@pytest.mark.parametrize(
    ("bad", "error", "code"),
    [
        (frame(b"x", 3), ProtocolError, 1002),
        (frame(b"x", reserved=4), ProtocolError, 1002),
        (b"\x81\x80abcd", ProtocolError, 1002),
        (frame(b"x", CONTINUATION), ProtocolError, 1002),
        (frame(b"x" * 126, PING), ProtocolError, 1002),
        (frame(b"", 11), ProtocolError, 1002),
        (frame(b"x", CLOSE), ProtocolError, 1002),
        (frame((1006).to_bytes(2, "big"), CLOSE), ProtocolError, 1002),
        (announce(2**40), MessageTooLarge, 1009),
        (announce(2**40, BINARY), MessageTooLarge, 1009),
        (frame(b"x" * 600, final=False) + frame(b"x" * 600, CONTINUATION), MessageTooLarge, 1009),
        (frame(b"x" * 600, BINARY, final=False) + frame(b"x" * 600, CONTINUATION), MessageTooLarge, 1009),
    ],
)
def test_a_server_that_breaks_the_protocol_is_sent_the_close_code(
    plain: Session, bad: bytes, error: Any, code: int
) -> None:
    received: list[tuple[int, bytes]] = []

    def script(peer: Peer) -> None:
        peer.send(frame(b"before") + bad)
        received.extend(all_said(peer))

    with plain(script, limit=1000) as duplex:
        messages, ended = end_of(duplex)
        assert messages == [b"before"]
        assert type(ended) is error
    assert received == [(CLOSE, code.to_bytes(2, "big"))]


@pytest.mark.parametrize("bad", [frame(b"x", 3), frame((1001).to_bytes(2, "big"), CLOSE)], ids=["bad", "close frame"])
def test_nothing_is_said_in_the_middle_of_a_frame(session: Session, bad: bytes) -> None:
    full, ended = threading.Event(), threading.Event()
    seen: list[tuple[int, bytes]] = []

    def script(peer: Peer) -> None:
        assert full.wait(SOON)
        peer.send(bad)
        assert ended.wait(SOON)
        seen.extend(all_said(peer))

    with session(script) as duplex:
        count = fill(duplex, size=3_000_000)
        full.set()
        end_of(duplex)
        ended.set()
    assert len(seen) <= count
    assert {opcode for opcode, _ in seen} <= {TEXT}


# --- ends


def test_close_sends_the_close_frame_after_all_that_waits_and_nothing_after_it(session: Session) -> None:
    seen: list[tuple[int, bytes]] = []

    def script(peer: Peer) -> None:
        while (item := said(peer))[0] != CLOSE:
            seen.append((item[0], item[1][:6]))
        seen.append(item)
        peer.send(frame(b"ping", PING) + frame(b"late") + frame((1000).to_bytes(2, "big"), CLOSE))
        seen.extend(all_said(peer))

    with session(script) as duplex:
        for number in range(30):
            duplex.send([b"%06d" % number, bytes(50_000)], Deadline(SOON))
        start = time.monotonic()
        duplex.close(SOON)
        assert time.monotonic() - start < SOON
        gone(duplex._io_thread)
        assert duplex.error
        duplex.close(SOON)
        duplex.abort()
        with pytest.raises(MisuseError, match="this session is closed"):
            duplex.send([b"x"], Deadline(SOON))
        messages, error = end_of(duplex)
        assert messages == [b"late"]
        assert isinstance(error, MisuseError)
        assert str(error) == "this session is closed"
    assert seen == [*((TEXT, b"%06d" % number) for number in range(30)), (CLOSE, (1000).to_bytes(2, "big"))]


@pytest.mark.parametrize("full", [False, True], ids=["says nothing", "reads nothing"])
def test_close_ends_in_time_even_if_the_server_does_not_cooperate(session: Session, full: bool) -> None:
    with session(silent) as duplex:
        if full:
            fill(duplex)
        start = time.monotonic()
        duplex.close(0.1)
        assert 0.09 < time.monotonic() - start < 2
        gone(duplex._io_thread)
        assert isinstance(end_of(duplex)[1], MisuseError)


def test_a_reset_in_answer_to_our_close_frame_is_a_closed_session_too(plain: Session) -> None:
    def script(peer: Peer) -> None:
        said(peer)
        peer.reset()

    with plain(script) as duplex:
        duplex.close(math.inf)  # (no limit: the server answers)
        assert isinstance(end_of(duplex)[1], MisuseError)


def test_a_session_that_was_lost_stays_lost_when_it_is_closed(plain: Session) -> None:
    with plain(lambda peer: peer.send_close(1001)) as duplex:
        assert end_of(duplex)[1].close_code == 1001
        duplex.close(SOON)
        assert end_of(duplex)[1].close_code == 1001


def test_a_last_message_goes_before_the_close_frame_and_the_answer_to_that_does_not_end_the_session_again(
    session: Session,
) -> None:
    def script(peer: Peer) -> None:
        while said(peer)[1] != b"stop":
            pass
        peer.send_close(1000)
        assert said(peer) == (CLOSE, (1000).to_bytes(2, "big"))

    with session(script) as duplex:
        duplex.send([b"much", bytes(2_000_000)], Deadline(SOON))  # there is no room
        duplex.close(SOON, last=[b"st", b"op"])
        assert isinstance(end_of(duplex)[1], MisuseError)
        duplex.close(SOON, last=[b"once"])


def test_any_number_of_threads_may_close(session: Session) -> None:
    with session(echo) as duplex, ThreadPoolExecutor(8) as threads:
        for _ in threads.map(lambda _: duplex.close(SOON), range(8)):
            pass
        gone(duplex._io_thread)


@pytest.mark.parametrize(
    ("end", "error"), [(Duplex.abort, ConnectionLost), (lambda duplex: duplex.close(0.1), MisuseError)]
)
def test_who_waits_is_woken_by_the_end_from_another_thread_and_gets_an_error_of_his_own(
    session: Session, end: Callable[[Duplex], None], error: type[HumeClientException]
) -> None:
    with session(silent) as duplex, ThreadPoolExecutor(4) as threads:
        fill(duplex)
        calls = [
            *(waiting(threads, duplex, lambda: duplex.receive(Deadline(math.inf))) for _ in range(2)),
            *(waiting(threads, duplex, lambda: duplex.send([b"x"], Deadline(math.inf))) for _ in range(2)),
        ]
        end(duplex)
        errors = [call.exception(SOON) for call in calls]
        assert [type(found) for found in errors] == [error] * 4
        assert len({id(found) for found in errors}) == 4
        if error is ConnectionLost:
            assert {found.close_code for found in errors} == {1006}
        again = end_of(duplex)[1]
        assert type(again) is error
        assert again is not end_of(duplex)[1]
        with pytest.raises(error):
            duplex.send([b"x"], Deadline(SOON))


def test_a_sender_waiting_for_room_learns_why_the_server_has_ended_the_session(session: Session) -> None:
    full = threading.Event()

    def script(peer: Peer) -> None:
        assert full.wait(SOON)
        peer.send_close(1013, "later")
        silent(peer)  # reading would make room

    with session(script) as duplex, ThreadPoolExecutor(1) as threads:
        fill(duplex)
        sending = waiting(threads, duplex, lambda: duplex.send([b"x"], Deadline(math.inf)))
        full.set()
        found = sending.exception(SOON)
        assert (type(found), found.close_code, found.close_reason) == (ConnectionLost, 1013, "later")


@pytest.mark.parametrize("ended", [False, True])
def test_a_forgotten_session_lets_everything_go_and_warns_unless_it_had_ended(ended: bool) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        duplex = Duplex(idle_owner(ours))
        owner = duplex._io_thread
        if ended:
            theirs.close()
            owner.thread.join(SOON)
            del duplex
        else:
            with pytest.warns(ResourceWarning, match="a session was not closed"):
                del duplex
            assert theirs.recv(1) == b""
        gone(owner)


def test_a_session_takes_no_descriptor_with_it_and_leaves_no_garbage(session: Session) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = descriptors()
    gc.collect()
    gc.disable()
    try:
        for number in range(4):
            with session(lambda peer: echo(peer) if number % 2 else peer.send_close(1000)) as duplex:  # noqa: B023
                if number % 2:
                    duplex.close(SOON)
                else:
                    end_of(duplex)
                owner = weakref.ref(duplex._io_thread)
                duplex.abort()
            del duplex
            assert owner() is None  # by its references alone: an inbox may be large
    finally:
        gc.enable()
    assert descriptors() == before


def test_a_thread_that_does_not_start_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[IOThread] = []

    def start(self: threading.Thread) -> None:
        made.append(self._target.__self__)  # type: ignore[attr-defined]
        raise RuntimeError("can't start new thread")

    ours, theirs = socket.socketpair()
    with theirs:
        monkeypatch.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError, match="new thread"):
            Duplex(idle_owner(ours))
        assert ours.fileno() == -1
        assert made[0]._wake_receiver is made[0]._wake_sender is None  # the thread makes them


def test_an_unexpected_failure_leaves_no_caller_waiting(plain: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: seen.append(args.exc_type))

    def fail(*_: object) -> None:
        raise MemoryError

    with plain(lambda peer: (said(peer), peer.send_frame(b"x"), peer.wait_gone())) as duplex:
        monkeypatch.setattr(duplex._io_thread._parser, "next_event", fail)
        duplex.send([b"go"], Deadline(SOON))
        messages, error = end_of(duplex)
        assert (messages, str(error)) == ([], "internal error in the I/O thread")
        duplex._io_thread.thread.join(SOON)
    assert seen == [MemoryError]


def test_the_interpreter_exits_at_once_with_an_open_session(plain: Session) -> None:
    program = """
        import contextlib, sys, threading
        from hume_sync import HumeClientException
        from hume_sync.net.deadline import Deadline
        from hume_sync.net.duplex import Heartbeat, Duplex
        from hume_sync.net.endpoint import Endpoint
        endpoint = Endpoint("127.0.0.1", int(sys.argv[1]), "/")
        session = Duplex.open(endpoint, Deadline(10), beat=Heartbeat(b"x", 5.0, 20.0))
        def wait():
            with contextlib.suppress(HumeClientException):
                session.receive(Deadline(1e9))
        session.send([b"hello"], Deadline(10))
        print(session.receive(Deadline(10)).data)
        threading.Thread(target=wait, daemon=True).start()
    """
    seen: list[tuple[int, bytes]] = []

    def script(peer: Peer) -> None:
        peer.send(upgrade(peer))
        seen.append(said(peer))
        peer.send_frame(b"done")
        peer.wait_gone()

    with server(script) as port:
        command = [sys.executable, "-W", "always::ResourceWarning", "-c", textwrap.dedent(program), str(port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SOON, check=True)
    assert done.stdout == "b'done'\n"
    assert done.stderr.count("ResourceWarning: a session was not closed") == 1
    assert "Traceback" not in done.stderr
    assert seen == [(TEXT, b"hello")]


# --- fork


@pytest.mark.parametrize("hooked", [True, False], ids=["hook", "no hook"])
def test_a_forked_child_is_refused_and_does_the_parent_s_session_no_harm(session: Session, hooked: bool) -> None:
    with session(echo) as duplex:
        duplex.send([b"before"], Deadline(SOON))
        assert message_of(duplex) == b"before"
        if not hooked:
            fork._REGISTERED.discard(duplex)

        def child() -> None:
            with pytest.raises(MisuseError, match="forked"):
                duplex.send([b"x"], Deadline(1))
            with pytest.raises(MisuseError, match="forked"):
                duplex.receive(Deadline(1))
            assert duplex.error
            duplex.close(5)
            duplex.abort()
            assert duplex._io_thread._sock.fileno() == -1

        with duplex._io_thread._lock:  # that no thread releases in the child
            in_child(child)
        duplex.send([b"after"], Deadline(SOON))
        assert message_of(duplex) == b"after"
        duplex.close(SOON)


def test_a_child_that_forgets_the_session_does_so_in_silence(plain: Session) -> None:
    with plain(echo) as duplex:
        fork._REGISTERED.discard(duplex)
        forgotten = duplex._finalizer
        in_child(forgotten)
        duplex.send([b"after"], Deadline(SOON))
        assert message_of(duplex) == b"after"


# --- the clock


class Polls:
    """Counts what the owner thread sleeps, and may have the clock jump while it does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.jumps: list[float] = []
        self.skew = 0.0
        self.masks: list[int] = []
        polls = self
        real = select.poll

        class Poll:
            def __init__(self) -> None:
                self._poll = real()
                self.register = self._poll.register

            def modify(self, sock: socket.socket, mask: int) -> None:
                polls.masks.append(mask)
                self._poll.modify(sock, mask)

            def poll(self, timeout: float) -> list[tuple[int, int]]:
                polls.count += 1
                woken = self._poll.poll(timeout)
                if not woken and polls.jumps:
                    polls.skew += polls.jumps.pop()
                return woken

        monkeypatch.setattr(select, "poll", Poll)
        monkeypatch.setattr(module, "monotonic", lambda: time.monotonic() + polls.skew)


def test_a_beat_is_sent_again_and_again_and_between_them_the_thread_sleeps(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    polls = Polls(monkeypatch)
    with session(echo, beat=Heartbeat(b"beat", interval=0.02, timeout=SOON)) as duplex:
        assert [message_of(duplex) for _ in range(5)] == [b"beat"] * 5
        assert polls.count < 25


def test_a_thread_with_nothing_to_do_or_that_can_do_nothing_sleeps(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    polls = Polls(monkeypatch)
    with session(silent) as duplex:
        assert duplex.receive(Deadline(0.1)) is None
        assert polls.count <= 4
        fill(duplex)
        before = polls.count
        with pytest.raises(HumeTimeout):
            duplex.send([b"x"], Deadline(0.1))
        assert polls.count <= before + 2


def test_a_session_whose_server_sends_nothing_is_abandoned(session: Session) -> None:
    def script(peer: Peer) -> None:
        peer.send_frame(b"the last word")
        peer.wait_gone()

    with session(script, beat=Heartbeat(b"beat", interval=0.03, timeout=0.1)) as duplex:
        messages, error = end_of(duplex)
        assert messages == [b"the last word"]
        assert isinstance(error, ConnectionLost)
        assert error.close_code == 1006
        assert "no data from the server for 0." in str(error)


def test_time_in_which_this_process_did_not_run_is_no_fault_of_the_server_s(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    polls = Polls(monkeypatch)
    with session(echo, beat=Heartbeat(b"beat", interval=0.02, timeout=SOON)) as duplex:
        for _ in range(3):
            polls.jumps.append(1000.0)
            assert message_of(duplex) == b"beat"
            assert message_of(duplex) == b"beat"
        assert polls.skew >= 1000
        assert not duplex.error


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux alone has the limit")
def test_a_server_that_takes_nothing_for_longer_than_the_system_waits_is_alive(
    plain: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keepalive, "_UNACKNOWLEDGED", 1000)  # milliseconds, instead of 50 s
    read = threading.Event()
    seen: list[tuple[int, bytes]] = []

    def script(peer: Peer) -> None:
        assert read.wait(SOON)
        while not seen or seen[-1][0] != CLOSE:
            seen.append(said(peer))

    with plain(script, beat=Heartbeat(b"beat", interval=0.2, timeout=SOON)) as duplex:
        duplex._io_thread._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000)
        count = fill(duplex)
        assert duplex.receive(Deadline(5.0)) is None
        read.set()
        duplex.close(SOON)
        assert isinstance(end_of(duplex)[1], MisuseError)
    heard = [payload[:6] for _, payload in seen if payload != b"beat"]
    assert heard == [*(b"%06d" % n for n in range(count)), b"\x03\xe8"]


def test_limits_beyond_what_the_system_counts_are_no_limits(session: Session) -> None:
    with (
        session(echo, beat=Heartbeat(b"beat", interval=1e12, timeout=1e12)) as duplex,
        ThreadPoolExecutor(1) as threads,
    ):
        threads.submit(duplex.close, 1e12).result(SOON)
        assert isinstance(end_of(duplex)[1], MisuseError)


# --- the owner at work


def idle_owner(sock: socket.socket, **more: Any) -> IOThread:
    """One whose thread does not run: the test is its thread."""
    return IOThread(sock, b"", Endpoint("127.0.0.1", 1, "/"), inbox=2**20, **more)


def test_a_server_that_takes_more_of_what_waits_is_alive() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        owner = idle_owner(ours)
        owner.send(bytes(10_000_000), Deadline(SOON))
        while owner._write():
            pass
        assert owner._write_blocked
        owner._last_activity = -1.0
        assert not owner._write()
        assert owner._last_activity == -1.0
        while len(theirs.recv(2**20)) == 2**20:
            pass
        owner._write()
        assert owner._last_activity > 0
        owner.release_after_fork(close=True)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_send_that_fails_reads_first_why_the_server_has_gone(contexts: Contexts, tls: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    if tls:
        with ThreadPoolExecutor(1) as threads:
            serving = threads.submit(contexts[0].wrap_socket, theirs, server_side=True)
            ours = contexts[1].wrap_socket(ours, server_hostname="127.0.0.1")
            theirs = serving.result(SOON)
    owner = idle_owner(ours)
    with theirs:
        theirs.sendall(frame(b"before") + frame((1012).to_bytes(2, "big") + b"restart", CLOSE))
    owner.send(frame(b"x" * 1000), Deadline(SOON))
    end = time.monotonic() + SOON
    with pytest.raises(ConnectionLost) as caught:
        while time.monotonic() < end:  # until the answer to the first one, a reset, is there
            owner._outbox.append(frame(b"x" * 1000))
            owner._write()
    assert (caught.value.close_code, caught.value.close_reason) == (1012, "restart")
    before = owner.receive(Deadline(0))
    assert isinstance(before, Message)
    assert before.data == b"before"
    owner.release_after_fork(close=True)


class Odd:
    """A socket that has read and write wait for each other, once, as TLS may; and minds the lock."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.owner: IOThread | None = None
        self.faults: dict[str, list[type[OSError]]] = {"recv": [ssl.SSLWantWriteError], "send": [ssl.SSLWantReadError]}
        self.held = 0

    def _call(self, name: str, argument: Any) -> Any:
        owned = self.owner is not None and self.owner._lock._is_owned()  # type: ignore[attr-defined]
        self.held += owned
        if self.faults[name]:
            raise self.faults[name].pop()
        return getattr(self._sock, name)(argument)

    def recv(self, size: int) -> Any:
        return self._call("recv", size)

    def send(self, data: Any) -> Any:
        return self._call("send", data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def test_reading_and_writing_wait_for_what_tls_asks_for_and_never_under_the_lock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    polls = Polls(monkeypatch)
    ours, theirs = socket.socketpair()
    odd: Any = Odd(ours)
    with theirs:
        duplex = Duplex(idle_owner(odd))
        odd.owner = duplex._io_thread
        peer = Peer(theirs, threading.Event())
        peer.send_frame(b"hello")
        assert message_of(duplex) == b"hello"
        assert select.POLLOUT in polls.masks  # to read
        duplex.send([b"one"], Deadline(SOON))
        peer.send_frame(b"again")  # what the write waits for
        assert said(peer) == (TEXT, b"one")
        assert message_of(duplex) == b"again"
        assert polls.count < 20
        assert odd.held == 0
        duplex.abort()
        gone(duplex._io_thread)
        peer.close()


def test_a_signal_s_handler_may_close_the_session_its_own_thread_is_using(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GRACE", 0.05)
    ours, theirs = socket.socketpair()
    with theirs:
        duplex = Duplex(idle_owner(ours))
        with duplex._io_thread._lock:  # where it was interrupted
            duplex.close(0.05)
        gone(duplex._io_thread)
