"""Deflicker by gains: each frame of a stretch without cuts is brought to the smooth light around it.

The gain of the whole picture, one per channel, is known best and goes first. Then what differs over the picture, as far
as it is broad and stands out of its own error, so that a clean shot is left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from seqhdr.classic.deflicker_measure import ChangeMap, combine_halves, grid_px, sample_cells
from seqhdr.classic.deflicker_paths import REACH, find_breaks, flicker_scale, lines, shrink, to_and_fro

__all__ = ["MOST_STOPS", "GainPlan", "flicker_share", "left_changes", "plan_gain", "smooth_cells", "stack_flows"]

#: A frame that is further off than this is no flicker but a flash, and stays.
MOST_STOPS = 0.75
# Cells differ by so much for other reasons than noise: a lamp flickers and the wall does not.
_SCATTER_STOPS = 0.01
# Reach of the robust mean over the cells, in their expected spread.
_REACH = 3.0
_ROUNDS = 8
# Neighbouring cells err alike.
_ALIKE = 4.0
# Places around which so small a share of the largest weight is known say nothing.
_FEWEST = 1e-3
# Standard deviation of the smoothing over the picture, as a share of its width: about 10 cells of a coarse grid.
_BROAD = 0.05
# How much of the change must go to and fro to be flicker: none of it is touched below the first, all from the second.
_SHARE = (0.25, 0.5)
# Parts of the picture, down and across, that must agree about the whole of it.
_PARTS = (3, 4)
# Error of an offset from the errors of the changes before and after the frame.
_OFFSET_ERRORS = 1.2


@dataclass(frozen=True)
class GainPlan:
    """What is to be done to a stretch of frames.

    Attributes:
        gain_stops: (T, 3, h, w) to be added to each frame, in stops.
        global_stops: (T, 3) the part of it that is the same all over the picture.
        kept_stops: (T, 3) change of the whole picture from the frame before that is left: fades, and steps that last.
        breaks: (T,) bool, where a step of exposure lies between a frame and the one before, and stays.
        flicker_stops: standard deviation of the flicker of the whole picture, of the channel that has most.
    """

    gain_stops: Tensor
    global_stops: Tensor
    kept_stops: Tensor
    breaks: Tensor
    flicker_stops: float


def plan_gain(maps: Sequence[ChangeMap], cells: tuple[int, int]) -> GainPlan:
    """Gains for a stretch of frames.

    Args:
        maps: of every frame but the first: how it differs from the one before.
        cells: height and width of the maps in cells.

    Returns:
        Gains of all frames, one more than maps.
    """
    frames = len(maps) + 1
    if frames < 3:
        nothing = torch.zeros(frames, 3)
        gains = nothing[:, :, None, None].expand(-1, -1, *cells)
        return GainPlan(gains, nothing, nothing, torch.zeros(frames, dtype=torch.bool), 0.0)
    combined = [combine_halves(change) for change in maps]
    changes = torch.stack([torch.zeros(3, *cells), *(change for change, _ in combined)])
    errors = torch.stack([torch.full((3, *cells), torch.inf), *(error for _, error in combined)])
    steps, step_errors = _whole_picture(changes, errors)
    breaks = find_breaks(steps, flicker_scale(steps[..., None, None], torch.zeros(frames).bool())[..., 0, 0])
    whole, slope, scale = _whole_gains(steps, step_errors, breaks)
    moved = torch.cat((torch.zeros(1, 3), whole[1:] - whole[:-1]))
    kept = torch.where(breaks[:, None], steps + moved, slope)
    flows = stack_flows(maps, cells)
    local = _local_gains(changes + (moved - kept)[..., None, None], errors, flows, breaks)
    gains = _without_flashes(whole[..., None, None] + local)
    return GainPlan(gains, whole, kept, breaks, float(scale.max()))


def left_changes(maps: Sequence[ChangeMap], plan: GainPlan, half: int | None = None) -> tuple[Tensor, Tensor]:
    """Changes that are left when the gains are applied and what is to stay is taken out.

    Args:
        maps: as for :func:`plan_gain`.
        plan: made of them.
        half: 0 or 1 for what one half of the pixels says; None for both.

    Returns:
        (T, 3, h, w) changes in stops, 0 for the first frame, and their standard errors, infinite where unknown.
    """
    cells = plan.gain_stops.shape[-2:]
    changes = [torch.zeros(3, *cells)]
    errors = [torch.full((3, *cells), torch.inf)]
    places = grid_px(*cells)
    for index, change in enumerate(maps):
        value, error = (
            combine_halves(change) if half is None else (change.halves_stops[half], change.errors_stops[half])
        )
        at = places + change.backward_cells.permute(1, 2, 0)
        before = sample_cells(plan.gain_stops[index : index + 1], at[None])[0]
        left = value + plan.gain_stops[index + 1] - before - plan.kept_stops[index + 1][:, None, None]
        changes.append(torch.where(torch.isfinite(error), left, 0))
        errors.append(error)
    return torch.stack(changes), torch.stack(errors)


def smooth_cells(values: Tensor, errors: Tensor, sigma_cells: float) -> tuple[Tensor, Tensor]:
    """Smooth over the picture, each cell weighted with one over the square of its error.

    Args:
        values, errors: (N, C, h, w) with infinite errors where nothing is known.
        sigma_cells: standard deviation of the Gaussian.

    Returns:
        Smooth values and their standard errors, the same shape.
    """
    known = torch.isfinite(errors)
    variance = torch.where(known, errors, 0).square()
    # Cells that are certain beyond measure must not speak for all around them.
    weights = torch.where(known, 1 / (variance + _SCATTER_STOPS**2), 0)
    total = _blur(weights, sigma_cells)
    smooth = _blur(weights * torch.where(known, values, 0), sigma_cells) / total.clamp_min(1e-12)
    # Σ k² w² variance / (Σ k w)²: the square of a Gaussian is one of 1/√2 of its width.
    squares = _blur(weights.square() * variance, sigma_cells / 2**0.5) / (4 * torch.pi * sigma_cells**2)
    error = (_ALIKE * squares).sqrt() / total.clamp_min(1e-12)
    return smooth, torch.where(total > _FEWEST * total.amax().clamp_min(1e-12), error, torch.inf)


def _whole_picture(changes: Tensor, errors: Tensor) -> tuple[Tensor, Tensor]:
    """Change of the whole picture (T, 3) and its standard error: a robust mean over the cells."""
    values, variance = changes.flatten(2), errors.flatten(2).square() + _SCATTER_STOPS**2
    counts = torch.isfinite(variance)
    mean = torch.where(counts, values, torch.nan).nanmedian(dim=-1, keepdim=True).values.nan_to_num()
    weights = torch.where(counts, variance.reciprocal(), 0)
    plain = weights
    for _ in range(_ROUNDS):
        off = (values - mean).square() / (_REACH**2 * variance)
        weights = plain * (1 - off).clamp_min(0).square()
        mean = (weights * values).sum(-1, keepdim=True) / weights.sum(-1, keepdim=True).clamp_min(1e-12)
    total = weights.sum(-1)
    error = (_ALIKE * (weights * (values - mean)).square().sum(-1)).sqrt() / total.clamp_min(1e-12)
    error = torch.maximum(error, _discord(changes, plain.view_as(changes)))
    return torch.where(total > 0, mean[..., 0], 0), torch.where(total > 0, error, torch.inf)


def _discord(changes: Tensor, weights: Tensor) -> Tensor:
    """Standard error (T, 3) of the whole picture's change as its parts tell it, which err together in themselves.

    Where a third of the picture brightens and a third darkens, no mean is that of the whole.
    """
    parts = min(_PARTS[0], changes.shape[-2]), min(_PARTS[1], changes.shape[-1])
    total = F.adaptive_avg_pool2d(weights, parts).flatten(2)
    means = F.adaptive_avg_pool2d(weights * changes, parts).flatten(2) / total.clamp_min(1e-12)
    means = torch.where(total > _FEWEST * total.amax(-1, keepdim=True), means, torch.nan)
    off = (means - means.nanmedian(dim=-1, keepdim=True).values).abs()
    # Half of a part's own: neighbouring parts show the same things, and are hardly more than four.
    return (1.4826 / 2 * off.nanmedian(dim=-1).values).nan_to_num(0.0)


def _whole_gains(steps: Tensor, errors: Tensor, breaks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gain (T, 3) of the whole picture, the slope (T, 3) of its smooth light, and how much it flickers (3,)."""
    fields = steps[..., None, None]
    still = torch.zeros(len(steps), 2, 1, 1)
    scale = flicker_scale(fields, breaks)
    known = torch.isfinite(errors)[..., None, None]
    fitted = list(lines(fields, still, still, breaks, scale, known))
    offset = torch.stack([line.offset_stops[:, 0, 0] for line in fitted])
    slope = torch.stack([line.slope_stops[:, 0, 0] for line in fitted])
    return shrink(offset, _of_offset(errors)), slope, scale[:, 0, 0]


