"""Measurements inside one process. A worker runs each module."""
