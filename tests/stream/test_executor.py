"""One request of a stream, even if its connection breaks: what the server heard, and what the caller gets."""

from __future__ import annotations

import json
import socket as sockets
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from hume_sync import (
    BurstConfig,
    ConnectionLost,
    FaceConfig,
    HandshakeRejected,
    HumeStreamClient,
    LanguageConfig,
    ProsodyConfig,
    ReplyMismatch,
    RequestError,
    RetryPolicy,
    StreamSocket,
    Timeout,
)
from hume_sync.emulator import Emulator
from hume_sync.emulator.journal import RequestSeen
from hume_sync.net.deadline import Deadline
from hume_sync.stream.wav import Wav
from hume_sync.stream.window import StreamWindow
from tests.emulator.support import tone, wav, webm
from tests.faultproxy import FaultProxy, Peer, frame

from .support import FACE, SPEECH

A, B, C, D = (wav(tone(1.0, start=16_000 * i)) for i in range(4))
QUICK = RetryPolicy(initial=0.0005, maximum=0.0005)
NOT_MEDIA = b"\x00\x01\xfe\xff"


def connect(server: Emulator | FaultProxy, retry: RetryPolicy = QUICK, **more: Any) -> StreamSocket:
    client = HumeStreamClient("k", base_url=server.url, timeout=10, close_timeout=0.2, retry=retry)
    return client.connect([ProsodyConfig()], **more)


def cut(socket: StreamSocket, server: Emulator) -> None:
    """Lose the connection while it is idle, and return once the client's side has noticed."""
    wire = socket._provider._connection._transport._stream._sock  # type: ignore[attr-defined]
    server.drop_connections()
    wire.settimeout(5)
    with suppress(ConnectionResetError):
        assert wire.recv(1, sockets.MSG_PEEK) == b""


def spans(server: Emulator) -> list[tuple[int, tuple[float, float] | None]]:
    """What was heard, by connection."""
    return [(request.connection, request.audio) for request in server.journal.requests]


def resets(server: Emulator) -> list[bool]:
    """Which requests emptied the window."""
    return [request.fields.get("reset_stream", False) for request in server.journal.requests]


def last(server: Emulator) -> RequestSeen:
    return server.journal.requests[-1]


def times(reply: dict[str, Any]) -> tuple[float, float]:
    time = reply["prosody"]["predictions"][0]["time"]
    return time["begin"], time["end"]


def hang_up(peer: Peer, *_: object) -> bool:
    return False


def silence(peer: Peer, *_: object) -> bool:
    peer.wait_gone()
    return False


def go_on(peer: Peer, genuine: bytes) -> bool:
    peer.send_frame(genuine)
    return True


def other_request(peer: Peer, genuine: bytes) -> bool:
    peer.send_frame(json.dumps({**json.loads(genuine), "payload_id": "other"}).encode())
    return True


def cut_by(proxy: FaultProxy, socket: StreamSocket, then: Callable[[Peer, bytes], bool]) -> None:
    """Lose the connection; the next reply, to the first payload replayed, is a fault."""
    socket._provider._connection.discard()  # type: ignore[attr-defined]
    proxy.on_reply(then)


# --- what the caller gets


def test_a_stream_goes_on_warm_and_is_rebuilt_on_a_new_connection(hume_emulator: Emulator) -> None:
    with connect(hume_emulator) as socket:
        replies = [socket.send_media(A), socket.send_media(B)]
        cut(socket, hume_emulator)
        replies += [socket.send_media(C), socket.send_media(D)]
    assert [reply.window_state for reply in replies] == ["warm", "warm", "rebuilt", "warm"]
    assert [reply.attempts for reply in replies] == [1, 1, 1, 1]
    assert spans(hume_emulator) == [
        (1, (0, 1)), (1, (0, 2)), (2, (0, 1)), (2, (0, 2)), (2, (0, 3)), (2, (0, 4)),
    ]  # fmt: skip


def test_times_run_on_over_a_change_of_connection(hume_emulator: Emulator) -> None:
    with connect(hume_emulator, stream_window_ms=2000) as socket:
        for clip in (A, B, C, D):
            reply = socket.send_media(clip)
        assert (times(reply), reply.clock_offset) == ((2.0, 4.0), 0.0)
        cut(socket, hume_emulator)
        reply = socket.send_media(A)
        assert (times(reply), reply.clock_offset) == ((3.0, 5.0), 2.0)
        cut(socket, hume_emulator)
        assert times(socket.send_media(B)) == (4.0, 6.0)


