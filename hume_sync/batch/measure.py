"""Scores of the rows of a pandas frame; made for ``map_partitions`` of Dask, pandas-on-Ray and the like."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any, Final

from ..errors import HumeClientException, InputError
from ..net.extras import import_extra
from ..net.validation import to_count, to_seconds
from ..stream import HumeStreamClient, ModelConfigBase
from ..stream.client_spec import ClientSpec
from ..stream.requests import check_window
from ..stream.tables import Measured, arrow_schema, arrow_table
from .item import Item, Result
from .processes import workers_of_process
from .reader import ItemReader
from .sources import text_item
from .worker import Job

__all__ = ["frame", "meta"]

_ERROR: Final = "error"
"""The column that says why a row was not measured."""

_EMULATE: Final = frozenset({"emulate", "_emulate"})
"""The function of Dask that calls others with invented rows."""


def frame(
    partition: Any,
    client: HumeStreamClient | ClientSpec,
    configs: Iterable[ModelConfigBase] | None = None,
    *,
    text: str | None = None,
    path: str | None = None,
    key: str | None = None,
    workers: int = 8,
    stream_window_ms: float | None = None,
    timeout: float = 60.0,
    patience: float = 600.0,
    split: bool = True,
    scale_images: bool = False,
) -> Any:
    """Measure the rows of a ``pandas.DataFrame``, each as a stream of its own, and return a frame of their scores.

    ::

        from hume_sync.batch import measure

        spec = HumeStreamClient().spec()
        configs = [LanguageConfig(granularity="passage")]
        scores = ddf.map_partitions(measure.frame, spec, configs, text="text", meta=measure.meta(ddf))

    The result has the columns of the wide table of `Results` (one row a prediction), and ``error``: a row that failed
    has its class and message there and no scores. Rows have the index of the row that they are of, so the two can be
    joined; ``input`` is the key. Columns and their types are the same for any partition, also for an empty one, which
    no request is sent for. A row in which nothing was found has no row in the result.

    The connections of a process are shared by all partitions that it measures with the same arguments.

    Args:
        partition: The frame.
        client: The client, or the `ClientSpec` of one; clusters need the latter.
        configs: One configuration per model; None for all that suit the row.
        text: The column of the texts; "text" if neither it nor ``path`` is given.
        path: The column of the paths of files, in place of texts.
        key: The column of the keys; None for the index.
        workers: Rows measured at one time, and connections, of each process.
        stream_window_ms: As for `Batch`, like all that follow.
        timeout: Seconds that a request may take, retries included.
        patience: Seconds for which an outage is waited out.
        split: Whether what is too long for one request is split.
        scale_images: Whether images that are too large are scaled down.

    Returns:
        The ``pandas.DataFrame``.

    Raises:
        InputError: An argument is not usable, or the frame has no such column.
        ConfigurationError: pandas or pyarrow is not installed (extra "pandas"), or the client cannot be built here.
        AuthenticationError: The server refuses the key.
        ConnectError: It refuses connections, or cannot be reached.
        TransportError: It does not answer.
    """
    _pandas()
    if not isinstance(client, HumeStreamClient | ClientSpec):
        raise InputError(f"client must be a HumeStreamClient or a ClientSpec, got {type(client).__name__}")
    if text is not None and path is not None:
        raise InputError("text and path cannot both be given: a row is either a text or a file")
    content = path if path is not None else "text" if text is None else text
    check_window(stream_window_ms)
    job = Job(
        spec=client if isinstance(client, ClientSpec) else client.spec(),
        stream_window_ms=stream_window_ms,
        connections=to_count("workers", workers, 1),
        timeout=to_seconds("timeout", timeout),
        patience=to_seconds("patience", patience, zero=True),
        reader=ItemReader(None if configs is None else tuple(configs), split=split, scale_images=scale_images),
    )
    for column in (content, key):
        if column is not None and column not in partition.columns:
            raise InputError(f"the frame has no column {column!r}; it has: {', '.join(map(str, partition.columns))}")
    if not len(partition) or _is_asked_for_meta():
        return meta(partition)
    items = list(_items(partition, content, key, are_paths=path is not None))
    return _table(_measured(job, items), [item.key for item in items], partition.index)


def meta(partition: Any) -> Any:
    """Return the frame without rows that `frame` returns for an empty one: the ``meta`` of Dask.

    Args:
        partition: A frame of pandas or of Dask, whose index is taken.

    Raises:
        ConfigurationError: pandas or pyarrow is not installed (extra "pandas").
    """
    partition = getattr(partition, "_meta", partition)
    return _table([], [], partition.index[:0])


def _is_asked_for_meta() -> bool:
    """Return whether Dask calls with two invented rows, to find out the columns."""
    caller: FrameType | None = sys._getframe(2)
    while caller is not None:
        if caller.f_code.co_name in _EMULATE and caller.f_globals.get("__name__", "").startswith("dask."):
            return True
        caller = caller.f_back
    return False


def _items(partition: Any, content: str, key: str | None, *, are_paths: bool) -> Iterator[Item]:
    keys = partition.index if key is None else partition[key]
    contents = partition[content]
    for name, value, missing in zip(keys, contents, contents.isna(), strict=True):
        if are_paths and isinstance(value, str):
            yield Item(str(name), "file", Path(value))
        else:
            yield text_item(str(name), None if missing else value, "the path" if are_paths else "the text")


def _measured(job: Job, items: list[Item]) -> Iterator[Result]:
    """Yield the results in the order of the items."""
    workers = workers_of_process()
    with (
        workers.borrow(job) as worker,
        ThreadPoolExecutor(min(job.connections, len(items)), thread_name_prefix="hume_sync measure") as executor,
    ):
        futures = deque(executor.submit(worker.measure, item) for item in items)
        try:
            while futures:
                yield futures.popleft().result()
        except BaseException as exc:
            for future in futures:
                future.cancel()
            if not isinstance(exc, HumeClientException):  # Ctrl-C, for one: wait for nothing
                workers.drop(job)
                worker.stop()
            raise


def _table(results: Iterable[Result], keys: list[str], index: Any) -> Any:
    pandas, pyarrow = _pandas()
    schema = arrow_schema(wide=True)
    errors: dict[int, Result] = {}

    def measured() -> Iterator[Measured]:
        for place, result in enumerate(results):
            if result.reply is None:
                errors[place] = result
            else:
                # (The place is the key for now: several rows of the table may be of one row of the frame.)
                yield Measured(result.reply, str(place), result.window_state, result.attempts, result.emulated)

    table = arrow_table(measured(), wide=True)
    table = table.append_column(_ERROR, pyarrow.nulls(len(table), pyarrow.string()))
    failed = pyarrow.Table.from_pylist(
        [{"input": str(place), "attempts": one.attempts, "emulated": False} for place, one in errors.items()], schema
    ).append_column(_ERROR, _strings(pyarrow, [str(one.error) for one in errors.values()]))
    table = pyarrow.concat_tables([table, failed])
    places = table["input"].cast(pyarrow.int64()).to_numpy()
    order = places.argsort(kind="stable")
    table, places = table.take(order), places[order]
    table = table.set_column(0, "input", _strings(pyarrow, [keys[place] for place in places]))
    types = {pyarrow.string(): pandas.StringDtype("pyarrow"), pyarrow.int32(): pandas.Int32Dtype()}
    return table.to_pandas(types_mapper=types.get).set_axis(index.take(places), axis=0)


def _strings(pyarrow: Any, values: list[str]) -> Any:
    return pyarrow.array([value.encode("utf-8", "backslashreplace").decode() for value in values], pyarrow.string())


def _pandas() -> tuple[Any, Any]:
    pandas, pyarrow = (import_extra(module, extra="pandas", what="a pandas table") for module in ("pandas", "pyarrow"))
    return pandas, pyarrow
