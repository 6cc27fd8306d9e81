"""Whether a reply is the one to its request. Standard library alone: it runs beside every client."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from . import receipts
from .cases import Case

__all__ = ["Checker", "WrongReply", "check_receipt", "settle"]

_ID_DIGITS = 12  # by so much may a request be longer than the first one, where it carries a number of its own


class WrongReply(Exception):
    """A client returned something else than the reply to its request."""


def check_receipt(case: Case, reply: Mapping[str, Any]) -> int:
    """Compare what the server has read with what was meant; returns the length of the request."""
    meant = receipts.expected(case)
    if reply.get("receipt") != meant:
        raise WrongReply(f"sent {meant}, but the server says {dict(reply)!s:.300}")
    return int(reply["received"])


class Checker:
    """The expectations of one caller.

    Args:
        case: what is sent.
        length: of the request, as the server counted it when the case was verified.
    """

    def __init__(self, case: Case, length: int) -> None:
        self._case = case
        self._length = length
        self.seen: list[tuple[str, int]] = []
        """Connection and number of each reply."""

    def check(self, reply: Mapping[str, Any]) -> None:
        """Raise unless this is a reply to such a request."""
        try:
            good = (
                0 <= reply["received"] - self._length <= _ID_DIGITS
                and len(reply[self._case.model]["predictions"]) == self._case.faces
            )
            self.seen.append((reply["connection"], reply["number"]))
        except (KeyError, TypeError) as exc:
            raise WrongReply(f"no reply to this request: {reply!s:.100}") from exc
        if not good:
            raise WrongReply(f"no reply to this request: {reply!s:.100}")

    def check_next(self, reply: Mapping[str, Any]) -> None:
        """Raise unless this is the reply to the next request of the same connection."""
        self.check(reply)
        connection, number = self.seen.pop()
        last = self.seen.pop() if self.seen else (connection, 0)
        self.seen.append((connection, number))
        if (connection, number) != (last[0], last[1] + 1):
            raise WrongReply(f"reply {number} of {connection} came after {last[1]} of {last[0]}")


def settle(checkers: Iterable[Checker]) -> dict[str, int]:
    """Raise unless all callers together have had every reply of each connection once; returns how many each had.

    (Threads that share a pool may share its connections: what one of them sees has gaps.)
    """
    numbers: dict[str, list[int]] = {}
    for checker in checkers:
        for connection, number in checker.seen:
            numbers.setdefault(connection, []).append(number)
    for connection, seen in numbers.items():
        if sorted(seen) != list(range(1, len(seen) + 1)):
            raise WrongReply(f"of connection {connection} the callers had the replies {sorted(seen)!s:.100}")
    return {connection: len(seen) for connection, seen in numbers.items()}
