"""The audit: are the values that a file holds inside the bins of the codes they came from?

It shares no arithmetic with the writer beyond the curves themselves: everything is computed in float64 from
the values as read, and re-encoded in the source space.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from seqhdr.color.bounds import clip_mask, code_bounds, light_bounds
from seqhdr.color.containers import FLOAT, FLOAT24, HALF, HALF_MAX, Container
from seqhdr.color.named import ColorEncoding, primaries_matrix, same_curve

__all__ = ["EXACT_TOLERANCE", "BinAudit", "audit", "merge"]

EXACT_TOLERANCE = 1e-6
"""In codes: what evaluating curve, matrix and curve in float64 may cost. Not a concession to the file."""

# The writer rounds what it computed in float32 or better: a half may be off by a hair more than half a step.
_CONTAINER_SLACK = 1.01

# In V: a floor computed in float32 comes out this close to where it should.
_FLOOR_SLACK = 1e-6

# Pixels at a time: three channels are fewer elements than torch splits among threads; chunks run in parallel.
_CHUNK = 10_000


@dataclass(frozen=True)
class BinAudit:
    """Counts over channels of one frame or, merged, of many.

    ``unclipped`` channels have a bin that is closed above; of these ``exact`` re-encode into their bin and
    ``container`` do so up to the rounding of the container (never fewer than exact). ``clipped`` channels are
    open above; of these ``clipped_exact`` and ``clipped_container`` are not below their lower bound.
    ``worst_lsb`` is the largest deviation from its code, in codes and with its sign, of an unclipped channel
    (a channel open below is only measured upwards); it sits at ``worst_x``, ``worst_y``, channel
    ``worst_channel`` (0, 1, 2 = R, G, B) of frame ``worst_frame``. ``nonfinite`` counts NaN and infinities,
    which are inside nothing.
    """

    unclipped: int = 0
    exact: int = 0
    container: int = 0
    clipped: int = 0
    clipped_exact: int = 0
    clipped_container: int = 0
    nonfinite: int = 0
    worst_lsb: float = 0.0
    worst_x: int = 0
    worst_y: int = 0
    worst_channel: int = 0
    worst_frame: int | None = None
    frames: int = 0

    @property
    def exact_share(self) -> float:
        """Unclipped channels exactly inside their bin, 0 to 1; 1 where there are none."""
        return self.exact / self.unclipped if self.unclipped else 1.0

    @property
    def container_share(self) -> float:
        """Unclipped channels inside up to the container's rounding, 0 to 1; 1 where there are none."""
        return self.container / self.unclipped if self.unclipped else 1.0

    @property
    def kept(self) -> bool:
        """Whether every channel, clipped or not, is where the container allows it to be."""
        within = self.container == self.unclipped and self.clipped_container == self.clipped
        return within and self.nonfinite == 0


def merge(audits: Iterable[BinAudit]) -> BinAudit:
    """One audit for many frames: counts add up, the worst deviation stays with its place."""
    total = BinAudit()
    for one in audits:
        worst = one if one.frames and (not total.frames or abs(one.worst_lsb) > abs(total.worst_lsb)) else total
        total = replace(
            worst,
            unclipped=total.unclipped + one.unclipped,
            exact=total.exact + one.exact,
            container=total.container + one.container,
            clipped=total.clipped + one.clipped,
            clipped_exact=total.clipped_exact + one.clipped_exact,
            clipped_container=total.clipped_container + one.clipped_container,
            nonfinite=total.nonfinite + one.nonfinite,
            frames=total.frames + one.frames,
        )
    return total


def audit(
    values: Tensor,
    codes: Tensor,
    half_width_lsb: float,
    max_code: int,
    src: ColorEncoding,
    dst: ColorEncoding,
    half: bool,
    *,
    float24: bool = False,
    frame: int | None = None,
) -> BinAudit:
    """Judge one frame: ``values`` (3, H, W), as read from the file, against the source's ``codes`` (3, H, W).

    ``values`` are in the output encoding ``dst``, any floating dtype; ``half`` says that the file holds half
    floats, ``float24`` that it holds floats with the 15 bits of mantissa that PXR24 keeps. ``half_width_lsb``
    is the w that the file claims.

    *Exact* has no tolerance but :data:`EXACT_TOLERANCE`. *Container* asks whether some light inside the bin
    could have been rounded to these values: each channel's light, give or take what half a stored step of
    every output channel moves it, must reach the bin. A pixel at the floor of ``dst``, or at the largest
    half, is excused where light of its bin really lies beyond.
    """
    container = HALF if half else FLOAT24 if float24 else FLOAT
    width = codes.shape[-1]
    stored, index = values.detach().reshape(3, -1), codes.detach().reshape(3, -1)
    job = _Job(half_width_lsb, max_code, src, dst, container)
    starts = range(0, index.shape[1], _CHUNK)
    with ThreadPoolExecutor(max_workers=torch.get_num_threads()) as pool:
        parts = pool.map(lambda s: job.chunk(stored[:, s : s + _CHUNK], index[:, s : s + _CHUNK], s), starts)
        total = merge(parts)
    y, x = divmod(total.worst_x, width)
    return replace(total, worst_x=x, worst_y=y, worst_frame=frame, frames=1)


