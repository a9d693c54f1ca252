"""Curves from noise, against the curves the pictures were made with."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from seqhdr.classic.response_noise import noise_curve
from tests.classic.response_pictures import CURVES, expose, patches, rms_error


@pytest.mark.parametrize("name", CURVES)
def test_one_noisy_picture_gives_the_curve_within_five_percent(name: str) -> None:
    curve = noise_curve([expose(patches(), name, noise=0.03)], 255)
    assert rms_error(curve.light, name) <= 0.05
    assert curve.confidence in ("high", "medium")
    assert curve.method == "noise"
    assert not curve.per_channel


@pytest.mark.parametrize("name", ["srgb", "gamma 1.8"])
def test_pixels_that_stand_still_are_compared_over_time(name: str) -> None:
    """Every pixel has a light of its own, so that there is no flat block at all."""
    rng = np.random.default_rng(5)
    scene = np.exp(rng.uniform(np.log(0.03), np.log(0.7), (192, 256, 3)))
    frames = [expose(scene, name, noise=0.03, seed=seed) for seed in range(8)]
    curve = noise_curve(frames, 255)
    assert rms_error(curve.light, name) <= 0.05
    assert curve.confidence in ("high", "medium")
    assert noise_curve(frames[:1], 255).confidence == "low"


def test_a_clean_picture_tells_nothing() -> None:
    curve = noise_curve([expose(patches(), "srgb")], 255)
    assert curve.confidence == "low"
    assert curve.reason.startswith("only 0 samples at 0 levels show noise that is a code or more")
    assert rms_error(curve.light, "srgb") < 0.06


def test_noise_that_was_smoothed_tells_nothing() -> None:
    codes = cv2.GaussianBlur(expose(patches(), "srgb", noise=0.06), (0, 0), 1.0)
    assert noise_curve([codes], 255).confidence == "low"


def test_grain_that_was_added_to_codes_is_called_no_camera_s() -> None:
    rng = np.random.default_rng(1)
    codes = 255 * CURVES["srgb"](patches()) + 8 * rng.standard_normal((256, 384, 3))
    curve = noise_curve([codes.round().clip(0, 255).astype(np.uint8)], 255)
    assert curve.confidence == "low"
    assert "no usual camera has" in curve.reason
