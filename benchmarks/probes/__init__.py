"""Measurements inside one process, each a module that a worker runs."""
