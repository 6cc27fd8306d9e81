"""Files that certainly are not what their names say: `send_file` of a path, and how it detects them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hume_sync import HumeStreamClient, InputError, LanguageConfig, ProsodyConfig
from hume_sync.emulator import Emulator
from hume_sync.stream.filenames import check_named_media
from hume_sync.stream.texts import decode_text, refusal_of_text

from .support import DATA, FACE, SPEECH

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:%064d\nsize 72862\n" % 0
DVC = b"outs:\n- md5: a304afb96060aad90176268345e10355\n  size: 37891850\n  hash: md5\n  path: clip.wav\n"
IMPORTED = (
    b"# by hand\nmd5: 7a2\nfrozen: true\ndeps:\n- path: a.wav\n  repo:\n    url: https://example.com\n"
    b"outs:\n- path: a.wav\n  md5: a304\n  cache: false\n"
)
ANNEX = b"/annex/objects/SHA256E-s72862--%064d.wav\n" % 0
HTML = b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>"

REFUSED = [
    ("zeros.wav", bytes(9000), "holds nothing but NUL bytes"),
    ("zeros.txt", bytes(70), "holds nothing but NUL bytes"),
    ("zeros", bytes(1), "holds nothing but NUL bytes"),
    ("pointer.wav", POINTER, "is a Git LFS pointer"),
    ("pointer.json", POINTER, "is a Git LFS pointer"),
    (
        "pointer.jpg",
        POINTER.replace(b"\noid", b"\next-0-foo sha256:%064d\noid" % 1),
        "is a Git LFS pointer",
    ),
    ("pointer.mp3", POINTER.replace(b"\n", b"\r\n"), "is a Git LFS pointer"),
    ("clip.wav.dvc", DVC, "is a DVC pointer, not the file it stands for: run dvc pull"),
    ("clip.txt", DVC.replace(b"\n", b"\r\n"), "is a DVC pointer"),
    ("folder", DVC.replace(b"10355", b"10355.dir").replace(b"- md5", b"  - md5"), "is a DVC pointer"),
    ("a.wav.dvc", IMPORTED, "is a DVC pointer"),
    ("clip.wav", ANNEX, "is a git-annex pointer, not the file it stands for: run git annex get"),
    ("clip.txt", b"../.git" + ANNEX[:-1], "is a git-annex pointer"),
    ("page.mp3", HTML, "holds an HTML page, not audio"),
    ("page.MP3", b"\xef\xbb\xbf" + HTML, "holds an HTML page, not audio"),
    ("page.m4a", HTML.decode().encode("utf-16"), "holds an HTML page, not audio"),
    ("denied.jpg", b"<?xml version='1.0'?><Error/>", "holds XML or HTML, not an image"),
    ("error.mp4", b'{"error": "not found"}', "holds JSON, not audio or video"),
    ("mesh.webm", (DATA / "facemesh.json").read_bytes(), "holds JSON, not audio or video"),
    ("clip.ogg", b"404 Not Found\n", "holds a text, not audio or video"),
    ("clip.flac", "für später".encode(), "holds a text, not audio"),
]

SENT = [
    # what may be right, or is for the server to judge
    ("speech.wav", SPEECH),
    ("speech.mp3", SPEECH),
    ("face.png", FACE),
    ("face.wav", FACE),
    ("zeros.mp3", bytes(3000) + b"\xff\xfb\x90" + bytes(414)),
    ("noise.wav", b"\x80" * 100),
    ("latin1.mp3", "schön".encode("latin-1")),
    ("page.html", HTML),
    ("page.txt", HTML),
    ("page", HTML),
    ("about.txt", b"version https://git-lfs.github.com/spec/v1 is how a pointer begins"),
    ("clip.wav", b"RIFF text? \x01"),
    ("dvc.md", b"A file of DVC begins so:\n\n" + DVC),
    ("list.txt", b"outs:\n- path: the path is the goal\n- size: 9\n"),
    ("annex.txt", ANNEX + b"is where it lies\n"),
]


@pytest.mark.parametrize(("name", "data", "text"), REFUSED)
def test_send_file_refuses_what_can_never_be_what_its_name_says(
    hume_emulator: Emulator, hume_client: HumeStreamClient, tmp_path: Path, name: str, data: bytes, text: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with hume_client.connect([ProsodyConfig()]) as socket, pytest.raises(InputError) as caught:
        socket.send_file(tmp_path / name)
    assert f"{name}' {text}" in str(caught.value)
    assert not hume_emulator.journal.requests


@pytest.mark.parametrize(("name", "data"), SENT)
def test_what_may_be_right_is_not_refused(name: str, data: bytes) -> None:
    check_named_media(name, data, shown="it")
    check_named_media(name, bytearray(data), shown="it")


def test_a_text_may_be_sent_from_a_file_of_any_other_name(hume_client: HumeStreamClient, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_bytes(b"What a day!")
    with hume_client.connect([LanguageConfig()]) as socket:
        assert socket.send_file(str(tmp_path / "letter.txt")).top(1) == socket.send_text("What a day!").top(1)


@pytest.mark.parametrize(
    "codec", ["utf-8", "utf-8-sig", "utf-16", "utf-32"], ids=["utf-8", "utf-8 with a mark", "utf-16", "utf-32"]
)
def test_texts_are_read_with_and_without_a_byte_order_mark(codec: str) -> None:
    assert decode_text("Grüße, 世界\n".encode(codec)) == "Grüße, 世界\n"


@pytest.mark.parametrize("codec", ["utf-16", "utf-32"])
def test_texts_are_read_in_both_byte_orders(codec: str) -> None:
    assert decode_text("\ufeffGrüße".encode(f"{codec}-be")) == "Grüße"
    assert decode_text("\ufeffGrüße".encode(f"{codec}-le")) == "Grüße"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("schön".encode("latin-1"), "it is not UTF-8 (byte 0xf6 at 3)"),
        ("x".encode("utf-16-le"), "it holds NUL bytes"),
        (b"\xff\xfex", "it is not UTF-16 (byte 0x78 at 2)"),
        (b"a\x01b", "it holds control characters"),
        (b"x" * 99 + b"\x7f", "it holds control characters"),
    ],
)
def test_what_is_no_text_says_why(data: bytes, reason: str) -> None:
    assert decode_text(data) is None
    assert refusal_of_text(data).startswith(reason)
