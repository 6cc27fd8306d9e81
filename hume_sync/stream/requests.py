"""Building of requests: the members of their JSON object as bytes, validated, joined once when sent.

Member names and order are those of the official SDK 0.6.0. Base64 and JSON are inserted as bytes, because encoding them
again as part of a larger object would dominate the cost of a request.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import orjson
import pybase64

from ..errors import FOREIGN, InputError, short_repr
from ..net.frames import LARGE, Part
from ..net.interrupts import from_handler
from ..net.validation import plain_number
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
"""Bytes of media encoded at a time: a multiple of three, so that only the last piece is padded."""


class _LazyBase64:
    """Large media, base64-encoded directly into the outgoing frame.

    This keeps two copies in memory instead of three. The smaller allocations are reused by the allocator, which avoids
    page faults that would take four times as long as the rest of a request.
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
    """The effect of a request on the server's state for the connection."""

    audio: bool = False
    """Whether an audio model processes it; only then is the server's window used and changed."""
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
    """None if the server keeps nothing, as for text and landmarks."""
    begins_stream: bool = False
    """Whether the request is the first of a new stream: it empties the server's window first."""
    any_reply: bool = False
    """Whether any object may be the reply, as for a request without data."""

    def beginning_stream(self, reset: object) -> Request:
        """Return this request as the first of a new stream if ``reset`` is True.

        Raises:
            InputError: ``reset`` is neither True nor False.
        """
        if reset is False:
            return self
        if reset is not True:
            raise InputError(f"reset must be True or False, got {short_repr(reset)}")
        return attrs.evolve(self, effect=self.effect or ServerEffect(), begins_stream=True)

    def with_reset(self) -> JSONParts:
        """Return the members with ``reset_stream`` in front."""
        return (*RESET_STREAM.members, b",", *self.members)


RESET_STREAM = Request((b'"reset_stream":true',), ServerEffect(reset=True), any_reply=True)
GET_JOB_DETAILS = Request((b'"job_details":true',), any_reply=True)

_AUDIO_MODELS = frozenset({ModelType.BURST, ModelType.PROSODY})


def _base64(data: Media) -> Part:
    if len(data) < LARGE:
        return pybase64.b64encode(data)
    # Copied, so that every attempt sends the same even if the caller changes the data meanwhile.
    return _LazyBase64(bytes(data))


def check_window(stream_window_ms: object) -> int | float | None:
    """Return the length of the server's sliding window in milliseconds; None for the server's default.

    Raises:
        InputError: The value is neither None nor a number from 500 to 10000 (the official reference).
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
    """A builder of requests: configurations and window are validated and serialized once per socket."""

    configs: tuple[ModelConfigBase, ...]
    stream_window_ms: int | float | None
    max_payload_size: int
    owner: str
    """First word of the official SDK's error texts: "Socket" or "Payload"."""
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
        """Validate and serialize configurations.

        Raises:
            InputError: The configurations or the window are not valid.
        """
        checked = check_configs(configs)
        window = check_window(stream_window_ms)
        try:
            models = b',"models":' + orjson.dumps(serialize_configs(checked))
        except InputError:
            raise
        except FOREIGN as exc:  # from configurations of the caller's classes
            if from_handler(exc):
                raise
            raise InputError(f"configs cannot be written as JSON: {exc}") from exc
        end = b"" if window is None else b',"stream_window_ms":' + orjson.dumps(window)
        tail = {raw: models + b',"raw_text":' + orjson.dumps(raw) + end for raw in (False, True)}
        audio = any(config.get_model_type() in _AUDIO_MODELS for config in checked)
        identifies = any(isinstance(config, FaceConfig) and config.identify_faces is True for config in checked)
        return cls(checked, window, max_payload_size, owner, audio, identifies, tail)

    def with_configs(self, configs: Iterable[ModelConfigBase] | None) -> RequestBuilder:
        """Return a builder with the configurations of one call; None for this one."""
        if configs is None:
            return self
        return RequestBuilder.create(configs, self.stream_window_ms, self.max_payload_size, "Payload")

    def media(self, media: Media, name: str = "data") -> Request:
        """Return a request with raw media, base64-encoded here. (Its size was checked when it was read.)

        Raises:
            InputError: An audio model is configured, and this is a WAV file without samples.
        """
        length = self._length(media, name)  # first: it raises for files without audio
        kept = self.audio  # audio is kept for replay, so it is encoded once, now
        return self._media_request(pybase64.b64encode(media) if kept else _base64(media), length)

    def base64_media(self, bytes_data: object) -> Request:
        """Return a request with media that is base64 already.

        Raises:
            InputError: The data is not base64, empty, or larger than ``max_payload_size`` once decoded; or as for
                `media`.
        """
        encoded, media = decode_base64(bytes_data, self.max_payload_size)
        return self._media_request(encoded, self._length(media, "bytes_data"))

    def text(self, text: object) -> Request:
        """Return a request with plain text for the language model.

        Raises:
            InputError: Another model is configured (the official text), or the text is not a str, blank, too large, or
                not valid Unicode.
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
        if written is None:  # (raised here, since the error of older versions of orjson keeps the text)
            raise InputError("text holds lone surrogates, which cannot be encoded as UTF-8")
        check_size("text", len(written) - 2, self.max_payload_size)
        return Request((b'"data":', written, self._suffix[True]))

    def facemesh(self, landmarks: object) -> Request:
        """Return a request with facemesh landmarks.

        Raises:
            InputError: Another model is configured (the official text), or the landmarks are not valid.
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
