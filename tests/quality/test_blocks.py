"""Blocks of known height, what knows no grid, plain loops, and a real JPEG."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from seqhdr.quality.blocks import BlockSums, block_sums, error_luma

SIZE = (144, 200)


def everywhere(error: Tensor) -> Tensor:
    return torch.ones(error.shape, dtype=torch.bool)


def energy(error: Tensor) -> float:
    read = block_sums(error, everywhere(error)).energy_lsb2
    assert read is not None
    return read


def blocks(heights: np.ndarray, side: int) -> Tensor:
    """Even blocks of these heights, cut to SIZE."""
    return torch.from_numpy(heights.repeat(side, 0).repeat(side, 1)[: SIZE[0], : SIZE[1]])


def noise(seed: int, deviation: float, size: tuple[int, int] = SIZE) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(0, deviation, size))


def texture() -> Tensor:
    """Waves of no whole period, over a ramp and a shift: nothing of it knows a grid."""
    y, x = torch.meshgrid(*(torch.arange(n).double() for n in SIZE), indexing="ij")
    return 2 * torch.sin(x / 1.37 + y / 3.1) + 3 * torch.cos(y / 2.21 - x / 5.3) + 0.3 * x - 0.2 * y + 40


def chequered(side: int, jump: float) -> Tensor:
    y, x = np.mgrid[:64, :64]
    return blocks(np.where((x + y) % 2, jump / 2, -jump / 2), side)


@pytest.mark.parametrize("side", [4, 8])
@pytest.mark.parametrize("jump", [0.25, 3.0])
def test_blocks_that_jump_by_s_read_s_squared_be_they_8_or_4_pixels_large(side: int, jump: float) -> None:
    assert energy(chequered(side, jump)) == pytest.approx(jump**2, rel=1e-12)


def test_uneven_blocks_read_the_mean_square_of_their_jumps() -> None:
    heights = np.random.default_rng(5).normal(0, 0.5, (SIZE[0] // 8, SIZE[1] // 8))
    jumps = np.concatenate([np.diff(heights, axis=0).ravel(), np.diff(heights, axis=1).ravel()])
    # Every jump is eight pixels long, in both directions.
    assert energy(blocks(heights, 8)) == pytest.approx(float((jumps**2).mean()), rel=1e-12)


def test_macroblocks_read_half_because_every_second_line_has_no_jump() -> None:
    y, x = np.mgrid[:9, :13]
    sixteen = blocks(np.where((x + y) % 2, 0.5, -0.5), 16)
    lines, jumping = (
        len(range(step, SIZE[0], step)) * SIZE[1] + len(range(step, SIZE[1], step)) * SIZE[0] for step in (8, 16)
    )
    assert energy(sixteen) == pytest.approx(jumping / lines, rel=1e-12)


def test_white_noise_reads_nothing_and_says_how_sure_that_is() -> None:
    read = [block_sums(noise(seed, 3.0), everywhere(noise(0, 1.0))) for seed in range(40)]
    energies = np.array([one.energy_lsb2 for one in read])
    errors = np.array([one.standard_error_lsb2 for one in read])
    spread = energies.std()
    assert abs(energies.mean()) < 4 * spread / math.sqrt(40)
    # Eight steps are counted as one, which white noise, whose steps hardly depend on each other, does not need.
    assert errors.mean() == pytest.approx(math.sqrt(8) * spread, rel=0.3)
    # k has the variance (9 + 9 + 1 + 1) / 4 of the noise's; k² of a normal k has twice the square of it.
    variance = 2 * (5 * 9) ** 2 * 8 * (1 / read[0].lines[0] + 1 / read[0].between[0])
    assert errors.mean() == pytest.approx(math.sqrt(variance), rel=0.05)


def test_texture_ramps_and_shifts_read_nothing_and_hide_no_blocks() -> None:
    bare = energy(texture())
    mean_square = float((texture() - texture().mean()).square().mean())
    assert abs(bare) < 0.01 * mean_square
    with_blocks = energy(texture() + noise(2, 0.5) + chequered(8, 2.0))
    assert with_blocks == pytest.approx(4.0, abs=0.4)


def test_a_ramp_has_no_steps_at_all() -> None:
    y, x = torch.meshgrid(*(torch.arange(n).double() for n in SIZE), indexing="ij")
    sums = block_sums(0.5 * x - 0.25 * y + 7, everywhere(x))
    assert sums.lines[1] == sums.between[1] == 0


def test_blocks_off_the_grid_do_not_count() -> None:
    for shift in (1, 2, 3):
        moved = torch.roll(chequered(8, 2.0), (shift, shift), (0, 1))
        assert energy(moved) < 1.01  # neighbours of a jump see half of it: a quarter of 4


def naive(error: np.ndarray, mask: np.ndarray) -> tuple[list[list[float]], int]:
    counted: list[list[float]] = [[], []]
    for picture, known in ((error, mask), (error.T, mask.T)):
        for row, seen in zip(picture, known, strict=True):
            for x in range(2, len(row) - 1):
                before, at, after = row[x - 1] - row[x - 2], row[x] - row[x - 1], row[x + 1] - row[x]
                if x % 8 in (0, 2, 6) and all(seen[x - 2 : x + 2]):
                    counted[x % 8 != 0].append((at - (before + after) / 2) ** 2)
    return counted, sum(map(len, counted))


@pytest.mark.parametrize("size", [(40, 51), (47, 33), (32, 32)])
def test_sums_are_those_of_a_loop_over_masked_pixels(size: tuple[int, int]) -> None:
    error = noise(3, 2.0, size)
    mask = torch.from_numpy(np.random.default_rng(4).random(size) < 0.9)
    error[~mask] = torch.nan  # what is not in the mask is never looked at
    (lines, between), total = naive(error.numpy(), mask.numpy())
    sums = block_sums(error.float(), mask)
    assert sums.lines[0] + sums.between[0] == total
    for mine, steps in ((sums.lines, lines), (sums.between, between)):
        expected = len(steps), sum(steps), sum(step**2 for step in steps)
        assert mine == pytest.approx(expected, rel=1e-5)
    assert sums.energy_lsb2 == pytest.approx(np.mean(lines) - np.mean(between), rel=1e-4)


def test_parts_add_up_to_the_whole() -> None:
    a, b = noise(1, 1.0) + chequered(8, 1.0), noise(2, 5.0)
    both = block_sums(a, everywhere(a)) + block_sums(b, everywhere(b)) + BlockSums()
    # Side by side, with a band between them that no step crosses.
    apart = torch.zeros(SIZE[0], 8)
    mask = torch.cat([everywhere(a), apart.bool(), everywhere(b)], dim=1)
    whole = block_sums(torch.cat([a, apart, b], dim=1), mask)
    assert both.lines == pytest.approx(whole.lines, rel=1e-12)
    assert both.between == pytest.approx(whole.between, rel=1e-12)
    assert both.energy_lsb2 == pytest.approx(whole.energy_lsb2)


@pytest.mark.parametrize("size", [(3, 3), (1, 60), (2, 60), (9, 9)])
def test_too_few_steps_have_no_energy(size: tuple[int, int]) -> None:
    sums = block_sums(torch.zeros(size), torch.ones(size, dtype=torch.bool))
    assert sums.energy_lsb2 is None
    assert sums.standard_error_lsb2 is None
    assert BlockSums().energy_lsb2 is None


def test_an_even_error_reads_exactly_nothing() -> None:
    sums = block_sums(torch.full(SIZE, 1.5), torch.ones(SIZE, dtype=torch.bool))
    assert (sums.energy_lsb2, sums.standard_error_lsb2) == (0, 0)


def test_a_result_that_is_no_number_reads_as_none() -> None:
    error = torch.zeros(SIZE)
    error[70, 70] = torch.nan
    assert math.isnan(energy(error))


@pytest.mark.parametrize("shapes", [((8, 8), (8, 9)), ((3, 8, 8), (3, 8, 8))])
def test_shapes_that_do_not_fit_are_refused(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="expected the same"):
        block_sums(torch.zeros(shapes[0]), torch.ones(shapes[1], dtype=torch.bool))


def test_luma_is_that_of_the_standard() -> None:
    rgb = np.random.default_rng(8).normal(0, 3, (5, 7, 3)).astype(np.float32)
    expected = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    assert error_luma(torch.from_numpy(rgb).permute(2, 0, 1)).numpy() == pytest.approx(expected, abs=1e-5)


def test_jpegs_have_more_blocks_the_coarser_they_are_and_rounding_has_none() -> None:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    sky = 120 + 0.11 * x + 0.07 * y + 6 * np.sin(x / 37 + y / 53)
    codes = np.rint(sky).astype(np.uint8)
    rounded = block_sums(torch.from_numpy(codes - sky), torch.ones(SIZE, dtype=torch.bool))
    assert rounded.energy_lsb2 == pytest.approx(0, abs=4 * rounded.standard_error_lsb2)
    read = []
    for quality in (95, 85, 60):
        decoded = cv2.imdecode(cv2.imencode(".jpg", codes, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 0)
        read.append(energy(torch.from_numpy(decoded - sky)))
    assert 0.02 < read[0] < read[1] < read[2]
