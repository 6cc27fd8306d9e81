"""pytest fixtures: a local v0 server and a client on it. They come with the package, for every test to use.

The server is imported when the first test asks for it."""

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
    """A local server of the v0 protocol (`hume_sync.emulator.Emulator`), fresh for each test."""
    try:
        with NeedsExtra("emulator", "the fixture hume_emulator"):
            from .emulator import Emulator  # noqa: PLC0415 - an extra, and not for every run of pytest to load
    except ConfigurationError as exc:
        pytest.fail(str(exc), pytrace=False)
    with Emulator() as server:
        yield server


@pytest.fixture
def hume_client(hume_emulator: Emulator) -> HumeStreamClient:
    """A client (`hume_sync.HumeStreamClient`) on the server of `hume_emulator`."""
    from .stream import HumeStreamClient  # noqa: PLC0415 - likewise

    return HumeStreamClient("test-key", base_url=hume_emulator.url, proxy=False, timeout=10.0)
