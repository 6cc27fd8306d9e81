"""``hume-sync batch``."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import json
import os
import pty
import resource
import shlex
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hume_sync.batch import read_results
from hume_sync.batch.result_log import ResultLog
from hume_sync.cli.main import main
from hume_sync.emulator import Emulator

from .batch.runs import tone
from .stream.support import FACE, landmarks

ROWS = 'id,note,text\n7,a,What a day!\n8,b,"Leave me, now."\n9,c, \n'


@pytest.fixture
def server(hume_emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Emulator:
    """A server that the environment names, and an empty folder as the current one."""
    monkeypatch.setenv("HUME_BASE_URL", hume_emulator.url)
    monkeypatch.setenv("HUME_API_KEY", "the-key")
    monkeypatch.chdir(tmp_path)
    return hume_emulator


@pytest.fixture
def folder(server: Emulator, tmp_path: Path) -> Path:
    """A folder of files of each kind, of which one is broken."""
    clips = tmp_path / "clips"
    (clips / "more").mkdir(parents=True)
    (clips / "a.wav").write_bytes(tone(1.0))
    (clips / "more" / "b.wav").write_bytes(tone(7.0))
    (clips / "face.jpg").write_bytes(FACE)
    (clips / "day.txt").write_text("What a day!", "utf-8")
    (clips / "empty.wav").touch()
    return clips


def lines(path: str) -> dict[str, dict[str, Any]]:
    """Return the lines of a file of results by their keys, of which none comes twice."""
    held = [json.loads(line) for line in Path(path).read_bytes().splitlines()]
    found = {line["key"]: line for line in held}
    assert len(found) == len(held)
    return found


def models(line: dict[str, Any]) -> set[str]:
    return {name for name, value in line["reply"].items() if isinstance(value, dict)}


def texts_file(count: int) -> str:
    """Write so many texts into a file, and return its name."""
    Path("texts.jsonl").write_text("".join(f'{{"text": "word number {i}"}}\n' for i in range(count)), "utf-8")
    return "texts.jsonl"


# --- inputs


def test_a_folder_is_measured_and_each_failure_is_shown_by_its_code(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["batch", "clips", "--out", "scores.jsonl"]) == 3
    found = lines("scores.jsonl")
    assert {key: models(line) for key, line in found.items() if line["ok"]} == {
        "a.wav": {"prosody", "burst"},
        "more/b.wav": {"prosody", "burst"},
        "face.jpg": {"face"},
        "day.txt": {"language"},
    }
    assert found["more/b.wav"]["requests"] == 2
    assert found["empty.wav"]["error"]["type"] == "InputError"
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("5 items: 4 measured, 1 failed; ")
    assert "(4 emulated: invented scores, not measurements)" in out[0]
    assert out[1].startswith("  InputError (1): ")
    assert ": empty.wav (" in out[1]
    assert out[2:] == ["written to scores.jsonl"]


@pytest.mark.parametrize(
    ("paths", "keys"),
    [
        (["clips/a.wav"], ["a.wav"]),
        (["clips/*.wav", "--models", "prosody"], ["a.wav", "empty.wav"]),
        (["clips/**/*.wav"], ["a.wav", "empty.wav", "more/b.wav"]),
        (["clips/more", "clips/day.txt"], ["clips/day.txt", "more/b.wav"]),
    ],
)
def test_paths_are_files_folders_and_patterns(folder: Path, paths: list[str], keys: list[str]) -> None:
    main(["batch", *paths, "--out", "scores.jsonl", "--quiet"])
    assert sorted(lines("scores.jsonl")) == keys


def test_models_are_those_that_are_named(folder: Path) -> None:
    assert main(["batch", "clips/a.wav", "--models", "prosody", "--out", "scores.jsonl"]) == 0
    assert models(lines("scores.jsonl")["a.wav"]) == {"prosody"}


def test_files_of_results_in_the_folder_are_no_inputs(folder: Path) -> None:
    for _ in range(2):
        assert main(["batch", ".", "--out", "scores.csv", "--quiet"]) == 3
        assert main(["batch", "clips", "--out", "clips/scores.jsonl", "--quiet"]) == 3
    assert len(lines("scores.csv.jsonl")) == 6  # with clips/scores.jsonl, which another run has written
    assert len(lines("clips/scores.jsonl")) == 5


def test_a_list_names_files(folder: Path) -> None:
    Path("list").write_text("clips/a.wav\nclips/missing.wav\n", "utf-8")
    assert main(["batch", "--list", "list", "--out", "scores.jsonl"]) == 3
    found = lines("scores.jsonl")
    assert (found["clips/a.wav"]["ok"], found["clips/missing.wav"]["error"]["type"]) == (True, "FileNotFoundError")


@pytest.mark.parametrize("arguments", [["-"], ["--list", "-"]])
def test_a_list_is_read_from_standard_input(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"clips/a.wav\0clips/face.jpg\0")))
    assert main(["batch", *arguments, "--out", "scores.jsonl"]) == 0
    assert sorted(lines("scores.jsonl")) == ["clips/a.wav", "clips/face.jpg"]


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        (["--csv", "rows.csv", "--id", "id", "--text", "text"], ["7", "8", "9"]),
        (["--csv", "rows.csv"], ["line 2", "line 3", "line 4"]),
        (["--jsonl", "rows.jsonl", "--id", "name", "--text", "said"], ["x", "y"]),
    ],
)
def test_rows_are_measured_by_their_texts(server: Emulator, arguments: list[str], keys: list[str]) -> None:
    Path("rows.csv").write_text(ROWS, "utf-8-sig")
    Path("rows.jsonl").write_text('{"name": "x", "said": "Oh no."}\n{"name": "y"}\n', "utf-8")
    assert main(["batch", *arguments, "--models", "language", "--out", "scores.jsonl"]) == 3
    found = lines("scores.jsonl")
    assert sorted(found) == keys
    assert [line["ok"] for _, line in sorted(found.items())] == [True] * (len(keys) - 1) + [False]


@pytest.mark.parametrize("source", ["paths", "standard input"])
def test_landmarks_are_json_and_arrays_of_numpy(
    server: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    numpy = pytest.importorskip("numpy")
    numpy.save(tmp_path / "two.npy", numpy.array(landmarks(2)))
    numpy.save(tmp_path / "few.npy", numpy.zeros((5, 3)))
    (tmp_path / "torn.npy").write_bytes(b"\x93NUMPY\x01")
    (tmp_path / "face.json").write_text(json.dumps(landmarks()), "utf-8")
    (tmp_path / "face.txt").write_text("[]", "utf-8")
    names = ["face.json", "face.txt", "few.npy", "torn.npy", "two.npy"]
    listed = "\n".join([*names, "none.npy"])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(listed.encode())))
    arguments = names if source == "paths" else ["-"]
    assert main(["batch", *arguments, "--landmarks", "--out", "scores.jsonl"]) == 3
    found = lines("scores.jsonl")
    assert [len(found[name]["reply"]["facemesh"]["predictions"]) for name in ("face.json", "two.npy")] == [1, 2]
    errors = {key: (line["error"]["type"], line["error"]["text"]) for key, line in found.items() if not line["ok"]}
    assert errors["face.txt"] == ("InputError", "face.txt is neither .json nor .npy (--landmarks)")
    assert errors["few.npy"][0] == "InputError"
    assert errors["torn.npy"][1].startswith("torn.npy holds no array of numbers: ")
    assert ("none.npy" in errors) == (source == "standard input")
    if "none.npy" in errors:
        assert errors["none.npy"][0] == "FileNotFoundError"


# --- results


def test_a_second_run_goes_on_and_the_failures_of_the_first_still_count(
    folder: Path, server: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["batch", "clips", "--out", "scores.jsonl", "--quiet"]
    assert main(arguments) == 3
    sent = server.journal.counts["requests"]
    capsys.readouterr()
    assert main(arguments) == 3
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("0 items: 0 measured, 0 failed; 5 done before, 1 of them failed")
    assert out[1] == "to measure again what failed before: add --retry-failed"
    assert server.journal.counts["requests"] == sent
    (folder / "empty.wav").write_bytes(tone(1.0))
    assert main([*arguments, "--retry-failed"]) == 0
    assert server.journal.counts["requests"] == sent + 1
    assert all(line["ok"] for line in lines("scores.jsonl").values())


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_is_written_from_the_lines_beside_it(folder: Path, kind: str, wide: bool) -> None:
    if kind == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
    out = f"scores.{kind}"
    for _ in range(2):  # the second run has nothing to measure, and writes the same
        assert main(["batch", "clips", "--out", out, "--quiet", *(["--wide"] if wide else [])]) == 3
        if kind == "csv":
            with Path(out).open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
        else:
            rows = parquet.read_table(out).to_pylist()
        assert {row["input"] for row in rows} == {"a.wav", "more/b.wav", "face.jpg", "day.txt"}
        assert ("Joy" in rows[0]) == wide
    assert len(read_results(f"{out}.jsonl")) == 5


def test_requests_are_limited_by_rate(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    class Counted:
        def __init__(self, *arguments: Any) -> None:
            given.append(arguments)

        def wait(self) -> float:
            return 0.0

        def start(self) -> None:
            pass

        def finish(self, requests: int) -> None:
            given.append(requests)

    monkeypatch.setattr("hume_sync.batch.runner.Pace", Counted)
    assert main(["batch", "clips/more", "--rate", "50", "--out", "scores.jsonl"]) == 0
    assert given == [(50.0, "requests")] * 2 + [2]


def test_large_images_are_scaled_when_asked_for(server: Emulator, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    frame = av.VideoFrame(3200, 16, "rgb24")
    codec = av.CodecContext.create("png", "w")
    codec.width, codec.height, codec.pix_fmt, codec.time_base = 3200, 16, "rgb24", 1
    packets = [*codec.encode(frame), *codec.encode(None)]
    (tmp_path / "wide.png").write_bytes(b"".join(map(bytes, packets)))
    assert main(["batch", "wide.png", "--out", "scores.jsonl"]) == 3
    assert main(["batch", "wide.png", "--out", "scores.jsonl", "--retry-failed", "--scale-images"]) == 0


# --- what ends a run

BAD: list[tuple[list[str], str]] = [
    ([], "name either paths, or one of --csv, --jsonl and --list"),
    (["clips", "--csv", "rows.csv"], "name either paths, or one of"),
    (["-", "--list", "list"], "name either paths, or one of"),
    (["--csv", "rows.csv", "--jsonl", "rows.csv"], "not allowed with argument"),
    (["--csv", "rows.csv", "--landmarks"], "--landmarks is for files"),
    (["--csv", "rows.csv", "--text", "words"], "words"),
    (["--csv", "none.csv"], "No such file or directory: 'none.csv'"),
    (["clips", "--id", "id"], "--id and --text name columns"),
    (["none"], "No such file or directory: 'none'"),
    (["*.mp3"], "no file matches this pattern: '*.mp3'"),
    (["--list", "none"], "No such file or directory: 'none'"),
    (["clips", "--models", "gesture"], "unknown model 'gesture'"),
    (["clips", "--workers", "0"], "workers must be"),
    (["clips", "--workers", "many"], "invalid int value"),
    (["clips", "--rate", "-1"], "rate_limit must be"),
    (["clips", "--window", "20"], "stream_window_ms must be"),
    (["clips", "--timeout", "0"], "timeout must be"),
    (["clips", "--patience", "-1"], "patience must be"),
    (["clips", "--url", "nonsense"], "base_url has no scheme"),
    (["clips", "--wide"], "--wide is for tables"),
    (["clips", "--out", "scores.txt"], "--out must end in .jsonl, .parquet or .csv, got 'scores.txt'"),
    (["clips", "--out", "folder.jsonl"], "results need a file, and this is a folder"),
    (["clips", "--out", "folder.csv"], "results need a file, and this is a folder: 'folder.csv'"),
    (["clips", "--out", "none/scores.jsonl"], "the folder for the results does not exist"),
    (["clips", "--out", "rows.jsonl"], "rows.jsonl"),
    (["--csv", "rows.csv", "--out", "rows.csv"], "'rows.csv' exists, and no earlier run has written it"),
]


@pytest.mark.parametrize(("arguments", "text"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_bad_use_is_one_line_and_status_2_and_nothing_is_sent(
    folder: Path, server: Emulator, capsys: pytest.CaptureFixture[str], arguments: list[str], text: str
) -> None:
    Path("rows.csv").write_text(ROWS, "utf-8")
    Path("rows.jsonl").write_text('{"text": "hello"}\n', "utf-8")
    Path("list").write_text("clips/a.wav\n", "utf-8")
    Path("folder.jsonl").mkdir()
    Path("folder.csv").mkdir()
    out = [] if "--out" in arguments else ["--out", "scores.jsonl"]
    assert main(["batch", *arguments, *out]) == 2
    shown, err = capsys.readouterr()
    assert not shown
    (line,) = err.splitlines()
    assert text in line
    assert Path("rows.csv").read_text("utf-8") == ROWS
    assert not server.journal.handshakes


def test_an_output_is_required(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["batch", "clips"]) == 2
    assert "--out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("module", "arguments", "text"),
    [
        ("pyarrow", ["--out", "scores.parquet"], '--out FILE.parquet needs hume_sync with the extra "arrow"'),
        ("distributed", ["--out", "out.jsonl", "--dask", "tcp://x:1"], '--dask needs hume_sync with the extra "dask"'),
        ("numpy", ["--out", "out.jsonl", "--landmarks", "a.npy"], 'a .npy file needs hume_sync with the extra "speed"'),
    ],
)  # fmt: skip
def test_a_missing_extra_is_named_before_anything_is_sent(
    folder: Path, server: Emulator, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    module: str, arguments: list[str], text: str,
) -> None:  # fmt: skip
    for name in [name for name in sys.modules if name == module or name.startswith(f"{module}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    Path("a.npy").touch()
    assert main(["batch", *([] if "a.npy" in arguments else ["clips"]), *arguments, "--quiet"]) == 2
    assert text in capsys.readouterr().err
    assert not server.journal.handshakes


def _refused(server: Emulator) -> None:
    server.refuse(401, times=99)


@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
@pytest.mark.parametrize(
    ("befall", "status", "text"),
    [(_refused, 2, "invalid API key"), (Emulator.close, 1, "cannot connect to 127.0.0.1")],
    ids=["wrong key", "server away"],
)
def test_a_wrong_key_and_a_server_that_is_away_end_the_run_in_one_line_and_burn_nothing(
    server: Emulator, capsys: pytest.CaptureFixture[str],
    befall: Callable[[Emulator], None], status: int, text: str, quiet: list[str],
) -> None:  # fmt: skip
    Path("rows.csv").write_text(ROWS.replace("9,c, \n", ""), "utf-8")
    befall(server)
    assert main(["batch", "--csv", "rows.csv", "--out", "scores.jsonl", *quiet]) == status
    out, err = capsys.readouterr()
    assert not out
    (line,) = err.splitlines()
    assert line.startswith("hume-sync: ")
    assert text in line
    assert "the-key" not in line
    assert lines("scores.jsonl") == {}


def test_two_runs_into_one_file_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ResultLog.open("scores.jsonl"):
        assert main(["batch", "clips", "--out", "scores.jsonl"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "another run writes to" in line


# --- in a process of its own


def start(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    """Start the command in a process of its own."""
    command = [sys.executable, "-m", "hume_sync", "batch", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, **options)


@pytest.mark.parametrize("out", ["scores.jsonl", "the scores.csv"])
def test_ctrl_c_in_mid_run_ends_it_at_once_and_prints_the_command_that_resumes(server: Emulator, out: str) -> None:
    rows = texts_file(30)
    with Emulator(latency=0.01) as slow:
        arguments = ["--jsonl", rows, "--out", out, "--url", slow.url, "--workers", "2", "--quiet"]
        with start(*arguments, stderr=subprocess.PIPE) as process:
            assert slow.journal.wait_for(lambda journal: journal.counts["requests"] > 5, timeout=20)
            process.send_signal(signal.SIGINT)
            shown, err = process.communicate(timeout=10)
        assert (process.returncode, shown) == (130, b"")
        (line,) = err.decode().splitlines()
        command = line.removeprefix("hume-sync: interrupted; to go on: ")
        assert command == shlex.join(["hume-sync", "batch", *arguments])
        held = out if out.endswith(".jsonl") else f"{out}.jsonl"
        done = lines(held)
        assert 0 < len(done) < 30
        assert all(result["ok"] for result in done.values())
        assert main(shlex.split(command)[1:]) == 0
        found = lines(held)
        assert len(found) == 30
        assert all(found[key] == line for key, line in done.items())


def test_ctrl_c_ends_requests_under_way(server: Emulator) -> None:
    rows = texts_file(9)
    with Emulator(latency=600) as slow:
        arguments = ["--jsonl", rows, "--out", "scores.jsonl", "--url", slow.url, "--timeout", "600", "--quiet"]
        with start(*arguments, stderr=subprocess.PIPE) as process:
            assert slow.journal.wait_for(lambda journal: journal.counts["handshakes"] == 8, timeout=20)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=10)
    assert (process.returncode, len(err.splitlines())) == (130, 1)
    assert lines("scores.jsonl") == {}


def test_ctrl_c_says_that_the_list_has_to_be_piped_again(
    server: Emulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Interrupted()))
    assert main(["batch", "-", "--out", "scores.jsonl"]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == (
        "hume-sync: interrupted; to go on, with the same list on standard input: hume-sync batch - --out scores.jsonl"
    )


def test_a_disk_that_fills_leaves_nothing_torn_and_the_next_run_completes(server: Emulator) -> None:
    rows = texts_file(20)
    arguments = ["--jsonl", rows, "--out", "scores.jsonl", "--quiet"]
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))  # noqa: E731
    with start(*arguments, stderr=subprocess.PIPE, preexec_fn=limit) as process:
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err.decode()) == (
        2,
        f"hume-sync: File too large: {str(Path('scores.jsonl').resolve())!r}\n",
    )
    assert 0 < len(lines("scores.jsonl")) < 20
    assert main(["batch", *arguments]) == 0
    assert len(lines("scores.jsonl")) == 20


def on_terminal(*arguments: str, prelude: str = "") -> str:
    """Return what the command shows on a terminal of 100 columns."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    code = f"import sys; {prelude}\nfrom hume_sync.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "batch", *arguments]
    shown = b""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, stderr=slave):
        os.close(slave)
        with contextlib.suppress(OSError):  # the terminal's other end is closed
            while block := os.read(master, 4096):
                shown += block
    os.close(master)
    return shown.decode()


