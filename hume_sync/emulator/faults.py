"""The errors and warnings that the server replies with."""

from __future__ import annotations

from typing import Final

UNPARSED_MEDIA: Final = "Failed to parse data as a valid media file"
"""The text of E0200, as seen in third-party outputs."""

WARNING_TEXTS: Final = (
    ("W0101", "No vocal bursts detected."),
    ("W0102", "No facemeshes detected."),
    ("W0103", "No faces detected."),
    ("W0104", "No text detected."),
    ("W0105", "No speech detected."),
)
"""Codes and texts of warnings. W0101 and W0105 were seen in third-party outputs; the others are inferred."""


class PayloadError(Exception):
    """A request that is answered with an error message; the connection stays open.

    Attributes:
        code: The error code, such as "E0101".
        text: The message.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text
