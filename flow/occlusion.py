"""Which pixels were hidden in the previous frame, found by following the flow there and back."""

from __future__ import annotations

from torch import Tensor

from flow.warp import warp

__all__ = ["occluded"]


def occluded(backward_px: Tensor, forward_px: Tensor, alpha1: float = 0.01, alpha2: float = 0.5) -> Tensor:
    """Mark the pixels whose way there and back does not end where it began.

    With w_b the backward flow at a pixel and w_f the forward flow at the place it points to, a pixel counts as
    occluded where |w_b + w_f|² > alpha1 · (|w_b|² + |w_f|²) + alpha2 (Sundaram, Brox and Keutzer, Dense point
    trajectories by GPU-accelerated large displacement optical flow, ECCV 2010), and where w_b points outside the
    previous frame.

    Args:
        backward_px: (B, 2, H, W) flow from the current frame to the previous one in pixels, x first.
        forward_px: (B, 2, H, W) flow from the previous frame to the current one.
        alpha1: what is forgiven in proportion to the squared motion.
        alpha2: what is always forgiven, in pixels squared.

    Returns:
        (B, 1, H, W) bool, true for pixels of the current frame that the previous one does not show.

    Raises:
        ValueError: the flows differ in shape, or are no flows.
    """
    if backward_px.ndim != 4 or backward_px.shape[1] != 2 or forward_px.shape != backward_px.shape:
        raise ValueError(
            f"backward flow of shape {tuple(backward_px.shape)} and forward flow of shape {tuple(forward_px.shape)}: "
            "expected (B, 2, H, W) twice"
        )
    there, inside = warp(forward_px, backward_px, mode="bilinear")
    gap = _squared(backward_px + there)
    return ~inside | (gap > alpha1 * (_squared(backward_px) + _squared(there)) + alpha2)


def _squared(flow_px: Tensor) -> Tensor:
    """(B, 2, H, W) → squared length (B, 1, H, W)."""
    return flow_px.square().sum(dim=1, keepdim=True)
