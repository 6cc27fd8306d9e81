from __future__ import annotations

import os
import pickle
from collections.abc import Iterable
from pathlib import Path

import pytest

from hume_sync import InputError
from hume_sync.batch.folders import files
from hume_sync.batch.item import Item


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Make a folder of files, some hidden, some in folders below it."""
    folder = tmp_path / "clips"
    for name in ("b.wav", "a.wav", "notes.txt", "deep/er/c.wav", "deep/d.WAV", ".hidden.wav", ".git/x.wav", "z.wav"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def keys(found: Iterable[Item]) -> list[str]:
    return [item.key for item in found]


def test_a_folder_is_walked_in_the_order_of_names_without_hidden_files(clips: Path) -> None:
    found = list(files(clips))
    assert [item.key for item in found] == ["a.wav", "b.wav", "deep/d.WAV", "deep/er/c.wav", "notes.txt", "z.wav"]
    assert all(item.kind == "file" and item.content == clips / item.key for item in found)


def test_files_are_found_while_they_are_taken(clips: Path) -> None:
    found = iter(files(clips))
    assert next(found).key == "a.wav"
    (clips / "deep" / "new.wav").write_bytes(b"x")
    assert "deep/new.wav" in keys(found)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.wav", ["a.wav", "b.wav", "deep/er/c.wav", "z.wav"]),
        ("[ab]*", ["a.wav", "b.wav"]),
        (".*", [".hidden.wav"]),
        ("*.mp3", []),
    ],
)
def test_a_pattern_of_names_chooses_files(clips: Path, pattern: str, expected: list[str]) -> None:
    assert keys(files(clips, pattern=pattern)) == expected


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.wav", ["a.wav", "b.wav", "z.wav"]),
        ("*/*.WAV", ["deep/d.WAV"]),
        ("**/*.wav", ["a.wav", "b.wav", "deep/er/c.wav", "z.wav"]),
        ("**/er/*", ["deep/er/c.wav"]),
        ("deep/**/c.*", ["er/c.wav"]),
        ("deep/**", ["d.WAV", "er/c.wav"]),
        ("d*p", ["deep/d.WAV", "deep/er/c.wav"]),  # a folder: all that is in it
        (".h*", [".hidden.wav"]),
        (".g*/*.wav", [".git/x.wav"]),
        ("?.wav", ["a.wav", "b.wav", "z.wav"]),
    ],
)
def test_a_glob_pattern_is_expanded(clips: Path, pattern: str, expected: list[str]) -> None:
    assert keys(files(f"{clips}/{pattern}")) == expected


def test_a_pattern_without_a_folder_is_one_of_the_current_folder(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(clips)
    assert keys(files("*.wav")) == ["a.wav", "b.wav", "z.wav"]
    assert keys(files("a.wav")) == ["a.wav"]
    assert keys(files(".", pattern="a*")) == ["a.wav"]


def test_a_name_with_wildcards_that_exists_is_that_file(clips: Path) -> None:
    (clips / "take[1].wav").write_bytes(b"x")
    assert keys(files(f"{clips}/take[1].wav")) == ["take[1].wav"]


def test_files_and_hidden_ones_that_are_given_are_taken_as_they_are(clips: Path) -> None:
    assert keys(files(clips / "b.wav", clips / ".hidden.wav", pattern="*.mp3")) == ["b.wav", ".hidden.wav"]
    assert keys(files(clips / ".git")) == ["x.wav"]


def test_keys_of_several_folders_begin_with_what_tells_these_apart(tmp_path: Path) -> None:
    for name in ("one/clips/a.wav", "two/clips/a.wav", "two/more/a.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    one, two, more = tmp_path / "one/clips", tmp_path / "two/clips", tmp_path / "two/more"
    assert keys(files(two, more)) == ["clips/a.wav", "more/a.wav"]
    assert keys(files(one, two)) == ["one/clips/a.wav", "two/clips/a.wav"]
    assert keys(files(one / "a.wav", two / "a.wav")) == ["one/clips/a.wav", "two/clips/a.wav"]
    assert keys(files(one / "a.wav", f"{two}/*.wav")) == ["one/clips/a.wav", "two/clips/a.wav"]
    assert keys(files(one, f"{one}/")) == ["a.wav"]


def test_a_file_that_two_arguments_name_comes_once(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(clips)
    once = sorted(str(item.content) for item in files(clips))
    for paths in (
        [clips, clips / "a.wav", clips / "deep", f"{clips}/**/*.wav"],
        [clips, tmp_path / "link"],
        [clips, clips, f"{clips}/../clips"],
    ):
        assert len(list(files(*paths))) == len(once)
        assert len(set(keys(files(*paths)))) == len(once)
    before = list(files(clips / "a.wav", f"{clips}/deep/*.WAV", clips))
    assert sorted(str(item.content) for item in before) == once
    assert len(list(files(clips, clips / ".hidden.wav"))) == len(once) + 1


def test_a_link_to_a_folder_that_it_lies_in_is_reported_and_other_links_are_followed(
    clips: Path, tmp_path: Path
) -> None:
    (clips / "deep" / "loop").symlink_to(clips)
    (clips / "self").symlink_to("self")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "e.wav").write_bytes(b"x")
    (clips / "other").symlink_to(tmp_path / "elsewhere")
    (clips / "gone.wav").symlink_to("nowhere.wav")
    found = {item.key: item for item in files(clips)}
    assert {key: item.kind for key, item in found.items() if item.kind == "rejected"} == {
        "deep/loop": "rejected",
        "self": "rejected",
        "gone.wav": "rejected",
    }
    assert "a link to a folder that it lies in" in str(found["deep/loop"].content)
    assert isinstance(found["gone.wav"].content, FileNotFoundError)
    assert "other/e.wav" in found
    assert len(found) == 6 + 3 + 1
    assert pickle.loads(pickle.dumps(found["deep/loop"])).content.args == found["deep/loop"].content.args


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_read_is_reported(clips: Path) -> None:
    (clips / "deep").chmod(0)
    try:
        found = {item.key: item for item in files(clips)}
        alone = list(files(clips / "deep"))
    finally:
        (clips / "deep").chmod(0o700)
    assert isinstance(found["deep"].content, PermissionError)
    assert set(found) == {"a.wav", "b.wav", "deep", "notes.txt", "z.wav"}
    assert [(item.key, item.kind) for item in alone] == [("deep", "rejected")]


def test_a_folder_that_vanishes_during_the_walk_is_reported(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: object) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    found = iter(files(clips))
    assert next(found).key == "a.wav"
    monkeypatch.setattr(os, "scandir", refused)
    kinds = {item.key: item.kind for item in found}
    assert kinds == {"b.wav": "file", "deep": "rejected", "notes.txt": "file", "z.wav": "file"}


def test_names_that_are_not_utf_8_have_different_printable_keys(tmp_path: Path) -> None:
    names = [b"caf\xe9.wav", b"\\xe9.wav", b"\xe9.wav", b"\x85", "\x85".encode(), b"a\nb", "größe\u202f1.wav".encode()]
    for name in names:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(name)
    found = {item.key: item for item in files(tmp_path)}
    assert sorted(found) == sorted(
        [r"caf\xe9.wav", r"\\xe9.wav", r"\xe9.wav", r"\x85", r"\u0085", r"a\u000ab", "größe\u202f1.wav"]
    )
    assert all(key.encode() for key in found)
    assert sorted(item.content.read_bytes() for item in found.values()) == sorted(names)


def test_a_deep_folder_is_walked(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(150):
        deep /= "d"
    deep.mkdir(parents=True)
    (deep / "a.wav").write_bytes(b"x")
    assert keys(files(tmp_path)) == ["d/" * 150 + "a.wav"]


@pytest.mark.parametrize("path", ["nowhere.wav", "no/where", "*.nothing", "no/*.wav", "**/*.nothing"])
def test_what_does_not_exist_is_refused_at_once(clips: Path, path: str) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere|no/where|nothing|no file matches"):
        files(clips, f"{clips}/{path}")


@pytest.mark.parametrize(
    ("paths", "pattern", "text"),
    [
        ((), None, "files needs a path"),
        (("",), None, "a str or a path object that is not empty, got ''"),
        ((None,), None, "got None"),
        ((b"clips",), None, "got b'clips'"),
        ((["a", "b"],), None, r"got \['a', 'b'\]"),
        (("a\0b",), None, "cannot exist"),
        ((".",), "deep/*.wav", r"files\('clips/\*\*/\*.wav'\); got 'deep/\*.wav'"),
        ((".",), "", "got ''"),
        ((".",), 5, "got 5"),
    ],
)
def test_arguments_that_are_no_paths_are_refused_at_once(paths: tuple[str, ...], pattern: str, text: str) -> None:
    with pytest.raises(InputError, match=text):
        files(*paths, pattern=pattern)
