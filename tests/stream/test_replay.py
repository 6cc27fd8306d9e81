"""The promise: cut a stream wherever you like, and every reply is what it would have been.

The same 60 seconds of audio are measured undisturbed, and through a proxy that cuts the connection at every payload,
in every place there is. Scores are a function of all the server hears, context included, and times of all it has
heard before; so equal replies mean that it heard the same.
"""

from __future__ import annotations

import base64
import functools
import queue
import re
import socket
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from hume_sync import HumeStreamClient, ProsodyConfig, RetryPolicy, StreamPool, StreamResponse
from hume_sync.emulator import Emulator
from hume_sync.stream.wav import Wav
from tests.emulator.support import chunk, wav
from tests.faultproxy import TEXT, FaultProxy, Peer, frame, head, read_frame

from .support import SPEECH

RATE = 4000
SECONDS = 60
WINDOWS = (600, 5000, 10000)
SINGLE = (0.4, 1.1, 3.0, 1.5)  # lengths of payloads, again and again: 40 of them
POOLED = (0.4, 4.6, 2.5, 2.5)  # 24 of them
KEYS = 4
THREADS = 4
PLACES = ("before write", "mid-frame", "after write", "mid-reply", "idle", "during replay")
QUICK = RetryPolicy(max_attempts=8, initial=0.0005, maximum=0.0005)

Place = tuple[int, int]
"""A payload: its stream, and its number there."""


