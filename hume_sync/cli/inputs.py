"""The inputs of ``hume-sync send``: files, standard input and texts, as payloads with suitable models."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import islice
from typing import Any, BinaryIO, Protocol

import attrs

from ..errors import InputError
from ..reprs import safe_repr
from ..stream import (
    BurstConfig,
    FaceConfig,
    FacemeshConfig,
    LanguageConfig,
    ModelConfigBase,
    ProsodyConfig,
    StreamResponse,
)
from ..stream.documents import detect_non_prose, looks_like_json, normalize_newlines, read_landmarks
from ..stream.filenames import check_named_media, named_kind, named_otherwise
from ..stream.media import open_file, read_media
from ..stream.media_types import MediaType, identify
from ..stream.payload_limits import PAYLOAD_LIMIT, PAYLOAD_SECONDS
from ..stream.requests import RequestBuilder
from ..stream.texts import decode_text, refusal_of_text
from ..stream.wav import Rereadable, Wav, WavStream

__all__ = [
    "MODELS",
    "PAYLOAD_LIMIT",
    "PAYLOAD_SECONDS",
    "Configs",
    "Input",
    "Payload",
    "file_input",
    "piped_input",
    "text_input",
]

MODELS: dict[str, ModelConfigBase] = {
    config.get_model_type().value: config
    for config in (BurstConfig(), FaceConfig(), FacemeshConfig(), LanguageConfig(), ProsodyConfig())
}
"""Configurations by the model names that the command accepts."""

Configs = Sequence[ModelConfigBase]

_AUDIO: Configs = (ProsodyConfig(), BurstConfig())
_IMAGE: Configs = (FaceConfig(),)
_VIDEO: Configs = (FaceConfig(), ProsodyConfig(), BurstConfig())
_LANDMARKS: Configs = (FacemeshConfig(),)
_TEXT: Configs = (LanguageConfig(),)


class Sender(Protocol):
    """The methods of a `StreamSocket` that a payload uses."""

    def send_media(self, data: Any, configs: Configs | None = None) -> StreamResponse:
        """Send raw media."""

    def send_text(self, text: str, configs: Configs | None = None) -> StreamResponse:
        """Send plain text."""

    def send_facemesh(self, landmarks: Any, configs: Configs | None = None) -> StreamResponse:
        """Send landmarks."""


class _DryRun:
    """A sender that checks a payload as a socket would, without sending it."""

    def send_media(self, data: Any, configs: Configs | None = None) -> StreamResponse:
        RequestBuilder.create(configs, None, PAYLOAD_LIMIT)
        read_media(data, PAYLOAD_LIMIT)
        return StreamResponse()

    def send_text(self, text: str, configs: Configs | None = None) -> StreamResponse:
        RequestBuilder.create(configs, None, PAYLOAD_LIMIT).text(text)
        return StreamResponse()

    def send_facemesh(self, landmarks: Any, configs: Configs | None = None) -> StreamResponse:
        RequestBuilder.create(configs, None, PAYLOAD_LIMIT).facemesh(landmarks)
        return StreamResponse()


@safe_repr
@attrs.frozen
class Payload:
    """A request to make.

    Attributes:
        source: The name of the input.
        part: The seconds of the source if it was split, such as "0.0-5.0 s"; else empty.
        configs: The models to ask for.
        send: Sends the payload.
    """

    source: str
    part: str
    configs: Configs
    send: Callable[[Sender], StreamResponse]

    def check(self) -> None:
        """Check the payload as a socket would, without sending it.

        Raises:
            InputError: The socket would reject the payload.
        """
        self.send(_DryRun())


@safe_repr
@attrs.frozen
class Input:
    """An input to measure as a separate stream.

    Attributes:
        source: The name of the input.
        payloads: Reads the input and yields its payloads in order; errors name the source.
    """

    source: str
    payloads: Callable[[], Iterator[Payload]]


def file_input(path: str, configs: Configs | None = None) -> Input:
    """Return a file as an input. WAV is split into payloads of five seconds; other files are sent whole.

    Args:
        path: The path of the file, which is read each time its payloads are requested.
        configs: The model configurations; None picks those for the detected media type.
    """

    def payloads() -> Iterator[Payload]:
        with open_file(path, sys.maxsize) as file:
            if wav := WavStream.open(file, path):
                yield from _wav_payloads(path, wav, configs)
                return
            if (size := os.fstat(file.fileno()).st_size) > PAYLOAD_LIMIT:
                raise InputError(
                    f"{path} holds {size} bytes: only WAV audio is split; other inputs may have up to {PAYLOAD_LIMIT}"
                )
            data = bytes(read_media(file, PAYLOAD_LIMIT, name=path))
        check_named_media(path, data, shown=path)
        yield _whole_payload(path, data, configs)

    return Input(path, payloads)


def piped_input(file: BinaryIO, name: str, configs: Configs | None = None) -> Input:
    """Return a stream that can be read only once as an input. Anything but WAV audio is read into memory.

    Args:
        file: The stream, usually standard input.
        name: The name of the input in messages.
        configs: The model configurations; None picks those for the detected media type.
    """

    def payloads() -> Iterator[Payload]:
        rereadable = Rereadable(file)
        if wav := WavStream.open(rereadable, name):
            yield from _wav_payloads(name, wav, configs)
            return
        data = bytes(read_media(rereadable, PAYLOAD_LIMIT, name=name))
        if whole := Wav.parse(data, name):  # some WAV layouts can be parsed only when the whole file is read
            yield from _wav_payloads(name, whole, configs)
            return
        check_named_media("", data, shown=name)
        yield _whole_payload(name, data, configs)

    return Input(name, _SinglePass(payloads()))


def text_input(text: str, configs: Configs | None = None) -> Input:
    """Return a text as an input, without detecting its format.

    Args:
        text: The text.
        configs: The model configurations; None picks the language model.
    """
    return Input(text, lambda: iter([_text_payload(text, text, configs or _TEXT)]))


class _SinglePass:
    """Payloads that can be read once. The first is kept, so it can be checked before the rest is read."""

    def __init__(self, payloads: Iterator[Payload]) -> None:
        self._payloads = payloads
        self._first: list[Payload] = []

    def __call__(self) -> Iterator[Payload]:
        self._first = self._first or list(islice(self._payloads, 1))
        yield from self._first
        yield from self._payloads


def _wav_payloads(source: str, wav: Wav | WavStream, configs: Configs | None) -> Iterator[Payload]:
    if configs is None:
        _check_name(source, MediaType("WAV", "audio", True))
    start = Fraction(0)
    for piece in wav.cut(PAYLOAD_SECONDS):
        cut = Wav.parse(piece)
        end = start + (Fraction(cut.frames, cut.sample_rate) if cut else 0)
        yield _media_payload(source, f"{float(start):.1f}-{float(end):.1f} s", configs or _AUDIO, piece)
        start = end
    if not start:
        raise InputError(f"{source} is WAV audio without a single sample")


def _whole_payload(source: str, data: bytes, configs: Configs | None) -> Payload:
    """Return a whole input as one payload."""
    found = identify(data)
    if found is not None and found.kind != "other":
        return _media_payload(source, "", configs or _default_configs(source, found), data)
    text = decode_text(data)
    if configs is not None and not _all_are(configs, LanguageConfig) and not _all_are(configs, FacemeshConfig):
        return _media_payload(source, "", configs, data)
    if found is not None and (configs is None or text is None):
        raise InputError(
            f"{source} is {found}: no model measures that (landmarks are read from JSON, texts as plain text)"
        )
    if text is None:
        raise InputError(f"cannot tell what {source} is: no known media format; as a text, {refusal_of_text(data)}")
    if configs is None:
        configs = _LANDMARKS if named_kind(source) == "JSON" or looks_like_json(text) else _TEXT
        other = detect_non_prose(text) if configs is _TEXT else None
        if configs is _TEXT and source.lower().endswith((".csv", ".tsv")):
            other = "a table"
        if other:
            raise InputError(
                f"{source} is {other}, not prose: to measure it as it stands, name the model (--models language)"
            )
    if _all_are(configs, FacemeshConfig):
        landmarks = read_landmarks(text, source)
        return Payload(source, "", configs, lambda socket: socket.send_facemesh(landmarks, configs))
    return _text_payload(source, normalize_newlines(text), configs)


def _default_configs(source: str, found: MediaType) -> Configs:
    """Return the models for a media type."""
    _check_name(source, found)
    if found.kind == "container":
        raise InputError(f"{source} is {found}: name the models for it (--models)")
    if not found.accepted:
        taken = "PNG and JPEG" if found.kind == "image" else "WAV, MP3 and MP4"
        raise InputError(
            f"{source} is {found}, which v0 servers are not known to take: convert it ({taken} are),"
            " or name the models (--models) to send it all the same"
        )
    if found.kind == "video":
        return _IMAGE if found.silent else _VIDEO
    return _AUDIO if found.kind == "audio" else _IMAGE


def _check_name(source: str, found: MediaType) -> None:
    if kind := named_otherwise(source, found.kind):
        raise InputError(
            f"{source} is {found}, although its name is that of {kind}; name the models (--models) to send it still"
        )


def _media_payload(source: str, part: str, configs: Configs, data: bytes) -> Payload:
    return Payload(source, part, configs, lambda socket: socket.send_media(data, configs))


def _text_payload(source: str, text: str, configs: Configs) -> Payload:
    return Payload(source, "", configs, lambda socket: socket.send_text(text, configs))


def _all_are(configs: Configs, kind: type[ModelConfigBase]) -> bool:
    return all(isinstance(config, kind) for config in configs)
