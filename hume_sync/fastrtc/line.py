"""The connection of a session: interrupted by `close` wherever it waits, and made anew where it is cut."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from ..errors import ConnectError, ConnectionLost, HumeClientException, MisuseError, Timeout, TransportError, copy_of
from ..locks import make_lock
from ..net.condition import Condition
from ..net.deadline import Deadline
from ..net.interrupts import from_outside
from ..net.lock import CallLock
from ..net.pending import Pending, Watch
from .events import Event, Reconnected
from .link import Connect, Link, Spoken

__all__ = ["Line", "Renewed"]

_T = TypeVar("_T")

_CUT = frozenset({None, 1001, 1006, 1011, 1012, 1013})
"""How a connection ends that is worth making anew. (1000: the server has ended it.)"""


class Renewed(Protocol):
    """Makes a new link what the old one was."""

    def __call__(self, line: Line, link: Link, deadline: Deadline, /) -> None:
        """Do it for this link of this line before the deadline."""


class Line:
    """Holds the `Link`, which other threads may exchange for another at any time.

    Args:
        connect: makes a link.
        timeout: seconds that may take.
        reconnect: whether one that is cut is made anew.
        renewed: called with the new one before any other thread sees it, or can do something `steadily`.
    """

    def __init__(self, connect: Connect, *, timeout: float, reconnect: bool, renewed: Renewed) -> None:
        self._connect = connect
        self._timeout = timeout
        self._reconnect = reconnect
        self._renewed = renewed
        self._pid = os.getpid()
        self._closing = False
        self._lock = make_lock()
        self._woken = Condition(self._lock)  # who waits between two attempts, once it is closed
        self._pending: set[Pending] = set()  # what requests that are under way have acquired
        self._waiting: deque[Event | Spoken] = deque()  # to be received before what the link has
        self._reading = CallLock()  # held while events are taken off a link, or out of what waits
        self._changing = CallLock()  # held while the link is made anew, and by what that would disturb
        self.link = self._make(Deadline(timeout))

    @property
    def closed(self) -> bool:
        """Whether this side has closed it: by whatever thread, at any time."""
        return self._closing

    @property
    def is_mine(self) -> bool:
        """Whether it was opened by this process."""
        return self._pid == os.getpid()

    def check(self) -> None:
        """Raise `MisuseError` where it was closed, or opened by another process."""
        if not self.is_mine:
            raise MisuseError("this session was opened before the process was forked: open one in the child")
        if self.closed:
            raise _closed()

    def use(self, work: Callable[[Link], _T], deadline: Deadline, *, link: Link | None = None) -> _T:
        """Do something on the link; where that is cut, make it anew if that is wanted, and raise all the same.

        Args:
            work: what to do.
            deadline: of making it anew.
            link: the one to do it on, which may have been replaced since; None: the present one.
        """
        link = self.link if link is None else link
        try:
            return work(link)
        except ConnectionLost as exc:
            if from_outside(exc):
                raise
            if self.closed:  # whoever closed it did not wait for the server
                raise _closed() from None
            if self._reconnect and exc.close_code in _CUT:
                self._renew(link, exc, deadline.within(self._timeout))
            raise

    def receive(
        self, until: Deadline, deadline: Deadline, *, spared: Callable[[TransportError], bool] = lambda _: False
    ) -> Event | Spoken | None:
        """The next event; None once ``until`` has passed.

        Args:
            until: of waiting for the event.
            deadline: of making a connection anew.
            spared: whether to give None instead of this end of the connection, too; the next call runs into that.
        """

        def receive(link: Link) -> Event | Spoken | None:
            try:
                if not self._reading.acquire(until):
                    return None
                return self._waiting.popleft() if self._waiting else link.receive(until)
            except TransportError as exc:
                if not from_outside(exc) and spared(exc):
                    return None
                raise
            finally:
                self._reading.release()

        return self.use(receive, deadline)

    def put_back(self, events: Iterable[Event | Spoken]) -> None:
        """Let these be received next, in their order."""
        self._waiting.extendleft(reversed([*events]))

    def has_waiting(self) -> bool:
        """Whether an event can be received without looking at the link."""
        return bool(self._waiting)

    def is_behind(self) -> bool:
        """Whether what was received last is of a connection that has been made anew since."""
        return any(isinstance(event, Reconnected) for event in tuple(self._waiting))

    def ask(self, request: Callable[[Watch], _T]) -> _T:
        """Make a request, which `close` interrupts."""
        mine: list[Pending] = []

        def watch(pending: Pending) -> None:
            mine.append(pending)
            self._pending.add(pending)
            if self.closed:  # whoever closed it may not have seen this one
                raise _closed()

        try:
            answer = request(watch)
            self._pending.difference_update(mine)
        except BaseException as exc:
            for pending in reversed(mine):  # what was made of the others comes first
                pending.release()
            self._pending.difference_update(mine)
            if self.closed and isinstance(exc, TransportError) and not from_outside(exc):
                raise _closed() from None
            raise
        return answer

    def living(self, deadline: Deadline) -> Link:
        """The link; raises what has ended it."""

        def living(link: Link) -> Link:
            if (error := link.ended) is not None:
                raise copy_of(error)
            return link

        return self.use(living, deadline)

    def steadily(self, work: Callable[[Link], _T], deadline: Deadline) -> _T:
        """Do something for the link while no other thread makes it anew, or does anything `steadily`.

        Raises:
            MisuseError: called from inside such work: by a callback of it, or a signal's handler.
            Timeout: other threads took all the time.
        """
        self._changing.refuse_reentry()
        try:
            if not self._changing.acquire(deadline):
                raise Timeout("no time left waiting for what another thread does with the connection", phase="lock")
            self.check()
            return work(self.link)
        finally:
            self._changing.release()

    def interrupt(self) -> None:
        """It is closed from here on; what waits for anything but the link ends now. From any thread."""
        with self._lock:
            self._closing = True
            self._woken.notify_all()
        for pending in list(self._pending):
            pending.abort()

    def close(self, timeout: float, before: Callable[[], None]) -> None:
        """Interrupt whatever waits, do something, and then say goodbye within that many seconds. Idempotent."""
        if self.is_mine:
            try:
                self.interrupt()
                before()
                self.link.close(timeout)
            except BaseException:
                self.link.abort()
                raise

    def abort(self) -> None:
        """Close without a goodbye."""
        if self.is_mine:
            self.interrupt()  # first: it is not to be made anew
            self.link.abort()

    def sleep(self, seconds: float) -> None:
        """Wait that many seconds; raises `MisuseError` once it is closed."""
        if self._woken.wait_for(lambda: self._closing or None, Deadline(seconds)):
            raise _closed()

    def _renew(self, lost: Link, why: ConnectionLost, deadline: Deadline) -> None:
        def renew(link: Link) -> None:
            if link is not lost:
                return  # another thread has done it
            self._drain(lost, deadline)
            new: Link | None = None
            try:
                new = self._make(deadline)
                self._renewed(self, new, deadline)
                self._publish(new, why, deadline)
                self.check()  # closed meanwhile: nobody else will end it
            except BaseException as exc:
                if new is not None:
                    new.abort()  # half of what it was is nothing to go on with: the next call makes it anew
                elif isinstance(exc, ConnectionLost) and not from_outside(exc):
                    raise _not_renewed(exc) from exc
                raise

        self.steadily(renew, deadline)

    def _publish(self, new: Link, why: ConnectionLost, deadline: Deadline) -> None:
        try:
            if not self._reading.acquire(deadline):
                raise Timeout("no time left waiting for who receives", phase="lock")
            self._waiting.append(Reconnected(new.webrtc_id, str(why)))  # nobody reads the link before this
            self.link = new
        finally:
            self._reading.release()

    def _drain(self, lost: Link, deadline: Deadline) -> None:
        """What came before the end is received before the next begins: a sender may have been the first to notice."""
        at_once = Deadline(0.0)
        try:  # two threads that read would mix what comes; the other leaves at once, since the link has ended
            if self._reading.acquire(deadline):
                while (event := lost.receive(at_once)) is not None:
                    self._waiting.append(event)
        except HumeClientException as exc:
            if from_outside(exc):
                raise  # else it is the end
        finally:
            self._reading.release()

    def _make(self, deadline: Deadline) -> Link:
        made: list[Link] = []

        def make(watch: Watch) -> Link:
            made.append(self._connect(deadline, watch, self.sleep))
            return made[0]

        try:
            return self.ask(make)
        except BaseException:
            for link in made:
                link.abort()
            raise


def _not_renewed(why: ConnectionLost) -> ConnectError:
    """Of another class: `ConnectionLost` means, elsewhere, that it was made anew."""
    return ConnectError(
        f"the connection could not be made anew: {why}",
        phase="connect",
        close_code=why.close_code,
        close_reason=why.close_reason,
    )


def _closed() -> MisuseError:
    return MisuseError("this session is closed: make another with client.connect()")
