"""Every fault a server or a network can play on one connection, and the same four questions for each.

1. Does the call end by its deadline?  2. Does memory stay bounded?  3. Is the error exact: class, phase, facts, and
no key anywhere?  4. Is the connection discarded with its descriptor, or still good, as it should be - and does the
next call get its own, right reply?
"""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
import tracemalloc
from collections.abc import Callable
from typing import Any, cast

import attrs
import pytest

from hume_sync import (
    AuthenticationError,
    ConnectError,
    ConnectionLost,
    HandshakeRejected,
    HumeClientException,
    HumeStreamClient,
    LanguageConfig,
    MessageTooLarge,
    ProtocolError,
    ReplyMismatch,
    RequestError,
    RetryPolicy,
    ServerError,
    StreamSocket,
    Timeout,
)
from hume_sync.stream.dedicated import DedicatedProvider
from tests.faultproxy import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    TEXT,
    FaultProxy,
    Peer,
    announce,
    answer,
    frame,
    head,
    upgrade,
)
from tests.internals import byte_stream

KEY = "the-key-that-no-one-may-see"
TIMEOUT = 0.5
GRACE = 0.7  # seconds of a busy machine; a call that hangs takes for ever
MEMORY = 8 * 2**20
MAX_MESSAGE = 2**20


@attrs.frozen
class Fault:
    """One row: where it is played, what it does, and what the caller must see."""

    name: str
    place: str  # "connect", "request" or "reply"
    play: Callable[..., bool]
    error: type[HumeClientException] | None = None
    phase: str | None = None
    facts: dict[str, Any] = attrs.Factory(dict)
    keeps_connection: bool = False
    scheme: str = "ws"

    @property
    def timeout(self) -> float:
        """Seconds; a large request takes its time before the fault can come."""
        return 2.0 if self.place == "request" else TIMEOUT


def connect(name: str, play: Callable[[Peer], bool], error: type[HumeClientException], **more: Any) -> Fault:
    return Fault(name, "connect", play, error, "connect", **more)


def reply(
    name: str,
    play: Callable[[Peer, bytes], bool],
    error: type[HumeClientException] | None,
    phase: str | None = "receive",
    **more: Any,
) -> Fault:
    facts = {"maybe_processed": True, **more.pop("facts", {})} if phase else more.pop("facts", {})
    return Fault(name, "reply", play, error, phase, facts, **more)


def deaf(peer: Peer, *_: object) -> bool:
    peer.wait_gone()
    return False


def hang_up(peer: Peer, *_: object) -> bool:
    return False


def reset(peer: Peer, *_: object) -> bool:
    peer.reset()
    return False


def sends(make: Callable[[bytes], bytes], then: Callable[..., bool] = deaf) -> Callable[[Peer, bytes], bool]:
    """Send what is made of the true reply, then do what `then` does (by default, go on waiting)."""

    def play(peer: Peer, genuine: bytes) -> bool:
        peer.send(make(genuine))
        return then(peer)

    return play


def changes(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Peer, bytes], bool]:
    """Send the true reply, changed, and relay on as if nothing were."""
    return sends(lambda genuine: frame(json.dumps(change(json.loads(genuine))).encode()), go_on)


def go_on(peer: Peer) -> bool:
    return True


def closes(code: int | None, reason: str = "") -> Callable[[Peer, bytes], bool]:
    def play(peer: Peer, genuine: bytes) -> bool:
        peer.send_close(code, reason)
        peer.wait_gone()
        return False

    return play


def cut_upgrade(peer: Peer) -> bool:
    peer.send(upgrade(peer)[:60])
    return False


def drip_upgrade(peer: Peer) -> bool:
    peer.drip(upgrade(peer))
    return False


def bad_accept(peer: Peer) -> bool:
    peer.send(upgrade(peer, accept="c29tZXRoaW5nIGVsc2U="))
    return deaf(peer)


