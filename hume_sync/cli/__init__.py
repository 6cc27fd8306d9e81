"""The ``hume-sync`` command."""
