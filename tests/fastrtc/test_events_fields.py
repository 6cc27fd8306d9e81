"""An application's own fields in the first message and in the offer."""

from __future__ import annotations

import math
from typing import Any

import pytest

from hume_sync import InputError
from hume_sync.fastrtc.events import ConnectFields

from .fake import FakeFastRTC
from .talk import client, say


def test_they_go_with_the_first_message_and_with_that_of_a_new_connection(fake: FakeFastRTC) -> None:
    fields: dict[str, Any] = {"voice": "alto", "user": {"id": 7}}
    with client(fake, "/echo").connect(fields=fields, reconnect=True) as session:
        fields["voice"] = "bass"  # the session has a copy
        fake.drop()
        next(iter(session))
        assert say(session)
    starts = [seen.start for seen in fake.connections]
    assert [{key: start[key] for key in ("voice", "user")} for start in starts] == [
        {"voice": "alto", "user": {"id": 7}}
    ] * 2


@pytest.mark.parametrize("name", ["candidate", "event", "sdp", "type", "webrtc_id", "websocket_id"])
@pytest.mark.parametrize("transport", ["websocket", "webrtc"])
def test_reserved_names_are_refused_by_name_for_every_transport(fake: FakeFastRTC, transport: str, name: str) -> None:
    with pytest.raises(
        InputError, match=f"^fields must not hold {name}: the connection sets it; accepted: any name but "
    ):
        client(fake, "/echo").connect(transport, fields={"voice": "alto", name: 1})
    assert fake.requests == []


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ([("a", 1)], "fields must be a mapping of names to values, or None; got list"),
        ("hush", "fields must be a mapping .* got str"),
        ({7: "hush"}, "fields must have names of type str, got 7"),
        ({"a": {"hush"}}, "fields cannot be sent as JSON: .* set"),
        ({"a": math.nan}, "fields cannot be sent as JSON: "),
        ({"a": {7: "hush"}}, "fields cannot be sent as JSON: "),
    ],
)
def test_what_cannot_be_sent_is_refused_before_anything_is(fake: FakeFastRTC, fields: Any, text: str) -> None:
    with pytest.raises(InputError, match=f"^{text}") as caught:
        client(fake, "/echo").connect(fields=fields)
    assert "hush" not in str(caught.value)
    assert fake.requests == []


def test_they_do_not_show() -> None:
    own = ConnectFields({"token": "hush"})
    assert own.merged_into({"event": "start"}) == {"token": "hush", "event": "start"}
    assert "hush" not in repr(own) + repr(vars(own))
    assert ConnectFields(None).merged_into({"event": "start"}) == {"event": "start"}
