"""Networks and frames that the tests of the model share."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqhdr.color.encodings import get_encoding
from seqhdr.model.net import ModelConfig, SeqNet
from seqhdr.model.source import Source, describe_source

Painter = Callable[..., NDArray[np.uint8]]


@pytest.fixture(scope="session")
def net() -> SeqNet:
    """A small network whose random weights are large enough for every output to move."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        made = SeqNet(ModelConfig("small", (8, 12, 16)))
        torch.nn.init.normal_(made.leave.weight, std=0.4)
        torch.nn.init.normal_(made.leave.bias, std=0.4)
    return made.eval().requires_grad_(False).to(memory_format=torch.channels_last)


@pytest.fixture(scope="session")
def source() -> Source:
    return describe_source(get_encoding("srgb"), 0.5, 255)


@pytest.fixture(scope="session")
def paint() -> Painter:
    """``paint(height, width, shift, seed)`` → (H, W, 3) codes: soft gradients, some texture, a clipped corner."""

    def paint(height: int, width: int, shift: int = 0, seed: int = 0) -> NDArray[np.uint8]:
        y, x = np.mgrid[:height, :width].astype(np.float64)
        x += shift
        soft = 120 + 40 * np.sin(x / 61 + seed) + 30 * np.cos(y / 47) + 6 * np.sin((x + y) / 9)
        rng = np.random.default_rng(seed)
        grain = cv2.GaussianBlur(rng.normal(size=(height, width + 256)), (0, 0), 1.2)[:, shift : shift + width]
        value = soft + 12 * grain * (np.sin(x / 40) > 0.3)
        value = np.where(np.hypot(x - 40, y - 30) < 14, 300, value)
        rgb = np.stack((value, value * 0.9 + 4, value * 0.8 + 9), axis=-1)
        return np.rint(rgb.clip(0, 255)).astype(np.uint8)

    return paint


@pytest.fixture(scope="session")
def clip(paint: Painter) -> Callable[..., Tensor]:
    """``clip(frames, height, width)`` → (1, T, 3, H, W) float codes that pan by 2 px per frame."""

    def clip(frames: int, height: int = 64, width: int = 96, seed: int = 0) -> Tensor:
        shot = np.stack([paint(height, width, 2 * t, seed) for t in range(frames)])
        return torch.from_numpy(shot.astype(np.float32)).permute(0, 3, 1, 2)[None].contiguous()

    return clip


@pytest.fixture(scope="session")
def pan() -> Callable[..., Tensor]:
    """``pan(frames, height, width)`` → (1, T, 2, H, W), the exact flow of ``clip``."""

    def pan(frames: int, height: int = 64, width: int = 96) -> Tensor:
        return torch.tensor([2.0, 0.0]).view(1, 1, 2, 1, 1).expand(1, frames, 2, height, width).contiguous()

    return pan
