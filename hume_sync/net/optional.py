"""numpy, which is optional: used where it is there, imported only where it pays."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["loaded_numpy"]


def loaded_numpy() -> Any:
    """numpy if somebody has imported it, else None."""
    if sys.modules.get("numpy") is None:
        return None
    # Not what lies in sys.modules: another thread may be importing it this very moment, and this waits for that.
    import numpy  # noqa: PLC0415 - an extra

    return numpy
