"""Small pictures of frames, on which flicker is measured, and the motion between them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqhdr.classic.deflicker_measure import CELL_PX, ChangeMap, measure_change
from seqhdr.pipeline.reference_flow import ReferenceFlow
from seqhdr.quality.lattice import Motion
from seqhdr.quality.stops import light_of_stops

__all__ = ["Follower", "SmallPicture", "enlarge", "small_picture", "small_size"]

# Enough for 50 by 28 cells; flow on it is a third of what a report's costs.
_PIXELS = 100_000
# Below this light, scene-linear, a picture is black: log2 says nothing there.
_DARKEST = 2.0**-10
# Flow sees what the picture has beside its surroundings (a Gaussian of so many pixels), which do not flicker with it.
_SURROUNDINGS_PX = 12.0
_MOST_STOPS = 4.0


@dataclass(frozen=True)
class SmallPicture:
    """A frame, small.

    Attributes:
        log2: (3, h, w) log2 of scene-linear light in the file's own primaries.
        usable: (3, h, w) bool, false where it is clipped, black or not finite.
    """

    log2: Tensor
    usable: Tensor


def small_size(height: int, width: int) -> tuple[int, int]:
    """Height and width of the small picture of a frame, multiples of a cell."""
    by = max(1.0, math.sqrt(height * width / _PIXELS))
    return max(1, round(height / by / CELL_PX)) * CELL_PX, max(1, round(width / by / CELL_PX)) * CELL_PX


def small_picture(stops: Tensor, unusable: Tensor | None = None) -> SmallPicture:
    """Make the small picture of a frame.

    Args:
        stops: (3, H, W) :func:`seqhdr.quality.stops.stops`; averaged in stops, in which lamps do not spread.
        unusable: (3, H, W) bool, clipped or not finite; None where all is well.
    """
    size = small_size(*stops.shape[-2:])
    light = light_of_stops(_shrink(stops, size))
    usable = light > _DARKEST
    if unusable is not None and bool(unusable.any()):
        usable &= _shrink(unusable.float(), size) < 1e-3
    return SmallPicture(light.clamp_min(_DARKEST / 4).log2(), usable)


def enlarge(gain_stops: Tensor, height: int, width: int) -> NDArray[np.float32]:
    """A map (3, h, w) at the size of a frame, smooth: (H, W, 3), contiguous."""
    planes = np.ascontiguousarray(gain_stops.permute(1, 2, 0).numpy(), np.float32)
    large: Any = cv2.resize(planes, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(large, np.float32).reshape(height, width, 3)


class Follower:
    """The motion from frame to frame, whatever the exposure does.

    Flow is that of a report (:class:`seqhdr.pipeline.reference_flow.ReferenceFlow`) between pictures without their
    broad light: a gain, of the whole or of a part, is not taken for motion. Keeps one small picture.
    """

    def __init__(self) -> None:
        self._flow: ReferenceFlow | None = None
        self._before: SmallPicture | None = None

    def restart(self) -> None:
        """Forget the frame before: a cut, a gap."""
        self._before = None

    def step(self, picture: SmallPicture) -> tuple[SmallPicture, Motion] | None:
        """The frame before, and the motion from there to this one; None for the first."""
        before, self._before = self._before, picture
        if self._flow is None:
            self._flow = ReferenceFlow(picture.log2.shape[1], picture.log2.shape[2], None)
        motion, _ = self._flow.step({"result": _structure(picture)}, "result", None, None if before is None else 0.0)
        return None if before is None or motion is None else (before, motion)

    def measure(self, picture: SmallPicture) -> ChangeMap | None:
        """How the frame differs from the one before; None for the first."""
        followed = self.step(picture)
        if followed is None:
            return None
        before, motion = followed
        return measure_change(
            picture.log2, before.log2, picture.usable, before.usable, motion.backward_px, motion.forward_px
        )


def _structure(picture: SmallPicture) -> Tensor:
    """(1, 3, h, w) made-up light: what stands out of its surroundings, about middle grey."""
    planes = picture.log2.numpy()
    broad = [cv2.GaussianBlur(plane, (0, 0), _SURROUNDINGS_PX, borderType=cv2.BORDER_REFLECT) for plane in planes]
    detail = torch.from_numpy(planes - np.stack(broad))
    return torch.exp2(detail.clamp(-_MOST_STOPS, _MOST_STOPS) + math.log2(0.18))[None]


def _shrink(image: Tensor, size: tuple[int, int]) -> Tensor:
    planes = [cv2.resize(plane, size[::-1], interpolation=cv2.INTER_AREA) for plane in image.numpy()]
    return torch.from_numpy(np.stack(planes))
