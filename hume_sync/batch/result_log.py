"""The file of a run's results, to which each is appended as it comes."""

from __future__ import annotations

import errno
import fcntl
import io
import logging
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from ..errors import InputError, MisuseError
from ..locks import make_lock
from ..net import fork
from ..net.interrupts import from_outside
from ..net.validation import to_bool
from .item import Result
from .result_lines import ResultLine, read_lines
from .whole_file import real_path

__all__ = ["ResultLog"]

_log = logging.getLogger("hume_sync.batch")

_DIGEST: Final = re.compile(r"[0-9a-f]{32}")

_DONE: Final = 1
_OK: Final = 2
_HEX: Final = 4
_SEEN: Final = 8
_EMULATED: Final = 16
"""Flags in the first byte of what is known of a key. Eight bytes are the offset of its last line, the rest its hash
(the digits of most are kept as the bytes that they stand for). An object for each would take three times the memory."""


class ResultLog:
    """A file of results as JSON lines, written by one run at a time. A ``with`` statement opens, locks and reads it.

    Every result is one line, written by one call of the system: a run that is killed leaves at most its last line
    incomplete, and that is removed when the file is opened again. Of several lines with one key the last is valid; the
    others are removed when the file is closed, or opened again.

    The file is locked (``flock``) until it is closed or the process ends. Forked processes do not keep the lock, unless
    the fork is made behind Python's back; nor can they use the object. A file that is rewritten is replaced by a new
    one, locked before it gets the name.

    All methods can be called from any thread.

    Args:
        path: The file. Its folder must exist.
        resume: Whether what is done is kept; if False, all results are removed.
        retry_failed: Whether the results of items that failed are removed, so that they are taken again.
        settings: Those of the run, as of `Result`. Results that are kept must have the same, or none.

    Raises:
        InputError: An argument is not usable.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        resume: bool = True,
        retry_failed: bool = False,
        settings: str | None = None,
    ) -> None:
        self._path = real_path(path, argument="out")
        self._resumes = to_bool("resume", resume)
        self._retries = to_bool("retry_failed", retry_failed)
        self._settings = settings
        self._emulated: bool | None = None  # as the results that were measured; None before the first
        self._is_new = True
        self._opening: list[io.FileIO] = []  # which keeps them where a signal handler raises
        self._file: io.FileIO | None = None
        self._new_file: io.FileIO | None = None
        self._known: dict[str, bytes] = {}
        self._superseded = 0
        self._end = 0
        self._pending: ResultLine | None = None  # the line that is being written
        self._lock = make_lock()
        self._pid = os.getpid()
        fork.register(self)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        resume: bool = True,
        retry_failed: bool = False,
        settings: str | None = None,
    ) -> Self:
        """Open or create a file, lock it, and read what is done.

        Args:
            path: As for the class, like all that follow.
            resume: Whether what is done is kept.
            retry_failed: Whether failed items are taken again.
            settings: Those of the run.

        Raises:
            InputError: As for `__enter__`.
            OSError: As for `__enter__`.
        """
        return cls(path, resume=resume, retry_failed=retry_failed, settings=settings).__enter__()

    def __enter__(self) -> Self:
        """Open or create the file, lock it, and read what is done, unless `open` has.

        Raises:
            InputError: Another run writes to the file, it holds something else than results, or a line that others
                follow is broken, or results of other settings. Nothing was changed.
            OSError: It cannot be opened, written or locked.
        """
        if not self._is_new:
            return self
        try:
            self._is_new = False
            self._file = _open_locked(self._path, self._opening)
            self._load()
            if not self._resumes:
                self._clear()
            if self._superseded or (self._retries and self.failed):
                self._rewrite(keep_failed=not self._retries)
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.close(compact=kind is None)
        except BaseException:  # of a signal handler, before anything was closed
            self._release()
            raise

    def __len__(self) -> int:
        """Return the number of items that are done, failed ones included."""
        return sum(1 for known in list(self._known.values()) if known[0] & _DONE)

    @property
    def failed(self) -> int:
        """The number of items that failed."""
        return sum(1 for known in list(self._known.values()) if known[0] & (_DONE | _OK) == _DONE)

    @property
    def path(self) -> Path:
        """The file, absolute and without symbolic links."""
        return Path(self._path)

    def is_done(self, key: str) -> bool:
        """Return whether the file holds a result of this key."""
        return bool(self._known.get(key, b"\0")[0] & _DONE)

    def has_failed(self, key: str) -> bool:
        """Return whether the file holds a result of this key, and it is a failure."""
        return self._known.get(key, b"\0")[0] & (_DONE | _OK) == _DONE

    def is_emulated(self, key: str) -> bool:
        """Return whether the file holds a result of this key that the local server has invented."""
        return bool(self._known.get(key, b"\0")[0] & _EMULATED)

    def hash_of(self, key: str) -> str | None:
        """Return the hash of the content that was measured; None where the key is not done."""
        known = self._known.get(key)
        if known is None or not known[0] & _DONE:
            return None
        return known[9:].hex() if known[0] & _HEX else known[9:].decode("utf-8", "surrogatepass")

    def seen(self, key: str) -> bool:
        """Return whether this was asked of the key before in this run. Ask once an item, to find keys used twice."""
        with self._lock:
            known = self._known.get(key, b"\0")
            self._known[key] = bytes([known[0] | _SEEN]) + known[1:]
            return bool(known[0] & _SEEN)

    def append(self, result: Result) -> None:
        """Write a result.

        Raises:
            InputError: The file holds invented scores of the local server and this is a measurement, or the reverse.
            MisuseError: The log is closed, or was opened by another process.
            OSError: The line could not be written: the disk is full, for one. Nothing of it is left in the file.
        """
        content = result.to_line()
        self._check_process()
        with self._lock:
            file = self._opened()
            self._settle(file)
            self._check_source(result)
            emulated = result.ok and result.emulated
            self._pending = ResultLine(0, self._end, content, result.key, result.hash, result.ok, emulated)
            rest = memoryview(content)
            with self._named_errors():
                try:
                    while rest:
                        rest = rest[file.write(rest) or 0 :]
                finally:
                    self._settle(file)

    def close(self, *, compact: bool = True) -> None:
        """Write the file through to the disk, close it and release the lock. May be called again.

        Args:
            compact: Whether superseded lines are removed, for which the file is written again.
        """
        self._check_process()
        with self._lock:
            file = self._file
            if file is None:
                return
            try:
                with self._named_errors():
                    self._settle(file)
                    os.fsync(file.fileno())
                if compact and self._superseded:
                    self._compact()
            finally:
                self._release()

    def release_after_fork(self, *, hooked: bool) -> None:
        """In a child: close the file, which would else stay locked for as long as the child runs."""
        if hooked:
            self._release()

    def _compact(self) -> None:
        try:
            self._rewrite(keep_failed=True)
        except OSError as exc:
            if from_outside(exc):
                raise
            # Nothing is lost: readers take the last line, and the next run tries again.
            _log.warning("superseded lines stay in %r: %s", self._path, exc.strerror)

    def _check_source(self, result: Result) -> None:
        if result.ok and self._emulated is not None and self._emulated != result.emulated:
            kinds = "measurements", "scores that the local server has invented"
            raise InputError(
                f"{self._path!r} holds {kinds[self._emulated]}, and this server returns {kinds[result.emulated]}:"
                " take another file, or empty this one with resume=False"
            )

    def _check_settings(self, line: ResultLine) -> None:
        if self._settings is not None and line.settings is not None and line.settings != self._settings:
            raise InputError(
                f"{self._path!r} holds results of other models or options ({line.settings:.300}, now"
                f" {self._settings:.300}): take another file, or empty this one with resume=False"
            )

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise MisuseError("results can be written only by the process that opened the file")

    def _opened(self) -> io.FileIO:
        if self._file is None:
            raise MisuseError("the file of results is closed")
        return self._file

    def _release(self) -> None:
        for file in (self._new_file, self._file, *self._opening):
            if file is not None:
                file.close()
        self._file = self._new_file = None
        self._opening.clear()

    def _load(self) -> None:
        """Read what is done, and remove a last line that is torn."""
        file = self._opened()
        end, whole = 0, True
        with open(file.fileno(), "rb", closefd=False) as reader:
            reader.seek(0)
            for line in read_lines(reader, self._path, thorough=True):
                if self._resumes and (line.ok or not self._retries):
                    self._check_settings(line)
                self._note(line)
                end, whole = line.end, line.content.endswith(b"\n")
        with self._named_errors():
            if os.fstat(file.fileno()).st_size != end:
                file.truncate(end)
            if not whole:  # an editor's doing, or torn just there
                file.write(b"\n")
                end += 1
        self._end = end

    def _clear(self) -> None:
        with self._named_errors():
            self._opened().truncate(0)
        self._known, self._end, self._superseded, self._emulated = {}, 0, 0, None

    def _note(self, line: ResultLine) -> None:
        before = self._known.get(line.key, b"\0")[0]
        if before & _DONE:
            self._superseded += 1
        flags = _DONE | (before & _SEEN) | (_OK if line.ok else 0) | (_EMULATED if line.emulated else 0)
        if line.ok:
            self._emulated = line.emulated
        if _DIGEST.fullmatch(line.hash):
            flags |= _HEX
            content_hash = bytes.fromhex(line.hash)
        else:
            content_hash = line.hash.encode("utf-8", "surrogatepass")
        self._known[line.key] = bytes([flags]) + line.begin.to_bytes(8, "little") + content_hash

    def _settle(self, file: io.FileIO) -> None:
        """Take note of the line that was being written if all of it is in the file, else remove it.

        An exception of a signal handler may have ended the call that wrote it at any moment.
        """
        pending = self._pending
        if pending is None:
            return
        if os.fstat(file.fileno()).st_size >= pending.end:
            self._note(pending)
            self._end = pending.end
        else:
            file.truncate(self._end)
        self._pending = None

    def _rewrite(self, *, keep_failed: bool) -> None:
        """Replace the file by one that has the last line of each key only."""
        old = self._opened()
        folder, name = os.path.split(self._path)
        new_path = os.path.join(folder, f".{name}.rewrite")  # noqa: PTH118 - a str as all here
        with self._named_errors():
            Path(new_path).unlink(missing_ok=True)  # of a run that was killed: this one holds the lock
            try:
                new = self._new_file = _open_new(new_path, old, self._opening)
                known, end = self._copy_last_lines(old, new, keep_failed=keep_failed)
                os.fsync(new.fileno())
                Path(new_path).replace(self._path)
            except BaseException:
                Path(new_path).unlink(missing_ok=True)
                raise
            self._file, self._new_file = new, None
            self._known, self._end, self._superseded = known, end, 0
            old.close()
            _sync_folder(folder)

    def _copy_last_lines(self, old: io.FileIO, new: io.FileIO, *, keep_failed: bool) -> tuple[dict[str, bytes], int]:
        """Copy lines to a new file; return what is known of their keys, and the end."""
        kept = {key: known[:1] for key, known in self._known.items() if not known[0] & _DONE}
        end = 0
        with (
            open(old.fileno(), "rb", closefd=False) as reader,
            open(new.fileno(), "ab", closefd=False) as writer,
        ):
            reader.seek(0)
            for line in read_lines(reader, self._path, thorough=False):
                known = self._known[line.key]
                if int.from_bytes(known[1:9], "little") != line.begin:
                    continue
                if keep_failed or line.ok:
                    writer.write(line.content)
                    kept[line.key] = known[:1] + end.to_bytes(8, "little") + known[9:]
                    end += len(line.content)
                elif known[0] & _SEEN:
                    kept[line.key] = bytes([_SEEN])
        return kept, end

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Put the name of the file into an error of the system that lacks one."""
        try:
            yield
        except OSError as exc:
            if from_outside(exc) or exc.filename is not None:
                raise
            raise OSError(exc.errno, exc.strerror, self._path) from None


