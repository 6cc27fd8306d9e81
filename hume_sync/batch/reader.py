"""Reading of items: what each holds, by its content, as parts that a v0 server takes, one in memory at a time."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, BinaryIO, Final

import attrs

from ..errors import InputError, short_repr
from ..net.interrupts import from_handler
from ..net.validation import to_bool
from ..reprs import safe_repr
from ..stream.configs import check_configs
from ..stream.documents import detect_non_prose, looks_like_json, normalize_newlines, read_landmarks
from ..stream.duration import measure
from ..stream.filenames import check_named_media, named_kind, named_otherwise
from ..stream.landmarks import serialize_landmarks
from ..stream.media import open_file
from ..stream.media_types import MediaType, identify
from ..stream.payload_limits import IMAGE_PIXELS, PAYLOAD_LIMIT, PAYLOAD_SECONDS
from ..stream.texts import decode_text, refusal_of_text
from ..stream.wav import Wav, WavStream
from .decoding import Tracks, cut_sound, find_tracks
from .item import Item
from .parts import Configs, Content, Part, audible, fitting_configs
from .passages import cut_text
from .pictures import read_size, scale_image

__all__ = ["ItemReader", "OpenItem"]

_HASH_BYTES: Final = 16
_BLOCK: Final = 2**20
"""Bytes read at a time for the hash, and bytes of a large file by which its type is found."""

_SMALL: Final = 8 * 2**20
"""Bytes of a file that is read whole. Five seconds of any audio format that servers take are less."""

_NAMED_MEDIA: Final = frozenset({"audio", "audio or video", "image"})

_DOUBT: Final = 0.25
"""Seconds by which decoders may find more in a compressed file than its packets say."""


def _checked_configs(configs: Any) -> Configs | None:
    return None if configs is None else check_configs(configs)


def _checked_bool(_: object, attribute: attrs.Attribute[bool], value: object) -> None:
    to_bool(attribute.name, value)


@safe_repr
@attrs.frozen
class ItemReader:
    """A reader of items. It may be shared by threads, and can be pickled.

    Attributes:
        configs: The models to ask for; each part gets those that measure what it holds. None: all that do.
        split: Whether what is too long for one request is split. Otherwise everything is sent as one request, and the
            server decides.
        scale_images: Whether images that are too large for the server are scaled down; otherwise they are refused.
    """

    configs: Configs | None = attrs.field(default=None, converter=_checked_configs)
    split: bool = attrs.field(default=True, kw_only=True, validator=_checked_bool)
    scale_images: bool = attrs.field(default=False, kw_only=True, validator=_checked_bool)

    def hash_of(self, item: Item) -> str:
        """Return the hash of an item, as `OpenItem.hash`; empty if the item cannot be read."""
        try:
            with self.open(item) as content:
                return content.hash
        except Exception as exc:
            if from_handler(exc):
                raise
            return ""

    @contextlib.contextmanager
    def open(self, item: Item) -> Iterator[OpenItem]:
        """Open an item for reading.

        Args:
            item: The item.

        Yields:
            Its content.

        Raises:
            OSError: A file cannot be opened or read.
            InputError: The item is empty, landmarks are not valid, or a file is none that can be read.
            Exception: The content of a rejected item.
        """
        name = item.key if len(item.key) <= 100 else f"{item.key[:97]}..."
        if item.kind == "rejected":
            raise item.content if isinstance(item.content, Exception) else InputError(f"{name} was rejected")
        if item.kind == "text":
            if not isinstance(item.content, str):
                raise InputError(f"the text of {name} must be a str, got {short_repr(item.content)}")
            yield _OpenText(self, name, item.content)
        elif item.kind == "landmarks":
            yield _OpenLandmarks(self, name, item.content)
        elif item.kind == "media":
            if not isinstance(item.content, bytes):
                raise InputError(f"the media of {name} must be bytes, got {short_repr(item.content)}")
            if not item.content:
                raise InputError(f"{name} is empty: there is nothing to send")
            yield _OpenMedia(self, name, "", io.BytesIO(item.content))
        else:
            with open_file(item.content, sys.maxsize) as file:
                yield _OpenMedia(self, name, str(item.content), file)


class OpenItem:
    """An item that is open for reading; made by `ItemReader.open`, and usable until its ``with`` block ends.

    Attributes:
        hash: 32 hexadecimal digits of the content: of the bytes of a file or of media, of the UTF-8 of a text, of the
            JSON of landmarks (BLAKE2b).
    """

    hash: str

    def parts(self) -> Iterator[Part]:
        """Yield the parts in order, each read when it is asked for.

        Raises:
            OSError: The file cannot be read.
            InputError: The content is damaged, beyond a limit, not what the file's name says, or none that the models
                measure. It may be raised after some parts: then what is left of the file is damaged.
            ConfigurationError: PyAV is needed (the extra ``media``) and not installed.
        """
        raise NotImplementedError


class _OpenText(OpenItem):
    def __init__(self, reader: ItemReader, name: str, text: str) -> None:
        self._reader = reader
        self._name = name
        self._text = text
        self.hash = _digest(text.encode("utf-8", "surrogatepass"))

    def parts(self) -> Iterator[Part]:
        return _text_parts(self._reader, self._name, self._text)


class _OpenLandmarks(OpenItem):
    def __init__(self, reader: ItemReader, name: str, landmarks: Any) -> None:
        self._reader = reader
        self._name = name
        self._landmarks = landmarks
        self.hash = _digest(serialize_landmarks(landmarks))

    def parts(self) -> Iterator[Part]:
        yield _landmarks_part(self._reader, self._name, self._landmarks)


class _OpenMedia(OpenItem):
    """A file, or media in memory as a file."""

    def __init__(self, reader: ItemReader, name: str, path: str, file: BinaryIO) -> None:
        self._reader = reader
        self._name = name
        self._path = path
        """Of a file; "" for media in memory, which have a key and no name."""
        self._file = file
        self._size = 0
        digest = blake2b(digest_size=_HASH_BYTES)
        while block := file.read(_BLOCK):
            digest.update(block)
            self._size += len(block)
        self.hash = digest.hexdigest()

    def parts(self) -> Iterator[Part]:
        self._file.seek(0)
        wav = WavStream.open(self._file, self._name)
        if wav is not None and self._reader.split:
            yield from self._wav_parts(wav)
            return
        whole = self._size <= _SMALL
        head = self._read(self._size if whole else _BLOCK)
        found = identify(head)
        if found is None or found.kind == "other":
            yield from self._document_parts(found, head)
            return
        if found.kind == "image":
            yield self._image_part(found)
        elif not self._reader.split:
            content: Content = "audio" if found.kind == "audio" else "video"
            yield self._part(self._whole(), self._fitting(content, found))
        elif found.kind == "audio" and whole:
            yield from self._audio_parts(found, head)
        else:
            yield from self._track_parts(found)

    def _wav_parts(self, wav: WavStream) -> Iterator[Part]:
        configs = self._fitting("audio", MediaType("WAV", "audio", True))
        empty = True
        for piece in wav.cut(PAYLOAD_SECONDS):
            cut = Wav.parse(piece)
            yield self._part(piece, configs, cut.seconds if cut else None)
            empty = False
        if empty:
            raise InputError(f"{self._name} is WAV audio without a single sample")

    def _audio_parts(self, found: MediaType, data: bytes | None) -> Iterator[Part]:
        """Yield audio as it is if it certainly is short enough, else decoded."""
        configs = self._fitting("audio", found)
        if data is not None and found.accepted:
            length = measure(data)
            if length is not None and length.seconds + (0 if length.exact else _DOUBT) <= PAYLOAD_SECONDS:
                yield self._part(data, configs)
                return
        yield from self._sound_parts(configs)

    def _sound_parts(self, configs: Configs) -> Iterator[Part]:
        for piece, seconds in cut_sound(self._file, self._name, PAYLOAD_SECONDS):
            yield self._part(piece, configs, seconds)

    def _track_parts(self, found: MediaType) -> Iterator[Part]:
        """Yield what a container turns out to hold, of which the beginning need not tell all.

        A video is sent as it is if it is short enough; of a longer one the sound, if no model needs its pictures.
        """
        tracks = find_tracks(self._file, self._name, PAYLOAD_SECONDS + _DOUBT)
        if not tracks.video and not tracks.audio:
            raise InputError(f"{self._name} is {found.name}, and has neither sound nor pictures")
        if not tracks.video:
            yield from self._audio_parts(MediaType(found.name, "audio", found.accepted), None)
            return
        video = MediaType(found.name, "video", found.accepted, silent=not tracks.audio)
        configs = self._fitting("video" if tracks.audio else "image", video)
        sees = len(configs) > len(heard := audible(configs))
        if sees:
            self._check_video(video, tracks)
        elif tracks.seconds + _DOUBT > PAYLOAD_SECONDS or not found.accepted or self._size > PAYLOAD_LIMIT:
            yield from self._sound_parts(heard)
            return
        yield self._part(self._whole(), configs)

    def _check_video(self, video: MediaType, tracks: Tracks) -> None:
        """Refuse a video that cannot be sent as it is although a model needs its pictures."""
        if not video.accepted:
            raise InputError(f"{self._name} is {video}, which v0 servers are not known to take: convert it to MP4")
        if tracks.seconds > PAYLOAD_SECONDS + _DOUBT:
            length = max(tracks.seconds, tracks.stated or 0.0)
            raise InputError(
                f"{self._name} is a video of {length:.1f} s; servers take {PAYLOAD_SECONDS:g} s of video, and only its"
                " sound is split here: cut it into clips, or send its frames as images, or leave out the face model"
            )

    def _image_part(self, found: MediaType) -> Part:
        configs = self._fitting("image", found)
        if not found.accepted:
            raise InputError(
                f"{self._name} is {found}, which v0 servers are not known to take: convert it to PNG or JPEG"
            )
        image = self._whole()
        size = read_size(image)
        if self._reader.split and size is not None and max(size) > IMAGE_PIXELS:
            if not self._reader.scale_images:
                raise InputError(
                    f"{self._name} has {size[0]} x {size[1]} pixels; servers take {IMAGE_PIXELS} x {IMAGE_PIXELS}:"
                    " pass scale_images=True to have it scaled down"
                )
            image = scale_image(image, self._name, IMAGE_PIXELS)
        return self._part(image, configs)

    def _document_parts(self, found: MediaType | None, head: bytes) -> Iterator[Part]:
        """Yield what is no media: a text, or landmarks as JSON."""
        name = self._name
        if self._size > PAYLOAD_LIMIT and found is None:
            begin = "it begins with NUL bytes" if not head.strip(b"\0") else "it is of no known media format"
            raise InputError(f"cannot tell what {name} is: {begin}, and too large for a text ({self._size} bytes)")
        data = self._whole()
        check_named_media(self._path, data, shown=name)
        if found is not None:
            raise InputError(f"{name} is {found}: no model measures that")
        text = decode_text(data)
        if text is None:
            as_text = "" if named_kind(self._path) in _NAMED_MEDIA else f"; as a text, {refusal_of_text(data)}"
            raise InputError(f"cannot tell what {name} is: it is of no known media format{as_text}")
        if named_kind(self._path) == "JSON" or looks_like_json(text):
            yield _landmarks_part(self._reader, name, read_landmarks(text, name))
            return
        other = "a table" if self._path.lower().endswith((".csv", ".tsv")) else detect_non_prose(text)
        if other:
            raise InputError(f"{name} is {other}, not prose: to measure it as it stands, pass its text, not its path")
        yield from _text_parts(self._reader, name, normalize_newlines(text))

    def _part(self, data: bytes, configs: Configs, seconds: float | None = None) -> Part:
        return Part("media", data, _replacing(self._reader, configs), seconds=seconds)

    def _fitting(self, content: Content, found: MediaType) -> Configs:
        """Return the models for media, whose kind the file's name must not contradict."""
        if found.kind != "container" and (otherwise := named_otherwise(self._path, found.kind)):
            raise InputError(f"{self._name} is {found}, although its name is that of {otherwise}: rename it")
        description = f"{found} without sound" if found.silent else str(found)
        return fitting_configs(self._reader.configs, content, self._name, description)

    def _whole(self) -> bytes:
        if self._size > PAYLOAD_LIMIT:
            raise InputError(f"{self._name} holds {self._size} bytes; a request may have {PAYLOAD_LIMIT}")
        return self._read(self._size)

    def _read(self, size: int) -> bytes:
        """Read the beginning of the file; less only if it has become shorter."""
        self._file.seek(0)
        blocks = []
        while size > 0 and (block := self._file.read(size)):
            blocks.append(block)
            size -= len(block)
        return b"".join(blocks)


def _text_parts(reader: ItemReader, name: str, text: str) -> Iterator[Part]:
    configs = _replacing(reader, fitting_configs(reader.configs, "text", name, "a text"))
    if not text.strip():
        raise InputError(f"{name} is a blank text: there is nothing to measure")
    for offset, passage in cut_text(text) if reader.split else [(0, text)]:
        if passage.strip():  # servers refuse blank ones, and there is nothing in them to measure
            yield Part("text", passage, configs, offset_chars=offset)


def _landmarks_part(reader: ItemReader, name: str, landmarks: Any) -> Part:
    configs = fitting_configs(reader.configs, "landmarks", name, "facemesh landmarks")
    return Part("landmarks", landmarks, _replacing(reader, configs))


def _replacing(reader: ItemReader, configs: Configs) -> Configs | None:
    """Return the models of a part as `Part` has them: None if they are those of the socket."""
    return None if configs == reader.configs else configs


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=_HASH_BYTES).hexdigest()
