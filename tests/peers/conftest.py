"""Fixtures of the peers proof."""

from __future__ import annotations

from pathlib import Path

import pytest

from .scenario import make_media


@pytest.fixture(scope="package")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_media(tmp_path_factory.mktemp("media"))
