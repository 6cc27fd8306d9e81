"""README and docs: every example runs, every table agrees with the code, every public name is documented."""

from __future__ import annotations

import importlib.util
import inspect
import io
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest

from hume_sync import FaceConfig, HumeClientException, HumeStreamClient, LanguageConfig, RetryPolicy
from hume_sync.cli import main as cli
from hume_sync.emulator import Emulator, Knobs

from .documentation import (
    FASTRTC,
    PAGES,
    ROOT,
    Example,
    blocks,
    commands,
    examples,
    fake_application,
    run,
    write_inputs,
)

DOCS = ROOT / "docs"
EXAMPLES = [example for page in PAGES for example in examples(page)]
COMMANDS = sorted({each for page in PAGES for each in commands(page) if "hume-sync" in each})
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)]*)?\)")


@pytest.fixture
def folder(tmp_path: Path, hume_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the examples find their files; the environment names the server."""
    write_inputs(tmp_path)
    monkeypatch.setenv("HUME_BASE_URL", hume_emulator.url)
    monkeypatch.setenv("HUME_API_KEY", "any")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def fastrtc() -> Iterator[str]:
    with fake_application() as fake:
        yield fake.url


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_every_python_example_runs(
    example: Example, folder: Path, fastrtc: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(example, folder, fastrtc, capsys)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_runs(command: str, folder: Path, fastrtc: str, monkeypatch: pytest.MonkeyPatch) -> None:
    command = command.replace(FASTRTC, fastrtc)
    if "|" in command:
        before, command = command.split(" | ")
        piped = subprocess.run(["sh", "-c", before], stdout=subprocess.PIPE, check=True).stdout
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(piped)))
    words = shlex.split(command)[1:]
    if words[0] == "report":
        assert cli.main(["batch", "clips", "--out", words[1], "--quiet"]) == 0
    assert cli.main(words) == 0


@pytest.mark.parametrize("page", [*PAGES, *ROOT.glob("[A-Z]*.md")], ids=lambda page: page.stem)
def test_every_link_to_a_file_finds_it(page: Path) -> None:
    for target, _ in LINK.findall(page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_page_is_in_the_navigation() -> None:
    pages = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    assert sorted(pages) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_hook", ROOT / "scripts" / "docs_hook.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_public_name_is_in_the_reference_and_has_a_docstring() -> None:
    assert list(reference().problems()) == []


# --- tables that repeat what the code says ---------------------------------------------------------------


def table(page: str, heading: str) -> list[list[str]]:
    """Return the rows of the first table behind a heading of a page, without its head."""
    _, found, rest = (DOCS / page).read_text("utf-8").partition(heading)
    assert found, heading
    lines = re.findall(r"(?:^\|.*\n)+", rest, re.MULTILINE)[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def quoted(cells: list[list[str]], column: int = 0) -> list[str]:
    """Return the names in backticks of a column, in their order."""
    return [name for row in cells for name in re.findall(r"`(\w+)`", row[column])]


def arguments(function: Any) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


def test_every_setting_of_the_local_server_is_listed_with_its_default() -> None:
    rows = table("guides/local-server.md", "## Settings")
    default = Knobs()
    listed = {row[0].strip("`"): row[1].strip("`") for row in rows}
    assert list(listed) == [field.name for field in attrs.fields(Knobs)]
    for name, shown in listed.items():
        value = getattr(default, name)
        assert shown == repr(dict(value) if not isinstance(value, str | tuple) and hasattr(value, "keys") else value)


def test_every_argument_of_client_pool_and_policy_is_listed() -> None:
    assert sorted(quoted(table("guides/threads.md", "## Every argument"))) == sorted(arguments(HumeStreamClient.pool))
    assert sorted(quoted(table("guides/models.md", "## Settings of the client"))) == sorted(arguments(HumeStreamClient))
    assert quoted(table("guides/retries.md", "## The policy")) == arguments(RetryPolicy)


def test_every_setting_of_a_streaming_model_is_listed() -> None:
    rows = table("guides/models.md", "## Settings")
    for model, config in (("language", LanguageConfig), ("face", FaceConfig)):
        batch_only = {"identify_speakers", "save_faces"}
        fields = {field.name for field in attrs.fields(config)} - batch_only
        assert set(quoted([row for row in rows if row[0] == model], 1)) == fields


def test_every_counter_of_a_pool_is_listed(hume_client: HumeStreamClient) -> None:
    with hume_client.pool([LanguageConfig()]) as pool:
        keys = set(pool.stats())
    rows = [*table("guides/logging.md", "## Counters"), *table("guides/logging.md", "| `wait_seconds`")]
    assert sorted(quoted(rows)) == sorted(keys)


ERRORS = {
    name: value
    for module in ("hume_sync", "hume_sync.fastrtc")
    for name in importlib.import_module(module).__all__
    if inspect.isclass(value := getattr(importlib.import_module(module), name))
    and issubclass(value, HumeClientException)
}
BASES = {"HumeClientException", "PoolError", "TransportError"}


def test_every_error_is_listed_with_the_status_that_a_view_answers() -> None:
    (code,) = (block for block in blocks(DOCS / "guides" / "errors.md", "python") if "def http_status" in block)
    example: dict[str, Any] = {}
    exec(code, example)
    listed = {}
    for heading in ("## What to do about each", "FastRTC only:"):
        for row in table("guides/errors.md", heading):
            listed[row[0].strip("`")] = row[3]
    assert set(listed) == set(ERRORS) - BASES
    for name, status in listed.items():
        error = ERRORS[name]("text")
        if "retryable" in status:  # it depends on the HTTP status of the server's answer
            assert example["http_status"](ERRORS[name]("text", status=503)) == 503
            assert example["http_status"](ERRORS[name]("text", status=403)) == 502
        else:
            assert str(example["http_status"](error)) == status, name
