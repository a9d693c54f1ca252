"""Flicker and jitter of sequences, in stops: what changes from frame to frame although the scene does not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from seqhdr.model.motion import occluded
from seqhdr.quality.lattice import Lattice, Motion, Picture, all_usable, whole_around
from seqhdr.quality.temporal_std import WINDOW, StdMeter, StdSummary

__all__ = [
    "FlickerMeter",
    "FrameFlicker",
    "SequenceFlicker",
    "colour_jitter",
    "exposure_jitter",
    "flow_difference_px",
]

#: Red, green, blue.
Colour = tuple[float, float, float]

_T = TypeVar("_T")

# How far flow is off, and the residual that is left where the picture is flat.
_FLOW_ERROR_PX = 0.25
_FLAT_STOPS = 0.002
# Exposure is the median over blocks of this many samples a side, and over this many blocks at least.
_BLOCK = 8
_FEWEST_BLOCKS = 16


@dataclass(frozen=True)
class SequenceFlicker:
    """What one sequence does between a frame and the one before.

    Nothing moving, an alternation by 1 % reads 0.0144 stop in both numbers, and a perfect shot 0. Along motion a
    perfect shot reads what rounding and interpolation leave. With the flow of a report, rendered pans and zooms in half
    floats beside their 8-bit source read a flicker of 0.0003 to 0.0006 stop where there are smooth places and 0.0014 in
    a wood (without a source up to 0.0019 and 0.0022), and an exposure that strays by 0.0002; the alternation still
    reads 0.0143 to 0.0144. The same shots rounded to 8 bits read a flicker of 0.003, the wood, with its dark places,
    0.01: compare a result with its source.

    Attributes:
        flicker_stops: weighted mean of the warped residual's absolute value, channels equal.
        exposure_stops: how much brighter the frame is than the one before; negative where it is darker.
        colour_stops: the same of each channel, less the mean of the three.
    """

    flicker_stops: float
    exposure_stops: float
    colour_stops: Colour


@dataclass(frozen=True)
class FrameFlicker:
    """What all sequences do between a frame and the one before.

    Attributes:
        by_name: of each sequence; empty where not one pixel could be counted.
        counted_share: share of the samples that are not hidden before and not clipped in any sequence.
        heat_stops: (h, w) float32, absolute residual of the meter's main sequence, mean over the channels, as much less
            at edges as they weigh less than flat places; NaN where not counted.
    """

    by_name: dict[str, SequenceFlicker]
    counted_share: float
    heat_stops: NDArray[np.float32]


class FlickerMeter:
    """Measures several sequences of one shot, frame after frame, all at the same pixels.

    Keeps the pictures of the frame before, a few arrays of the lattice's size, and nothing that grows with the shot.

    Args:
        lattice: where it is measured.
        window: frames over which temporal standard deviations are taken.
        main: the sequence whose heat map is drawn.
    """

    def __init__(self, lattice: Lattice, *, window: int = WINDOW, main: str = "result") -> None:
        self._lattice = lattice
        self._main = main
        self._at_px = lattice.positions_px()
        self._before: dict[str, Picture] = {}
        self._std = StdMeter(lattice, window=window)

    def add(
        self,
        pictures: Mapping[str, Picture],
        reference: str,
        motion: Motion | None,
        quantum_stops: Tensor | None = None,
    ) -> FrameFlicker | None:
        """Count the next frame.

        The residual is r(p) = S_t(p) - S_{t-1}(p + backward(p)) of stops S, where it is not occluded, as in the warping
        error of Lai et al., Learning blind video temporal consistency, ECCV 2018. A tenth of a pixel of wrong flow at
        an edge looks like flicker there and is none. So |r| is averaged with the inverse of the variance such errors
        have, 1 / (s0² + (0.25 px · g)²) with g the reference's gradient in stops per pixel and s0 = 0.002 stop: smooth
        areas, where eyes see flicker, decide.

        Args:
            pictures: of each sequence; the same names in all frames.
            reference: the one whose gradient gives the weights.
            motion: between this frame and the one before; None for the first frame of a segment.
            quantum_stops: (3, h, w) one code of the reference at each sample; None where it is not made of codes. A
                sky in 8 bits is flat with steps of one code: these are no gradient, and it is there that it flickers.

        Returns:
            What changed; None for the first frame of a segment.

        Raises:
            ValueError: sizes or names are not those of the frames before.
        """
        self._check(pictures, reference, motion)
        here = {name: picture.pick(self._lattice) for name, picture in pictures.items()}
        weights = _flatness(pictures[reference].stops, self._lattice, quantum_stops)
        frame = None if motion is None else self._compare(pictures, here, weights, motion)
        self._std.add(pictures, here, weights, motion)
        self._before = dict(pictures)
        return frame

    def finish(self) -> StdSummary:
        """Temporal standard deviations of all that was added."""
        return self._std.finish()

    def _check(self, pictures: Mapping[str, Picture], reference: str, motion: Motion | None) -> None:
        size = (self._lattice.height, self._lattice.width)
        sizes = {tuple(picture.stops.shape[1:]) for picture in pictures.values()}
        sizes |= {tuple(motion.backward_px.shape[1:])} if motion is not None else set()
        if sizes != {size}:
            raise ValueError(f"got pictures and flows of {sizes}: expected {size}")
        if not {reference, self._main} <= pictures.keys():
            raise ValueError(f"got pictures of {sorted(pictures)}: expected {reference!r} and {self._main!r} in them")
        if self._before and self._before.keys() != pictures.keys():
            raise ValueError(f"got pictures of {sorted(pictures)}: expected {sorted(self._before)}, as before")
        if motion is not None and not self._before:
            raise ValueError("got motion for the first frame: expected None, there is no frame before")

    def _compare(
        self, pictures: Mapping[str, Picture], here: Mapping[str, Tensor], weights: Tensor, motion: Motion
    ) -> FrameFlicker:
        before_px = self._at_px + self._lattice.pick(motion.backward_px).permute(1, 2, 0)
        flows_px = motion.backward_px[None], motion.forward_px[None]
        counted = ~occluded(*flows_px, at_px=self._at_px[None])[0, 0]
        now_usable, then_usable = all_usable(pictures.values()), all_usable(self._before.values())
        if now_usable is not None:
            counted &= self._lattice.pick(now_usable)
        if then_usable is not None:
            counted &= whole_around(then_usable, before_px)
        share = float(counted.float().mean())
        residuals = {name: here[name] - self._before[name].at(before_px) for name in pictures}
        heat = torch.where(counted, residuals[self._main].abs().mean(dim=0) * weights, math.nan)
        if share == 0:
            return FrameFlicker({}, share, heat.numpy())
        weights = torch.where(counted, weights, 0)
        by_name = {name: _change(residual, counted, weights) for name, residual in residuals.items()}
        return FrameFlicker(by_name, share, heat.numpy())


def _flatness(reference_stops: Tensor, lattice: Lattice, quantum_stops: Tensor | None) -> Tensor:
    """(h, w) weights of the samples: 1 where the picture is flat, less the steeper it is."""
    squared_gradient = torch.zeros(lattice.rows, lattice.columns)
    for axis in ("right", "down"):
        # All pixels that bicubic interpolation reads, and one-sided steps between them: central differences do not
        # see texture that alternates from pixel to pixel.
        row = [lattice.pick(reference_stops, **{axis: offset}) for offset in (-2, -1, 0, 1, 2)]
        steps = torch.stack([b - a for a, b in pairwise(row)]).abs_()
        if quantum_stops is not None:
            steps.sub_(quantum_stops).clamp_(min=0)
        squared_gradient += steps.square_().mean(dim=1).amax(dim=0)
    return 1 / (1 + squared_gradient * (_FLOW_ERROR_PX / _FLAT_STOPS) ** 2)


def _change(residual: Tensor, counted: Tensor, weights: Tensor) -> SequenceFlicker:
    """The numbers of a residual (3, h, w), of which one sample at least is counted."""
    flicker = float((residual.abs().mean(dim=0) * weights).double().sum() / weights.double().sum())
    blocks = _block_means(residual, counted)
    brightness = blocks.mean(axis=0)
    red, green, blue = (float(np.median(channel - brightness)) for channel in blocks)
    return SequenceFlicker(flicker, float(np.median(brightness)), (red, green, blue))


def _block_means(residual: Tensor, counted: Tensor) -> NDArray[np.float32]:
    """Means (3, n) over the counted samples of blocks of which half is counted.

    A single pixel of 8-bit frames keeps its code over a small change of exposure, and the median pixel sees none; in
    the mean over a block some pixels have changed to the next code. Unweighted, since those lie at steps.
    """
    block = min(_BLOCK, *counted.shape)
    while True:
        held = F.avg_pool2d(counted[None].float(), block)[0]
        enough = held >= 0.5
        if block == 1 or int(enough.sum()) >= _FEWEST_BLOCKS:
            sums = F.avg_pool2d(torch.where(counted, residual, 0), block)
            means: NDArray[np.float32] = (sums / held)[:, enough].numpy()
            return means
        block //= 2


def exposure_jitter(exposures: Sequence[float | None]) -> list[float | None]:
    """Exposure of each frame beside the mean of its two neighbours: flicker without fades.

    With e the exposure in stops and j its change from frame to frame, |e_t - (e_{t-1} + e_{t+1}) / 2| is
    |j_{t+1} - j_t| / 2. A steady fade gives 0, an alternation by 1 % log2(1.01) = 0.01435.

    Args:
        exposures: ``exposure_stops`` of each frame; None for the first frame of a segment, and where unknown.

    Returns:
        Stops, one for each frame; None for the first and the last frame of a segment, and where unknown.
    """
    return [None if pair is None else abs(pair[1] - pair[0]) / 2 for pair in _with_next(exposures)]


def colour_jitter(colours: Sequence[Colour | None]) -> list[float | None]:
    """The same as :func:`exposure_jitter` of ``colour_stops``, of the channel that jitters most."""
    return [
        None if pair is None else max(abs(b - a) / 2 for a, b in zip(*pair, strict=True))
        for pair in _with_next(colours)
    ]


def _with_next(values: Sequence[_T | None]) -> Iterator[tuple[_T, _T] | None]:
    """Each value with the one after it; None where either is missing."""
    for here, after in pairwise([*values, None]):
        yield None if here is None or after is None else (here, after)


def flow_difference_px(flow_a: Tensor, flow_b: Tensor) -> float:
    """tOF, how differently two sequences move: mean over the pixels of |dx| + |dy| between their flows.

    As in Chu et al., Learning temporal coherence via self-supervision for GAN-based video generation (TecoGAN), ACM
    TOG 39(4), 2020.

    Args:
        flow_a: (2, H, W) flow of one sequence in pixels.
        flow_b: (2, H, W) flow of the other between the same two frames.

    Raises:
        ValueError: the shapes differ.
    """
    if flow_a.shape != flow_b.shape or flow_a.shape[0] != 2:
        raise ValueError(f"got flows of {tuple(flow_a.shape)} and {tuple(flow_b.shape)}: expected (2, H, W) twice")
    return float((flow_a - flow_b).abs().sum(dim=0).mean())
