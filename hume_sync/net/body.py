"""The body behind an HTTP head, in whatever pieces it comes (RFC 9112, 6 and 7.1).

Pure and incremental: a time-out between any two bytes loses nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..errors import ConnectionLost, ProtocolError

__all__ = ["ChunkedBody", "PlainBody", "framing"]

_HEX = re.compile(rb"[0-9A-Fa-f]{1,16}")
_MAX_SIZE_LINE = 8192


class PlainBody:
    """A body of ``length`` bytes; None: one that lasts until the connection ends."""

    def __init__(self, length: int | None) -> None:
        self._left = length
        self.ended = length == 0

    def feed(self, data: bytes) -> bytes:
        """What of these bytes is the body's; none are the end of the connection.

        Raises:
            ConnectionLost: it ended too soon.
        """
        if self._left is None:
            self.ended = not data
            return data
        if not data:
            raise _cut_short()
        data = data[: self._left]
        self._left -= len(data)
        self.ended = not self._left
        return data


class ChunkedBody:
    """A body in chunks: a line with a size, so many bytes, an empty line; behind the last, trailers."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._left = 0  # bytes of the chunk at hand
        self._expected = "size"  # the line that comes next: "size", "empty", "trailer"
        self.ended = False

    def feed(self, data: bytes) -> bytes:
        """As `PlainBody.feed`.

        Raises:
            ConnectionLost: the connection ended before the last chunk.
            ProtocolError: these are no chunks.
        """
        if not data:
            raise _cut_short()
        pieces, at = [], 0
        while at < len(data) and not self.ended:
            if self._left:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                continue
            end = data.find(b"\n", at) + 1 or len(data)
            self._line += data[at:end]
            at = end
            if len(self._line) > _MAX_SIZE_LINE:
                raise ProtocolError("a line between the chunks of the answer has no end", phase="receive")
            if self._line.endswith(b"\n"):
                self._take(bytes(self._line).rstrip(b"\r\n"))
                self._line.clear()
        return b"".join(pieces)

    def _take(self, line: bytes) -> None:
        if self._expected == "trailer":
            self.ended = not line
        elif self._expected == "empty":
            if line:
                raise ProtocolError("a chunk of the answer is longer than it says", phase="receive")
            self._expected = "size"
        else:
            size = line.partition(b";")[0].strip()
            if not _HEX.fullmatch(size):
                raise ProtocolError("a chunk of the answer does not say its size", phase="receive")
            self._left = int(size, 16)
            self._expected = "empty" if self._left else "trailer"


def framing(status: int, fields: Mapping[str, str]) -> PlainBody | ChunkedBody:
    """What takes the body behind such a head apart.

    Args:
        status: of the answer.
        fields: its header fields; the names are looked up in lower case.

    Raises:
        ProtocolError: it cannot be read: a coding that nobody asked for, a length that is no number.
    """
    if status < 200 or status in {204, 304}:
        return PlainBody(0)
    if fields.get("content-encoding", "identity").lower() != "identity":
        raise ProtocolError("the answer is compressed, which was not asked for", phase="receive")
    if "transfer-encoding" in fields:
        if fields["transfer-encoding"].lower() != "chunked":
            raise ProtocolError("the answer has a transfer coding that was not asked for", phase="receive")
        return ChunkedBody()
    length = fields.get("content-length")
    if length is not None and not (length.isascii() and length.isdigit() and len(length) < 20):
        raise ProtocolError("the answer has a length that is no number", phase="receive")
    return PlainBody(None if length is None else int(length))


def _cut_short() -> ConnectionLost:
    return ConnectionLost("the server cut its answer short", phase="receive", maybe_processed=True)
