from __future__ import annotations

import io
import struct
import zlib

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hume_sync.stream.media_types import identify

from ..audiofiles import chunk, encoded, fmt, riff
from .support import FACE, SPEECH

# --- containers, by their tracks


@pytest.mark.parametrize("video", [False, True], ids=["audio", "video"])
@pytest.mark.parametrize(
    ("container", "codec", "name", "accepted"),
    [
        ("mp4", "aac", "MP4", True),
        ("3gp", "aac", "MP4", True),
        ("mov", "pcm_s16le", "QuickTime", True),
        ("matroska", "libopus", "Matroska (WebM)", True),
        ("avi", "libmp3lame", "AVI", True),
        ("asf", "wmav2", "Windows Media", False),
    ],
)
def test_a_container_is_what_its_tracks_are(container: str, codec: str, name: str, accepted: bool, video: bool) -> None:
    data = encoded(container, codec, 1.0, video=video)
    found = identify(data)
    assert found
    assert (found.name, found.kind, found.accepted) == (name, "video" if video else "audio", accepted)
    assert not found.silent
    with av.open(io.BytesIO(data)) as opened:  # another reader sees the same
        assert bool(opened.streams.video) is video


@pytest.mark.parametrize(
    ("container", "codec", "options"),
    [
        ("ipod", "aac", ()),
        ("mp4", "aac", (("movflags", "frag_keyframe+empty_moov"),)),
        ("webm", "libopus", ()),
        ("webm", "libopus", (("live", "1"),)),
        ("ogg", "libopus", ()),
        ("ogg", "flac", ()),
    ],
)
def test_audio_alone_is_audio_however_its_container_was_written(
    container: str, codec: str, options: tuple[tuple[str, str], ...]
) -> None:
    found = identify(encoded(container, codec, 1.0, rate=48_000, options=options))
    assert found
    assert found.kind == "audio"


def test_a_recording_without_sizes_is_known_by_its_tracks() -> None:
    found = identify(encoded("matroska", "libopus", 1.0, rate=48_000, pipe=True, video=True))
    assert found
    assert found.kind == "video"


def box(name: bytes, *bodies: bytes, size: int | None = None) -> bytes:
    body = b"".join(bodies)
    return struct.pack(">I4s", len(body) + 8 if size is None else size, name) + body


def large_box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I4sQ", 1, name, len(body) + 16) + body


def track(kind: bytes, number: int, *more: bytes) -> bytes:
    head = box(b"tkhd", bytes(12), struct.pack(">I", number), bytes(68))
    return box(b"trak", head, *more, box(b"mdia", box(b"hdlr", bytes(8), kind, bytes(13))))


FTYP = box(b"ftyp", b"M4A \0\0\0\0M4A mp42")


@pytest.mark.parametrize(
    ("movie", "kind", "silent"),
    [
        (box(b"moov", track(b"soun", 1)), "audio", False),
        (box(b"moov", track(b"vide", 1)), "video", True),
        (box(b"moov", track(b"soun", 1), track(b"vide", 2)), "video", False),
        (box(b"moov", track(b"soun", 1), track(b"text", 2)), "audio", False),
        # a podcast: pictures for its chapters
        (box(b"moov", track(b"soun", 1, box(b"tref", box(b"chap", b"\0\0\0\2"))), track(b"vide", 2)), "audio", False),
        (box(b"moov", track(b"soun", 1), size=0), "audio", False),  # to the end
        (large_box(b"mdat", bytes(1000)) + box(b"moov", track(b"soun", 1)), "audio", False),
        (large_box(b"moov", track(b"soun", 1)), "audio", False),
        (box(b"mdat", bytes(1000)), "container", False),  # cut short
        (box(b"moov", box(b"trak", b"")), "container", False),
        (box(b"moov", size=4), "container", False),
    ],
)  # fmt: skip
def test_the_handlers_of_an_mp4_say_what_is_in_it(movie: bytes, kind: str, silent: bool) -> None:
    found = identify(FTYP + movie)
    assert found
    assert (found.name, found.kind, found.silent) == ("MP4", kind, silent)


def test_a_quicktime_file_without_a_type_is_known() -> None:
    found = identify(box(b"wide") + box(b"mdat", b"x" * 99) + box(b"moov", track(b"vide", 1)))
    assert str(found) == "MP4 video"


