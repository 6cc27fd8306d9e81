from __future__ import annotations

import io
import struct
import tracemalloc
import wave
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hume_sync import InputError
from hume_sync.stream.media import read_media
from hume_sync.stream.wav import Rereadable, Wav, WavStream
from tests.audiofiles import chunk, decoded_seconds, encoded, extensible, fmt, noise, riff

from .support import SPEECH


def wav(frames: int = 1000, *, rate: int = 8000, channels: int = 1, width: int = 2) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((channels, width, rate, 0, "NONE", ""))
        writer.writeframes(bytes(i % 251 for i in range(frames * channels * width)))
    return file.getvalue()


def samples(data: bytes) -> bytes:
    with wave.open(io.BytesIO(data)) as reader:
        frames: bytes = reader.readframes(reader.getnframes())
        return frames


@pytest.mark.parametrize(("channels", "width"), [(1, 1), (1, 2), (2, 2), (1, 3), (2, 4)])
def test_the_length_is_exact_to_the_sample(channels: int, width: int) -> None:
    parsed = Wav.parse(wav(12345, rate=16000, channels=channels, width=width))
    assert parsed
    assert parsed.seconds == 12345 / 16000
    assert (parsed.sample_rate, parsed.frame_size) == (16000, channels * width)


@given(frames=st.integers(1, 3000), step=st.integers(1, 3000), width=st.sampled_from([1, 2, 3]))
def test_pieces_are_files_of_at_most_that_length_and_lose_nothing(frames: int, step: int, width: int) -> None:
    whole = wav(frames, width=width)
    parsed = Wav.parse(whole)
    assert parsed
    pieces = list(parsed.cut(step / 8000))
    assert b"".join(map(samples, pieces)) == samples(whole)
    lengths = [piece.seconds for data in pieces if (piece := Wav.parse(data))]
    assert len(lengths) == len(pieces)
    assert all(length <= step / 8000 for length in lengths)
    assert set(lengths[:-1]) <= {step / 8000}


def test_real_speech_is_cut_into_payloads_a_server_takes() -> None:
    parsed = Wav.parse(SPEECH)
    assert parsed
    assert [piece.seconds for data in parsed.cut(5.0) if (piece := Wav.parse(data))] == [5.0, 5.0, 0.3788125]


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 10**9])
def test_a_size_that_cannot_be_means_to_the_end(size: int) -> None:
    data = bytearray(wav(1000))
    data[40:44] = struct.pack("<I", size)
    parsed = Wav.parse(data)
    assert parsed
    assert parsed.seconds == 1000 / 8000


def test_chunks_before_and_after_the_samples_are_passed_over() -> None:
    plain = wav(1000)
    extra = plain[:12] + b"LIST" + struct.pack("<I", 3) + b"abc\0" + plain[12:] + b"junk" + struct.pack("<I", 2) + b"xy"
    parsed = Wav.parse(extra)
    assert parsed
    assert parsed.seconds == 1000 / 8000


def test_a_frame_cut_short_at_the_end_does_not_count() -> None:
    parsed = Wav.parse(wav(10)[:-1])
    assert parsed
    assert parsed.seconds == 9 / 8000


BYTES = noise(24_000)
LIST = chunk(b"LIST", b"INFOISFT\x0b\0\0\0a recorder\0\0")


def sounding(form: bytes, *, samples: bytes = BYTES, size: int | None = None) -> bytes:
    return riff(chunk(b"fmt ", form), chunk(b"data", samples, size))


def large(*chunks: bytes, size: int = len(BYTES), head: bytes = b"RF64") -> bytes:
    ds64 = chunk(b"ds64", struct.pack("<QQQI", 0, size, 0, 0))
    return riff(ds64, chunk(b"fmt ", fmt()), *chunks, head=head, size=0xFFFFFFFF)


def blocks(count: int, head: bytes, size: int) -> bytes:
    return b"".join(head + noise(size) for _ in range(count))


UNSIZED = chunk(b"data", BYTES, 0xFFFFFFFF)
MS = struct.pack("<HH", 2, 500)
BIG = chunk(b"fmt ", fmt(order=">"), order=">"), chunk(b"data", BYTES, order=">")
MS_BLOCKS = blocks(40, b"\1\x10\0\0\0\0\0", 249)
IMA_BLOCKS = blocks(40, bytes(4), 252)

