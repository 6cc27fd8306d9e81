"""Audio over WebRTC: what is heard on either side."""

from __future__ import annotations

import pytest

from hume_sync.errors import Timeout
from hume_sync.fastrtc.events import AudioChunk
from hume_sync.net.deadline import Deadline

from .rtcfake import RTCFake, hertz, loudness, tone, voiced
from .rtctalk import HELD_BACK, MARKS, Open, audio_of, soon

pytestmark = MARKS


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_the_server_hears_what_was_sent_at_its_pitch_and_as_loud(rtc: RTCFake, open_transport: Open, rate: int) -> None:
    transport = open_transport(rtc, input_sample_rate=rate)
    sent = tone(0.3, rate)
    transport.send_audio(sent[: rate // 10 * 2], soon())
    transport.send_audio(sent[rate // 10 * 2 :], soon())
    rtc.wait(lambda: len(rtc.heard) > 2 * 0.4 * 48000)
    heard = voiced(bytes(rtc.heard))
    assert hertz(heard, 48000) == pytest.approx(440, rel=0.02)
    assert loudness(heard) == pytest.approx(loudness(sent), rel=0.05)
    assert len(heard) / 2 / 48000 == pytest.approx(0.3 - 2000 / 48000, abs=0.03)


@pytest.mark.parametrize("rate", [8000, 24000, 48000])
def test_what_the_handler_says_comes_at_the_rate_asked_for(rtc: RTCFake, open_transport: Open, rate: int) -> None:
    transport = open_transport(rtc, output_sample_rate=rate)
    rtc.play(tone(0.6, 48000))
    heard = audio_of(transport, 0.45, rate)[: 2 * round(0.45 * rate)]
    steady = heard[2 * rate // 10 :]  # a codec begins softly
    assert hertz(steady, rate) == pytest.approx(440, rel=0.05)
    assert loudness(steady) == pytest.approx(loudness(tone(0.3, 48000)), rel=0.05)


def test_the_end_of_a_reply_is_held_back_until_more_comes_behind_it(rtc: RTCFake, open_transport: Open) -> None:
    transport = open_transport(rtc)
    rtc.play(tone(0.02 * 25, 48000))
    audio_of(transport, 0.02 * 19, 48000)
    while (event := transport.receive(Deadline(0.3))) is not None:
        assert isinstance(event, AudioChunk)
    rtc.play(bytes(2 * HELD_BACK))
    late = audio_of(transport, 0.08, 48000)
    assert loudness(late) == pytest.approx(loudness(tone(0.1, 48000)), rel=0.1)


def test_a_pause_inside_a_reply_keeps_its_length_and_endless_silence_is_left_out(
    rtc: RTCFake, open_transport: Open
) -> None:
    transport = open_transport(rtc)
    speech = tone(0.2, 48000)
    rtc.play(speech + bytes(2 * 48000) + speech + bytes(2 * 48000 * 5) + speech + bytes(2 * HELD_BACK))
    heard = b""
    while (event := transport.receive(Deadline(0.5))) is not None:
        assert isinstance(event, AudioChunk)
        heard += event.samples
    assert len(heard) / 2 / 48000 == pytest.approx(0.2 + 1 + 0.2 + 2 + 0.2, abs=0.1)
    for _ in range(2):  # after a while without a frame it is a pause in something new
        rtc.play(bytes(2 * 48000 * 3 // 2))
        audio_of(transport, 1.4, 48000)
        while transport.receive(Deadline(0.3)) is not None:
            pass


def test_what_was_said_comes_back_from_a_handler_that_hands_on_what_it_hears(open_transport: Open) -> None:
    with RTCFake(echoes=True) as fake:
        transport = open_transport(fake, output_sample_rate=16000)
        transport.send_audio(tone(0.3, 16000), soon())
        heard = b""
        while len(voiced(heard)) < 2 * 0.15 * 16000:
            heard += audio_of(transport, 0.02, 16000)
        assert hertz(voiced(heard), 16000) == pytest.approx(440, rel=0.02)


def test_sending_waits_while_ten_seconds_are_queued(rtc: RTCFake, open_transport: Open) -> None:
    transport = open_transport(rtc)
    transport.send_audio(bytes(2 * 16000 * 10), Deadline(0.5))
    with pytest.raises(Timeout) as caught:
        transport.send_audio(bytes(2 * 16000), Deadline(0.2))
    assert caught.value.phase == "send"
    transport.send_audio(bytes(2 * 1600), soon())  # room comes as it is spoken
