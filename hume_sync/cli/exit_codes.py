"""The exit status and the message of an error of the ``hume-sync`` command."""

from __future__ import annotations

from ..errors import AuthenticationError, ConfigurationError, HumeClientException, InputError, RequestError
from ..stream.responses import printable

__all__ = ["exit_status", "format_error"]

_BAD_INPUT_CODES = ("E01", "E02")
"""Prefixes of the protocol's error codes for invalid requests; other codes are failures of the server."""


def exit_status(error: Exception) -> int:
    """Return 2 for invalid input, usage, configuration or key, also as found by the server; 1 for other failures."""
    if isinstance(error, RequestError):
        return 2 if (error.code or "").startswith(_BAD_INPUT_CODES) else 1
    refused = isinstance(error, InputError | ConfigurationError | AuthenticationError)
    bad = refused or not isinstance(error, HumeClientException)
    return 2 if bad else 1


def format_error(error: Exception, name: str = "") -> str:
    """Return the message of an error, safe to print on a terminal.

    Args:
        error: The error.
        name: The input it is about, which is put in front; empty for none.
    """
    if isinstance(error, OSError) and error.filename:
        return printable(f"hume-sync: {error.strerror}: {error.filename!r}")
    return printable(f"hume-sync: {name}: {error}" if name else f"hume-sync: {error}")
