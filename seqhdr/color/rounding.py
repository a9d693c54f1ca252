"""Rounding into the bin instead of to nearest.

Where source and output share primaries every channel stands alone: each code's bin has a least and a greatest
stored value, and rounding is a clamp between them. Where a matrix mixes the channels, each stored value moves
all three bins' coordinates. Then most pixels still pass with plain rounding; the others are first nudged, one
stored step per offending channel, then searched among their neighbouring triples. The search decides in
float64 and always has the triple nearest to a point of the bin among its candidates, so what it returns is
never further out than the container's own rounding explains.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from seqhdr.color.bounds import code_bounds, decode_offset, light_bounds
from seqhdr.color.containers import Container
from seqhdr.color.named import ColorEncoding, primaries_matrix, same_curve
from seqhdr.color.primaries import Matrix3, as_matrix3

__all__ = ["SEARCH_BATCH", "Task", "batches", "mix", "nudge", "plain", "round_alone", "search"]

# A channel closer to the end of its bin than float32 can tell is settled in float64. Relative to the light in
# the pixel: what mixing costs, and what a closed form costs that decodes in float32 (halves decode from a table
# made in float64). The closed forms also lose an absolute bit where a log's offset cancels.
_MIXING_DOUBT = 1e-6
_DECODING_DOUBT = 3e-6
_CANCELLATION_DOUBT = 2e-8

SEARCH_BATCH = 1200
"""Pixels per call of :func:`search`: 27 candidates each are just under what torch splits among threads."""


@dataclass(frozen=True)
class Task:
    """What is to be stored where: the constants of one shot."""

    half_width_lsb: float
    max_code: int
    src: ColorEncoding
    dst: ColorEncoding
    container: Container

    @cached_property
    def mixes(self) -> bool:
        """Whether a matrix stands between source and output."""
        return self.src.primaries != self.dst.primaries

    @cached_property
    def same(self) -> bool:
        """Whether source and output mean the same by the same V."""
        return not self.mixes and same_curve(self.src, self.dst)

    @cached_property
    def to_dst(self) -> Matrix3:
        """Linear RGB of the source to that of the output."""
        return as_matrix3(primaries_matrix(self.src, self.dst).numpy())

    @cached_property
    def to_src(self) -> Matrix3:
        """Linear RGB of the output to that of the source."""
        return as_matrix3(primaries_matrix(self.dst, self.src).numpy())

    @cached_property
    def bounds32(self) -> tuple[Tensor, Tensor]:
        """The ends of every code's bin in light of the source, float32 (max_code + 1,)."""
        low, high = light_bounds(self.src, self.half_width_lsb, self.max_code)
        return low.float(), high.float()


def mix(matrix: Matrix3, rgb: Tensor) -> Tensor:
    """A (3, 3) matrix times (3, N), row by row: in the dtype of ``rgb``, whatever matmul precision is set."""
    r, g, b = rgb
    return torch.stack([(r * row[0]).add_(g, alpha=row[1]).add_(b, alpha=row[2]) for row in matrix])


@lru_cache(maxsize=16)
def _stored_bounds(task: Task) -> tuple[Tensor, Tensor]:
    """Without a matrix: each code's least and greatest stored value, float32 (max_code + 1,)."""
    if task.same:
        low, high = (b / task.max_code for b in code_bounds(task.half_width_lsb, task.max_code))
    else:
        low, high = (
            torch.where(torch.isfinite(b), task.dst.encode(torch.where(torch.isfinite(b), b, 0.0)), b)
            for b in light_bounds(task.src, task.half_width_lsb, task.max_code)
        )
    least, greatest = task.container.inward(low, high)
    return least.float(), greatest.float()


def round_alone(task: Task, codes: Tensor, encoded: Tensor) -> Tensor:
    """Channels on their own: ``encoded`` (3, N) clamped between the ends of its bin on the grid."""
    least, greatest = _stored_bounds(task)
    index = codes.to(torch.int32).reshape(-1)
    low = least.index_select(0, index).view_as(encoded)
    high = greatest.index_select(0, index).view_as(encoded)
    return task.container.nearest(torch.minimum(torch.maximum(encoded, low), high))


@lru_cache(maxsize=16)
def _half_light(dst: ColorEncoding) -> Tensor:
    """The light of every half, by its bit pattern: float32 (65536,)."""
    values = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(torch.float16)
    return dst.decode(values.double()).float()


def _stored_light(task: Task, stored: Tensor) -> Tensor:
    """The light of stored values in the primaries of the output, float32."""
    if task.container.dtype == torch.float16:
        pattern = stored.view(torch.int16).to(torch.int32).add_(2**15)
        return _half_light(task.dst).index_select(0, pattern.reshape(-1)).view(stored.shape)
    return task.dst.decode(stored)


def _excess(task: Task, codes: Tensor, stored: Tensor) -> tuple[Tensor, Tensor]:
    """By how much light each channel (3, N) is above and below its bin, counting doubt against it."""
    back = _stored_light(task, stored)
    doubt = back.abs().sum(0)
    if task.container.dtype == torch.float16:
        doubt = doubt * _MIXING_DOUBT
    else:
        doubt = doubt * _DECODING_DOUBT + _CANCELLATION_DOUBT
    light = mix(task.to_src, back)
    low, high = task.bounds32
    index = codes.to(torch.int32).reshape(-1)
    above = light.sub(high.index_select(0, index).view_as(light)).add_(doubt)
    below = low.index_select(0, index).view_as(light).sub_(light).add_(doubt)
    return above, below


