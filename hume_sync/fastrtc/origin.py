"""The server of an application, and what is secret about speaking to it."""

from __future__ import annotations

import re

import attrs

from ..net.endpoint import Endpoint
from ..reprs import safe_repr

__all__ = ["Origin"]

_SECRET = 4
"""Characters from which a private header's value is a secret. One letter, as a tenant's name, is none: with each of it
taken out, nothing could be read any more, a refusal's limit included."""

_TELLING = 8
"""Characters from which a part of a private header is a secret by itself."""

_PARTS = re.compile(r'[^\s;,="]+')
"""Of a header's words, since many values are lists of names and what they stand for: cookies, for one."""


@safe_repr
@attrs.frozen
class Origin(Endpoint):
    """An endpoint whose private headers all count as credentials: nobody knows what applications call their keys."""

    @property
    def has_credentials(self) -> bool:
        """Whether it has any."""
        return bool(self.private)

    def scrub(self, text: str) -> str:
        """``text`` without any private value in it, or a part of one: servers repeat a token without its "Bearer"."""
        values = [value for _, secret in self.private if len(value := secret.reveal()) >= _SECRET]
        parts = [part for value in values for part in (*value.split(), *_PARTS.findall(value)) if len(part) >= _TELLING]
        # At once, and the longest first: one that holds another would be told by what is left of it.
        secrets = sorted({*values, *parts}, key=len, reverse=True)
        return re.sub("|".join(map(re.escape, secrets)), "***", text, flags=re.IGNORECASE) if secrets else text
