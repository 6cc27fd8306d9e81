"""``hume-sync check``."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from hume_sync.cli.main import main
from hume_sync.emulator import Emulator

MODELS = ["burst", "face", "facemesh", "language", "prosody"]


@pytest.fixture
def server(hume_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """A server that the environment names."""
    monkeypatch.setenv("HUME_BASE_URL", hume_emulator.url)
    monkeypatch.setenv("HUME_API_KEY", "the-key")
    return hume_emulator


def test_it_tells_server_key_models_and_round_trips(server: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 0
    out = capsys.readouterr().out
    first, key, *answers, last = out.splitlines()
    assert re.fullmatch(rf"server +{server.url}/v0/stream/models, connected in \d+\.\d ms", first)
    assert key == "key        accepted"
    assert [re.fullmatch(r"(\w+) +answers in \d+\.\d ms", line)[1] for line in answers] == MODELS  # type: ignore[index]
    assert last == "(emulated: invented scores, not measurements)"
    assert "the-key" not in out
    assert server.journal.counts["handshakes"] == 1


def test_a_server_that_needs_no_key_can_be_checked_without_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Emulator(anonymous=True) as server:
        assert main(["check", "--url", server.url]) == 0
    assert "key        none is sent (HUME_API_KEY is not set)" in capsys.readouterr().out


def test_a_model_that_the_server_refuses_is_shown_and_the_others_are_asked(
    server: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    server.fail_next("E0102", "no \x1b[31mburst here")
    assert main(["check"]) == 0
    out = capsys.readouterr().out
    assert "\nburst      hume(E0102): no \\x1b[31mburst here\n" in out
    assert out.count("answers in") == len(MODELS) - 1


def test_a_server_that_refuses_every_model_is_status_1(server: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    server.fail_next("E0300", "out of credits", times=99)
    assert main(["check"]) == 1
    assert capsys.readouterr().out.count("out of credits") == len(MODELS)


def _refuse(server: Emulator) -> None:
    server.refuse(401, times=9)


@pytest.mark.parametrize(
    ("befall", "arguments", "status", "text"),
    [
        (_refuse, [], 2, "invalid API key"),
        (Emulator.close, [], 1, "cannot connect to 127.0.0.1"),
        (None, ["--timeout", "0"], 2, "timeout must be"),
        (None, ["--url", "nonsense"], 2, "base_url has no scheme"),
        (None, ["clip.wav"], 2, "unrecognized arguments: clip.wav"),
    ],
)
def test_what_prevents_the_check_is_one_line(
    server: Emulator, capsys: pytest.CaptureFixture[str],
    befall: Callable[[Emulator], None] | None, arguments: list[str], status: int, text: str,
) -> None:  # fmt: skip
    if befall is not None:
        befall(server)
    assert main(["check", *arguments]) == status
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert not out
    assert text in line


def test_without_a_server_it_says_how_to_name_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 2
    assert "no server given" in capsys.readouterr().err


def test_a_server_that_does_not_answer_is_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HUME_API_KEY", "the-key")
    with Emulator(latency=60) as slow:
        assert main(["check", "--url", slow.url, "--timeout", "0.1"]) == 1
    assert "timed out waiting for a reply" in capsys.readouterr().err
