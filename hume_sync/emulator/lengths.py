"""How long audio and video in a file are: decoded with PyAV, where that is installed."""

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
"""The kinds of media this server takes, and no parser that would open other files."""

_LONGEST = 60
"""Seconds decoded: what is longer is too long by far, and counts as this."""

_MOST_PACKETS = 20_000


@safe_repr
@frozen
class Lengths:
    """Seconds of sound and of pictures; None where they are unknown, or not there."""

    audio: Fraction | None = None
    video: Fraction | None = None

    @property
    def longest(self) -> Fraction | None:
        """The longer of what is known."""
        return max((length for length in (self.audio, self.video) if length), default=None)


def read_lengths(content: bytes) -> Lengths:
    """Return the lengths of media; without PyAV, and for what it cannot read, they are unknown."""
    try:
        import av  # noqa: PLC0415 - an extra: without it the server works, and WAV is measured all the same
    except ImportError:
        return Lengths()
    lenient: Any = {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}  # 19 needs none
    try:
        with av.open(BytesIO(content), "r", container_options=_OPTIONS, **lenient) as container:
            return _decoded(container)
    except Exception:  # noqa: BLE001 - a parser of hostile bytes may fail in any way
        return Lengths()


def _decoded(container: InputContainer) -> Lengths:
    heard = Fraction(0)
    shown: list[Fraction] = []
    sound = [track for track in container.streams.audio[:1] if track.codec_context]  # else no codec is known
    pictures = container.streams.video[:1]
    for number, packet in enumerate(container.demux([*sound, *pictures])):
        if packet.stream.type == "audio":
            heard += _decoded_packet(sound[0], packet)
        elif packet.pts is not None and packet.time_base is not None:
            shown += [packet.pts * packet.time_base, (packet.pts + (packet.duration or 0)) * packet.time_base]
        if number == _MOST_PACKETS or heard >= _LONGEST:
            break
    return Lengths(heard or None, max(shown) - min(shown) or None if shown else None)


def _decoded_packet(track: AudioStream, packet: Packet[Any]) -> Fraction:
    """Return the seconds of sound that come out of a packet: none of a damaged one."""
    from av import FFmpegError  # noqa: PLC0415 - as above

    try:
        return sum((Fraction(frame.samples, frame.sample_rate) for frame in track.decode(packet)), Fraction(0))
    except FFmpegError:
        return Fraction(0)
