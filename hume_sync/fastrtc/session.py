"""A conversation with a FastRTC handler, in plain calls."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from types import TracebackType
from typing import Any, NoReturn, Self

from ..errors import MisuseError
from ..net.deadline import Deadline, seconds
from ..net.interrupts import from_outside
from ..net.tracebacks import clear_locals, hides_locals
from ..reprs import safe_repr
from .additional import Additional, Inputs
from .audio import PAUSE, pause_of, pieces
from .events import Event
from .line import Line
from .link import Connect
from .listening import Listener
from .messages import to_message
from .outputs import OutputStream
from .pacing import FRAMES, Pacing
from .reply import Reply
from .server import Server
from .speaking import Speaker

__all__ = ["Inputs", "Session"]

_IDLE = 1.0


@safe_repr
class Session:
    """A connection that the server has registered. Built by ``client.connect(...)``.

    ::

        with client.connect() as session:
            reply = session.ask("question.wav", timeout=10)

    One thread may send while another receives (`reply`, or a ``for`` loop over the session's events). `set_input`,
    `outputs`, `latest_output` and `close` may be called from any thread.

    What a signal handler or another thread raises in a call, as a time limit by ``signal.alarm`` does, comes out of it
    as it is; nothing is sent again for it. The session stays usable: `reply` has then given its turn up, as after a
    time-out; of the audio of `send_audio` a part may have been sent; and a hook that was being asked may have acted.
    Only `connect`, `close` and a stream of outputs end by it, and a reconnect under way is left to the next call.

    A connection whose network has failed without a word is noticed whether or not anybody calls: over WebSocket after
    the client's ``patience`` (20 s), over WebRTC after 40 s at most. Time for which the machine sleeps does not count.
    """

    def __init__(self, server: Server, connect: Connect, inputs: Inputs | None, reconnect: bool) -> None:
        self._server = server
        self._additional = Additional(server, inputs)
        self._line = Line(connect, timeout=server.timeout, reconnect=reconnect, renewed=self._additional.renew)
        try:
            self._speaker = Speaker(self._line)
            self._listener = Listener(server, self._line, self._additional, self._speaker)
        except BaseException:  # a signal: nobody else can close the connection
            self._line.link.abort()
            raise

    @property
    def webrtc_id(self) -> str:
        """The name under which hooks and outputs know this connection; another one after a reconnect.

        By telephone it is the ``streamSid``.
        """
        return self._line.link.webrtc_id

    @hides_locals
    def send_audio(
        self, audio: Any, *, end: bool | float = False, pace: bool = False, timeout: float | None = None
    ) -> None:
        """Send audio.

        ::

            session.send_audio("question.wav", end=True)
            session.send_audio((48000, array))  # as a handler of FastRTC's gets it
            session.send_audio(iter(lambda: microphone.read(3200), b""))  # as it comes

        Args:
            audio: what is brought to the client's ``input_sample_rate`` (8000 by telephone), and one channel:

                - samples at that rate: bytes (s16le, mono), or an array of int16, or of floats in -1 to 1: of numpy,
                  ``array.array``, a ``memoryview``, or a tensor; numpy's may have two channels, (2, n) or (n, 2);
                - ``(rate, array)``;
                - a WAV file of any size, by its path, as a binary file object or as bytes: PCM of 8 to 64 bits, float,
                  mu-law or A-law, of any channels, RF64 and BW64 included. It is read without a limit of time;
                - an iterable of these, a generator for one. Each chunk is sent as it comes; there is no seam between
                  those of one rate, and bytes may be divided anywhere.
            end: append the silence that makes a handler which replies on pauses reply. True: 1.2 s; a number: so many
                seconds, 60 at most, for handlers whose ``audio_chunk_duration`` is longer than usual (0.6 s).
            pace: send it as it plays, as a microphone does; else over WebSocket all that is there goes at once, which
                handlers that reply on pauses take well. (Over WebRTC audio is always sent as it plays.)
            timeout: seconds, of bringing audio to the client's rate and of waiting for chunks, too. None: the client's,
                and as long as the audio plays. (Over WebRTC up to 10 s of it are queued on return.)

        Raises:
            InputError, OSError: nothing was sent. Of an iterable it is the chunk that is named; those before it were.
            Timeout, ConnectionLost: part of it may have been sent.
            ConnectError, HookError: with ``reconnect``, as `reply`.
            Exception: whatever an iterable raises, as it is.
        """
        self._say(audio, pause_of("end", end), timeout, pace=pace)

    def _say(self, audio: Any, silent: float, timeout: float | None, *, pace: bool = False) -> None:
        deadline = self._begin(timeout)
        rate = self._server.input_sample_rate
        paced = pace and not self._line.link.real_time
        pacing = Pacing(self._line, rate, deadline, grows=timeout is None, paced=paced)
        most = {"most": rate // FRAMES} if paced else {}
        try:
            with contextlib.closing(pieces(audio, rate, silent=silent, check=pacing.check, **most)) as messages:
                self._speaker.say(pacing.time(messages), ends=silent > 0)
        except BaseException as exc:
            clear_locals(exc, generators=True)
            raise

    @hides_locals
    def send(self, message: Any, *, timeout: float | None = None) -> None:
        """Send a message of the application's own: over WebSocket as one of its own, over WebRTC on the data channel.

        It is on its way on return. Any thread may call it. It is no question: what a handler says in answer comes as
        events. FastRTC's own servers hand no such message on to their handler: over WebRTC they answer it with
        ``LogMessage("Server received: ...")``, and over WebSocket they ignore a JSON object with an ``event`` that they
        do not know, and end the session at anything else, a binary message included. Servers that know more, as one in
        front of the application, take what they take.

        Args:
            message: a str, which goes as it is; a mapping or a list, as JSON; or bytes, as a binary message. At most
                the client's ``max_message_size``; over WebRTC, what the server says it takes (64 KiB, in older ones).
            timeout: seconds of waiting for room; None: the client's.

        Raises:
            InputError: nothing that can be sent; it is too large; or it is an event by which the session itself speaks
                (``start``, ``stop``, ``ping``, ``media``).
            Timeout: no room in time. Nothing of it is sent.
            ConnectionLost: the connection has ended. With ``reconnect`` it was made anew, and the message is not sent
                again.
            ConnectError, HookError: with ``reconnect``, as `reply`.
        """
        deadline = self._begin(timeout)
        data = to_message(message)
        self._line.use(lambda link: link.send(data, deadline), deadline)

    @hides_locals
    def ask(self, audio: Any, *, silence: float = PAUSE, timeout: float | None = None, idle: float = _IDLE) -> Reply:
        """Ask a question, and wait for its answer.

        ::

            reply = session.ask("question.wav")
            reply.save("answer.wav")

        Args:
            audio: as for `send_audio`.
            silence: seconds of it behind the question, by which the handler hears that it is over: more than its
                ``audio_chunk_duration``. 0: none, for a handler that does not wait for a pause.
            timeout: seconds until the end of the answer, from when the question has been spoken; None: the client's.
            idle: as for `reply`.

        Raises: as `send_audio` and `reply` do.
        """
        self._say(audio, pause_of("silence", silence), None)
        deadline = self._begin(timeout).later(self._line.link.backlog)
        return self._listener.reply(deadline, seconds("idle", idle), audio=True)

    @hides_locals
    def reply(self, *, timeout: float | None = None, idle: float = _IDLE, audio: bool = True) -> Reply:
        """Wait for the answer to what was sent last; `Turn` says what belongs to it.

        With handlers that tell of pauses (``ReplyOnPause`` and its like), nothing is part of it that came before the
        pause behind that audio: not a greeting, nor what is left of an earlier answer, whether or not that was waited
        for. With others it is what comes once all has been spoken; there a pause that is longer than ``idle`` cannot be
        told from the end, and what comes behind it is returned by the next call (`discard` throws it away). Called
        again without a new question, it gives what is left of an answer that was cut by ``timeout``, or waits for the
        next turn. What belongs to the next turn already is left to the next call, as is the end of a connection behind
        a reply that may be all.

        Args:
            timeout: seconds until the end of the reply, without those that the ``inputs`` of `connect` take; None: the
                client's, and, over WebRTC, as long as what was sent before is still to be spoken. An answer is spoken
                there, too: allow for how long it plays.
            idle: seconds without audio, or word of more, after which a reply that may be over is.
            audio: whether to wait for any. False: an answer is over once it has been announced, as is one of a handler
                that answers by outputs alone.

        Raises:
            ReplyTimeout: no audio came in time: over WebSocket a handler that has failed says nothing. Over WebRTC it
                does, and nothing more is waited for than ``idle``. ``messages`` holds what came instead.
            ConnectionLost: the connection ended in the middle of the turn, or since audio was last sent; over WebRTC
                also behind it, unless the server has ended it. With ``reconnect`` it was made anew, and the question is
                to be asked anew.
            ConnectError, ProtocolError, HookError, Timeout: with ``reconnect``: it could not be made anew, or not given
                its inputs.
            HookError, ...: inputs could not be given, or whatever ``inputs`` raises. The next call asks for them again.
        """
        deadline = self._begin(timeout)
        if timeout is None:
            deadline = deadline.later(self._line.link.backlog)
        return self._listener.reply(deadline, seconds("idle", idle), audio=audio)

    @hides_locals
    def greeting(self, *, timeout: float | None = None, idle: float = _IDLE) -> Reply:
        """Wait for what the handler says by itself, before any question. Replies never contain it.

        Args:
            timeout: seconds until its end; None: the client's.
            idle: as for `reply`.

        Raises:
            ReplyTimeout: no audio came in time.
            MisuseError: something was asked already.
            ConnectionLost, ...: as `reply`.
        """
        return self._listener.greeting(self._begin(timeout), seconds("idle", idle))

    def discard(self) -> None:
        """Throw away what has come and was not received, and what may still come of the answer under way.

        Raises: as `receive` does.
        """
        self._line.check()
        self._listener.discard()

    @hides_locals
    def receive(self, *, timeout: float | None = None) -> Event | None:
        """Wait for one event; None once ``timeout`` seconds (None: the client's) have passed.

        Raises:
            ConnectionLost: the connection ended; with ``reconnect`` a `Reconnected` event comes instead, where it can,
                and else ConnectError, ProtocolError, HookError or Timeout.
            HookError, ...: inputs could not be given, or whatever ``inputs`` raises. The next call begins with the
                handler's request for them.
        """
        return self._listener.event(self._begin(timeout))

    def events(self, *, timeout: float = math.inf) -> Iterator[Event]:
        """All events as they come, until none has come for ``timeout`` seconds, or the session is closed on this side.

        Raises: as `receive` does.
        """
        seconds("timeout", timeout)
        while True:
            try:
                event = self.receive(timeout=timeout)
            except MisuseError as exc:
                if self._line.closed and not from_outside(exc):
                    return
                raise
            if event is None:
                return
            yield event

    def __iter__(self) -> Iterator[Event]:
        """See `events`: without a limit of time."""
        return self.events()

    @hides_locals
    def set_input(self, /, **fields: Any) -> None:
        """Give the handler additional inputs, through the application's hook.

        Raises:
            InputError: a field called webrtc_id, unless the client has a ``shape``, or nothing that JSON can hold.
            HookError: it answered with an error (``status``), or not at all.
            ConfigurationError: the client was made without a hook.
            ConnectionLost: the connection has ended: servers ignore inputs for such a one, without an error.
            Timeout: no answer within the client's ``timeout``.
            ConnectError, ProtocolError: with ``reconnect``, as `reply`.
        """
        self._additional.give(self._line, fields, self._begin(None))

    @hides_locals
    def outputs(self) -> OutputStream:
        """The handler's additional outputs as they come: JSON where it is JSON, else text. Ends with the connection.

        The call asks for nothing: the stream's first ``receive``, or the first step of an iteration, does, and gives
        what the handler put out before, too. See `OutputStream.receive` for its errors. (A ``receive`` with a short
        ``timeout`` has it opened early: the outputs then outlive a connection that the handler ends.)

        Servers hand each output out once: of two readers each gets a part. A stream that is dropped without ``close``
        once it was opened is closed, with a ResourceWarning.

        Raises:
            ConfigurationError: the client was made without an outputs URL, or the extra is not installed.
            ConnectionLost: the connection has ended: servers never answer for such a one.
        """
        return self._additional.outputs(self._line, self._begin(None))

    @hides_locals
    def latest_output(self, *, timeout: float | None = None) -> Any:
        """Ask the application's ``latest`` URL for the oldest output that nobody has fetched.

        Raises:
            HookError: there was none, as far as servers say: they wait for 10 s and fail with status 500; another
                error; or no answer at all.
            OutputTooLarge: it is larger than the client's ``max_output_size``.
            ConfigurationError: the client was made without a ``latest`` URL.
            ConnectionLost: the connection has ended, and its outputs with it.
        """
        return self._additional.latest(self._line, self._begin(timeout))

    def close(self, timeout: float = 1.0) -> None:
        """Say ``stop``, and let go. Idempotent, from any thread."""
        timeout = seconds("timeout", timeout)
        if self._line.is_mine:
            try:
                self._line.interrupt()
                self._additional.close()
                self._line.link.close(timeout)
            except BaseException:
                self._line.link.abort()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is not None and not issubclass(kind, Exception) and self._line.is_mine:
                self._line.interrupt()  # first: nobody is to make it anew
                self._line.link.abort()  # Ctrl-C: do not wait for a server's goodbye
            self.close()
        except BaseException:
            self.close()  # a signal struck in the middle of it
            raise

    def __repr__(self) -> str:
        return f"<Session {self.webrtc_id}{' closed' if self._line.closed else ''}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Session is neither copied nor pickled: make one where it is used")

    def _begin(self, timeout: float | None) -> Deadline:
        self._line.check()
        return Deadline(self._server.timeout if timeout is None else seconds("timeout", timeout))
