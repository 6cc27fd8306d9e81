"""Small runs with the clients that need no environment of their own."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import frames
from benchmarks.bench import Bench, bench
from benchmarks.cases import make, url_of
from benchmarks.charts import draw
from benchmarks.checks import WrongReply, check_receipt
from benchmarks.clients.floor import request_bytes
from benchmarks.families import roundtrip
from benchmarks.processes import BenchmarkError, Hang
from benchmarks.report import target_table
from benchmarks.results import Chart

pytestmark = pytest.mark.slow  # they start servers and workers

CASES = ["text", "facemesh-1"]


@pytest.fixture(scope="module")
def small() -> Iterator[Bench]:
    with bench(rounds=2, quick=True, connects=2) as run:
        yield run


def test_ours_and_floor_give_a_table_with_targets(small: Bench) -> None:
    result = roundtrip.run(small, ["ours", "floor"], CASES)
    assert [[row[0] for row in table.rows] for table in result.tables] == [["ours", "floor"]] * 2
    for case, table in zip(CASES, result.tables, strict=True):
        ours, floor = (result.data[case][name]["p50"] for name in ("ours", "floor"))
        ratios = sorted(a / b for a, b in zip(ours["rounds"], floor["rounds"], strict=True))
        assert len(ratios) == small.rounds
        assert table.rows[0][1] == f"{sum(ratios) / 2:.2f}"
        assert table.rows[1][1] == "1.00"
        assert result.data[case]["floor"]["server"]["median"] > 0
    assert [(target.work, target.against) for target in result.targets] == [
        ("facemesh round trip, n = 1", "floor"),
        ("text round trip", "floor"),
    ]
    assert len(list(target_table(result.targets))) == 4


def test_a_wrong_reply_fails_the_run_and_names_client_and_case(small: Bench) -> None:
    with pytest.raises(BenchmarkError, match=r"floor, text: WrongReply: reply 2 of \S+ came after 2"):
        roundtrip.run(small, ["floor"], ["text"], mode="wrong")


def test_a_worker_that_hangs_or_has_ended_fails_the_run(small: Bench) -> None:
    with small.server(2) as server, small.workers(["floor"]) as workers:
        worker = workers["floor"]
        worker.do("verify", base=server.base, case="text")
        with pytest.raises(Hang, match="floor, text: no answer to 'drive'"):
            worker.do("drive", patience=0.1, base=server.base, case="text", threads=1, seconds=0.4, think=0.0)


@pytest.mark.parametrize("client", ["ours", "ours, lease each"])
def test_drive_uses_a_connection_for_each_thread(small: Bench, client: str) -> None:
    with small.server(8) as server, small.workers([client]) as workers:
        workers[client].do("verify", base=server.base, case="text")
        done = workers[client].do("drive", base=server.base, case="text", threads=4, seconds=0.2, think=0.005)
    assert done["connections"] == 4
    assert 0 < done["rate"] <= 4 / 0.005
    assert done["cores"] > 0


def test_a_payload_that_was_damaged_on_its_way_is_seen(small: Bench) -> None:
    case = make("text", small.directory)
    request, key = request_bytes(case), b"\x01\x02\x03\xf4"
    masked = bytes(byte ^ key[i % 4] for i, byte in enumerate(request))
    damaged = bytes([*masked[:12], masked[12] ^ 1, *masked[13:]])
    broken = bytes([*masked[:-1], masked[-1] ^ 1])
    with small.server(1) as server:
        assert check_receipt(case, verified(server.base, key, masked)) == len(request)
        for message in (damaged, broken):
            with pytest.raises(WrongReply, match="the server says"):
                check_receipt(case, verified(server.base, key, message))


def verified(base: str, key: bytes, masked: bytes) -> Any:
    host, port = base.removeprefix("ws://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as sock:
        frames.upgrade(sock, host, url_of("", "text", "verify"))
        sock.sendall(struct.pack("!BBH", 0x81, 0x80 | 126, len(masked)) + key + masked)
        reply = sock.recv(4096)
    return json.loads(reply[reply.index(b"{") :])


@pytest.mark.parametrize("frame", [b"\x81\x02{}", b"\x01\x82\0\0\0\0{}", b"\x82\x82\0\0\0\0{}"])
def test_the_server_ends_a_connection_that_breaks_the_rules(small: Bench, frame: bytes) -> None:
    with small.server(1) as server:
        host, port = server.base.removeprefix("ws://").split(":")
        with socket.create_connection((host, int(port)), timeout=5) as sock:
            frames.upgrade(sock, host, url_of("", "text"))
            sock.sendall(frame)
            assert sock.recv(10) == b""


@pytest.mark.parametrize("in_lines", [False, True])
def test_the_same_figures_draw_the_same_chart(in_lines: bool, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="only where make bench has been")
    chart = Chart("Text", "x floor", ["text", "file"], {"ours": [1.3, 1.2], "floor": [1.0, None]}, lines=in_lines)
    for name in ("one", "other"):
        draw(chart, tmp_path / name)
    drawn = (tmp_path / "one").read_bytes()
    assert drawn == (tmp_path / "other").read_bytes()
    assert all(word in drawn for word in (b"Text", b"x floor", b"file", b"ours"))
