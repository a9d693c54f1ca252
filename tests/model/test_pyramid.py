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
    GATED_CELLS,
    blur_gated,
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


def naive_gated(image: Tensor, taps: tuple[float, ...], reach: float) -> Tensor:
    """(H, W): pixel by pixel along the rows, then the same down the columns, in plain Python."""
    radius = len(taps) // 2

    def along(lines: list[list[float]]) -> list[list[float]]:
        out = []
        for line in lines:
            moved = []
            for place, value in enumerate(line):
                total = value
                for tap, step in zip(taps, range(-radius, radius + 1), strict=True):
                    d = line[min(max(place + step, 0), len(line) - 1)] - value
                    if abs(d) < reach:
                        total += tap * d * (1 - (d / reach) ** 2) ** 2
                moved.append(total)
            out.append(moved)
        return out

    rows = along(image.double().tolist())
    columns = along([list(column) for column in zip(*rows, strict=True)])
    return torch.tensor(columns).T


def reach_of(*values: float) -> Tensor:
    return torch.tensor(values).view(-1, 1, 1, 1)


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


@pytest.mark.parametrize("taps", [_FINE_TAPS[0], _COARSE_TAPS])
@pytest.mark.parametrize("size", [(9, 13), (2, 3), (1, 1)])
def test_the_gated_blur_is_the_plain_loop(taps: tuple[float, ...], size: tuple[int, int]) -> None:
    image = noise(2, 2, *size) / 16
    reach = (3.0, 11.0)
    blurred = blur_gated(image, taps, reach_of(*reach))
    for clip in range(2):
        for channel in range(2):
            wanted = naive_gated(image[clip, channel], taps, reach[clip])
            torch.testing.assert_close(blurred[clip, channel], wanted, atol=1e-4, rtol=0, check_dtype=False)
    if max(size) > 3:
        # Noise of 16 codes and reaches of 3 and 11: differences on both sides of each.
        assert 0.1 < (blurred - image)[0].abs().mean() < (blurred - image)[1].abs().mean()


def test_differences_far_below_the_reach_are_blurred_as_if_there_were_no_gate() -> None:
    image = noise(1, 3, 24, 31) / 255
    # Differences of 1 in 1000: the gate takes 2e-6 of each.
    blurred = blur_gated(image, _COARSE_TAPS, reach_of(1000.0))
    torch.testing.assert_close(blurred, blur_separable(image, _COARSE_TAPS), atol=2e-5, rtol=0)
    assert (blurred - image).abs().max() > 0.1


@pytest.mark.parametrize("upright", [False, True])
def test_a_step_as_large_as_the_reach_is_not_seen(upright: bool) -> None:
    image = torch.full((1, 3, 16, 24), 100.0)
    (image if upright else image.transpose(2, 3))[..., 8:] += 6
    torch.testing.assert_close(blur_gated(image, _COARSE_TAPS, reach_of(6.0)), image, atol=2e-4, rtol=0)
    seen = blur_gated(image, _COARSE_TAPS, reach_of(9.0)) - image
    assert 0.3 < seen.abs().max() < 3


def test_scale_space_of_a_constant_is_that_constant() -> None:
    value = 137.0
    scales = scale_space(torch.full((1, 3, 64, 96), value), reach_of(0.5))
    # A few roundings of float32: thousands of times finer than half a code.
    for image in (scales.half, *scales.fine, *scales.coarse, *scales.gated):
        torch.testing.assert_close(image, torch.full_like(image, value), atol=2e-4, rtol=0)


def test_scale_space_is_averages_then_blurs() -> None:
    image = noise(1, 3, 64, 96)
    scales = scale_space(image, reach_of(2.0))
    assert scales.full is image
    torch.testing.assert_close(scales.half, image.unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2)), atol=1e-3, rtol=0)
    assert len(scales.fine) == len(FINE_WIDTHS)
    for blurred, taps in zip(scales.fine, _FINE_TAPS, strict=True):
        torch.testing.assert_close(blurred, naive_blur(image, taps), atol=1e-3, rtol=0)
    for blurred, cell in zip(scales.coarse, COARSE_CELLS, strict=True):
        average = image.unfold(2, cell, cell).unfold(3, cell, cell).mean((-1, -2))
        torch.testing.assert_close(blurred, naive_blur(average, _COARSE_TAPS), atol=1e-3, rtol=0)
    assert len(scales.gated) == len(GATED_CELLS)
    for blurred, cell in zip(scales.gated, GATED_CELLS, strict=True):
        average = image.unfold(2, cell, cell).unfold(3, cell, cell).mean((-1, -2))
        wanted = naive_gated(average[0, 1], _COARSE_TAPS, 3 * 2.0)
        torch.testing.assert_close(blurred[0, 1], wanted, atol=1e-3, rtol=0, check_dtype=False)
    everything = (scales.half, *scales.fine, *scales.coarse, *scales.gated)
    assert {x.dtype for x in everything} == {torch.float32}


def test_what_counts_as_an_edge_goes_by_the_half_width_of_each_clip() -> None:
    image = noise(1, 3, 64, 64) / 16
    both = scale_space(torch.cat((image, 4 * image)), reach_of(0.5, 2.0))
    for index in range(len(GATED_CELLS)):
        narrow, wide = both.gated[index]
        torch.testing.assert_close(wide, 4 * narrow, atol=1e-4, rtol=0)
        # With the bins of the other, the same picture has more edges.
        alone = scale_space(4 * image, reach_of(0.5)).gated[index][0]
        assert (alone - wide).abs().max() > 0.1


def test_nothing_is_enlarged_by_one() -> None:
    image = noise(1, 3, 5, 7)
    assert torch.equal(upsample(image, 1), image)


@pytest.mark.parametrize("cell", COARSE_CELLS)
def test_cells_stay_in_place_when_enlarged(cell: int) -> None:
    ramp = torch.arange(8.0 * cell).expand(1, 1, 8 * cell, 8 * cell)
    average = ramp.unfold(2, cell, cell).unfold(3, cell, cell).mean((-1, -2))
    back = upsample(average, cell)
    assert back.shape == ramp.shape
    inner = slice(cell, -cell)
    # Bilinear between cell centres gives a ramp back exactly, unless the grids are shifted against each other.
    torch.testing.assert_close(back[..., inner], ramp[..., inner], atol=1e-3, rtol=0)
