"""The response curve from noise: symmetric in light, skewed in codes.

Matsushita and Lin, "Radiometric calibration from noise distributions" (CVPR 2007): the noise of one light is symmetric
about it, a bent curve makes one side of it longer, and the response is what makes both sides alike again. Asymmetry is
measured by the third moment, which unlike their distance between histograms adds up over pixels without bias. Samples
of one light come from a pixel that stands still for several frames, or from a flat block of one frame.

It takes noise of a code or more that is independent from pixel to pixel: after compression, denoising or scaling there
is none. Light so weak that single photons count is skewed itself, which this reads as a flatter curve.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from seqhdr.classic.response_fit import CurveFit, fit_parameters, gamma_light, judge_fit
from seqhdr.color.response import ResponseCurve

__all__ = ["noise_curve"]

Array = NDArray[np.float64]
Codes = NDArray[np.unsignedinteger]

_BLOCK = 8
_FRAMES_OVER_TIME = 6
# Standard deviations of the noise, in 8-bit codes: less is rounding, more is a picture.
_LEAST, _MOST = 1.0, 40.0
# Noise without structure has ratio 1 between the variance of means, times their size, and its own.
_STRUCTURE = 2.0
# Of means of 64 pixels: steps from frame to frame over the variance, 1 where nothing moves.
_STILL = 0.15
_SAMPLES = 1_000_000
_LEVELS = 24
_PER_ROW = 2_000
# Tighter than elsewhere: on made noise the error was up to three times the spread.
_GOOD, _FAIR = 0.01, 0.03
_MISFIT, _UNUSUAL = 1.6, 2.5
_FEW_ROWS, _FEW_LEVELS = 16, 4


def noise_curve(frames: Sequence[Codes], max_code: int, seed: int = 0) -> ResponseCurve:
    """One curve for all channels from the noise of frames.

    Args:
        frames: one or several (H, W, 3) arrays of codes of one size. From six on, pixels that stand still are compared
            over time; else, and elsewhere, flat blocks within each frame.
        max_code: the largest code.
        seed: of the choice among pixels, and of the trials behind the confidence.
    """
    rng = np.random.default_rng(seed)
    groups = _over_time(frames, max_code, rng) if len(frames) >= _FRAMES_OVER_TIME else None
    if groups is None or groups.size < _PER_ROW * _FEW_ROWS:
        groups = np.concatenate([_in_space(frame, max_code) for frame in frames])
    groups = groups[rng.permutation(len(groups))[: _SAMPLES // groups.shape[1]]]
    order, rows, levels = _rows(groups, max_code)
    groups = groups[order]
    codes = np.arange(max_code + 1) / max_code

    def residuals(parameters: Array) -> Array:
        return _asymmetry(gamma_light(parameters, codes), groups, rows)

    count = int(rows.max()) + 1 if rows.size else 0
    fit = fit_parameters(residuals, np.arange(count), seed)
    confidence, spread, reason = _judge(fit, groups.size, count, levels)
    return ResponseCurve(np.repeat(fit.light[:, None], 3, axis=1), "noise", confidence, spread, reason)


def _in_space(frame: Codes, max_code: int) -> Codes:
    """The flat blocks of a frame, channel by channel: (G, 64) codes."""
    height, width = (side // _BLOCK * _BLOCK for side in frame.shape[:2])
    cut = frame[:height, :width].reshape(height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK, 3)
    blocks = cut.transpose(0, 2, 4, 1, 3).reshape(-1, _BLOCK, _BLOCK)
    wide = blocks.astype(np.float64) * (255.0 / max_code)
    mean, variance = wide.mean(axis=(1, 2)), wide.var(axis=(1, 2), ddof=1)
    held = np.maximum(variance, 1e-9)
    half = _BLOCK // 2
    quarters = wide.reshape(-1, 2, half, 2, half).mean(axis=(2, 4)).reshape(-1, 4)
    white = quarters.var(axis=1, ddof=1) * half**2 <= _STRUCTURE * held
    for axis in (1, 2):
        white &= wide.mean(axis=axis).var(axis=1, ddof=1) * _BLOCK <= _STRUCTURE * held
    good = white & _usable(mean, variance)
    # Texture adds to noise: of blocks of one level, those far above the calm ones are left out.
    level = (mean * _LEVELS / 256).astype(np.int64)
    for one in np.unique(level[good]):
        here = good & (level == one)
        good[here] = variance[here] <= 1.6 * np.quantile(variance[here], 0.25)
    return np.asarray(blocks[good].reshape(-1, _BLOCK * _BLOCK))


def _over_time(frames: Sequence[Codes], max_code: int, rng: np.random.Generator) -> Codes:
    """Pixels of blocks where nothing moves, channel by channel: (G, T) codes."""
    height, width = (side // _BLOCK * _BLOCK for side in frames[0].shape[:2])
    stack = np.stack([frame[:height, :width] for frame in frames], axis=-1)
    wide = stack.astype(np.float32) * np.float32(255.0 / max_code)
    mean, variance = wide.mean(axis=-1), wide.var(axis=-1, ddof=1)
    steps = (np.diff(wide, axis=-1) ** 2).mean(axis=-1) / 2

    def of_blocks(values: NDArray[np.float32]) -> NDArray[np.float32]:
        means = values.reshape(height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK, 3).mean(axis=(1, 3))
        return np.asarray(means.repeat(_BLOCK, axis=0).repeat(_BLOCK, axis=1))

    noise = of_blocks(variance)
    still = np.abs(of_blocks(steps) / np.maximum(noise, 1e-9) - 1.0) <= _STILL
    chosen = np.flatnonzero((still & _usable(mean, noise)).reshape(-1))
    chosen = rng.permutation(chosen)[: _SAMPLES // len(frames)]
    return np.asarray(stack.reshape(-1, len(frames))[chosen])


def _usable(mean: NDArray[np.floating], variance: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Noise of the right size that does not reach black or clip; in 8-bit codes."""
    deviation = np.sqrt(variance)
    inside = (mean - 4 * deviation > 0) & (mean + 4 * deviation < 255)
    return np.asarray(inside & (deviation >= _LEAST) & (deviation <= _MOST))


