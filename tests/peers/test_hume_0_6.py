"""The official SDK 0.6.0, whose programming model is ours: the same calls, requests, replies and texts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import hume_sync
from hume_sync.emulator import Emulator

from .scenario import (
    ANSWERED,
    LANGUAGE,
    PROSODY,
    REFUSED_BEFORE_SENDING,
    REFUSED_BY_OURS_ALONE,
    REFUSED_BY_SERVER,
    Call,
    Socket,
)
from .support import (
    Client,
    Played,
    asks_for_job_details,
    decoded,
    each,
    hume_0_6,
    ours,
    play,
    sends_audio,
    sends_landmarks,
    sends_other_data,
    without_payload_id,
)

pytestmark = pytest.mark.peers

BY_SERVER = {**ANSWERED, **REFUSED_BY_SERVER}
ONE_TEXT = {"": Socket([LANGUAGE], [Call("send_text", "I can hardly believe it.")])}


@pytest.fixture(scope="module")
def official(media: Path) -> Played:
    return play(hume_0_6, BY_SERVER, media)


@pytest.fixture(scope="module")
def own(media: Path) -> Played:
    return play(ours, BY_SERVER, media)


@pytest.fixture(scope="module")
def official_refusals(media: Path) -> Played:
    return play(hume_0_6, REFUSED_BEFORE_SENDING, media)


@pytest.fixture(scope="module")
def own_refusals(media: Path) -> Played:
    return play(ours, REFUSED_BEFORE_SENDING, media)


# --- replies -------------------------------------------------------------------------------------------------


@each(BY_SERVER, ANSWERED)
def test_the_server_answers_the_official_client(official: Played, place: int) -> None:
    assert official.outcomes[place].error is None
    assert official.requests[place].code is None


@each(BY_SERVER, ANSWERED)
def test_both_clients_return_the_same_reply(official: Played, own: Played, place: int) -> None:
    assert without_payload_id(own.outcomes[place].reply) == official.outcomes[place].reply


@each(BY_SERVER, of=asks_for_job_details)
def test_a_job_id_has_32_characters_for_the_official_client(official: Played, place: int) -> None:
    reply = official.outcomes[place].reply
    assert reply is not None
    assert len(reply["job_details"]["job_id"]) == 32


@each(BY_SERVER, ["warnings"])
def test_the_warning_of_a_model_is_a_part_of_the_reply_for_both_clients(
    official: Played, own: Played, place: int
) -> None:
    for played in (official, own):
        reply = without_payload_id(played.outcomes[place].reply)
        assert reply is not None
        assert all("warning" in answer and "predictions" not in answer for answer in reply.values())


def test_a_warning_in_place_of_predictions_is_a_plain_reply_for_both_clients(media: Path) -> None:
    silence = {"": Socket([PROSODY], [Call("send_file", "silence.wav")])}
    replies = [play(client, silence, media, warning_level="top").outcomes[0].reply for client in (hume_0_6, ours)]
    assert replies[0] == {"warning": "No speech detected.", "code": "W0105"}
    assert without_payload_id(replies[1]) == replies[0]


# --- requests ------------------------------------------------------------------------------------------------


@each(BY_SERVER)
def test_both_clients_send_the_same_members_in_the_same_order_but_for_our_payload_id(
    official: Played, own: Played, place: int
) -> None:
    fields = own.requests[place].fields
    assert list(fields)[-1] == "payload_id"
    # As text: 800 is not 800.0, and the order counts.
    assert json.dumps(without_payload_id(fields)) == json.dumps(official.requests[place].fields)


@each(BY_SERVER, of=sends_other_data)
def test_both_clients_send_the_same_data_to_the_letter(official: Played, own: Played, place: int) -> None:
    sent, expected = own.requests[place], official.requests[place]
    assert (sent.data_size, sent.data_digest) == (expected.data_size, expected.data_digest)


@each(BY_SERVER, of=sends_landmarks)
def test_both_clients_send_landmarks_as_base64_of_json_with_the_same_numbers(
    official: Played, own: Played, place: int
) -> None:
    assert decoded(own.requests[place]) == decoded(official.requests[place])


@each(BY_SERVER, of=sends_audio)
def test_the_audio_models_see_the_same_seconds_from_both_clients(official: Played, own: Played, place: int) -> None:
    assert own.requests[place].audio == official.requests[place].audio


def test_a_window_reaches_back_into_the_payload_before_and_not_beyond_a_reset(official: Played) -> None:
    windowed = [name for name, socket in BY_SERVER.items() for _ in socket.calls if socket.stream_window_ms == 800]
    first = next(n for n, request in enumerate(official.requests) if "stream_window_ms" in request.fields)
    spans = [request.audio for request in official.requests[first : first + len(windowed)]]
    assert spans == [(0.0, 0.5), (0.2, 1.0), None, (1.0, 1.5), (1.2, 2.0)]


def test_each_call_of_both_clients_is_one_request_on_the_connection_of_its_socket(
    official: Played, own: Played
) -> None:
    connections = [number for number, socket in enumerate(BY_SERVER.values(), 1) for _ in socket.calls]
    assert [request.connection for request in official.requests] == connections
    assert [request.connection for request in own.requests] == connections


def test_each_client_names_itself_in_the_handshake(official: Played, own: Played) -> None:
    def names(played: Played) -> set[tuple[str, str | None, str | None]]:
        return {(seen.path, seen.client_name, seen.client_version) for seen in played.handshakes}

    assert names(official) == {("/v0/stream/models", "python_sdk", "0.6.0")}
    assert names(own) == {("/v0/stream/models", "hume_sync", hume_sync.__version__)}


# --- errors --------------------------------------------------------------------------------------------------


@each(BY_SERVER, REFUSED_BY_SERVER)
def test_both_clients_raise_the_text_of_the_servers_error_and_stay_usable(
    official: Played, own: Played, place: int
) -> None:
    theirs, mine = official.outcomes[place], own.outcomes[place]
    assert official.requests[place].code == own.requests[place].code
    if official.requests[place].code is None:
        assert without_payload_id(mine.reply) == theirs.reply
    else:
        assert theirs.error is not None
        assert theirs.error[0] == "HumeClientException"
        assert mine.error == ("RequestError", theirs.error[1])


def test_an_error_of_the_server_reads_as_the_official_client_writes_it(official: Played) -> None:
    place = next(n for n, request in enumerate(official.requests) if request.code is not None)
    assert official.outcomes[place].error == (
        "HumeClientException",
        "hume(E0102): Streaming payload configured with model type 'face', "
        "which is not supported for the detected file type 'audio'.",
    )


def test_the_official_client_meets_every_error_that_media_can_cause(official: Played) -> None:
    codes = [request.code for request in official.requests if request.code is not None]
    assert codes == ["E0102", "E0102", "E0203", "E0200", "E0101", "E0101", "E0202", "E0205"]


@pytest.mark.parametrize("client", [hume_0_6, ours])
def test_an_internal_error_of_the_server_is_raised_too(hume_emulator: Emulator, media: Path, client: Client) -> None:
    hume_emulator.fail_next("I0100", "Try again.")
    (outcome,) = client(hume_emulator, ONE_TEXT, media)
    assert outcome.error is not None
    assert outcome.error[1] == "hume(I0100): Try again."


def test_a_wrong_key_is_refused_with_the_same_text_by_both_clients(media: Path) -> None:
    for client, name in ((hume_0_6, "HumeClientException"), (ours, "AuthenticationError")):
        played = play(client, ONE_TEXT, media, api_keys=["another key"])
        assert [outcome.error for outcome in played.outcomes] == [
            (name, "HumeStreamClient initialized with invalid API key.")
        ]
        assert [seen.status for seen in played.handshakes] == [401]


def test_our_text_for_any_other_refused_handshake_begins_with_the_official_one(
    hume_emulator: Emulator, media: Path
) -> None:
    errors = []
    for client in (hume_0_6, ours):
        hume_emulator.refuse(503)
        (outcome,) = client(hume_emulator, ONE_TEXT, media)
        assert outcome.error is not None
        errors.append(outcome.error)
    official, own = errors
    assert official == ("HumeClientException", "Unexpected error when creating streaming connection")
    assert own[0] == "HandshakeRejected"
    assert own[1].startswith(official[1])


# --- what is refused before it is sent -----------------------------------------------------------------------


@each(REFUSED_BEFORE_SENDING)
def test_our_refusal_begins_with_the_official_text(official_refusals: Played, own_refusals: Played, place: int) -> None:
    theirs, mine = official_refusals.outcomes[place].error, own_refusals.outcomes[place].error
    assert theirs is not None
    assert mine is not None
    assert (theirs[0], mine[0]) == ("HumeClientException", "InputError")
    assert mine[1].startswith(theirs[1])


def test_both_clients_send_nothing_of_what_they_refuse(official_refusals: Played, own_refusals: Played) -> None:
    assert official_refusals.requests == own_refusals.requests == ()


def test_what_ours_alone_refuses_the_server_has_no_predictions_for(media: Path) -> None:
    official = play(hume_0_6, REFUSED_BY_OURS_ALONE, media)
    assert len(official.requests) == len(official.outcomes)
    assert [request.code for request in official.requests].count(None) == 2  # blank texts: a warning of the model
    assert all("predictions" not in json.dumps(outcome.reply) for outcome in official.outcomes)
    own = play(ours, REFUSED_BY_OURS_ALONE, media)
    assert {outcome.error[0] for outcome in own.outcomes if outcome.error} == {"InputError"}
    assert own.requests == ()
