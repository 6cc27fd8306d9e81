from __future__ import annotations

import struct
import zlib
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest

from hume_sync import InputError
from hume_sync.batch.pictures import read_size, scale_image

from ..stream.support import FACE


def picture(width: int, height: int, codec: str = "mjpeg", pixels: str = "yuvj420p") -> bytes:
    """Encode a picture that is dark above and bright below."""
    grey = np.repeat(np.linspace(0, 255, height, dtype=np.uint8)[:, None], width, axis=1)
    frame = av.VideoFrame.from_ndarray(np.repeat(grey[:, :, None], 3, axis=2), "rgb24").reformat(format=pixels)
    context: Any = av.CodecContext.create(codec, "w")
    context.width, context.height, context.pix_fmt = width, height, pixels
    context.time_base = Fraction(1, 25)
    return b"".join(bytes(packet) for packet in (*context.encode(frame), *context.encode(None)))


def decoded(image: bytes) -> Any:
    context: Any = av.CodecContext.create("png" if image.startswith(b"\x89PNG") else "mjpeg", "r")
    return (*context.decode(av.Packet(image)), *context.decode(None))[0]


EXIF = b"\xff\xe1\x00\x10Exif\0\0MM\0*\0\0\0\x08"


@pytest.mark.parametrize(
    ("image", "size"),
    [
        (picture(40, 30), (40, 30)),
        (picture(40, 30, "png", "rgb24"), (40, 30)),
        (FACE[:2] + EXIF + FACE[2:], None),
        (b"\x89PNG\r\n\x1a\n", None),
        (b"\xff\xd8\xff", None),
        (b"\xff\xd8\xff\xff\xff\xc0\0\x11\x08\0\x20\0\x30\x03", (48, 32)),  # fill bytes
        (b"\xff\xd8\xff\xda\0\x02" + bytes(40), None),
        (b"\xff\xd8\xff\xc0\0\x11\x08\0\0\0\x30\x03", None),
    ],
)
def test_the_size_is_read_from_the_head(image: bytes, size: tuple[int, int] | None) -> None:
    if size is None and image.startswith(FACE[:2] + EXIF):
        size = read_size(FACE)
    assert read_size(image) == size


@pytest.mark.parametrize(
    ("codec", "pixels", "kept"),
    [
        ("mjpeg", "yuvj420p", "yuvj420p"),
        ("png", "rgb24", "rgb24"),
        ("png", "rgba", "rgba"),
        ("png", "gray", "rgb24"),
        ("png", "ya8", "rgba"),
    ],
)
def test_an_image_is_scaled_to_fit_in_its_own_format(codec: str, pixels: str, kept: str) -> None:
    image = picture(320, 200, codec, pixels)
    scaled = scale_image(image, "a", 160)
    assert scaled[:4] == image[:4]
    assert read_size(scaled) == (160, 100)
    frame = decoded(scaled)
    assert frame.format.name == kept
    rows = frame.to_ndarray(format="gray").mean(axis=1)
    assert rows[0] < 10
    assert rows[-1] > 245


def test_a_narrow_image_keeps_a_pixel() -> None:
    assert read_size(scale_image(picture(2000, 4), "a", 100)) == (100, 1)


def test_the_orientation_of_a_photograph_is_kept() -> None:
    image = picture(320, 200)
    scaled = scale_image(image[:2] + EXIF + image[2:], "a", 160)
    assert scaled[2 : 2 + len(EXIF)] == EXIF
    assert decoded(scaled).width == 160


def png_head(width: int, height: int) -> bytes:
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (png_head(100_000, 100_000), "a has 100000 x 100000 pixels; scaled are images of up to 200000000 pixels"),
        (b"\xff\xd8\xff", "a is damaged: it has no size"),
        (png_head(4000, 4000), "a is damaged: "),
    ],
)
def test_an_image_that_cannot_be_decoded_is_refused(image: bytes, text: str) -> None:
    with pytest.raises(InputError, match=text):
        scale_image(image, "a", 3000)
