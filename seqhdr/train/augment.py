"""The same clip from elsewhere: crops, mirror images, quarter turns and brightness, alike in all frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["AugmentConfig", "augment_clip", "random_crop"]


@dataclass(frozen=True)
class AugmentConfig:
    """What may be changed.

    Attributes:
        flip: mirror half of the clips left to right.
        rotate: turn clips by 0, 90, 180 or 270 degrees, equally often; needs square frames.
        brightness_stops: range of the exposure change in stops, uniform; (0, 0) leaves it alone.
    """

    flip: bool = True
    rotate: bool = True
    brightness_stops: tuple[float, float] = (0.0, 0.0)


class _QuarterTurns(torch.nn.Module):
    """Turn (..., H, W) counter-clockwise by moving pixels; kornia's own rotation interpolates (errors of 2e-6)."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def forward(self, frames: Tensor) -> Tensor:
        return torch.rot90(frames, self.times, (-2, -1))


def augment_clip(
    rgb_lin: Tensor, flow_px: Tensor, visible: Tensor, rng: np.random.Generator, config: AugmentConfig
) -> tuple[Tensor, Tensor, Tensor]:
    """Mirror and turn a clip, and change its exposure; without interpolation, the pixels only move.

    Args:
        rgb_lin: (T, 3, H, W) scene-linear float32.
        flow_px: (T, 2, H, W) float32 backward flow in pixels, x first.
        visible: (T, 1, H, W) bool, true where the content was also seen in the frame before.
        rng: decides; torch's own generator is left as it was.
        config: what may be changed.

    Returns:
        The three, in the same shapes and types. The vectors of the flow are mirrored and turned as well.

    Raises:
        ValueError: the shapes do not belong together, or ``config.rotate`` with frames that are not square.
    """
    frames, _, height, width = rgb_lin.shape
    shapes = tuple(rgb_lin.shape), tuple(flow_px.shape), tuple(visible.shape)
    expected = tuple((frames, channels, height, width) for channels in (3, 2, 1))
    if shapes != expected:
        raise ValueError(f"rgb_lin, flow_px, visible: got shapes {shapes}, expected {expected}")
    if config.rotate and height != width:
        raise ValueError(f"quarter turns: got frames of {height} x {width} pixels, expected square ones")
    # Everything is drawn whatever is switched on, so that one switch does not change what the others do.
    mirrored, turns = bool(rng.random() < 0.5) and config.flip, int(rng.integers(4)) * config.rotate
    gain = 2.0 ** rng.uniform(*config.brightness_stops)
    joined = torch.cat((rgb_lin, flow_px, visible.to(rgb_lin.dtype)), dim=1)
    moved = _move(joined, mirrored, turns)
    x, y = moved[:, 3], moved[:, 4]
    if mirrored:
        x = -x
    for _ in range(turns):
        x, y = y, -x
    return moved[:, :3] * gain, torch.stack((x, y), dim=1), moved[:, 5:] > 0.5


def _move(frames: Tensor, mirrored: bool, turns: int) -> Tensor:
    """Mirror (T, C, H, W) left to right, then turn it counter-clockwise by ``turns`` quarters."""
    if not mirrored and not turns:
        return frames
    from kornia.augmentation import RandomHorizontalFlip, VideoSequential

    # With p = 1 nothing is left to torch's generator.
    steps: list[torch.nn.Module] = [RandomHorizontalFlip(p=1.0)] if mirrored else []
    steps += [_QuarterTurns(turns)] if turns else []
    moved: Tensor = VideoSequential(*steps, data_format="BTCHW", same_on_frame=True)(frames[None])
    return moved[0]


def random_crop(rng: np.random.Generator, height: int, width: int, size: int) -> tuple[slice, slice]:
    """A square at random, equally likely anywhere; rows and columns to cut out of every frame of a clip alike.

    Args:
        rng: decides.
        height, width: of the frames in pixels.
        size: side of the square in pixels.

    Raises:
        ValueError: the frames are smaller than the square.
    """
    if not 0 < size <= min(height, width):
        raise ValueError(f"crop: got a size of {size}, expected 1..{min(height, width)} ({height} x {width} pixels)")
    top, left = int(rng.integers(height - size + 1)), int(rng.integers(width - size + 1))
    return slice(top, top + size), slice(left, left + size)
