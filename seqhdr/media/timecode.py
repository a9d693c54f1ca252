"""Frame rates as fractions, and SMPTE timecode: text, the packed word of an EXR header, and counting."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from seqhdr.errors import UsageError

__all__ = ["Timecode", "parse_fps", "timecode_add", "timecode_pack", "timecode_unpack"]

_TEXT = re.compile(r"(\d{1,2}):(\d{2}):(\d{2})([:;])(\d{2})", re.ASCII)
_DROP_BIT = 1 << 6
# The word has two bits for the tens of the frame, so it counts to 39.
_MOST_FRAMES = 39


@dataclass(frozen=True)
class Timecode:
    """One SMPTE time of day: hours 0..23, minutes and seconds 0..59, frames 0..99, drop-frame or not."""

    hours: int
    minutes: int
    seconds: int
    frames: int
    drop: bool = False

    def __str__(self) -> str:
        """``HH:MM:SS:FF``, with ``;`` before the frames when labels are dropped."""
        mark = ";" if self.drop else ":"
        return f"{self.hours:02d}:{self.minutes:02d}:{self.seconds:02d}{mark}{self.frames:02d}"

    @classmethod
    def parse(cls, text: str) -> Timecode:
        """Read ``01:02:03:04`` (every label counts) or ``01:02:03;04`` (drop-frame).

        Raises UsageError when the text is neither, or names an hour, minute or second that does not exist.
        """
        match = _TEXT.fullmatch(text.strip())
        if match is None:
            raise UsageError(f"{text!r} is not a timecode: write HH:MM:SS:FF, or HH:MM:SS;FF for drop-frame.")
        hours, minutes, seconds, frames = (int(match[i]) for i in (1, 2, 3, 5))
        if hours > 23 or minutes > 59 or seconds > 59:
            raise UsageError(f"timecode {text!r} is past the end of the day: it runs to 23:59:59.")
        return cls(hours, minutes, seconds, frames, match[4] == ";")


def parse_fps(value: str | float | Fraction) -> Fraction:
    """Return frames per second as the exact rate it stands for.

    ``24``, ``"25"``, ``"24000/1001"`` are taken as they are; a decimal within 0.005 of an NTSC rate, such as
    23.976 or 29.97, becomes that rate over 1001.  Raises UsageError for anything not between 1 and 1000.
    """
    try:
        exact = Fraction(str(value)) if isinstance(value, (str, float)) else Fraction(value)
    except (ValueError, ZeroDivisionError):
        exact = Fraction(0)
    if not 1 <= exact <= 1000:
        raise UsageError(f"{value!r} is not a frame rate: write it like 24, 23.976 or 24000/1001.")
    if exact.denominator == 1:
        return exact
    ntsc = Fraction(round(exact) * 1000, 1001)
    return ntsc if abs(exact - ntsc) < Fraction(5, 1000) else exact.limit_denominator(100_000)


def timecode_add(timecode: str, frames: int, fps: Fraction) -> str:
    """Count ``frames`` (may be negative) on from ``timecode`` at ``fps``; the day wraps around at midnight.

    A ``;`` before the frames counts drop-frame, which only 30000/1001 and 60000/1001 have.
    Raises UsageError when the timecode does not exist at this rate.
    """
    start = Timecode.parse(timecode)
    rate = round(fps)
    if start.frames >= rate:
        raise UsageError(f"timecode {timecode!r} has no place at {rate} frames per second: check --fps.")
    dropped = 0
    if start.drop:
        if fps not in (Fraction(30000, 1001), Fraction(60000, 1001)):
            raise UsageError(
                f"timecode {timecode!r} is drop-frame, which needs 29.97 or 59.94 frames per second: "
                "write ':' before the frames, or check --fps."
            )
        dropped = rate // 15
        if start.minutes % 10 and start.seconds == 0 and start.frames < dropped:
            raise UsageError(f"drop-frame skips the label {timecode!r}: start a frame or two later.")
    per_minute, per_ten = rate * 60 - dropped, rate * 600 - 9 * dropped
    minutes = start.hours * 60 + start.minutes
    count = (minutes * 60 + start.seconds) * rate + start.frames - dropped * (minutes - minutes // 10)
    tens, rest = divmod((count + frames) % (per_ten * 144), per_ten)
    # Put the skipped labels back: none in the first minute of ten, `dropped` in each of the nine after it.
    skipped = 0 if rest < rate * 60 else 1 + (rest - rate * 60) // per_minute
    label = tens * rate * 600 + rest + dropped * skipped
    seconds, frame = divmod(label, rate)
    return str(Timecode(seconds // 3600, seconds // 60 % 60, seconds % 60, frame, start.drop))


def timecode_pack(timecode: str) -> int:
    """Return the SMPTE word of an EXR ``timeCode``: binary-coded decimal pairs, and the drop-frame flag.

    Raises UsageError for more than 39 frames, which the word cannot hold.
    """
    tc = Timecode.parse(timecode)
    if tc.frames > _MOST_FRAMES:
        raise UsageError(
            f"timecode {timecode!r} does not fit an EXR header, which counts {_MOST_FRAMES + 1} frames "
            "at most: leave the timecode out at higher rates."
        )
    word = 0
    for shift, value in ((24, tc.hours), (16, tc.minutes), (8, tc.seconds), (0, tc.frames)):
        word |= (value // 10 << 4 | value % 10) << shift
    return word | (_DROP_BIT if tc.drop else 0)


def timecode_unpack(word: int) -> str | None:
    """Return the text of a packed SMPTE word, or None when its digits are no time of day."""
    fields = ((word >> 24) & 0x3F, (word >> 16) & 0x7F, (word >> 8) & 0x7F, word & 0x3F)
    if any((field & 0xF) > 9 for field in fields):
        return None
    hours, minutes, seconds, frames = ((field >> 4) * 10 + (field & 0xF) for field in fields)
    if hours > 23 or minutes > 59 or seconds > 59:
        return None
    return str(Timecode(hours, minutes, seconds, frames, bool(word & _DROP_BIT)))
