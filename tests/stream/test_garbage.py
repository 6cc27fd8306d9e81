"""A socket that is dropped is freed at once, and its media with it, even if its calls failed."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator

import pytest

from hume_sync import (
    HumeClientException,
    HumeStreamClient,
    LanguageConfig,
    ProsodyConfig,
    RetryPolicy,
)
from hume_sync.emulator import Emulator
from tests.emulator.support import tone, wav
from tests.faultproxy import FaultProxy, Peer

Fault = Callable[[Emulator, FaultProxy], object]


def _reset(peer: Peer, reply: bytes = b"") -> bool:
    peer.reset()
    return False


def _says_nothing(peer: Peer, reply: bytes) -> bool:
    peer.wait_gone()
    return False


def _no_json(peer: Peer, reply: bytes) -> bool:
    peer.send_frame(b"no JSON")
    return False


def _closes(peer: Peer, reply: bytes) -> bool:
    peer.send_close(1011, "no")
    return False


def _masked(peer: Peer, reply: bytes) -> bool:
    peer.send(b"\x81\x81aaaaa")
    return False


def _again_refused(server: Emulator, status: int) -> None:
    server.drop_connections()
    server.refuse(status, times=9)


FAULTS: dict[str, Fault] = {
    "none": lambda server, proxy: None,
    "a refused payload": lambda server, proxy: server.fail_next("E0102", "no", times=9),
    "the server's fault": lambda server, proxy: server.fail_next("I0100", "no", times=9),
    "the server's fault, once": lambda server, proxy: server.fail_next("I0100", "no"),
    "gone while idle": lambda server, proxy: server.drop_connections(),
    "closed while idle": lambda server, proxy: server.drop_connections(1001),
    "closed when asked": lambda server, proxy: proxy.on_reply(_closes),
    "refused": lambda server, proxy: _again_refused(server, 503),
    "a refused key": lambda server, proxy: _again_refused(server, 401),
    "reset": lambda server, proxy: proxy.on_reply(_reset),
    "reset while asked": lambda server, proxy: proxy.on_request(_reset),
    "no reply": lambda server, proxy: proxy.on_reply(_says_nothing),
    "a reply that is no JSON": lambda server, proxy: proxy.on_reply(_no_json),
    "a masked frame": lambda server, proxy: proxy.on_reply(_masked),
    "away": lambda server, proxy: proxy.go_away(60),
}


@pytest.fixture
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collector")
@pytest.mark.parametrize("attempts", [1, 2])
@pytest.mark.parametrize("leased", [False, True], ids=["socket", "lease"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_socket_that_is_dropped_is_gone_at_once(
    hume_emulator: Emulator, proxy: FaultProxy, fault: str, leased: bool, attempts: int
) -> None:
    policy = RetryPolicy(max_attempts=attempts, initial=0.001, maximum=0.001)
    client = HumeStreamClient("k", base_url=proxy.url, proxy=False, timeout=5.0, retry=policy)
    with client.pool([ProsodyConfig()]) as pool:
        socket = pool.socket().__enter__() if leased else client.connect([ProsodyConfig()])
        socket.send_media(wav(tone(1.0)))
        FAULTS[fault](hume_emulator, proxy)
        try:
            socket.send_text("a", [LanguageConfig()], timeout=0.2 if fault == "no reply" else None)
        except HumeClientException:
            pass
        seen = weakref.ref(socket)
        if not leased:
            socket.close()
        del socket
        assert seen() is None
        assert pool.stats()["leases"] == 0