@dataclass(frozen=True)
class _Job:
    """What all pixels of an audit have in common."""

    half_width_lsb: float
    max_code: int
    src: ColorEncoding
    dst: ColorEncoding
    container: Container

    def chunk(self, values: Tensor, codes: Tensor, start: int) -> BinAudit:
        """Audit pixels (3, N); ``worst_x`` of the result is the worst one's number, counted from ``start``."""
        stored, index = values.to(torch.float64), codes.to(torch.int64)
        low, high = (table[index] for table in code_bounds(self.half_width_lsb, self.max_code))
        finite = torch.isfinite(stored)
        deviation = self.source_codes(stored) - index
        value = deviation + index

        inside = (value >= low - EXACT_TOLERANCE) & (value <= high + EXACT_TOLERANCE) & finite
        excused = inside.clone()
        pixels = torch.nonzero(~inside.all(0)).squeeze(1)
        if pixels.numel():
            excused[:, pixels] |= self.excused(stored[:, pixels], index[:, pixels])

        clipped = clip_mask(codes, self.half_width_lsb, self.max_code)
        # An open lower end: only the way up is bounded. Not finite is counted elsewhere.
        open_below = torch.isinf(low) & math.isfinite(self.half_width_lsb)
        measured = torch.where(open_below, deviation.clamp(min=0.0), deviation)
        measured = torch.where(clipped | ~torch.isfinite(measured), 0.0, measured)
        channel, pixel = divmod(int(measured.abs().argmax()), measured.shape[1])
        return BinAudit(
            unclipped=int((~clipped).sum()),
            exact=int((inside & ~clipped).sum()),
            container=int((excused & ~clipped).sum()),
            clipped=int(clipped.sum()),
            clipped_exact=int((inside & clipped).sum()),
            clipped_container=int((excused & clipped).sum()),
            nonfinite=int((~finite).sum()),
            worst_lsb=float(measured[channel, pixel]),
            worst_x=start + pixel,
            worst_channel=channel,
            frames=1,
        )

    def source_codes(self, stored: Tensor) -> Tensor:
        """Stored values (3, N) re-encoded in the source space, in codes, not rounded."""
        if self.src.primaries != self.dst.primaries:
            light = primaries_matrix(self.dst, self.src) @ self.dst.decode(stored)
            return self.src.encode(light) * self.max_code
        if same_curve(self.src, self.dst):
            return stored * self.max_code
        return self.src.encode(self.dst.decode(stored)) * self.max_code

    def excused(self, stored: Tensor, index: Tensor) -> Tensor:
        """Which channels of these pixels (3, N) are inside up to the rounding of the container."""
        half_step = self.container.step(stored) / 2 * _CONTAINER_SLACK
        if same_curve(self.src, self.dst) and self.src.primaries == self.dst.primaries:
            low, high = (t[index] / self.max_code for t in code_bounds(self.half_width_lsb, self.max_code))
            return (stored + half_step >= low) & (stored - half_step <= high)
        decode, to_src = self.dst.decode, primaries_matrix(self.dst, self.src)
        light = decode(stored)
        reach = torch.maximum(decode(stored + half_step) - light, light - decode(stored - half_step))
        value, slack = to_src @ light, to_src.abs() @ reach
        low, high = (t[index] for t in light_bounds(self.src, self.half_width_lsb, self.max_code))
        within = (value + slack >= low) & (value - slack <= high)

        # What the bin's light can be in the output tells an honest stop at an end from a made-up one.
        to_dst = primaries_matrix(self.src, self.dst)
        rising, falling = to_dst.clamp(min=0.0), to_dst.clamp(max=0.0)
        least = _mixed(rising, low) + _mixed(falling, high)
        most = _mixed(rising, high) + _mixed(falling, low)
        held = torch.zeros_like(within)
        if self.dst.floor is not None:
            at_floor = stored <= self.dst.floor + half_step.clamp(min=_FLOOR_SLACK)
            held |= at_floor & (least <= light + reach)
        if self.container is HALF:
            held |= (stored >= HALF_MAX) & (most >= light)
            held |= (stored <= -HALF_MAX) & (least <= light)
        # A channel that could not follow takes its neighbours along, but only through a matrix.
        if self.src.primaries != self.dst.primaries:
            held = held.any(0).expand_as(within)
        return (within | held) & torch.isfinite(stored)


def _mixed(weights: Tensor, bounds: Tensor) -> Tensor:
    """A matrix of one sign times bounds that may be infinite, with 0 times infinity being 0."""
    terms = weights[:, :, None] * bounds[None]
    return torch.where(weights[:, :, None] == 0, 0.0, terms).sum(1)
