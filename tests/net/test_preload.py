"""What is imported when a client is made."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
import hume_sync
from hume_sync import *

class Strike:
    left = 1
    def find_spec(self, name, path=None, target=None):
        if name == "tenacity.asyncio" and self.left:
            self.left = 0
            raise TimeoutError("my limit")

assert "tenacity" not in sys.modules
sys.meta_path.insert(0, Strike())
try:
    HumeStreamClient("k", base_url="ws://127.0.0.1:1")
except TimeoutError as exc:
    print(exc)
policy = RetryPolicy(max_attempts=2, initial=0.001, maximum=0.001)
client = HumeStreamClient("k", base_url="ws://127.0.0.1:1", timeout=5, retry=policy, proxy=False)
loaded = set(sys.modules)
for _ in range(2):
    try:
        client.connect([LanguageConfig()]).send_text("x")
    except ConnectError as exc:
        print(exc.attempts)
print("tenacity" in loaded, "hume_sync.net.websocket" in loaded)
"""


def test_an_import_that_is_interrupted_spoils_no_later_call() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=25, check=False)
    assert done.stdout.split("\n") == ["my limit", "2", "2", "True True", ""], done.stderr
