"""What the U-Net sees of a frame, at half resolution and in units of w."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from seqhdr.model.pyramid import COARSE_CELLS, COARSER, GATED_CELLS, ScaleSpace, upsample
from seqhdr.model.recall import Prior
from seqhdr.model.source import WIDTH_LUT_SIZE, Source

__all__ = ["FEATURES", "frame_features"]

_BLURS = 1 + len(COARSE_CELLS) + len(GATED_CELLS) + 1
#: Channels of :func:`frame_features`.
FEATURES = 12 + 12 + 3 * _BLURS + 3 + 3 + 3 + 3 + 1 + 1 + 1 + 1
# Differences to the surroundings beyond this many w say only "there is an edge".
_DIFFERENCE_WIDTHS = 4.0


def frame_features(
    scales: ScaleSpace, coarser_lsb: Tensor, prior: Prior, source: Source, clipped: Tensor, reduced: bool
) -> Tensor:
    """All inputs of the U-Net.

    Args:
        scales: the codes (B, 3, H, W) and their blurs.
        coarser_lsb: (B, 3, H/4, W/4) in codes, what the smaller frame was decoded to.
        prior: the warped previous prediction.
        source: what the codes mean.
        clipped: (B, 3, H, W) bool.
        reduced: whether this is itself a smaller frame, whose codes are averages.

    Returns:
        (B, FEATURES, H/2, W/2) float32.
    """
    unit = 1 / source.half_width_lsb.view(-1, 1, 1, 1)

    def relative(image: Tensor, centre: Tensor) -> Tensor:
        # In place: at full resolution every pass over memory counts.
        return (image - centre).mul_(0.5 * unit).clamp_(-0.5 * _DIFFERENCE_WIDTHS, 0.5 * _DIFFERENCE_WIDTHS)

    half = scales.half
    brightness = half / source.max_code
    entry = (brightness * (WIDTH_LUT_SIZE - 1)).round().long().clamp(0, WIDTH_LUT_SIZE - 1)
    log_width = torch.gather(source.log_width, 1, entry.flatten(1)).view_as(brightness)
    blurs = [F.avg_pool2d(scales.fine[1], 2)]
    for images, cells in ((scales.coarse, COARSE_CELLS), (scales.gated, GATED_CELLS)):
        blurs += [upsample(image, size // 2) for image, size in zip(images, cells, strict=True)]
    blurs.append(upsample(coarser_lsb, COARSER // 2))
    return torch.cat(
        (
            _space_to_depth(relative(scales.fine[0], scales.full)),
            _space_to_depth(relative(prior.decoded_lsb, scales.full)),
            *(relative(image, half) for image in blurs),
            brightness * 2 - 1,
            log_width * 0.25 + 1,
            F.avg_pool2d(clipped.to(half.dtype), 2),
            F.avg_pool2d(prior.gain_stops, 2) * 0.25,
            F.avg_pool2d(prior.valid, 2),
            F.avg_pool2d(torch.log2(1 + prior.age_frames) * 0.25, 2),
            torch.log2(2 * source.half_width_lsb).view(-1, 1, 1, 1).expand(-1, 1, *half.shape[-2:]),
            torch.full_like(prior.valid[..., ::2, ::2], float(reduced)),
        ),
        dim=1,
    )


def _space_to_depth(image: Tensor) -> Tensor:
    """(B, C, H, W) → (B, 4C, H/2, W/2), channels-last."""
    batch, channels, height, width = image.shape
    blocks = image.reshape(batch, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 3, 5, 1)
    return blocks.reshape(batch, height // 2, width // 2, 4 * channels).permute(0, 3, 1, 2)
