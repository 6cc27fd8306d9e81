"""Reports: what is in the file. How it looks and works is tested in a browser by test_report_browser.py."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from hume_sync import HumeStreamClient, InputError, StreamResponse
from hume_sync.batch import ItemError, Result
from hume_sync.batch import report_data as report_data_module
from hume_sync.batch.html_report import write_report
from hume_sync.batch.report_series import COLUMNS, encode_scores

from . import runs

ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
HOSTILE = "</script><img src=x onerror=alert(1)>\u2028<!--"


class Document(HTMLParser):
    """The elements of a page, and the contents of those that hold text only."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.raw: list[tuple[str, str]] = []
        self.words = ""
        self.feed(path.read_bytes().decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        if self.tags and self.cdata_elem is not None:
            self.raw.append((self.tags[-1], data))
        else:
            self.words += data

    def values(self, tag: str, name: str) -> list[str]:
        return [value for of, called, value in self.attributes if (of, called) == (tag, name)]

    @property
    def data(self) -> Any:
        return json.loads(next(text for tag, text in self.raw if tag == "script"))


def report(tmp_path: Path, *results: Result, **options: Any) -> Document:
    write_report(results, tmp_path / "report.html", **options)
    return Document(tmp_path / "report.html")


def decode(coded: str | list[float | None]) -> list[float | None]:
    if isinstance(coded, list):
        return coded
    numbers = [ALPHABET.index(a) * 64 + ALPHABET.index(b) for a, b in zip(coded[::2], coded[1::2], strict=True)]
    return [None if number == 4095 else (number - 1000) / 1000 for number in numbers]


def measured(key: str, reply: dict[str, Any], *, emulated: bool = False) -> Result:
    return Result.measured(key, runs.HASH, StreamResponse(reply, emulated=emulated), seconds=0.1, requests=1)


def emotions(**scores: Any) -> list[dict[str, Any]]:
    return [{"name": name, "score": score} for name, score in scores.items()]


def face(**scores: Any) -> dict[str, Any]:
    return {"face": {"predictions": [{"emotions": emotions(**scores)}]}}


def test_a_report_is_one_page_that_allows_only_its_own_script_and_files_beside_it(
    hume_client: HumeStreamClient, tmp_path: Path
) -> None:
    results = runs.write_lines(tmp_path / "scores.jsonl", runs.small_run(hume_client, tmp_path / "media"))
    write_report(results, tmp_path / "report.html", media_root=tmp_path / "media")
    page = Document(tmp_path / "report.html")
    assert not {"link", "iframe", "object", "img", "base", "form"} & set(page.tags)
    assert not page.values("script", "src")
    assert not re.search(
        r"""https?:|url\(|["']//""", (tmp_path / "report.html").read_text().replace("http://www.w3.org/2000/svg", "")
    )
    policy = next(value for value in page.values("meta", "content") if "default-src" in value)
    assert "default-src 'none'" in policy
    for tag, text in [page.raw[0], page.raw[-1]]:
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy


def test_a_report_has_landmarks_headings_a_language_and_a_way_past_them(tmp_path: Path) -> None:
    page = report(tmp_path, *runs.invented(3), title="Calls of May")
    assert page.values("html", "lang") == ["en"]
    assert {"header", "main", "footer", "noscript"} <= set(page.tags)
    assert page.tags.count("h1") == 1
    assert page.words.count("Calls of May") == 2  # title and heading
    labelled = page.values("section", "aria-labelledby")
    assert len(labelled) == page.tags.count("section")
    assert set(labelled) <= set(page.values("h2", "id"))
    assert page.values("a", "href") == ["#items-heading"]
    assert "They are no read-outs of what a person feels." in page.words


def test_names_and_texts_from_outside_are_never_parsed_as_html(tmp_path: Path) -> None:
    prediction = {"text": HOSTILE, "emotions": emotions(**{HOSTILE: 0.5})}
    plain = report(tmp_path, measured("a", face(Joy=1.0)), title="t")
    page = report(
        tmp_path,
        measured(HOSTILE, {"language": {"predictions": [prediction] * 2}, "warning": HOSTILE}),
        Result("b", "", error=ItemError(HOSTILE, HOSTILE, HOSTILE, False)),
        title=HOSTILE,
    )
    assert page.tags == plain.tags
    assert [text for tag, text in page.raw if tag == "script"][-1] == plain.raw[-1][1]
    assert page.data["names"] == [HOSTILE]
    items = {item["key"]: item for item in page.data["items"]}
    assert items[HOSTILE]["series"][0]["texts"] == [HOSTILE] * 2
    assert items[HOSTILE]["warning"] == HOSTILE
    assert items["b"]["error"] == [HOSTILE, HOSTILE, HOSTILE, False]
    assert "\u2028" not in page.raw[1][1]


def test_a_name_that_is_not_utf_8_is_kept(tmp_path: Path) -> None:
    page = report(tmp_path, measured("caf\udce9.wav", face(Joy=1.0)))
    assert page.data["items"][0]["key"] == "caf\udce9.wav"


@pytest.mark.parametrize(
    ("emulated", "word", "sentence"),
    [
        ([True, True], "EMULATED", "All scores on this page are invented."),
        ([True, False], "PARTLY EMULATED", "The scores of 1 of 2 items are invented."),
        ([False, False], None, None),
        ([], None, None),
    ],
)
def test_a_ribbon_says_whether_scores_are_invented(
    emulated: list[bool], word: str | None, sentence: str | None, tmp_path: Path
) -> None:
    page = report(
        tmp_path, runs.failed("x"), *(measured(str(i), face(Joy=0.5), emulated=e) for i, e in enumerate(emulated))
    )
    assert ("ribbon" in page.values("div", "class")) == (word is not None)
    if word and sentence:
        assert f"{word} {sentence} The local server invents scores" in page.words
    assert page.data["facts"]["emulated"] == {2: "all", 1: "some", 0: "none"}[sum(emulated)]


def test_the_facts_of_a_run_are_returned_and_shown(hume_client: HumeStreamClient, tmp_path: Path) -> None:
    results = runs.small_run(hume_client, tmp_path / "media")
    facts = write_report(results, tmp_path / "report.html")
    assert (facts.items, facts.measured, facts.failed, facts.requests) == (10, 7, 3, 20)
    assert facts.models == ("face", "language", "prosody")
    assert (facts.emulated, facts.emulated_items, facts.retried) == ("all", 7, 0)
    assert facts.media_seconds == pytest.approx(60.0 + 12.5 + 4.0)
    assert facts.seconds == pytest.approx(sum(result.seconds for result in results))
    shown = Document(tmp_path / "report.html").data["facts"]
    assert shown["items"] == 10
    assert shown["source"] is None


def test_failures_are_grouped_by_code_the_most_frequent_first(tmp_path: Path) -> None:
    lost = Result("z", "", error=ItemError("FileNotFoundError", None, "No such file", False))
    page = report(tmp_path, lost, *(runs.failed(f"clip {i}", "E0203") for i in range(8)), runs.failed("a"))
    failures = page.data["failures"]
    assert [(failure["error"][:2], failure["count"]) for failure in failures] == [
        (["RequestError", "E0203"], 8),
        (["RequestError", "E0200"], 1),
        (["FileNotFoundError", None], 1),
    ]
    assert [page.data["items"][i]["key"] for i in failures[0]["items"]] == [f"clip {i}" for i in range(5)]


def test_scores_are_rounded_to_three_digits_and_times_are_those_of_the_reply(
    hume_client: HumeStreamClient, tmp_path: Path
) -> None:
    result = runs.clip(hume_client, "clip", runs.tone(60.0))
    data = report(tmp_path, result).data
    assert result.reply is not None
    (series,) = data["items"][0]["series"]
    predictions = result.reply["prosody"]["predictions"]
    assert series["times"] == [prediction["time"][end] for prediction in predictions for end in ("begin", "end")]
    names = [data["names"][name] for name in data["tracks"][series["track"]]["names"]]
    assert names == [emotion["name"] for emotion in predictions[0]["emotions"]]
    scores = [emotion["score"] for prediction in predictions for emotion in prediction["emotions"]]
    assert decode(series["scores"]) == pytest.approx(scores, abs=0.000501)
    means = dict(
        zip([data["names"][name] for name in data["emotions"]], decode(data["items"][0]["means"]), strict=True)
    )
    assert means == pytest.approx(result.reply.emotions(), abs=0.000501)
    assert [data["names"][name] for name, _ in data["items"][0]["top"]] == [name for name, _ in result.top(3)]


def test_the_highest_expressions_of_a_model_are_means_over_items_with_the_highest_item(tmp_path: Path) -> None:
    data = report(tmp_path, measured("a", face(Joy=0.2, Awe=0.9)), measured("b", face(Joy=0.6)), runs.failed("c")).data
    (track,) = data["scopes"][0]["tracks"]
    assert [data["names"][name] for name in data["tracks"][0]["names"]] == ["Joy", "Awe"]
    assert decode(track["means"]) == [0.4, 0.9]
    assert decode(track["highest"]) == [0.6, 0.9]
    assert track["where"] == [1, 0]


def test_a_report_by_folder_has_a_scope_for_each_folder(tmp_path: Path) -> None:
    results = [
        measured("calls/b", face(Joy=0.2)),
        measured("calls/a", face(Joy=0.4)),
        runs.failed("calls/x"),
        measured("calls/may/c", face(Joy=0.8)),
        measured("row", face(Joy=1.0)),
    ]
    data = report(tmp_path, *results, by="folder").data
    assert [(scope["name"], scope["items"], scope["failed"]) for scope in data["scopes"]] == [
        (None, 5, 1), ("calls", 3, 1), ("calls/may", 1, 0), (".", 1, 0),
    ]  # fmt: skip
    assert [decode(scope["tracks"][0]["means"])[0] for scope in data["scopes"]] == [0.6, 0.3, 0.8, 1.0]
    assert [(item["key"], item["folder"]) for item in data["items"]] == [
        ("calls/a", 0), ("calls/b", 0), ("calls/may/c", 1), ("calls/x", 0), ("row", 2),
    ]  # fmt: skip
    assert len(report(tmp_path, *results).data["scopes"]) == 1


def test_items_are_sorted_by_name_with_numbers_in_their_order(tmp_path: Path) -> None:
    keys = ["clip10", "clip2", "b", "clip02", "7", "10", "9" * 5000]
    data = report(tmp_path, *(runs.failed(key) for key in keys)).data
    assert [item["key"] for item in data["items"]] == ["7", "10", "9" * 5000, "b", "clip2", "clip02", "clip10"]


def test_a_run_without_items_and_one_of_failures_alone_have_reports(tmp_path: Path) -> None:
    empty = report(tmp_path)
    assert empty.data["items"] == []
    assert empty.data["facts"]["items"] == 0
    data = report(tmp_path, runs.failed("a"), runs.failed("b"), by="folder").data
    assert data["scopes"][0] == {"name": None, "items": 2, "failed": 2, "tracks": []}
    assert data["facts"]["models"] == []


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"face": None},
        {"face": []},
        {"face": {"predictions": {}}},
        {"face": {"predictions": [None, 3, {"emotions": None}, {"emotions": [None, {"name": 3, "score": 1}]}]}},
        {"face": {"predictions": [{"emotions": emotions(Joy="high", Awe=None, Fear=True)}]}},
        {"error": "x", "code": 3, "warning": ["y"]},
    ],
)
def test_replies_without_scores_are_shown_as_items_without_scores(reply: dict[str, Any], tmp_path: Path) -> None:
    data = report(tmp_path, measured("a", reply)).data
    assert "series" not in data["items"][0]
    assert data["facts"]["measured"] == 1


