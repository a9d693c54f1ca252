"""The level function, against noise that is known because it was put there."""

from __future__ import annotations

import itertools
from typing import Any

import cv2
import numpy as np
import pytest

from seqhdr.classic.noise_level import NoiseLevel, NoiseSample, align, autocovariance, estimate_noise, flat_blocks

HEIGHT, WIDTH = 256, 384
Picture = np.ndarray[Any, np.dtype[Any]]


def sky(frame: int) -> Picture:
    """(H, W, 3) a slope through most levels that moves by two pixels."""
    x = (np.arange(WIDTH) + 2 * frame) * (200 / WIDTH) + 20
    plane = np.broadcast_to(x, (HEIGHT, WIDTH)).astype(np.float64)
    return np.stack([plane, 0.9 * plane + 10, 230 - 0.8 * plane], axis=-1)


def woods(frame: int) -> Picture:
    """(H, W, 3) nothing but texture, moving by three pixels."""
    rng = np.random.default_rng(5)
    leaves = cv2.GaussianBlur(rng.normal(0, 90, (HEIGHT, WIDTH + 64)), (0, 0), 1.5)
    plane = 120 + leaves[:, 3 * frame : 3 * frame + WIDTH]
    return np.stack([plane, 0.8 * plane + 20, 0.7 * plane + 10], axis=-1)


def noise(frame: int, size_px: float = 0.0) -> Picture:
    """(H, W, 3) of variance 1, white or blurred."""
    white = np.random.default_rng((9, frame)).standard_normal((HEIGHT + 40, WIDTH + 40, 3))
    if size_px:
        white = cv2.GaussianBlur(white, (0, 0), size_px / 2)
        white /= white.std()
    return white[20:-20, 20:-20]


def rounded(value: Picture, max_code: int = 255) -> Picture:
    return np.rint(value).clip(0, max_code).astype(np.uint8 if max_code == 255 else np.uint16)


def samples(*frames: Picture) -> list[NoiseSample]:
    return [NoiseSample(after, before) for before, after in itertools.pairwise(frames)]


def ratios(found: NoiseLevel, sigma: Any) -> Picture:
    """Estimate over truth where at least 20 blocks spoke."""
    truth = np.broadcast_to(sigma(found.levels_lsb)[:, None], found.sigma_lsb.shape)
    return (found.sigma_lsb / truth)[found.blocks >= 20]


@pytest.mark.parametrize("size_px", [0.0, 1.6])
def test_noise_that_grows_with_the_level_is_found_at_every_level(size_px: float) -> None:
    def sigma(level: Any) -> Any:
        return 1 + level / 60

    frames = [rounded(sky(t) + sigma(sky(t)) * noise(t, size_px)) for t in range(4)]
    found = estimate_noise(samples(*frames), 255)
    assert found.found
    of_true = ratios(found, sigma)
    assert len(of_true) > 30
    assert np.abs(of_true - 1).max() < 0.15
    assert abs(of_true.mean() - 1) < 0.06


def test_it_sees_noise_through_texture_that_moves() -> None:
    frames = [rounded(woods(t) + 2.5 * noise(t)) for t in range(4)]
    found = estimate_noise(samples(*frames), 255)
    of_true = ratios(found, lambda level: np.full_like(level, 2.5))
    assert len(of_true) > 5
    assert np.median(of_true) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("scene", [sky, woods])
def test_clean_pictures_have_none(scene: Any) -> None:
    found = estimate_noise(samples(*(rounded(scene(t)) for t in range(4))), 255)
    assert not found.found
    assert (found.sigma_lsb * found.blocks).sum() / found.blocks.sum() < 0.25


