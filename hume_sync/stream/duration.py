"""The duration of audio, as far as its bytes confirm it.

WAV is read here. In all other formats packets are counted with PyAV, and nothing is decoded. What a head says of a
whole file is a guess as soon as the file was cut, joined or written to a pipe; the packets that are there are what a
decoder gets.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import attrs

from ..net.preload import import_optional
from ..reprs import safe_repr
from .media import Media
from .wav import Wav

if TYPE_CHECKING:
    from av.container import InputContainer

__all__ = ["STAMPED", "Length", "audio_duration", "count_seconds", "measure", "open_container"]

_DOUBT = Fraction(1, 4)
"""Seconds by which a length that is not exact may be too long; where that is most of it, half of it."""


@safe_repr
@attrs.frozen
class Length:
    """A length of audio."""

    seconds: Fraction
    exact: bool
    """To the sample, as in WAV. Decoders differ in how much they leave out of what is in packets."""

    @property
    def at_least(self) -> Fraction:
        """What any decoder gives of it."""
        return self.seconds if self.exact else max(self.seconds - _DOUBT, self.seconds / 2)


def measure(media: Media, name: str = "") -> Length | None:
    """Measure audio; None where its length is unknown.

    WAV is read to the sample. All other formats, MP3, M4A, Ogg, WebM and FLAC among them, need the extra ``media``
    (PyAV); without it their length is unknown.

    Args:
        media: The whole media.
        name: How errors name it; without a name, nothing is refused.

    Raises:
        InputError: This is a WAV file without samples, or without their format.
    """
    if wav := Wav.parse(media, name):
        return Length(Fraction(wav.frames, wav.sample_rate), True)
    seconds = count_seconds(media)
    return None if seconds is None else Length(seconds, exact=False)


def audio_duration(media: Media) -> Fraction | None:
    """Return the length that `measure` finds, in seconds."""
    length = measure(media)
    return length.seconds if length else None


_FORMATS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,eac3,flac,flv,matroska,mov,mp3,mpc,mpc8,mpeg,mpegts,ogg,tta,voc,w64,wav,wv"
)
"""Demultiplexers that may look at media, by FFmpeg's names: none of those that open other files or addresses."""

_OPTIONS = {"format_whitelist": _FORMATS, "probesize": str(2**19)}
"""Half a MiB tells what the tracks are, however small the packets."""

_BARE = frozenset({"aac", "ac3", "amr", "eac3", "flac", "mp3", "ogg"})
"""Rows of frames, or of pages that may be chained: if their head names a length, it is that of one part."""

_WHOLE_FRAMES = frozenset({"aac", "ac3", "eac3", "mp2", "mp3", "opus"})
"""Codecs whose decoders give a whole frame for the last packet too, however much of it the container wants played."""

_STEADY = _WHOLE_FRAMES | {"alac", "flac"}
"""Codecs whose packets are all of one length, the last perhaps excepted."""

STAMPED = frozenset({"asf", "avi", "flv", "matroska", "mov", "mpeg", "mpegts"})
"""Containers with a time stamp of its own for every packet: their audio may have gaps."""

_OF_WAV = frozenset({"adpcm_ima_wav", "adpcm_ms", "adpcm_yamaha", "gsm_ms"})
"""What is read in WAV files by `wav`, beside all PCM: what that refuses is unknown."""

_LINK = re.compile(
    rb"OggS\x00\x02.{20}\x01.(?:\x01vorbis.{4}(.{5})|\x7fFLAC.{22}(.{3})|Speex.{31}(.{4})|(OpusHead))", re.DOTALL
)
"""Codec, channels and rate of each link of a chain. Where they change, packets are counted by the first rate."""

_SYNC = 0xFF
"""What an MP3 frame begins with."""

_RATES = {"aac": (0xFF, 2, 0x3C), "ac3": (0x0B, 4, 0xC0), "eac3": (0x0B, 4, 0xC0)}
"""By format: what a frame begins with, and which bits of which of its bytes are the sample rate."""

_TRIM = struct.Struct("<II")
"""Samples to leave out at the beginning and at the end of a packet."""

_TOLERANCE = Fraction(1, 4)
"""Seconds by which packets, their time stamps and the container may differ."""

_MAX_PACKETS = 30_000
"""Packets looked at: more than ten minutes of any codec, in about 50 ms."""

_MAX_READ = 64 * 2**20
"""Bytes read of one piece of media, those read twice counted twice."""


def count_seconds(media: Media) -> Fraction | None:
    """Count the audio in media by its packets; None where they do not tell. Never fails.

    It needs the extra ``media`` (PyAV): without it, nothing is known. Nothing is known either of media with several
    audio tracks, or whose container says otherwise than its packets.
    """
    av: Any = import_optional("av")  # only for what is not WAV
    if av is None:
        return None
    file = _BoundedReader(media)
    try:
        with open_container(av, file) as container:
            count = _count(container)
    except Exception as exc:
        if not isinstance(exc, av.FFmpegError) and _of_a_handler(exc):
            raise
        return None  # hostile bytes may raise anything in a parser
    if count is None or file.exhausted or (count.container == "ogg" and len(set(_LINK.findall(media))) > 1):
        return None
    return count.seconds()


def open_container(av: Any, file: Any) -> InputContainer:
    """Open media with PyAV, by the demultiplexers that open no other files and no addresses.

    Args:
        av: The module.
        file: A binary file object that can seek.
    """
    container: InputContainer = av.open(file, "r", container_options=_OPTIONS, **lenient(av))
    return container


def lenient(av: Any) -> dict[str, str]:
    """Return the arguments with which PyAV opens media whose tags are no UTF-8: from version 19 on, it needs none."""
    return {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}


