"""Light over time along the motion: its path before and after each frame, and the smooth line through it.

A fade or a drift is a line, and stays. A step that lasts (a lamp is switched on) is a break, across which nothing is
smoothed. What is left beside the line is flicker.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from seqhdr.classic.deflicker_measure import grid_px, sample_cells

__all__ = ["REACH", "Line", "find_breaks", "flicker_scale", "lines", "shrink", "to_and_fro"]

#: Frames before and after that a line is fitted to.
REACH = 8
# Standard deviation of the Gaussian weights in frames: white flicker keeps 4 % of its differences.
_SIGMA = 3.5
# What is further from the line than this many deviations of the flicker is something else (Tukey's biweight).
_OUTLIER = 6.0
_ROUNDS = 3
# Frames fitted at a time: their paths are the largest thing held.
_BLOCK = 32
# A step is a break from this many standard errors and stops on; twice as many frames as unknowns at least.
_BREAK_ERRORS = 5.0
_BREAK_STOPS = 0.03
_BREAK_FRAMES = 3
#: Below this, in stops, nothing flickers that anyone could see or any half float hold.
_LEAST_SCALE = 3e-4


@dataclass(frozen=True)
class Line:
    """The smooth light of one frame, relative to what the frame shows.

    Attributes:
        offset_stops: (C, h, w) what must be added to the frame.
        slope_stops: (C, h, w) how much brighter the smooth light becomes per frame.
    """

    offset_stops: Tensor
    slope_stops: Tensor


def lines(
    changes: Tensor, backward: Tensor, forward: Tensor, breaks: Tensor, scale: Tensor, known: Tensor
) -> Iterator[Line]:
    """Fit a line to the path of each place of each frame.

    The path of a place is followed along the motion and is the sum of the changes on the way: 0 at the frame itself.
    The line is a local linear fit with Gaussian weights (Cleveland, Robust locally weighted regression, JASA 74, 1979),
    which has no bias on fades, also at both ends of a shot. Its slope counts only as far as it stands out of its
    error: else the ends would follow the flicker.

    Args:
        changes: (T, C, h, w) change of each frame from the one before in stops; that of the first is not read.
        backward, forward: (T, 2, h, w) motion between the frame and the one before in cells, see
            :class:`~seqhdr.classic.deflicker_measure.ChangeMap`; those of the first frame are not read.
        breaks: (T,) bool, where nothing is to be smoothed across: between the frame and the one before.
        scale: (C, h, w) or broadcastable, standard deviation of the flicker, from :func:`flicker_scale`.
        known: (T, C, h, w) bool, where the change is known; a path ends where it is not.

    Yields:
        One line for each frame.
    """
    frames = len(changes)
    part = breaks.long().cumsum(0)
    for first in range(0, frames, _BLOCK):
        here = torch.arange(first, min(first + _BLOCK, frames))
        path, valid = _paths(changes, backward, forward, known, part, here)
        offset, slope = _fit(path, valid, scale)
        for index in range(len(here)):
            yield Line(offset[index], slope[index])


def flicker_scale(changes: Tensor, breaks: Tensor) -> Tensor:
    """How much flicker there is: (C, h, w) standard deviation in stops, robust, from the changes (T, C, h, w).

    The change of white flicker changes by √6 of its deviation; that of a fade does not change. The median over time
    does not see steps and single flashes. Breaks (T,) are left out.
    """
    whole = ~(breaks[2:] | breaks[1:-1])
    steps = (changes[2:] - changes[1:-1])[whole]
    if len(steps) == 0:
        return torch.full_like(changes[0], _LEAST_SCALE)
    return (1.4826 / 6**0.5 * steps.abs().median(dim=0).values).clamp_min(_LEAST_SCALE)


def find_breaks(changes: Tensor, scale: Tensor) -> Tensor:
    """Steps of the light that last: (T,) bool, true where one lies between a frame and the one before.

    To the path around each place, up to 8 frames before and after, a line with a step is fitted robustly; a break is
    the largest step around that is 5 standard errors high. A flash is two steps that do not last, and no break.

    Args:
        changes: (T, C) change of the whole picture from the frame before in stops; the first is not read.
        scale: (C,) standard deviation of the flicker in stops.
    """
    frames, channels = changes.shape
    found = torch.zeros(frames, dtype=torch.bool)
    if frames < 2 * _BREAK_FRAMES:
        return found
    path = torch.cat((torch.zeros(1, channels), changes[1:])).cumsum(0).double()
    strength = torch.zeros(frames)
    for at in range(_BREAK_FRAMES, frames - _BREAK_FRAMES + 1):
        window = torch.arange(max(at - REACH, 0), min(at + REACH, frames))
        after = (window >= at).double()
        rows = torch.stack((torch.ones(len(window)).double(), (window - at + 0.5).double(), after), dim=1)
        step, error = _step(rows, path[window], scale.double())
        strong = (step.abs() / error).where(step.abs() > _BREAK_STOPS, 0)
        strength[at] = float(strong.max())
    for at in range(frames):
        around = strength[max(at - 2, 0) : at + 3]
        found[at] = strength[at] >= _BREAK_ERRORS and strength[at] == around.max()
    return found


def to_and_fro(changes: Tensor, backward: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """What tells flicker from all else that changes: it goes back where it came from.

    The change of white flicker correlates with the one before by -1/2, that of a one-frame flash too, an alternation by
    -1. Errors of the flow are new each time and do not correlate; light that wanders over a turning body goes on.

    Args:
        changes: (T, C, h, w) change of each frame from the one before in stops; that of the first is not read.
        backward: (T, 2, h, w) motion to the frame before in cells.
        known: (T, C, h, w) bool, where the change is known.

    Returns:
        (T, h, w) sums over the channels: twice the product of neighbouring changes with its sign turned, and the mean
        of their squares. Over many of them the first is to the second as 1 for flicker, 0 and less for the rest.
    """
    at = grid_px(*changes.shape[-2:]) + backward[1:].permute(0, 2, 3, 1)
    together = torch.cat((changes, known.to(changes.dtype)), dim=1)[:-1]
    read = sample_cells(together, at)
    channels = changes.shape[1]
    both = known[1:] & (read[:, channels:] > 0.5)
    both[0] = False
    now, before = (torch.where(both, each, 0) for each in (changes[1:], read[:, :channels]))
    nothing = torch.zeros_like(changes[:1, 0])
    back = torch.cat((nothing, (-2 * now * before).sum(dim=1)))
    return back, torch.cat((nothing, ((now.square() + before.square()) / 2).sum(dim=1)))


def shrink(values: Tensor, error: Tensor, errors: float = 2.0) -> Tensor:
    """Values less what chance makes of them: 0 up to ``errors`` standard errors, nearly whole far above."""
    return values * (1 - (errors * error / values.abs().clamp_min(1e-9)).square()).clamp_min(0)


def _step(rows: Tensor, path: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """The last unknown of a robust fit to paths (n, C), and its standard error: (C,) each."""
    columns = path.T[..., None]  # (C, n, 1)
    off = torch.zeros_like(columns)
    weights = torch.ones_like(columns)
    spread = scale[:, None, None]
    for turn in range(12):
        squares = (rows[None] * weights).transpose(1, 2) @ rows + 1e-9 * torch.eye(rows.shape[1]).double()
        unknowns = torch.linalg.solve(squares, (rows[None] * weights).transpose(1, 2) @ columns)
        off = columns - rows @ unknowns
        # Absolute deviations first, which start well among outliers; then what is far out counts nothing.
        if turn < 8:
            weights = 1 / off.abs().clamp_min(spread)
        else:
            weights = (1 - (off / (_OUTLIER * spread)).square()).clamp_min(0).square().clamp_min(1e-6)
    inverse = torch.linalg.inv((rows[None] * weights).transpose(1, 2) @ rows + 1e-9 * torch.eye(3).double())
    left = (weights * off.square()).sum(1) / (weights.sum(1) - 2).clamp_min(1)
    noise = torch.maximum(left.sqrt()[:, 0], scale)
    return unknowns[:, 2, 0], noise * inverse[:, 2, 2].sqrt()


def _paths(
    changes: Tensor, backward: Tensor, forward: Tensor, known: Tensor, part: Tensor, here: Tensor
) -> tuple[Tensor, Tensor]:
    """Paths (2 REACH + 1, n, C, h, w) of the places of some frames, and where they are known (bool)."""
    frames, channels, height, width = changes.shape
    start = grid_px(height, width)
    last = torch.tensor([width - 1.0, height - 1.0])
    together = torch.cat((changes, known.to(changes.dtype)), dim=1)
    path = changes.new_zeros(2 * REACH + 1, len(here), channels, height, width)
    valid = torch.zeros(path.shape, dtype=torch.bool)
    valid[REACH] = True
    for way in (-1, 1):
        at = start.expand(len(here), -1, -1, -1)
        total = torch.zeros_like(path[0])
        alive = torch.ones_like(valid[0])
        for step in range(1, REACH + 1):
            # The change between two frames is kept with the later one, and seen from there.
            later = here + step if way > 0 else here - step + 1
            there = here + way * step
            exists = (there >= 0) & (there < frames)
            later = later.clamp(0, frames - 1)
            exists &= part[there.clamp(0, frames - 1)] == part[here]
            flow = forward if way > 0 else backward
            moved = at + sample_cells(flow[later], at).permute(0, 2, 3, 1)
            read = sample_cells(together[later], moved if way > 0 else at)
            at = moved
            inside = ((at >= -0.5) & (at <= last + 0.5)).all(dim=-1)[:, None]
            alive = alive & inside & exists[:, None, None, None] & (read[:, channels:] > 0.5)
            total = total + way * read[:, :channels]
            path[REACH + way * step] = total
            valid[REACH + way * step] = alive
    return path, valid


def _fit(path: Tensor, valid: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Offset and slope (n, C, h, w) of the lines through paths."""
    k = torch.arange(-REACH, REACH + 1, dtype=path.dtype).view(-1, 1, 1, 1, 1)
    near = torch.exp(-0.5 * (k / _SIGMA).square()) * valid
    both = valid[1:] & valid[:-1]
    slope = torch.where(both, path[1:] - path[:-1], torch.nan).nanmedian(dim=0).values.nan_to_num()
    offset = torch.where(valid, path - slope * k, torch.nan).nanmedian(dim=0).values
    centre = torch.zeros_like(offset)
    for _ in range(_ROUNDS):
        off = (path - offset - slope * (k - centre)) / (_OUTLIER * scale)
        weights = near * (1 - off.square()).clamp_min(0).square()
        total = weights.sum(dim=0).clamp_min(1e-9)
        centre = (weights * k).sum(dim=0) / total
        middle = (weights * path).sum(dim=0) / total
        spread = (weights * (k - centre).square()).sum(dim=0)
        raw = (weights * (k - centre) * (path - middle)).sum(dim=0) / spread.clamp_min(1e-3)
        left = (weights * (path - middle - raw * (k - centre)).square()).sum(dim=0) / total
        offset, slope = middle, shrink(raw, (left / spread.clamp_min(1e-3)).sqrt())
    # Nothing but the frame itself: nothing to do.
    alone = valid.sum(dim=0) < 3
    return torch.where(alone, 0, offset - slope * centre), torch.where(alone, 0, slope)
