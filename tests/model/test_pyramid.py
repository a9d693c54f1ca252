"""The blurs are the blurs they say they are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from seqhdr.model.pyramid import (
    _COARSE_TAPS,
    _FINE_TAPS,
    COARSE_CELLS,
    FINE_WIDTHS,
    blur_separable,
    scale_space,
    upsample,
)


def noise(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(2)) * 255


def naive_blur(image: Tensor, taps: tuple[float, ...]) -> Tensor:
    """Every pixel the double sum over its surroundings, places outside held at the border."""
    _, _, height, width = image.shape
    radius = len(taps) // 2
    out = torch.zeros_like(image, dtype=torch.float64)
    rows, columns = torch.arange(height), torch.arange(width)
    for i, down in enumerate(taps):
        for j, across in enumerate(taps):
            y, x = (rows + i - radius).clamp(0, height - 1), (columns + j - radius).clamp(0, width - 1)
            out += down * across * image[:, :, y][..., x].double()
    return out.float()


@pytest.mark.parametrize("taps", [*_FINE_TAPS, _COARSE_TAPS])
def test_taps_are_symmetric_and_sum_to_one(taps: tuple[float, ...]) -> None:
    assert len(taps) % 2 == 1
    assert sum(taps) == pytest.approx(1, abs=1e-12)
    assert taps == pytest.approx(taps[::-1])
    assert min(taps) > 0


def test_boxes_applied_twice() -> None:
    assert FINE_WIDTHS == (3, 5)
    assert [t * 9 for t in _FINE_TAPS[0]] == pytest.approx([1, 2, 3, 2, 1])
    assert [t * 25 for t in _FINE_TAPS[1]] == pytest.approx([1, 2, 3, 4, 5, 4, 3, 2, 1])
    assert [t * 15 for t in _COARSE_TAPS] == pytest.approx([1, 2, 3, 3, 3, 2, 1])


@pytest.mark.parametrize("taps", [*_FINE_TAPS, _COARSE_TAPS])
@pytest.mark.parametrize("size", [(12, 17), (2, 3)])
def test_blur_is_the_double_sum(taps: tuple[float, ...], size: tuple[int, int]) -> None:
    image = noise(2, 3, *size)
    torch.testing.assert_close(blur_separable(image, taps), naive_blur(image, taps), atol=1e-3, rtol=0)


def test_scale_space_of_a_constant_is_that_constant() -> None:
    value = 137.0
    scales = scale_space(torch.full((1, 3, 64, 96), value))
    # A few roundings of float32: thousands of times finer than half a code.
    for image in (scales.half, *scales.fine, *scales.coarse):
        torch.testing.assert_close(image, torch.full_like(image, value), atol=2e-4, rtol=0)


def test_scale_space_is_averages_then_blurs() -> None:
    image = noise(1, 3, 64, 96)
    scales = scale_space(image)
    assert scales.full is image
    torch.testing.assert_close(scales.half, image.unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2)), atol=1e-3, rtol=0)
    assert len(scales.fine) == len(FINE_WIDTHS)
    for blurred, taps in zip(scales.fine, _FINE_TAPS, strict=True):
        torch.testing.assert_close(blurred, naive_blur(image, taps), atol=1e-3, rtol=0)
    for blurred, cell in zip(scales.coarse, COARSE_CELLS, strict=True):
        average = image.unfold(2, cell, cell).unfold(3, cell, cell).mean((-1, -2))
        torch.testing.assert_close(blurred, naive_blur(average, _COARSE_TAPS), atol=1e-3, rtol=0)
    assert {x.dtype for x in (scales.half, *scales.fine, *scales.coarse)} == {torch.float32}


@pytest.mark.parametrize("cell", COARSE_CELLS)
def test_cells_stay_in_place_when_enlarged(cell: int) -> None:
    ramp = torch.arange(8.0 * cell).expand(1, 1, 8 * cell, 8 * cell)
    average = ramp.unfold(2, cell, cell).unfold(3, cell, cell).mean((-1, -2))
    back = upsample(average, cell)
    assert back.shape == ramp.shape
    inner = slice(cell, -cell)
    # Bilinear between cell centres gives a ramp back exactly, unless the grids are shifted against each other.
    torch.testing.assert_close(back[..., inner], ramp[..., inner], atol=1e-3, rtol=0)
