"""Fixtures of the tests with the look-alike server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .fake import FakeFastRTC


@pytest.fixture
def fake() -> Iterator[FakeFastRTC]:
    with FakeFastRTC() as fake:
        yield fake