def _outside(above: Tensor, below: Tensor) -> Tensor:
    """Indices of the pixels with a channel outside; NaN counts as outside."""
    return torch.nonzero(~(torch.maximum(above, below) <= 0).all(0)).squeeze(1)


def plain(task: Task, codes: Tensor, encoded: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest rounding of ``encoded`` (3, N), and the indices of the pixels that are not surely inside."""
    stored = task.container.nearest(encoded)
    return stored, _outside(*_excess(task, codes, stored))


def nudge(task: Task, codes: Tensor, stored: Tensor, times: int) -> tuple[Tensor, Tensor]:
    """Up to ``times`` steps towards the bin for every channel (3, N) that is outside, one stored value each.

    Works because each output channel moves its own source channel most. Returns the new values and the
    indices that are still not surely inside.
    """
    result = stored
    pixels = torch.arange(codes.shape[1])
    above, below = _excess(task, codes, stored)
    for _ in range(times):
        steps = (below > 0).int() - (above > 0).int()
        stored = task.container.value(task.container.index(stored) + steps)
        result[:, pixels] = stored
        above, below = _excess(task, codes, stored)
        still = _outside(above, below)
        pixels, codes, stored = pixels[still], codes[:, still], stored[:, still]
        above, below = above[:, still], below[:, still]
    return result, pixels


def batches(pixels: Tensor, size: int) -> list[Tensor]:
    """Indices (N,) in pieces of at most ``size``."""
    return [pixels[start : start + size] for start in range(0, pixels.numel(), size)]


def search(task: Task, codes: Tensor, offset_lsb: Tensor, gain_stops: Tensor) -> Tensor:
    """Settle pixels (3, N) in float64: the best of 27 neighbouring triples, of 125 where none is inside."""
    pixels = codes, offset_lsb, gain_stops
    best, outside = _search_batch(task, pixels, reach=1)
    for some in batches(outside, SEARCH_BATCH // 5):
        best[:, some], _ = _search_batch(task, tuple(t[:, some] for t in pixels), reach=2)
    return best


def _search_batch(task: Task, pixels: tuple[Tensor, ...], reach: int) -> tuple[Tensor, Tensor]:
    """The best candidates within ``reach`` steps per channel, and the pixels for which none is inside."""
    codes, offset_lsb, gain_stops = pixels
    container, to_src = task.container, task.to_src
    low_table, high_table = light_bounds(task.src, task.half_width_lsb, task.max_code)
    low, high = low_table[codes.long()], high_table[codes.long()]

    target = decode_offset(
        codes.double(), offset_lsb.double(), gain_stops.double(), task.half_width_lsb, task.max_code, task.src
    )
    # A float container sees a value on the very end of its bin on either side of it; a hair inside is inside.
    hair = torch.minimum(target.abs().sum(0) * 1e-6, (high - low).nan_to_num(math.inf) / 4)
    target = torch.minimum(torch.maximum(target, low + hair), high - hair)
    wanted = mix(task.to_dst, target)
    encoded = task.dst.encode(wanted)
    nearest = container.index(container.nearest(encoded))
    # Channels that the output cannot follow stay at the end they are held at.
    held = encoded.abs() > container.largest
    if task.dst.floor is not None:
        held |= wanted < task.dst.decode(torch.tensor(task.dst.floor, dtype=torch.float64))

    steps = torch.arange(-reach, reach + 1, dtype=torch.int32)
    stored = container.value(nearest[:, None] + steps[:, None])
    light = task.dst.decode(stored.double())
    # Half a step, in light, is what the container may be blamed for.
    half_step = container.step(stored) / 2
    blame = (task.dst.decode(stored.double() + half_step) - light).abs()

    cost = torch.zeros(())
    for i in range(3):
        value = _grid([to_src[i][j] * light[j] for j in range(3)])
        allowance = _grid([abs(to_src[i][j]) * blame[j] for j in range(3)])
        violation = torch.maximum(low[i] - value, value - high[i]).clamp(min=0.0)
        cost = torch.maximum(cost, violation / allowance)
    inside = cost <= 0
    # Inside, the fewest steps; outside, the least violation, and always after any that is inside.
    distance = _grid([steps.abs()[:, None]] * 3) / 100
    cost = torch.where(inside, distance, 1 + cost)
    if bool(held.any()):
        moved = (steps != 0)[:, None]
        cost = cost + _grid([torch.where(held[j] & moved, math.inf, 0.0) for j in range(3)])
    choice = cost.flatten(0, 2).argmin(0)
    width = len(steps)
    picks = torch.stack([choice // width**2, choice // width % width, choice % width])
    chosen = stored.gather(1, picks[:, None]).squeeze(1)
    return chosen, torch.nonzero(~inside.flatten(0, 2).any(0) & ~held.any(0)).squeeze(1)


def _grid(parts: list[Tensor]) -> Tensor:
    """Sums of three (S, N) tensors over all S^3 combinations: (S, S, S, N)."""
    return parts[0][:, None, None] + parts[1][None, :, None] + parts[2][None, None, :]
