from __future__ import annotations

import pytest

from hume_sync.emulator.faults import PayloadError
from hume_sync.emulator.images import image_size

from .support import jpeg, png


@pytest.mark.parametrize(
    "content",
    [
        png(320, 200),
        jpeg(320, 200),
        jpeg(320, 200, marker=0xC2),
        jpeg(320, 200, before=b"\xff\xd0\xff\xff\xc4\x00\x03x"),
        jpeg(320, 200, before=b"\xff\xfe\x00\x0acomment!"),
    ],
    ids=["png", "jpeg", "progressive", "bare marker, fill byte, table", "comment"],
)
def test_the_size_is_read_from_the_header(content: bytes) -> None:
    assert image_size(content) == (320, 200)


@pytest.mark.parametrize(
    "content",
    [
        png()[:20],
        png().replace(b"IHDR", b"IDAT"),
        png(0, 10),
        jpeg()[:12],
        jpeg(10, 0),
        jpeg(before=b"\xff\xda\x00\x02"),
        jpeg(before=b"garbage, no marker"),
        b"\xff\xd8\xff",
    ],
)
def test_an_image_without_a_sound_header_is_refused_with_e0200(content: bytes) -> None:
    with pytest.raises(PayloadError, match="E0200"):
        image_size(content)
