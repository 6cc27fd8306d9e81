"""Compressed audio and video: what kind of track is inside, and how long it is.

Nothing is decoded. Headers come from strangers: whatever they hold, the answer is a value or E0200.
"""

from __future__ import annotations

import math
import re
import struct
from fractions import Fraction
from io import BytesIO

from attrs import frozen
from tinytag import TinyTag

from ..reprs import safe_repr
from .faults import UNPARSED_MEDIA, PayloadError

_HEAD = 65_536  # bytes at the front in which a Matroska file or an AVI names its tracks
_MATROSKA_VIDEO = re.compile(rb"V_(?:VP8|VP9|AV1|MPEG|MPEGH|THEORA|MJPEG|UNCOMPRESSED)")
_MATROSKA_AUDIO = re.compile(rb"A_(?:OPUS|VORBIS|AAC|PCM|MPEG|FLAC|AC3)")
_MATROSKA_SCALE = re.compile(rb"\x2a\xd7\xb1([\x82-\x84])")
_MATROSKA_DURATION = re.compile(rb"\x44\x89([\x84\x88])")


@safe_repr
@frozen
class Tracks:
    """What a file holds; ``seconds`` is None where the header does not tell."""

    audio: bool
    video: bool
    seconds: Fraction | None


def read_tracks(content: bytes) -> Tracks | None:
    """Return the tracks of compressed media, or None if these bytes do not begin like any.

    Known: MP3, AAC (ADTS), Ogg, FLAC, MP4 and M4A, WebM and Matroska, AVI. Raises PayloadError E0200 for a
    file that begins like one and cannot be read on.
    """
    if content[:4] in {b"OggS", b"fLaC"} or content[:3] == b"ID3":
        return Tracks(True, False, _tagged_seconds(content))
    if len(content) > 2 and content[0] == 0xFF and content[1] & 0xE0 == 0xE0:
        is_adts = content[1] & 0xF6 == 0xF0  # MPEG audio has a layer; ADTS, which tells no length, has none
        return Tracks(True, False, None if is_adts else _tagged_seconds(content))
    if content[4:8] == b"ftyp":
        return _mp4(content)
    if content[:4] == b"\x1a\x45\xdf\xa3":
        return _matroska(content[:_HEAD])
    if content[:4] == b"RIFF" and content[8:12] == b"AVI ":
        return _avi(content[:_HEAD])
    return None


def _tagged_seconds(content: bytes) -> Fraction | None:
    try:
        seconds = TinyTag.get(file_obj=BytesIO(content), tags=False).duration
    except Exception as error:  # a parser of hostile bytes may fail in any way
        raise PayloadError("E0200", UNPARSED_MEDIA) from error
    return _sound(seconds)


def _sound(seconds: float | None) -> Fraction | None:
    """Return a length that makes sense as it is, any other as unknown."""
    if seconds is None or not math.isfinite(seconds) or seconds <= 0:
        return None
    # To the microsecond: what a header counts in samples, a float does not say exactly.
    return Fraction(seconds).limit_denominator(1_000_000) or None


def _found(*, audio: bool, video: bool, seconds: Fraction | None) -> Tracks:
    if not audio and not video:
        raise PayloadError("E0200", UNPARSED_MEDIA)
    return Tracks(audio, video, seconds)


def _mp4(content: bytes) -> Tracks:
    # A handler box names the kind of its track eight bytes after its own name.
    kinds = {content[match.end() + 8 : match.end() + 12] for match in re.finditer(rb"hdlr", content)}
    tracks = _found(audio=b"soun" in kinds, video=b"vide" in kinds, seconds=None)
    return Tracks(tracks.audio, tracks.video, _tagged_seconds(content))


def _matroska(head: bytes) -> Tracks:
    scale, seconds = 1_000_000, None  # nanoseconds in a tick
    if (found := _MATROSKA_SCALE.search(head)) and (size := found[1][0] & 0x7F):
        scale = int.from_bytes(head[found.end() : found.end() + size], "big")
    if (found := _MATROSKA_DURATION.search(head)) and len(head) >= found.end() + 8:
        layout = ">f" if found[1] == b"\x84" else ">d"
        (ticks,) = struct.unpack_from(layout, head, found.end())
        seconds = _sound(ticks * scale / 1e9)
    return _found(audio=bool(_MATROSKA_AUDIO.search(head)), video=bool(_MATROSKA_VIDEO.search(head)), seconds=seconds)


def _avi(head: bytes) -> Tracks:
    seconds = None
    place = head.find(b"avih")
    if place >= 0 and len(head) >= place + 28:
        microseconds, frames = struct.unpack_from("<I12xI", head, place + 8)
        seconds = _sound(microseconds * frames / 1e6)
    return _found(audio=b"auds" in head, video=b"vids" in head, seconds=seconds)
