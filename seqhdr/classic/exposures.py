"""Real exposures of one frame: how far apart they are, where they show the same, and what they say together.

One exposure is the reference. It decides what the result shows: where another one disagrees with it, because something
moved or because it was invented differently, that other one is not heard.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from seqhdr.classic.merge import NoiseModel, merge_exposures
from seqhdr.color.bins import clip_mask
from seqhdr.color.encodings import ColorEncoding
from seqhdr.errors import InputError
from seqhdr.model.head import Prediction

__all__ = ["agreement_masks", "estimate_exposures", "merge_onto_reference"]

# Codes that say something of light: away from the clip, and where a code is not yet a large part of the light.
_USABLE = (0.06, 0.94)
_LEAST_PIXELS = 500
_MOST_PIXELS = 200_000
# Exposures of real cameras agree better than this, those that a network made often do not.
_TOLERANCE_STOPS = 0.15
_TOLERANCE_LSB = 2.0
# Of 5x5 pixels, the share that must disagree to be a ghost: single ones are noise.
_WINDOW_PX, _GHOST_SHARE = 5, 0.3
_GROWTH_PX = 4
_KNOWN_STOPS, _UNKNOWN_STOPS = 0.1, 4.0


def estimate_exposures(frames: Sequence[Sequence[Tensor]], encoding: ColorEncoding, max_code: float) -> list[float]:
    """EVs of the exposures of a shot, from what they show, all frames together.

    Between neighbours in brightness, the median of log2 X₂ / X₁ over all channel values that neither exposure clips or
    crushes; a median, because what moves is the smaller part.

    Args:
        frames: some frames of the shot; of each, one (3, H, W) of codes per exposure, in the same order.
        encoding: what the codes mean.
        max_code: the largest code.

    Returns:
        EVs, in the order of the exposures; the one in the middle of their brightness (of two, the darker) is 0.

    Raises:
        InputError: two neighbours have too little in common.
    """
    exposures = [torch.stack([frame[index].flatten() for frame in frames]) for index in range(len(frames[0]))]
    order = sorted(range(len(exposures)), key=lambda index: float(exposures[index].mean()))
    stops = {order[0]: 0.0}
    low, high = (share * max_code for share in _USABLE)
    for darker, brighter in itertools.pairwise(order):
        one, other = exposures[darker].flatten(), exposures[brighter].flatten()
        both = (one > low) & (one < high) & (other > low) & (other < high)
        count = int(both.sum())
        if count < _LEAST_PIXELS:
            raise InputError(
                f"exposures {darker + 1} and {brighter + 1} have {count} channel values in common that neither clips "
                f"nor crushes, {_LEAST_PIXELS} are needed to tell how far apart they are: give --ev"
            )
        step = max(1, count // _MOST_PIXELS)
        pair = [encoding.decode(codes[both][::step] / max_code) for codes in (one, other)]
        lit = (pair[0] > 0) & (pair[1] > 0)
        stops[brighter] = stops[darker] + float((pair[1][lit] / pair[0][lit]).log2().median())
    middle = stops[order[(len(order) - 1) // 2]]
    return [stops[index] - middle for index in range(len(exposures))]


def agreement_masks(
    codes: Sequence[Tensor], stops: Sequence[float], reference: int, encoding: ColorEncoding, max_code: float
) -> list[Tensor]:
    """Where each exposure shows what the reference shows: 1 there, 0 in ghosts, smooth between.

    A code of an exposure says that the light lies in an interval: that of its bin, wider by two codes and a tenth of
    the light (0.15 stop) on both sides, open where it is clipped or black. From the reference outwards, by brightness,
    an exposure agrees where its interval meets what is known so far, and then narrows it.

    Args:
        codes: one (3, H, W) per exposure.
        stops: EV of each.
        reference: index of the exposure that decides.
        encoding: what the codes mean.
        max_code: the largest code.

    Returns:
        One (1, H, W) per exposure, 0..1; that of the reference is 1 everywhere.
    """
    masks = [torch.ones_like(codes[0][:1]) for _ in codes]
    order = sorted(range(len(codes)), key=lambda index: stops[index])
    place = order.index(reference)
    for chain in (order[place + 1 :], order[:place][::-1]):
        low, high = _light_interval(codes[reference], stops[reference], encoding, max_code)
        for index in chain:
            its_low, its_high = _light_interval(codes[index], stops[index], encoding, max_code)
            agrees = torch.maximum(low, its_low) <= torch.minimum(high, its_high)
            ghost = _grown(~agrees.all(dim=0, keepdim=True))
            masks[index] = 1 - ghost
            heard = ghost == 0
            low = torch.where(heard, torch.maximum(low, its_low), low)
            high = torch.where(heard, torch.minimum(high, its_high), high)
            # Single pixels that disagree in a place that is heard would leave an interval upside down.
            low, high = torch.minimum(low, high), torch.maximum(low, high)
    return masks


def _light_interval(codes: Tensor, stops: float, encoding: ColorEncoding, max_code: float) -> tuple[Tensor, Tensor]:
    """(3, H, W) each: the light, at EV 0, that a code may stand for."""
    reach, factor = 0.5 + _TOLERANCE_LSB, 2.0**_TOLERANCE_STOPS
    low = encoding.decode((codes - reach) / max_code) * 2.0**-stops
    high = encoding.decode((codes + reach) / max_code) * 2.0**-stops
    low = torch.where(low > 0, low / factor, low)
    high = torch.where(high > 0, high * factor, high)
    low = torch.where(codes - reach <= 0, -math.inf, low)
    return low, torch.where(codes + reach >= max_code, math.inf, high)


def _grown(ghost: Tensor) -> Tensor:
    """(1, H, W) 0..1: where many disagree, and some way around it, falling off outside of that."""
    half = _WINDOW_PX // 2

    def mean(image: Tensor, reach: int) -> Tensor:
        padded = F.pad(image[None], (reach,) * 4, mode="replicate")
        return F.avg_pool2d(padded, 2 * reach + 1, 1)[0]

    many = (mean(ghost.float(), half) > _GHOST_SHARE).float()
    wide = F.max_pool2d(many[None], 2 * _GROWTH_PX + 1, 1, _GROWTH_PX)[0]
    # Smoothed by no more than it was grown: what disagrees itself stays at 1.
    return torch.where(many > 0, 1.0, mean(wide, half))


def merge_onto_reference(
    codes: Sequence[Tensor],
    stops: Sequence[float],
    reference: int,
    encoding: ColorEncoding,
    max_code: int,
    half_width_lsb: float,
    method: str = "granados",
    noise: NoiseModel | None = None,
) -> Prediction:
    """Merge the exposures of a frame, seen from the reference: offsets within its bins, stops above its clip.

    Args:
        codes: one (3, H, W) float32 per exposure.
        stops: EV of each.
        reference: index of the exposure whose codes the offsets belong to.
        encoding: what the codes mean.
        max_code: the largest code.
        half_width_lsb: w of the reference; infinite: offsets are not held.
        method, noise: see :func:`~seqhdr.classic.merge.merge_exposures`.

    Returns:
        (1, 3, H, W) each. The expected error of the stops is 0.1 where an exposure shows what the reference clips, and
        4 where none does.
    """
    masks = agreement_masks(codes, stops, reference, encoding, max_code)
    # Seen from the reference, so that light is what its codes say.
    times = [2.0 ** (ev - stops[reference]) for ev in stops]
    light = merge_exposures([c.double() for c in codes], times, encoding, max_code, method, noise, masks)
    own = codes[reference].double()
    clipped = clip_mask(own, half_width_lsb, max_code)
    value = encoding.encode(light) * max_code
    value = torch.where(clipped, value.clamp(max=max_code - 0.5), value)
    offset = value - own
    if math.isfinite(half_width_lsb):
        offset = offset.clamp(-half_width_lsb, half_width_lsb)
    shown = encoding.decode((own + offset).clamp(max=max_code - 0.5) / max_code)
    gain = torch.where(clipped, (light / shown).clamp(min=1).log2(), 0)
    below = torch.stack([(c < max_code) & (mask > 0) for c, mask in zip(codes, masks, strict=True)]).any(dim=0)
    known = (below | ~clipped).all(dim=0, keepdim=True)
    error = torch.where(known, _KNOWN_STOPS, _UNKNOWN_STOPS)
    return Prediction(*(x.float()[None] for x in (offset, gain, error)))
