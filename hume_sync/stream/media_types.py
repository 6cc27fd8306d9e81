"""What kind of media some bytes are, by their content: names of files are often wrong, and standard input has none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import attrs

from ..formats.mpegaudio import find_frames, frames_at, tag_size
from ..reprs import safe_repr
from .media import Media
from .tracks import Tracks, asf_tracks, avi_tracks, flv_tracks, matroska_tracks, mp4_tracks, ogg_tracks

__all__ = ["MediaType", "identify"]

Kind = Literal["audio", "video", "image", "container", "other"]
"""A "container" is one whose tracks cannot be found; "other" is no media."""


@safe_repr
@attrs.frozen
class MediaType:
    """A format, and what it holds."""

    name: str
    kind: Kind
    accepted: bool = False
    """Whether v0 servers are documented, or known from use, to take it."""
    silent: bool = False
    """Whether a video has no sound."""

    def __str__(self) -> str:
        """Name it as a phrase: "MP3 audio"."""
        if self.kind == "container":
            return f"{self.name} of unknown tracks"
        if self.kind == "other":
            return self.name
        return f"{self.name} image data" if self.kind == "image" else f"{self.name} {self.kind}"


_WAV: Final = MediaType("WAV", "audio", True)

_SIGNATURES: Final = (
    (b"\xff\xd8\xff", MediaType("JPEG", "image", True)),
    (b"\x89PNG\r\n\x1a\n", MediaType("PNG", "image", True)),
    (b"fLaC", MediaType("FLAC", "audio", True)),
    (b"caff\x00\x01", MediaType("CAF", "audio")),
    (b".snd\x00", MediaType("AU", "audio")),
    (b"#!AMR\n", MediaType("AMR", "audio")),
    (b"#!AMR-WB\n", MediaType("AMR-WB", "audio")),
    (b"#!AMR_MC1.0\n", MediaType("AMR", "audio")),
    (b"#!AMR-WB_MC1.0\n", MediaType("AMR-WB", "audio")),
    (b"#!SILK_V3", MediaType("SILK", "audio")),
    (b"\x02#!SILK_V3", MediaType("SILK", "audio")),
    (b"NIST_1A\n", MediaType("NIST SPHERE", "audio")),
    (b"riff\x2e\x91\xcf\x11", MediaType("Wave64", "audio")),
    (b"MThd\x00\x00", MediaType("MIDI", "audio")),
    (b"Creative Voice File\x1a", MediaType("VOC", "audio")),
    (b"\x0b\x77", MediaType("AC-3", "audio")),
    (b"\x7f\xfe\x80\x01", MediaType("DTS", "audio")),
    (b".RMF\x00", MediaType("RealMedia", "container")),
    (b".ra\xfd", MediaType("RealAudio", "audio")),
    (b"\x00\x00\x01\xba", MediaType("MPEG", "container")),
    (b"\x00\x00\x01\xb3", MediaType("MPEG", "container")),
    (b"GIF87a", MediaType("GIF", "image")),
    (b"GIF89a", MediaType("GIF", "image")),
    (b"II*\x00", MediaType("TIFF", "image")),
    (b"MM\x00*", MediaType("TIFF", "image")),
    (b"II+\x00", MediaType("TIFF", "image")),
    (b"MM\x00+", MediaType("TIFF", "image")),
    (b"8BPS\x00\x01", MediaType("Photoshop", "image")),
    (b"\xff\x0a", MediaType("JPEG XL", "image")),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", MediaType("JPEG XL", "image")),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", MediaType("JPEG 2000", "image")),
    (b"\xff\x4f\xff\x51", MediaType("JPEG 2000", "image")),
    (b"%PDF-", MediaType("a PDF document", "other")),
    (b"%!PS", MediaType("a PostScript document", "other")),
    (b"{\\rtf", MediaType("an RTF document", "other")),
    (b"PK\x03\x04", MediaType("a ZIP archive (as are docx, xlsx, odt and npz files)", "other")),
    (b"\x1f\x8b", MediaType("gzip data", "other")),
    (b"BZh91AY&SY", MediaType("bzip2 data", "other")),
    (b"\xfd7zXZ\x00", MediaType("xz data", "other")),
    (b"\x28\xb5\x2f\xfd", MediaType("zstd data", "other")),
    (b"7z\xbc\xaf\x27\x1c", MediaType("a 7-Zip archive", "other")),
    (b"Rar!\x1a\x07", MediaType("a RAR archive", "other")),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", MediaType("an old Office document", "other")),
    (b"\x93NUMPY", MediaType("a NumPy array", "other")),
    (b"\x89HDF\r\n\x1a\n", MediaType("an HDF5 file", "other")),
    (b"PAR1\x15", MediaType("a Parquet table", "other")),
    (b"SQLite format 3\x00", MediaType("an SQLite database", "other")),
    (b"bplist00", MediaType("a binary property list", "other")),
    (b"\x00\x05\x16\x07", MediaType("AppleDouble (what macOS keeps beside a file)", "other")),
    (b"\x7fELF", MediaType("a program", "other")),
)  # fmt: skip

_CONTAINERS: Final[tuple[tuple[bytes, str, bool, Callable[[memoryview], Tracks]], ...]] = (
    (b"\x1a\x45\xdf\xa3", "Matroska (WebM)", True, matroska_tracks),
    (b"OggS", "Ogg", True, ogg_tracks),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media", False, asf_tracks),
    (b"FLV\x01", "Flash", False, flv_tracks),
)

_MP4_BOXES: Final = frozenset({b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"wide", b"free", b"skip", b"pnot"})
_IMAGE_BRANDS: Final = {
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"mif2", b"msf1"), "HEIC"),
    b"crx ": "Canon raw",
}

_BMP_HEADERS: Final = frozenset({12, 16, 40, 52, 56, 64, 108, 124})


def identify(media: Media) -> MediaType | None:
    """Tell what media, or what other known file, some bytes are.

    Args:
        media: The whole of it, or as much of its beginning as there is.

    Returns:
        None for texts, and for all that has no mark of its own.
    """
    data = memoryview(media)
    return _identify(data) or _after_tags(data) or _headless(data)


def _identify(data: memoryview) -> MediaType | None:
    head = bytes(data[:32])
    for magic, found in _SIGNATURES:
        if head.startswith(magic):
            return found
    for magic, name, accepted, tracks in _CONTAINERS:
        if head.startswith(magic):
            return _by_tracks(name, accepted, tracks(data))
    if head[:4] in (b"RIFF", b"RF64", b"BW64", b"RIFX"):
        return _riff(data, head[8:12])
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return MediaType("AIFF", "audio")
    if head[4:8] in _MP4_BOXES and not head[:4].decode("latin-1").isprintable():  # a size, and no word of a text
        return _mp4(data)
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS and head[6:10] == bytes(4):
        return MediaType("BMP", "image")
    return None


def _by_tracks(name: str, accepted: bool, tracks: Tracks) -> MediaType:
    kind: Kind = "video" if "video" in tracks else "audio" if tracks else "container"
    return MediaType(name, kind, accepted, silent=tracks == {"video"})


def _riff(data: memoryview, form: bytes) -> MediaType | None:
    if form == b"WAVE":
        return _WAV
    if form == b"AVI ":
        return _by_tracks("AVI", True, avi_tracks(data))
    if form == b"WEBP":
        return MediaType("WebP", "image")
    return MediaType("MIDI", "audio") if form == b"RMID" else None


def _mp4(data: memoryview) -> MediaType:
    if bytes(data[4:8]) == b"ftyp":
        size = min(int.from_bytes(data[:4], "big"), 1024)
        brands = [bytes(data[8:12]), *(bytes(data[place : place + 4]) for place in range(16, size, 4))]
        if brands[0] in _IMAGE_BRANDS:
            name = _IMAGE_BRANDS[brands[0]]
            return MediaType("AVIF" if {b"avif", b"avis"} & set(brands) else name, "image")
        if brands[0] == b"qt  ":
            return _by_tracks("QuickTime", True, mp4_tracks(data))
    return _by_tracks("MP4", True, mp4_tracks(data))


def _after_tags(data: memoryview) -> MediaType | None:
    """Look behind ID3 tags, which stand before MP3 and, now and then, before AAC, FLAC, WAV and AIFF."""
    place = 0
    while size := tag_size(bytes(data[place : place + 10])):
        place += size
    if not place:
        return None
    rest = data[place:]
    return _identify(rest) or _headless(rest) or MediaType("MP3", "audio", True)


def _headless(data: memoryview) -> MediaType | None:
    """Look for what is known by its frames alone: MPEG audio, AAC, MPEG transport streams."""
    for size in (188, 192):  # the longer ones have a time stamp in front
        packets = bytes(data[: 5 * size])
        if packets[size - 188 :: size] == b"GGGGG" and not packets.isascii():
            return MediaType("MPEG-TS", "container")
    name = frames_at(data, 0) or find_frames(data)
    return MediaType(name, "audio", True) if name else None
