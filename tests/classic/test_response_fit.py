"""The family of curves, its prior, and the fit: closed forms, and what is left without evidence."""

from __future__ import annotations

import numpy as np
import pytest

from seqhdr.classic.response_fit import (
    CurveFit,
    fit_parameters,
    gamma_light,
    gamma_samples,
    gamma_slope,
    judge_fit,
    usual_parameters,
)
from tests.classic.response_pictures import CURVES, rms_error


def test_a_constant_exponent_is_a_gamma() -> None:
    v = np.linspace(0.01, 1, 50)
    assert np.abs(gamma_light(np.array([2.2, 0, 0]), v) - v**2.2).max() < 1e-12
    assert np.abs(gamma_slope(np.array([2.2, 0, 0]), v) - 2.2 * v**1.2).max() < 1e-12


def test_the_slope_is_the_derivative() -> None:
    parameters, v, h = np.array([1.7, 0.6, 0.2]), np.linspace(0.05, 0.99, 40), 1e-6
    expected = (gamma_light(parameters, v + h) - gamma_light(parameters, v - h)) / (2 * h)
    assert np.abs(gamma_slope(parameters, v) / expected - 1).max() < 1e-6


@pytest.mark.parametrize("name", CURVES)
def test_the_family_holds_the_usual_curves(name: str) -> None:
    """Told the light of every code, the fit is as near as the family gets: half a percent."""
    fine = np.linspace(0, 1, 100_001)
    v = np.arange(1, 256) / 255
    light = np.interp(v, CURVES[name](fine), fine)

    def residuals(parameters: np.ndarray) -> np.ndarray:
        return (gamma_light(parameters, v) - light) / 1e-3

    fit = fit_parameters(residuals, np.arange(255))
    assert rms_error(fit.light[:, None], name) < 0.005
    assert fit.spread < 0.006
    assert fit.unusual < 2.5


def test_without_evidence_there_is_the_usual_curve_and_its_spread() -> None:
    fit = fit_parameters(lambda parameters: np.zeros(0), np.zeros(0, np.int64))
    mean, _ = usual_parameters()
    assert np.allclose(fit.parameters, mean)
    assert 0.05 < fit.spread < 0.08


def test_samples_always_rise() -> None:
    falling = gamma_samples(np.array([0.3, 6.0, -8.0]))
    assert (np.diff(falling) > 0).all()
    assert (falling[0], falling[-1]) == (0.0, 1.0)


def test_the_words() -> None:
    def fit(spread: float) -> CurveFit:
        return CurveFit(np.zeros(3), np.zeros(2), spread, 1.0, 0.0)

    assert judge_fit(fit(0.01), "found", None, 0.02, 0.04) == ("high", 0.01, "found")
    assert judge_fit(fit(0.03), "found", None, 0.02, 0.04)[0] == "medium"
    word, spread, reason = judge_fit(fit(0.05), "found", None, 0.02, 0.04)
    assert (word, spread) == ("low", 0.05)
    assert reason == "found: give several exposures of one scene instead, with --ev"
    # A small spread of bad evidence is no small error.
    word, spread, reason = judge_fit(fit(0.001), "found", "it is odd", 0.02, 0.04)
    assert word == "low"
    assert spread > 0.05
    assert reason.startswith("it is odd: give several exposures")
