"""Blocking, thread-based client for streaming expression measurement.

The names here are the public ones of the v0 protocol; `hume_sync.emulator` is the local server.
"""

import logging as _logging

from ._version import __version__
from .errors import (
    AuthenticationError,
    ConfigurationError,
    ConnectError,
    ConnectionLost,
    HandshakeRejected,
    HumeClientException,
    InputError,
    MessageTooLarge,
    MisuseError,
    PoolClosed,
    PoolError,
    PoolFull,
    PoolTimeout,
    ProtocolError,
    ReplyMismatch,
    RequestError,
    Timeout,
    TransportError,
)
from .net.retry import RetryEvent, RetryPolicy
from .stream import (
    BurstConfig,
    FaceConfig,
    FacemeshConfig,
    HumeStreamClient,
    LanguageConfig,
    ModelConfigBase,
    ModelType,
    NerConfig,
    ProsodyConfig,
    StreamPool,
    StreamResponse,
    StreamSocket,
    deserialize_configs,
    serialize_configs,
)

__all__ = [
    "AuthenticationError",
    "BurstConfig",
    "ConfigurationError",
    "ConnectError",
    "ConnectionLost",
    "FaceConfig",
    "FacemeshConfig",
    "HandshakeRejected",
    "HumeClientException",
    "HumeStreamClient",
    "InputError",
    "LanguageConfig",
    "MessageTooLarge",
    "MisuseError",
    "ModelConfigBase",
    "ModelType",
    "NerConfig",
    "PoolClosed",
    "PoolError",
    "PoolFull",
    "PoolTimeout",
    "ProsodyConfig",
    "ProtocolError",
    "ReplyMismatch",
    "RequestError",
    "RetryEvent",
    "RetryPolicy",
    "StreamPool",
    "StreamResponse",
    "StreamSocket",
    "Timeout",
    "TransportError",
    "__version__",
    "deserialize_configs",
    "serialize_configs",
]

_logging.getLogger(__name__).addHandler(_logging.NullHandler())
