"""Stops against double precision, logarithms, and their own inverse."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from seqhdr.quality.stops import BLACK_LIGHT, light_of_stops, stops


def test_stops_are_the_formula_in_double_precision() -> None:
    light = np.concatenate([-np.geomspace(1e-7, 100, 500), [0.0], np.geomspace(1e-7, 65504, 500)]).astype(np.float32)
    expected = np.arcsinh(light.astype(np.float64) / (2 * BLACK_LIGHT)) / math.log(2)
    assert np.abs(stops(torch.from_numpy(light)).numpy() - expected).max() < 2e-6


@pytest.mark.parametrize("light", [0.05, 0.18, 1.0, 40.0])
def test_a_per_cent_is_the_same_at_every_brightness(light: float) -> None:
    here = stops(torch.tensor([light, 1.01 * light], dtype=torch.float64))
    assert float(here[1] - here[0]) == pytest.approx(math.log2(1.01), rel=0.004)
    assert float(here[0]) == pytest.approx(math.log2(light / BLACK_LIGHT), abs=0.004)


def test_black_is_the_middle_of_a_line() -> None:
    near = torch.tensor([-1e-4, 0.0, 1e-4], dtype=torch.float64)
    slope = 1 / (2 * BLACK_LIGHT * math.log(2))
    assert torch.allclose(stops(near), near * slope, rtol=2e-4)
    # One code of 8-bit sRGB above black would be infinitely many stops of log2.
    assert float(stops(torch.tensor(1 / 255 / 12.92))) < 0.15


def test_stops_come_back_as_light() -> None:
    light = torch.cat([-torch.logspace(-5, 1, 100), torch.zeros(1), torch.logspace(-5, 4, 100)])
    assert torch.allclose(light_of_stops(stops(light)), light, rtol=1e-5, atol=1e-9)


def test_light_beyond_reason_stays_finite() -> None:
    assert torch.isfinite(stops(torch.tensor([3e38, -3e38]))).all()
    assert float(stops(torch.tensor(-3e38))) == pytest.approx(-59)


def test_the_argument_is_left_as_it_was() -> None:
    light = torch.tensor([-0.5, 0.5])
    stops(light)
    assert light.tolist() == [-0.5, 0.5]
