"""Motion for a report: between neighbouring frames of the sequence that is least disturbed, on small pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqhdr.color.encodings import ColorEncoding, get_encoding
from seqhdr.model.motion import DisFlow
from seqhdr.quality.flicker import flow_difference_px
from seqhdr.quality.lattice import Motion
from seqhdr.quality.stops import light_of_stops

__all__ = ["ReferenceFlow", "display_picture", "flow_size", "small_light"]

# At full size DIS alone would cost a quarter of the conversion. Half of 1536x864 keeps its flow within a tenth of a
# pixel, and what that adds to flicker is the same for every sequence.
_FLOW_PIXELS = 400_000


def flow_size(height: int, width: int) -> tuple[int, int]:
    """Height and width of the pictures flow is estimated on: the frame's, divided by a whole number if it is large."""
    by = max(1, math.ceil(math.sqrt(height * width / _FLOW_PIXELS)))
    return max(1, height // by), max(1, width // by)


def small_light(stops: Tensor, size: tuple[int, int], to_common: Tensor | None) -> Tensor:
    """A small picture of the same light.

    Args:
        stops: (3, H, W) :func:`seqhdr.quality.stops.stops` in the file's own primaries.
        size: height and width of the result; pixels are averaged in stops, in which lamps do not spread.
        to_common: (3, 3) from light in the file's primaries to common ones; None where they are the same.

    Returns:
        (1, 3, h, w) scene-linear light.
    """
    small = np.stack([cv2.resize(plane, size[::-1], interpolation=cv2.INTER_AREA) for plane in stops.numpy()])
    light = light_of_stops(torch.from_numpy(small))
    return (light if to_common is None else (to_common @ light.flatten(1)).view_as(light))[None]


def display_picture(light: Tensor, encoding: ColorEncoding | None) -> Tensor:
    """Light as flow estimators and cut detectors want it: 0..1, as a display shows it.

    Args:
        light: (1, 3, h, w) scene-linear.
        encoding: of the source, so that all sequences look like it; None shows light L as sRGB of L / (1 + L).
    """
    if encoding is None:
        light = light.clamp(min=0)
        return get_encoding("srgb").encode(light / (1 + light))
    return encoding.encode(light).clamp(0, 1)


class ReferenceFlow:
    """Estimates the flow between each frame and the one before.

    Keeps the light of one frame. Estimators own scratch memory: one object per thread.

    Args:
        height, width: of the frames, in pixels.
        encoding: of the source, see :func:`display_picture`.
    """

    def __init__(self, height: int, width: int, encoding: ColorEncoding | None) -> None:
        self._height, self._width = height, width
        self._encoding = encoding
        self._dis = DisFlow("medium")
        self._before: dict[str, Tensor] = {}

    def step(
        self, light: Mapping[str, Tensor], reference: str, compared: str | None, step_stops: float | None
    ) -> tuple[Motion | None, float | None]:
        """The motion that leads to this frame.

        Args:
            light: by sequence, (1, 3, h, w) from :func:`small_light`.
            reference: whose motion it is.
            compared: whose motion ``result`` should have; None compares nothing.
            step_stops: how much brighter the frame is than the one before, see
                :func:`seqhdr.quality.levelling.exposure_step`; None where there is none before it.

        Returns:
            The motion, and tOF between ``result`` and ``compared`` in pixels of the frame; None where there is none.
        """
        before, self._before = self._before, dict(light)
        if step_stops is None or not before:
            return None, None
        # DIS would take a change of brightness for motion along the gradients.
        names = {reference} | ({"result", compared} if compared is not None else set())
        now = {name: display_picture(light[name], self._encoding) for name in names}
        then = {name: display_picture(before[name] * 2**step_stops, self._encoding) for name in names}
        flows = {name: self._dis(now[name], then[name]) for name in sorted(names)}
        forward = self._dis(then[reference], now[reference])
        motion = Motion(self._whole(flows[reference]), self._whole(forward))
        if compared is None:
            return motion, None
        return motion, flow_difference_px(*(self._scaled(flows[name]) for name in ("result", compared)))

    def _scaled(self, flow_px: Tensor) -> Tensor:
        """(1, 2, h, w) in its own pixels → (2, h, w) in those of the frame."""
        height, width = flow_px.shape[-2:]
        return flow_px[0] * flow_px.new_tensor([self._width / width, self._height / height])[:, None, None]

    def _whole(self, flow_px: Tensor) -> Tensor:
        """(1, 2, h, w) in its own pixels → (2, H, W) in those of the frame."""
        scaled: NDArray[np.float32] = self._scaled(flow_px).numpy()
        if scaled.shape[1:] == (self._height, self._width):
            return torch.from_numpy(scaled)
        planes = [cv2.resize(p, (self._width, self._height), interpolation=cv2.INTER_LINEAR) for p in scaled]
        return torch.from_numpy(np.stack(planes))
