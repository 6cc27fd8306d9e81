from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
import types
from pathlib import Path

import pytest

from hume_sync import ConfigurationError, HumeStreamClient, LanguageConfig
from hume_sync.emulator import Emulator
from hume_sync.net import readiness
from hume_sync.net.readiness import check_green_threads, instant_poll, waiting_poll
from tests.fastrtc.fake import FakeFastRTC

from .support import tls_contexts


def test_the_systems_poll_is_taken_where_it_is_there() -> None:
    assert type(waiting_poll()) is type(instant_poll()) is type(select.poll())


@pytest.mark.parametrize("poll", [instant_poll, waiting_poll])
def test_what_is_ready_is_detected_without_the_systems_poll(
    monkeypatch: pytest.MonkeyPatch, poll: type[readiness.Poll]
) -> None:
    monkeypatch.delattr(select, "poll")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ready, fd = poll(), ours.fileno()
        ready.register(fd, select.POLLIN)
        assert ready.poll(0) == []
        ready.modify(fd, select.POLLIN | select.POLLOUT)
        assert ready.poll(0) == [(fd, select.POLLOUT)]
        theirs.send(b"x")
        assert ready.poll(10_000) == [(fd, select.POLLIN | select.POLLOUT)]
        ready.modify(fd, select.POLLIN)
        assert ready.poll(None) == [(fd, select.POLLIN)]


def test_calls_work_without_the_systems_poll(hume_client: HumeStreamClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(select, "poll")
    with hume_client.connect([LanguageConfig()]) as stream:
        assert [stream.send_text(text).attempts for text in "ab"] == [1, 1]


@pytest.mark.parametrize(
    ("module", "asked", "patched", "error"),
    [
        ("gevent.monkey", "is_module_patched", {"socket", "threading", "select"}, None),
        ("gevent.monkey", "is_module_patched", {"socket", "threading"}, None),
        ("gevent.monkey", "is_module_patched", {"socket"}, "gevent has patched socket, but not threading"),
        ("gevent.monkey", "is_module_patched", {"threading"}, None),
        ("gevent.monkey", "is_module_patched", set(), None),
        ("eventlet.patcher", "is_monkey_patched", {"socket", "thread", "select"}, None),
        ("eventlet.patcher", "is_monkey_patched", {"select"}, None),
        ("eventlet.patcher", "is_monkey_patched", {"socket"}, "eventlet has patched socket, but not thread"),
    ],
)
def test_green_threads_by_halves_are_refused(
    monkeypatch: pytest.MonkeyPatch, module: str, asked: str, patched: set[str], error: str | None
) -> None:
    patcher = types.ModuleType(module)
    vars(patcher)[asked] = patched.__contains__
    monkeypatch.setitem(sys.modules, module, patcher)
    if error is None:
        check_green_threads()
    else:
        with pytest.raises(ConfigurationError, match=error):
            check_green_threads()


# --- with the real ones, each in a process of its own

CALLS = """
import json, ssl, sys
import warnings
warnings.simplefilter("ignore")
PATCH
from hume_sync import HumeStreamClient, LanguageConfig, HumeClientException
from hume_sync.fastrtc import FastRTCClient

def calls(url, authority=None):
    context = authority and ssl.create_default_context(cafile=authority)
    client = HumeStreamClient("k", base_url=url, timeout=10, ssl_context=context)
    with client.pool([LanguageConfig()], max_size=4) as pool:
        def call(number):
            with pool.socket() as stream:
                return stream.send_text(f"text {number}").attempts
        done = sum(MAP(call, range(8)))
        return [done, pool.stats()["leases"]]

def session(url):
    client = FastRTCClient(url, path="/echo", timeout=10, input_sample_rate=16000, output_sample_rate=16000)
    with client.connect() as session:
        session.send_audio(b"\\1\\2" * 100)
        session.set_input(pin=1)
        return "sent"

plain, encrypted, authority, application = sys.argv[1:]
results = []
for work in (lambda: calls(plain), lambda: calls(encrypted, authority), lambda: session(application)):
    try:
        results.append(work())
    except HumeClientException as exc:
        results.append(f"{type(exc).__name__}: {exc}")
print(json.dumps(results))
"""

EVENTLET = "import eventlet; eventlet.monkey_patch({}); MAP = eventlet.GreenPool(8).imap"
GEVENT = "from gevent import monkey; monkey.patch_all({}); import gevent.pool; MAP = gevent.pool.Pool(8).map"
WORKS = [[8, 0], [8, 0], "sent"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("library", "patch", "expected"),
    [
        ("eventlet", EVENTLET.format(""), ""),
        ("eventlet", EVENTLET.format("select=False"), ""),
        ("eventlet", EVENTLET.format("select=True"), ""),
        ("eventlet", EVENTLET.format("socket=True, select=True"), "eventlet has patched socket, but not thread"),
        ("gevent", GEVENT.format(""), ""),
        ("gevent", GEVENT.format("select=False"), ""),
        ("gevent", GEVENT.format("socket=False, thread=False, ssl=False"), ""),
        ("gevent", GEVENT.format("thread=False"), "gevent has patched socket, but not threading"),
    ],
)
def test_green_threads_work_or_are_refused_in_a_sentence(
    tmp_path: Path, library: str, patch: str, expected: str
) -> None:
    pytest.importorskip(library)
    import trustme

    authority = trustme.CA()
    serving, _ = tls_contexts("localhost", authority)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    with Emulator() as plain, Emulator(ssl_context=serving) as encrypted, FakeFastRTC() as application:
        urls = [plain.url, encrypted.url.replace("127.0.0.1", "localhost"), str(tmp_path / "authority.pem")]
        done = subprocess.run(
            [sys.executable, "-c", CALLS.replace("PATCH", patch), *urls, application.url],
            capture_output=True,
            text=True,
            check=False,
            timeout=25,
        )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    if expected:
        assert all(expected in result for result in results)
    else:
        assert results == WORKS
