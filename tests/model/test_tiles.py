"""Tiles cover the frame, overlap enough, and their weights melt into one another."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqhdr.errors import UsageError
from seqhdr.model.pyramid import COARSE_CELLS, COARSER
from seqhdr.model.tiles import BYTES_FIXED, BYTES_PER_PIXEL, OVERLAP_PX, Tile, automatic_tile, plan_tiles

SMALLEST = 2 * OVERLAP_PX
lengths = st.integers(1, 1400)
sides = st.integers(SMALLEST, 700)


@settings(max_examples=300, deadline=None)
@given(height=lengths, width=lengths, tile=sides)
def test_tiles_lie_in_the_frame_and_overlap(height: int, width: int, tile: int) -> None:
    grid = plan_tiles(height, width, tile)
    rows, columns = {(t.top, t.bottom) for t in grid.tiles}, {(t.left, t.right) for t in grid.tiles}
    assert len(grid.tiles) == len(rows) * len(columns) == len(set(grid.tiles))
    for axis, length in ((sorted(rows), height), (sorted(columns), width)):
        assert axis[0][0] == 0
        assert axis[-1][1] == length
        for start, stop in axis:
            assert 0 <= start < stop <= length
            assert stop - start <= tile
            # On the cells of the widest blur, so that tile and frame average the same pixels.
            assert start % (COARSER * COARSE_CELLS[-1]) == 0
        for (before, end), (start, after) in itertools.pairwise(axis):
            assert before < start
            assert end < after
            assert end - start >= OVERLAP_PX


@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 900), width=st.integers(1, 900), tile=sides)
def test_weights_sum_to_one_and_are_smooth(height: int, width: int, tile: int) -> None:
    grid = plan_tiles(height, width, tile)
    total = np.zeros((height, width))
    for place, weight in zip(grid.tiles, grid.weights(), strict=True):
        assert weight.dtype == np.float32
        assert weight.shape == (place.bottom - place.top, place.right - place.left)
        assert weight.min() > 0
        total[place.index] += weight
        # No seam: no step inside, and next to nothing where the tile ends within the frame.
        for axis in (0, 1):
            if weight.shape[axis] > 1:
                assert np.abs(np.diff(weight, axis=axis)).max() < 0.05
        if place.left > 0:
            assert weight[:, 0].max() < 1e-3
        if place.right < width:
            assert weight[:, -1].max() < 1e-3
        if place.top > 0:
            assert weight[0].max() < 1e-3
        if place.bottom < height:
            assert weight[-1].max() < 1e-3
    np.testing.assert_allclose(total, 1, atol=1e-6)


def test_one_tile_is_the_whole_frame() -> None:
    for tile in (None, 600, 400):
        grid = plan_tiles(300, 400, tile)
        assert grid.tiles == (Tile(0, 300, 0, 400),)
        assert all((weight == 1).all() for weight in grid.weights())


def test_a_tile_too_small_for_its_overlap_is_refused() -> None:
    with pytest.raises(UsageError, match=f"tile of {SMALLEST - 1} pixels is too small: give {SMALLEST} or more"):
        plan_tiles(1000, 1000, SMALLEST - 1)


@given(height=st.integers(1, 9000), width=st.integers(1, 9000), memory=st.integers(0, 2**37))
def test_the_automatic_tile_fits_the_memory(height: int, width: int, memory: int) -> None:
    tile = automatic_tile(height, width, memory)
    budget = 0.6 * memory - BYTES_FIXED
    if tile is None:
        assert height * width * BYTES_PER_PIXEL <= budget
    else:
        assert height * width * BYTES_PER_PIXEL > budget
        assert tile == SMALLEST or tile**2 * BYTES_PER_PIXEL <= budget
        plan_tiles(height, width, tile)


def test_the_index_cuts_the_tile_out() -> None:
    frame = np.arange(2 * 30 * 40).reshape(2, 30, 40)
    np.testing.assert_array_equal(frame[(..., *Tile(3, 9, 10, 25).index)], frame[:, 3:9, 10:25])
