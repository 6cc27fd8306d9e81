"""The duration of audio and video files, decoded with PyAV if it is installed."""

from __future__ import annotations

from fractions import Fraction
from io import BytesIO
from typing import TYPE_CHECKING, Any

from attrs import frozen

from ..reprs import safe_repr

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet

_OPTIONS = {"format_whitelist": "aac,avi,flac,matroska,mov,mp3,ogg,wav", "probesize": "500000"}
"""The formats this server accepts; no parser that would open other files."""

_MAX_SECONDS = 60
"""Seconds decoded at most; longer media is far beyond the limit and counts as this."""

_MAX_PACKETS = 20_000


@safe_repr
@frozen
class Lengths:
    """The durations of audio and video in seconds; None if unknown or absent."""

    audio: Fraction | None = None
    video: Fraction | None = None

    @property
    def longest(self) -> Fraction | None:
        """Return the longer of the known durations."""
        return max((length for length in (self.audio, self.video) if length), default=None)


def read_lengths(content: bytes) -> Lengths:
    """Return the durations of media; they are unknown without PyAV and for media it cannot read."""
    try:
        import av  # noqa: PLC0415 - an extra; without it the server still measures WAV
    except ImportError:
        return Lengths()
    lenient: Any = {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}  # 19 needs none
    try:
        with av.open(BytesIO(content), "r", container_options=_OPTIONS, **lenient) as container:
            return _measure(container)
    except Exception:  # noqa: BLE001 - a parser may fail in any way on malformed bytes
        return Lengths()


def _measure(container: InputContainer) -> Lengths:
    audio = Fraction(0)
    timestamps: list[Fraction] = []
    audio_tracks = [
        track for track in container.streams.audio[:1] if track.codec_context
    ]  # without a codec context, the codec is unknown
    video_tracks = container.streams.video[:1]
    for number, packet in enumerate(container.demux([*audio_tracks, *video_tracks])):
        if packet.stream.type == "audio":
            audio += _audio_seconds(audio_tracks[0], packet)
        elif packet.pts is not None and packet.time_base is not None:
            timestamps += [packet.pts * packet.time_base, (packet.pts + (packet.duration or 0)) * packet.time_base]
        if number == _MAX_PACKETS or audio >= _MAX_SECONDS:
            break
    return Lengths(audio or None, max(timestamps) - min(timestamps) or None if timestamps else None)


def _audio_seconds(track: AudioStream, packet: Packet[Any]) -> Fraction:
    """Return the seconds of audio in a packet; 0 for a damaged one."""
    from av import FFmpegError  # noqa: PLC0415 - as above

    try:
        return sum((Fraction(frame.samples, frame.sample_rate) for frame in track.decode(packet)), Fraction(0))
    except FFmpegError:
        return Fraction(0)