def test_scores_and_times_of_any_value_are_kept_or_left_out(tmp_path: Path) -> None:
    predictions = [
        {"time": {"begin": 0, "end": "x"}, "emotions": emotions(Joy=-0.5, Awe=1e300, Fear=7)},
        {"time": {"begin": -1, "end": 3}, "emotions": emotions(Awe=-2000)},
        {"time": True, "emotions": emotions(Joy=2)},
    ]
    data = report(
        tmp_path, measured("a", {"prosody": {"predictions": predictions}, "own model": face(Ö=0.1)["face"]})
    ).data
    own, prosody = sorted(data["items"][0]["series"], key=lambda series: -series["track"])
    assert prosody["scores"] == [[-0.5, 1e300, 7], encode_scores([float("nan"), -2000.0], 3), encode_scores([2.0], 3)]
    assert "times" not in prosody
    assert decode(own["scores"]) == [0.1]


def test_faces_have_series_of_their_own(tmp_path: Path) -> None:
    def frame(time: float, *ids: str) -> list[dict[str, Any]]:
        return [{"time": time, "face_id": one, "emotions": emotions(Joy=0.1)} for one in ids]

    named = measured("a", {"face": {"predictions": frame(0.0, "face_0", "face_1") + frame(0.5, "face_0")}})
    unnamed = measured("b", {"face": {"predictions": frame(0.0, "unknown", "unknown") + frame(0.5, "unknown")}})
    crowd = measured("c", {"face": {"predictions": frame(0.0, *(f"face_{i}" for i in range(100)))}})
    data = report(tmp_path, named, unnamed, crowd).data
    assert [(one.get("label", ""), one["times"]) for one in data["items"][0]["series"]] == [
        ("face_0", [0.0, 0.0, 0.5, 0.5]),
        ("face_1", [0.0, 0.0]),
    ]
    assert [(one.get("label", ""), len(one["times"])) for one in data["items"][1]["series"]] == [
        ("", 4),
        ("face 2 of the frame", 2),
    ]
    assert len(data["items"][2]["series"]) == 16


