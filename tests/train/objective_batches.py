"""Batches whose clips have encodings and half-widths of their own, with random and with perfect predictions."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from seqhdr.color.bins import bin_width_stops
from seqhdr.color.encodings import get_encoding
from seqhdr.model.head import Prediction
from seqhdr.model.source import log_width_table
from seqhdr.train.batch import ClipBatch

ENCODINGS = ("srgb", "acescct", "logc3")
HALF_WIDTHS = (0.5, 0.5, 2.0)


def make_batch(frames: int = 3, size: int = 24, seed: int = 0) -> ClipBatch:
    """Three clips, each with its own encoding and w, with noise, clipped lights, and black."""
    rng = np.random.default_rng(seed)
    shape = (len(ENCODINGS), frames, 3, size, size)
    value = torch.from_numpy(rng.uniform(5, 250, shape).astype(np.float32))
    value[..., :4, :4] = torch.from_numpy(rng.uniform(254.6, 300, shape).astype(np.float32))[..., :4, :4]
    value[..., 4:6, :4] = 0.25
    codes = value.round().clamp(0, 255)
    w = torch.tensor(HALF_WIDTHS)
    # A wide bin: the code is off by as much as it may be.
    codes[2] = (codes[2] + torch.from_numpy(rng.integers(-1, 2, shape[1:]).astype(np.float32))).clamp(0, 255)
    gain = []
    for name, v in zip(ENCODINGS, value, strict=True):
        decode = get_encoding(name).decode
        stops = torch.log2(decode(v / 255).clamp_min(1e-6) / decode(torch.tensor(254.5 / 255)))
        gain.append(stops.clamp(0, 10))
    flow = torch.from_numpy(rng.normal(0, 1, (len(ENCODINGS), frames, 2, size, size)).astype(np.float32))
    return ClipBatch(
        codes=codes,
        value_lsb=value,
        gain_stops=torch.stack(gain),
        flow_px=-flow,
        exact_flow_px=flow,
        visible=torch.from_numpy(rng.random((len(ENCODINGS), frames, 1, size, size)) < 0.8),
        half_width_lsb=w,
        log_width=torch.stack([log_width_table(get_encoding(name), 255) for name in ENCODINGS]),
        width_stops=torch.stack([bin_width_stops(get_encoding(name), 255) for name in ENCODINGS]),
        encodings=ENCODINGS,
    )


def guesses(batch: ClipBatch, seed: int = 1) -> list[Prediction]:
    """Random predictions, one per frame, that want gradients."""
    rng = np.random.default_rng(seed)

    def uniform(low: float, high: float, like: Tensor) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, like.shape).astype(np.float32))

    w = batch.half_width_lsb.view(-1, 1, 1, 1)
    return [
        Prediction(
            (uniform(-1, 1, codes) * w).requires_grad_(),
            uniform(0, 3, codes).requires_grad_(),
            uniform(0.1, 2, codes[:, :1]).requires_grad_(),
        )
        for codes in batch.codes.unbind(1)
    ]


def perfect(batch: ClipBatch, error_stops: float = 1.0) -> list[Prediction]:
    """What the loss asks for, one per frame: the truth as near as its bin allows."""
    w = batch.half_width_lsb.view(-1, 1, 1, 1)
    return [
        Prediction(
            torch.maximum(torch.minimum(value - codes, w), -w),
            gain,
            torch.full_like(codes[:, :1], error_stops),
        )
        for codes, value, gain in zip(
            batch.codes.unbind(1), batch.value_lsb.unbind(1), batch.gain_stops.unbind(1), strict=True
        )
    ]
