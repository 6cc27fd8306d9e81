from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import hume_sync

PACKAGE = Path(hume_sync.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

LAYERS = {
    # who may import whom; a layer never imports one above it
    "errors": set(),
    "net": {"errors", "net"},
    "formats": {"errors", "net", "formats"},
    "stream": {"errors", "net", "formats", "stream", "_version"},
    "fastrtc": {"errors", "net", "formats", "fastrtc", "_version"},
    "emulator": {"emulator"},
    "batch": {"errors", "net", "formats", "stream", "batch", "_version"},
    "cli": {"errors", "net", "stream", "fastrtc", "batch", "emulator", "cli", "_version"},
    "testing": {"errors", "net", "emulator", "stream"},
    "_version": set(),
    "locks": set(),
    "reprs": set(),
    "__init__": {"errors", "net", "stream", "_version"},
    "__main__": {"cli"},
}

SHARED_NAMES = {"client", "route"}
"""The same idea for two protocols."""


def imported(module: Path) -> set[str]:
    """Return the layers of this package that a module imports from."""
    here = module.relative_to(PACKAGE.parent).with_suffix("").parts[:-1]
    layers = set()
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            target = [*here[: len(here) - node.level + 1], *(node.module.split(".") if node.module else [])]
            layers |= {target[1]} if len(target) > 1 else {alias.name for alias in node.names}
    return layers


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_layer_imports_one_above_it(module: Path) -> None:
    layer = module.relative_to(PACKAGE).with_suffix("").parts[0]
    allowed = LAYERS[layer] | {"locks", "reprs"}
    if module.name == "client.py":
        allowed.add("emulator")  # HumeStreamClient.emulated, and late: the one exception
    assert imported(module) <= allowed


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_is_one_idea_of_at_most_500_lines(module: Path) -> None:
    assert len(module.read_text("utf-8").splitlines()) <= 500


def test_no_two_modules_share_a_name_and_none_is_named_as_in_the_standard_library() -> None:
    names = [module.stem for module in MODULES if not module.stem.startswith("__")]
    assert {name for name in names if names.count(name) > 1} <= SHARED_NAMES
    assert not sys.stdlib_module_names & set(names)


def test_the_public_names_are_these() -> None:
    assert sorted(hume_sync.__all__) == [
        "AuthenticationError", "BurstConfig", "CertificateRejected", "ConfigurationError", "ConnectError",
        "ConnectionAlreadyExists", "ConnectionLost", "FaceConfig", "FacemeshConfig", "HandshakeRejected",
        "HookError", "HumeClientException", "HumeStreamClient", "InboxOverflow", "InputError",
        "LanguageConfig", "LeaseHolder", "MessageTooLarge", "MisuseError", "ModelConfigBase", "ModelType", "NerConfig",
        "OutputTooLarge",
        "PoolClosed", "PoolError", "PoolFull", "PoolTimeout", "ProsodyConfig", "ProtocolError",
        "ReplyMismatch", "ReplyTimeout", "RequestError", "RetryEvent", "RetryPolicy", "ServerError", "StreamPool",
        "StreamResponse", "StreamSocket", "Timeout", "TooManyConnections", "TransportError", "__version__",
        "deserialize_configs", "serialize_configs",
    ]  # fmt: skip
    for name in hume_sync.__all__:
        assert name.startswith("__") or inspect.getdoc(getattr(hume_sync, name))


@pytest.mark.parametrize("module", ["hume_sync.emulator", "hume_sync.emulator.knobs", "hume_sync.emulator.server"])
def test_importing_the_local_server_without_its_extra_says_in_a_line_what_to_install(module: str) -> None:
    code = f"import sys; sys.modules['websockets'] = None; import {module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    # Python 3.15 appends ". Did you mean: 'websocket'?", a module that is installed.
    assert done.stderr.splitlines()[-1].partition(". Did")[0] == (
        'ModuleNotFoundError: the local server needs hume_sync with the extra "emulator":'
        " the module websockets is not installed"
    )
    assert done.stderr.count("Traceback") == 1  # nothing before it


def test_importing_the_package_loads_neither_server_nor_numpy_and_starts_nothing() -> None:
    code = (
        "import sys, threading, hume_sync;"
        "assert not {'numpy', 'asyncio', 'websockets', 'hume_sync.emulator'} & set(sys.modules);"
        "assert threading.active_count() == 1"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
