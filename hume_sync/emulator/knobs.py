"""The settings of the local server: undocumented behaviour of the service, and faults to simulate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

from attrs import Attribute, field, frozen, validators

from ..reprs import safe_repr

_Validator = Callable[[Any, "Attribute[Any]", Any], None]


def is_close_code(code: object) -> bool:
    """Return whether a close frame may carry ``code``."""
    if not isinstance(code, int) or isinstance(code, bool):
        return False
    return code in {1000, 1001, 1002, 1003, *range(1007, 1015)} or 3000 <= code <= 4999


def _number(
    kinds: tuple[type, ...], low: float, high: float, *, open_low: bool = False, optional: bool = False
) -> _Validator:
    def check(_: object, attribute: Attribute[Any], value: object) -> None:
        if value is None and optional:
            return
        if not isinstance(value, kinds) or isinstance(value, bool):
            wanted = "a whole number" if kinds == (int,) else "a number"
            raise TypeError(f"{attribute.name} must be {wanted}{' or None' if optional else ''}, not {value!r}")
        assert isinstance(value, int | float)
        if not low <= value <= high or (open_low and value == low) or math.isinf(value):
            above = f"above {low:g}" if open_low else f"from {low:g}"
            raise ValueError(f"{attribute.name} must be {above} to {high:g}, not {value!r}")

    return check


def _whole(low: float, high: float = math.inf, *, optional: bool = False) -> _Validator:
    return _number((int,), low, high, optional=optional)


def _real(low: float, high: float = math.inf, *, open_low: bool = False, optional: bool = False) -> _Validator:
    return _number((int, float), low, high, open_low=open_low, optional=optional)


def _switch(_: object, attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{attribute.name} must be True or False, not {value!r}")


def _choice(*values: str) -> _Validator:
    def check(_: object, attribute: Attribute[Any], value: object) -> None:
        if value not in values:
            raise ValueError(f"{attribute.name} must be one of {', '.join(values)}, not {value!r}")

    return check


def _close_code(_: object, attribute: Attribute[Any], value: object) -> None:
    if not is_close_code(value):
        raise ValueError(f"{attribute.name} must be a close code that may be sent, not {value!r}")


def _error_code(_: object, attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, str) or not value:
        raise TypeError(f"{attribute.name} must be an error code such as 'E0206', not {value!r}")


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        raise TypeError(f"query_key_names must be a collection of names, not {value!r}")
    return tuple(value)


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"reset_reply and warning_texts must be mappings, not {value!r}")
    return MappingProxyType(dict(value))


@safe_repr
@frozen(kw_only=True)
class Knobs:
    """The settings of an emulator. Times are in seconds and sizes in bytes, unless the name says otherwise.

    Raises:
        TypeError: A value has the wrong type; the message names the setting.
        ValueError: A value is out of range; the message names the setting.
    """

    seed: int = field(default=0, validator=_whole(-math.inf))
    """Scores and job ids are a function of it and of the content."""

    # --- time and faults -----------------------------------------------------------------------------
    latency: float = field(default=0.0, validator=_real(0))
    """Seconds from a request to its reply."""
    drop_after: int | None = field(default=None, validator=_whole(0, optional=True))
    """Each connection is aborted without a close frame after this many replies (0: as soon as it is open)."""
    idle_timeout: float | None = field(default=60.0, validator=_real(0, open_low=True, optional=True))
    """Seconds without a request, counted from the last reply, until the server closes. None: never.
    Documentation as quoted by users: one minute."""
    idle_close_code: int = field(default=1000, validator=_close_code)
    """Unknown of the service."""
    max_lifetime: float | None = field(default=None, validator=_real(0, open_low=True, optional=True))
    """Seconds from the handshake until the server closes. Early documentation can be read as 60."""
    lifetime_close_code: int = field(default=1000, validator=_close_code)
    """Unknown of the service."""
    pings_count_as_activity: bool = field(default=False, validator=_switch)
    """Whether a client's ping puts off the idle close. Unknown; users' reports suggest not."""
    ping_interval: float | None = field(default=None, validator=_real(0, open_low=True, optional=True))
    """Seconds between the server's own pings. Unknown of the service. None: none are sent."""
    identical_error_limit: int | None = field(default=10, validator=_whole(1, optional=True))
    """After this many identical errors in a row the connection is closed (official documentation: ten)."""
    identical_error_close_code: int = field(default=1008, validator=_close_code)
    """Unknown; 1008, policy violation, is likely."""

    # --- handshake and transport ---------------------------------------------------------------------
    anonymous: bool = field(default=False, validator=_switch)
    """Whether a client that sends no key is accepted, where no keys were configured."""
    query_key_names: tuple[str, ...] = field(
        default=("apikey", "api_key", "apiKey"),
        converter=_names,
        validator=validators.deep_iterable(validators.instance_of(str)),
    )
    """Query parameters that may carry the key. Only the first is certain."""
    max_connections: int | None = field(default=None, validator=_whole(0, optional=True))
    """Limit of open connections; beyond it the reply is HTTP 429. The limit of the service is unknown."""
    handshakes_per_second: float | None = field(default=None, validator=_real(0, open_low=True, optional=True))
    """Handshakes accepted per second; beyond it the reply is HTTP 429. Documentation as quoted by users: 50."""
    retry_after: int | None = field(default=1, validator=_whole(0, optional=True))
    """Seconds in the Retry-After header of these 429 replies. None: no header. Unknown of the service."""
    max_message_size: int = field(default=128 * 2**20, validator=_whole(1))
    """Bytes of one request; a longer one closes the connection with 1009. Unknown of the service."""
    compression: bool = field(default=False, validator=_switch)
    """Whether permessage-deflate is accepted. Unknown of the service."""

    # --- replies -------------------------------------------------------------------------------------
    reset_reply: Mapping[str, Any] = field(factory=dict, converter=_mapping)
    """Body of the reply to ``reset_stream`` alone. Unknown of the service."""
    echo_payload_id: bool = field(default=True, validator=_switch)
    """Whether the reply carries the request's ``payload_id``; False simulates a server that never echoes it."""
    model_warning_code: bool = field(default=True, validator=_switch)
    """Whether ``code`` stands beside the ``warning`` of one model. Unknown; likely."""
    warning_level: Literal["model", "top"] = field(default="model", validator=_choice("model", "top"))
    """"top": if every model has only a warning, the whole reply is the first of these warnings.
    When the service sends such a message is unknown."""
    warning_texts: Mapping[str, str] = field(factory=dict, converter=_mapping)
    """Texts that replace the default ones, by code ("W0102" and so on). Three of the five are unknown."""
    data_without_models: Literal["error", "empty"] = field(default="error", validator=_choice("error", "empty"))
    """Reply to ``data`` without models: E0101, or no predictions. Unknown."""
    blank_text: Literal["warning", "error"] = field(default="warning", validator=_choice("warning", "error"))
    """Reply to text of white space only: W0104 for the language model, or E0101. Unknown; the service failed."""
    too_long_text_code: str = field(default="E0206", validator=_error_code)
    """Code for more than 10,000 characters. Unknown: the known table ends at E0205."""
    too_many_faces_code: str = field(default="E0207", validator=_error_code)
    """Code for more than ``face_limit`` faces in a facemesh payload. Unknown."""
    facemesh_shape_code: str = field(default="E0200", validator=_error_code)
    """Code for landmarks that are not 478 points of 3 finite numbers. Unknown."""
    face_limit: int = field(default=100, validator=_whole(1))
    """Faces in one facemesh payload: the official client checks 100, early documentation said 10."""
    fps_pred: float = field(default=3.0, validator=_real(0, open_low=True))
    """Frames of a video analysed per second, unless the request says otherwise."""
    prob_threshold: float = field(default=0.99, validator=_real(0, 1))
    """Faces with a lower probability are omitted, unless the request says otherwise. Unknown; 0.99 in the batch API."""
    min_face_size: float = field(default=3.0, validator=_real(0, open_low=True))
    """Smaller faces (in pixels) are omitted, unless the request says otherwise. Unknown."""

    # --- audio ---------------------------------------------------------------------------------------
    default_window_ms: float = field(default=5000.0, validator=_real(500, 10_000))
    """Milliseconds of ``stream_window_ms``, unless the request says otherwise."""
    payload_beyond_window: Literal["whole", "last"] = field(default="whole", validator=_choice("whole", "last"))
    """Whether a payload longer than the window is seen whole, or only its end. Unknown; "whole" is suggested."""
    reset_resets_clock: bool = field(default=False, validator=_switch)
    """Whether ``reset_stream`` sets the times of predictions back to zero. Unknown."""
    unknown_seconds: float = field(default=1.0, validator=_real(0, open_low=True))
    """Duration assumed for audio that cannot be decoded here; without PyAV that is all but WAV."""
    speech_loudness: float = field(default=0.0, validator=_real(0, 1))
    """Prosody finds speech if the loudest sample of the window is above this fraction of full scale. Invented."""
    burst_loudness: float = field(default=0.1, validator=_real(0, 1))
    """Burst finds a burst if the loudest sample of the window is above this fraction of full scale. Invented."""

    # --- journal -------------------------------------------------------------------------------------
    journal_size: int = field(default=1000, validator=_whole(0))
    """Entries of each kind that the journal keeps; older ones are dropped."""
    journal_data: int = field(default=4096, validator=_whole(0))
    """Characters of ``data`` up to which the journal keeps it; for longer data it keeps only size and digest."""
