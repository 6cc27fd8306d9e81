"""Imports that are put off until they are needed, which no signal spoils.

The import system catches OSError itself, so that a time limit by signal which strikes during an import would be lost;
and a package whose import was interrupted may be left in halves, of which a later import makes a broken whole. So what
calls need is imported before the first call; and what few calls need is imported by a thread of its own, which no
signal handler interrupts. The caller waits for it; a handler that raises ends that wait, and the import goes on.
"""

from __future__ import annotations

import importlib
import sys
import threading
from types import ModuleType

from .interrupts import from_handler

__all__ = ["import_optional", "import_whole", "preload"]

_LATE = ("tenacity", "hume_sync.net.websocket")
"""35 ms together, which programs that make no client need not pay."""


def preload() -> None:
    """Import what calls need. Once it is there this costs nothing."""
    for name in _LATE:
        if name not in sys.modules:
            import_whole(name)


def import_optional(name: str) -> ModuleType | None:
    """Import a module as `import_whole` does; None where it cannot be imported."""
    try:
        return _imported(name)
    except _Failed as failed:
        if isinstance(failed.reason, ImportError):
            return None
        raise failed.reason from None


def import_whole(name: str) -> ModuleType:
    """Import a module, or return it where that was done before.

    Raises:
        ImportError: It cannot be imported; or anything else that it raises.
    """
    try:
        return _imported(name)
    except _Failed as failed:
        raise failed.reason from None


class _Failed(Exception):
    """Stands for what an import has raised, which a signal handler cannot have done."""

    def __init__(self, reason: BaseException) -> None:
        super().__init__(reason)
        self.reason = reason


class _Import:
    """The import of a module."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.module: ModuleType | None = None
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Import it, or take out what is left of it."""
        before = set(sys.modules)
        try:
            self.module = importlib.import_module(self._name)
        except BaseException as exc:  # noqa: BLE001 - it is raised where it was asked for
            self.failure = exc
            package = self._name.partition(".")[0]
            for name in [name for name in sys.modules if name.partition(".")[0] == package]:
                if name not in before:
                    del sys.modules[name]


def _imported(name: str) -> ModuleType:
    if name in sys.modules:
        try:
            return importlib.import_module(name)  # at once; or when another thread, which is at it, is done
        except ModuleNotFoundError as exc:
            raise _Failed(exc) from None
    work = _Import(name)
    thread = threading.Thread(target=work.run, name=f"hume_sync imports {name}", daemon=True)
    try:
        thread.start()
        thread.join()
    except RuntimeError as exc:
        if from_handler(exc) or thread.ident is not None:
            raise
        work.run()  # there are no threads, or none any more, as at the interpreter's end
    if work.failure is not None:
        raise _Failed(work.failure)
    assert work.module is not None
    return work.module
