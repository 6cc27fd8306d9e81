"""Parts of an item: requests that a server takes, and the models to ask for in each."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, Protocol

import attrs

from ..errors import InputError
from ..reprs import safe_repr
from ..stream import (
    BurstConfig,
    FaceConfig,
    FacemeshConfig,
    LanguageConfig,
    ModelConfigBase,
    ModelType,
    ProsodyConfig,
    StreamResponse,
)
from ..stream.configs import model_name

__all__ = ["Configs", "Content", "Part", "Sender", "audible", "fitting_configs"]

Configs = tuple[ModelConfigBase, ...]

Content = Literal["audio", "video", "image", "text", "landmarks"]
"""What an item turned out to be."""

_FITTING: Final[Mapping[Content, tuple[ModelType, ...]]] = MappingProxyType(
    {
        "audio": (ModelType.BURST, ModelType.PROSODY),
        "video": (ModelType.BURST, ModelType.FACE, ModelType.PROSODY),
        "image": (ModelType.FACE,),
        "text": (ModelType.LANGUAGE,),
        "landmarks": (ModelType.FACEMESH,),
    }
)
"""The models of the protocol that measure each kind of content."""

_DEFAULTS: Final[Mapping[Content, Configs]] = MappingProxyType(
    {
        "audio": (ProsodyConfig(), BurstConfig()),
        "video": (FaceConfig(), ProsodyConfig(), BurstConfig()),
        "image": (FaceConfig(),),
        "text": (LanguageConfig(),),
        "landmarks": (FacemeshConfig(),),
    }
)


class Sender(Protocol):
    """The methods of a `StreamSocket` that a part uses."""

    def send_media(self, data: Any, configs: Configs | None = None, *, timeout: float | None = None) -> StreamResponse:
        """Send raw media."""

    def send_text(self, text: str, configs: Configs | None = None, *, timeout: float | None = None) -> StreamResponse:
        """Send plain text."""

    def send_facemesh(
        self, landmarks: Any, configs: Configs | None = None, *, timeout: float | None = None
    ) -> StreamResponse:
        """Send landmarks."""


@safe_repr
@attrs.frozen
class Part:
    """One request of an item.

    Attributes:
        kind: How ``data`` is sent: "media" (bytes), "text" (a str) or "landmarks".
        data: What is sent.
        configs: The models for this part; None for those of the socket.
        offset_chars: Where a text begins in the item's text, in code points.
        seconds: The length of WAV audio; None for all else.
    """

    kind: Literal["media", "text", "landmarks"]
    data: Any = attrs.field(repr=False)
    configs: Configs | None = None
    offset_chars: int = 0
    seconds: float | None = None

    def send(self, socket: Sender, *, timeout: float | None = None) -> StreamResponse:
        """Send the part and return the reply.

        Args:
            socket: A `StreamSocket`: of one stream for all parts of an item, sent in order, and of no other item.
            timeout: Seconds; None for the client's default.

        Raises:
            HumeClientException: As of the socket's own methods.
        """
        if self.kind == "text":
            return socket.send_text(self.data, self.configs, timeout=timeout)
        if self.kind == "landmarks":
            return socket.send_facemesh(self.data, self.configs, timeout=timeout)
        return socket.send_media(self.data, self.configs, timeout=timeout)


def audible(configs: Configs) -> Configs:
    """Return those that measure sound."""
    return tuple(config for config in configs if model_name(config) in _FITTING["audio"])


def fitting_configs(asked: Configs | None, content: Content, name: str, description: str) -> Configs:
    """Return those of the models asked for that measure a kind of content. A server's own models may measure any media.

    Args:
        asked: The models; None for all that fit.
        content: The kind.
        name: What an error calls the item.
        description: What the item is, as a phrase: "WAV audio".

    Raises:
        InputError: None of the models fits.
    """
    if asked is None:
        return _DEFAULTS[content]
    is_media = content not in ("text", "landmarks")
    fitting = tuple(config for config in asked if _fits(model_name(config), content, is_media=is_media))
    if not fitting:
        names = ", ".join(sorted({model_name(config) for config in asked}))
        accepted = ", ".join(_FITTING[content])
        raise InputError(
            f"{name} is {description}, and none of the models asked for ({names}) measures that: {accepted}"
        )
    return fitting


def _fits(model: str, content: Content, *, is_media: bool) -> bool:
    return model in _FITTING[content] or (is_media and model not in set(ModelType))
