"""Errors, logs and tracebacks hold no keys, passwords, private headers, tokens or media, in any phase of a call."""

from __future__ import annotations

import base64
import contextlib
import logging
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from hume_sync import HumeStreamClient, LanguageConfig, ProsodyConfig, RetryEvent, RetryPolicy
from hume_sync.fastrtc import FastRTCClient
from hume_sync.net.deadline import Deadline
from hume_sync.net.tracebacks import clear_locals, clears_locals

from .fastrtc.fake import FakeFastRTC
from .faultproxy import Peer, head
from .net.support import Script, server, tls_contexts, upgraded

KEY = "SECRETKEY-4711"
PASSWORD = "s3cretpw"
HEADER = "Bearer open-sesame-7"
TOKEN = "tok3n-in-a-query"
MEDIA = b"this is what somebody said in private" * 9
CREDENTIAL = "turn-cr3dential"

SECRETS = [
    KEY,
    PASSWORD,
    base64.b64encode(f"user:{PASSWORD}".encode()).decode(),
    "open-sesame-7",
    TOKEN,
    MEDIA.decode(),
    base64.b64encode(MEDIA).decode(),
    CREDENTIAL,
]

TESTS = str(Path(__file__).parent)


def _texts(error: BaseException) -> Iterator[tuple[str, str]]:
    """Yield all texts of an exception, each with its location."""
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        error_or_none = pending.pop()
        if error_or_none is None or id(error_or_none) in seen:
            continue
        one = error_or_none
        seen.add(id(one))
        pending += [one.__cause__, one.__context__]
        yield "error", f"{one!s} {one!r} {vars(one)!r}"
        for frame, line in traceback.walk_tb(one.__traceback__):
            name = frame.f_code.co_filename
            if name.startswith(TESTS):
                continue  # the caller's own
            for variable, value in frame.f_locals.items():
                yield f"{name}:{line} {frame.f_code.co_name}: {variable}", repr(value)


def leaks(error: BaseException) -> list[str]:
    return [f"{secret[:20]} in {where}" for where, text in _texts(error) for secret in SECRETS if secret in text]


def fails(work: Callable[[], object]) -> list[str]:
    """Return the secrets that a failing call leaves behind."""
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - which error it is, other tests say
        work()
    assert not isinstance(caught.value, AssertionError)
    return leaks(caught.value)


def says(data: bytes) -> Script:
    def script(peer: Peer) -> None:
        list(head(peer.file))
        peer.send(data)
        peer.wait_gone()

    return script


ECHO = f"{KEY} {HEADER}".encode()
PROXY_ECHO = f"user:{PASSWORD}".encode()
UNTIL_GONE: Script = Peer.wait_gone


def then_closes(peer: Peer) -> None:
    list(head(peer.file))


def mute(peer: Peer) -> None:
    list(head(peer.file))
    peer.wait_gone()


def replies(data: bytes) -> Script:
    def script(peer: Peer) -> None:
        peer.send_frame(data)
        peer.wait_gone()

    return upgraded(script)


def sends_close_frame(peer: Peer) -> None:
    peer.send_close(1008, f"no such key {KEY}")
    peer.wait_gone()


