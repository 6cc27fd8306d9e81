"""Where the paths of an application are looked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from hume_sync.errors import HookError
from hume_sync.fastrtc import FastRTCClient
from hume_sync.fastrtc.app import URLFinder
from hume_sync.fastrtc.app_http import AppClient, AppEndpoint

from .fake import FakeFastRTC
from .real.turns import STREAMS
from .talk import client, say

pytestmark = pytest.mark.usefixtures("own_fakes")


@pytest.mark.parametrize(
    ("stream", "url", "paths"),
    [
        ("", "/hook", ["/hook"]),
        ("/echo", "/hook", ["/echo/hook", "/hook"]),
        ("/app/echo", "/hook?a=b", ["/app/echo/hook?a=b", "/app/hook?a=b", "/hook?a=b"]),
        ("/app/echo", "/app/hook", ["/app/echo/app/hook", "/app/hook"]),
        ("/app/echo", "/app/echo/hook", ["/app/echo/hook"]),
        ("/app", "/application/hook", ["/app/application/hook", "/application/hook"]),
        ("/app//echo", "/hook", ["/app//echo/hook", "/app/hook", "/hook"]),
    ],
)
def test_a_path_is_looked_for_below_the_stream_and_above_it(stream: str, url: str, paths: list[str]) -> None:
    http = AppClient(AppEndpoint(host="x.example", port=80, path=f"{stream}/websocket/offer"))
    assert http.candidates(url) == [f"http://x.example{path}" for path in paths]


@pytest.mark.parametrize("url", ["http://x.example/hook", "https://y.example:8443/hook?a=b"])
def test_a_url_stands_for_itself(url: str) -> None:
    assert AppClient(AppEndpoint(host="x.example", port=80, path="/app/websocket/offer")).candidates(url) == [url]


def failed(status: int, url: str, body: str = "") -> HookError:
    error = HookError(f"{url} answered with HTTP {status}", status=status)
    error.url, error.body = url, body
    return error


class Asked:
    """What a search asks, and is answered: a status a place; 0 for a success."""

    def __init__(self, *statuses: int, bodies: tuple[str, ...] = ()) -> None:
        self.places: list[str] = []
        self._statuses = [*statuses]
        self._bodies = [*bodies]
        self._searched = URLFinder(AppClient(AppEndpoint(host="x", port=80, path="/app/echo/websocket/offer")))

    def __call__(self, url: str = "/hook", name: str = "input_hook") -> str:
        return self._searched.request(name, url, self._request)

    def _request(self, place: str) -> str:
        self.places.append(place)
        if status := self._statuses.pop(0):
            raise failed(status, place, self._bodies.pop(0) if self._bodies else "")
        return place


@pytest.mark.parametrize("status", [404, 405])
def test_where_a_url_was_found_is_remembered_for_it_alone(status: int) -> None:
    asked = Asked(status, 0, 0, 0, 0)
    assert asked() == asked() == "http://x/app/hook"
    assert asked(name="latest") == "http://x/app/echo/hook"
    assert asked("/other") == "http://x/app/echo/other"
    assert asked.places[:3] == ["http://x/app/echo/hook", "http://x/app/hook", "http://x/app/hook"]


def test_an_error_of_the_place_that_was_found_is_no_reason_to_ask_another() -> None:
    asked = Asked(0, 404)
    asked()
    with pytest.raises(HookError, match="HTTP 404$"):
        asked()
    assert asked.places == ["http://x/app/echo/hook"] * 2


@pytest.mark.parametrize("status", [400, 401, 403, 409, 422, 500, 502, 503])
def test_an_answer_that_may_have_come_of_an_action_ends_the_search(status: int) -> None:
    asked = Asked(404, status, 0)
    with pytest.raises(HookError) as caught:
        asked()
    assert caught.value.status == status
    assert asked.places == ["http://x/app/echo/hook", "http://x/app/hook"]


def test_what_is_nowhere_is_reported_with_all_places_and_looked_for_again() -> None:
    asked = Asked(404, 405, 404, 0)
    where = "http://x/app/echo/hook or http://x/app/hook"
    with pytest.raises(
        HookError, match=rf"^http://x/hook answered with HTTP 404 \(it is not at {where} either\)$"
    ) as e:
        asked()
    assert (e.value.status, e.value.url) == (404, "http://x/hook")
    assert asked() == "http://x/app/echo/hook"


@pytest.mark.parametrize("generic", ['{"detail":"Not Found"}', "Not Found", "", '{"detail":"Method Not Allowed"}'])
def test_of_several_urls_the_one_with_a_specific_answer_is_reported(generic: str) -> None:
    asked = Asked(404, 404, 404, bodies=(generic, '{"detail":"no such connection"}', generic))
    with pytest.raises(HookError, match="^http://x/app/hook answered with HTTP 404 ") as caught:
        asked()
    assert caught.value.body == '{"detail":"no such connection"}'


# --- a session


@contextmanager
def application(app: str, stream: str, **knobs: Any) -> Iterator[FakeFastRTC]:
    """Hook and outputs below ``app``, the stream at ``stream``."""
    with FakeFastRTC(streams={stream: STREAMS["/args"]}, app=app, **knobs) as fake:
        yield fake


def asked_for(fake: FakeFastRTC) -> list[tuple[str, int]]:
    return [(seen.path, seen.status) for seen in fake.requests if "offer" not in seen.path]


@pytest.mark.parametrize(
    ("url", "path"), [("/app", "/echo"), ("/app/echo", ""), ("", "/app/echo"), ("/app/", "/echo/")]
)
def test_an_application_below_a_path_has_its_hook_and_its_outputs_there(url: str, path: str) -> None:
    with application("/app", "/app/echo") as fake:
        one = FastRTCClient(
            fake.url + url, path=path, proxy=False, latest="/latest", input_sample_rate=16000, output_sample_rate=16000
        )
        for _ in range(2):
            with one.connect(inputs=lambda: {"scale": 3}) as session:
                outputs = session.outputs()
                assert say(session)
                assert next(outputs) == {"scale": 3}
                assert say(session)
                outputs.close()
        assert [hook["scale"] for hook in fake.hooks] == [3] * 4
        assert asked_for(fake) == [
            ("/app/echo/input_hook", 404),
            ("/app/input_hook", 200),
            ("/app/echo/updates", 404),
            ("/app/updates", 200),
            ("/app/input_hook", 200),
            ("/app/input_hook", 200),
            ("/app/updates", 200),
            ("/app/input_hook", 200),
        ]


def test_a_hook_of_the_stream_itself_goes_before_one_at_the_root() -> None:
    with application("/echo", "/echo") as fake, client(fake, "/echo").connect() as session:
        session.set_input(scale=3)
        assert asked_for(fake) == [("/echo/input_hook", 200)]


def test_what_a_hook_may_have_taken_is_posted_once() -> None:
    with application("/app", "/app/echo", hook_status=500) as fake:
        with client(fake, "/app/echo").connect() as session:
            with pytest.raises(HookError, match="/app/input_hook answered with HTTP 500"):
                session.set_input(scale=3)
        assert asked_for(fake) == [("/app/echo/input_hook", 404), ("/app/input_hook", 500)]
        assert len(fake.hooks) == 1


def test_a_path_that_is_nowhere_is_named() -> None:
    with application("", "/app/echo") as fake:
        one = client(
            fake, "/app/echo?token=hush-hush", input_hook="/give?key=hush-hush", outputs="/take", latest="/last"
        )
        with one.connect() as session:
            for call, name, path in (
                (lambda: session.set_input(a=1), "input_hook", "give"),
                (lambda: session.outputs().receive(timeout=5), "outputs", "take"),
                (session.latest_output, "latest", "last"),
            ):
                with pytest.raises(
                    HookError, match=f"{name} URL {fake.url}/{path} answered with HTTP 404: .*"
                ) as caught:
                    call()
                assert f"there is no such path; see {name} of FastRTCClient" in str(caught.value)
                assert f"(it is not at {fake.url}/app/echo/{path} or {fake.url}/app/{path} either)" in str(caught.value)
                assert "hush" not in str(caught.value)
