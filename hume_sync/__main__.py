"""Run the ``hume-sync`` command with ``python -m hume_sync``."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
