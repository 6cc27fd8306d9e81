"""The real servers do as the protocol page says: the same scenarios that the fake is tried with."""

from __future__ import annotations

import pytest

from .conftest import RealServer
from .scenarios import Scenario, each_scenario
from .wire import SocketStream, ask

pytestmark = [pytest.mark.fastrtc, pytest.mark.timeout(120)]


@each_scenario
def test_the_real_server_does_as_the_protocol_page_says(real_url: str, play: Scenario) -> None:
    play(real_url)


def test_a_connection_is_in_the_servers_table_as_long_as_it_lasts(real_url: str) -> None:
    with SocketStream(real_url, "/limit20").start() as wire:
        wire.ping()
        assert ask(real_url, "GET", "/state")[1]["/limit20"] == [wire.id]
        wire.send("stop")
        wire.closed()
    assert ask(real_url, "GET", "/state")[1]["/limit20"] == []


def test_a_server_that_is_terminated_says_1012(fresh_server: RealServer) -> None:
    with SocketStream(fresh_server.url, "/echo").start() as wire:
        wire.ping()
        fresh_server.process.terminate()
        assert wire.closed() == 1012
