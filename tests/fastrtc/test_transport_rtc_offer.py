"""What goes along with an offer, and what is said where it is refused."""

from __future__ import annotations

import json

import pytest

from hume_sync.errors import ConnectError, ProtocolError

from .fake import FakeFastRTC
from .rtctalk import MARKS
from .talk import client

pytestmark = MARKS


def test_a_query_goes_along_with_an_offer(fake: FakeFastRTC) -> None:
    fake._offers = [(403, json.dumps({"detail": "hush-hush may not"}))]
    with pytest.raises(ConnectError, match="HTTP 403 from .*/echo/webrtc/offer") as caught:
        client(fake, "/echo?token=hush-hush&tenant=5").connect("webrtc")
    assert fake.requests[0].path == "/echo/webrtc/offer"
    assert fake.requests[0].query == {"token": "hush-hush", "tenant": "5"}
    assert "hush" not in str(caught.value)


def test_own_fields_go_with_an_offer(fake: FakeFastRTC) -> None:
    with pytest.raises(ConnectError):
        client(fake, "/echo").connect("webrtc", fields={"voice": "alto"})
    offer = fake.requests[0].json
    assert offer["voice"] == "alto"
    assert offer["type"] == "offer"
    assert {"sdp", "webrtc_id"} < set(offer)


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (403, "access is denied"),
        (404, "nothing is mounted at this path"),
        (405, "nothing is mounted at this path"),
        (422, "the offer lacks a field .*; see fields of connect"),
        (500, "the stream is not of audio in both directions"),
        (502, "a gateway answers"),
    ],
)
def test_a_refused_offer_names_its_url_and_what_that_means(fake: FakeFastRTC, status: int, meaning: str) -> None:
    fake._offers = [(status, '{"detail":"so"}')]
    where = f"HTTP {status} from {fake.url}/echo/webrtc/offer"
    with pytest.raises(
        ConnectError, match=rf'^the server refuses the connection \({where}\): {{"detail":"so"}}: {meaning}'
    ):
        client(fake, "/echo?token=hush").connect("webrtc")


def test_an_answer_without_sdp_names_the_url(fake: FakeFastRTC) -> None:
    fake._offers = [(200, "{}")]
    with pytest.raises(ProtocolError, match=f"the server's answer from {fake.url}/echo/webrtc/offer holds no"):
        client(fake, "/echo?token=hush").connect("webrtc")


def test_a_redirected_offer_names_its_url(fake: FakeFastRTC) -> None:
    fake.knobs.redirect = "/elsewhere?token=hush"
    with pytest.raises(
        ConnectError, match=rf"HTTP 307 from {fake.url}/redirect/webrtc/offer\): it redirects"
    ) as caught:
        client(fake, "/redirect").connect("webrtc")
    assert "hush" not in str(caught.value)
