"""Skies without a grain: a panorama with all detail taken out, and with as little contrast as a clear sky has.

A photographed sky has the noise of its camera, also in a panorama. Skies of renderers and of AI video have none: their
bands are wide and perfectly even, and only from such can a network learn to trust its widest blurs.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from seqhdr.errors import UsageError
from seqhdr.train.panorama import Panorama, panorama_from_linear

__all__ = ["SoftConfig", "draw_soft", "soften_panorama"]


@dataclass(frozen=True)
class SoftConfig:
    """How often a clip is filmed in a softened panorama, and how soft that is.

    Attributes:
        share: of the clips, 0..1; 0 draws nothing.
        rows: range of what is left of the panorama's height in pixels, even in the logarithm.
        contrast: range of what is left of its differences in stops, 0.1 is a tenth, even in the logarithm.
    """

    share: float = 0.0
    rows: tuple[int, int] = (24, 128)
    contrast: tuple[float, float] = (0.03, 1.0)

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn.

        Raises:
            UsageError: a share outside 0..1, fewer than 8 rows, a contrast outside 0..1, or a range upside down.
        """
        if not 0 <= self.share <= 1:
            raise UsageError(f"scene.soft.share is {self.share}: give a share from 0 to 1")
        if not 8 <= self.rows[0] <= self.rows[1]:
            raise UsageError(f"scene.soft.rows is {list(self.rows)}: give two numbers of 8 or more, the lower first")
        if not 0 < self.contrast[0] <= self.contrast[1] <= 1:
            raise UsageError(
                f"scene.soft.contrast is {list(self.contrast)}: give two numbers above 0, up to 1, the lower first"
            )


def draw_soft(panorama: Panorama, config: SoftConfig, rng: np.random.Generator) -> Panorama:
    """The panorama, softened or as it is. A share of 0 leaves the generator alone."""
    if config.share == 0 or rng.random() >= config.share:
        return panorama
    rows = round(float(np.exp(rng.uniform(*np.log(config.rows)))))
    return soften_panorama(panorama, rows, float(np.exp(rng.uniform(*np.log(config.contrast)))))


def soften_panorama(panorama: Panorama, rows: int, contrast: float) -> Panorama:
    """Average log2 over areas, and draw each channel's differences together around its mean.

    Args:
        panorama: the world.
        rows: height of what is made, in pixels; it is twice as wide. A view interpolates it by a cubic spline.
        contrast: what is left of differences in stops, 0..1.
    """
    log2_rgb = cv2.resize(panorama.log2_rgb, (2 * rows, rows), interpolation=cv2.INTER_AREA)
    mean = log2_rgb.mean(axis=(0, 1), keepdims=True)
    return panorama_from_linear(panorama.name, np.exp2(mean + contrast * (log2_rgb - mean)))
