"""``hume-sync report``."""

from __future__ import annotations

from pathlib import Path

import pytest

from hume_sync.cli.main import main

from .batch import runs


def test_the_command_writes_a_page_and_says_what_is_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = runs.write_lines(tmp_path / "scores.jsonl", runs.invented(80))
    page = tmp_path / "report.html"
    assert main(["report", str(lines), "--out", str(page), "--by", "folder", "--title", "Calls <of> May"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{page}: 80 items, 78 measured, 2 failed. EMULATED: all scores are invented.\n"
    assert not err
    assert "<h1>Calls &lt;of&gt; May</h1>" in page.read_text("utf-8")


def test_the_command_notes_a_mixed_run_and_nothing_of_a_real_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real = list(runs.invented(2, emulated=False))
    mixed = [real[0], *list(runs.invented(2))[1:]]
    for results, note in ((real, ""), (mixed, ". PARTLY EMULATED: the scores of 1 of 2 items are invented.")):
        lines = runs.write_lines(tmp_path / "scores.jsonl", results)
        assert main(["report", str(lines), "--out", str(tmp_path / "r.html"), "--media", str(tmp_path)]) == 0
        assert capsys.readouterr().out == f"{tmp_path / 'r.html'}: 2 items, 2 measured, 0 failed{note}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.jsonl", "--out", "r.html"], "No such file or directory: 'none.jsonl'"),
        (["empty.jsonl", "--out", "r.html"], "empty.jsonl is empty: there are no results to report"),
        (["text.txt", "--out", "r.html"], "text.txt, line 1: the line holds no result of a batch (JSONDecodeError)"),
        ([".", "--out", "r.html"], "Is a directory: '.'"),
        (["scores.jsonl", "--out", "."], "'.' is a folder: name a file for the report"),
        (
            ["scores.jsonl", "--out", "scores.jsonl"],
            "'scores.jsonl' is the file of results: name another file for the report",
        ),
        (["scores.jsonl", "--out", "none/r.html"], "No such file or directory: 'none/r.html'"),
        (["scores.jsonl", "--out", "r.html", "--media", "none"], "media_root must be a folder, got 'none'"),
        (["scores.jsonl"], "the following arguments are required: --out (see hume-sync report --help)"),
    ],
)
def test_what_cannot_be_read_or_written_is_one_line_and_status_2(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    runs.write_lines(tmp_path / "scores.jsonl", runs.invented(2))
    (tmp_path / "empty.jsonl").write_bytes(b"")
    (tmp_path / "text.txt").write_text("What a day!\n")
    monkeypatch.chdir(tmp_path)
    assert main(["report", *arguments]) == 2
    assert capsys.readouterr() == ("", f"hume-sync: {message}\n")
    assert not (tmp_path / "r.html").exists()
