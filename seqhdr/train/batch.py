"""A batch of clips: what a network sees, and what it should have said."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seqhdr.model.source import Source

__all__ = ["ClipBatch", "stack_clips"]


@dataclass(frozen=True)
class ClipBatch:
    """B clips of T frames, all of one size. Codes are in units of one code; 8-bit sources, so 0..255.

    Attributes:
        codes: (B, T, 3, H, W) float32, 0..255; whole numbers unless a decoder's rounding was undone.
        value_lsb: (B, T, 3, H, W) float32, what the codes were before they were rounded, in codes; not cut off at
            the top or the bottom of the range.
        gain_stops: (B, T, 3, H, W) float32 ≥ 0, stops of the true light above the top of the range (code 254.5).
        flow_px: (B, T, 2, H, W) float32, backward flow that the network is given, in pixels; zero in frame 0.
        exact_flow_px: (B, T, 2, H, W) float32, backward flow as it really is; the same where nobody knows better.
        visible: (B, T, 1, H, W) bool, true where the pixel's content was also seen in the frame before.
        half_width_lsb: (B,) w in codes.
        log_width: (B, WIDTH_LUT_SIZE), see :class:`seqhdr.model.net.Source`.
        width_stops: (B, 256) how many stops wide each code is, see :func:`seqhdr.color.bins.bin_width_stops`.
        encodings: B names, what the codes of each clip mean.
    """

    codes: Tensor
    value_lsb: Tensor
    gain_stops: Tensor
    flow_px: Tensor
    exact_flow_px: Tensor
    visible: Tensor
    half_width_lsb: Tensor
    log_width: Tensor
    width_stops: Tensor
    encodings: tuple[str, ...]

    @property
    def source(self) -> Source:
        """What the network is told of the codes."""
        return Source(self.half_width_lsb, self.log_width)

    @property
    def clipped(self) -> Tensor:
        """(B, T, 3, H, W) bool, true where the bin reaches the top of the range."""
        return self.codes + self.half_width_lsb.view(-1, 1, 1, 1, 1) >= 255

    def to(self, device: torch.device | str) -> ClipBatch:
        """The same batch on a device; copies from pinned memory do not wait."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> ClipBatch:
        """The same batch in page-locked memory; the data loader calls this."""
        return self._map(lambda tensor: tensor.pin_memory())

    def frames(self, start: int, stop: int) -> ClipBatch:
        """A stretch of time of all clips."""
        return dataclasses.replace(self, **{name: getattr(self, name)[:, start:stop] for name in _IN_TIME})

    def _map(self, change: object) -> ClipBatch:
        assert callable(change)
        return dataclasses.replace(self, **{name: change(getattr(self, name)) for name in (*_IN_TIME, *_PER_CLIP)})


_IN_TIME = ("codes", "value_lsb", "gain_stops", "flow_px", "exact_flow_px", "visible")
_PER_CLIP = ("half_width_lsb", "log_width", "width_stops")


def stack_clips(clips: Sequence[ClipBatch]) -> ClipBatch:
    """Join batches of one size along B."""
    joined = {name: torch.cat([getattr(clip, name) for clip in clips]) for name in (*_IN_TIME, *_PER_CLIP)}
    return ClipBatch(**joined, encodings=tuple(name for clip in clips for name in clip.encodings))
