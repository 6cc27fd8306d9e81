from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hume_sync.fastrtc.outputs import TOO_LARGE, ServerSentEvent, SSEParser


def parsed(stream: bytes) -> list[ServerSentEvent | None]:
    return SSEParser().feed(stream)


def texts(stream: bytes) -> list[str | None]:
    return [event.data if event else None for event in parsed(stream)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_lines_end_in_any_of_three_ways(end: bytes) -> None:
    assert texts(end.join([b"data: a", b"data: b", b"", b"data: c", b"", b""])) == ["a\nb", "c"]


def test_a_line_end_split_between_two_pieces_is_one() -> None:
    parser = SSEParser()
    assert parser.feed(b"data: a\r") == []
    assert parser.feed(b"\ndata: b\r") == []
    assert [event.data if event else None for event in parser.feed(b"\n\r")] == ["a\nb"]
    assert parser.feed(b"") == []
    assert parser.feed(b"\n") == []
    assert [event.data if event else None for event in parser.feed(b"data: c\n\n")] == ["c"]


def test_an_event_is_there_as_soon_as_its_carriage_return_is() -> None:
    assert texts(b"data: a\r\r") == ["a"]


def test_one_space_behind_the_colon_is_not_part_of_the_value() -> None:
    assert texts(b"data:a\n\ndata: a\n\ndata:  a\n\n") == ["a", "a", " a"]


def test_a_byte_order_mark_is_ignored_at_the_beginning_and_nowhere_else() -> None:
    parser = SSEParser()
    assert parser.feed(b"\xef\xbb") == []
    assert [event.data if event else None for event in parser.feed(b"\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n")] == ["a"]


def test_comments_and_unknown_fields_are_ignored() -> None:
    assert texts(b": keep-alive\nwhat: ever\n:\ndata: a\nDATA: b\n data: c\n\n") == ["a"]


def test_without_data_there_is_no_event() -> None:
    assert texts(b"event: ping\nid: 7\n\n\n\ndata: a\n\n") == ["a"]


def test_a_field_without_a_colon_has_an_empty_value() -> None:
    assert texts(b"data\n\ndata\ndata\n\n") == ["", "\n"]


def test_what_is_incomplete_at_the_end_is_no_event() -> None:
    assert texts(b"data: a\n\ndata: b\n") == ["a"]


def test_an_event_has_its_name_and_the_last_identifier() -> None:
    assert parsed(b"event: named\nid: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n") == [
        ServerSentEvent("a", "named", "1"),
        ServerSentEvent("b", "message", "1"),
        ServerSentEvent("c", "message", ""),
    ]


def test_an_identifier_with_a_nul_is_ignored() -> None:
    assert parsed(b"id: a\0b\ndata: x\n\n") == [ServerSentEvent("x")]


@pytest.mark.parametrize(
    ("value", "retry"),
    [(b"1500", 1500), (b"1.5", None), (b"-1", None), (b"", None), ("\u0663".encode(), None), (b"9" * 5000, None)],
)
def test_a_retry_counts_where_it_is_a_number_of_milliseconds(value: bytes, retry: int | None) -> None:
    assert parsed(b"retry: " + value + b"\ndata: x\n\ndata: y\n\n") == [
        ServerSentEvent("x", retry=retry),
        ServerSentEvent("y"),
    ]


def test_bytes_that_are_no_utf_8_are_replaced() -> None:
    assert texts(b"data: a\xffb\xe2\x82\n\n") == ["a\ufffdb\ufffd"]


PIECES = b"data: \xe2\x82\xac|data|event: e|id: 1|:c|\r|\n|\r\n|\xef\xbb\xbf|\xff|\n\n".split(b"|")


@given(st.lists(st.sampled_from(PIECES)).map(b"".join), st.data())
def test_it_does_not_matter_how_the_stream_is_cut(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    parser = SSEParser()
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert [event for piece in pieces for event in parser.feed(piece)] == parsed(stream)


BIG = b"x" * 100


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: " + BIG + b"\n\n", ["x" * 100]),
        (b"\xef\xbb\xbfdata: " + BIG + b"\r\n\n", ["x" * 100]),
        (b"data: " + BIG + b"x\n\ndata: 1\n\n", [TOO_LARGE, "1"]),
        (b"data: " + BIG * 9 + b"\n\ndata: 1\n\n", [TOO_LARGE, "1"]),
        (b"data: 0\n\ndata: " + BIG * 9 + b"\ndata: 7\nevent: e\n\ndata: 1\n\n", ["0", TOO_LARGE, "1"]),
        (b"data\n" * 101 + b"\n", ["\n" * 100]),
        (b"data\n" * 102 + b"\ndata: 1\n\n", [TOO_LARGE, "1"]),
        (b"data: " + BIG + b"\ndata\n\ndata: 1\n\n", [TOO_LARGE, "1"]),
        (b"data: " + BIG * 9 + b"\ndata: " + BIG * 9 + b"\n\ndata: 1\n\n", [TOO_LARGE, "1"]),
        (b"data: 1\nevent: " + BIG * 9 + b"\n\ndata: 2\n\n", [TOO_LARGE, "2"]),
        (b"data: 1\n:" + BIG * 9 + b"\n\ndata: 2\n\n", ["1", "2"]),
        (b":" + BIG * 9 + b"\n\ndata: 2\n\n", ["2"]),
    ],
)
def test_an_event_beyond_the_limit_is_reported_of_and_the_next_ones_come(
    stream: bytes, events: list[str | None], size: int
) -> None:
    parser = SSEParser(max_event=100)
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert [event.data if event else None for piece in pieces for event in parser.feed(piece)] == events


def test_an_event_without_end_is_reported_of_at_once_and_once() -> None:
    parser = SSEParser(max_event=100)
    assert parser.feed(b"data: " + BIG) == []
    assert parser.feed(BIG) == [TOO_LARGE]
    assert parser.feed(BIG * 100) == []
    assert len(parser._line) + len(parser._data) < 200
    assert [event.data if event else None for event in parser.feed(b"\n\ndata: 1\n\n")] == ["1"]
