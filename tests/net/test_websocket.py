from __future__ import annotations

import threading

import pytest
import websocket

from hume_sync import ConfigurationError, ConnectionLost, MessageTooLarge, ProtocolError
from hume_sync.net import websocket as module
from hume_sync.net.deadline import Deadline
from hume_sync.net.endpoint import Endpoint
from hume_sync.net.websocket import WebSocket, check_websocket_client
from tests.faultproxy import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Peer, frame, read_frame

from .support import Script, says, server, upgraded


def unasked(message: object) -> None:
    """Refuse a message that comes before a pong."""
    raise ConnectionLost("the server sent messages that were not asked for", phase="idle")


def opened(port: int, **more: int) -> WebSocket:
    return WebSocket.open(Endpoint("127.0.0.1", port, "/", **more), Deadline(5))  # type: ignore[arg-type]


def unmasked(raw: bytes, payload: bytes) -> bytes:
    key = raw[-len(payload) - 4 : -len(payload) or None][:4]
    return bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 1_000_000])
def test_a_message_of_any_size_arrives_whole_and_masked(size: int) -> None:
    seen: list[bytes] = []

    def script(peer: Peer) -> None:
        opcode, raw, payload = read_frame(peer.file)
        assert opcode == TEXT
        assert raw[1] & 0x80
        seen.append(unmasked(raw, payload) if payload else b"")
        peer.send_frame(seen[0])

    message = bytes(65 + i % 26 for i in range(size))
    with server(upgraded(script)) as port:
        transport = opened(port)
        transport.send([message], Deadline(5))
        assert transport.receive(Deadline(5)) == message
        transport.discard()
    assert seen == [message]


def test_each_frame_has_a_mask_of_its_own() -> None:
    keys: list[bytes] = []

    def script(peer: Peer) -> None:
        for _ in range(8):
            _, raw, _ = read_frame(peer.file)
            keys.append(raw[2:6])

    with server(upgraded(script)) as port:
        transport = opened(port)
        for _ in range(8):
            transport.send([b"same"], Deadline(5))
        with pytest.raises(ConnectionLost):
            transport.receive(Deadline(5))
        transport.discard()
    assert len(set(keys)) == 8


def test_pings_are_answered_with_their_own_payload_while_waiting() -> None:
    pongs: list[tuple[int, bytes]] = []

    def script(peer: Peer) -> None:
        peer.send_frame(b"are you there", PING)
        opcode, raw, payload = read_frame(peer.file)
        pongs.append((opcode, unmasked(raw, payload)))
        peer.send_frame(b"unasked", PONG)
        peer.send_frame(b"reply")

    with server(upgraded(script)) as port:
        transport = opened(port)
        assert transport.receive(Deadline(5)) == b"reply"
        transport.discard()
    assert pongs == [(PONG, b"are you there")]


def test_fragments_make_one_message() -> None:
    with server(
        says(frame(b"a", final=False), frame(b"", CONTINUATION, final=False), frame(b"b", CONTINUATION))
    ) as port:
        transport = opened(port)
        assert transport.receive(Deadline(5)) == b"ab"
        transport.discard()


def test_the_cap_counts_fragments_together_and_each_message_separately() -> None:
    ten = frame(b"12345", final=False) + frame(b"67890", CONTINUATION)
    with server(says(ten, ten, frame(b"12345", final=False), frame(b"678901", CONTINUATION))) as port:
        transport = opened(port, max_message_size=10)
        assert transport.receive(Deadline(5)) == b"1234567890"
        assert transport.receive(Deadline(5)) == b"1234567890"
        with pytest.raises(MessageTooLarge, match="more than 10 bytes"):
            transport.receive(Deadline(5))
        transport.discard()


def test_a_ping_between_fragments_does_not_count() -> None:
    with server(
        says(frame(b"12345", final=False), frame(b"are you there", PING), frame(b"67890", CONTINUATION))
    ) as port:
        transport = opened(port, max_message_size=15)
        assert transport.receive(Deadline(5)) == b"1234567890"
        transport.discard()


@pytest.mark.parametrize(
    ("faulty", "code"), [(frame(b"{}", BINARY), 1002), (frame(b"x" * 20), 1009)], ids=["protocol", "size"]
)
def test_a_peer_that_breaks_the_protocol_is_sent_a_code_for_why_the_connection_ends(faulty: bytes, code: int) -> None:
    received: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.send(faulty)
        opcode, raw, payload = read_frame(peer.file)
        assert opcode == CLOSE
        received.append(unmasked(raw, payload))

    with server(upgraded(script)) as port:
        transport = opened(port, max_message_size=10)
        with pytest.raises(ProtocolError):
            transport.receive(Deadline(5))
        transport.discard()
    assert received == [code.to_bytes(2, "big")]


