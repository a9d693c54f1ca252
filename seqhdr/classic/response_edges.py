"""The response curve from one image, by colours that edges blend.

Lin, Gu, Yamazaki and Shum, "Radiometric calibration from a single image" (CVPR 2004): where an edge between two uniform
colours crosses a pixel, its light is a mixture of both, on the line between them. Codes of such pixels lie on a curve
instead, and the response is what straightens it. What is minimised here is the distance to those lines in codes, not in
light, so that a curve gains nothing by making light small.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from seqhdr.classic.response_fit import (
    CurveFit,
    fit_parameters,
    gamma_light,
    gamma_slope,
    judge_fit,
    usual_parameters,
)
from seqhdr.color.response import ResponseCurve

__all__ = ["edge_curve"]

Array = NDArray[np.float64]

# Pixels from the blended one to the middle of the 3x3 blocks that show both colours.
_REACH = 4
# A block is uniform when its standard deviation is no more than this over that of the calmest parts, in codes.
_CALM = 1.0
_CONTRAST = 24.0
_LOWEST, _HIGHEST = 4 / 255, 250 / 255
_SHARES = (0.1, 0.9)
# An edge is worth looking at when curves half a gamma apart differ there by this many standard deviations of a code.
_TELLING = 0.5
_MOST = 12_000
_CELL = 24
# Unusual by more standard deviations than this, or residuals larger than that many codes' noise: no camera's curve.
# Pictures without compression fit within 1.1 times their noise, JPEG from quality 90 to 99 leaves 2 and more.
_UNUSUAL, _MISFIT = 2.5, 1.5
_GOOD, _FAIR = 0.02, 0.04
_ENOUGH, _FEW = 80, 40


def edge_curve(frames: Sequence[NDArray[np.unsignedinteger]], max_code: int, seed: int = 0) -> ResponseCurve:
    """One curve for all channels from the edges of frames.

    Args:
        frames: one or several (H, W, 3) arrays of codes, of any sizes.
        max_code: the largest code.
        seed: of the trials behind the confidence.
    """
    pieces = [_edges(frame.astype(np.float32) * (255.0 / max_code)) for frame in frames]
    one, two, mixed, noise = (np.concatenate([piece[i] for piece in pieces]) for i in range(4))
    places = np.concatenate([piece[4] for piece in pieces])
    chosen = _telling(one, two, mixed, noise)
    one, two, mixed, noise = one[chosen], two[chosen], mixed[chosen], noise[chosen]
    cells, units = np.unique(places[chosen], return_inverse=True, axis=0)

    def residuals(parameters: Array) -> Array:
        return _off_line(parameters, one, two, mixed, noise).reshape(-1)

    fit = fit_parameters(residuals, np.repeat(units.reshape(-1), 3), seed)
    confidence, spread, reason = _judge(fit, len(chosen), len(cells))
    light = np.repeat(fit.light[:, None], 3, axis=1)
    return ResponseCurve(light, "edges", confidence, spread, reason)


def _edges(codes: NDArray[np.float32]) -> tuple[Array, Array, Array, Array, NDArray[np.int64]]:
    """Blended pixels of a frame, both ways: colours (E, 3) of both sides and of the mixture, noise (E,), place (E, 2).

    Colours are from 0 to 1, the noise is the standard deviation of a code on the same scale. Places are cells of the
    picture, the same in all frames: what stands still is no new evidence.
    """
    found = [_across(codes, turned=False), _across(codes.swapaxes(0, 1), turned=True)]
    one, two, mixed, noise, place = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return one, two, mixed, noise, place


def _across(codes: NDArray[np.float32], *, turned: bool) -> tuple[Array, Array, Array, Array, NDArray[np.int64]]:
    """As :func:`_edges`, for edges that are crossed by going along the rows."""
    codes = np.ascontiguousarray(codes)
    height, width = codes.shape[:2]
    empty = np.zeros((0, 3))
    if height < 3 or width < 2 * _REACH + 3:
        return empty, empty, empty, np.zeros(0), np.zeros((0, 2), np.int64)
    mean = np.asarray(cv2.blur(codes, (3, 3), borderType=cv2.BORDER_REFLECT_101), np.float32)
    square = np.asarray(cv2.blur(codes * codes, (3, 3), borderType=cv2.BORDER_REFLECT_101), np.float32)
    deviation = np.sqrt(np.maximum(square - mean * mean, 0.0)).max(axis=2)
    calm = float(np.quantile(deviation, 0.25))
    uniform = deviation <= calm + _CALM
    rows, columns = slice(1, height - 1), slice(_REACH, width - _REACH)
    left, right = (slice(_REACH + side, width - _REACH + side) for side in (-_REACH, _REACH))
    one, two, mixed = mean[rows, left], mean[rows, right], codes[rows, columns]
    apart = np.abs(one - two)
    strongest = apart.argmax(axis=2)[..., None]
    share = np.take_along_axis(mixed - two, strongest, 2) / np.take_along_axis(
        np.where(one == two, 1.0, one - two), strongest, 2
    )
    share = share[..., 0]
    darkest = np.minimum(np.minimum(one, two), mixed).min(axis=2) / 255.0
    brightest = np.maximum(np.maximum(one, two), mixed).max(axis=2) / 255.0
    good = (
        (apart.max(axis=2) >= _CONTRAST)
        & (share >= _SHARES[0])
        & (share <= _SHARES[1])
        & (darkest >= _LOWEST)
        & (brightest <= _HIGHEST)
        & uniform[rows, left]
        & uniform[rows, right]
    )
    y, x = np.nonzero(good)
    noise = np.hypot(np.maximum(deviation[rows, left][good], deviation[rows, right][good]), 12**-0.5) / 255.0
    place = np.stack((x, y) if turned else (y, x), axis=1) // _CELL

    def chosen(colours: NDArray[np.float32]) -> Array:
        return np.asarray(colours[good], np.float64) / 255.0

    return chosen(one), chosen(two), chosen(mixed), noise.astype(np.float64), place.astype(np.int64)


def _off_line(parameters: Array, one: Array, two: Array, mixed: Array, noise: Array) -> Array:
    """How far (E, 3) mixtures are from the line between both colours, in standard deviations of their codes."""
    light_one, light_two, light = (gamma_light(parameters, part) for part in (one, two, mixed))
    slope = gamma_slope(parameters, mixed) * noise[:, None]
    along = light_one - light_two
    # The share of the first colour, by least squares with every channel weighted by its noise.
    weight = 1.0 / slope**2
    share = (weight * (light - light_two) * along).sum(axis=1) / (weight * along**2).sum(axis=1)
    share = np.clip(share, 0.0, 1.0)[:, None]
    # Both sides are means of nine pixels, rounded alike.
    sides = gamma_slope(parameters, one) ** 2 * share**2 + gamma_slope(parameters, two) ** 2 * (1 - share) ** 2
    variance = slope**2 + sides * noise[:, None] ** 2 / 3
    return np.asarray((light - light_two - share * along) / np.sqrt(variance))


def _telling(one: Array, two: Array, mixed: Array, noise: Array) -> NDArray[np.int64]:
    """Indices of the edges that tell curves apart, the most telling first; their mixtures' own errors play no part."""
    mean, _ = usual_parameters()
    light = [gamma_light(mean, part) for part in (one, two, mixed)]
    along = light[0] - light[1]
    share = np.clip(((light[2] - light[1]) * along).sum(axis=1) / (along**2).sum(axis=1), 0.0, 1.0)[:, None]
    flatter, steeper = np.array([1.9, 0.0, 0.0]), np.array([2.4, 0.0, 0.0])
    ideal = share * gamma_light(flatter, one) + (1 - share) * gamma_light(flatter, two)
    seen = np.maximum(ideal, 1e-9) ** (1 / flatter[0])
    telling = np.abs(_off_line(steeper, one, two, seen, noise)).max(axis=1)
    order = np.argsort(-telling, kind="stable")[:_MOST]
    return np.asarray(order[telling[order] >= _TELLING])


def _judge(fit: CurveFit, edges: int, cells: int) -> tuple[str, float, str]:
    """The word, the expected error in light, and the sentence."""
    found = f"{edges} blended pixels in {cells} places give it to about {100 * fit.spread:.1f} % of light"
    doubt = None
    if cells < _FEW:
        doubt = f"only {edges} pixels in {cells} places show edges between uniform colours"
    elif fit.unusual > _UNUSUAL:
        doubt = (
            f"{edges} blended pixels in {cells} places agree on a curve that no usual camera has: the frames may have "
            "been scaled, sharpened or drawn after it"
        )
    elif fit.scale > _MISFIT:
        doubt = f"the colours of {edges} blended pixels contradict each other {fit.scale:.1f} times over their noise"
    return judge_fit(fit, found, doubt, _GOOD if cells >= _ENOUGH else 0.0, _FAIR)
