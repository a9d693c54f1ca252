"""Traces that networks leave in pictures: patterns locked to the pixel grid, lines, seams and fringes of colour.

All of it is measured where the truth is smooth, so that what is found there is not the picture's; truth and identity
go through the same functions and stand beside. Every function returns one number per place, so that the places of many
frames can be put together before anything is averaged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from seqhdr.color.encodings import get_encoding

__all__ = [
    "alternations_lsb",
    "band_width_px",
    "chroma_log",
    "dilate",
    "edge_band",
    "grid_phasors",
    "line_offsets_lsb",
    "local_range",
    "locked_lsb",
    "rms",
    "seam_jumps_lsb",
    "smooth_mask",
]

# Side of the windows in which alternating patterns are looked for, and the length of a piece of a line.
_WINDOW_PX, _LINE_PX = 16, 32
# How many periods of a grid a window holds: enough to tell a period from the next octave's.
_PERIODS = 4
# On each side of a seam, across and along.
_JUMP_PX, _SEAM_PX = 4, 16


def smooth_mask(value_lsb: Tensor, bend_lsb: float = 0.05) -> Tensor:
    """Where a truth is smooth: within 7x7 pixels no second difference of any channel exceeds ``bend_lsb``.

    A gradient of any slope is smooth. Along a row, the bend is |v[x-1] - 2 v[x] + v[x+1]|; columns likewise. What
    lies beyond 0 to 254.5 codes is not smooth. At the border the window is cut.

    Args:
        value_lsb: (3, H, W), not rounded, in 8-bit codes.
        bend_lsb: largest second difference, in codes.

    Returns:
        (1, H, W) bool.
    """
    across = (value_lsb[:, :, :-2] - 2 * value_lsb[:, :, 1:-1] + value_lsb[:, :, 2:]).abs()
    down = (value_lsb[:, :-2] - 2 * value_lsb[:, 1:-1] + value_lsb[:, 2:]).abs()
    rough = F.pad(across > bend_lsb, (1, 1)) | F.pad(down > bend_lsb, (0, 0, 1, 1))
    rough |= (value_lsb <= 0) | (value_lsb >= 254.5)
    return ~dilate(rough.any(dim=0, keepdim=True), 3)


def dilate(mask: Tensor, reach_px: int) -> Tensor:
    """(C, H, W) bool → true wherever the mask is within ``reach_px`` pixels, diagonals as near as sides."""
    return F.max_pool2d(mask[None].float(), 2 * reach_px + 1, stride=1, padding=reach_px)[0] > 0


def rms(numbers: Tensor) -> float:
    """Root of the mean square of all numbers; NaN if there are none."""
    return math.sqrt(float(numbers.double().square().mean())) if numbers.numel() else math.nan


def alternations_lsb(values_lsb: Tensor, smooth: Tensor) -> Tensor:
    """Amplitudes of what alternates from pixel to pixel: checkerboards, columns, rows.

    In windows of 16x16 pixels, mean of h(v)·s, with s = (-1)^(x+y), (-1)^x, (-1)^y. Before that, h = (-1, 2, -1) / 4
    along each axis on which s alternates: it leaves such a pattern as it is and takes away any ramp, of which the plain
    mean would keep half a step. Alternating by 0.1, that is from -0.1 to +0.1 and back, gives ±0.1.

    Args:
        values_lsb: (C, H, W) in codes.
        smooth: (1, H, W) bool; only windows in it, and not at the frame's border, count.

    Returns:
        (3, N) signed amplitudes in codes: checkerboard, columns, rows.
    """
    values = values_lsb.double()
    bent_x = F.pad(2 * values[:, :, 1:-1] - values[:, :, :-2] - values[:, :, 2:], (1, 1)) / 4
    bent_y = F.pad(2 * values[:, 1:-1] - values[:, :-2] - values[:, 2:], (0, 0, 1, 1)) / 4
    bent_both = F.pad(2 * bent_x[:, 1:-1] - bent_x[:, :-2] - bent_x[:, 2:], (0, 0, 1, 1)) / 4
    y, x = torch.meshgrid(*(torch.arange(size) for size in values.shape[1:]), indexing="ij")
    signs = (1 - 2.0 * ((x + y) % 2), 1 - 2.0 * (x % 2), 1 - 2.0 * (y % 2))
    # A window's outermost pixels look at their neighbours outside it, which the frame's own do not have.
    inside = F.pad(~dilate(~smooth, 1)[:, 1:-1, 1:-1], (1, 1, 1, 1))
    rows = []
    for bent, sign in zip((bent_both, bent_x, bent_y), signs, strict=True):
        rows.append(_windows(bent * sign, inside, _WINDOW_PX, _WINDOW_PX).mean(dim=(-2, -1)).flatten())
    return torch.stack(rows)


def line_offsets_lsb(values_lsb: Tensor, smooth: Tensor) -> Tensor:
    """How far pieces of rows are above or below the rows next to them: scanlines. Transpose for columns.

    The means of 32 pixels along five rows one below another, weighted (1, -4, 6, -4, 1) / 16: a cubic across the rows
    comes to nothing, rows alternating by ±a to a, a single row that is a higher than all others to 6/16·a.

    Args:
        values_lsb: (C, H, W) in codes.
        smooth: (1, H, W) bool; only pieces in it count.

    Returns:
        (N,) in codes.
    """
    values, kernel = values_lsb.double(), torch.tensor((1.0, -4, 6, -4, 1), dtype=torch.float64).view(1, 1, 5, 1) / 16
    if values.shape[1] < 5 or values.shape[2] < _LINE_PX:
        return values.new_zeros(0)
    means = F.avg_pool2d(values[:, None], (1, _LINE_PX))
    whole = F.avg_pool2d(smooth[:, None].double(), (1, _LINE_PX)) == 1
    counted = F.avg_pool2d(whole.double(), (5, 1), stride=1) == 1
    offsets = F.conv2d(means, kernel)
    return offsets[counted.expand_as(offsets)]


def grid_phasors(error_lsb: Tensor, smooth: Tensor, period_px: int) -> Tensor:
    """How strongly, and with which phase to the pixel grid, errors repeat every so many pixels along rows.

    Windows are four periods long and one high, and are averaged down to a row y, without its slope of best fit. Then
    z = 2 Σ h·y·exp(-2πi·x / period) / Σ h with Hann's h; a·cos(2π·x / period + φ) gives z = a·exp(iφ). Transpose the
    frame for columns.

    Args:
        error_lsb: (C, H, W) result minus truth in codes.
        smooth: (1, H, W) bool; only windows in it count.
        period_px: 3 or more. At 2 there is no phase; :func:`alternations_lsb` sees those.

    Returns:
        (C, N) complex128 amplitudes in codes.

    Raises:
        ValueError: the period is below 3.
    """
    if period_px < 3:
        raise ValueError(f"got a period of {period_px} pixels: expected 3 or more")
    length = _PERIODS * period_px
    lines = _windows(error_lsb.double(), smooth, period_px, length).mean(dim=-2)
    place = torch.arange(length, dtype=torch.float64) - (length - 1) / 2
    lines = lines - place * ((lines * place).sum(dim=-1, keepdim=True) / place.square().sum())
    hann = torch.sin(math.pi * (torch.arange(length, dtype=torch.float64) + 0.5) / length).square()
    # Windows begin at whole periods of the frame, so that all have the same phase.
    turn = torch.polar(hann, -2 * math.pi * torch.arange(length, dtype=torch.float64) / period_px)
    return 2 * (lines * turn).sum(dim=-1) / hann.sum()


def locked_lsb(phasors: Tensor) -> tuple[float, float]:
    """How much of a period is locked to the pixel grid, and how much would seem so by chance.

    Errors of bands have any phase, so the squares of their phasors average out; a grid's have one phase or, where
    it follows the bend of the picture, that and its opposite, which both have the same square: √|mean z²|.

    Args:
        phasors: (C, N) from :func:`grid_phasors`, of many frames side by side.

    Returns:
        The locked amplitude in codes, and the root mean square of what random phases would give, in which the channels
        of one place count as one: √(√(Σ|s|²) / N), s the mean of z² over the channels. NaN without any windows.
    """
    if not phasors.numel():
        return math.nan, math.nan
    squares = phasors.square().mean(dim=0)
    locked = math.sqrt(float(squares.mean().abs()))
    return locked, math.sqrt(math.sqrt(float(squares.abs().square().sum())) / squares.numel())


def seam_jumps_lsb(error_lsb: Tensor, smooth: Tensor, columns: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Steps across upright seams, and across all other places. Transpose for level seams.

    A step at column x is the mean over 16 rows and columns x .. x+3, minus that of columns x-4 .. x-1. Places nearer
    than 8 pixels to a seam count as neither.

    Args:
        error_lsb: (C, H, W) in codes.
        smooth: (1, H, W) bool; only places in it count.
        columns: first column to the right of each seam.

    Returns:
        (N,) steps at the seams and (M,) elsewhere, signed, in codes.
    """
    if error_lsb.shape[1] < _SEAM_PX or error_lsb.shape[2] < 2 * _JUMP_PX:
        return error_lsb.new_zeros(0, dtype=torch.float64), error_lsb.new_zeros(0, dtype=torch.float64)
    size = (_SEAM_PX, _JUMP_PX)
    means = F.avg_pool2d(error_lsb.double()[:, None], size, stride=(_SEAM_PX, 1))[:, 0]
    whole = (F.avg_pool2d(smooth[:, None].double(), size, stride=(_SEAM_PX, 1)) == 1)[:, 0]
    jumps = means[:, :, _JUMP_PX:] - means[:, :, :-_JUMP_PX]
    counted = (whole[:, :, _JUMP_PX:] & whole[:, :, :-_JUMP_PX]).expand_as(jumps)
    place = torch.arange(_JUMP_PX, _JUMP_PX + jumps.shape[-1])
    away = torch.stack([(place - column).abs() for column in columns]).amin(dim=0)
    return jumps[counted & (away == 0)], jumps[counted & (away >= 2 * _JUMP_PX)]


