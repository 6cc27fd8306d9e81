"""Batch jobs: many files, texts or rows, each measured as a stream of its own, on threads or any executor."""

from __future__ import annotations

from ..stream.client_spec import ClientSpec
from .folders import files
from .html_report import write_report
from .item import Item, ItemError, Result
from .results import Results, read_results
from .rows import csv_rows, json_rows
from .runner import Batch
from .sources import items, landmarks, path_list, texts
from .summary import Summary

__all__ = [
    "Batch",
    "ClientSpec",
    "Item",
    "ItemError",
    "Result",
    "Results",
    "Summary",
    "csv_rows",
    "files",
    "items",
    "json_rows",
    "landmarks",
    "path_list",
    "read_results",
    "texts",
    "write_report",
]