def test_kinds_of_scores_beside_emotions_have_tracks_of_their_own(
    hume_client: HumeStreamClient, tmp_path: Path
) -> None:
    data = report(tmp_path, runs.picture(hume_client, "a"), runs.text(hume_client, "b", "One. Two.")).data
    assert {(track["model"], track["kind"]) for track in data["tracks"]} == {
        ("face", "emotions"), ("face", "facs"), ("language", "emotions"), ("language", "sentiment"),
    }  # fmt: skip
    assert "AU1 Inner Brow Raise" not in {data["names"][name] for name in data["emotions"]}


def test_segments_of_a_long_item_are_averaged(tmp_path: Path) -> None:
    count = 4 * COLUMNS + 2
    predictions = [
        {"time": {"begin": i, "end": i + 1}, "text": f"t{i}", "emotions": emotions(Joy=i % 5 / 5)} for i in range(count)
    ]
    (series,) = report(tmp_path, measured("a", {"prosody": {"predictions": predictions}})).data["items"][0]["series"]
    assert len(series["counts"]) <= COLUMNS
    assert sum(series["counts"]) == count
    assert series["times"][:4] == [0, 5, 5, 10]
    assert series["times"][-1] == count
    assert decode(series["scores"])[0] == 0.4
    assert series["texts"][0] == "t0 t1 t2 t3 t4"


