from __future__ import annotations

import contextlib
import io
import os
import sqlite3
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hume_sync import InputError
from hume_sync.batch.item import Item
from hume_sync.batch.sources import items, landmarks, path_list, texts

from ..stream.support import landmarks as faces


def summary(found: Iterable[Item]) -> list[tuple[str, str, Any]]:
    return [(item.key, item.kind, str(item.content) if item.kind == "rejected" else item.content) for item in found]


# --- texts, landmarks, pairs


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (["one", "two"], [("1", "one"), ("2", "two")]),
        ((text for text in ("one", "two")), [("1", "one"), ("2", "two")]),
        ([("a", "one"), (7, "two")], [("a", "one"), ("7", "two")]),
        ({"a": "one", 7: "two"}, [("a", "one"), ("7", "two")]),
        ([("a", "one"), ("a", "two")], [("a", "one"), ("a (item 2)", "two")]),
    ],
)
def test_texts_are_named_by_their_number_or_by_the_key_beside_them(source: Any, expected: list[Any]) -> None:
    assert summary(texts(source)) == [(key, "text", text) for key, text in expected]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (" \n", "the text is blank: there is nothing to measure"),
        ("", "the text is blank: there is nothing to measure"),
        (None, "the text is missing"),
        (float("nan"), "the text is missing"),
        (b"hello", "the text is a bytes, not a str"),
    ],
)
def test_what_is_no_text_is_an_item_that_says_why(text: Any, reason: str) -> None:
    assert summary(texts(["one", text, "three"])) == [
        ("1", "text", "one"),
        ("2", "rejected", reason),
        ("3", "text", "three"),
    ]


def test_landmarks_are_named_by_their_number_or_by_the_key_beside_them() -> None:
    one, two = faces(), faces(2)
    assert summary(landmarks([one, tuple(two)])) == [("1", "landmarks", one), ("2", "landmarks", tuple(two))]
    assert summary(landmarks({"a": one})) == [("a", "landmarks", one)]
    assert summary(landmarks([("frame 9", one)])) == [("frame 9", "landmarks", one)]


def test_pairs_are_typed_by_their_payload() -> None:
    class Place:
        def __fspath__(self) -> str:
            return "clips/a.wav"

    pairs = [(1, Path("a.wav")), ("p", Place()), ("t", "text"), ("m", bytearray(b"RIFF")), ("l", faces()), ("t", "b")]
    assert [(item.key, item.kind) for item in items(pairs)] == [
        ("1", "file"),
        ("p", "file"),
        ("t", "text"),
        ("m", "media"),
        ("l", "landmarks"),
        ("t (item 6)", "text"),
    ]
    assert [item.kind for item in items({"a": b"x"})] == ["media"]


@pytest.mark.parametrize("source", ["hello", b"hello", 5, None])
@pytest.mark.parametrize("function", [texts, landmarks, items])
def test_what_cannot_be_iterated_is_refused_at_once(function: Callable[[Any], Iterator[Item]], source: Any) -> None:
    with pytest.raises(InputError, match=f"{function.__name__} needs an iterable, .*; got "):
        function(source)


@pytest.mark.parametrize("pair", ["ab", b"ab", ("a",), ("a", "b", "c"), 5, None, {"a": 1, "b": 2}])
def test_what_is_no_pair_of_key_and_payload_is_refused(pair: Any) -> None:
    with pytest.raises(InputError, match=r"items must be pairs of a key and a payload; item 1 is "):
        list(items([pair]))


class Row(Sequence[object]):
    """A row of a database that is no tuple, as SQLAlchemy's."""

    def __init__(self, *cells: object) -> None:
        self.cells = cells

    def __getitem__(self, place: Any) -> Any:
        return self.cells[place]

    def __len__(self) -> int:
        return len(self.cells)


def rows_of_sqlite() -> list[Any]:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute("SELECT 7, 'hello'").fetchall()


@pytest.mark.parametrize("pair", [(7, "hello"), [7, "hello"], Row(7, "hello"), *rows_of_sqlite()])
@pytest.mark.parametrize("function", [texts, items])
def test_rows_of_databases_are_pairs(function: Callable[[Any], Iterator[Item]], pair: Any) -> None:
    assert summary(function([pair])) == [("7", "text", "hello")]


