"""Incremental readers of an HTTP/1.1 body, without I/O (RFC 9112, 6 and 7.1).

A timeout between any two bytes loses nothing.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from typing import Final

from ..errors import ConnectionLost, ProtocolError

__all__ = ["Body", "ChunkedBody", "GzipBody", "SizedBody", "body_reader"]

_HEX = re.compile(rb"[0-9A-Fa-f]{1,16}")
_MAX_SIZE_LINE = 8192

_GZIP: Final = 31
"""What zlib calls the format of gzip, with a window of any size."""

_DECODED: Final = 2**20
"""Bytes that one step of decoding makes at most: gzip makes a thousand out of one."""

_CODINGS: Final = ("br", "compress", "deflate", "zstd")
"""The other content codings there are, which an error may name."""


class SizedBody:
    """A body of ``length`` bytes; None: one that lasts until the connection ends."""

    def __init__(self, length: int | None) -> None:
        self._left = length
        self.ended = length == 0
        self.holds_more = False

    def feed(self, data: bytes) -> bytes:
        """Return the part of ``data`` that belongs to the body; empty ``data`` is the end of the connection.

        Raises:
            ConnectionLost: It ended too soon.
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
        self.holds_more = False

    def feed(self, data: bytes) -> bytes:
        """As `SizedBody.feed`.

        Raises:
            ConnectionLost: The connection ended before the last chunk.
            ProtocolError: These are no chunks.
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
                raise ProtocolError("chunk header line too long in the response", phase="receive")
            if self._line.endswith(b"\n"):
                self._take(bytes(self._line).rstrip(b"\r\n"))
                self._line.clear()
        return b"".join(pieces)

    def _take(self, line: bytes) -> None:
        if self._expected == "trailer":
            self.ended = not line
        elif self._expected == "empty":
            if line:
                raise ProtocolError("malformed chunk in the response", phase="receive")
            self._expected = "size"
        else:
            size = line.partition(b";")[0].strip()
            if not _HEX.fullmatch(size):
                raise ProtocolError("invalid chunk size in the response", phase="receive")
            self._left = int(size, 16)
            self._expected = "empty" if self._left else "trailer"


class GzipBody:
    """A body compressed with gzip; `framed` removes the chunked or length framing first.

    One step decodes at most 1 MiB, so a small body cannot expand without limit: while `holds_more` is
    true, `feed` is called without data to go on with what is there.
    """

    def __init__(self, framed: SizedBody | ChunkedBody) -> None:
        self._framed = framed
        self._decoder = zlib.decompressobj(_GZIP)
        self._encoded = b""  # not decoded yet
        self._is_full = False  # the last step stopped at its limit
        self._in_member = False  # a member of the stream has begun and has not ended

    @property
    def holds_more(self) -> bool:
        """Whether there is something to decode before more is read."""
        return bool(self._encoded) or self._is_full

    @property
    def ended(self) -> bool:
        """Whether the body is complete."""
        return self._framed.ended and not self.holds_more

    def feed(self, data: bytes) -> bytes:
        """As `SizedBody.feed`.

        Raises:
            ConnectionLost: The body ended before its compressed stream did.
            ProtocolError: This is not gzip.
        """
        if not self.holds_more:
            self._encoded = self._framed.feed(data)
        decoded = self._decode()
        if self.ended and self._in_member:
            raise _cut_short()
        return decoded

    def _decode(self) -> bytes:
        self._is_full = False
        if not self._in_member:
            self._encoded = self._encoded.lstrip(b"\0")  # some servers pad a member; none begins with NUL
        if not self._encoded and not self._in_member:
            return b""
        try:
            decoded = self._decoder.decompress(self._encoded, _DECODED)
        except zlib.error:
            raise ProtocolError("invalid gzip data in the response", phase="receive") from None
        self._in_member = not self._decoder.eof
        self._is_full = len(decoded) == _DECODED
        self._encoded = self._decoder.unconsumed_tail
        if self._decoder.eof:  # RFC 1952, 2.2: members may follow one another
            self._encoded = self._decoder.unused_data
            self._is_full = False
            self._decoder = zlib.decompressobj(_GZIP)
        return decoded


Body = SizedBody | ChunkedBody | GzipBody
"""What takes a body apart. ``ended``: nothing more will come. ``holds_more``: more comes without reading."""


def body_reader(status: int, fields: Mapping[str, str]) -> Body:
    """Return the reader of the body behind a response head.

    gzip is decoded although it was not requested: some proxies compress every response.

    Args:
        status: Of the answer.
        fields: Its header fields; the names are looked up in lower case.

    Raises:
        ProtocolError: It cannot be read: another coding, a length that is no number.
    """
    if status < 200 or status in {204, 304}:
        return SizedBody(0)
    coding = fields.get("content-encoding", "").strip().lower()
    framed = _framed(fields)
    if coding in {"", "identity"}:
        return framed
    if coding in {"gzip", "x-gzip"}:
        return GzipBody(framed)
    named = f" ({coding})" if coding in _CODINGS else ""  # (any other may be a header's value, repeated)
    raise ProtocolError(f"the answer is compressed in a way that was not asked for{named}", phase="receive")


def _framed(fields: Mapping[str, str]) -> SizedBody | ChunkedBody:
    if "transfer-encoding" in fields:
        if fields["transfer-encoding"].lower() != "chunked":
            raise ProtocolError("the answer has a transfer coding that was not asked for", phase="receive")
        return ChunkedBody()
    length = fields.get("content-length")
    if length is not None and not (length.isascii() and length.isdigit() and len(length) < 20):
        raise ProtocolError("invalid Content-Length in the response", phase="receive")
    return SizedBody(None if length is None else int(length))


def _cut_short() -> ConnectionLost:
    return ConnectionLost("the server cut its answer short", phase="receive", maybe_processed=True)
