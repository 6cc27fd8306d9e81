"""Batches: items in, results out as they finish, over threads or any executor."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from os import PathLike

import attrs

from ..errors import InputError
from ..net.validation import to_bool, to_count, to_seconds
from ..stream import HumeStreamClient, ModelConfigBase
from ..stream.client_spec import ClientSpec
from ..stream.requests import check_window
from .execution import Execution, is_local
from .item import Item, ItemError, Result
from .pace import Pace, RateUnit
from .progress import Progress
from .reader import ItemReader
from .result_log import ResultLog
from .sources import without_file
from .summary import Summary, Tally
from .worker import Job

__all__ = ["Batch"]

_DUPLICATE = ItemError("InputError", None, "an earlier item has the same key", retryable=False)


class Batch:
    """Measures many items, each as a stream of its own.

    ::

        batch = Batch(HumeStreamClient(), [ProsodyConfig()], workers=8)
        summary = batch.run(files("clips/"), out="scores.jsonl", progress=True)

    Items that fail are results with an ``error``. What every item would meet, such as a wrong key or a server that
    cannot be reached, is raised; nothing is recorded of the items that were under way then. An outage in mid-run is
    waited out.

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
        configs = None if configs is None else tuple(configs)
        check_window(stream_window_ms)
        Pace(rate_limit, rate_unit)
        self._client = client
        self._executor = executor
        self._workers = to_count("workers", workers, 1)
        self._rate = (rate_limit, rate_unit)
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

        Leaving the loop, or Ctrl-C, ends all requests under way at once.

        Args:
            items: The items; see `files`, `csv_rows`, `texts` and the like.
            progress: Whether to show the progress on standard error.

        Yields:
            A result for each item, in the order in which they finish.

        Raises:
            AuthenticationError: The server refuses the key.
            ConnectError: It refuses connections, or cannot be reached.
            TransportError: It does not answer.
        """
        with Progress(items, shown=to_bool("progress", progress)) as shown:
            for result in self._measure(items):
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
                the others fail. The file of results is left out, if it lies in a folder that is measured.
            out: The file, which `read_results` reads.
            resume: Whether items are skipped that the file has already, with the same content. If False, the file is
                emptied first.
            retry_failed: Whether those that failed are measured again.
            progress: Whether to show the progress on standard error.

        Returns:
            The counts of the run.

        Raises:
            InputError: The file holds something else than results, or another run is writing it.
            OSError: The file cannot be written.
            AuthenticationError: The server refuses the key.
            ConnectError: It refuses connections, or cannot be reached.
            TransportError: It does not answer.
        """
        began = time.perf_counter()
        tally = Tally()
        items = without_file(items, out)
        with (
            ResultLog.open(out, resume=resume, retry_failed=retry_failed) as log,
            Progress(items, shown=to_bool("progress", progress)) as shown,
        ):
            todo = _Unfinished(items, log, self._job.reader, tally, shown)
            for result in self._measure(todo):
                log.append(result)
                tally.add(result)
                shown.add(result)
        return attrs.evolve(
            tally.summary(),
            skipped=todo.skipped,
            failed_before=todo.failed_before,
            elapsed=time.perf_counter() - began,
        )

    def _measure(self, items: Iterable[Item]) -> Iterator[Result]:
        pace = Pace(*self._rate)
        with Execution(self._client, self._job, self._executor, self._workers) as execution:
            for item in items:
                while execution.is_full or pace.wait():
                    yield from _counted(execution.finished(None if execution.is_full else pace.wait()), pace)
                pace.start()
                execution.submit(item)
                yield from _counted(execution.finished(0.0), pace)
            while execution.pending:
                yield from _counted(execution.finished(None), pace)


def _counted(results: Iterable[Result], pace: Pace) -> Iterator[Result]:
    for result in results:
        pace.finish(result.requests)
        yield result


class _Unfinished:
    """The items that a file does not have yet. A second one with the same key fails, and is not written."""

    def __init__(
        self, items: Iterable[Item], log: ResultLog, reader: ItemReader, tally: Tally, shown: Progress
    ) -> None:
        self.skipped = 0
        self.failed_before = 0
        self._items = items
        self._log = log
        self._reader = reader
        self._tally = tally
        self._shown = shown

    def __iter__(self) -> Iterator[Item]:
        log = self._log
        for item in self._items:
            if log.seen(item.key):
                duplicate = Result(item.key, "", error=_DUPLICATE)
                self._tally.add(duplicate)
                self._shown.add(duplicate)
            elif log.is_done(item.key) and log.hash_of(item.key) == self._reader.hash_of(item):
                self.skipped += 1
                self.failed_before += log.has_failed(item.key)
                self._shown.skip()
            else:
                yield item
