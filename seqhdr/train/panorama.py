"""A world to film: an HDR panorama, and what a camera in its middle sees of it."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import OpenImageIO as oiio  # noqa: N813 - the name its own documentation uses
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from seqhdr.errors import FrameError
from seqhdr.model.motion import view_rays
from seqhdr.train.camera import CameraPath

__all__ = ["Panorama", "load_panorama", "look", "panorama_from_linear", "render", "sample_spline"]

# Rows and columns repeated on every side, so that interpolation runs across the seam and the poles.
_PAD = 4
# Darkest value that is kept, in scene-linear light; logarithms need a floor.
_DARKEST = 2.0**-24
# Views with a longer focal length than this many times the panorama's own show nothing that could alias.
_SMOOTH = 1.5


@dataclass(frozen=True)
class Panorama:
    """An equirectangular HDR image, kept as the spline coefficients of its log2.

    Interpolation of linear light rings below zero around every lamp; of its logarithm it does not.

    Attributes:
        name: for messages and provenance.
        spline_log2: (3, H + 2·pad, W + 2·pad) float32, log2 of scene-linear Rec.709, sharpened as much as
            :func:`sample_spline` softens.
        log2_median: median over the picture of the log2 of the three channels' mean.
    """

    name: str
    spline_log2: NDArray[np.float32]
    log2_median: float

    @property
    def log2_rgb(self) -> NDArray[np.float32]:
        """(H, W, 3) float32, log2 of scene-linear Rec.709 as a view shows it at the panorama's own pixels."""
        planes = self.spline_log2[:, _PAD - 1 : 1 - _PAD, _PAD - 1 : 1 - _PAD]
        for axis in (1, 2):
            planes = _three_taps(planes, axis, 4 / 6, 1 / 6)
        return planes.transpose(1, 2, 0)

    @property
    def pixels_per_radian(self) -> float:
        """Angular resolution at the horizon: the focal length in pixels at which a view is natively sharp."""
        return float((self.spline_log2.shape[2] - 2 * _PAD) / (2 * np.pi))


