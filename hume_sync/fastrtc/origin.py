"""The server of an application, and what is secret about speaking to it."""

from __future__ import annotations

import re
from urllib.parse import unquote_plus

import attrs

from ..net.endpoint import Endpoint
from ..reprs import safe_repr

__all__ = ["AppEndpoint"]

_SECRET = 4
"""Characters from which the value of a private header, or of the query, is a secret. One letter, as a tenant's name, is
none: with each of it taken out, nothing could be read any more, a refusal's limit included."""

_TELLING = 8
"""Characters from which a part of a private header is a secret by itself."""

_PARTS = re.compile(r'[^\s;,="]+')
"""Of a header's words, since many values are lists of names and what they stand for: cookies, for one."""


@safe_repr
@attrs.frozen
class AppEndpoint(Endpoint):
    """An endpoint whose private headers all count as credentials: nobody knows what applications call their keys."""

    @property
    def has_credentials(self) -> bool:
        """Whether it has any."""
        return bool(self.private)

    def redact(self, text: str) -> str:
        """``text`` without any private value in it, or a part of one: servers repeat a token without its "Bearer"."""
        values = [value for _, secret in self.private if len(value := secret.reveal()) >= _SECRET]
        parts = [part for value in values for part in (*value.split(), *_PARTS.findall(value)) if len(part) >= _TELLING]
        values += self._of_query()
        # At once, and the longest first: one that holds another would be told by what is left of it.
        secrets = sorted({*values, *parts}, key=len, reverse=True)
        return re.sub("|".join(map(re.escape, secrets)), "***", text, flags=re.IGNORECASE) if secrets else text

    def _of_query(self) -> list[str]:
        """The query, its fields, and those of their values that are secrets, encoded and decoded."""
        if self.query is None:
            return []
        query = self.query.reveal()
        fields = [field for field in query.split("&") if "=" in field]
        values = [field.partition("=")[2] for field in fields]
        values += [unquote_plus(value) for value in values]
        return [*fields, *(value for value in (query, *values) if len(value) >= _SECRET)]
