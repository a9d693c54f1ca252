"""The memory of a frame: the last one's result, brought to this frame, and where it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from seqhdr.model.clipping import clipped_channels
from seqhdr.model.levelling import level_memory
from seqhdr.model.motion import warp

__all__ = ["Prior", "no_prior", "pad_prior", "recall", "reduce_prior"]

# A memory that differs from the code by more than this many w does not belong to this pixel.
_VALID_WIDTHS = 3.0
# A memory that differs from the codes by more than so many w on average over an area, and that by one sign for the
# most part, is dropped there. On painted slopes, where no pixel alone tells, motion that is 5 px off then costs nothing
# instead of 0.16 dB (worst clip 0.54 instead of 1.17); on training panoramas it makes no difference; right motion
# loses 0.01 dB. Measured with tools/check_outputs.py.
_AREA_SHARE = 0.7
_AREA_WIDTHS = 0.3
# Such areas are three cells of this many pixels wide, and what they say holds for the cell in their middle.
_CELL_PX = 8
# A memory of more frames than this is not counted on.
_OLDEST_FRAMES = 16


@dataclass(frozen=True)
class Prior:
    """What the previous frame was decoded to, warped to this one.

    Attributes:
        decoded_lsb: (B, 3, H, W) in code units; this frame's code where not valid, so that it pulls nowhere.
        gain_stops: (B, 3, H, W) in stops above clip; 0 where not valid.
        valid: (B, 1, H, W) float 0 or 1.
        age_frames: (B, 1, H, W) how many frames in a row have gone into it; 0 where not valid.
    """

    decoded_lsb: Tensor
    gain_stops: Tensor
    valid: Tensor
    age_frames: Tensor


def no_prior(codes: Tensor) -> Prior:
    """That of a first frame: valid nowhere.

    Args:
        codes: (B, 3, H, W).
    """
    nothing = torch.zeros_like(codes[:, :1])
    return Prior(codes, torch.zeros_like(codes), nothing, nothing)


def recall(codes: Tensor, decoded: Tensor, flow_px: Tensor, half_width_lsb: Tensor, max_code: float) -> Prior:
    """Warp the last result to this frame, bring it to this frame's level, and say where it can be trusted.

    Args:
        codes: (B, 3, H, W) this frame.
        decoded: (B, 7, H, W) from :class:`seqhdr.model.net.State`.
        flow_px: (B, 2, H, W) backward flow to the frame before.
        half_width_lsb: (B, 1, 1, 1) w in codes.
        max_code: 2^N - 1.
    """
    # No gradient through the warp: the Conv-LSTM carries it, and eight-fold interpolation only blurs it.
    warped, inside = warp(decoded.detach(), flow_px)
    values, gain, age = torch.split(warped, [3, 3, 1], dim=1)
    w = half_width_lsb
    clipped = clipped_channels(codes, w, max_code)
    values = level_memory(values, codes, inside & ~clipped, w, max_code)
    difference, reach = values - codes, _VALID_WIDTHS * w
    # A clipped channel is open above, so only a memory below its bin speaks against it.
    agrees = (difference > -reach) & ((difference < reach) | clipped)
    # Codes are right on average. A memory that is off by one sign over an area came from a wrong place there, be it by
    # less than a code; over texture, signs alternate.
    # What is disbelieved in any case has no say: one lamp would outweigh all around it.
    apart = torch.where(inside & agrees & ~clipped, difference, 0.0)
    mean, size = (
        F.avg_pool2d(image, 3 * _CELL_PX, _CELL_PX, _CELL_PX, ceil_mode=True, count_include_pad=False)
        for image in (apart, apart.abs())
    )
    off = (mean.abs() > torch.maximum(_AREA_WIDTHS * w, _AREA_SHARE * size)).any(1, keepdim=True).to(codes.dtype)
    drifted = F.interpolate(off, scale_factor=_CELL_PX)[..., : codes.shape[-2], : codes.shape[-1]]
    valid = (inside & agrees.all(dim=1, keepdim=True)).to(codes.dtype) * (1 - drifted)
    return Prior(
        torch.where(valid > 0, values, codes),
        gain.clamp_min(0) * valid,
        valid,
        age.clamp(1, _OLDEST_FRAMES) * valid,
    )


def pad_prior(prior: Prior, pad: tuple[int, int, int, int]) -> Prior:
    """Pad as the codes are padded, by the border's values; nothing is valid there."""
    return Prior(
        F.pad(prior.decoded_lsb, pad, mode="replicate"),
        F.pad(prior.gain_stops, pad, mode="replicate"),
        F.pad(prior.valid, pad),
        F.pad(prior.age_frames, pad),
    )


def reduce_prior(prior: Prior, codes: Tensor, factor: int) -> Prior:
    """The memory of a frame that was averaged over squares, valid where all of a square was.

    Args:
        prior: of the frame, H and W multiples of the factor.
        codes: (B, 3, H/factor, W/factor) the smaller frame.
        factor: side of the squares.
    """
    decoded, gain, valid, age = (F.avg_pool2d(part, factor) for part in vars(prior).values())
    valid = (valid > 1 - 0.5 / factor**2).to(codes.dtype)
    return Prior(torch.where(valid > 0, decoded, codes), gain * valid, valid, age * valid)
