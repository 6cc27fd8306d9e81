from __future__ import annotations

import inspect
import math
import pickle
import ssl
import subprocess
import sys
from typing import Any

import pytest

from hume_sync import (
    AuthenticationError,
    ConfigurationError,
    HandshakeRejected,
    HumeStreamClient,
    InputError,
    LanguageConfig,
    RetryPolicy,
    __version__,
)
from hume_sync.emulator import Emulator

URL = "ws://127.0.0.1:1"


def test_without_a_server_every_way_on_is_named() -> None:
    with pytest.raises(ConfigurationError) as caught:
        HumeStreamClient("key")
    for way in ("base_url", "HUME_BASE_URL", "HumeStreamClient.emulated()", "hume-sync demo", "2026-06-14"):
        assert way in str(caught.value)


def test_server_and_key_come_from_the_environment_unless_given(
    hume_emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Emulator(api_keys=["from-env", "given"]) as server:
        monkeypatch.setenv("HUME_BASE_URL", server.url)
        monkeypatch.setenv("HUME_API_KEY", "from-env")
        with HumeStreamClient().connect([LanguageConfig()]) as socket:
            assert socket.send_text("x")
        with HumeStreamClient("given").connect([LanguageConfig()]) as socket:
            assert socket.send_text("x")
        with pytest.raises(AuthenticationError), HumeStreamClient("wrong").connect([LanguageConfig()]):
            pass
    monkeypatch.delenv("HUME_API_KEY")
    with pytest.raises(AuthenticationError):  # no key is made up where none is given
        HumeStreamClient(base_url=hume_emulator.url).connect([LanguageConfig()]).send_text("x")


@pytest.mark.parametrize("variable", ["HUME_BASE_URL", "HUME_API_KEY"])
def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "")
    if variable == "HUME_BASE_URL":
        with pytest.raises(ConfigurationError, match="no server given"):
            HumeStreamClient()
    else:
        assert not HumeStreamClient(base_url=URL)._endpoint.secret_headers


@pytest.mark.parametrize("key", ["  ", "hush\n", " hush", "hush hush", "hush-ключ"])
def test_a_key_of_the_environment_that_cannot_be_sent_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("HUME_API_KEY", key)
    with pytest.raises(ConfigurationError, match="^HUME_API_KEY must be visible ASCII") as caught:
        HumeStreamClient(base_url=URL)
    assert "hush" not in str(caught.value)
    assert HumeStreamClient("given", base_url=URL)


