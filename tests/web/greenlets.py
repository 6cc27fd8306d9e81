"""Run fifty greenlets on one pool, with gevent's patches, and print the result as JSON."""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402 - patch before other imports
import sys  # noqa: E402
import threading  # noqa: E402

from hume_sync import HumeStreamClient, LanguageConfig, StreamPool  # noqa: E402

from .sizes import GREENLETS, MAX_SIZE, TEXTS  # noqa: E402


def send(pool: StreamPool, number: int, right: list[str], nested: list[str]) -> None:
    for turn in range(TEXTS):
        text = f"greenlet {number} turn {turn}"
        with pool.socket() as socket:
            reply = socket.send_text(text)
            if number == 0:
                with pool.socket() as another:
                    nested += [part["text"] for part in another.send_text("nested")["language"]["predictions"]]
        if [part["text"] for part in reply["language"]["predictions"]] == text.split():
            right.append(text)


def main() -> None:
    right: list[str] = []
    nested: list[str] = []
    most = 0.0
    with HumeStreamClient("greenlets", timeout=10).pool([LanguageConfig()], max_size=MAX_SIZE, timeout=20) as pool:
        threads = [threading.Thread(target=send, args=(pool, n, right, nested)) for n in range(GREENLETS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.001)
                most = max(most, pool.stats()["busy"] + pool.stats()["idle"])
        stats = pool.stats()
    json.dump({"right": len(set(right)), "nested": nested, "most": most, "stats": stats}, sys.stdout)


if __name__ == "__main__":
    main()