def _open_into(files: list[io.FileIO], path: str) -> io.FileIO:
    """Open a file to append, and keep it in the list."""
    # ``extend`` opens it itself, and no Python code runs in between where a signal handler could.
    files.extend(map(io.FileIO, [path], ["a+"]))
    return files[-1]


def _open_locked(path: str, files: list[io.FileIO]) -> io.FileIO:
    """Open a file to append, and lock it. It is the one of that name at that moment, not one just replaced."""
    while True:
        _check_regular(path)
        file = _open_into(files, path)
        try:
            _lock(file, path)
            with_name = Path(path).stat()
            if os.path.samestat(with_name, os.fstat(file.fileno())):
                return file
        except FileNotFoundError:  # moved away meanwhile
            pass
        except BaseException:
            file.close()
            raise
        file.close()


def _check_regular(path: str) -> None:
    folder = os.path.dirname(path)  # noqa: PTH120 - a str as all here
    if not os.path.isdir(folder):  # noqa: PTH112 - likewise
        raise FileNotFoundError(errno.ENOENT, "the folder for the results does not exist", folder)
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "results need a file, and this is a folder", path)
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "results need a regular file", path)


def _lock(file: io.FileIO, path: str) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(f"another run writes to {path!r}: wait for its end, or take another file") from None
    except OSError as exc:
        if from_outside(exc):
            raise
        raise OSError(exc.errno, f"the file system cannot lock the file ({exc.strerror})", path) from None


def _open_new(path: str, old: io.FileIO, files: list[io.FileIO]) -> io.FileIO:
    """Create a file with the owner and the permissions of another, and lock it."""
    file = _open_into(files, path)
    try:
        _lock(file, path)
        status = os.fstat(old.fileno())
        os.fchmod(file.fileno(), stat.S_IMODE(status.st_mode))
        try:
            os.fchown(file.fileno(), status.st_uid, status.st_gid)
        except PermissionError as exc:  # another user's file, which this one's group may write
            if from_outside(exc):
                raise
    except BaseException:
        file.close()
        raise
    return file


def _sync_folder(folder: str) -> None:
    """Write the new name through to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
