"""What is optional: numpy, used where it is there, and the parts of the package that need an extra."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from ..errors import ConfigurationError

__all__ = ["loaded_numpy", "needs_extra"]

_MODULES = {
    "emulator": {"websockets", "tinytag", "av"},
    "fastrtc": {"urllib3"},
    "webrtc": {"aiortc", "av", "urllib3"},
}
"""The modules that each extra brings."""


@contextlib.contextmanager
def needs_extra(extra: str, what: str) -> Iterator[None]:
    """Say which extra is missing where an import in the ``with`` block fails for want of it.

    Args:
        extra: its name.
        what: what needs it, as the error says.

    Raises:
        ConfigurationError: a module of that extra is not installed. Any other failure of an import stays what it is.
    """
    try:
        yield
    except ModuleNotFoundError as exc:
        package = (exc.name or "").partition(".")[0]
        if package not in _MODULES[extra]:
            raise
        missing = exc.name if sys.modules.get(package) else package  # (a part of it: another version is installed)
        raise ConfigurationError(
            f'{what} needs hume_sync with the extra "{extra}": the module {missing} is not installed'
        ) from None


def loaded_numpy() -> Any:
    """numpy if somebody has imported it, else None."""
    if sys.modules.get("numpy") is None:
        return None
    # Not what lies in sys.modules: another thread may be importing it this very moment, and this waits for that.
    import numpy  # noqa: PLC0415 - an extra

    return numpy
