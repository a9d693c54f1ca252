"""Dense inverse search (Kroeger et al., ECCV 2016) as OpenCV ships it: the flow for machines without a GPU."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["DisFlow"]

_PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}
# DIS needs a few 8 px patches on its coarsest level; smaller images carry no flow worth having.
_SMALLEST_SIDE = 32


class DisFlow:
    """Backward flow by OpenCV's DIS on 8-bit luma.

    Holds OpenCV's estimator, which owns scratch memory: use one object per thread. The estimator lowers its finest
    scale for good when it meets a small picture, so each size gets a new one.

    Args:
        preset: ``ultrafast``, ``fast`` or ``medium``, OpenCV's own trade of time for accuracy.
        scale: size at which the flow is estimated, relative to the frames. Smaller is faster, and costs more than it
            saves where the flow carries a memory that is exact to a fraction of a code.
    """

    def __init__(self, preset: str = "medium", scale: float = 1.0) -> None:
        if preset not in _PRESETS:
            raise ValueError(f"unknown DIS preset {preset!r}: expected one of {', '.join(_PRESETS)}")
        if not 0 < scale <= 1:
            raise ValueError(f"DIS scale is {scale}: expected more than 0 and at most 1")
        self._preset = _PRESETS[preset]
        self._dis = cv2.DISOpticalFlow.create(self._preset)
        self._size: tuple[int, int] | None = None
        self._scale = scale

    def __call__(self, current: Tensor, previous: Tensor) -> Tensor:
        """See :class:`flow.FlowEstimator`."""
        batch, _, height, width = current.shape
        size = (round(width * self._scale), round(height * self._scale))
        if min(size) < _SMALLEST_SIDE:
            size = (width, height)
        flows = np.zeros((batch, height, width, 2), np.float32)
        if min(size) >= _SMALLEST_SIDE:
            if size != self._size:
                self._dis, self._size = cv2.DISOpticalFlow.create(self._preset), size
            for index in range(batch):
                here, before = _luma_u8(current[index], size), _luma_u8(previous[index], size)
                small = self._dis.calc(here, before, np.zeros((size[1], size[0], 2), np.float32))
                flow = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
                flows[index] = flow * (width / size[0], height / size[1])
        return torch.from_numpy(flows).permute(0, 3, 1, 2).to(current.device)


def _luma_u8(frame: Tensor, size: tuple[int, int]) -> NDArray[np.uint8]:
    """(3, H, W) in 0..1 → 8-bit luma at ``size`` (width, height)."""
    # A plain mean serves as luma: the codes' primaries are unknown here, and DIS only looks for texture.
    mean = frame.detach().mean(0).clamp(0, 1).mul(255).round().to(torch.uint8).cpu().numpy()
    if mean.shape != (size[1], size[0]):
        mean = cv2.resize(mean, size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(mean)