def _local_gains(changes: Tensor, errors: Tensor, flows: tuple[Tensor, Tensor], breaks: Tensor) -> Tensor:
    """Gains (T, 3, h, w) of what is left when the whole picture's are done: broad, and surer than its error."""
    smooth, error = smooth_cells(changes, errors, max(1.0, _BROAD * changes.shape[-1]))
    known = torch.isfinite(error)
    scale = flicker_scale(smooth, breaks)
    offset = torch.stack([line.offset_stops for line in lines(smooth, *flows, breaks, scale, known)])
    return shrink(offset, _of_offset(error)) * flicker_share(smooth, flows[0], known)


def flicker_share(changes: Tensor, backward: Tensor, known: Tensor) -> Tensor:
    """Where what changes is flicker: (T, 1, h, w) 0..1, judged over 8 frames before and after and a tenth of the width.

    Arguments as for :func:`~seqhdr.classic.deflicker_paths.to_and_fro`. A wave of four frames or more is no flicker.
    """
    sums = torch.stack(to_and_fro(changes, backward, known), dim=1)
    over = torch.ones(1, 1, 2 * REACH + 1)
    series = sums.permute(1, 2, 3, 0).reshape(-1, 1, len(sums))
    summed = F.conv1d(series, over, padding=REACH).view(2, *sums.shape[-2:], len(sums)).permute(3, 0, 1, 2)
    back, energy = _blur(summed, max(1.0, _BROAD * changes.shape[-1])).unbind(dim=1)
    low, high = _SHARE
    return ((back / energy.clamp_min(1e-12) - low) / (high - low)).clamp(0, 1)[:, None]


