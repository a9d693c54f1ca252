"""Clips and degradations for the tests of degrading: soft light, all that can befall it, and only one thing."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from seqhdr.color.encodings import get_encoding
from seqhdr.train.degrade import Degradation, DegradeConfig
from seqhdr.train.response import Response

Clip = NDArray[np.float32]
EVERYTHING = Degradation(
    "srgb",
    -1.5,
    response=Response(),
    noise_shot=1e-4,
    noise_read=1e-3,
    grain_size_px=1.5,
    grain_stops=0.03,
    resolution_factor=1.5,
    dither=True,
    jpeg_quality=80,
    flicker_stops=0.05,
    white_balance_stops=0.05,
    crush=0.02,
    seed=7,
)


def soft_clip(frames: int = 3, size: int = 64, stops: float = 2.0, seed: int = 0) -> Clip:
    """(T, H, W, 3) scene-linear: smooth, some stops of variation, each frame of its own."""
    noise = np.random.default_rng(seed).normal(size=(size, size, frames * 3)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 4).reshape(size, size, frames, 3).transpose(2, 0, 1, 3)
    return np.exp2(stops * soft / soft.std()).astype(np.float32)


def decoded(name: str, value_lsb: NDArray[np.float32]) -> NDArray[np.float64]:
    """Light of values on the scale of 8-bit codes."""
    return get_encoding(name).decode(torch.from_numpy(value_lsb).double() / 255).numpy()


def only(**shares: float) -> DegradeConfig:
    """A config with everything off but what is named."""
    off = {f.name: 0.0 for f in dataclasses.fields(DegradeConfig) if f.name.endswith("_share")}
    return dataclasses.replace(DegradeConfig(), **(off | shares))
