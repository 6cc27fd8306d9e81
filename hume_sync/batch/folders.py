"""Files as items: folders are walked and glob patterns expanded while the files are measured."""

from __future__ import annotations

import errno
import fnmatch
import glob
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

from ..errors import InputError, short_repr
from ..net.interrupts import from_handler
from ..reprs import safe_repr
from .item import Item, Source
from .keys import printable_key

__all__ = ["files"]

_StrPath = str | os.PathLike[str]

_ANY_FOLDERS: Final = "**"


def files(*paths: _StrPath, pattern: str | None = None) -> Source:
    r"""Return files as items: folders are walked, glob patterns expanded.

    The key of a file is its POSIX path relative to the folder it was found in: the one that is given, the one in front
    of the first wildcard, or that of a single file. If the arguments have different folders, each key begins with as
    many last parts of its folder's path as tell them apart: ``files("a/clips", "b/clips")`` gives "a/clips/1.wav" and
    "b/clips/1.wav". In keys, bytes that are not UTF-8 are written as ``\xff``, control characters as ``\u000a``, and a
    backslash as two.

    Files come in the order of their names, folder by folder; only the names in one folder are held in memory. Links are
    followed. A link to a folder that it lies in, and a folder that cannot be read, are items of kind "rejected". A file
    that two arguments name comes once.

    Args:
        *paths: Files, folders, and patterns (str) such as "clips/*.wav" or "clips/**/*.mp3". A folder that a pattern
            matches is walked.
        pattern: Only files whose name matches, such as "*.wav"; case counts. It does not concern files that are given
            themselves. Names that begin with a dot are skipped, unless they are given or a pattern begins with one.

    Returns:
        The items.

    Raises:
        OSError: A path does not exist, or cannot be looked at, or a pattern matches nothing; raised at once.
        InputError: There is no path, or one is none; or the pattern is not one of names. Raised at once.
    """
    if not paths:
        raise InputError("files needs a path: of a file or a folder, or a pattern such as 'clips/*.wav'")
    if pattern is not None and (not isinstance(pattern, str) or not pattern or "/" in pattern):
        example = "such as '*.wav'; patterns of paths are given as paths: files('clips/**/*.wav')"
        raise InputError(f"pattern must be one of names, {example}; got {short_repr(pattern)}")
    roots = [_Root.of(path, pattern) for path in paths]
    return Source(lambda: _items(roots, _prefixes(roots)))


@safe_repr
@attrs.frozen
class _Root:
    """An argument of `files`."""

    folder: str
    """The folder that keys are relative to, as given."""
    real: str
    """The same without links."""
    file: str = ""
    """The name of a single file; "" for folders and patterns."""
    wildcards: tuple[str, ...] = ()
    """The parts of a pattern of paths, from its first wildcard."""
    names: str | None = None
    """The pattern of names."""

    @classmethod
    def of(cls, path: object, names: str | None) -> _Root:
        if not isinstance(path, str | os.PathLike) or not isinstance(text := os.fspath(path), str) or not text:
            raise InputError(f"a path must be a str or a path object that is not empty, got {short_repr(path)}")
        try:
            is_folder = stat.S_ISDIR(Path(text).stat().st_mode)
        except ValueError as exc:  # a NUL
            if from_handler(exc):
                raise
            raise InputError(f"the path {text!r:.200} cannot exist: {exc}") from None
        except OSError as exc:
            if from_handler(exc):
                raise
            if isinstance(path, str) and isinstance(exc, FileNotFoundError) and glob.has_magic(path):
                return cls._of_pattern(path, names)
            if not Path(text).is_symlink():
                raise
            is_folder = False  # a link to nothing: an item that fails
        if is_folder:
            return cls(text, os.path.realpath(text), names=names)
        folder, name = os.path.split(text)
        folder = folder or os.curdir
        return cls(folder, os.path.realpath(folder), name)

    @classmethod
    def _of_pattern(cls, path: str, names: str | None) -> _Root:
        parts = path.split("/")
        count = next(count for count, part in enumerate(parts) if glob.has_magic(part))
        folder = "/".join(parts[:count]) or ("/" if path.startswith("/") else os.curdir)
        root = cls(folder, os.path.realpath(folder), "", tuple(part for part in parts[count:] if part), names)
        if not Path(folder).is_dir() or next(_walk(root), None) is None:
            raise FileNotFoundError(errno.ENOENT, "no file matches this pattern", path)
        return root

    def found(self) -> Iterator[tuple[str, Path | OSError]]:
        """Yield the files by their paths relative to the folder; errors in place of what cannot be walked."""
        if self.file:
            yield self.file, Path(self.folder, self.file)
        else:
            yield from _walk(self)

    def holds(self, path: str) -> bool:
        """Return whether a walk finds the file of this path, which has no links up to the folder of keys."""
        begin = self.real.rstrip("/") + "/"
        if not path.startswith(begin):
            return False
        *folders, name = path[len(begin) :].split("/")
        states = self.start()
        for folder in folders:
            states = self.entered(states, folder)
        return self.takes(states, name)

    def start(self) -> frozenset[int]:
        """Return the states of the search in the first folder: how many parts of the wildcards are matched."""
        return self._closed({0})

    def entered(self, states: frozenset[int], name: str) -> frozenset[int]:
        """Return the states in a folder of this name; none if nothing below it can match."""
        following = set()
        for state in states:
            part = self.wildcards[state] if state < len(self.wildcards) else _ANY_FOLDERS
            if part == _ANY_FOLDERS:
                following |= set() if name.startswith(".") else {state}
            elif _matches(name, part):
                following.add(state + 1)
        return self._closed(following)

    def takes(self, states: frozenset[int], name: str) -> bool:
        """Return whether a file of this name is taken."""
        if len(self.wildcards) not in self.entered(states, name) and not (
            self.names is not None and self.names.startswith(".") and len(self.wildcards) in states
        ):
            return False
        return self.names is None or _matches(name, self.names)

    def _closed(self, states: set[int]) -> frozenset[int]:
        """Add the states that are reached because "**" also matches no folder."""
        for state in range(len(self.wildcards)):
            if state in states and self.wildcards[state] == _ANY_FOLDERS:
                states.add(state + 1)
        return frozenset(states)


