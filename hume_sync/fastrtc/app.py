"""The application around a handler: its configuration, and its additional inputs and outputs."""

from __future__ import annotations

import math
import re
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import attrs

from ..errors import (
    ConfigurationError,
    ConnectError,
    ConnectionLost,
    HookError,
    HumeClientException,
    InputError,
    MessageTooLarge,
    MisuseError,
    ProtocolError,
    TransportError,
    short_repr,
)
from ..locks import make_lock
from ..net.clock import monotonic
from ..net.deadline import Deadline
from ..net.interrupts import from_outside
from ..net.pending import Watch, unwatched
from ..net.tracebacks import clears_locals
from ..reprs import safe_repr
from .app_http import AppClient, Response, StreamingResponse
from .events import Event, SendInput, json_or_text
from .outputs import OpeningResponse, OutputStream, output_too_large
from .rejections import status_hint
from .transport import ReconnectingTransport, Transport
from .transport_ws import TELEPHONE_RATE

__all__ = [
    "AdditionalData",
    "AppConfig",
    "BuildPayload",
    "Inputs",
    "URLFinder",
    "fetch_latest",
    "open_events",
    "post_input",
]

_T = TypeVar("_T")

BuildPayload = Callable[[str, Mapping[str, Any]], Any]
"""Builds the JSON that a hook expects from a connection's id and the fields."""

Inputs = Callable[[], Mapping[str, Any] | None]
"""Returns the fields for a handler that waits for additional inputs; None: there are none for it."""

_NOT_FOUND: Final = frozenset({200, 404, 405})
"""Statuses of a `HookError` that say that a URL is the wrong one. (200: a page, where outputs should be.)"""

_GENERIC: Final = re.compile(r"\W*(detail\W*)?(not found|method not allowed)?\W*", re.IGNORECASE)
"""What frameworks respond by themselves where nothing is mounted."""


