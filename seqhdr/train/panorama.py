"""A virtual camera inside an HDR panorama: shots with known radiance and exactly known motion."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import OpenImageIO as oiio  # noqa: N813 - the name its own documentation uses
from numpy.typing import NDArray

from seqhdr.errors import FrameError
from seqhdr.model.motion import rotation_flow, view_rays

__all__ = ["CameraPath", "Panorama", "camera_path", "load_panorama", "panorama_from_linear", "render"]

# Columns repeated at both ends so that interpolation runs across the seam.
_SEAM = 8
# Darkest value that is kept, in scene-linear light; logarithms need a floor.
_DARKEST = 2.0**-24


@dataclass(frozen=True)
class Panorama:
    """An equirectangular HDR image, kept as log2.

    Cubic interpolation of linear light rings below zero around every lamp; of its logarithm it does not.

    Attributes:
        name: for messages and provenance.
        log2_rgb: (H, W + 2·seam, 3) float32, log2 of scene-linear Rec.709.
    """

    name: str
    log2_rgb: NDArray[np.float32]

    @property
    def pixels_per_radian(self) -> float:
        """Angular resolution at the horizon: the focal length in pixels at which a view is natively sharp."""
        return float((self.log2_rgb.shape[1] - 2 * _SEAM) / (2 * np.pi))


@dataclass(frozen=True)
class CameraPath:
    """Where a camera that turns in place looks, frame by frame.

    Attributes:
        rotations: (T, 3, 3) float64, columns are the camera's axes (right, down, forward) in the world.
        focal_px: (T,) float64, focal lengths in pixels.
    """

    rotations: NDArray[np.float64]
    focal_px: NDArray[np.float64]

    def flow(self, frame: int, height: int, width: int) -> NDArray[np.float32]:
        """Exact backward flow of ``frame`` to the one before, (H, W, 2) pixels; zero for the first frame."""
        if frame == 0:
            return np.zeros((height, width, 2), np.float32)
        before = frame - 1
        return rotation_flow(
            height,
            width,
            float(self.focal_px[frame]),
            self.rotations[frame],
            float(self.focal_px[before]),
            self.rotations[before],
        )


def panorama_from_linear(name: str, rgb_lin: NDArray[np.float32]) -> Panorama:
    """Wrap a scene-linear Rec.709 equirectangular image (H, W, 3)."""
    log2_rgb = np.log2(np.maximum(rgb_lin.astype(np.float32), _DARKEST))
    return Panorama(name, np.pad(log2_rgb, ((0, 0), (_SEAM, _SEAM), (0, 0)), mode="wrap"))


def load_panorama(path: Path) -> Panorama:
    """Read an equirectangular ``.exr`` or ``.hdr``, scene-linear Rec.709.

    Raises:
        FrameError: the file cannot be read or has fewer than three channels.
    """
    image = oiio.ImageInput.open(str(path))
    if image is None:
        raise FrameError(f"{path}: not a readable panorama ({oiio.geterror()}); give an .exr or .hdr file")
    try:
        pixels = image.read_image(0, 0, 0, min(3, image.spec().nchannels), oiio.FLOAT)
    finally:
        image.close()
    if pixels is None or pixels.shape[-1] < 3:
        raise FrameError(f"{path}: has no RGB pixels that can be read; give a complete RGB panorama")
    return panorama_from_linear(path.stem, np.nan_to_num(np.asarray(pixels), posinf=65504.0))


def render(panorama: Panorama, path: CameraPath, frame: int, height: int, width: int) -> NDArray[np.float32]:
    """One view, scene-linear Rec.709.

    Args:
        panorama: the world.
        path: the camera.
        frame: which of its frames.
        height, width: size in pixels.

    Returns:
        (H, W, 3) float32, sampled cubically in log2.
    """
    rays = view_rays(height, width, float(path.focal_px[frame])) @ path.rotations[frame].T
    longitude = np.arctan2(rays[..., 0], rays[..., 2])
    latitude = np.arctan2(rays[..., 1], np.hypot(rays[..., 0], rays[..., 2]))
    rows, columns = panorama.log2_rgb.shape[0], panorama.log2_rgb.shape[1] - 2 * _SEAM
    x = (longitude / (2 * np.pi) + 0.5) * columns - 0.5 + _SEAM
    y = (latitude / np.pi + 0.5) * rows - 0.5
    view = cv2.remap(
        panorama.log2_rgb,
        x.astype(np.float32),
        y.astype(np.float32),
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.exp2(view).astype(np.float32)


def camera_path(
    frames: int,
    *,
    yaw_deg: float = 0.0,
    pitch_deg: float = 0.0,
    roll_deg: float = 0.0,
    focal_px: float,
    pan_px: tuple[float, float] = (0.0, 0.0),
    roll_rate_deg: float = 0.0,
    zoom: float = 1.0,
    jitter_px: float = 0.0,
    seed: int = 0,
) -> CameraPath:
    """A steady pan with hand-held jitter.

    Args:
        frames: how many.
        yaw_deg, pitch_deg, roll_deg: where the first frame looks; positive pitch looks down.
        focal_px: focal length in pixels.
        pan_px: motion of the picture's centre in pixels per frame, right and down.
        roll_rate_deg: roll per frame.
        zoom: factor on the focal length per frame.
        jitter_px: standard deviation of the smoothed shake in pixels.
        seed: of the shake.
    """
    rng = np.random.default_rng(seed)
    shake = rng.normal(size=(frames + 4, 2))
    shake = jitter_px * (shake[:-4] + shake[1:-3] + shake[2:-2] + shake[3:-1] + shake[4:]) / np.sqrt(5)
    time = np.arange(frames)
    focal = np.asarray(focal_px * zoom**time, np.float64)
    degrees_per_px = np.rad2deg(1 / focal_px)
    yaw = yaw_deg + (time * pan_px[0] + shake[:, 0]) * degrees_per_px
    pitch = pitch_deg + (time * pan_px[1] + shake[:, 1]) * degrees_per_px
    roll = roll_deg + time * roll_rate_deg
    return CameraPath(np.stack([_rotation(*angles) for angles in zip(yaw, pitch, roll, strict=True)]), focal)


def _rotation(yaw_deg: float, pitch_deg: float, roll_deg: float) -> NDArray[np.float64]:
    """Roll about the view axis, then pitch, then yaw about the vertical."""
    (cy, cp, cr), (sy, sp, sr) = (f(np.deg2rad([yaw_deg, pitch_deg, roll_deg])) for f in (np.cos, np.sin))
    yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    pitch = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.asarray(yaw @ pitch @ roll)
