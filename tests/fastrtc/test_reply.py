from __future__ import annotations

from hume_sync.fastrtc import AudioChunk, Custom, LogMessage
from hume_sync.fastrtc.reply import Turn

STARTED, PAUSE, STARTING = (LogMessage(t) for t in ("started_talking", "pause_detected", "response_starting"))
ONE, TWO = AudioChunk(b"\x01\x00", 16000), AudioChunk(b"\x02\x00", 16000)


def turn(*events: object) -> Turn:
    it = Turn(16000)
    for event in events:
        it.add(event)  # type: ignore[arg-type]
    return it


def test_a_turn_is_not_over_before_audio_has_come() -> None:
    assert not turn(STARTED, PAUSE, STARTING).may_be_over
    assert turn(STARTED, PAUSE, STARTING, ONE).may_be_over


def test_a_turn_is_not_over_before_all_that_was_announced_has_come() -> None:
    short = turn(PAUSE, STARTING, STARTING, ONE)
    assert not short.may_be_over
    assert not short.reply().complete
    whole = turn(PAUSE, STARTING, STARTING, ONE, TWO)
    assert whole.may_be_over
    assert whole.reply().audio == b"\x01\x00\x02\x00"
    assert whole.reply().complete


def test_audio_that_nobody_announced_counts_as_well() -> None:
    assert turn(ONE).may_be_over  # over WebRTC one announcement stands for many pieces


def test_a_new_turn_drops_what_the_last_one_had_announced() -> None:
    it = turn(PAUSE, STARTING, STARTING, ONE, STARTED, PAUSE, STARTING, TWO)
    assert it.may_be_over
    assert it.reply().audio == TWO.samples


def test_all_that_is_no_audio_is_kept_in_order() -> None:
    custom = Custom("x", 1)
    reply = turn(STARTED, custom, PAUSE, STARTING, ONE).reply()
    assert reply.messages == (STARTED, custom, PAUSE, STARTING)
    assert reply.seconds == 1 / 16000
    assert "\\x01" not in repr(reply)
