"""Grain: its statistics, and new grain of the same ones, so that a cleaned picture matches its neighbours in the cut.

Grain is taken as Gaussian noise that lies over the picture: its standard deviation goes with the level, its spectrum
and the correlation of its channels are those of the shot. Newson, Delon and Galerne, "A stochastic film grain model
for resolution-independent rendering" (Computer Graphics Forum 36, 2017) derive both from the shapes of grains; here
they are measured, as in Norkin and Birkbeck, "Film grain synthesis for AV1 video codec" (DCC 2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from seqhdr.classic.noise_level import NoiseLevel, NoiseSample, autocovariance, flat_blocks

__all__ = ["REACH_PX", "GrainStatistics", "measure_grain", "regrow"]

Floats = NDArray[np.float32]

#: Grain further apart is taken for independent.
REACH_PX = 7
_BLOCK_PX = 32
# With fewer flat blocks no spectrum is measured, and grain is white.
_LEAST_BLOCKS = 8
_GRID_PX = 64
# Keeps the noise of this use apart from any other of the same frame number.
_SEED = 0x67726E


@dataclass(frozen=True)
class GrainStatistics:
    """What the grain of a shot is like.

    Attributes:
        noise: standard deviation by level and channel.
        correlation: (2R + 1, 2R + 1, 3) of two pixels of one channel by their distance, 1 in the middle.
        channels: (3, 3) correlation of the channels at one pixel, 1 on the diagonal.
        blocks: how many flat blocks of 32x32 pixels the last two were measured in; 0 where there were too few, and
            the grain is taken for white.
    """

    noise: NoiseLevel
    correlation: Floats
    channels: Floats
    blocks: int


def measure_grain(samples: Sequence[NoiseSample], noise: NoiseLevel) -> GrainStatistics:
    """Measure the grain of a shot where nothing else is seen.

    Args:
        samples: frames of the shot.
        noise: from :func:`seqhdr.classic.noise_level.estimate_noise`.
    """
    blocks, rounding = flat_blocks(samples, noise, _BLOCK_PX)
    side = 2 * REACH_PX + 1
    correlation = np.zeros((side, side, 3), np.float32)
    correlation[REACH_PX, REACH_PX] = 1
    if len(blocks) < _LEAST_BLOCKS:
        return GrainStatistics(noise, correlation, np.eye(3, dtype=np.float32), 0)
    for channel in range(3):
        covariance = autocovariance(blocks[..., channel], REACH_PX)
        # Rounding is white: all of it lies in the middle.
        covariance[REACH_PX, REACH_PX] *= 1 - rounding[channel]
        correlation[..., channel] = covariance / covariance[REACH_PX, REACH_PX]
    products = np.einsum("nyxc,nyxd->cd", blocks, blocks)
    grain = np.sqrt(np.diag(products) * (1 - rounding))
    channels = products / np.outer(grain, grain)
    np.fill_diagonal(channels, 1)
    return GrainStatistics(noise, correlation, channels.clip(-1, 1).astype(np.float32), len(blocks))


def regrow(grain: GrainStatistics, value_lsb: Floats, frame: int) -> Floats:
    """New grain for one frame.

    Args:
        grain: what it is to be like.
        value_lsb: (H, W, 3) the clean picture in codes.
        frame: its number; the same number gives the same grain, another one other grain.

    Returns:
        (H, W, 3) in codes, to be added.
    """
    height, width = value_lsb.shape[:2]
    rng = np.random.default_rng((_SEED, frame))
    # With a margin that is cut off again, so that the border is no different from the middle.
    white = rng.standard_normal((height + 2 * REACH_PX, width + 2 * REACH_PX, 3), np.float32)
    mixed = white @ _mixing(grain.channels).T
    inner = (slice(REACH_PX, REACH_PX + height), slice(REACH_PX, REACH_PX + width))
    kernels = (_kernel(grain.correlation[..., channel]) for channel in range(3))
    planes = [cv2.filter2D(mixed[..., c], -1, kernel)[inner] for c, kernel in enumerate(kernels)]
    return np.asarray(np.stack(planes, axis=-1) * grain.noise.at(value_lsb), np.float32)


def _mixing(channels: Floats) -> Floats:
    """(3, 3) M with M Mᵀ the correlations, or the nearest that can be."""
    values, vectors = np.linalg.eigh(channels.astype(np.float64))
    root = vectors * np.sqrt(values.clip(min=0))
    return np.asarray(root / np.linalg.norm(root, axis=1, keepdims=True), np.float32)


def _kernel(correlation: Floats) -> Floats:
    """(2R + 1, 2R + 1) whose Fourier transform is the root of the spectrum, with squares that add up to 1."""
    away = np.abs(np.arange(-REACH_PX, REACH_PX + 1))
    # Full near the middle, then falling to zero: far correlations are mostly chance.
    taper = np.cos(np.clip((away - REACH_PX / 2) / (REACH_PX / 2 + 1), 0, 1) * (np.pi / 2)) ** 2
    grid = np.zeros((_GRID_PX, _GRID_PX))
    lags = np.arange(-REACH_PX, REACH_PX + 1)
    grid[np.ix_(lags, lags)] = correlation * np.outer(taper, taper)
    root = np.fft.ifft2(np.sqrt(np.fft.fft2(grid).real.clip(min=0))).real
    kernel = root[np.ix_(lags, lags)]
    return np.asarray(kernel / np.sqrt((kernel**2).sum()), np.float32)
