"""Exact flow of a camera that turns in place: no parallax, so the motion follows from geometry alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["rotation_flow", "view_rays"]

# What was never in the previous image lies this many pixels outside of it.
_FAR_PX = 1e6


def view_rays(height: int, width: int, focal_px: float) -> NDArray[np.float64]:
    """Directions through the pixel centres of a pinhole camera, not normalised.

    Args:
        height, width: image size in pixels.
        focal_px: focal length in pixels; horizontal field of view = 2·atan(width / (2·focal_px)).

    Returns:
        (H, W, 3): x right, y down, z forward (z = 1).
    """
    x = (np.arange(width) - (width - 1) / 2) / focal_px
    y = (np.arange(height) - (height - 1) / 2) / focal_px
    return np.stack(np.broadcast_arrays(x[None, :], y[:, None], 1.0), axis=-1)


def rotation_flow(
    height: int,
    width: int,
    focal_px: float,
    rotation: NDArray[np.float64],
    previous_focal_px: float,
    previous_rotation: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Backward flow between two views from one point.

    A pixel's ray is carried into the world by the current camera and projected by the previous one (the
    homography K' R'ᵀ R K⁻¹; Hartley and Zisserman, Multiple View Geometry, 2nd ed., 8.4).

    Args:
        height, width: image size in pixels.
        focal_px: focal length of the current view in pixels.
        rotation: (3, 3), columns are the current camera's axes in the world.
        previous_focal_px: focal length of the previous view in pixels.
        previous_rotation: (3, 3), the same for the previous camera.

    Returns:
        (H, W, 2) float32 in pixels, x first. Rays that fall behind the previous camera get a flow that points
        far outside the image.
    """
    seen = view_rays(height, width, focal_px) @ (previous_rotation.T @ rotation).T
    behind = seen[..., 2] <= 1e-6
    depth = np.where(behind, 1.0, seen[..., 2])
    x = seen[..., 0] / depth * previous_focal_px + (width - 1) / 2
    y = seen[..., 1] / depth * previous_focal_px + (height - 1) / 2
    flow = np.stack((x - np.arange(width)[None, :], y - np.arange(height)[:, None]), axis=-1)
    return np.where(behind[..., None], _FAR_PX, np.clip(flow, -_FAR_PX, _FAR_PX)).astype(np.float32)