def local_range(image: Tensor, reach_px: int) -> Tensor:
    """(C, H, W) → the largest minus the smallest value within ``reach_px`` pixels, of each channel."""
    side = 2 * reach_px + 1
    largest, negated = (F.max_pool2d(signed[None], side, stride=1, padding=reach_px)[0] for signed in (image, -image))
    return largest + negated


def edge_band(marked: Tensor, reach_px: int = 4) -> Tensor:
    """Pixels within ``reach_px`` of where a channel's mask begins or ends.

    Args:
        marked: (3, H, W) bool, such as the clipped channels.
        reach_px: in pixels.

    Returns:
        (H, W) bool.
    """
    return (dilate(marked, reach_px) & dilate(~marked, reach_px)).any(dim=0)


def chroma_log(rgb_lin: Tensor) -> Tensor:
    """Green against purple, G - (R + B) / 2, of light in the ACEScct curve; 0.057 is a stop.

    Args:
        rgb_lin: (3, H, W) scene-linear, any primaries.

    Returns:
        (H, W), positive where green.
    """
    log: Tensor = get_encoding("acescct").encode(rgb_lin)
    return log[1] - (log[0] + log[2]) / 2


def band_width_px(value_lsb: Tensor) -> Tensor:
    """How wide the bands of one code are: 1 / |∇v|, from central differences; infinite where nothing changes.

    Args:
        value_lsb: (C, H, W) not rounded, in codes.

    Returns:
        (C, H, W) in pixels.
    """
    down, across = torch.gradient(value_lsb.double(), dim=(1, 2))
    return 1 / torch.hypot(down, across)


def _windows(image: Tensor, mask: Tensor, height: int, width: int) -> Tensor:
    """(C, N, height, width): those windows side by side from the top left that lie wholly in the mask."""
    if height > image.shape[1] or width > image.shape[2]:
        return image.new_zeros(len(image), 0, height, width)
    tiles = image.unfold(1, height, height).unfold(2, width, width)
    inside = mask.unfold(1, height, height).unfold(2, width, width).all(dim=-1).all(dim=-1)[0]
    return tiles[:, inside]
