"""Benchmarks and long runs. They are not part of the package."""
