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
    ProtocolError,
    ReplyMismatch,
    RequestError,
    Timeout,
    TransportError,
)
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
    "ProsodyConfig",
    "ProtocolError",
    "ReplyMismatch",
    "RequestError",
    "StreamResponse",
    "StreamSocket",
    "Timeout",
    "TransportError",
    "__version__",
    "deserialize_configs",
    "serialize_configs",
]

_logging.getLogger(__name__).addHandler(_logging.NullHandler())
