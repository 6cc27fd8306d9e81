"""What a session takes as a message of the application's own."""

from __future__ import annotations

import types
from typing import Any

import pytest

from hume_sync import InputError
from hume_sync.fastrtc.events import to_message


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("message", "sent"),
    [
        ("", ""),
        ("hello", "hello"),
        (Text("hello"), "hello"),
        ("{not json", "{not json"),
        (' {"event": "mark"} ', ' {"event": "mark"} '),
        ('"start"', '"start"'),
        ('["event", "start"]', '["event", "start"]'),
        ("[" * 10**6, "[" * 10**6),
        ("9" * 5000, "9" * 5000),
        ({"event": "mark", "mark": {"name": "ü"}}, '{"event":"mark","mark":{"name":"ü"}}'),
        (types.MappingProxyType({"type": "start"}), '{"type":"start"}'),
        ({}, "{}"),
        ({"event": ["start"]}, '{"event":["start"]}'),
        ([1, None, "x"], '[1,null,"x"]'),
        ((), "[]"),
        (b"", b""),
        (b'{"event": "start"}', b'{"event": "start"}'),  # which a server does not read
        (bytearray(b"\xff"), b"\xff"),
        (memoryview(b"abcd")[::2], b"ac"),
    ],
    ids=range(19),
)
def test_text_goes_as_it_is_and_values_as_json_and_bytes_as_bytes(message: Any, sent: str | bytes) -> None:
    got = to_message(message)
    assert got == sent
    assert isinstance(got, bytes) is isinstance(sent, bytes)


@pytest.mark.parametrize("event", ["start", "stop", "ping", "media"])
@pytest.mark.parametrize(
    "form",
    [
        lambda event: {"event": event},
        lambda event: {"event": event, "a": float},  # this comes first
        lambda event: f'{{"event": "{event}"}}',
        lambda event: f'{{"event": "mark", "event": "{event}", "x": NaN}}',  # as Python reads it
        lambda event: f'{{"\\u0065vent": "\\u{ord(event[0]):04x}{event[1:]}"}}',
    ],
    ids=range(5),
)
def test_events_by_which_the_session_itself_sends_are_refused(event: str, form: Any) -> None:
    with pytest.raises(InputError, match=f"message must not be the event '{event}': "):
        to_message(form(event))


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (None, "message must be a str, a mapping or a list that JSON can hold, or bytes; got NoneType"),
        (7, "got int"),
        (1.5, "got float"),
        (True, "got bool"),
        ({"a"}, "got set"),
        (object, "got type"),
        ("a\ud800b", "message must be text that UTF-8 can hold; character 1 is a surrogate"),
        ({"a": "\ud800"}, "message cannot be sent as JSON: "),
        ({"a": float("nan")}, "message cannot be sent as JSON: "),
        ([float("inf")], "message cannot be sent as JSON: "),
        ({1: 2}, "message cannot be sent as JSON: "),
        ({"a": b"x"}, "message cannot be sent as JSON: "),
        ([2**70], "message cannot be sent as JSON: "),
    ],
    ids=range(13),
)
def test_what_is_no_message_is_refused_and_never_shown(message: Any, text: str) -> None:
    with pytest.raises(InputError) as caught:
        to_message(message)
    assert text in str(caught.value)
    assert "\ud800" not in str(caught.value)
    assert caught.value.__context__ is None  # nor kept
