"""Files that are there in full or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ..errors import InputError, short_repr
from ..net.interrupts import from_handler

__all__ = ["real_path", "whole_file"]


def real_path(path: str | os.PathLike[str], *, argument: str = "path") -> str:
    """Return the path of a file, absolute and without symbolic links.

    Args:
        path: The path.
        argument: What errors call it.

    Raises:
        InputError: It is no path, or an empty one.
    """
    try:
        text = os.fspath(path)
        if isinstance(text, str) and text:
            return os.path.realpath(text)
    except (TypeError, ValueError) as exc:
        if from_handler(exc):
            raise
    raise InputError(f"{argument} must be the name of a file, got {short_repr(path)}")


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Write a file that gets its name, and takes the place of another, only when all of it is written.

    A device or a named pipe is written directly.

    Raises:
        InputError: ``path`` is no path.
        OSError: The file cannot be written.
    """
    target = Path(real_path(path))
    if target.exists() and not target.is_file() and not target.is_dir():
        with target.open("wb") as direct:
            yield direct
        return
    if target.is_dir() or not target.parent.is_dir():
        target.open("wb").close()  # raises the error with its name
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
