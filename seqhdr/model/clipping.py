"""What counts as clipped, in lossless codes and in compressed ones."""

from __future__ import annotations

import torch
from torch import Tensor

from seqhdr.model.pyramid import ScaleSpace

__all__ = ["clipped_channels", "open_share"]


def clipped_channels(codes: Tensor, half_width_lsb: Tensor, max_code: float) -> Tensor:
    """True where a channel's bin reaches the top of the range, c + w ≥ max: open above.

    Args:
        codes: (B, 3, H, W) float, 0..max_code; whole numbers unless a decoder's rounding was undone.
        half_width_lsb: (B, 1, 1, 1) in code units.
        max_code: 2^N - 1.
    """
    return codes + half_width_lsb >= max_code


def open_share(scales: ScaleSpace, half_width_lsb: Tensor, max_code: float) -> Tensor:
    """How far a channel counts as clipped: the test of :func:`clipped_channels`, without its hard edge.

    A lossless code is clipped or it is not. With wide bins the test reaches codes that are merely bright, and the
    noise of compression flips it from pixel to pixel, which would show as specks of highlight in a bright sky. There
    the share grows from 0 to 1 over the codes within w of the top, read from the blurred codes.

    Args:
        scales: the codes (B, 3, H, W) and their blurs.
        half_width_lsb: (B, 1, 1, 1) in code units.
        max_code: 2^N - 1.

    Returns:
        (B, 3, H, W), 0 where not clipped; 0 or 1 for w = ½, and wholly soft from w = 1.5.
    """
    hard = clipped_channels(scales.full, half_width_lsb, max_code).to(scales.full.dtype)
    margin = half_width_lsb - 0.5
    reach = ((scales.fine[-1] + half_width_lsb - max_code) / margin.clamp_min(0.5)).clamp(0, 1)
    return hard * torch.lerp(torch.ones_like(reach), reach, margin.clamp(0, 1))
