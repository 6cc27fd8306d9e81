"""Texts as files hold them: in UTF-8, or in UTF-16 or UTF-32 with a byte order mark."""

from __future__ import annotations

import codecs
import re
from typing import Final

__all__ = ["decode_text", "is_git_lfs_pointer", "refusal_of_text"]

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # first: it begins as that of UTF-16 does
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_CONTROL: Final = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
"""Characters that no text holds; of the control characters only white space does, and escape in recorded logs."""

_POINTER: Final = re.compile(rb"version https://git-lfs\.github\.com/spec/v\d+\n(?:[^\n]+\n)*oid sha256:[0-9a-f]{64}\n")


def decode_text(data: bytes | bytearray | memoryview) -> str | None:
    """Decode a text.

    Returns:
        The text without its byte order mark; None for all that is no text, or in another encoding.
    """
    head = bytes(data[:64])
    codec = _codec(head)
    if codec == "utf-8" and _CONTROL.search(head.decode("latin-1")):
        return None  # media: not worth decoding the rest
    try:
        text = str(memoryview(data), codec)
    except UnicodeDecodeError:
        return None
    return None if _CONTROL.search(text) else text


def refusal_of_text(data: bytes | bytearray | memoryview) -> str:
    """Say why `decode_text` does not take some bytes."""
    codec = _codec(bytes(data[:4]))
    try:
        text = str(memoryview(data), codec)
    except UnicodeDecodeError as exc:
        bad = bytes(data[exc.start : exc.start + 1])
        return f"it is not {codec.upper()} (byte 0x{bad.hex()} at {exc.start}): convert it to UTF-8"
    if "\0" in text:
        return "it holds NUL bytes (UTF-16 without a byte order mark?): convert it to UTF-8"
    return "it holds control characters"


def is_git_lfs_pointer(data: bytes | bytearray | memoryview) -> bool:
    """Tell whether this is what Git checks out in place of a file that Git LFS has not fetched."""
    return len(data) <= 1024 and _POINTER.match(bytes(data)) is not None


def _codec(head: bytes) -> str:
    return next((codec for mark, codec in _MARKS if head.startswith(mark)), "utf-8")
