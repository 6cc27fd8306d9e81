"""Messages out of bytes as they come: for who must never wait for the rest of a frame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..errors import MessageTooLarge
from .frames import BINARY, FINAL, TEXT, protocol_violation

__all__ = ["FrameParser"]

_MESSAGE: Final = frozenset({TEXT, BINARY})
"""Opcodes that begin a message."""

_CONTINUATION: Final = frozenset({0x0})
_CONTROL: Final = 0x8
"""The bit that all control frames have."""

_KNOWN: Final = frozenset({0x8, 0x9, 0xA})  # close, ping, pong

_MAX_CONTROL: Final = 125  # RFC 6455, 5.5


class FrameParser:
    """Puts frames together, and fragments to messages.

    Args:
        limit: bytes of one message, all its fragments together; more is refused by the header.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._message: bytearray | None = None  # the fragments so far
        self._opcode = TEXT  # of the first of them

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """What is complete with these bytes: (opcode, payload) of messages and control frames, in order.

        Whatever is wrong with a frame is said as soon as its header is there, and after all that came before it.

        Raises:
            ProtocolError: RFC 6455 was not kept to.
            MessageTooLarge: a message would be longer than the limit.
        """
        self._buffer += data
        taken = 0
        try:
            while (frame := self._frame(taken)) is not None:
                first, begin, taken = frame
                complete = self._complete(first, bytes(memoryview(self._buffer)[begin:taken]))
                if complete is not None:
                    yield complete
        finally:
            del self._buffer[:taken]  # once for all of them: what is left over moves but one time

    def _frame(self, at: int) -> tuple[int, int, int] | None:
        """The frame that begins there: its first byte, and where its payload begins and ends; None: not all of it."""
        buffer = self._buffer
        there = len(buffer)
        if there - at < 2:
            return None
        first, size, begin = buffer[at], buffer[at + 1], at + 2
        if first & 0x70:
            raise protocol_violation("reserved bits that nobody has asked for")
        if size > 127:
            raise protocol_violation("a masked frame")
        if first & _CONTROL:
            if not first & FINAL or size > _MAX_CONTROL:
                raise protocol_violation("a control frame that is too long or in pieces")
            if first & 0xF not in _KNOWN:
                raise protocol_violation(f"opcode {first & 0xF}, which nobody knows")
            return (first, begin, begin + size) if there >= begin + size else None
        if first & 0xF not in (_MESSAGE if self._message is None else _CONTINUATION):
            raise protocol_violation("neither text nor binary, or one message inside another")
        if size > 125:
            begin += 2 if size == 126 else 8
            if there < begin:
                return None
            size = int.from_bytes(buffer[at + 2 : begin], "big")
        if size + len(self._message or b"") > self._limit:
            raise MessageTooLarge(f"the server announced a message of more than {self._limit} bytes")
        return (first, begin, begin + size) if there >= begin + size else None

    def _complete(self, first: int, payload: bytes) -> tuple[int, bytes] | None:
        """What is complete with this frame; None: a message of which more is to come."""
        if first & _CONTROL:
            return first & 0xF, payload
        if self._message is None:
            if first & FINAL:
                return first & 0xF, payload
            self._message, self._opcode = bytearray(), first & 0xF
        self._message += payload
        if not first & FINAL:
            return None
        message, self._message = bytes(self._message), None
        return self._opcode, message
