"""How the light changes from frame to frame along the motion, on a grid of cells: what all deflickers start from.

Pictures here are small, in log2 of scene-linear light; a gain of any part of a picture is a sum there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from seqhdr.model.motion import occluded, warp

__all__ = ["CELL_PX", "ChangeMap", "combine_halves", "grid_px", "measure_change", "sample_cells", "seen_before"]

#: Side of a cell in pixels of the small picture.
CELL_PX = 8
# A pixel's noise where the picture is flat, and what it is that flow is off by: steep places weigh less.
_FLAT_STOPS = 0.004
_PIXEL_ERROR_PX = 0.25
# What flow is off by in a whole cell: it does not average out where the cell is one gradient.
_CELL_ERROR_PX = 0.05
# Neighbouring pixels err alike, so that n of them count as a quarter.
_ALIKE = 4.0
_LEAST_ERROR_STOPS = 2e-4
# Reach of the robust mean in units of a pixel's noise, and how often it is weighed anew.
_REACH = 2.0
_ROUNDS = 4
# Fewer counted pixels of the half of a cell say nothing.
_FEWEST_PX = 6


@dataclass(frozen=True)
class ChangeMap:
    """How one frame differs from the one before, seen along the motion.

    The pixels of each cell are divided into two halves like a chess board of 2x2 pixels: what both say is a change of
    light, what only one says is noise.

    Attributes:
        halves_stops: (2, 3, h, w) change of each half in stops, positive where the frame is brighter; 0 if unknown.
        errors_stops: (2, 3, h, w) its standard error; infinite where nothing is known.
        backward_cells: (2, h, w) motion from each cell to the frame before, in cells, x first.
        forward_cells: (2, h, w) motion from each cell of the frame before to this one.
    """

    halves_stops: Tensor
    errors_stops: Tensor
    backward_cells: Tensor
    forward_cells: Tensor


def seen_before(
    usable: Tensor, usable_before: Tensor, backward_px: Tensor, forward_px: Tensor
) -> tuple[Tensor, Tensor]:
    """Which pixels can be compared with the frame before.

    Args:
        usable, usable_before: (3, H, W) bool, neither clipped nor too dark, of the two frames.
        backward_px, forward_px: (2, H, W) flow from the frame to the one before, and back.

    Returns:
        (3, H, W) bool, and (H, W) bool: the same without looking at light.
    """
    visible = ~occluded(backward_px[None], forward_px[None])[0, 0]
    held, _ = warp(usable_before[None].float(), backward_px[None], mode="bilinear")
    return usable & (held[0] > 0.999) & visible, visible


def measure_change(
    now_log2: Tensor,
    before_log2: Tensor,
    usable: Tensor,
    usable_before: Tensor,
    backward_px: Tensor,
    forward_px: Tensor,
) -> ChangeMap:
    """Compare a frame with the one before.

    In each half of each cell the change is a mean that is weighted with one over the variance of a pixel, which is
    (0.004 stop)² and what a quarter of a pixel of wrong flow makes of the gradient, and weighed anew so that outliers
    count less (Cauchy's weights, iteratively reweighted least squares).

    Args:
        now_log2, before_log2: (3, H, W) log2 of light; H and W are multiples of :data:`CELL_PX`.
        usable, usable_before: (3, H, W) bool, see :func:`seen_before`.
        backward_px, forward_px: (2, H, W) flow from the frame to the one before, and back.

    Raises:
        ValueError: the sizes are no multiples of a cell.
    """
    height, width = now_log2.shape[-2:]
    if height % CELL_PX or width % CELL_PX:
        raise ValueError(f"got a picture of {width}x{height}, expected multiples of {CELL_PX}")
    counted, _ = seen_before(usable, usable_before, backward_px, forward_px)
    warped, _ = warp(before_log2[None], backward_px[None])
    change = _cells(now_log2 - warped[0])
    right, down = _slopes((now_log2 + warped[0]) / 2)
    variance = _cells(_FLAT_STOPS**2 + _PIXEL_ERROR_PX**2 * (right.square() + down.square()))
    counts = _cells(counted) & torch.isfinite(change)
    change = torch.where(counts, change, 0)
    coherent = torch.hypot(_cells(right).mean(-1), _cells(down).mean(-1)) * _CELL_ERROR_PX
    board = _board(now_log2.device)
    means, errors = [], []
    for half in (board, ~board):
        mean, error = _robust_mean(change[..., half], variance[..., half], counts[..., half])
        means.append(mean)
        errors.append((error.square() + coherent.square() + _LEAST_ERROR_STOPS**2).sqrt())
    flows = (F.avg_pool2d(flow, CELL_PX) / CELL_PX for flow in (backward_px, forward_px))
    return ChangeMap(torch.stack(means), torch.stack(errors), *flows)


def combine_halves(change: ChangeMap) -> tuple[Tensor, Tensor]:
    """The change that both halves say together, and its standard error: (3, h, w) each, in stops."""
    weights = change.errors_stops.square().reciprocal()
    total = weights.sum(dim=0)
    mean = (change.halves_stops * weights).sum(dim=0) / total.clamp_min(1e-12)
    return mean, total.rsqrt()


def grid_px(height: int, width: int, device: torch.device | str = "cpu") -> Tensor:
    """(h, w, 2) places of all pixels or cells, x first."""
    y, x = torch.meshgrid(
        torch.arange(float(height), device=device), torch.arange(float(width), device=device), indexing="ij"
    )
    return torch.stack((x, y), dim=-1)


def sample_cells(fields: Tensor, at: Tensor) -> Tensor:
    """Read fields (N, C, h, w) between their cells, bilinear, at places (N, h, w, 2); outside, the border's value."""
    last = at.new_tensor([fields.shape[-1] - 1, fields.shape[-2] - 1]).clamp_min(1)
    return F.grid_sample(fields, at * (2 / last) - 1, mode="bilinear", padding_mode="border", align_corners=True)


def _robust_mean(values: Tensor, variance: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over the last axis and its standard error, infinite where too little counts."""
    plain = torch.where(counts, variance.reciprocal(), 0)
    mean = torch.where(counts, values, torch.nan).nanmedian(dim=-1, keepdim=True).values.nan_to_num()
    weights = plain
    for _ in range(_ROUNDS):
        off = (values - mean).square() / (_REACH**2 * variance)
        weights = plain / (1 + off)
        mean = (weights * values).sum(-1, keepdim=True) / weights.sum(-1, keepdim=True).clamp_min(1e-12)
    total = weights.sum(-1).clamp_min(1e-12)
    error = (_ALIKE * (weights * (values - mean)).square().sum(-1)).sqrt() / total
    known = counts.sum(-1) >= _FEWEST_PX
    return torch.where(known, mean[..., 0], 0), torch.where(known, error, torch.inf)


def _cells(image: Tensor) -> Tensor:
    """(C, H, W) → (C, h, w, pixels of a cell)."""
    channels, height, width = image.shape
    blocks = image.reshape(channels, height // CELL_PX, CELL_PX, width // CELL_PX, CELL_PX)
    return blocks.transpose(2, 3).flatten(3)


def _board(device: torch.device) -> Tensor:
    """Which pixels of a cell belong to its first half."""
    side = torch.arange(CELL_PX, device=device) // 2
    return ((side[:, None] + side) % 2 == 0).flatten()


def _slopes(image: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients (3, H, W) to the right and down, in stops per pixel."""
    wide = F.pad(image[None], (1, 1, 1, 1), mode="replicate")[0]
    return (wide[:, 1:-1, 2:] - wide[:, 1:-1, :-2]) / 2, (wide[:, 2:, 1:-1] - wide[:, :-2, 1:-1]) / 2
