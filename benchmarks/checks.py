"""Check that each reply belongs to its request. Only the standard library, as it runs in every environment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from . import receipts
from .cases import Case

__all__ = ["Checker", "WrongReply", "check_receipt", "settle"]

_ID_DIGITS = 12  # a request with a payload id may be longer than the first one by this many characters


class WrongReply(Exception):
    """Raised when a client returned something else than the reply to its request."""


def check_receipt(case: Case, reply: Mapping[str, Any]) -> int:
    """Compare what the server has read with the case; return the length of the request.

    Raises:
        WrongReply: They differ.
    """
    meant = receipts.expected(case)
    if reply.get("receipt") != meant:
        raise WrongReply(f"sent {meant}, but the server says {dict(reply)!s:.300}")
    return int(reply["received"])


class Checker:
    """A check of the replies to one caller.

    Args:
        case: The case that is sent.
        length: The length of the request, as counted by the server when the case was verified.

    Attributes:
        seen: The connection and the number of each reply.
    """

    def __init__(self, case: Case, length: int) -> None:
        self._case = case
        self._length = length
        self.seen: list[tuple[str, int]] = []

    def check(self, reply: Mapping[str, Any]) -> None:
        """Check that this is a reply to a request of the case.

        Raises:
            WrongReply: It is not.
        """
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
        """Check that this is the reply to the next request of the same connection.

        Raises:
            WrongReply: It is not.
        """
        self.check(reply)
        connection, number = self.seen.pop()
        last = self.seen.pop() if self.seen else (connection, 0)
        self.seen.append((connection, number))
        if (connection, number) != (last[0], last[1] + 1):
            raise WrongReply(f"reply {number} of {connection} came after {last[1]} of {last[0]}")


def settle(checkers: Iterable[Checker]) -> dict[str, int]:
    """Check that the callers together received every reply of each connection once.

    Threads that share a pool may share its connections, so the replies of one thread can have gaps.

    Returns:
        The number of replies on each connection.

    Raises:
        WrongReply: A reply is missing or was received twice.
    """
    numbers: dict[str, list[int]] = {}
    for checker in checkers:
        for connection, number in checker.seen:
            numbers.setdefault(connection, []).append(number)
    for connection, seen in numbers.items():
        if sorted(seen) != list(range(1, len(seen) + 1)):
            raise WrongReply(f"of connection {connection} the callers had the replies {sorted(seen)!s:.100}")
    return {connection: len(seen) for connection, seen in numbers.items()}
