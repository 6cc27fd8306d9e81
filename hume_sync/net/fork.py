"""Forked processes: a child shares no connection with its parent.

A child inherits its parent's descriptors. One byte sent on them, even a TLS close alert, would break the parent's
connection, so the child releases them without sending anything. CPython calls the hook below in each child, unless
the fork was made behind its back (uWSGI, by default); what holds connections therefore also compares process ids at
each use.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol

__all__ = ["ForkAware", "register"]


class ForkAware(Protocol):
    """Something with connections of the process it was made in."""

    def release_after_fork(self, *, hooked: bool) -> None:
        """In a child: drop all inherited connections without a byte sent, and every lock with them.

        ``hooked`` is False where no hook ran: descriptors are then detached rather than closed, since other threads
        of the child may have been given the same numbers for files of their own.
        """


# The one mutable global: a fork hook cannot be handed anything.
_REGISTERED: weakref.WeakSet[ForkAware] = weakref.WeakSet()


def register(holder: ForkAware) -> None:
    """Call ``holder.release_after_fork`` in forked children."""
    _REGISTERED.add(holder)


def _release_all() -> None:
    for holder in list(_REGISTERED):
        holder.release_after_fork(hooked=True)


os.register_at_fork(after_in_child=_release_all)
