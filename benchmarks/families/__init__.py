"""The families of measurements, one module each."""

from __future__ import annotations

from collections.abc import Callable

from ..bench import Bench
from ..results import Result
from . import connections, imports, memory, overhead, roundtrip, scaling, serialization

__all__ = ["FAMILIES"]

FAMILIES: dict[str, Callable[[Bench], Result]] = {
    "serialization": serialization.run,
    "roundtrip": roundtrip.run,
    "overhead": overhead.run,
    "scaling": scaling.run,
    "connections": connections.run,
    "memory": memory.run,
    "imports": imports.run,
}
"""The families by name, in the order in which they run."""