def extension(peer: Peer) -> bool:
    peer.send(upgrade(peer, extra="Sec-WebSocket-Extensions: permessage-deflate\r\n"))
    return deaf(peer)


def huge_body(peer: Peer) -> bool:
    for _ in head(peer.file):
        pass
    peer.send(b"HTTP/1.1 500 Oops\r\nContent-Length: 1000000000\r\n\r\n")
    peer.flood(b"x" * 65536, 64 * 2**20)
    return False


def endless_head(peer: Peer) -> bool:
    peer.send(b"HTTP/1.1 101 Switching Protocols\r\n")
    peer.flood(b"X-Filler: " + b"y" * 1000 + b"\r\n", 64 * 2**20)
    return False


def garbage(peer: Peer) -> bool:
    peer.send(b"\x00garbage, not TLS\r\n" * 10)
    return deaf(peer)


def stop_reading(peer: Peer) -> bool:
    peer.stop.wait()
    return False


def half_then_reset(peer: Peer) -> bool:
    peer.sock.recv(1000)
    return reset(peer)


def drip(peer: Peer, genuine: bytes) -> bool:
    peer.drip(frame(genuine))
    return False


def pings_only(peer: Peer, genuine: bytes) -> bool:
    while not peer.stop.wait(0.05):
        peer.send_frame(b"are you there", PING)
    return False


def heartbeats_only(peer: Peer, genuine: bytes) -> bool:
    while not peer.stop.wait(0.05):
        peer.send_frame(b'{"type": "heartbeat"}')
    return False


def endless_fragments(peer: Peer, genuine: bytes) -> bool:
    peer.send_frame(b'{"', TEXT, final=False)
    peer.flood(frame(b" " * 60000, CONTINUATION, final=False), 64 * 2**20)
    return False


def endless_empty_fragments(peer: Peer, genuine: bytes) -> bool:
    peer.send_frame(b"", TEXT, final=False)
    peer.flood(frame(b"", CONTINUATION, final=False) * 1000, 2**30)
    return False


def flood_of_pings(peer: Peer, genuine: bytes) -> bool:
    peer.sock.settimeout(2)
    peer.flood(frame(b"", 10) * 1000, 2**30)
    return False


def fragments_with_ping(peer: Peer, genuine: bytes) -> bool:
    peer.send_frame(genuine[:10], TEXT, final=False)
    peer.send_frame(b"between", PING)
    peer.send_frame(genuine[10:20], CONTINUATION, final=False)
    peer.send_frame(genuine[20:], CONTINUATION)
    return True


def late(peer: Peer, genuine: bytes) -> bool:
    peer.wait_gone()  # the client has timed out: now comes the reply
    with_reply = frame(genuine)
    try:
        peer.send(with_reply)
    except OSError:
        pass
    return False


