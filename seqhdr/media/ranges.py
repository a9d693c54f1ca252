"""Frame ranges in the notation of the trade, ``1001-1100x2,1200``, parsed by fileseq."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass

from fileseq.exceptions import MaxSizeException, ParseException
from fileseq.frameset import FrameSet

from seqhdr.errors import UsageError

__all__ = ["FrameRange", "compact", "parse_frames"]

# fileseq drops spaces ("1 2" is 12 to it) and knows fractions of frames; neither belongs in a file name.
_PART = re.compile(r"-?\d+(--?\d+([xy:]-?\d+)?)?", re.ASCII)
_EXAMPLE = "write it like 1001-1100, 1001-1100x2 or 1001-1050,1200."


@dataclass(frozen=True)
class FrameRange:
    """The frames asked for, ascending and each once; ``runs`` groups those the user wrote as one range."""

    frames: tuple[int, ...]
    runs: tuple[tuple[int, ...], ...]


def parse_frames(text: str) -> FrameRange:
    """Parse a frame range: numbers and ``a-b`` joined by commas, ``xN`` taking every N-th of ``a-b``.

    Reversed ranges, overlaps and repeats are allowed and leave every frame once, in ascending order.  A run
    is a stretch of neighbours that belong together in time: written in one range, or one apart.
    Raises UsageError when the text is no range, or names more frames than fit a shot.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(_PART.fullmatch(part) for part in parts):
        raise UsageError(f"--frames {text!r} is not a frame range: {_EXAMPLE}")
    try:
        sets = [frozenset(int(f) for f in FrameSet(part)) for part in parts]
    except MaxSizeException:
        raise UsageError(f"--frames {text!r} names more frames than any shot has: {_EXAMPLE}") from None
    except ParseException:
        raise UsageError(f"--frames {text!r} is not a frame range: {_EXAMPLE}") from None
    frames = sorted(frozenset().union(*sets))
    if not frames:
        raise UsageError(f"--frames {text!r} names no frame at all: {_EXAMPLE}")
    runs = [[frames[0]]]
    for before, frame in itertools.pairwise(frames):
        if frame - before == 1 or any(before in s and frame in s for s in sets):
            runs[-1].append(frame)
        else:
            runs.append([frame])
    return FrameRange(tuple(frames), tuple(tuple(run) for run in runs))


def compact(frames: Iterable[int], most: int = 12) -> str:
    """Write frames the short way, ``1003-1005, 1010``; beyond ``most`` pieces the rest is counted."""
    pieces = str(FrameSet.framesToFrameRange(sorted(set(frames)))).split(",")
    shown = ", ".join(pieces[:most])
    return shown if len(pieces) <= most else f"{shown} and {len(pieces) - most} more ranges"
