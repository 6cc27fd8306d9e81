"""The values of a batch: items to measure, and their results."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from numbers import Integral
from pathlib import Path
from typing import Any, Final, Literal, Self, get_args
from uuid import UUID

import attrs
import orjson

from ..errors import FOREIGN, HumeClientException, InputError, ProtocolError, short_repr
from ..net.interrupts import from_handler
from ..reprs import safe_repr
from ..stream import StreamResponse

__all__ = ["Item", "ItemError", "Kind", "Result", "Source", "settings_of"]

Kind = Literal["file", "media", "text", "landmarks", "rejected"]
"""How the content of an item is held."""

_OF_ONE_REQUEST = "payload_id"
"""A member of replies that another run would not repeat."""

_OBJECT = b"{"
"""How JSON that is not compressed begins."""

_COMPRESSION = 1
"""Level of zlib: scores are nearly random digits, and higher levels gain almost nothing."""

_MOST_OF_AN_ERROR: Final = 1000
"""Characters of an error's text that are kept."""


def _utf8(text: str) -> str:
    """Return a text with lone surrogates, which UTF-8 cannot hold, as escape sequences."""
    return text.encode("utf-8", "backslashreplace").decode()


def _checked_key(_: object, attribute: attrs.Attribute[str], key: object) -> None:
    if not isinstance(key, str) or key == "" or _utf8(key) != key:
        raise InputError(f"{attribute.name} must be a str of valid Unicode that is not empty, got {short_repr(key)}")


def _checked_kind(_: object, attribute: attrs.Attribute[str], kind: object) -> None:
    if kind not in get_args(Kind):
        raise InputError(f"{attribute.name} must be one of {', '.join(get_args(Kind))}; got {short_repr(kind)}")


@safe_repr
@attrs.frozen
class Item:
    """One input of a batch, measured as a stream of its own.

    Attributes:
        key: The name of the item, unique within a batch: the path of a file relative to the folder it was found in, or
            the id of a row.
        kind: How ``content`` is to be read.
        content: A path ("file"), bytes ("media"), a str ("text"), landmarks as `StreamSocket.send_facemesh` takes
            them ("landmarks"), or the error for which the item cannot be measured ("rejected").
    """

    key: str = attrs.field(validator=_checked_key)
    kind: Kind = attrs.field(validator=_checked_kind)
    content: Any = attrs.field(repr=False)

    @classmethod
    def of(cls, key: object, content: object) -> Self:
        """Return an item for a key and a payload: a path, a str, bytes, landmarks, or an error (kind "rejected").

        Args:
            key: A str, a whole number, also one of numpy, or a UUID.
            content: The payload.

        Raises:
            InputError: The key is empty or none of these.
        """
        if isinstance(key, bool) or not isinstance(key, str | Integral | UUID) or key == "":
            raise InputError(f"a key must be a str that is not empty, a whole number or a UUID; got {short_repr(key)}")
        name = _utf8(str(key))
        if content is None:
            return cls(name, "rejected", InputError("the content is missing"))
        if isinstance(content, Exception):
            return cls(name, "rejected", content)
        if isinstance(content, Path):
            return cls(name, "file", content)
        if isinstance(content, str):
            return cls(name, "text", content)
        if isinstance(content, bytes | bytearray | memoryview):
            return cls(name, "media", bytes(content))
        return cls(name, "landmarks", content)


class Source(Iterable[Item]):
    """Items that are read each time they are iterated; so they can be counted before they are measured.

    Args:
        read: Begins to read them.
    """

    def __init__(self, read: Callable[[], Iterator[Item]]) -> None:
        self._read = read

    def __iter__(self) -> Iterator[Item]:
        return self._read()


@safe_repr
@attrs.frozen
class ItemError:
    """Why an item was not measured.

    Attributes:
        type: The class of the error, such as "RequestError" or "FileNotFoundError".
        code: The server's error code, such as "E0200"; None for other errors.
        text: The message of the error, as one line of at most 1,000 characters.
        retryable: Whether the same item may succeed later.
    """

    type: str
    code: str | None
    text: str
    retryable: bool

    @classmethod
    def of(cls, error: Exception) -> Self:
        """Describe an error."""
        name, text = _utf8(type(error).__name__), _text_of(error)
        if isinstance(error, HumeClientException):
            code = error.code if error.code is None else _utf8(error.code)
            return cls(name, code, text, error.retryable)
        return cls(name, None, text, False)

    def __str__(self) -> str:
        return f"{self.type}: {self.text}" if self.text else self.type


def _text_of(error: Exception) -> str:
    try:
        text = " ".join(str(error).split())
    except FOREIGN as exc:
        if from_handler(exc):
            raise
        text = f"an error without a text ({type(exc).__name__})"
    return _utf8(text if len(text) <= _MOST_OF_AN_ERROR else f"{text[: _MOST_OF_AN_ERROR - 3]}...")


def _encoded(reply: dict[str, Any]) -> bytes:
    """Return a reply as JSON.

    Raises:
        ProtocolError: It is nested too deeply to be kept.
    """
    try:
        return orjson.dumps(reply)
    except TypeError:
        pass
    try:
        return orjson.dumps(_of_valid_unicode(reply))
    except (TypeError, RecursionError):
        raise ProtocolError("the reply cannot be kept: it is nested too deeply, or holds what JSON cannot") from None