FORMATS = {
    "8 bits": sounding(fmt(bits=8)),
    "12 bits in 16": sounding(fmt(bits=12)),
    "16 bits": sounding(fmt()),
    "20 bits in 24": sounding(fmt(bits=20)),
    "24 bits": sounding(fmt(bits=24)),
    "24 bits in 32": sounding(fmt(bits=24, align=4)),
    "32 bits": sounding(fmt(bits=32)),
    "64 bits": sounding(fmt(bits=64)),
    "floats": sounding(fmt(3, bits=32), samples=struct.pack("<6000f", *(i % 7 / 9 for i in range(6000)))),
    "large floats": sounding(fmt(3, bits=64), samples=struct.pack("<3000d", *(i % 7 / 9 for i in range(3000)))),
    "stereo": sounding(fmt(channels=2)),
    "A-law": sounding(fmt(6, bits=8)),
    "mu-law": sounding(fmt(7, bits=8)),
    "mu-law, said to have 16 bits": sounding(fmt(7, bits=16, align=1)),
    "mu-law, stereo": sounding(fmt(7, channels=2, bits=8)),
    "MS ADPCM": sounding(fmt(2, rate=8000, bits=4, align=256, extra=MS), samples=MS_BLOCKS),
    "MS ADPCM cut off": sounding(fmt(2, rate=8000, bits=4, align=256, extra=MS), samples=MS_BLOCKS[:-100]),
    "MS ADPCM cut off in a head": sounding(fmt(2, rate=8000, bits=4, align=256, extra=MS), samples=MS_BLOCKS[:-253]),
    "IMA ADPCM": sounding(fmt(17, rate=8000, bits=4, align=256, extra=MS), samples=IMA_BLOCKS),
    "IMA ADPCM cut off": sounding(fmt(17, rate=8000, bits=4, align=256, extra=MS), samples=IMA_BLOCKS[:-100]),
    "IMA ADPCM cut off in a head": sounding(fmt(17, rate=8000, bits=4, align=256), samples=IMA_BLOCKS[:-253]),
    "Yamaha ADPCM": sounding(fmt(32, rate=8000, bits=4, align=256), samples=noise(10_000)),
    "Yamaha ADPCM, stereo": sounding(fmt(32, rate=8000, channels=2, bits=4, align=256), samples=noise(10_001)),
    "GSM 6.10": sounding(fmt(49, rate=8000, bits=0, align=65, extra=b"\2\0\x40\1"), samples=bytes(65 * 80)),
    "extensible": sounding(fmt(0xFFFE, extra=extensible(1, 16))),
    "extensible, 20 bits in 24": sounding(fmt(0xFFFE, bits=24, extra=extensible(1, 20))),
    "extensible, 24 bits in 32": sounding(fmt(0xFFFE, bits=32, extra=extensible(1, 24))),
    "extensible, valid bits not given": sounding(fmt(0xFFFE, bits=32, extra=extensible(1, 0))),
    "extensible floats": sounding(fmt(0xFFFE, bits=32, extra=extensible(3, 32)), samples=bytes(24_000)),
    "extensible mu-law": sounding(fmt(0xFFFE, bits=8, extra=extensible(7, 8))),
    "block size 0": sounding(fmt(align=0, byte_rate=32_000)),
    "block size and byte rate 0": sounding(fmt(align=0, byte_rate=0)),
    "block size wrong": sounding(fmt(channels=2, align=2, byte_rate=64_000)),
    "byte rate wrong": sounding(fmt(byte_rate=1)),
    "RIFX": riff(*BIG, head=b"RIFX", order=">"),
    "RF64": large(UNSIZED),
    "RF64 with a chunk behind": large(UNSIZED, LIST),
    "RF64 cut off": large(UNSIZED, size=10**12),
    "BW64 with a chunk behind": large(UNSIZED, LIST, head=b"BW64"),
    "a chunk behind": riff(chunk(b"fmt ", fmt()), chunk(b"data", BYTES), LIST),
    "an odd chunk in front": riff(chunk(b"bext", bytes(603)), chunk(b"fmt ", fmt()), chunk(b"data", BYTES)),
    "samples of an odd size": riff(chunk(b"fmt ", fmt(bits=8)), chunk(b"data", BYTES[:-1]), LIST),
    "another file joined on": sounding(fmt()) * 2,
    "size 0, from a pipe": sounding(fmt(), size=0),
    "size 0xFFFFFFFF, from a pipe": sounding(fmt(), size=0xFFFFFFFF),
    "size beyond the end": sounding(fmt(), size=10**9),
    "size below": sounding(fmt(), size=16_000),
}

