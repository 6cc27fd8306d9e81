"""What a session asks of its application: additional inputs and outputs, for whatever connection it has at a time."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from ..errors import HumeClientException, InputError, MisuseError, described
from ..locks import make_lock
from ..net.clock import monotonic
from ..net.deadline import Deadline
from ..net.pending import Watch
from .events import Event, SendInput
from .hooks import translated
from .line import Line
from .link import Link
from .outputs import OutputStream
from .server import Server

__all__ = ["Additional", "Inputs"]

_T = TypeVar("_T")

Inputs = Callable[[], Mapping[str, Any] | None]
"""Makes the fields that answer a handler that waits for additional inputs; None: there are none for it."""


class Additional:
    """Remembers the last inputs and the open streams of one session. It is lent the line, which knows it.

    Args:
        server: the application.
        inputs: the caller's; None: handlers that ask are left waiting.
    """

    def __init__(self, server: Server, inputs: Inputs | None) -> None:
        self._server = server
        self._inputs = inputs
        self._fields: dict[str, Any] | None = None  # of the last `give`; changed `steadily`
        self._skipped = 0  # requests for inputs that come again though they were answered
        self._streams: weakref.WeakSet[OutputStream] = weakref.WeakSet()  # one that its caller forgets is to end
        self._streams_lock = make_lock()  # a signal's handler may close the session that its thread is using

    def give(self, line: Line, fields: dict[str, Any], deadline: Deadline) -> None:
        """Give inputs; see `Session.set_input`."""
        line.living(deadline)

        def give(link: Link) -> None:
            self._post(line, link, fields, deadline)
            self._fields = fields

        line.steadily(give, deadline)

    def answer(self, line: Line, came: Sequence[Event], deadline: Deadline) -> Deadline:
        """In the caller's thread: give a handler that waits for inputs what the caller makes of it.

        Args:
            line: of the session.
            came: the last of it may say that a handler waits. Should that fail, all of this comes again.
            deadline: for giving it.

        Returns:
            The deadline, put off for as long as the caller took for that.
        """
        if not isinstance(came[-1], SendInput) or self._inputs is None:
            return deadline
        if self._skipped:
            self._skipped -= 1
            return deadline
        if line.is_behind():  # a connection that is gone waits for nothing
            return deadline
        asking = line.link
        try:
            began = monotonic()
            fields = self._inputs()
            if not isinstance(fields, Mapping | None):
                raise InputError(f"inputs must return a mapping of fields, or None; got {described(fields)}")
            deadline = deadline.later(monotonic() - began)
            if fields is not None:
                self._post_to(line, asking, dict(fields), deadline)
        except BaseException:
            self._skipped = sum(isinstance(event, SendInput) for event in came[:-1])
            line.put_back(came)
            raise
        return deadline

    def _post_to(self, line: Line, asking: Link, fields: Mapping[str, Any], deadline: Deadline) -> None:
        """Give inputs to this link, unless it was made anew meanwhile: the new one has not asked."""

        def post(link: Link) -> None:
            if link is asking:
                self._post(line, link, fields, deadline)

        line.steadily(post, deadline)

    def outputs(self, line: Line, deadline: Deadline) -> OutputStream:
        """Make the stream of the connection's outputs; see `Session.outputs`."""
        while True:
            link = line.living(deadline)
            stream = self._server.outputs(link.webrtc_id, _ended_by(link))
            try:
                with self._streams_lock:
                    if line.link is link and link.ended is None and not line.closed:
                        self._streams.add(stream)
                        return stream
            except BaseException:
                stream.close()  # nobody else knows it yet
                raise
            stream.close()  # it is of a connection that is none any more, and nobody else would end it
            line.check()

    def latest(self, line: Line, deadline: Deadline) -> Any:
        """Ask for one output; see `Session.latest_output`."""
        link = line.living(deadline)
        return _ask(line, "latest", lambda watch: self._server.latest(link.webrtc_id, deadline, watch))

    def renew(self, line: Line, link: Link, deadline: Deadline) -> None:
        """The connection was made anew: nothing but the last inputs goes over to it."""
        self.close()
        if self._fields is not None:
            self._post(line, link, self._fields, deadline)

    def close(self) -> None:
        """End the streams."""
        with self._streams_lock:
            streams = list(self._streams)
            self._streams.clear()
        for stream in streams:
            stream.close()

    def _post(self, line: Line, link: Link, fields: Mapping[str, Any], deadline: Deadline) -> None:
        _ask(line, "input_hook", lambda watch: self._server.post_input(link.webrtc_id, fields, deadline, watch))


def _ask(line: Line, name: str, request: Callable[[Watch], _T]) -> _T:
    """Ask the application, as `translated` says; `close` interrupts it."""
    return translated(name, lambda: line.ask(request))


def _ended_by(link: Link) -> Callable[[], HumeClientException | None]:
    """Return what tells what has ended a link, and does not keep a session that is dropped."""
    known = weakref.ref(link)

    def ended_by() -> HumeClientException | None:
        return MisuseError("the session was dropped") if (alive := known()) is None else alive.ended

    return ended_by
