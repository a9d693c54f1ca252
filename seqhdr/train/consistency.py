"""What must not change when the picture does: a move of the camera, and another exposure."""

from __future__ import annotations

import kornia.geometry.transform
import numpy as np
import torch
from torch import Tensor, nn

from seqhdr.color.encodings import get_encoding
from seqhdr.model.head import Prediction
from seqhdr.train import losses
from seqhdr.train.batch import ClipBatch
from seqhdr.train.objective import decode_log, true_light

__all__ = ["coherence", "expose_first_frame", "exposure_consistency"]

_MAX_CODE = 255
# What cannot be compared along the border of a transformed picture: the network sees other surroundings there.
_BORDER_PX = 4


def coherence(
    net: nn.Module,
    batch: ClipBatch,
    rng: np.random.Generator,
    *,
    shift_px: float = 1.0,
    rotation_deg: float = 1.0,
    zoom: float = 0.01,
) -> Tensor:
    """A small move of the picture must move the output along: single-frame training for steady video (Eilertsen 2019).

    The first frame of every clip is decoded alone, and once more after a random shift, rotation and zoom about its
    centre (bilinear, codes rounded again). Compared are the values c + δ of the moved picture with the moved values of
    the first one, which are detached and made without a graph. Away from the border and where neither is clipped, the
    loss is the mean absolute difference over 2w.

    Rounding the moved codes changes each by up to half a code, so in a picture with texture the loss has a floor of
    about a quarter of a code over 2w that no network can get below.

    Args:
        net: a :class:`seqhdr.model.net.SeqNet`, not wrapped for distributed training: this is a second forward pass
            in a step, which such a wrapper allows only if gradients are brought together by hand.
        batch: the clips.
        rng: draws, for every clip, shift x, shift y, rotation and zoom, each uniform within ± what is given.
        shift_px, rotation_deg, zoom: the largest of each; zoom is relative.
    """
    codes, w = batch.codes[:, 0], batch.half_width_lsb.view(-1, 1, 1, 1)
    height, width = codes.shape[-2:]
    limits = np.array((shift_px, shift_px, np.deg2rad(rotation_deg), zoom))
    moves = _moves(rng.uniform(-1, 1, (codes.shape[0], 4)) * limits, height, width).to(codes)

    def move(image: Tensor, padding_mode: str = "border") -> Tensor:
        # bfloat16 could not tell one pixel's place from the next.
        with torch.autocast(image.device.type, enabled=False):
            moved: Tensor = kornia.geometry.transform.warp_affine(
                image, moves, (height, width), mode="bilinear", padding_mode=padding_mode, align_corners=True
            )
        return moved

    with torch.no_grad():
        clipped = (codes + w >= _MAX_CODE).to(codes.dtype)
        target = move(codes + net(codes[:, None], None, batch.source, None)[0][0].offset_lsb)
        moved = move(codes).round()
        inside = move(torch.ones_like(codes[:, :1]), "zeros") > 0.999
        inside[..., :_BORDER_PX, :] = inside[..., -_BORDER_PX:, :] = False
        inside[..., :_BORDER_PX] = inside[..., -_BORDER_PX:] = False
        counts = inside & (move(clipped) < 1e-3)
    value = moved + net(moved[:, None], None, batch.source, None)[0][0].offset_lsb
    return losses.l1(value / (2 * w), target / (2 * w), counts.to(codes.dtype))


def _moves(parameters: np.ndarray, height: int, width: int) -> Tensor:
    """(B, 4) shift x, shift y, angle in radians, relative zoom → (B, 2, 3) from old pixel to new, about the centre."""
    x, y, angle, zoom = parameters.T
    cos, sin = (1 + zoom) * np.cos(angle), (1 + zoom) * np.sin(angle)
    cx, cy = (width - 1) / 2, (height - 1) / 2
    rows = (cos, -sin, x + cx - cos * cx + sin * cy), (sin, cos, y + cy - sin * cx - cos * cy)
    return torch.from_numpy(np.stack([np.stack(row, axis=-1) for row in rows], axis=-2))


