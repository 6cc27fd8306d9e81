"""Run in a network namespace of its own: a server vanishes behind a cable, and two calls without a time limit wait.

Prints, as JSON, for the call whose request was acknowledged and for the one whose was not: the class of its error, the
system's name for the cause, and how many seconds it took.
"""

from __future__ import annotations

import errno
import json
import math
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from hume_sync import HumeStreamClient, LanguageConfig, RetryPolicy, StreamSocket
from hume_sync.emulator import Emulator

CLIENT, SERVER = "10.9.0.1", "10.9.0.2"


def say(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def serve() -> None:
    """In a namespace of its own, once the cable is there."""
    say("ready")
    sys.stdin.readline()
    with Emulator(host=SERVER, anonymous=True, latency=3600.0) as server:
        say(server.port)
        sys.stdin.readline()  # that it has a request to work on
        server.journal.wait_for(lambda journal: journal.counts["requests"] == 1, timeout=10)
        say("asked")
        sys.stdin.readline()


def outcome(socket: StreamSocket) -> tuple[str, str, float]:
    began = time.monotonic()
    try:
        socket.send_text("hello", timeout=math.inf)
    except Exception as exc:  # any exception is reported
        number = getattr(exc.__cause__, "errno", None)
        return type(exc).__name__, errno.errorcode.get(number or 0, str(exc)), time.monotonic() - began
    return "no error", "", time.monotonic() - began


def main() -> None:
    command = ["unshare", "--net", sys.executable, "-m", __spec__.name, "serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout

        def tell() -> str:
            assert process.stdin
            assert process.stdout
            process.stdin.write("\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        assert process.stdout.readline() == "ready\n"
        there = ("nsenter", "--net", "--target", str(process.pid), "ip")
        run("ip", "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", str(process.pid))
        run("ip", "address", "add", f"{CLIENT}/24", "dev", "near")
        run("ip", "link", "set", "near", "up")
        run(*there, "address", "add", f"{SERVER}/24", "dev", "far")
        run(*there, "link", "set", "far", "up")
        port = tell()
        client = HumeStreamClient(base_url=f"ws://{SERVER}:{port}", proxy=False, retry=RetryPolicy.none())
        awaiting, sending = client.connect([LanguageConfig()]), client.connect([LanguageConfig()])
        with ThreadPoolExecutor(2) as threads, sending:
            first = threads.submit(outcome, awaiting)
            assert tell() == "asked"
            # Without ARP, whose silence is an error of another name, and with a neighbour that drops what comes.
            address = json.loads(run(*there, "-json", "link", "show", "far"))[0]["address"]
            run("ip", "neighbour", "replace", SERVER, "lladdr", address, "dev", "near", "nud", "permanent")
            run(*there, "address", "flush", "dev", "far")
            second = threads.submit(outcome, sending)
            say(json.dumps({"acknowledged": first.result(), "unacknowledged": second.result()}))
        awaiting.close()
        process.kill()


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["serve"] else main()
