"""What the applications and their tests agree on."""

MAX_SIZE = 4
GREENLETS = 50
TEXTS = 6
