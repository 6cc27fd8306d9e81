"""The size of an image, read from its header."""

from __future__ import annotations

import struct

from .faults import UNPARSED_MEDIA, PayloadError

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"

# The markers of a frame header (SOF); C4, C8 and CC have other meanings.
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE_MARKERS = frozenset({0x01, *range(0xD0, 0xD9)})
_END_OF_HEADERS = frozenset({0xD9, 0xDA})


def image_size(content: bytes) -> tuple[int, int]:
    """Return the width and height of a PNG or JPEG in pixels.

    Raises:
        PayloadError: The header is not valid (E0200).
    """
    size = _png_size(content) if content.startswith(PNG) else _jpeg_size(content)
    if size is None or not all(size):
        raise PayloadError("E0200", UNPARSED_MEDIA)
    return size


def _png_size(content: bytes) -> tuple[int, int] | None:
    if len(content) < 24 or content[12:16] != b"IHDR":
        return None
    width, height = struct.unpack_from(">II", content, 16)
    return width, height


def _jpeg_size(content: bytes) -> tuple[int, int] | None:
    position = 2
    while position + 9 <= len(content) and content[position] == 0xFF:
        marker = content[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
        elif marker in _BARE_MARKERS:
            position += 2
        elif marker in _FRAME_HEADERS:
            height, width = struct.unpack_from(">HH", content, position + 5)
            return width, height
        elif marker in _END_OF_HEADERS:
            break
        else:
            position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
    return None
