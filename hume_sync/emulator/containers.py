"""The tracks of compressed audio and video files.

Headers are untrusted: for any bytes, the result is a value or the error E0200.
"""

from __future__ import annotations

import re

from attrs import frozen

from ..reprs import safe_repr
from .faults import UNPARSED_MEDIA, PayloadError

_HEAD = 65_536  # bytes at the start in which a Matroska or AVI file names its tracks
_MATROSKA_VIDEO = re.compile(rb"V_(?:VP8|VP9|AV1|MPEG|MPEGH|THEORA|MJPEG|UNCOMPRESSED)")
_MATROSKA_AUDIO = re.compile(rb"A_(?:OPUS|VORBIS|AAC|PCM|MPEG|FLAC|AC3)")


@safe_repr
@frozen
class Tracks:
    """Which tracks a file has."""

    audio: bool
    video: bool


def read_tracks(content: bytes) -> Tracks | None:
    """Return the tracks of compressed media, or None for an unknown format.

    Known formats are MP3, AAC (ADTS), Ogg, FLAC, MP4 and M4A, WebM and Matroska, and AVI.

    Raises:
        PayloadError: The file starts like one of them but names no track (E0200).
    """
    if content[:4] in {b"OggS", b"fLaC"} or content[:3] == b"ID3":
        return Tracks(audio=True, video=False)
    if len(content) > 2 and content[0] == 0xFF and content[1] & 0xE0 == 0xE0:  # MPEG audio, or AAC in ADTS
        return Tracks(audio=True, video=False)
    if content[4:8] == b"ftyp":
        return _mp4(content)
    if content[:4] == b"\x1a\x45\xdf\xa3":
        return _matroska(content[:_HEAD])
    if content[:4] == b"RIFF" and content[8:12] == b"AVI ":
        return _avi(content[:_HEAD])
    return None


def _found(*, audio: bool, video: bool) -> Tracks:
    if not audio and not video:
        raise PayloadError("E0200", UNPARSED_MEDIA)
    return Tracks(audio, video)


def _mp4(content: bytes) -> Tracks:
    # A handler box ("hdlr") holds the kind of its track eight bytes after its name.
    kinds = {content[match.end() + 8 : match.end() + 12] for match in re.finditer(rb"hdlr", content)}
    return _found(audio=b"soun" in kinds, video=b"vide" in kinds)


def _matroska(head: bytes) -> Tracks:
    return _found(audio=bool(_MATROSKA_AUDIO.search(head)), video=bool(_MATROSKA_VIDEO.search(head)))


def _avi(head: bytes) -> Tracks:
    return _found(audio=b"auds" in head, video=b"vids" in head)
