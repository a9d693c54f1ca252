"""How noisy a shot is: the standard deviation of its noise as a function of the level, per channel, in codes.

Noise is what is left of small blocks after a plane has been taken away, where the picture itself is flat; and what is
left of the difference to the frame before, carried along the motion, where the picture is not. Of the blocks of one
level the quietest fifth speak, after Liu, Freeman, Szeliski and Kang, "Noise estimation from a single image" (CVPR
2006): texture only ever adds. How much less than all blocks the quietest fifth have by chance alone depends on how far
noise is correlated, which is measured too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from seqhdr.model.motion import DisFlow

__all__ = ["ROUNDING_LSB2", "NoiseLevel", "NoiseSample", "align", "autocovariance", "estimate_noise", "flat_blocks"]

Codes = NDArray[np.unsignedinteger]
Floats = NDArray[np.float32]
#: Variance that rounding adds.
ROUNDING_LSB2 = 1 / 12

_LEVELS = 32
_BLOCK_PX = 16
_MOST_BLOCKS = 5000  # of a frame
# Quantiles, and those of a normal distribution.
_QUIET, _QUIET_NORMAL = 0.2, -0.8416
_QUIETEST, _QUIETEST_NORMAL = 0.05, -1.6449
# Variance at the one over that at the other may be so much more than chance makes of even noise. With this, 78 to 100 %
# of blocks count on filmed clips with noise or grain, and 1 and 7 % on two decoded videos.
_UNEVEN = 1.3
# The difference to another frame is asked first, unless motion or light leave more of it than the block itself has.
_NO_MORE = 1.25
# Levels with fewer blocks say nothing, and more than so many need not count for more.
_LEAST_BLOCKS, _ENOUGH_BLOCKS = 12, 60
# In codes, and as a share of the range for deep sources.
_QUIETEST_LSB, _QUIETEST_SHARE = 0.3, 1 / 4000
# Levels are smoothed over this many; one that is this many times noisier than those around shows texture.
_SMOOTH_LEVELS, _TEXTURE = 1.2, 1.5
# Variance of a block, against what is expected, up to which it shows nothing but noise.
_FLAT = 1.6
# Beyond this distance nothing is taken for correlated.
_REACH_PX, _UNCORRELATED = 6, 0.03
# Of a still: planes and edges along the axes come to nothing, white noise keeps its variance (Immerkaer, "Fast noise
# variance estimation", CVIU 64(2), 1996).
_IMMERKAER = np.outer((1, -2, 1), (1, -2, 1)).astype(np.float32) / 6
# Flow is steadier without the noise.
_BLUR_PX = 1.2


@dataclass(frozen=True)
class NoiseSample:
    """A frame to look at: ``codes`` (H, W, 3), and ``before``, the frame before it, or None."""

    codes: Codes
    before: Codes | None


@dataclass(frozen=True)
class NoiseLevel:
    """The level function of a shot.

    Attributes:
        levels_lsb: (N,) ascending, in codes.
        sigma_lsb: (N, 3) standard deviation in codes, 0 or more, that of the rounding taken away.
        blocks: (N, 3) how many blocks of the sampled frames spoke for a level; those with 0 follow the others.
        max_code: 2^N - 1.
        even_share: share of the blocks that lie at levels where all are about as noisy, 0..1. It is near 1 where there
            is noise, and low where texture, or what a codec left, is all that varies.
    """

    levels_lsb: Floats
    sigma_lsb: Floats
    blocks: NDArray[np.int64]
    max_code: int
    even_share: float = 1.0

    def at(self, value_lsb: NDArray[np.floating] | NDArray[np.integer]) -> Floats:
        """The standard deviation at values (..., 3) in codes, of the same shape."""
        columns = [np.interp(value_lsb[..., c], self.levels_lsb, self.sigma_lsb[:, c]) for c in range(3)]
        return np.stack(columns, axis=-1).astype(np.float32)

    @property
    def largest_lsb(self) -> float:
        """The noisiest level that was seen, of all channels, in codes; 0 where none was."""
        return float(np.where(self.blocks > 0, self.sigma_lsb, 0).max())

    @property
    def found(self) -> bool:
        """Whether there is noise that is worth removing."""
        seen = int(self.blocks.sum())
        return seen > 0 and self.even_share * float((self.blocks * self.sigma_lsb).sum()) / seen >= self.quietest_lsb

    @property
    def quietest_lsb(self) -> float:
        """Less noise than this is none, in codes: clean textures leave about so much, and rounding hides it."""
        return max(_QUIETEST_LSB, self.max_code * _QUIETEST_SHARE)

    def summary(self) -> dict[str, list[float]]:
        """A quarter, half and three quarters up the range: level in codes → sigma of R, G and B, in codes."""
        places = [round(share * self.max_code) for share in (0.25, 0.5, 0.75)]
        return {str(place): [round(float(s), 2) for s in self.at(np.full(3, place))] for place in places}


def estimate_noise(samples: Sequence[NoiseSample], max_code: int) -> NoiseLevel:
    """Estimate the noise of a shot from a few of its frames.

    Args:
        samples: frames (H, W, 3) with the frames before them.
        max_code: 2^N - 1.

    Returns:
        The level function; all 0 where no frame has blocks of 16x16 pixels that are neither black nor clipped.
    """
    moving = [sample for sample in samples if _differs(sample)]
    judged = [_judged(sample, max_code) for sample in moving or samples]
    mean, variance, residual = (np.concatenate(part) for part in zip(*judged, strict=True))
    index = np.clip(mean * (_LEVELS / (max_code + 1)), 0, _LEVELS - 1).astype(np.int64)
    quiet = np.zeros(variance.shape, bool)
    raw, quietest, blocks = np.zeros((_LEVELS, 3)), np.zeros((_LEVELS, 3)), np.zeros((_LEVELS, 3), np.int64)
    for channel in range(3):
        known = np.isfinite(variance[:, channel])
        for level in np.unique(index[known, channel]):
            at = np.flatnonzero(known & (index[:, channel] == level))
            if len(at) >= _LEAST_BLOCKS:
                quietest[level, channel], raw[level, channel] = np.quantile(variance[at, channel], (_QUIETEST, _QUIET))
                blocks[level, channel] = len(at)
                quiet[at, channel] = variance[at, channel] <= raw[level, channel]
    asked = max(int(blocks.sum()), 1)
    for channel in range(3):
        share, quietest_share = _quiet_shares(residual[quiet[:, channel], ..., channel])
        # Noise is the same in all blocks of a level; what is not is texture, or what compression left of noise.
        uneven = raw[:, channel] > _UNEVEN * (share / quietest_share) * quietest[:, channel]
        blocks[uneven, channel] = 0
        # Rounding goes first: along a clean slope it is correlated far more than noise ever is.
        without = np.maximum(raw[:, channel] - ROUNDING_LSB2, 0)
        raw[:, channel] = without / share
    sigma = np.sqrt(_smooth(raw, blocks)).astype(np.float32)
    levels = ((np.arange(_LEVELS) + 0.5) * ((max_code + 1) / _LEVELS)).astype(np.float32)
    return NoiseLevel(levels, sigma, blocks, max_code, float(blocks.sum()) / asked)


def flat_blocks(samples: Sequence[NoiseSample], noise: NoiseLevel, side_px: int) -> tuple[Floats, Floats]:
    """Blocks of nothing but noise, and what share of their variance is rounding.

    Blocks are those that vary in no channel more than the level function says; where noise is found in the difference
    of frames, that is what comes back.

    Args:
        samples: of the shot.
        noise: from :func:`estimate_noise`.
        side_px: S, of the blocks.

    Returns:
        (N, S, S, 3) in units of their level's deviation, rounding included, and (3,) the share of R, G, B, 0..1.
    """
    blocks, shares = [], []
    for sample in samples:
        mean, variance, residual = _judged(sample, noise.max_code, side_px)
        sigma2 = noise.at(mean) ** 2
        expected = sigma2 + np.float32(ROUNDING_LSB2)
        seen = sigma2 >= noise.quietest_lsb**2
        flat = (seen & (variance <= _FLAT * expected)).all(axis=1)
        blocks.append(residual[flat] / np.sqrt(expected[flat])[:, None, None])
        shares.append(ROUNDING_LSB2 / expected[flat])
    share = np.concatenate(shares)
    mean_share = share.mean(axis=0) if len(share) else np.zeros(3)
    return np.concatenate(blocks), mean_share.astype(np.float32)


def align(codes: Codes | Floats, other: Codes | Floats, max_code: int, carried: NDArray[Any]) -> NDArray[Any]:
    """``carried``, a picture that belongs to ``other``, moved to where ``codes`` show the same; all (H, W, 3).

    Pixels are moved whole: to mix them would take noise away.
    """
    here, there = (
        torch.from_numpy(cv2.GaussianBlur(c.astype(np.float32) / max_code, (0, 0), _BLUR_PX)).permute(2, 0, 1)[None]
        for c in (codes, other)
    )
    flow_px = DisFlow("fast")(here, there)[0].numpy()
    height, width = codes.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return cv2.remap(carried, x + flow_px[0], y + flow_px[1], cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)


def autocovariance(blocks: Floats, reach_px: int) -> Floats:
    """(2R + 1, 2R + 1) mean product of pixels at a distance, rows and columns from -R to R, of blocks (N, S, S)."""
    side = blocks.shape[-1]
    size = 2 * side
    power = (np.abs(np.fft.rfft2(blocks, (size, size))) ** 2).mean(axis=0)
    sums = np.fft.irfft2(power, (size, size))
    lags = np.arange(-reach_px, reach_px + 1)
    pairs = side - np.abs(lags)
    return np.asarray(sums[np.ix_(lags, lags)] / (pairs[:, None] * pairs), np.float32)


def _judged(sample: NoiseSample, max_code: int, side_px: int = _BLOCK_PX) -> tuple[Floats, Floats, Floats]:
    """Blocks of a frame: mean (N, 3), variance (N, 3), and what varies (N, S, S, 3), in codes.

    The variance is NaN where a channel touches black or the top of the range.
    """
    codes = sample.codes.astype(np.float32)
    own = _cut(codes, side_px)
    mean, residual = _without_plane(own)
    variance = _variance(residual)
    if sample.before is not None and _differs(sample):
        difference = codes - align(codes, sample.before, max_code, sample.before.astype(np.float32))
        _, other = _without_plane(_cut(difference * np.float32(0.5**0.5), side_px))
    else:
        other = _cut(np.asarray(cv2.filter2D(codes, -1, _IMMERKAER), np.float32), side_px)
    less = _variance(other) < _NO_MORE * variance
    variance = np.where(less, _variance(other), variance)
    residual = np.where(less[:, None, None], other, residual)
    open_ended = (own.min(axis=(1, 2)) <= 0) | (own.max(axis=(1, 2)) >= max_code)
    return mean, np.where(open_ended, np.float32(np.nan), variance), residual


def _differs(sample: NoiseSample) -> bool:
    """Whether there is a frame before, and not the same one, held: that shows the same noise again."""
    before = sample.before
    return before is not None and before.shape == sample.codes.shape and not np.array_equal(before, sample.codes)


def _cut(plane: Floats, side_px: int) -> Floats:
    """(N, S, S, 3): blocks spread over a picture (H, W, 3); none where it is smaller than one."""
    height, width = plane.shape[:2]
    step = side_px * max(1, int(np.ceil((height * width / _MOST_BLOCKS) ** 0.5 / side_px)))
    places = [(y, x) for y in range(0, height - side_px + 1, step) for x in range(0, width - side_px + 1, step)]
    blocks = [plane[y : y + side_px, x : x + side_px] for y, x in places]
    return np.stack(blocks) if blocks else np.zeros((0, side_px, side_px, 3), np.float32)


def _without_plane(blocks: Floats) -> tuple[Floats, Floats]:
    """Mean (N, 3) of blocks (N, S, S, 3), and the blocks without the plane that fits them best."""
    mean = blocks.mean(axis=(1, 2))
    ramp = np.arange(blocks.shape[1], dtype=np.float32) - (blocks.shape[1] - 1) / 2
    ramp /= np.sqrt((ramp**2).sum() * len(ramp))
    rest = blocks - mean[:, None, None]
    for slope in (ramp[:, None], ramp[None, :]):
        plane = np.broadcast_to(slope, blocks.shape[1:3])
        rest = rest - np.einsum("nyxc,yx->nc", rest, plane)[:, None, None] * plane[..., None]
    return mean, rest


def _variance(rest: Floats) -> Floats:
    return np.asarray((rest**2).sum(axis=(1, 2)) / (rest.shape[1] * rest.shape[2] - 3), np.float32)


def _quiet_shares(blocks: Floats) -> tuple[float, float]:
    """What the variance of the quietest fifth, and twentieth, of blocks is of the mean if only chance sets them apart.

    By Wilson and Hilferty's approximation (1931) of the chi-squared distribution, of as many degrees of freedom as
    correlated noise leaves; and less what the fitted planes take, which is more where noise is correlated.
    """
    if not len(blocks):
        return 1.0, 1.0
    covariance = autocovariance(blocks, _REACH_PX)
    middle = covariance[_REACH_PX, _REACH_PX]
    rho = covariance / middle if middle > 0 else np.zeros_like(covariance)
    pixels = blocks.shape[1] * blocks.shape[2]
    freedom = pixels / max(float((rho**2).sum()), 1.0)
    spread = 2 / (9 * freedom)
    # The planes have pulled far correlations below zero.
    planes = (pixels - 3 * max(float(rho[rho > _UNCORRELATED].sum()), 1.0)) / (pixels - 3)
    share, quietest = (
        (1 - spread + z * spread**0.5) ** 3 * max(planes, 0.6) for z in (_QUIET_NORMAL, _QUIETEST_NORMAL)
    )
    return share, quietest


def _smooth(variance: NDArray[np.float64], blocks: NDArray[np.int64]) -> NDArray[np.float64]:
    """Variance by level (N, 3), smooth, and continued where there were no blocks."""
    places = np.arange(len(variance))
    apart = np.abs(places[:, None] - places)
    out = np.zeros_like(variance)
    for channel in range(3):
        weight = np.minimum(blocks[:, channel], _ENOUGH_BLOCKS).astype(np.float64)
        if not weight.any():
            continue
        # First what the levels around say, without the level itself.
        around = np.where(apart > 0, np.exp(-0.5 * (apart / (2 * _SMOOTH_LEVELS)) ** 2), 0) * weight
        expected = around @ variance[:, channel] / np.maximum(around.sum(axis=1), 1e-12)
        textured = (variance[:, channel] > _TEXTURE**2 * expected) & (around.sum(axis=1) > 1)
        weight[textured] *= 0.05
        # A kernel with a foot: far from all blocks, the nearest still decide.
        kernel = (np.exp(-0.5 * (apart / _SMOOTH_LEVELS) ** 2) + 1e-6 * np.exp(-apart / 2)) * weight
        out[:, channel] = kernel @ variance[:, channel] / kernel.sum(axis=1)
    return out