def _matches(name: str, pattern: str) -> bool:
    return (pattern.startswith(".") or not name.startswith(".")) and fnmatch.fnmatchcase(name, pattern)


def _prefixes(roots: list[_Root]) -> dict[str, str]:
    """Return what keys begin with, by real folder: as many last parts of their paths as tell them apart."""
    parts: dict[str, list[str]] = {}
    for root in roots:
        absolute = os.path.abspath(root.folder)  # noqa: PTH100 - Path.absolute leaves ".." in it
        parts.setdefault(root.real, [part for part in absolute.split("/") if part])
    if len(parts) == 1:
        return dict.fromkeys(parts, "")
    longest = max(map(len, parts.values()))
    for count in range(1, longest + 1):
        short = {real: "/".join(names[-count:]) for real, names in parts.items()}
        if len(set(short.values())) == len(short):
            break
    return {real: f"{prefix}/" if prefix else "" for real, prefix in short.items()}


def _items(roots: list[_Root], prefixes: dict[str, str]) -> Iterator[Item]:
    single: set[str] = set()
    walked: list[_Root] = []
    for root in roots:
        for relative, content in root.found():
            path = root.real.rstrip("/") + "/" + relative
            if path in single or any(each.holds(path) for each in walked):
                continue
            key = printable_key(prefixes[root.real] + relative)
            yield Item(key, "rejected" if isinstance(content, OSError) else "file", content)
        if root.file:
            single.add(root.real.rstrip("/") + "/" + root.file)
        else:
            walked.append(root)


@safe_repr
@attrs.frozen
class _Folder:
    """A folder that is being walked."""

    relative: str
    """Path from the first one, with a slash at its end; "" for the first."""
    identity: tuple[int, int]
    """Device and inode."""
    states: frozenset[int]
    names: Iterator[str] = attrs.field(repr=False)


def _walk(root: _Root) -> Iterator[tuple[str, Path | OSError]]:
    top = Path(root.folder)
    entered = _enter(top, "", root.start())
    if isinstance(entered, OSError):
        yield Path(root.real).name or "/", entered
        return
    above = [entered]
    while above:
        folder = above[-1]
        name = next(folder.names, None)
        if name is None:
            above.pop()
            continue
        relative = folder.relative + name
        path = top / relative
        try:
            status = path.stat()
        except OSError as exc:
            if from_handler(exc):
                raise
            if root.takes(folder.states, name):
                yield relative, exc.with_traceback(None)
            continue
        if not stat.S_ISDIR(status.st_mode):
            if root.takes(folder.states, name):
                yield relative, path
        elif states := root.entered(folder.states, name):
            if (status.st_dev, status.st_ino) in [each.identity for each in above]:
                yield relative, OSError(errno.ELOOP, "a link to a folder that it lies in", str(path))
            elif isinstance(entered := _enter(path, f"{relative}/", states), OSError):
                yield relative, entered
            else:
                above.append(entered)


def _enter(path: Path, relative: str, states: frozenset[int]) -> _Folder | OSError:
    """List a folder."""
    try:
        status = path.stat()
        with os.scandir(path) as entries:
            names = sorted(entry.name for entry in entries)
    except OSError as exc:
        if from_handler(exc):
            raise
        return exc.with_traceback(None)
    return _Folder(relative, (status.st_dev, status.st_ino), states, iter(names))
