"""Transfer curves in closed form: torch, elementwise, differentiable, and invertible.

Every curve maps V, the code value divided by the largest code, to scene-linear light and back. Three shapes
cover them all:

- **power with a tangent toe** (sRGB, BT.709): a straight line that meets the power without a kink;
- **log with a straight toe** (ACEScct and the camera logs): below its break the log continues as a line;
- **pure log** (ACEScc, Cineon, AILog): light below what the lowest V stands for has no code, so encoding
  clamps it there. That V is the curve's ``floor``.

Lines run on without end, pure powers are mirrored as odd functions, so decode and encode undo each other on
the whole real line except below a floor. There is no branching on data: both sides of every ``where`` see
arguments they can digest, so no gradient is NaN. Any floating dtype goes in and comes out; float64 is exact
enough to audit the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Curve", "acescc", "linear", "log_with_toe", "offset_log", "power", "power_with_toe"]

# Where a mirrored power meets zero its slope is 0 or infinite; below this magnitude the argument is held, so
# the gradient there is 0 instead of NaN. 1e-30 is far below the smallest difference any container can store.
_TINY = 1e-30


@dataclass(frozen=True)
class Curve:
    """A decode and encode pair; ``floor`` is the lowest V that ``encode`` returns, None where unbounded."""

    decode: Callable[[Tensor], Tensor]
    encode: Callable[[Tensor], Tensor]
    floor: float | None = None


def linear() -> Curve:
    """V is scene-linear light."""
    return Curve(_identity, _identity)


def _identity(x: Tensor) -> Tensor:
    return x


def power(gamma: float) -> Curve:
    """L = V^gamma, mirrored through the origin for negative values."""

    def signed_power(x: Tensor, exponent: float) -> Tensor:
        return torch.sign(x) * torch.clamp(x.abs(), min=_TINY) ** exponent

    return Curve(lambda v: signed_power(v, gamma), lambda x: signed_power(x, 1.0 / gamma))


def power_with_toe(gamma: float, offset: float) -> Curve:
    """L = ((V + offset) / (1 + offset))^gamma, and below its tangent through the origin that tangent.

    ``gamma=2.4, offset=0.055`` is sRGB (IEC 61966-2-1), ``1/0.45, 0.099`` the camera curve of ITU-R BT.709.
    The break and the slope come from the tangent condition, as in OpenColorIO, not from the rounded constants
    of the standards (12.92 instead of 12.9232 for sRGB, 4.5 instead of 4.513 for BT.709), whose line and
    power do not quite meet. In V the two differ by less than 1e-5 for sRGB and 4e-4 for BT.709.
    """
    v_break = offset / (gamma - 1.0)
    l_break = ((v_break + offset) / (1.0 + offset)) ** gamma
    slope = v_break / l_break

    def decode(v: Tensor) -> Tensor:
        curved = ((torch.clamp(v, min=v_break) + offset) / (1.0 + offset)) ** gamma
        return torch.where(v > v_break, curved, v / slope)

    def encode(x: Tensor) -> Tensor:
        curved = (1.0 + offset) * torch.clamp(x, min=l_break) ** (1.0 / gamma) - offset
        return torch.where(x > l_break, curved, x * slope)

    return Curve(decode, encode)


def log_with_toe(
    *,
    base: float,
    log_slope: float,
    log_offset: float,
    lin_slope: float,
    lin_offset: float,
    lin_break: float,
    toe_slope: float | None = None,
) -> Curve:
    """V = log_slope * log_base(lin_slope * L + lin_offset) + log_offset above ``lin_break``, a line below it.

    ``toe_slope`` is dV/dL of that line; without it the line is the tangent at the break.
    """
    scale = log_slope / math.log2(base)
    argument = lin_slope * lin_break + lin_offset
    v_break = scale * math.log2(argument) + log_offset
    slope = toe_slope if toe_slope is not None else scale * lin_slope / (argument * math.log(2.0))

    def decode(v: Tensor) -> Tensor:
        curved = (torch.exp2((torch.clamp(v, min=v_break) - log_offset) / scale) - lin_offset) / lin_slope
        return torch.where(v > v_break, curved, (v - v_break) / slope + lin_break)

    def encode(x: Tensor) -> Tensor:
        curved = scale * torch.log2(lin_slope * torch.clamp(x, min=lin_break) + lin_offset) + log_offset
        return torch.where(x > lin_break, curved, (x - lin_break) * slope + v_break)

    return Curve(decode, encode)


def offset_log(*, scale: float, log_offset: float, lin_slope: float, lin_offset: float) -> Curve:
    """V = scale * log2(lin_slope * L + lin_offset) + log_offset without a toe, so V = 0 is its floor."""
    lowest = (2.0 ** (-log_offset / scale) - lin_offset) / lin_slope

    def decode(v: Tensor) -> Tensor:
        return (torch.exp2((v - log_offset) / scale) - lin_offset) / lin_slope

    def encode(x: Tensor) -> Tensor:
        return scale * torch.log2(lin_slope * torch.clamp(x, min=lowest) + lin_offset) + log_offset

    return Curve(decode, encode, floor=0.0)


def acescc() -> Curve:
    """ACEScc (Academy S-2014-003): a log of base 2 with a halved argument in its lowest stop.

    Light at or below zero is one value, V = -0.3584 (the floor). The standard's ceiling at 65504 is left out:
    clamping is the container's business, and a curve that stops cannot be inverted.
    """
    least = 2.0**-16
    scale, log_offset = 1.0 / 17.52, 9.72 / 17.52
    v_break = -15.0 * scale + log_offset

    def decode(v: Tensor) -> Tensor:
        light = torch.exp2((v - log_offset) / scale)
        return torch.where(v < v_break, (light - least) * 2.0, light)

    def encode(x: Tensor) -> Tensor:
        positive = torch.clamp(x, min=0.0)
        argument = torch.where(positive < 2.0 * least, least + positive * 0.5, positive.clamp(min=least))
        return scale * torch.log2(argument) + log_offset

    return Curve(decode, encode, floor=-16.0 * scale + log_offset)