@pytest.mark.parametrize(
    ("key", "expected"),
    [(np.int64(7), "7"), (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"), (np.str_("a"), "a")],
)
@pytest.mark.parametrize("function", [texts, items, landmarks])
def test_keys_are_what_databases_and_tables_have(
    function: Callable[[Any], Iterator[Item]], key: Any, expected: str
) -> None:
    (item,) = function([(key, "hello")])
    assert (item.key, type(item.key)) == (expected, str)


@pytest.mark.parametrize("key", [None, "", True, 4.5, float("nan"), b"a", ("a",)])
@pytest.mark.parametrize("function", [texts, items])
def test_a_pair_with_another_key_is_rejected_and_the_next_is_read(
    function: Callable[[Any], Iterator[Item]], key: Any
) -> None:
    bad, good = function([(key, "hello"), ("b", "hello")])
    assert (bad.key, bad.kind, good.key, good.kind) == ("item 1", "rejected", "b", "text")
    assert "a key must be a str that is not empty, a whole number or a UUID; got" in str(bad.content)


def test_a_key_is_valid_unicode() -> None:
    (item,) = items([("a\udcff\ud800", "hello")])
    assert item.key == r"a\udcff\ud800"


def test_a_payload_that_is_missing_is_rejected() -> None:
    (item,) = items([(1, None)])
    assert (item.kind, str(item.content)) == ("rejected", "the content is missing")


@pytest.mark.parametrize(
    ("key", "kind", "expected"),
    [
        ("", "text", "key must be a str of valid Unicode that is not empty, got ''"),
        (5, "text", "key must be a str of valid Unicode that is not empty, got 5"),
        ("\ud800", "text", r"key must be a str of valid Unicode that is not empty, got '\\ud800'"),
        ("a", "words", "kind must be one of file, media, text, landmarks, rejected; got 'words'"),
        ("a", ["text"], r"kind must be one of file, media, text, landmarks, rejected; got \['text'\]"),
    ],
)
def test_an_item_that_cannot_be_is_refused(key: Any, kind: Any, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        Item(key, kind, "content")


def test_a_key_that_looks_like_one_with_its_place_stays_unique() -> None:
    keys = [item.key for item in items([("7 (item 3)", "a"), ("7", "b"), ("7", "c")])]
    assert keys == ["7 (item 3)", "7", "7 (item 3) (item 3)"]


def test_sources_are_read_as_they_are_used() -> None:
    def endless() -> Iterator[tuple[int, str]]:
        number = 0
        while True:
            number += 1
            yield number, "text"

    for function in (texts, landmarks, items):
        assert next(function(endless())).key == "1"


# --- lists of paths


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a.wav\nb c.wav\n", ["a.wav", "b c.wav"]),
        (b"a.wav\r\n\r\nb.wav", ["a.wav", "b.wav"]),
        (b"\xef\xbb\xbfa.wav\nb.wav\na.wav\n", ["a.wav", "b.wav"]),
        (b"a\nb.wav\0c\r\0", [r"a\u000ab.wav", r"c\u000d"]),
        (b"caf\xe9.wav\n", [r"caf\xe9.wav"]),
        (b"d/" * 40_000 + b"a\n", None),
    ],
)
def test_a_list_names_one_path_a_line_or_ends_them_by_nul(
    tmp_path: Path, content: bytes, expected: list[str] | None
) -> None:
    (tmp_path / "list").write_bytes(content)
    if expected is None:
        with pytest.raises(InputError, match="a path of more than 65536 bytes"):
            list(path_list(tmp_path / "list"))
        return
    found = list(path_list(tmp_path / "list"))
    assert [item.key for item in found] == expected
    assert all(item.kind == "file" for item in found)


def test_paths_of_a_list_are_those_of_the_files(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.wav"
    Path(os.fsdecode(name)).write_bytes(b"x")
    (tmp_path / "list").write_bytes(name + b"\n")
    (found,) = path_list(tmp_path / "list")
    assert found.content.read_bytes() == b"x"


def test_a_long_list_is_read_block_by_block(tmp_path: Path) -> None:
    names = [f"folder/{number:06}.wav" for number in range(7_000)]
    (tmp_path / "list").write_text("\n".join(names))
    assert [item.key for item in path_list(tmp_path / "list")] == names


def test_standard_input_is_a_list_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a.wav\0b.wav\0")))
    assert [item.key for item in path_list("-")] == ["a.wav", "b.wav"]
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="standard input is closed"):
        path_list("-")


def test_a_list_that_cannot_be_read_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        path_list(tmp_path / "none")
    (tmp_path / "empty").touch()
    with pytest.raises(InputError, match="is empty"):
        path_list(tmp_path / "empty")
