from __future__ import annotations

import errno
import fcntl
import io
import os
import random
import signal
import stat
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from hume_sync import InputError, MisuseError
from hume_sync.batch import Result
from hume_sync.batch.result_log import ResultLog
from hume_sync.batch.results import read_results

from .support import HASH, failed, measured, words


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "scores.jsonl"


@pytest.fixture
def three(path: Path) -> Path:
    """A file with results of "a" and "c", and a failure of "b"."""
    write(path, measured("a"), failed("b"), measured("c"))
    return path


def write(path: Path, *results: Result) -> None:
    path.write_bytes(b"".join(result.to_line() for result in results))


def keys(path: Path) -> list[str]:
    """Return the keys of all lines, in order. Each must be complete."""
    return [Result.from_line(line).key for line in path.read_bytes().splitlines(keepends=True)]


def test_results_are_appended_and_found_again(path: Path) -> None:
    with ResultLog.open(path) as log:
        assert not log.is_done("a")
        log.append(measured("a"))
        log.append(failed("b"))
        assert log.is_done("a")
        assert log.is_done("b")
        assert (len(log), log.failed, log.path) == (2, 1, path)
    assert path.read_bytes() == measured("a").to_line() + failed("b").to_line()
    with ResultLog.open(str(path)) as log:
        assert [log.is_done(key) for key in "abc"] == [True, True, False]
        assert (log.hash_of("a"), log.hash_of("c")) == (HASH, None)
        log.append(measured("c"))
    assert keys(path) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "content_hash", [HASH, "", "0" * 32, "A" * 32, "12", "\u00e9" * 32, "0123 456789abcdef0123456789abcdef"]
)
def test_a_hash_comes_back_as_it_was(content_hash: str, path: Path) -> None:
    for _ in range(2):
        with ResultLog.open(path) as log:
            if not log.is_done("a"):
                log.append(measured("a", content_hash=content_hash))
            assert log.hash_of("a") == content_hash


def test_a_result_is_in_the_file_when_it_has_been_appended(path: Path) -> None:
    with ResultLog.open(path) as log:
        log.append(measured("a"))
        assert path.read_bytes() == measured("a").to_line()


