"""Imports that are put off until a client is made, and done before its first call.

The import system catches OSError itself, so that a time limit by signal which strikes during an import would be lost;
and a package whose import was interrupted may be left in halves, of which a later import makes a broken whole.
"""

from __future__ import annotations

import importlib
import sys

__all__ = ["preload"]

_LATE = ("tenacity", "hume_sync.net.websocket")
"""35 ms together, which programs that make no client need not pay."""


def preload() -> None:
    """Import what calls need. Once it is there this costs nothing."""
    for name in _LATE:
        if name not in sys.modules:
            _import_whole(name)


def _import_whole(name: str) -> None:
    before = set(sys.modules)
    try:
        importlib.import_module(name)
    except BaseException:
        package = name.partition(".")[0]
        for module in [module for module in sys.modules if module.partition(".")[0] == package]:
            if module not in before:
                del sys.modules[module]
        raise
