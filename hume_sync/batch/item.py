"""The values of a batch: items to measure, and their results."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

import attrs
import orjson

from ..errors import HumeClientException, InputError
from ..reprs import safe_repr
from ..stream import StreamResponse

__all__ = ["Item", "ItemError", "Kind", "Result", "Source"]

Kind = Literal["file", "media", "text", "landmarks", "rejected"]
"""How the content of an item is held."""

_OF_ONE_REQUEST = "payload_id"
"""A member of replies that another run would not repeat."""

_OBJECT = b"{"
"""How JSON that is not compressed begins."""

_COMPRESSION = 1
"""Level of zlib: scores are nearly random digits, and higher levels gain almost nothing."""


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

    key: str
    kind: Kind
    content: Any = attrs.field(repr=False)

    @classmethod
    def of(cls, key: object, content: object) -> Self:
        """Return an item for a key and a payload: a path, a str, bytes, or landmarks.

        Raises:
            InputError: The key is empty or neither a str nor an int.
        """
        if isinstance(key, bool) or not isinstance(key, str | int) or key == "":
            raise InputError(f"the key of an item must be a str that is not empty, or an int; got {key!r:.100}")
        name = str(key)
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
        text: The message of the error.
        retryable: Whether the same item may succeed later.
    """

    type: str
    code: str | None
    text: str
    retryable: bool

    @classmethod
    def of(cls, error: Exception) -> Self:
        """Describe an error."""
        if isinstance(error, HumeClientException):
            return cls(type(error).__name__, error.code, str(error), error.retryable)
        return cls(type(error).__name__, None, str(error), False)

    def __str__(self) -> str:
        return f"{self.type}: {self.text}"


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
    """

    key: str
    hash: str
    error: ItemError | None = None
    attempts: int = 1
    seconds: float = 0.0
    requests: int = 1
    emulated: bool = False
    window_state: str | None = None
    _reply: bytes | None = attrs.field(default=None, repr=False, eq=_uncompressed)

    @classmethod
    def measured(cls, key: str, content_hash: str, reply: StreamResponse, *, seconds: float, requests: int) -> Self:
        """Return the result for a reply, or for the merged replies of an item's parts, without ``payload_id``."""
        return cls(
            key,
            content_hash,
            attempts=reply.attempts,
            seconds=seconds,
            requests=requests,
            emulated=reply.emulated,
            window_state=reply.window_state,
            reply=orjson.dumps({name: value for name, value in reply.items() if name != _OF_ONE_REQUEST}),
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
        return orjson.dumps(head) + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Return the result that a line of JSON holds.

        Raises:
            InputError: The line is not one that `to_line` has made.
        """
        try:
            held: Mapping[str, Any] = orjson.loads(line)
            error = held.get("error")
            reply = held.get("reply")
            if not isinstance(reply, dict | None):
                raise TypeError
            return cls(
                key=held["key"],
                hash=held["hash"],
                error=None if error is None else ItemError(**error),
                attempts=held["attempts"],
                seconds=held["seconds"],
                requests=held.get("requests", 1),
                emulated=held["emulated"],
                window_state=held.get("window_state"),
                reply=None if reply is None else orjson.dumps(reply),
            ).compact()
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise InputError(f"the line holds no result of a batch ({type(exc).__name__})") from None
