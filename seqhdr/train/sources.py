"""Where training clips come from: panoramas, rendered when they are asked for, and pairs on disk."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from seqhdr.color.bins import bin_width_stops
from seqhdr.color.encodings import convert_linear, get_encoding
from seqhdr.errors import ShotError
from seqhdr.media.unround import unrounding
from seqhdr.model.motion import DisFlow, occluded
from seqhdr.model.source import log_width_table
from seqhdr.train.augment import augment_clip, random_crop
from seqhdr.train.batch import ClipBatch
from seqhdr.train.config import SceneConfig
from seqhdr.train.degrade import DegradedClip, degrade, draw_degradation
from seqhdr.train.pairs import ClipInfo, read_pair, truth_to_light
from seqhdr.train.panorama import Panorama
from seqhdr.train.synthetic import make_clip

__all__ = ["ClipSource", "PairSource", "PanoramaSource", "batch_of_one"]


class ClipSource(Protocol):
    """Anything that clips can be drawn from."""

    def clip(self, rng: np.random.Generator, frames: int, size: int) -> ClipBatch:
        """Draw one clip.

        Args:
            rng: decides everything.
            frames: T.
            size: side of the square crop in pixels, the same crop in every frame.

        Returns:
            A batch of one, given the exact flow.
        """
        ...


@dataclass(frozen=True)
class PanoramaSource:
    """Renders clips from panoramas; never the same twice."""

    panoramas: Sequence[Panorama]
    scene: SceneConfig

    def clip(self, rng: np.random.Generator, frames: int, size: int) -> ClipBatch:
        """See :class:`ClipSource`."""
        panorama = self.panoramas[int(rng.integers(len(self.panoramas)))]
        made = make_clip(panorama, self.scene, rng, frames, size, size)
        codes, value, stops = _tensors(made.degraded)
        return batch_of_one(
            codes, value, stops, made.flow_px, made.visible, made.degraded.half_width_lsb, made.encoding
        )


class PairSource:
    """Cuts clips out of pairs on disk, the same place in every frame.

    A still is panned over by whole pixels. Where a clip has no flow of its own, DIS on the truth stands in, with
    a forward-backward check for what was hidden.

    Args:
        clips: with at least ``frames`` frames each, or a single one.
        scene: augmentation, and the degradations where the input is remade.
        frames: T.
        remake: make the input from the truth instead of taking the codes beside it.
        cache_mb: megabytes of decoded frames to keep.

    Raises:
        ShotError: no clip is long enough.
    """

    def __init__(
        self, clips: Sequence[ClipInfo], scene: SceneConfig, frames: int, *, remake: bool = False, cache_mb: int = 1500
    ) -> None:
        self._clips = [clip for clip in clips if len(clip.frames) >= frames or len(clip.frames) == 1]
        if not self._clips:
            longest = max((len(clip.frames) for clip in clips), default=0)
            raise ShotError(f"no clip has {frames} frames, the longest has {longest}: lower data.frames")
        self._weights = np.array([float(len(clip.frames)) for clip in self._clips])
        self._weights /= self._weights.sum()
        self._scene = scene
        self._remake = remake
        self._cache_bytes = cache_mb * 2**20
        self._cached: OrderedDict[tuple[int, int], tuple[Tensor, ...]] = OrderedDict()
        self._held = 0

    def clip(self, rng: np.random.Generator, frames: int, size: int) -> ClipBatch:
        """See :class:`ClipSource`."""
        index = int(rng.choice(len(self._clips), p=self._weights))
        info = self._clips[index]
        if min(info.height, info.width) < size:
            at = f"{info.width}x{info.height}"
            raise ShotError(f"{info.folder}: is {at}, smaller than a crop of {size}: lower data.crops, or leave it out")
        if len(info.frames) == 1:
            codes, value, stops, flow_px, visible = self._pan(rng, index, frames, size)
        else:
            start = int(rng.integers(len(info.frames) - frames + 1))
            rows, columns = random_crop(rng, info.height, info.width, size)
            parts = [self._frame(index, start + t) for t in range(frames)]
            codes, value, stops, flow_px, visible = (
                torch.stack([part[k][..., rows, columns] for part in parts]) for k in range(5)
            )
            if not info.has_flow:
                flow_px, visible = _estimate(value)
            flow_px[0], visible[0] = 0, False
        # Codes cannot be made brighter; where the input is remade, its exposure is drawn anyway.
        moves = dataclasses.replace(self._scene.augment, brightness_stops=(0.0, 0.0))
        # One after another, as if a clip of 3·T frames: all three have to move alike.
        packed, flow_px, visible = augment_clip(
            torch.cat((codes, value, stops)), flow_px.repeat(3, 1, 1, 1), visible.repeat(3, 1, 1, 1), rng, moves
        )
        codes, value, stops = torch.split(packed, frames)
        flow_px, visible = flow_px[:frames], visible[:frames]
        if self._remake:
            return self._degraded(info, value, stops, flow_px, visible, rng)
        return batch_of_one(codes, value, stops, flow_px, visible, info.half_width_lsb, info.encoding)

    def _degraded(
        self, info: ClipInfo, value: Tensor, stops: Tensor, flow_px: Tensor, visible: Tensor, rng: np.random.Generator
    ) -> ClipBatch:
        source = get_encoding(info.encoding)
        degradation = draw_degradation(rng, self._scene.degrade)
        light = convert_linear(
            truth_to_light(value, stops, source), source, get_encoding(degradation.encoding)
        ).clamp_min(0)
        made = degrade(np.ascontiguousarray(light.permute(0, 2, 3, 1).numpy()), degradation)
        codes, value, stops = _tensors(made)
        return batch_of_one(codes, value, stops, flow_px, visible, made.half_width_lsb, degradation.encoding)

    def _pan(self, rng: np.random.Generator, index: int, frames: int, size: int) -> tuple[Tensor, ...]:
        """A window that moves over a still by the same whole pixels in each frame."""
        info = self._clips[index]
        parts = self._frame(index, 0)[:3]
        most = [min(8, (side - size) // max(frames - 1, 1)) for side in (info.height, info.width)]
        step = [int(rng.integers(-m, m + 1)) for m in most]
        spare = [side - size - abs(s) * (frames - 1) for side, s in zip((info.height, info.width), step, strict=True)]
        corner = [int(rng.integers(s + 1)) for s in spare]
        corner = [c - s * (frames - 1) if s < 0 else c for c, s in zip(corner, step, strict=True)]
        flow_px = torch.tensor(step[::-1], dtype=torch.float32).view(1, 2, 1, 1).repeat(frames, 1, size, size)
        moved = []
        for t in range(frames):
            top, left = (c + s * t for c, s in zip(corner, step, strict=True))
            moved.append([part[..., top : top + size, left : left + size] for part in parts])
        y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
        inside = (y + step[0] >= 0) & (y + step[0] < size) & (x + step[1] >= 0) & (x + step[1] < size)
        visible = inside.expand(frames, 1, size, size).clone()
        flow_px[0], visible[0] = 0, False
        return (*(torch.stack([frame[k] for frame in moved]) for k in range(3)), flow_px, visible)

    def _frame(self, index: int, place: int) -> tuple[Tensor, ...]:
        """Codes, value, stops (3, H, W), flow (2, H, W) and visibility (1, H, W) of a frame, from memory or disk."""
        key = (index, place)
        if key in self._cached:
            self._cached.move_to_end(key)
            return self._cached[key]
        info = self._clips[index]
        pair = read_pair(info, info.frames[place])
        flow = torch.zeros(2, info.height, info.width)
        seen = torch.zeros(1, info.height, info.width, dtype=torch.bool)
        if pair.flow_px is not None and pair.visible is not None:
            flow, seen = torch.from_numpy(pair.flow_px).permute(2, 0, 1), torch.from_numpy(pair.visible)[None]
        codes = torch.from_numpy(pair.codes).permute(2, 0, 1).float()
        entry = (codes, pair.value_lsb, pair.gain_stops, flow.float(), seen)
        self._cached[key] = entry
        self._held += sum(part.nbytes for part in entry)
        while self._held > self._cache_bytes and len(self._cached) > 1:
            self._held -= sum(part.nbytes for part in self._cached.popitem(last=False)[1])
        return entry


def _tensors(clip: DegradedClip) -> tuple[Tensor, Tensor, Tensor]:
    """Codes, value and stops, (T, 3, H, W) each; the codes as a run sees them, with the decoder's rounding undone."""
    seen = clip.codes.astype(np.float32)
    if clip.decoder is not None:
        seen += unrounding(clip.decoder).closed_lift_lsb(clip.codes, clip.half_width_lsb)
    codes, value, stops = (
        torch.from_numpy(array).permute(0, 3, 1, 2).float().contiguous()
        for array in (seen, clip.value_lsb, clip.gain_stops)
    )
    return codes, value, stops


