"""What a code can have been: the bin, in codes and in light.

A channel of an N-bit source with code c came from a value within w codes of c. ``w`` (``half_width_lsb``) is
½ for a source that was only rounded and larger for a compressed one. Where the bin reaches the top of the
range, ``c + w >= max``, the channel is **clipped**: nothing bounds it from above. Where it reaches the
bottom, ``c - w <= 0``, nothing bounds it from below. ``w = inf`` lifts the bound; the top and bottom codes are then
told by w = ½, because some rule must say which channels may gain light.

Codes are float32 tensors (..., 3, H, W) of whole numbers from 0 to ``max_code`` = 2^N - 1.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from seqhdr.color.named import ColorEncoding

__all__ = ["bin_width_stops", "clamp_offset", "clip_mask", "decode_offset", "light_bounds", "open_width"]

# Half the light at which `bin_width_stops` passes from stops to a linear scale: 12 stops under diffuse white,
# about half of the first sRGB code.
_DARK = 2.0**-12


def open_width(half_width_lsb: float) -> float:
    """The half-width that decides which bins are open: w itself, and ½ where w is infinite."""
    if not half_width_lsb >= 0.5:
        raise ValueError(f"half_width_lsb must be at least 0.5, got {half_width_lsb}")
    return half_width_lsb if math.isfinite(half_width_lsb) else 0.5


def clip_mask(codes: Tensor, half_width_lsb: float, max_code: int) -> Tensor:
    """Which channels are open above: bool, the shape of ``codes``, True where ``c + w >= max_code``."""
    return codes + open_width(half_width_lsb) >= max_code


def clamp_offset(offset_lsb: Tensor, half_width_lsb: float) -> Tensor:
    """Offsets, in codes, held within the bin: ``[-w, w]``. With w = inf the same tensor comes back."""
    if math.isinf(half_width_lsb):
        return offset_lsb
    return offset_lsb.clamp(-half_width_lsb, half_width_lsb)


def decode_offset(
    codes: Tensor,
    offset_lsb: Tensor,
    gain_stops: Tensor,
    half_width_lsb: float,
    max_code: int,
    src: ColorEncoding,
) -> Tensor:
    """What the prediction says in light: scene-linear RGB in the primaries of ``src``; differentiable.

    With v = c + offset (held to ±w) and D the decode of ``src``: D(v / max) where the channel is unclipped,
    D(min(v, max - ½) / max) · 2^gain where it is clipped. ``gain_stops`` is read as 0 where it is negative or
    the channel is not clipped. All tensors have one shape, (..., 3, H, W), which is also that of the result.
    """
    clipped = clip_mask(codes, half_width_lsb, max_code)
    value = codes + clamp_offset(offset_lsb, half_width_lsb)
    value = torch.where(clipped, value.clamp(max=max_code - 0.5), value)
    light = src.decode(value / max_code)
    return light * torch.exp2(torch.where(clipped, gain_stops.clamp(min=0.0), 0.0))


@lru_cache(maxsize=32)
def code_bounds(half_width_lsb: float, max_code: int) -> tuple[Tensor, Tensor]:
    """The ends of every code's bin in codes: two float64 tensors (max_code + 1,), ∓inf where it is open."""
    codes = torch.arange(max_code + 1, dtype=torch.float64)
    reach = open_width(half_width_lsb)
    low = torch.where(codes - reach <= 0, -math.inf, codes - half_width_lsb)
    high = torch.where(codes + reach >= max_code, math.inf, codes + half_width_lsb)
    return low, high


@lru_cache(maxsize=32)
def light_bounds(src: ColorEncoding, half_width_lsb: float, max_code: int) -> tuple[Tensor, Tensor]:
    """The ends of every code's bin in light of ``src``: two float64 tensors (max_code + 1,), ∓inf where open.

    The curves rise, so light within these ends is the same as a re-encoded value within the bin.
    """
    low, high = code_bounds(half_width_lsb, max_code)
    return _decode_finite(low, max_code, src), _decode_finite(high, max_code, src)


def _decode_finite(codes: Tensor, max_code: int, src: ColorEncoding) -> Tensor:
    finite = torch.isfinite(codes)
    return torch.where(finite, src.decode(torch.where(finite, codes, 0.0) / max_code), codes)


@lru_cache(maxsize=32)
def bin_width_stops(src: ColorEncoding, max_code: int, half_width_lsb: float = 0.5) -> Tensor:
    """How wide each code's bin is, in stops: float32 (max_code + 1,), positive and finite everywhere.

    Open bins count as if they ended w away on both sides. Stops stop making sense towards zero light, so they
    are counted on asinh(L / 2d) / ln 2 with d = 2^-12: log2 well above d, a line through zero around it.
    With w = inf the widths are those of w = ½.
    """
    reach = open_width(half_width_lsb)
    codes = torch.arange(max_code + 1, dtype=torch.float64)

    def stops(codes: Tensor) -> Tensor:
        return torch.asinh(src.decode(codes / max_code) / (2.0 * _DARK)) / math.log(2.0)

    return (stops(codes + reach) - stops(codes - reach)).to(torch.float32)
