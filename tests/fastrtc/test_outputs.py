from __future__ import annotations

import pickle
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from hume_sync import ConnectionLost, InputError, MisuseError, ProtocolError, Timeout
from hume_sync.errors import HookError
from hume_sync.fastrtc.http import Http
from hume_sync.fastrtc.outputs import OutputStream, latest, post_input
from hume_sync.fastrtc.sse import ServerSentEvent
from hume_sync.net.deadline import Deadline
from tests.faultproxy import Peer
from tests.net.support import Script, in_child, server

from .webtalk import answer, elapsed, http, request, says

ID = "6f1c"
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
    with server(script) as port, OutputStream(http(port), "/updates", ID, Deadline(5)) as stream:
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
        OutputStream(http(port), "/updates", ID, Deadline(5)).close()
        OutputStream(http(port), "/updates?stream=s", ID, Deadline(5)).close()
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
    with outputs(emits(then=lambda peer: peer.drip(chunk(b":\n") * 1000, 0.005))) as stream:
        assert elapsed(lambda: stream.receive(timeout=0.1)) < 0.4


@pytest.mark.parametrize(
    ("endless", "reason"),
    [(b"x" * 65536, "line .* longer than"), (b"data: " + b"x" * 65529 + b"\n", "event is larger")],
)
def test_endless_lines_and_events_end_the_stream_with_an_error(endless: bytes, reason: str) -> None:
    with outputs(emits(then=lambda peer: peer.flood(chunk(endless), 2**26))) as stream:
        with pytest.raises(ProtocolError, match=reason):
            next(stream)
        assert stream.ended
        assert list(stream) == []


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
        assert elapsed(lambda: list(stream)) < 1.0
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
        return stream._response._wire.fileno() == -1

    with outputs(emits(chunk(b"data: 1\n\n"), END)) as stream:
        assert list(stream) == [1]
        assert closed(stream)
    with outputs(emits()) as stream:
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

        def interrupted(deadline: Deadline) -> bytes:
            raise KeyboardInterrupt

        monkeypatch.setattr(stream._response, "read", interrupted)
        with pytest.raises(KeyboardInterrupt):
            next(stream)
        assert stream.ended


def test_a_forked_child_can_neither_read_nor_end_it() -> None:
    go = threading.Event()

    def later(peer: Peer) -> None:
        assert go.wait(5)
        peer.send(chunk(b"data: 1\n\n"))
        peer.wait_gone()

    with outputs(emits(then=later)) as stream:

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
        (answer(b'{"detail":"No"}', "404 Not Found"), 404, 'outputs URL answered with HTTP 404: {"detail":"No"}'),
        (answer(b"", "204 No Content"), 204, "HTTP 204$"),
        (answer(b"x", "500 Oops", "Transfer-Encoding: chunked"), 500, "HTTP 500$"),
        (answer(b"<html>", "200 OK", "Content-Type: text/html; charset=utf-8"), 200, "'text/html' instead of"),
        (answer(b"data: 1\n\n"), 200, "instead of a stream of events"),
        (answer(b"", "307 Elsewhere", "Location: /updates/"), 307, "redirect"),
    ],
)
def test_what_is_no_stream_of_events_is_an_error(data: bytes, status: int, reason: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        with server(says(data)) as port:
            with pytest.raises(HookError, match=reason) as caught:
                OutputStream(http(port), "/updates", ID, Deadline(5))
    assert caught.value.status == status
    assert pickle.loads(pickle.dumps(caught.value)).status == status


def test_opening_ends_with_its_deadline() -> None:
    with server(lambda peer: peer.wait_gone()) as port, pytest.raises(Timeout):
        OutputStream(http(port), "/updates", ID, Deadline(0.1))


# --- the latest output


@pytest.mark.parametrize(("body", "value"), [(b'{"a": 1}', {"a": 1}), (b"plain", "plain"), (b"null", None)])
def test_the_latest_output_is_json_or_text(body: bytes, value: object) -> None:
    seen = []

    def view(peer: Peer) -> None:
        seen.append(request(peer)[0])
        peer.send(answer(body))

    with server(view) as port:
        assert latest(http(port), "/latest?stream=s", ID, Deadline(5)) == value
    assert seen == ["GET /latest?stream=s&webrtc_id=6f1c HTTP/1.1"]


def test_a_server_that_waited_in_vain_for_an_output_says_500() -> None:
    with server(says(answer(b"Internal Server Error", "500 Internal Server Error"))) as port:
        with pytest.raises(HookError, match="latest URL answered with HTTP 500: Internal Server Error") as caught:
            latest(http(port), "/latest", ID, Deadline(5))
    assert caught.value.status == 500


# --- additional inputs


def posted(fields: Any, shape: Callable[[str, Mapping[str, Any]], Any] | None = None) -> bytes:
    seen = []

    def hook(peer: Peer) -> None:
        seen.append(request(peer)[2])
        peer.send(answer(b"null"))

    with server(hook) as port:
        assert post_input(http(port), "/input_hook", ID, fields, shape, Deadline(5)).status == 200
    return seen[0]


def test_inputs_are_posted_as_the_published_page_does() -> None:
    assert posted({"scale": 2, "label": "a"}) == b'{"webrtc_id":"6f1c","scale":2,"label":"a"}'


def test_inputs_are_posted_in_the_form_the_application_wants() -> None:
    assert posted({"scale": 2}, lambda webrtc_id, fields: [webrtc_id, *fields.values()]) == b'["6f1c",2]'


@pytest.mark.parametrize("status", ["404 Not Found", "422 Unprocessable", "500 Oops", "503 Later"])
def test_a_hook_that_answers_with_an_error_is_told(status: str) -> None:
    with server(says(answer(b'{"detail": "no"}' + b" no" * 9999, status))) as port:
        with pytest.raises(HookError, match='input_hook URL answered with HTTP ... *: {"detail": "no"}') as caught:
            post_input(http(port), "/input_hook", ID, {}, None, Deadline(5))
    assert caught.value.status == int(status[:3])
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("fields", [None, [1], {"webrtc_id": "other"}, {"a": object()}])
def test_inputs_that_cannot_be_sent_are_refused(fields: Any) -> None:
    with pytest.raises(InputError):
        post_input(http(1), "/input_hook", ID, fields, None, Deadline(5))


def test_each_url_is_refused_by_its_own_name() -> None:
    nowhere: Http = http(1)
    with pytest.raises(Exception, match="^input_hook "):
        post_input(nowhere, "hook", ID, {}, None, Deadline(5))
    with pytest.raises(Exception, match="^outputs "):
        OutputStream(nowhere, "updates", ID, Deadline(5))
    with pytest.raises(Exception, match="^latest "):
        latest(nowhere, "latest", ID, Deadline(5))
