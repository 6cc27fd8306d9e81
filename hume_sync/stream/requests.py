"""Requests as bytes: the members of their JSON object, checked and ready to be joined once.

Member names and order are the official SDK 0.6.0's. Base64 and ready JSON are put in as they are: encoding them a
second time, as part of a larger object, is what costs most in a plain implementation.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import orjson
import pybase64

from ..errors import FOREIGN, InputError, short_repr
from ..net.frames import LARGE, Part
from ..net.interrupts import from_handler
from ..net.number import plain_number
from ..reprs import safe_repr
from .configs import (
    FaceConfig,
    FacemeshConfig,
    LanguageConfig,
    ModelConfigBase,
    ModelType,
    check_configs,
    serialize_configs,
)
from .duration import Length, measure
from .landmarks import serialize_landmarks
from .media import Media, check_size, decode_base64

__all__ = ["GET_JOB_DETAILS", "RESET_STREAM", "JSONParts", "Request", "RequestBuilder", "ServerEffect", "check_window"]

JSONParts = tuple[Part, ...]
"""The members of a JSON object, without braces; their bytes joined are its text."""

_AT_A_TIME = 48 * 1024
"""Bytes of media encoded at a time: a multiple of three, so that no piece but the last is padded."""


class _LazyBase64:
    """Much data, encoded only where it is sent from: it is in memory once, and once in the frame.

    That is half the memory of three copies; and so little that glibc keeps it for the next one. What it gives back and
    asks for anew, a page fault every 4096 bytes, takes four times as long as all the rest of a request.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __len__(self) -> int:
        return (len(self._data) + 2) // 3 * 4

    def write_into(self, place: memoryview) -> None:
        """Write the base64 of the data."""
        with memoryview(self._data) as data:
            for begin in range(0, len(data), _AT_A_TIME):
                encoded = pybase64.b64encode(data[begin : begin + _AT_A_TIME])
                start = begin // 3 * 4
                place[start : start + len(encoded)] = encoded


@safe_repr
@attrs.frozen
class ServerEffect:
    """What a request does to what the server holds."""

    audio: bool = False
    """Whether an audio model hears it: only then does the server's window matter, and change."""
    length: Length | None = None
    """Length of its audio; None where it is unknown."""
    identifies: bool = False
    """Whether the server will remember faces from it."""
    reset: bool = False
    """Whether it is a reset of the window."""


@safe_repr
@attrs.frozen
class Request:
    """One request."""

    members: JSONParts = attrs.field(repr=False)
    effect: ServerEffect | None = None
    """None: nothing is left behind. So it is for text and landmarks."""
    begins_stream: bool = False
    """Whether the request is the first of a new stream: it empties the server's window, and is heard without it."""
    any_reply: bool = False
    """Whether the server may answer with any object: it has no data."""

    def beginning_stream(self, reset: object) -> Request:
        """Return this request as the first of a new stream, where ``reset`` says so.

        Raises:
            InputError: ``reset`` is neither True nor False.
        """
        if reset is False:
            return self
        if reset is not True:
            raise InputError(f"reset must be True or False, got {short_repr(reset)}")
        return attrs.evolve(self, effect=self.effect or ServerEffect(), begins_stream=True)

    def with_reset(self) -> JSONParts:
        """Its members, with the order to empty the window first."""
        return (*RESET_STREAM.members, b",", *self.members)


RESET_STREAM = Request((b'"reset_stream":true',), ServerEffect(reset=True), any_reply=True)
GET_JOB_DETAILS = Request((b'"job_details":true',), any_reply=True)

_AUDIO_MODELS = frozenset({ModelType.BURST, ModelType.PROSODY})


def _base64(data: Media) -> Part:
    if len(data) < LARGE:
        return pybase64.b64encode(data)
    # Every attempt is to send what was given: what the caller may change meanwhile is copied.
    return _LazyBase64(bytes(data))


def check_window(stream_window_ms: object) -> int | float | None:
    """Return the length of the server's sliding window, milliseconds.

    Raises:
        InputError: not a number from 500 to 10000 (the official reference), or None for the server's 5000.
    """
    if stream_window_ms is None:
        return None
    number = plain_number(stream_window_ms)
    if number is None or not 500 <= number <= 10000:
        got = short_repr(stream_window_ms)
        raise InputError(f"stream_window_ms must be a number from 500 to 10000, or None; got {got}")
    return number