def test_a_servers_close_is_answered_with_its_code() -> None:
    answered: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.send_close(1011, "overload")
        _, raw, payload = read_frame(peer.file)
        answered.append(unmasked(raw, payload))

    with server(upgraded(script)) as port:
        transport = opened(port)
        with pytest.raises(ConnectionLost, match=r"1011, 'overload'") as caught:
            transport.receive(Deadline(5))
        transport.discard()
    assert (caught.value.close_code, caught.value.close_reason) == (1011, "overload")
    assert answered == [(1011).to_bytes(2, "big")]


# --- looking at an idle connection


def test_a_quiet_connection_is_sound() -> None:
    with server(says()) as port:
        transport = opened(port)
        transport.poll()
        transport.poll()
        transport.discard()


def test_pings_that_came_while_idle_are_answered() -> None:
    pongs: list[bytes] = []
    pinged, polled = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.send(frame(b"1", PING) + frame(b"2", PING) + frame(b"3", PONG))
        pinged.set()
        for _ in range(2):
            _, raw, payload = read_frame(peer.file)
            pongs.append(unmasked(raw, payload))
        assert polled.wait(5)
        peer.send_frame(b"reply")

    with server(upgraded(script)) as port:
        transport = opened(port)
        assert pinged.wait(5)
        transport.poll()
        polled.set()
        assert transport.receive(Deadline(5)) == b"reply"
        transport.discard()
    assert pongs == [b"1", b"2"]


@pytest.mark.parametrize(
    "unasked",
    [
        frame(b"{}", BINARY),
        frame(b"{}", CONTINUATION),
        frame(b"{", final=False),
        frame(b"", CONTINUATION, final=False),
        frame(b"{", final=False) + frame(b"{}"),
        frame(b"", final=False) + frame(b"", CONTINUATION, final=False) * 32,
        frame(b"{}")[:2],
        frame(b"", PING) * 33,
        frame(b"", PING)[:1],
        frame(b"\x03\xe8", CLOSE),
        frame(b"x", reserved=1),
        b"",
    ],
    ids=[
        "binary", "continuation", "half-a-message", "half-of-nothing", "message-in-message", "many-fragments",
        "half-a-frame", "many-pings", "half-a-ping", "close", "nonsense", "end-of-stream",
    ],
)  # fmt: skip
def test_anything_else_on_an_idle_connection_ends_it(unasked: bytes) -> None:
    done = threading.Event()

    def script(peer: Peer) -> None:
        peer.send(unasked)
        if not unasked:
            peer.close()
        done.set()
        peer.wait_gone() if unasked else None

    with server(upgraded(script)) as port:
        transport = opened(port)
        assert done.wait(5)
        with pytest.raises(ConnectionLost) as caught:
            transport.poll()
        assert (caught.value.phase, caught.value.maybe_processed) == ("idle", False)
        transport.discard()


# --- a ping before a request


def pinged(before: bytes = b"", after: bytes | None = b"", *, mistaken: bytes = b"") -> Script:
    """Say something, and answer a ping."""

    def script(peer: Peer) -> None:
        peer.send(before)
        while True:
            opcode, raw, payload = read_frame(peer.file)
            if opcode == PING:
                break
        assert raw[1] & 0x80
        if after is not None:
            peer.send_frame(unmasked(raw, payload) + mistaken, PONG)
            peer.send(after)
        peer.wait_gone()

    return upgraded(script)


@pytest.mark.parametrize("before", [b"", frame(b"are you there", PING) * 3, frame(b"unasked", PONG)])
def test_a_ping_that_is_answered_leaves_a_connection_that_works(before: bytes) -> None:
    with server(pinged(before, frame(b"reply"))) as port:
        transport = opened(port)
        transport.ping(Deadline(5), unasked)
        assert transport.receive(Deadline(5)) == b"reply"
        transport.discard()


