"""Prepared replies with the shape and size of real ones: 48 emotions and about 2.5 KB for each face."""

from __future__ import annotations

import json
import random
from functools import lru_cache

from .frames import header

__all__ = ["Reply"]

_WIDTH = 12
_EMOTIONS = (
    "Admiration", "Adoration", "Aesthetic Appreciation", "Amusement", "Anger", "Anxiety", "Awe",
    "Awkwardness", "Boredom", "Calmness", "Concentration", "Contemplation", "Confusion", "Contempt",
    "Contentment", "Craving", "Determination", "Disappointment", "Disgust", "Distress", "Doubt", "Ecstasy",
    "Embarrassment", "Empathic Pain", "Entrancement", "Envy", "Excitement", "Fear", "Guilt", "Horror",
    "Interest", "Joy", "Love", "Nostalgia", "Pain", "Pride", "Realization", "Relief", "Romance", "Sadness",
    "Satisfaction", "Desire", "Shame", "Surprise (negative)", "Surprise (positive)", "Sympathy",
    "Tiredness", "Triumph",
)  # fmt: skip


class Reply:
    """A prepared reply frame, into which two numbers are written.

    ``connection`` names the connection, ``number`` counts its requests, and ``received`` is the length of the received
    request. From these a client can tell whether a reply belongs to its request.
    """

    def __init__(self, model: str, faces: int, connection: str) -> None:
        blank = b" " * _WIDTH  # JSON allows space before a number
        begin = b'{"connection":"%s","number":' % connection.encode()
        text = b"".join((begin, blank, b',"received":', blank, b",", _scores(model, faces)))
        head = header(len(text))
        self._frame = bytearray(head + text)
        self._number = len(head) + len(begin)
        self._received = self._number + _WIDTH + len(b',"received":')

    def frame(self, number: int, received: int) -> bytearray:
        """Return the frame with these two numbers. Every call returns the same buffer."""
        self._frame[self._number : self._number + _WIDTH] = b"%12d" % number
        self._frame[self._received : self._received + _WIDTH] = b"%12d" % received
        return self._frame


@lru_cache
def _scores(model: str, faces: int) -> bytes:
    """Return the member with the scores, and the end of the object."""
    chance = random.Random(faces)
    predictions = [
        {
            "face_id": str(face),
            "emotions": [{"name": name, "score": round(chance.random(), 16)} for name in _EMOTIONS],
        }
        for face in range(faces)
    ]
    return json.dumps({model: {"predictions": predictions}}, separators=(",", ":")).encode()[1:]
