"""Sizes shared by the applications and their tests."""

MAX_SIZE = 4
GREENLETS = 50
TEXTS = 6
