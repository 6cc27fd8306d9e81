"""Build the wheel and the sdist in ``dist``, and check them.

Run by `make dist`, with build and twine installed. Only tracked files are built, in a copy, so neither untracked files
nor earlier builds get in. Checks the metadata, the files in the wheel, and that ``hume-sync demo`` works where nothing
but the wheel and its extra ``emulator`` is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
REQUIRED = (
    "hume_sync/py.typed",
    "hume_sync/data/speech.wav",
    "hume_sync/batch/page/report.html",
    "hume_sync/testing.py",
    "hume_sync/cli/main.py",
)


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Run a command and return its output; fail if it fails.

    Args:
        *command: The command and its arguments.
        cwd: The working directory.
    """
    done = subprocess.run(  # noqa: S603 - our own commands
        list(map(str, command)), cwd=cwd, stdout=subprocess.PIPE, encoding="utf-8", check=True, env=environment()
    )
    return done.stdout


def environment() -> dict[str, str]:
    """Return the environment variables without those that would make this checkout importable."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "HUME_"))}


def tracked_files() -> list[str]:
    """Return the paths of all tracked files."""
    return [name for name in run("git", "ls-files", "-z").split("\0") if name and (ROOT / name).is_file()]


def build(source: Path) -> tuple[Path, Path]:
    """Build the sdist and, from it, the wheel; return the paths of wheel and sdist."""
    for name in tracked_files():
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", DIST, source)
    (wheel,), (sdist,) = DIST.glob("*.whl"), DIST.glob("*.tar.gz")
    return wheel, sdist


def check_contents(wheel: Path) -> None:
    """Check that the wheel holds exactly the files of the package, and its metadata.

    Raises:
        SystemExit: A file is missing or does not belong there.
    """
    with ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    metadata = {name for name in names if name.split("/")[0].endswith(".dist-info")}
    expected = {name for name in tracked_files() if name.startswith("hume_sync/")}
    if missing := sorted(expected.union(REQUIRED) - names):
        sys.exit(f"{wheel.name} lacks {', '.join(missing)}")
    if surplus := sorted(names - metadata - expected):
        sys.exit(f"{wheel.name} holds {', '.join(surplus)}")
    if not any(name.endswith("/licenses/LICENSE") for name in metadata):
        sys.exit(f"{wheel.name} lacks the license")


def check_installed(wheel: Path, directory: Path) -> None:
    """Check that the demo works in a new environment with the wheel and the extra ``emulator``.

    Raises:
        SystemExit: It does not.
    """
    venv = directory / "venv"
    run("sh", ROOT / "scripts" / "install.sh", sys.executable, venv, f"{wheel}[emulator]")
    version = run(venv / "bin" / "hume-sync", "--version", cwd=directory).strip()
    if f"-{version}-" not in wheel.name:
        sys.exit(f"{wheel.name} installs version {version}")
    output = run(venv / "bin" / "hume-sync", "demo", cwd=directory)
    if "EMULATED" not in output:
        sys.exit(f"hume-sync demo printed {output!r}")


def main() -> int:
    """Build and check."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        wheel, sdist = build(directory / "source")
        print(run(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist), end="")
        check_contents(wheel)
        check_installed(wheel, directory)
    print(f"built {wheel.relative_to(ROOT)} and {sdist.relative_to(ROOT)}; both are good")
    return 0


if __name__ == "__main__":
    sys.exit(main())
