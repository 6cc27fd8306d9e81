from __future__ import annotations

import csv
import json
import math
import sys
from types import MappingProxyType
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hume_sync import (
    BurstConfig,
    ConfigurationError,
    FaceConfig,
    HumeStreamClient,
    InputError,
    LanguageConfig,
    ProsodyConfig,
    StreamResponse,
)
from hume_sync.emulator import names
from hume_sync.stream import score_names, tables
from hume_sync.stream.tables import COLUMNS, Measured, arrow_batches, arrow_schema, arrow_table, rows
from hume_sync.stream.wav import Wav

from .support import FACE, SPEECH

FACTS = ["input", "model", "segment", "begin", "end", "face_id", "text", "window_state", "attempts", "emulated"]


def scored(names: Any, start: float = 0.0) -> list[dict[str, Any]]:
    return [{"name": name, "score": start + place / 1000} for place, name in enumerate(names)]


def reply(**models: Any) -> StreamResponse:
    return StreamResponse({model: {"predictions": predictions} for model, predictions in models.items()})


ODD: dict[str, dict[str, Any]] = {
    "empty": {},
    "null model": {"prosody": None},
    "null predictions": {"prosody": {"predictions": None}},
    "warning": {"prosody": {"warning": "No speech detected.", "code": "W0105"}},
    "null prediction": {"prosody": {"predictions": [None, 1, "x", []]}},
    "no scores": {"facemesh": {"predictions": [{"emotions": []}, {"emotions": None}, {}]}},
    "scores that are none": {"face": {"predictions": [{"emotions": "Joy", "facs": 7, "descriptions": {"a": 1}}]}},
    "null score": {"face": {"predictions": [{"emotions": [{"name": "Joy", "score": None}, None, {"name": "Awe"}]}]}},
    "bool score": {"face": {"predictions": [{"emotions": [{"name": "Joy", "score": True}]}]}},
    "NaN": {"face": {"predictions": [{"emotions": [{"name": "Joy", "score": math.nan}]}]}},
    "infinite": {"face": {"predictions": [{"time": -math.inf, "emotions": [{"name": "Joy", "score": math.inf}]}]}},
    "huge integers": {
        "face": {"predictions": [{"time": 1 << 900, "emotions": [{"name": "Joy", "score": 1 << 900}]}]},
        "burst": {"predictions": [{"time": 1 << 2000, "emotions": [{"name": "Joy", "score": 1 << 2000}]}]},
    },
    "whole number": {"face": {"predictions": [{"time": 1, "emotions": [{"name": "Joy", "score": 1}]}]}},
    "names that are none": {"face": {"predictions": [{"emotions": [{"name": 1, "score": 0.5}, {"score": 0.5}]}]}},
    "texts that are none": {"language": {"predictions": [{"text": 1, "face_id": [2], "emotions": scored(["Joy"])}]}},
    "times that are none": {"burst": {"predictions": [{"time": {"begin": "0", "end": True}}, {"time": "1"}]}},
    "other model": {"gesture": {"predictions": [{"emotions": scored(["Wave", "Joy"]), "tempo": scored(["slow"])}]}},
    "lone surrogates": {
        "language": {"predictions": [{"text": "a\ud800b", "emotions": [{"name": "\udc80", "score": 0.5}]}]}
    },
}


def test_the_names_are_those_of_the_protocol() -> None:
    assert score_names.EMOTIONS == names.LANGUAGE_EMOTIONS
    assert set(names.EMOTIONS) < set(score_names.EMOTIONS)
    for kind in ("FACS", "DESCRIPTIONS", "SENTIMENT", "TOXICITY"):
        assert getattr(score_names, kind) == getattr(names, kind)


def test_the_columns_are_these() -> None:
    assert list(COLUMNS[False]) == [
        "input", "model", "segment", "kind", "begin", "end", "face_id", "text", "name", "score",
        "window_state", "attempts", "emulated",
    ]  # fmt: skip
    wide = list(COLUMNS[True])
    assert (wide[:10], wide[-1], len(wide)) == (FACTS, "other", 10 + 53 + 36 + 27 + 9 + 6 + 1)
    assert wide[10:12] == ["Admiration", "Adoration"]
    for name in ("facs:AU12 Lip Corner Puller", "descriptions:Smile", "sentiment:9", "toxicity:insult"):
        assert COLUMNS[True][name] == "float32"
    assert COLUMNS[False]["score"] == "float64"


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("body", ODD.values(), ids=ODD)
def test_the_schema_is_the_same_for_any_reply(body: dict[str, Any], wide: bool) -> None:
    table = StreamResponse(body).to_arrow(wide=wide)
    table.validate(full=True)
    assert table.schema == arrow_schema(wide=wide)
    frame = StreamResponse(body).to_pandas(wide=wide)
    usual = reply(prosody=[{"time": {"begin": 0, "end": 1}, "emotions": scored(names.EMOTIONS)}]).to_pandas(wide=wide)
    assert list(frame.dtypes) == list(usual.dtypes)
    assert list(frame.columns) == list(usual.columns) == list(COLUMNS[wide])