class AdditionalData:
    """The additional inputs and outputs of one session.

    Args:
        config: The application.
        inputs: Called when a handler asks for inputs. None: handlers that ask are left waiting.
    """

    def __init__(self, config: AppConfig, inputs: Inputs | None) -> None:
        self._config = config
        self._inputs = inputs
        self._fields: dict[str, Any] | None = None  # of the last `set_input`; only changed `exclusively`
        self._skipped = 0  # input requests that are received again although they were answered
        self._streams: weakref.WeakSet[OutputStream] = weakref.WeakSet()  # a stream that its caller drops is closed
        self._streams_lock = make_lock()  # a signal handler may close the session that its thread is using

    def set_input(self, connection: ReconnectingTransport, fields: dict[str, Any], deadline: Deadline) -> None:
        """Post inputs, and keep them for later connections; raises as `Session.set_input`."""
        connection.require_open(deadline)

        def post(transport: Transport) -> None:
            self._post(connection, transport, fields, deadline)
            self._fields = fields

        connection.call_locked(post, deadline)

    def answer_input_request(
        self, connection: ReconnectingTransport, events: Sequence[Event], deadline: Deadline
    ) -> Deadline:
        """Call the caller's ``inputs`` if the handler asks for inputs, and post what it returns.

        Args:
            connection: The connection of the session.
            events: Events of which the last may be a handler's request. After a failure all are received again.
            deadline: The deadline for posting.

        Returns:
            The deadline, extended by the time that ``inputs`` took.
        """
        if not isinstance(events[-1], SendInput) or self._inputs is None:
            return deadline
        if self._skipped:
            self._skipped -= 1
            return deadline
        if connection.reconnect_is_queued():  # the connection that asked is gone
            return deadline
        asking = connection.transport
        try:
            began = monotonic()
            fields = self._inputs()
            if not isinstance(fields, Mapping | None):
                raise InputError(f"inputs must return a mapping of fields, or None; got {short_repr(fields)}")
            deadline = deadline.extended_by(monotonic() - began)
            if fields is not None:
                self._post_to(connection, asking, dict(fields), deadline)
        except BaseException:
            self._skipped = sum(isinstance(event, SendInput) for event in events[:-1])
            connection.push_back(events)
            raise
        return deadline

    def outputs(self, connection: ReconnectingTransport, deadline: Deadline) -> OutputStream:
        """Return the stream of the connection's outputs; raises as `Session.outputs`."""
        while True:
            transport = connection.require_open(deadline)
            stream = self._config.outputs(transport.webrtc_id, _error_of(transport))
            try:
                with self._streams_lock:
                    if connection.transport is transport and transport.error is None and not connection.closed:
                        self._streams.add(stream)
                        return stream
            except BaseException:
                stream.close()
                raise
            stream.close()  # its connection has ended meanwhile
            connection.check()

    def latest_output(self, connection: ReconnectingTransport, deadline: Deadline) -> Any:
        """Fetch one output; raises as `Session.latest_output`."""
        webrtc_id = connection.require_open(deadline).webrtc_id
        return _request(connection, "latest", lambda watch: self._config.latest_output(webrtc_id, deadline, watch))

    def restore(self, connection: ReconnectingTransport, transport: Transport, deadline: Deadline) -> None:
        """Close the streams of the lost connection, and post the last inputs to the new one."""
        self.close()
        if self._fields is not None:
            self._post(connection, transport, self._fields, deadline)

    def close(self) -> None:
        """Close the streams."""
        with self._streams_lock:
            streams = list(self._streams)
            self._streams.clear()
        for stream in streams:
            stream.close()

    def _post_to(
        self, connection: ReconnectingTransport, asking: Transport, fields: Mapping[str, Any], deadline: Deadline
    ) -> None:
        """Post inputs to this transport, unless it was replaced meanwhile: the new one has not asked."""

        def post(transport: Transport) -> None:
            if transport is asking:
                self._post(connection, transport, fields, deadline)

        connection.call_locked(post, deadline)

    def _post(
        self, connection: ReconnectingTransport, transport: Transport, fields: Mapping[str, Any], deadline: Deadline
    ) -> None:
        def post(watch: Watch) -> None:
            self._config.post_input(transport.webrtc_id, fields, deadline, watch)

        _request(connection, "input_hook", post)


def _request(connection: ReconnectingTransport, name: str, request: Callable[[Watch], _T]) -> _T:
    """Make a request to the application; closing the session interrupts it."""
    return _as_hook_error(name, lambda: connection.run_cancellable(request))


def _error_of(transport: Transport) -> Callable[[], HumeClientException | None]:
    """Return a function that returns the transport's error, without keeping a dropped session alive."""
    reference = weakref.ref(transport)

    def error() -> HumeClientException | None:
        return MisuseError("the session was dropped") if (alive := reference()) is None else alive.error

    return error


class URLFinder:
    """Finds an application's URLs by trying their candidates, and remembers those that were found.

    A URL has been found once a request to it succeeds; from then on no other is tried. Until then a status of 404 or
    405 leads to the next candidate, and any other error ends the search, since the application may have acted on the
    request.
    """

    def __init__(self, http: AppClient) -> None:
        self._http = http
        self._found: dict[tuple[str, str], str] = {}

    def request(self, name: str, url: str, request: Callable[[str], _T]) -> _T:
        """Make a request to the candidates of a URL, and return the first response.

        Args:
            name: The argument of the client that gave the URL.
            url: The URL as the caller gave it.
            request: Makes the request to an absolute URL; raises HookError for a response that is an error.

        Raises:
            HookError: No candidate is right, or the response is an error.
        """
        known = self._found.get((name, url))
        errors: list[HookError] = []
        try:
            for candidate in [known] if known else self._http.candidates(url, name=name):
                try:
                    response = request(candidate)
                except HookError as exc:
                    if exc.status not in _NOT_FOUND or from_outside(exc):
                        raise
                    errors.append(exc)
                else:
                    self._found[name, url] = candidate
                    return response
            raise _most_specific(errors)
        finally:
            errors.clear()  # break the reference cycle between an error and this frame


