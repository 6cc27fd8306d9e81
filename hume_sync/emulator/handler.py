"""The state of a connection and the reply to each of its requests, without I/O."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from .audio_window import AudioWindow, WindowView
from .faults import PayloadError
from .knobs import Knobs
from .models import FaceRegistry, PredictionInput, predict
from .payloads import AUDIO_MODELS, read_media
from .schema import ParsedRequest, echo_of, load, parse
from .scores import hex_id

Reply = dict[str, Any]


class RequestHandler:
    """The requests of one connection: its audio window, clock, identified faces, job id and repeated errors.

    Args:
        knobs: The settings of the server.
        number: The number of the connection; with the seed it makes the job id.

    Attributes:
        job_id: The job id of the connection.
        close_code: The code to close the connection with after the last reply, or None to keep it open.
        view: The audio that the models saw for the last request, or None if it was not for audio models.
    """

    def __init__(self, knobs: Knobs, number: int = 1) -> None:
        self.job_id = hex_id(knobs.seed, "job", number)
        self.close_code: int | None = None
        self.view: WindowView | None = None
        self._knobs = knobs
        self._window = AudioWindow()
        self._face_registry = FaceRegistry()
        self._last_error: tuple[str, str] | None = None
        self._errors_in_a_row = 0

    def handle(self, raw: str | bytes, *, failure: PayloadError | None = None) -> Reply:
        """Return the reply to a frame.

        Args:
            raw: The frame.
            failure: An error to reply with; the request then changes nothing.
        """
        self.view = None
        echo: Reply = {}
        try:
            value, loading = _loaded(raw)
            echo = self._echo(value)
            if error := failure or loading:
                raise error
            reply = self._answer(parse(value), echo)
        except PayloadError as error:
            self._count(error)
            return {"error": error.text, "code": error.code, **echo}
        self._last_error = None
        return reply

    @property
    def audio_span(self) -> tuple[float, float] | None:
        """Return the start and end, on the connection's clock in seconds, of the audio that the models saw."""
        return None if self.view is None else (float(self.view.begin), float(self.view.end))

    def _echo(self, value: object) -> Reply:
        payload_id, wants_details = echo_of(value)
        echo: Reply = {}
        if payload_id is not None and self._knobs.echo_payload_id:
            echo["payload_id"] = payload_id
        if wants_details:
            echo["job_details"] = {"job_id": self.job_id}
        return echo

    def _answer(self, request: ParsedRequest, echo: Reply) -> Reply:
        if request.reset_stream:
            # Reset first: a payload that is rejected afterwards leaves an empty window.
            self._window = self._window.reset(clock=self._knobs.reset_resets_clock)
        if request.data is None:
            return {**(self._knobs.reset_reply if request.reset_stream else {}), **echo}
        if not request.models:
            if self._knobs.data_without_models == "empty":
                return echo
            raise PayloadError("E0101", "Field required (models)")
        return self._run(request, request.data, echo)

    def _run(self, request: ParsedRequest, data: str, echo: Reply) -> Reply:
        knobs = self._knobs
        media = read_media(data, request.models, raw_text=request.raw_text, knobs=knobs)
        if media.clip is not None and AUDIO_MODELS & set(request.models):
            milliseconds = request.stream_window_ms or knobs.default_window_ms
            self._window, self.view = self._window.append(
                media.clip, Fraction(str(milliseconds)) / 1000, whole=knobs.payload_beyond_window == "whole"
            )
        answers = predict(PredictionInput(request, media, self.view, self._face_registry, knobs))
        if knobs.warning_level == "top" and all("warning" in answer for answer in answers.values()):
            return {**next(iter(answers.values())), **echo}
        return {**echo, **answers}

    def _count(self, error: PayloadError) -> None:
        """Set the close code after too many identical errors, but not for errors of the service (codes in I)."""
        current = (error.code, error.text)
        self._errors_in_a_row = self._errors_in_a_row + 1 if current == self._last_error else 1
        self._last_error = current
        limit = self._knobs.identical_error_limit
        if limit is not None and self._errors_in_a_row >= limit and error.code.startswith("E"):
            self.close_code = self._knobs.identical_error_close_code


def _loaded(raw: str | bytes) -> tuple[object, PayloadError | None]:
    try:
        return load(raw), None
    except PayloadError as error:
        return None, error