def test_a_result_is_written_by_one_call(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    class Watched(io.FileIO):
        def write(self, content: object) -> int:
            written.append(bytes(content))  # type: ignore[call-overload]
            return super().write(content)  # type: ignore[arg-type]

    monkeypatch.setattr(io, "FileIO", Watched)
    with ResultLog.open(path) as log:
        log.append(measured("a"))
    assert written == [measured("a").to_line()]


def test_a_key_is_seen_from_the_second_time_it_is_asked_for_in_a_run(three: Path) -> None:
    for _ in range(2):
        with ResultLog.open(three) as log:
            assert [log.seen(key) for key in ("a", "x", "a", "x", "b")] == [False, False, True, True, False]
            assert not log.is_done("x")
            assert log.hash_of("a") == HASH
            log.append(measured("a"))
            assert log.seen("a")
            assert len(log) == 3


def test_failures_are_removed_to_be_taken_again(three: Path) -> None:
    with ResultLog.open(three, retry_failed=True) as log:
        assert keys(three) == ["a", "c"]
        assert [log.is_done(key) for key in "abc"] == [True, False, True]
        log.append(measured("b"))
    assert keys(three) == ["a", "c", "b"]


def test_a_result_is_superseded_by_a_later_one_of_its_key(three: Path) -> None:
    other = "f" * 32
    with ResultLog.open(three) as log:
        log.append(measured("a", content_hash=other))
        assert log.hash_of("a") == other
        assert keys(three) == ["a", "b", "c", "a"]
    assert keys(three) == ["b", "c", "a"]
    with ResultLog.open(three) as log:
        assert log.hash_of("a") == other


def test_a_failure_that_superseded_a_result_is_taken_again_alone(path: Path) -> None:
    write(path, measured("a"), measured("b"), failed("a"))
    with ResultLog.open(path, retry_failed=True) as log:
        assert not log.is_done("a")
    assert keys(path) == ["b"]


def test_superseded_lines_of_a_run_that_was_killed_are_removed_by_the_next(path: Path) -> None:
    write(path, measured("a"), measured("b"), failed("a"))
    with ResultLog.open(path):
        assert keys(path) == ["b", "a"]


def test_superseded_lines_stay_when_a_run_ends_by_an_exception(three: Path) -> None:
    with pytest.raises(KeyboardInterrupt), ResultLog.open(three) as log:
        log.append(measured("a"))
        raise KeyboardInterrupt
    assert keys(three) == ["a", "b", "c", "a"]


def test_offsets_are_right_after_a_file_was_written_again(path: Path) -> None:
    write(path, failed("a"), measured("b"), measured("c"))
    with ResultLog.open(path, retry_failed=True) as log:
        log.append(measured("c", content_hash="1" * 32))
        log.append(measured("a"))
    assert keys(path) == ["b", "c", "a"]
    assert [result.hash for result in read_results(path)] == [HASH, "1" * 32, HASH]


def test_a_file_that_is_written_again_keeps_its_permissions_and_the_link_to_it(three: Path, tmp_path: Path) -> None:
    three.chmod(0o640)
    link = tmp_path / "link.jsonl"
    link.symlink_to(three)
    with ResultLog.open(link, retry_failed=True):
        pass
    assert link.is_symlink()
    assert stat.S_IMODE(three.stat().st_mode) == 0o640
    assert keys(three) == ["a", "c"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["link.jsonl", "scores.jsonl"]


# --- torn and broken lines ---------------------------------------------------------------------------------


def test_a_last_line_that_is_torn_at_any_byte_is_dropped(path: Path) -> None:
    whole = measured("a").to_line() + measured("b").to_line()
    torn = failed("c").to_line()
    for length in range(len(torn) - 1):
        path.write_bytes(whole + torn[:length])
        with ResultLog.open(path) as log:
            assert not log.is_done("c")
            log.append(failed("c"))
        assert path.read_bytes() == whole + torn


def test_a_first_line_that_is_torn_at_any_byte_is_dropped(path: Path) -> None:
    torn = failed("c").to_line()
    for length in range(len(torn) - 1):
        path.write_bytes(torn[:length])
        assert list(read_results(path)) == []
        with ResultLog.open(path) as log:
            assert len(log) == 0
            assert path.read_bytes() == b""


def test_a_last_line_that_lacks_its_end_alone_is_completed(three: Path) -> None:
    whole = three.read_bytes()
    three.write_bytes(whole[:-1])
    assert [result.key for result in read_results(three)] == ["a", "b", "c"]
    with ResultLog.open(three) as log:
        assert log.is_done("c")
        log.append(measured("d"))
    assert three.read_bytes() == whole + measured("d").to_line()


@pytest.mark.parametrize(
    "torn", [b"\0" * 40, b"\0\n", b"{}\n", b'{"key":1}\n', b'{"key":"d","hash":"","ok":1}\n', b"\xff\n"]
)
def test_a_broken_last_line_is_dropped(torn: bytes, three: Path) -> None:
    whole = three.read_bytes()
    three.write_bytes(whole + torn)
    with ResultLog.open(three):
        assert three.read_bytes() == whole


def test_a_broken_line_before_others_is_named_and_nothing_is_changed(three: Path) -> None:
    lines = three.read_bytes().splitlines(keepends=True)
    broken = b"".join([lines[0], lines[1][:40] + b"\n", lines[2], lines[2][:20]])
    three.write_bytes(broken)
    with pytest.raises(InputError, match=r"^line 2 of '.*scores\.jsonl' holds no result of a batch$"):
        ResultLog.open(three, retry_failed=True)
    assert three.read_bytes() == broken


def test_blank_lines_are_skipped(three: Path) -> None:
    lines = three.read_bytes().splitlines(keepends=True)
    three.write_bytes(b"\n" + lines[0] + b" \n\n" + lines[1] + lines[2] + b"\n\n")
    assert [result.key for result in read_results(three)] == ["a", "b", "c"]
    with ResultLog.open(three) as log:
        assert len(log) == 3
        log.append(measured("d"))
    assert [result.key for result in read_results(three)] == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    "content",
    [b"notes of mine", b"RIFF\x24\0\0\0WAVE", b"key,text\n1,a\n", b"[1]\n", b'{"id": 1}', b'{"id": 1}\n{"id": 2}\n'],
)
def test_a_file_of_something_else_is_left_alone(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"scores\.jsonl' (is no file of results: it holds|holds no result)"):
        ResultLog.open(path)
    assert path.read_bytes() == content


# --- errors of the system ----------------------------------------------------------------------------------


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match=f"results need a file, and this is a folder: '{tmp_path}'"):
        ResultLog.open(tmp_path)


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"the folder for the results does not exist: '{tmp_path}/none'"):
        ResultLog.open(tmp_path / "none" / "scores.jsonl")


