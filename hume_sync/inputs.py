"""What the command sends: inputs of any kind as a series of payloads, and the rows its tables are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import attrs
import orjson

from .errors import InputError
from .reprs import safe_repr
from .stream import (
    BurstConfig,
    FaceConfig,
    FacemeshConfig,
    LanguageConfig,
    ModelConfigBase,
    ProsodyConfig,
    StreamResponse,
)
from .stream.media import read_media
from .stream.payloads import Models
from .stream.responses import printable
from .stream.wav import Wav

__all__ = ["DRY_RUN", "LIMIT", "MODELS", "PAYLOAD_SECONDS", "Payload", "payloads", "table", "text_payload"]

LIMIT = 64 * 2**20
"""Bytes of one input."""

PAYLOAD_SECONDS = 5.0
"""The longest audio a v0 server takes in one payload."""

MODELS: dict[str, ModelConfigBase] = {
    config.get_model_type().value: config
    for config in (BurstConfig(), FaceConfig(), FacemeshConfig(), LanguageConfig(), ProsodyConfig())
}
"""Configurations by the names the command takes."""

Configs = Sequence[ModelConfigBase]

_AUDIO: Configs = (ProsodyConfig(), BurstConfig())
_IMAGE: Configs = (FaceConfig(),)
_VIDEO: Configs = (FaceConfig(), ProsodyConfig(), BurstConfig())
_LANDMARKS: Configs = (FacemeshConfig(),)
_TEXT: Configs = (LanguageConfig(),)

_MAGIC: tuple[tuple[int, bytes, Configs], ...] = (
    (0, b"\xff\xd8\xff", _IMAGE),  # JPEG
    (0, b"\x89PNG", _IMAGE),
    (8, b"WAVE", _AUDIO),
    (0, b"ID3", _AUDIO),  # MP3 with a tag
    (0, b"\xff\xfb", _AUDIO),  # MP3 frames
    (0, b"\xff\xf3", _AUDIO),
    (0, b"OggS", _AUDIO),
    (0, b"fLaC", _AUDIO),
    (4, b"ftypM4A", _AUDIO),
    (4, b"ftyp", _VIDEO),  # MP4
    (0, b"\x1a\x45\xdf\xa3", _VIDEO),  # WebM, Matroska
    (8, b"AVI ", _VIDEO),
)


_WINDOW_NOTES = {
    "rebuilt": ("*", "the connection had been lost; what the server had heard was replayed on a new one first."),
    "cold": ("!", "the connection had been lost, and with it what the server had heard."),
}
"""By window state: a mark for the row, and what it says under the table."""


class Sender(Protocol):
    """What of a `StreamSocket` is used here."""

    def send_media(self, data: Any, configs: Configs | None = None) -> StreamResponse:
        """Raw media."""

    def send_text(self, text: str, configs: Configs | None = None) -> StreamResponse:
        """Plain text."""

    def send_facemesh(self, landmarks: Any, configs: Configs | None = None) -> StreamResponse:
        """Landmarks."""


class _DryRun:
    """Checks a payload as a socket would, and sends nothing."""

    def send_media(self, data: Any, configs: Configs | None = None) -> StreamResponse:
        Models.of(configs, None, LIMIT)
        read_media(data, LIMIT)
        return StreamResponse()

    def send_text(self, text: str, configs: Configs | None = None) -> StreamResponse:
        Models.of(configs, None, LIMIT).text(text)
        return StreamResponse()

    def send_facemesh(self, landmarks: Any, configs: Configs | None = None) -> StreamResponse:
        Models.of(configs, None, LIMIT).facemesh(landmarks)
        return StreamResponse()


DRY_RUN: Sender = _DryRun()
"""A sender that checks and does not send."""


@safe_repr
@attrs.frozen
class Payload:
    """One request to make, and how to speak of it."""

    source: str
    part: str
    """Which seconds of the source, where it was cut; else empty."""
    configs: Configs
    send: Callable[[Sender], StreamResponse]


def payloads(source: str, data: bytes, configs: Configs | None = None) -> Iterator[Payload]:
    """An input as the payloads to send: WAV cut to five seconds, text as text, landmarks checked, the rest whole.

    Args:
        source: the name to show.
        data: the input's bytes.
        configs: model configurations; None: those that fit what the bytes are.

    Raises:
        InputError: nothing says what the bytes are, and no configurations were given.
    """
    kind = _kind(data)
    chosen = configs or kind
    if chosen is None:
        raise InputError(f"cannot tell what {source} is: name the models for it")
    if (wav := Wav.parse(data)) and wav.samples:
        for number, piece in enumerate(wav.cut(PAYLOAD_SECONDS)):
            start = number * PAYLOAD_SECONDS
            part = f"{start:.1f}-{min(start + PAYLOAD_SECONDS, wav.seconds):.1f} s"
            yield _media(source, part, chosen, piece)
    elif kind is _LANDMARKS and _all(chosen, FacemeshConfig):
        landmarks = orjson.loads(data)
        yield Payload(source, "", chosen, lambda socket: socket.send_facemesh(landmarks, chosen))
    elif kind is _TEXT and _all(chosen, LanguageConfig):
        yield Payload(source, "", chosen, lambda socket: socket.send_text(data.decode(), chosen))
    else:
        yield _media(source, "", chosen, data)


def text_payload(text: str, configs: Configs | None = None) -> Payload:
    """A text given as such: it is never taken for anything else."""
    chosen = configs or _TEXT
    return Payload(text, "", chosen, lambda socket: socket.send_text(text, chosen))


def _media(source: str, part: str, configs: Configs, data: bytes) -> Payload:
    return Payload(source, part, configs, lambda socket: socket.send_media(data, configs))


def _all(configs: Configs, kind: type[ModelConfigBase]) -> bool:
    return all(isinstance(config, kind) for config in configs)


def _kind(data: bytes) -> Configs | None:
    for offset, magic, configs in _MAGIC:
        if data[offset : offset + len(magic)] == magic:
            return configs
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    if text.lstrip().startswith("["):
        try:
            return _LANDMARKS if isinstance(orjson.loads(text), list) else _TEXT
        except orjson.JSONDecodeError:
            pass  # a text that begins with a bracket
    return _TEXT


def table(replies: Iterable[tuple[Payload, StreamResponse]]) -> Iterator[str]:
    """Lines of a table: a row for each part of an input and model, with its highest expressions; then notes.

    Lines come as replies do.
    """
    notes = set()
    for number, (payload, reply) in enumerate(replies):
        if number == 0:  # not before there is something to show under it
            yield f"{'input':<28} {'part':<14} {'model':<9} top expressions"
        part = payload.part
        if reply.window_state in _WINDOW_NOTES:
            part += f" {_WINDOW_NOTES[reply.window_state][0]}"
            notes.add(" ".join(_WINDOW_NOTES[reply.window_state]))
        for config in payload.configs:
            model = config.get_model_type().value
            top = ", ".join(f"{printable(name)} {score:.2f}" for name, score in reply.top(3, model))
            body = reply.get(model)
            warning = body.get("warning") if isinstance(body, dict) else None
            said = top or f"({printable(str(warning or reply.warning or 'nothing found'))})"
            yield f"{_name(payload.source):<28} {part:<14} {model:<9} {said}"
        if reply.emulated:
            notes.add("EMULATED: the local server invents these scores from a hash of the input. They measure nothing.")
    yield from sorted(notes)


def _name(source: str) -> str:
    """A source in 28 columns: the end of a path, the beginning of a text."""
    shown = printable(source)
    if len(shown) <= 28:
        return shown
    return f"{shown[:25].rstrip()}..." if " " in shown else f"...{shown[-25:]}"
