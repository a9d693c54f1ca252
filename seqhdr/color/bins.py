"""The promise: what is written lies in the bin of the code it came from.

``clip_mask``, ``clamp_offset`` and ``decode_offset`` say what a bin is, ``encode_into_bins`` puts a
prediction into the numbers of a file without leaving the bins, ``audit`` proves it from the file. The audit
and the writer meet in no other place than the definition of the bins.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from seqhdr.color import rounding
from seqhdr.color.audit import EXACT_TOLERANCE, BinAudit, audit, merge
from seqhdr.color.bounds import bin_width_stops, clamp_offset, clip_mask, decode_offset
from seqhdr.color.containers import FLOAT, FLOAT24, HALF, HALF_MAX
from seqhdr.color.named import ColorEncoding
from seqhdr.color.rounding import Task

__all__ = [
    "EXACT_TOLERANCE",
    "BinAudit",
    "EncodeStats",
    "audit",
    "bin_width_stops",
    "clamp_offset",
    "clip_mask",
    "decode_offset",
    "encode_into_bins",
    "merge",
]

# Pixels at a time. The dozen float32 temporaries of a chunk stay in the second-level cache, and three
# channels are fewer elements than torch splits among threads (32768): whole chunks run in parallel instead,
# which does not fall apart when the cores are busy with something else.
_CHUNK = 10_000

# Steps towards the bin before the search; a fourth finds next to nothing.
_NUDGES = 3


@dataclass(frozen=True)
class EncodeStats:
    """What happened on the way into the file, counted in channel values (``searched`` in pixels).

    ``overflowed`` values would have exceeded the largest number of the container (65504 in half) and were
    held there; ``floored`` ones were darker than the output encoding can say and were held at its floor;
    ``searched`` pixels needed the search among neighbouring triples.
    """

    overflowed: int = 0
    floored: int = 0
    searched: int = 0

    def __add__(self, other: EncodeStats) -> EncodeStats:
        """Counts of two frames together."""
        return EncodeStats(
            self.overflowed + other.overflowed, self.floored + other.floored, self.searched + other.searched
        )


def encode_into_bins(
    codes: Tensor,
    offset_lsb: Tensor,
    gain_stops: Tensor,
    half_width_lsb: float,
    max_code: int,
    src: ColorEncoding,
    dst: ColorEncoding,
    dtype: torch.dtype = torch.float16,
    *,
    float24: bool = False,
) -> tuple[Tensor, EncodeStats]:
    """The prediction as the numbers of a file: (3, H, W) in the encoding ``dst`` and in ``dtype``.

    ``codes`` are whole numbers 0..``max_code`` of the source encoding ``src``, ``offset_lsb`` the predicted
    offsets in codes, ``gain_stops`` the predicted stops above clip; all (3, H, W), finite, on the CPU. Light
    is that of :func:`decode_offset`. ``dtype`` is float16 or float32; ``float24`` keeps to the floats that PXR24
    compression stores without loss.

    Every value is rounded into its bin wherever the container holds one there, and as close to it as the
    container allows where it does not. Raises ``ValueError`` for NaN or infinite predictions and for a dtype
    that is neither float16 nor float32.
    """
    if dtype not in (torch.float16, torch.float32):
        raise ValueError(f"dtype must be torch.float16 or torch.float32, got {dtype}")
    if not (torch.isfinite(offset_lsb.sum()) and torch.isfinite(gain_stops.sum())):
        raise ValueError("offset_lsb and gain_stops must be finite")
    container = HALF if dtype == torch.float16 else FLOAT24 if float24 else FLOAT
    task = Task(half_width_lsb, max_code, src, dst, container)
    # Detached, because the threads below do not inherit no_grad.
    flat = tuple(t.detach().reshape(3, -1) for t in (codes, offset_lsb, gain_stops))
    out = torch.empty(flat[0].shape, dtype=dtype)
    chunks = [slice(start, start + _CHUNK) for start in range(0, out.shape[1], _CHUNK)]
    with ThreadPoolExecutor(max_workers=torch.get_num_threads()) as pool:
        done = list(pool.map(lambda part: _encode_chunk(task, flat, out, part), chunks))
        stats = sum((counted for counted, _ in done), EncodeStats())
        # What plain rounding leaves outside is gathered: many small calls would cost more than the work.
        outside = torch.cat([pixels for _, pixels in done])
        if container is HALF and outside.numel():
            nudged = rounding.batches(outside, _CHUNK)
            outside = torch.cat(list(pool.map(lambda p: _nudge(task, flat[0], out, p), nudged)))
        searched = rounding.batches(outside, rounding.SEARCH_BATCH)
        list(pool.map(lambda p: _search(task, flat, out, p), searched))
    return out.view(codes.shape), stats + EncodeStats(searched=outside.numel())


def _encode_chunk(task: Task, flat: tuple[Tensor, ...], out: Tensor, part: slice) -> tuple[EncodeStats, Tensor]:
    """Fill one chunk of ``out``; return the counts and the pixels of the frame that are not yet inside."""
    codes = flat[0][:, part]
    encoded, overflowed, floored = _encode(task, *(t[:, part] for t in flat))
    if task.mixes:
        out[:, part], pixels = rounding.plain(task, codes, encoded)
    else:
        out[:, part] = rounding.round_alone(task, codes, encoded)
        pixels = torch.empty(0, dtype=torch.int64)
    return EncodeStats(overflowed, floored), pixels + part.start


def _nudge(task: Task, codes: Tensor, out: Tensor, pixels: Tensor) -> Tensor:
    """Nudge these pixels of ``out`` towards their bins; return the ones still outside."""
    out[:, pixels], outside = rounding.nudge(task, codes[:, pixels], out[:, pixels], _NUDGES)
    return pixels[outside]


def _search(task: Task, flat: tuple[Tensor, ...], out: Tensor, pixels: Tensor) -> None:
    """Give these pixels of ``out`` the best values there are."""
    out[:, pixels] = rounding.search(task, *(t[:, pixels] for t in flat))


def _encode(task: Task, codes: Tensor, offset: Tensor, gain: Tensor) -> tuple[Tensor, int, int]:
    """A chunk (3, N) in the output encoding, float32 and not yet rounded, with the values it cannot hold."""
    args = (task.half_width_lsb, task.max_code)
    light = decode_offset(codes, offset, gain, *args, task.src)
    if task.mixes:
        light = rounding.mix(task.to_dst, light)
    encoded = task.dst.encode(light)
    if task.same:
        # Nothing but clipped channels needs the detour through light, which costs the last bits.
        value = (codes + clamp_offset(offset, task.half_width_lsb)) / task.max_code
        encoded = torch.where(clip_mask(codes, *args), encoded, value)
    floored = 0
    if task.dst.floor is not None and not task.same:
        floor = task.dst.decode(torch.tensor(task.dst.floor, dtype=torch.float64))
        floored = int((light < float(floor)).sum())
    overflowed = 0
    largest = HALF_MAX if task.container is HALF else task.container.largest
    if not float(encoded.abs().amax()) <= largest:
        overflowed = int((encoded.abs() > largest).sum())
    return encoded, overflowed, floored