@pytest.mark.parametrize(
    ("packets", "kind"),
    [
        ([b"OpusHead"], "audio"),
        ([b"\x01vorbis"], "audio"),
        ([b"Speex   "], "audio"),
        ([b"\x7fFLAC"], "audio"),
        ([b"\x80theora", b"\x01vorbis"], "video"),
        ([b"fishead\0", b"OpusHead"], "audio"),
        ([b"unheard"], "container"),
    ],
)
def test_the_first_pages_of_an_ogg_file_say_what_is_in_it(packets: list[bytes], kind: str) -> None:
    pages = b"".join(b"OggS\0\x02" + bytes(20) + bytes([1, len(body)]) + body for body in packets)
    found = identify(pages + b"OggS\0\0" + bytes(100))
    assert found
    assert found.kind == kind


# --- signatures


def png() -> bytes:
    head = b"IHDR" + struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (FACE, "JPEG image data"),
        (png(), "PNG image data"),
        (b"GIF89a\x01\0\x01\0", "GIF image data"),
        (b"BM" + struct.pack("<IIII", 70, 0, 54, 40) + bytes(50), "BMP image data"),
        (b"II*\0\x08\0\0\0", "TIFF image data"),
        (b"MM\0*\0\0\0\x08", "TIFF image data"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "WebP image data"),
        (box(b"ftyp", b"heic\0\0\0\0mif1heic"), "HEIC image data"),
        (box(b"ftyp", b"mif1\0\0\0\0mif1heic"), "HEIC image data"),
        (box(b"ftyp", b"mif1\0\0\0\0mif1avif"), "AVIF image data"),
        (box(b"ftyp", b"avif\0\0\0\0mif1avif"), "AVIF image data"),
        (SPEECH, "WAV audio"),
        (riff(chunk(b"fmt ", fmt()), head=b"RF64"), "WAV audio"),
        (riff(chunk(b"fmt ", fmt()), head=b"BW64"), "WAV audio"),
        (riff(chunk(b"fmt ", fmt(), order=">"), head=b"RIFX", order=">"), "WAV audio"),
        (b"#!AMR\n\x3c\x91", "AMR audio"),
        (b"#!AMR-WB\n\x3c\x91", "AMR-WB audio"),
        (b"NIST_1A\n   1024\n", "NIST SPHERE audio"),
        (b"MThd\0\0\0\x06", "MIDI audio"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"PK\x03\x04\x14\0", "a ZIP archive (as are docx, xlsx, odt and npz files)"),
        (b"\x93NUMPY\x01\0", "a NumPy array"),
        (b"\x00\x05\x16\x07\x00\x02", "AppleDouble (what macOS keeps beside a file)"),
        (b"SQLite format 3\0", "an SQLite database"),
        (b"".join(b"G\x40\x00" + b"\xff" * 185 for _ in range(5)), "MPEG-TS of unknown tracks"),
        (b"".join(bytes(4) + b"G\x40\x00" + b"\xff" * 185 for _ in range(5)), "MPEG-TS of unknown tracks"),
    ],
)
def test_formats_are_known_by_their_marks(data: bytes, name: str) -> None:
    assert str(identify(data)) == name
    assert str(identify(bytearray(data))) == name


@pytest.mark.parametrize(
    ("container", "codec", "name"),
    [
        ("aiff", "pcm_s16be", "AIFF audio"),
        ("caf", "pcm_s16be", "CAF audio"),
        ("au", "pcm_s16be", "AU audio"),
        ("w64", "pcm_s16le", "Wave64 audio"),
        ("flac", "flac", "FLAC audio"),
        ("adts", "aac", "AAC audio"),
        ("mp3", "libmp3lame", "MP3 audio"),
        ("mp2", "mp2", "MP2 audio"),
        ("ac3", "ac3", "AC-3 audio"),
    ],
)  # fmt: skip
def test_audio_files_of_an_encoder_are_known(container: str, codec: str, name: str) -> None:
    rate = 48_000 if codec == "ac3" else 16_000
    assert str(identify(encoded(container, codec, 1.0, rate=rate))) == name


# --- MPEG audio

FRAMES = [
    # name, header, bytes of a frame; ISO 11172-3 and 13818-3, and what is called MPEG 2.5
    ("MP3", "fffb90", 417),  # 1: 128 kbit/s, 44.1 kHz
    ("MP3", "fffa90", 417),  # with CRC
    ("MP3", "fffb92", 418),  # padded
    ("MP3", "fff380", 208),  # 2: 64 kbit/s, 22.05 kHz
    ("MP3", "fff280", 208),
    ("MP3", "ffe340", 208),  # 2.5: 32 kbit/s, 11.025 kHz
    ("MP3", "ffe240", 208),
    ("MP3", "ffe348", 288),  # 8 kHz
    ("MP2", "fffd84", 384),  # 128 kbit/s, 48 kHz
    ("MP2", "fffc84", 384),
    ("MP2", "fff584", 384),  # 64 kbit/s, 24 kHz
    ("MP1", "ffff48", 192),  # 128 kbit/s, 32 kHz
    ("MP1", "fffe48", 192),
    ("MP1", "fff748", 192),  # 64 kbit/s, 16 kHz
]


