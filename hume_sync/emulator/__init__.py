"""A local server for Hume's v0 streaming protocol, with invented scores that are marked as such.

    with Emulator(latency=0.05) as server:
        ...  # clients connect to server.url + "/v0/stream/models"

It is written from the protocol alone and shares no code with the client, so each can be tested against the
other. Undocumented behaviour of the service is configurable; `Knobs` lists the settings.
"""

try:
    import websockets as _websockets  # noqa: F401 - installed by the extra
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
