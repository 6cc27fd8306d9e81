"""Results for tests, as the local server would have them measured."""

from __future__ import annotations

from typing import Any

from hume_sync.batch import ItemError, Result
from hume_sync.emulator import names
from hume_sync.emulator.scores import content_key, scores
from hume_sync.stream import StreamResponse

HASH = "0123456789abcdef" * 2
FAILURE = ItemError("RequestError", "E0200", "hume(E0200): no known type", False)


def invented(*parts: str) -> list[dict[str, Any]]:
    return [dict(score) for score in scores(content_key(0, "test", *(part.encode() for part in parts)), names.EMOTIONS)]


def words(key: str, count: int = 2) -> StreamResponse:
    """Return a reply of the language model."""
    found = []
    for place in range(count):
        key_of_scores = content_key(0, "test", key.encode(), str(place).encode())
        emotions = scores(key_of_scores, names.LANGUAGE_EMOTIONS)
        position = {"begin": 6 * place, "end": 6 * place + 5}
        found.append({"text": f"word{place}", "position": position, "emotions": emotions})
    return StreamResponse({"language": {"predictions": found}}, emulated=True)


def speech(key: str) -> StreamResponse:
    """Return a reply of the prosody model, with one prediction."""
    predictions = [{"time": {"begin": 0.0, "end": 2.0}, "emotions": invented(key)}]
    reply = StreamResponse({"prosody": {"predictions": predictions}}, emulated=True)
    reply.window_state = "warm"
    return reply


def measured(key: str, reply: StreamResponse | None = None, *, content_hash: str = HASH) -> Result:
    return Result.measured(key, content_hash, words(key) if reply is None else reply, seconds=0.25, requests=1)


def failed(key: str, error: ItemError = FAILURE) -> Result:
    return Result(key, HASH, error, attempts=3, seconds=0.5)
