"""The content that a file's name announces, and the detection of files that certainly hold something else."""

from __future__ import annotations

from pathlib import PurePath
from typing import Final, Literal

from ..errors import InputError
from .texts import decode_text, pointer_to

__all__ = ["check_named_media", "named_kind", "named_otherwise"]

NamedKind = Literal["audio", "audio or video", "image", "text", "JSON"]

_KINDS: Final[dict[NamedKind, str]] = {
    "audio": (
        "3ga aac aif aifc aiff amr au awb bwf caf flac m4a m4b mka mp1 mp2 mp3 mpga oga opus rf64 snd spx w64 wav wave"
        " weba wma"
    ),
    "audio or video": "3g2 3gp asf avi flv m4v mkv mov mp4 mpeg mpg ogg ogv webm wmv",
    "image": "avif bmp gif heic heif hif jfif jpe jpeg jpg png tif tiff webp",
    "text": "md text txt",
    "JSON": "json",
}
"""Suffixes of names, by what files of such names hold."""

_SUFFIXES: Final = {f".{suffix}": kind for kind, suffixes in _KINDS.items() for suffix in suffixes.split()}

_MEDIA: Final[dict[NamedKind | None, str]] = {
    "audio": "audio",
    "audio or video": "audio or video",
    "image": "an image",
}

_HELD: Final[dict[NamedKind, tuple[str, ...]]] = {
    "audio": ("audio",),
    "audio or video": ("audio", "video", "container"),
    "image": ("image",),
}
"""The kinds of media that files may hold, by what their names say; texts and JSON hold none."""


def named_kind(name: str) -> NamedKind | None:
    """Tell what a file of this name should hold; None where the name does not say."""
    return _SUFFIXES.get(PurePath(name).suffix.lower())


def named_otherwise(name: str, kind: str) -> str | None:
    """Return what a file should be by its name ("an image") if that contradicts the kind of media it holds."""
    named = named_kind(name)
    if named is None or kind in _HELD.get(named, ()):
        return None
    return {"image": "an image", "text": "a text"}.get(named, named)


def check_named_media(name: str, data: bytes | bytearray | memoryview, *, shown: str) -> None:
    """Refuse files that can never be what their names say.

    That is what failed downloads and check-outs leave behind. What may be right is not refused: media of another
    kind, encodings of texts that are not known, bytes of which nothing is known.

    Args:
        name: Of the file.
        data: All of its content.
        shown: How an error names the file.

    Raises:
        InputError: The file holds nothing but NUL bytes, a pointer of Git LFS, DVC or git-annex, or a text of any kind
            under the name of audio, video or an image.
    """
    if not bytes(data[:64]).strip(b"\0") and not bytes(data).strip(b"\0"):
        raise InputError(f"{shown} holds nothing but NUL bytes: it was never written")
    if pointer := pointer_to(data):
        what, command = pointer
        raise InputError(f"{shown} is {what}, not the file it stands for: run {command}")
    kind = named_kind(name)
    if kind in _MEDIA and (text := decode_text(data)) is not None:
        raise InputError(f"{shown} holds {_text_kind(text)}, not {_MEDIA[kind]}")


def _text_kind(text: str) -> str:
    begin = text[:256].lstrip().lower()
    if begin.startswith(("<!doctype html", "<html")):
        return "an HTML page"
    if begin.startswith("<"):
        return "XML or HTML"
    return "JSON" if begin.startswith(("{", "[")) else "a text"
