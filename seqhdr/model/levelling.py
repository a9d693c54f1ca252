"""When the light of the whole picture changes, the memory of the frame before is brought to the new level."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["level_memory"]

# So many pixels, spread over the picture, are enough for a line.
_PIXELS = 16_000
# Reach of the weights, round by round, as shares of the range; never less than a few bins.
_REACH = (0.19, 0.09, 0.05, 0.024)
_LEAST_WIDTHS = 4.0
# A memory whose level fits less than this share of the pixels that can be compared did not change as a whole.
_INLIERS = 0.5
# Fewer than this share of all pixels cannot speak for the picture: in a fade to white only dark specks are left.
_COUNTED = 0.05


def level_memory(decoded_lsb: Tensor, codes: Tensor, counts: Tensor, half_width_lsb: Tensor, max_code: float) -> Tensor:
    """Fit one straight line per channel from the memory to the codes, and move the memory along it.

    A change of exposure is a shift of log codes and, within a power law, a factor on display codes: both are lines.
    The line is found by least squares that are weighted anew by Tukey's biweight (Beaton & Tukey 1974), with shrinking
    reach. A change below w, the half-width of a bin, is left alone, since rounding alone can look like one in a
    picture of few codes; from 2w on it is followed fully.

    Args:
        decoded_lsb: (B, 3, H, W) the memory, warped to this frame, in codes.
        codes: the same shape.
        counts: (B, 1 or 3, H, W) bool, where the two may be compared.
        half_width_lsb: (B, 1, 1, 1) w in codes.
        max_code: 2^N - 1.

    Returns:
        The memory at the level of the codes; as it was where no line fits half of the pixels.
    """
    height, width = codes.shape[-2:]
    step = max(1, int((height * width / _PIXELS) ** 0.5))
    rows, columns = (slice(min(step // 2, side - 1), None, step) for side in (height, width))
    sparse = (..., rows, columns)
    before = decoded_lsb[sparse].flatten(2)
    change = codes[sparse].flatten(2) - before
    may = counts[sparse].flatten(2).to(change.dtype).expand_as(change)
    known = may.sum(-1, keepdim=True).clamp_min(1)
    # Around the middle of the range the two unknowns of a line hardly depend on each other.
    x = before * (2 / max_code) - 1
    middle = torch.where(may > 0, change, torch.nan).nanmedian(dim=-1, keepdim=True).values.nan_to_num()
    shift, slope = middle, torch.zeros_like(middle)
    weight = may
    w = half_width_lsb[..., 0]
    for reach in _REACH:
        miss = (change - shift - slope * x) / (_LEAST_WIDTHS * w).clamp_min(reach * max_code)
        weight = may * (1 - miss.square()).clamp_min(0).square()
        total = weight.sum(-1, keepdim=True).clamp_min(1e-6)
        mean_x = (weight * x).sum(-1, keepdim=True) / total
        mean_y = (weight * change).sum(-1, keepdim=True) / total
        spread = (weight * (x - mean_x).square()).sum(-1, keepdim=True) / total
        slope = (weight * (x - mean_x) * (change - mean_y)).sum(-1, keepdim=True) / total / (spread + 1e-3)
        shift = mean_y - slope * mean_x
    move = shift + slope * x
    size = (weight * move.abs()).sum(-1, keepdim=True) / weight.sum(-1, keepdim=True).clamp_min(1e-6)
    fits = (weight > 0).to(may.dtype).sum(-1, keepdim=True) >= _INLIERS * known
    fits &= known >= _COUNTED * may.shape[-1]
    share = (size / w - 1).clamp(0, 1) * fits
    shift, slope = ((share * term)[..., None] for term in (shift, slope))
    return decoded_lsb + shift + slope * (decoded_lsb * (2 / max_code) - 1)
