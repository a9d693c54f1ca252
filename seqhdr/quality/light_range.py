"""From which to which light a frame reaches, and what in it is no number."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass

import numpy as np

from seqhdr.quality.levels import ChannelLevels, FrameLevels

__all__ = ["FrameRange", "measure_range"]

_TAIL = 1e-4  # of the positive light on either side: a lone dead or hot pixel is not the range of a picture


@dataclass(frozen=True)
class FrameRange:
    """The range of one frame in scene-linear light of the file's own primaries.

    ``minimum`` and ``maximum`` are those of all finite channels of all pixels, exactly; None where there are none.
    ``nan_count`` and ``inf_count`` count channels of pixels. ``range_stops`` is log2 of the 99.99th percentile over the
    0.01th of each channel's light above zero: of the brightest channel over that of the darkest; None where no light
    is above zero.
    """

    minimum: float | None
    maximum: float | None
    nan_count: int
    inf_count: int
    range_stops: float | None


def measure_range(frame: FrameLevels) -> FrameRange:
    """The range of a frame; see :class:`FrameRange`."""
    extremes: list[float] = []
    percentiles: list[float] = []
    for channel in frame.channels:
        if len(channel.values) == 0:
            continue
        extremes += channel.light(channel.values[[0, -1]]).tolist()
        percentiles += _percentiles(channel)
    return FrameRange(
        minimum=min(extremes, default=None),
        maximum=max(extremes, default=None),
        nan_count=sum(channel.nan_count for channel in frame.channels),
        inf_count=sum(channel.inf_count for channel in frame.channels),
        range_stops=math.log2(max(percentiles)) - math.log2(min(percentiles)) if percentiles else None,
    )


def _percentiles(channel: ChannelLevels) -> list[float]:
    """Light of a channel at both ends of its range, tails cut off; empty where none is above zero."""

    # A float file has a level for almost every pixel, but light rises with the level: bisection looks at twenty.
    def light_at(index: int) -> float:
        return float(channel.light(channel.values[index : index + 1])[0])

    first = bisect.bisect_right(range(len(channel.values)), 0.0, key=light_at)
    if first == len(channel.values):
        return []
    below = np.cumsum(channel.counts[first:])
    ends = first + np.searchsorted(below, [_TAIL * below[-1], (1 - _TAIL) * below[-1]])
    return [float(light) for light in channel.light(channel.values[ends])]