def _count(container: InputContainer) -> _Count | None:
    """Count the packets of the one audio track; None where there is none, or too much."""
    tracks = container.streams.audio
    if len(tracks) != 1:
        return None
    track, name = tracks[0], container.format.name.partition(",")[0]
    if track.codec_context is None or track.time_base is None or not track.sample_rate:
        return None
    codec = track.codec_context.codec.canonical_name
    if name == "wav" and (codec.startswith("pcm_") or codec in _OF_WAV):
        return None
    stated = None
    if track.duration is not None:
        stated = track.duration * track.time_base
    elif container.duration is not None:
        stated = Fraction(container.duration, 1_000_000)
    count = _Count(name, codec, track.time_base, track.sample_rate, stated)
    rates: set[int] = set()
    for number, packet in enumerate(container.demux()):
        if number == _MAX_PACKETS:
            return None
        if packet.stream_index != track.index or not packet.size:
            continue  # of another track, or none: the end
        head = bytes(memoryview(packet)[:5])
        if codec == "mp3" and head[0] != _SYNC:
            continue  # a tag between two files that were joined, and the frame behind it: no decoder takes them
        if name in _RATES and len(head) == 5:
            sync, place, bits = _RATES[name]
            rates |= {head[place] & bits} if head[0] == sync else set()
        skip, cut = (
            _TRIM.unpack_from(packet.get_sidedata("skip_samples")) if packet.has_sidedata("skip_samples") else (0, 0)
        )
        count.add(packet.duration or 0, packet.pts, discard=packet.is_discard, skip=skip, cut=cut)
    return count if len(rates) <= 1 else None  # all are counted by the first rate


def _of_a_handler(exc: BaseException) -> bool:
    """Tell whether a signal handler or another thread raised this: PyAV is compiled, and its frames have no name."""
    if not any(exc.args):
        return True
    name: str | None = None
    traceback = exc.__traceback__
    while traceback is not None:
        name = traceback.tb_frame.f_globals.get("__name__")
        traceback = traceback.tb_next
    return name not in (None, __name__)


class _BoundedReader:
    """Media as a file that can be read up to a limit."""

    def __init__(self, media: Media) -> None:
        self._media = memoryview(media)
        self._position = 0
        self._left = _MAX_READ

    def read(self, size: int) -> bytes:
        """Read up to ``size`` bytes."""
        data = bytes(self._media[self._position : self._position + min(size, self._left)])
        self._position += len(data)
        self._left -= len(data)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place."""
        self._position = max(0, offset + (0, self._position, len(self._media))[whence])
        return self._position

    def tell(self) -> int:
        """Return the place of the next byte."""
        return self._position

    @property
    def exhausted(self) -> bool:
        """Whether the limit was reached."""
        return self._left == 0


@safe_repr
@attrs.define
class _Count:
    """The packets of one audio track."""

    container: str
    """FFmpeg's first name for its format."""
    codec: str
    time_base: Fraction
    rate: int
    stated: Fraction | None
    """Seconds, as the container has them."""
    durations: Counter[int] = attrs.Factory(Counter)
    """How many packets there are of each duration, in units of the time base; 0: nothing tells."""
    last: int = 0
    """Duration of the last packet."""
    begin: int | None = None
    """Time stamp of the first packet, in such units too."""
    end: int = 0
    """Time stamp at which the last packet ends."""
    discarded: int = 0
    """Ticks of packets that are there only for the decoder to start with."""
    skipped: int = 0
    """Samples that the decoder leaves out at the beginning."""
    cut: int = 0
    """Samples that it leaves out at the end."""

    def add(self, duration: int, pts: int | None, *, discard: bool, skip: int, cut: int) -> None:
        """Count one packet."""
        if cut and self.codec in _WHOLE_FRAMES:
            duration = max(duration, self.last)  # the container has cut it already
        self.durations[duration] += 1
        self.last = duration
        self.discarded += duration * discard
        self.skipped += skip
        self.cut += cut
        if pts is not None:
            self.begin = pts if self.begin is None else self.begin
            self.end = pts + duration

    def seconds(self) -> Fraction | None:
        """Return what a decoder makes of the packets; None where that is not clear."""
        length = self._length()
        if length is None:
            return None
        left_out = max(Fraction(self.skipped, self.rate), self.discarded * self.time_base)
        length -= left_out + Fraction(self.cut, self.rate)
        return length if length > 0 else None

    def _length(self) -> Fraction | None:
        """Return the length of the packets, the container and their time stamps agreeing."""
        ticks = sum(duration * count for duration, count in self.durations.items())
        length = ticks * self.time_base
        if self.container == "ogg":
            return length  # the heads of a chain's links are packets too, of no length
        if self.container in _BARE:
            return None if self.durations[0] else length
        begin = (self.begin or 0) * self.time_base
        if self.stated is not None and _differ(self.stated, length) and _differ(self.stated, begin + length):
            return None
        if self.container not in STAMPED or self.begin is None:
            return length
        # Where audio is missing, the time stamps leap; or the packet before lasts until the next, in MP4.
        by_stamps = self.end * self.time_base - begin
        usual = max(self.durations, key=self.durations.__getitem__)
        steady = usual * self.durations.total() * self.time_base
        if _differ(by_stamps, length) or (self.codec in _STEADY and _differ(steady, length)):
            return None
        if self.container == "mov" and self.codec in _WHOLE_FRAMES:
            return steady
        return by_stamps


def _differ(one: Fraction, other: Fraction) -> bool:
    return abs(one - other) > _TOLERANCE
