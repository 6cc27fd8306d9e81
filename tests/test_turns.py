"""``hume-sync fastrtc``: a turn from the shell."""

from __future__ import annotations

import json
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest

from hume_sync import cli
from hume_sync.fastrtc.audio import write_wav

from .fastrtc.fake import FakeFastRTC
from .fastrtc.real.sound import speech

pytestmark = pytest.mark.fastrtc  # each waits for the end of a reply, a second

RATES = ["--input-rate", "16000", "--output-rate", "16000", "--timeout", "5"]


@pytest.fixture
def fake() -> Iterator[FakeFastRTC]:
    with FakeFastRTC() as fake:
        yield fake


@pytest.fixture
def question(tmp_path: Path) -> str:
    path = tmp_path / "question.wav"
    write_wav(path, speech(16000), 16000)
    return str(path)


def test_a_reply_is_written_as_wav(
    fake: FakeFastRTC, question: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "reply.wav"
    assert cli.main(["fastrtc", f"{fake.url}/echo", "--wav", question, "--out", str(out), *RATES]) == 0
    assert f"s of audio, in {out}" in capsys.readouterr().out
    with wave.open(str(out)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
        assert file.getnframes() / 16000 > 1.9


def test_outputs_are_printed_as_json_lines_and_inputs_given(
    fake: FakeFastRTC, question: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["fastrtc", f"{fake.url}/args", "--wav", question, "--outputs", "--set", "scale=2", "--set", "name=x"]
    assert cli.main([*command, *RATES]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "SendInput()" in lines
    outputs = [json.loads(line) for line in lines if line.startswith("{")]
    assert outputs[0]["scale"] == 2
    assert outputs[0]["name"] == "x"


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["fastrtc", "127.0.0.1", "--wav", "WAV"], 2, "url"),
        (["fastrtc", "URL/echo", "--wav", "nowhere.wav"], 2, "nowhere.wav"),
        (["fastrtc", "URL/echo", "--wav", "WAV", "--set", "scale"], 2, "NAME=VALUE"),
        (["fastrtc", "URL/echo", "--wav", "WAV", "--transport", "pigeon"], 2, "transport"),
        (["fastrtc", "URL/nowhere", "--wav", "WAV"], 1, "HTTP"),
        (["fastrtc", "URL/silent", "--wav", "WAV", "--timeout", "0.5"], 1, "no audio came in time"),
        (["fastrtc", "http://127.0.0.1:9", "--wav", "WAV"], 1, "cannot connect"),
    ],
)
def test_a_failure_is_one_line_and_a_status(
    fake: FakeFastRTC,
    question: str,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    status: int,
    told: str,
) -> None:
    command = [argument.replace("URL", fake.url).replace("WAV", question) for argument in arguments]
    assert cli.main([*command[:4], *RATES, *command[4:]]) == status
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
