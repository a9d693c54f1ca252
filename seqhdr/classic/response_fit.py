"""Fit a response curve with few parameters to weak evidence, around the curves that cameras usually have.

The family is the generalised gamma curve of Ng, Chang and Chen, "Using geometry invariants for camera response function
estimation" (CVPR 2007): light g(v) = v^P(v) with P a polynomial, here of degree 2. The fit is the maximum a posteriori,
by Gauss-Newton steps on residuals that are weighted down where they are outliers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from seqhdr.color.response import SAMPLES, ResponseCurve, known_curve, rising, sample_values

__all__ = [
    "CurveFit",
    "doubt_curve",
    "fit_parameters",
    "gamma_light",
    "gamma_samples",
    "gamma_slope",
    "judge_fit",
    "usual_parameters",
]

Array = NDArray[np.float64]

# Code values are held at this at least: below, logarithms run away.
_DARKEST = 1.0 / 1024
# RMS in light of the usual curves around their mean, widened as the prior is: what is known without any evidence.
_USUAL_SPREAD = 0.062
_BETTER = "give several exposures of one scene instead, with --ev"

_TERMS = 3
_STEPS = 30
_TRIALS = 64
# RMS in light of what the family cannot follow: up to 0.4 % for sRGB, Rec.709, gammas and sigmoids.
_FAMILY = 0.004
# How much wider than the usual curves the prior is, in standard deviations.
_WIDEN = 1.5
_OUTLIER = 2.5


@dataclass(frozen=True)
class CurveFit:
    """A fitted curve.

    Attributes:
        parameters: (3,) coefficients of P.
        light: (N, ) samples of its light.
        spread: expected RMS error in light: how far fits to other draws of the evidence and of the prior are.
        scale: robust standard deviation of the residuals; 1 where the evidence fits as well as its noise allows.
        unusual: distance from the usual curves, in standard deviations.
    """

    parameters: Array
    light: Array
    spread: float
    scale: float
    unusual: float


def gamma_light(parameters: Array, value: Array) -> Array:
    """g(v) of code values from 0 to 1, any shape."""
    held = np.maximum(value, _DARKEST)
    return np.asarray(np.exp(np.polynomial.polynomial.polyval(held, parameters) * np.log(held)))


def gamma_slope(parameters: Array, value: Array) -> Array:
    """dg/dv, held at a hundredth of g / v at least, so that a curve that falls can still be left."""
    held = np.maximum(value, _DARKEST)
    power = np.polynomial.polynomial.polyval(held, parameters)
    bend = np.polynomial.polynomial.polyval(held, parameters[1:] * np.arange(1, len(parameters)))
    return np.asarray(gamma_light(parameters, held) * np.maximum(power / held + bend * np.log(held), 0.01 / held))


def gamma_samples(parameters: Array) -> Array:
    """The curve as the (N,) samples of a :class:`~seqhdr.color.response.ResponseCurve`: rising, 0 to 1."""
    light = gamma_light(parameters, sample_values(SAMPLES))
    light[0] = 0.0
    return rising(light)


@lru_cache(maxsize=1)
def usual_parameters() -> tuple[Array, Array]:
    """Mean (3,) and covariance (3, 3) of the parameters of usual curves, the covariance widened.

    They are sRGB, Rec.709, gammas from 1.8 to 2.6, and the sigmoids around the mean of measured cameras in Eilertsen et
    al., "HDR image reconstruction from a single exposure using deep CNNs" (ACM TOG 36(6), 2017).
    """
    v = sample_values(SAMPLES)[1:]
    curves = [known_curve(name).light[1:, 0] for name in ("srgb", "srgb", "rec709", "rec709")]
    curves += [v**gamma for gamma in (1.8, 2.0, 2.2, 2.4, 2.6)]
    for n in (0.8, 0.9, 1.0):
        curves += [(sigma * v / (1 + sigma - v)) ** (1 / n) for sigma in (0.45, 0.6, 0.9)]
    fitted = np.stack([_closest(v, light) for light in curves])
    return fitted.mean(axis=0), np.cov(fitted.T) * _WIDEN**2


def _closest(v: Array, light: Array) -> Array:
    """The parameters whose curve is nearest in light: Gauss-Newton from gamma 2.2."""
    parameters = np.array([2.2, 0.0, 0.0])
    terms = np.log(v)[:, None] * v[:, None] ** np.arange(_TERMS)
    for _ in range(_STEPS):
        fitted = gamma_light(parameters, v)
        slopes = fitted[:, None] * terms
        parameters = parameters + np.linalg.solve(slopes.T @ slopes, slopes.T @ (light - fitted))
    return parameters


def fit_parameters(residuals: Callable[[Array], Array], units: NDArray[np.int64], seed: int = 0) -> CurveFit:
    """The curve that makes residuals small and is not too far from the usual ones.

    Args:
        residuals: parameters (3,) → (R,) numbers whose standard deviation would be 1 for the true curve.
        units: (R,) the unit of evidence each belongs to, 0 to U - 1; units are independent of each other.
        seed: of the trials that give the spread.

    Returns:
        The fit. Without evidence it is the mean of the usual curves, and its spread is theirs.
    """
    mean, covariance = usual_parameters()
    precision: Array = np.asarray(np.linalg.inv(covariance), np.float64)
    parameters, damping = mean.copy(), 1e-3
    found = _Linear.at(residuals, parameters)
    for _ in range(_STEPS):
        pull = precision @ (parameters - mean)
        normal = found.normal() + precision
        step = -np.linalg.solve(normal + damping * np.diag(np.diag(normal)), found.gradient() + pull)
        trial = _Linear.at(residuals, parameters + step)
        old, new = (one.cost(found.scale) for one in (found, trial))
        away, further = parameters - mean, parameters + step - mean
        if new + further @ precision @ further <= old + away @ precision @ away:
            parameters, found, damping = parameters + step, trial, max(damping / 5, 1e-6)
            if np.abs(step).max() < 1e-5:
                break
        else:
            damping *= 10
    light = gamma_samples(parameters)
    away = parameters - mean
    spread = _spread(found, parameters, units, precision, np.random.default_rng(seed))
    return CurveFit(parameters, light, spread, found.scale, float(np.sqrt(away @ precision @ away)))


def judge_fit(fit: CurveFit, found: str, doubt: str | None, good: float, fair: float) -> tuple[str, float, str]:
    """How far a fit from one image can be trusted.

    Args:
        fit: the fit.
        found: what it rests on, a sentence without its end.
        doubt: why the evidence is not what it should be, or None; then its own spread says nothing.
        good, fair: expected errors up to which it is called high and medium.

    Returns:
        Confidence, expected RMS error in light, and the sentence.
    """
    if doubt is not None:
        return "low", max(fit.spread, _USUAL_SPREAD), f"{doubt}: {_BETTER}"
    if fit.spread > fair:
        return "low", fit.spread, f"{found}: {_BETTER}"
    return "high" if fit.spread <= good else "medium", fit.spread, found


def doubt_curve(curve: ResponseCurve, doubt: str) -> ResponseCurve:
    """The curve, of low confidence for a reason that its fit did not know of."""
    spread = max(curve.spread, _USUAL_SPREAD)
    return replace(curve, confidence="low", spread=spread, reason=f"{doubt}: {_BETTER}")


@dataclass(frozen=True)
class _Linear:
    """Residuals at some parameters, their derivatives, robust scale and weights."""

    values: Array
    slopes: Array
    scale: float
    weights: Array

    @staticmethod
    def at(residuals: Callable[[Array], Array], parameters: Array) -> _Linear:
        values = residuals(parameters)
        h = 1e-4
        slopes = [(residuals(parameters + h * step) - values) / h for step in np.eye(_TERMS)]
        scale = max(1.4826 * float(np.median(np.abs(values))), 1.0) if values.size else 1.0
        # Cauchy's weights: an outlier counts for less the further out it is.
        weights = 1.0 / (1.0 + (values / (scale * _OUTLIER)) ** 2) / scale**2
        return _Linear(values, np.stack(slopes, axis=-1), scale, weights)

    def cost(self, scale: float) -> float:
        return float((_OUTLIER**2 * np.log1p((self.values / (scale * _OUTLIER)) ** 2)).sum())

    def normal(self) -> Array:
        return np.asarray(self.slopes.T @ (self.weights[:, None] * self.slopes))

    def gradient(self) -> Array:
        return np.asarray(self.slopes.T @ (self.weights * self.values))


def _spread(
    found: _Linear, parameters: Array, units: NDArray[np.int64], precision: Array, rng: np.random.Generator
) -> float:
    """RMS in light between the fit and one-step fits to resampled units with a prior drawn around its mean."""
    mean, covariance = usual_parameters()
    count = int(units.max()) + 1 if units.size else 0
    normals, gradients = np.zeros((count, _TERMS, _TERMS)), np.zeros((count, _TERMS))
    weighted = found.weights[:, None] * found.slopes
    np.add.at(normals, units, weighted[:, :, None] * found.slopes[:, None, :])
    np.add.at(gradients, units, weighted * found.values[:, None])
    best = gamma_samples(parameters)
    errors = []
    for _ in range(_TRIALS):
        drawn = rng.multinomial(count, np.full(count, 1 / count)) if count else np.zeros(0)
        centre = rng.multivariate_normal(mean, covariance)
        normal = np.tensordot(drawn, normals, 1) + precision
        gradient = drawn @ gradients + precision @ (parameters - centre)
        step = -np.linalg.solve(normal, gradient)
        errors.append(np.mean((gamma_samples(parameters + step) - best) ** 2))
    return float(np.sqrt(np.mean(errors) + _FAMILY**2))