def test_without_an_audio_model_there_is_no_window_to_speak_of(hume_emulator: Emulator) -> None:
    with connect(hume_emulator) as socket:
        socket.send_media(A)
        cut(socket, hume_emulator)
        replies = [
            socket.send_text("hello", [LanguageConfig()]),
            socket.send_media(FACE, [FaceConfig()]),
            socket.get_job_details(),
        ]
        assert [reply.window_state for reply in replies] == [None] * 3
        assert [audio for _, audio in spans(hume_emulator)] == [(0, 1), None, None, None]
        assert socket.send_media(B).window_state == "rebuilt"  # they have not replayed it, and not hidden the need


def test_an_unknown_length_leaves_times_as_they_come(hume_emulator: Emulator) -> None:
    with connect(hume_emulator) as socket:
        assert socket.send_media(A).clock_offset == 0.0
        assert socket.send_media(webm(b"A_OPUS")).clock_offset == 0.0
        assert socket.send_media(B).clock_offset is None
        cut(socket, hume_emulator)
        reply = socket.send_media(C)
    assert (reply.window_state, reply.clock_offset) == ("rebuilt", None)
    assert times(reply) == (0.0, 4.0)


# --- what the server hears


def test_on_a_fresh_connection_nothing_is_ever_reset(hume_emulator: Emulator) -> None:
    with connect(hume_emulator) as socket:
        socket.send_media(A)
        for clip in (B, C):
            cut(socket, hume_emulator)
            socket.send_media(clip)
    assert not any(resets(hume_emulator))


def test_what_is_replayed_is_what_was_sent_its_own_configurations_included(hume_emulator: Emulator) -> None:
    with connect(hume_emulator, stream_window_ms=3000) as socket:
        socket.send_media(A, [BurstConfig()])
        socket.send_media(B, [BurstConfig(), ProsodyConfig()])
        cut(socket, hume_emulator)
        socket.send_media(C)
    seen = hume_emulator.journal.requests
    for sent, replayed in ((seen[0], seen[2]), (seen[1], seen[3])):
        assert replayed.data_digest == sent.data_digest
        assert {**replayed.fields, "payload_id": ""} == {**sent.fields, "payload_id": ""}
        assert replayed.fields["payload_id"] != sent.fields["payload_id"]


def test_replies_to_what_is_replayed_are_swallowed(hume_emulator: Emulator) -> None:
    with connect(hume_emulator) as socket:
        for clip in (A, B, C):
            socket.send_media(clip)
        cut(socket, hume_emulator)
        reply = socket.send_media(D)
    assert reply["payload_id"] == last(hume_emulator).fields["payload_id"]
    assert times(reply) == (0.0, 4.0)


def test_two_replies_to_one_replayed_payload_never_shift_the_rest(proxy: FaultProxy, hume_emulator: Emulator) -> None:
    def twice(peer: Peer, genuine: bytes) -> bool:
        peer.send(frame(genuine) * 2)
        return True

    with connect(proxy) as socket:
        socket.send_media(A)
        socket.send_media(B)
        cut_by(proxy, socket, then=twice)
        reply = socket.send_media(C)
    assert (reply.window_state, reply.attempts) == ("rebuilt", 2)
    assert reply["payload_id"] == last(hume_emulator).fields["payload_id"]


@pytest.mark.parametrize("fault", [hang_up, other_request])
def test_a_connection_lost_in_a_replay_is_replaced_by_another(
    proxy: FaultProxy, fault: Callable[[Peer, bytes], bool]
) -> None:
    with connect(proxy, RetryPolicy(initial=0.0005, resend_unknown=False)) as socket:
        socket.send_media(A)
        cut_by(proxy, socket, then=fault)
        reply = socket.send_media(B)
    assert (reply.window_state, reply.attempts) == ("rebuilt", 2)
    assert times(reply) == (0.0, 2.0)


