"""A made-up HDR panorama: a sky that bands, a sun and lamps that clip, and a town with texture below."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from seqhdr.train.panorama import Panorama, panorama_from_linear

__all__ = ["procedural_panorama"]

_SUN_AZIMUTH, _SUN_ELEVATION = np.deg2rad(12.0), np.deg2rad(16.0)
# Radiances with the sky at the horizon near 0.6: the sun is far dimmer than the real one, but 12 stops above clip.
_SUN_RADIANCE, _LAMP_RADIANCE = 4000.0, 40.0


def procedural_panorama(seed: int = 1, height: int = 1024) -> Panorama:
    """Paint an equirectangular scene-linear Rec.709 panorama.

    Args:
        seed: same seed, same picture.
        height: rows; there are twice as many columns.
    """
    rng = np.random.default_rng(seed)
    width = 2 * height
    elevation = np.deg2rad(90 - (np.arange(height) + 0.5) * 180 / height)[:, None]
    azimuth = np.deg2rad((np.arange(width) + 0.5) * 360 / width - 180)[None, :]
    rgb = _sky(elevation, azimuth, rng)
    ground = elevation < 0
    soil = np.array((0.11, 0.10, 0.085)) * np.exp2(1.2 * _noise(rng, height, width, 8))[..., None]
    rgb = np.where(ground[..., None], soil, rgb)
    _town(rgb, rng, horizon=height // 2)
    return panorama_from_linear(f"procedural-{seed}", rgb.astype(np.float32))


def _sky(elevation: NDArray[np.float64], azimuth: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    up = np.clip(np.sin(elevation), 0, 1)
    zenith, horizon = np.array((0.045, 0.10, 0.26)), np.array((0.42, 0.47, 0.55))
    sky = zenith + (horizon - zenith) * np.exp(-3.2 * up)[..., None] * np.ones_like(azimuth)[..., None]
    cosine = np.sin(elevation) * np.sin(_SUN_ELEVATION) + np.cos(elevation) * np.cos(_SUN_ELEVATION) * np.cos(
        azimuth - _SUN_AZIMUTH
    )
    angle = np.rad2deg(np.arccos(np.clip(cosine, -1, 1)))
    glow = 6 * np.exp(-angle / 1.6) + 0.5 * np.exp(-angle / 11)
    disc = _SUN_RADIANCE / (1 + np.exp(np.clip((angle - 0.9) * 14, None, 60)))
    sky += (glow + disc)[..., None] * np.array((1.0, 0.86, 0.66))
    clouds = np.clip(_noise(rng, elevation.shape[0], azimuth.shape[1], 5) - 0.35, 0, None)
    # Clouds only on one side: the other keeps a gradient with nothing to hide its bands.
    veil = 0.5 * clouds * np.clip(-np.sin(azimuth - _SUN_AZIMUTH), 0, 1) * np.clip(4 * up, 0, 1)
    return np.asarray(sky + veil[..., None])


def _noise(rng: np.random.Generator, height: int, width: int, octaves: int) -> NDArray[np.float64]:
    """Fractal value noise of about unit range that runs on across the seam."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        cells = min(4 * 2**octave, height)
        grid = rng.normal(size=(cells, 2 * cells)).astype(np.float32)
        padded = np.pad(grid, ((0, 0), (2, 2)), mode="wrap")
        wide = cv2.resize(padded, (width * (2 * cells + 4) // (2 * cells), height), interpolation=cv2.INTER_CUBIC)
        start = (wide.shape[1] - width) // 2
        total += 0.55**octave * wide[:, start : start + width]
    return np.asarray(0.7 * total, np.float64)


def _town(rgb: NDArray[np.float64], rng: np.random.Generator, horizon: int) -> None:
    """Blocks of houses with windows, some lit, and street lamps, painted in place."""
    width = rgb.shape[1]
    unit = rgb.shape[0] / 1024
    x = 0.0
    while x < width:
        wide, tall = rng.uniform(24, 90) * unit, rng.uniform(10, 95) * unit
        left, right, top = int(x), min(int(x + wide), width), int(horizon - tall)
        wall = rng.uniform(0.03, 0.25) * np.array((1.0, rng.uniform(0.85, 1.0), rng.uniform(0.7, 1.0)))
        brick = np.exp2(rng.normal(0, 0.25, (horizon + 4 - top, right - left)))
        rgb[top : horizon + 4, left:right] = wall * brick[..., None]
        step = max(int(8 * unit), 3)
        for row in range(top + step // 2, horizon - step, step):
            for column in range(left + step // 2, right - step, step):
                lit = rng.random() < 0.12
                glass = np.array((2.6, 1.7, 0.8)) * rng.uniform(0.3, 3) if lit else np.array((0.02, 0.03, 0.04))
                rgb[row : row + step // 2, column : column + step // 2] = glass
        x += wide + rng.uniform(0, 30) * unit
    rows, columns = np.mgrid[-8:9, -8:9]
    bulb = np.exp(-(rows**2 + columns**2) / 5.0)[..., None] * np.array((1.0, 0.72, 0.42)) * _LAMP_RADIANCE
    for column in range(40, width - 40, int(150 * unit)):
        row = horizon + int(rng.uniform(10, 60) * unit)
        rgb[row - 8 : row + 9, column - 8 : column + 9] += bulb
