"""A shot: the frames a pattern names on disk, its gaps, and the names of what is written for it."""

from __future__ import annotations

import itertools
import re
from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from seqhdr.errors import ShotError, UsageError
from seqhdr.media.pattern import (
    EXR_EXTENSIONS,
    SOURCE_EXTENSIONS,
    FilePattern,
    list_sequences,
    names_in,
    offer,
    parse_pattern,
    sequences,
)
from seqhdr.media.ranges import FrameRange, compact, parse_frames

__all__ = [
    "EXR_EXTENSIONS",
    "MISSING_MODES",
    "SOURCE_EXTENSIONS",
    "Shot",
    "find_shot",
    "find_shots",
    "list_sequences",
    "output_name",
]

MISSING_MODES = ("error", "hold", "split")
_LONGEST_SPAN = 10_000_000


@dataclass(frozen=True)
class Shot:
    """The frames of one shot on disk.

    ``frames`` are those to process, ascending: with missing frames held they include the missing ones, else
    they all exist.  ``missing`` are the asked-for frames without a file.  ``segments`` divides ``frames``
    into the runs that belong together in time: recurrent state starts afresh with each.  ``available`` is
    every frame on disk, asked for or not.  ``basename`` keeps its separator (``shot_``), ``extension`` its
    dot; ``padding`` is the least number of digits, the sign counted, 1 when unpadded.
    """

    pattern: str
    directory: Path
    basename: str
    extension: str
    padding: int
    frames: tuple[int, ...]
    missing: tuple[int, ...]
    segments: tuple[tuple[int, ...], ...]
    available: tuple[int, ...]

    @property
    def name(self) -> str:
        """The basename without its separator; the folder's name when the frames have only a number.

        What stands between number and extension is part of it: ``shot.####.left.png`` is ``shot_left``.
        """
        middle = self.extension.rpartition(".")[0].strip("._- ")
        parts = [self.basename.rstrip("._- "), middle]
        return "_".join(p for p in parts if p) or self.directory.resolve().name or "shot"

    def number(self, frame: int) -> str:
        """The frame number as it stands in the file name."""
        return f"{frame:0{self.padding}d}"

    def path(self, frame: int) -> Path:
        """The file of a frame, whether it exists or not."""
        return self.directory / f"{self.basename}{self.number(frame)}{self.extension}"

    def source_frame(self, frame: int) -> int:
        """The frame whose file is read for ``frame``: itself, or the one before it where it is missing.

        Raises ValueError for a frame that comes before all files.
        """
        at = bisect_right(self.available, frame)
        if at == 0:
            raise ValueError(f"frame {frame} comes before the first file of {self.pattern}")
        return self.available[at - 1]

    def source_path(self, frame: int) -> Path:
        """The file that is read for ``frame``."""
        return self.path(self.source_frame(frame))


def find_shot(
    pattern: str | Path,
    *,
    frames: str | None = None,
    missing: str = "error",
    extensions: Collection[str] = tuple(SOURCE_EXTENSIONS),
) -> Shot:
    """Find the frames that ``pattern`` names.

    ``frames`` is a range like ``1001-1100x2,1200`` (default: all from the first found to the last);
    ``missing`` says what a frame without a file means: ``error``, ``hold`` (the one before it is read again)
    or ``split`` (the shot goes on without it, in a new segment).  ``extensions`` are those accepted, in
    lower case.

    Raises UsageError for options that cannot be understood, ShotError when the pattern is none or the files
    are not what it says.
    """
    pattern = str(pattern)
    if missing not in MISSING_MODES:
        raise UsageError(f"--missing {missing!r} is unknown: choose one of {', '.join(MISSING_MODES)}.")
    wanted = parse_frames(frames) if frames is not None else None
    shape = parse_pattern(pattern, extensions)
    directory = Path(pattern).parent
    names = names_in(directory, pattern)
    available = shape.frames(names)
    if not available:
        raise ShotError(f"{pattern}: no file matches; {offer(pattern, names, extensions)}.")
    asked = wanted or _all_between(pattern, available)
    on_disk = frozenset(available)
    gaps = tuple(f for f in asked.frames if f not in on_disk)
    if len(gaps) == len(asked.frames):
        raise ShotError(
            f"{pattern}: none of the frames {compact(gaps)} exists, on disk are {compact(available)}: check --frames."
        )
    if gaps and missing == "error":
        elsewhere = _elsewhere(shape, gaps, names, extensions)
        raise ShotError(_gap_sentence(pattern, gaps, available, elsewhere, whole=wanted is None))
    if gaps and missing == "hold" and gaps[0] < available[0]:
        early = compact(f for f in gaps if f < available[0])
        raise ShotError(
            f"{pattern}: there is nothing to hold for frames {early}, which come before the first file: "
            f"start --frames at {available[0]}."
        )
    segments = asked.runs if missing == "hold" else _without(asked.runs, frozenset(gaps))
    kept = tuple(f for run in segments for f in run)
    return Shot(pattern, directory, shape.basename, shape.extension, shape.padding, kept, gaps, segments, available)


