from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hume_sync import InputError
from hume_sync.stream.media import check_size, decode_base64, open_file, read_file, read_media

LIMIT = 100


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "media.bin"
    path.write_bytes(b"0123456789")
    return path


@pytest.mark.parametrize("form", [str, Path, lambda p: p.open("rb"), lambda p: io.BytesIO(p.read_bytes())])
def test_a_file_is_read_from_a_path_or_a_binary_object(file: Path, form: Callable[[Path], Any]) -> None:
    source = form(file)
    assert bytes(read_file(source, LIMIT)) == b"0123456789"
    if hasattr(source, "close"):
        source.close()


def test_a_file_object_is_read_from_where_it_stands_and_left_open(file: Path) -> None:
    with file.open("rb") as source:
        source.seek(7)
        assert bytes(read_file(source, LIMIT)) == b"789"
        assert not source.closed


def test_a_path_of_bytes_is_taken_as_a_path_like_object(file: Path) -> None:
    class Anywhere(os.PathLike[str]):
        def __fspath__(self) -> str:
            return str(file)

    assert bytes(read_file(Anywhere(), LIMIT)) == b"0123456789"


def test_a_stream_that_hands_out_little_at_a_time_is_read_to_its_end() -> None:
    class Slow:
        chunks = iter([b"01", bytearray(b"2"), memoryview(b"345"), b""])

        def read(self, size: int) -> Any:
            return next(self.chunks)

    assert bytes(read_file(Slow(), LIMIT)) == b"012345"


@pytest.mark.parametrize(
    ("make", "error"),
    [(lambda path: None, FileNotFoundError), (lambda path: path.mkdir(), IsADirectoryError)],
    ids=["missing", "directory"],
)
def test_a_missing_file_and_a_directory_stay_the_os_errors_they_are(
    tmp_path: Path, make: Callable[[Path], object], error: type[OSError]
) -> None:
    path = tmp_path / "thing"
    make(path)
    with pytest.raises(error) as caught:
        read_file(path, LIMIT)
    assert caught.value.filename == str(path)


def test_a_fifo_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with pytest.raises(InputError, match="is no regular file"):
        read_file(path, LIMIT)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    path.touch()
    with pytest.raises(InputError, match=r"empty\.wav' is empty"):
        read_file(path, LIMIT)


def test_a_file_beyond_the_limit_is_refused_before_a_byte_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(2**40)  # sparse: reading it would take a terabyte
    with pytest.raises(InputError, match=f"holds {2**40} bytes; max_payload_size is {LIMIT}"):
        read_file(path, LIMIT)


def test_an_endless_stream_is_refused_once_it_is_known_to_be_too_long() -> None:
    class Endless:
        given = 0

        def read(self, size: int) -> bytes:
            self.given += size
            return b"x" * size

    source = Endless()
    with pytest.raises(InputError, match=f"more than max_payload_size, {LIMIT} bytes"):
        read_file(source, LIMIT)
    assert source.given == LIMIT + 1


@pytest.mark.parametrize("source", [io.StringIO("text"), type("Nothing", (), {"read": lambda self, size: None})()])
def test_a_source_that_does_not_read_as_bytes_is_refused(source: object) -> None:
    with pytest.raises(InputError, match="must read as bytes, got (str|NoneType)"):
        read_file(source, LIMIT)


@pytest.mark.parametrize("source", [None, 7, b"bytes", ["a"]])
def test_a_source_of_no_accepted_type_is_refused(source: object) -> None:
    with pytest.raises(InputError, match="filepath must be a path or a binary file object, got"):
        read_file(source, LIMIT)


def test_no_descriptor_is_left_open(file: Path, tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    read_file(file, LIMIT)
    for bad in (tmp_path, file):
        with pytest.raises((InputError, OSError)):
            read_file(bad, 1)
    with open_file(file, LIMIT) as opened:
        assert opened.read() == b"0123456789"
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    "data", [b"abcd", bytearray(b"abcd"), memoryview(b"abcd"), memoryview(b"a.b.c.d.")[::2], io.BytesIO(b"abcd")]
)
def test_raw_media_is_bytes_of_any_kind_or_a_file_object(data: object) -> None:
    assert bytes(read_media(data, LIMIT)) == b"abcd"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "data is empty"),
        (memoryview(bytearray(3)).cast("B", (1, 3))[:0], "data is empty"),
        (io.BytesIO(b""), "data is empty"),
        (b"x" * 101, "data holds 101 bytes; max_payload_size is 100"),
        ("name.wav", "got str; for a path use send_file"),
        (Path("name.wav"), "for a path use send_file"),
        (7, "data must be bytes or a binary file object, got int"),
        (None, "got NoneType"),
    ],
)
def test_other_raw_media_is_refused(data: object, text: str) -> None:
    with pytest.raises(InputError, match=text):
        read_media(data, LIMIT)


@pytest.mark.parametrize("form", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("media", [b"a", b"ab", b"abc", bytes(range(75))])
def test_base64_is_decoded(media: bytes, form: Callable[[bytes], Any]) -> None:
    encoded = base64.b64encode(media)
    assert decode_base64(form(encoded), LIMIT) == (encoded, media)


@pytest.mark.parametrize(
    "data",
    [
        b"A",
        b"=",
        b"YQ=",
        b"YQ",
        b"YWJj\n",
        b"YW Jj",
        b"====",
        b"-_-_",
        b"data:audio/wav;base64,YWJj",
        b"{}",
        b"\xff\xfe\xfd\xfc",
    ],
)
def test_what_is_not_base64_is_refused(data: bytes) -> None:
    with pytest.raises(InputError, match="bytes_data is not base64.*use send_media"):
        decode_base64(data, LIMIT)


@pytest.mark.parametrize("path", ["a\0b", "a\ud800"])
def test_a_path_no_file_can_have_is_refused(path: str) -> None:
    with pytest.raises(InputError, match="cannot exist"):
        read_file(path, LIMIT)


@pytest.mark.parametrize("media", [bytes(100), bytes(99), bytes(98)])
def test_the_limit_is_for_media_as_decoded(media: bytes) -> None:
    encoded = base64.b64encode(media)
    assert decode_base64(memoryview(encoded * 2)[: len(encoded)], len(media))
    with pytest.raises(InputError, match=f"holds {len(media)} bytes"):
        decode_base64(encoded, len(media) - 1)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "bytes_data is empty"),
        (base64.b64encode(bytes(200)), "max_payload_size is 100"),
        ("YQ==", "got str: encode it"),
        (None, "got NoneType"),
    ],
)
def test_other_encoded_media_is_refused(data: object, text: str) -> None:
    with pytest.raises(InputError, match=text):
        decode_base64(data, LIMIT)


def test_the_limit_itself_is_allowed() -> None:
    check_size("data", LIMIT, LIMIT)
