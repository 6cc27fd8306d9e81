"""The kinds of tracks in a container: whether it holds sound, moving pictures, or both.

Only structure is read, nothing is decoded. The bytes may be the beginning of a file, or damaged: a container whose
tracks cannot be found has none, and no input makes a reader fail.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

__all__ = ["Tracks", "asf_tracks", "avi_tracks", "flv_tracks", "matroska_tracks", "mp4_tracks", "ogg_tracks"]

Tracks = frozenset[str]
"""Of "audio" and "video"."""

_MAX_ITEMS = 100_000
"""Boxes, elements or pages that are looked at in one file."""


def mp4_tracks(data: memoryview) -> Tracks:
    """Read the handlers of the tracks of an MP4, QuickTime or 3GP file.

    Video that is the chapter list of another track does not count: podcasts hold pictures that way.
    """
    kinds: dict[int, str] = {}
    chapters: set[int] = set()
    for movie in _boxes(data, b"moov"):
        for number, track in enumerate(_boxes(movie, b"trak")):
            identity = -number  # where no header names it
            for head in _boxes(track, b"tkhd"):
                place = 20 if bytes(head[:1]) == b"\x01" else 12
                if len(head) >= place + 4:
                    identity = int.from_bytes(head[place : place + 4], "big")
            for media in _boxes(track, b"mdia"):
                for handler in _boxes(media, b"hdlr"):
                    kinds[identity] = {b"soun": "audio", b"vide": "video"}.get(bytes(handler[8:12]), "")
            for references in _boxes(track, b"tref"):
                for chapter in _boxes(references, b"chap"):
                    chapters.update(value for (value,) in struct.iter_unpack(">I", chapter[: len(chapter) // 4 * 4]))
    return _of(kind for identity, kind in kinds.items() if identity not in chapters)


def _boxes(data: memoryview, name: bytes) -> Iterator[memoryview]:
    """Yield the bodies of all boxes of one name, not of those inside others."""
    place = 0
    for _ in range(_MAX_ITEMS):
        if place + 8 > len(data):
            return
        size, found = struct.unpack_from(">I4s", data, place)
        head = 8
        if size == 1 and place + 16 <= len(data):  # the size is in the eight bytes behind the name
            (size,) = struct.unpack_from(">Q", data, place + 8)
            head = 16
        elif size == 0:  # to the end of the file
            size = len(data) - place
        if size < head:
            return
        if found == name:
            yield data[place + head : place + size]
        place += size


def matroska_tracks(data: memoryview) -> Tracks:
    """Read the track types of a Matroska or WebM file, also of one that was recorded live (no sizes)."""
    kinds = []
    for segment in _elements(data, 0x18538067):
        for tracks in _elements(segment, 0x1654AE6B):
            for entry in _elements(tracks, 0xAE):
                kinds += [{1: "video", 2: "audio"}.get(kind[-1], "") for kind in _elements(entry, 0x83) if kind]
            return _of(kinds)
    return frozenset()


def _elements(data: memoryview, name: int) -> Iterator[memoryview]:
    """Yield the bodies of all elements of one name. What is in an element without size counts as beside it."""
    place = 0
    for _ in range(_MAX_ITEMS):
        found, place = _variable(data, place, marker=True)
        size, place = _variable(data, place, marker=False)
        if found is None:
            return
        if found == name:
            yield data[place:] if size is None else data[place : place + size]
        place += size or 0


def _variable(data: memoryview, place: int, *, marker: bool) -> tuple[int | None, int]:
    """Read a number of EBML; None where there is none, or it stands for an unknown size."""
    first = data[place] if place < len(data) else 0
    length = 9 - first.bit_length()
    if first == 0 or place + length > len(data):
        return None, len(data)
    number = int.from_bytes(data[place : place + length], "big")
    if marker:
        return number, place + length
    unknown = (1 << 7 * length) - 1
    number &= unknown
    return None if number == unknown else number, place + length


_OGG_CODECS = {
    b"\x01vorbis": "audio",
    b"OpusHead": "audio",
    b"Speex   ": "audio",
    b"\x7fFLAC": "audio",
    b"fLaC": "audio",
    b"PCM     ": "audio",
    b"\x01audio": "audio",
    b"\x80theora": "video",
    b"BBCD": "video",
    b"OVP80": "video",
    b"\x01video": "video",
}


def ogg_tracks(data: memoryview) -> Tracks:
    """Read what codecs the streams at the beginning of an Ogg file name."""
    kinds = []
    place = 0
    while (
        place + 27 <= len(data) and bytes(data[place : place + 4]) == b"OggS" and data[place + 5] & 2
    ):  # begins a stream
        body = place + 27 + data[place + 26]
        packet = bytes(data[body : body + 8])
        kinds += [kind for magic, kind in _OGG_CODECS.items() if packet.startswith(magic)]
        place = body + sum(data[place + 27 : body])
    return _of(kinds)


_ASF_STREAM = bytes.fromhex("9107dcb7b7a9cf118ee600c00c205365")
_ASF_KINDS = {
    bytes.fromhex("409e69f84d5bcf11a8fd00805f5c442b"): "audio",
    bytes.fromhex("c0ef19bc4d5bcf11a8fd00805f5c442b"): "video",
}


def asf_tracks(data: memoryview) -> Tracks:
    """Read the stream properties of a Windows Media file."""
    kinds = []
    place = 30  # the objects inside the header object
    while place + 24 <= len(data):
        (size,) = struct.unpack_from("<Q", data, place + 16)
        if size < 24:
            break
        if data[place : place + 16] == _ASF_STREAM:
            kinds.append(_ASF_KINDS.get(bytes(data[place + 24 : place + 40]), ""))
        place += size
    return _of(kinds)


def avi_tracks(data: memoryview) -> Tracks:
    """Read the stream headers of an AVI file."""
    kinds = []
    for headers in _lists(data[12:], b"hdrl"):
        for stream in _lists(headers, b"strl"):
            kinds.append({b"auds": "audio", b"vids": "video"}.get(bytes(stream[8:12]), ""))  # its head comes first
    return _of(kinds)


def _lists(data: memoryview, name: bytes) -> Iterator[memoryview]:
    """Yield the bodies of all lists of one name."""
    place = 0
    while place + 12 <= len(data):
        found, size = struct.unpack_from("<4sI", data, place)
        if found == b"LIST" and data[place + 8 : place + 12] == name:
            yield data[place + 12 : place + 8 + size]
        place += 8 + size + size % 2


def flv_tracks(data: memoryview) -> Tracks:
    """Read the flags of a Flash video."""
    flags = data[4] if len(data) > 4 else 0
    return _of((["audio"] if flags & 4 else []) + (["video"] if flags & 1 else []))


def _of(kinds: Iterable[str]) -> Tracks:
    return frozenset({"audio", "video"}.intersection(kinds))
