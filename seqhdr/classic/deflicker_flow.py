"""Deflicker by a recursive temporal filter along the motion: what a part of the picture does beside the whole of it.

out_t = prediction + (1 - a)(S_t - prediction), where the prediction is the result before, carried along the flow, with
its trend (level and trend as in Holt, Forecasting seasonals and trends by exponentially weighted moving averages, ONR
memorandum 52, 1957). The filter is written in its correction, L = out - S, which is smooth: the picture itself is never
interpolated, and its detail stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from seqhdr.classic.deflicker_measure import seen_before
from seqhdr.model.motion import warp

__all__ = ["FilterState", "filter_frame"]

# How much of the prediction is taken where all is well, and how fast a trend is learnt.
_HELD = 0.9
_TREND = 0.02
# Radius in pixels of the squares that a correction is smooth over, and the contrast in stops² from which on it follows
# the picture's edges (He, Sun and Tang, Guided image filtering, ECCV 2010).
_RADIUS_PX = 7
_EDGE = 0.05
# A pixel's noise: in flat places, and of flow that is a quarter of a pixel off.
_FLAT_STOPS = 0.004
_FLOW_ERROR_PX = 0.25
# Differences beyond so many medians are other things than flicker; less than the last is never beyond.
_OUTLIER = 4.0
_LEAST_OUTLIER_STOPS = 0.02
# A square of which less than this share can be compared takes what is around it.
_FEWEST = 0.1


@dataclass(frozen=True)
class FilterState:
    """What the filter carries from frame to frame.

    Attributes:
        gain_stops: (3, H, W) its correction of the frame, to be added.
        trend_stops: (3, H, W) how much brighter the result becomes per frame, beside the whole picture.
    """

    gain_stops: Tensor
    trend_stops: Tensor


def filter_frame(
    now_log2: Tensor,
    before_log2: Tensor,
    usable: Tensor,
    usable_before: Tensor,
    backward_px: Tensor,
    forward_px: Tensor,
    state: FilterState,
    share: Tensor,
    kept_stops: Tensor,
) -> FilterState:
    """Filter the next frame.

    Args:
        now_log2, before_log2: (3, H, W) log2 of light, the gains of :func:`~seqhdr.classic.deflicker_gain.plan_gain`
            added.
        usable, usable_before: (3, H, W) bool, neither clipped nor too dark.
        backward_px, forward_px: (2, H, W) flow from the frame to the one before, and back.
        state: of the frame before; zeros at the start.
        share: (1, H, W) 0..1, how much of the local change is flicker; 0 leaves a place alone.
        kept_stops: (3,) change of the whole picture that is to stay.

    Returns:
        The state of this frame, with its correction.
    """
    counted, visible = seen_before(usable, usable_before, backward_px, forward_px)
    warped, _ = warp(before_log2[None], backward_px[None])
    change = now_log2 - warped[0] - kept_stops[:, None, None]
    weights = _certainty(now_log2, change, counted)
    guide = now_log2.mean(dim=0, keepdim=True)
    smooth, known = _guided(change, guide, weights)
    carried, _ = warp(torch.cat((state.gain_stops, state.trend_stops))[None], backward_px[None], mode="bilinear")
    filled = _filled(carried[0], visible)
    gain, trend = filled[:3], filled[3:]
    # How far the frame is from its prediction; where nothing is known, exactly where it would be without flicker.
    off = torch.where(known, smooth - gain - trend, -gain)
    held = _HELD * share
    return FilterState(-held * off, (trend + _TREND * torch.where(known, off, 0)) * share)


def _certainty(log2: Tensor, change: Tensor, counted: Tensor) -> Tensor:
    """(3, H, W) how much each pixel says about flicker: nothing where hidden, little at edges and where it jumps."""
    right = F.pad(log2[..., 1:] - log2[..., :-1], (0, 1))
    down = F.pad(log2[..., 1:, :] - log2[..., :-1, :], (0, 0, 0, 1))
    steep = F.max_pool2d((right.square() + down.square()), 3, stride=1, padding=1)
    weights = _FLAT_STOPS**2 / (_FLAT_STOPS**2 + _FLOW_ERROR_PX**2 * steep)
    middle = torch.where(counted, change, torch.nan).flatten(1).abs().nanmedian(dim=1).values.nan_to_num()
    limit = (_OUTLIER * middle).clamp_min(_LEAST_OUTLIER_STOPS)[:, None, None]
    return torch.where(counted, weights / (1 + (change / limit).square()), 0)


def _guided(values: Tensor, guide: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Values (3, H, W) as local linear functions of a guide (1, H, W), least squares with weights; and where known."""
    total = _box(weights)
    safe = total.clamp_min(1e-9)
    mean_guide, mean = _box(weights * guide) / safe, _box(weights * values) / safe
    spread = _box(weights * guide.square()) / safe - mean_guide.square()
    along = (_box(weights * guide * values) / safe - mean_guide * mean) / (spread.clamp_min(0) + _EDGE)
    # Squares overlap; those that know most decide.
    around = _box(total).clamp_min(1e-9)
    slope, level = _box(total * along) / around, _box(total * (mean - along * mean_guide)) / around
    return slope * guide + level, _box((weights > 0).to(values.dtype)) >= _FEWEST


def _filled(fields: Tensor, visible: Tensor) -> Tensor:
    """Fields (C, H, W) with what was hidden before taken from around."""
    seen = visible.to(fields.dtype)[None]
    around = _box(fields * seen) / _box(seen).clamp_min(1e-6)
    return torch.where(visible, fields, around)


def _box(fields: Tensor) -> Tensor:
    """Means (C, H, W) over squares, the picture mirrored at its borders; as fast for any radius."""
    side = 2 * min(_RADIUS_PX, (min(fields.shape[-2:]) - 1) // 2) + 1
    means = [cv2.blur(plane, (side, side), borderType=cv2.BORDER_REFLECT_101) for plane in fields.numpy()]
    return torch.from_numpy(np.stack(means))
