"""``hume-sync fastrtc``: a turn from the shell."""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import struct
import sys
import time
import wave
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hume_sync.cli import fastrtc as turns
from hume_sync.cli import main as cli
from hume_sync.fastrtc import Session
from hume_sync.fastrtc.audio import write_wav

from .fastrtc.fake import FakeFastRTC
from .fastrtc.real.sound import speech
from .fastrtc.real.turns import Heard, Output, Say, Step, Stream, message
from .fastrtc.sounds import wav
from .fastrtc.webtalk import EVENTS, request
from .faultproxy import Peer
from .net.support import server

RATES = ["--input-rate", "16000", "--output-rate", "16000", "--timeout", "5"]
DEPTH = 1020
"""Lists in lists: a few less than are read as JSON."""


def mum(heard: Heard) -> Iterator[Step]:
    """A warning and an output, and no audio."""
    yield Say(message("warning", "careful"))
    yield Output(7)


def deep(heard: Heard) -> Iterator[Step]:
    yield Say('{"type": "custom", "data": %s}' % ("[" * DEPTH + "]" * DEPTH))
    yield heard.audio[:1600]


def much(heard: Heard) -> Iterator[Step]:
    yield heard.audio[:1600]
    for number in range(3):
        yield Output(number)


@pytest.fixture
def fake() -> Iterator[FakeFastRTC]:
    streams = {"/mum": Stream(turn=mum), "/deep": Stream(turn=deep), "/much": Stream(turn=much)}
    with FakeFastRTC(streams=streams) as fake:
        yield fake


@pytest.fixture
def question(tmp_path: Path) -> str:
    path = tmp_path / "question.wav"
    write_wav(path, speech(16000), 16000)
    return str(path)


