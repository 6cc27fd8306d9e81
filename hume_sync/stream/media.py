"""Reading of media from files, file objects, bytes and base64, with limits, before anything is sent."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from typing import Any, BinaryIO

import pybase64

from ..errors import InputError
from ..net.interrupts import from_outside
from ..net.pending import open_into
from .filenames import check_named_media

__all__ = ["Media", "check_size", "decode_base64", "name_of", "open_file", "read_file", "read_media"]

_CHUNK = 1 << 20
"""Bytes to read at a time if the size is unknown."""

Media = bytes | bytearray | memoryview


def read_file(filepath: object, limit: int) -> Media:
    """Read a file, given as a path or as a binary file object (from where it stands).

    Args:
        filepath: Str, PathLike, or anything with a ``read`` that returns bytes.
        limit: Bytes; a larger file is refused before it is read, a larger stream as soon as it is known to be.

    Raises:
        OSError: The file is missing, a directory, or unreadable.
        InputError: Empty, too large, not a regular file, a text file object, or of no accepted type; or a path to
            what certainly is something else than the file's name says (see `check_named_media`).
    """
    if isinstance(filepath, str | os.PathLike):
        with open_file(filepath, limit) as file:
            size = os.fstat(file.fileno()).st_size
            name = name_of(filepath)
            media = _read_object(file, limit, name, size)
        check_named_media(os.fsdecode(filepath), media, shown=name)
        return media
    if hasattr(filepath, "read"):
        return _read_object(filepath, limit, "filepath")
    raise InputError(f"filepath must be a path or a binary file object, got {type(filepath).__name__}")


def name_of(filepath: object) -> str:
    """Return what errors call a file that is given as a path or as a file object."""
    return f"the file {os.fspath(filepath)!r}" if isinstance(filepath, str | os.PathLike) else "filepath"


def read_media(data: object, limit: int, *, name: str = "data") -> Media:
    """Read raw media from a bytes-like or binary file object; limits and errors as for `read_file`."""
    if isinstance(data, bytes | bytearray | memoryview):
        if isinstance(data, memoryview):
            data = data.cast("B") if data.c_contiguous and data.nbytes else data.tobytes()
        check_size(name, len(data), limit)
        return data
    if hasattr(data, "read"):
        return _read_object(data, limit, name)
    hint = "; for a path use send_file" if isinstance(data, str | os.PathLike) else ""
    raise InputError(f"{name} must be bytes or a binary file object, got {type(data).__name__}{hint}")


def decode_base64(data: object, limit: int) -> tuple[bytes, bytes]:
    """Decode base64 strictly: its own alphabet, padded, nothing between. Returns it as it was, and decoded.

    Raises:
        InputError: Not bytes-like, empty, too large once decoded, or not base64.
    """
    if not isinstance(data, bytes | bytearray | memoryview):
        hint = ": encode it with base64.b64encode, or use send_file for a path" if isinstance(data, str) else ""
        raise InputError(f"bytes_data must be base64 as bytes, got {type(data).__name__}{hint}")
    encoded = bytes(data)
    check_size("bytes_data", (len(encoded) + 3) // 4 * 3 - encoded[-2:].count(b"="), limit)
    try:
        return encoded, pybase64.b64decode(encoded, validate=True)
    except ValueError as exc:
        if from_outside(exc):
            raise
        raise InputError(
            "bytes_data is not base64 (standard alphabet, padded, no line ends, no data: prefix);"
            " for media that is not encoded use send_media"
        ) from None


def check_size(name: str, size: int, limit: int) -> None:
    """Refuse empty media and media beyond the client's ``max_payload_size``.

    Raises:
        InputError: Naming the argument, its size and the limit.
    """
    if size == 0:
        raise InputError(f"{name} is empty: there is nothing to send")
    if size > limit:
        raise InputError(f"{name} holds {size} bytes; max_payload_size is {limit}")


@contextlib.contextmanager
def open_file(path: str | os.PathLike[str], limit: int) -> Iterator[BinaryIO]:
    """Open a regular file of 1 to ``limit`` bytes; errors as for `read_file`. Never waits, as a FIFO would have it."""
    name = name_of(path)
    descriptors: list[int] = []
    try:
        # Opened first and looked at then: a name may change between two looks.
        try:
            descriptor = open_into(descriptors, path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except ValueError as exc:  # a NUL, or what the file system cannot write
            if from_outside(exc):
                raise
            raise InputError(f"{name} cannot exist: {exc}") from None
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{name} is no regular file; pass an open file object (on a command line: - and a pipe)")
        check_size(name, status.st_size, limit)
        with os.fdopen(descriptor, "rb", buffering=0, closefd=False) as file:
            yield file
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _read_object(file: Any, limit: int, name: str, expected: int = _CHUNK) -> Media:
    """Read the rest of a file. A single chunk of the expected size is not copied."""
    media: bytes | bytearray = b""
    while len(media) <= limit:
        chunk = file.read(min(max(expected, 1), limit - len(media)) + 1)
        if not isinstance(chunk, bytes | bytearray | memoryview):
            hint = "; open the file with mode 'rb'" if isinstance(chunk, str) else ""
            raise InputError(f"{name} must read as bytes, got {type(chunk).__name__}{hint}")
        if not chunk:
            break
        if not media:
            media = bytes(chunk)
            continue
        if isinstance(media, bytes):
            media = bytearray(media)
        media += chunk
    if len(media) > limit:
        raise InputError(f"{name} holds more than max_payload_size, {limit} bytes")
    check_size(name, len(media), limit)
    return media
