"""One connection of the fake: a WebSocket on asyncio's streams, and the turns on it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
import struct
import time
from contextlib import AbstractContextManager
from typing import Any, Protocol

from ...faultproxy import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame
from .knobs import ConnectionSeen, Knobs
from .sound import spoken
from .turns import Heard, Output, Say, Step, Stream, media, message

TELEPHONE = 8000
"""Samples a second, both ways, whatever the stream's."""

BLOCK, STARTS, PAUSES = 0.6, 0.2, 0.1
"""Seconds: a block that is looked at; more speech in it than this is talking; less is a pause."""


class Ended(Exception):
    """The connection is to end: by a close frame, or without one (None)."""

    def __init__(self, code: int | None, *, reset: bool = False) -> None:
        self.code = code
        self.reset = reset


class Gone(Exception):
    """The client has closed the connection."""


class Server(Protocol):
    """What a session needs of its server."""

    knobs: Knobs

    def noting(self) -> AbstractContextManager[None]:
        """While it writes to the journal."""

    def admit(self, session: Session) -> str | None:
        """Register it, or say why not."""

    def put_out(self, session: Session, value: Any) -> None:
        """Take an additional output."""


class Session:
    """Lives on the loop's thread."""

    def __init__(
        self,
        server: Server,
        stream: Stream,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        seen: ConnectionSeen,
        *,
        by_telephone: bool = False,
    ) -> None:
        self.stream = stream
        self.by_telephone = by_telephone
        self.seen = seen
        self.started = False
        self.given: dict[str, Any] = {}
        self.is_given = asyncio.Event()
        """A hook has given inputs, and no turn has taken them yet."""
        self._server = server
        self._reader, self._writer = reader, writer
        self._closing = False
        self._input_rate = TELEPHONE if by_telephone else stream.rate or server.knobs.input_rate
        self._output_rate = TELEPHONE if by_telephone else stream.rate or server.knobs.output_rate
        self._queue: asyncio.Queue[bytes | Output] = asyncio.Queue()
        self._turn: asyncio.Task[None] | None = None
        self._over = False  # the handler has closed the stream: noticed with the next message
        self._dead = False  # a turn has raised: there will be no other
        self._block = bytearray()
        self._talk: bytearray | None = None  # since talking began
        self._stop_word_heard = False

    async def run(self, refusal: str | None = None) -> None:
        """Until either side ends it; refused, that is at once."""
        player = asyncio.ensure_future(self._play())
        try:
            if refusal:
                await self.say(refusal)
                raise Ended(1000)
            await self._serve()
        except Ended as end:
            await self.end(end)
            if end.code is not None:
                async with asyncio.timeout(2):
                    while True:  # until the client's close frame
                        await self._message()
        finally:
            tasks = [task for task in (player, self._turn) if task]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _serve(self) -> None:
        knobs = self._server.knobs
        count = 0
        while knobs.reads_most is None or count < knobs.reads_most:
            await asyncio.sleep(knobs.read_delay)
            opcode, data = await self._message()
            count += 1
            if self.stream.repeats and await self._repeat(opcode, data):
                continue
            try:
                if opcode != TEXT:
                    raise TypeError
                received = json.loads(data)
                await self._take(received["event"], received)
            except (KeyError, TypeError, ValueError):  # bad base64 is a ValueError, too
                raise Ended(1000 if self.started else None) from None
            if self._over:
                raise Ended(1000)
        await asyncio.Event().wait()

    async def _repeat(self, opcode: int, data: bytes) -> bool:
        """Say a message of the client's own again; whether it is one."""
        with contextlib.suppress(ValueError, TypeError, KeyError):
            if opcode == TEXT and json.loads(data)["event"] in {"start", "media", "ping", "stop"}:
                return False
        with self._server.noting():
            self.seen.said.append(data if opcode == BINARY else data.decode())
        await self._send(frame(data, opcode))
        return True

    async def _take(self, event: str, received: dict[str, Any]) -> None:
        with self._server.noting():
            self.seen.events.append(event)
        if event == "start":
            self.seen.id = received["streamSid" if self.by_telephone else "websocket_id"]
            self.seen.start = received
            if refusal := self._server.admit(self):
                await self.say(refusal)
                raise Ended(1000)
            self.started = True
            await self.say(*self.stream.greeting)
        elif event == "media":
            audio = base64.b64decode(received["media"]["payload"])
            with self._server.noting():
                self.seen.media.append(len(audio))
                self.seen.sids.add(received.get("streamSid"))
                self.seen.audio += audio
            if self.stream.copies:
                for _ in range(self.stream.copies):
                    await self.say(self._media(audio))
            else:
                await self._hear(audio)
        elif event == "ping" and self._server.knobs.pong:
            await self.say('{"event":"pong"}')
        elif event == "stop":
            raise Ended(1000 if self.started else None)

    # --- turns ------------------------------------------------------------------------------------------------

    async def _hear(self, audio: bytes) -> None:
        self._block += audio
        if len(self._block) < BLOCK * self._input_rate:
            return
        block, self._block = bytes(self._block), bytearray()
        seconds = spoken(block, self._input_rate)
        if self.stream.stop_word and not self._stop_word_heard:
            if seconds > STARTS:
                self._stop_word_heard = True
                await self.say(message("stopword", ""))
            return
        if self._talk is None and seconds > STARTS:
            self._talk = bytearray()
            if not self.stream.stop_word:
                await self.say(message("log", "started_talking"))
        if self._talk is None:
            return
        self._talk += block
        if seconds < PAUSES and not self._dead:
            if self._turn:
                self._interrupt(self._turn)
            self._turn = asyncio.ensure_future(self._answer(bytes(self._talk)))
            self._talk, self._stop_word_heard = None, False

    def _interrupt(self, turn: asyncio.Task[None]) -> None:
        turn.cancel()
        while not self._queue.empty():
            self._queue.get_nowait()
            self._queue.task_done()

    async def _answer(self, audio: bytes) -> None:
        with contextlib.suppress(OSError):
            await self.say(message("log", "pause_detected"))
            if self.stream.inputs and not self.by_telephone:
                await self.say(message("send_input", []))
                await self.is_given.wait()
                self.is_given.clear()
            await asyncio.sleep(self._server.knobs.think)
            announced = False
            try:
                if self.stream.inputs and self.by_telephone:
                    raise ValueError("the inputs are missing")
                for step in self.stream.turn(Heard(audio, self._output_rate, self.given)):
                    announced |= isinstance(step, bytes)
                    await self._do(step)
            except ValueError:  # the client is told nothing
                self._dead = True
            else:
                if not announced:
                    await self.say(message("log", "response_starting"))

    async def _do(self, step: Step) -> None:
        if isinstance(step, bytes):
            await self.say(message("log", "response_starting"))
            self._queue.put_nowait(step)
        elif isinstance(step, Output):
            self._queue.put_nowait(step)
        elif isinstance(step, Say):
            await self.say(step.message)
        else:
            await self._queue.join()
            if step.late:
                self._over = True
            else:
                await self._until_all_is_sent()
                await self.end(Ended(step.code))

    async def _until_all_is_sent(self) -> None:
        """Wait until the client has sent the ping behind its audio: it may still be sending the silence."""
        deadline = time.monotonic() + 2
        while "ping" in self.seen.events and self.seen.events[-1] != "ping" and time.monotonic() < deadline:
            await asyncio.sleep(0.001)

    async def _play(self) -> None:
        """Media and outputs leave through a queue, at a pace of their own; everything else overtakes them."""
        with contextlib.suppress(OSError):
            while True:
                step = await self._queue.get()
                if isinstance(step, Output):
                    self._server.put_out(self, step.value)
                else:
                    await self.say(self._media(step))
                self._queue.task_done()
                await asyncio.sleep(self._server.knobs.pace)

    def _media(self, audio: bytes) -> str:
        return media(audio, **({"streamSid": self.seen.id} if self.by_telephone else {}))

    # --- the WebSocket ----------------------------------------------------------------------------------------

    async def say(self, *messages: str | bytes) -> None:
        """Send messages; bytes as binary frames."""
        for text in messages:
            data = frame(text.encode(), TEXT) if isinstance(text, str) else frame(text, BINARY)
            await self._send(data)

    async def _send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def end(self, end: Ended) -> None:
        """Send a close frame; or end the connection without one."""
        self._closing = True
        if end.code is not None:
            await self._send(frame(struct.pack("!H", end.code), CLOSE))
        elif end.reset:
            raw = self._writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._writer.transport.abort()
        else:
            self._writer.close()

    async def _message(self) -> tuple[int, bytes]:
        """The next one whole; what is between the frames is seen to."""
        kind, parts = CONTINUATION, bytearray()
        while True:
            final, opcode, payload = await self._frame()
            if opcode == CLOSE:
                with self._server.noting():
                    self.seen.close_code = int.from_bytes(payload[:2]) if payload else 1005
                if not self._closing:
                    await self._send(frame(payload[:2], CLOSE))
                raise Gone
            if opcode == PING:
                await self._send(frame(payload, PONG))
            elif opcode != PONG:
                kind = opcode or kind
                parts += payload
                if len(parts) > self._server.knobs.max_message:
                    raise Ended(None, reset=True)
                if final:
                    return kind, bytes(parts)

    async def _frame(self) -> tuple[bool, int, bytes]:
        first, size = await self._reader.readexactly(2)
        size &= 0x7F
        if size > 125:
            size = int.from_bytes(await self._reader.readexactly(2 if size == 126 else 8))
        if size > self._server.knobs.max_message:
            raise Ended(None, reset=True)
        mask = await self._reader.readexactly(4)
        masked = await self._reader.readexactly(size)
        key = (mask * (size // 4 + 1))[:size]
        payload = (int.from_bytes(masked) ^ int.from_bytes(key)).to_bytes(size)
        return bool(first & 0x80), first & 0x0F, payload
