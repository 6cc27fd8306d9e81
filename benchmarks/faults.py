"""The server of the soak test: a local server behind a fault proxy, in a separate process.

``python -m benchmarks.faults SEED`` prints the port, injects faults until standard input is closed, and then prints
the number of each fault as a line of JSON.
"""

from __future__ import annotations

import itertools
import json
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from hume_sync.emulator import Emulator
from tests.faultproxy import BINARY, CONTINUATION, PING, TEXT, FaultProxy, Peer, answer, frame, upgrade

__all__ = ["EMULATOR_SEED", "FAULTS", "REFUSED", "SHARES"]

EMULATOR_SEED = 7

SHARES = {"connect": 0.15, "request": 0.04, "reply": 0.14, "idle": 0.05}
"""The probability of a fault at each place of `FaultProxy`."""

REFUSED = "connect: refused"
"""The effect of "idle: server gone", which only the clients can count."""

_OUTAGE = 0.15  # seconds

Fault = Callable[..., bool]


def _hang_up(peer: Peer, *_: object) -> bool:
    return False


def _reset(peer: Peer, *_: object) -> bool:
    peer.reset()
    return False


def _deaf(peer: Peer, *_: object) -> bool:
    peer.wait_gone()
    return False


def _go_on(peer: Peer, *_: object) -> bool:
    return True


def _cut_upgrade(peer: Peer) -> bool:
    peer.send(upgrade(peer)[:60])
    return False


def _in_request(then: Fault) -> Fault:
    """Read a part of the request first, so the client is still writing if it is large."""

    def play(peer: Peer) -> bool:
        peer.file.read1(1000)
        return then(peer)

    return play


def _sends(make: Callable[[bytes], bytes], then: Fault) -> Fault:
    def play(peer: Peer, genuine: bytes) -> bool:
        peer.send(make(genuine))
        return then(peer)

    return play


def _half(genuine: bytes) -> bytes:
    return frame(genuine)[: len(genuine) // 2]


def _other_id(genuine: bytes) -> bytes:
    return frame(json.dumps({**json.loads(genuine), "payload_id": "other"}).encode())


def _load_error(genuine: bytes) -> bytes:
    error = {"error": "busy", "code": "I0100", "payload_id": json.loads(genuine).get("payload_id")}
    return frame(json.dumps(error).encode())


def _late(peer: Peer, genuine: bytes) -> bool:
    peer.wait_gone()  # send the reply after the client has stopped waiting
    with suppress(OSError):
        peer.send(frame(genuine))
    return False


def _closes(code: int) -> Fault:
    def play(peer: Peer, genuine: bytes) -> bool:
        peer.send_close(code, "the reason")
        peer.wait_gone()
        return False

    return play


def _fragments_with_ping(peer: Peer, genuine: bytes) -> bool:
    peer.send_frame(genuine[:10], TEXT, final=False)
    peer.send_frame(b"between", PING)
    peer.send_frame(genuine[10:20], CONTINUATION, final=False)
    peer.send_frame(genuine[20:], CONTINUATION)
    return True


def _when_idle(then: Fault) -> Fault:
    def play(peer: Peer) -> bool:
        peer.stop.wait(0.01)
        return then(peer)

    return play


def _stray(peer: Peer) -> bool:
    peer.send_frame(b'{"language": {"predictions": []}, "payload_id": "stray"}')
    return True


def _ping(peer: Peer) -> bool:
    peer.send_frame(b"still there?", PING)
    return True


def _server_gone(peer: Peer) -> bool:
    raise NotImplementedError  # replaced by a method of the proxy


def _refuses(status: int, *delays: int) -> Fault:
    """Reject the handshake, with these values of Retry-After in turn."""
    faults = itertools.cycle(
        answer(f"HTTP/1.1 {status} No\r\nRetry-After: {delay}\r\nContent-Length: 0\r\n\r\n") for delay in delays
    )

    def play(peer: Peer) -> bool:
        return next(faults)(peer)

    return play


FAULTS: dict[str, tuple[int, Fault]] = {
    # Weight and fault. Those that make a client wait for its timeout are rarer.
    "connect: deaf": (1, _deaf),
    "connect: 429, Retry-After": (1, _refuses(429, 0, 0, 0, 0, 1)),
    "connect: 503": (2, _refuses(503, 0)),
    "connect: hang up": (2, _hang_up),
    "connect: reset": (2, _reset),
    "connect: upgrade cut": (2, _cut_upgrade),
    "request: hang up before": (2, _hang_up),
    "request: reset before": (2, _reset),
    "request: hang up within": (2, _in_request(_hang_up)),
    "request: reset within": (2, _in_request(_reset)),
    "reply: hang up after write": (2, _hang_up),
    "reply: reset after write": (2, _reset),
    "reply: half, then reset": (2, _sends(_half, _reset)),
    "reply: half, then silence": (1, _sends(_half, _deaf)),
    "reply: half, then the end": (2, _sends(_half, _hang_up)),
    "reply: twice": (2, _sends(lambda genuine: frame(genuine) * 2, _go_on)),
    "reply: late": (1, _late),
    "reply: wrong id": (2, _sends(_other_id, _deaf)),
    "reply: not JSON": (2, _sends(lambda _: frame(b"<html>busy</html>"), _deaf)),
    "reply: binary": (2, _sends(lambda genuine: frame(genuine, BINARY), _deaf)),
    "reply: close 1001": (2, _closes(1001)),
    "reply: close 1011": (2, _closes(1011)),
    "reply: close 1013": (2, _closes(1013)),
    "reply: error I0100": (2, _sends(_load_error, _go_on)),
    "reply: fragments, ping between": (2, _fragments_with_ping),
    "idle: hang up": (2, _when_idle(_hang_up)),
    "idle: reset": (2, _when_idle(_reset)),
    "idle: stray message": (2, _when_idle(_stray)),
    "idle: ping": (2, _when_idle(_ping)),
    "idle: server gone": (2, _server_gone),
}


class FaultPlan:
    """A seeded plan of faults with the probabilities of `SHARES`, dealt from shuffled packs so that all occur."""

    def __init__(self, seed: int) -> None:
        self.played: Counter[str] = Counter()
        self.exchanges = 0
        self.server_gone: Fault = _server_gone
        self._random = random.Random(seed)
        self._lock = threading.Lock()  # guards all of this
        self._packs: dict[str, list[str]] = {place: [] for place in SHARES}

    def __call__(self, place: str) -> Fault | None:
        """Return the fault to inject now, or None."""
        with self._lock:
            self.exchanges += place == "request"
            if self._random.random() >= SHARES[place]:
                return None
            pack = self._packs[place]
            if not pack:
                pack += [name for name, (weight, _) in FAULTS.items() for _ in range(weight) if name.startswith(place)]
                self._random.shuffle(pack)
            name = pack.pop()
            self.played[name] += 1
            return self.server_gone if name == "idle: server gone" else FAULTS[name][1]


def main() -> None:
    """Serve until standard input is closed."""
    plan = FaultPlan(int(sys.argv[1]))
    with Emulator(seed=EMULATOR_SEED) as emulator, FaultProxy(("127.0.0.1", emulator.port), plan) as proxy:

        def server_gone(peer: Peer) -> bool:
            proxy.go_away(_OUTAGE)
            return False

        plan.server_gone = server_gone
        print(proxy.port, flush=True)
        sys.stdin.read()
        print(json.dumps({"exchanges": plan.exchanges, "played": plan.played}), flush=True)


if __name__ == "__main__":
    main()
