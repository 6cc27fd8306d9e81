"""``python -m hume_sync`` is the ``hume-sync`` command."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
