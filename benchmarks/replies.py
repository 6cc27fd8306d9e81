"""Replies of the shape and size of real ones: 48 emotions a face, about 2.5 KB each, made before they are needed."""

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
    """The frame of a reply, complete but for two numbers, which are written in place.

    ``connection`` names the connection and ``number`` counts its requests; ``received`` is the length of the request
    as it arrived. With them a client knows whether a reply is the one to its request.
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
        """The frame with these two numbers; it is the same buffer each time."""
        self._frame[self._number : self._number + _WIDTH] = b"%12d" % number
        self._frame[self._received : self._received + _WIDTH] = b"%12d" % received
        return self._frame


@lru_cache
def _scores(model: str, faces: int) -> bytes:
    """The member with the scores, and the end of the object."""
    chance = random.Random(faces)
    predictions = [
        {
            "face_id": str(face),
            "emotions": [{"name": name, "score": round(chance.random(), 16)} for name in _EMOTIONS],
        }
        for face in range(faces)
    ]
    return json.dumps({model: {"predictions": predictions}}, separators=(",", ":")).encode()[1:]
