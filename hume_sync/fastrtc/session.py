"""The session: a conversation with a FastRTC handler."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NoReturn, Self

from ..errors import MisuseError
from ..net.deadline import Deadline
from ..net.interrupts import from_outside
from ..net.tracebacks import clears_locals
from ..net.validation import to_seconds
from ..reprs import safe_repr
from .app import AdditionalData, AppConfig, Inputs
from .audio import PAUSE, pause_seconds
from .events import Event, to_message
from .outputs import OutputStream
from .reply import Reply
from .sender import AudioSender
from .transport import Connect, ReconnectingTransport
from .turn_reader import DEFAULT_IDLE, TurnReader

__all__ = ["Inputs", "Session"]


@safe_repr
class Session:
    """A connection that the server has registered, made by ``with client.connect() as session:``.

    One thread may send audio while another receives (`reply`, or a ``for`` loop over events). Any thread may call the
    other methods. An exception that a signal handler raises during a call propagates unchanged, and nothing is sent
    again. The session stays usable, as after a timeout; only a stream of outputs ends. A network that fails without an
    error is noticed after the client's ``patience`` (20 s), over WebRTC after at most 40 s.
    """

    def __init__(self, config: AppConfig, connect: Connect, inputs: Inputs | None, reconnect: bool) -> None:
        self._config = config
        self._additional = AdditionalData(config, inputs)
        self._connection = ReconnectingTransport(
            connect, timeout=config.timeout, reconnect=reconnect, on_reconnect=self._additional.restore
        )
        try:
            self._sender = AudioSender(self._connection, config.input_sample_rate)
            self._reader = TurnReader(config, self._connection, self._additional, self._sender)
        except BaseException:  # a signal handler's: the caller has no session to close
            self._connection.abort()
            raise

    @property
    def webrtc_id(self) -> str:
        """The id of the connection for hooks and outputs (by telephone the ``streamSid``); new after a reconnect."""
        return self._connection.transport.webrtc_id

    @clears_locals
    def send_audio(
        self, audio: Any, *, end: bool | float = False, pace: bool = False, timeout: float | None = None
    ) -> None:
        """Send audio, converted to the client's ``input_sample_rate`` and one channel.

        Args:
            audio: Samples at that rate (s16le bytes, or an array of int16 or of floats in -1 to 1), ``(rate, array)``
                as FastRTC's handlers get it, or a WAV file of any encoding and size (path, binary file or bytes). Or an
                iterable of these, which are sent as they come: ``iter(lambda: microphone.read(3200), b"")``.
            end: Append the silence by which a handler detects the end of a question. True: 1.2 s; a number: that many
                seconds, at most 60. It has to be longer than the handler's ``audio_chunk_duration`` (0.6 s by default).
            pace: Send in real time, as a microphone does. Otherwise a WebSocket sends as fast as it can, and WebRTC,
                which is always in real time, queues up to 10 s.
            timeout: Seconds, including the wait for chunks. Default: the client's, plus the time the audio plays.

        Raises:
            InputError: The audio cannot be used. Nothing of it was sent; of an iterable, nothing of the named chunk.
            OSError: The file cannot be read.
            Timeout: Part of the audio may have been sent.
            ConnectionLost: Part of the audio may have been sent. With ``reconnect`` the session is connected again, and
                the audio is not sent again.
            ConnectError: With ``reconnect``: reconnecting failed.
            HookError: With ``reconnect``: the inputs could not be restored.
            Exception: What the iterable raises, unchanged.
        """
        deadline = Deadline(self._timeout(timeout))
        self._sender.send(audio, pause_seconds("end", end), deadline, extend=timeout is None, pace=pace)

    @clears_locals
    def send(self, message: Any, *, timeout: float | None = None) -> None:
        """Send a message of the application's own, over the WebSocket or WebRTC's data channel.

        It is not a question: answers to it are received as events. FastRTC's servers do not pass it to the handler.
        They answer with a `LogMessage` (WebRTC), or ignore a JSON object with an unknown ``event`` and end the session
        at anything else.

        Args:
            message: A str, sent as it is; a mapping or list, sent as JSON; or bytes, sent as a binary message. At most
                the client's ``max_message_size``; over WebRTC what the server accepts (64 KiB in older ones).
            timeout: Seconds of waiting for room. Default: the client's.

        Raises:
            InputError: It cannot be sent, is too large, or is an event of the protocol (start, stop, ping, media).
            Timeout: No room in time; nothing of it was sent.
            ConnectionLost: As for `send_audio`.
        """
        deadline, data = Deadline(self._timeout(timeout)), to_message(message)
        self._connection.call(lambda transport: transport.send(data, deadline), deadline)

    @clears_locals
    def ask(
        self, audio: Any, *, silence: float = PAUSE, timeout: float | None = None, idle: float = DEFAULT_IDLE
    ) -> Reply:
        """Ask a question and return the reply: ``session.ask("question.wav").save("answer.wav")``.

        Args:
            audio: As for `send_audio`.
            silence: Seconds of silence after it, as ``end`` of `send_audio`. 0: none.
            timeout: Seconds until the end of the reply, counted from the end of the question. Default: the client's.
            idle: As for `reply`.

        Raises:
            InputError: An argument is wrong; nothing was sent.
            HumeClientException: As for `send_audio` and `reply`.
        """
        limit, idle, pause = self._timeout(timeout), to_seconds("idle", idle), pause_seconds("silence", silence)
        self._sender.send(audio, pause, Deadline(self._config.timeout), extend=True)
        deadline = Deadline(limit).extended_by(self._connection.transport.queued_seconds)
        return self._reader.reply(deadline, idle, audio=True)

    @clears_locals
    def reply(self, *, timeout: float | None = None, idle: float = DEFAULT_IDLE, audio: bool = True) -> Reply:
        """Wait for the reply to the audio sent last.

        From handlers that report pauses (``ReplyOnPause``), it contains nothing that came before the pause after that
        audio: neither a greeting nor the rest of an earlier reply. From other handlers, it is what comes once the
        server has received all audio. A pause in a reply that is longer than ``idle`` is taken for its end; the next
        call then returns the rest, unless it is discarded (`discard`). Without a new question another call returns the
        rest of a reply that was cut off by ``timeout``, or the next turn.

        Args:
            timeout: Seconds until the end of the reply, not counting those that the caller's ``inputs`` take. Default:
                the client's, plus the time queued audio plays. Over WebRTC replies take as long as they play.
            idle: Seconds without audio after which a reply that may be complete is complete.
            audio: False: do not wait for audio; the reply is complete once the handler has announced it.

        Raises:
            ReplyTimeout: No audio came in time. ``messages`` holds the events that came instead.
            ConnectionLost: The connection ended. With ``reconnect`` the session is connected again: ask again.
            ConnectError: With ``reconnect``: reconnecting failed.
            HookError: Inputs could not be delivered. The next call asks for them again.
            Exception: What ``inputs`` raises, likewise.
        """
        deadline = Deadline(self._timeout(timeout))
        if timeout is None:
            deadline = deadline.extended_by(self._connection.transport.queued_seconds)
        return self._reader.reply(deadline, to_seconds("idle", idle), audio=audio)

    @clears_locals
    def greeting(self, *, timeout: float | None = None, idle: float = DEFAULT_IDLE) -> Reply:
        """Wait for what the handler says before any question. Replies never contain it. Arguments as for `reply`.

        Raises:
            ReplyTimeout: No audio came in time.
            MisuseError: A question was asked already.
            ConnectionLost: As for `reply`.
        """
        return self._reader.greeting(Deadline(self._timeout(timeout)), to_seconds("idle", idle))

    def discard(self) -> None:
        """Discard what has come and was not received, and the rest of the current reply. Raises as `receive`."""
        self._connection.check()
        self._reader.discard()

    @clears_locals
    def receive(self, *, timeout: float | None = None) -> Event | None:
        """Return the next event, or None after ``timeout`` seconds (None: the client's).

        Raises:
            ConnectionLost: The connection ended. With ``reconnect`` a `Reconnected` event comes instead, or an error as
                from `reply`.
        """
        return self._reader.event(Deadline(self._timeout(timeout)))

    def events(self, *, timeout: float = math.inf) -> Iterator[Event]:
        """Yield events until none has come for ``timeout`` seconds, or the session is closed. Raises as `receive`."""
        to_seconds("timeout", timeout)
        while True:
            try:
                event = self.receive(timeout=timeout)
            except MisuseError as exc:
                if self._connection.closed and not from_outside(exc):
                    return
                raise
            if event is None:
                return
            yield event

    def __iter__(self) -> Iterator[Event]:
        """Yield events without a timeout, as `events` does."""
        return self.events()

    @clears_locals
    def set_input(self, /, **fields: Any) -> None:
        """Give the handler additional inputs through the application's hook.

        Raises:
            InputError: A field is called webrtc_id (unless the client has a ``shape``), or is not JSON.
            HookError: The hook answered with an error (``status``), or not at all.
            ConfigurationError: The client has no hook.
            ConnectionLost: The connection has ended; servers would ignore the inputs.
            Timeout: No answer within the client's ``timeout``.
        """
        self._additional.set_input(self._connection, fields, Deadline(self._timeout(None)))

    @clears_locals
    def outputs(self) -> OutputStream:
        """Return the handler's additional outputs as a stream, which makes its request when it is first read.

        Each output is delivered once: two readers get a part each. The stream ends with the connection.

        Raises:
            ConfigurationError: The client has no outputs URL.
            ConnectionLost: The connection has ended.
        """
        return self._additional.outputs(self._connection, Deadline(self._timeout(None)))

    @clears_locals
    def latest_output(self, *, timeout: float | None = None) -> Any:
        """Fetch the oldest output that was not fetched yet from the application's ``latest`` URL.

        Raises:
            HookError: There was none (servers wait for 10 s and answer 500), another error, or no answer.
            OutputTooLarge: The output exceeds the client's ``max_output_size``.
            ConfigurationError: The client has no ``latest`` URL.
            ConnectionLost: The connection has ended, and its outputs with it.
        """
        return self._additional.latest_output(self._connection, Deadline(self._timeout(timeout)))

    def close(self, timeout: float = 1.0) -> None:
        """Send ``stop`` and close the connection. Idempotent; may be called from any thread."""
        self._connection.close(to_seconds("timeout", timeout), self._additional.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is not None and not issubclass(kind, Exception):  # Ctrl-C: do not wait for the server
                self._connection.abort()
            self.close()
        except BaseException:
            self.close()  # a signal handler interrupted the first call
            raise

    def __repr__(self) -> str:
        return f"<Session {self.webrtc_id}{' closed' if self._connection.closed else ''}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Session is neither copied nor pickled: make one where it is used")

    def _timeout(self, timeout: float | None) -> float:
        self._connection.check()
        return self._config.timeout if timeout is None else to_seconds("timeout", timeout)
