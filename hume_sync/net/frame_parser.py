"""Incremental WebSocket parser without I/O: bytes in, complete messages and control frames out (RFC 6455, 5).

The blocking `WebSocket` and the I/O thread of a full-duplex session both use it.
"""

from __future__ import annotations

import struct
from typing import Final

from ..errors import MessageTooLarge, ProtocolError
from .frames import BINARY, CLOSE, CONTINUATION, FINAL, PING, PONG, TEXT
from .sockets import Received

__all__ = ["Event", "FrameParser", "protocol_violation"]

Event = tuple[int, Received]
"""Opcode and payload of a message or a control frame."""

_RESERVED: Final = 0x70
_OPCODE: Final = 0xF
_CONTROL: Final = 0x8
"""The bit that all control opcodes have."""

_CONTROL_OPCODES: Final = frozenset({CLOSE, PING, PONG})
_MAX_CONTROL: Final = 125  # RFC 6455, 5.5
_WHOLE_TEXT: Final = FINAL | TEXT

_EMPTY: Final = memoryview(b"")

_HEADER: Final = struct.Struct("!BBH")
"""A header with a 16-bit length; of other frames, the first two bytes."""


class FrameParser:
    """Assembles frames from bytes, and messages from frames.

    A frame that arrives in one piece is returned without a copy. The payload of any other is collected in one buffer of
    its final size, which the caller may read into directly (`payload_buffer`).

    Args:
        limit: Largest message in bytes, all its fragments together. A frame that exceeds it is rejected by its header,
            before memory is allocated for it.
        binary: Whether binary messages are allowed.
    """

    def __init__(self, limit: int, *, binary: bool = False) -> None:
        self._limit = limit
        self._message_opcodes = frozenset({TEXT, BINARY} if binary else {TEXT})
        self.unparsed: Received = b""
        """Bytes received behind the last event."""
        self.payload_buffer = _EMPTY
        """Place for the rest of an incomplete payload; empty if none is incomplete. See `payload_received`."""
        self._first = 0  # first byte of the frame whose payload is incomplete
        self._payload: bytearray | None = None  # of that frame
        self._message: bytearray | None = None  # fragments so far
        self._opcode = TEXT  # of the first fragment

    @property
    def in_message(self) -> bool:
        """True if fragments of an incomplete message were received."""
        return self._message is not None

    @property
    def is_between_messages(self) -> bool:
        """True if no part of a frame or message is waiting for its rest."""
        return self._payload is None and self._message is None and not self.unparsed

    def payload_received(self, size: int) -> None:
        """Record that ``size`` bytes were written to the start of `payload_buffer`."""
        self.payload_buffer = self.payload_buffer[size:]

    def next_event(self, data: Received = b"") -> Event | None:
        """Add received bytes and return the next message or control frame.

        Call it again without data for further events. An invalid frame raises as soon as its header is complete, and
        after all events before it have been returned.

        Args:
            data: Bytes in the order received.

        Returns:
            Opcode and payload; None if more bytes are needed. A fragment that does not end its message is an event of
            its own, CONTINUATION without payload, so that the caller can check its deadline.

        Raises:
            ProtocolError: The frame violates RFC 6455, or is binary where only text is allowed.
            MessageTooLarge: The message would exceed the limit.
        """
        if data:
            if self.unparsed or self._payload is not None:
                data = self._append(data)
            elif self._message is None and len(data) >= 4:
                first, size, short = _HEADER.unpack_from(data)
                if first == _WHOLE_TEXT and size == 126 and len(data) == short + 4 and short <= self._limit:
                    return TEXT, memoryview(data)[4:]  # most replies: one frame in one read
            self.unparsed = data
        frame = self._parse() if self._payload is None else self._finished()
        if frame is None:
            return None
        first, payload = frame
        if first == _WHOLE_TEXT or first & _CONTROL:
            return first & _OPCODE, payload
        if self._message is None:
            if first & FINAL:
                return first & _OPCODE, payload
            self._message, self._opcode = bytearray(), first & _OPCODE
        self._message += payload  # one buffer: a million fragments must not be kept apart
        if not first & FINAL:
            return CONTINUATION, b""
        message, self._message = self._message, None
        return self._opcode, message

    def _append(self, data: Received) -> Received:
        """Fill the incomplete payload from ``data``; return all bytes behind it."""
        if missing := len(self.payload_buffer):
            there = memoryview(data)[:missing]
            self.payload_buffer[: len(there)] = there
            self.payload_received(len(there))
            data = memoryview(data)[missing:]
        return b"".join((self.unparsed, data)) if self.unparsed else data

    def _finished(self) -> tuple[int, bytearray] | None:
        """Return the frame whose payload was incomplete; None if it still is."""
        payload = self._payload
        if payload is None or self.payload_buffer:
            return None
        self._payload, self.payload_buffer = None, _EMPTY
        return self._first, payload

    def _parse(self) -> tuple[int, Received] | None:
        """Return the first byte and payload of the next frame; None if it is incomplete."""
        data = self.unparsed
        there = len(data)
        if there >= 4:
            first, size, short = _HEADER.unpack_from(data)
        elif there >= 2:
            first, size, short = data[0], data[1], None
        else:
            return None
        if first != _WHOLE_TEXT or size > 127 or self._message is not None:
            self._check(first, size)
        start = 2
        if size == 126:
            if short is None:
                return None
            start, size = 4, short
        elif size == 127:
            if there < 10:
                return None
            start, size = 10, int.from_bytes(data[2:10], "big")
        if size > self._limit or self._message:
            self._check_size(first, size)
        end = start + size
        if there == end:  # the usual case: one frame in one read, no copy
            self.unparsed = b""
            return first, memoryview(data)[start:]
        if there > end:
            self.unparsed = memoryview(data)[end:]
            return first, memoryview(data)[start:end]
        self.unparsed = b""
        self._first, self._payload = first, bytearray(size)
        self.payload_buffer = memoryview(self._payload)
        self._append(memoryview(data)[start:])
        return None

    def _check_size(self, first: int, size: int) -> None:
        """Raise `MessageTooLarge` if a frame of this size exceeds the limit."""
        if size + len(self._message or b"") > self._limit and not first & _CONTROL:
            raise MessageTooLarge(f"the server announced a message of more than {self._limit} bytes")

    def _check(self, first: int, size: int) -> None:
        """Raise `ProtocolError` if the first two bytes of a frame are invalid here."""
        opcode = first & _OPCODE
        if first & _RESERVED:
            raise protocol_violation("reserved bits without an extension")
        if size > 127:
            raise protocol_violation("a masked frame")
        if first & _CONTROL:
            if not first & FINAL or size > _MAX_CONTROL:
                raise protocol_violation("control frame too long or fragmented")
            if opcode not in _CONTROL_OPCODES:
                raise protocol_violation(f"unknown opcode {opcode}")
        elif self._message is not None and opcode != CONTINUATION:
            raise protocol_violation(f"unexpected opcode {opcode} inside a fragmented message")
        elif self._message is None and opcode not in self._message_opcodes:
            raise protocol_violation(f"unexpected opcode {opcode} at the start of a message")


def protocol_violation(fault: str) -> ProtocolError:
    """Return the error for a server that violates RFC 6455."""
    return ProtocolError(f"the server broke the WebSocket protocol: {fault}")
