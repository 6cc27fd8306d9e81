"""What a payload may hold: the limits of v0 servers, as far as they are known, and this package's own."""

from __future__ import annotations

from typing import Final

__all__ = ["IMAGE_PIXELS", "PAYLOAD_LIMIT", "PAYLOAD_SECONDS", "TEXT_CHARACTERS"]

PAYLOAD_LIMIT: Final = 64 * 2**20
"""Bytes of a payload, this package's own limit. What is split while it is read may be of any size."""

PAYLOAD_SECONDS: Final = 5.0
"""The longest audio or video in seconds that a v0 server accepts in one payload."""

IMAGE_PIXELS: Final = 3000
"""The greatest width and height of an image that a v0 server accepts."""

TEXT_CHARACTERS: Final = 10_000
"""The longest text, in code points, that a v0 server accepts."""
