"""The size of images, read from their heads, and scaling of those that are too large (with the extra ``media``)."""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import Any, Final

from ..errors import InputError
from .decoding import import_av

__all__ = ["read_size", "scale_image"]

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_FRAME_HEADERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH: Final = frozenset({0x01, *range(0xD0, 0xD9)})
_END: Final = frozenset({0xD9, 0xDA})
_APP1: Final = 0xE1

_MOST_PIXELS: Final = 200_000_000
"""Pixels of an image that is decoded: 800 MB as RGB and alpha."""

_QUALITY: Final = 2
"""Quantiser of the JPEG that is made, of 2 (best) to 31."""


def read_size(image: bytes) -> tuple[int, int] | None:
    """Return the width and height of a JPEG or PNG in pixels; None where its head does not tell."""
    if image.startswith(_PNG):
        if len(image) < 24 or image[12:16] != b"IHDR":
            return None
        width, height = struct.unpack_from(">II", image, 16)
    else:
        place = next((place for marker, place, _ in _segments(image) if marker in _FRAME_HEADERS), None)
        if place is None or place + 9 > len(image):
            return None
        height, width = struct.unpack_from(">HH", image, place + 5)
    return (width, height) if width and height else None


def scale_image(image: bytes, name: str, limit: int) -> bytes:
    """Scale an image down, keeping its proportions; a JPEG becomes a JPEG, upright as before, and a PNG a PNG.

    Args:
        image: A JPEG or PNG.
        name: What errors call it.
        limit: The greatest width and height, in pixels.

    Raises:
        ConfigurationError: PyAV is not installed.
        InputError: The image is damaged, or too large to be decoded.
    """
    size = read_size(image)
    if size is None or size[0] * size[1] > _MOST_PIXELS:
        what = "is damaged: it has no size" if size is None else f"has {size[0]} x {size[1]} pixels"
        raise InputError(f"{name} {what}; scaled are images of up to {_MOST_PIXELS} pixels")
    av = import_av(f"scaling of {name}")
    is_png = image.startswith(_PNG)
    try:
        frame = _decode(av, "png" if is_png else "mjpeg", image)
        width, height = (max(1, side * limit // max(size)) for side in size)
        if is_png:
            pixels = "rgba" if "a" in frame.format.name.replace("gray", "").replace("pal", "a") else "rgb24"
            return _encode(av, "png", frame.reformat(width, height, pixels, interpolation="AREA"))
        scaled = _encode(av, "mjpeg", frame.reformat(width, height, "yuvj420p", interpolation="AREA"))
    except av.FFmpegError as exc:
        raise InputError(f"{name} is damaged: {exc.strerror}") from None
    return scaled[:2] + _exif(image) + scaled[2:]  # which says how it is to be turned


def _decode(av: Any, codec: str, image: bytes) -> Any:
    context = av.CodecContext.create(codec, "r")
    frames = [*context.decode(av.Packet(image)), *context.decode(None)]
    if not frames:
        raise av.error.InvalidDataError(1, "it has no picture")
    return frames[0]


def _encode(av: Any, codec: str, frame: Any) -> bytes:
    context = av.CodecContext.create(codec, "w")
    context.width, context.height, context.pix_fmt = frame.width, frame.height, frame.format.name
    context.time_base = Fraction(1, 25)
    if codec == "mjpeg":
        context.qmin = context.qmax = _QUALITY
    frame.pts = None
    return b"".join(bytes(packet) for packet in (*context.encode(frame), *context.encode(None)))


def _segments(image: bytes) -> Any:
    """Yield marker, place and end of each segment in front of the picture of a JPEG."""
    place = 2
    while place + 4 <= len(image) and image[place] == 0xFF:
        marker = image[place + 1]
        if marker == 0xFF:  # a fill byte
            place += 1
        elif marker in _WITHOUT_LENGTH:
            place += 2
        elif marker in _END:
            return
        else:
            end = place + 2 + int.from_bytes(image[place + 2 : place + 4], "big")
            yield marker, place, end
            place = end


def _exif(image: bytes) -> bytes:
    """Return the EXIF segment of a JPEG; b"" if it has none."""
    for marker, place, end in _segments(image):
        if marker == _APP1 and image[place + 4 : place + 10] == b"Exif\0\0":
            return image[place:end]
    return b""
