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

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["blockiness", "nyquist_excess", "plateau_share"]

Plane = npt.NDArray[np.float32]

_RUN = 8
_WINDOW = 64
_MAX_WINDOWS = 48
_CEILING_DB = 60.0


def plateau_share(plane: Plane) -> float:
    """Plateau share of a finite plane (H, W): 0 .. 1."""
    ranks = np.searchsorted(np.unique(plane), plane)
    return max(_plateaus(ranks), _plateaus(ranks.T))


def _plateaus(ranks: npt.NDArray[np.intp]) -> float:
    """Share of pixels in long runs along the rows of which one end steps by one rank."""
    # A column of its own rank on the right keeps runs from going on in the next row.
    fence = np.full((len(ranks), 1), -9, ranks.dtype)
    flat = np.concatenate([ranks, fence], axis=1).ravel()
    ends = np.flatnonzero(np.diff(flat, append=-99))
    starts = np.concatenate([[0], ends[:-1] + 1])
    level = flat[ends]
    step = np.abs(np.diff(level))
    gentle = np.concatenate([[False], step == 1]) | np.concatenate([step == 1, [False]])
    length = ends - starts + 1
    return float(length[(length >= _RUN) & gentle & (level >= 0)].sum() / ranks.size)


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
