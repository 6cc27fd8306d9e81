"""The scenarios: tables of connections and of the calls on them, the same for every client.

A media argument is the name of a file that `make_media` writes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs

import hume_sync
from hume_sync.stream.wav import Wav

from ..emulator.support import png, tone, wav, webm

Config = tuple[str, dict[str, Any]]
"""The name of a configuration class, which is the same in both libraries, and its settings."""

DATA = Path(hume_sync.__file__).parent / "data"

BURST: Config = ("BurstConfig", {})
FACE: Config = ("FaceConfig", {})
FACEMESH: Config = ("FacemeshConfig", {})
LANGUAGE: Config = ("LanguageConfig", {})
PROSODY: Config = ("ProsodyConfig", {})
SENTENCES: Config = ("LanguageConfig", {"granularity": "sentence", "sentiment": {}, "toxicity": {}})
ALL_OF_FACE: Config = (
    "FaceConfig",
    {
        "facs": {},
        "descriptions": {},
        "identify_faces": True,
        "fps_pred": 2.5,
        "prob_threshold": 0.5,
        "min_face_size": 10,
    },
)


@attrs.frozen
class Call:
    method: str
    """The name of the method of `StreamSocket`."""
    argument: str | None = None
    configs: list[Config] | None = None
    payload_id: str | None = None
    """Given by the caller, which hume 0.13.13 allows only."""
    reset_first: bool = False
    """The payload itself carries ``reset_stream``, which hume 0.13.13 allows only."""

    def __str__(self) -> str:
        models = "" if self.configs is None else " as " + "+".join(name for name, _ in self.configs)
        return f"{self.method} {(self.argument or '')[:30]}{models}".strip()


@attrs.frozen
class Socket:
    configs: list[Config]
    calls: list[Call]
    stream_window_ms: int | None = None


ANSWERED = {
    "audio": Socket(
        [PROSODY, BURST],
        [
            Call("send_file", "speech-5s.wav"),
            Call("send_bytes", "speech-5s.wav"),
            Call("send_file", "silence.wav"),
            Call("reset_stream"),
            Call("send_file", "speech-half-1.wav"),
            Call("get_job_details"),
            Call("send_file", "speech-half-2.wav"),
        ],
    ),
    "audio in a window of 800 ms": Socket(
        [PROSODY],
        [
            Call("send_file", "speech-half-1.wav"),
            Call("send_file", "speech-half-2.wav"),
            Call("reset_stream"),
            Call("send_bytes", "speech-half-3.wav"),
            Call("send_file", "speech-half-1.wav", [BURST, PROSODY]),
        ],
        stream_window_ms=800,
    ),
    "images": Socket(
        [FACE],
        [
            Call("send_file", "face.jpg"),
            Call("send_file", "image.png"),
            Call("send_bytes", "face.jpg"),
            Call("send_file", "face.jpg", [ALL_OF_FACE]),
            Call("send_file", "image.png", [ALL_OF_FACE]),
        ],
    ),
    "warnings": Socket(
        [PROSODY, BURST],
        [
            Call("send_file", "silence.wav"),
            Call("send_file", "face.jpg", [("FaceConfig", {"prob_threshold": 1})]),
            Call("send_file", "no-faces.json", [FACEMESH]),
        ],
    ),
    "text": Socket(
        [LANGUAGE],
        [
            Call("send_text", "I can hardly believe it, we won!"),
            Call("send_text", 'Zażółć "gęślą" \\ jaźń \u2028 ☕\n\t\x00 𝄞'),
            Call("send_text", "One. And two!", [SENTENCES]),
            Call("send_text", "The last of two counts.", [LANGUAGE, ("LanguageConfig", {"granularity": "passage"})]),
            Call("send_file", "texts.txt"),
            Call("send_bytes", "texts.txt", [SENTENCES]),
        ],
    ),
    "landmarks": Socket(
        [FACEMESH],
        [
            Call("send_facemesh", "facemesh.json"),
            Call("send_facemesh", "odd-numbers.json"),
            Call("send_facemesh", "100-faces.json", [FACEMESH]),
            Call("send_file", "facemesh.json"),
            Call("send_bytes", "facemesh.json"),
        ],
    ),
    "one of each on one connection": Socket(
        [LANGUAGE, PROSODY],
        [
            Call("send_file", "face.jpg", [FACE]),
            Call("send_text", "Would you mind closing the door?", [LANGUAGE]),
            Call("send_facemesh", "facemesh.json", [FACEMESH]),
            Call("send_file", "speech-half-1.wav", [BURST, PROSODY]),
            Call("get_job_details"),
        ],
    ),
}
"""The server answers all of these."""

REFUSED_BY_SERVER = {
    "errors": Socket(
        [FACE],
        [
            Call("send_file", "speech-half-1.wav"),  # E0102
            Call("send_file", "face.jpg", [LANGUAGE]),  # E0102
            Call("send_file", "speech-6s.wav", [PROSODY]),  # E0203
            Call("send_bytes", "noise.bin"),  # E0200
            Call("send_file", "speech-half-1.wav", [("ProsodyConfig", {"granularity": "word"})]),  # E0101
            Call("send_file", "texts.txt", [("NerConfig", {})]),  # E0101
            Call("send_file", "film-without-sound.webm", [BURST]),  # E0202
            Call("send_file", "wide.png"),  # E0205
            Call("send_file", "face.jpg"),  # the connection is good after all that
        ],
    )
}
"""The server refuses all but the last."""

REFUSED_BEFORE_SENDING = {
    "a socket of others": Socket(
        [PROSODY],
        [
            Call("send_text", "I can hardly believe it."),
            Call("send_facemesh", "facemesh.json"),
            Call("send_text", "I can hardly believe it.", [LANGUAGE, FACE]),
            Call("send_text", "I can hardly believe it.", [("NerConfig", {})]),
            Call("send_facemesh", "facemesh.json", [BURST, FACEMESH]),
            Call("send_facemesh", "no-faces.json", [LANGUAGE]),
        ],
    ),
    "a socket for landmarks": Socket(
        [FACEMESH],
        [
            Call("send_text", "I can hardly believe it."),
            Call("send_facemesh", "facemesh.json", [FACE]),
            Call("send_facemesh", "no-faces.json"),
            Call("send_facemesh", "101-faces.json"),
            Call("send_facemesh", "101-empty-faces.json"),
            Call("send_facemesh", "0-points.json"),
            Call("send_facemesh", "468-points.json"),
            Call("send_facemesh", "479-points.json"),
            Call("send_facemesh", "468-points-of-2-values.json"),
            Call("send_facemesh", "points-of-2-values.json"),
            Call("send_facemesh", "points-of-4-values.json"),
        ],
    ),
}
"""hume 0.6.0 refuses all of these itself."""

REFUSED_BY_OURS_ALONE = {
    "a socket for text": Socket(
        [LANGUAGE],
        [
            Call("send_text", ""),
            Call("send_text", " \n"),
            Call("send_file", "empty.txt"),
            Call("send_bytes", "empty.txt"),
            Call("send_facemesh", "second-face-of-468-points.json", [FACEMESH]),
            Call("send_facemesh", "second-point-of-2-values.json", [FACEMESH]),
            Call("send_facemesh", "null-coordinate.json", [FACEMESH]),
            Call("send_text", "I can hardly believe it.", []),
        ],
    ),
}
"""hume 0.6.0 sends these, and the server answers them with errors and warnings only."""

OF_0_13_ALONE = {
    "payloads": Socket(
        [PROSODY],
        [
            Call("send_file", "speech-half-1.wav", payload_id="mine-1"),
            Call("send_bytes", "speech-half-2.wav", payload_id="mine-2", reset_first=True),
            Call("send_text", "I can hardly believe it.", [LANGUAGE], payload_id="mine-3"),
            Call("send_facemesh", "facemesh.json", [FACEMESH], payload_id="mine-4"),
            Call("send_file", "speech-half-1.wav", [FACE], payload_id="mine-5"),
            Call("send_file", "face.jpg", []),
        ],
    )
}
"""Calls that no other client can make."""


def make_media(directory: Path) -> Path:
    """Write all files that the tables name."""
    speech = Wav.parse((DATA / "speech.wav").read_bytes())
    assert speech is not None
    halves = [piece for piece, _ in zip(speech.cut(0.5), range(3), strict=False)]
    face = json.loads((DATA / "facemesh.json").read_text())[0]
    odd = [[1e-07 * i, -0.0, 0.1 + 0.2] if i % 2 else [i, 5e-324, 1.5e300] for i in range(478)]
    files: dict[str, bytes] = {
        "speech-5s.wav": next(iter(speech.cut(5.0))),
        "speech-6s.wav": next(iter(speech.cut(6.0))),
        **{f"speech-half-{number}.wav": piece for number, piece in enumerate(halves, 1)},
        "silence.wav": wav(bytes(len(tone(0.5)))),
        "film-without-sound.webm": webm(b"V_VP8"),
        "image.png": png(320, 200),
        "wide.png": png(3001, 10),
        "empty.txt": b"",
        "noise.bin": b"\x00\x01\x02\xff",
        **{name: (DATA / name).read_bytes() for name in ("face.jpg", "facemesh.json", "texts.txt")},
    }
    landmarks: dict[str, Any] = {
        "odd-numbers.json": [face, odd],
        "no-faces.json": [],
        "100-faces.json": [face] * 100,
        "101-faces.json": [face] * 101,
        "101-empty-faces.json": [[]] * 101,
        "0-points.json": [[]],
        "468-points.json": [face[:468]],
        "479-points.json": [[*face, face[0]]],
        "468-points-of-2-values.json": [[point[:2] for point in face[:468]]],
        "points-of-2-values.json": [[point[:2] for point in face]],
        "second-face-of-468-points.json": [face, face[:468]],
        "second-point-of-2-values.json": [[face[0], face[1][:2], *face[2:]]],
        "null-coordinate.json": [[face[0], [0.5, None, 0.5], *face[2:]]],
        "points-of-4-values.json": [[[*point, 1.0] for point in face]],
    }
    files |= {name: json.dumps(faces).encode() for name, faces in landmarks.items()}
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return directory