def frames(header: str, size: int, count: int) -> bytes:
    return (bytes.fromhex(header) + bytes(size - 3)) * count


@pytest.mark.parametrize(("name", "header", "size"), FRAMES)
def test_mpeg_audio_of_every_version_and_layer_is_known(name: str, header: str, size: int) -> None:
    expected = f"{name} audio"
    assert str(identify(frames(header, size, 3))) == expected
    assert str(identify(b"x" * 1000 + bytes(999) + b"\xff\xe3" + frames(header, size, 4))) == expected  # junk before
    tag = b"ID3\x04\0\0" + bytes([0, 0, 2, 100]) + bytes(356)
    assert str(identify(tag + tag + bytes(77) + frames(header, size, 3))) == expected
    wrong = frames(header, size, 1) + b"\0" + frames(header, size, 1) + b"\0"
    assert identify(wrong) is None


def test_a_few_frames_are_enough_where_nothing_else_follows() -> None:
    assert str(identify(frames("fffb90", 417, 1))) == "MP3 audio"
    assert str(identify(frames("fffb90", 417, 1) + b"TAG" + bytes(125))) == "MP3 audio"
    assert str(identify(frames("fffb90", 417, 2)[:-100])) == "MP3 audio"
    assert identify(frames("fffb90", 417, 1)[:-100]) is None


@pytest.mark.parametrize(
    ("behind", "name"),
    [
        (b"fLaC\0\0\0\x22", "FLAC audio"),
        (SPEECH, "WAV audio"),
        (b"FORM\0\0\1\0AIFFCOMM", "AIFF audio"),
        (b"", "MP3 audio"),
    ],
)
def test_what_follows_a_tag_counts(behind: bytes, name: str) -> None:
    assert str(identify(b"ID3\x03\0\0\0\0\0\x0a" + bytes(10) + behind)) == name
    assert str(identify(b"ID3\x04\0\x10\0\0\0\x0a" + bytes(10) + b"3DI\x04\0\x10\0\0\0\x0a" + behind)) == name


# --- what is none of it


@pytest.mark.parametrize(
    "text",
    [
        "ID3 tags are a nuisance", "caffeine, please", "MAC address", "The ftyp box", "Set free at last",
        "BM is a sign", "RIFF raff", "GG", "FORM and content", "TAGged", "moov", "MThd", "II* and MM*",
        "dns.example", ".sndx",
    ],
)  # fmt: skip
def test_a_text_is_no_media_even_if_its_first_word_looks_like_it(text: str) -> None:
    assert identify(text.encode()) is None
    assert identify((text + " " + "G" * 2000).encode()) is None


@pytest.mark.parametrize("codec", ["utf-16", "utf-32", "utf-16-le", "utf-8-sig"])
def test_a_text_is_no_media_in_any_encoding(codec: str) -> None:
    for length in range(1, 400):
        assert identify(("What a day! " * 40)[:length].encode(codec)) is None


SAMPLES = [
    encoded("mp4", "aac", 1.0, video=True),
    encoded("matroska", "libopus", 1.0, video=True),
    encoded("asf", "wmav2", 1.0),
    encoded("avi", "libmp3lame", 1.0),
    encoded("ogg", "libopus", 1.0),
    encoded("mp3", "libmp3lame", 1.0),
]


@given(st.sampled_from(SAMPLES), st.data())
def test_damaged_files_do_no_harm(sample: bytes, data: st.DataObject) -> None:
    damaged = bytearray(sample)
    for _ in range(data.draw(st.integers(0, 20))):
        damaged[data.draw(st.integers(0, min(len(sample), 2000) - 1))] = data.draw(st.integers(0, 255))
    identify(damaged[: data.draw(st.integers(0, len(damaged)))])


@given(
    st.binary(max_size=200), st.sampled_from([FTYP, b"\x1a\x45\xdf\xa3", b"OggS\0\2", b"RIFF\0\0\0\0AVI ", b"ID3\3"])
)
def test_bytes_behind_a_mark_do_no_harm(data: bytes, mark: bytes) -> None:
    identify(mark + data)
