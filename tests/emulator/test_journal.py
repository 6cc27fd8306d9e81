from __future__ import annotations

import threading

from hume_sync.emulator.journal import ConnectionEnded, HandshakeSeen, Journal, data_digest_of

from .support import request


def _handshake(number: int, status: int = 101) -> HandshakeSeen:
    return HandshakeSeen(number, "/v0/stream/models", status, None, None, None)


def test_only_the_latest_entries_are_kept_and_all_are_counted() -> None:
    journal = Journal(size=2)
    for number in (1, 2, 3):
        journal.add_handshake(_handshake(number))
        journal.add_request(number, "{}", None, None)
        journal.add_end(ConnectionEnded(number, 1000))
    for entries in (journal.handshakes, journal.requests, journal.ends):
        assert [entry.connection for entry in entries] == [2, 3]
    assert journal.counts == {
        "handshakes": 3, "refused": 0, "requests": 3, "ended": 3, "open": 0, "peak": 1,
    }  # fmt: skip


def test_the_peak_is_the_most_connections_open_at_one_time() -> None:
    journal = Journal()
    journal.add_handshake(_handshake(1))
    journal.add_handshake(_handshake(2))
    journal.add_handshake(_handshake(3, 401))
    journal.add_end(ConnectionEnded(1, 1000))
    assert (journal.counts["open"], journal.counts["peak"], journal.counts["refused"]) == (1, 2, 1)


def test_a_request_is_kept_apart_from_its_data() -> None:
    journal = Journal()
    raw = request("hello", "language", raw_text=True, payload_id="a")
    journal.add_request(1, raw, "E0101", (0.0, 1.5))
    [seen] = journal.requests
    assert seen.fields == {"models": {"language": {}}, "raw_text": True, "payload_id": "a"}
    assert (seen.data, seen.data_size, seen.data_digest) == ("hello", 5, data_digest_of("hello"))
    assert (seen.size, seen.code, seen.audio) == (len(raw), "E0101", (0.0, 1.5))


def test_long_data_is_kept_as_size_and_digest_only() -> None:
    journal = Journal(data_limit=10)
    journal.add_request(1, request("x" * 11), None, None)
    [seen] = journal.requests
    assert (seen.data, seen.data_size, seen.data_digest) == (None, 11, data_digest_of("x" * 11))


def test_other_fields_that_are_too_long_are_not_kept() -> None:
    journal = Journal(data_limit=20)
    journal.add_request(1, request("x", junk="y" * 20), None, None)
    assert (journal.requests[0].fields, journal.requests[0].data) == ({}, "x")


def test_what_is_no_json_object_is_kept_as_its_size() -> None:
    journal = Journal()
    for raw in ("junk", "[1]", b"\x00\x01"):
        journal.add_request(1, raw, "E0100", None)
    assert [(seen.size, dict(seen.fields), seen.data_digest) for seen in journal.requests] == [
        (4, {}, None),
        (3, {}, None),
        (2, {}, None),
    ]


def test_data_that_is_no_text_stays_among_the_fields() -> None:
    journal = Journal()
    journal.add_request(1, '{"data":7}', "E0101", None)
    assert (journal.requests[0].fields, journal.requests[0].data_digest) == ({"data": 7}, None)


def test_clear_forgets_all_but_what_is_open() -> None:
    journal = Journal()
    journal.add_handshake(_handshake(1))
    journal.add_request(1, "{}", None, None)
    journal.clear()
    assert (journal.handshakes, journal.requests, journal.ends) == ((), (), ())
    assert journal.counts == {
        "handshakes": 0, "refused": 0, "requests": 0, "ended": 0, "open": 1, "peak": 1,
    }  # fmt: skip


def test_a_thread_can_wait_for_what_is_to_come() -> None:
    journal = Journal()
    assert not journal.wait_for(lambda seen: bool(seen.requests), timeout=0)
    writer = threading.Thread(target=journal.add_request, args=(1, "{}", None, None))
    writer.start()
    assert journal.wait_for(lambda seen: bool(seen.requests))
    writer.join()
