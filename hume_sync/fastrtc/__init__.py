"""A blocking client for FastRTC servers (the "Connecting via API" page): audio and messages both ways.

::

    from hume_sync.fastrtc import FastRTCClient

    client = FastRTCClient("http://127.0.0.1:7860", path="/echo", input_sample_rate=16000, output_sample_rate=16000)
    with client.connect() as session:
        session.send_audio("question.wav", end=True)
        print(session.reply(timeout=10))
"""

from ..errors import (
    ConnectionAlreadyExists,
    HookError,
    InboxOverflow,
    OutputTooLarge,
    ReplyTimeout,
    TooManyConnections,
)
from .client import FastRTCClient
from .events import (
    AudioChunk,
    Custom,
    EndStream,
    ErrorMessage,
    Event,
    FetchOutput,
    LogMessage,
    Reconnected,
    SendInput,
    StopWord,
    UpdateConnection,
    WarningMessage,
)
from .reply import Reply, with_pauses
from .session import Session

__all__ = [
    "AudioChunk",
    "ConnectionAlreadyExists",
    "Custom",
    "EndStream",
    "ErrorMessage",
    "Event",
    "FastRTCClient",
    "FetchOutput",
    "HookError",
    "InboxOverflow",
    "LogMessage",
    "OutputTooLarge",
    "Reconnected",
    "Reply",
    "ReplyTimeout",
    "SendInput",
    "Session",
    "StopWord",
    "TooManyConnections",
    "UpdateConnection",
    "WarningMessage",
    "with_pauses",
]
