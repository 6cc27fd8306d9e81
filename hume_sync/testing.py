"""The pytest fixtures of the package: a local v0 server, and a client of it.

They are registered as a plugin, so tests need no import. The server is imported when a test first uses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from .errors import ConfigurationError
from .net.extras import NeedsExtra

if TYPE_CHECKING:
    from .emulator import Emulator
    from .stream import HumeStreamClient

__all__ = ["hume_client", "hume_emulator"]


@pytest.fixture
def hume_emulator() -> Iterator[Emulator]:
    """Start a new local server of the v0 protocol for each test, as a `hume_sync.emulator.Emulator`."""
    try:
        with NeedsExtra("emulator", "the fixture hume_emulator"):
            from .emulator import Emulator  # noqa: PLC0415 - an extra; not loaded by every run of pytest
    except ConfigurationError as exc:
        pytest.fail(str(exc), pytrace=False)
    with Emulator() as server:
        yield server


@pytest.fixture
def hume_client(hume_emulator: Emulator) -> HumeStreamClient:
    """Create a `hume_sync.HumeStreamClient` of the server of `hume_emulator`."""
    from .stream import HumeStreamClient  # noqa: PLC0415 - not loaded by every run of pytest

    return HumeStreamClient("test-key", base_url=hume_emulator.url, proxy=False, timeout=10.0)