def test_a_run_with_too_many_scores_is_averaged_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_data_module, "_BUDGET", 4000)
    results = list(runs.invented(30, segments=8))
    data = report(tmp_path, *results).data
    series = [one for item in data["items"] for one in item.get("series", [])]
    assert sum(len(one["scores"]) // 2 for one in series) <= 4000
    assert {sum(one.get("counts", [1])) for one in series} == {1, 8}
    result = results[1]
    assert result.reply is not None
    item = next(item for item in data["items"] if item["key"] == result.key)
    (one,) = item["series"]
    first = result.reply["prosody"]["predictions"][0]["emotions"][0]["name"]
    at = [data["names"][name] for name in data["tracks"][one["track"]]["names"]].index(first)
    width = len(data["tracks"][one["track"]]["names"])
    rows, weights = decode(one["scores"])[at::width], one["counts"]
    mean = sum(score * weight for score, weight in zip(rows, weights, strict=True) if score is not None) / 8
    assert mean == pytest.approx(result.reply.emotions()[first], abs=0.0011)


def test_an_item_of_one_segment_takes_at_most_350_bytes(tmp_path: Path) -> None:
    sizes = []
    for count in (200, 1200):
        write_report(runs.invented(count), tmp_path / "report.html")
        sizes.append((tmp_path / "report.html").stat().st_size)
    assert (sizes[1] - sizes[0]) / 1000 <= 350


# --- files


def test_of_two_lines_of_a_key_the_last_counts(tmp_path: Path) -> None:
    results = [runs.failed("a"), measured("b", face(Joy=0.1)), measured("a", face(Joy=0.5))]
    lines = runs.write_lines(tmp_path / "scores.jsonl", results)
    facts = write_report(lines, tmp_path / "report.html")
    data = Document(tmp_path / "report.html").data
    assert (facts.items, facts.failed) == (2, 0)
    assert data["facts"]["replaced"] == 1
    assert data["facts"]["source"] == "scores.jsonl"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", data["facts"]["measured_at"])


def test_a_torn_last_line_is_left_out_and_a_whole_one_without_line_end_is_not(tmp_path: Path) -> None:
    first, second = (measured(key, face(Joy=0.1)).to_line() for key in "ab")
    lines = tmp_path / "scores.jsonl"
    for end, items in ((second[:-20], 1), (second[:-1], 2)):
        lines.write_bytes(first + end)
        assert write_report(lines, tmp_path / "report.html").items == items
        assert Document(tmp_path / "report.html").data["facts"]["torn"] == (items == 1)


LINE = measured("a", face(Joy=0.1)).to_line()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "{} is empty: there are no results to report"),
        (b"hello\n", "{}, line 1: the line holds no result of a batch (JSONDecodeError)"),
        (b"hello", "{}, line 1: the line holds no result of a batch (JSONDecodeError)"),
        (LINE + b"{}\n" + LINE, "{}, line 2: the line holds no result of a batch (KeyError)"),
        (LINE + LINE.replace(b'"a"', b"3"), "{}, line 2: the line holds no result of a batch (TypeError)"),
        (
            LINE.replace(b'"attempts":1', b'"attempts":"x"'),
            "{}, line 1: the line holds no result of a batch (TypeError)",
        ),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "{}, line 1: the line holds no result of a batch (JSONDecodeError)"),
    ],
)
def test_a_file_that_holds_no_results_is_refused_by_line(content: bytes, message: str, tmp_path: Path) -> None:
    lines = tmp_path / "scores.jsonl"
    lines.write_bytes(content)
    with pytest.raises(InputError) as caught:
        write_report(lines, tmp_path / "report.html")
    assert str(caught.value) == message.format(lines)
    assert not (tmp_path / "report.html").exists()


