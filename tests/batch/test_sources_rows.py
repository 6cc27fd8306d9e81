from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hume_sync import InputError
from hume_sync.batch import rows
from hume_sync.batch.item import Item
from hume_sync.batch.rows import csv_rows, json_rows


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "texts.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def summary(item: Item) -> tuple[str, str]:
    return item.key, f"! {item.content}" if item.kind == "rejected" else item.content


# --- CSV


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("id,text\n7,Hello\n8,Bye\n", [("7", "Hello"), ("8", "Bye")]),
        ("id;text\r\n7;Hello, you\r\n", [("7", "Hello, you")]),
        ("text\tid\nHello\t7", [("7", "Hello")]),
        ("id|text\n7|Hello", [("7", "Hello")]),
        ("\ufeffid,text\n7,Grüße\n", [("7", "Grüße")]),
        ("\n id , text \n\n7,Hello\n\n", [("7", "Hello")]),
        ('"id","text"\n7,"He said ""no"",\nand went"\n8,x', [("7", 'He said "no",\nand went'), ("8", "x")]),
        ("id,text\n,Hello\n  ,Bye\n", [("line 2", "Hello"), ("line 3", "Bye")]),
        ("id,text\n7,a\n7,b\n7,c\n", [("7", "a"), ("7 (line 3)", "b"), ("7 (line 4)", "c")]),
        ('text,id\n"a\nb",\nc,\nd', [("line 2", "a\nb"), ("line 4", "c"), ("line 5", "d")]),
        ("id,text,\n7,Hello,\n8,Bye,,,\n", [("7", "Hello"), ("8", "Bye")]),
        ("id,text\r7,Hello\r8,Bye", [("7", "Hello"), ("8", "Bye")]),
    ],
)
def test_a_row_is_an_item_of_its_id_and_text(tmp_path: Path, content: str, expected: list[tuple[str, str]]) -> None:
    assert [summary(item) for item in csv_rows(written(tmp_path, content), id="id", text="text")] == expected


def test_rows_without_an_id_are_named_by_their_lines(tmp_path: Path) -> None:
    path = written(tmp_path, "text\nHello\n\nBye\n")
    assert [summary(item) for item in csv_rows(path, text="text")] == [("line 2", "Hello"), ("line 4", "Bye")]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("7,", ("7", "! the text in line 2 is blank: there is nothing to measure")),
        ("7,  ", ("7", "! the text in line 2 is blank: there is nothing to measure")),
        ("7", ("7", "! line 2 has 1 cells, and no text among them")),
        ("7,Well, yes", ("7", "! line 2 has 3 cells for 2 columns: is a cell with ',' not quoted?")),
        ("7,a\0b", ("7", "! the text in line 2 holds NUL characters")),
        ('7,"a" b', ("line 2", "! line 2: the quotation marks do not fit (',' expected after '\"'); within a cell they"
         " are doubled")),
        (",", ("line 2", "! the text in line 2 is blank: there is nothing to measure")),
    ],
)  # fmt: skip
def test_a_bad_row_is_an_item_that_says_why_and_the_next_one_is_read(
    tmp_path: Path, row: str, expected: tuple[str, str]
) -> None:
    path = written(tmp_path, f"id,text\n{row}\n8,fine\n")
    assert [summary(item) for item in csv_rows(path, id="id", text="text")] == [expected, ("8", "fine")]


