"""The ``hume-sync report`` command: write the results of a batch as one HTML page."""

from __future__ import annotations

import argparse
from collections.abc import Generator

from ..batch.html_report import write_report
from ..batch.report_data import RunFacts

__all__ = ["add_arguments", "run"]

_EPILOG = """\
The page is one file that loads nothing from a network: facts of the run, failures by code, the highest expressions,
and for each item a timeline, a heat map and a player. Media are not copied into it: its players open the files where
they lie, relative to the page, so move them together. Nothing is sent, and no environment variable is read.

exit status:
  0 the page was written; 2 the results cannot be read, or the page cannot be written
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.epilog = _EPILOG
    command.add_argument("results", metavar="RESULTS", help="results of a batch, as JSON lines")
    command.add_argument("--out", required=True, metavar="FILE", help="the page to write, such as report.html")
    command.add_argument(
        "--media", metavar="FOLDER", help="folder of the media (default: that of the page, or of the results)"
    )
    command.add_argument("--by", choices=["item", "folder"], default="item", help="show scores by folder too")
    command.add_argument("--title", help="heading of the page")


def run(arguments: argparse.Namespace) -> Generator[str, None, int]:
    """Write the page.

    Args:
        arguments: The parsed arguments of the command.

    Yields:
        The line to print.

    Returns:
        The exit status.

    Raises:
        InputError: There are no results in the file, or the page cannot have this name.
        OSError: A file cannot be read or written.
    """
    facts = write_report(
        arguments.results, arguments.out, media_root=arguments.media, by=arguments.by, title=arguments.title
    )
    yield f"{arguments.out}: {facts.items} items, {facts.measured} measured, {facts.failed} failed{_note(facts)}"
    return 0


def _note(facts: RunFacts) -> str:
    return {
        "all": ". EMULATED: all scores are invented.",
        "some": f". PARTLY EMULATED: the scores of {facts.emulated_items} of {facts.measured} items are invented.",
        "none": "",
    }[facts.emulated]
