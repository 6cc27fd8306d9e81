"""How the command speaks of errors: one line each, and an exit status."""

from __future__ import annotations

from ..errors import ConfigurationError, HumeClientException, InputError, RequestError
from ..stream.responses import printable

__all__ = ["exit_status", "one_line"]

_BAD_INPUT_CODES = ("E01", "E02")
"""How the protocol's codes begin that object to what was sent; others are the server's own affair."""


def exit_status(error: Exception) -> int:
    """Return 2 for bad input, use or configuration, whoever found it; 1 for failures of server or network."""
    if isinstance(error, RequestError):
        return 2 if (error.code or "").startswith(_BAD_INPUT_CODES) else 1
    bad = isinstance(error, InputError | ConfigurationError) or not isinstance(error, HumeClientException)
    return 2 if bad else 1


def one_line(error: Exception, name: str = "") -> str:
    """Return the text of an error, fit for a terminal, with the name of what it is about in front."""
    if isinstance(error, OSError) and error.filename:
        return printable(f"hume-sync: {error.strerror}: {error.filename!r}")
    return printable(f"hume-sync: {name}: {error}" if name else f"hume-sync: {error}")
