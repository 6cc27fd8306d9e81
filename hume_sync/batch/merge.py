"""The replies to the parts of an item, as one reply."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from ..errors import InputError
from ..stream import StreamResponse
from .parts import Part

__all__ = ["merge"]

_STATES: Final = ("cold", "rebuilt", "warm")
"""States of the window, the worst first."""

_OF_ONE_REQUEST: Final = frozenset({"payload_id"})
_OF_A_WARNING: Final = frozenset({"warning", "code"})


def merge(replies: Sequence[StreamResponse], parts: Iterable[Part]) -> StreamResponse:
    """Return the replies to the parts of an item as one reply, of the same shape.

    The predictions of each model are joined in order, with the ``position`` of a text counted from the beginning of
    the whole text. Times are not changed: on one stream they run on from part to part. A model's warning remains only
    if it predicted nothing in any part. ``attempts`` is the highest of the parts, ``window_state`` the worst; the reply
    is ``emulated`` if any part's is. The reply to a single part is returned as it is. No reply is changed.

    Args:
        replies: In the order of the parts.
        parts: The parts; of each, ``offset_chars`` is used.

    Returns:
        The merged reply.

    Raises:
        InputError: There is no reply, or another number of them than of parts.
    """
    offsets = [part.offset_chars for part in parts]
    if len(replies) != len(offsets) or not replies:
        raise InputError(f"replies must be one for each part and at least one, got {len(replies)} for {len(offsets)}")
    if len(replies) == 1 and not offsets[0]:
        return replies[0]
    merged = StreamResponse(emulated=any(reply.emulated for reply in replies))
    names = dict.fromkeys(name for reply in replies for name in reply if name not in _OF_ONE_REQUEST)
    for name in names:
        found = [(reply[name], offset) for reply, offset in zip(replies, offsets, strict=True) if name in reply]
        bodies = [(body, offset) for body, offset in found if isinstance(body, dict)]
        merged[name] = _merge_bodies(bodies) if bodies else found[0][0]
    if any(_predicts(body) for body in merged.values()):  # warnings in place of a whole reply
        for name in _OF_A_WARNING & merged.keys():
            del merged[name]
    merged.attempts = max(reply.attempts for reply in replies)
    merged.window_state = min(
        (reply.window_state for reply in replies if reply.window_state in _STATES), key=_STATES.index, default=None
    )
    if any(reply.clock_offset is None for reply in replies):
        merged.clock_offset = None
    return merged


def _merge_bodies(bodies: list[tuple[dict[str, Any], int]]) -> dict[str, Any]:
    """Merge what one model said of each part."""
    merged: dict[str, Any] = {}
    predictions: list[Any] = []
    for body, offset in bodies:
        if isinstance(found := body.get("predictions"), list):
            predictions += [_shifted(prediction, offset) for prediction in found] if offset else found
    predicts = any(_predicts(body) for body, _ in bodies)
    for body, _ in bodies:
        for name, value in body.items():
            if name == "predictions":
                merged.setdefault(name, predictions)
            elif not (predicts and name in _OF_A_WARNING):
                merged.setdefault(name, value)
    return merged


def _predicts(body: object) -> bool:
    return isinstance(body, dict) and isinstance(body.get("predictions"), list)


def _shifted(prediction: Any, offset: int) -> Any:
    """Return a prediction with its position in the text moved by some characters."""
    position = prediction.get("position") if isinstance(prediction, dict) else None
    if not isinstance(position, dict):
        return prediction
    moved = {
        end: position[end] + offset
        for end in ("begin", "end")
        if isinstance(position.get(end), int | float) and not isinstance(position[end], bool)
    }
    return {**prediction, "position": {**position, **moved}}