@pytest.mark.parametrize("body", ODD.values(), ids=ODD)
def test_the_long_table_has_the_scores_that_records_have(body: dict[str, Any]) -> None:
    assert_as_records(StreamResponse(body))


def assert_as_records(measured: StreamResponse) -> None:
    found = [(row["model"], row["segment"], row["kind"], row["name"], row["score"]) for row in long_rows(measured)]
    expected = [
        (record["model"], record["segment"], record["kind"], visible(record["name"]), float(record["score"]))
        for record in measured.to_records()
    ]
    assert repr(found) == repr(expected)  # NaN is not equal to itself


def long_rows(measured: StreamResponse) -> list[dict[str, Any]]:
    table: list[dict[str, Any]] = measured.to_arrow().to_pylist()
    return table


def visible(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def test_replies_of_every_model_have_the_scores_that_records_have(hume_client: HumeStreamClient) -> None:
    configs: list[Any] = [LanguageConfig(sentiment={}, toxicity={}), FaceConfig(facs={}, descriptions={})]
    measured = []
    with hume_client.connect(configs[:1]) as socket:
        measured.append(socket.send_text("What a day! I am so tired."))
    with hume_client.connect(configs[1:]) as socket:
        measured.append(socket.send_media(FACE))
    with hume_client.connect([BurstConfig(), ProsodyConfig()]) as socket:
        measured.append(socket.send_media(next(Wav.parse(SPEECH).cut(3.0))))  # type: ignore[union-attr]  # it is one
    for item in measured:
        assert_as_records(item)
        (record, *_), (row, *_) = item.to_records(), long_rows(item)
        assert (row["begin"], row["end"]) == (record["t_start"], record["t_end"])
        assert [row[name] for name in ("face_id", "text")] == [record[name] for name in ("face_id", "text")]
        assert (row["input"], row["window_state"], row["attempts"], row["emulated"]) == (
            None, item.window_state, 1, True,
        )  # fmt: skip
        assert_wide_as_long(item)


def assert_wide_as_long(measured: StreamResponse) -> None:
    """Check that the wide table says of each prediction what the long one does."""
    wide = {(row["model"], row["segment"]): row for row in measured.to_arrow(wide=True).to_pylist()}
    scores: dict[tuple[str, int], dict[str, float]] = {place: {} for place in wide}
    for row in long_rows(measured):
        column = row["name"] if row["kind"] == "emotions" else f"{row['kind']}:{row['name']}"
        scores[row["model"], row["segment"]][column] = row["score"]
        for fact in FACTS:
            assert repr(row[fact]) == repr(wide[row["model"], row["segment"]][fact])
    for place, row in wide.items():
        held = {name: row[name] for name in list(COLUMNS[True])[10:-1] if row[name] is not None}
        found = held | json.loads(row["other"] or "{}", parse_constant=float)
        assert set(found) == set(scores[place])
        for name, score in scores[place].items():
            assert found[name] is None or repr(single(found[name])) == repr(single(score))


def single(number: float) -> float:
    """Return the nearest number of 32 bits."""
    value: float = pa.array([number], pa.float32())[0].as_py()
    return value


KNOWN = st.sampled_from([*names.LANGUAGE_EMOTIONS[:3], *names.FACS[:2], "1", "toxic", "Mine", "\ud800"])
JSON = st.none() | st.booleans() | st.integers() | st.floats() | KNOWN
SCORES = st.lists(
    st.fixed_dictionaries({"name": KNOWN, "score": st.floats(width=32)})
    | st.dictionaries(st.sampled_from(["name", "score"]), JSON)
    | JSON
)
PREDICTION = st.dictionaries(
    st.sampled_from(["emotions", "facs", "sentiment", "toxicity", "text", "time", "face_id"]), SCORES | JSON
)
REPLY = st.dictionaries(
    st.sampled_from(["burst", "face", "language", "gesture", "code"]),
    st.fixed_dictionaries({"predictions": st.lists(PREDICTION | JSON)}) | JSON,
)


@settings(max_examples=40)
@given(REPLY)
def test_any_reply_has_the_scores_that_records_have_in_both_tables(body: dict[str, Any]) -> None:
    measured = StreamResponse(body)
    assert_as_records(measured)
    assert_wide_as_long(measured)
    for wide in (False, True):
        plain = [dict(zip(COLUMNS[wide], row, strict=True)) for row in rows([Measured(measured)], wide=wide)]
        found = measured.to_arrow(wide=wide).to_pylist()
        assert len(plain) == len(found)
        for mine, row in zip(plain, found, strict=True):
            for name, kind in COLUMNS[wide].items():
                value = mine[name]
                value = single(value) if kind == "float32" and value is not None else value
                assert repr(visible(value) if isinstance(value, str) else value) == repr(row[name])


def test_scores_of_names_that_are_not_in_the_protocol_are_in_a_column_of_their_own() -> None:
    found = {"emotions": scored(["Joy", "Bliss"], 0.5), "facs": scored(["AU99 Ear Wiggle"], 0.25)}
    (row,) = reply(face=[found]).to_arrow(wide=True).to_pylist()
    assert row["Joy"] == 0.5
    assert json.loads(row["other"]) == {"Bliss": 0.501, "facs:AU99 Ear Wiggle": 0.25}


def test_what_a_prediction_has_no_score_for_is_null_and_nan_is_not() -> None:
    some = {"emotions": [{"name": "Joy", "score": 0.5}, {"name": "Awe", "score": math.nan}]}
    full = {"emotions": scored(names.EMOTIONS), "facs": scored(names.FACS)}
    table = reply(face=[some, full, {}, full, some]).to_arrow(wide=True)
    assert [table[name].null_count for name in ("Joy", "Awe", "Anger", "Sarcasm", table.schema.names[63])] == [
        1, 1, 3, 5, 3,
    ]  # fmt: skip
    assert table["Joy"].to_pylist()[:3] == [0.5, single(names.EMOTIONS.index("Joy") / 1000), None]
    assert math.isnan(table["Awe"][0].as_py())


def test_the_last_of_several_scores_with_one_name_is_in_the_wide_table() -> None:
    (row,) = reply(face=[{"emotions": [*scored(["Joy"]), *scored(["Joy"], 0.5)]}]).to_arrow(wide=True).to_pylist()
    assert row["Joy"] == 0.5


def test_lists_of_any_number_of_layouts_keep_their_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_MOST_LAYOUTS", 3)
    predictions: list[dict[str, Any]] = []
    for place in range(30):
        score: Any = place / 64 if place % 2 else place  # some are whole numbers
        emotions = [{"name": name, "score": score} for name in names.EMOTIONS[place % 7 :: 5]]
        predictions.append({"emotions": emotions} if place % 4 else {"facs": emotions})
    measured = reply(face=predictions)
    assert_as_records(measured)
    assert_wide_as_long(measured)


@pytest.mark.parametrize("limit", ["_BATCH_ROWS", "_BATCH_CHARACTERS"])
@pytest.mark.parametrize("wide", [False, True])
def test_a_table_of_many_batches_is_the_same(wide: bool, limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = [
        Measured(reply(language=[{"text": f"word {place}", "emotions": scored(names.LANGUAGE_EMOTIONS[: place % 7])}]))
        for place in range(40)
    ]
    whole = arrow_table(measured, wide=wide)
    monkeypatch.setattr(tables, limit, MappingProxyType({False: 30, True: 3}) if limit == "_BATCH_ROWS" else 60)
    assert len(list(arrow_batches(measured, wide=wide))) > 3
    assert arrow_table(measured, wide=wide) == whole


def test_pandas_has_a_row_a_score_or_a_row_a_prediction() -> None:
    measured = reply(language=[{"text": text, "emotions": scored(names.LANGUAGE_EMOTIONS)} for text in ("Hi", "you")])
    long, wide = measured.to_pandas(), measured.to_pandas(wide=True)
    assert (len(long), len(wide)) == (106, 2)
    assert isinstance(long, pd.DataFrame)
    assert list(wide["text"]) == ["Hi", "you"]
    assert long.groupby("segment")["score"].max().to_list() == [0.052, 0.052]
    assert str(wide["Joy"].dtype) == "float32"


def test_plain_rows_can_be_written_as_csv(capsys: pytest.CaptureFixture[str]) -> None:
    measured = Measured(reply(language=[{"text": 'a "b",\nc', "emotions": scored(["Joy"])}]), "one", "warm", 2, True)
    csv.writer(sys.stdout).writerows(rows([measured], wide=False))
    assert capsys.readouterr().out == 'one,language,0,emotions,,,,"a ""b"",\nc",Joy,0.0,warm,2,True\r\n'


@pytest.mark.parametrize(("method", "module"), [("to_arrow", "pyarrow"), ("to_pandas", "pandas")])
def test_a_missing_extra_is_named(method: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    extra = "arrow" if module == "pyarrow" else "pandas"
    with pytest.raises(ConfigurationError, match=f'needs hume_sync with the extra "{extra}": the module {module} is'):
        getattr(StreamResponse(), method)()


@pytest.mark.parametrize("method", ["to_arrow", "to_pandas"])
def test_wide_is_true_or_false(method: str) -> None:
    with pytest.raises(InputError, match="wide must be True or False, got 'yes'"):
        getattr(StreamResponse(), method)(wide="yes")
