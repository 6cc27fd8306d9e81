from __future__ import annotations

import csv
import math
import os
import stat
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyarrow import parquet

from hume_sync import ConfigurationError, HumeStreamClient, InputError, LanguageConfig, MisuseError, StreamResponse
from hume_sync.batch import ItemError, Result
from hume_sync.batch import results as module
from hume_sync.batch.result_log import ResultLog
from hume_sync.batch.results import Results, read_results
from hume_sync.batch.summary import FailureGroup, Summary
from hume_sync.stream.tables import COLUMNS, arrow_schema

from .support import FAILURE, HASH, failed, measured, speech, words

MISSING = ItemError("FileNotFoundError", None, "no such file", False)
AWAY = ItemError("Timeout", None, "no reply in time", True)
MIXED = [
    measured("folder/a.txt"),
    failed("b.wav"),
    measured("c.wav", speech("c")),
    failed("d.wav", MISSING),
    measured("e.wav", StreamResponse({"prosody": {"warning": "No speech detected."}})),
    failed("f.wav"),
]
SETS = {"mixed": MIXED, "none": [], "all failed": [failed("a"), failed("b")]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "scores.jsonl"


def saved(path: Path, results: list[Result]) -> Results:
    path.write_bytes(b"".join(result.to_line() for result in results))
    return read_results(path)


@pytest.fixture(params=["file", "list"])
def load(request: pytest.FixtureRequest, path: Path) -> Callable[[list[Result]], Results]:
    """Make results of a list: read from a file, and in memory."""
    return Results if request.param == "list" else lambda results: saved(path, results)


Load = Callable[[list[Result]], Results]


@pytest.mark.parametrize("held", SETS.values(), ids=SETS)
def test_results_are_those_that_were_written(held: list[Result], load: Load) -> None:
    results = load(held)
    for _ in range(2):
        assert list(results) == held
        assert len(results) == len(held)
        assert list(results.failures()) == [result for result in held if not result.ok]
        assert results.summary() == Summary.of(held)


def test_the_last_line_of_a_key_counts(path: Path) -> None:
    results = saved(path, [measured("a"), measured("b"), failed("a"), measured("c"), measured("b", speech("x"))])
    assert [(result.key, result.ok) for result in results] == [("a", False), ("c", True), ("b", True)]
    assert (len(results), results.summary().failed, len(list(results.failures()))) == (3, 1, 1)
    assert results.to_pandas()["input"].unique().tolist() == ["c", "b"]


def test_what_a_run_appends_meanwhile_is_left_out(path: Path) -> None:
    results = saved(path, [measured("a"), measured("b")])
    iterator = iter(results)
    assert next(iterator).key == "a"
    with ResultLog.open(path) as log:
        log.append(measured("a"))
        assert [result.key for result in iterator] == ["b"]
        assert [result.key for result in results] == ["b", "a"]
        with path.open("ab") as file:
            file.write(measured("c").to_line()[:-20])
        assert [result.key for result in results] == ["b", "a"]


@pytest.mark.parametrize("use", [list, Results.to_arrow, Results.summary, lambda results: list(results.failures())])
def test_a_broken_line_is_named(use: Callable[[Results], object], path: Path) -> None:
    results = saved(path, [measured("a"), failed("b"), measured("c")])
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][:20] + b"\n" + lines[2])
    with pytest.raises(InputError, match=r"^line 2 of '.*scores\.jsonl' holds no result of a batch$"):
        use(results)