def test_on_a_terminal_progress_is_a_bar_with_the_count_of_failures(folder: Path) -> None:
    pytest.importorskip("tqdm")
    shown = on_terminal("clips", "--out", "scores.jsonl")
    last = shown.replace("\r\n", "").split("\r")[-1]
    assert "100%" in last
    assert "5/5" in last
    assert "failed=1" in last
    assert " items/s" in last or "s/ items" in last


def test_on_a_terminal_without_tqdm_progress_is_lines(folder: Path) -> None:
    shown = on_terminal("clips", "--out", "scores.jsonl", prelude="sys.modules['tqdm'] = None")
    (line,) = shown.splitlines()
    assert line.startswith("hume-sync: 5 of 5 items, ")
    assert ", 1 failed" in line


def test_nothing_is_shown_when_quiet(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert on_terminal("clips", "--out", "scores.jsonl", "--quiet") == ""
    assert main(["batch", "clips", "--out", "other.jsonl", "--quiet"]) == 3
    assert not capsys.readouterr().err


def test_progress_is_lines_where_there_is_no_terminal(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["batch", "clips", "--out", "scores.jsonl"]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("hume-sync: 5 of 5 items, ")


# --- on a cluster


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of distributed's own
def test_a_dask_cluster_measures_the_same(server: Emulator) -> None:
    distributed = pytest.importorskip("distributed")
    rows = texts_file(20)
    assert main(["batch", "--jsonl", rows, "--out", "here.jsonl", "--quiet"]) == 0
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None, scheduler_port=0
    ) as cluster:
        arguments = ["--jsonl", rows, "--out", "there.jsonl", "--quiet", "--dask", cluster.scheduler_address]
        assert main(["batch", *arguments]) == 0
    here, there = lines("here.jsonl"), lines("there.jsonl")
    assert {key: line["hash"] for key, line in here.items()} == {key: line["hash"] for key, line in there.items()}
    assert all(here[key]["reply"]["language"] == line["reply"]["language"] for key, line in there.items())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_that_is_not_there_is_bad_configuration(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("distributed")
    assert main(["batch", "clips", "--out", "scores.jsonl", "--dask", "tcp://127.0.0.1:1", "--quiet"]) == 2
    assert "no Dask cluster at tcp://127.0.0.1:1" in capsys.readouterr().err.splitlines()[-1]
