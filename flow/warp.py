"""Backward warping: the previous frame, seen from the current one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["warp"]


def warp(image: Tensor, flow_px: Tensor, mode: str = "bicubic") -> tuple[Tensor, Tensor]:
    """Fetch ``image`` at the places the flow points to.

    Args:
        image: (B, C, H, W), the previous frame, any range.
        flow_px: (B, 2, H, W) backward flow in pixels, x first.
        mode: ``bilinear``, ``nearest`` or ``bicubic`` (a = -0.75). Bicubic keeps detail over many frames; bilinear
            blurs a little more with every step.

    Returns:
        The warped image (B, C, H, W), and a boolean mask (B, 1, H, W) that is true where the flow points inside
        the image. Outside, the nearest border pixel is repeated.

    Raises:
        ValueError: the shapes do not belong together.
    """
    batch, _, height, width = image.shape
    if flow_px.shape != (batch, 2, height, width):
        raise ValueError(
            f"flow of shape {tuple(flow_px.shape)} does not fit an image of shape {tuple(image.shape)}: "
            f"expected {(batch, 2, height, width)}"
        )
    x = flow_px[:, 0] + torch.arange(width, device=flow_px.device, dtype=flow_px.dtype)
    y = flow_px[:, 1] + torch.arange(height, device=flow_px.device, dtype=flow_px.dtype)[:, None]
    # grid_sample wants -1..1 between the centres of the outermost pixels (align_corners).
    grid = torch.stack((x * (2 / max(width - 1, 1)) - 1, y * (2 / max(height - 1, 1)) - 1), dim=-1)
    warped = F.grid_sample(image, grid, mode=mode, padding_mode="border", align_corners=True)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return warped, inside[:, None]
