"""Camera response curves: which linear light a code stands for, as samples, and what such a curve is worth.

A curve is sampled at code values evenly spaced from 0 to 1, with straight lines between the samples, so that it means
the same here, in a 1-D LUT and in OpenColorIO. It is relative: the largest code is light 1.0.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqhdr.color.curves import Curve
from seqhdr.color.encodings import ColorEncoding, get_encoding
from seqhdr.errors import UnknownNameError, UsageError

__all__ = [
    "CONFIDENCES",
    "KNOWN_CURVES",
    "SAMPLES",
    "ResponseCurve",
    "curve_encoding",
    "known_curve",
    "rising",
    "sample_values",
]

Array = NDArray[np.float64]

CONFIDENCES = ("high", "medium", "low")
KNOWN_CURVES = ("srgb", "rec709", "gamma:2.4")
#: Four samples for each step of an 8-bit code: codes and the ends of their bins are samples, not between them.
SAMPLES = 4 * 255 + 1

_GAMMAS = (0.2, 5.0)
# How far the last sample may be from 1, and how far channels may differ and still be one curve: the rounding of a
# text file with seven digits.
_TOLERANCE = 2e-7


@dataclass(frozen=True, eq=False)
class ResponseCurve:
    """Linear light of code values, and how far it can be trusted.

    Attributes:
        light: (N, 3) float64, read-only: light of R, G, B at N ≥ 2 code values evenly spaced from 0 to 1. Each channel
            rises strictly from 0 or more to 1.
        method: what it comes from: ``known srgb``, ``debevec``, ``edges`` …
        confidence: ``high``, ``medium`` or ``low``.
        spread: the expected RMS error in light (1 is the largest code); 0 where nothing was estimated.
        reason: a sentence for the user: why the confidence is what it is.
        sources: names of the frames or the file it was made from.

    Raises:
        ValueError: samples that are no such curve, an unknown confidence, or a negative spread.
    """

    light: Array
    method: str
    confidence: str = "high"
    spread: float = 0.0
    reason: str = ""
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is no curve, and keep a copy that nobody can change."""
        light = np.array(self.light, dtype=np.float64)
        if light.ndim != 2 or light.shape[1] != 3 or len(light) < 2:
            raise ValueError(f"has samples of shape {light.shape}, expected (N, 3) with N of 2 or more")
        if not np.isfinite(light).all():
            raise ValueError("holds a value that is not finite")
        for name, channel in zip("RGB", light.T, strict=True):
            falls = np.flatnonzero(np.diff(channel) <= 0)
            if falls.size:
                raise ValueError(f"does not rise in {name} after sample {falls[0]} of {len(light)}")
            if channel[0] < 0 or abs(channel[-1] - 1) > _TOLERANCE:
                ends = f"{channel[0]:.6g} to {channel[-1]:.6g}"
                raise ValueError(f"goes from {ends} in {name}, not from 0 or more to 1")
        if self.confidence not in CONFIDENCES:
            raise ValueError(f"has the confidence {self.confidence!r}, expected one of {', '.join(CONFIDENCES)}")
        if not 0 <= self.spread < math.inf:
            raise ValueError(f"has the spread {self.spread}, expected 0 or more")
        light.setflags(write=False)
        object.__setattr__(self, "light", light)

    @property
    def per_channel(self) -> bool:
        """Whether R, G and B have curves of their own."""
        return float(np.abs(self.light - self.light[:, :1]).max()) > _TOLERANCE

    def at(self, values: Array) -> Array:
        """Light (N, 3) of code values (N,) from 0 to 1."""
        knots = sample_values(len(self.light))
        return np.stack([np.interp(values, knots, channel) for channel in self.light.T], axis=-1)


def sample_values(count: int) -> Array:
    """The code values (``count``,) of a curve's samples, 0 to 1."""
    return np.arange(count, dtype=np.float64) / (count - 1)


