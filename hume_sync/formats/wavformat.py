"""The "fmt " chunk of a WAV file: how large its frames or blocks are, and how files of the same format are written."""

from __future__ import annotations

import struct
from typing import Self

import attrs

from ..reprs import safe_repr

__all__ = ["ALAW", "FLOAT", "MULAW", "PCM", "WavFormat", "describe"]

PCM, FLOAT, ALAW, MULAW = 1, 3, 6, 7
_MS_ADPCM, _IMA_ADPCM, _YAMAHA_ADPCM, _GSM, _EXTENSIBLE = 2, 0x11, 0x20, 0x31, 0xFFFE

_NAMES = {PCM: "PCM", FLOAT: "float", ALAW: "A-law", MULAW: "mu-law", _MS_ADPCM: "ADPCM", _IMA_ADPCM: "IMA ADPCM"}
_NAMES |= {_YAMAHA_ADPCM: "Yamaha ADPCM", _GSM: "GSM 6.10", 0x55: "MP3", 0xFF: "AAC", 0x161: "WMA"}

_WIDTHS = {PCM: (1, 2, 3, 4, 8), FLOAT: (4, 8), ALAW: (1,), MULAW: (1,)}
"""Possible sizes of a sample in bytes, for the tags whose blocks are frames."""

_LAYOUTS = {order: struct.Struct(order + "HHIIHH") for order in "<>"}
"""Tag, channels, rate, bytes per second, bytes per block, bits per sample, by byte order."""

_GUID_TAILS = frozenset(
    bytes.fromhex(tail)
    for tail in ("0000 0000 1000 8000 00aa00389b71", "0000 2107 d311 8644 c8c1ca000000")  # plain; ambisonic B-format
)
"""The rest of a sub-format's GUID, after the tag."""

_MAX_RATE = 2**31 - 1
_MAX_FRAME = 2**16 - 1
_MAX_PIECE = 16 * 2**20
"""Bytes of the samples of one piece. Five seconds of anything real are less; at an absurd rate they would be a
whole recording."""


