"""Invented scores: a stable function of seed, model and content.

The scores have no meaning. They come from BLAKE2b in counter mode, so they are the same on every machine and in
every version. Their distribution resembles real scores: a few are high, most are low.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from hashlib import blake2b

Score = dict[str, str | float]

_PER_BLOCK = 16  # numbers of 32 bits in one digest of 64 bytes
_PERSON = b"hume-emulator"


def content_key(seed: int, model: str, *content: bytes) -> bytes:
    """Return the 32-byte key of all numbers invented for ``content``. The length of each part is hashed as well."""
    hasher = blake2b(digest_size=32, person=_PERSON)
    for part in (str(seed).encode(), model.encode(), *content):
        hasher.update(len(part).to_bytes(8, "little"))
        hasher.update(part)
    return hasher.digest()


def fractions(key: bytes, count: int) -> list[float]:
    """Return ``count`` numbers from 0 (included) to 1 (excluded), uniformly distributed."""
    blocks = [
        blake2b(index.to_bytes(8, "little"), key=key, digest_size=64).digest()
        for index in range(-(-count // _PER_BLOCK))
    ]
    numbers = struct.unpack(f"<{len(blocks) * _PER_BLOCK}I", b"".join(blocks))
    return [number / 2**32 for number in numbers[:count]]


def scores(key: bytes, names: Sequence[str]) -> list[Score]:
    """Return one score from 0 to 1 for each name, in order; the sixth power makes most of them low."""
    numbers = fractions(key, len(names))
    return [
        {"name": name, "score": round((number * number * number) ** 2, 6)}
        for name, number in zip(names, numbers, strict=True)
    ]


def distribution(key: bytes, names: Sequence[str]) -> list[Score]:
    """Return one score for each name; they add up to 1, but for rounding to six digits."""
    weights = [number * number + 1e-9 for number in fractions(key, len(names))]
    total = sum(weights)
    return [{"name": name, "score": round(weight / total, 6)} for name, weight in zip(names, weights, strict=True)]


def hex_id(seed: int, purpose: str, *parts: object) -> str:
    """Return 32 hexadecimal digits, the same for the same arguments."""
    return content_key(seed, purpose, *(str(part).encode() for part in parts)).hex()[:32]
