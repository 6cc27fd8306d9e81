"""The official SDK 0.13.13, blocking: its requests where the forms agree, where they differ, and its typed replies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hume_sync.emulator import Emulator

from .scenario import (
    ANSWERED,
    LANGUAGE,
    OF_0_13_ALONE,
    PROSODY,
    REFUSED_BY_SERVER,
    Call,
    Socket,
)
from .support import (
    Played,
    asks_for_job_details,
    decoded,
    each,
    hume_0_13,
    ours,
    play,
    sends_audio,
    sends_landmarks,
    sends_other_data,
    without_payload_id,
)

pytestmark = pytest.mark.peers

BY_SERVER = {**ANSWERED, **REFUSED_BY_SERVER}
WINDOWED = {name for name, socket in BY_SERVER.items() if socket.stream_window_ms is not None}
PLAIN = set(BY_SERVER) - WINDOWED
ONE_TEXT = {"": Socket([LANGUAGE], [Call("send_text", "I can hardly believe it.")])}


@pytest.fixture(scope="module")
def official(media: Path) -> Played:
    return play(hume_0_13, BY_SERVER, media)


@pytest.fixture(scope="module")
def own(media: Path) -> Played:
    return play(ours, BY_SERVER, media)


@pytest.fixture(scope="module")
def alone(media: Path) -> Played:
    return play(hume_0_13, OF_0_13_ALONE, media)


# --- replies -------------------------------------------------------------------------------------------------


@each(BY_SERVER, ANSWERED)
def test_the_same_scores_come_back_as_to_our_client(official: Played, own: Played, place: int) -> None:
    assert official.outcomes[place].reply == without_payload_id(own.outcomes[place].reply)


@each(BY_SERVER, ANSWERED)
def test_an_answer_is_given_the_type_of_predictions(official: Played, place: int) -> None:
    assert official.outcomes[place].type == "StreamModelPredictions"


@each(BY_SERVER, set(ANSWERED) - {"warnings"}, of=lambda call: call.argument is not None)
def test_names_and_scores_survive_in_the_typed_attributes(official: Played, own: Played, place: int) -> None:
    reply = own.outcomes[place].reply
    assert reply is not None
    expected = {model: _as_typed(model, body) for model, body in reply.items() if model != "payload_id"}
    assert official.outcomes[place].typed == {model: found for model, found in expected.items() if found}


def _as_typed(model: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "class": f"StreamModelPredictions{model.capitalize()}PredictionsItem",
            "classes": sorted({_CLASSES[kind] for kind in prediction if kind in _CLASSES}),
            **{
                kind: [[score["name"], score["score"]] for score in prediction[kind]]
                for kind in _CLASSES
                if kind in prediction
            },
        }
        for prediction in body.get("predictions", ())
    ]


_CLASSES = {
    "emotions": "EmotionEmbeddingItem",
    "facs": "EmotionEmbeddingItem",
    "descriptions": "EmotionEmbeddingItem",
    "sentiment": "SentimentItem",
    "toxicity": "ToxicityItem",
}


@each(BY_SERVER, of=asks_for_job_details)
def test_a_job_id_has_32_characters(official: Played, place: int) -> None:
    reply = official.outcomes[place].reply
    assert reply is not None
    assert len(reply["job_details"]["job_id"]) == 32


def test_a_warning_in_place_of_predictions_is_given_the_type_of_a_warning(media: Path) -> None:
    silence = {"": Socket([PROSODY], [Call("send_file", "silence.wav")])}
    (outcome,) = play(hume_0_13, silence, media, warning_level="top").outcomes
    assert outcome.type == "StreamWarningMessage"
    assert outcome.reply == {"warning": "No speech detected.", "code": "W0105"}


@each(BY_SERVER, REFUSED_BY_SERVER)
def test_an_error_is_returned_not_raised_and_says_what_ours_raises(official: Played, own: Played, place: int) -> None:
    theirs, mine = official.outcomes[place], own.outcomes[place]
    assert theirs.error is None
    assert theirs.reply is not None
    if mine.error is None:
        assert theirs.type == "StreamModelPredictions"
    else:
        assert theirs.type == "StreamErrorMessage"
        assert mine.error == ("RequestError", f"hume({theirs.reply['code']}): {theirs.reply['error']}")


def test_a_wrong_key_surfaces_as_the_error_of_the_websocket_library(media: Path) -> None:
    # The client catches another class of that library, so that its own ApiError is never raised.
    played = play(hume_0_13, ONE_TEXT, media, api_keys=["another key"])
    (outcome,) = played.outcomes
    assert outcome.error == (
        "websockets.exceptions.InvalidStatus",
        "server rejected WebSocket connection: HTTP 401",
    )
    assert [seen.status for seen in played.handshakes] == [401]


# --- requests ------------------------------------------------------------------------------------------------


@each(BY_SERVER, PLAIN)
def test_the_helpers_send_our_members_in_our_order_but_for_our_payload_id(
    official: Played, own: Played, place: int
) -> None:
    theirs, mine = official.requests[place].fields, without_payload_id(own.requests[place].fields)
    assert mine is not None
    assert theirs == mine
    assert list(theirs) == list(mine)


@each(BY_SERVER, WINDOWED, of=sends_audio)
def test_a_window_goes_in_a_published_payload_that_leaves_raw_text_to_the_server(
    official: Played, own: Played, place: int
) -> None:
    theirs, mine = official.requests[place].fields, without_payload_id(own.requests[place].fields)
    assert {**theirs, "raw_text": False} == mine
    assert list(theirs) == ["models", "stream_window_ms"]


@each(BY_SERVER, of=sends_other_data)
def test_the_data_is_ours_to_the_letter(official: Played, own: Played, place: int) -> None:
    sent, expected = official.requests[place], own.requests[place]
    assert (sent.data_size, sent.data_digest) == (expected.data_size, expected.data_digest)


@each(BY_SERVER, of=sends_landmarks)
def test_landmarks_are_sent_as_json_that_is_not_encoded_where_ours_are_base64(
    official: Played, own: Played, place: int
) -> None:
    data = official.requests[place].data
    assert data is not None
    assert data.startswith("[[[")
    assert json.loads(data) == decoded(own.requests[place])


@each(BY_SERVER, of=sends_audio)
def test_the_audio_models_see_the_same_seconds(official: Played, own: Played, place: int) -> None:
    assert official.requests[place].audio == own.requests[place].audio


def test_the_client_names_itself_by_its_user_agent_alone(official: Played) -> None:
    seen = {(seen.path, seen.client_name, seen.client_version, seen.user_agent) for seen in official.handshakes}
    assert seen == {("/v0/stream/models", None, None, "hume/0.13.12")}  # the wheel of 0.13.13 says so


# --- what this client alone can say ----------------------------------------------------------------------------


@each(OF_0_13_ALONE, of=lambda call: call.payload_id is not None)
def test_a_payload_id_of_the_caller_comes_back_in_predictions_and_errors_alike(alone: Played, place: int) -> None:
    reply = alone.outcomes[place].reply
    assert reply is not None
    assert reply["payload_id"] == f"mine-{place + 1}"
    assert alone.outcomes[place].type == ("StreamErrorMessage" if "error" in reply else "StreamModelPredictions")


def test_a_published_payload_that_resets_has_no_earlier_context(alone: Played) -> None:
    assert [request.audio for request in alone.requests[:2]] == [(0.0, 0.5), (0.5, 1.0)]
    assert alone.requests[1].fields["reset_stream"] is True


def test_data_without_models_is_an_error(alone: Played) -> None:
    assert alone.outcomes[-1].type == "StreamErrorMessage"
    assert alone.requests[-1].code == "E0101"
    assert "models" not in alone.requests[-1].fields


def test_an_internal_error_of_the_server_is_returned_too(hume_emulator: Emulator, media: Path) -> None:
    hume_emulator.fail_next("I0100", "Try again.")
    (outcome,) = hume_0_13(hume_emulator, ONE_TEXT, media)
    assert outcome.type == "StreamErrorMessage"
    assert outcome.reply == {"error": "Try again.", "code": "I0100"}
