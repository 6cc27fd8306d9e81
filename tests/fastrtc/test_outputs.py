from __future__ import annotations

import gzip
import pickle
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from hume_sync import ConnectionLost, HumeClientException, MisuseError, Timeout
from hume_sync.errors import HookError, OutputTooLarge
from hume_sync.fastrtc.app_http import StreamingResponse
from hume_sync.fastrtc.outputs import OutputStream, ServerSentEvent
from hume_sync.net.deadline import Deadline
from tests.faultproxy import Peer
from tests.net.support import Script, in_child, server

from .striking import unanswering
from .webtalk import answer, elapsed, http, request, says
from .webtalk import stream as opened

EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def emits(*pieces: bytes, then: Callable[[Peer], object] = lambda peer: peer.wait_gone()) -> Script:
    def run(peer: Peer) -> None:
        request(peer)
        peer.send(EVENTS + b"".join(pieces))
        then(peer)

    return run


@contextmanager
def outputs(script: Script) -> Iterator[OutputStream]:
    with server(script) as port, opened(http(port)) as stream:
        yield stream


# --- the stream of outputs


def test_outputs_are_json_where_they_are_json_and_text_elsewhere() -> None:
    events = b'data: {"a": [1]}\n\ndata: two\ndata: lines\n\n: a comment\n\ndata: null\n\ndata:\n\n'
    with outputs(emits(chunk(events), END)) as stream:
        assert list(stream) == [{"a": [1]}, "two\nlines", None, ""]
        assert stream.ended


def test_the_stream_is_asked_for_one_connection_and_what_else_the_view_wants() -> None:
    seen = []

    def view(peer: Peer) -> None:
        seen.append(request(peer)[0])
        peer.send(EVENTS + END)

    with server(view, view) as port:
        assert list(opened(http(port))) == []
        assert list(opened(http(port), "/updates?stream=s")) == []
    assert seen == ["GET /updates?webrtc_id=6f1c HTTP/1.1", "GET /updates?stream=s&webrtc_id=6f1c HTTP/1.1"]


def test_the_last_event_tells_its_name() -> None:
    with outputs(emits(chunk(b"event: output\nid: 3\ndata: 1\n\n"))) as stream:
        assert stream.last_event is None
        assert next(stream) == 1
        assert stream.last_event == ServerSentEvent("1", "output", "3")


def test_an_output_comes_when_it_comes_and_receiving_ends_with_its_deadline() -> None:
    go = threading.Event()

    def later(peer: Peer) -> None:
        assert go.wait(5)
        peer.send(chunk(b"1\n\n"))
        peer.wait_gone()

    with outputs(emits(chunk(b"dat"), chunk(b"a: "), then=later)) as stream:
        assert stream.receive(timeout=0.05) is None
        assert stream.receive("nothing", timeout=0.01) == "nothing"
        go.set()
        assert stream.receive(timeout=5) == 1
        assert not stream.ended


def test_receiving_tells_an_ended_stream_from_a_silent_one() -> None:
    with outputs(emits(chunk(b"data: 1\n\n"), END)) as stream:
        assert stream.receive("nothing", timeout=5) == 1
        assert stream.receive("nothing", timeout=5) == "nothing"
        assert stream.ended


def test_comments_that_drip_for_ever_do_not_outlast_the_deadline() -> None:
    with outputs(emits(then=lambda peer: peer.drip(chunk(b":\n") * 2000, 0.005))) as stream:
        assert elapsed(lambda: stream.receive(timeout=0.1)) < 5  # of 70


@pytest.mark.parametrize("endless", [b"x" * 65536, b"data: " + b"x" * 65529 + b"\n"])
def test_endless_lines_and_events_are_an_error_and_keep_to_the_deadline_behind_it(endless: bytes) -> None:
    with outputs(emits(then=lambda peer: peer.flood(chunk(endless), 2**40))) as stream:
        with pytest.raises(OutputTooLarge, match="larger than 16777216 bytes and was dropped; .* max_output_size"):
            next(stream)
        assert elapsed(lambda: stream.receive(timeout=0.1)) < 2
        assert not stream.ended


def test_an_output_that_is_too_large_is_an_error_in_its_place_and_the_next_ones_come() -> None:
    events = b"".join(b"data: %b\n\n" % (b"1" * size) for size in (1, 101, 100, 1000, 2))
    with server(emits(chunk(events), END)) as port, opened(http(port), max_size=100) as stream:
        assert next(stream) == 1
        with pytest.raises(OutputTooLarge, match="larger than 100 bytes") as caught:
            next(stream)
        assert pickle.loads(pickle.dumps(caught.value)).limit == 100
        assert not stream.ended
        assert stream.receive(timeout=5) == float("1" * 100)
        with pytest.raises(OutputTooLarge):
            stream.receive(timeout=5)
        assert list(stream) == [11]


