from __future__ import annotations

import hashlib
import random
import struct
import warnings

import pytest

from hume_sync import InputError
from hume_sync.formats.mulaw import decode, encode

EVERY_SAMPLE = struct.pack("<65536h", *range(-32768, 32768))
EVERY_BYTE = bytes(range(256))

# SHA-256 of what audioop of Python 3.11 makes of these: 3.13 has none to ask.
EVERY_SAMPLE_CODED = "81d633c9e6972a18c74a58720b96cb8ca0bdd096d4060b646dd708c3b846019a"
EVERY_BYTE_DECODED = "3dab54339e520bb2c924826e3b72a917a2b612e9fd12fc867500f1d983a75827"


def test_every_sample_is_coded_as_audioop_does(numpy: str) -> None:
    coded = encode(EVERY_SAMPLE)
    assert len(coded) == 65536
    assert hashlib.sha256(coded).hexdigest() == EVERY_SAMPLE_CODED


def test_every_byte_is_decoded_as_audioop_does() -> None:
    assert hashlib.sha256(decode(EVERY_BYTE)).hexdigest() == EVERY_BYTE_DECODED


def test_audioop_itself_agrees_where_there_is_one(numpy: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        audioop = pytest.importorskip("audioop")
    assert encode(EVERY_SAMPLE) == audioop.lin2ulaw(EVERY_SAMPLE, 2)
    assert decode(EVERY_BYTE) == audioop.ulaw2lin(EVERY_BYTE, 2)


@pytest.mark.parametrize(
    ("sample", "code"),
    [(0, 0xFF), (3, 0xFF), (4, 0xFE), (-1, 0x7E), (-8, 0x7E), (-9, 0x7D), (32767, 0x80), (-32768, 0x00)],
)
def test_samples_around_the_steps_have_these_codes(sample: int, code: int, numpy: str) -> None:
    assert encode(struct.pack("<h", sample)) == bytes([code])


def test_what_was_decoded_is_coded_as_before_but_for_the_zero_below_zero(numpy: str) -> None:
    assert encode(decode(EVERY_BYTE)) == EVERY_BYTE.replace(b"\x7f", b"\xff")


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 1001])
def test_every_length_is_right_one_byte_for_each_sample(size: int, numpy: str) -> None:
    samples = random.Random(size).randbytes(2 * size)
    coded = encode(samples)
    assert coded == b"".join(encode(samples[i : i + 2]) for i in range(0, 2 * size, 2))
    assert decode(coded) == b"".join(decode(coded[i : i + 1]) for i in range(size))
    assert (len(coded), len(decode(coded))) == (size, 2 * size)


def test_bytes_of_any_kind_are_taken(numpy: str) -> None:
    samples = EVERY_SAMPLE[:2000]
    coded = encode(samples)
    assert encode(bytearray(samples)) == encode(memoryview(samples)) == encode(memoryview(samples).cast("h")) == coded
    assert encode(memoryview(samples + samples)[:2000]) == coded
    assert decode(bytearray(coded)) == decode(memoryview(coded)) == decode(coded)


def test_an_odd_number_of_bytes_is_refused(numpy: str) -> None:
    with pytest.raises(InputError, match="got 3 bytes: an odd number"):
        encode(b"\0\0\0")
