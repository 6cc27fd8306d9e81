"""Messages on their way to the data channel of a WebRTC connection."""

from __future__ import annotations

import math
import re
from collections import deque
from typing import Any, Final

from .messages import check_size

__all__ = ["MessageQueue"]

_UNSENT: Final = 2**20
"""Bytes that may wait to be sent before a caller waits for room."""

_MAX_SIZE: Final = re.compile(r"^a=max-message-size:(\d{1,15})\s*$", re.MULTILINE)

_DEFAULT_MAX_SIZE: Final = 65536
"""Bytes, where a server does not tell (RFC 8841, 6.1)."""


class MessageQueue:
    """What callers have sent and the data channel has not taken yet. Used under the lock of its loop alone."""

    def __init__(self) -> None:
        self._channel: Any = None
        self._waiting: deque[str | bytes] = deque()
        self._waiting_bytes = 0
        self._max_size: float = math.inf

    def attach(self, channel: Any) -> None:
        """Use this data channel, which emits ``bufferedamountlow`` when there is room again."""
        self._channel = channel
        channel.bufferedAmountLowThreshold = _UNSENT

    def heed(self, sdp: str) -> None:
        """Take from a server's answer how large a message may be; 0 means any size."""
        told = _MAX_SIZE.search(sdp)
        self._max_size = (int(told[1]) if told else _DEFAULT_MAX_SIZE) or math.inf

    def size(self, message: str | bytes) -> int:
        """Return the size of a message in bytes; raises `InputError` where the server would not take it."""
        size = len(message.encode() if isinstance(message, str) else message)
        check_size(size, self._max_size, "which is what the server takes over WebRTC")
        return size

    @property
    def has_room(self) -> bool:
        """Whether a message need not wait."""
        return self._waiting_bytes + int(self._channel.bufferedAmount) <= _UNSENT

    def put(self, message: str | bytes, size: int) -> None:
        """Queue a message. An exception from outside leaves it queued and counted, or neither."""
        self._waiting += (message,)
        self._waiting_bytes += size  # no call between the two, in which a signal's handler could run

    def flush(self) -> None:
        """On the loop's thread: hand all to the data channel. (What ends that ends the connection, too.)"""
        while self._waiting and self._channel.readyState == "open":
            self._channel.send(self._waiting.popleft())
        if not self._waiting:
            self._waiting_bytes = 0
