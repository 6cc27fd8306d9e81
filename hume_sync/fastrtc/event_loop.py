"""An asyncio event loop that leaves nothing behind: no socket, no task, and nothing in asyncio's log."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from ..net.clock import monotonic
from ..reprs import safe_repr

__all__ = ["IsolatedEventLoop"]

_PATIENCE: Final = 0.4
"""Seconds for tasks to end once they are cancelled."""

_log = logging.getLogger("hume_sync")


@safe_repr
class IsolatedEventLoop(asyncio.SelectorEventLoop):
    """Knows who has a UDP socket: aiortc loses some where it is interrupted, or where a TURN server does not answer."""

    def __init__(self) -> None:
        super().__init__()
        self.set_exception_handler(_note)
        self._made: list[asyncio.DatagramTransport] = []

    def time(self) -> float:
        """Return the time by which timers run: asyncio's own stands still where a test has frozen it."""
        return monotonic()

    async def create_datagram_endpoint(self, *args: Any, **options: Any) -> Any:
        """As asyncio's."""
        made = await super().create_datagram_endpoint(*args, **options)
        self._made.append(made[0])
        return made

    async def shutdown_default_executor(self, *_: Any, **__: Any) -> None:
        """Nothing: asyncio would wait for it, in a thread of its own, and an interpreter that ends starts none.

        What is left in it, as a name that is still being looked up, is let go by `close`.
        """

    async def cancel_all(self) -> None:
        """The last thing that runs: end all tasks but the one that calls, and then the sockets."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others, timeout=_PATIENCE)
        for transport in self._made:
            transport.abort()


def _note(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What fails inside aiortc, as on a server's nonsense, tells whoever watches asyncio's log nothing of his own."""
    _log.debug("WebRTC: %s (%r)", context["message"], context.get("exception"))