DAMAGED = {
    "cut": lambda line: line[:200] + b"}\n",
    "attempts": lambda line: line.replace(b'"attempts":1', b'"attempts":"one"'),
    "many attempts": lambda line: line.replace(b'"attempts":1', b'"attempts":%d' % (1 << 40)),
    "reply": lambda line: line.replace(b'"reply":{', b'"answer":{'),
    "window_state": lambda line: line.replace(b'"window_state":null', b'"window_state":1'),
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_a_line_that_is_damaged_behind_its_beginning_is_named_by_tables(
    damage: Callable[[bytes], bytes], path: Path
) -> None:
    path.write_bytes(measured("a").to_line() + damage(measured("b").to_line()) + measured("c").to_line())
    with pytest.raises(InputError, match=r"^line 2 of '.*scores\.jsonl' holds no result of a batch$"):
        read_results(path).to_arrow()


@pytest.mark.parametrize("content", [b"key,text\n", b"\x89PNG\r\n", b'{"id": 1}\n{"id": 2}\n'])
def test_a_file_of_something_else_is_refused(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"scores\.jsonl' (is no file of results|holds no result)"):
        list(read_results(path))


def test_lines_that_another_program_has_written_again_are_read(path: Path) -> None:
    held = saved(path, [measured('a "quoted" \u00e9\n')])
    line = path.read_bytes()
    path.write_bytes(line.replace(b'{"key":', b'{ "seconds": 1, "key" : ').replace(b',"hash":', b' , "hash": '))
    assert [result.key for result in held] == ['a "quoted" \u00e9\n']


def test_a_file_that_is_missing_is_named_at_once(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"scores\.jsonl"):
        read_results(path)


def test_results_of_an_iterator_are_used_once() -> None:
    results = Results(iter(MIXED))
    with pytest.raises(TypeError, match="no len"):
        len(results)
    assert results.to_arrow(wide=True).num_rows == 3
    with pytest.raises(MisuseError, match="come from an iterator, which can be used once"):
        list(results)
    assert list(Results(iter(MIXED))) == MIXED


def test_what_is_not_iterable_is_refused() -> None:
    with pytest.raises(InputError, match="results must be an iterable of Result, got 1"):
        Results(1)  # type: ignore[arg-type]


def test_results_say_where_they_are_from(path: Path) -> None:
    assert repr(Results([])) == "<Results of list>"
    assert repr(saved(path, [])) == f"<Results of '{path}'>"


# --- tables ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("held", SETS.values(), ids=SETS)
def test_all_tables_have_the_same_columns(held: list[Result], wide: bool, load: Load, tmp_path: Path) -> None:
    results = load(held)
    table = results.to_arrow(wide=wide)
    assert table.schema == arrow_schema(wide=wide)
    assert list(results.to_pandas(wide=wide).dtypes) == list(Results(MIXED).to_pandas(wide=wide).dtypes)
    results.to_parquet(tmp_path / "scores.parquet", wide=wide)
    assert parquet.read_table(tmp_path / "scores.parquet") == table
    results.to_csv(tmp_path / "scores.csv", wide=wide)
    with (tmp_path / "scores.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0] == list(COLUMNS[wide])
    assert len(lines) == table.num_rows + 1


def test_a_row_says_which_item_it_is_of_and_how_it_was_measured(load: Load) -> None:
    rows = load(MIXED).to_arrow(wide=True).to_pylist()
    assert [(row["input"], row["model"], row["segment"], row["text"]) for row in rows] == [
        ("folder/a.txt", "language", 0, "word0"),
        ("folder/a.txt", "language", 1, "word1"),
        ("c.wav", "prosody", 0, None),
    ]
    assert (rows[2]["begin"], rows[2]["end"], rows[2]["window_state"]) == (0.0, 2.0, "warm")
    assert {(row["attempts"], row["emulated"]) for row in rows} == {(1, True)}
    assert rows[0]["Sarcasm"] is not None
    assert rows[2]["Sarcasm"] is None


def test_the_tables_of_results_are_those_of_their_replies(load: Load, hume_client: HumeStreamClient) -> None:
    with hume_client.connect([LanguageConfig(sentiment={})]) as socket:
        reply = socket.send_text("What a day!")
    for wide in (False, True):
        table = load([measured("a", reply)]).to_arrow(wide=wide)
        assert table.drop_columns("input") == reply.to_arrow(wide=wide).drop_columns("input")
        assert set(table["input"].to_pylist()) == {"a"}


def test_a_csv_file_is_read_by_pandas_as_it_was(path: Path, tmp_path: Path) -> None:
    texts = ['say "hi",\nyou', "\rreturn", " blank ", "\u00e9\u4f60\U0001f600", "=1+1", "semi;colon\ttab", "'"]
    scores = [{"name": "Joy", "score": 0.1}, {"name": "Awe", "score": 1e-17}]
    found = [{"text": text, "emotions": scores} for text in texts]
    results = saved(path, [measured('key "1", \u00e9', StreamResponse({"language": {"predictions": found}}))])
    results.to_csv(tmp_path / "scores.csv")
    read = pd.read_csv(tmp_path / "scores.csv", keep_default_na=False, lineterminator="\n")
    expected = results.to_pandas()
    for name in ("input", "kind", "text", "name", "attempts", "emulated"):
        assert read[name].tolist() == expected[name].tolist()
    assert read["score"].tolist() == pytest.approx(expected["score"].tolist(), rel=1e-12)
    assert set(read["begin"]) == set(read["window_state"]) == {""}


def test_a_csv_file_has_the_exact_scores_and_escapes_what_is_no_text(tmp_path: Path) -> None:
    class Odd(Result):
        @property
        def reply(self) -> StreamResponse:
            scores = [{"name": "Joy", "score": math.nan}, {"name": "\ud800", "score": 0.1}]
            return StreamResponse({"face": {"predictions": [{"emotions": scores}]}})

    Results([Odd("a\udcff", HASH)]).to_csv(tmp_path / "scores.csv")
    lines = (tmp_path / "scores.csv").read_text("utf-8").splitlines()
    assert lines[1:] == [
        r"a\udcff,face,0,emotions,,,,,Joy,nan,,1,False",
        r"a\udcff,face,0,emotions,,,,,\ud800,0.1,,1,False",
    ]
    Results([Odd("a\udcff", HASH)]).to_csv(tmp_path / "wide.csv", wide=True)
    assert (tmp_path / "wide.csv").read_text("utf-8").splitlines()[1].endswith(r',"{""\\ud800"":0.1}"')


@pytest.mark.parametrize("limit", ["_GROUP_ROWS", "_GROUP_BYTES"])
def test_a_parquet_file_has_row_groups(limit: str, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = saved(path, [measured(f"{place}", speech(f"{place}")) for place in range(4)])
    whole = results.to_arrow()
    monkeypatch.setattr("hume_sync.stream.tables._BATCH_ROWS", {False: 48, True: 1})
    monkeypatch.setattr(module, limit, 50 if limit == "_GROUP_ROWS" else 10_000)
    results.to_parquet(tmp_path / "scores.parquet")
    with parquet.ParquetFile(tmp_path / "scores.parquet") as file:
        assert file.num_row_groups == 2
        assert file.read() == whole


def test_pandas_and_arrow_read_a_parquet_file_alike(path: Path, tmp_path: Path) -> None:
    results = saved(path, MIXED)
    for wide in (False, True):
        results.to_parquet(tmp_path / "scores.parquet", wide=wide)
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "scores.parquet"), results.to_pandas(wide=wide))


@pytest.mark.slow  # make test-slow installs polars
@pytest.mark.parametrize("held", SETS.values(), ids=SETS)
def test_polars_has_the_same_columns_and_rows(held: list[Result]) -> None:
    import polars as pl

    results = Results(held)
    kinds = {
        "string": pl.String, "int32": pl.Int32, "float64": pl.Float64, "float32": pl.Float32, "bool_": pl.Boolean,
    }  # fmt: skip
    for wide in (False, True):
        frame = results.to_polars(wide=wide)
        assert isinstance(frame, pl.DataFrame)
        assert dict(frame.schema) == {name: kinds[kind] for name, kind in COLUMNS[wide].items()}
        assert frame.to_dicts() == results.to_arrow(wide=wide).to_pylist()


@pytest.mark.parametrize(
    ("method", "module", "extra"),
    [
        ("to_arrow", "pyarrow", "arrow"),
        ("to_parquet", "pyarrow", "arrow"),
        ("to_pandas", "pandas", "pandas"),
        ("to_pandas", "pyarrow", "pandas"),
        ("to_polars", "polars", "polars"),
    ],
)
def test_a_missing_extra_is_named(
    method: str, module: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    arguments = [tmp_path / "scores.parquet"] if method == "to_parquet" else []
    text = f'needs hume_sync with the extra "{extra}": the module {module} is not installed$'
    with pytest.raises(ConfigurationError, match=text):
        getattr(Results(MIXED), method)(*arguments)
    assert os.listdir(tmp_path) == []


def test_csv_needs_no_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pyarrow", "pandas", "polars"):
        monkeypatch.setitem(sys.modules, name, None)
    for wide in (False, True):
        Results(MIXED).to_csv(tmp_path / "scores.csv", wide=wide)


@pytest.mark.parametrize("method", ["to_arrow", "to_pandas", "to_polars", "to_csv", "to_parquet"])
def test_wide_is_true_or_false(method: str, tmp_path: Path) -> None:
    arguments = [tmp_path / "scores"] if method in {"to_csv", "to_parquet"} else []
    with pytest.raises(InputError, match="wide must be True or False, got 1"):
        getattr(Results([]), method)(*arguments, wide=1)


# --- files -------------------------------------------------------------------------------------------------

WRITERS = pytest.mark.parametrize("write", [Results.to_csv, Results.to_parquet])


@WRITERS
def test_a_table_that_cannot_be_written_in_full_leaves_the_file_that_was_there(write: Any, tmp_path: Path) -> None:
    def broken() -> Any:
        yield measured("a")
        raise RuntimeError("mine")

    target = tmp_path / "scores.table"
    target.write_bytes(b"before")
    with pytest.raises(RuntimeError, match="mine"):
        write(Results(broken()), target)
    assert target.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["scores.table"]


@WRITERS
def test_a_table_gets_the_permissions_of_a_new_file_and_keeps_a_link(write: Any, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "scores.table")
    new = tmp_path / "new"
    new.touch()
    write(Results(MIXED), link)
    assert link.is_symlink()
    assert stat.S_IMODE((tmp_path / "scores.table").stat().st_mode) == stat.S_IMODE(new.stat().st_mode)


@WRITERS
def test_a_table_is_written_to_a_device_directly(write: Any) -> None:
    write(Results(MIXED), "/dev/null")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@WRITERS
def test_where_a_table_cannot_be_written_is_named(write: Any, tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match=f"'{tmp_path}'"):
        write(Results(MIXED), tmp_path)
    with pytest.raises(FileNotFoundError, match=f"'{tmp_path}/none/scores"):
        write(Results(MIXED), tmp_path / "none" / "scores")
    with pytest.raises(InputError, match="path must be the name of a file, got None"):
        write(Results(MIXED), None)


# --- summary -----------------------------------------------------------------------------------------------


def test_a_summary_counts_items_and_failures_by_code(load: Load) -> None:
    held = [*MIXED, failed("g", AWAY), *(failed(f"{place}.wav") for place in range(5))]
    summary = load(held).summary()
    assert summary == Summary(
        items=12, failed=9, requests=12, seconds=5.25, emulated=2,
        failures=(
            FailureGroup("E0200", FAILURE.text, False, 7, ("b.wav", "f.wav", "0.wav", "1.wav", "2.wav")),
            FailureGroup("FileNotFoundError", "no such file", False, 1, ("d.wav",)),
            FailureGroup("Timeout", "no reply in time", True, 1, ("g",)),
        ),
    )  # fmt: skip
    assert summary.measured == 3
    assert str(summary).splitlines() == [
        "12 items: 3 measured, 9 failed (2 emulated: invented scores, not measurements)",
        "  E0200 (7): b.wav (hume(E0200): no known type), f.wav, 0.wav, 1.wav, 2.wav, ...",
        "  FileNotFoundError (1): d.wav (no such file)",
        "  Timeout (1): g (no reply in time)",
    ]


# --- size --------------------------------------------------------------------------------------------------


def allocated(use: Callable[[], object]) -> tuple[int, int]:
    """Return the bytes that a call leaves allocated while its result is held, and the most it took."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        held = use()
        after, most = tracemalloc.get_traced_memory()
        del held
    finally:
        tracemalloc.stop()
    return after - before, most - before


def test_the_result_of_a_text_of_14_words_takes_at_most_12_kilobytes() -> None:
    reply = words("text", 14)
    size, _ = allocated(lambda: measured("text", reply).compact())
    assert size <= 12_000


@pytest.mark.slow
@pytest.mark.parametrize("wide", [False, True])
def test_ten_thousand_results_are_read_and_written_in_little_memory(wide: bool, path: Path, tmp_path: Path) -> None:
    reply = StreamResponse({"prosody": {"predictions": [{"emotions": [{"name": "Joy", "score": 0.5}]}]}})
    line = measured("key-00000", reply).to_line()
    path.write_bytes(b"".join(line.replace(b"key-00000", b"key-%05d" % place) for place in range(10_000)))
    results = read_results(path)
    _, index = allocated(lambda: len(results))
    _, most = allocated(lambda: results.to_csv(tmp_path / "scores.csv", wide=wide))
    assert index < 2_500_000  # the keys
    assert most < index + 300_000
    assert len((tmp_path / "scores.csv").read_bytes().splitlines()) == 10_001
