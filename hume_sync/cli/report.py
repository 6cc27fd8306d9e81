"""What ``hume-sync send`` and ``hume-sync demo`` print: a table with notes under it, or a JSON object a line."""

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
"""By window state: a mark for the row, and what it says under the table."""


class Report(Protocol):
    """Lines to print, as replies come."""

    def reply(self, payload: Payload, reply: StreamResponse) -> Iterator[str]:
        """Tell what was measured."""

    def failure(self, source: str, part: str, error: Exception) -> Iterator[str]:
        """Tell that an input failed, beside the line on standard error."""

    def end(self) -> Iterator[str]:
        """Tell what holds for all of it."""


class Table:
    """A row for each part of an input and each model, with its highest expressions; then notes."""

    def __init__(self) -> None:
        self._begun = False
        self._notes: set[str] = set()

    def reply(self, payload: Payload, reply: StreamResponse) -> Iterator[str]:
        """Yield the rows of a reply."""
        if not self._begun:  # not before there is something to show under it
            yield f"{'input':<28} {'part':<14} {'model':<9} top expressions"
            self._begun = True
        part = payload.part
        if reply.window_state in _WINDOW_NOTES:
            part += f" {_WINDOW_NOTES[reply.window_state][0]}"
            self._notes.add(" ".join(_WINDOW_NOTES[reply.window_state]))
        for config in payload.configs:
            model = config.get_model_type().value
            top = ", ".join(f"{printable(name)} {score:.2f}" for name, score in reply.top(3, model))
            body = reply.get(model)
            warning = body.get("warning") if isinstance(body, dict) else None
            said = top or f"({printable(str(warning or reply.warning or 'nothing found'))})"
            yield f"{_shortened(payload.source):<28} {part:<14} {model:<9} {said}"
        if reply.emulated:
            self._notes.add(
                "EMULATED: the local server invents these scores from a hash of the input. They measure nothing."
            )

    def failure(self, source: str, part: str, error: Exception) -> Iterator[str]:  # noqa: ARG002 - a table has no row for it
        """Yield nothing: the line on standard error says it all."""
        return iter(())

    def end(self) -> Iterator[str]:
        """Yield the notes."""
        yield from sorted(self._notes)


class JsonLines:
    """An object for each payload, and one for each input that failed."""

    # The standard library's writer: it takes file names that are not UTF-8, and replies of any depth.

    def reply(self, payload: Payload, reply: StreamResponse) -> Iterator[str]:
        """Yield a whole reply as one line."""
        yield json.dumps({"input": payload.source, "part": payload.part, "emulated": reply.emulated, "reply": reply})

    def failure(self, source: str, part: str, error: Exception) -> Iterator[str]:
        """Yield an error as one line."""
        code = error.code if isinstance(error, HumeClientException) else None
        facts: dict[str, Any] = {"type": type(error).__name__, "code": code, "message": str(error)}
        yield json.dumps({"input": source, "part": part, "error": facts})

    def end(self) -> Iterator[str]:
        """Yield nothing: each line speaks for itself."""
        return iter(())


def _shortened(source: str) -> str:
    """A source in 28 columns: the end of a path, the beginning of a text."""
    shown = printable(source)
    if len(shown) <= 28:
        return shown
    return f"{shown[:25].rstrip()}..." if " " in shown else f"...{shown[-25:]}"
