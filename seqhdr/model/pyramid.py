"""Smoothed versions of a frame at growing scale: the candidates that the head blends."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "COARSER",
    "COARSE_CELLS",
    "FINE_WIDTHS",
    "GATED_CELLS",
    "ScaleSpace",
    "blur_gated",
    "blur_separable",
    "scale_space",
    "upsample",
]

#: Widths in pixels of the box blurs that run at full resolution, each applied twice.
FINE_WIDTHS = (3, 5)
#: Cell sizes in pixels of the averages that are blurred over 5, then 3 cells.
COARSE_CELLS = (4, 8, 16, 32)
#: Cell sizes of the averages that are also blurred up to edges only.
GATED_CELLS = (2, 4, 8)
#: How many times smaller, each way, the frame is that is decoded ahead of a frame.
COARSER = 4
# What differs by this many w is another thing and stays out of a gated blur. Measured on training panoramas.
_GATE_WIDTHS = 3.0


@dataclass(frozen=True)
class ScaleSpace:
    """A frame and its smoothed versions, in the frame's own units.

    ``half`` is the frame averaged over 2×2 pixels; ``fine`` are full-resolution blurs, one for each of
    FINE_WIDTHS; ``coarse`` are blurred averages, one for each of COARSE_CELLS, (B, C, H/cell, W/cell); ``gated`` are
    averages blurred by :func:`blur_gated`, one for each of GATED_CELLS.
    """

    full: Tensor
    half: Tensor
    fine: tuple[Tensor, ...]
    coarse: tuple[Tensor, ...]
    gated: tuple[Tensor, ...]


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


def blur_gated(image: Tensor, taps: tuple[float, ...], reach: Tensor) -> Tensor:
    """Blur rows, then columns, up to edges: every pixel moves by what its neighbours differ from it, gated.

    A neighbour that differs by d counts as (1 - (d / reach)²)² of itself, Tukey's biweight, and not at all from
    ``reach`` on: a small step at a band is smoothed like by :func:`blur_separable`, and an edge is not seen. Like the
    bilateral filter of Tomasi & Manduchi (1998), but with the weights of what is gated left to the pixel itself.

    Args:
        image: (B, C, H, W), any range; borders repeat the outermost pixel.
        taps: an odd number of weights that sum to 1.
        reach: (B, 1, 1, 1), in units of the image.

    Returns:
        (B, C, H, W).
    """
    radius = len(taps) // 2
    scaled = image / reach
    for axis, pad in ((3, (radius, radius, 0, 0)), (2, (0, 0, radius, radius))):
        size = image.shape[axis]
        wide = F.pad(scaled, pad, mode="replicate")
        moved = torch.zeros_like(scaled)
        for place in (*range(radius), *range(radius + 1, 2 * radius + 1)):
            difference = wide.narrow(axis, place, size) - scaled
            gate = torch.addcmul(difference.new_ones(()), difference, difference, value=-1).clamp_min_(0).square_()
            moved.addcmul_(gate, difference, value=taps[place])
        scaled = scaled + moved
    return scaled * reach


def scale_space(image: Tensor, half_width_lsb: Tensor) -> ScaleSpace:
    """Build all smoothed versions from one chain of averages.

    Args:
        image: (B, C, H, W) codes, with H and W multiples of the largest of COARSE_CELLS.
        half_width_lsb: (B, 1, 1, 1) w in codes; what counts as an edge goes by it.

    Returns:
        The frame with its smoothed versions; float32 throughout.
    """
    reach = _GATE_WIDTHS * half_width_lsb
    averages = {2: F.avg_pool2d(image, 2)}
    for cells in COARSE_CELLS:
        averages[cells] = F.avg_pool2d(averages[cells // 2], 2)
    return ScaleSpace(
        full=image,
        half=averages[2],
        fine=tuple(blur_separable(image, taps) for taps in _FINE_TAPS),
        coarse=tuple(blur_separable(averages[cells], _COARSE_TAPS) for cells in COARSE_CELLS),
        gated=tuple(blur_gated(averages[cells], _COARSE_TAPS, reach) for cells in GATED_CELLS),
    )


def upsample(image: Tensor, factor: int) -> Tensor:
    """Enlarge (B, C, H, W) bilinearly by a whole factor, cell centres kept in place."""
    if factor == 1:
        return image
    return F.interpolate(image, scale_factor=factor, mode="bilinear", align_corners=False)