def test_the_same_without_retries_is_an_error_of_the_replay(proxy: FaultProxy) -> None:
    with connect(proxy, RetryPolicy.none()) as socket:
        socket.send_media(A)
        for fault, kind in ((hang_up, ConnectionLost), (other_request, ReplyMismatch)):
            cut_by(proxy, socket, then=fault)
            with pytest.raises(kind) as caught:
                socket.send_media(B)
            assert (caught.value.phase, caught.value.maybe_processed) == ("replay", False)
        assert socket.send_media(B).window_state == "rebuilt"


# --- the context is lost, and said to be


def test_an_error_reply_to_a_replayed_payload_empties_the_window_for_good(hume_emulator: Emulator) -> None:
    with connect(hume_emulator) as socket:
        socket.send_media(A)
        socket.send_media(B)
        cut(socket, hume_emulator)
        hume_emulator.fail_next("E0200", "no longer")
        reply = socket.send_media(C)
        assert (reply.window_state, reply.attempts) == ("cold", 1)
        assert last(hume_emulator).fields["reset_stream"] is True
        assert socket.window.seconds == 1
        assert reply.clock_offset == 2.0  # nothing was heard there before
        assert times(reply) == (2.0, 3.0)
        assert socket.send_media(D).window_state == "warm"
    assert [audio for _, audio in spans(hume_emulator)] == [(0, 1), (0, 2), None, (0, 1), (0, 2)]


def test_a_later_replayed_payload_that_is_refused_leaves_no_part_of_the_window(
    proxy: FaultProxy, hume_emulator: Emulator
) -> None:
    def fail_the_second(peer: Peer, genuine: bytes) -> bool:
        hume_emulator.fail_next("E0200", "no media")
        return go_on(peer, genuine)

    with connect(proxy) as socket:
        socket.send_media(A)
        socket.send_media(B)
        cut_by(proxy, socket, then=fail_the_second)
        reply = socket.send_media(C)
    assert reply.window_state == "cold"
    assert last(hume_emulator).fields["reset_stream"] is True
    assert last(hume_emulator).audio == (1, 2)  # the first was heard, but is no context
    assert times(reply) == (2.0, 3.0)


def test_what_is_lost_is_said_also_where_the_request_had_to_be_tried_again(
    proxy: FaultProxy, hume_emulator: Emulator
) -> None:
    with connect(proxy, preserve_window=False) as socket:
        socket.send_media(A)
        cut_by(proxy, socket, then=hang_up)
        reply = socket.send_media(B)
        assert (reply.window_state, reply.attempts) == ("cold", 2)
        assert socket.send_media(C).window_state == "warm"


def test_what_is_lost_is_said_also_where_a_call_failed_before(hume_emulator: Emulator) -> None:
    with connect(hume_emulator, preserve_window=False) as socket:
        socket.send_media(A)
        cut(socket, hume_emulator)
        with pytest.raises(RequestError):
            socket.send_media(NOT_MEDIA)
        assert socket.send_media(B).window_state == "cold"


def test_without_preservation_a_new_connection_is_cold_and_the_clock_runs_on(hume_emulator: Emulator) -> None:
    with connect(hume_emulator, preserve_window=False) as socket:
        assert [socket.send_media(clip).window_state for clip in (A, B)] == ["warm", "warm"]
        cut(socket, hume_emulator)
        reply = socket.send_media(C)
        assert (reply.window_state, times(reply)) == ("cold", (2.0, 3.0))
        assert not any(resets(hume_emulator))
        assert socket.send_media(D).window_state == "warm"
        assert socket.window.items == ()


# --- deadlines in a replay


def late_at(monkeypatch: pytest.MonkeyPatch, look: int) -> None:
    """The deadline has passed at that look between two payloads (from 0)."""
    answers: Iterator[bool] = iter([False] * look + [True])
    monkeypatch.setattr(Deadline, "expired", lambda self: next(answers, False))


