"""Debanding without a network: bin-constrained smoothing, coarse to fine, where there is no texture.

Like gradfun and f3kdb it replaces a code by what lies around it where that is nearly the same. Unlike them it adds no
noise, knows no fixed radius, and never leaves the bin: bands of any width are narrow in a frame that is small enough.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from seqhdr.model.head import Prediction
from seqhdr.model.net import State
from seqhdr.model.pyramid import upsample
from seqhdr.model.source import Source

__all__ = ["ClassicDeband", "deband"]

# Of 5x5 pixels, how far their codes may lie apart, in w: up to the first all is smoothed, from the second on nothing.
# Chosen with the two radii on training panoramas: with a second of 12, flat areas lose 0.6 dB and texture gains 0.2.
_GATE_WIDTHS = (2.0, 8.0)
_RANGE_PX = 2
_SOFT_PX = 3
# A frame with a shorter side than this is smooth enough as it is.
_SMALLEST_PX = 16
# Nothing is known of light above the clip, and the expected error says so.
_ERROR_STOPS = 4.0


def deband(codes: Tensor, half_width_lsb: Tensor) -> Tensor:
    """Smooth what is flat, each value within w of its code.

    Half the frame is debanded first, by the same function; its result, enlarged and pulled into the bins, is taken
    where the codes of 5x5 pixels and all channels lie close together.

    Args:
        codes: (B, 3, H, W), any range.
        half_width_lsb: (B, 1, 1, 1) w in codes.

    Returns:
        (B, 3, H, W) values, float32.
    """
    height, width = codes.shape[-2:]
    if min(height, width) < _SMALLEST_PX:
        return codes
    even = F.pad(codes, (0, width % 2, 0, height % 2), mode="replicate")
    smooth = upsample(deband(F.avg_pool2d(even, 2), half_width_lsb), 2)[..., :height, :width]
    pulled = torch.maximum(torch.minimum(smooth - codes, half_width_lsb), -half_width_lsb)
    return codes + _gate(codes, half_width_lsb) * pulled


def _gate(codes: Tensor, half_width_lsb: Tensor) -> Tensor:
    """(B, 1, H, W): 1 where nothing but bands is seen, 0 in texture and at edges."""
    wide = F.pad(codes, (_RANGE_PX,) * 4, mode="replicate")
    side = 2 * _RANGE_PX + 1
    span = (F.max_pool2d(wide, side, 1) + F.max_pool2d(-wide, side, 1)).amax(dim=1, keepdim=True)
    low, high = _GATE_WIDTHS
    gate = ((high - span / half_width_lsb) / (high - low)).clamp(0, 1)
    # Where a gate ends at once, its edge would show.
    return F.avg_pool2d(F.pad(gate, (_SOFT_PX,) * 4, mode="replicate"), 2 * _SOFT_PX + 1, 1)


class ClassicDeband:
    """The function above in the place of a network: ``seqhdr run --model classic``.

    It has no weights and no memory, and leaves highlights where they are.

    Args:
        device: where it runs.
    """

    name = "classic"
    #: There are none.
    weights_sha256 = ""
    #: Motion between frames is nothing to it.
    remembers = False

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)

    def step(
        self, codes: Tensor, state: State | None, source: Source, flow_px: Tensor | None
    ) -> tuple[Prediction, State]:
        """Decode one frame; arguments as for :meth:`seqhdr.model.net.SeqNet.step`. The state stays empty."""
        w = source.half_width_lsb.view(-1, 1, 1, 1)
        offset = torch.maximum(torch.minimum(deband(codes, w) - codes, w), -w)
        error = torch.full_like(codes[:, :1], _ERROR_STOPS)
        nothing = codes.new_zeros(0)
        return Prediction(offset, torch.zeros_like(codes), error), State(nothing, nothing, nothing)
