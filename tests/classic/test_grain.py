"""Statistics of grain, and grain that has them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from seqhdr.classic.grain import REACH_PX, GrainStatistics, measure_grain, regrow
from seqhdr.classic.noise_level import NoiseLevel, NoiseSample, estimate_noise

SIZE_PX = 1.6
Picture = np.ndarray[Any, np.dtype[Any]]


def level_function(sigma: Any) -> NoiseLevel:
    levels = np.linspace(0, 255, 33).astype(np.float32)
    columns = np.stack([sigma(levels), 2 * sigma(levels), 0.5 * sigma(levels)], axis=-1).astype(np.float32)
    return NoiseLevel(levels, columns, np.full(columns.shape, 100), 255)


def soft(size_px: float = SIZE_PX) -> Picture:
    """(2R + 1, 2R + 1, 3) the correlation exp(-(d / size)²) of white noise blurred by a Gaussian."""
    away = np.arange(-REACH_PX, REACH_PX + 1)
    plane = np.exp(-(away[:, None] ** 2 + away**2) / size_px**2)
    return np.repeat(plane[..., None], 3, axis=2).astype(np.float32)


CHANNELS = np.array([[1, 0.6, 0.3], [0.6, 1, 0.5], [0.3, 0.5, 1]], np.float32)
GRAIN = GrainStatistics(level_function(lambda level: 1 + level / 100), soft(), CHANNELS, 100)


def correlation(one: Picture, other: Picture) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def test_the_same_frame_has_the_same_grain_and_another_frame_another() -> None:
    value = np.full((128, 160, 3), 90, np.float32)
    first = regrow(GRAIN, value, 1001)
    np.testing.assert_array_equal(first, regrow(GRAIN, value, 1001))
    assert abs(correlation(first, regrow(GRAIN, value, 1002))) < 0.05
    assert first.dtype == np.float32


def test_its_deviation_is_that_of_the_level_and_channel() -> None:
    for level in (20, 120, 230):
        made = regrow(GRAIN, np.full((400, 400, 3), level, np.float32), 7)
        np.testing.assert_allclose(made.std(axis=(0, 1)) / (1 + level / 100), [1, 2, 0.5], rtol=0.03)
        assert np.abs(made.mean(axis=(0, 1)) / made.std(axis=(0, 1))).max() < 0.03


def test_its_correlations_are_the_ones_asked_for() -> None:
    made = regrow(GRAIN, np.full((500, 500, 3), 100, np.float32), 3)
    for distance in (1, 2, 3):
        wanted = np.exp(-((distance / SIZE_PX) ** 2))
        assert correlation(made[distance:, :, 1], made[:-distance, :, 1]) == pytest.approx(wanted, abs=0.03)
        assert correlation(made[:, distance:, 0], made[:, :-distance, 0]) == pytest.approx(wanted, abs=0.03)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert correlation(made[..., one], made[..., other]) == pytest.approx(CHANNELS[one, other], abs=0.03)


def test_the_border_is_no_different_from_the_middle() -> None:
    value = np.full((64, 64, 3), 100, np.float32)
    edge = np.concatenate([regrow(GRAIN, value, frame)[:2] for frame in range(60)])
    np.testing.assert_allclose(edge.std(axis=(0, 1)), [2, 4, 1], rtol=0.06)


def film(frame: int, blur: bool = True) -> Picture:
    """(H, W, 3) uint8: a slope with grain of 3 codes, of the correlations above."""
    rng = np.random.default_rng((2, frame))
    white = rng.standard_normal((296, 424, 3)) @ np.linalg.cholesky(CHANNELS).T
    if blur:
        white = cv2.GaussianBlur(white, (0, 0), SIZE_PX / 2)
        white /= white.std(axis=(0, 1))
    slope = np.linspace(60, 180, 384)[None, :, None]
    return np.rint(slope + 3 * white[20:-20, 20:-20]).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("blur", [False, True])
def test_the_statistics_are_those_of_the_film(blur: bool) -> None:
    samples = [NoiseSample(film(t, blur), film(t - 1, blur)) for t in (1, 3)]
    found = measure_grain(samples, estimate_noise(samples, 255))
    assert found.blocks > 50
    np.testing.assert_allclose(found.channels, CHANNELS, atol=0.06)
    middle = slice(REACH_PX - 2, REACH_PX + 3)
    wanted = soft() if blur else soft(0.1)
    np.testing.assert_allclose(found.correlation[middle, middle], wanted[middle, middle], atol=0.06)


def test_rounding_does_not_make_faint_grain_harder_than_it_is() -> None:
    rng = np.random.default_rng(8)
    slope, faint = np.linspace(60, 180, 384)[None, :, None], []
    for _ in range(4):
        white = cv2.GaussianBlur(rng.standard_normal((296, 424, 3)), (0, 0), SIZE_PX / 2)[20:-20, 20:-20]
        faint.append(np.rint(slope + 0.6 * white / white.std()).astype(np.uint8))
    noise = level_function(lambda level: np.full_like(level, 0.6))
    noise = NoiseLevel(noise.levels_lsb, np.full_like(noise.sigma_lsb, 0.6), noise.blocks, 255)
    found = measure_grain([NoiseSample(faint[1], faint[0]), NoiseSample(faint[3], faint[2])], noise)
    assert found.blocks > 50
    # A fifth of the variance is rounding's: without knowing that it would be 0.55 instead of 0.68.
    np.testing.assert_allclose(found.correlation[REACH_PX, REACH_PX + 1], soft()[REACH_PX, REACH_PX + 1], atol=0.06)


def test_without_flat_blocks_it_is_white_and_says_so() -> None:
    noise = level_function(lambda level: np.full_like(level, 1.0))
    edges = np.kron(np.random.default_rng(1).integers(40, 200, (16, 16)), np.ones((8, 8), int))
    found = measure_grain([NoiseSample(np.repeat(edges[..., None], 3, axis=2).astype(np.uint8), None)], noise)
    assert found.blocks == 0
    made = regrow(found, np.full((300, 300, 3), 100, np.float32), 1)
    assert abs(correlation(made[:, 1:], made[:, :-1])) < 0.02
    assert abs(correlation(made[..., 0], made[..., 1])) < 0.02


def test_correlations_that_no_noise_can_have_are_brought_to_the_nearest() -> None:
    impossible = np.array([[1, 1, -1], [1, 1, 1], [-1, 1, 1]], np.float32)
    made = regrow(GrainStatistics(GRAIN.noise, soft(), impossible, 100), np.full((200, 200, 3), 100, np.float32), 1)
    np.testing.assert_allclose(made.std(axis=(0, 1)), [2, 4, 1], rtol=0.06)
