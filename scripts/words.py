"""Find expressions that this project avoids, in code, documentation and test names.

Usage: words.py [PATH ...]

Checks the tracked text files under the paths (default: all) against the list in words.txt beside this file. Prints
each occurrence as FILE:LINE with a replacement, and fails if there is any.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIST = Path(__file__).with_suffix(".txt")

Rule = tuple[re.Pattern[str], str]


def read_rules(text: str) -> list[Rule]:
    """Return the pattern and the replacement of each line of the list."""
    rules = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            phrase, _, advice = line.partition("->")
            pattern = phrase.strip().replace(" ", r"[\s#_]+")
            # Word boundaries at which an underscore counts as a space, so that names are searched as well.
            rules.append((re.compile(rf"(?<![^\W_])(?:{pattern})(?![^\W_])", re.IGNORECASE), advice.strip()))
    return rules


def find(text: str, rules: list[Rule]) -> Iterator[tuple[int, str, str]]:
    """Yield the line number, the text and the replacement of each match."""
    for pattern, advice in rules:
        for match in pattern.finditer(text):
            yield text.count("\n", 0, match.start()) + 1, " ".join(match[0].split()), advice


def tracked_files(paths: list[str]) -> Iterator[Path]:
    """Yield the tracked files under the paths, without the list itself."""
    command = ["git", "ls-files", "-z", "--", *paths]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout  # noqa: S603 - a fixed command
    files = (ROOT / name for name in listed.split("\0") if name)
    yield from (file for file in files if file != LIST and file.is_file())


def main(paths: list[str]) -> int:
    """Print all matches; return 1 if there are any, else 0."""
    rules = read_rules(LIST.read_text("utf-8"))
    status = 0
    for file in tracked_files(paths):
        try:
            text = file.read_text("utf-8")
        except UnicodeDecodeError:
            continue  # not a text file
        for line, found, advice in sorted(find(text, rules)):
            print(f"{file.relative_to(ROOT)}:{line}: {found!r}" + (f" (write: {advice})" if advice else ""))
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
