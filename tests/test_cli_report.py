from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from hume_sync import InputError, RequestError, StreamResponse
from hume_sync.cli.inputs import MODELS, Payload
from hume_sync.cli.report import JsonLines, Table


def payload(source: str = "input", *models: str) -> Payload:
    return Payload(source, "", [MODELS[model] for model in models or ("face",)], lambda sender: StreamResponse())


def table(*results: tuple[Payload, StreamResponse]) -> Iterator[str]:
    report = Table()
    for result in results:
        yield from report.reply(*result)
    yield from report.end()


def test_a_table_has_a_row_for_each_model_with_its_highest_expressions_or_its_warning() -> None:
    reply = StreamResponse(
        face={
            "predictions": [{"emotions": [{"name": n, "score": s} for n, s in (("A", 0.1), ("B", 0.9), ("C", 0.5))]}]
        },
        burst={"warning": "No vocal bursts detected."},
    )
    lines = list(table((payload("input", "face", "burst", "prosody"), reply)))
    assert [line[54:] for line in lines[1:]] == [
        "B 0.90, C 0.50, A 0.10",
        "(No vocal bursts detected.)",
        "(burst: No vocal bursts detected.)",
    ]


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("short.wav", "short.wav"),
        ("/a/very/long/path/to/some/file.wav", "...ong/path/to/some/file.wav"),
        ("a long text of many words, and more", "a long text of many words..."),
        ("esc\x1b", "esc\\x1b"),
    ],
)
def test_a_long_source_is_shortened_where_it_matters_least(source: str, shown: str) -> None:
    line = list(table((payload(source), StreamResponse())))[1]
    assert line[:28].rstrip() == shown


def test_a_failure_is_a_json_line_of_its_own() -> None:
    (line,) = JsonLines().failure("a.wav", "0.0-5.0 s", RequestError.from_error("E0203", "too long"))
    assert json.loads(line) == {
        "input": "a.wav",
        "part": "0.0-5.0 s",
        "error": {"type": "RequestError", "code": "E0203", "message": "hume(E0203): too long"},
    }
    for error in (InputError("x"), OSError(2, "x", "y")):
        (line,) = JsonLines().failure("a.wav", "", error)
        assert json.loads(line)["error"]["code"] is None
    assert not list(Table().failure("a.wav", "", InputError("x")))
