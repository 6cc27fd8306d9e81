"""Texts as files hold them: in UTF-8, or in UTF-16 or UTF-32 with a byte order mark."""

from __future__ import annotations

import codecs
import re
from typing import Final

__all__ = ["decode_text", "pointer_to", "refusal_of_text"]

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # first: it begins as that of UTF-16 does
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_CONTROL: Final = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
"""Characters that no text holds; of the control characters only white space does, and escape in recorded logs."""

_LFS: Final = re.compile(rb"version https://git-lfs\.github\.com/spec/v\d+\n(?:[^\n]+\n)*oid sha256:[0-9a-f]{64}\n")
_ANNEX: Final = re.compile(rb"(?:\.\./)*(?:\.git)?/annex/objects/\S+\s*\Z")
_DVC: Final = tuple(
    re.compile(part) for part in (rb"outs:\s*$", rb"[ -]+(?:md5|etag|checksum):\s*\S", rb"[ -]+path:\s*\S")
)
"""Lines that a file of DVC has, in any order."""
_YAML: Final = re.compile(rb"[a-z0-9_]+:|[ #-]|$")
"""How its lines begin."""

_MAX_POINTER: Final = 4096
"""Bytes of one; those of DVC may have a description."""


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


def pointer_to(data: bytes | bytearray | memoryview) -> tuple[str, str] | None:
    """Tell whether this is what stands for a file that was not fetched.

    Returns:
        What it is ("a Git LFS pointer"), and the command that fetches the file; None for all else.
    """
    if len(data) > _MAX_POINTER:
        return None
    text = bytes(data).replace(b"\r\n", b"\n")
    if _LFS.match(text):
        return "a Git LFS pointer", "git lfs pull"
    if _ANNEX.match(text):
        return "a git-annex pointer", "git annex get"
    lines = text.splitlines()
    if all(map(_YAML.match, lines)) and all(any(map(part.match, lines)) for part in _DVC):
        return "a DVC pointer", "dvc pull"
    return None


def _codec(head: bytes) -> str:
    return next((codec for mark, codec in _MARKS if head.startswith(mark)), "utf-8")
