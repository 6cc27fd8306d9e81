"""Hume's v0 streaming protocol: text, audio, images and facemesh landmarks in, expression scores out."""

from .client import HumeStreamClient
from .configs import (
    BurstConfig,
    FaceConfig,
    FacemeshConfig,
    LanguageConfig,
    ModelConfigBase,
    ModelType,
    NerConfig,
    ProsodyConfig,
    deserialize_configs,
    serialize_configs,
)
from .pool import StreamPool
from .responses import StreamResponse
from .stream_socket import StreamSocket

__all__ = [
    "BurstConfig",
    "FaceConfig",
    "FacemeshConfig",
    "HumeStreamClient",
    "LanguageConfig",
    "ModelConfigBase",
    "ModelType",
    "NerConfig",
    "ProsodyConfig",
    "StreamPool",
    "StreamResponse",
    "StreamSocket",
    "deserialize_configs",
    "serialize_configs",
]
