"""What every flow estimator offers."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

__all__ = ["FlowEstimator"]


class FlowEstimator(Protocol):
    """Anything that turns two frames into backward flow."""

    def __call__(self, current: Tensor, previous: Tensor) -> Tensor:
        """Estimate where each pixel of ``current`` was in ``previous``.

        Args:
            current: (B, 3, H, W), display-like values in 0..1 (a log or gamma encoding, not linear light).
            previous: (B, 3, H, W), the frame before, in the same encoding.

        Returns:
            (B, 2, H, W) float32 backward flow in pixels, x first.
        """
        ...
