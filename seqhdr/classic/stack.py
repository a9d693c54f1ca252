"""A luminance stack: one frame becomes virtual exposures, and those are merged like real ones.

The field builds such stacks by hand: the frame is shown darker and brighter, each copy speaks for the range of
luminance that it shows well, and a merge puts the ranges together. What clips is stretched upwards by a fixed rule,
since one frame says nothing of it. So it is the baseline for whatever has learned to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from torch import Tensor

from seqhdr.classic.deband import deband
from seqhdr.classic.merge import merge_exposures
from seqhdr.color.bins import clip_mask
from seqhdr.color.encodings import ColorEncoding
from seqhdr.model.head import Prediction
from seqhdr.model.net import State
from seqhdr.model.source import Source

__all__ = ["VIRTUAL_STOPS", "LuminanceStack", "range_masks", "stretch_stops", "virtual_exposures"]

#: EVs of the virtual exposures.
VIRTUAL_STOPS = (-4.0, -2.0, 0.0, 2.0, 4.0)
# Each exposure speaks for the luminance that it shows at mid grey.
_MID_GREY = 0.18
_LEAST_LIGHT = 2.0**-20
# Rec. 709's luminance; other primaries would move the borders of the ranges a little, and nothing else.
_LUMA = (0.2126, 0.7152, 0.0722)
# A clipped area reaches 63 % of its stretch this far from its edge.
_RISE_PX = 12.0
_ERROR_STOPS = 4.0


def stretch_stops(clipped: Tensor, peak_stops: float) -> Tensor:
    """How far above the clip a pixel is put: nothing at the edge of a clipped area, ``peak_stops`` deep inside.

    With d pixels to the nearest one that is not clipped in all channels, peak · (1 − exp(−(d − 1) / 12)). An edge
    without a step is what Rempel et al., "Ldr2Hdr" (SIGGRAPH 2007), reach by a blur; unlike that, small lamps stay
    small. All channels go up alike, and a channel that clips alone stays: to lift it without the others would colour
    the light.

    Args:
        clipped: (3, H, W) bool.
        peak_stops: from 0 on.

    Returns:
        (1, H, W) float32 stops, 0 where not all channels are clipped.
    """
    # One pixel of border that is clipped as well: an area that the frame cuts has no edge there.
    inside = np.pad(clipped.all(dim=0).cpu().numpy().astype(np.uint8), 1, mode="edge")
    if inside.all():
        return torch.full_like(clipped[:1], peak_stops, dtype=torch.float32)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[None, 1:-1, 1:-1]
    distance_px = torch.from_numpy(np.ascontiguousarray(distance)).to(clipped.device)
    return peak_stops * (1 - torch.exp(-(distance_px - 1).clamp(min=0) / _RISE_PX))


def virtual_exposures(light: Tensor, encoding: ColorEncoding, max_code: float) -> Tensor:
    """What exposures of :data:`VIRTUAL_STOPS` would show of the light, not rounded.

    Args:
        light: (3, H, W) in the encoding's primaries.
        encoding: of the exposures.
        max_code: the largest code, at which they clip.

    Returns:
        (N, 3, H, W) in codes, up to ``max_code``; below 0 where light below zero has no code, since nothing is rounded.
    """
    t = light.new_tensor(VIRTUAL_STOPS).exp2().view(-1, 1, 1, 1)
    return (encoding.encode(light * t) * max_code).clamp(max=max_code)


def range_masks(light: Tensor) -> Tensor:
    """How much each virtual exposure has to say: a hat over log2 of the luminance, 1 where it is at mid grey.

    The hats of neighbours cross at one half, and the outermost go on for ever, so that they add up to 1 everywhere.

    Args:
        light: (3, H, W).

    Returns:
        (N, 1, H, W), 0..1.
    """
    luminance = torch.einsum("c,chw->hw", light.new_tensor(_LUMA), light).clamp(min=_LEAST_LIGHT)
    place = (luminance / _MID_GREY).log2()
    centres = light.new_tensor([-stops for stops in VIRTUAL_STOPS])
    step = abs(VIRTUAL_STOPS[1] - VIRTUAL_STOPS[0])
    held = place.clamp(float(centres.min()), float(centres.max()))
    return (1 - (held - centres.view(-1, 1, 1)).abs() / step).clamp(min=0).unsqueeze(1)


@dataclass(frozen=True)
class LuminanceStack:
    """The stack in the place of a network: ``seqhdr stack shot_%04d.png``, ``seqhdr run --model luminance``.

    Codes are debanded (:func:`~seqhdr.classic.deband.deband`), clipped areas stretched, and five virtual exposures
    merged. Where nothing clips, all weights agree, because all exposures show the same light: what they say differs
    only by their rounding errors in float32.

    Attributes:
        weights: a name in :data:`~seqhdr.classic.merge.MERGE_WEIGHTS`.
        peak_stops: how far clipped areas are stretched, from 0 on.
        device: where it runs.
    """

    weights: str = "granados"
    peak_stops: float = 1.0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    #: There are none.
    weights_sha256 = ""
    #: Motion between frames is nothing to it.
    remembers = False

    @property
    def name(self) -> str:
        """What goes into headers: with the settings, so that ``--skip-existing`` tells them apart."""
        return f"luminance ({self.weights}, {self.peak_stops:g} stops)"

    def step(
        self, codes: Tensor, state: State | None, source: Source, flow_px: Tensor | None
    ) -> tuple[Prediction, State]:
        """Decode one frame; arguments as for :meth:`seqhdr.model.net.SeqNet.step`, of a batch of one."""
        w, top = float(source.half_width_lsb[0]), source.max_code
        (encoding,) = source.encodings
        clipped = clip_mask(codes[0], w if source.bounded else math.inf, int(top))
        value = deband(codes, source.half_width_lsb.view(-1, 1, 1, 1))[0]
        value = torch.where(clipped, value.clamp(max=top - 0.5), value)
        stretched = stretch_stops(clipped, self.peak_stops)
        light = encoding.decode(value / top) * stretched.exp2()
        exposures = virtual_exposures(light, encoding, top)
        merged = merge_exposures(
            list(exposures),
            [2.0**stops for stops in VIRTUAL_STOPS],
            encoding,
            top,
            self.weights,
            masks=list(range_masks(light)),
        )
        offset = (encoding.encode(merged) * top - codes[0]).clamp(-w, w)
        # Above the clip light is what the top of the range shows, times the stops.
        shown = encoding.decode((codes[0] + offset).clamp(max=top - 0.5) / top)
        gain = torch.where(clipped, (merged / shown).clamp(min=1).log2(), 0)
        error = torch.full_like(codes[:, :1], _ERROR_STOPS)
        nothing = codes.new_zeros(0)
        return Prediction(offset[None], gain[None], error), State(nothing, nothing, nothing)