def test_a_device_is_refused() -> None:
    with pytest.raises(OSError, match="results need a regular file: '/dev/null'"):
        ResultLog.open("/dev/null")


@pytest.mark.parametrize("path", ["", b"scores.jsonl", None, 1, "a\0b"], ids=repr)
def test_what_is_no_path_is_refused(path: object) -> None:
    with pytest.raises(InputError, match="out must be the name of a file, got "):
        ResultLog.open(path)  # type: ignore[arg-type]


def test_a_folder_that_cannot_be_written_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, "FileIO", PermissionError(errno.EACCES, "Permission denied", str(path)))
    with pytest.raises(PermissionError, match=r"Permission denied: '.*scores\.jsonl'"):
        ResultLog.open(path)


def refuse(monkeypatch: pytest.MonkeyPatch, name: str, error: OSError) -> None:
    """Let a class of files fail when one is opened. (The superuser is refused nothing.)"""

    def opened(*args: object) -> None:
        raise error

    monkeypatch.setattr(io, name, opened)


@pytest.mark.usefixtures("errors_of_fakes_are_own")
def test_a_file_system_without_locks_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(file: object, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match=r"cannot lock the file \(No locks available\): '.*scores\.jsonl'"):
        ResultLog.open(path)


FULL = """
import resource, sys
from hume_sync.batch.result_log import ResultLog
from tests.batch.support import measured
with ResultLog.open(sys.argv[1]) as log:
    log.append(measured("a"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(measured("a").to_line()) + 100, -1))
    try:
        log.append(measured("b"))
    except OSError as exc:
        print(exc)
    print(log.is_done("b"), len(log))
    resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
    log.append(measured("c"))
"""


def test_a_line_for_which_there_is_no_room_is_removed_and_the_file_named(path: Path) -> None:
    done = python(FULL, path)
    assert done.stdout == f"[Errno 27] File too large: '{path}'\nFalse 1\n"
    assert keys(path) == ["a", "c"]


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)


