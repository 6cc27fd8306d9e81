"""URLs taken apart without a word of them in an error: what stands where a URL is expected may be a key."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from .interrupts import from_outside, handlers_own

__all__ = ["host_of", "split_url"]


def split_url(url: str) -> SplitResult | None:
    """Take a URL apart; None where its host or port cannot be read.

    (The errors of `urllib.parse` repeat what they object to, so they are not to be the context of any other.)
    """
    try:
        parts = urlsplit(url)
        host_of(parts).partition("%")[0].encode("idna")
        _ = parts.port
    except Exception as exc:
        if mine := handlers_own(exc):
            raise mine from None
        if not isinstance(exc, ValueError) or from_outside(exc):
            raise
        return None
    return parts


def host_of(parts: SplitResult) -> str:
    """Return the host, in lower case and with its zone as it is (RFC 6874 writes "%25" before that); empty: none."""
    return (parts.hostname or "").replace("%25", "%")