def _most_specific(errors: list[HookError]) -> HookError:
    """Return the error with a text of the application's own, rather than one of its framework's."""
    best = next((error for error in errors if not _GENERIC.fullmatch(error.body)), errors[-1])
    others = [error.url for error in errors if error is not best and error.url]
    if not others:
        return best
    error = HookError(f"{best} (it is not at {' or '.join(others)} either)", status=best.status)
    error.url, error.body = best.url, best.body
    return error


def _make_finder(config: AppConfig) -> URLFinder:
    return URLFinder(config.http)


@safe_repr
@attrs.frozen
class AppConfig:
    """One handler, and the application's URLs around it.

    Attributes:
        is_telephone: Whether connections are made as by telephone; servers have neither inputs nor outputs for those.
    """

    http: AppClient = attrs.field(repr=False)
    input_hook: str | None = attrs.field(repr=False)
    outputs_url: str | None = attrs.field(repr=False)
    latest_url: str | None = attrs.field(repr=False)
    shape: BuildPayload | None
    input_sample_rate: int
    output_sample_rate: int
    timeout: float
    max_output_size: int = 16 * 2**20
    is_telephone: bool = False
    finder: URLFinder = attrs.field(init=False, repr=False, default=attrs.Factory(_make_finder, takes_self=True))

    def for_telephone(self) -> AppConfig:
        """Return the same application as connections by telephone use it."""
        rate = TELEPHONE_RATE
        return attrs.evolve(self, is_telephone=True, input_sample_rate=rate, output_sample_rate=rate)

    def _require_url(self, argument: str, url: str | None) -> str:
        if self.is_telephone:
            raise ConfigurationError(f"{argument} cannot be used by telephone: servers keep inputs and outputs from it")
        if url is None:
            raise ConfigurationError(f"the client was made without {argument}: name the application's URL")
        return url

    @clears_locals
    def post_input(self, webrtc_id: str, fields: Mapping[str, Any], deadline: Deadline, watch: Watch) -> None:
        """Post additional inputs for the handler of a connection."""
        url = self._require_url("input_hook", self.input_hook)

        def post(candidate: str) -> None:
            post_input(self.http, candidate, webrtc_id, fields, self.shape, deadline, watch=watch)

        self.finder.request("input_hook", url, post)

    @clears_locals
    def outputs(self, webrtc_id: str, connection_error: Callable[[], HumeClientException | None]) -> OutputStream:
        """Return the stream of a connection's additional outputs, which makes its request when it is first read.

        Args:
            webrtc_id: The id of the connection.
            connection_error: Returns the error that ended the connection; None while it is open.
        """
        url = self._require_url("outputs", self.outputs_url)

        @clears_locals
        def open_response(watch: Watch) -> StreamingResponse:
            def open_candidate(candidate: str) -> StreamingResponse:
                return open_events(self.http, candidate, webrtc_id, self.timeout, watch=watch)

            return _as_hook_error("outputs", lambda: self.finder.request("outputs", url, open_candidate))

        opening = OpeningResponse(open_response)
        return OutputStream(opening, max_size=self.max_output_size, connection_error=connection_error)

    @clears_locals
    def latest_output(self, webrtc_id: str, deadline: Deadline, watch: Watch) -> Any:
        """Fetch one additional output of a connection."""
        url = self._require_url("latest", self.latest_url)

        def fetch(candidate: str) -> Any:
            return fetch_latest(self.http, candidate, webrtc_id, deadline, self.max_output_size, watch=watch)

        return self.finder.request("latest", url, fetch)