def test_an_output_may_be_as_large_as_the_limit() -> None:
    text = b"x" * 16 * 2**20
    with outputs(emits(chunk(b"data: " + text + b"\n\ndata: 1\n\n"), END)) as stream:
        assert stream.receive(timeout=60) == text.decode()
        assert list(stream) == [1]


def test_a_stream_that_is_cut_off_does_not_seem_to_be_over() -> None:
    with outputs(emits(chunk(b"data: 1\n\ndata: 2\n\n"), then=lambda peer: peer.close())) as stream:
        assert [next(stream), next(stream)] == [1, 2]
        with pytest.raises(ConnectionLost):
            next(stream)
        assert stream.ended
        assert list(stream) == []


def test_a_reset_is_a_loss_too() -> None:
    with outputs(emits(then=Peer.reset)) as stream, pytest.raises(ConnectionLost):
        next(stream)


# --- the end


def test_closing_ends_a_blocked_reader_at_once() -> None:
    reading = threading.Event()
    stream: OutputStream

    def interrupt(peer: Peer) -> None:
        assert reading.wait(5)
        stream.close()
        peer.wait_gone()

    with outputs(emits(chunk(b"data: 1\n\n"), then=interrupt)) as stream:
        assert next(stream) == 1
        reading.set()
        assert elapsed(lambda: list(stream)) < 4
        assert stream.ended


def test_closing_ends_all_that_wait() -> None:
    with outputs(emits()) as stream, ThreadPoolExecutor(4) as threads:
        waiting = [threads.submit(list, stream) for _ in range(4)]
        stream.close()
        assert [list(future.result(5)) for future in waiting] == [[]] * 4


def test_of_many_readers_each_output_goes_to_one() -> None:
    events = b"".join(b"data: %d\n\n" % n for n in range(200))
    with outputs(emits(chunk(events), END)) as stream, ThreadPoolExecutor(4) as threads:
        got = [threads.submit(list, stream) for _ in range(4)]
        assert sorted(n for future in got for n in future.result(5)) == list(range(200))


def test_a_reader_that_waits_for_another_keeps_to_its_deadline() -> None:
    with outputs(emits()) as stream, ThreadPoolExecutor(1) as threads:
        first = threads.submit(list, stream)
        while stream._lock.holder is None:
            pass
        assert stream.receive(timeout=0.05) is None
        stream.close()
        assert first.result(5) == []


def test_the_descriptor_is_given_back_however_the_stream_ends() -> None:
    def closed(stream: OutputStream) -> bool:
        return stream._opening._response is not None and stream._opening._response._stream.fileno() == -1

    with outputs(emits(chunk(b"data: 1\n\n"), END)) as stream:
        assert list(stream) == [1]
        assert closed(stream)
    with outputs(emits(chunk(b"data: 1\n\n"))) as stream:
        assert next(stream) == 1
        stream.close()
        stream.close()
        assert closed(stream)
        assert next(stream, None) is None
    with outputs(emits(then=Peer.reset)) as stream:
        with pytest.raises(ConnectionLost):
            next(stream)
        assert closed(stream)


def test_a_signal_in_the_middle_ends_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    with outputs(emits()) as stream:

        def interrupted(response: StreamingResponse, deadline: Deadline) -> bytes:
            raise KeyboardInterrupt

        monkeypatch.setattr(StreamingResponse, "read", interrupted)
        with pytest.raises(KeyboardInterrupt):
            next(stream)
        assert stream.ended


def test_a_forked_child_can_neither_read_nor_end_it() -> None:
    go = threading.Event()

    def later(peer: Peer) -> None:
        assert go.wait(5)
        peer.send(chunk(b"data: 1\n\n"))
        peer.wait_gone()

    with outputs(emits(chunk(b"data: 0\n\n"), then=later)) as stream:
        assert next(stream) == 0

        def child() -> None:
            stream.close()
            with pytest.raises(MisuseError):
                stream.receive(timeout=1)

        in_child(child)
        go.set()
        assert next(stream) == 1


def test_it_is_neither_copied_nor_pickled_and_shows_nothing() -> None:
    with outputs(emits()) as stream:
        assert repr(stream) == "<OutputStream>"
        with pytest.raises(TypeError):
            pickle.dumps(stream)
    assert repr(stream) == "<OutputStream ended>"


# --- views that are none


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (
            answer(b'{"detail":"No"}', "404 Not Found"),
            404,
            '/updates answered with HTTP 404: {"detail":"No"}: there is',
        ),
        (answer(b"", "204 No Content"), 204, "HTTP 204$"),
        (answer(b"x", "500 Oops", "Transfer-Encoding: chunked"), 500, "HTTP 500$"),
        (answer(b"", "502 Bad Gateway"), 502, "HTTP 502: a gateway answers, and cannot reach"),
        (answer(b"<html>", "200 OK", "Content-Type: text/html; charset=utf-8"), 200, "'text/html' instead of"),
        (answer(b"data: 1\n\n"), 200, "instead of a stream of events"),
        (answer(b"", "307 Elsewhere", "Location: /updates/"), 307, "redirect"),
    ],
)
def test_what_is_no_stream_of_events_is_an_error(data: bytes, status: int, reason: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        with server(says(data)) as port:
            outputs = opened(http(port))
            with pytest.raises(HookError, match=reason) as caught:
                outputs.receive(timeout=5)
            assert outputs.ended
            assert list(outputs) == []
    assert caught.value.status == status
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.status, copy.url) == (status, f"http://127.0.0.1:{port}/updates")