@pytest.mark.parametrize("replayed", [0, 1, 2, 3])
def test_a_deadline_between_two_replayed_payloads_keeps_the_connection_and_the_next_call_goes_on_there(
    replayed: int, hume_emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(hume_emulator) as socket:
        for clip in (A, B, C):
            socket.send_media(clip)
        cut(socket, hume_emulator)
        late_at(monkeypatch, replayed)
        with pytest.raises(Timeout) as caught:
            socket.send_media(D)
        assert (caught.value.phase, caught.value.maybe_processed, caught.value.attempts) == ("replay", False, 1)
        epoch = socket.epoch
        assert epoch is not None
        reply = socket.send_media(D)
        assert socket.epoch == epoch
    assert reply.window_state == ("rebuilt" if replayed < 3 else "warm")
    assert [span for span in spans(hume_emulator) if span[0] == 2] == [(2, (0, i + 1)) for i in range(4)]


def test_a_deadline_within_a_replayed_payload_discards_the_connection_and_keeps_the_window(
    proxy: FaultProxy, hume_emulator: Emulator
) -> None:
    with connect(proxy) as socket:
        socket.send_media(A)
        cut_by(proxy, socket, then=silence)
        with pytest.raises(Timeout) as caught:
            socket.send_media(B, timeout=0.2)
        assert (caught.value.phase, caught.value.maybe_processed) == ("replay", False)
        assert socket.epoch is None
        assert socket.window.seconds == 1
        assert socket.send_media(B).window_state == "rebuilt"
    assert last(hume_emulator).audio == (0, 2)


# --- errors, retries


def test_a_fault_of_the_server_on_audio_is_retried_on_a_new_connection_with_replay(hume_emulator: Emulator) -> None:
    with connect(hume_emulator) as socket:
        socket.send_media(A)
        epoch = socket.epoch
        hume_emulator.fail_next("I0100", "busy")
        reply = socket.send_media(B)
        assert socket.epoch != epoch
    assert (reply.window_state, reply.attempts) == ("rebuilt", 2)
    assert spans(hume_emulator) == [(1, (0, 1)), (1, None), (2, (0, 1)), (2, (0, 2))]


def test_a_fault_of_the_server_on_text_is_retried_on_the_same_connection(hume_emulator: Emulator) -> None:
    with connect(hume_emulator) as socket:
        epoch = socket.epoch
        hume_emulator.fail_next("I0100", "busy")
        assert socket.send_text("hello", [LanguageConfig()]).attempts == 2
        assert socket.epoch == epoch


def test_an_objection_of_the_server_leaves_connection_window_and_clock(hume_emulator: Emulator) -> None:
    with connect(hume_emulator) as socket:
        socket.send_media(A)
        epoch = socket.epoch
        for media in (NOT_MEDIA, wav(tone(5.5)), FACE):
            with pytest.raises(RequestError) as caught:
                socket.send_media(media)
            assert caught.value.attempts == 1
        assert socket.window.seconds == 1
        reply = socket.send_media(B)
        assert socket.epoch == epoch
    assert (reply.window_state, reply.clock_offset, times(reply)) == ("warm", 0.0, (0.0, 2.0))


def test_a_request_that_may_have_been_processed_is_not_sent_again_where_that_is_not_wanted(
    proxy: FaultProxy, hume_emulator: Emulator
) -> None:
    with connect(proxy, RetryPolicy(initial=0.0005, resend_unknown=False)) as socket:
        socket.send_media(A)
        proxy.on_reply(hang_up)
        with pytest.raises(ConnectionLost) as caught:
            socket.send_media(B)
        assert (caught.value.attempts, caught.value.maybe_processed) == (1, True)
        assert len(hume_emulator.journal.requests) == 2
        assert socket.send_media(B).window_state == "rebuilt"  # as if the first had never been sent
    assert last(hume_emulator).audio == (0, 2)


def test_who_wants_no_retries_gets_the_first_failure_and_the_next_call_rebuilds(proxy: FaultProxy) -> None:
    with connect(proxy, RetryPolicy.none()) as socket:
        socket.send_media(A)
        proxy.on_reply(hang_up)
        with pytest.raises(ConnectionLost):
            socket.send_media(B)
        reply = socket.send_media(B)
    assert (reply.window_state, reply.attempts, times(reply)) == ("rebuilt", 1, (0.0, 2.0))


def test_ctrl_c_after_the_reply_discards_a_connection_that_has_heard_what_the_window_has_not(
    hume_emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with connect(hume_emulator) as socket:
        socket.send_media(A)
        with monkeypatch.context() as patch:
            patch.setattr(StreamWindow, "append", interrupted)
            with pytest.raises(KeyboardInterrupt):
                socket.send_media(B)
        assert socket.epoch is None
        assert socket.send_media(C).window_state == "rebuilt"
    assert last(hume_emulator).audio == (0, 2)


# --- reset_stream


def test_a_reset_whose_reply_is_lost_has_emptied_the_window_for_good(
    proxy: FaultProxy, hume_emulator: Emulator
) -> None:
    with connect(proxy, RetryPolicy.none()) as socket:
        socket.send_media(A)
        proxy.on_reply(hang_up)
        with pytest.raises(ConnectionLost):
            socket.reset_stream()
        assert socket.window.items == ()
        reply = socket.send_media(B)
    assert (reply.window_state, times(reply)) == ("warm", (1.0, 2.0))
    assert last(hume_emulator).audio == (0, 1)


def test_a_reset_is_retried_like_any_request_and_the_clock_runs_on(proxy: FaultProxy, hume_emulator: Emulator) -> None:
    with connect(proxy) as socket:
        socket.send_media(A)
        proxy.on_reply(hang_up)
        assert socket.reset_stream().attempts == 2
        reply = socket.send_media(B)
    assert (reply.window_state, times(reply)) == ("warm", (1.0, 2.0))
    assert resets(hume_emulator) == [False, True, True, False]


def test_a_reset_the_server_refused_is_made_up_for_by_the_next_payload(hume_emulator: Emulator) -> None:
    with connect(hume_emulator) as socket:
        socket.send_media(A)
        hume_emulator.fail_next("E0101", "no")
        with pytest.raises(RequestError):
            socket.reset_stream()
        reply = socket.send_media(B)
    assert (reply.window_state, resets(hume_emulator)) == ("warm", [False, True, True])
    assert last(hume_emulator).audio == (1, 2)


# --- several streams on one connection


def test_no_audio_of_one_stream_is_ever_context_of_another(
    hume_emulator: Emulator, hume_client: HumeStreamClient
) -> None:
    with hume_client.pool([ProsodyConfig()], max_size=1) as pool:
        states = []
        for key, clip in (("a", A), ("b", B), ("a", C), ("b", D)):
            with pool.socket(stream=key) as socket:
                reply = socket.send_media(clip)
                states.append((reply.window_state, times(reply)))
        assert pool.stats()["replays"] == 2
    assert states == [("warm", (0, 1)), ("warm", (0, 1)), ("rebuilt", (0, 2)), ("rebuilt", (0, 2))]
    # One reset a steal, on the first payload that is sent, and no round trip for it.
    assert resets(hume_emulator) == [False, True, True, False, True, False]
    assert [audio for _, audio in spans(hume_emulator)] == [(0, 1), (1, 2), (2, 3), (2, 4), (4, 5), (4, 6)]


@pytest.mark.parametrize("reached", [True, False], ids=["after its reset", "before its reset"])
def test_the_first_payload_after_a_steal_is_refused(
    reached: bool, hume_emulator: Emulator, hume_client: HumeStreamClient
) -> None:
    """Whether the server emptied its window before it refused is unknown, and makes no difference."""
    with hume_client.pool([ProsodyConfig()], max_size=1) as pool:
        with pool.socket(stream="a") as socket:
            socket.send_media(A)
        with pool.socket(stream="b") as socket:
            if not reached:
                hume_emulator.fail_next("E0300", "no credits")
            with pytest.raises(RequestError):
                socket.send_media(NOT_MEDIA if reached else B)
            reply = socket.send_media(B)
            assert (reply.window_state, times(reply)) == ("warm", (0.0, 1.0))
        with pool.socket(stream="a") as socket:
            reply = socket.send_media(C)
            assert (reply.window_state, times(reply)) == ("rebuilt", (0.0, 2.0))
    assert resets(hume_emulator) == [False, True, True, True, False]
    assert [audio for _, audio in spans(hume_emulator)] == [(0, 1), None, (1, 2), (2, 3), (2, 4)]


def test_after_a_refusal_at_a_steal_the_first_stream_hears_its_own_past_again(
    hume_emulator: Emulator, hume_client: HumeStreamClient
) -> None:
    with hume_client.pool([ProsodyConfig()], max_size=1) as pool:
        with pool.socket(stream="a") as socket:
            socket.send_media(A)
        with pool.socket(stream="b") as socket, pytest.raises(RequestError):
            socket.send_media(NOT_MEDIA)
        with pool.socket(stream="a") as socket:
            reply = socket.send_media(B)
    assert (reply.window_state, times(reply)) == ("rebuilt", (0.0, 2.0))


def test_another_streams_text_leaves_the_window_alone(hume_emulator: Emulator, hume_client: HumeStreamClient) -> None:
    with hume_client.pool([ProsodyConfig()], max_size=1) as pool:
        with pool.socket(stream="a") as socket:
            socket.send_media(A)
        with pool.socket(stream="b") as socket:
            socket.send_text("hello", [LanguageConfig()])
        with pool.socket(stream="a") as socket:
            assert socket.send_media(B).window_state == "warm"
    assert last(hume_emulator).audio == (0, 2)


def test_entering_a_socket_is_tried_again_as_a_request_is(hume_emulator: Emulator) -> None:
    hume_emulator.refuse(503, times=2)
    client = HumeStreamClient("k", base_url=hume_emulator.url, retry=RetryPolicy(initial=0.01))
    with client.connect([LanguageConfig()]) as socket:
        assert socket.send_text("x").attempts == 1
    assert [handshake.status for handshake in hume_emulator.journal.handshakes] == [503, 503, 101]


def test_a_socket_that_could_not_be_entered_is_usable_once_the_server_is_back(hume_emulator: Emulator) -> None:
    hume_emulator.refuse(503, times=2)
    policy = RetryPolicy(max_attempts=2, initial=0.01)
    socket = HumeStreamClient("k", base_url=hume_emulator.url, retry=policy).connect([LanguageConfig()])
    with pytest.raises(HandshakeRejected):
        socket.__enter__()
    assert socket.send_text("x").attempts == 1
    socket.close()


def test_times_are_as_received_once_it_is_unknown_whether_the_server_counted_a_replayed_payload(
    hume_emulator: Emulator, proxy: FaultProxy
) -> None:
    parsed = Wav.parse(SPEECH)
    assert parsed
    pieces = list(parsed.cut(0.5))

    def kept_but_failed(peer: Peer, genuine: bytes) -> bool:
        payload_id = json.loads(genuine)["payload_id"]
        peer.send_frame(json.dumps({"error": "busy", "code": "I0100", "payload_id": payload_id}).encode())
        return True

    client = HumeStreamClient("k", base_url=proxy.url, timeout=5)
    with client.connect([ProsodyConfig()], 2000) as socket:
        for piece in pieces[:3]:
            socket.send_media(piece)
        hume_emulator.drop_connections(1001)
        assert hume_emulator.journal.wait_for(lambda journal: journal.counts["open"] == 0)
        proxy.on_reply(kept_but_failed)
        reply = socket.send_media(pieces[3])
    assert reply.window_state == "cold"
    assert reply.clock_offset is None


# --- messages that answer nothing


def behind_a_heartbeat(peer: Peer, genuine: bytes) -> bool:
    peer.send_frame(b'{"type": "heartbeat"}')
    return go_on(peer, genuine)


def test_a_heartbeat_in_a_replay_answers_no_payload(proxy: FaultProxy) -> None:
    with connect(proxy) as socket:
        socket.send_media(A)
        cut_by(proxy, socket, then=behind_a_heartbeat)
        reply = socket.send_media(B)
    assert (reply.window_state, times(reply), reply.attempts) == ("rebuilt", (0.0, 2.0), 1)


def test_a_pool_counts_the_messages_that_were_skipped(proxy: FaultProxy) -> None:
    client = HumeStreamClient("k", base_url=proxy.url, timeout=10, retry=QUICK)
    with client.pool([LanguageConfig()]) as pool, pool.socket() as socket:
        for text in ("a", "b"):
            proxy.on_reply(behind_a_heartbeat)
            assert socket.send_text(text)["language"]["predictions"][0]["text"] == text
        assert pool.stats()["skipped"] == 2


def test_a_null_error_is_none(proxy: FaultProxy) -> None:
    def with_nulls(peer: Peer, genuine: bytes) -> bool:
        peer.send_frame(json.dumps({**json.loads(genuine), "error": None, "code": None, "warning": None}).encode())
        return True

    with connect(proxy) as socket:
        for clip in (A, B):
            proxy.on_reply(with_nulls)
            reply = socket.send_media(clip)
        cut_by(proxy, socket, then=with_nulls)
        replies = [reply, socket.send_media(C)]
    assert [reply.window_state for reply in replies] == ["warm", "rebuilt"]
    assert times(replies[1]) == (0.0, 3.0)
    assert replies[0].warning is None
