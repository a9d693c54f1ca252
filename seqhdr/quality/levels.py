"""The levels each channel of a stored frame uses: how often, in which order, and what light they mean."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqhdr.media.patterns import NO_LEVEL
from seqhdr.quality.stops import stops

__all__ = ["REGION_PX", "ChannelLevels", "FrameLevels", "LightOf", "frame_levels"]

#: Side of the regions in which levels and banded pixels are counted.
REGION_PX = 32

#: Stored values (K,) float32, finite, whole codes for integer files → scene-linear light (K,). Must not fall.
LightOf = Callable[[NDArray[np.float32]], NDArray[np.float32]]

_KINDS = tuple(np.dtype(kind) for kind in (np.float16, np.float32, np.uint8, np.uint16))
_STRIDE = 4  # divides REGION_PX: every region holds the same number of looked-at lines
_PHASE = 1  # lines 1 and 5 of each 8: both inside the blocks of JPEG and video, never on their edges
_NEGATIVE_ZERO = 0x8000


@dataclass(frozen=True)
class ChannelLevels:
    """One channel of a frame.

    ``plane`` (H, W) holds what is stored: codes, or the bits of half floats as uint16, or float32. ``rows``
    (⌈H/4⌉, W) and ``columns`` (⌈W/4⌉, H) are every fourth row and every fourth column of it, from the second on.

    ``values`` (N,) are the finite levels in use, ascending, ``counts`` (N,) how often each occurs. They are those of
    the whole plane for 8- and 16-bit files. Sorting all of a float32 plane would take too long: there they are those of
    ``rows`` and ``columns``, and the extremes of the plane. ``nan_count`` and ``inf_count`` are of the whole plane.
    """

    plane: NDArray[Any]
    rows: NDArray[Any]
    columns: NDArray[Any]
    values: NDArray[np.float32]
    counts: NDArray[np.int64]
    nan_count: int
    inf_count: int
    _light_of: LightOf
    _rank_of_code: NDArray[np.intp] | None

    def ranks(self, stored: NDArray[Any]) -> NDArray[np.intp]:
        """Place among ``values`` of stored numbers that occur in ``rows`` or ``columns``; NO_LEVEL if not finite."""
        if self._rank_of_code is not None:
            return np.take(self._rank_of_code, stored)
        return np.where(np.isfinite(stored), np.searchsorted(self.values, stored), NO_LEVEL)

    def is_finite(self, stored: NDArray[Any]) -> NDArray[np.bool_]:
        """Which stored numbers of the plane are neither NaN nor infinite."""
        finite: NDArray[np.bool_] = np.isfinite(stored) if self._rank_of_code is None else self.ranks(stored) >= 0
        return finite

    def light(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scene-linear light of levels in the file's primaries, held within float32."""
        # Log curves turn large halves into more light than float32 holds, and JSON has no infinity.
        return np.nan_to_num(np.asarray(self._light_of(values), np.float32))

    def stops_at(self, ranks: NDArray[np.intp]) -> NDArray[np.float32]:
        """Light in stops of the levels at some ranks 0 .. N - 1; see :func:`seqhdr.quality.stops.stops`."""
        if len(ranks) < len(self.values):
            return self._stops(self.values[ranks])
        return self._stops(self.values)[ranks]

    def stops_of(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        """Light in stops of stored numbers of the plane, of any shape; NaN where they are not finite."""
        if self._rank_of_code is None:
            finite = np.isfinite(stored)
            stops_all = self._stops(np.where(finite, stored, np.float32(0)).ravel()).reshape(stored.shape)
            return np.where(finite, stops_all, np.float32(np.nan))
        table = np.full(len(self._rank_of_code), np.nan, np.float32)
        used = self._rank_of_code >= 0
        table[used] = self._stops(self.values)[self._rank_of_code[used]]
        return np.take(table, stored)

    def _stops(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        return stops(torch.from_numpy(self.light(values))).numpy()


@dataclass(frozen=True)
class FrameLevels:
    """A frame of ``height`` by ``width`` pixels and the levels of its three ``channels``."""

    height: int
    width: int
    channels: tuple[ChannelLevels, ChannelLevels, ChannelLevels]


def frame_levels(pixels: NDArray[Any], light_of: LightOf) -> FrameLevels:
    """Count the levels of a frame; what :mod:`~seqhdr.quality.banding` and the range of light are measured from.

    Args:
        pixels: (H, W, 3) float16, float32, uint8 or uint16, exactly as the file holds them.
        light_of: the file's curve; see :data:`LightOf`.

    Raises:
        ValueError: the pixels are no such array.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0 or pixels.dtype not in _KINDS:
        raise ValueError(
            f"got pixels {pixels.shape} {pixels.dtype}: expected (H, W, 3) float16, float32, uint8, uint16"
        )
    half = pixels.dtype == np.float16
    stored = pixels.view(np.uint16) if half else pixels
    planes = [np.array(stored[..., c], order="C") for c in range(3)]
    if pixels.dtype == np.float32:
        red, green, blue = (_float_channel(plane, light_of) for plane in planes)
    else:
        red, green, blue = (_coded_channel(plane, light_of, half=half) for plane in planes)
    return FrameLevels(pixels.shape[0], pixels.shape[1], (red, green, blue))


def _lines(plane: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Every fourth row and, as rows, every fourth column."""
    top, left = (min(_PHASE, side - 1) for side in plane.shape)
    return plane[top::_STRIDE], np.ascontiguousarray(plane[:, left::_STRIDE].T)


@functools.cache
def _half_order() -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """The value of every half by its bits, and the bits of the finite ones in ascending order; zero once."""
    values = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)
    finite = np.isfinite(values)
    finite[_NEGATIVE_ZERO] = False
    codes = np.flatnonzero(finite)
    return values, codes[np.argsort(values[codes])]


def _coded_channel(plane: NDArray[Any], light_of: LightOf, *, half: bool) -> ChannelLevels:
    size = 2 ** (8 * plane.dtype.itemsize)
    histogram = np.bincount(plane.ravel(), minlength=size)
    nan_count = inf_count = 0
    if half:
        if histogram[_NEGATIVE_ZERO]:  # equal to zero, whatever the bits say
            plane[plane == _NEGATIVE_ZERO] = 0
            histogram[0] += histogram[_NEGATIVE_ZERO]
        all_values, order = _half_order()
        nan_count = int(histogram[np.isnan(all_values)].sum())
        inf_count = int(histogram[np.isinf(all_values)].sum())
        used = order[histogram[order] > 0]
        values = all_values[used]
    else:
        used = np.flatnonzero(histogram)
        values = used.astype(np.float32)
    rank_of_code = np.full(size, NO_LEVEL, np.intp)
    rank_of_code[used] = np.arange(len(used))
    return ChannelLevels(
        plane,
        *_lines(plane),
        values,
        histogram[used],
        nan_count,
        inf_count,
        _light_of=light_of,
        _rank_of_code=rank_of_code,
    )


def _float_channel(plane: NDArray[Any], light_of: LightOf) -> ChannelLevels:
    rows, columns = _lines(plane)
    seen = np.concatenate([rows.ravel(), columns.ravel()])
    nan_count = inf_count = 0
    ends = [plane.min(), plane.max()]
    if not np.isfinite(ends).all():
        nan_count, inf_count = int(np.isnan(plane).sum()), int(np.isinf(plane).sum())
        finite = plane[np.isfinite(plane)]
        ends = [finite.min(), finite.max()] if len(finite) else []
        seen = seen[np.isfinite(seen)]
    values, counts = np.unique(np.concatenate([seen, np.array(ends, np.float32)]), return_counts=True)
    return ChannelLevels(
        plane, rows, columns, values, counts, nan_count, inf_count, _light_of=light_of, _rank_of_code=None
    )
