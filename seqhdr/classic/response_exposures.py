"""Response curves from several exposures of one scene, with OpenCV's solvers, checked and made whole.

Debevec and Malik, "Recovering high dynamic range radiance maps from photographs" (SIGGRAPH 1997); Robertson, Borman and
Stevenson, "Estimation-theoretic approach to dynamic range enhancement using multiple exposures" (J. Electronic Imaging
12(2), 2003). Both solve for 256 independent numbers per channel; what they return may have holes, fall, or wander where
no pixel was. Here it is smoothed along its deviation from a usual curve, made to rise, and scaled to 1 at code 255.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from seqhdr.color.response import ResponseCurve, rising
from seqhdr.errors import InputError

__all__ = ["EXPOSURE_METHODS", "exposure_curve"]

EXPOSURE_METHODS = ("debevec", "robertson")

Array = NDArray[np.float64]
Codes = NDArray[np.uint8]

# The solution is the mean of this many, each from pixels of its own; how far they differ is the spread.
_GROUPS = 4
# OpenCV's Debevec solves a dense system in its samples; 100 take a third of a second. Robertson takes pixels in bulk.
_DEBEVEC_SIDE = 10
_ROBERTSON_SIDE = 128
# Codes that neither clip nor drown in the noise of the dark.
_LOWEST, _HIGHEST = 5, 250
_SMOOTHNESS = 3e4
_USUAL_GAMMA = 2.2
# Expected RMS errors in light up to which a curve is called good, and fair.
_GOOD, _FAIR = 0.015, 0.04
# Of the codes from _LOWEST to _HIGHEST, the share that must have been seen.
_COVERAGE = 0.6
_NOISE_CODES = 3
# Exposures a step apart say nothing about wiggles whose period is that step. Up to the first number of stops each
# method gets them right; beyond, made scenes with known curves showed about so much error in light per stop.
_WIDE_STEPS = {"debevec": (2.0, 0.015), "robertson": (1.0, 0.07)}


def exposure_curve(exposures: Sequence[Codes], stops: Sequence[float], method: str, seed: int = 0) -> ResponseCurve:
    """The curve of each channel from exposures of the same pixels.

    Args:
        exposures: two or more arrays (P, 3) of 8-bit codes; row p shows the same light in all of them.
        stops: of each, the exposure in stops relative to any reference; more is brighter.
        method: one of :data:`EXPOSURE_METHODS`.
        seed: of the choice among pixels.

    Returns:
        256 samples, one for each code.

    Raises:
        InputError: the exposures contradict their stops, or share too few pixels that are neither black nor clipped.
    """
    order = np.argsort(stops)
    stack = np.stack([exposures[i] for i in order])
    ev = np.array(stops, dtype=np.float64)[order]
    pixels = _usable(stack, ev)
    side = _DEBEVEC_SIDE if method == "debevec" else _ROBERTSON_SIDE
    groups = _groups(stack, pixels, side * side, np.random.default_rng(seed))
    solve = _debevec if method == "debevec" else _robertson
    times = np.exp2(ev - ev[0]).astype(np.float32)
    seen = _seen(stack, pixels)
    raw = np.stack([_solve(solve, stack[:, group], times) for group in groups])
    solved = np.stack([_whole(one, seen) for one in raw])
    light = np.exp(np.log(solved).mean(axis=0))
    light = np.stack([rising(channel) for channel in light.T], axis=1)

    apart = float(np.sqrt(np.mean((solved - light) ** 2) / max(len(groups) - 1, 1)))
    # Light that is smooth in the truth and rough in the solution is in error by about its roughness.
    rough = _roughness(raw, solved, seen)
    off = _inconsistency(stack[:, pixels], ev, light)
    widest = float(np.diff(ev).max())
    free_stops, per_stop = _WIDE_STEPS[method]
    unseen = max(widest - free_stops, 0.0) * per_stop
    spread = math.sqrt(apart**2 + rough**2 + off**2 + unseen**2)
    coverage = float((seen[_LOWEST : _HIGHEST + 1] > 0).mean())
    confidence, reason = _judge(method, spread, coverage, len(ev), widest)
    return ResponseCurve(light, method, confidence, spread, reason)


def _usable(stack: Codes, ev: Array) -> NDArray[np.int64]:
    """Indices of pixels that get brighter with exposure and are well exposed, in all channels, at least twice."""
    wide = stack.astype(np.int16)
    rises = (np.diff(wide, axis=0) >= -_NOISE_CODES).all(axis=(0, 2))
    exposed = ((wide >= _LOWEST) & (wide <= _HIGHEST)).sum(axis=0) >= 2
    pixels = np.flatnonzero(rises & exposed.any(axis=1))
    if rises.mean() < 0.5:
        raise InputError(
            "the exposures do not get brighter with their stops in most pixels: check the order of --ev, and that "
            "camera and scene stood still"
        )
    if len(pixels) < _DEBEVEC_SIDE**2:
        raise InputError(
            f"only {len(pixels)} pixels are well exposed in two exposures: give exposures closer together, 1 or 2 stops"
        )
    return pixels


def _groups(stack: Codes, pixels: NDArray[np.int64], size: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Disjoint choices of pixels that show dark and bright codes alike, each a square number of them."""
    brightness = stack[:, pixels].astype(np.int64).sum(axis=(0, 2))
    strata = brightness * 48 // (brightness.max() + 1)
    shuffled = rng.permutation(len(pixels))
    # Round after round one pixel of each stratum, while there are any.
    by_stratum = shuffled[np.argsort(strata[shuffled], kind="stable")]
    sizes = np.bincount(strata, minlength=48)
    turn = np.concatenate([np.arange(count) for count in sizes])
    ranked = pixels[by_stratum[np.argsort(turn, kind="stable")]]
    count = min(_GROUPS, max(1, len(ranked) // _DEBEVEC_SIDE**2))
    parts = [ranked[start::count] for start in range(count)]
    side = min(math.isqrt(size), math.isqrt(min(map(len, parts))))
    return [part[: side * side] for part in parts]


def _solve(
    solve: Callable[[list[Codes], NDArray[np.float32]], Array], stack: Codes, times: NDArray[np.float32]
) -> Array:
    """A raw solution (256, 3), NaN where there is none."""
    side = math.isqrt(stack.shape[1])
    images = [np.ascontiguousarray(one.reshape(side, side, 3)) for one in stack]
    light = solve(images, times)[:, 0].astype(np.float64)
    return np.asarray(np.where(np.isfinite(light) & (light > 0), light, np.nan))


def _debevec(images: list[Codes], times: NDArray[np.float32]) -> Array:
    # Its samples lie on a grid, which is every pixel of these images.
    return np.asarray(cv2.createCalibrateDebevec(images[0].size // 3).process(images, times))


def _robertson(images: list[Codes], times: NDArray[np.float32]) -> Array:
    return np.asarray(cv2.createCalibrateRobertson().process(images, times))


def _seen(stack: Codes, pixels: NDArray[np.int64]) -> Array:
    """How often each code occurs (256, 3) in the usable pixels of all exposures."""
    codes = stack[:, pixels].reshape(-1, 3)
    return np.asarray(np.stack([np.bincount(channel, minlength=256) for channel in codes.T], axis=1), np.float64)


def _usual() -> Array:
    return np.asarray(_USUAL_GAMMA * np.log((np.arange(256) + 1.0) / 256.0))


def _whole(raw: Array, seen: Array) -> Array:
    """Fill, smooth and scale a solution: (256, 3) above 0, 1 at the last code.

    The logarithm's deviation from a usual curve is smoothed after Whittaker (1923): least squares with a penalty on
    second differences. Codes count by how far they are from both ends, as in Debevec's weights, and not at all where
    no pixel showed them.
    """
    codes = np.arange(256)
    hat = np.minimum(codes, 255 - codes) / 127.0
    bend = np.diff(np.eye(256), n=2, axis=0)
    smoothed: list[Array] = []
    for channel, count in zip(raw.T, seen.T, strict=True):
        known = np.isfinite(channel) & (count > 0)
        weight = np.where(known, hat, 0.0)
        deviation = np.where(known, np.log(np.where(known, channel, 1.0)) - _usual(), 0.0)
        system = np.diag(weight + 1e-9) + _SMOOTHNESS * bend.T @ bend / 127.0
        smoothed.append(np.linalg.solve(system, weight * deviation) + _usual())
    logs = np.stack(smoothed, axis=1)
    return np.asarray(np.exp(logs - logs[-1]))


def _roughness(raw: Array, whole: Array, seen: Array) -> float:
    """RMS of what smoothing took from the mean of the solutions, in light, over the well exposed codes."""
    inner = np.zeros(256, bool)
    inner[_LOWEST : _HIGHEST + 1] = True
    with np.errstate(invalid="ignore"):
        ratio = np.log(raw) - np.log(whole)
    known = np.isfinite(ratio).all(axis=0) & (seen > 0) & inner[:, None]
    taken = np.where(known, ratio.mean(axis=0), np.nan)
    taken = (taken - np.nanmedian(taken, axis=0)) * np.exp(np.log(whole).mean(axis=0))
    return float(np.sqrt(np.nanmean(taken**2)))


def _inconsistency(stack: Codes, ev: Array, light: Array) -> float:
    """RMS in light of how far neighbouring exposures, decoded and divided by their times, are from each other.

    Averaged over the pixels of each code first: what is left is the curve's error, not the noise.
    """
    errors = []
    for lower in range(len(ev) - 1):
        factor = float(np.exp2(ev[lower + 1] - ev[lower]))
        for channel in range(3):
            dark, bright = stack[lower, :, channel], stack[lower + 1, :, channel]
            both = (dark >= _LOWEST) & (bright <= _HIGHEST)
            expected = light[bright[both], channel]
            miss = light[dark[both], channel] * factor - expected
            counts = np.bincount(bright[both], minlength=256)
            sums = np.bincount(bright[both], weights=miss, minlength=256)
            enough = counts >= 20
            errors.append(sums[enough] / counts[enough])
    every = np.concatenate(errors)
    return float(np.sqrt(np.mean(every**2))) if every.size else 0.0


def _judge(method: str, spread: float, coverage: float, count: int, widest: float) -> tuple[str, str]:
    """The word and the sentence."""
    found = (
        f"{count} exposures up to {widest:g} stops apart give it to about {100 * spread:.1f} % of light, and "
        f"{100 * coverage:.0f} % of the codes were seen"
    )
    if spread <= _GOOD and coverage >= _COVERAGE:
        return "high", found
    if spread <= _FAIR and coverage >= _COVERAGE / 2:
        return "medium", found
    if widest > _WIDE_STEPS[method][0]:
        other = ", or choose --method debevec" if method == "robertson" else ""
        step = "1 stop" if _WIDE_STEPS[method][0] == 1 else f"{_WIDE_STEPS[method][0]:g} stops"
        return "low", f"{found}: give exposures no more than {step} apart{other}"
    return "low", f"{found}: give more exposures of a scene with dark, middle and bright parts that stands still"