SEEKABLE = {"samples in front of the format": riff(chunk(b"data", BYTES), chunk(b"fmt ", fmt()))}


@pytest.mark.parametrize("name", [*FORMATS, *SEEKABLE])
def test_the_length_is_what_a_decoder_makes_of_it(name: str) -> None:
    data = {**FORMATS, **SEEKABLE}[name]
    parsed = Wav.parse(data)
    assert parsed
    assert parsed.seconds == pytest.approx(decoded_seconds(data), abs=1e-9)


@pytest.mark.parametrize("name", [*FORMATS, *SEEKABLE])
def test_pieces_are_files_that_decode_to_their_length_and_together_hold_all_samples(name: str) -> None:
    data = {**FORMATS, **SEEKABLE}[name]
    parsed = Wav.parse(data)
    assert parsed
    pieces = [piece for piece in map(Wav.parse, parsed.cut(0.3)) if piece]
    decoded = [decoded_seconds(piece) for piece in parsed.cut(0.3)]
    assert [piece.seconds for piece in pieces] == pytest.approx(decoded, abs=1e-9)
    assert sum(decoded) == pytest.approx(decoded_seconds(data), abs=1e-9)
    assert max(decoded) <= 0.3
    assert b"".join(bytes(piece.samples) for piece in pieces) == bytes(parsed.samples)