def known_curve(name: str) -> ResponseCurve:
    """A curve by its name: ``srgb``, ``rec709``, or ``gamma:`` and a number.

    The closed forms are those of :func:`seqhdr.color.encodings.get_encoding`, sampled at :data:`SAMPLES` values.

    Raises:
        UnknownNameError: another name.
        UsageError: a gamma that is no number from 0.2 to 5.
    """
    values = sample_values(SAMPLES)
    kind, colon, number = name.strip().lower().partition(":")
    if kind == "gamma" and colon:
        try:
            gamma = float(number)
        except ValueError:
            gamma = math.nan
        if not _GAMMAS[0] <= gamma <= _GAMMAS[1]:
            raise UsageError(f"--known {name}: give a gamma from {_GAMMAS[0]:g} to {_GAMMAS[1]:g}, like gamma:2.4")
        light, title = values**gamma, f"known gamma:{gamma:g}"
    elif kind in ("srgb", "rec709") and not colon:
        light, title = get_encoding(kind).decode(torch.from_numpy(values)).numpy(), f"known {kind}"
    else:
        raise UnknownNameError("response curve", name, KNOWN_CURVES, "Or name a .yaml, .cube or .spi1d file.")
    reason = "the curve is given, nothing was estimated"
    return ResponseCurve(np.repeat(light[:, None], 3, axis=1), title, reason=reason)


def rising(light: Array) -> Array:
    """The nearest samples (N,) that rise (pool adjacent violators), strictly, scaled to end at 1.

    The first must be 0 or more, the last the largest but for noise.
    """
    means: list[float] = []
    sizes: list[int] = []
    for value in light:
        means.append(float(value))
        sizes.append(1)
        while len(means) > 1 and means[-2] >= means[-1]:
            size = sizes[-2] + sizes[-1]
            pooled = (means[-2] * sizes[-2] + means[-1] * sizes[-1]) / size
            means[-2:], sizes[-2:] = [pooled], [size]
    flat = np.repeat(means, sizes)
    steps = np.maximum(np.diff(flat), 1e-7)
    rising = flat[0] + np.append(0.0, np.cumsum(steps))
    return np.asarray(rising / rising[-1])


@lru_cache(maxsize=16)
def curve_encoding(curve: ResponseCurve, base: ColorEncoding) -> ColorEncoding:
    """The encoding ``base`` with this curve in place of its own; primaries and name stay.

    An encoding has one curve for all channels: of a curve per channel it is their mean in light. Between samples and
    beyond both ends it is a straight line, in float64, so that decode and encode undo each other.
    """
    table = _table(curve.light.mean(axis=1) if curve.per_channel else curve.light[:, 0])
    return dataclasses.replace(
        base,
        title=f"{base.title} primaries, {curve.method} curve",
        decode=table.decode,
        encode=table.encode,
        interop_id=None,
        floor=None,
    )


def _table(light: Array) -> Curve:
    """Straight lines between samples (N,) at even steps of V, the end pieces running on; dtypes stay."""
    knots = torch.from_numpy(light.copy())
    last = len(light) - 1

    def pieces(at: Tensor) -> tuple[Tensor, Tensor]:
        lower = knots.to(at.device)[at]
        return lower, knots.to(at.device)[at + 1] - lower

    def decode(value: Tensor) -> Tensor:
        place = value.to(torch.float64) * last
        at = place.detach().floor().nan_to_num(0.0).clamp(0, last - 1).long()
        lower, step = pieces(at)
        return (lower + (place - at) * step).to(value.dtype)

    def encode(value: Tensor) -> Tensor:
        wide = value.to(torch.float64)
        found = torch.searchsorted(knots.to(wide.device), wide.detach().contiguous(), right=True)
        at = (found - 1).clamp(0, last - 1)
        lower, step = pieces(at)
        return (((wide - lower) / step + at) / last).to(value.dtype)

    return Curve(decode, encode)
