"""What the streams of the fake do: the same paths, the same turns as those of app.py.

A turn is a generator, as a handler of FastRTC's is: given what was heard, it yields audio (mu-law), additional outputs,
messages of its own, or an end. A ValueError it raises is lost on the client, as it is in FastRTC over WebSocket.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from .sound import to_mulaw


@attrs.frozen
class Heard:
    """What a turn is given."""

    audio: bytes
    """mu-law: all blocks from the one in which speech began to the quiet one."""
    rate: int
    inputs: Mapping[str, Any]


@attrs.frozen
class Output:
    """An additional output."""

    value: Any


@attrs.frozen
class Say:
    """A message of the handler's own; bytes go as a binary frame."""

    message: str | bytes


@attrs.frozen
class End:
    """The end of the connection, once what was yielded before has been sent."""

    code: int | None = None
    """Of the close frame; None: there is none."""
    late: bool = False
    """Whether it is noticed only when the client's next message comes; the code is then 1000."""


Step = bytes | Output | Say | End
Turn = Callable[[Heard], Iterator[Step]]


def message(kind: str, value: Any, *, key: str = "data") -> str:
    return json.dumps({"type": kind, key: value})


def media(audio: bytes, **fields: Any) -> str:
    return json.dumps({"event": "media", "media": {"payload": base64.b64encode(audio).decode()}, **fields})


def level(amplitude: int, samples: int) -> bytes:
    return to_mulaw(amplitude.to_bytes(2, "little", signed=True)) * samples


def echo(heard: Heard) -> Iterator[Step]:
    yield heard.audio


def multi(heard: Heard) -> Iterator[Step]:
    for number in range(1, 11):
        yield level(1000 * number, heard.rate // 10)


def frames(heard: Heard) -> Iterator[Step]:
    for number in range(50):
        yield level(1000 + 20 * number, heard.rate // 50)


def addl(heard: Heard) -> Iterator[Step]:
    yield Output({"samples": len(heard.audio), "rate": heard.rate})
    yield heard.audio[: heard.rate // 10]
    yield Output("with audio")
    yield heard.audio[: heard.rate // 10]
    yield Output("zwei Zeilen:\nÄußerung")


def args(heard: Heard) -> Iterator[Step]:
    yield Output(dict(heard.inputs))
    yield heard.audio[: heard.rate // 10]


def exc(heard: Heard) -> Iterator[Step]:
    yield heard.audio[: heard.rate // 10]
    raise ValueError("boom")


def mute(heard: Heard) -> Iterator[Step]:
    """What yields no audio is announced all the same."""
    yield from ()


def says(*messages: str | bytes) -> Turn:
    """Messages, then a little audio."""

    def turn(heard: Heard) -> Iterator[Step]:
        for text in messages:
            yield Say(text)
        yield heard.audio[: heard.rate // 10]

    return turn


def then(end: End) -> Turn:
    """The echo, then the end."""

    def turn(heard: Heard) -> Iterator[Step]:
        yield heard.audio
        yield end

    return turn


@attrs.frozen(kw_only=True)
class Stream:
    """What is mounted at a path."""

    turn: Turn = echo
    rate: int | None = None
    """Samples a second, both ways; None: as the knobs say."""
    limit: int | None = None
    """Connections at a time; None: as the knobs say."""
    inputs: bool = False
    """Each turn waits for the hook."""
    stop_word: bool = False
    """The first block with speech in it is the stop word: what is said after it makes the turn."""
    greeting: tuple[str | bytes, ...] = ()
    """Sent after ``start``."""
    repeats: bool = False
    """Messages of the application's own are said again, as no real server of version 0.0.34 does."""
    copies: int = 0
    """No turns: each media message is sent back at once, so often; nothing is read meanwhile."""


GARBAGE: Mapping[str, str | bytes] = {
    "not JSON": "{not json",
    "a JSON string": '"hi"',
    "a JSON list": "[1, 2]",
    "null": "null",
    "a binary frame": b"\x00\x01\x02",
    "media that is not base64": '{"event": "media", "media": {"payload": "#"}}',
    "media without payload": '{"event": "media", "media": {}}',
    "media that is no object": '{"event": "media", "media": 7}',
    "an unknown event": '{"event": "mark", "mark": {"name": "x"}}',
    "an unknown type": '{"type": "custom", "data": {"x": 1}}',
    "a type without data": '{"type": "log"}',
    "a type that is no text": '{"type": 7, "data": []}',
}
"""What no client may stumble over, by what is odd about it."""

STREAMS: Mapping[str, Stream] = {
    # as real servers are
    "/echo": Stream(),
    "/multi": Stream(turn=multi),
    "/frames": Stream(turn=frames),
    "/addl": Stream(turn=addl),
    "/args": Stream(turn=args, inputs=True),
    "/err": Stream(turn=exc),
    "/exc": Stream(turn=exc),
    "/warn": Stream(turn=says()),
    "/custom": Stream(greeting=(message("log", "hello"), message("custom", {"x": 1}))),
    "/stopword": Stream(stop_word=True),
    "/close": Stream(turn=then(End(late=True))),
    "/echo8": Stream(rate=8000),
    "/echo16": Stream(rate=16000),
    "/echo48": Stream(rate=48000),
    "/limit": Stream(limit=1),
    "/limit20": Stream(limit=20),
    "/raw": Stream(copies=1),
    # as the published page says, and as networks are
    "/page/warning": Stream(turn=says(message("warning", "careful"))),
    "/page/error": Stream(turn=says(message("error", "boom"))),
    "/message/warning": Stream(turn=says(message("warning", "careful", key="message"))),
    "/message/error": Stream(turn=says(message("error", "boom", key="message"))),
    "/channel": Stream(
        turn=says(message("fetch_output", []), message("end_stream", "bye now"), message("update_connection", "closed"))
    ),
    "/garbage": Stream(turn=says(*GARBAGE.values())),
    "/ended": Stream(turn=then(End(1000))),
    "/restart": Stream(turn=then(End(1012))),
    "/dropped": Stream(turn=then(End())),
    "/silent": Stream(turn=mute),
    "/lost": Stream(turn=says(message("log", "response_starting"))),  # a chunk announced, and lost
    "/flood": Stream(copies=20),
    "/repeats": Stream(repeats=True),
}
