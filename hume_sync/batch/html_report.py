"""A report of a batch: one HTML page that needs no other file and no network."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote

import attrs

from .._version import __version__
from ..errors import InputError, short_repr
from ..stream.filenames import named_kind
from .item import Result
from .report_data import ReportData, RunFacts

__all__ = ["write_report"]

_PAGE: Final = "page"
_SCRIPTS: Final = ("elements.js", "table.js", "charts.js", "detail.js", "report.js")

_ELEMENTS: Final = {"audio": "audio", "audio or video": "video", "image": "img"}
"""The element that shows a file, by what its name announces."""

_SLOT: Final = re.compile(r"\{\{([a-z]+)\}\}")

_INVENTED: Final = "The local server invents scores from a hash of the input: they measure nothing."


def write_report(
    results: str | os.PathLike[str] | Iterable[Result],
    out: str | os.PathLike[str],
    *,
    media_root: str | os.PathLike[str] | None = None,
    by: Literal["item", "folder"] = "item",
    title: str | None = None,
) -> RunFacts:
    """Write the report of a run as one self-contained HTML page, which loads nothing from a network.

    The page has the facts of the run, its failures, the highest expressions, and for each item a timeline, a heat map
    and a player. Media are never copied into the page: it has relative links to the files that are there when it is
    written. Scores are rounded to three digits, and the segments of long items averaged.

    Args:
        results: The file of results (JSON lines), or the results. Of several results with one key the last counts,
            and the last line of a file may be torn.
        out: The file to write; an older one is replaced.
        media_root: The folder that the keys of files are relative to; None: the report's folder, or else that of the
            results.
        by: "folder" shows scores by folder too.
        title: The heading; None: one with the name of the file.

    Returns:
        The facts of the run.

    Raises:
        InputError: There is no result in the file, or a line is none; ``out`` is a folder or the file of results;
            ``by`` is neither "item" nor "folder".
        OSError: A file cannot be read or written.
    """
    if by not in ("item", "folder"):
        raise InputError(f'by must be "item" or "folder", got {short_repr(by)}')
    target = Path(out)
    if target.is_dir():
        raise InputError(f"{str(target)!r} is a folder: name a file for the report")
    if media_root is not None and not Path(media_root).is_dir():
        raise InputError(f"media_root must be a folder, got {short_repr(os.fspath(media_root))}")
    data = ReportData()
    source: Path | None = None
    torn = False
    if isinstance(results, str | os.PathLike):
        source = Path(results)
        if target.exists() and source.exists() and target.samefile(source):
            raise InputError(f"{str(target)!r} is the file of results: name another file for the report")
        torn = _read(source, data)
    else:
        for result in results:
            data.add(result)
    roots = [Path(media_root)] if media_root is not None else [target.parent, *([source.parent] if source else [])]
    content = data.to_json(by_folder=by == "folder", link=_linker(roots, target.parent))
    facts = data.facts()
    content["by"] = by
    content["facts"] = attrs.asdict(facts) | {
        "source": None if source is None else source.name,
        "measured_at": None if source is None else _moment(source.stat().st_mtime),
        "written_at": _moment(datetime.now(UTC).timestamp()),
        "replaced": data.replaced,
        "torn": torn,
    }
    heading = title or f"Expressions in {source.name if source else 'a batch'}"
    target.write_bytes(_page(heading, facts, content))
    return facts


def _read(path: Path, data: ReportData) -> bool:
    """Read a file of results; return whether its last line was torn."""
    number = 0
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                data.add(_checked(Result.from_line(line)))
            except InputError as exc:
                if not line.endswith(b"\n") and number > 1:
                    return True
                raise InputError(f"{path}, line {number}: {exc}") from None
    if not number:
        raise InputError(f"{path} is empty: there are no results to report")
    return False


def _checked(result: Result) -> Result:
    """Return a result whose fields are of the types that they should be."""
    numbers = (result.attempts, result.requests, result.seconds)
    if not isinstance(result.key, str) or any(isinstance(n, bool) or not isinstance(n, int | float) for n in numbers):
        raise InputError("the line holds no result of a batch (TypeError)")
    return result


def _moment(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _linker(roots: list[Path], start: Path) -> Callable[[str], Mapping[str, str] | None]:
    """Return a function that finds the media of a key below one of the folders, and links to it from another."""
    bases = [os.path.abspath(root) for root in roots]  # noqa: PTH100 - resolve() would follow links out of the folder

    def link(key: str) -> Mapping[str, str] | None:
        element = _ELEMENTS.get(named_kind(key) or "")
        if element is None or "\0" in key:
            return None
        for base in bases:
            path = os.path.normpath(os.path.join(base, key))  # noqa: PTH118 - likewise
            if path.startswith(base.rstrip("/") + "/") and os.path.isfile(path):  # noqa: PTH113 - likewise
                return {"element": element, "url": quote(os.fsencode(os.path.relpath(path, start)))}
        return None

    return link


def _page(title: str, facts: RunFacts, content: Mapping[str, Any]) -> bytes:
    page = files(__package__) / _PAGE
    style = (page / "report.css").read_text("utf-8")
    script = "\n".join((page / name).read_text("utf-8") for name in _SCRIPTS)
    slots = {
        "policy": _policy(style, script),
        "title": html.escape(title),
        "ribbon": _ribbon(facts),
        "version": html.escape(__version__),
        "style": style,
        "data": _embedded(content),
        "script": script,
    }
    text = _SLOT.sub(lambda slot: slots[slot[1]], (page / "report.html").read_text("utf-8"))
    return text.encode(
        "utf-8", "backslashreplace"
    )  # within JSON, "\udc80" stands for a byte of a name that is not UTF-8


def _embedded(content: Mapping[str, Any]) -> str:
    """Return JSON that neither ends a script element nor begins a comment in one."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _policy(style: str, script: str) -> str:
    """Return a policy that allows the page's own style and script, and files beside it."""
    rules = {
        "default-src": "'none'",
        "script-src": _digest(script),
        "style-src": _digest(style),
        "img-src": "'self' file:",
        "media-src": "'self' file:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {sources}" for name, sources in rules.items())


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _ribbon(facts: RunFacts) -> str:
    if facts.emulated == "none":
        return ""
    if facts.emulated == "all":
        word, scope = "EMULATED", "All scores on this page are invented."
    else:
        word, scope = (
            "PARTLY EMULATED",
            f"The scores of {facts.emulated_items:,} of {facts.measured:,} items are invented.",
        )
    return f'<div class="ribbon" role="note"><strong>{word}</strong> <span>{scope} {_INVENTED}</span></div>'
