"""Where the paths of an application are: below its stream's own, or above it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeVar

from ..errors import HookError
from ..net.interrupts import from_outside
from .app_http import AppClient

__all__ = ["Places"]

_T = TypeVar("_T")

_MISSING: Final = frozenset({200, 404, 405})
"""Statuses of a `HookError` that say: it is not here. (200: a page, where outputs should be.)"""

_GENERIC: Final = re.compile(r"\W*(detail\W*)?(not found|method not allowed)?\W*", re.IGNORECASE)
"""What frameworks say by themselves where nothing is mounted."""


class Places:
    """Finds an application's URLs by asking, and remembers where they were.

    A place counts as the right one once it has answered without an error; from then on no other is asked. Until then
    a status of 404 or 405 leads on to the next one, and any other answer ends the search, since the application may
    have acted: nothing is sent to two places of which the first may have taken it.
    """

    def __init__(self, http: AppClient) -> None:
        self._http = http
        self._found: dict[tuple[str, str], str] = {}

    def ask(self, name: str, url: str, request: Callable[[str], _T]) -> _T:
        """Make a request to the place where a URL is.

        Args:
            name: of the argument that the URL is.
            url: as the caller gave it.
            request: asks one place, given as an absolute URL, and raises HookError where the answer is an error.

        Raises:
            HookError: it is at none of its places, or where it is answered with an error.
        """
        known = self._found.get((name, url))
        missing: list[HookError] = []
        try:
            for place in [known] if known else self._http.candidates(url, name=name):
                try:
                    answer = request(place)
                except HookError as exc:
                    if exc.status not in _MISSING or from_outside(exc):
                        raise
                    missing.append(exc)
                else:
                    self._found[name, url] = place
                    return answer
            raise _nowhere(missing)
        finally:
            missing.clear()  # an error and a frame that holds it would keep each other


def _nowhere(missing: list[HookError]) -> HookError:
    """The most telling error of those places: one with words of the application's own, not of its framework's."""
    telling = next((error for error in missing if not _GENERIC.fullmatch(error.body)), missing[-1])
    others = [error.url for error in missing if error is not telling and error.url]
    if not others:
        return telling
    error = HookError(f"{telling} (it is not at {' or '.join(others)} either)", status=telling.status)
    error.url, error.body = telling.url, telling.body
    return error
