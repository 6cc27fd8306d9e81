"""Replies: the JSON object received, with what people look for in it within reach."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

__all__ = ["StreamResponse", "printable"]

_MODELS = ("burst", "face", "facemesh", "language", "ner", "prosody")
_AUDIO_MODELS = ("burst", "prosody")
_SCORES = ("emotions", "facs", "descriptions", "sentiment", "toxicity")


class StreamResponse(dict[str, Any]):
    """A reply of the server: a ``dict`` equal to the JSON object received, with readers on top.

    The readers take the reply as it is: a null model, a list where an object should be, a score that is no number
    are passed over, never an error.

    Scores say how likely people are to perceive an expression; they are not read-outs of what somebody feels. They
    lie mostly between 0 and 1, but need not.

    Attributes:
        emulated: True when the reply comes from the local server: its scores are invented.
        attempts: how often the request was sent, or tried to be; one more than ``max_attempts`` at most: see
            `RetryPolicy`.
        window_state: what the server knew of the audio before this payload: "warm", what it should; "rebuilt", the
            same, after its context was replayed on a new connection; "cold", nothing, for the context was lost.
            None without an audio model.
        clock_offset: seconds added to the times of burst and prosody, so that they count from the stream's
            beginning rather than the connection's; None where an unknown length of audio makes that impossible.
    """

    emulated: bool = False
    attempts: int = 1
    window_state: str | None = None
    clock_offset: float | None = 0.0

    def shift_times(self, offset: Fraction) -> None:
        """Move the times of the audio models by so many seconds; what is no time is left alone."""
        self.clock_offset = float(offset)
        if not offset:
            return
        for model in _AUDIO_MODELS:
            for _, _, prediction in self._predictions(model):
                time = prediction.get("time")
                if isinstance(time, dict):
                    for end in ("begin", "end"):
                        if isinstance(time.get(end), int | float):
                            time[end] = round(time[end] + self.clock_offset, 9)

    def emotions(self, model: str | None = None) -> dict[str, float]:
        """Score by emotion, each the mean over all predictions of a model (None: of all models).

        Empty when nothing was predicted.
        """
        sums: dict[str, float] = {}
        counts: dict[str, int] = {}
        for _, _, prediction in self._predictions(model):
            for name, score in _scores(prediction, "emotions"):
                sums[name] = sums.get(name, 0.0) + score
                counts[name] = counts.get(name, 0) + 1
        return {name: total / counts[name] for name, total in sums.items()}

    def top(self, n: int = 5, model: str | None = None) -> list[tuple[str, float]]:
        """The ``n`` highest of `emotions` as (name, score), highest first."""
        return sorted(self.emotions(model).items(), key=lambda item: -item[1])[: max(n, 0)]

    def to_records(self) -> list[dict[str, Any]]:
        """One flat dict a score, for tables: the same keys in each, None where they do not apply.

        Keys: ``model``, ``segment`` (index of the prediction), ``kind`` ("emotions", "facs", "descriptions",
        "sentiment", "toxicity"), ``t_start`` and ``t_end`` (seconds), ``face_id``, ``text``, ``name``, ``score``,
        ``emulated``.
        """
        return [
            {
                "model": model,
                "segment": segment,
                "kind": kind,
                "t_start": start,
                "t_end": end,
                "face_id": prediction.get("face_id"),
                "text": prediction.get("text"),
                "name": name,
                "score": score,
                "emulated": self.emulated,
            }
            for model, segment, prediction in self._predictions(None)
            for start, end in [_times(prediction)]
            for kind in _SCORES
            for name, score in _scores(prediction, kind)
        ]

    @property
    def warning(self) -> str | None:
        """What the server warns of: its text, else those of the models ("prosody: No speech detected."), else None."""
        text = self.get("warning")
        if text is not None:
            return str(text)
        models = [
            f"{model}: {self[model]['warning']}"
            for model in _MODELS
            if isinstance(self.get(model), dict) and self[model].get("warning") is not None
        ]
        return "; ".join(models) or None

    def _predictions(self, model: str | None) -> Iterator[tuple[str, int, dict[str, Any]]]:
        for name in _MODELS if model is None else (model,):
            body = self.get(name)
            predictions = body.get("predictions") if isinstance(body, dict) else None
            for segment, prediction in enumerate(predictions if isinstance(predictions, list) else ()):
                if isinstance(prediction, dict):
                    yield name, segment, prediction

    def __str__(self) -> str:
        """A small table: the five highest emotions of each model, warnings, and whether they are emulated."""
        lines = []
        for model in _MODELS:
            if top := self.top(5, model):
                width = max(len(name) for name, _ in top)
                count = sum(1 for _ in self._predictions(model))
                lines.append(f"{model} ({count} prediction{'s' if count > 1 else ''})")
                lines += [f"  {printable(name):<{width}}  {score:6.3f}" for name, score in top]
        if self.warning:
            lines.append(f"warning: {printable(self.warning)}")
        if lines and self.emulated:
            lines.append("(emulated: invented scores, not measurements)")
        if isinstance(job := self.get("job_details"), dict):
            lines.append(f"job {printable(str(job.get('job_id')))}")
        return "\n".join(lines or ["no predictions"])


def _scores(prediction: dict[str, Any], kind: str) -> Iterator[tuple[str, float]]:
    items = prediction.get(kind)
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict):
            name, score = item.get("name"), item.get("score")
            if isinstance(name, str) and isinstance(score, int | float) and not isinstance(score, bool):
                yield name, score


def _times(prediction: dict[str, Any]) -> tuple[Any, Any]:
    """Begin and end in seconds: a range (burst, prosody), or one moment (a frame of a video)."""
    time = prediction.get("time")
    if isinstance(time, dict):
        return time.get("begin"), time.get("end")
    return time, time


def printable(text: str) -> str:
    """Text of a server, fit for a terminal: no escape sequences, no line ends."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