@pytest.mark.parametrize(
    "url", ["hush", "hush hush", "hush:443", "//hush", "hush://host", "https:hush", "ws://ho st/hush"]
)
def test_a_key_in_the_place_of_the_url_is_not_repeated(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    with pytest.raises(ConfigurationError, match="^base_url ") as caught:
        HumeStreamClient("k", base_url=url)
    assert "hush" not in str(caught.value)
    monkeypatch.setenv("HUME_BASE_URL", url)
    with pytest.raises(ConfigurationError, match="^HUME_BASE_URL ") as caught:
        HumeStreamClient("k")
    assert "hush" not in str(caught.value)


def test_a_bad_url_names_where_it_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUME_BASE_URL", "nonsense")
    with pytest.raises(ConfigurationError, match="HUME_BASE_URL has no scheme"):
        HumeStreamClient()
    with pytest.raises(ConfigurationError, match="base_url has no scheme"):
        HumeStreamClient(base_url="other")


@pytest.mark.parametrize(
    ("url", "dialled"),
    [
        ("ws://h:1", "ws://h:1/v0/stream/models"),
        ("http://h:1/", "ws://h:1/v0/stream/models"),
        ("https://h/prefix", "wss://h/prefix/v0/stream/models"),
        ("wss://h/v0/stream/models", "wss://h/v0/stream/models"),
        ("wss://h/p/v0/stream/models/", "wss://h/p/v0/stream/models"),
    ],
)
def test_the_protocols_path_is_put_behind_the_servers(url: str, dialled: str) -> None:
    assert HumeStreamClient(base_url=url)._endpoint.url == dialled


@pytest.mark.parametrize("name", ["timeout", "open_timeout", "close_timeout"])
@pytest.mark.parametrize("value", [0, -1, math.nan, True, "5", None])
def test_a_time_that_is_none_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(InputError, match=f"^{name} must be a number of seconds above zero"):
        HumeStreamClient(base_url=URL, **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["max_message_size", "max_payload_size"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "5", None])
def test_a_size_that_is_none_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(InputError, match=f"^{name} must be a number of bytes above zero"):
        HumeStreamClient(base_url=URL, **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ({"ssl_context": True}, "ssl_context must be an ssl.SSLContext, got bool"),
        ({"proxy": 7}, "proxy must be a URL, False .* or None"),
        ({"proxy": True}, "proxy must be a URL"),
        ({"proxy": "socks5://p"}, "proxy names a SOCKS proxy"),
        ({"headers": {"Host": "x"}}, "headers must not set Host"),
        ({"allow_plaintext": "no"}, "allow_plaintext must be True or False"),
        ({"retry": 3}, "retry must be a RetryPolicy"),
        ({"api_key": "a\nb"}, "api_key must be visible ASCII"),
        ({"api_key": ""}, "api_key must be visible ASCII"),
    ],
)
def test_other_settings_that_cannot_work_are_refused_by_name(argument: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        HumeStreamClient(base_url=URL, **argument)


def test_every_argument_of_the_constructor_lands_where_it_is_used() -> None:
    context = ssl.create_default_context()
    given = {
        "api_key": "the-key",
        "base_url": "wss://host:2/p",
        "timeout": 3.0,
        "open_timeout": 4.0,
        "close_timeout": 5.0,
        "check_after": 6.0,
        "retry": RetryPolicy(max_attempts=7),
        "max_message_size": 6,
        "max_payload_size": 7,
        "ssl_context": context,
        "proxy": "http://proxy:8",
        "headers": {"X-Team": "nine"},
        "allow_plaintext": True,
    }
    assert list(inspect.signature(HumeStreamClient).parameters) == list(given)
    client = HumeStreamClient(**given)  # type: ignore[arg-type]
    endpoint = client._endpoint
    assert [(name, value.reveal()) for name, value in endpoint.secret_headers] == [
        ("X-Hume-Api-Key", "the-key"),
        ("X-Team", "nine"),
    ]
    assert endpoint.url == "wss://host:2/p/v0/stream/models"
    assert (client._timeout, client._open_timeout, client._close_timeout) == (3.0, 4.0, 5.0)
    assert client._retry.max_attempts == 7
    assert endpoint.max_message_size == 6
    assert client._max_payload_size == client.connect([LanguageConfig()])._models.max_payload_size == 7
    assert endpoint.tls is context
    assert endpoint.proxy
    assert (endpoint.proxy.host, endpoint.proxy.port) == ("proxy", 8)
    assert endpoint.allow_plaintext


def test_one_tls_context_serves_a_client_and_it_verifies() -> None:
    client = HumeStreamClient(base_url="wss://h")
    context = client._endpoint.tls
    assert context
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert HumeStreamClient(base_url="ws://h")._endpoint.tls is None


def test_the_server_gets_the_name_of_the_client(hume_emulator: Emulator, hume_client: HumeStreamClient) -> None:
    with hume_client.connect([LanguageConfig()]):
        pass
    (handshake,) = hume_emulator.journal.handshakes
    assert (handshake.path, handshake.status) == ("/v0/stream/models", 101)
    assert (handshake.client_name, handshake.client_version) == ("hume_sync", __version__)
    assert handshake.user_agent == f"hume_sync/{__version__}"


def test_a_wrong_key_is_refused_with_the_official_text() -> None:
    with Emulator(api_keys=["right"]) as server:
        socket = HumeStreamClient("wrong", base_url=server.url).connect([LanguageConfig()])
        with pytest.raises(AuthenticationError, match=r"^HumeStreamClient initialized with invalid API key\.$"):
            socket.send_text("x")


def test_a_full_server_says_when_to_come_back() -> None:
    with Emulator(max_connections=1, retry_after=3) as server:
        client = HumeStreamClient("k", base_url=server.url, retry=RetryPolicy.none())
        with client.connect([LanguageConfig()]), pytest.raises(HandshakeRejected) as caught:
            client.connect([LanguageConfig()]).send_text("x")
    assert (caught.value.status, caught.value.retry_after) == (429, 3.0)


@pytest.mark.parametrize(("configs", "window"), [([], None), (None, None), ([LanguageConfig()], 499)])
def test_connect_refuses_bad_settings_at_once(configs: Any, window: Any) -> None:
    with pytest.raises(InputError):
        HumeStreamClient(base_url=URL).connect(configs, window)


def test_an_emulated_client_has_a_server_of_its_own_until_the_block_ends() -> None:
    with HumeStreamClient.emulated(seed=7) as client, client.connect([LanguageConfig()]) as socket:
        seven = socket.send_text("x")
        assert seven.emulated
    with pytest.raises(Exception, match="refused"):
        client.connect([LanguageConfig()]).send_text("x")
    with HumeStreamClient.emulated(seed=8) as client, client.connect([LanguageConfig()]) as socket:
        assert socket.send_text("x").emotions() != seven.emotions()


def test_an_emulated_client_has_a_key_that_its_server_takes() -> None:
    with HumeStreamClient.emulated(api_keys=["K"]) as client, client.connect([LanguageConfig()]) as socket:
        assert socket.send_text("x").emulated
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with pytest.raises(ConfigurationError, match="plain ws"), HumeStreamClient.emulated(ssl_context=context):
        pass


def test_callers_may_name_themselves(hume_emulator: Emulator) -> None:
    client = HumeStreamClient("k", base_url=hume_emulator.url, headers={"user-agent": "mine/1"})
    with client.connect([LanguageConfig()]):
        pass
    assert hume_emulator.journal.handshakes[0].user_agent == "mine/1"


WITHOUT_WEBSOCKETS = """
import sys
sys.modules["websockets"] = None
from hume_sync import HumeStreamClient
with HumeStreamClient.emulated():
    pass
"""


def test_an_emulated_client_without_the_extra_says_what_is_missing() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_WEBSOCKETS], capture_output=True, text=True, check=False)
    assert done.stderr.endswith(
        'ConfigurationError: the local server needs hume_sync with the extra "emulator":'
        " the module websockets is not installed\n"
    )


def test_a_client_shows_its_server_and_never_its_key_and_is_not_pickled() -> None:
    client = HumeStreamClient("hush", base_url="ws://h", headers={"X-Team": "hush"})
    assert repr(client) == "<HumeStreamClient ws://h/v0/stream/models>"
    assert "hush" not in f"{vars(client)}"
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(client)
