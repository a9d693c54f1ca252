"""One fixed grid of overlapping tiles per shot, for frames that do not fit in memory at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seqhdr.errors import UsageError

__all__ = ["OVERLAP_PX", "Tile", "TileGrid", "automatic_tile", "plan_tiles"]

#: Pixels shared by neighbouring tiles: wide enough for the motion between two frames and the narrower blurs.
OVERLAP_PX = 128
#: Measured with tools/benchmark.py: peak of the process per pixel held at once, and of everything else.
BYTES_PER_PIXEL = 1000
BYTES_FIXED = 600 * 2**20
# The coarsest cells of the network's blurs, in a frame of a quarter of the size (seqhdr.model.pyramid, which imports
# torch).
_CELL_PX = 4 * 32
# A tile far smaller than the widest blur would be mostly overlap.
_SMALLEST_TILE = 2 * OVERLAP_PX
_DEFAULT_TILE = 1024


@dataclass(frozen=True)
class Tile:
    """A rectangle of the frame, rows ``top:bottom`` and columns ``left:right`` in pixels."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def index(self) -> tuple[slice, slice]:
        """To cut the tile out of (..., H, W)."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


@dataclass(frozen=True)
class TileGrid:
    """The tiles of a frame of ``height`` × ``width`` pixels, row by row."""

    height: int
    width: int
    tiles: tuple[Tile, ...]

    def weights(self) -> Iterator[NDArray[np.float32]]:
        """One (h, w) array per tile; at every pixel of the frame the weights of all tiles sum to 1.

        Raised cosines over the overlap: a seam would need a step in the weights or in their slope.
        """
        total = np.zeros((self.height, self.width), np.float64)
        raw = []
        for tile in self.tiles:
            rows = _ramp(tile.top, tile.bottom, self.height)
            columns = _ramp(tile.left, tile.right, self.width)
            raw.append(rows[:, None] * columns[None, :])
            total[tile.index] += raw[-1]
        for tile, weight in zip(self.tiles, raw, strict=True):
            yield (weight / total[tile.index]).astype(np.float32)


def plan_tiles(height: int, width: int, tile: int | None) -> TileGrid:
    """Lay out the grid.

    Args:
        height, width: the frame, in pixels.
        tile: side of a tile in pixels, or None for one tile that is the whole frame.

    Raises:
        UsageError: the tile is too small for its overlap.
    """
    if tile is None:
        return TileGrid(height, width, (Tile(0, height, 0, width),))
    if tile < _SMALLEST_TILE:
        raise UsageError(f"tile of {tile} pixels is too small: give {_SMALLEST_TILE} or more, or auto")
    rows, columns = _spans(height, tile), _spans(width, tile)
    return TileGrid(height, width, tuple(Tile(*row, *column) for row in rows for column in columns))


def automatic_tile(height: int, width: int, available_bytes: int) -> int | None:
    """None where the whole frame fits into 60 % of the memory, else the side of a tile that does."""
    budget = 0.6 * available_bytes - BYTES_FIXED
    if height * width * BYTES_PER_PIXEL <= budget:
        return None
    side = int(max(budget, 0) / BYTES_PER_PIXEL) ** 0.5
    return max(_SMALLEST_TILE, min(_DEFAULT_TILE, int(side) // 64 * 64))


def _spans(length: int, tile: int) -> list[tuple[int, int]]:
    """Cover ``length`` with spans of at most ``tile`` that overlap by at least OVERLAP_PX, evenly spread."""
    if length <= tile:
        return [(0, length)]
    # Starts on the frame's own cells: tiles and whole frame then average the same pixels, at full and at a quarter of
    # the size. The last is cut short.
    cells, longest = -(-(length - tile) // _CELL_PX), (tile - OVERLAP_PX) // _CELL_PX
    steps = -(-cells // longest)
    starts = [i * cells // steps * _CELL_PX for i in range(steps + 1)]
    return [(start, min(start + tile, length)) for start in starts]


def _ramp(start: int, stop: int, length: int) -> NDArray[np.float64]:
    weight = np.ones(stop - start)
    rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(OVERLAP_PX) + 0.5) / OVERLAP_PX)
    size = min(OVERLAP_PX, stop - start)
    if start > 0:
        weight[:size] = rise[:size]
    if stop < length:
        weight[-size:] = np.minimum(weight[-size:], rise[:size][::-1])
    return weight
