from __future__ import annotations

import pickle
from typing import Any

import pytest

from hume_sync import ConfigurationError, ConnectError, InputError
from hume_sync.fastrtc import FastRTCClient

from .fake import FakeFastRTC

URL = "http://127.0.0.1:7860"


@pytest.mark.parametrize(
    ("arguments", "error", "named"),
    [
        ({"url": "127.0.0.1:7860"}, ConfigurationError, "url"),
        ({"url": "ftp://127.0.0.1"}, ConfigurationError, "url"),
        ({"url": "http://user:hush@127.0.0.1"}, ConfigurationError, "url"),
        ({"path": "echo"}, ConfigurationError, "path"),
        ({"path": 7}, ConfigurationError, "path"),
        ({"input_hook": "input_hook"}, ConfigurationError, "input_hook"),
        ({"outputs": "ftp://x/updates"}, ConfigurationError, "outputs"),
        ({"latest": "//x/latest"}, ConfigurationError, "latest"),
        ({"input_sample_rate": 0}, InputError, "input_sample_rate"),
        ({"output_sample_rate": "24000"}, InputError, "output_sample_rate"),
        ({"timeout": 0}, InputError, "timeout"),
        ({"headers": {"X-Token": "two\nlines"}}, ConfigurationError, "headers"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(arguments: dict[str, Any], error: type[Exception], named: str) -> None:
    with pytest.raises(error, match=named) as caught:
        FastRTCClient(**{"url": URL, "proxy": False, **arguments})
    assert "hush" not in str(caught.value)


def test_only_known_transports_and_callable_inputs_are_accepted() -> None:
    client = FastRTCClient(URL, proxy=False)
    with pytest.raises(InputError, match="transport must be one of"):
        client.connect("carrier pigeon")
    with pytest.raises(InputError, match="inputs must be callable"):
        client.connect(inputs={"a": 1})  # type: ignore[arg-type]


def test_a_client_without_hook_or_outputs_says_so() -> None:
    with FakeFastRTC() as fake:
        client = FastRTCClient(fake.url, path="/echo", input_hook=None, outputs=None, proxy=False)
        with client.connect() as session:
            for call, named in (
                (lambda: session.set_input(a=1), "input_hook"),
                (session.outputs, "outputs"),
                (session.latest_output, "latest"),
            ):
                with pytest.raises(ConfigurationError, match=f"without {named}"):
                    call()


def test_headers_go_along_with_every_request_and_show_nowhere() -> None:
    with FakeFastRTC() as fake:
        client = FastRTCClient(fake.url, path="/args", headers={"X-Token": "hush-hush"}, proxy=False)
        with client.connect() as session:
            session.set_input(a=1)
            assert "hush" not in repr(client) + repr(session)
        assert [request.headers["x-token"] for request in fake.requests] == ["hush-hush"] * 2


def test_a_mount_path_may_stand_in_the_url() -> None:
    with FakeFastRTC() as fake, FastRTCClient(f"{fake.url}/echo", proxy=False).connect():
        assert fake.requests[0].path == "/echo/websocket/offer"


def test_a_server_that_is_not_there_is_a_connect_error() -> None:
    with pytest.raises(ConnectError):
        FastRTCClient("http://127.0.0.1:9", proxy=False).connect()


def test_neither_client_nor_session_can_be_pickled() -> None:
    with FakeFastRTC() as fake:
        client = FastRTCClient(fake.url, path="/echo", proxy=False)
        with client.connect() as session:
            for thing in (client, session):
                with pytest.raises(TypeError, match="pickled"):
                    pickle.dumps(thing)
