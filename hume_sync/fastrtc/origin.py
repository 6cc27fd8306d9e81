"""The server of an application, and what is secret about speaking to it."""

from __future__ import annotations

import attrs

from ..net.endpoint import Endpoint

__all__ = ["Origin"]

_TELLING = 8
"""Characters from which a word of a private header is a secret by itself."""


@attrs.frozen
class Origin(Endpoint):
    """An endpoint whose private headers all count as credentials: nobody knows what applications call their keys."""

    @property
    def has_credentials(self) -> bool:
        """Whether it has any."""
        return bool(self.private)

    def scrub(self, text: str) -> str:
        """``text`` without any private value in it, or a word of one: servers repeat a token without its "Bearer"."""
        text = super().scrub(text)
        for _, secret in self.private:
            for word in secret.reveal().split():
                text = text.replace(word, "***") if len(word) >= _TELLING else text
        return text
