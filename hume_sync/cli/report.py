"""The output of ``hume-sync send`` and ``hume-sync demo``: a table with notes, or one JSON object per line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Protocol

from ..errors import HumeClientException
from ..stream import StreamResponse
from ..stream.responses import printable
from .inputs import Payload

__all__ = ["JsonLines", "Report", "Table"]

_WINDOW_NOTES = {
    "rebuilt": ("*", "the connection had been lost; what the server had heard was replayed on a new one first."),
    "cold": ("!", "the connection had been lost, and with it what the server had heard."),
}
"""The mark of a row and the note below the table, by window state."""


class Report(Protocol):
    """An output format: yields the lines to print as replies arrive."""

    def reply(self, payload: Payload, reply: StreamResponse) -> Iterator[str]:
        """Yield the lines for a reply."""

    def failure(self, source: str, part: str, error: Exception) -> Iterator[str]:
        """Yield the lines for a failed input, in addition to the line on standard error."""

    def end(self) -> Iterator[str]:
        """Yield the lines after all inputs."""


class Table:
    """A table with a row for each payload and model, listing the top expressions, followed by notes."""

    def __init__(self) -> None:
        self._header_printed = False
        self._notes: set[str] = set()

    def reply(self, payload: Payload, reply: StreamResponse) -> Iterator[str]:
        """Yield the rows of a reply."""
        if not self._header_printed:  # no header without rows
            yield f"{'input':<28} {'part':<14} {'model':<9} top expressions"
            self._header_printed = True
        part = payload.part
        if reply.window_state in _WINDOW_NOTES:
            part += f" {_WINDOW_NOTES[reply.window_state][0]}"
            self._notes.add(" ".join(_WINDOW_NOTES[reply.window_state]))
        for config in payload.configs:
            model = config.get_model_type().value
            top = ", ".join(f"{printable(name)} {score:.2f}" for name, score in reply.top(3, model))
            body = reply.get(model)
            warning = body.get("warning") if isinstance(body, dict) else None
            text = top or f"({printable(str(warning or reply.warning or 'nothing found'))})"
            yield f"{_shorten(payload.source):<28} {part:<14} {model:<9} {text}"
        if reply.emulated:
            self._notes.add(
                "EMULATED: the local server invents these scores from a hash of the input. They measure nothing."
            )

    def failure(self, source: str, part: str, error: Exception) -> Iterator[str]:  # noqa: ARG002 - a table has no row for it
        """Yield nothing; the line on standard error is enough."""
        return iter(())

    def end(self) -> Iterator[str]:
        """Yield the notes."""
        yield from sorted(self._notes)


class JsonLines:
    """A JSON object for each payload, and one for each input that failed."""

    # json and not orjson, because it accepts file names that are not UTF-8 and replies of any depth.

    def reply(self, payload: Payload, reply: StreamResponse) -> Iterator[str]:
        """Yield the whole reply as one line."""
        yield json.dumps({"input": payload.source, "part": payload.part, "emulated": reply.emulated, "reply": reply})

    def failure(self, source: str, part: str, error: Exception) -> Iterator[str]:
        """Yield the error as one line."""
        code = error.code if isinstance(error, HumeClientException) else None
        facts: dict[str, Any] = {"type": type(error).__name__, "code": code, "message": str(error)}
        yield json.dumps({"input": source, "part": part, "error": facts})

    def end(self) -> Iterator[str]:
        """Yield nothing."""
        return iter(())


def _shorten(source: str) -> str:
    """Return a source in at most 28 columns: the end of a path, or the beginning of a text."""
    shown = printable(source)
    if len(shown) <= 28:
        return shown
    return f"{shown[:25].rstrip()}..." if " " in shown else f"...{shown[-25:]}"
