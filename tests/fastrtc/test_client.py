from __future__ import annotations

import logging
import math
import pickle
from typing import Any

import pybase64
import pytest

from hume_sync import ConfigurationError, ConnectError, InputError
from hume_sync.fastrtc import FastRTCClient
from tests.net.support import server, tls_contexts, tunnel

from . import talk
from .fake import FakeFastRTC

URL = "http://127.0.0.1:7860"


URLS = r"accepted: ws://host\[:port\]\[/prefix\], and wss, http, https likewise"
PATHS = r"accepted: /path below the server's origin, or http\(s\)://host\[:port\]/path"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"url": "127.0.0.1:7860"}, rf"url has no scheme \(it has \d+ characters\); {URLS}"),
        ({"url": "localhost"}, rf"url has no scheme \(it has \d+ characters\); {URLS}"),
        ({"url": "ftp://127.0.0.1"}, rf"url has an unsupported scheme \(.*\); {URLS}"),
        ({"url": ""}, f"url is empty, or holds .*; {URLS}"),
        ({"url": "http://"}, rf"url has no host \(.*\); {URLS}"),
        ({"url": "http://x:99999"}, f"url has a host or port that cannot be read; {URLS}"),
        ({"url": "http://x/?a=hush#b"}, f"url must not hold a fragment; {URLS}"),
        ({"url": "http://x/#hush?a=b"}, f"url must not hold a fragment; {URLS}"),
        ({"url": "http://x/?a=hush hush"}, "url has a query with blanks, control or non-ASCII characters"),
        ({"url": "http://x/?a=hush\r\nX: y"}, "url has a query with blanks, control or non-ASCII characters"),
        ({"url": "http://user:hush@127.0.0.1"}, f"url must not hold user:password; {URLS}"),
        ({"url": "http://user:hush@127.0.0.1/#x"}, f"url must not hold user:password or a fragment; {URLS}"),
        ({"url": None}, "url must be a str, got NoneType"),
        ({"path": "echo"}, r"path must be empty, or /path\[\?query\] of visible ASCII characters .* got 'echo'"),
        ({"path": "/a b"}, "path must be .* got '/a b'"),
        ({"path": "/a#hush"}, "path must be .* without #; got '/a'"),
        ({"path": "/a?b=hush#c"}, "path must be .* without #; got '/a'"),
        ({"path": "/a?b=ä"}, "path has a query with blanks, control or non-ASCII characters"),
        ({"path": "/ä"}, "path must be .* got '/ä'"),
        ({"path": "/a\r\nX: y"}, "path must be .* got "),
        ({"path": 7}, "path must be .* got 7"),
        ({"path": None}, "path must be .* got None"),
        ({"input_hook": "input_hook"}, rf"input_hook is not a URL to use \(it has \d+ characters\); {PATHS}"),
        ({"input_hook": 7}, f"input_hook must be a str, got int; {PATHS}"),
        ({"outputs": "ftp://x/updates"}, rf"outputs is not a URL to use \(it has \d+ characters\); {PATHS}"),
        ({"outputs": "http://user:hush@x/"}, f"outputs must not hold user:password or a fragment; {PATHS}"),
        ({"outputs": "http://x:y/"}, f"outputs has a host or port that cannot be read; {PATHS}"),
        ({"latest": "//x/latest"}, rf"latest is not a URL to use \(it has \d+ characters\); {PATHS}"),
        ({"latest": ""}, rf"latest is not a URL to use \(it has \d+ characters\); {PATHS}"),
        ({"headers": {"X-Token": "two\nlines hush"}}, r"headers\['X-Token'\] must be visible ASCII text"),
        ({"headers": {"X-Token": 7}}, r"headers\['X-Token'\] must be visible ASCII text"),
        ({"headers": {"X Token": "hush"}}, "headers has a name that is no HTTP token"),
        ({"headers": {"Host": "hush"}}, "headers must not set Host"),
        ({"headers": {"X-A": "hush", "x-a": "hush"}}, "headers names x-a twice"),
        ({"headers": [("X-Token", "hush")]}, "headers must be a mapping of names to values, got list"),
        ({"ssl_context": True}, "ssl_context must be an ssl.SSLContext, or None; got True"),
        ({"proxy": 7}, "proxy must be a URL, False .* or None .*, got int"),
        ({"proxy": "socks5://user:hush@x"}, "proxy names a SOCKS proxy"),
    ],
    ids=str,
)
def test_what_cannot_be_worked_with_is_refused_with_what_can(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{text}") as caught:
        FastRTCClient(**{"url": URL, "proxy": False, **arguments})
    assert "hush" not in str(caught.value)


RATE = "must be an int, 8000 to 192000 Hz; got"
SECONDS = r"must be a number of seconds above zero \(math.inf: no limit\), got"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"input_sample_rate": 0}, f"input_sample_rate {RATE} 0"),
        ({"input_sample_rate": True}, f"input_sample_rate {RATE} True"),
        ({"input_sample_rate": 48000.0}, f"input_sample_rate {RATE} 48000.0"),
        ({"output_sample_rate": "24000"}, f"output_sample_rate {RATE} '24000'"),
        ({"output_sample_rate": 200_000}, f"output_sample_rate {RATE} 200000"),
        ({"timeout": 0}, f"timeout {SECONDS} 0"),
        ({"timeout": -1}, f"timeout {SECONDS} -1"),
        ({"timeout": math.nan}, f"timeout {SECONDS} nan"),
        ({"timeout": None}, f"timeout {SECONDS} None"),
        ({"timeout": True}, f"timeout {SECONDS} True"),
    ],
    ids=str,
)
def test_a_number_out_of_range_is_refused_with_the_range(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=f"^{text}$"):
        FastRTCClient(URL, proxy=False, **arguments)


