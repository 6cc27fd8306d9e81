"""``send_*(..., reset=True)``: each payload that begins a new stream is measured as on a socket of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hume_sync import (
    FaceConfig,
    FacemeshConfig,
    HumeStreamClient,
    InputError,
    LanguageConfig,
    ModelConfigBase,
    ProsodyConfig,
    RequestError,
    RetryPolicy,
    StreamResponse,
    StreamSocket,
)
from hume_sync.emulator import Emulator
from tests.emulator.support import b64, tone, wav
from tests.faultproxy import FaultProxy

from .support import FACE, landmarks

CLIPS = [wav(tone(1.0 + 0.3 * i, start=16_000 * i)) for i in range(4)]
NOT_MEDIA = b"\x00\x01\xfe\xff"
QUICK = RetryPolicy(initial=0.0005, maximum=0.0005)


def client_of(server: Emulator | FaultProxy) -> HumeStreamClient:
    return HumeStreamClient("k", base_url=server.url, timeout=10, close_timeout=0.2, retry=QUICK)


def sent(server: Emulator, name: str) -> list[Any]:
    return [request.fields.get(name) for request in server.journal.requests]


def measured(reply: StreamResponse) -> dict[str, Any]:
    """What the server said, without the name of the request."""
    return {name: value for name, value in reply.items() if name != "payload_id"}


def alone(server: Emulator, clip: bytes) -> dict[str, Any]:
    with client_of(server).connect([ProsodyConfig()]) as socket:
        return measured(socket.send_media(clip))


def test_each_clip_is_measured_as_if_it_were_alone_in_one_request_each(hume_emulator: Emulator) -> None:
    expected = [alone(hume_emulator, clip) for clip in CLIPS]
    with client_of(hume_emulator).connect([ProsodyConfig()]) as socket:
        replies = [socket.send_media(clip, reset=True) for clip in CLIPS]
        assert [measured(reply) for reply in replies] == expected  # times from 0.0 included
        assert {reply.window_state for reply in replies} == {"warm"}
        assert len(hume_emulator.journal.requests) == 2 * len(CLIPS)
        assert len({request.connection for request in hume_emulator.journal.requests[len(CLIPS) :]}) == 1


def test_each_clip_of_one_lease_is_measured_as_if_it_were_alone(hume_emulator: Emulator) -> None:
    expected = [alone(hume_emulator, clip) for clip in CLIPS]
    with client_of(hume_emulator).pool([ProsodyConfig()]) as pool, pool.socket() as socket:
        assert [measured(socket.send_media(clip, reset=True)) for clip in CLIPS] == expected


def test_what_follows_belongs_to_the_new_stream(hume_emulator: Emulator) -> None:
    with client_of(hume_emulator).connect([ProsodyConfig()]) as socket:
        expected = [measured(socket.send_media(clip)) for clip in CLIPS[1:3]]
    with client_of(hume_emulator).connect([ProsodyConfig()]) as socket:
        socket.send_media(CLIPS[0])
        replies = [socket.send_media(CLIPS[1], reset=True), socket.send_media(CLIPS[2])]
    assert [measured(reply) for reply in replies] == expected


def test_after_a_lost_connection_only_the_new_stream_is_replayed(hume_emulator: Emulator) -> None:
    with client_of(hume_emulator).connect([ProsodyConfig()]) as socket:
        expected = [measured(socket.send_media(clip)) for clip in CLIPS[1:3]][1]
    with client_of(hume_emulator).connect([ProsodyConfig()]) as socket:
        socket.send_media(CLIPS[0])
        socket.send_media(CLIPS[1], reset=True)
        socket._provider.abort()
        reply = socket.send_media(CLIPS[2])
    assert reply.window_state == "rebuilt"
    assert measured(reply) == expected
    assert [request.connection for request in hume_emulator.journal.requests[-4:]] == [2, 2, 3, 3]


def test_a_refused_payload_leaves_the_stream_as_it_was(hume_emulator: Emulator) -> None:
    with client_of(hume_emulator).connect([ProsodyConfig()]) as socket:
        expected = [measured(socket.send_media(clip)) for clip in CLIPS[:2]][1]
    with client_of(hume_emulator).connect([ProsodyConfig()]) as socket:
        socket.send_media(CLIPS[0])
        window = socket.window.items
        with pytest.raises(RequestError, match="E0"):
            socket.send_media(NOT_MEDIA, reset=True)
        assert socket.window.items == window
        reply = socket.send_media(CLIPS[1])  # the server has emptied its window: it hears the old stream again
    assert measured(reply) == expected


def test_a_request_that_is_lost_is_sent_again_with_its_order(hume_emulator: Emulator) -> None:
    expected = alone(hume_emulator, CLIPS[1])

    with FaultProxy(("127.0.0.1", hume_emulator.port)) as proxy, client_of(proxy).connect([ProsodyConfig()]) as socket:
        socket.send_media(CLIPS[0])
        proxy.on_reply(lambda *_: False)  # the connection ends in place of the reply
        reply = socket.send_media(CLIPS[1], reset=True)
        assert reply.attempts == 2
    assert measured(reply) == expected
    assert sent(hume_emulator, "reset_stream")[-2:] == [True, True]


SENDS: list[tuple[str, ModelConfigBase, Callable[[StreamSocket, bool], StreamResponse]]] = [
    ("file", ProsodyConfig(), lambda socket, reset: socket.send_file(__file__, [LanguageConfig()], reset=reset)),
    ("media", FaceConfig(), lambda socket, reset: socket.send_media(FACE, reset=reset)),
    ("bytes", ProsodyConfig(), lambda socket, reset: socket.send_bytes(b64(CLIPS[0]).encode(), reset=reset)),
    ("text", LanguageConfig(), lambda socket, reset: socket.send_text("hello", reset=reset)),
    ("facemesh", FacemeshConfig(), lambda socket, reset: socket.send_facemesh(landmarks(), reset=reset)),
]


@pytest.mark.parametrize(("config", "send"), [case[1:] for case in SENDS], ids=[case[0] for case in SENDS])
def test_every_call_that_sends_takes_it(
    hume_emulator: Emulator, config: ModelConfigBase, send: Callable[[StreamSocket, bool], StreamResponse]
) -> None:
    with client_of(hume_emulator).connect([config]) as socket:
        send(socket, False)
        send(socket, True)
        assert sent(hume_emulator, "reset_stream") == [None, True]
        with pytest.raises(InputError, match="reset must be True or False, got 1"):
            send(socket, 1)  # type: ignore[arg-type]
    assert len(hume_emulator.journal.requests) == 2


def test_a_text_that_begins_a_stream_ends_the_audio_before_it(hume_emulator: Emulator) -> None:
    expected = alone(hume_emulator, CLIPS[1])
    with client_of(hume_emulator).connect([ProsodyConfig()]) as socket:
        socket.send_media(CLIPS[0])
        socket.send_text("something else", [LanguageConfig()], reset=True)
        assert not socket.window.items
        assert measured(socket.send_media(CLIPS[1])) == expected
    assert sent(hume_emulator, "reset_stream")[1:] == [None, True, None]


def test_faces_of_the_stream_before_are_not_known_to_the_new_one(hume_emulator: Emulator) -> None:
    config = FaceConfig(identify_faces=True)
    with client_of(hume_emulator).connect([config]) as socket:
        socket.send_media(FACE)
        socket.send_media(FACE)
        socket.send_media(FACE, reset=True)
    assert [request.connection for request in hume_emulator.journal.requests] == [1, 1, 2]