@safe_repr
@attrs.frozen
class RequestBuilder:
    """What every payload of a socket says besides its data: configurations and window, checked and written once."""

    configs: tuple[ModelConfigBase, ...]
    stream_window_ms: int | float | None
    max_payload_size: int
    owner: str
    """"Socket" or "Payload": who brought the configurations, for the official texts."""
    audio: bool
    """Whether an audio model is among them."""
    identifies: bool
    """Whether faces are to be identified."""
    _suffix: dict[bool, bytes]
    """The members behind the data, by ``raw_text``."""

    @classmethod
    def create(
        cls, configs: object, stream_window_ms: object, max_payload_size: int, owner: str = "Socket"
    ) -> RequestBuilder:
        """Check and write configurations.

        Raises:
            InputError: configurations or window are not what is accepted.
        """
        checked = check_configs(configs)
        window = check_window(stream_window_ms)
        try:
            models = b',"models":' + orjson.dumps(serialize_configs(checked))
        except InputError:
            raise
        except FOREIGN as exc:  # of configurations of the caller's own classes
            if from_handler(exc):
                raise
            raise InputError(f"configs cannot be written as JSON: {exc}") from exc
        end = b"" if window is None else b',"stream_window_ms":' + orjson.dumps(window)
        tail = {raw: models + b',"raw_text":' + orjson.dumps(raw) + end for raw in (False, True)}
        audio = any(config.get_model_type() in _AUDIO_MODELS for config in checked)
        identifies = any(isinstance(config, FaceConfig) and config.identify_faces is True for config in checked)
        return cls(checked, window, max_payload_size, owner, audio, identifies, tail)

    def with_configs(self, configs: Iterable[ModelConfigBase] | None) -> RequestBuilder:
        """These, or the configurations of one call in their place (None: these)."""
        if configs is None:
            return self
        return RequestBuilder.create(configs, self.stream_window_ms, self.max_payload_size, "Payload")

    def media(self, media: Media, name: str = "data") -> Request:
        """A payload of raw media, base64-encoded here. The size was checked when it was read.

        Raises:
            InputError: an audio model is configured, and this is a WAV file without samples.
        """
        length = self._length(media, name)  # first: it may need the media once more
        kept = self.audio  # for its window
        return self._media_request(pybase64.b64encode(media) if kept else _base64(media), length)

    def base64_media(self, bytes_data: object) -> Request:
        """A payload of media that is base64 already.

        Raises:
            InputError: it is not, it is empty, or larger than ``max_payload_size`` once decoded; else as for `media`.
        """
        encoded, media = decode_base64(bytes_data, self.max_payload_size)
        return self._media_request(encoded, self._length(media, "bytes_data"))

    def text(self, text: object) -> Request:
        """A payload of plain text for the language model.

        Raises:
            InputError: another model is configured (the official text); not a str, blank, too large, or not
                writable as UTF-8.
        """
        self._require_only(LanguageConfig, "send_text")
        if not isinstance(text, str):
            raise InputError(f"text must be a str, got {type(text).__name__}")
        if not text.strip():
            raise InputError("text is blank: there is nothing to measure")
        written = None
        try:
            written = orjson.dumps(text)
        except TypeError as exc:
            if from_handler(exc):
                raise
        if written is None:  # (raised here, for the error of older versions of orjson keeps the text)
            raise InputError("text holds lone surrogates, which UTF-8 cannot write")
        check_size("text", len(written) - 2, self.max_payload_size)
        return Request((b'"data":', written, self._suffix[True]))

    def facemesh(self, landmarks: object) -> Request:
        """A payload of facemesh landmarks.

        Raises:
            InputError: another model is configured (the official text); else as `serialize_landmarks` says.
        """
        self._require_only(FacemeshConfig, "send_facemesh")
        written = serialize_landmarks(landmarks)
        check_size("landmarks", len(written), self.max_payload_size)
        return Request((b'"data":"', _base64(written), b'"', self._suffix[False]))

    def _length(self, media: Media, name: str) -> Length | None:
        return measure(media, name) if self.audio else None

    def _media_request(self, encoded: Part, length: Length | None) -> Request:
        members = (b'"data":"', encoded, b'"', self._suffix[False])
        lasting = self.audio or self.identifies
        return Request(members, ServerEffect(self.audio, length, self.identifies) if lasting else None)

    def _require_only(self, accepted: type[ModelConfigBase], method: str) -> None:
        for config in self.configs:
            if not isinstance(config, accepted):
                # The official SDK's text, word for word: callers match on them.
                raise InputError(
                    f"{self.owner} configured with {type(config).__name__}. "
                    f"{method} is only supported when using a {accepted.__name__}."
                )
