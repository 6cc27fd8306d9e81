from __future__ import annotations

import base64
import copy
import errno
import io
import math
import pickle
import threading
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hume_sync import (
    BurstConfig,
    ConnectError,
    ConnectionLost,
    FaceConfig,
    FacemeshConfig,
    HumeStreamClient,
    InputError,
    LanguageConfig,
    MisuseError,
    ModelConfigBase,
    NerConfig,
    ProsodyConfig,
    RequestError,
    RetryPolicy,
    StreamResponse,
    StreamSocket,
    Timeout,
)
from hume_sync.emulator import Emulator
from hume_sync.net.sockets import SocketStream
from hume_sync.stream.wav import Wav

from ..faultproxy import FaultProxy, Peer
from ..net.support import in_child
from .support import DATA, FACE, SPEECH, landmarks

AUDIO = next(parsed.cut(2.0)) if (parsed := Wav.parse(SPEECH)) else b""


def words(reply: StreamResponse) -> list[str]:
    return [prediction["text"] for prediction in reply["language"]["predictions"]]


# --- the seven calls, and send_media


def test_send_text_returns_what_is_measured_in_it(hume_client: HumeStreamClient) -> None:
    with hume_client.connect([LanguageConfig()]) as socket:
        reply = socket.send_text("hello wide world")
    assert words(reply) == ["hello", "wide", "world"]
    assert reply.emulated
    assert len(reply.top(3)) == 3


@pytest.mark.parametrize("form", [str, Path, lambda path: io.BytesIO(path.read_bytes())])
def test_send_file_takes_paths_and_file_objects(
    hume_client: HumeStreamClient, tmp_path: Path, form: Callable[[Path], Any]
) -> None:
    path = tmp_path / "face.jpg"
    path.write_bytes(FACE)
    with hume_client.connect([FaceConfig()]) as socket:
        assert socket.send_file(form(path)).top(1, "face")


def test_all_ways_to_send_the_same_media_measure_the_same(hume_client: HumeStreamClient, tmp_path: Path) -> None:
    path = tmp_path / "face.jpg"
    path.write_bytes(FACE)
    with hume_client.connect([FaceConfig(facs={})]) as socket:
        replies = [
            socket.send_file(path),
            socket.send_media(FACE),
            socket.send_media(io.BytesIO(FACE)),
            socket.send_bytes(base64.b64encode(FACE)),
        ]
    assert len({str(reply.to_records()) for reply in replies}) == 1


def test_send_facemesh_takes_lists_and_arrays(hume_client: HumeStreamClient) -> None:
    with hume_client.connect([FacemeshConfig()]) as socket:
        replies = [socket.send_facemesh(form(landmarks(2))) for form in (list, np.array)]
    assert len(replies[0]["facemesh"]["predictions"]) == 2
    assert replies[0].to_records() == replies[1].to_records()


def test_reset_stream_empties_the_servers_window(hume_emulator: Emulator, hume_client: HumeStreamClient) -> None:
    with hume_client.connect([ProsodyConfig()]) as socket:
        first = socket.send_media(AUDIO)
        with_context = socket.send_media(AUDIO)
        assert socket.reset_stream().keys() == {"payload_id"}
        without = socket.send_media(AUDIO)
    assert first.emotions() != with_context.emotions()
    assert first.emotions() == without.emotions()
    heard = [request.audio for request in hume_emulator.journal.requests if request.audio]
    assert heard == [(0.0, 2.0), (0.0, 4.0), (4.0, 6.0)]


def test_the_window_is_sent_with_every_payload(hume_emulator: Emulator, hume_client: HumeStreamClient) -> None:
    with hume_client.connect([ProsodyConfig()], stream_window_ms=2500) as socket:
        socket.send_media(AUDIO)
        socket.send_media(AUDIO)
    assert [request.fields["stream_window_ms"] for request in hume_emulator.journal.requests] == [2500, 2500]
    assert hume_emulator.journal.requests[1].audio == (1.5, 4.0)


