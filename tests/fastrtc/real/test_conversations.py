"""Our client and real servers of several versions: each question gets its answer, over both transports."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from ..rtctalk import missing_for_webrtc
from .asking import Talk
from .conftest import NEWEST, OLDER, RealServer
from .conversations import CONVERSATIONS

pytestmark = [pytest.mark.fastrtc, pytest.mark.timeout(180)]

AT_ONCE = 5
"""Conversations: a server and a client of more need all of a processor over WebRTC."""

CASES = [
    (version, name)
    for version in (*OLDER, NEWEST)
    for name, conversation in CONVERSATIONS.items()
    if conversation.each_version or version == NEWEST
]

Playing = Callable[[str, str, str], Future[None]]


@pytest.fixture(scope="module")
def playing(request: pytest.FixtureRequest, server_of: Callable[[str], RealServer]) -> Iterator[Playing]:
    """All that were selected with a version are begun with the first, side by side."""
    cases = [
        tuple(item.callspec.params[name] for name in ("version", "transport", "name"))
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.module is request.module
    ]
    begun: dict[tuple[str, ...], Future[None]] = {}
    threads = ThreadPoolExecutor(AT_ONCE)

    def playing(version: str, transport: str, name: str) -> Future[None]:
        if (version, transport, name) not in begun:
            url = server_of(version).url
            for case in cases:
                if case[0] == version and not (case[1] == "webrtc" and missing_for_webrtc()):
                    begun[case] = threads.submit(CONVERSATIONS[case[2]].play, Talk(url, case[1]))
        return begun[version, transport, name]

    yield playing
    threads.shutdown(cancel_futures=True)


@pytest.mark.parametrize(("version", "name"), CASES)
def test_conversation(playing: Playing, version: str, transport: str, name: str) -> None:
    playing(version, transport, name).result()
