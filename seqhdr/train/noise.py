"""What sensors and film add to light: shot and read noise, and grain."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["film_grain", "grain_weight", "shot_read_noise"]

# Grain shows most at mid grey, and is e^-1/2 of that this many stops above and below.
_MID_GREY, _GRAIN_SPREAD_STOPS = 0.18, 3.5
# Light below this has no stops that matter.
_DARKEST = 2.0**-24


def shot_read_noise(
    rgb_lin: NDArray[np.float32], shot: float, read: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Add photon and read-out noise, fresh in every frame, pixel and channel.

    The Gaussian stand-in for Poisson plus Gaussian noise, variance a·L + b, of Foi et al., "Practical
    Poissonian-Gaussian noise modeling and fitting for single-image raw-data" (IEEE TIP 17(10), 2008).

    Args:
        rgb_lin: (T, H, W, 3) scene-linear, exposed.
        shot: a ≥ 0, variance per light: the light of one photo-electron.
        read: √b ≥ 0, standard deviation in the dark, in light.
        rng: where the noise comes from.

    Returns:
        (T, H, W, 3); dark pixels may become negative, as they do in a camera.
    """
    deviation = np.sqrt(np.float32(shot) * np.maximum(rgb_lin, 0) + np.float32(read**2))
    return np.asarray(rgb_lin + deviation * rng.standard_normal(rgb_lin.shape, np.float32))


def film_grain(
    rgb_lin: NDArray[np.float32], size_px: float, strength_stops: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Multiply light by 2^(strength · weight · n), with n soft Gaussian noise, fresh in every frame and layer.

    Grain is a fluctuation of density, the logarithm of light, and about Gaussian where the aperture covers many grains
    (Selwyn, "A theory of graininess", Photographic Journal 75, 1935). n has mean 0 and variance 1, and its correlation
    at a distance of d pixels is exp(-(d / size)²): white noise blurred by a Gaussian of σ = size / 2.

    Args:
        rgb_lin: (T, H, W, 3) scene-linear, exposed.
        size_px: > 0, where the correlation has fallen to 1/e.
        strength_stops: ≥ 0, standard deviation at mid grey.
        rng: where the grain comes from.

    Returns:
        (T, H, W, 3).
    """
    sigma = size_px / 2
    # Blurred with a margin that is cut off again, so that the border is no different from the middle.
    margin = int(np.ceil(4 * sigma))
    kernel = np.exp(np.arange(-margin, margin + 1, dtype=np.float32) ** 2 / np.float32(-2 * sigma**2))
    kernel /= np.sqrt(np.sum(kernel**2))
    frames, height, width, layers = rgb_lin.shape
    inner = slice(margin, margin + height), slice(margin, margin + width)
    out = np.empty_like(rgb_lin)
    for frame in range(frames):
        white = rng.standard_normal((height + 2 * margin, width + 2 * margin, layers), np.float32)
        soft = cv2.sepFilter2D(white, -1, kernel, kernel)[inner]
        stops = np.float32(strength_stops) * grain_weight(rgb_lin[frame]) * soft
        out[frame] = rgb_lin[frame] * np.exp2(stops)
    return out


def grain_weight(rgb_lin: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much grain shows: exp(-s² / (2 · 3.5²)), with s the stops over mid grey (0.18); the shape of ``rgb_lin``."""
    stops = np.log2(np.maximum(rgb_lin, np.float32(_DARKEST)) * np.float32(1 / _MID_GREY))
    return np.asarray(np.exp(stops**2 * np.float32(-0.5 / _GRAIN_SPREAD_STOPS**2)))
