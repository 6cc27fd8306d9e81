"""A conversation with a FastRTC handler, in plain calls."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NoReturn, Self

from ..errors import MisuseError
from ..net.deadline import Deadline, seconds
from ..net.interrupts import from_outside
from ..net.tracebacks import hides_locals
from ..reprs import safe_repr
from .additional_data import AdditionalData, Inputs
from .app import AppConfig
from .audio import PAUSE, pause_of
from .audio_sender import AudioSender
from .events import Event
from .messages import to_message
from .outputs import OutputStream
from .reconnecting import ReconnectingTransport
from .reply import Reply
from .transport import Connect
from .turn_reader import IDLE, TurnReader

__all__ = ["Inputs", "Session"]


@safe_repr
class Session:
    """A connection that the server has registered. Made by ``client.connect(...)``.

    ::

        with client.connect() as session:
            reply = session.ask("question.wav", timeout=10)

    One thread may send audio while another receives (`reply`, or a ``for`` loop over events). All else is for any.
    What a signal handler raises in a call comes out of it unchanged, and nothing is sent again. The session stays
    usable, as after a timeout; only a stream of outputs ends by it.

    A network that fails silently is noticed after the client's ``patience`` (20 s), over WebRTC after 40 s at most.
    """

    def __init__(self, server: AppConfig, connect: Connect, inputs: Inputs | None, reconnect: bool) -> None:
        self._server = server
        self._additional = AdditionalData(server, inputs)
        self._line = ReconnectingTransport(
            connect, timeout=server.timeout, reconnect=reconnect, renewed=self._additional.renew
        )
        try:
            self._speaker = AudioSender(self._line, server.input_sample_rate)
            self._listener = TurnReader(server, self._line, self._additional, self._speaker)
        except BaseException:  # a signal: nobody else can close the connection
            self._line.abort()
            raise

    @property
    def webrtc_id(self) -> str:
        """The id of the connection for hooks and outputs (by telephone the ``streamSid``); new after a reconnect."""
        return self._line.link.webrtc_id

    @hides_locals
    def send_audio(
        self, audio: Any, *, end: bool | float = False, pace: bool = False, timeout: float | None = None
    ) -> None:
        """Send audio, brought to the client's ``input_sample_rate`` and one channel.

        Args:
            audio: samples at that rate (s16le bytes, or an array of int16 or of floats in -1 to 1), ``(rate, array)``
                as FastRTC's handlers get it, or a WAV file of any encoding and size (path, binary file or bytes). Or an
                iterable of these, which are sent as they come: ``iter(lambda: microphone.read(3200), b"")``.
            end: append the silence by which a handler hears the end of a question. True: 1.2 s; a number: that many
                seconds, at most 60; it has to be longer than the handler's ``audio_chunk_duration`` (0.6 s by default).
            pace: send in real time, as a microphone does. Otherwise a WebSocket carries it as fast as it can, and
                WebRTC, which is always in real time, queues up to 10 s of it.
            timeout: seconds, including the wait for chunks. None: the client's, and as long as the audio plays.

        Raises:
            InputError: the audio is unusable. Nothing of it was sent; of an iterable, nothing of the chunk it names.
            OSError: the file cannot be read.
            Timeout: part of it may have been sent.
            ConnectionLost: as Timeout. With ``reconnect`` the session is connected again, and the audio not sent again.
            ConnectError: with ``reconnect``: the attempt failed; or HookError: the inputs could not be restored.
            Exception: what the iterable raises, unchanged.
        """
        deadline = Deadline(self._timeout(timeout))
        self._speaker.say(audio, pause_of("end", end), deadline, grows=timeout is None, pace=pace)

    @hides_locals
    def send(self, message: Any, *, timeout: float | None = None) -> None:
        """Send a message of the application's own, over the WebSocket or WebRTC's data channel.

        It is no question: what comes in answer are events. FastRTC's servers do not pass it to the handler. They answer
        with a `LogMessage` (WebRTC), or ignore a JSON object with an unknown ``event`` and end the session at all else.

        Args:
            message: a str, sent as it is; a mapping or list, sent as JSON; or bytes, sent as a binary message. At most
                the client's ``max_message_size``; over WebRTC what the server accepts (64 KiB in older ones).
            timeout: seconds of waiting for room; None: the client's.

        Raises:
            InputError: it cannot be sent, is too large, or is an event of the protocol (start, stop, ping, media).
            Timeout: no room in time; nothing of it was sent.
            ConnectionLost: as `send_audio`.
        """
        deadline, data = Deadline(self._timeout(timeout)), to_message(message)
        self._line.use(lambda link: link.send(data, deadline), deadline)

    @hides_locals
    def ask(self, audio: Any, *, silence: float = PAUSE, timeout: float | None = None, idle: float = IDLE) -> Reply:
        """Ask a question and return the answer to it: ``session.ask("question.wav").save("answer.wav")``.

        Args:
            audio: as for `send_audio`.
            silence: seconds of silence behind it, as ``end`` of `send_audio`. 0: none.
            timeout: seconds until the end of the answer, counted from the end of the question. None: the client's.
            idle: as for `reply`.

        Raises:
            InputError: an argument is wrong; nothing was sent. Otherwise as `send_audio` and `reply`.
        """
        limit, idle, pause = self._timeout(timeout), seconds("idle", idle), pause_of("silence", silence)
        self._speaker.say(audio, pause, Deadline(self._server.timeout), grows=True)
        return self._listener.reply(Deadline(limit).extended_by(self._line.link.backlog), idle, audio=True)

    @hides_locals
    def reply(self, *, timeout: float | None = None, idle: float = IDLE, audio: bool = True) -> Reply:
        """Wait for the answer to the audio sent last.

        Handlers that report pauses (``ReplyOnPause``): nothing that came before the pause behind that audio is part of
        it, neither a greeting nor the rest of an earlier answer. Other handlers: it is what comes once all audio has
        been spoken. A pause in it longer than ``idle`` cannot be told from its end; the next call then returns the
        rest, unless it is thrown away (`discard`). Without a new question another call returns what is left of an
        answer that was cut off by ``timeout``, or the next turn.

        Args:
            timeout: seconds until the end of the answer, not counting those the caller's ``inputs`` take. None: the
                client's, plus what is left to be spoken. Over WebRTC answers take as long as they play.
            idle: seconds without audio after which an answer that may be complete is.
            audio: False: do not wait for audio; the answer is complete once the handler has announced it.

        Raises:
            ReplyTimeout: no audio came in time. ``messages`` holds what came instead.
            ConnectionLost: the connection ended. With ``reconnect`` it has been made again: ask again.
            ConnectError: with ``reconnect``: the attempt failed; likewise ProtocolError and Timeout.
            HookError: inputs could not be delivered; or what ``inputs`` raises. The next call asks for them again.
        """
        deadline = Deadline(self._timeout(timeout))
        if timeout is None:
            deadline = deadline.extended_by(self._line.link.backlog)
        return self._listener.reply(deadline, seconds("idle", idle), audio=audio)

    @hides_locals
    def greeting(self, *, timeout: float | None = None, idle: float = IDLE) -> Reply:
        """Wait for what the handler says before any question. Replies never contain it. Arguments as for `reply`.

        Raises:
            ReplyTimeout: no audio came in time.
            MisuseError: a question was asked already.
            ConnectionLost: as `reply`.
        """
        return self._listener.greeting(Deadline(self._timeout(timeout)), seconds("idle", idle))

    def discard(self) -> None:
        """Throw away what has come and was not received, and the rest of the answer under way. Raises as `receive`."""
        self._line.check()
        self._listener.discard()

    @hides_locals
    def receive(self, *, timeout: float | None = None) -> Event | None:
        """Return the next event, or None after ``timeout`` seconds (None: the client's).

        Raises:
            ConnectionLost: the connection ended. With ``reconnect`` a `Reconnected` event comes instead, or an error as
                from `reply`.
        """
        return self._listener.event(Deadline(self._timeout(timeout)))

    def events(self, *, timeout: float = math.inf) -> Iterator[Event]:
        """Yield events until none has come for ``timeout`` seconds, or this side has closed. Raises as `receive`."""
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
        """Yield events without a limit of time; see `events`."""
        return self.events()

    @hides_locals
    def set_input(self, /, **fields: Any) -> None:
        """Give the handler additional inputs through the application's hook.

        Raises:
            InputError: a field is called webrtc_id (unless the client has a ``shape``), or is not JSON.
            HookError: the hook answered with an error (``status``), or not at all.
            ConfigurationError: the client has no hook.
            ConnectionLost: the connection has ended; servers would ignore the inputs.
            Timeout: no answer within the client's ``timeout``.
        """
        self._additional.give(self._line, fields, Deadline(self._timeout(None)))

    @hides_locals
    def outputs(self) -> OutputStream:
        """Return the handler's additional outputs as a stream, which opens its request when it is first read.

        Each output is handed out once: two readers get a part each. The stream ends with the connection.

        Raises:
            ConfigurationError: the client has no outputs URL, or the extra is not installed.
            ConnectionLost: the connection has ended.
        """
        return self._additional.outputs(self._line, Deadline(self._timeout(None)))

    @hides_locals
    def latest_output(self, *, timeout: float | None = None) -> Any:
        """Ask the application's ``latest`` URL for the oldest output that was not fetched yet.

        Raises:
            HookError: there was none (servers wait for 10 s and answer 500), another error, or no answer.
            OutputTooLarge: it exceeds the client's ``max_output_size``.
            ConfigurationError: the client has no ``latest`` URL.
            ConnectionLost: the connection has ended, and its outputs with it.
        """
        return self._additional.latest(self._line, Deadline(self._timeout(timeout)))

    def close(self, timeout: float = 1.0) -> None:
        """Say ``stop`` and close the connection. Idempotent; may be called from any thread."""
        self._line.close(seconds("timeout", timeout), self._additional.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is not None and not issubclass(kind, Exception):  # Ctrl-C: do not wait for the server's goodbye
                self._line.abort()
            self.close()
        except BaseException:
            self.close()  # a signal struck in the middle of it
            raise

    def __repr__(self) -> str:
        return f"<Session {self.webrtc_id}{' closed' if self._line.closed else ''}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Session is neither copied nor pickled: make one where it is used")

    def _timeout(self, timeout: float | None) -> float:
        self._line.check()
        return self._server.timeout if timeout is None else seconds("timeout", timeout)