def find_shots(
    patterns: Sequence[str | Path],
    *,
    frames: str | None = None,
    missing: str = "error",
    extensions: Collection[str] = tuple(SOURCE_EXTENSIONS),
) -> list[Shot]:
    """Find several shots that are written into one folder; see find_shot.

    Raises UsageError when two of them would write the same files (names compared without case).
    """
    if not patterns:
        raise UsageError("no shot given: name one like 'shot_%04d.png'.")
    shots = [find_shot(p, frames=frames, missing=missing, extensions=extensions) for p in patterns]
    seen: dict[str, Shot] = {}
    for shot in shots:
        other = seen.setdefault(shot.name.lower(), shot)
        if other is not shot:
            raise UsageError(
                f"{other.pattern} and {shot.pattern} would both write {shot.name}_*.exr: "
                "run them one by one with different output folders (-o)."
            )
    return shots


def output_name(shot: Shot, space: str, frame: int) -> str:
    """The file name of a written frame, ``shot_acescct.1001.exr``: number and padding as in the source.

    ``space`` is any colour space name; what file systems or shells trip over becomes ``_``.
    """
    tag = re.sub(r"[^a-z0-9-]+", "_", space.lower()).strip("_")
    return f"{shot.name}_{tag}.{shot.number(frame)}.exr"


def _all_between(pattern: str, available: tuple[int, ...]) -> FrameRange:
    span = available[-1] - available[0] + 1
    if span > _LONGEST_SPAN:
        raise ShotError(
            f"{pattern}: {len(available)} files are numbered {available[0]} to {available[-1]}, "
            "which is no frame count: name the frames with --frames, or renumber them."
        )
    every = tuple(range(available[0], available[-1] + 1))
    return FrameRange(every, (every,))


def _without(runs: tuple[tuple[int, ...], ...], gaps: frozenset[int]) -> tuple[tuple[int, ...], ...]:
    """The runs, broken where a frame is missing."""
    out: list[list[int]] = []
    for run in runs:
        out.append([])
        for frame in run:
            if frame not in gaps:
                out[-1].append(frame)
            elif out[-1]:
                out.append([])
    return tuple(tuple(run) for run in out if run)


def _gap_sentence(
    pattern: str, gaps: tuple[int, ...], available: tuple[int, ...], elsewhere: str, *, whole: bool
) -> str:
    """Name the gaps and the ways out of them."""
    count = f"{len(gaps)} frames are missing" if len(gaps) > 1 else "a frame is missing"
    ways = (
        "render them, or choose --missing hold (repeat the frame before) "
        "or --missing split (start afresh after each gap)"
    )
    steps = {b - a for a, b in itertools.pairwise(available)}
    if whole and len(available) > 2 and len(steps) == 1:
        step = steps.pop()
        ways = f"ask for every {step}. frame with --frames {available[0]}-{available[-1]}x{step}, or {ways}"
    return f"{pattern}: {count} ({compact(gaps)}{elsewhere}): {ways}."


def _elsewhere(shape: FilePattern, gaps: tuple[int, ...], names: list[str], extensions: Collection[str]) -> str:
    """Where missing frames exist under another padding or extension of the same name."""
    for sequence in sequences(names, extensions):
        other = parse_pattern(sequence, extensions)
        if other.basename == shape.basename and other != shape:
            there = [f for f in other.frames(names) if f in gaps]
            if there:
                return f"; {compact(there)} exist as {sequence}"
    return ""
