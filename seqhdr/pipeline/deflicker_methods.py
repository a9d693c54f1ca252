"""The methods of a deflicker on a stretch of frames: from how frames differ to the gains of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from seqhdr.classic.deflicker_flow import FilterState, filter_frame
from seqhdr.classic.deflicker_gain import GainPlan, flicker_share, left_changes, plan_gain, smooth_cells, stack_flows
from seqhdr.classic.deflicker_measure import CELL_PX, ChangeMap
from seqhdr.pipeline.deflicker_small import Follower, SmallPicture

__all__ = ["cell_light", "filtered_gains", "plan_stretch"]

# Changes are smoothed over so many cells before it is judged what of them is flicker.
_JUDGED_CELLS = 1.5


def cell_light(picture: SmallPicture) -> Tensor:
    """Log2 of light of each cell: (3, h, w)."""
    return F.avg_pool2d(picture.log2, CELL_PX)


def plan_stretch(maps: Sequence[ChangeMap]) -> GainPlan:
    """Method ``gain``: the gains of a stretch of frames, one more than maps."""
    height, width = maps[0].halves_stops.shape[-2:] if maps else (1, 1)
    return plan_gain(maps, (height, width))


def filtered_gains(maps: Sequence[ChangeMap], plan: GainPlan, pictures: Iterable[SmallPicture]) -> Iterator[Tensor]:
    """Method ``flow``: gains (3, h, w) of the frames one by one, the plan's and the recursive filter's.

    Args:
        maps: how the frames differ.
        plan: made of them.
        pictures: the frames once more, in order.
    """
    shares = _shares(maps, plan)
    follower = Follower()
    state: FilterState | None = None
    for index, picture in enumerate(pictures):
        size = picture.log2.shape[-2:]
        planned = _resized(plan.gain_stops[index], size)
        followed = follower.step(picture)
        if followed is None or state is None:
            state = FilterState(torch.zeros_like(picture.log2), torch.zeros_like(picture.log2))
        else:
            before, motion = followed
            state = filter_frame(
                picture.log2 + planned,
                before.log2 + _resized(plan.gain_stops[index - 1], size),
                picture.usable,
                before.usable,
                motion.backward_px,
                motion.forward_px,
                state,
                _resized(shares[index], size).clamp(0, 1),
                plan.kept_stops[index],
            )
        yield planned + state.gain_stops


def _shares(maps: Sequence[ChangeMap], plan: GainPlan) -> Tensor:
    """(T, 1, h, w) how much of what the plan leaves is flicker."""
    if len(maps) < 2:
        return torch.zeros_like(plan.gain_stops[:, :1])
    left, errors = left_changes(maps, plan)
    smooth, error = smooth_cells(left, errors, _JUDGED_CELLS)
    height, width = plan.gain_stops.shape[-2:]
    flows = stack_flows(maps, (height, width))
    return flicker_share(smooth, flows[0], torch.isfinite(error))


def _resized(field: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(field[None], size=tuple(size), mode="bicubic", align_corners=False)[0]
