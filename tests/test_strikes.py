"""Ctrl-C at every instruction leaves nothing behind, and the next call succeeds (see `strikes`)."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
import trustme

from hume_sync.emulator import Emulator

from .fastrtc.fake import FakeFastRTC

pytestmark = pytest.mark.timeout(120)

OFTEN = ["Socket", "LeaseAgain", "Server"]
SELDOM = ["Request", "Reconnect", "File", "Lease", "PoolClose", "BatchRun", "BatchStream"]


def struck(scenario: str, url: str, environment: Mapping[str, str] = MappingProxyType({})) -> int:
    """Run a scenario in a separate process, without coverage and timeouts; return the number of strikes."""
    command = [sys.executable, "-W", "error", "-m", "tests.strikes", scenario, url]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
        cwd=Path(__file__).parents[1],
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[2])


@pytest.mark.parametrize("scenario", [*OFTEN, *(pytest.param(name, marks=pytest.mark.slow) for name in SELDOM)])
def test_ctrl_c_at_any_instruction_leaves_nothing_and_the_next_call_succeeds(
    scenario: str, hume_emulator: Emulator
) -> None:
    assert struck(scenario, hume_emulator.url) > 15


def test_ctrl_c_at_any_instruction_leaves_no_lock_held(hume_emulator: Emulator) -> None:
    assert struck("Locked", hume_emulator.url) > 1


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["Session", "Hooks"])
def test_ctrl_c_at_any_instruction_with_fastrtc(scenario: str) -> None:
    with FakeFastRTC() as fake:
        assert struck(scenario, fake.url) > 100


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["Socket", "Reconnect", "Lease"])
def test_ctrl_c_at_any_instruction_over_tls(scenario: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    with Emulator(ssl_context=context) as server:
        assert struck(scenario, server.url, {"AUTHORITY": str(tmp_path / "authority.pem")}) > 100
