"""Timecode against counting every label of a day, and frame rates."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqhdr.errors import UsageError
from seqhdr.media.timecode import Timecode, parse_fps, timecode_add, timecode_pack, timecode_unpack

NTSC = Fraction(30000, 1001)


def labels(rate: int, dropped: int, hours: range) -> Iterator[str]:
    """Every timecode that exists in these hours, in order."""
    mark = ";" if dropped else ":"
    for h in hours:
        for m in range(60):
            for s in range(60):
                for f in range(rate):
                    if not (dropped and m % 10 and s == 0 and f < dropped):
                        yield f"{h:02d}:{m:02d}:{s:02d}{mark}{f:02d}"


@pytest.mark.parametrize(
    ("fps", "dropped"),
    [(Fraction(24), 0), (Fraction(24000, 1001), 0), (Fraction(25), 0), (NTSC, 2), (Fraction(60000, 1001), 4)],
)
def test_counting_agrees_with_the_list_of_labels(fps: Fraction, dropped: int) -> None:
    every = list(labels(round(fps), dropped, range(10, 11)))
    start = every[0]
    for n in (*range(0, 4000), *range(4000, len(every), 997), len(every) - 1):
        assert timecode_add(start, n, fps) == every[n]
    assert timecode_add(every[-1], 1, fps) == start.replace("10:", "11:", 1)
    assert timecode_add(start, -1, fps).startswith("09:59:59")


@settings(deadline=None)  # a busy machine is no failure
@given(st.integers(0, 2_000_000), st.integers(-3_000_000, 3_000_000), st.sampled_from([Fraction(24), NTSC]))
def test_adding_twice_is_adding_the_sum(a: int, b: int, fps: Fraction) -> None:
    zero = "00:00:00;00" if fps == NTSC else "00:00:00:00"
    once = timecode_add(timecode_add(zero, a, fps), b, fps)
    assert once == timecode_add(zero, a + b, fps)
    word = timecode_pack(once)
    assert 0 <= word < 2**32
    assert timecode_unpack(word) == once


def test_a_day_wraps() -> None:
    assert timecode_add("23:59:59:23", 1, Fraction(24)) == "00:00:00:00"
    assert timecode_add("23:59:59;29", 1, NTSC) == "00:00:00;00"


def test_drop_frame_is_only_what_the_semicolon_says() -> None:
    assert timecode_add("00:00:59;29", 1, NTSC) == "00:01:00;02"
    assert timecode_add("00:00:59:29", 1, NTSC) == "00:01:00:00"


@pytest.mark.parametrize(
    ("timecode", "fps", "why"),
    [
        ("01:00:00:24", Fraction(24), "no place at 24 frames"),
        ("01:00:00;00", Fraction(25), "drop-frame"),
        ("00:01:00;00", NTSC, "skips the label"),
        ("24:00:00:00", Fraction(24), "end of the day"),
        ("1:2:3", Fraction(24), "HH:MM:SS:FF"),
        ("", Fraction(24), "HH:MM:SS:FF"),
    ],
)
def test_refused(timecode: str, fps: Fraction, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        timecode_add(timecode, 0, fps)


def test_the_word_is_binary_coded_decimal() -> None:
    assert timecode_pack("01:02:03:04") == 0x01020304
    assert timecode_pack("23:59:59;29") == 0x23595929 | 1 << 6
    with pytest.raises(UsageError, match="does not fit"):
        timecode_pack("01:00:00:45")


@pytest.mark.parametrize("word", [0xFFFFFFFF, 0x25000000, 0x00600000, 0x0000000A])
def test_words_that_are_no_time(word: int) -> None:
    assert timecode_unpack(word) is None


def test_timecode_text() -> None:
    assert str(Timecode(1, 2, 3, 4)) == "01:02:03:04"
    assert str(Timecode.parse("1:02:03;04")) == "01:02:03;04"


@pytest.mark.parametrize(
    ("value", "rate"),
    [
        ("24", Fraction(24)),
        (25, Fraction(25)),
        (29.97, NTSC),
        ("23.976", Fraction(24000, 1001)),
        ("23.98", Fraction(24000, 1001)),
        (23.976023, Fraction(24000, 1001)),
        ("59.94", Fraction(60000, 1001)),
        ("24000/1001", Fraction(24000, 1001)),
        ("12.5", Fraction(25, 2)),
        (24.0, Fraction(24)),
        (NTSC, NTSC),
    ],
)
def test_frame_rates(value: str | float | Fraction, rate: Fraction) -> None:
    assert parse_fps(value) == rate


@pytest.mark.parametrize("value", ["", "abc", "0", "-24", "1/0", "nan", float("inf"), 1001, "0.5"])
def test_no_frame_rates(value: str | float) -> None:
    with pytest.raises(UsageError, match="is not a frame rate"):
        parse_fps(value)