def post_input(  # noqa: PLR0917 - in the order of the request
    http: AppClient,
    url: str,
    webrtc_id: str,
    fields: Mapping[str, Any],
    shape: BuildPayload | None,
    deadline: Deadline,
    *,
    watch: Watch = unwatched,
) -> Response:
    """POST additional inputs for a connection's handler to the application's hook.

    Args:
        http: The application.
        url: The hook.
        webrtc_id: The id of the connection.
        fields: The inputs.
        shape: Builds the JSON of both. Default: ``{"webrtc_id": id, **fields}``.
        deadline: The deadline of the whole call.
        watch: Receives the connection, so that another thread can abort it.

    Raises:
        InputError: The inputs are not a mapping or not JSON, or hold webrtc_id although there is no ``shape``.
        HookError: The status is not 2xx.
        HumeClientException: As for `AppClient.post_json`.
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
    response = http.post_json(url, payload, deadline, watch=watch)
    _raise_for_status("input_hook", response)
    return response


def open_events(
    http: AppClient, url: str, webrtc_id: str, timeout: float, *, watch: Watch = unwatched
) -> StreamingResponse:
    """Open the stream of a connection's additional outputs: GET ``?webrtc_id=ID``.

    Args:
        http: The application.
        url: The URL of its outputs.
        webrtc_id: The id of the connection. (For one that has ended, servers never send anything.)
        timeout: Seconds for connecting and sending the request. The head of the response has no deadline.
        watch: Receives the connection, so that another thread can abort it.

    Raises:
        HookError: The status is not 200, or the response is not a stream of events.
        HumeClientException: As for `AppClient.stream`.
    """
    url = http.resolve(url, name="outputs")
    response = http.stream(url, {"webrtc_id": webrtc_id}, Deadline(timeout), watch=watch, head=Deadline(math.inf))
    try:
        _raise_unless_events(response, Deadline(timeout))
    except BaseException:
        response.close()
        raise
    return response


def fetch_latest(
    http: AppClient,
    url: str,
    webrtc_id: str,
    deadline: Deadline,
    max_size: int = 16 * 2**20,
    *,
    watch: Watch = unwatched,
) -> Any:
    """Fetch the oldest output that was not fetched yet from the ``latest`` URL: as JSON if it is JSON, else as text.

    Raises:
        HookError: The status is not 2xx. Servers that had no output for 10 s (by default) respond with 500.
        OutputTooLarge: The output has more than ``max_size`` bytes.
        HumeClientException: As for `AppClient.get`.
    """
    url = http.resolve(url, name="latest")
    try:
        response = http.get(url, {"webrtc_id": webrtc_id}, deadline, watch=watch, max_size=max_size)
    except MessageTooLarge as exc:
        if from_outside(exc):
            raise
        raise output_too_large(max_size) from None
    _raise_for_status("latest", response)
    return json_or_text(response.text)


def _as_hook_error(name: str, request: Callable[[], _T]) -> _T:
    """Make a request, and raise HookError if the application cannot be reached: the session has not failed."""
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


def _raise_for_status(name: str, response: Response) -> None:
    if not 200 <= response.status < 300:
        raise _status_error(name, response.url, response.status, response.error_excerpt)


def _raise_unless_events(response: StreamingResponse, deadline: Deadline) -> None:
    """Raise HookError unless the response is a stream of events."""
    if response.status != 200:
        try:
            excerpt = response.read_all(deadline).error_excerpt
        except TransportError as exc:
            if from_outside(exc):
                raise
            excerpt = ""
        raise _status_error("outputs", response.url, response.status, excerpt)
    if response.content_type != "text/event-stream":
        found = short_repr(response.content_type or "nothing")
        error = HookError(
            f"the application's outputs URL {response.url} answered with {found}"
            " instead of a stream of events (text/event-stream)",
            status=response.status,
        )
        error.url = response.url
        raise error


def _status_error(name: str, url: str, status: int, excerpt: str) -> HookError:
    said, hint = (f": {text}" if text else "" for text in (excerpt, status_hint(name, status)))
    error = HookError(f"the application's {name} URL {url} answered with HTTP {status}{said}{hint}", status=status)
    error.url, error.body = url, excerpt
    return error