def panorama_from_linear(name: str, rgb_lin: NDArray[np.float32]) -> Panorama:
    """Wrap a scene-linear Rec.709 equirectangular image (H, W, 3), W even."""
    rgb = np.maximum(rgb_lin.astype(np.float32), np.float32(_DARKEST))
    # One more than is kept, for the sharpening below. Behind a pole, the picture goes on at the opposite longitude.
    reach = _PAD + 1
    planes = np.log2(rgb).transpose(2, 0, 1)
    opposite = np.roll(planes, planes.shape[2] // 2, axis=2)
    planes = np.concatenate((opposite[:, reach - 1 :: -1], planes, opposite[:, : -reach - 1 : -1]), axis=1)
    planes = np.pad(planes, ((0, 0), (0, 0), (reach, reach)), mode="wrap")
    # (-1, 8, -1) / 6: together with the cubic B-spline exact for cubics (de Boor and Fix, Spline approximation by
    # quasiinterpolants, 1973). The full inverse would ring further, and twice as much.
    for axis in (1, 2):
        planes = _three_taps(planes, axis, 8 / 6, -1 / 6)
    median = float(np.median(np.log2(rgb.mean(axis=-1))))
    return Panorama(name, np.ascontiguousarray(planes, dtype=np.float32), median)


def load_panorama(path: Path) -> Panorama:
    """Read an equirectangular ``.exr`` or ``.hdr``, scene-linear Rec.709.

    Channels R, G and B are read, plain ones or else those of the first layer that has them; of a file without, the
    first three. Radiance HDR is given back
    the evenness that its 8 bits took; the same file always makes the same panorama.

    Raises:
        FrameError: the file cannot be read or has fewer than three channels.
    """
    image = oiio.ImageInput.open(str(path))
    if image is None:
        raise FrameError(f"{path}: not a readable panorama ({oiio.geterror()}); give an .exr or .hdr file")
    try:
        names = list(image.spec().channelnames)
        channels = _rgb_places(names)
        begin = min(channels, default=0)
        pixels = image.read_image(0, 0, begin, max(channels, default=0) + 1, oiio.FLOAT)
        coarse = image.format_name() == "hdr"
    finally:
        image.close()
    if pixels is None or len(channels) < 3:
        raise FrameError(f"{path}: has no RGB pixels that can be read; give a complete RGB panorama")
    rgb_lin = np.ascontiguousarray(np.asarray(pixels)[..., [channel - begin for channel in channels]])
    if coarse:
        rgb_lin = _spread_over_steps(rgb_lin)
    return panorama_from_linear(path.stem, np.nan_to_num(rgb_lin, posinf=65504.0))


def _rgb_places(names: list[str]) -> list[int]:
    """Places of R, G and B; the reader lists plain channels before those of layers."""
    for red in (name for name in names if name == "R" or name.endswith(".R")):
        wanted = [red[:-1] + letter for letter in "RGB"]
        if set(wanted) <= set(names):
            return [names.index(name) for name in wanted]
    return list(range(min(3, len(names))))


def _spread_over_steps(rgb_lin: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values (H, W, 3) of a Radiance HDR file → values anywhere between them and the next ones, black excepted.

    The format keeps 8 bits per channel and one exponent, of the pixel's largest channel (Ward, "Real Pixels",
    Graphics Gems II, 1991): steps of 0.4 to 0.8 % there, which a smooth sky would show as bands in the truth.
    Its writers cut off, so that the light was q to q + 1 step, and the middle of that is not biased.
    """
    largest = rgb_lin.max(axis=-1, keepdims=True)
    # frexp counts from ½, so that the largest has 8 bits before the point of largest / step.
    step = np.where(largest > 0, np.ldexp(np.float32(1), np.frexp(largest)[1] - 8), 0).astype(np.float32)
    rng = np.random.default_rng(zlib.crc32(rgb_lin.data))
    return np.asarray(rgb_lin + step * rng.random(rgb_lin.shape, np.float32))


def render(
    panorama: Panorama, path: CameraPath, frame: int, height: int, width: int, supersample: int | None = None
) -> NDArray[np.float32]:
    """One frame of a shot without anything in front, scene-linear Rec.709, with the path's exposure and lens.

    An open shutter averages views from its opening to its closing in linear light.

    Args:
        panorama: the world.
        path: the camera.
        frame: which of its frames.
        height, width: size in pixels.
        supersample: see :func:`look`.

    Returns:
        (H, W, 3) float32.
    """
    times = path.instants(frame, path.speed_px(frame, height, width))
    light = np.zeros((3, height, width), np.float32)
    for time in times:
        rotation, focal_px = path.at(time)
        light += look(panorama, rotation, focal_px, height, width, path.lens.distortion, supersample)
    light *= path.gain(frame, height, width) / np.float32(len(times))
    return np.ascontiguousarray(light.transpose(1, 2, 0))


def look(
    panorama: Panorama,
    rotation: NDArray[np.float64],
    focal_px: float,
    height: int,
    width: int,
    distortion: float = 0.0,
    supersample: int | None = None,
) -> NDArray[np.float32]:
    """What a camera sees at one instant.

    Args:
        panorama: the world.
        rotation: (3, 3), columns are the camera's axes (right, down, forward) in the world.
        focal_px: focal length in pixels.
        height, width: size in pixels.
        distortion: see :class:`seqhdr.train.camera.Lens`.
        supersample: that many by that many samples per pixel, averaged in linear light as a sensor does. None takes
            as many as keep the view from aliasing: one where it is smoother than the panorama, more where it is as
            sharp or coarser.

    Returns:
        (3, H, W) float32, scene-linear, sampled in log2.
    """
    if supersample is None:
        supersample = max(1, math.ceil(_SMOOTH * panorama.pixels_per_radian / focal_px))
    rows, columns = panorama.spline_log2.shape[1] - 2 * _PAD, panorama.spline_log2.shape[2] - 2 * _PAD
    turn = rotation.astype(np.float32)
    light = np.zeros((3, height, width), np.float32)
    for rays in _rays(height, width, focal_px, distortion, supersample):
        right, down, forward = (turn @ rays).reshape(3, height, width)
        longitude = np.arctan2(right, forward)
        latitude = np.arctan2(down, np.sqrt(right * right + forward * forward))
        x = longitude * np.float32(columns / (2 * np.pi)) + np.float32(columns / 2 - 0.5 + _PAD)
        y = latitude * np.float32(rows / np.pi) + np.float32(rows / 2 - 0.5 + _PAD)
        light += np.exp2(sample_spline(panorama.spline_log2, x, y))
    return light if supersample == 1 else light / np.float32(supersample**2)


def sample_spline(planes: NDArray[np.float32], x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
    """Evaluate cubic B-splines between pixels.

    Twice continuously differentiable and exact for linear ramps, so a gradient that is shown much larger than it was
    stays a gradient; the cubic of OpenCV and PyTorch (a = -0.75) makes stairs of it. Four bilinear fetches with
    positions and weights that add up to the sixteen taps (Sigg and Hadwiger, GPU Gems 2, chapter 20).

    Args:
        planes: (C, H, W) coefficients; the outermost are repeated outside.
        x, y: (h, w) positions in pixels.

    Returns:
        (C, h, w) float32.
    """
    height, width = planes.shape[1:]
    (left, right, share_x), (above, below, share_y) = _fetches(x, width), _fetches(y, height)
    grid = np.empty((2, 2, *x.shape, 2), np.float32)
    grid[:, 0, ..., 0], grid[:, 1, ..., 0] = left, right
    grid[0, ..., 1], grid[1, ..., 1] = above, below
    # PyTorch's fetch takes positions as they are; OpenCV rounded them to 1/32 pixel for most of its life.
    fetched = F.grid_sample(
        torch.from_numpy(planes)[None],
        torch.from_numpy(grid).view(1, -1, x.shape[1], 2),
        padding_mode="border",
        align_corners=True,
    )
    corners = fetched.numpy().reshape(len(planes), 2, 2, *x.shape)
    sides = corners[:, 0] + share_y * (corners[:, 1] - corners[:, 0])
    return np.asarray(sides[:, 0] + share_x * (sides[:, 1] - sides[:, 0]))


def _fetches(
    position: NDArray[np.float32], size: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Where to fetch the first and the last two of four taps, in -1..1 over the picture, and the share of the last."""
    whole = np.floor(position)
    t = position - whole
    s = 1 - t
    second = np.float32(2 / 3) - t * t * (1 - t / 2)
    first_two = second + s * s * s / 6
    last_two = 1 - first_two
    scale = np.float32(2 / (size - 1))
    low = (whole - 1 + second / first_two) * scale - 1
    high = (whole + 1 + t * t * t / (6 * last_two)) * scale - 1
    return np.asarray(low), np.asarray(high), np.asarray(last_two)


def _three_taps(planes: NDArray[np.float32], axis: int, middle: float, side: float) -> NDArray[np.float32]:
    """A symmetric filter along one axis; the result is shorter by one at either end."""
    lines = planes.swapaxes(0, axis)
    filtered = lines[1:-1] * np.float32(middle) + (lines[:-2] + lines[2:]) * np.float32(side)
    return np.asarray(filtered.swapaxes(0, axis))


@lru_cache(maxsize=2)
def _rays(height: int, width: int, focal_px: float, distortion: float, supersample: int) -> NDArray[np.float32]:
    """Rays through every sample, (samples per pixel, 3, H·W). The same for all frames of a shot without zoom."""
    times = supersample
    rays = view_rays(height * times, width * times, focal_px * times, distortion).astype(np.float32)
    return np.ascontiguousarray(
        rays.reshape(height, times, width, times, 3).transpose(1, 3, 4, 0, 2).reshape(times**2, 3, height * width)
    )