def _of_offset(errors: Tensor) -> Tensor:
    """Errors of offsets from the errors of the changes into each frame (T, ...): those before and after it."""
    after = torch.cat((errors[1:], errors[-1:]))
    before = torch.cat((errors[1:2], errors[1:]))
    # Where one side is unknown, the other is what the offset rests on.
    before, after = (
        torch.where(torch.isfinite(before), before, after),
        torch.where(torch.isfinite(after), after, before),
    )
    return _OFFSET_ERRORS * ((before.square() + after.square()) / 2).sqrt()


def _without_flashes(gains: Tensor) -> Tensor:
    """No gain at all where it would be too large for flicker, with a soft edge over the last fifth."""
    size = gains.abs().amax(dim=1, keepdim=True)
    return gains * (5 * (1 - size / MOST_STOPS)).clamp(0, 1)


def stack_flows(maps: Sequence[ChangeMap], cells: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Motion of all frames to the one before, and back: (T, 2, h, w) each, in cells; none for the first."""
    still = torch.zeros(2, *cells)
    backward = torch.stack([still, *(change.backward_cells for change in maps)])
    return backward, torch.stack([still, *(change.forward_cells for change in maps)])


def _blur(fields: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (N, C, h, w), the outside counting nothing."""
    reach = max(1, round(2.5 * sigma))
    k = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma).square())
    k = (k / k.sum()).to(fields.dtype)
    count, channels, height, width = fields.shape
    flat = fields.reshape(count * channels, 1, height, width)
    flat = F.conv2d(flat, k.view(1, 1, 1, -1), padding=(0, reach))
    return F.conv2d(flat, k.view(1, 1, -1, 1), padding=(reach, 0)).view_as(fields)
