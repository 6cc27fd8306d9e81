"""Batch jobs: many files, texts or rows, each measured as a stream of its own, on threads or any executor."""

from __future__ import annotations

from .item import Item, ItemError, Result

__all__ = ["Item", "ItemError", "Result"]
