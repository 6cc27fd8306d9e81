"""Batches: items in, results out as they finish, over threads or any executor."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import closing
from os import PathLike
from pathlib import Path
from typing import Any

import attrs
import orjson

from ..errors import InputError, short_repr
from ..net.clock import monotonic
from ..net.interrupts import from_handler
from ..net.validation import to_bool, to_count, to_seconds
from ..stream import HumeStreamClient, ModelConfigBase
from ..stream.client_spec import ClientSpec
from ..stream.configs import check_configs, serialize_configs
from ..stream.requests import check_window
from .execution import Execution, is_local
from .item import Item, ItemError, Result, Source
from .pace import Pace, RateUnit
from .progress import Progress
from .reader import ItemReader
from .result_log import ResultLog
from .summary import Summary, Tally
from .worker import Job, failure

__all__ = ["Batch"]

_DUPLICATE = ItemError("InputError", None, "an earlier item has the same key", retryable=False)


class Batch:
    """Measures many items, each as a stream of its own.

    ::

        batch = Batch(HumeStreamClient(), [ProsodyConfig()], workers=8)
        summary = batch.run(files("clips/"), out="scores.jsonl", progress=True)

    Items that fail are results with an ``error``. What every item would meet, such as a wrong key, an account without
    credits or a server that cannot be reached, is raised; nothing is recorded of the items that were under way then. An
    outage in mid-run is waited out.

    Args:
        client: The client, or the `ClientSpec` of one.
        configs: One configuration per model; an item is measured by those that suit its type, and fails if none
            does. None for all that suit it.
        stream_window_ms: The length of the server's sliding audio window, as for `HumeStreamClient.connect`.
        workers: Items measured at one time, and connections, of each process.
        executor: What runs the work: None for threads of its own; any `concurrent.futures.Executor`, which is left
            open; or a function that returns one, which is shut down, and recreated if its processes are killed. Other
            processes build clients of their own from `HumeStreamClient.spec`.
        timeout: Seconds that a request may take, retries included.
        patience: Seconds for which an outage in mid-run is waited out.
        rate_limit: The most ``rate_unit`` a second for the whole run; None for no limit.
        rate_unit: "requests" or "items".
        split: Whether what is too long for one request is split into several; if False, such items fail.
        scale_images: Whether images that are too large are scaled down; if False, such items fail.

    Raises:
        InputError: A configuration, number or flag is not usable.
        ConfigurationError: Other processes cannot know how to build the client.
    """

    def __init__(
        self,
        client: HumeStreamClient | ClientSpec,
        configs: Iterable[ModelConfigBase] | None = None,
        *,
        stream_window_ms: float | None = None,
        workers: int = 8,
        executor: Executor | Callable[[], Executor] | None = None,
        timeout: float = 60.0,
        patience: float = 600.0,
        rate_limit: float | None = None,
        rate_unit: RateUnit = "requests",
        split: bool = True,
        scale_images: bool = False,
    ) -> None:
        if isinstance(client, ClientSpec):
            client = HumeStreamClient.from_spec(client)
        if not isinstance(client, HumeStreamClient):
            raise InputError(f"client must be a HumeStreamClient or a ClientSpec, got {type(client).__name__}")
        if not (executor is None or isinstance(executor, Executor) or callable(executor)):
            raise InputError(f"executor must be an Executor, a function that returns one, or None; got {executor!r}")
        configs = None if configs is None else check_configs(configs)
        window = check_window(stream_window_ms)
        Pace(rate_limit, rate_unit)
        self._client = client
        self._executor = executor
        self._workers = to_count("workers", workers, 1)
        self._rate = (rate_limit, rate_unit)
        self._settings = _settings(configs, window)
        self._job = Job(
            spec=None if is_local(executor) else client.spec(),
            stream_window_ms=stream_window_ms,
            connections=self._workers,
            timeout=to_seconds("timeout", timeout),
            patience=to_seconds("patience", patience, zero=True),
            reader=ItemReader(configs, split=split, scale_images=scale_images),
        )

    def stream(self, items: Iterable[Item], *, progress: bool = False) -> Iterator[Result]:
        """Measure items and yield their results as they finish, reading a few items ahead.

        Leaving the loop, or Ctrl-C, ends all requests under way at once. The items are read by the same thread: while
        their source waits, for its next row say, results wait too.

        Args:
            items: The items; see `files`, `csv_rows`, `texts` and the like.
            progress: Whether to show the progress on standard error.

        Yields:
            A result for each item, in the order in which they finish.

        Raises:
            InputError: ``items`` is no iterable of `Item`.
            AuthenticationError: The server refuses the key.
            RequestError: The account has no credits left (E0300).
            ConnectError: It refuses connections, or cannot be reached.
            TransportError: It does not answer.
        """
        to_bool("progress", progress)
        items = _checked(items)
        with Progress(items, shown=progress) as shown, closing(self._measure(items)) as results:
            for result in results:
                shown.add(result)
                yield result.compact()

    def run(
        self,
        items: Iterable[Item],
        *,
        out: str | PathLike[str],
        resume: bool = True,
        retry_failed: bool = False,
        progress: bool = False,
    ) -> Summary:
        """Measure items and write a line of JSON for each to a file. Run again, it goes on where it was stopped.

        Args:
            items: The items. Their keys name them in the file: of several with one key, the first is measured, and
                the others fail. The file itself is not measured if it is among them.
            out: The file, which `read_results` reads.
            resume: Whether items are skipped that the file has already, with the same content, or that cannot be read
                any more. The file must be of a batch with the same models, options and window. If False, the file is
                emptied first.
            retry_failed: Whether those that failed are measured again.
            progress: Whether to show the progress on standard error.

        Returns:
            The counts of the run.

        Raises:
            InputError: ``items`` is no iterable of `Item`; another run is writing the file; or it holds something else
                than results, or those of other models, or measurements and this is the local server, or the reverse.
            OSError: The file cannot be written.
            AuthenticationError: The server refuses the key.
            RequestError: The account has no credits left (E0300).
            ConnectError: It refuses connections, or cannot be reached.
            TransportError: It does not answer.
        """
        began = monotonic()
        to_bool("progress", progress)
        items = _checked(items)
        tally = Tally()
        with (
            ResultLog(out, resume=resume, retry_failed=retry_failed, settings=self._settings) as log,
            Progress(items, shown=progress) as shown,
        ):
            todo = _Unfinished(items, log, self._job.reader, tally, shown)
            with closing(self._measure(todo)) as results:
                for result in results:
                    log.append(result)
                    tally.add(result)
                    shown.add(result)
        return attrs.evolve(tally.summary(), elapsed=monotonic() - began)

    def _measure(self, items: Iterable[Item]) -> Generator[Result]:
        pace = Pace(*self._rate)
        with Execution(self._client, self._job, self._executor, self._workers) as execution:
            for item in items:
                if item.kind == "rejected":
                    yield attrs.evolve(_rejected(item), settings=self._settings)
                    yield from self._counted(execution.finished(0.0), pace)
                    continue
                while execution.is_full or pace.wait():
                    yield from self._counted(execution.finished(None if execution.is_full else pace.wait()), pace)
                pace.start()
                execution.submit(item)
                yield from self._counted(execution.finished(0.0), pace)
            while execution.is_busy:
                yield from self._counted(execution.finished(None), pace)

    def _counted(self, results: Iterable[Result], pace: Pace) -> Iterator[Result]:
        for result in results:
            pace.finish(result.requests + result.attempts - 1 if result.requests else 0)
            yield attrs.evolve(result, settings=self._settings)


def _rejected(item: Item) -> Result:
    """Return the failure of an item without a request; its error need not be one that executors can pickle."""
    reason = item.content
    return failure(item, reason if isinstance(reason, Exception) else InputError(f"rejected: {short_repr(reason)}"))


def _settings(configs: tuple[ModelConfigBase, ...] | None, window: float | None) -> str:
    """Return what decides on the scores, as `Result.settings`. Splitting and scaling only avoid failures."""
    settings: dict[str, Any] = {"models": None if configs is None else serialize_configs(configs)}
    if window is not None:
        settings["stream_window_ms"] = window
    return orjson.dumps(settings, option=orjson.OPT_SORT_KEYS).decode()


def _checked(items: Iterable[Item]) -> Iterable[Item]:
    """Return the items, each of which is checked as it is read; as an iterator only if they are one."""
    if isinstance(items, str | bytes | Mapping) or not isinstance(items, Iterable):
        raise _no_items(items)
    return _each_checked(items) if isinstance(items, Iterator) else Source(lambda: _each_checked(items))


def _each_checked(items: Iterable[Item]) -> Iterator[Item]:
    for item in items:
        if not isinstance(item, Item):
            raise _no_items(item)
        yield item


def _no_items(got: object) -> InputError:
    return InputError(
        f"items must be an iterable of Item, as files(...), csv_rows(...), texts(...) and items(...) return; got"
        f" {short_repr(got)}"
    )


class _Unfinished:
    """The items that a file does not have yet. A second one with the same key fails, and is not written."""

    def __init__(
        self, items: Iterable[Item], log: ResultLog, reader: ItemReader, tally: Tally, shown: Progress
    ) -> None:
        self._items = items
        self._log = log
        self._reader = reader
        self._tally = tally
        self._shown = shown

    def __iter__(self) -> Iterator[Item]:
        log = self._log
        for item in self._items:
            if item.kind == "file" and _is_same_file(item.content, log.path):
                continue
            if log.seen(item.key):
                duplicate = Result(item.key, "", error=_DUPLICATE)
                self._tally.add(duplicate)
                self._shown.add(duplicate)
            elif log.is_done(item.key) and self._reader.hash_of(item) in (log.hash_of(item.key), ""):
                self._tally.skip(failed=log.has_failed(item.key), emulated=log.is_emulated(item.key))
                self._shown.skip()
            else:
                yield item


def _is_same_file(path: Any, log: Path) -> bool:
    try:
        return os.path.samefile(path, log)  # noqa: PTH121 - for what is no path too
    except (OSError, ValueError, TypeError) as exc:
        if from_handler(exc):
            raise
        return False
