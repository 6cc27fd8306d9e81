"""Print the lowest versions that setup.cfg allows, as requirements for `make test-lowest`."""

from __future__ import annotations

import configparser
import re
from pathlib import Path


def main() -> None:
    """Print one pinned requirement per line."""
    config = configparser.ConfigParser()
    config.read(Path(__file__).parents[1] / "setup.cfg")
    extras = config["options.extras_require"]
    named = [extras[name] for name in ("emulator", "media", "speed", "arrow", "pandas", "test")]
    lines = "\n".join([config["options"]["install_requires"], *named])
    for name, lowest in sorted(set(re.findall(r"^([A-Za-z0-9_.-]+)(?:\[\w+\])?>=([0-9.]+)", lines, re.MULTILINE))):
        print(f"{name}=={lowest}")


if __name__ == "__main__":
    main()
