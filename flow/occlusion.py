"""Which pixels were hidden in the previous frame, found by following the flow there and back."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from flow.warp import warp

__all__ = ["occluded"]


def occluded(
    backward_px: Tensor, forward_px: Tensor, alpha1: float = 0.01, alpha2: float = 0.5, at_px: Tensor | None = None
) -> Tensor:
    """Mark the pixels whose way there and back does not end where it began.

    With w_b the backward flow at a pixel and w_f the forward flow at the place it points to, a pixel counts as
    occluded where |w_b + w_f|² > alpha1 · (|w_b|² + |w_f|²) + alpha2 (Sundaram, Brox and Keutzer, Dense point
    trajectories by GPU-accelerated large displacement optical flow, ECCV 2010), and where w_b points outside the
    previous frame. With the two flows exchanged it marks the places of the previous frame that the current one hides.

    Args:
        backward_px: (B, 2, H, W) flow from the current frame to the previous one in pixels, x first.
        forward_px: (B, 2, H, W) flow from the previous frame to the current one.
        alpha1: what is forgiven in proportion to the squared motion.
        alpha2: what is always forgiven, in pixels squared.
        at_px: (B, h, w, 2) places of the current frame in pixels, x first, that are judged instead of all its pixels.
            They may lie between the pixels.

    Returns:
        (B, 1, H, W) bool, true for pixels of the current frame that the previous one does not show; (B, 1, h, w) for
        the places of ``at_px``.

    Raises:
        ValueError: the flows differ in shape, or are no flows, or the places do not belong to them.
    """
    if backward_px.ndim != 4 or backward_px.shape[1] != 2 or forward_px.shape != backward_px.shape:
        raise ValueError(
            f"backward flow of shape {tuple(backward_px.shape)} and forward flow of shape {tuple(forward_px.shape)}: "
            "expected (B, 2, H, W) twice"
        )
    if at_px is None:
        there, inside = warp(forward_px, backward_px, mode="bilinear")
    else:
        if at_px.ndim != 4 or at_px.shape[0] != backward_px.shape[0] or at_px.shape[3] != 2:
            raise ValueError(f"got places of shape {tuple(at_px.shape)}: expected ({backward_px.shape[0]}, h, w, 2)")
        backward_px, _ = _fetch(backward_px, at_px)
        there, inside = _fetch(forward_px, at_px + backward_px.permute(0, 2, 3, 1))
    gap = _squared(backward_px + there)
    return ~inside | (gap > alpha1 * (_squared(backward_px) + _squared(there)) + alpha2)


def _fetch(flow_px: Tensor, at_px: Tensor) -> tuple[Tensor, Tensor]:
    """Flow (B, 2, h, w) at places (B, h, w, 2), bilinear, and (B, 1, h, w) bool: the place is inside the frame."""
    last = at_px.new_tensor([flow_px.shape[3] - 1, flow_px.shape[2] - 1])
    grid = at_px * (2 / last.clamp(min=1)) - 1
    fetched = F.grid_sample(flow_px, grid, mode="bilinear", padding_mode="border", align_corners=True)
    return fetched, torch.all((at_px >= 0) & (at_px <= last), dim=-1)[:, None]


def _squared(flow_px: Tensor) -> Tensor:
    """(B, 2, H, W) → squared length (B, 1, H, W)."""
    return flow_px.square().sum(dim=1, keepdim=True)