@pytest.mark.usefixtures("errors_of_fakes_are_own")
def test_lines_stay_superseded_where_there_is_no_room_to_write_the_file_again(
    three: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with ResultLog.open(three) as log:
        log.append(measured("a"))
        refuse(monkeypatch, "FileIO", OSError(errno.ENOSPC, "No space left on device"))
    assert keys(three) == ["a", "b", "c", "a"]
    assert caplog.messages == [f"superseded lines stay in {str(three)!r}: No space left on device"]
    assert os.listdir(three.parent) == [three.name]


def test_an_exception_of_a_signal_handler_is_not_taken_for_one_of_the_disk(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Struck(io.FileIO):
        def write(self, content: object) -> int:
            super().write(bytes(content)[:50])  # type: ignore[call-overload]
            raise TimeoutError("time is over")

    monkeypatch.setattr(io, "FileIO", Struck)
    log = ResultLog.open(path)
    with log, pytest.raises(TimeoutError, match="^time is over$"):
        log.append(measured("a"))
    assert path.read_bytes() == b""


def test_a_line_that_was_written_before_a_signal_came_is_counted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Struck(io.FileIO):
        def write(self, content: object) -> int:
            super().write(content)  # type: ignore[arg-type]
            raise KeyboardInterrupt

    monkeypatch.setattr(io, "FileIO", Struck)
    with ResultLog.open(path) as log:
        with pytest.raises(KeyboardInterrupt):
            log.append(measured("a"))
        assert log.is_done("a")
    assert keys(path) == ["a"]


def test_a_log_that_is_closed_takes_no_result(path: Path) -> None:
    log = ResultLog.open(path)
    log.close()
    log.close()
    with pytest.raises(MisuseError, match="^the file of results is closed$"):
        log.append(measured("a"))


# --- the lock ----------------------------------------------------------------------------------------------

IN_USE = r"^another run writes to '.*scores\.jsonl': wait for its end, or take another file$"


def test_a_second_log_of_a_file_is_refused_until_the_first_is_closed(three: Path) -> None:
    with ResultLog.open(three) as log:
        for _ in range(2):
            with pytest.raises(InputError, match=IN_USE):
                ResultLog.open(three)
            log.append(measured("d"))
            assert [result.key for result in read_results(three)] == ["a", "b", "c", "d"]
    with ResultLog.open(three):
        pass


def test_the_lock_is_kept_when_the_file_is_written_again(three: Path) -> None:
    with ResultLog.open(three, retry_failed=True):
        with pytest.raises(InputError, match=IN_USE):
            ResultLog.open(three)


def test_a_file_that_is_replaced_while_it_is_opened_is_opened_again(
    three: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = three.with_name("other")
    write(other, measured("new"))

    class Late(io.FileIO):
        def __init__(self, name: str, mode: str) -> None:
            super().__init__(name, mode)
            if other.exists():
                other.replace(three)

    monkeypatch.setattr(io, "FileIO", Late)
    with ResultLog.open(three) as log:
        assert (log.is_done("new"), log.is_done("a")) == (True, False)
        log.append(measured("d"))
    assert keys(three) == ["new", "d"]


def test_a_log_that_could_not_be_opened_leaves_no_lock(three: Path) -> None:
    whole = three.read_bytes()
    three.write_bytes(b"{}\n" + whole)
    with pytest.raises(InputError, match="line 1"):
        ResultLog.open(three)
    three.write_bytes(whole)
    with ResultLog.open(three):
        pass


HOLDS = """
import os, signal, sys
from hume_sync.batch.result_log import ResultLog
from tests.batch.support import measured
log = ResultLog.open(sys.argv[1])
log.append(measured("a"))
reads, writes = os.pipe()
if len(sys.argv) > 2 and os.fork() == 0:
    os.close(writes)
    try:
        log.append(measured("b"))
    except Exception as exc:
        print(f"{type(exc).__name__}: {exc}")
    print("ready", flush=True)
    os.read(0, 1)  # lives on when its parent is killed
    os._exit(0)
if len(sys.argv) == 2:
    print("ready", flush=True)
os.close(reads)
signal.pause()
"""


@pytest.mark.parametrize("forks", [False, True])
def test_another_process_is_refused_until_the_first_is_killed_though_a_forked_worker_lives_on(
    forks: bool, path: Path
) -> None:
    command = [sys.executable, "-W", "error", "-c", HOLDS, str(path), *(["fork"] if forks else [])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if forks:
                text = "MisuseError: results can be written only by the process that opened the file\n"
                assert process.stdout.readline() == text
            assert process.stdout.readline() == "ready\n"
            with pytest.raises(InputError, match=IN_USE):
                ResultLog.open(path)
        finally:
            process.kill()
            process.wait()
        with ResultLog.open(path) as log:
            assert log.is_done("a")
    assert keys(path) == ["a"]


# --- kill -9 -----------------------------------------------------------------------------------------------

KILLED_IN_A_LINE = """
import io, os, signal, sys
from hume_sync.batch import result_log
from tests.batch.support import measured

class Torn(io.FileIO):
    count = 0

    def write(self, content):
        Torn.count += 1
        if Torn.count == 2:
            super().write(bytes(content)[: int(sys.argv[2])])
            os.kill(os.getpid(), signal.SIGKILL)
        return super().write(content)

result_log.io.FileIO = Torn
with result_log.ResultLog.open(sys.argv[1]) as log:
    for key in "abc":
        log.append(measured(key))
"""


@pytest.mark.parametrize("written", [0, 60, -1, 1 << 20])
def test_a_run_that_is_killed_in_a_line_leaves_the_others(written: int, path: Path) -> None:
    command = [sys.executable, "-c", KILLED_IN_A_LINE, str(path), str(written)]
    assert subprocess.run(command, check=False, timeout=20).returncode == -signal.SIGKILL
    finish(path, ["a", "b", "c"], done=["a", "b"] if written in {-1, 1 << 20} else ["a"])


def finish(path: Path, items: list[str], done: list[str]) -> None:
    """Resume a run: what is done is as given, and in the end every item is there once."""
    with ResultLog.open(path) as log:
        assert [key for key in items if log.is_done(key)] == done
        for key in items:
            if not log.is_done(key):
                log.append(measured(key))
    assert path.read_bytes() == b"".join(measured(key).to_line() for key in items)


KILLED_WHILE_WRITING_AGAIN = """
import os, signal, sys
from pathlib import Path
from hume_sync.batch import result_log

def kill(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

place, name = sys.argv[2].split(".")
setattr({"os": result_log.os, "Path": Path}[place], name, kill)
result_log.ResultLog.open(sys.argv[1], retry_failed=True)
"""


@pytest.mark.parametrize("place", ["os.fchmod", "os.fsync", "Path.replace"])
def test_a_run_that_is_killed_while_it_writes_the_file_again_loses_nothing(place: str, three: Path) -> None:
    before = three.read_bytes()
    done = subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING_AGAIN, three, place], check=False, timeout=20)
    assert done.returncode == -signal.SIGKILL
    assert three.read_bytes() == before
    assert len(os.listdir(three.parent)) == 2
    with ResultLog.open(three, retry_failed=True):
        assert keys(three) == ["a", "c"]
    assert os.listdir(three.parent) == [three.name]


WRITES = """
import sys
from hume_sync.batch.result_log import ResultLog
from tests.batch.support import measured, words
results = [measured(f"{place}", words(f"{place}", 60)) for place in range(20)]
with ResultLog.open(sys.argv[1]) as log:
    for result in results:
        if not log.is_done(result.key):
            log.append(result)
            print(result.key, flush=True)
"""


@pytest.mark.slow
def test_a_run_that_is_killed_at_random_moments_and_resumed_has_each_item_once(path: Path) -> None:
    moments = random.Random(14)
    acknowledged: set[str] = set()
    for _ in range(12):
        with subprocess.Popen([sys.executable, "-c", WRITES, path], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(moments.randrange(3)):
                acknowledged.add(process.stdout.readline().strip())
            process.kill()
            acknowledged |= set(process.stdout.read().split())
        complete = [result.key for result in read_results(path)] if path.exists() else []
        assert acknowledged - {""} <= set(complete)
        assert len(set(complete)) == len(complete)
    python(WRITES, path)
    assert path.read_bytes() == b"".join(measured(f"{n}", words(f"{n}", 60)).to_line() for n in range(20))


# --- size --------------------------------------------------------------------------------------------------


def test_ten_thousand_results_take_little_memory(path: Path) -> None:
    line = failed("key-00000").to_line()
    path.write_bytes(b"".join(line.replace(b"key-00000", b"key-%05d" % place) for place in range(10_000)))
    tracemalloc.start()
    try:
        with ResultLog.open(path) as log:
            held, _ = tracemalloc.get_traced_memory()
            assert len(log) == 10_000
    finally:
        tracemalloc.stop()
    assert held < 3_000_000


def test_many_threads_append_whole_lines(path: Path) -> None:
    def work(log: ResultLog, thread: int) -> None:
        for place in range(20):
            log.append(measured(f"{thread}-{place}"))

    with ResultLog.open(path) as log:
        threads = [threading.Thread(target=work, args=(log, number)) for number in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(log) == 100
    assert sorted(keys(path)) == sorted(f"{thread}-{place}" for thread in range(5) for place in range(20))


@pytest.fixture(autouse=True)
def _nothing_is_left_open() -> Iterator[None]:
    before = set(os.listdir("/dev/fd"))
    yield
    assert len(set(os.listdir("/dev/fd")) - before) <= 1  # that of the listing
