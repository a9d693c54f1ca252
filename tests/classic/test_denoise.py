"""Noise of a known level function, taken away."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from seqhdr.classic.denoise import Denoiser
from seqhdr.classic.noise_level import NoiseLevel

HEIGHT, WIDTH = 96, 160
Picture = np.ndarray[Any, np.dtype[Any]]


def level_function(sigma: Any, max_code: int = 255) -> NoiseLevel:
    levels = np.linspace(0, max_code, 33).astype(np.float32)
    columns = np.stack([np.broadcast_to(sigma(levels), levels.shape)] * 3, axis=-1).astype(np.float32)
    return NoiseLevel(levels, columns, np.full(columns.shape, 100), max_code)


def noisy(clean: Picture, noise: NoiseLevel, seed: int = 0) -> Picture:
    added = noise.at(clean) * np.random.default_rng(seed).standard_normal(clean.shape)
    return np.rint(clean + added).clip(0, noise.max_code).astype(np.float32)


def rms(error: Picture) -> float:
    return float(np.sqrt(np.mean(error.astype(np.float64) ** 2)))


def two_sides(left: float, right: float) -> Picture:
    plane = np.where(np.arange(WIDTH) < WIDTH // 2, left, right)
    return np.broadcast_to(plane[None, :, None], (HEIGHT, WIDTH, 3)).astype(np.float32)


@pytest.mark.parametrize("max_code", [255, 1023, 65535])
def test_a_picture_of_one_value_comes_back_as_it_is(max_code: int) -> None:
    denoiser = Denoiser(level_function(lambda level: (1 + level / 60 * 255 / max_code) * max_code / 255, max_code))
    for share in (0.0, 0.1, 0.5, 0.93, 1.0):
        value = np.full((40, 48, 3), share * max_code, np.float32)
        assert np.abs(denoiser(value, [value, value]) - value).max() < 0.01 * max_code / 255


def test_little_is_left_of_the_noise_at_any_level() -> None:
    noise = level_function(lambda level: 0.5 + level / 40)
    clean = two_sides(30, 200)
    left = Denoiser(noise)(noisy(clean, noise)) - clean
    for side, sigma in ((slice(12, 68), 1.25), (slice(92, 148), 5.5)):
        assert rms(left[:, side]) < 0.35 * sigma


def test_an_edge_stays_where_it_is() -> None:
    noise = level_function(lambda level: 2.0)
    clean = two_sides(80, 110)
    result = Denoiser(noise)(noisy(clean, noise)).mean(axis=(0, 2))
    middle = WIDTH // 2
    np.testing.assert_allclose(result[middle - 3 : middle + 3], [80, 80, 80, 110, 110, 110], atol=1.0)


def test_frames_before_help_though_the_picture_moves() -> None:
    noise = level_function(lambda level: 3.0)
    y, x = np.mgrid[:HEIGHT, : WIDTH + 16].astype(np.float64)
    plane = 120 + 50 * np.sin(x / 5) * np.sin(y / 6) + 20 * np.sin(x * y / 900)
    clean = [np.repeat(plane[:, 4 * t : 4 * t + WIDTH, None], 3, axis=2).astype(np.float32) for t in range(3)]
    frames = [noisy(clean[t], noise, seed=t) for t in range(3)]
    denoiser = Denoiser(noise)
    alone, two, three = (rms(denoiser(frames[2], earlier) - clean[2]) for earlier in ([], frames[1:2], frames[1::-1]))
    assert alone < 0.8 * 3
    assert two < 0.95 * alone
    assert three < 0.85 * alone


def test_another_picture_before_does_no_harm() -> None:
    noise = level_function(lambda level: 2.0)
    clean = two_sides(80, 110)
    frame = noisy(clean, noise)
    other = noisy(np.full_like(clean, 200), noise, seed=1)
    denoiser = Denoiser(noise)
    assert rms(denoiser(frame, [other, other]) - clean) < 1.1 * rms(denoiser(frame) - clean)


def test_where_there_is_no_noise_nothing_but_a_fraction_changes() -> None:
    noise = level_function(lambda level: np.where(level < 100, 0.0, 3.0))
    clean = two_sides(40, 60)
    clean = clean + np.random.default_rng(3).integers(0, 2, clean.shape).astype(np.float32) * 10
    assert np.abs(Denoiser(noise)(clean) - clean).max() < 0.3