@functools.cache
def minute(key: int) -> Any:
    """60 seconds of speech at 4 kHz, no second of it like another, and each stream's its own."""
    parsed = Wav.parse(SPEECH)
    assert parsed
    speech = np.frombuffer(parsed.samples, "<i2")[:: parsed.sample_rate // RATE].astype(int)
    long = np.resize(speech, SECONDS * RATE)
    ramp = 1 + np.arange(len(long)) % 997 + 31 * key
    return np.clip(long * (0.5 + ramp / 4000) + ramp % 17, -32768, 32767).astype("<i2")


@functools.cache
def payloads(key: int, lengths: tuple[float, ...]) -> tuple[bytes, ...]:
    """The minute in payloads, each with its place written near its beginning, where no model hears it."""
    samples, start = minute(key), 0
    made: list[bytes] = []
    while start < len(samples):
        end = start + round(lengths[len(made) % len(lengths)] * RATE)
        tag = chunk(b"tag ", struct.pack(">HH", key, len(made)))
        made.append(wav(samples[start:end].tobytes(), rate=RATE, before=tag))
        start = end
    return tuple(made)


def heard(reply: StreamResponse) -> Any:
    return reply["prosody"]


@functools.cache
def undisturbed(key: int, window: int, lengths: tuple[float, ...]) -> list[Any]:
    with Emulator() as server, HumeStreamClient("k", base_url=server.url).connect([ProsodyConfig()], window) as stream:
        replies = [stream.send_media(payload) for payload in payloads(key, lengths)]
    assert {(reply.attempts, reply.window_state) for reply in replies} == {(1, "warm")}
    return [heard(reply) for reply in replies]


class Cutter(FaultProxy):
    """Cuts connections at planned payloads."""

    def __init__(self, upstream: tuple[str, int], plan: dict[Place, str]) -> None:
        super().__init__(upstream)
        self.plan = plan
        self.played: list[str] = []
        self._replays: dict[Place, str] = {}

    def _relay(self, peer: Peer, upstream: socket.socket) -> None:
        with upstream.makefile("rb") as replies:
            upstream.sendall(b"".join(head(peer.file)))
            peer.send(b"".join(head(replies)))
            while True:
                place = self._peek(peer)
                # On what is seen for the first time: a payload of its own, or (armed then) one that is replayed.
                fault = self._replays.pop(place, None) or self.plan.pop(place, "")
                if fault == "mid-frame":
                    self.played.append(fault)
                    peer.reset()
                    return
                opcode, raw, _ = read_frame(peer.file)
                upstream.sendall(raw)
                if opcode != TEXT:
                    return
                _, raw, _ = read_frame(replies)
                if not self._answer(peer, raw, place, fault):
                    return

    def _peek(self, peer: Peer) -> Place:
        """Which payload begins to arrive; nothing of it is taken."""
        start = b""
        while (found := re.search(rb'"data":"([\w+/]{32})', start)) is None:
            raw = peer.file.peek()
            if not raw:
                raise ConnectionResetError
            if raw[0] & 0x0F != TEXT:
                return -1, -1
            if len(raw) < 100:  # so short in one read: take it all, and look again
                peer.file = _Again(peer.file)  # type: ignore[assignment]
                raw = peer.file.peek(100)
            mask = 4 if raw[1] & 0x7F == 126 else 10
            start = bytes(byte ^ raw[mask + i % 4] for i, byte in enumerate(raw[mask + 4 : mask + 104]))
        key, index = struct.unpack(">HH", base64.b64decode(found[1])[20:24])
        return key, index

    def _answer(self, peer: Peer, raw: bytes, place: Place, fault: str) -> bool:
        if fault:
            self.played.append(fault)
        if fault == "after write":
            return False
        if fault == "mid-reply":
            peer.send(raw[: len(raw) // 2])
            return False
        if fault == "during replay":  # the connection goes now; when this payload is replayed, so does the next
            self._replays[place] = ("after write", "mid-reply", "mid-frame")[place[1] % 3]
        peer.send(raw)
        if fault == "idle":
            peer.send_close(1001)
            peer.wait_gone()
            return False
        if fault in ("before write", "during replay"):
            peer.sock.shutdown(socket.SHUT_RDWR)
            return False
        return True


class _Again:
    """A file whose first bytes have come in pieces."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._start: bytes = file.read(100)

    def peek(self, size: int = 0) -> bytes:
        return self._start or bytes(self._file.peek())

    def read(self, size: int) -> bytes:
        taken, self._start = self._start[:size], self._start[size:]
        return taken + bytes(self._file.read(size - len(taken)))

    def close(self) -> None:
        self._file.close()


def cuts(run: int, keys: int, count: int) -> dict[Place, str]:
    """Every payload is cut at, and over the runs in every place."""
    return {(key, i): PLACES[(i + run + key) % len(PLACES)] for key in range(keys) for i in range(count)}


@pytest.fixture
def cutter(hume_emulator: Emulator) -> Iterator[Cutter]:
    with Cutter(("127.0.0.1", hume_emulator.port), {}) as proxy:
        yield proxy


@pytest.mark.slow
@pytest.mark.parametrize("window", WINDOWS)
def test_a_minute_on_one_socket_cut_at_every_payload_in_every_place_measures_the_same(
    window: int, cutter: Cutter
) -> None:
    media = payloads(0, SINGLE)
    client = HumeStreamClient("k", base_url=cutter.url, retry=QUICK)
    for run in range(len(PLACES)):
        cutter.plan.update(cuts(run, 1, len(media)))
        with client.connect([ProsodyConfig()], window) as stream:
            replies = [stream.send_media(payload) for payload in media]
        assert [heard(reply) for reply in replies] == undisturbed(0, window, SINGLE)
        assert all(reply.window_state != "cold" for reply in replies)
    assert not cutter.plan
    assert len(media) == 40
    assert set(cutter.played) == set(PLACES)
    assert len(cutter.played) >= 6 * 40 + 6 * 5  # the planned ones, and those in replays they brought about


def by_turns(pool: StreamPool, count: int) -> dict[Place, StreamResponse]:
    """Send all payloads of all streams, on several threads: one lease a payload, by whichever thread is free."""
    got: dict[Place, StreamResponse] = {}
    turns: queue.SimpleQueue[Place | None] = queue.SimpleQueue()
    left = threading.Semaphore(0)

    def work() -> None:
        try:
            while turn := turns.get():
                key, index = turn
                with pool.socket(stream=key) as stream:
                    got[turn] = stream.send_media(payloads(key, POOLED)[index])
                if index + 1 < count:
                    turns.put((key, index + 1))
                else:
                    left.release()
        except BaseException:
            left.release(KEYS)
            raise

    for key in range(KEYS):
        turns.put((key, 0))
    with ThreadPoolExecutor(THREADS) as threads:
        workers = [threads.submit(work) for _ in range(THREADS)]
        for _ in range(KEYS):
            left.acquire()
        for _ in range(THREADS):
            turns.put(None)
        for worker in workers:
            worker.result()
    return got


@pytest.mark.slow
@pytest.mark.parametrize("window", WINDOWS)
def test_a_minute_each_of_four_streams_on_four_threads_and_two_connections_measures_the_same(
    window: int, cutter: Cutter
) -> None:
    count = len(payloads(0, POOLED))
    client = HumeStreamClient("k", base_url=cutter.url, retry=QUICK)
    states: set[str | None] = set()
    for run in (0, 4):  # four streams a run, each with its own turn of places: all six, and two twice
        cutter.plan.update(cuts(run, KEYS, count))
        with client.pool([ProsodyConfig()], window, max_size=2) as pool:
            got = by_turns(pool, count)
            stats = pool.stats()
        for key in range(KEYS):
            assert [heard(got[key, i]) for i in range(count)] == undisturbed(key, window, POOLED), f"stream {key}"
        states |= {reply.window_state for reply in got.values()}
        assert stats["replays"] > 0
        assert stats["busy"] == 0
    assert states == {"warm", "rebuilt"}
    assert not cutter.plan
    assert set(cutter.played) == set(PLACES)


def test_each_window_has_replies_of_its_own() -> None:
    by_window = [undisturbed(0, window, SINGLE) for window in WINDOWS]
    for i in range(0, 40, 4):
        if i:
            assert len({str(replies[i]) for replies in by_window}) == 3
    times = [replies[4]["predictions"][0]["time"] for replies in by_window]
    assert times == [{"begin": begin, "end": 6.4} for begin in (5.8, 1.4, 0.0)]


def test_the_proxy_knows_where_it_is_even_if_a_frame_comes_in_pieces(cutter: Cutter) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        peer = Peer(theirs, threading.Event())
        whole = frame(b'{"data":"' + base64.b64encode(payloads(3, POOLED)[7]) + b'"}')
        masked = whole[:1] + bytes([whole[1] | 0x80]) + whole[2:4] + bytes(4) + whole[4:]
        ours.sendall(masked[:20])
        peer.file.peek(1)
        ours.sendall(masked[20:])
        assert cutter._peek(peer) == (3, 7)
        assert read_frame(peer.file)[1] == masked
        peer.close()