def test_a_quotation_mark_that_is_never_closed_is_reported(tmp_path: Path) -> None:
    path = written(tmp_path, 'id,text\n7,fine\n8,"open\n9,text\n')
    one, other = csv_rows(path, id="id", text="text")
    assert summary(one) == ("7", "fine")
    assert other.kind == "rejected"
    assert "lines 3 to 4: the quotation marks do not fit" in str(other.content)


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [("utf-8", ""), ("utf-8", "\ufeff"), ("utf-16", ""), ("utf-16-le", "\ufeff"), ("utf-16-be", "\ufeff"),
     ("utf-32", "")],
)  # fmt: skip
def test_a_byte_order_mark_tells_the_encoding(tmp_path: Path, encoding: str, mark: str) -> None:
    path = written(tmp_path, f"{mark}id,text\n7,Grüße\n".encode(encoding))
    assert [summary(item) for item in csv_rows(path, id="id", text="text")] == [("7", "Grüße")]
    assert [item.content for item in csv_rows(path, id="id", text="text", encoding=encoding)] == ["Grüße"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(("line", "delimiter"), [("sep=;", ";"), ("SEP=,", ","), ("sep=\t", "\t"), ("sep=^", "^")])
def test_the_line_of_excel_names_the_delimiter(tmp_path: Path, encoding: str, line: str, delimiter: str) -> None:
    rows = [line, delimiter.join(("id", "text")), delimiter.join(("7", '"a;b,c"'))]
    path = written(tmp_path, "\r\n".join(rows).encode(encoding))
    assert [summary(item) for item in csv_rows(path, id="id", text="text")] == [("7", "a;b,c")]


def test_a_column_may_be_called_as_the_line_of_excel(tmp_path: Path) -> None:
    path = written(tmp_path, "sep=,text\nx,hello")
    assert [summary(item) for item in csv_rows(path, id="sep=", text="text")] == [("x", "hello")]


def test_a_wrong_encoding_is_refused_before_the_first_row_by_its_line(tmp_path: Path) -> None:
    lines = ["id,text", *(f"{number},Hello" for number in range(300)), "300,Grüße", "301,x"]
    path = written(tmp_path, "\n".join(lines).encode("cp1252"))
    text = r"texts.csv' is not UTF-8: byte 0xfc in line 302; pass its encoding, such as encoding='cp1252'"
    with pytest.raises(InputError, match=text):
        csv_rows(path, id="id", text="text")
    assert [item.content for item in csv_rows(path, id="id", text="text", encoding="cp1252")][300] == "Grüße"
    with pytest.raises(InputError, match="is not ASCII: byte 0xfc in line 302.* encoding='utf-8'"):
        csv_rows(path, id="id", text="text", encoding="ascii")


def test_a_wrong_encoding_is_found_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "_BLOCK", 7)
    path = written(tmp_path, "id,text\n1,Grüße\n2,Grüße\n".encode() + b"3,\xff\n")
    with pytest.raises(InputError, match="byte 0xff in line 4"):
        csv_rows(path, text="text")
    path = written(tmp_path, b"id,text\n1,\xc3")  # cut off in a character
    with pytest.raises(InputError, match="byte 0xc3 in line 2"):
        csv_rows(path, text="text")


@pytest.mark.parametrize(
    ("content", "arguments", "text"),
    [
        ("id,txt\n7,Hello\n", {"text": "text", "id": "id"}, "has no column 'text'; it has 'id', 'txt'$"),
        ("nr;text\n7;Hello\n", {"text": "text", "id": "id"}, "has no column 'id'; it has 'nr', 'text'$"),
        ("a,text,text\n", {"text": "text"}, "has several columns 'text'"),
        ("\n\n", {"text": "text"}, "has no column 'text'; it has none"),
        ('"a" b,text', {"text": "text"}, "has no column 'text'; it has none"),
        (",".join(map(str, range(30))), {"text": "text"}, "'19' and 10 more$"),
        ("", {"text": "text"}, "is empty"),
        ("id,text\n".encode("utf-16-le"), {"text": "text"}, "holds NUL bytes: .*pass encoding='utf-16-le'"),
        ("text\nx", {"text": "text", "encoding": "klingon"}, "the name of an encoding, .*; got 'klingon'"),
        ("text\nx", {"text": "text", "encoding": "base64"}, "the name of an encoding, .*; got 'base64'"),
        ("text\nx", {"text": "text", "encoding": 8}, "the name of an encoding, .*; got 8"),
        ("text\nx", {"text": "text", "delimiter": "::"}, "delimiter must be one character, .*; got '::'"),
        ("text\nx", {"text": "text", "delimiter": ";", "id": "id"}, "has no column 'id'; it has 'text'$"),
        ("text\nx", {"text": ""}, "text must be the name of a column, got ''"),
        ("text\nx", {"text": "text", "id": 0}, "id must be the name of a column, got 0"),
    ],
)
def test_what_the_file_does_not_have_is_refused_at_once(
    tmp_path: Path, content: str | bytes, arguments: dict[str, Any], text: str
) -> None:
    with pytest.raises(InputError, match=text):
        csv_rows(written(tmp_path, content), **arguments)


def test_a_file_that_is_missing_is_refused_at_once(tmp_path: Path) -> None:
    for function in (csv_rows, json_rows):
        with pytest.raises(FileNotFoundError):
            function(tmp_path / "none.csv", text="text")


def test_a_large_cell_is_read_and_the_limit_of_other_users_of_csv_stays(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    path = written(tmp_path, "text\n" + "Well. " * 50_000 + "\n")
    (item,) = csv_rows(path, text="text")
    assert len(item.content) == 300_000
    assert csv.field_size_limit() == before
    with pytest.raises(csv.Error, match="limit"):
        list(csv.reader(["x" * (before + 1)]))


def test_a_line_or_cell_beyond_all_measure_ends_the_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "PAYLOAD_LIMIT", 1000)
    path = written(tmp_path, "text\n" + "x" * 1001)
    with pytest.raises(InputError, match="has a line of more than 1000 characters"):
        list(csv_rows(path, text="text"))
    path = written(tmp_path, 'text\n"' + "x\n" * 600 + '"\n')
    with pytest.raises(
        InputError, match="has a cell of more than 1000 characters, line 2: is a quotation mark missing"
    ):
        list(csv_rows(path, text="text"))