def batch_of_one(
    codes: Tensor,
    value_lsb: Tensor,
    gain_stops: Tensor,
    flow_px: Tensor,
    visible: Tensor,
    half_width_lsb: float,
    encoding: str,
) -> ClipBatch:
    """Wrap the tensors (T, C, H, W) of one clip; its flow is taken as exact."""
    space = get_encoding(encoding)
    flow = flow_px[None].float().contiguous()
    return ClipBatch(
        codes=codes[None].contiguous(),
        value_lsb=value_lsb[None].contiguous(),
        gain_stops=gain_stops[None].contiguous(),
        flow_px=flow,
        exact_flow_px=flow,
        visible=visible[None].contiguous(),
        half_width_lsb=torch.tensor([half_width_lsb], dtype=torch.float32),
        log_width=log_width_table(space, 255)[None],
        width_stops=bin_width_stops(space, 255)[None],
        encodings=(space.name,),
    )


def _estimate(value_lsb: Tensor) -> tuple[Tensor, Tensor]:
    """DIS between the frames of the truth (T, 3, H, W), and where it agrees with the way back."""
    frames, _, height, width = value_lsb.shape
    flow_px = torch.zeros(frames, 2, height, width)
    visible = torch.zeros(frames, 1, height, width, dtype=torch.bool)
    if frames > 1:
        dis, picture = DisFlow(), (value_lsb / 255).clamp(0, 1)
        flow_px[1:] = dis(picture[1:], picture[:-1])
        visible[1:] = ~occluded(flow_px[1:], dis(picture[:-1], picture[1:]))
    return flow_px, visible