def test_a_reply_that_is_no_object_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scores.jsonl").write_bytes(
        LINE.replace(b'{"face":', b'[{"face":').replace(b'},"attempts"', b'}],"attempts"')
    )
    with pytest.raises(InputError, match="line 1: the line holds no result of a batch"):
        write_report(tmp_path / "scores.jsonl", tmp_path / "report.html")


def test_arguments_are_checked_before_anything_is_read(tmp_path: Path) -> None:
    lines = runs.write_lines(tmp_path / "scores.jsonl", [measured("a", face(Joy=0.1))])
    before = lines.read_bytes()
    with pytest.raises(InputError, match="is a folder: name a file for the report"):
        write_report(lines, tmp_path)
    with pytest.raises(InputError, match="is the file of results: name another file"):
        write_report(lines, tmp_path / "." / "scores.jsonl")
    with pytest.raises(InputError, match='by must be "item" or "folder", got \'day\''):
        write_report(lines, tmp_path / "report.html", by="day")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="media_root must be a folder"):
        write_report(lines, tmp_path / "report.html", media_root=lines)
    with pytest.raises(FileNotFoundError):
        write_report(tmp_path / "none.jsonl", tmp_path / "report.html")
    with pytest.raises(FileNotFoundError):
        write_report(lines, tmp_path / "none" / "report.html")
    assert lines.read_bytes() == before


@pytest.mark.parametrize(
    ("key", "link"),
    [
        ("a b.wav", ("audio", "../media/a%20b.wav")),
        ("x/100%#?.mp4", ("video", "../media/x/100%25%23%3F.mp4")),
        ("caf\udce9.JPG", ("img", "../media/caf%E9.JPG")),
        ("none.wav", None),
        ("notes.txt", None),
        ("../secret.wav", None),
        ("x", None),
        ("nul\0.wav", None),
    ],
)
def test_media_are_linked_relative_to_the_report_and_only_from_their_folder(
    key: str, link: tuple[str, str] | None, tmp_path: Path
) -> None:
    (tmp_path / "media" / "x").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    for name in ("a b.wav", "x/100%#?.mp4", "caf\udce9.JPG", "notes.txt", "../secret.wav"):
        (tmp_path / "media" / name).write_bytes(b"")
    write_report([measured(key, face(Joy=0.1))], tmp_path / "out" / "report.html", media_root=tmp_path / "media")
    media = Document(tmp_path / "out" / "report.html").data["items"][0].get("media")
    assert media == (link and {"element": link[0], "url": link[1]})


def test_media_are_looked_for_beside_the_report_and_then_beside_the_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "a.wav").write_bytes(b"")
    (tmp_path / "b.wav").write_bytes(b"")
    (tmp_path / "out" / "b.wav").write_bytes(b"")
    absolute = str(tmp_path / "a.wav")
    runs.write_lines(tmp_path / "scores.jsonl", [measured(key, face(Joy=0.1)) for key in ("a.wav", "b.wav", absolute)])
    monkeypatch.chdir(tmp_path)
    write_report("scores.jsonl", "out/report.html")
    items = Document(tmp_path / "out" / "report.html").data["items"]
    assert {item["key"]: item["media"]["url"] for item in items} == {
        "a.wav": "../a.wav", "b.wav": "b.wav", absolute: "../a.wav",
    }  # fmt: skip
