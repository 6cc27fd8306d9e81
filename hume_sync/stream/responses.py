"""Replies: the JSON object received, with methods to read it."""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any, Final, Self

from ..errors import InputError, short_repr
from ..net.interrupts import from_handler
from ..net.validation import to_bool
from .predictions import SCORE_KINDS, is_number, model_names, predictions, scores, times
from .tables import Measured, arrow_table, pandas_frame

__all__ = ["StreamResponse", "printable"]

_AUDIO_MODELS = ("burst", "prosody")


class StreamResponse(dict[str, Any]):
    """A reply of the server: a ``dict`` equal to the JSON object received, with methods to read it.

    The methods skip anything that has an unexpected shape: a null model, a list in place of an object, a score that is
    not a number.

    Copies, ``|`` and `pickle` keep the class and the attributes below. JSON holds the received object alone, so write
    ``emulated`` beside it, as ``hume-sync send --json`` does, and give it back when reading::

        line = json.dumps({"emulated": reply.emulated, "reply": reply})
        saved = json.loads(line)
        reply = StreamResponse(saved["reply"], emulated=saved["emulated"])

    Args:
        body: The JSON object, or another reply, whose attributes are taken over.
        emulated: Whether the scores are invented; None: as ``body`` says, else False.
        **members: More members of the object.

    Raises:
        InputError: ``body`` is no object, or ``emulated`` is neither True, False nor None.

    Scores say how likely people are to perceive an expression; they are not read-outs of what a person feels. They
    lie mostly between 0 and 1, but need not.

    Attributes:
        emulated: True when the reply comes from the local server: its scores are invented.
        attempts: How often the request was sent, or tried to be; one more than ``max_attempts`` at most: see
            `RetryPolicy`.
        window_state: What the server knew of the audio before this payload: "warm", the full context; "rebuilt", the
            full context, which was replayed on a new connection; "cold", none, because the context was lost.
            None without an audio model.
        clock_offset: Seconds added to the times of burst and prosody, so that they count from the stream's
            beginning rather than the connection's; None where an unknown length of audio makes that impossible.
    """

    emulated: bool = False
    attempts: int = 1
    window_state: str | None = None
    clock_offset: float | None = 0.0

    def __init__(
        self,
        body: Mapping[str, Any] | Iterable[tuple[str, Any]] = (),
        /,
        *,
        emulated: bool | None = None,
        **members: Any,
    ) -> None:
        try:
            super().__init__(body, **members)
        except (TypeError, ValueError) as exc:
            if from_handler(exc):
                raise
            raise InputError(f"body must be the JSON object of a reply, got {short_repr(body)}") from None
        if isinstance(body, StreamResponse):
            vars(self).update(vars(body))
        if emulated is not None:
            if not isinstance(emulated, bool):
                raise InputError(f"emulated must be True, False or None, got {short_repr(emulated)}")
            self.emulated = emulated

    @classmethod
    def received(cls, content: dict[str, Any]) -> Self:
        """Make a reply of a JSON object just received. (The constructor's checks would take as long again.)"""
        reply = cls.__new__(cls)
        reply.update(content)
        return reply

    def copy(self) -> Self:
        """Return a shallow copy, as `copy.copy` does."""
        return type(self)(self)

    def __or__(self, other: Any) -> Self:  # type: ignore[override]  # narrower than dict's: always a reply
        """Return a copy with the members of ``other`` put in; emulated if either of them is."""
        if not isinstance(other, dict):
            return NotImplemented
        joined = self.copy()
        joined |= other
        return joined

    def __ror__(self, other: Any) -> Self:  # type: ignore[override]  # likewise
        """Return the members of ``other`` with this reply's put in, as a reply."""
        if not isinstance(other, dict):
            return NotImplemented
        joined = self.copy()
        joined.clear()
        joined.update(other)
        joined.update(self)
        return joined

    def __ior__(self, other: Any) -> Self:  # type: ignore[override]  # likewise
        self.update(other)
        if isinstance(other, StreamResponse) and other.emulated:
            self.emulated = True
        return self

    def shift_times(self, offset: Fraction) -> None:
        """Shift the times of the audio models by some seconds; leave what is not a time unchanged."""
        self.clock_offset = float(offset)
        if not offset:
            return
        for model in _AUDIO_MODELS:
            for _, _, prediction in predictions(self, model):
                time = prediction.get("time")
                if isinstance(time, dict):
                    for end in ("begin", "end"):
                        if is_number(time.get(end)):
                            moved = round(time[end] + self.clock_offset, 9)
                            # (what the server has rounded can come to lie a little before the stream's beginning)
                            time[end] = 0.0 if moved < 0 else moved

    def emotions(self, model: str | None = None) -> dict[str, float]:
        """Return the score of each emotion: the mean over all predictions of a model (None: of all models).

        It is empty when nothing was predicted. NaN does not count, unless an emotion has no other score.

        Args:
            model: A model's name, or `ModelType`.

        Raises:
            InputError: There is no such model, in the protocol or in this reply.
        """
        if model is not None:
            self._check_model(model)
        sums: dict[str, float] = {}
        counts: dict[str, int] = {}
        for _, _, prediction in predictions(self, model):
            for name, score in scores(prediction, "emotions"):
                counted = not math.isnan(score)
                sums[name] = sums.get(name, 0.0) + (score if counted else 0.0)
                counts[name] = counts.get(name, 0) + counted
        return {name: total / counts[name] if counts[name] else math.nan for name, total in sums.items()}

    def top(self, n: int = 5, model: str | None = None) -> list[tuple[str, float]]:
        """Return the ``n`` highest of `emotions` as (name, score), highest first and NaN last.

        Args:
            n: How many at most; a whole number from 0.
            model: As for `emotions`.

        Raises:
            InputError: ``n`` is no such number, or there is no such model.
        """
        ranked = sorted(self.emotions(model).items(), key=lambda item: (math.isnan(item[1]), -item[1]))
        return ranked[: _count(n)]

    def to_records(self) -> list[dict[str, Any]]:
        """Return one flat dict per score, for tables: the same keys in each, None where they do not apply.

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
            for model, segment, prediction in predictions(self)
            for start, end in [times(prediction)]
            for kind in SCORE_KINDS
            for name, score in scores(prediction, kind)
        ]

    def to_arrow(self, *, wide: bool = False) -> Any:
        """Return a ``pyarrow.Table`` with the columns of `hume_sync.batch.Results`, which are the same for any reply.

        Args:
            wide: Whether a prediction is one row with a column a name; else every score is a row.

        Raises:
            ConfigurationError: pyarrow is not installed (extra "arrow").
            InputError: ``wide`` is neither True nor False.
        """
        return arrow_table([self._measured()], wide=to_bool("wide", wide))

    def to_pandas(self, *, wide: bool = False) -> Any:
        """Return the table of `to_arrow` as a ``pandas.DataFrame``.

        Args:
            wide: As for `to_arrow`.

        Raises:
            ConfigurationError: pandas or pyarrow is not installed (extra "pandas").
            InputError: ``wide`` is neither True nor False.
        """
        return pandas_frame([self._measured()], wide=to_bool("wide", wide))

    def _measured(self) -> Measured:
        return Measured(self, window_state=self.window_state, attempts=self.attempts, emulated=self.emulated)

    @property
    def warning(self) -> str | None:
        """What the server warns of: its text, else those of the models ("prosody: No speech detected."), else None."""
        text = self.get("warning")
        if text is not None:
            return str(text)
        models = [
            f"{model}: {self[model]['warning']}"
            for model in model_names(self)
            if isinstance(self.get(model), dict) and self[model].get("warning") is not None
        ]
        return "; ".join(models) or None

    def _check_model(self, model: object) -> None:
        names = model_names(self)
        if isinstance(model, str) and model in names:
            return
        near = difflib.get_close_matches(model.lower(), names, n=1) if isinstance(model, str) else []
        hint = f"; did you mean {near[0]!r}?" if near else ""
        held = ", ".join(name for name in names if name in self) or "none"
        raise InputError(
            f"no model is called {short_repr(model)}{hint} (models: {', '.join(names)}; in this reply: {held})"
        )

    def __str__(self) -> str:
        """Return a small table: the five highest emotions of each model, warnings, and whether they are emulated."""
        lines = []
        for model in model_names(self):
            if top := self.top(5, model):
                width = max(len(name) for name, _ in top)
                count = sum(1 for _ in predictions(self, model))
                lines.append(f"{printable(model)} ({count} prediction{'s' if count > 1 else ''})")
                lines += [f"  {printable(name):<{width}}  {score:6.3f}" for name, score in top]
        if self.warning:
            lines.append(f"warning: {printable(self.warning)}")
        if lines and self.emulated:
            lines.append("(emulated: invented scores, not measurements)")
        if isinstance(job := self.get("job_details"), dict):
            lines.append(f"job {printable(str(job.get('job_id')))}")
        return "\n".join(lines or ["no predictions"])


_BOOLS: Final = ("bool", "bool_")
"""Python's, and numpy's, of which older versions make a number."""


def _count(n: object) -> int:
    number = -1
    try:
        if type(n).__name__ not in _BOOLS:
            number = operator.index(n)  # type: ignore[arg-type]  # what is no whole number raises
    except TypeError as exc:
        if from_handler(exc):
            raise
    if number < 0:
        raise InputError(f"n must be a whole number from 0, got {short_repr(n)}")
    return number


def printable(text: str) -> str:
    """Return a server's text without escape sequences and line ends, safe for a terminal."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
