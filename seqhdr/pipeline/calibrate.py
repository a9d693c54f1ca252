"""Find the response curve of footage: read the frames a method needs, and let it judge them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seqhdr.classic.response_edges import edge_curve
from seqhdr.classic.response_exposures import EXPOSURE_METHODS, exposure_curve
from seqhdr.classic.response_fit import doubt_curve
from seqhdr.classic.response_noise import noise_curve
from seqhdr.color.response import CONFIDENCES, ResponseCurve, known_curve
from seqhdr.errors import InputError, ShotError, UnknownNameError, UsageError
from seqhdr.media.compression import LOSSLESS, estimate_half_width
from seqhdr.media.curve_files import CURVE_EXTENSIONS, read_samples
from seqhdr.media.frames import Frame, read_frame
from seqhdr.media.shot import find_shot

__all__ = ["CALIBRATE_METHODS", "check_method", "curve_by_name", "curve_of_exposures", "curve_of_frames"]

SINGLE_METHODS = ("edges", "noise")
CALIBRATE_METHODS = ("auto", *EXPOSURE_METHODS, *SINGLE_METHODS)

# Edges want different pictures, noise wants neighbours in time; more than these add little but waiting.
_EDGE_FRAMES, _NOISE_FRAMES, _EXPOSURE_FRAMES = 8, 12, 4
_EXPOSURE_PIXELS = 400_000
_JUDGED_FRAMES = 3


def check_method(method: str) -> None:
    """Refuse a method nobody knows with an UnknownNameError."""
    if method not in CALIBRATE_METHODS:
        raise UnknownNameError("value of --method", method, CALIBRATE_METHODS)


def curve_by_name(name: str) -> ResponseCurve:
    """A known curve: ``srgb``, ``rec709``, ``gamma:2.4``, or the path of a table, which is scaled to end at 1.

    Raises:
        UnknownNameError, UsageError: a name that is none.
        InputError: a file that is no table of a curve.
    """
    path = Path(name)
    if path.suffix.lower() not in CURVE_EXTENSIONS:
        return known_curve(name)
    curve, _ = read_samples(path)
    return curve


def curve_of_exposures(patterns: Sequence[str], stops: Sequence[float], method: str) -> ResponseCurve:
    """The curve of several exposures of one scene.

    Args:
        patterns: one per exposure, of frames with the same numbers, or of one file each.
        stops: of each, the exposure in stops; more is brighter.
        method: ``auto``, ``debevec`` or ``robertson``.

    Raises:
        UsageError: a method that needs one pattern.
        InputError: frames that cannot be used.
    """
    chosen = "debevec" if method == "auto" else method
    if chosen not in EXPOSURE_METHODS:
        raise UsageError(
            f"--method {method} is for one pattern: use {' or '.join(EXPOSURE_METHODS)}, or leave out --ev"
        )
    listed = [_files(pattern) for pattern in patterns]
    shared = sorted(set(listed[0]).intersection(*listed[1:]))
    if not shared:
        raise ShotError(f"{patterns[0]}: has no frame number in common with all other exposures: name such frames")
    numbers = _spread_over(shared, _EXPOSURE_FRAMES)
    parts: list[NDArray[np.uint8]] = []
    for number in numbers:
        frames = [read_frame(files[number]) for files in listed]
        for files, frame in zip(listed, frames, strict=True):
            _same_size(files[number], frame, frames[0])
            if frame.bits != 8:
                raise InputError(
                    f"{files[number]}: has {frame.bits} bits, and {chosen} solves for 8: give 8-bit frames"
                )
        parts.append(np.stack([frame.codes.reshape(-1, 3) for frame in frames]))
    stack = np.concatenate(parts, axis=1)
    stack = stack[:, :: math.ceil(stack.shape[1] / _EXPOSURE_PIXELS)]
    return exposure_curve(list(stack), stops, chosen)


def curve_of_frames(pattern: str, method: str) -> ResponseCurve:
    """The curve of frames of one exposure. Compression mixes codes, not light, so that after it none can be trusted.

    Args:
        pattern: of the frames, or one file.
        method: ``edges``, ``noise``, or ``auto``: both, and the one that can be trusted more.

    Raises:
        UsageError: a method that needs several exposures.
        InputError: frames that cannot be used.
    """
    if method not in ("auto", *SINGLE_METHODS):
        raise UsageError(f"--method {method} needs several exposures: give one pattern for each, and --ev")
    files = _files(pattern)
    found: list[ResponseCurve] = []
    if method in ("auto", "edges"):
        frames = _read(files, _spread_over(sorted(files), _EDGE_FRAMES))
        found.append(edge_curve([frame.codes for frame in frames], 2 ** frames[0].bits - 1))
    if method in ("auto", "noise"):
        middle = max(len(files) - _NOISE_FRAMES, 0) // 2
        frames = _read(files, sorted(files)[middle : middle + _NOISE_FRAMES])
        found.append(noise_curve([frame.codes for frame in frames], 2 ** frames[0].bits - 1))
    best = min(found, key=lambda curve: (CONFIDENCES.index(curve.confidence), curve.spread))
    width = _half_width(files)
    if width <= LOSSLESS:
        return best
    return doubt_curve(
        best, f"the frames were compressed (codes err by about {width:g}), which mixes codes and not light"
    )


def _files(pattern: str) -> dict[int, Path]:
    """The frames of a pattern by number; a file that exists is frame 0."""
    if Path(pattern).is_file():
        return {0: Path(pattern)}
    shot = find_shot(pattern, missing="split")
    return {frame: shot.path(frame) for frame in shot.frames}


def _half_width(files: dict[int, Path]) -> float:
    """How far compression took codes from what they were, as :func:`estimate_half_width` sees it."""
    numbers = _spread_over(sorted(files), _JUDGED_FRAMES)
    frames = _read(files, numbers)
    container = files[numbers[0]].suffix
    return estimate_half_width([f.codes for f in frames], bits=frames[0].bits, container=container).half_width_lsb


def _spread_over(numbers: Sequence[int], count: int) -> list[int]:
    places = np.unique(np.linspace(0, len(numbers) - 1, min(count, len(numbers))).round().astype(int))
    return [numbers[place] for place in places]


def _read(files: dict[int, Path], numbers: Sequence[int]) -> list[Frame]:
    frames = [read_frame(files[number]) for number in numbers]
    for number, frame in zip(numbers, frames, strict=True):
        _same_size(files[number], frame, frames[0])
    return frames


def _same_size(path: Path, frame: Frame, first: Frame) -> None:
    mine, its = ((f.codes.shape[1], f.codes.shape[0], f.bits) for f in (frame, first))
    if mine != its:
        raise ShotError(
            f"{path}: is {mine[0]}x{mine[1]} of {mine[2]} bits, the first is {its[0]}x{its[1]} of {its[2]}: "
            "give frames of one size and depth"
        )
