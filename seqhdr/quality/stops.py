"""Light in stops, with a straight line through black where the logarithm would run away."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["BLACK_LIGHT", "light_of_stops", "stops"]

#: Light below which stops become a line, scene-linear: 6.5 stops under middle grey, about 6.5 codes of 8-bit sRGB.
BLACK_LIGHT = 2.0**-9

# The square of more overflows float32. Nothing a camera sees comes near.
_BRIGHTEST = 2.0**50


def stops(light: Tensor) -> Tensor:
    """Stops above :data:`BLACK_LIGHT` d: asinh(light / 2d) / ln 2.

    Well above d it is log2(light / d), so a relative change of 1 % is 0.01435 stop whatever the brightness. log2 itself
    has no value at and below zero, and near black one 8-bit code would be whole stops, which no eye sees. The inverse
    hyperbolic sine goes over into a line through zero there, and negative light mirrors positive (the curve of Lupton
    et al., A modified magnitude system that produces well-behaved magnitudes, AJ 118, 1999).

    Args:
        light: scene-linear, any shape, float. Beyond ± 2^50 it counts as 2^50.

    Returns:
        The same shape; float32 rounds it by up to 1e-6 stop.
    """
    # asinh(x) = ln(|x| + sqrt(x² + 1)) with the sign of x: twice as fast as torch's own.
    half = (light * (0.5 / BLACK_LIGHT)).abs_().clamp_(max=_BRIGHTEST * (0.5 / BLACK_LIGHT))
    return half.square().add_(1).sqrt_().add_(half).log2_().copysign_(light)


def light_of_stops(values_stops: Tensor) -> Tensor:
    """The inverse of :func:`stops`: 2d · sinh(s · ln 2) = d · (2^s - 2^-s), scene-linear light of the same shape."""
    return (torch.exp2(values_stops) - torch.exp2(-values_stops)) * BLACK_LIGHT
