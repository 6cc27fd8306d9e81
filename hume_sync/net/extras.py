"""What is optional: numpy, used where it is there, and the parts of the package that need an extra."""

from __future__ import annotations

import importlib
import sys
from types import TracebackType
from typing import Any

from ..errors import ConfigurationError

__all__ = ["NeedsExtra", "import_extra", "loaded_numpy"]

_MODULES = {
    "media": {"av"},
    "emulator": {"websockets", "tinytag", "av"},
    "webrtc": {"aiortc", "av"},
    "speed": {"numpy"},
    "dask": {"distributed", "dask"},
    "arrow": {"pyarrow"},
    "pandas": {"pandas", "pyarrow"},
    "polars": {"polars", "pyarrow"},
}
"""The modules that each extra brings."""


class NeedsExtra:
    """Says which extra is missing where an import in its ``with`` block fails for want of it.

    Args:
        extra: Its name.
        what: What needs it, as the error says.
        advice: What to do, at the end of the error.

    Raises:
        ConfigurationError: A module of that extra is not installed. Any other failure of an import stays what it is.
    """

    def __init__(self, extra: str, what: str, *, advice: str = "") -> None:
        self._extra = extra
        self._what = what
        self._advice = f"; {advice}" if advice else ""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not isinstance(exc, ModuleNotFoundError):
            return
        package = (exc.name or "").partition(".")[0]
        if package in _MODULES[self._extra]:
            missing = exc.name if sys.modules.get(package) else package  # (a part of it: another version is installed)
            raise ConfigurationError(
                f'{self._what} needs hume_sync with the extra "{self._extra}": the module {missing} is not installed'
                + self._advice
            ) from None


def import_extra(module: str, *, extra: str, what: str) -> Any:
    """Return a module that an extra brings.

    Args:
        module: Its name.
        extra: The name of the extra.
        what: What needs it, as the error says.

    Raises:
        ConfigurationError: It is not installed.
    """
    with NeedsExtra(extra, what):
        return importlib.import_module(module)


def loaded_numpy() -> Any:
    """numpy if somebody has imported it, else None."""
    if sys.modules.get("numpy") is None:
        return None
    # Not what lies in sys.modules: another thread may be importing it this very moment, and this waits for that.
    import numpy  # noqa: PLC0415 - an extra

    return numpy
