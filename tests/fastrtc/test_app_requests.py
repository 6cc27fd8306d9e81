from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from hume_sync import InputError
from hume_sync.errors import HookError, OutputTooLarge
from hume_sync.fastrtc.app import fetch_latest, open_events, post_input
from hume_sync.fastrtc.app_http import AppClient
from hume_sync.net.deadline import Deadline
from tests.faultproxy import Peer
from tests.net.support import server

from .webtalk import answer, http, request, says

ID = "6f1c"


# --- the latest output


@pytest.mark.parametrize(("body", "value"), [(b'{"a": 1}', {"a": 1}), (b"plain", "plain"), (b"null", None)])
def test_the_latest_output_is_json_or_text(body: bytes, value: object) -> None:
    seen = []

    def view(peer: Peer) -> None:
        seen.append(request(peer)[0])
        peer.send(answer(body))

    with server(view) as port:
        assert fetch_latest(http(port), "/latest?stream=s", ID, Deadline(5)) == value
    assert seen == ["GET /latest?stream=s&webrtc_id=6f1c HTTP/1.1"]


def test_a_server_that_waited_without_success_for_an_output_answers_500() -> None:
    with server(says(answer(b"Internal Server Error", "500 Internal AppConfig Error"))) as port:
        with pytest.raises(HookError, match="/latest answered with HTTP 500: .* Error: no output came") as caught:
            fetch_latest(http(port), "/latest", ID, Deadline(5))
    assert caught.value.status == 500


def test_the_latest_output_is_limited_to_so_many_bytes() -> None:
    with server(says(answer(b"1" * 100)), says(answer(b"1" * 101))) as port:
        assert fetch_latest(http(port), "/latest", ID, Deadline(5), 100)
        with pytest.raises(OutputTooLarge, match="larger than 100 bytes.* max_output_size") as caught:
            fetch_latest(http(port), "/latest", ID, Deadline(5), 100)
    assert caught.value.limit == 100


# --- additional inputs


def posted(fields: Any, shape: Callable[[str, Mapping[str, Any]], Any] | None = None) -> bytes:
    seen = []

    def hook(peer: Peer) -> None:
        seen.append(request(peer)[2])
        peer.send(answer(b"null"))

    with server(hook) as port:
        assert post_input(http(port), "/input_hook", ID, fields, shape, Deadline(5)).status == 200
    return seen[0]


def test_inputs_are_posted_as_the_published_page_does() -> None:
    assert posted({"scale": 2, "label": "a"}) == b'{"webrtc_id":"6f1c","scale":2,"label":"a"}'


def test_inputs_are_posted_in_the_form_the_application_wants() -> None:
    assert posted({"scale": 2}, lambda webrtc_id, fields: [webrtc_id, *fields.values()]) == b'["6f1c",2]'


@pytest.mark.parametrize("status", ["404 Not Found", "422 Unprocessable", "500 Oops", "503 Later"])
def test_a_hook_that_answers_with_an_error_is_reported(status: str) -> None:
    with server(says(answer(b'{"detail": "no"}' + b" no" * 9999, status))) as port:
        with pytest.raises(HookError, match='/input_hook answered with HTTP ...: {"detail": "no"}') as caught:
            post_input(http(port), "/input_hook?token=hush", ID, {}, None, Deadline(5))
    assert caught.value.status == int(status[:3])
    assert caught.value.url == f"http://127.0.0.1:{port}/input_hook"
    assert caught.value.body.startswith('{"detail": "no"}')
    assert "hush" not in str(caught.value)
    assert len(str(caught.value)) < 450


@pytest.mark.parametrize("fields", [None, [1], {"webrtc_id": "other"}, {"a": object()}])
def test_inputs_that_cannot_be_sent_are_refused(fields: Any) -> None:
    with pytest.raises(InputError):
        post_input(http(1), "/input_hook", ID, fields, None, Deadline(5))


def test_each_url_is_refused_by_its_own_name() -> None:
    nowhere: AppClient = http(1)
    with pytest.raises(Exception, match="^input_hook "):
        post_input(nowhere, "hook", ID, {}, None, Deadline(5))
    with pytest.raises(Exception, match="^outputs "):
        open_events(nowhere, "updates", ID, 5)
    with pytest.raises(Exception, match="^latest "):
        fetch_latest(nowhere, "latest", ID, Deadline(5))