def exposure_consistency(net: nn.Module, batch: ClipBatch, rng: np.random.Generator, *, stops: float = 3.0) -> Tensor:
    """Another exposure of the same light must be decoded to the same light: a cycle over EVs (Chen et al. 2023, CEVR).

    The first frame of every clip is decoded alone, and once more as it would look so many stops brighter or darker,
    rounded again. Where the darker one clips later, it knows more of highlights; where the brighter one has finer
    codes, it knows more of shadows. Channel by channel, the one whose code is narrower in stops is the target,
    detached, and the other one learns, unless it is crushed to black; a clipped channel is wider than any other, and
    where both clip the darker one is the target.

    Chen, Yen, Hsieh, Lin, "Learning continuous exposure value representations for single-image HDR reconstruction"
    (ICCV 2023), ask it of exposures that the network makes; here they are made from the truth, so that no error of one
    is learned by the other.

    Args:
        net: as for :func:`coherence`.
        batch: the clips.
        rng: draws the EV of every clip, uniform within ±``stops``.
        stops: the largest EV.

    Returns:
        Mean absolute difference in ACEScct's curve, at the exposure of the clips.
    """
    ev = torch.from_numpy(rng.uniform(-stops, stops, len(batch.encodings))).to(batch.codes)
    frame, other = batch.frames(0, 1), expose_first_frame(batch, ev)
    pairs = [(b, net(b.codes, None, b.source, None)[0][0]) for b in (frame, other)]
    with torch.autocast(batch.codes.device.type, enabled=False):
        log = [_log_at(b, prediction, factor) for (b, prediction), factor in zip(pairs, (0 * ev, -ev), strict=True)]
        widths = [_width_stops(b) for b in (frame, other)]
        darker = (ev > 0).view(-1, 1, 1, 1, 1)
        # Of two that are equally wide, the darker exposure.
        own = torch.where(widths[0] == widths[1], darker, widths[0] < widths[1])
        target, learner = (torch.where(own == first, log[0], log[1]) for first in (True, False))
        # What is crushed cannot be decoded to what it was: no offset leaves the lowest bin.
        black = [b.codes <= b.half_width_lsb.view(-1, 1, 1, 1, 1) for b in (frame, other)]
        crushed = torch.where(own, black[1], black[0])
        return losses.l1(learner, target.detach(), (~crushed).to(learner.dtype))


def expose_first_frame(batch: ClipBatch, ev: Tensor) -> ClipBatch:
    """The first frames as they would look at another exposure, only rounded: continuous EVs from the truth.

    Args:
        batch: the clips.
        ev: (B,) stops brighter.

    Returns:
        B clips of one frame, w = ½, with their own truth.
    """
    first = batch.frames(0, 1)
    light = true_light(first)[1] * torch.exp2(ev).view(-1, 1, 1, 1, 1)
    top = (_MAX_CODE - 0.5) / _MAX_CODE
    values, gains = [], []
    for name, picture in zip(batch.encodings, light, strict=True):
        encoding = get_encoding(name)
        value = encoding.encode(picture) * _MAX_CODE
        above = picture / encoding.decode(picture.new_tensor(top))
        values.append(value)
        gains.append(torch.where(value >= _MAX_CODE - 0.5, above.clamp(min=1).log2(), 0))
    value_lsb = torch.stack(values)
    return ClipBatch(
        codes=value_lsb.round().clamp(0, _MAX_CODE),
        value_lsb=value_lsb,
        gain_stops=torch.stack(gains),
        flow_px=first.flow_px,
        exact_flow_px=first.exact_flow_px,
        visible=first.visible,
        half_width_lsb=torch.full_like(first.half_width_lsb, 0.5),
        log_width=first.log_width,
        width_stops=first.width_stops,
        encodings=first.encodings,
    )


def _log_at(batch: ClipBatch, prediction: Prediction, ev: Tensor) -> Tensor:
    """(B, 1, 3, H, W) what is predicted, so many stops brighter, in ACEScct's curve."""
    light = decode_log(batch, prediction.offset_lsb.float()[:, None], prediction.gain_stops.float()[:, None])[1]
    return get_encoding("acescct").encode(light * torch.exp2(ev).view(-1, 1, 1, 1, 1))


def _width_stops(batch: ClipBatch) -> Tensor:
    """(B, 1, 3, H, W) how many stops the bin of each channel spans, infinite where it is open."""
    w = batch.half_width_lsb.view(-1, 1, 1, 1, 1)
    places = batch.codes.flatten(1).round().long()
    width = torch.gather(batch.width_stops, 1, places).view_as(batch.codes)
    return (width * 2 * w).masked_fill(batch.clipped | (batch.codes <= w), torch.inf)
