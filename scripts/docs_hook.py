"""A hook of MkDocs: every public name is on a page of the reference, and has a docstring.

What is missing is a warning, and `mkdocs build --strict` fails at a warning.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import logging
import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["MODULES", "problems"]

ROOT = Path(__file__).parents[1]

MODULES = ("hume_sync", "hume_sync.fastrtc", "hume_sync.batch", "hume_sync.emulator", "hume_sync.testing")
"""The modules whose ``__all__`` is public."""

DASK = "hume_sync.batch.dask"
"""Another one. It is not checked where Dask is not installed, and `make docs` installs it."""

_DIRECTIVE = re.compile(r"^::: ([\w.]+)$", re.MULTILINE)

_log = logging.getLogger("mkdocs.hooks.reference")


def problems() -> Iterator[str]:
    """Yield a sentence for each public name that the reference lacks, and for each that has no docstring."""
    pages = "\n".join(page.read_text("utf-8") for page in sorted((ROOT / "docs" / "reference").glob("*.md")))
    documented = set(_DIRECTIVE.findall(pages))
    public: set[str] = set()
    known: set[int] = set()
    has_dask = importlib.util.find_spec("distributed") is not None
    if not has_dask:
        documented = {name for name in documented if not name.startswith(f"{DASK}.")}
    for name in (*MODULES, DASK) if has_dask else MODULES:
        module = importlib.import_module(name)
        for member in module.__all__:
            value = getattr(module, member)
            public.add(f"{name}.{member}")
            # A class that two modules export, an error for one, is documented once.
            if f"{name}.{member}" not in documented and not (inspect.isclass(value) and id(value) in known):
                yield f"{name}.{member} is on no page of docs/reference"
            known.add(id(value))
            yield from _without_docstring(f"{name}.{member}", value)
    for extra in sorted(documented - public):
        yield f"{extra} is in docs/reference and is not public"


def _without_docstring(path: str, value: object) -> Iterator[str]:
    """Yield a sentence for a class, or a method or property of it, that has no docstring."""
    if not inspect.isclass(value) and not inspect.isroutine(value):
        return
    if not inspect.getdoc(value):
        yield f"{path} has no docstring"
    if inspect.isclass(value):
        for name, member in vars(value).items():
            described = inspect.isroutine(member) or isinstance(member, property)
            if described and not name.startswith("_") and not inspect.getdoc(member):
                yield f"{path}.{name} has no docstring"


def on_pre_build(**_: object) -> None:
    """Warn of each problem: MkDocs calls this before it builds."""
    for problem in problems():
        _log.warning(problem)
