"""Exact flow of a camera that turns in place: no parallax, so the motion follows from geometry alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["rotation_flow", "view_rays"]

# What was never in the previous image lies this many pixels outside of it.
_FAR_PX = 1e6


def view_rays(height: int, width: int, focal_px: float, distortion: float = 0.0) -> NDArray[np.float64]:
    """Directions through the pixel centres of a camera, not normalised.

    Lens distortion follows the division model (Fitzgibbon, Simultaneous linear estimation of multiple view geometry
    and lens distortion, CVPR 2001): a point at radius r of the distorted picture lies at r / (1 + λ·r²) in the
    undistorted one. The division is left to the ray's z, so views of more than 180° pose no problem.

    Args:
        height, width: image size in pixels.
        focal_px: focal length in pixels; without distortion the horizontal field of view is
            2·atan(width / (2·focal_px)).
        distortion: λ, with r = 1 in the corners of the image; negative bends lines outward (barrel), positive inward
            (pincushion), 0 is a pinhole. Between -1 and 1.

    Returns:
        (H, W, 3): x right, y down, z forward (z = 1 + λ·r²).

    Raises:
        ValueError: a distortion with which the picture folds over itself or reaches infinity.
    """
    x = (np.arange(width) - (width - 1) / 2) / focal_px
    y = (np.arange(height) - (height - 1) / 2) / focal_px
    z = 1 + _per_focal(height, width, focal_px, distortion) * (x[None, :] ** 2 + y[:, None] ** 2)
    return np.stack(np.broadcast_arrays(x[None, :], y[:, None], z), axis=-1)


def rotation_flow(
    height: int,
    width: int,
    focal_px: float,
    rotation: NDArray[np.float64],
    previous_focal_px: float,
    previous_rotation: NDArray[np.float64],
    distortion: float = 0.0,
) -> NDArray[np.float32]:
    """Backward flow between two views from one point.

    A pixel's ray is carried into the world by the current camera and projected by the previous one (without
    distortion the homography K' R'ᵀ R K⁻¹; Hartley and Zisserman, Multiple View Geometry, 2nd ed., 8.4). With
    distortion, the ray (X, Y, Z) is seen at s·(X, Y) where λ·s²·(X² + Y²) - s·Z + 1 = 0, the division model solved
    for the distorted picture.

    Args:
        height, width: image size in pixels.
        focal_px: focal length of the current view in pixels.
        rotation: (3, 3), columns are the current camera's axes in the world.
        previous_focal_px: focal length of the previous view in pixels.
        previous_rotation: (3, 3), the same for the previous camera.
        distortion: of the lens of both views, see :func:`view_rays`.

    Returns:
        (H, W, 2) float32 in pixels, x first. Rays that the previous camera cannot see, such as those behind it, get
        a flow that points far outside the image. Views that are the same have no flow at all, to the last bit.

    Raises:
        ValueError: a distortion with which the picture folds over itself or reaches infinity.
    """
    if focal_px == previous_focal_px and np.array_equal(rotation, previous_rotation):
        return np.zeros((height, width, 2), np.float32)
    seen = view_rays(height, width, focal_px, distortion) @ (previous_rotation.T @ rotation).T
    bend = 4 * _per_focal(height, width, previous_focal_px, distortion) * (seen[..., 0] ** 2 + seen[..., 1] ** 2)
    square = seen[..., 2] ** 2 - bend
    # 1 / s; of the two solutions the one that a weaker and weaker lens turns into Z.
    depth = (seen[..., 2] + np.sqrt(np.maximum(square, 0))) / 2
    unseen = (depth <= 1e-6) | (square < 0)
    depth = np.where(unseen, 1.0, depth)
    x = seen[..., 0] / depth * previous_focal_px + (width - 1) / 2
    y = seen[..., 1] / depth * previous_focal_px + (height - 1) / 2
    flow = np.stack((x - np.arange(width)[None, :], y - np.arange(height)[:, None]), axis=-1)
    return np.where(unseen[..., None], _FAR_PX, np.clip(flow, -_FAR_PX, _FAR_PX)).astype(np.float32)


def _per_focal(height: int, width: int, focal_px: float, distortion: float) -> float:
    """λ for radii in focal lengths instead of half diagonals."""
    if not -1 < distortion < 1:
        raise ValueError(f"got a distortion of {distortion}, expected more than -1 and less than 1")
    return float(distortion * (2 * focal_px / np.hypot(height, width)) ** 2)
