"""Banding of a frame as it is stored: plateaus, those with a step that can be seen, and levels in smooth areas.

A plateau is a run of at least 8 equal values of a channel along a row or a column that ends, on one side at least, in
a step to the next level the channel uses (see :mod:`seqhdr.media.patterns`). Every file has some: neighbouring
half floats are levels too. Banding is what can be seen, so its index asks for a step of :data:`VISIBLE_STOPS`.

Looked at are every fourth row and every fourth column, always the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqhdr.media.patterns import Runs, long_runs
from seqhdr.quality.levels import REGION_PX, ChannelLevels, FrameLevels

__all__ = ["VISIBLE_STOPS", "FrameBanding", "banded_regions", "measure_banding", "smooth_regions"]

#: Smallest step between two plateaus that counts as visible: 0.7 % of light. Between the two thresholds of Report ITU-R
#: BT.2246 for daylight levels: about 0.5 % by Barten's model, about 2 % by Schreiber's measurements. All steps of
#: 8-bit sRGB are larger (0.013 stop at white), all steps of half floats that hold ACEScct below 1 smaller (0.0086).
VISIBLE_STOPS = 0.01

_TEXTURE_STOPS = 0.01
_COUNTED_REGIONS = 128


@dataclass(frozen=True)
class FrameBanding:
    """Banding of one frame.

    ``plateau_share`` (0..1) is the share of pixels in plateaus, ``banding_index`` (0..1) the share in plateaus of which
    one end is a visible one-level step: of each channel the larger of rows and columns, of the three the mean.
    ``levels`` is the median over smooth regions and channels of the number of distinct values in 32 x 32 pixels; None
    where there are no such regions.
    """

    plateau_share: float
    banding_index: float
    levels: float | None


def measure_banding(frame: FrameLevels, regions: NDArray[np.bool_]) -> FrameBanding:
    """Measure the banding of a frame; see :class:`FrameBanding`.

    Args:
        frame: the levels of the frame.
        regions: (⌈H/32⌉, ⌈W/32⌉), where to count levels: :func:`smooth_regions` of the source, or of this frame
            if there is no source. Of more than 128 regions, 128 spread evenly are counted.

    Raises:
        ValueError: the regions do not fit the frame.
    """
    shape = _grid_shape(frame)
    if regions.shape != shape:
        raise ValueError(f"got regions {regions.shape}: expected {shape} for {frame.width}x{frame.height} pixels")
    plateau, visible = [], []
    for channel in frame.channels:
        shares = []
        for lines in (channel.rows, channel.columns):
            runs = long_runs(lines, channel.ranks)
            steps = _steps_stops(runs, channel)
            shares.append([float(runs.length[steps >= least].sum() / lines.size) for least in (0, VISIBLE_STOPS)])
        plateau.append(max(share[0] for share in shares))
        visible.append(max(share[1] for share in shares))
    return FrameBanding(float(np.mean(plateau)), float(np.mean(visible)), _median_levels(frame, regions))


def banded_regions(frame: FrameLevels) -> NDArray[np.float32]:
    """Share of pixels in visible plateaus by region, as a map of where a frame bands.

    Returns:
        (⌈H/32⌉, ⌈W/32⌉), 0..1: of each channel the larger of rows and columns, of the three the mean. Regions at the
        right and the bottom are cut where the frame ends.
    """
    grids = []
    for channel in frame.channels:
        across = _region_shares(channel, channel.rows, _grid_shape(frame))
        down = _region_shares(channel, channel.columns, _grid_shape(frame)[::-1]).T
        grids.append(np.maximum(across, down))
    mean: NDArray[np.float32] = np.mean(grids, axis=0, dtype=np.float32)
    return mean


def smooth_regions(frame: FrameLevels) -> NDArray[np.bool_]:
    """Where a frame has gradients and no texture: regions whose levels are worth counting.

    In every channel of such a region neighbours along rows and along columns differ by less than 0.01 stop in the
    mean: a code of 8-bit sRGB is 0.013 stop at white, 0.026 in the middle and 0.11 near black, so that a noise of one
    code is texture, and codes that change every few pixels are none. In one channel at least there are two values: a
    region that is all black or all clipped says nothing.

    Returns:
        (⌈H/32⌉, ⌈W/32⌉); false where the frame ends within a region, and where a value looked at is not finite.
    """
    height, width = frame.height // REGION_PX, frame.width // REGION_PX
    smooth, varied = np.ones((height, width), bool), np.zeros((height, width), bool)
    for channel in frame.channels:
        # Every other line of those looked at is enough here.
        across = _region_textures(channel.stops_of(channel.rows[::2]), height, width)
        down = _region_textures(channel.stops_of(channel.columns[::2]), width, height).T
        texture = np.maximum(across, down)
        smooth &= texture < _TEXTURE_STOPS
        varied |= texture > 0
    out = np.zeros(_grid_shape(frame), bool)
    out[:height, :width] = smooth & varied
    return out


def _region_textures(lines_stops: NDArray[np.float32], down: int, along: int) -> NDArray[np.float32]:
    """Mean absolute difference along the lines, every eighth of the frame, in each of (down, along) whole regions."""
    per_region = REGION_PX // 8
    lines_stops = lines_stops[: down * per_region, : along * REGION_PX]
    jumps = np.zeros_like(lines_stops)
    np.abs(lines_stops[:, 1:] - lines_stops[:, :-1], out=jumps[:, 1:])
    jumps[:, ::REGION_PX] = 0  # from one region to the next
    # One axis after the other: both at once take numpy five times as long.
    sums: NDArray[np.float32] = jumps.reshape(down, per_region, along, REGION_PX).sum(axis=1).sum(axis=2)
    return sums / np.float32(per_region * (REGION_PX - 1))


def _grid_shape(frame: FrameLevels) -> tuple[int, int]:
    return -(-frame.height // REGION_PX), -(-frame.width // REGION_PX)


def _steps_stops(runs: Runs, channel: ChannelLevels) -> NDArray[np.float32]:
    """The larger of the one-level steps at either end of each run; -1 where neither end is one."""
    largest = np.full(len(runs.rank), -1, np.float32)
    for beside in (runs.before, runs.after):
        one_level = np.flatnonzero(np.abs(beside - runs.rank) == 1)
        steps = np.abs(channel.stops_at(beside[one_level]) - channel.stops_at(runs.rank[one_level]))
        largest[one_level] = np.maximum(largest[one_level], steps)
    return largest


def _region_shares(channel: ChannelLevels, lines: NDArray[Any], shape: tuple[int, int]) -> NDArray[np.float32]:
    runs = long_runs(lines, channel.ranks)
    visible = _steps_stops(runs, channel) >= VISIBLE_STOPS
    row, start, end = runs.row[visible], runs.start[visible], (runs.start + runs.length)[visible]
    # +1 where a plateau begins and -1 behind its end add up to 1 within it.
    marks = np.zeros((len(lines), lines.shape[1] + 1), np.int8)
    marks[row, start] += 1
    marks[row, end] -= 1
    banded = np.cumsum(marks, axis=1, dtype=np.int8)[:, :-1]
    down = np.arange(shape[0]) * (REGION_PX // 4)
    along = np.arange(shape[1]) * REGION_PX
    # A last region may hold no looked-at line at all: it then shares the line before it.
    down = np.minimum(down, len(lines) - 1)

    def sums(counted: NDArray[np.int8]) -> NDArray[np.float32]:
        columns = np.add.reduceat(counted, along, axis=1, dtype=np.float32)
        return np.add.reduceat(columns, down, axis=0, dtype=np.float32)

    return sums(banded) / sums(np.ones_like(banded))


def _median_levels(frame: FrameLevels, regions: NDArray[np.bool_]) -> float | None:
    # Regions that the frame cuts have fewer pixels, and so fewer levels.
    height, width = frame.height // REGION_PX, frame.width // REGION_PX
    down, along = np.nonzero(regions[:height, :width])
    chosen = np.unique(np.linspace(0, len(down) - 1, min(len(down), _COUNTED_REGIONS)).astype(np.intp))
    numbers = []
    for channel in frame.channels:
        blocks = channel.plane[: height * REGION_PX, : width * REGION_PX].reshape(height, REGION_PX, width, REGION_PX)
        stored = blocks[down[chosen], :, along[chosen]].reshape(len(chosen), REGION_PX**2)
        stored = np.sort(stored[channel.is_finite(stored).all(axis=1)], axis=1)
        numbers.append(1 + np.count_nonzero(stored[:, 1:] != stored[:, :-1], axis=1))
    together = np.concatenate(numbers)
    return float(np.median(together)) if len(together) else None
