"""What befalls light before it is rounded belongs to the truth: lost resolution, noise and grain, and their seeds."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from seqhdr.train.degrade import Degradation, degrade, lose_resolution
from tests.train.degrade_examples import EVERYTHING, Clip, decoded, soft_clip


def test_lost_resolution_takes_what_is_finer_than_its_pixels() -> None:
    factor, size = 2.0, 128
    light = np.exp2(0.1 * np.random.default_rng(0).normal(size=(1, size, size, 3))).astype(np.float32)
    frequency = np.maximum(*np.abs(np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size))))
    fine, coarse = frequency > 1.3 * 0.5 / factor, (frequency > 0) & (frequency < 0.3 * 0.5 / factor)

    def energy(picture: Clip, band: NDArray[np.bool_]) -> float:
        return float((np.abs(np.fft.fft2(np.log2(picture[0, ..., 0]))) ** 2)[band].sum())

    lost = lose_resolution(light, factor)
    assert energy(lost, fine) < 0.03 * energy(light, fine)
    assert energy(lost, coarse) > 0.7 * energy(light, coarse)
    clip = degrade(light, Degradation("acescct", -2.0, resolution_factor=factor))
    blurred = degrade(lost * np.float32(clip.exposure), Degradation("acescct", -2.0))
    # Part of the truth, and of what was exposed before.
    np.testing.assert_allclose(
        clip.value_lsb - clip.value_lsb.mean(), blurred.value_lsb - blurred.value_lsb.mean(), atol=0.1
    )


def test_lost_resolution_keeps_place_light_and_frames() -> None:
    ramp = np.geomspace(0.1, 10, 96, dtype=np.float32)
    light = np.stack(
        [np.broadcast_to(ramp[None, :, None], (60, 96, 3)), np.broadcast_to(2 * ramp[None, :, None], (60, 96, 3))]
    )
    lost = lose_resolution(light, 1.7)
    assert lost.shape == light.shape
    np.testing.assert_allclose(lost[:, :, 6:-6], light[:, :, 6:-6], rtol=0.02)
    lamp = np.full((1, 60, 60, 3), 0.1, np.float32)
    lamp[:, 30, 30] = 1e4
    assert lose_resolution(lamp, 2.3).min() > 0
    np.testing.assert_allclose(lose_resolution(np.zeros((1, 8, 8, 3), np.float32), 1.5), 0, atol=1e-6)


def test_noise_and_grain_belong_to_the_truth_and_differ_between_frames() -> None:
    light = np.full((3, 64, 64, 3), 0.3, np.float32)
    for noisy in ({"noise_shot": 1e-3, "noise_read": 1e-3}, {"grain_size_px": 1.5, "grain_stops": 0.05}):
        clip = degrade(light, Degradation("srgb", -2.0, **noisy, seed=1))
        assert clip.value_lsb.std() > 1
        assert np.abs(clip.value_lsb - clip.codes).max() <= 0.5
        fields = clip.value_lsb - clip.value_lsb.mean()
        assert abs(np.corrcoef(fields[0].ravel(), fields[1].ravel())[0, 1]) < 0.1
        other = degrade(light, Degradation("srgb", -2.0, **noisy, seed=2))
        assert np.abs(other.value_lsb - clip.value_lsb).max() > 1


def test_noise_is_as_strong_as_told_in_exposed_light() -> None:
    light = np.full((2, 96, 96, 3), 7.0, np.float32)
    clip = degrade(light, Degradation("acescct", -2.0, noise_shot=1e-3, noise_read=5e-3, seed=1))
    noise = decoded("acescct", clip.value_lsb)
    assert noise.mean() == pytest.approx(0.25, rel=0.01)
    assert noise.var() == pytest.approx(1e-3 * 0.25 + 5e-3**2, rel=0.05)


def test_a_degradation_says_it_all() -> None:
    light = soft_clip()
    kept = light.copy()
    first, again = degrade(light, EVERYTHING), degrade(light, EVERYTHING)
    other = degrade(light, dataclasses.replace(EVERYTHING, seed=8))
    for name in ("codes", "value_lsb", "gain_stops", "half_width_lsb", "exposure"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.codes, other.codes)
    assert not np.array_equal(first.value_lsb, other.value_lsb)
    np.testing.assert_array_equal(light, kept)


def test_the_noise_of_one_stage_does_not_depend_on_another() -> None:
    light = soft_clip()
    dither = Degradation("acescct", -2.0, dither=True, seed=4)
    grained = dataclasses.replace(dither, grain_size_px=1.0, grain_stops=1e-6)
    assert (degrade(light, dither).codes != degrade(light, grained).codes).mean() < 1e-3