def _rows(groups: Codes, max_code: int) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Sort groups by brightness, and put neighbours together until a row has samples enough.

    Returns:
        Indices (G,) that sort the groups, the row (G,) of each, and how many of the levels have samples.
    """
    if not len(groups):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), 0
    mean = groups.mean(axis=1)
    order = np.argsort(mean, kind="stable")
    each = max(_PER_ROW // groups.shape[1], 1)
    rows = np.arange(len(groups)) // each
    levels = np.bincount((mean * _LEVELS / (max_code + 1)).astype(np.int64), minlength=_LEVELS)
    return order, rows, int((levels >= each).sum())


def _asymmetry(light: Array, groups: Codes, rows: NDArray[np.int64]) -> Array:
    """The skewness of light in each row, in standard deviations of what symmetric noise would show by chance.

    Third and second cumulants are unbiased within each group (Fisher's k-statistics), so that groups of few samples add
    up to the right thing.
    """
    if not len(groups):
        return np.zeros(0)
    values = light[groups]
    n = groups.shape[1]
    away = values - values.mean(axis=1, keepdims=True)
    second = (away**2).sum(axis=1) / (n - 1)
    third = (away**3).sum(axis=1) * (n / ((n - 1) * (n - 2)))
    count = np.bincount(rows)
    mean_second = np.bincount(rows, weights=second) / count
    mean_third = np.bincount(rows, weights=third) / count
    return np.asarray(mean_third / mean_second**1.5 * np.sqrt(count * ((n - 1) * (n - 2) / (6 * n))))


def _judge(fit: CurveFit, samples: int, rows: int, levels: int) -> tuple[str, float, str]:
    """The word, the expected error in light, and the sentence."""
    found = f"the noise of {samples} samples at {levels} levels gives it to about {100 * fit.spread:.1f} % of light"
    doubt = None
    if rows < _FEW_ROWS or levels < _FEW_LEVELS:
        doubt = (
            f"only {samples} samples at {levels} levels show noise that is a code or more and independent from pixel "
            "to pixel"
        )
    elif fit.scale > _MISFIT:
        doubt = f"the noise of {samples} samples at {levels} levels is not what one curve makes of symmetric noise"
    elif fit.unusual > _UNUSUAL:
        doubt = (
            f"the noise of {samples} samples at {levels} levels agrees on a curve that no usual camera has: the grain "
            "may have been added after it"
        )
    return judge_fit(fit, found, doubt, _GOOD, _FAIR)