# --- the head


def held_back(go: threading.Event, data: bytes) -> Script:
    """As a middleware that compresses does, or a proxy that buffers: no byte before the first event."""

    def run(peer: Peer) -> None:
        request(peer)
        assert go.wait(5)
        peer.send(data)
        peer.wait_gone()

    return run


def zipped(data: bytes) -> bytes:
    return EVENTS.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n") + chunk(gzip.compress(data)) + END


@pytest.mark.parametrize("data", [EVENTS + chunk(b"data: 1\n\n") + END, zipped(b"data: 1\n\n")], ids=["plain", "gzip"])
def test_a_head_that_comes_with_the_first_output_is_waited_for_by_call_after_call(data: bytes) -> None:
    go = threading.Event()
    with outputs(held_back(go, data)) as stream:  # the only script: a second request would be refused
        for _ in range(3):
            assert stream.receive("none", timeout=0.05) == "none"
            assert not stream.ended
        go.set()
        assert stream.receive(timeout=5) == 1
        assert list(stream) == []


def test_the_head_may_come_later_than_the_time_of_connecting() -> None:
    go = threading.Event()
    with server(held_back(go, EVENTS + chunk(b"data: 1\n\n"))) as port, opened(http(port), timeout=0.1) as stream:
        assert stream.receive(timeout=0.5) is None
        go.set()
        assert stream.receive(timeout=5) == 1


def test_nothing_is_asked_before_the_first_output_is() -> None:
    with opened(http(1)) as stream:
        pass
    assert stream.ended
    assert stream.receive("none") == "none"
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        opened(http(1))  # dropped


def test_closing_ends_all_waits_for_the_head() -> None:
    with outputs(lambda peer: peer.wait_gone()) as stream, ThreadPoolExecutor(4) as threads:
        waiting = [threads.submit(list, stream) for _ in range(4)]
        while not stream._opening.started:
            pass
        stream.close()
        assert [future.result(5) for future in waiting] == [[]] * 4
        assert not (stream._opening._thread and stream._opening._thread.is_alive())


def test_a_stream_that_is_dropped_while_its_head_is_awaited_ends_its_request() -> None:
    gone = threading.Event()

    def run(peer: Peer) -> None:
        request(peer)
        peer.wait_gone()
        gone.set()

    with server(run) as port:
        streams = [opened(http(port))]
        assert streams[0].receive(timeout=0.2) is None
        thread = streams[0]._opening._thread
        assert thread
        with pytest.warns(ResourceWarning, match="outputs was not closed"):
            streams.clear()
        assert gone.wait(5)
        thread.join(5)
        assert not thread.is_alive()


def test_a_server_that_is_not_reached_in_time_ends_the_stream() -> None:
    with unanswering() as port, opened(http(port), timeout=0.1) as stream:
        with pytest.raises(Timeout, match="timed out connecting to") as caught:
            stream.receive()
        assert caught.value.phase == "connect"
        assert stream.ended
    with unanswering() as port, opened(http(port), timeout=30) as stream:
        assert elapsed(lambda: stream.receive(timeout=0.1)) < 2
        assert not stream.ended
        assert elapsed(stream.close) < 2


@pytest.mark.parametrize("begun", [False, True])
def test_the_end_of_the_connection_ends_the_wait_for_the_head(begun: bool) -> None:
    ended: list[HumeClientException] = []
    with server(lambda peer: peer.wait_gone()) as port:
        with opened(http(port), connection_error=lambda: ended[0] if ended else None) as stream:
            if begun:
                assert stream.receive(timeout=0.2) is None
            ended.append(ConnectionLost("the server ended the session", close_code=1000))
            if begun:
                assert elapsed(lambda: list(stream)) < 4
            else:  # servers never answer for such a one
                with pytest.raises(ConnectionLost, match="ended the session") as caught:
                    stream.receive()
                assert caught.value is not ended[0]
                assert not stream._opening.started
            assert stream.ended


def test_a_forked_child_leaves_a_request_that_waits_for_its_head_alone() -> None:
    go = threading.Event()
    with outputs(held_back(go, EVENTS + chunk(b"data: 1\n\n"))) as stream:
        assert stream.receive(timeout=0.2) is None

        def child() -> None:
            stream.close()
            with pytest.raises(MisuseError):
                stream.receive(timeout=1)

        in_child(child)
        go.set()
        assert stream.receive(timeout=5) == 1
