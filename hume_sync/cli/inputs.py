"""What ``hume-sync send`` sends: files, standard input and texts, each as payloads with the models that fit."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import islice
from typing import Any, BinaryIO, Final, Protocol

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
from ..stream.filenames import check_named_media, named_kind
from ..stream.media import open_file, read_media
from ..stream.media_types import MediaType, identify
from ..stream.requests import RequestBuilder
from ..stream.texts import decode_text, refusal_of_text
from ..stream.wav import Rereadable, Wav, WavStream
from .documents import looks_like_json, other_than_prose, read_landmarks, tidied

__all__ = [
    "LIMIT",
    "MODELS",
    "PAYLOAD_SECONDS",
    "Configs",
    "Input",
    "Payload",
    "file_input",
    "piped_input",
    "text_input",
]

LIMIT: Final = 64 * 2**20
"""Bytes of one payload. WAV audio is cut while it is read and may be of any size."""

PAYLOAD_SECONDS: Final = 5.0
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

_MAY_HOLD: Final = {
    "audio": {"audio"},
    "audio or video": {"audio", "video", "container"},
    "image": {"image"},
    "text": set[str](),
    "JSON": set[str](),
}
"""Kinds of media by what a name says."""


class Sender(Protocol):
    """What of a `StreamSocket` is used here."""

    def send_media(self, data: Any, configs: Configs | None = None) -> StreamResponse:
        """Send raw media."""

    def send_text(self, text: str, configs: Configs | None = None) -> StreamResponse:
        """Send plain text."""

    def send_facemesh(self, landmarks: Any, configs: Configs | None = None) -> StreamResponse:
        """Send landmarks."""


class _DryRun:
    """Checks a payload as a socket would, and sends nothing."""

    def send_media(self, data: Any, configs: Configs | None = None) -> StreamResponse:
        RequestBuilder.create(configs, None, LIMIT)
        read_media(data, LIMIT)
        return StreamResponse()

    def send_text(self, text: str, configs: Configs | None = None) -> StreamResponse:
        RequestBuilder.create(configs, None, LIMIT).text(text)
        return StreamResponse()

    def send_facemesh(self, landmarks: Any, configs: Configs | None = None) -> StreamResponse:
        RequestBuilder.create(configs, None, LIMIT).facemesh(landmarks)
        return StreamResponse()


@safe_repr
@attrs.frozen
class Payload:
    """One request to make, and how to speak of it."""

    source: str
    part: str
    """Which seconds of the source, where it was cut; else empty."""
    configs: Configs
    send: Callable[[Sender], StreamResponse]

    def check(self) -> None:
        """Check it as a socket would, and send nothing.

        Raises:
            InputError: it would be refused.
        """
        self.send(_DryRun())


@safe_repr
@attrs.frozen
class Input:
    """One thing to measure, as a stream of its own."""

    source: str
    payloads: Callable[[], Iterator[Payload]]
    """Reads it, and yields what is to be sent in order. What is wrong is raised as an error that names the source."""


def file_input(path: str, configs: Configs | None = None) -> Input:
    """Return a file as an input: WAV cut into payloads of five seconds, all else whole.

    Args:
        path: where it is. It is read each time its payloads are asked for.
        configs: model configurations; None: those that fit what the file holds.
    """

    def payloads() -> Iterator[Payload]:
        with open_file(path, sys.maxsize) as file:
            if wav := WavStream.open(file, path):
                yield from _wav_payloads(path, wav, configs)
                return
            if (size := os.fstat(file.fileno()).st_size) > LIMIT:
                raise InputError(f"{path} holds {size} bytes: only WAV audio is cut, all else may have {LIMIT}")
            data = bytes(read_media(file, LIMIT, name=path))
        check_named_media(path, data, shown=path)
        yield _whole(path, data, configs)

    return Input(path, payloads)


def piped_input(file: BinaryIO, name: str, configs: Configs | None = None) -> Input:
    """Return what can be read only once as an input; what is no WAV audio is kept in memory.

    Args:
        file: standard input, as a rule.
        name: how to speak of it.
        configs: as for `file_input`.
    """

    def payloads() -> Iterator[Payload]:
        rereadable = Rereadable(file)
        if wav := WavStream.open(rereadable, name):
            yield from _wav_payloads(name, wav, configs)
            return
        data = bytes(read_media(rereadable, LIMIT, name=name))
        if whole := Wav.parse(data, name):  # with what a pipe can be searched for only once all of it is here
            yield from _wav_payloads(name, whole, configs)
            return
        check_named_media("", data, shown=name)
        yield _whole(name, data, configs)

    return Input(name, _Once(payloads()))


def text_input(text: str, configs: Configs | None = None) -> Input:
    """Return a text given as such as an input: it is never taken for anything else."""
    return Input(text, lambda: iter([_text_payload(text, text, configs or _TEXT)]))


class _Once:
    """Payloads that can be read once; the first of them is kept, so that it can be checked before all is read."""

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


def _whole(source: str, data: bytes, configs: Configs | None) -> Payload:
    """Return all of an input as one payload."""
    found = identify(data)
    if found is not None and found.kind != "other":
        return _media_payload(source, "", configs or _fitting(source, found), data)
    text = decode_text(data)
    if configs is not None and not _all(configs, LanguageConfig) and not _all(configs, FacemeshConfig):
        return _media_payload(source, "", configs, data)
    if found is not None and (configs is None or text is None):
        raise InputError(
            f"{source} is {found}: no model measures that (landmarks are read from JSON, texts as plain text)"
        )
    if text is None:
        raise InputError(
            f"cannot tell what {source} is: it has the mark of no known media; as a text, {refusal_of_text(data)}"
        )
    if configs is None:
        configs = _LANDMARKS if named_kind(source) == "JSON" or looks_like_json(text) else _TEXT
        other = other_than_prose(text) if configs is _TEXT else None
        if configs is _TEXT and source.lower().endswith((".csv", ".tsv")):
            other = "a table"
        if other:
            raise InputError(
                f"{source} is {other}, not prose: to measure it as it stands, name the model (--models language)"
            )
    if _all(configs, FacemeshConfig):
        landmarks = read_landmarks(text, source)
        return Payload(source, "", configs, lambda socket: socket.send_facemesh(landmarks, configs))
    return _text_payload(source, tidied(text), configs)


def _fitting(source: str, found: MediaType) -> Configs:
    """Return the models for media of a type."""
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
    named = named_kind(source)
    if named is not None and found.kind not in _MAY_HOLD[named]:
        kind = "an image" if named == "image" else "a text" if named == "text" else named
        raise InputError(
            f"{source} is {found}, although its name is that of {kind}; name the models (--models) to send it still"
        )


def _media_payload(source: str, part: str, configs: Configs, data: bytes) -> Payload:
    return Payload(source, part, configs, lambda socket: socket.send_media(data, configs))


def _text_payload(source: str, text: str, configs: Configs) -> Payload:
    return Payload(source, "", configs, lambda socket: socket.send_text(text, configs))


def _all(configs: Configs, kind: type[ModelConfigBase]) -> bool:
    return all(isinstance(config, kind) for config in configs)
