from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hume_sync import FaceConfig, HumeStreamClient, LanguageConfig, __version__
from hume_sync.batch import read_results
from hume_sync.cli import inputs
from hume_sync.cli import main as cli
from hume_sync.cli.main import main
from hume_sync.cli.report import Table
from hume_sync.emulator import Emulator
from hume_sync.stream.wav import Wav

from .audiofiles import chunk, encoded, fmt, riff
from .stream.support import DATA
from .stream.support import SPEECH as SPEECH_DATA

SPEECH, FACE, FACEMESH, TEXTS = (str(DATA / name) for name in ("speech.wav", "face.jpg", "facemesh.json", "texts.txt"))


@pytest.fixture
def server(hume_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    monkeypatch.setenv("HUME_BASE_URL", hume_emulator.url)
    monkeypatch.setenv("HUME_API_KEY", "the-key")
    return hume_emulator


def rows(output: str) -> list[list[str]]:
    """Return the lines of a table as lists of their columns."""
    return [re.split(r" {2,}", line) for line in output.splitlines()]


# --- demo


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_demo_sends_every_kind_of_input_and_marks_scores_as_emulated(
    temporary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo"]) == 0
    out = capsys.readouterr().out
    for source, model in [
        ("speech.wav", "prosody"),
        ("speech.wav", "burst"),
        ("face.jpg", "face"),
        ("facemesh.json", "facemesh"),
        ("I can hardly believe it,...", "language"),
    ]:
        (line, *_) = [line for line in out.splitlines() if line.startswith(source) and f" {model} " in line]
        assert re.search(r"[A-Z][a-z]+ 0\.\d\d, ", line)
    assert [part for part in ("0.0-5.0 s", "5.0-10.0 s", "10.0-10.4 s") if part in out] == [
        "0.0-5.0 s",
        "5.0-10.0 s",
        "10.0-10.4 s",
    ]
    assert any(line.startswith("EMULATED") for line in out.splitlines())
    assert "\n9 requests, replays included, went over 2 connections.\n" in out


def test_demo_loses_a_connection_and_marks_replies_after_a_replay(
    temporary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo"]) == 0
    out = capsys.readouterr().out
    assert re.findall(r"^speech.wav +(\S+ s \*?) *prosody", out, re.MULTILINE) == [
        "0.0-5.0 s ",
        "5.0-10.0 s *",
        "10.0-10.4 s ",
    ]
    assert "\n* the connection had been lost; what the server had heard was replayed" in out


def test_demo_prints_the_same_each_time_but_for_its_folder(temporary: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def printed() -> str:
        assert main(["demo"]) == 0
        return re.sub(r"hume-sync-demo-\w+", "FOLDER", capsys.readouterr().out)

    assert printed() == printed()


def test_demo_ends_with_a_batch_and_a_report_that_stay(temporary: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo"]) == 0
    (folder,) = temporary.iterdir()
    *_, count, results, report = capsys.readouterr().out.splitlines()
    assert count == "6 items: 6 measured, 0 failed (6 emulated: invented scores, not measurements)"
    assert results == f"results: {folder / 'scores.jsonl'}"
    assert report == f"report:  {folder / 'report.html'} (EMULATED too: open it in a browser)"
    found = {result.key: result.ok for result in read_results(folder / "scores.jsonl")}
    names = ["face.jpg", "facemesh.json", "speech.wav", "text 1", "text 2", "text 3"]
    assert found == dict.fromkeys(sorted(found), True)
    assert sorted(found) == names
    assert "media/speech.wav" in (folder / "report.html").read_text("utf-8")  # the player finds it


# --- send


def test_send_picks_the_models_by_the_media_type(server: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["send", FACE, FACEMESH, TEXTS, SPEECH, "--text", "hello there"]) == 0
    out = capsys.readouterr().out
    assert [row[1] for row in rows(out)[1:4]] == ["face", "facemesh", "language"]
    assert out.count("prosody") == out.count("burst") == 3
    assert "hello there" in out
    assert out.splitlines()[-1].startswith("EMULATED")
    assert server.journal.counts["handshakes"] == 1


def test_send_splits_long_speech_into_payloads_of_five_seconds(server: Emulator) -> None:
    assert main(["send", SPEECH, "--models", "prosody", "--window", "10000"]) == 0
    heard = [request.audio for request in server.journal.requests]
    assert heard == [(0.0, 5.0), (0.0, 10.0), pytest.approx((0.378812, 10.378812), abs=1e-6)]


def test_send_json_prints_the_whole_reply(server: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["send", "--json", "--models", "language", "--text", "one two", TEXTS]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["input"] for line in lines] == [TEXTS, "one two"]
    assert all(line["emulated"] for line in lines)
    assert [p["text"] for p in lines[1]["reply"]["language"]["predictions"]] == ["one", "two"]


@pytest.mark.parametrize("data", [Path(FACE).read_bytes(), b"some text", Path(FACEMESH).read_bytes()])
def test_send_reads_standard_input(server: Emulator, monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert main(["send", "-"]) == 0
    assert server.journal.counts["requests"] == 1


def test_send_models_overrides_the_media_type(server: Emulator) -> None:
    assert main(["send", "--models", "language,face", "--text", "x"]) == 2
    assert not server.journal.requests
    assert main(["send", "--models", "face", FACE]) == 0
    assert list(server.journal.requests[0].fields["models"]) == ["face"]


def test_send_url_overrides_the_environment(server: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUME_BASE_URL", "ws://127.0.0.1:1")
    assert main(["send", "--url", server.url, "--text", "x"]) == 0


def make(tmp_path: Path, name: str, content: bytes = b"") -> str:
    (tmp_path / name).write_bytes(content)
    return str(tmp_path / name)


BAD: list[tuple[Callable[[Path], list[str]], str]] = [
    (lambda tmp: [], "nothing to send"),
    (lambda tmp: [FACE, str(tmp / "missing.wav")], "No such file or directory: '.*missing.wav'"),
    (lambda tmp: [FACE, str(tmp)], "Is a directory"),
    (lambda tmp: [FACE, make(tmp, "empty.wav")], "is empty"),
    (lambda tmp: [FACE, _fifo(tmp)], "is no regular file"),
    (lambda tmp: [make(tmp, "noise", b"\x00\xff\xfe")], "cannot tell what .*noise is"),
    (lambda tmp: [make(tmp, "blank", b" \n")], "text is blank"),
    (lambda tmp: ["--text", " "], "text is blank"),
    (lambda tmp: [make(tmp, "mesh.json", b"[[[1, 2, 3]]]")], "exactly 478, found 1"),
    (lambda tmp: ["--models", "gesture", FACE], "unknown model 'gesture'; accepted: burst, face"),
    (lambda tmp: ["--models", "prosody", FACE], r"hume\(E0102\)"),
    (lambda tmp: ["--window", "499", FACE], "stream_window_ms must be"),
    (lambda tmp: ["--timeout", "0", FACE], "timeout must be"),
    (lambda tmp: ["--timeout", "soon", FACE], "invalid float value"),
    (lambda tmp: ["--url", "nonsense", FACE], "base_url has no scheme"),
    (lambda tmp: ["--novelty"], "unrecognized arguments"),
    (lambda tmp: [FACE, "-"], "standard input is empty"),
]


def _fifo(tmp_path: Path) -> str:
    os.mkfifo(tmp_path / "fifo")
    return str(tmp_path / "fifo")


@pytest.mark.parametrize(("arguments", "text"), BAD, ids=[text for _, text in BAD])
def test_send_reports_bad_input_in_one_line_with_status_2(
    server: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, arguments: Callable[[Path], list[str]], text: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert main(["send", *arguments(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("hume-sync: ")
    assert re.search(text, line)


@pytest.mark.parametrize(
    "bad", [*BAD[1:9], (lambda tmp: [FACE, "--text", " "], ""), (lambda tmp: [FACE, make(tmp, "blank", b"\n")], "")]
)
def test_send_sends_nothing_if_a_later_input_is_bad(server: Emulator, tmp_path: Path, bad: Any) -> None:
    assert main(["send", *bad[0](tmp_path)]) == 2
    assert not server.journal.handshakes


def test_a_missing_server_name_and_a_missing_command_are_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["send", "--text", "x"]) == 2
    assert "no server given" in capsys.readouterr().err
    assert main([]) == 2
    assert "COMMAND" in capsys.readouterr().err


def test_send_returns_1_if_the_server_cannot_be_reached(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["send", "--url", "ws://127.0.0.1:1", "--text", "x"]) == 1
    assert "cannot connect to 127.0.0.1:1" in capsys.readouterr().err


def test_send_returns_1_at_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUME_API_KEY", "k")
    with Emulator(latency=60) as slow:
        assert main(["send", "--url", slow.url, "--timeout", "0.1", "--text", "x"]) == 1


def test_a_text_of_the_server_cannot_drive_the_terminal(server: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    server.fail_next("E0102", "red \x1b[31m\nalert")
    assert main(["send", "--text", "x"]) == 2
    assert capsys.readouterr().err == "hume-sync: x: hume(E0102): red \\x1b[31m\\x0aalert\n"


@pytest.mark.parametrize(("code", "status"), [("I0100", 1), ("E0300", 1), ("E0102", 2), ("E0203", 2), ("E0206", 2)])
def test_a_fault_of_the_server_is_status_1_and_its_objection_to_the_input_2(
    server: Emulator, code: str, status: int
) -> None:
    server.fail_next(code, "text", times=3)
    assert main(["send", "--text", "x"]) == status


def test_names_and_texts_that_the_output_cannot_hold_are_escaped(server: Emulator, tmp_path: Path) -> None:
    (tmp_path / "caf\udce9.txt").write_bytes(b"hello")
    environment = {**os.environ, "HUME_BASE_URL": server.url, "HUME_API_KEY": "k", "PYTHONIOENCODING": "ascii"}
    for more in ([], ["--json"]):
        command = [sys.executable, "-m", "hume_sync", "send", "caf\udce9.txt", "--text", "caf\xe9 \u2603", *more]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert "\\u2603" in done.stdout


def test_a_closed_standard_input_is_bad_input(
    server: Emulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["send", "-"]) == 2
    assert "standard input is closed" in capsys.readouterr().err


def test_ctrl_c_ends_at_once_with_status_130(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUME_API_KEY", "k")
    with Emulator(latency=600) as slow:
        command = [
            sys.executable,
            "-m",
            "hume_sync",
            "send",
            "--url",
            slow.url,
            "--timeout",
            "600",
            "--keep-going",
            FACE,
        ]
        with subprocess.Popen([*command, "--text", "x"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert slow.journal.wait_for(lambda journal: journal.counts["handshakes"] == 1, timeout=20)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (130, b"", b"")


def test_ctrl_c_while_standard_input_is_read_ends_with_status_130(
    server: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Interrupted()))
    assert main(["send", "--keep-going", "-"]) == 130


def test_a_reader_that_goes_away_is_no_error(server: Emulator) -> None:
    environment = {**os.environ, "HUME_BASE_URL": server.url}
    command = f"{sys.executable} -m hume_sync send --text a --text b {SPEECH} | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# --- each input a stream of its own


def parts(output: str, source: str) -> list[Any]:
    lines = [json.loads(line) for line in output.splitlines()]
    return [{**line, "reply": {**line["reply"], "payload_id": None}} for line in lines if line["input"] == source]


def test_send_results_do_not_depend_on_earlier_inputs(
    server: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make(tmp_path, "other.wav", next(Wav.parse(SPEECH_DATA).cut(3.0)))  # type: ignore[union-attr]  # it is one
    unknown = make(tmp_path, "unknown.mp3", encoded("mp3", "libmp3lame", 1.3))
    assert main(["send", "--json", SPEECH]) == 0
    alone = parts(capsys.readouterr().out, SPEECH)
    assert len(alone) == 3
    assert alone[1]["reply"]["prosody"]["predictions"][0]["time"]["begin"] == 5.0  # its parts are one stream
    for before in (["--keep-going", other], [SPEECH, FACE, other], [unknown], [other, FACEMESH, TEXTS]):
        assert main(["send", "--json", *before, SPEECH]) == 0
        assert parts(capsys.readouterr().out, SPEECH)[-3:] == alone


def test_faces_are_identified_for_each_input_alone(server: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(inputs.MODELS, "face", FaceConfig(identify_faces=True))
    assert main(["send", "--models", "face", FACE, FACE]) == 0
    assert server.journal.counts["handshakes"] == 2  # ids live with the connection


def test_audio_of_any_size_is_sent_without_being_held_in_memory(server: Emulator, tmp_path: Path) -> None:
    size = 96 * 2**20
    path = tmp_path / "day.wav"
    with path.open("wb") as file:  # sparse
        file.write(riff(chunk(b"fmt ", fmt(rate=48_000, channels=2)), chunk(b"data", b"", size), size=size + 36))
        file.truncate(44 + size)
    code = (
        "import re, sys; from hume_sync.cli.main import main; status = main(sys.argv[1:]);"
        "print(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1]); sys.exit(status)"
    )
    for argument in (str(path), "-"):
        command = [sys.executable, "-c", code, "send", "--models", "burst", "--json", argument]
        with subprocess.Popen(["cat", str(path)], stdout=subprocess.PIPE) as pipe:
            done = subprocess.run(command, stdin=pipe.stdout, capture_output=True, text=True, check=True)
        *lines, kilobytes = done.stdout.splitlines()
        assert json.loads(lines[-1])["part"] == "520.0-524.3 s"
        assert int(kilobytes) * 1024 < size
    assert server.journal.counts["requests"] == 2 * 105


def test_standard_input_is_read_once(server: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["send", "-", "-"]) == 2
    assert "named twice" in capsys.readouterr().err


# --- errors name their input


@pytest.fixture
def fail_after(server: Emulator, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Make the server answer with errors after a number of replies."""

    def fail(count: int) -> None:
        reply, replies = Table.reply, iter(range(1, 1000))

        def counted(*arguments: Any) -> Any:
            yield from reply(*arguments)
            if next(replies) == count:
                server.fail_next("E0102", "no")

        monkeypatch.setattr(Table, "reply", counted)

    return fail


def test_an_error_names_the_input_and_the_part(
    server: Emulator, capsys: pytest.CaptureFixture[str], fail_after: Callable[[int], None]
) -> None:
    fail_after(2)
    assert main(["send", FACE, SPEECH, "--text", "x"]) == 2
    out, err = capsys.readouterr()
    assert err == f"hume-sync: {SPEECH}, 5.0-10.0 s: hume(E0102): no\n"
    assert "0.0-5.0 s" in out  # what was measured before is there, with its note
    assert out.splitlines()[-1].startswith("EMULATED")
    assert server.journal.counts["requests"] == 3


def test_an_error_of_reading_names_the_input_once(tmp_path: Path, server: Emulator) -> None:
    for name, data in (("a.json", b"[1"), ("a.wav", b""), ("a.mp3", b"<html>"), ("a.npy", b"\x93NUMPY\1")):
        path = make(tmp_path, name, data)
        done = subprocess.run(
            [sys.executable, "-m", "hume_sync", "send", "--url", server.url, path],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert done.stderr.count(name) == 1


def test_send_advises_to_convert_audio_that_is_too_long(
    server: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make(tmp_path, "long.mp3", encoded("mp3", "libmp3lame", 6.0))
    assert main(["send", path]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"hume-sync: {path}: hume(E0203): ")
    assert line.endswith("; only WAV audio is split: convert it to WAV")


def test_send_keep_going_sends_the_other_inputs(
    server: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str], fail_after: Callable[[int], None]
) -> None:
    fail_after(1)
    missing, zeros = str(tmp_path / "missing.wav"), make(tmp_path, "zeros.wav", bytes(99))
    assert main(["send", "--keep-going", FACE, missing, SPEECH, zeros, TEXTS, "--text", " "]) == 3
    out, err = capsys.readouterr()
    assert [line.split(": ")[1] for line in err.splitlines()] == [
        "No such file or directory",
        f"{zeros} holds nothing but NUL bytes",
        " ",
        f"{SPEECH}, 0.0-5.0 s",
    ]
    assert [row[1] for row in rows(out)[1:3]] == ["face", "language"]
    assert server.journal.counts["requests"] == 3  # the rest of the speech has lost its context


@pytest.mark.parametrize("fault", ["I0100", "HTTP 503"])
def test_send_keep_going_survives_server_errors(
    server: Emulator, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    if fault == "HTTP 503":
        server.refuse(503, times=3)
    else:
        server.fail_next("I0100", "broken", times=3)
    assert main(["send", "--keep-going", "--text", "a", "--text", "b"]) == 3
    assert [row[0] for row in rows(capsys.readouterr().out)[1:2]] == ["b"]


def test_send_keep_going_stops_if_the_key_is_rejected(capsys: pytest.CaptureFixture[str]) -> None:
    with Emulator(api_keys=["other"]) as closed:
        assert main(["send", "--url", closed.url, "--keep-going", "--text", "a", "--text", "b"]) == 2
        assert closed.journal.counts["refused"] == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("hume-sync: a: ")


def test_send_keep_going_returns_0_without_failures(server: Emulator) -> None:
    assert main(["send", "--keep-going", FACE]) == 0


@pytest.mark.parametrize(("more", "status", "count"), [([], 2, 1), (["--keep-going"], 3, 2)])
def test_send_json_prints_a_line_for_a_failed_input(
    server: Emulator, capsys: pytest.CaptureFixture[str], more: list[str], status: int, count: int
) -> None:
    server.fail_next("E0102", "no")
    assert main(["send", "--json", *more, FACE, "--text", "x"]) == status
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    assert len(lines) == count
    assert lines[0] == {
        "input": FACE,
        "part": "",
        "error": {"type": "RequestError", "code": "E0102", "message": "hume(E0102): no"},
    }
    assert err == f"hume-sync: {FACE}: hume(E0102): no\n"


# --- help


@pytest.mark.parametrize("command", ["demo", "serve", "send", "fastrtc"])
def test_the_help_of_every_command_names_the_variables(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert "HUME_BASE_URL" in out
    assert "HUME_API_KEY" in out
    if command in ("send", "fastrtc"):
        assert "no_proxy" in out
        assert "SSL_CERT_FILE" in out


def test_the_help_of_send_says_what_is_not_checked_before(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["send", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "All inputs are checked before the first is sent. Of WAV audio only the beginning is" in text
    assert "3 some inputs failed, with --keep-going" in text


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.strip() == __version__


# --- serve


def test_serve_runs_a_server_until_ctrl_c(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Interrupted:
        def wait(self) -> None:
            url = capsys.readouterr().out.split("export HUME_BASE_URL=")[1].split()[0]
            with HumeStreamClient("k", base_url=url).connect([LanguageConfig()]) as socket:
                assert socket.send_text("x").emulated
            raise KeyboardInterrupt

    monkeypatch.setattr(cli, "threading", SimpleNamespace(Event=Interrupted))
    assert main(["serve", "--seed", "3", "--latency", "0.001"]) == 0


def test_serve_ends_on_ctrl_c_while_the_address_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(line: str, *, flush: bool) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "print", interrupted, raising=False)
    assert main(["serve"]) == 0
    assert not [thread for thread in threading.enumerate() if thread.name == "hume-emulator"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_ends_cleanly_on_a_signal(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "hume_sync", "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        banner = process.stdout.readline()
        assert "EMULATED" in banner
        url = process.stdout.readline().split("=")[1].split()[0]
        with HumeStreamClient("k", base_url=url).connect([LanguageConfig()]) as socket:
            assert socket.send_text("x").emulated
        process.send_signal(number)
        assert process.wait(10) == 0
        assert process.stderr.read() == ""


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--port", "-1"], "port"),
        (["--port", "65536"], "port"),
        (["--port", "x"], "invalid int value"),
        (["--latency", "-1"], "latency"),
        (["--host", "no such host"], "."),
    ],
)
def test_serve_reports_invalid_arguments_in_one_line(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(text, line)


def test_serve_reports_a_port_in_use_in_one_line(server: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--port", str(server.port)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "in use" in line


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_without_the_extra_the_command_says_what_is_missing(command: str) -> None:
    code = (
        "import sys; sys.modules['websockets'] = None; from hume_sync.cli import main;sys.exit(main.main(sys.argv[1:]))"
    )
    done = subprocess.run([sys.executable, "-c", code, command], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        'hume-sync: the local server needs hume_sync with the extra "emulator":'
        " the module websockets is not installed\n"
    )
