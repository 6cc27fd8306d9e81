"""The ``hume-sync batch`` command: measure many files, rows or texts into a file; a second run goes on."""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Self

import attrs

from ..batch import Batch, Item, csv_rows, files, json_rows, path_list, read_results
from ..batch.item import Source
from ..batch.sources import without_file
from ..errors import ConfigurationError, InputError
from ..net.extras import NeedsExtra, import_extra
from ..net.interrupts import from_handler
from ..reprs import safe_repr
from ..stream import HumeStreamClient
from ..stream.responses import printable
from .inputs import MODELS
from .send import parse_models

__all__ = ["add_arguments", "run"]

_PARTIAL_FAILURE: Final = 3

_EPILOG = """\
inputs:
  Folders are walked, patterns such as "clips/*.wav" are expanded, and each file is measured as a stream of its own.
  What is too long for one request is split: audio into five seconds, texts between sentences. Audio that is not WAV,
  and videos, need the extra "media" for that. Alternatives to paths: --csv or --jsonl with the columns --id and --text,
  or --list with one path a line (- for standard input).

output:
  A line of JSON for each input. If FILE exists, what it has already is skipped: run the same command again after
  Ctrl-C, a crash or an outage. FILE.parquet (extra "arrow") and FILE.csv are written at the end, from
  FILE.parquet.jsonl or FILE.csv.jsonl beside them. Of a folder that is measured, these files are left out.

environment:
  HUME_BASE_URL, HUME_API_KEY, proxies and certificates, as for hume-sync send

exit status:
  0 all inputs were measured; 1 the server cannot be reached, or failed; 2 invalid usage, configuration or key;
  3 some inputs failed; 130 Ctrl-C
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.epilog = _EPILOG
    command.add_argument(
        "paths", nargs="*", metavar="PATH", help="file, folder or pattern; - for a list on standard input"
    )
    source = command.add_mutually_exclusive_group()
    source.add_argument("--csv", metavar="FILE", help="measure the texts of a CSV file's rows")
    source.add_argument("--jsonl", metavar="FILE", help="measure the texts of a file with one JSON object a line")
    source.add_argument("--list", metavar="FILE", help="measure the files that are listed, one path a line")
    command.add_argument("--id", metavar="COLUMN", help="the column that names each row; default: the line number")
    command.add_argument("--text", metavar="COLUMN", help="the column with the text (default text)")
    command.add_argument("--landmarks", action="store_true", help="the files hold facemesh landmarks (JSON or .npy)")
    command.add_argument(
        "--models", type=parse_models, help=f"comma-separated, of {', '.join(MODELS)}; default: by type"
    )
    command.add_argument("--out", required=True, metavar="FILE", help="FILE.jsonl, FILE.parquet or FILE.csv")
    command.add_argument("--wide", action="store_true", help="a column for each name in .parquet and .csv")
    command.add_argument("--workers", type=int, default=8, metavar="N", help="inputs measured at one time (default 8)")
    command.add_argument("--rate", type=float, metavar="N", help="at most this many requests a second")
    command.add_argument("--retry-failed", action="store_true", help="measure again what has failed before")
    command.add_argument("--scale-images", action="store_true", help="scale down images that are too large")
    command.add_argument("--window", type=float, metavar="MS", help="sliding audio window, 500 to 10000")
    command.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS", help="timeout of each request")
    command.add_argument(
        "--patience",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="wait out an outage of this length (default 600)",
    )
    command.add_argument("--dask", metavar="ADDRESS", help="run on this Dask cluster (tcp://host:8786)")
    command.add_argument("--url", help="the server; default: HUME_BASE_URL")
    command.add_argument("--quiet", action="store_true", help="show no progress")


def run(arguments: argparse.Namespace) -> Generator[str, None, int]:
    """Measure all inputs.

    Args:
        arguments: The parsed arguments of the command.

    Yields:
        The lines to print.

    Returns:
        The exit status.

    Raises:
        InputError: There is nothing to measure, or an argument is not usable.
        ConfigurationError: No server is configured, or an extra is missing.
        AuthenticationError: The server refuses the key.
        TransportError: It cannot be reached, or does not answer.
        OSError: A file cannot be read or written.
    """
    output = _Output.of(arguments.out, wide=arguments.wide)
    items = output.left_out_of(_items(arguments))
    try:
        with _Executor(arguments.dask) as executor:
            batch = Batch(
                HumeStreamClient(base_url=arguments.url, timeout=arguments.timeout),
                [MODELS[name] for name in arguments.models] if arguments.models else None,
                stream_window_ms=arguments.window,
                workers=arguments.workers,
                executor=executor,
                timeout=arguments.timeout,
                patience=arguments.patience,
                rate_limit=arguments.rate,
                scale_images=arguments.scale_images,
            )
            summary = batch.run(
                items, out=output.lines, retry_failed=arguments.retry_failed, progress=not arguments.quiet
            )
        yield from str(summary).splitlines()
        if summary.failed_before:
            yield "to measure again what failed before: add --retry-failed"
        output.write_table()
        yield f"written to {printable(str(output.path))}"
    except KeyboardInterrupt:
        piped = ", with the same list on standard input" if _is_piped(arguments) else ""
        sys.stderr.write(f"hume-sync: interrupted; to go on{piped}: {printable(arguments.command_line)}\n")
        raise
    return 0 if summary.ok else _PARTIAL_FAILURE


@safe_repr
@attrs.frozen
class _Output:
    """Where the results go."""

    path: Path
    """As it was given."""
    lines: Path
    """The file of JSON lines: the same, or one beside a table."""
    wide: bool

    @classmethod
    def of(cls, name: str, *, wide: bool) -> Self:
        """Check, before anything is sent, what can be."""
        path = Path(name)
        kind = path.suffix.lower()
        if kind not in (".jsonl", ".parquet", ".csv"):
            raise InputError(f"--out must end in .jsonl, .parquet or .csv, got {name!r}")
        if kind == ".jsonl":
            if wide:
                raise InputError("--wide is for tables: --out must end in .parquet or .csv")
            return cls(path, path, wide)
        if kind == ".parquet":
            import_extra("pyarrow.parquet", extra="arrow", what="--out FILE.parquet")
        lines = path.with_name(path.name + ".jsonl")
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "results need a file, and this is a folder", name)
        if path.exists() and not lines.exists():
            raise InputError(
                f"{name!r} exists, and no earlier run has written it (there is no {lines.name!r} beside it):"
                " name another file, or remove it"
            )
        return cls(path, lines, wide)

    def left_out_of(self, items: Iterable[Item]) -> Iterable[Item]:
        """Return items without the table, which may lie among them."""
        return items if self.path == self.lines else without_file(items, self.path)

    def write_table(self) -> None:
        """Write the table, if one was asked for."""
        if self.path == self.lines:
            return
        results = read_results(self.lines)
        write = results.to_csv if self.path.suffix.lower() == ".csv" else results.to_parquet
        write(self.path, wide=self.wide)


def _is_piped(arguments: argparse.Namespace) -> bool:
    return bool(arguments.list == "-" or arguments.paths == ["-"])


def _items(arguments: argparse.Namespace) -> Iterable[Item]:
    rows = arguments.csv or arguments.jsonl
    if sum(map(bool, (rows, arguments.list, arguments.paths))) != 1:
        raise InputError("name either paths, or one of --csv, --jsonl and --list")
    if rows:
        if arguments.landmarks:
            raise InputError("--landmarks is for files, not for the rows of --csv and --jsonl")
        read = csv_rows if arguments.csv else json_rows
        return read(rows, id=arguments.id, text="text" if arguments.text is None else arguments.text)
    if arguments.id is not None or arguments.text is not None:
        raise InputError("--id and --text name columns of --csv or --jsonl")
    named = "-" if _is_piped(arguments) else arguments.list
    items = path_list(named) if named else files(*arguments.paths)
    if not arguments.landmarks:
        return items
    return _landmarks(items) if isinstance(items, Iterator) else Source(lambda: _landmarks(items))


def _landmarks(items: Iterable[Item]) -> Iterator[Item]:
    """Yield files as landmarks: JSON as it is, arrays of numpy read."""
    for item in items:
        suffix = item.content.suffix.lower() if item.kind == "file" else ".json"
        if suffix == ".json":
            yield item
        elif suffix == ".npy":
            yield _array(item)
        else:
            yield Item(item.key, "rejected", InputError(f"{item.key} is neither .json nor .npy (--landmarks)"))


def _array(item: Item) -> Item:
    with NeedsExtra("speed", "a .npy file"):
        import numpy as np  # noqa: PLC0415 - an extra
    try:
        with item.content.open("rb") as file:
            return Item(item.key, "landmarks", np.lib.format.read_array(file, allow_pickle=False))
    except (OSError, ValueError, MemoryError) as exc:
        if from_handler(exc):
            raise
        broken = exc if isinstance(exc, OSError) else InputError(f"{item.key} holds no array of numbers: {exc}")
        return Item(item.key, "rejected", broken.with_traceback(None))


class _Executor:
    """The executor of a run: None without a cluster; else one on the cluster, whose connection is closed at the end."""

    def __init__(self, address: str | None) -> None:
        self._address = address
        self._cluster: Any = None

    def __enter__(self) -> Any:
        if self._address is None:
            return None
        with NeedsExtra("dask", "--dask"):
            from distributed import Client  # noqa: PLC0415 - an extra

            from ..batch.dask import DaskExecutor  # noqa: PLC0415 - needs the extra
        try:
            self._cluster = Client(self._address, timeout=10)
        except (OSError, ValueError) as exc:
            raise ConfigurationError(f"no Dask cluster at {self._address}: {exc}") from None
        return DaskExecutor(self._cluster)

    def __exit__(self, *_: object) -> None:
        if self._cluster is not None:
            self._cluster.close()