PHASES: dict[str, Script] = {
    "reset": Peer.reset,
    "closed": then_closes,
    "mute": mute,
    "401": says(b"HTTP/1.1 401 No\r\nX-Echo: " + ECHO + b"\r\n\r\n" + ECHO),
    "403": says(b"HTTP/1.1 403 No\r\nX-Echo: " + ECHO + b"\r\n\r\n" + ECHO),
    "500": says(b"HTTP/1.1 500 No\r\nX-Echo: " + ECHO + b"\r\n\r\n" + ECHO),
    "302": says(b"HTTP/1.1 302 No\r\nLocation: ws://x/" + KEY.encode() + b"\r\n\r\n"),
    "no HTTP": says(ECHO + b"\r\n\r\n"),
    "no accept": says(b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nX-Echo: " + ECHO + b"\r\n\r\n"),
    "extension": says(b"HTTP/1.1 101 S\r\nSec-WebSocket-Extensions: " + ECHO + b"\r\n\r\n"),
    "mute after the upgrade": upgraded(UNTIL_GONE),
    "reset after the upgrade": upgraded(Peer.reset),
    "closed after the upgrade": upgraded(lambda _: None),
    "close frame": upgraded(sends_close_frame),
    "no JSON": replies(ECHO),
    "an error": replies(b'{"error":"' + ECHO + b'","code":"E0101"}'),
    "a fault of the server": replies(b'{"error":"' + ECHO + b'","code":"I0100"}'),
    "another reply": replies(b'{"payload_id":"' + ECHO + b'"}'),
}


def quick(port: int, **more: Any) -> HumeStreamClient:
    more = {"timeout": 0.2, "close_timeout": 0.1, "retry": RetryPolicy.none(), **more}
    more.setdefault("headers", {"Authorization": HEADER})
    return HumeStreamClient(KEY, base_url=more.pop("base_url", f"ws://127.0.0.1:{port}"), **more)


def _text(client: HumeStreamClient) -> object:
    with client.connect([LanguageConfig()]) as stream:
        return stream.send_text(MEDIA.decode())


def _media(client: HumeStreamClient) -> object:
    with client.connect([ProsodyConfig()]) as stream:
        return stream.send_media(MEDIA)


def _encoded(client: HumeStreamClient) -> object:
    with client.connect([ProsodyConfig()]) as stream:
        return stream.send_bytes(base64.b64encode(MEDIA))


def _leased(client: HumeStreamClient) -> object:
    with client.pool([ProsodyConfig()]) as pool, pool.socket() as stream:
        return stream.send_media(MEDIA)


CALLS = {"text": _text, "media": _media, "encoded": _encoded, "leased": _leased}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_fails_leaves_no_secret_behind(phase: str, call: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with server(PHASES[phase]) as port:
        assert fails(lambda: CALLS[call](quick(port))) == []
    assert not [secret for secret in SECRETS if secret in caplog.text]


def test_a_server_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    assert fails(lambda: _text(quick(port))) == []


def test_a_server_that_takes_nothing() -> None:
    with server(upgraded(lambda peer: peer.stop.wait(5))) as port:
        media = MEDIA * 2**16
        assert fails(lambda: quick(port).connect([ProsodyConfig()]).send_media(media)) == []


def test_a_certificate_that_is_not_accepted() -> None:
    serving, _ = tls_contexts("localhost", trustme.CA())

    def handshake(peer: Peer) -> None:
        serving.wrap_socket(peer.sock, server_side=True)

    with server(handshake) as port:
        assert fails(lambda: _text(quick(port, base_url=f"wss://localhost:{port}"))) == []


def test_a_server_without_tls() -> None:
    with server(lambda peer: peer.send(ECHO)) as port:
        assert fails(lambda: _text(quick(port, base_url=f"wss://localhost:{port}"))) == []


PROXIES: dict[str, Script] = {
    "reset": Peer.reset,
    "closed": then_closes,
    "mute": mute,
    "407": says(b"HTTP/1.1 407 No\r\nX-Echo: " + PROXY_ECHO + b"\r\n\r\n" + PROXY_ECHO),
    "no HTTP": says(PROXY_ECHO + b"\r\n\r\n"),
    "talks": says(b"HTTP/1.1 200 OK\r\n\r\n" + PROXY_ECHO),
    "opens": says(b"HTTP/1.1 200 OK\r\n\r\n"),
}


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("phase", PROXIES)
def test_a_proxy_that_fails(phase: str, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for chosen in ("argument", "environment"):
        with server(PROXIES[phase]) as port:
            proxy = f"http://user:{PASSWORD}@127.0.0.1:{port}"
            monkeypatch.setenv("all_proxy", proxy)
            more = {"proxy": proxy} if chosen == "argument" else {}
            assert fails(lambda: _text(quick(1, base_url=f"{scheme}://10.1.1.1:1", **more))) == []  # noqa: B023


REFUSED: list[dict[str, Any]] = [
    {"base_url": KEY},
    {"base_url": f"{KEY}://host"},
    {"base_url": f"ftp://{KEY}"},
    {"base_url": f"ws://user:{PASSWORD}@x"},
    {"base_url": f"ws://x:{PASSWORD}"},
    {"base_url": f"ws://x?key={KEY}"},
    {"base_url": f"ws://x#{KEY}"},
    {"base_url": f"ws://[{KEY}"},
    {"base_url": KEY.encode()},
    {"api_key": f"{KEY}\n"},
    {"api_key": KEY.encode()},
    {"api_key": [KEY]},
    {"timeout": -1},
    {"open_timeout": "soon"},
    {"close_timeout": 0},
    {"max_message_size": 0},
    {"max_payload_size": 1.5},
    {"retry": 3},
    {"ssl_context": True},
    {"allow_plaintext": None},
    {"headers": {"Authorization": f"{HEADER}\n"}},
    {"headers": {f"Authorization: {HEADER}": ""}},
    {"headers": {"Host": HEADER}},
    {"headers": [("Authorization", HEADER)]},
    {"headers": {"Authorization": HEADER.encode()}},
    {"headers": {"X-A": HEADER, "x-a": HEADER}},
    {"proxy": f"socks5://user:{PASSWORD}@p:1"},
    {"proxy": f"https://user:{PASSWORD}@p:1"},
    {"proxy": f"http://user:{PASSWORD}#@p:1"},
    {"proxy": f"http://user:p@{PASSWORD}:port"},
    {"proxy": {"http": f"http://user:{PASSWORD}@p:1"}},
]


@pytest.mark.parametrize("arguments", REFUSED, ids="-".join)
def test_a_client_that_cannot_be_made(arguments: dict[str, Any]) -> None:
    rest: dict[str, Any] = {"base_url": "ws://10.1.1.1", "api_key": KEY, "headers": {"Authorization": HEADER}}
    assert fails(lambda: HumeStreamClient(**{**rest, **arguments})) == []


@pytest.mark.parametrize("name", ["HUME_BASE_URL", "HUME_API_KEY", "https_proxy", "WSS_PROXY", "all_proxy"])
def test_an_environment_that_cannot_be_used(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUME_BASE_URL", "wss://10.1.1.1")
    monkeypatch.setenv(name, f"socks5://user:{PASSWORD}@{KEY}:1 ")
    assert fails(HumeStreamClient) == []


@pytest.mark.parametrize(
    ("method", "argument"),
    [
        ("send_bytes", MEDIA),
        ("send_media", [MEDIA]),
        ("send_media", MEDIA.decode()),
        ("send_text", MEDIA),
        ("send_text", MEDIA.decode() + "\ud800"),
        ("send_facemesh", [MEDIA]),
    ],
)
def test_media_that_is_refused(method: str, argument: object) -> None:
    stream = HumeStreamClient(KEY, base_url="ws://127.0.0.1:1").connect([LanguageConfig()])
    assert fails(lambda: getattr(stream, method)(argument)) == []


def test_a_callback_that_looks_at_the_error_sees_no_secret() -> None:
    found: list[list[str]] = []

    def look(_: RetryEvent) -> None:
        error = sys.exc_info()[1]
        found.append(["nothing"] if error is None else [leak for leak in leaks(error) if MEDIA.decode() not in leak])

    with server(Peer.reset, Peer.reset) as port:
        policy = RetryPolicy(max_attempts=2, initial=0.01, on_retry=look)
        client = quick(port, retry=policy, timeout=5.0)
        assert fails(lambda: client.connect([LanguageConfig()]).__enter__()) == []
    assert found == [[]]


@pytest.mark.parametrize("phase", ["mute", "mute after the upgrade"])
def test_an_interrupt_leaves_no_secret_behind(phase: str) -> None:
    main = threading.main_thread().ident
    assert main
    with server(PHASES[phase]) as port:
        timer = threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGINT))
        timer.start()
        assert fails(lambda: _text(quick(port, timeout=5.0))) == []
        timer.join()


# --- FastRTC


def application(port: int, **more: Any) -> FastRTCClient:
    more = {"timeout": 0.2, "headers": {"Authorization": HEADER, "X-Token": KEY}, **more}
    return FastRTCClient(
        f"http://127.0.0.1:{port}/app?key={TOKEN}",
        path=f"/echo?word={PASSWORD}",
        input_hook=f"/hook?token={TOKEN}",
        **more,
    )


@pytest.mark.parametrize("phase", PHASES)
def test_a_session_that_cannot_be_made(phase: str) -> None:
    with server(PHASES[phase]) as port:
        assert fails(application(port).connect) == []


ANSWERS: dict[str, Script] = {
    "reset": Peer.reset,
    "closed": then_closes,
    "mute": mute,
    "500": says(b"HTTP/1.1 500 No\r\nX-Echo: " + ECHO + b"\r\nContent-Length: 0\r\n\r\n"),
    "302": says(b"HTTP/1.1 302 No\r\nLocation: /?" + TOKEN.encode() + b"\r\n\r\n"),
    "no HTTP": says(ECHO + b"\r\n\r\n"),
    "cut": says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
}


@pytest.mark.parametrize("phase", ANSWERS)
def test_an_application_that_fails(phase: str) -> None:
    calls: dict[str, Callable[[Any], object]] = {
        "hook": lambda server: server.post_input("id", {"pin": KEY}, Deadline(0.2), lambda _: None),
        "outputs": lambda server: receive(server.outputs("id", lambda: None)),
        "latest": lambda server: server.latest("id", Deadline(0.2), lambda _: None),
    }
    for call in calls.values():
        with server(ANSWERS[phase]) as port:
            urls = {"outputs": f"/updates?token={TOKEN}", "latest": f"/latest?token={TOKEN}"}
            asked = application(port, **urls)._config
            assert fails(lambda: call(asked)) == []  # noqa: B023 - called at once


def receive(outputs: Any) -> object:
    """The first output; a server that says nothing is an error, too."""
    with outputs:
        output = outputs.receive(fails, timeout=0.2)
        if output is fails:
            raise TimeoutError("none came")
        return output


def test_a_session_whose_application_fails() -> None:
    with FakeFastRTC() as fake:
        more: dict[str, Any] = {"proxy": False, "headers": {"Authorization": HEADER}, "timeout": 1.0}
        gone = f"http://127.0.0.1:1/hook?token={TOKEN}"
        client = FastRTCClient(fake.url, path="/echo", input_hook=gone, outputs=gone, latest=gone, **more)
        with client.connect() as session:
            for call in (lambda: session.set_input(pin=KEY), lambda: receive(session.outputs()), session.latest_output):
                assert fails(call) == []
            assert fails(lambda: session.send_audio([MEDIA])) == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"url": KEY},
        {"url": f"http://user:{PASSWORD}@x"},
        {"path": f"/a?token={TOKEN}#x"},
        {"path": f"/a?token={TOKEN} x"},
        {"url": f"http://x/?token={TOKEN}#x"},
        {"url": f"http://x/?token={TOKEN} x"},
        {"input_hook": f"hook?token={TOKEN}"},
        {"input_hook": f"ftp://x/?token={TOKEN}"},
        {"outputs": f"http://user:{PASSWORD}@x/"},
        {"latest": f"http://x:{PASSWORD}/"},
        {"headers": {"X": f"{HEADER}\n"}},
        {"proxy": f"socks5://user:{PASSWORD}@x"},
        {"input_sample_rate": 1},
        {"timeout": 0},
        {"shape": 7},
        {"ice_servers": [{"urls": "turn:x", "username": 7, "credential": CREDENTIAL}]},
        {"ice_servers": {"urls": "turn:x", "username": "me", "credential": CREDENTIAL}},
    ],
    ids="-".join,
)
def test_a_fastrtc_client_that_cannot_be_made(arguments: dict[str, Any]) -> None:
    rest: dict[str, Any] = {"url": "http://10.1.1.1", "headers": {"Authorization": HEADER}}
    assert fails(lambda: FastRTCClient(**{**rest, **arguments})) == []


# --- how it is done


def test_what_is_cleared_is_this_librarys_and_not_the_callers() -> None:
    mine = "mine"

    def callers() -> None:
        callers_own = mine
        raise ValueError(len(callers_own))

    with pytest.raises(ValueError, match="4") as caught:
        clears_locals(callers)()
    frames = {frame.f_code.co_name: frame.f_locals for frame, _ in traceback.walk_tb(caught.value.__traceback__)}
    assert frames["callers"]["callers_own"] == "mine"
    assert "args" not in frames["hiding"]


def test_causes_that_lead_in_a_circle_are_cleared_once() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__context__ = second, first
    clear_locals(first)


def test_a_generator_that_goes_on_is_left_alone() -> None:
    @contextlib.contextmanager
    def block() -> Iterator[list[int]]:
        yield [1]

    with block() as value:
        with pytest.raises(ZeroDivisionError):
            clears_locals(lambda: 1 // 0)()
        assert value == [1]
