"""One module a family of figures."""

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
"""By name, in the order in which they run."""