def test_get_job_details_names_the_connection(hume_client: HumeStreamClient) -> None:
    with hume_client.connect([LanguageConfig()]) as socket:
        first, second = (socket.get_job_details()["job_details"]["job_id"] for _ in range(2))
    assert first == second
    assert len(first) == 32


def test_configurations_of_a_call_are_for_that_call_alone(hume_client: HumeStreamClient) -> None:
    with hume_client.connect([LanguageConfig()]) as socket:
        assert set(socket.send_media(FACE, [FaceConfig()])) == {"payload_id", "face"}
        assert set(socket.send_facemesh(landmarks(), [FacemeshConfig()])) == {"payload_id", "facemesh"}
        assert len(words(socket.send_text("one two", [LanguageConfig(granularity="passage")]))) == 1
        assert words(socket.send_text("one two")) == ["one", "two"]


def test_one_model_may_warn_while_another_predicts(hume_client: HumeStreamClient) -> None:
    with hume_client.connect([ProsodyConfig(), BurstConfig()]) as socket:
        quiet = Wav.parse(SPEECH)
        assert quiet
        samples = (np.frombuffer(quiet.samples, "<i2")[16000:32000] // 64).tobytes()
        reply = socket.send_media(quiet.format.file(memoryview(samples)))
    assert reply.top(1, "prosody")
    assert reply.warning == "burst: No vocal bursts detected."


def test_a_reply_of_several_megabytes_is_no_trouble(hume_client: HumeStreamClient) -> None:
    with hume_client.connect([LanguageConfig()]) as socket:
        assert len(words(socket.send_text("ab " * 3333))) == 3333


# --- errors


@pytest.mark.parametrize(
    ("send", "code"),
    [
        (lambda socket: socket.send_media(FACE, [ProsodyConfig()]), "E0102"),
        (lambda socket: socket.send_media(b"\x00\x01\xfe\xff", [FaceConfig()]), "E0200"),
        (lambda socket: socket.send_media(SPEECH, [ProsodyConfig()]), "E0203"),
        (lambda socket: socket.send_media(FACE, [NerConfig()]), "E0101"),
    ],
)
def test_an_error_of_the_server_is_raised_with_its_code_and_the_connection_stays(
    hume_client: HumeStreamClient, send: Callable[[StreamSocket], object], code: str
) -> None:
    with hume_client.connect([LanguageConfig()]) as socket:
        epoch = socket.epoch
        with pytest.raises(RequestError, match=rf"^hume\({code}\): ") as caught:
            send(socket)
        assert caught.value.code == code
        assert words(socket.send_text("still here")) == ["still", "here"]
        assert socket.epoch == epoch


BAD_INPUT: list[Callable[[StreamSocket, Path], object]] = [
    lambda socket, path: socket.send_file(path / "missing.wav"),
    lambda socket, path: socket.send_file(path),
    lambda socket, path: socket.send_file(io.StringIO("text")),
    lambda socket, path: socket.send_file(7),
    lambda socket, path: socket.send_bytes(b"not base64!"),
    lambda socket, path: socket.send_bytes("YQ=="),  # type: ignore[arg-type]
    lambda socket, path: socket.send_media(b""),
    lambda socket, path: socket.send_media(bytes(2**20 + 1)),
    lambda socket, path: socket.send_text(" "),
    lambda socket, path: socket.send_text("x", [FaceConfig()]),
    lambda socket, path: socket.send_text("x", []),
    lambda socket, path: socket.send_text("x", ["language"]),  # type: ignore[list-item]
    lambda socket, path: socket.send_facemesh([], [FacemeshConfig()]),
    lambda socket, path: socket.send_facemesh(np.full((1, 478, 3), np.nan), [FacemeshConfig()]),
    lambda socket, path: socket.send_facemesh([[[2**64, 0, 0]] * 478], [FacemeshConfig()]),
    lambda socket, path: socket.send_media(SPEECH[:40], [ProsodyConfig()]),
    lambda socket, path: socket.send_bytes(base64.b64encode(SPEECH[:40]), [ProsodyConfig()]),
    lambda socket, path: socket.send_text("x", timeout=0),
    lambda socket, path: socket.send_text("x", timeout=-1),
    lambda socket, path: socket.send_text("x", timeout=math.nan),
    lambda socket, path: socket.reset_stream(timeout=True),
    lambda socket, path: socket.get_job_details(timeout="5"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("send", BAD_INPUT)
def test_bad_input_is_refused_before_anything_is_sent_and_the_socket_stays_usable(
    hume_emulator: Emulator, tmp_path: Path, send: Callable[[StreamSocket, Path], object]
) -> None:
    client = HumeStreamClient("k", base_url=hume_emulator.url, max_payload_size=2**20)
    with client.connect([LanguageConfig()]) as socket:
        epoch = socket.epoch
        with pytest.raises((InputError, OSError)):
            send(socket, tmp_path)
        assert not hume_emulator.journal.requests
        assert words(socket.send_text("still here")) == ["still", "here"]
        assert socket.epoch == epoch


# --- deadline and threads


@pytest.mark.parametrize(
    "send",
    [
        lambda socket: socket.send_text("x", timeout=0.1),
        lambda socket: socket.send_file(DATA / "face.jpg", [FaceConfig()], timeout=0.1),
        lambda socket: socket.send_media(FACE, [FaceConfig()], timeout=0.1),
        lambda socket: socket.send_bytes(base64.b64encode(FACE), [FaceConfig()], timeout=0.1),
        lambda socket: socket.send_facemesh(landmarks(), [FacemeshConfig()], timeout=0.1),
        lambda socket: socket.reset_stream(timeout=0.1),
        lambda socket: socket.get_job_details(timeout=0.1),
    ],
)
def test_every_call_ends_by_its_own_deadline(send: Callable[[StreamSocket], object]) -> None:
    with Emulator(latency=60) as server:
        socket = HumeStreamClient("k", base_url=server.url, close_timeout=0.1).connect([LanguageConfig()])
        with pytest.raises(Timeout) as caught:
            send(socket)
        assert (caught.value.phase, caught.value.maybe_processed) == ("receive", True)
        socket.close()


def test_the_clients_timeout_holds_where_a_call_names_none() -> None:
    with Emulator(latency=60) as server:
        socket = HumeStreamClient("k", base_url=server.url, timeout=0.1, close_timeout=0.1).connect([LanguageConfig()])
        with pytest.raises(Timeout):
            socket.send_text("x")
        socket.close()


def test_a_late_reply_never_answers_the_next_request() -> None:
    with Emulator(latency=0.3) as server:
        with HumeStreamClient("k", base_url=server.url).connect([LanguageConfig()]) as socket:
            first = socket.epoch
            with pytest.raises(Timeout):
                socket.send_text("first", timeout=0.1)
            assert socket.epoch is None
            assert words(socket.send_text("second")) == ["second"]
            assert socket.epoch != first


def test_threads_that_share_a_socket_each_get_their_own_reply(
    hume_emulator: Emulator, hume_client: HumeStreamClient
) -> None:
    texts = [f"word-{i}" for i in range(64)]
    with hume_client.connect([LanguageConfig()]) as socket, ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(socket.send_text, texts))
    assert [words(reply) for reply in replies] == [[text] for text in texts]
    assert hume_emulator.journal.counts["handshakes"] == 1


def test_waiting_for_another_threads_call_is_part_of_the_deadline(proxy: FaultProxy) -> None:
    client = HumeStreamClient("k", base_url=proxy.url)
    held = threading.Event()

    def hold(peer: Peer, genuine: bytes) -> bool:
        held.set()
        peer.wait_gone()
        return False

    with client.connect([LanguageConfig()]) as socket, ThreadPoolExecutor(1) as pool:
        proxy.on_reply(hold)
        busy = pool.submit(socket.send_text, "busy", timeout=0.5)
        assert held.wait(5)
        with pytest.raises(Timeout) as caught:
            socket.send_text("waiting", timeout=0.1)
        assert (caught.value.phase, caught.value.maybe_processed) == ("lock", False)
        assert isinstance(busy.exception(), Timeout)
        assert words(socket.send_text("next")) == ["next"]


def test_ctrl_c_in_a_call_discards_the_connection_and_the_next_reply_is_right(
    hume_client: HumeStreamClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hume_client.connect([LanguageConfig()]) as socket:
        connection = socket._provider._connection  # type: ignore[attr-defined]

        def interrupted(*_: object) -> bytes:
            raise KeyboardInterrupt

        monkeypatch.setattr(connection._transport, "receive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            socket.send_text("first")
        assert socket.epoch is None
        assert words(socket.send_text("second")) == ["second"]


def test_a_connection_the_server_closed_while_idle_is_replaced_before_anything_is_sent(
    hume_emulator: Emulator, hume_client: HumeStreamClient
) -> None:
    with hume_client.connect([LanguageConfig()]) as socket:
        hume_emulator.drop_connections(1001)
        assert hume_emulator.journal.wait_for(lambda journal: journal.counts["open"] == 0 or bool(journal.ends))
        before = socket.epoch
        reply = socket.send_text("x")
        assert (words(reply), reply.attempts) == (["x"], 1)
        assert socket.epoch != before


# --- opening and closing


def test_a_socket_connects_when_entered_or_at_its_first_call(
    hume_emulator: Emulator, hume_client: HumeStreamClient
) -> None:
    socket = hume_client.connect([LanguageConfig()])
    assert socket.epoch is None
    assert not hume_emulator.journal.handshakes
    assert words(socket.send_text("x")) == ["x"]
    first = socket.epoch
    with socket:
        assert socket.epoch == first
    assert socket.epoch is None


def test_leaving_the_block_closes_in_order(hume_emulator: Emulator, hume_client: HumeStreamClient) -> None:
    with hume_client.connect([LanguageConfig()]):
        pass
    assert hume_emulator.journal.wait_for(lambda journal: bool(journal.ends))
    assert [end.code for end in hume_emulator.journal.ends] == [1000]


def test_ctrl_c_in_the_block_does_not_wait_for_the_server(
    hume_emulator: Emulator, hume_client: HumeStreamClient
) -> None:
    with pytest.raises(KeyboardInterrupt), hume_client.connect([LanguageConfig()]):
        raise KeyboardInterrupt
    assert hume_emulator.journal.wait_for(lambda journal: bool(journal.ends))
    assert [end.code for end in hume_emulator.journal.ends] == [1006]


def test_closing_again_does_nothing_and_calls_afterwards_are_refused(hume_client: HumeStreamClient) -> None:
    with hume_client.connect([LanguageConfig()]) as socket:
        socket.close()
        socket.close()
        with pytest.raises(MisuseError, match="closed"):
            socket.send_text("x")
    with pytest.raises(MisuseError, match="closed"):
        socket.__enter__()
    hume_client.connect([LanguageConfig()]).close()  # never opened


def test_closing_while_another_threads_call_hangs_ends_that_call(proxy: FaultProxy) -> None:
    client = HumeStreamClient("k", base_url=proxy.url, close_timeout=0.1)
    held = threading.Event()

    def hold(peer: Peer, genuine: bytes) -> bool:
        held.set()
        peer.wait_gone()
        return False

    socket = client.connect([LanguageConfig()]).__enter__()
    proxy.on_reply(hold)
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(socket.send_text, "busy", timeout=30)
        assert held.wait(5)
        socket.close()
        error = busy.exception(timeout=5)
    assert isinstance(error, ConnectionLost)
    assert error.maybe_processed


def test_closing_a_socket_while_it_connects_ends_that_too(proxy: FaultProxy) -> None:
    client = HumeStreamClient("k", base_url=proxy.url, close_timeout=0.05)
    socket = client.connect([LanguageConfig()])
    connecting, go = threading.Event(), threading.Event()

    def slow(peer: Peer) -> bool:
        connecting.set()
        return go.wait(5)

    proxy.on_connect(slow)
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(socket.send_text, "busy", timeout=30)
        assert connecting.wait(5)
        socket.close()
        assert isinstance(busy.exception(timeout=5), ConnectError)
        go.set()
    assert socket.epoch is None


def test_a_socket_opened_before_a_fork_is_refused_in_the_child_and_goes_on_in_the_parent(
    hume_client: HumeStreamClient,
) -> None:
    with hume_client.connect([LanguageConfig()]) as socket:
        socket.send_text("before")
        epoch = socket.epoch

        def child() -> None:
            with pytest.raises(MisuseError):
                socket.send_text("child")
            socket.close()
            with hume_client.connect([LanguageConfig()]) as own:
                assert words(own.send_text("own")) == ["own"]

        in_child(child)
        assert words(socket.send_text("parent")) == ["parent"]
        assert socket.epoch == epoch


@pytest.mark.parametrize("operation", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_socket_is_neither_copied_nor_pickled(
    hume_client: HumeStreamClient, operation: Callable[[object], object]
) -> None:
    with pytest.raises(TypeError, match="neither copied nor pickled"):
        operation(hume_client.connect([LanguageConfig()]))


def test_an_error_text_of_the_server_never_shows_the_key(hume_emulator: Emulator) -> None:
    hume_emulator.fail_next("E0102", "bad key hush-hush")
    client = HumeStreamClient("hush-hush", base_url=hume_emulator.url)
    with client.connect([LanguageConfig()]) as socket, pytest.raises(RequestError) as caught:
        socket.send_text("x")
    assert str(caught.value) == "hume(E0102): bad key ***"


def test_a_top_level_warning_is_returned() -> None:
    with Emulator(warning_level="top") as server:
        with HumeStreamClient("k", base_url=server.url).connect([ProsodyConfig()]) as socket:
            parsed = Wav.parse(SPEECH)
            assert parsed
            reply = socket.send_media(parsed.format.file(memoryview(bytes(32000))))
    assert reply.warning == "No speech detected."
    assert reply["code"] == "W0105"


def test_the_repr_tells_models_and_state_and_nothing_else(hume_client: HumeStreamClient) -> None:
    socket = hume_client.connect([LanguageConfig(), FaceConfig()])
    assert repr(socket) == "<StreamSocket [language, face] not connected>"
    with socket:
        assert repr(socket) == f"<StreamSocket [language, face] epoch {socket.epoch}>"
    assert repr(socket) == "<StreamSocket [language, face] closed>"


@pytest.mark.usefixtures("errors_of_fakes_are_own")
@pytest.mark.parametrize(
    ("config", "most"),
    [
        (FaceConfig(), 2.4),  # the file, and the frame in base64, which is a third longer
        (ProsodyConfig(), 2.9),  # what may have to be replayed, and the frame
    ],
)
def test_a_large_file_is_never_in_memory_more_than_twice(
    tmp_path: Path, hume_emulator: Emulator, config: ModelConfigBase, most: float
) -> None:
    size = 6 * 2**20
    path = tmp_path / "large.mp3"
    path.write_bytes(b"\xff\xfb\x90\x44" + bytes(size))
    peaks: list[int] = []

    def watched(stream: SocketStream, data: bytes, deadline: object) -> None:
        peaks.append(tracemalloc.get_traced_memory()[1])
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")  # the server shares this memory, so it is not to have it

    client = HumeStreamClient("k", base_url=hume_emulator.url, proxy=False, retry=RetryPolicy.none())
    with client.connect([config], preserve_window=False) as socket:
        for _ in range(2):  # what is imported is imported the first time
            peaks.clear()
            tracemalloc.start()
            try:
                socket.get_job_details()  # connects, where that is to be done
                with pytest.MonkeyPatch.context() as patch, pytest.raises(ConnectionLost):
                    patch.setattr(SocketStream, "send", watched)
                    socket.send_file(path)
            finally:
                tracemalloc.stop()
    assert 2 * size < max(peaks) < most * size