@pytest.fixture(autouse=True)
def _replies_are_soon_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not after the second of silence that real servers need."""
    monkeypatch.setattr(Session, "reply", functools.partialmethod(Session.reply, idle=0.05))


def test_a_reply_is_written_as_wav(
    fake: FakeFastRTC, question: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "reply.wav"
    assert cli.main(["fastrtc", f"{fake.url}/echo", "--wav", question, "--out", str(out), *RATES]) == 0
    assert f"s of audio, in {out}\n" in capsys.readouterr().out
    with wave.open(str(out)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
        assert file.getnframes() / 16000 > 1.9


@pytest.mark.parametrize(("bits", "tag"), [(8, 7), (24, 1), (64, 3)])
@pytest.mark.parametrize("pipe", [False, True])
def test_the_question_is_a_wav_file_of_any_encoding_or_a_pipe(
    fake: FakeFastRTC, tmp_path: Path, bits: int, tag: int, pipe: bool
) -> None:
    path = tmp_path / "question.wav"
    content = wav(bytes(2 * 8000 * bits // 8), bits=bits, tag=tag, channels=2, rate=8000)
    with ThreadPoolExecutor(1) as threads:
        if pipe:
            os.mkfifo(path)
            threads.submit(path.write_bytes, content)
        else:
            path.write_bytes(content)
        assert cli.main(["fastrtc", f"{fake.url}/mum", "--wav", str(path), *RATES, "--timeout", "0.5"]) == 1
    assert fake.connections[0].media == [16000, 19200]


def test_a_file_that_cannot_be_sent_is_named_and_nothing_is_connected(
    fake: FakeFastRTC, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "question.wav"
    path.write_bytes(wav(struct.pack("<2f", 0, math.nan), bits=32, tag=3))
    assert cli.main(["fastrtc", f"{fake.url}/echo", "--wav", str(path), *RATES]) == 2
    assert f"sample 1 of the file '{path}' is nan; floats must be" in capsys.readouterr().err
    assert fake.requests == []


def test_a_reply_that_lacks_something_says_so(
    fake: FakeFastRTC, question: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["fastrtc", f"{fake.url}/lost", "--wav", question, *RATES, "--timeout", "0.5"]) == 0
    assert capsys.readouterr().out.endswith("s of audio (incomplete)\n")


def test_outputs_are_printed_as_json_lines_and_inputs_given(
    fake: FakeFastRTC, question: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {
        "scale": "2",
        "name": "x",
        "list": "[1, null]",
        "empty": "",
        "number": "NaN",
        "equation": "a=b",
        "deep": "[",
    }
    fields = [part for name, value in given.items() for part in ("--set", f"{name}={value}")]
    assert cli.main(["fastrtc", f"{fake.url}/args", "--wav", question, "--outputs", *fields, *RATES]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "SendInput()" in lines
    outputs = [json.loads(line) for line in lines if line.startswith("{")]
    assert outputs == [{**given, "scale": 2, "list": [1, None]}]


def test_a_value_of_any_depth_is_text_where_it_cannot_be_read_as_json(
    fake: FakeFastRTC, question: str, capsys: pytest.CaptureFixture[str]
) -> None:
    brackets = "[" * 100_000
    assert cli.main(["fastrtc", f"{fake.url}/args", "--wav", question, "--set", f"deep={brackets}", *RATES]) == 0
    assert fake.hooks[0]["deep"] == brackets
    assert capsys.readouterr().err == ""


def test_outputs_that_follow_the_reply_are_waited_for(
    fake: FakeFastRTC, question: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.knobs.pace = 0.1  # longer than the silence that ends a reply
    assert cli.main(["fastrtc", f"{fake.url}/much", "--wav", question, "--outputs", *RATES]) == 0
    assert capsys.readouterr().out.endswith("s of audio\n0\n1\n2\n")


def test_outputs_without_end_are_bounded_by_the_time_out(
    fake: FakeFastRTC, question: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def endless(peer: Peer) -> None:
        request(peer)
        peer.send(EVENTS)
        while not peer.stop.wait(0.01):
            peer.send(b"data: 1\n\n")

    began = time.monotonic()
    with server(endless) as port:
        outputs = ["--outputs-url", f"http://127.0.0.1:{port}/", "--timeout", "0.5"]
        assert cli.main(["fastrtc", f"{fake.url}/echo", "--wav", question, *RATES, *outputs]) == 0
    assert 0.5 < time.monotonic() - began < 10
    assert capsys.readouterr().out.splitlines()[-2:] == ["1", "1"]


def test_messages_and_outputs_may_be_nested_as_deeply_as_json_is_read(
    fake: FakeFastRTC, question: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def view(peer: Peer) -> None:
        request(peer)
        peer.send(EVENTS)
        peer.send(b"data: " + b"[" * DEPTH + b"]" * DEPTH + b'\n\ndata: "next"\n\n')

    with server(view) as port:
        command = ["fastrtc", f"{fake.url}/deep", "--wav", question, "--outputs-url", f"http://127.0.0.1:{port}/"]
        assert cli.main([*command, *RATES]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("Custom" in line for line in lines)
    assert lines[-1] == '"next"'


def test_what_came_in_place_of_a_reply_is_printed_before_the_error(
    fake: FakeFastRTC, question: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", sys.stdout)  # so that the order shows
    assert cli.main(["fastrtc", "--outputs", f"{fake.url}/mum", "--wav", question, *RATES, "--timeout", "0.5"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "WarningMessage(text='careful')",
        "7",
        "hume-sync: no audio came in time; the handler has heard the question: it takes longer than this, or has failed"
        " without reporting it",
    ]


def test_unused_inputs_are_reported(fake: FakeFastRTC, question: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fastrtc", f"{fake.url}/echo", "--wav", question, "--set", "a=1", *RATES]) == 0
    assert "the handler has not asked for additional inputs\n" in capsys.readouterr().out
    assert fake.hooks == []


def test_where_the_reply_goes_is_left_as_it_was_until_there_is_one(
    fake: FakeFastRTC, question: str, tmp_path: Path
) -> None:
    new, old = tmp_path / "new.wav", tmp_path / "old.wav"
    old.write_bytes(b"an old one")
    for out in (new, old):
        command = ["fastrtc", f"{fake.url}/silent", "--wav", question, "--out", str(out), *RATES, "--timeout", "0.2"]
        assert cli.main(command) == 1
    assert not new.exists()
    assert old.read_bytes() == b"an old one"


def test_a_reply_is_written_even_if_the_output_is_not_read(fake: FakeFastRTC, question: str, tmp_path: Path) -> None:
    out = tmp_path / "reply.wav"
    parser = argparse.ArgumentParser()
    turns.add_arguments(parser)
    lines = turns.run(parser.parse_args([f"{fake.url}/deep", "--wav", question, "--out", str(out), *RATES]))
    assert "Custom" in next(lines)
    lines.close()
    assert out.stat().st_size > 44


def complaint(arguments: list[str], fake: FakeFastRTC, question: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the exit status and the only line on standard error."""
    command = [argument.replace("URL", fake.url).replace("WAV", question) for argument in arguments]
    status = cli.main(["fastrtc", command[0], *RATES, *command[1:]])
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    return f"{status}: {printed.err}"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["127.0.0.1", "--wav", "WAV"], "url has no scheme"),
        (["URL/echo"], "--wav"),
        (["URL/echo", "--wav", "nowhere.wav"], "No such file or directory: 'nowhere.wav'"),
        (["URL/echo", "--wav", __file__], "is no WAV file; accepted are"),
        (
            ["URL/echo", "--wav", "WAV", "--out", "nowhere/x.wav"],
            "--out is in a directory that does not exist: nowhere",
        ),
        (["URL/echo", "--wav", "WAV", "--out", "."], "--out is a directory: ."),
        (["URL/echo", "--wav", "WAV", "--out", "/proc/version"], "--out"),
        (["URL/echo", "--wav", "WAV", "--set", "scale"], "--set takes NAME=VALUE, got 'scale'"),
        (["URL/echo", "--wav", "WAV", "--set", "=2"], "--set takes NAME=VALUE, got '=2'"),
        (["URL/echo", "--wav", "WAV", "--set", "webrtc_id=2"], "--set must not give webrtc_id"),
        (["URL/echo", "--wav", "WAV", "--transport", "pigeon"], "invalid choice: 'pigeon' (choose from"),
        (
            ["URL/echo", "--wav", "WAV", "--outputs-url", "updates"],
            "outputs is not a URL to use (it has 7 characters); accepted: /path",
        ),
        (
            ["URL/echo", "--wav", "WAV", "--input-hook", "hook"],
            "input_hook is not a URL to use (it has 4 characters); accepted: /path",
        ),
        (["URL/echo", "--wav", "WAV", "--input-rate", "7"], "input_sample_rate must be an int, 8000 to 192000 Hz"),
        (["URL/echo", "--wav", "WAV", "--output-rate", "x"], "--output-rate: invalid int value: 'x'"),
        (["URL/echo", "--wav", "WAV", "--timeout", "0"], "timeout must be a number of seconds above zero"),
        (["URL/echo", "--wav", "WAV", "--timeout", "nan"], "timeout must be a number of seconds above zero"),
    ],
)
def test_what_cannot_be_done_is_one_line_before_anything_is_sent(
    fake: FakeFastRTC, question: str, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    complained = complaint(arguments, fake, question, capsys)
    assert complained.startswith("2: hume-sync: ")
    assert expected in complained
    assert cli.main(["fastrtc", f"{fake.url}/nowhere", "--wav", question, *RATES]) == 1
    assert len(fake.requests) == 1  # this one: nothing came before it


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["URL/nowhere", "--wav", "WAV"], "HTTP 403"),
        (["URL/silent", "--wav", "WAV", "--timeout", "0.3"], "no audio came in time"),
        (["URL/echo", "--wav", "WAV", "--outputs-url", "/nowhere"], "answered with HTTP 404"),
        (["http://127.0.0.1:9", "--wav", "WAV"], "cannot connect"),
    ],
)
def test_a_server_that_fails_is_one_line_and_another_status(
    fake: FakeFastRTC, question: str, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    complained = complaint(arguments, fake, question, capsys)
    assert complained.startswith("1: hume-sync: ")
    assert expected in complained
