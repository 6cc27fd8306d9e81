"""WAV files of every encoding, read by `pieces`."""

from __future__ import annotations

import io
import math
import os
import struct
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hume_sync import InputError
from hume_sync.fastrtc.audio import pieces
from hume_sync.formats import mulaw
from tests.audiofiles import chunk, extensible, fmt, riff

from .sounds import SAMPLES, extension, pack, resample, samples_of, to_samples, tone, unpack, wav

VALUES = [0, 1, -1, 256, -256, 12345, -12345, 32767, -32768]
"""16 bits of any encoding that is wide enough."""


def wide(width: int, order: str) -> bytes:
    """As integers of more bytes, with something in those below."""
    byteorder = "little" if order == "<" else "big"
    shift = 8 * (width - 2)
    return b"".join(
        ((value << shift) + (1 << shift) // 3).to_bytes(width, byteorder, signed=True)  # type: ignore[arg-type]
        for value in VALUES
    )


def floats(code: str, order: str = "<") -> bytes:
    return struct.pack(f"{order}{len(VALUES)}{code}", *(value / 32768 for value in VALUES))


def of(form: bytes, samples: bytes, order: str = "<") -> bytes:
    head = b"RIFF" if order == "<" else b"RIFX"
    return riff(chunk(b"fmt ", form, order=order), chunk(b"data", samples, order=order), head=head, order=order)


CONTENTS = {
    "s16": of(fmt(bits=16, rate=16000), wide(2, "<")),
    "s24": of(fmt(bits=24, rate=16000), wide(3, "<")),
    "s20": of(fmt(bits=20, rate=16000), wide(3, "<")),
    "s24in32": of(fmt(bits=24, align=4, rate=16000), wide(4, "<")),
    "s32": of(fmt(bits=32, rate=16000), wide(4, "<")),
    "s64": of(fmt(bits=64, rate=16000), wide(8, "<")),
    "f32": of(fmt(3, bits=32, rate=16000), floats("f")),
    "f64": of(fmt(3, bits=64, rate=16000), floats("d")),
    "x24": of(fmt(0xFFFE, bits=24, rate=16000, extra=extensible(1, 24)), wide(3, "<")),
    "x24in32": of(fmt(0xFFFE, bits=32, rate=16000, extra=extensible(1, 24)), wide(4, "<")),
    "xf32": of(fmt(0xFFFE, bits=32, rate=16000, extra=extensible(3, 32)), floats("f")),
    "s24be": of(fmt(bits=24, rate=16000, order=">"), wide(3, ">"), ">"),
    "s16be": of(fmt(bits=16, rate=16000, order=">"), wide(2, ">"), ">"),
    "f32be": of(fmt(3, bits=32, rate=16000, order=">"), floats("f", ">"), ">"),
    "f64be": of(fmt(3, bits=64, rate=16000, order=">"), floats("d", ">"), ">"),
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_integers_and_floats_of_every_width_are_read(content: bytes, numpy: str) -> None:
    assert samples_of(content) == pack(VALUES)


def test_eight_bits_are_unsigned() -> None:
    assert samples_of(wav(bytes([0, 1, 128, 129, 255]), bits=8)) == pack([-32768, -32512, 0, 256, 32512])


@pytest.mark.parametrize(("tag", "codec"), [(6, "pcm_alaw"), (7, "pcm_mulaw")])
@pytest.mark.parametrize("extended", [False, True])
def test_the_laws_are_those_of_other_decoders(tag: int, codec: str, extended: bool) -> None:
    av: Any = pytest.importorskip("av")
    codes = bytes(range(256))
    context = av.CodecContext.create(codec, "r")
    context.sample_rate = 16000
    context.layout = "mono"
    (frame,) = context.decode(av.Packet(codes))
    expected = bytes(frame.planes[0])[: 2 * frame.samples]
    form = {"tag": 0xFFFE, "extension": extension(tag, 8)} if extended else {"tag": tag}
    assert samples_of(wav(codes, bits=8, **form)) == expected
    if tag == 7:
        assert expected == mulaw.decode(codes)


@pytest.mark.parametrize("channels", [2, 3, 6, 8])
@pytest.mark.parametrize("bits", [16, 24])
def test_any_number_of_channels_is_mixed_to_the_mean(channels: int, bits: int, numpy: str) -> None:
    frames = [[1000 * (channel + 1) + place for channel in range(channels)] for place in range(5)]
    mixed = pack([sum(frame) // channels for frame in frames])
    values = b"".join(value.to_bytes(2, "little", signed=True) for frame in frames for value in frame)
    if bits == 24:
        values = b"".join(b"\0" + values[place : place + 2] for place in range(0, len(values), 2))
    assert samples_of(wav(values, channels=channels, bits=bits)) == mixed


@pytest.mark.parametrize("rate", [1000, 6000, 11025, 12345, 96000, 384000, 768000])
def test_any_rate_is_brought_to_the_sessions(rate: int) -> None:
    sound = tone(200, rate)
    assert samples_of(wav(sound, rate=rate)) == resample(sound, rate, 16000)


@pytest.mark.parametrize("name", [b"RF64", b"BW64"])
@pytest.mark.parametrize("bits", [16, 24])
def test_files_beyond_32_bits_are_read_in_every_encoding(name: bytes, bits: int) -> None:
    data = wide(bits // 8, "<")
    sizes = chunk(b"ds64", struct.pack("<QQQI", 0, len(data), len(VALUES), 0))
    content = riff(sizes, chunk(b"fmt ", fmt(bits=bits, rate=16000)), chunk(b"data", data, 0xFFFFFFFF), head=name)
    assert samples_of(content) == pack(VALUES)
    assert to_samples(content, 16000) == pack(VALUES)  # bytes of such a file are a file, too


@pytest.mark.parametrize("code", ["f", "d"])
@pytest.mark.parametrize(("bad", "shown"), [(math.nan, "nan"), (-math.inf, "-inf"), (12345.0, "12345")])
def test_floats_that_cannot_be_samples_are_refused_before_anything_is_sent(
    code: str, bad: float, shown: str, numpy: str
) -> None:
    values = [0.0] * 9000
    values[8001] = bad  # (channel 2 of frame 4000)
    bits = 8 * struct.calcsize(code)
    content = wav(struct.pack(f"<9000{code}", *values), tag=3, bits=bits, channels=2)
    messages = pieces(io.BytesIO(content), 16000, most=10)
    with pytest.raises(InputError, match=f"^sample 4000 of audio is {shown}; floats must be finite"):
        next(messages)


def test_of_a_file_that_cannot_seek_the_floats_before_are_sent() -> None:
    values = [0.0] * 300_000 + [math.nan]
    content = wav(struct.pack(f"<{len(values)}f", *values), tag=3, bits=32)
    with piped(content) as file:
        messages = pieces(file, 16000, most=1000)
        assert next(messages) == bytes(2000)
        with pytest.raises(InputError, match="^sample 300000 of audio is nan"):
            list(messages)


class piped:  # noqa: N801 - used as a function
    """The reading end of a pipe that this goes through; it has no name."""

    def __init__(self, content: bytes) -> None:
        reading, writing = os.pipe()
        self._file = os.fdopen(reading, "rb")
        self._writer = threading.Thread(target=self._write, args=(writing, content))

    @staticmethod
    def _write(writing: int, content: bytes) -> None:
        with os.fdopen(writing, "wb") as file:
            file.write(content)

    def __enter__(self) -> Any:
        self._writer.start()
        return self._file

    def __exit__(self, *_: object) -> None:
        self._file.read()
        self._writer.join()
        self._file.close()


@pytest.mark.parametrize("size", [None, 0xFFFFFFFF, 0])
def test_a_pipe_is_read_forwards(size: int | None) -> None:
    sound = tone(440, 48000)
    with piped(wav(sound, rate=48000, size=size)) as file:
        assert to_samples(file, 16000) == resample(sound, 48000, 16000)


@pytest.mark.parametrize(
    ("content", "text"), [(b"", "audio is empty"), (b"ID3", "is no WAV file"), (wav()[:20], "audio is damaged")]
)
def test_a_pipe_that_holds_something_else_is_refused(content: bytes, text: str) -> None:
    with piped(content) as file, pytest.raises(InputError, match=text):
        to_samples(file, 16000)


class Bare:
    """A file object that can read, and nothing else."""

    def __init__(self, content: bytes, name: object = None) -> None:
        self._file = io.BytesIO(content)
        if name is not None:
            self.name = name

    def read(self, size: int) -> bytes:
        return self._file.read(min(size, 7))  # as raw ones do, less than was asked for


def test_a_file_object_needs_no_more_than_read() -> None:
    assert to_samples(Bare(wav()), 16000) == SAMPLES


def test_a_file_object_is_read_from_where_it_stands() -> None:
    file = io.BytesIO(b"before" + wav())
    file.seek(6)
    assert to_samples(file, 16000) == SAMPLES


@pytest.mark.parametrize(
    ("name", "shown"), [(None, "audio"), (7, "audio"), ("clip.wav", "the file 'clip.wav'"), (b"a", "the file b'a'")]
)
def test_an_error_names_the_file(name: object, shown: str) -> None:
    with pytest.raises(InputError) as caught:
        to_samples(Bare(b"what a day", name), 16000)
    assert str(caught.value).startswith(f"{shown} is no WAV file")


def test_an_error_names_the_path(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    path.write_bytes(wav(struct.pack("<f", math.nan), tag=3, bits=32))
    shown = repr(str(path))
    makes: list[Callable[[], Any]] = [lambda: path, lambda: str(path), lambda: os.fspath(path), lambda: [path]]
    for make in makes:
        with pytest.raises(InputError) as caught:
            to_samples(make(), 16000)
        assert str(caught.value).startswith(f"sample 0 of the file {shown} is nan")


def test_a_closed_file_is_refused() -> None:
    file = io.BytesIO(wav())
    file.close()
    with pytest.raises(InputError, match="audio is a closed file"):
        to_samples(file, 16000)


def test_a_file_that_is_not_read_to_its_end_is_closed_with_the_messages(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    path.write_bytes(wav(bytes(200_000)))
    before = len(os.listdir("/proc/self/fd"))
    messages = pieces(path, 16000, most=10)
    next(messages)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    messages.close()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("bits", [16, 32])
def test_a_file_of_any_length_takes_little_memory(bits: int, tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    frames = 4_000_000
    size = frames * 2 * bits // 8
    with path.open("wb") as file:
        file.write(wav(b"", rate=32000, channels=2, bits=bits, tag=3 if bits == 32 else 1, size=size))
        file.truncate(44 + size)  # all hole
    next(pieces(SAMPLES, 8000))  # what is made once
    tracemalloc.start()
    try:
        length = sum(map(len, pieces(path, 32000, most=50_000)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert length == 2 * frames
    assert peak < 8 * 2**20 < size


def test_the_ends_of_blocks_are_no_seams(numpy: str) -> None:
    sound = tone(440, 44100, 0.2)
    stereo = pack([value for sample in unpack(sound) for value in (sample, sample)])
    content = wav(stereo, rate=44100, channels=2)
    assert b"".join(pieces(io.BytesIO(content), 16000, most=100)) == resample(sound, 44100, 16000)
