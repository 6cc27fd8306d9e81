from __future__ import annotations

import copy
from typing import Any

import pytest

from hume_sync import InputError
from hume_sync.batch.merge import merge
from hume_sync.batch.parts import Part
from hume_sync.stream import StreamResponse

EMOTIONS = [{"name": "Joy", "score": 0.5}]


def parts(*offsets: int) -> list[Part]:
    return [Part("text", "x", offset_chars=offset) for offset in offsets]


def reply(
    body: dict[str, Any], *, attempts: int = 1, state: str | None = None, emulated: bool = False
) -> StreamResponse:
    made = StreamResponse(body, emulated=emulated)
    made.attempts, made.window_state = attempts, state
    return made


def language(*spans: tuple[int, int]) -> dict[str, Any]:
    return {
        "predictions": [
            {"text": "x", "position": {"begin": begin, "end": end}, "emotions": EMOTIONS} for begin, end in spans
        ]
    }


def test_the_reply_to_a_single_part_is_returned_as_it_is() -> None:
    one = reply({"language": language((0, 1))})
    assert merge([one], parts(0)) is one


def test_positions_count_from_the_beginning_of_the_whole_text() -> None:
    one, two = reply({"language": language((0, 3), (4, 9))}), reply({"language": language((0, 5))})
    before = copy.deepcopy([one, two])
    merged = merge([one, two], parts(0, 9_990))
    spans = [(item["position"]["begin"], item["position"]["end"]) for item in merged["language"]["predictions"]]
    assert spans == [(0, 3), (4, 9), (9_990, 9_995)]
    assert [one, two] == before
    assert merge([two], parts(7))["language"]["predictions"][0]["position"] == {"begin": 7, "end": 12}


def test_predictions_of_each_model_are_joined_in_order_with_their_times() -> None:
    first = {"time": {"begin": 0.0, "end": 5.0}, "emotions": EMOTIONS}
    second = {"time": {"begin": 5.0, "end": 10.0}, "emotions": []}
    merged = merge(
        [
            reply({"burst": {"predictions": [first]}, "prosody": {"predictions": [first]}}),
            reply({"burst": {"predictions": []}, "prosody": {"predictions": [second]}}),
        ],
        parts(0, 0),
    )
    assert merged == {"burst": {"predictions": [first]}, "prosody": {"predictions": [first, second]}}


WARNING = {"warning": "No speech detected.", "code": "W0105"}
PREDICTED = {"predictions": [{"emotions": EMOTIONS}]}


@pytest.mark.parametrize(
    ("bodies", "expected"),
    [
        ([{"prosody": WARNING}, {"prosody": PREDICTED}, {"prosody": WARNING}], {"prosody": PREDICTED}),
        ([{"prosody": WARNING}, {"prosody": {**WARNING, "warning": "other"}}], {"prosody": WARNING}),
        ([{"prosody": WARNING}, {}], {"prosody": WARNING}),
        ([{"prosody": None}, {"prosody": PREDICTED}], {"prosody": PREDICTED}),
        ([{"prosody": None}, {"prosody": None}], {"prosody": None}),
        ([{"prosody": {"predictions": None}}, {"prosody": WARNING}], {"prosody": {"predictions": [], **WARNING}}),
        ([{"prosody": {"predictions": [None, 5]}}, {"prosody": PREDICTED}],
         {"prosody": {"predictions": [None, 5, *PREDICTED["predictions"]]}}),
        ([WARNING, {"prosody": PREDICTED}], {"prosody": PREDICTED}),
        ([WARNING, WARNING], WARNING),
        ([{"payload_id": "a"}, {"payload_id": "b", "job_details": {"job_id": "j"}}], {"job_details": {"job_id": "j"}}),
    ],
)  # fmt: skip
def test_a_warning_remains_only_where_nothing_was_predicted(bodies: list[Any], expected: Any) -> None:
    assert merge([reply(body) for body in bodies], parts(*[0] * len(bodies))) == expected


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (("warm", "warm"), "warm"),
        (("warm", "rebuilt"), "rebuilt"),
        (("rebuilt", "cold", "warm"), "cold"),
        ((None, "warm"), "warm"),
        ((None, None), None),
    ],
)
def test_the_worst_of_the_parts_is_that_of_the_whole(states: tuple[str | None, ...], expected: str | None) -> None:
    replies = [reply({}, attempts=number, state=state, emulated=number == 2) for number, state in enumerate(states, 1)]
    merged = merge(replies, parts(*[0] * len(states)))
    assert (merged.window_state, merged.attempts, merged.emulated) == (expected, len(states), True)
    assert merged.clock_offset == 0.0
    replies[-1].clock_offset = None
    assert merge(replies, parts(*[0] * len(states))).clock_offset is None


@pytest.mark.parametrize(("count", "offsets"), [(0, ()), (1, (0, 5)), (2, (0,))])
def test_replies_and_parts_have_to_be_as_many(count: int, offsets: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=f"got {count} for {len(offsets)}"):
        merge([reply({})] * count, parts(*offsets))