def test_a_shape_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="^shape must be callable, or None; got {}"):
        FastRTCClient(URL, proxy=False, shape={})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            {"transport": "carrier pigeon"},
            r"transport must be one of \('websocket', 'webrtc', .* got 'carrier pigeon'",
        ),
        ({"transport": None}, "transport must be one of .* got None"),
        ({"transport": ["websocket"]}, "transport must be one of .* got "),
        ({"inputs": {"a": 1}}, "inputs must be callable, or None; got {'a': 1}"),
        ({"reconnect": 1}, "reconnect must be True or False, got 1"),
        ({"reconnect": None}, "reconnect must be True or False, got None"),
        ({"retry": 3}, "retry must be a RetryPolicy, or None; got 3"),
        ({"retry": True}, "retry must be a RetryPolicy, or None; got True"),
    ],
    ids=str,
)
def test_what_a_connection_cannot_be_made_with_is_refused_and_nothing_is_sent(
    fake: FakeFastRTC, arguments: dict[str, Any], text: str
) -> None:
    one = FastRTCClient(fake.url, path="/echo", proxy=False)
    with pytest.raises(InputError, match=f"^{text}"):
        one.connect(**arguments)
    with one.connect():  # the only one: the server would have seen another before it
        assert len(fake.requests) == 1


def test_making_a_client_sends_nothing(fake: FakeFastRTC) -> None:
    one = FastRTCClient(fake.url, path="/echo", input_hook="/input_hook", outputs="/updates", latest="/latest")
    with one.connect():
        assert [request.path for request in fake.requests] == ["/echo/websocket/offer"]


def test_a_value_of_any_length_makes_a_short_error() -> None:
    for name in ("path", "input_hook", "shape", "ssl_context", "input_sample_rate", "timeout"):
        with pytest.raises((ConfigurationError, InputError), match=name) as caught:
            FastRTCClient(URL, proxy=False, **{name: "x" * 10_000})  # type: ignore[arg-type]
        assert len(str(caught.value)) < 300


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
        assert {request.headers["x-token"] for request in fake.requests} == {"hush-hush"}


def test_a_session_is_logged_without_a_header_a_sample_or_an_input(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with FakeFastRTC() as fake:
        headers = {"Authorization": "Bearer hush-hush", "X-Token": "hush-hush"}
        with talk.client(fake, "/addl", headers=headers).connect() as session, session.outputs() as outputs:
            session.set_input(word="hush-hush")
            assert talk.say(session)
            assert next(outputs)
    assert "hush" not in caplog.text
    assert pybase64.b64encode(talk.SPEECH)[:40].decode() not in caplog.text


def test_a_whole_session_goes_over_tls() -> None:
    serving, trusting = tls_contexts("127.0.0.1")
    with FakeFastRTC(ssl_context=serving) as fake:
        client = talk.client(fake, "/addl", ssl_context=trusting, headers={"X-Token": "hush-hush"})
        with client.connect() as session, session.outputs() as outputs:
            session.set_input(a=1)
            assert talk.say(session)
            assert next(outputs)["rate"] == 16000
        with pytest.raises(ConnectError, match="certificate"):
            talk.client(fake, "/addl").connect()
        assert {request.headers["x-token"] for request in fake.requests} == {"hush-hush"}


def test_a_session_goes_through_a_proxy() -> None:
    seen: list[bytes] = []
    with FakeFastRTC() as fake, server(tunnel(b"HTTP/1.1 200 OK\r\n\r\n", seen, fake.port)) as port:
        client = FastRTCClient(
            "http://far.example", path="/echo", input_sample_rate=16000, proxy=f"http://me:word@127.0.0.1:{port}"
        )
        with client.connect() as session:
            assert talk.heard(talk.SPEECH) in talk.say(session)
    assert seen[0] == b"CONNECT far.example:80 HTTP/1.1\r\n"


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