def test_pings_of_the_servers_own_are_answered_while_a_pong_is_waited_for() -> None:
    pongs: list[bytes] = []

    def script(peer: Peer) -> None:
        _, raw, payload = read_frame(peer.file)
        peer.send_frame(b"are you there", PING)
        _, answer, said = read_frame(peer.file)
        pongs.append(unmasked(answer, said))
        peer.send_frame(unmasked(raw, payload), PONG)
        peer.wait_gone()

    with server(upgraded(script)) as port:
        transport = opened(port)
        transport.ping(Deadline(5), unasked)
        transport.discard()
    assert pongs == [b"are you there"]


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (says(), "no ping"),
        (pinged(after=None), "no ping"),
        (pinged(mistaken=b"!"), "no ping"),
        (says(frame(b"")[:1]), "no ping"),
        (pinged(frame(b"{}")), "not asked for"),
        (pinged(frame(b"", PING) * 33), "without a complete message"),
        (pinged(frame(b"\x03\xe8", CLOSE)), "1000"),
        (pinged(frame(b"x", reserved=1)), "ended"),
        (upgraded(lambda peer: None), "ended"),
        (upgraded(lambda peer: peer.reset()), "ended"),
    ],
    ids=[
        "silence",
        "no-pong",
        "another-pong",
        "half-a-frame",
        "message",
        "many-pings",
        "close",
        "nonsense",
        "end",
        "reset",
    ],
)
def test_a_ping_that_is_not_answered_right_ends_the_connection(script: Script, why: str) -> None:
    with server(script) as port:
        transport = opened(port)
        with pytest.raises(ConnectionLost, match=why) as caught:
            transport.ping(Deadline(0.3), unasked)
        assert (caught.value.phase, caught.value.maybe_processed) == ("idle", False)
        transport.discard()


def test_two_pings_are_distinguished() -> None:
    seen: list[bytes] = []

    def script(peer: Peer) -> None:
        for _ in range(2):
            _, raw, payload = read_frame(peer.file)
            seen.append(unmasked(raw, payload))
            peer.send_frame(seen[-1], PONG)
        peer.wait_gone()

    with server(upgraded(script)) as port:
        transport = opened(port)
        transport.ping(Deadline(5), unasked)
        transport.ping(Deadline(5), unasked)
        transport.discard()
    assert seen[0] != seen[1]


def test_messages_that_came_while_idle_are_returned_one_by_one() -> None:
    pieces = frame(b"b", final=False) + frame(b"", PING) + frame(b"c", CONTINUATION)
    with server(says(frame(b"a") + frame(b"", PING) + pieces + frame(b""))) as port:
        transport = opened(port)
        assert transport._stream.buffered or transport._stream._readable.poll(5000)
        assert [bytes(transport.poll() or b"") for _ in range(3)] == [b"a", b"bc", b""]
        assert transport.poll() is None
        transport.discard()


# --- closing


def test_closing_exchanges_close_frames() -> None:
    seen: list[bytes] = []

    def script(peer: Peer) -> None:
        opcode, raw, payload = read_frame(peer.file)
        assert opcode == CLOSE
        seen.append(unmasked(raw, payload))
        peer.send_frame(b"a late reply")
        peer.send_close(1000)
        peer.wait_gone()

    with server(upgraded(script)) as port:
        opened(port).close(5)
    assert seen == [b"\x03\xe8"]


@pytest.mark.parametrize("after", [frame(b"", PING) * 3, frame(b"x", reserved=1), frame(b"", PING) * 100_000])
def test_closing_ends_in_time_even_if_the_server_does_not_cooperate(after: bytes) -> None:
    with server(says(after)) as port:
        transport = opened(port)
        transport.close(0.2)
        assert transport._stream.fileno() == -1


def test_aborting_from_another_thread_wakes_a_waiting_call() -> None:
    with server(says()) as port:
        transport = opened(port)
        waiting = threading.Timer(0.05, transport.abort)
        waiting.start()
        with pytest.raises(ConnectionLost) as caught:
            transport.receive(Deadline(10))
        assert caught.value.maybe_processed
        waiting.join()
        transport.discard()


# --- websocket-client


def test_the_installed_websocket_client_has_all_that_is_used() -> None:
    check_websocket_client()


@pytest.mark.parametrize(
    ("owner", "name"), [(websocket.WebSocket, "connect"), (websocket.ABNF, "validate"), (websocket.ABNF, "format")]
)
def test_a_websocket_client_that_has_moved_a_part_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str
) -> None:
    monkeypatch.delattr(owner, name)
    with pytest.raises(ConfigurationError, match=f"websocket-client .* has no .*{name}"):
        opened(1)


def test_only_one_module_knows_websocket_client() -> None:
    import pathlib

    package = pathlib.Path(module.__file__).parents[1]
    users = [
        p.name
        for p in package.rglob("*.py")
        if "import websocket\n" in p.read_text() or "from websocket " in p.read_text()
    ]
    assert users == ["websocket.py"]
