"""Pictures made with known response curves, for the tests that find those curves again."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from seqhdr.color.response import sample_values

Array = NDArray[np.float64]


def _srgb(light: Array) -> Array:
    # IEC 61966-2-1.
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)


# Light 0..1 to code value 0..1; the sigmoid is the mean camera of Eilertsen et al. 2017.
CURVES: dict[str, Callable[[Array], Array]] = {
    "srgb": _srgb,
    "gamma 1.8": lambda light: light ** (1 / 1.8),
    "gamma 2.4": lambda light: light ** (1 / 2.4),
    "sigmoid": lambda light: 1.6 * light**0.9 / (light**0.9 + 0.6),
}


def rms_error(light: Array, name: str) -> float:
    """Of samples (N, 3), against the curve they should be, in light: the worst channel's."""
    fine = np.linspace(0, 1, 200_001)
    truth = np.interp(sample_values(len(light)), CURVES[name](fine), fine)
    return float(np.sqrt(((light - truth[:, None]) ** 2).mean(axis=0)).max())


def expose(light: Array, name: str, stops: float = 0.0, noise: float = 0.0, seed: int = 0) -> NDArray[np.uint8]:
    """8-bit codes of light; ``noise`` is its standard deviation at light 0.25, and grows with the root of light."""
    exposed = light * 2.0**stops
    noisy = exposed + noise * np.sqrt(np.maximum(exposed, 1e-3)) * 2 * np.random.default_rng(seed).standard_normal(
        light.shape
    )
    return np.rint(255 * CURVES[name](noisy.clip(0, 1))).astype(np.uint8)


def soft_scene(seed: int = 0, size: tuple[int, int] = (96, 128)) -> Array:
    """(H, W, 3) light of soft colour clouds, many stops deep."""
    rng = np.random.default_rng(seed)
    clouds = np.stack([cv2.GaussianBlur(rng.standard_normal(size), (0, 0), 5) for _ in range(3)], axis=-1)
    return np.asarray(0.15 * 2.0 ** (1.8 * clouds / clouds.std()))


def polygons(seed: int = 0, *, count: int = 60, size: tuple[int, int] = (256, 384), fine: int = 4) -> Array:
    """(H, W, 3) light of flat coloured polygons whose edges share pixels by area."""
    rng = np.random.default_rng(seed)
    height, width = size
    canvas = np.full((height * fine, width * fine, 3), rng.uniform(0.05, 0.9, 3), np.float32)
    for _ in range(count):
        corners = rng.integers(3, 6)
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
        centre, radius = rng.uniform(0, 1, 2) * (width * fine, height * fine), rng.uniform(20, 50) * fine
        points = centre + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        colour = np.exp(rng.uniform(np.log(0.01), np.log(0.9), 3))
        cv2.fillPoly(canvas, [points.astype(np.int32)], tuple(map(float, colour)))
    return cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA).astype(np.float64)


def patches(seed: int = 0, size: tuple[int, int] = (256, 384)) -> Array:
    """(H, W, 3) light of flat patches of 32x32 pixels."""
    rng = np.random.default_rng(seed)
    small = np.exp(rng.uniform(np.log(0.02), np.log(0.8), (size[0] // 32, size[1] // 32, 3)))
    return small.repeat(32, axis=0).repeat(32, axis=1)
