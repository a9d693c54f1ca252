"""Blend, then correct: from the network's raw outputs to offsets inside the bins and stops above clip.

Instead of inventing values, the network weighs candidates that are already plausible (blurs of the codes at
growing scale, over edges and up to edges, what a smaller frame was decoded to, and what the previous frame was), each
pulled into the pixel's bin first. Their weights may be negative: the difference of two blurs tells which way the
picture bends between bands, which no mean of blurs can reach. A small residual corrects the blend, and the sum is
pulled into the bin once more. Everything here runs in float32: bfloat16 has eight bits of mantissa and would put back
the bands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from seqhdr.model.pyramid import COARSE_CELLS, COARSER, FINE_WIDTHS, GATED_CELLS, ScaleSpace, upsample
from seqhdr.model.recall import Prior

__all__ = ["GAIN_OUTPUTS", "HEAD_CHANNELS", "STOP_OUTPUTS", "Prediction", "apply_head"]

_BLURS = len(FINE_WIDTHS) + len(COARSE_CELLS) + len(GATED_CELLS)
# The blurs, the smaller frame and the memory.
_CANDIDATES = _BLURS + 2
# Per half-resolution pixel: four full-resolution pixels with one logit per candidate, three residuals and three gains
# each; then one expected error of the gains and one gate for the remembered gains; then, for the four pixels again,
# one signed weight per candidate.
_SPLIT = [4 * _CANDIDATES, 12, 12, 1, 1, 4 * _CANDIDATES]
HEAD_CHANNELS = sum(_SPLIT)
#: Of these, what is about the stops above clip: gains, their expected error, the gate of the remembered ones.
GAIN_OUTPUTS = slice(sum(_SPLIT[:2]), sum(_SPLIT[:5]))
#: The stops themselves.
STOP_OUTPUTS = slice(sum(_SPLIT[:2]), sum(_SPLIT[:3]))
# A fresh network should start near "no stops above clip".
_GAIN_SHIFT = -2.0


@dataclass(frozen=True)
class Prediction:
    """One decoded frame, in the units of its source.

    Attributes:
        offset_lsb: (B, 3, H, W) float32, what to add to each code, within ±w.
        gain_stops: (B, 3, H, W) float32 ≥ 0, stops above the top of the range; 0 where the channel is not clipped.
        gain_error_stops: (B, 1, H, W) float32 > 0, expected absolute error of gain_stops.
    """

    offset_lsb: Tensor
    gain_stops: Tensor
    gain_error_stops: Tensor


def apply_head(
    raw: Tensor,
    scales: ScaleSpace,
    coarser_lsb: Tensor,
    prior: Prior,
    half_width_lsb: Tensor,
    clipped: Tensor,
    bounded: bool,
) -> Prediction:
    """Turn the U-Net's output into a prediction.

    Args:
        raw: (B, HEAD_CHANNELS, H/2, W/2).
        scales: the codes (B, 3, H, W) and their blurs.
        coarser_lsb: (B, 3, H/4, W/4) in codes, what the smaller frame was decoded to.
        prior: the warped previous prediction.
        half_width_lsb: (B, 1, 1, 1) in code units.
        clipped: (B, 3, H, W), 0..1 from :func:`seqhdr.model.clipping.open_share`: what the stops are multiplied by.
        bounded: pull the sum into ±w; without it the result may leave the bin by the residual.

    Returns:
        The prediction, float32.
    """
    logits, residual, gain, gain_error, gate, signed = torch.split(raw.float(), _SPLIT, dim=1)
    codes, w = scales.full, half_width_lsb
    low, high = codes - w, codes + w

    # The last entry is "keep the code" with a fixed logit of 0. An invalid memory is never chosen.
    # Split, not sliced: each slice would send a tensor of zeros of the whole size back in training.
    fresh_logits, remembered = torch.split(F.pixel_shuffle(logits, 2), [_CANDIDATES - 1, 1], dim=1)
    remembered = remembered.masked_fill(prior.valid == 0, -1e4)
    shares = torch.cat((fresh_logits, remembered, torch.zeros_like(remembered)), dim=1).softmax(dim=1).unbind(dim=1)
    more = F.pixel_shuffle(signed, 2).unbind(dim=1)

    correction = (w / 2) * F.pixel_shuffle(residual, 2)
    offset = correction if bounded else torch.zeros_like(correction)
    # Where the memory is not valid it is the code itself, so that its signed weight comes to nothing.
    for candidate, share, signed_share in zip(
        _candidates(scales, coarser_lsb, prior), shares[:_CANDIDATES], more, strict=True
    ):
        pulled = torch.clamp(candidate, low, high) - codes
        offset = torch.addcmul(offset, (share + signed_share)[:, None], pulled)
    offset = torch.maximum(torch.minimum(offset, w), -w)
    if not bounded:
        # Signed weights have only ever been seen held in bins, in training too: alone they may run far away.
        offset = offset + correction

    fresh = F.softplus(F.pixel_shuffle(gain, 2) + _GAIN_SHIFT)
    keep = upsample(torch.sigmoid(gate), 2) * prior.valid
    gain_stops = torch.lerp(fresh, prior.gain_stops, keep)
    # Where nothing of the colour is left, none is invented: all channels rise alike. Measured on training panoramas,
    # the network's own differences between wholly clipped channels miss the truth by more than no difference does.
    nothing_left = clipped.amin(dim=1, keepdim=True)
    gain_stops = torch.lerp(gain_stops, gain_stops.mean(dim=1, keepdim=True), nothing_left) * clipped
    return Prediction(offset, gain_stops, upsample(F.softplus(gain_error) + 1e-3, 2))


def _candidates(scales: ScaleSpace, coarser_lsb: Tensor, prior: Prior) -> Iterator[Tensor]:
    """What is blended, in the order of the logits; one at a time, because each is as large as the frame."""
    yield from scales.fine
    for images, cells in ((scales.coarse, COARSE_CELLS), (scales.gated, GATED_CELLS)):
        for image, size in zip(images, cells, strict=True):
            yield upsample(image, size)
    yield upsample(coarser_lsb, COARSER)
    yield prior.decoded_lsb
