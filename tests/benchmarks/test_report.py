from __future__ import annotations

import json
from pathlib import Path

from benchmarks.figures import figure
from benchmarks.report import lines, target_table, write_json
from benchmarks.results import Chart, Result, Table, Target

TARGETS = [
    Target("text round trip", "hume", figure([2.0, 2.5, 3.0]), "x faster", 2.3, 3.5, more_is_better=True),
    Target("import", "itself", figure([95.0]), "ms", 90, detail=True),
]
RESULT = Result(
    "roundtrip",
    [Table("Text", ["client", "us"], [["ours", "28"], ["floor", "9"]])],
    TARGETS,
    {"rounds": [1, 2]},
    Chart("Text", "us", ["text"], {"ours": [28.0]}),
    ["A note."],
)


def test_every_target_stands_beside_what_was_found_and_whether_that_is_enough() -> None:
    text = "\n".join(target_table(TARGETS))
    first, second = text.splitlines()[-2:]
    assert first.split() == ["text", "round", "trip:", "hume", "2.5", "x", "faster", "2-3", "2.3", "3.5", "ok"]
    assert second.split() == ["import:", "itself", "95", "ms", "95-95", "90", "-", "MISSED"]


def test_a_table_is_aligned_and_followed_by_its_notes() -> None:
    assert list(lines(RESULT)) == ["", "Text", "  client  us", "  ours    28", "  floor    9", "", "A note."]


def test_the_json_holds_every_round_and_what_it_was_measured_on(tmp_path: Path) -> None:
    write_json(RESULT, tmp_path / "new", {"main": {"python": "3.11"}})
    content = json.loads((tmp_path / "new" / "roundtrip.json").read_text())
    assert content["data"] == {"rounds": [1, 2]}
    assert content["measured on"]["main"] == {"python": "3.11"}
    assert content["targets"][0]["figure"]["rounds"] == [2.0, 2.5, 3.0]
    assert [target["verdict"] for target in content["targets"]] == ["target", "missed"]