def _of_valid_unicode(value: Any) -> Any:
    if isinstance(value, str):
        return _utf8(value)
    if isinstance(value, dict):
        return {_of_valid_unicode(name): _of_valid_unicode(member) for name, member in value.items()}
    return [_of_valid_unicode(member) for member in value] if isinstance(value, list) else value


def _uncompressed(reply: bytes | None) -> bytes | None:
    return reply if reply is None or reply.startswith(_OBJECT) else zlib.decompress(reply)


@safe_repr
@attrs.frozen
class Result:
    """The result of one item.

    The reply is held as JSON, compressed by `compact` so that thousands of results fit into memory; `reply` decodes it
    each time.

    Attributes:
        key: The key of the item.
        hash: 32 hexadecimal digits of the content (BLAKE2b); empty if it could not be read.
        error: Why the item failed; None if it was measured.
        attempts: How often its requests were tried, at most.
        seconds: How long it took, from the first request to the last reply.
        requests: How many requests its content was split into.
        emulated: Whether the scores are invented by the local server.
        window_state: As of `StreamResponse`: the least that the server knew of the preceding audio in any request.
        settings: The models with their options and the window that were asked for, as JSON; None if that is not known.
    """

    key: str
    hash: str
    error: ItemError | None = None
    attempts: int = 1
    seconds: float = 0.0
    requests: int = 1
    emulated: bool = False
    window_state: str | None = None
    settings: str | None = attrs.field(default=None, kw_only=True, repr=False)
    _reply: bytes | None = attrs.field(default=None, repr=False, eq=_uncompressed)

    @classmethod
    def measured(cls, key: str, content_hash: str, reply: StreamResponse, *, seconds: float, requests: int) -> Self:
        """Return the result for a reply, or for the merged replies of an item's parts, without ``payload_id``.

        Raises:
            ProtocolError: The reply is nested too deeply to be kept.
        """
        return cls(
            key,
            content_hash,
            attempts=reply.attempts,
            seconds=seconds,
            requests=requests,
            emulated=reply.emulated,
            window_state=reply.window_state,
            reply=_encoded({name: value for name, value in reply.items() if name != _OF_ONE_REQUEST}),
        )

    def compact(self) -> Self:
        """Return the same result with its reply compressed."""
        if self._reply is None or not self._reply.startswith(_OBJECT):
            return self
        return attrs.evolve(self, reply=zlib.compress(self._reply, _COMPRESSION))

    @property
    def ok(self) -> bool:
        """Whether the item was measured."""
        return self.error is None

    @property
    def reply(self) -> StreamResponse | None:
        """The reply, its parts merged; None if the item failed."""
        if self._reply is None:
            return None
        reply = StreamResponse(orjson.loads(self._json()), emulated=self.emulated)
        reply.attempts, reply.window_state = self.attempts, self.window_state
        return reply

    def top(self, n: int = 5, model: str | None = None) -> list[tuple[str, float]]:
        """Return the ``n`` highest emotions as `StreamResponse.top` does; empty if the item failed."""
        reply = self.reply
        return [] if reply is None else reply.top(n, model)

    def _json(self) -> bytes:
        json = _uncompressed(self._reply)
        assert json is not None
        return json

    def to_line(self) -> bytes:
        """Return the result as a line of JSON, with its line end."""
        head: dict[str, Any] = {"key": self.key, "hash": self.hash, "ok": self.ok}
        if self.error is not None:
            head["error"] = attrs.asdict(self.error)
        if self._reply is not None:
            head["reply"] = orjson.Fragment(self._json())
        head |= {
            "attempts": self.attempts,
            "seconds": round(self.seconds, 6),
            "requests": self.requests,
            "window_state": self.window_state,
            "emulated": self.emulated,
        }
        if self.settings is not None:
            head["settings"] = orjson.Fragment(self.settings.encode())
        return orjson.dumps(head) + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Return the result that a line of JSON holds.

        Raises:
            InputError: The line is not one that `to_line` has made.
        """
        try:
            held = orjson.loads(line)
            error, reply = held.get("error"), held.get("reply")
            if not isinstance(reply, dict | None) or (held["ok"] is not True) != (error is not None):
                raise TypeError
            result = cls(
                key=held["key"],
                hash=held["hash"],
                error=None if error is None else ItemError(**error),
                attempts=held["attempts"],
                seconds=held["seconds"],
                requests=held.get("requests", 1),
                emulated=held["emulated"],
                window_state=held.get("window_state"),
                settings=settings_of(held),
                reply=None if reply is None else orjson.dumps(reply),
            )
            result._check()
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise InputError(f"the line holds no result of a batch ({type(exc).__name__})") from None
        return result.compact()

    def _check(self) -> None:
        """Raise TypeError where a line held another type."""
        texts: list[object] = [self.key, self.hash]
        if self.error is not None:
            texts += [self.error.type, self.error.text, self.error.code or ""]
        numbers: list[object] = [self.seconds, self.attempts, self.requests]
        if (
            not all(isinstance(text, str) for text in texts)
            or not all(isinstance(number, int | float) and number >= 0 for number in numbers)
            or not isinstance(self.attempts, int)
            or not isinstance(self.requests, int)
            or not isinstance(self.emulated, bool)
            or not isinstance(self.window_state, str | None)
        ):
            raise TypeError


def settings_of(held: dict[str, Any]) -> str | None:
    """Return the settings that a line holds, in the form of `Result.settings`; None where it has none."""
    settings = held.get("settings")
    if not isinstance(settings, dict):
        return None
    return sys.intern(orjson.dumps(settings, option=orjson.OPT_SORT_KEYS).decode())