@safe_repr
@attrs.frozen
class WavFormat:
    """A format in which every frame, or every block of frames, has one size."""

    order: str
    """Byte order of all numbers, as `struct` writes it: "<" in RIFF, ">" in RIFX."""
    tag: int
    """1 PCM, 2 MS ADPCM, 3 float, 6 A-law, 7 mu-law, 0x11 IMA ADPCM, 0x20 Yamaha ADPCM, 0x31 GSM 6.10; that of the
    sub-format if any."""
    channels: int
    sample_rate: int
    """Frames per second."""
    block_size: int
    """Bytes of one block; for PCM, float and G.711, of one frame."""
    block_frames: int
    """Frames in a whole block."""
    chunk: bytes = attrs.field(repr=False)
    """The body of the chunk, with the block size and the byte rate corrected."""

    @classmethod
    def read(cls, chunk: bytes, order: str = "<") -> Self | None:
        """Read the body of a "fmt " chunk.

        Returns:
            None for formats whose frames have no fixed size, for damaged chunks, and for chunks whose fields
            contradict each other so that decoders do not agree on the size of a frame.
        """
        if len(chunk) < 16:
            return None
        tag, channels, rate, byte_rate, align, bits = _LAYOUTS[order].unpack_from(chunk)
        if not channels or not 0 < rate <= _MAX_RATE:
            return None
        width = (bits + 7) // 8
        if tag == _EXTENSIBLE:
            # RIFX has no agreed way to write a GUID.
            if order != "<" or len(chunk) < 40 or int.from_bytes(chunk[16:18], "little") < 22:
                return None
            valid, tag = (int.from_bytes(chunk[place : place + 2], "little") for place in (18, 24))
            if chunk[26:40] not in _GUID_TAILS or tag not in _WIDTHS:
                return None
            # Decoders go by the valid bits: these must need as many bytes as there are, or be the known 24 in 32.
            valid = valid or bits
            if (valid + 7) // 8 != width and (valid, width, align) != (24, 4, 4 * channels):
                return None
        if tag in (_MS_ADPCM, _IMA_ADPCM, _YAMAHA_ADPCM, _GSM):
            return cls._of_blocks(tag, chunk) if order == "<" else None
        if tag == PCM and bits == 24 and align == 4 * channels:
            width = 4
        elif tag in (ALAW, MULAW):
            bits, width = 8, 1
        if tag not in _WIDTHS or width not in _WIDTHS[tag] or (tag == FLOAT and bits != 8 * width):
            return None
        size = channels * width
        if size > _MAX_FRAME or (align not in (0, size) and byte_rate != rate * size):
            return None  # what block size and byte rate agree upon is not the size of the samples
        fixed = struct.pack(order + "IHH", rate * size & 0xFFFFFFFF, size, bits)
        return cls(order, tag, channels, rate, size, 1, chunk[:8] + fixed + chunk[16:])

    @classmethod
    def s16(cls, sample_rate: int, channels: int) -> Self:
        """Return the format of 16-bit PCM in little-endian byte order."""
        size = 2 * channels
        chunk = _LAYOUTS["<"].pack(PCM, channels, sample_rate, sample_rate * size, size, 16)
        return cls("<", PCM, channels, sample_rate, size, 1, chunk)

    @classmethod
    def _of_blocks(cls, tag: int, chunk: bytes) -> Self | None:
        _, channels, rate, _, align, bits = _LAYOUTS["<"].unpack_from(chunk)
        if tag == _GSM:
            fits = align == 65 and channels == 1
        elif tag == _MS_ADPCM:
            fits = align > 7 * channels and not align % channels
        elif tag == _YAMAHA_ADPCM:
            fits = bits == 4 and align > 0 and channels <= 2
        else:
            fits = bits == 4 and align > 4 * channels and not align % (4 * channels)
        return cls("<", tag, channels, rate, align, _frames(tag, channels, align), chunk) if fits else None

    def frames(self, size: int) -> int:
        """Return the number of frames in ``size`` bytes of samples, without an incomplete one."""
        blocks, rest = divmod(size, self.block_size)
        if self.block_frames == 1:
            return blocks
        return blocks * self.block_frames + _frames(self.tag, self.channels, rest)

    def whole(self, size: int) -> int:
        """Return how many of ``size`` bytes hold frames. Decoders also read an incomplete last block."""
        rest = size % self.block_size
        if self.block_frames > 1 and _frames(self.tag, self.channels, rest):
            return size
        return size - rest

    def step(self, seconds: float) -> int:
        """Return the size in bytes of as many whole blocks as last at most ``seconds``; at least one block."""
        # A millionth of a frame on top: 0.125125 s at 8 kHz is 1001 frames, not what a float makes of it.
        blocks = int(seconds * self.sample_rate + 1e-6) // self.block_frames
        return max(1, min(blocks, _MAX_PIECE // self.block_size)) * self.block_size

    def file(self, samples: bytes | memoryview) -> bytes:
        """Return a WAV file of these samples."""
        parts = [b"WAVE", *self._chunk(b"fmt ", self.chunk)]
        if self.tag != PCM:  # the number of frames is required of all that is not PCM
            parts += self._chunk(b"fact", struct.pack(self.order + "I", self.frames(len(samples))))
        parts += self._chunk(b"data", samples)
        head = b"RIFF" if self.order == "<" else b"RIFX"
        return b"".join((head, struct.pack(self.order + "I", sum(map(len, parts))), *parts))

    def _chunk(self, name: bytes, body: bytes | memoryview) -> tuple[bytes, bytes | memoryview, bytes]:
        return name + struct.pack(self.order + "I", len(body)), body, b"\0" * (len(body) % 2)


def describe(chunk: bytes, order: str) -> str:
    """Return a description of a "fmt " chunk (16 bytes or more): "16-bit PCM of 2 channels, 4 bytes a frame"."""
    tag, channels, _, _, align, bits = _LAYOUTS[order].unpack_from(chunk)
    if tag == _EXTENSIBLE and len(chunk) >= 26:
        tag = int.from_bytes(chunk[24:26], "little")
    name = _NAMES.get(tag, f"audio of format {tag:#06x}")
    return f"{bits}-bit {name} of {channels} channels, {align} bytes a frame"


def _frames(tag: int, channels: int, size: int) -> int:
    """Return the number of frames in one block of ADPCM or GSM, complete or cut off."""
    if tag == _GSM:
        return 320 if size == 65 else 0
    if tag == _MS_ADPCM:  # seven bytes of head for each channel, which hold two frames; then four bits a sample
        return 2 + (size - 7 * channels) * 2 // channels if size >= 7 * channels else 0
    if tag == _YAMAHA_ADPCM:  # no head
        return size * 2 // channels
    # Four bytes of head for each channel, which hold one frame; then groups of eight frames.
    return 1 + (size - 4 * channels) // (4 * channels) * 8 if size >= 4 * channels else 0
