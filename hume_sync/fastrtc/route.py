"""The two routes by which a FastRTC stream is spoken to over WebSocket: that of applications, and that of telephones.

They differ in the connection's name, in the first message, and in a field of the others. What a telephone says has the
shape of Twilio's media streams; its audio has 8000 samples a second, both ways, whatever the rates of the handler are.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Final

import attrs
import orjson

from ..reprs import safe_repr
from .fields import OwnFields

__all__ = ["TELEPHONE_RATE", "MakeRoute", "Route", "application", "telephone"]

TELEPHONE_RATE: Final = 8000


@safe_repr
@attrs.frozen
class Route:
    """How one connection is spoken."""

    id: str
    """The connection's name: another one for each, since a refusal would free the slot of the one that has it."""
    start: bytes = attrs.field(repr=False)
    """The first message."""
    behind: bytes
    """What ends every other message of the session's own, behind its last value."""


MakeRoute = Callable[[OwnFields], Route]
"""Makes that of a new connection; the fields go into its first message."""


def application(fields: OwnFields) -> Route:
    """``/websocket/offer``."""
    name = str(uuid.uuid4())
    start = {"event": "start", "websocket_id": name}
    return Route(name, orjson.dumps(fields.beside(start)), b"}")


def telephone(fields: OwnFields) -> Route:
    """``/telephone/handler``."""
    name = f"MZ{uuid.uuid4().hex}"
    call = {
        "streamSid": name,
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": TELEPHONE_RATE, "channels": 1},
    }
    start = {"start": call} | fields.beside({"event": "start", "streamSid": name})
    return Route(name, orjson.dumps(start), b',"streamSid":"%b"}' % name.encode())
