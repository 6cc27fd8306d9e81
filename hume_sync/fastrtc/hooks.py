"""What is asked of an application's own URLs: additional inputs are posted, additional outputs fetched."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ..errors import (
    ConnectError,
    ConnectionLost,
    HookError,
    InputError,
    MessageTooLarge,
    OutputTooLarge,
    ProtocolError,
    TransportError,
    short_repr,
)
from ..net.deadline import Deadline
from ..net.interrupts import from_outside
from ..net.pending import Watch, unwatched
from .app_http import Answer, AppClient, StreamingResponse
from .events import json_or_text
from .rejections import meaning

__all__ = ["latest", "open_events", "output_too_large", "post_input", "translated"]

_T = TypeVar("_T")


def open_events(
    http: AppClient, url: str, webrtc_id: str, timeout: float, *, watch: Watch = unwatched
) -> StreamingResponse:
    """Open the stream of a connection's additional outputs: GET ``?webrtc_id=ID``.

    Args:
        http: the application.
        url: its outputs URL.
        webrtc_id: of the connection. (Servers never answer for one that has ended: the stream stays silent.)
        timeout: seconds of connecting and asking. The head of the answer is waited for without a limit.
        watch: told how to interrupt it from another thread.

    Raises:
        HookError: another status than 200, or something else than a stream of events.
        ConfigurationError, ConnectError, ConnectionLost, Timeout, ProtocolError: as `AppClient.stream`.
    """
    url = http.resolve(url, name="outputs")
    fields = {"webrtc_id": webrtc_id}
    response = http.stream(url, fields, Deadline(timeout), watch=watch, head=Deadline(math.inf))
    try:
        _check_events(response, Deadline(timeout))
    except BaseException:
        response.close()
        raise
    return response


def latest(
    http: AppClient,
    url: str,
    webrtc_id: str,
    deadline: Deadline,
    max_size: int = 16 * 2**20,
    *,
    watch: Watch = unwatched,
) -> Any:
    """Ask the ``latest`` URL for the oldest output that has not been fetched: JSON where it is JSON, else text.

    Raises:
        HookError: any status but 2xx: servers that wait in vain, 10 s by default, give 500.
        OutputTooLarge: it has more than ``max_size`` bytes.
        ConfigurationError, ConnectError, ConnectionLost, Timeout, ProtocolError: as `AppClient.get`.
    """
    url = http.resolve(url, name="latest")
    try:
        answer = http.get(url, {"webrtc_id": webrtc_id}, deadline, watch=watch, max_size=max_size)
    except MessageTooLarge as exc:
        if from_outside(exc):
            raise
        raise output_too_large(max_size) from None
    return json_or_text(_checked("latest", answer).text)


def output_too_large(limit: int) -> OutputTooLarge:
    """Make the error for an output beyond the limit."""
    error = OutputTooLarge(
        f"an additional output is larger than {limit} bytes: it was dropped; a larger max_output_size lets such pass"
    )
    error.limit = limit
    return error


def post_input(  # noqa: PLR0917 - in the order in which they are told
    http: AppClient,
    url: str,
    webrtc_id: str,
    fields: Mapping[str, Any],
    shape: Callable[[str, Mapping[str, Any]], Any] | None,
    deadline: Deadline,
    *,
    watch: Watch = unwatched,
) -> Answer:
    """Give a connection's handler additional inputs: POST them to the application's hook.

    Args:
        http: the application.
        url: its hook.
        webrtc_id: of the connection.
        fields: the inputs.
        shape: makes the JSON of both; None: ``{"webrtc_id": id, **fields}``.
        deadline: of all of it.
        watch: told how to interrupt it from another thread.

    Raises:
        InputError: no mapping, a field called webrtc_id without a ``shape`` of one's own, or nothing JSON can hold.
        HookError: any status but 2xx.
        ConfigurationError, ConnectError, ConnectionLost, Timeout, ProtocolError: as `AppClient.post_json`.
    """
    url = http.resolve(url, name="input_hook")
    if not isinstance(fields, Mapping):
        raise InputError(f"additional inputs must be a mapping of fields, got {short_repr(fields)}")
    if shape is not None:
        payload = shape(webrtc_id, fields)
    elif "webrtc_id" in fields:
        raise InputError("additional inputs must not hold webrtc_id: the connection's own is sent")
    else:
        payload = {"webrtc_id": webrtc_id, **fields}
    return _checked("input_hook", http.post_json(url, payload, deadline, watch=watch))


def translated(name: str, request: Callable[[], _T]) -> _T:
    """Make a request; that the application gives no answer is a failure of its own, and not of the session.

    Raises:
        HookError: in place of ConnectError, ConnectionLost and ProtocolError.
    """
    try:
        return request()
    except (ConnectError, ConnectionLost, ProtocolError) as exc:
        if from_outside(exc):
            raise
        url = exc.url if isinstance(exc, ConnectError) else None
        error = HookError.from_failure(
            f"the application's {name} URL{f' {url}' if url else ''} gives no answer: {exc}", exc
        )
        error.url = url
        raise error from exc


def _checked(name: str, answer: Answer) -> Answer:
    if not 200 <= answer.status < 300:
        raise _refusal(name, answer.url, answer.status, answer.sentence)
    return answer


def _check_events(response: StreamingResponse, deadline: Deadline) -> None:
    """Raise HookError unless the response is a stream of events."""
    if response.status != 200:
        try:
            sentence = response.answer(deadline).sentence
        except TransportError as exc:
            if from_outside(exc):
                raise
            sentence = ""  # the status says enough
        raise _refusal("outputs", response.url, response.status, sentence)
    if response.content_type != "text/event-stream":
        found = short_repr(response.content_type or "nothing")
        error = HookError(
            f"the application's outputs URL {response.url} answered with {found}"
            " instead of a stream of events (text/event-stream)",
            status=response.status,
        )
        error.url = response.url
        raise error


def _refusal(name: str, url: str, status: int, sentence: str) -> HookError:
    told, means = (f": {text}" if text else "" for text in (sentence, meaning(name, status)))
    error = HookError(f"the application's {name} URL {url} answered with HTTP {status}{told}{means}", status=status)
    error.url, error.body = url, sentence
    return error
