"""Smoothed versions of a frame at growing scale: the candidates that the head blends."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["COARSE_CELLS", "FINE_WIDTHS", "ScaleSpace", "blur_separable", "scale_space", "upsample"]

#: Widths in pixels of the box blurs that run at full resolution, each applied twice.
FINE_WIDTHS = (3, 5)
#: Cell sizes in pixels of the averages that are blurred over 5, then 3 cells.
COARSE_CELLS = (4, 8, 16, 32)


@dataclass(frozen=True)
class ScaleSpace:
    """A frame and its smoothed versions, in the frame's own units.

    ``half`` is the frame averaged over 2×2 pixels; ``fine`` are full-resolution blurs, one for each of
    FINE_WIDTHS; ``coarse`` are blurred averages, one for each of COARSE_CELLS, (B, C, H/cell, W/cell).
    """

    full: Tensor
    half: Tensor
    fine: tuple[Tensor, ...]
    coarse: tuple[Tensor, ...]


def _box_taps(*widths: int) -> tuple[float, ...]:
    taps = torch.ones(1, dtype=torch.float64)
    for width in widths:
        box = torch.full((1, 1, width), 1 / width, dtype=torch.float64)
        taps = F.conv1d(taps[None, None], box, padding=width - 1)[0, 0]
    return tuple(taps.tolist())


_FINE_TAPS = tuple(_box_taps(width, width) for width in FINE_WIDTHS)
_COARSE_TAPS = _box_taps(5, 3)


def blur_separable(image: Tensor, taps: tuple[float, ...]) -> Tensor:
    """Blur rows, then columns, with the same odd number of taps; borders repeat the outermost pixel.

    Args:
        image: (B, C, H, W), any range.
        taps: weights that sum to 1.

    Returns:
        (B, C, H, W).
    """
    channels, radius = image.shape[1], len(taps) // 2
    kernel = torch.tensor(taps, dtype=image.dtype, device=image.device).expand(channels, 1, 1, len(taps))
    # Depthwise convolutions are an order of magnitude faster in channels-last than in the default layout.
    padded = F.pad(image, (radius,) * 4, mode="replicate").contiguous(memory_format=torch.channels_last)
    rows = F.conv2d(padded, kernel, groups=channels)
    # Back to the layout of the codes: every operation on two layouts at once is several times slower.
    return F.conv2d(rows, kernel.transpose(2, 3), groups=channels).contiguous()


def scale_space(image: Tensor) -> ScaleSpace:
    """Build all smoothed versions from one chain of averages.

    Args:
        image: (B, C, H, W) with H and W multiples of the largest of COARSE_CELLS.

    Returns:
        The frame with its smoothed versions; float32 throughout.
    """
    half = F.avg_pool2d(image, 2)
    average, coarse = half, []
    for _ in COARSE_CELLS:
        average = F.avg_pool2d(average, 2)
        coarse.append(blur_separable(average, _COARSE_TAPS))
    fine = tuple(blur_separable(image, taps) for taps in _FINE_TAPS)
    return ScaleSpace(image, half, fine, tuple(coarse))


def upsample(image: Tensor, factor: int) -> Tensor:
    """Enlarge (B, C, H, W) bilinearly by a whole factor, cell centres kept in place."""
    return F.interpolate(image, scale_factor=factor, mode="bilinear", align_corners=False)
