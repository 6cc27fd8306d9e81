"""A session under gevent's patches beside another green thread; prints what came of it as JSON.

Usage: python -m tests.fastrtc.real.green URL TRANSPORT WAV
"""

from gevent import monkey

monkey.patch_all()

import itertools  # noqa: E402 - nothing may be imported before the patches
import json  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402

from hume_sync.fastrtc import FastRTCClient  # noqa: E402

RATE = 16000


def main(url: str, transport: str, question: str) -> None:
    client = FastRTCClient(url, path="/ask", input_sample_rate=RATE, output_sample_rate=RATE, proxy=False, timeout=20.0)
    done = threading.Event()
    turns = itertools.count()

    def another() -> None:
        while not done.wait(0.01):
            next(turns)

    thread = threading.Thread(target=another)
    thread.start()
    with client.connect(transport) as session:
        reply = session.ask(question, idle=0.5)
    done.set()
    thread.join()
    json.dump({"complete": reply.complete, "seconds": reply.seconds, "turns_of_another": next(turns)}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
