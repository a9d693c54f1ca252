"""How far the codes of a source may lie from the picture it was made from: the half-width w of its bins.

A lossless 8-bit file has ``w = 1/2`` code. A file that was JPEG or video before errs by more, and it says so
itself, in two ways that leave hardly any doubt:

*The YCbCr lattice* (``seqhdr.media.ycbcr``): nearly all colours of a decoded JPEG or 8-bit video are ones that
integer luma and chroma can produce; of a clean picture's colours only the share that chance gives.

*The DCT comb.* The 8 x 8 DCT coefficients of a JPEG's luma are multiples of its quantisation steps (ITU-T
T.81, annexes A and K). The steps give the quality, and they betray grey JPEGs, which have no chroma to test.

Both fade when the picture was resized, graded or cropped off its grid after it was decoded: such a source
reads as clean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from seqhdr.media.ycbcr import LATTICES, Lattice, fit_lattice

__all__ = ["HalfWidthEstimate", "Kind", "estimate_half_width"]

Kind = Literal["lossless", "jpeg", "video", "deep"]
Codes = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
Floats = npt.NDArray[np.float32]

LOSSLESS: Final = 0.5
JPEG_CONTAINERS: Final = frozenset({"jpg", "jpeg", "jpe", "jfif"})
VIDEO_CONTAINERS: Final = frozenset({"mp4", "m4v", "mov", "mkv", "webm", "avi", "mpg", "mpeg", "ts", "mts"})

_MAX_STEP: Final = 100
_MOST_COLOURS: Final = 0.5

# The 95 % quantile of |decoded - original| in smooth areas, in codes, against the JPEG step scale (the steps
# relative to the standard luma table: 0.1 is quality 95, 1 is quality 50). Measured on rendered views.
_JPEG_SCALE: Final = (0.0, 0.10, 0.30, 0.50, 0.80, 1.6, 3.2)
_JPEG_WIDTH: Final = (1.2, 1.35, 1.5, 1.9, 2.4, 3.2, 4.0)
_JPEG_UNKNOWN_WIDTH: Final = 1.5
# The same for video: it grows with the share of blocks whose fine detail the encoder removed.
_VIDEO_WIDTH: Final = {"near": (1.5, 0.4), "floor": (2.4, 0.5)}


@dataclass(frozen=True)
class HalfWidthEstimate:
    """The half-width of a source's bins and what it was read from.

    Attributes:
        half_width_lsb: w in code values of the source (0.5 where it is lossless, 1 to 4 where compressed).
        kind: ``"lossless"``, ``"jpeg"``, ``"video"`` (H.264 and its relatives), or ``"deep"`` (more than
            8 bits per channel, taken as lossless without a test).
        reason: one sentence for the user.
        evidence: the measured numbers, JSON-able.
        lattice: the decoder whose colours these are, where most of them are; its rounding can be undone, see
            :mod:`seqhdr.media.unround`. None where no decoder is recognised.
    """

    half_width_lsb: float
    kind: Kind
    reason: str
    evidence: dict[str, float | int | str]
    lattice: Lattice | None = None


# Steps of quality 50 (ITU-T T.81, table K.1), rows of vertical frequency.
_STANDARD_STEPS: Final = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float32,
)


def estimate_half_width(frames: Sequence[Codes], *, bits: int = 8, container: str | None = None) -> HalfWidthEstimate:
    """Estimate the half-width w of a source's bins from a few of its decoded frames.

    Args:
        frames: one or more frames (H, W, 3), R'G'B' codes in ``0 .. 2**bits - 1``; up to five, spread over
            the shot, tell enough. Sizes may differ.
        bits: bits per channel. Deeper sources than 8 bits read as lossless: the tests are for 8-bit YCbCr.
        container: file extension, with or without dot, in any case. A JPEG or a movie is compressed whatever
            its pixels look like; everything else is judged by its pixels.

    Raises:
        ValueError: no frame, or not (H, W, 3).
    """
    if not frames or any(f.ndim != 3 or f.shape[2] != 3 for f in frames):
        raise ValueError("estimate_half_width needs at least one frame of shape (H, W, 3)")
    extension = (container or "").lower().lstrip(".")
    if bits != 8:
        reason = f"{bits} bits per channel: taken as lossless, compression is only looked for in 8 bits"
        return HalfWidthEstimate(LOSSLESS, "deep", reason, {"bits": bits})

    fit = fit_lattice(frames)
    evidence: dict[str, float | int | str] = {
        "lattice": fit.lattice.name,
        "lattice_share": round(fit.share, 4),
        "lattice_chance": round(fit.chance, 4),
        "colours": fit.colours,
    }
    shown = (
        f"{fit.share:.0%} of its colours lie on the 8-bit YCbCr lattice ({fit.lattice.name}) "
        f"where chance gives {fit.chance:.0%}"
    )
    # Where only some colours are the decoder's, chroma was interpolated: those few are there by chance.
    recognised = fit.lattice if fit.found and fit.share >= _MOST_COLOURS else None
    found_jpeg = fit.found and not fit.lattice.limited
    if extension in VIDEO_CONTAINERS or (fit.found and fit.lattice.limited):
        lattice = fit.lattice if fit.found else LATTICES[3]
        removed = _smoothed_share(frames, lattice)
        base, slope = _VIDEO_WIDTH[lattice.rounding]
        width = round(base + slope * removed, 2)
        evidence["smoothed_share"] = round(removed, 4)
        why = shown if fit.found else f"a .{extension} file is compressed video"
        reason = f"video before: {why}; in smooth areas about 95 % of its codes err by less than {width:.1f}"
        return HalfWidthEstimate(width, "video", reason, evidence, recognised)

    scale, combs = _step_scale(frames, fit.lattice if found_jpeg else LATTICES[0])
    evidence["dct_combs"] = combs
    if not (extension in JPEG_CONTAINERS or found_jpeg or scale is not None):
        reason = f"no trace of compression: {shown}, and its DCT shows no quantisation steps"
        if fit.colours == 0:
            reason = "no trace of compression: no colours to test, and its DCT shows no quantisation steps"
        return HalfWidthEstimate(LOSSLESS, "lossless", reason, evidence)
    if scale is None:
        width, quality = _JPEG_UNKNOWN_WIDTH, "of unknown quality"
    else:
        width = round(float(np.interp(scale, _JPEG_SCALE, _JPEG_WIDTH)), 2)
        number = 100 - 50 * scale if scale <= 1 else 50 / scale  # the scaling rule of the IJG's library
        quality = f"of about quality {number:.0f}"
        evidence["jpeg_quality"] = round(number, 1)
    if found_jpeg and fit.lattice.rounding == "floor":
        width += fit.lattice.darkening_lsb
    why = shown if found_jpeg else "its DCT coefficients are multiples of quantisation steps"
    if extension in JPEG_CONTAINERS:
        why = f"a .{extension} file"
    reason = f"JPEG {quality}: {why}; in smooth areas about 95 % of its codes err by less than {width:.1f}"
    return HalfWidthEstimate(width, "jpeg", reason, evidence, recognised)


def _smoothed_share(frames: Sequence[Codes], lattice: Lattice) -> float:
    """Share of 8 x 8 luma blocks whose upper quarter of DCT frequencies is empty, 0 .. 1."""
    blocks = np.concatenate([_blocks(lattice.luma(crop), 0) for crop in _crops(frames)])
    if not len(blocks):
        return 0.0
    fine = np.abs(_dct(blocks)[:, 4:, 4:]).mean(axis=(1, 2))
    return float((fine < 0.3).mean())


def _step_scale(frames: Sequence[Codes], lattice: Lattice) -> tuple[float | None, int]:
    """The JPEG step scale (1 = quality 50), None where no comb is found, and the number of combs found."""
    planes = [np.rint(lattice.luma(crop)) for crop in _crops(frames)]
    # Repeated blocks (tiles, plateaus) would fake a comb: each distinct block votes once.
    blocks = np.unique(np.concatenate([_blocks(plane, 0) for plane in planes]).reshape(-1, 64), axis=0)
    shifted = np.unique(np.concatenate([_blocks(plane, 4) for plane in planes]).reshape(-1, 64), axis=0)
    coefficients = _dct(blocks.reshape(-1, 8, 8))
    elsewhere = _dct(shifted.reshape(-1, 8, 8))
    ratios = []
    for v in range(8):
        for u in range(8):
            step = _comb_step(coefficients[:, v, u])
            # A comb off the grid too belongs to the picture (enlarged pixels, stripes), not to a JPEG.
            if u + v and step and _comb_score(elsewhere[:, v, u], step) < 0.3:
                ratios.append(step / _STANDARD_STEPS[v, u])
    if len(ratios) < 4:
        return None, len(ratios)
    return float(np.median(ratios)), len(ratios)


def _comb_score(values: Floats, step: int) -> float:
    """Mean cosine of the phase to multiples of ``step`` of the values that do not round to 0: -1 .. 1."""
    used = values[np.abs(values) > step / 2]
    if len(used) < 40:
        return 0.0
    return float(np.cos(used * np.float32(2 * np.pi / step)).mean())


def _comb_step(values: Floats) -> int:
    """The largest step >= 2 of which the values are multiples, 0 if there is none."""
    magnitude = np.sort(np.abs(values))
    if len(magnitude) < 40:
        return 0
    # Two teeth must be seen: values at one distance from 0 only are no comb.
    for step in range(min(_MAX_STEP, int(magnitude[-10] / 1.5)), 1, -1):
        if _comb_score(values, step) > 0.55:
            return step
    return 0


def _crops(frames: Sequence[Codes]) -> list[Floats]:
    """The middle of up to three frames, aligned to the 8 x 8 grid, at most 384 x 512."""
    crops = []
    for frame in frames[:: max(1, len(frames) // 3)][:3]:
        top, left = ((max(0, frame.shape[i] - n) // 2) & ~7 for i, n in ((0, 384), (1, 512)))
        crops.append(frame[top : top + 384, left : left + 512].astype(np.float32))
    return crops


def _blocks(plane: Floats, shift: int) -> Floats:
    """Whole 8 x 8 blocks (N, 8, 8) of a plane (H, W), from ``shift`` on, without clipped ones."""
    height, width = ((n - shift) // 8 for n in plane.shape)
    if height < 1 or width < 1:
        return np.empty((0, 8, 8), np.float32)
    part = plane[shift : shift + 8 * height, shift : shift + 8 * width]
    blocks = part.reshape(height, 8, width, 8).transpose(0, 2, 1, 3).reshape(-1, 8, 8)
    inside = (blocks.min(axis=(1, 2)) > 1) & (blocks.max(axis=(1, 2)) < 254)
    return np.ascontiguousarray(blocks[inside])


def _dct(blocks: Floats) -> Floats:
    """Orthonormal 8 x 8 DCT-II of blocks (N, 8, 8), vertical frequency first."""
    k, n = np.arange(8)[:, None], np.arange(8)[None, :]
    basis = np.cos(np.pi * (2 * n + 1) * k / 16) * np.where(k == 0, np.sqrt(1 / 8), 0.5)
    basis32: Any = basis.astype(np.float32)
    return np.asarray(basis32 @ blocks @ basis32.T, np.float32)