def test_what_differs_from_place_to_place_is_no_noise() -> None:
    """Gravel beside glass, or what a codec left: as strong as noise on the whole, but not the same everywhere."""
    strength = np.kron(np.random.default_rng(3).uniform(0, 8, (HEIGHT // 16, WIDTH // 16)), np.ones((16, 16)))
    frames = [rounded(np.full((HEIGHT, WIDTH, 3), 110.0) + strength[..., None] * noise(t)) for t in range(4)]
    found = estimate_noise(samples(*frames), 255)
    assert not found.found
    assert found.even_share < 0.3
    even = [rounded(np.full((HEIGHT, WIDTH, 3), 110.0) + 4 * noise(t)) for t in range(4)]
    assert estimate_noise(samples(*even), 255).even_share == 1


def test_one_frame_tells_white_noise_from_texture() -> None:
    # Texture as fine as noise is would be taken for it: here it is a little softer.
    still = estimate_noise([NoiseSample(rounded(cv2.GaussianBlur(woods(0), (0, 0), 1.5)), None)], 255)
    assert not still.found
    noisy = estimate_noise([NoiseSample(rounded(sky(0) + 3 * noise(0)), None)], 255)
    assert np.abs(ratios(noisy, lambda level: np.full_like(level, 3.0)) - 1).max() < 0.15


def test_a_frame_that_is_held_is_no_second_look() -> None:
    frame = rounded(sky(0) + 3 * noise(0))
    alone = estimate_noise([NoiseSample(frame, None)], 255)
    held = estimate_noise([NoiseSample(frame, frame.copy())], 255)
    np.testing.assert_array_equal(alone.sigma_lsb, held.sigma_lsb)
    assert held.found


def test_codes_of_more_bits_are_noisier_in_codes() -> None:
    eight, ten = (
        estimate_noise(samples(*(rounded((sky(t) + 3 * noise(t)) * factor, top) for t in range(3))), top)
        for factor, top in ((1, 255), (1023 / 255, 1023))
    )
    assert ten.largest_lsb / eight.largest_lsb == pytest.approx(1023 / 255, rel=0.05)
    assert list(ten.summary()) == ["256", "512", "767"]


def test_what_is_black_or_clipped_says_nothing() -> None:
    for code in (0, 255):
        found = estimate_noise([NoiseSample(np.full((64, 64, 3), code, np.uint8), None)], 255)
        assert not found.found
        assert found.largest_lsb == 0
        assert (found.sigma_lsb == 0).all()
    tiny = estimate_noise([NoiseSample(np.full((8, 8, 3), 100, np.uint8), None)], 255)
    assert not tiny.found


def test_levels_without_blocks_follow_their_neighbours() -> None:
    frames = [rounded(np.full((HEIGHT, WIDTH, 3), 100.0) + 2 * noise(t)) for t in range(3)]
    found = estimate_noise(samples(*frames), 255)
    np.testing.assert_allclose(found.at(np.array([[0, 100, 255]])), 2, rtol=0.05)


def test_flat_blocks_have_variance_one_and_know_their_rounding() -> None:
    frames = [rounded(sky(t) + 1.0 * noise(t)) for t in range(3)]
    seen = samples(*frames)
    blocks, rounding = flat_blocks(seen, estimate_noise(seen, 255), 32)
    assert len(blocks) > 50
    assert blocks.std() == pytest.approx(1, abs=0.08)
    np.testing.assert_allclose(rounding, (1 / 12) / (1 + 1 / 12), rtol=0.15)


def test_autocovariance_of_what_can_be_counted() -> None:
    np.testing.assert_allclose(autocovariance(np.full((3, 16, 16), 2, np.float32), 4), 4, rtol=1e-5)
    stripes = np.broadcast_to(np.tile([1.0, -1.0], 8), (2, 16, 16)).astype(np.float32)
    covariance = autocovariance(stripes, 2)
    np.testing.assert_allclose(covariance, np.broadcast_to([1, -1, 1, -1, 1], (5, 5)), atol=1e-5)


def test_pixels_are_moved_whole_to_where_the_motion_took_them() -> None:
    before, after = rounded(woods(0)), rounded(woods(1))
    moved = align(after, before, 255, before)
    inside = (slice(16, -16), slice(16, -16))
    assert (moved[inside] == after[inside]).mean() > 0.95
    assert (before[inside] == after[inside]).mean() < 0.2