FAULTS = [
    # --- connect
    connect("the server hangs up at once", hang_up, ConnectError),
    connect("the server resets at once", reset, ConnectError),
    connect("the server accepts and says nothing", deaf, Timeout),
    connect("the server answers the TLS greeting with garbage", garbage, ConnectError, scheme="wss"),
    connect("the server hangs up at the TLS greeting", hang_up, ConnectError, scheme="wss"),
    connect("the server is silent at the TLS greeting", deaf, Timeout, scheme="wss"),
    connect("the upgrade's answer breaks off", cut_upgrade, ConnectError),
    connect("the upgrade's answer drips", drip_upgrade, Timeout),
    connect("the upgrade's answer has no end", endless_head, ProtocolError),
    connect("the accept key is wrong", bad_accept, ProtocolError),
    connect("an extension that was not offered", extension, ProtocolError),
    connect("not HTTP", answer("SSH-2.0-OpenSSH_9.2\r\n\r\n"), ProtocolError),
    connect("HTTP 200", answer("HTTP/1.1 200 OK\r\n\r\n"), HandshakeRejected, facts={"status": 200}),
    connect(
        "a redirect to another origin",
        answer("HTTP/1.1 302 Found\r\nLocation: ws://example.invalid/\r\n\r\n"),
        HandshakeRejected,
        facts={"status": 302},
    ),
    connect("HTTP 401", answer("HTTP/1.1 401 No\r\n\r\n"), AuthenticationError, facts={"status": 401}),
    connect(
        "HTTP 403 that repeats the key",
        answer(f"HTTP/1.1 403 No\r\nContent-Length: 30\r\n\r\nbad key {KEY}"),
        HandshakeRejected,
        facts={"status": 403},
    ),
    connect(
        "HTTP 429 with a time to wait",
        answer("HTTP/1.1 429 Slow\r\nRetry-After: 7\r\n\r\n"),
        HandshakeRejected,
        facts={"status": 429, "retry_after": 7.0},
    ),
    connect("HTTP 500 with a huge body", huge_body, HandshakeRejected, facts={"status": 500}),
    connect("HTTP 503", answer("HTTP/1.1 503 Busy\r\n\r\n"), HandshakeRejected, facts={"status": 503}),
    # --- in request
    Fault("the server stops reading", "request", stop_reading, Timeout, "send", {"maybe_processed": False}),
    Fault("a reset after half the request", "request", half_then_reset, ConnectionLost, "send"),
    # --- in reply
    reply("silence", deaf, Timeout),
    reply("the reply comes when the client has stopped waiting", late, Timeout),
    reply("end of stream instead of a reply", hang_up, ConnectionLost),
    reply("reset instead of a reply", reset, ConnectionLost),
    reply("half a frame header", sends(lambda g: frame(g)[:1]), Timeout),
    reply("half a payload, then silence", sends(lambda g: frame(g)[: len(g) // 2]), Timeout),
    reply("half a payload, then the end", sends(lambda g: frame(g)[: len(g) // 2], hang_up), ConnectionLost),
    reply("half a payload, then a reset", sends(lambda g: frame(g)[: len(g) // 2], reset), ConnectionLost),
    reply("the reply drips", drip, Timeout),
    reply("nothing but pings", pings_only, Timeout),
    reply("a flood of pongs", flood_of_pings, Timeout),
    reply("a reply in fragments, with a ping between", fragments_with_ping, None, None, keeps_connection=True),
    reply("fragments without end", endless_fragments, MessageTooLarge),
    reply("empty fragments without end", endless_empty_fragments, Timeout),
    reply("a frame of 64 MiB", sends(lambda g: announce(64 * 2**20) + b" " * 65536), MessageTooLarge),
    reply("a frame of 2**63 bytes", sends(lambda g: announce(2**63)), MessageTooLarge),
    reply("a reserved bit", sends(lambda g: frame(g, reserved=4)), ProtocolError),
    reply("an unknown opcode", sends(lambda g: frame(g, 5)), ProtocolError),
    reply("a masked frame", sends(lambda g: b"\x81\x82\0\0\0\0{}"), ProtocolError),
    reply("a continuation of nothing", sends(lambda g: frame(g, CONTINUATION)), ProtocolError),
    reply("a message inside another", sends(lambda g: frame(b"{", final=False) + frame(g)), ProtocolError),
    reply("a ping in pieces", sends(lambda g: frame(b"", PING, final=False)), ProtocolError),
    reply("a ping that is too long", sends(lambda g: frame(b"x" * 126, PING)), ProtocolError),
    reply("a binary message", sends(lambda g: frame(g, BINARY)), ProtocolError),
    reply("bytes that are not UTF-8", sends(lambda g: frame(b'{"a": "\xff\xfe"}')), ProtocolError),
    reply("text that is not JSON", sends(lambda g: frame(b"<html>busy</html>")), ProtocolError),
    reply("JSON that is no object", sends(lambda g: frame(b"[1, 2]")), ProtocolError),
    reply("JSON nested without end", sends(lambda g: frame(b"[" * 100_000)), ProtocolError),
    reply("NaN that is no object", sends(lambda g: frame(b"NaN")), ProtocolError),
    reply("a reply with NaN", changes(lambda r: {**r, "n": [math.nan, -math.inf]}), None, None, keeps_connection=True),
    reply(
        "a reply behind a greeting", sends(lambda g: frame(b"{}") + frame(g), go_on), None, None, keeps_connection=True
    ),
    reply("33 heartbeats", sends(lambda g: frame(b"{}") * 33 + frame(g)), ProtocolError),
    reply("nothing but heartbeats", heartbeats_only, Timeout),
    reply("another request's payload_id", changes(lambda r: {**r, "payload_id": "other"}), ReplyMismatch),
    reply("a payload_id that is no text", changes(lambda r: {**r, "payload_id": 7}), ReplyMismatch),
    *(
        reply(
            f"close {code}",
            closes(code, "the reason"),
            ConnectionLost,
            facts={"close_code": code, "close_reason": "the reason"},
        )
        for code in (1000, 1001, 1008, 1011, 1013)
    ),
    reply("close without a code", closes(None), ConnectionLost, facts={"close_code": 1005, "close_reason": ""}),
    reply("a close frame of one byte", sends(lambda g: frame(b"\x03", CLOSE)), ProtocolError),
    reply("a close code that must not be sent", sends(lambda g: frame(struct.pack("!H", 1005), CLOSE)), ProtocolError),
    reply(
        "an error about the request",
        changes(lambda r: {"error": "no", "code": "E0102", "payload_id": r["payload_id"]}),
        RequestError,
        None,
        facts={"code": "E0102"},
        keeps_connection=True,
    ),
    reply(
        "an error about load",
        changes(lambda r: {"error": "busy", "code": "I0100", "payload_id": r["payload_id"]}),
        ServerError,
        None,
        facts={"code": "I0100"},
        keeps_connection=True,
    ),
    reply("an error without a code", changes(lambda r: {"error": "no"}), RequestError, None, keeps_connection=True),
    reply(
        "an error that is no text", changes(lambda r: {"error": {"a": 1}}), RequestError, None, keeps_connection=True
    ),
    reply(
        "a reply without payload_id, at first", changes(lambda r: {"language": None}), None, None, keeps_connection=True
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_a_fault_ends_in_time_within_bounds_as_the_right_error_and_leaves_the_socket_usable(
    fault: Fault, proxy: FaultProxy, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = HumeStreamClient(
        KEY,
        base_url=proxy.url.replace("ws", fault.scheme),
        timeout=fault.timeout,
        max_message_size=MAX_MESSAGE,
        close_timeout=0.2,
        retry=RetryPolicy.none(),
    )
    socket_ = client.connect([LanguageConfig()])
    # So large that it fits no socket buffer, where a server that no longer reads is the fault.
    text = "words " * (2_000_000 if fault.place == "request" else 3)
    if fault.place == "connect":
        proxy.on_connect(fault.play)
    else:
        socket_.__enter__()
        (proxy.on_request if fault.place == "request" else proxy.on_reply)(fault.play)
    before = cast(DedicatedProvider, socket_._provider)._connection

    tracemalloc.start()
    started = time.monotonic()
    error = outcome(socket_, text)
    took = time.monotonic() - started
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert took < fault.timeout + GRACE
    if fault.place != "request":
        assert peak < MEMORY

    assert type(error) is (fault.error or type(None)), error
    if error is not None:
        assert error.phase == fault.phase
        for name, value in fault.facts.items():
            assert getattr(error, name) == value
        shown = "".join(traceback.format_exception(error)) + repr(vars(error)) + caplog.text
        assert KEY not in shown

    if fault.keeps_connection:
        assert before is not None
        assert before.usable
        assert socket_.epoch == before.epoch
    elif before is not None:
        assert not before.usable
        assert byte_stream(before).fileno() == -1

    if fault.scheme == "ws":
        socket_._provider.breaker.record_success()  # a refusal counts for 5 s, which are over
        assert outcome(socket_, "once more") is None  # its own reply: payload_id says so
    socket_.close()


def outcome(socket_: StreamSocket, text: str) -> HumeClientException | None:
    """Send a text; the error it ended in, or None."""
    try:
        socket_.send_text(text)
    except HumeClientException as exc:
        return exc
    return None


def test_a_second_reply_to_one_request_is_never_given_to_the_next_request(proxy: FaultProxy) -> None:
    client = HumeStreamClient("k", base_url=proxy.url, timeout=5)
    with client.connect([LanguageConfig()]) as stream:
        proxy.on_reply(sends(lambda genuine: frame(genuine) * 2, go_on))
        stream.send_text("first")
        first = stream.epoch
        reply = stream.send_text("second")
        assert stream.epoch != first
    assert reply["language"]["predictions"][0]["text"] == "second"
    assert reply.attempts == 1


def test_a_reply_without_payload_id_is_refused_once_the_server_has_sent_one(proxy: FaultProxy) -> None:
    client = HumeStreamClient("k", base_url=proxy.url, timeout=5, retry=RetryPolicy.none())
    with client.connect([LanguageConfig()]) as stream:
        stream.send_text("first")
        proxy.on_reply(changes(lambda r: {"language": r["language"]}))
        with pytest.raises(ReplyMismatch):
            stream.send_text("second")
        stream.send_text("third")
        proxy.on_reply(changes(lambda r: {"error": "not JSON", "code": "E0100"}))
        with pytest.raises(RequestError):  # the one reply that cannot name its request
            stream.send_text("fourth")
        assert stream.epoch is not None


def test_a_refused_connection_says_which_address_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    client = HumeStreamClient("k", base_url=f"ws://127.0.0.1:{port}")
    with pytest.raises(ConnectError, match=f"127.0.0.1:{port}.*refused") as caught:
        client.connect([LanguageConfig()]).send_text("hello")
    assert (caught.value.phase, caught.value.maybe_processed) == ("connect", False)


# --- while nothing is under way

IDLE: list[tuple[str, Callable[[Peer, bytes], bool], bool]] = [
    # name, what comes behind a good reply, whether the connection is still good
    ("a ping", sends(lambda g: frame(g) + frame(b"", PING), go_on), True),
    ("thirty pings", sends(lambda g: frame(g) + frame(b"", PING) * 30, go_on), True),
    ("a heartbeat", sends(lambda g: frame(g) + frame(b'{"type": "heartbeat"}'), go_on), True),
    ("32 heartbeats", sends(lambda g: frame(g) + frame(b'{"type": "heartbeat"}') * 32, go_on), True),
    ("33 heartbeats", sends(lambda g: frame(g) + frame(b'{"type": "heartbeat"}') * 33, go_on), True),
    ("a stray reply", sends(lambda g: frame(g) + frame(b'{"language": null}'), go_on), False),
    ("a stray message that is no object", sends(lambda g: frame(g) + frame(b"[]"), go_on), False),
    ("half a stray message", sends(lambda g: frame(g) + frame(b"{}")[:2]), False),
    ("a clean close", sends(lambda g: frame(g) + frame(struct.pack("!H", 1001), CLOSE)), False),
    ("the end of the stream", sends(frame, hang_up), False),
    ("a reset", sends(frame, reset), False),
]


@pytest.mark.parametrize(("name", "play", "keeps"), IDLE, ids=[row[0].replace(" ", "-") for row in IDLE])
def test_what_comes_while_idle_never_reaches_a_caller(
    name: str, play: Callable[[Peer, bytes], bool], keeps: bool, proxy: FaultProxy
) -> None:
    client = HumeStreamClient(KEY, base_url=proxy.url, timeout=5)
    with client.connect([LanguageConfig()]) as stream:
        proxy.on_reply(play)
        assert stream.send_text("first")["language"]["predictions"][0]["text"] == "first"
        epoch = stream.epoch
        reply = stream.send_text("second")
        assert reply["language"]["predictions"][0]["text"] == "second"
        assert (stream.epoch == epoch) is keeps


def test_a_connection_that_dies_without_notice_costs_only_one_deadline(proxy: FaultProxy) -> None:
    client = HumeStreamClient(KEY, base_url=proxy.url, timeout=TIMEOUT)
    with client.connect([LanguageConfig()]) as stream:
        proxy.on_reply(sends(frame, deaf))  # from here on a black hole
        stream.send_text("first")
        started = time.monotonic()
        error = outcome(stream, "second")
        assert time.monotonic() - started < TIMEOUT + GRACE
        assert isinstance(error, Timeout)
        assert outcome(stream, "third") is None


def test_a_server_that_is_stopped_costs_a_deadline_and_serves_again_when_it_goes_on() -> None:
    command = [sys.executable, "-m", "hume_sync", "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        server.stdout.readline()
        url = server.stdout.readline().split("=")[1].split()[0]
        try:
            with HumeStreamClient(KEY, base_url=url, close_timeout=0.2).connect([LanguageConfig()]) as stream:
                assert outcome(stream, "first") is None
                server.send_signal(signal.SIGSTOP)
                os.waitid(os.P_PID, server.pid, os.WSTOPPED | os.WNOWAIT)  # until then it may answer
                started = time.monotonic()
                with pytest.raises(Timeout):
                    stream.send_text("second", timeout=1.0)
                with pytest.raises(Timeout):  # the system still accepts; no one answers the upgrade
                    stream.send_text("third", timeout=1.0)
                assert time.monotonic() - started < 10
                server.send_signal(signal.SIGCONT)
                reply = stream.send_text("fourth", timeout=10)
                assert reply["language"]["predictions"][0]["text"] == "fourth"
        finally:
            server.send_signal(signal.SIGCONT)
            server.terminate()


# --- Ctrl-C

INTERRUPTED: list[tuple[str, str, Callable[..., bool]]] = [
    ("connecting", "connect", deaf),
    ("in the upgrade", "connect", drip_upgrade),
    ("sending", "request", stop_reading),
    ("receiving", "reply", deaf),
    ("receiving the rest", "reply", sends(lambda g: frame(g)[: len(g) // 2])),
    ("between two attempts", "connect", hang_up),
]


@pytest.mark.parametrize(("place", "play"), [row[1:] for row in INTERRUPTED], ids=[row[0] for row in INTERRUPTED])
def test_ctrl_c_is_prompt_and_the_next_reply_is_right(place: str, play: Callable[..., bool], proxy: FaultProxy) -> None:
    policy = RetryPolicy(initial=60, maximum=60)
    # More time than the longest back-off: one that does not fit would not be begun.
    client = HumeStreamClient(KEY, base_url=proxy.url, timeout=300, close_timeout=0.2, retry=policy)
    stream = client.connect([LanguageConfig()])
    begun = threading.Event()

    def fault(*arguments: Any) -> bool:
        begun.set()
        return play(*arguments)

    if place == "connect":
        proxy.on_connect(fault)
    else:
        stream.send_text("before")
        (proxy.on_request if place == "request" else proxy.on_reply)(fault)

    main = threading.get_ident()

    def interrupt() -> None:
        assert begun.wait(10)
        signal.pthread_kill(main, signal.SIGINT)

    watcher = threading.Thread(target=interrupt)
    watcher.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        stream.send_text("words " * (2_000_000 if place == "request" else 3))
    assert time.monotonic() - started < 5  # of three hundred
    watcher.join()
    stream.close()
    with client.connect([LanguageConfig()]) as stream:
        assert stream.send_text("next")["language"]["predictions"][0]["text"] == "next"
