"""Banding and periodic patterns of one image plane, as numbers.

For a plane v of one channel with finite values:

*Plateau share*: share of pixels in runs of at least 8 equal values along a row or a column that end in a step
to the next level the channel uses (the larger of both directions). Noise and texture give about 0, an 8-bit
sky nearly 1.

*Nyquist excess*: power of the pattern that alternates from pixel to pixel, vertically (scanlines),
horizontally (columns) or both (checkerboard), over that of the frequencies just below it, in dB. Per 64 x 64
window: mean off, 2-D Hann, ``P = |DFT|^2``; at N = 64 bin N/2 is compared with the mean of the bins N/2 - 6
to N/2 - 3 (beyond the window's main lobe); the ratios are averaged over the windows. White noise gives about
0 dB, a pattern of amplitude a in white noise of deviation s ``10 log10(1 + (4/9) N^2 (a/s)^2)``.

*Blockiness*: mean of ``|d[x] - (d[x-1] + d[x+1]) / 2|`` with ``d[x] = v[x] - v[x-1]`` at every eighth x
divided by the same elsewhere (each value limited to ten times the median of the nonzero ones), the larger of
both directions. 1 is clean; JPEG and video go above.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["NO_LEVEL", "Runs", "blockiness", "long_runs", "nyquist_excess", "plateau_share"]

Plane = npt.NDArray[np.float32]

#: Rank of what is no level: far from every rank, so that it is never one step away.
NO_LEVEL = -9

_RUN = 8
_WINDOW = 64
_MAX_WINDOWS = 48
_CEILING_DB = 60.0


@dataclass(frozen=True)
class Runs:
    """Long runs of equal values along the rows of a plane, one entry per run.

    ``row``, ``start`` and ``length`` say where; ``rank`` is the run's place among the levels the channel uses,
    ``before`` and ``after`` are those of the pixels at its ends, all three :data:`NO_LEVEL` where there is none.
    """

    row: npt.NDArray[np.intp]
    start: npt.NDArray[np.intp]
    length: npt.NDArray[np.intp]
    rank: npt.NDArray[np.intp]
    before: npt.NDArray[np.intp]
    after: npt.NDArray[np.intp]


def long_runs(plane: npt.NDArray[Any], rank_of: Callable[[npt.NDArray[Any]], npt.NDArray[np.intp]]) -> Runs:
    """The runs of at least 8 equal values along the rows of a plane, row by row from the left.

    Args:
        plane: (N, M), any dtype; NaN equals nothing, so it is in no run.
        rank_of: values of the plane, (K,), to their ranks 0, 1, ... among the levels in use; :data:`NO_LEVEL` for
            values that are no level.
    """
    same = plane[:, 1:] == plane[:, :-1]
    pairs = same[:, 1:] & same[:, :-1]
    fours = pairs[:, 2:] & pairs[:, :-2]
    sevens = fours[:, 3:] & fours[:, :-3]  # 7 equal neighbours: 8 equal pixels from here on
    inside = np.zeros((len(plane), sevens.shape[1] + 2), bool)
    inside[:, 1:-1] = sevens
    edges = np.flatnonzero(inside[:, 1:] != inside[:, :-1])  # in, out, in, out, never across a row's end
    row, start = np.divmod(edges[0::2], inside.shape[1] - 1)
    end = edges[1::2] - row * (inside.shape[1] - 1) + _RUN - 1
    last = plane.shape[1] - 1
    return Runs(
        row=row,
        start=start,
        length=end - start,
        rank=rank_of(plane[row, start]),
        before=np.where(start > 0, rank_of(plane[row, np.maximum(start - 1, 0)]), NO_LEVEL),
        after=np.where(end <= last, rank_of(plane[row, np.minimum(end, last)]), NO_LEVEL),
    )


def plateau_share(plane: Plane) -> float:
    """Plateau share of a finite plane (H, W): 0 .. 1."""
    levels = np.unique(plane)
    shares = []
    for view in (plane, np.ascontiguousarray(plane.T)):
        runs = long_runs(view, lambda values: np.searchsorted(levels, values))
        gentle = (np.abs(runs.before - runs.rank) == 1) | (np.abs(runs.after - runs.rank) == 1)
        shares.append(float(runs.length[gentle].sum() / plane.size))
    return max(shares)


def nyquist_excess(plane: Plane) -> tuple[float | None, float | None, float | None]:
    """Nyquist excess of a finite plane (H, W) in dB, -60 .. 60: vertical, horizontal, both.

    None for planes under 16 pixels; the window shrinks to 32 or 16 for planes under 64.
    """
    n = _WINDOW
    while n > min(plane.shape):
        n //= 2
    if n < 16:
        return None, None, None
    rows, columns = plane.shape[0] // n, plane.shape[1] // n
    grid = plane[: rows * n, : columns * n].reshape(rows, n, columns, n).transpose(0, 2, 1, 3)
    windows = grid.reshape(-1, n, n)
    windows64 = windows[:: -(-len(windows) // _MAX_WINDOWS)].astype(np.float64)
    hann = np.sin(np.pi * np.arange(n) / n) ** 2
    power = np.abs(np.fft.fft2((windows64 - windows64.mean(axis=(1, 2), keepdims=True)) * np.outer(hann, hann))) ** 2
    half, near, low = n // 2, slice(n // 2 - 6, n // 2 - 2), slice(0, 3)
    # Windows in which nothing happens would divide rounding errors.
    floor = 1e-12 * max(float(power.max()), 1e-30)

    def excess(peak: npt.NDArray[Any], around: npt.NDArray[Any]) -> float:
        ratio = (peak + floor) / (around.mean(axis=(1, 2)) + floor)
        return float(np.clip(10 * np.log10(ratio.mean()), -_CEILING_DB, _CEILING_DB))

    return (
        excess(power[:, half, 0], power[:, near, low]),
        excess(power[:, 0, half], power[:, low, near]),
        excess(power[:, half, half], power[:, near, near]),
    )


def blockiness(plane: Plane) -> float | None:
    """Blockiness at 8 pixels of a finite plane (H, W), 1 = none; None for planes under 24 pixels."""
    ratios = []
    for view in (plane, plane.T):
        if view.shape[1] < 24:
            return None
        d = np.diff(view, axis=1)
        # kinks[:, i] belongs to the step from pixel i + 1 to i + 2.
        kinks = np.abs(d[:, 1:-1] - (d[:, :-2] + d[:, 2:]) / 2)
        # A sun or a lamp must not outweigh the picture: what is far above the usual counts as ten times it.
        usual = np.median(kinks[kinks > 0]) if kinks.any() else np.float32(0)
        columns = np.minimum(kinks, 10 * usual).mean(axis=0, dtype=np.float64)
        at_edge = (np.arange(len(columns)) + 2) % 8 == 0
        elsewhere = columns[~at_edge].mean()
        # Without any kinks elsewhere, edges are either nothing at all or everything there is.
        ratios.append(columns[at_edge].mean() / elsewhere if elsewhere > 0 else 1.0)
    return float(max(ratios))