@given(st.lists(st.lists(st.text("ab,;\"'\n\r\t äß"), min_size=2, max_size=2), max_size=6))
def test_cells_are_those_that_were_written(cells: list[list[str]]) -> None:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows([["id", "text"], *cells])
    reader = rows._csv()
    assert list(reader.reader(out.getvalue().splitlines(keepends=True), strict=True))[1:] == cells


def test_a_file_that_changes_while_it_is_read_is_reported(tmp_path: Path) -> None:
    path = written(tmp_path, "text\n" + "Hello\n" * 5000)
    found = csv_rows(path, text="text")
    next(iter(found))
    with path.open("r+b") as file:
        file.seek(20_000)
        file.write(b"\xff\xff")
    with pytest.raises(InputError, match="was changed while it was read"):
        list(found)


def test_rows_are_read_as_they_are_used(tmp_path: Path) -> None:
    path = written(tmp_path, "text\none\n")
    found = csv_rows(path, text="text")
    with path.open("a") as file:
        file.write("two\n")
    assert [item.content for item in found] == ["one", "two"]


# --- JSON lines


def json_file(folder: Path, *lines: object) -> Path:
    path = folder / "texts.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ({"id": "a", "text": "Hello"}, ("a", "Hello")),
        ({"id": 7, "text": "Hello"}, ("7", "Hello")),
        ({"id": 7.5, "text": "Hello"}, ("7.5", "Hello")),
        ({"id": "a", "text": "Hello", "score": float("nan")}, ("a", "Hello")),
        ({"text": "Hello"}, ("line 3", "Hello")),
        ({"id": None, "text": "Hello"}, ("line 3", "Hello")),
        ({"id": " ", "text": "Hello"}, ("line 3", "Hello")),
        ({"id": True, "text": "Hello"}, ("line 3", "Hello")),
        ({"id": ["a"], "text": "Hello"}, ("line 3", "Hello")),
        ({"id": "first", "text": "Hello"}, ("first (line 3)", "Hello")),
        ({"id": "a", "text": ""}, ("a", "! the text in line 3 is blank: there is nothing to measure")),
        ({"id": "a", "text": 5}, ("a", "! the text in line 3 is a int, not a str")),
        ({"id": "a"}, ("a", "! the text in line 3 is missing")),
        (["a", "Hello"], ("line 3", "! line 3 is no JSON object")),
        ("{", ("line 3", "! line 3 is no JSON object")),
        ("[" * 100_000, ("line 3", "! line 3 is no JSON object")),
        ('{"id": "\\ud800", "text": "Hello"}', (r"\ud800", "Hello")),
    ],
)
def test_a_line_is_an_item_of_its_id_and_text(tmp_path: Path, line: object, expected: tuple[str, str]) -> None:
    path = json_file(tmp_path, {"id": "first", "text": "One"}, "", line, {"id": "last", "text": "Two"})
    found = [summary(item) for item in json_rows(path, id="id", text="text")]
    assert found == [("first", "One"), expected, ("last", "Two")]


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ([{"id": 1, "txt": "Hello"}], "has no member 'text'; it has 'id', 'txt'"),
        ([{"text": "Hello"}] * 200 + [{"id": 1}], "has no member 'id'; it has 'text'"),
        (["Hello"], "holds no lines of JSON: accepted is one object a line"),
        (["[", '{"id": 1, "text": "x"},', "]"], "is a JSON array: accepted is one object a line"),
        ([[{"id": 1, "text": "x"}]], "is a JSON array"),
        ([""], "is empty"),
        (["", ""], "holds no lines of JSON"),
    ],
)
def test_a_file_of_other_json_is_refused_at_once(tmp_path: Path, lines: list[object], text: str) -> None:
    with pytest.raises(InputError, match=text):
        json_rows(json_file(tmp_path, *lines), id="id", text="text")


def test_lines_of_json_may_be_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    for encoding, given_as in (("utf-8-sig", None), ("utf-16", None), ("cp1252", "cp1252")):
        path.write_bytes('{"text": "Grüße"}\r\n{"text": "Bye"}'.encode(encoding))
        found = json_rows(path, text="text", encoding=given_as)
        assert [summary(item) for item in found] == [("line 1", "Grüße"), ("line 2", "Bye")]
    with pytest.raises(InputError, match="is not UTF-8: byte 0xfc in line 1"):
        json_rows(path, text="text")
