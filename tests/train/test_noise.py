"""Noise and grain: their statistics, measured."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from seqhdr.train.noise import film_grain, grain_weight, shot_read_noise

GREY = 0.18


def flat(light: float, size: int = 128, frames: int = 2) -> NDArray[np.float32]:
    return np.full((frames, size, size, 3), light, np.float32)


def grain_of(size_px: float, strength_stops: float = 0.1, seed: int = 0, size: int = 256) -> NDArray[np.float32]:
    """Grain on mid grey, in stops over the strength."""
    grey = flat(GREY, size)
    return np.log2(film_grain(grey, size_px, strength_stops, np.random.default_rng(seed)) / grey) / strength_stops


def correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def test_variance_is_a_line_of_light() -> None:
    shot, read = 2e-3, 5e-3
    for light in (0.0, 0.01, 0.18, 1.0, 30.0):
        noise = shot_read_noise(flat(light), shot, read, np.random.default_rng(1)) - light
        assert noise.var() == pytest.approx(shot * light + read**2, rel=0.03)
        assert abs(noise.mean()) < 4 * noise.std() / np.sqrt(noise.size)


def test_each_of_the_two_noises_can_be_off() -> None:
    picture = np.random.default_rng(0).random((2, 16, 16, 3), np.float32)
    np.testing.assert_array_equal(shot_read_noise(picture, 0, 0, np.random.default_rng(1)), picture)
    np.testing.assert_array_equal(shot_read_noise(flat(0.0), 0.01, 0, np.random.default_rng(1)), 0)
    dark = shot_read_noise(flat(0.0), 0, 0.01, np.random.default_rng(1))
    assert 0.45 < (dark < 0).mean() < 0.55


def test_negative_light_has_the_noise_of_the_dark() -> None:
    noise = shot_read_noise(flat(-0.01), 0.1, 1e-3, np.random.default_rng(2)) + 0.01
    assert noise.std() == pytest.approx(1e-3, rel=0.03)


def test_noise_and_grain_are_fresh_in_frames_and_channels() -> None:
    noise = shot_read_noise(flat(0.5), 1e-3, 1e-3, np.random.default_rng(3)) - 0.5
    grain = grain_of(1.5, size=128)
    for field in (noise, grain):
        assert field.dtype == np.float32
        assert abs(correlation(field[0], field[1])) < 0.03
        assert abs(correlation(field[..., 0], field[..., 1])) < 0.03
        assert abs(correlation(field[..., 0], field[..., 2])) < 0.03


def test_noise_repeats_with_its_seed() -> None:
    for add in (shot_read_noise, film_grain):
        first, again, other = (add(flat(0.3, 32), 1.2, 0.01, np.random.default_rng(seed)) for seed in (5, 5, 6))
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)


@pytest.mark.parametrize("size_px", [1.5, 2.5, 4.0])
def test_grain_is_as_large_as_told(size_px: float) -> None:
    grain = grain_of(size_px)
    for distance in (1, 2, 3, 4):
        expected = np.exp(-((distance / size_px) ** 2))
        assert correlation(grain[:, :, distance:], grain[:, :, :-distance]) == pytest.approx(expected, abs=0.03)
        assert correlation(grain[:, distance:], grain[:, :-distance]) == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("size_px", [0.6, 1.5, 3.0])
def test_grain_is_as_strong_as_told_up_to_the_border(size_px: float) -> None:
    grain = grain_of(size_px)
    assert grain.std() == pytest.approx(1, rel=0.03)
    assert abs(grain.mean()) < 0.02
    border = np.concatenate([grain_of(size_px, seed=seed, size=64)[:, [0, 1, -2, -1]] for seed in range(8)])
    assert border.std() == pytest.approx(1, rel=0.06)


def test_grain_shows_most_in_the_mid_tones() -> None:
    lights = np.float32(GREY) * np.exp2(np.array((-7, -3.5, 0, 3.5, 7), np.float32))
    expected = np.exp(np.array((-2, -0.5, 0, -0.5, -2)))
    np.testing.assert_allclose(grain_weight(lights), expected, rtol=1e-5)
    for light, weight in zip(lights, expected, strict=True):
        grained = film_grain(flat(float(light)), 1.0, 0.05, np.random.default_rng(0))
        assert np.log2(grained / light).std() == pytest.approx(0.05 * weight, rel=0.03)


def test_black_has_no_grain() -> None:
    np.testing.assert_array_equal(film_grain(flat(0.0), 1.0, 0.1, np.random.default_rng(0)), 0)