UNCLEAR = {
    "nothing": b"",
    "the first word": b"RIFF",
    "a JPEG": b"\xff\xd8\xff\xe0 a JPEG",
    "an AVI": b"RIFF\0\0\0\0AVI LIST",
    "cut in the format": wav(10)[:30],
    "cut behind the format": wav(10)[:40],
    "no format": wav(10).replace(b"fmt ", b"tmf "),
    "a byte order mark in front": b"\xef\xbb\xbf" + wav(10),
    "MP3": sounding(fmt(0x55, bits=0, align=1)),
    "no channels": sounding(fmt(channels=0, align=2)),
    "no rate": sounding(fmt(rate=0)),
    "no bits": sounding(fmt(bits=0, align=2)),
    "40 bits": sounding(fmt(bits=40)),
    "floats of 16 bits": sounding(fmt(3, bits=16)),
    "samples of 16 bits, four bytes of each": sounding(fmt(align=4)),
    "mu-law, two bytes of each": sounding(fmt(7, bits=16)),
    "ADPCM without blocks": sounding(fmt(2, bits=4, align=0)),
    "IMA ADPCM of 3 bits": sounding(fmt(17, bits=3, align=256)),
    "Yamaha ADPCM without blocks": sounding(fmt(32, bits=4, align=0)),
    "Yamaha ADPCM of 8 bits": sounding(fmt(32, bits=8, align=256)),
    "Yamaha ADPCM of three channels": sounding(fmt(32, channels=3, bits=4, align=256)),
    "ADPCM, big-endian": riff(
        chunk(b"fmt ", fmt(17, bits=4, align=256, order=">"), order=">"), head=b"RIFX", order=">"
    ),
    "16 valid bits in 32": sounding(fmt(0xFFFE, bits=32, extra=extensible(1, 16))),
    "a foreign sub-format": sounding(fmt(0xFFFE, extra=extensible(1, 16, tail="00" * 14))),
    "extensible without an extension": sounding(fmt(0xFFFE, extra=b"\0\0")),
    "samples twice": riff(chunk(b"fmt ", fmt()), chunk(b"data", BYTES), chunk(b"data", BYTES)),
    "no samples, or chunks as samples": riff(chunk(b"fmt ", fmt()), chunk(b"data", b""), LIST),
    "an odd chunk without padding": riff(b"bext\3\0\0\0abc", chunk(b"fmt ", fmt()), chunk(b"data", BYTES)),
    "RF64 without ds64": riff(chunk(b"fmt ", fmt()), UNSIZED, head=b"RF64"),
    "RF64 of no size": large(UNSIZED, size=0),
    "RF64 of an impossible size": large(UNSIZED, size=2**64 - 1),
    "RF64 of two sizes": large(chunk(b"data", BYTES), size=16_000),
    "ds64 in RIFF": riff(chunk(b"ds64", struct.pack("<QQQI", 0, 16_000, 0, 0)), chunk(b"fmt ", fmt()), UNSIZED, LIST),
    "thousands of chunks": riff(*[chunk(b"JUNK", b"")] * 5000, chunk(b"fmt ", fmt()), chunk(b"data", BYTES)),
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_what_decoders_do_not_agree_upon_is_no_wav(name: str) -> None:
    assert Wav.parse(UNCLEAR[name]) is None
    file = io.BytesIO(b"in front" + UNCLEAR[name])
    file.seek(8)
    assert WavStream.open(file) is None
    assert file.tell() == 8


class Pipe:
    """Reads forwards only, and never as much as it is asked for."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int) -> bytes:
        return self._file.read(min(size, 1000))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kind", [io.BytesIO, Pipe, lambda data: Rereadable(Pipe(data))], ids=["file", "pipe", "again"])
def test_pieces_cut_while_a_file_is_read_are_those_cut_in_memory(kind: Callable[[bytes], Any], name: str) -> None:
    stream, parsed = WavStream.open(kind(FORMATS[name])), Wav.parse(FORMATS[name])
    assert stream
    assert parsed
    assert stream.format == parsed.format
    assert list(stream.cut(0.3)) == list(parsed.cut(0.3))


def tag(size: int, flags: int = 0) -> bytes:
    """An ID3v2 tag of so many bytes besides its head, and its footer where the flags say so."""
    head = bytes([3, 0, flags, *(size >> shift & 0x7F for shift in (21, 14, 7, 0))])
    return b"ID3" + head + bytes(size) + (b"3DI" + head if flags & 0x10 else b"")


TAGS = {
    "empty": tag(0),
    "a byte": tag(1),
    "odd": tag(301),
    "with a footer": tag(20, 0x10),
    "two": tag(5) + tag(0),
    "with a picture": tag(3 * 2**20),
}


@pytest.mark.parametrize("tags", TAGS.values(), ids=TAGS)
@pytest.mark.parametrize("name", ["16 bits", "RF64 with a chunk behind", "IMA ADPCM", "RIFX", "size 0, from a pipe"])
def test_a_file_behind_id3_tags_is_the_file_without_them(name: str, tags: bytes) -> None:
    parsed, bare = Wav.parse(tags + FORMATS[name]), Wav.parse(FORMATS[name])
    assert parsed
    assert bare
    assert parsed == bare
    pieces = list(bare.cut(0.3))
    for file in (io.BytesIO(tags + FORMATS[name]), Pipe(tags + FORMATS[name]), Rereadable(Pipe(tags + FORMATS[name]))):
        stream = WavStream.open(file)
        assert stream
        assert list(stream.cut(0.3)) == pieces


def test_tags_without_end_are_no_wav() -> None:
    assert Wav.parse(tag(0) * 100_000 + wav(10)) is None
    assert Wav.parse(tag(10)[:15]) is None
    assert WavStream.open(Pipe(tag(2**27 - 1)[:100])) is None


SILENT = {
    "cut in its size": (wav(10)[:10], "is damaged: it is cut off inside its head"),
    "cut behind its size": (wav(10)[:8], "is damaged: it is cut off inside its head"),
    "cut behind its name": (wav(10)[:12], "is damaged: it has no samples"),
    "cut in the format": (wav(10)[:30], "is damaged: it has no samples"),
    "cut behind the format": (wav(10)[:36], "is damaged: it has no samples"),
    "cut in the head of the samples": (wav(10)[:42], "is damaged: it has no samples"),
    "cut in front of the samples": (wav(10)[:44], "is WAV audio without a single sample"),
    "no samples": (riff(chunk(b"fmt ", fmt()), LIST), "is damaged: it has no samples"),
    "no samples, MP3": (riff(chunk(b"fmt ", fmt(0x55, bits=0, align=1)), LIST), "is damaged: it has no samples"),
    "no format": (riff(chunk(b"data", BYTES)), "is damaged: its samples have no format"),
    "RF64 cut in its size": (large(UNSIZED)[:30], "is damaged: it does not begin with its size"),
    "RF64 cut behind its size": (large(UNSIZED)[:48], "is damaged: it has no samples"),
    "RIFX cut": (FORMATS["RIFX"][:40], "is damaged: it has no samples"),
    "a chunk cut off": (riff(chunk(b"LIST", b"INFO", 999)), "is damaged: it has no samples"),
    "cut behind a tag": (tag(11) + wav(10)[:36], "is damaged: it has no samples"),
}


@pytest.mark.parametrize("name", SILENT)
def test_a_file_that_certainly_has_no_samples_is_refused_by_the_name_it_is_given(name: str) -> None:
    data, text = SILENT[name]
    with pytest.raises(InputError, match=f"^data {text}"):
        Wav.parse(data, "data")
    if "single" not in text:
        with pytest.raises(InputError, match=f"^it {text}"):
            WavStream.open(io.BytesIO(data), "it")


CERTAIN = {"cut in the format", "cut behind the format", "no format", "ADPCM, big-endian"}


@pytest.mark.parametrize("name", sorted(UNCLEAR.keys() - CERTAIN))
def test_what_some_decoder_may_read_is_not_refused(name: str) -> None:
    assert Wav.parse(UNCLEAR[name], "data") is None
    assert WavStream.open(io.BytesIO(UNCLEAR[name]), "data") is None


def test_samples_in_front_of_the_format_are_found_where_a_file_can_seek() -> None:
    (data,) = SEEKABLE.values()
    stream, parsed = WavStream.open(io.BytesIO(data)), Wav.parse(data)
    assert stream
    assert parsed
    assert list(stream.cut(0.3)) == list(parsed.cut(0.3))
    assert WavStream.open(Pipe(data)) is None


@pytest.mark.parametrize("data", [SEEKABLE["samples in front of the format"], b"ID3 and so on", b"", wav(10)[:40],
                                  riff(chunk(b"JUNK", bytes(2**21)), chunk(b"fmt ", fmt()), chunk(b"data", BYTES))],
                         ids=["samples first", "MP3", "nothing", "a head", "two MiB in front"])  # fmt: skip
def test_the_head_of_a_pipe_that_is_not_cut_can_be_read_again(data: bytes) -> None:
    file = Rereadable(Pipe(data))
    assert WavStream.open(file) is None
    if data:
        assert read_media(file, 2**23) == data
    assert file.read(1) == b""


class Endless:
    """A recording of 300 MB that is nowhere; keeps count of what is asked of it at a time."""

    def __init__(self, head: bytes) -> None:
        self._head = io.BytesIO(head)
        self._left = 300 * 2**20
        self.largest = 0

    def read(self, size: int) -> bytes:
        self.largest = max(self.largest, size)
        data = self._head.read(size) or bytes(min(size, self._left))
        self._left -= len(data)
        return data


@pytest.mark.parametrize("rate", [48_000, 2**31 - 1], ids=["real", "absurd"])
def test_a_recording_of_any_length_is_never_held_whole(rate: int) -> None:
    file = Endless(riff(chunk(b"fmt ", fmt(channels=2, rate=rate, byte_rate=0)), chunk(b"data", b"", 0xFFFFFFFF)))
    stream = WavStream.open(file)
    assert stream
    tracemalloc.start()
    frames = sum(piece.frames for data in stream.cut(5) if (piece := Wav.parse(data)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert frames * 4 >= 300 * 2**20 - 100
    assert file.largest <= 2**20
    assert peak < 100 * 2**20


def test_a_text_file_is_refused() -> None:
    with pytest.raises(InputError, match="open the file with mode 'rb'"):
        WavStream.open(io.StringIO("RIFF"))


def test_telephone_audio_is_cut_as_pcm_is() -> None:
    for tag in (6, 7):
        parsed = Wav.parse(sounding(fmt(tag, rate=8000, bits=8), samples=noise(96_000)))
        assert parsed
        assert [round(decoded_seconds(piece), 9) for piece in parsed.cut(5.0)] == [5, 5, 2]


@pytest.mark.parametrize("codec", ["adpcm_ms", "adpcm_ima_wav", "pcm_mulaw", "pcm_s24le", "pcm_f32le"])
def test_what_an_encoder_wrote_is_cut(codec: str) -> None:
    data = encoded("wav", codec)
    parsed = Wav.parse(data)
    assert parsed
    pieces = list(parsed.cut(1.5))
    assert len(pieces) == 3
    assert sum(map(decoded_seconds, pieces)) == pytest.approx(decoded_seconds(data), abs=1e-9)


@given(st.binary(max_size=200))
def test_hostile_bytes_never_fail(tail: bytes) -> None:
    Wav.parse(b"RIFF\0\0\0\0WAVEfmt " + tail)
    Wav.parse(wav(1)[:36] + tail)
