"""A faithful local server for Hume's v0 streaming protocol; its scores are invented, and it says so.

    with Emulator(latency=0.05) as server:
        ...  # clients connect to server.url + "/v0/stream/models"

It is written from the protocol alone and shares no code with the client, so that each is a witness of the
other. What is unknown of the service is a setting: see :class:`Knobs`.
"""

try:
    import websockets as _websockets  # noqa: F401 - what the extra brings
except ModuleNotFoundError as exc:
    if exc.name != "websockets":
        raise
    raise ModuleNotFoundError(
        'the local server needs hume_sync with the extra "emulator": the module websockets is not installed',
        name="websockets",
    ) from None

from .journal import ConnectionEnded, HandshakeSeen, Journal, RequestSeen, data_digest_of
from .knobs import Knobs
from .names import DESCRIPTIONS, EMOTIONS, FACS, LANGUAGE_EMOTIONS, SENTIMENT, TOXICITY
from .server import Emulator

__all__ = [
    "DESCRIPTIONS",
    "EMOTIONS",
    "FACS",
    "LANGUAGE_EMOTIONS",
    "SENTIMENT",
    "TOXICITY",
    "ConnectionEnded",
    "Emulator",
    "HandshakeSeen",
    "Journal",
    "Knobs",
    "RequestSeen",
    "data_digest_of",
]
