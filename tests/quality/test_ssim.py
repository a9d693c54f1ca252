"""SSIM against another implementation, and what is too small for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pytorch_msssim import ssim as convolved
from torch import Tensor

from seqhdr.quality.ssim import ssim


def oracle(picture: Tensor, truth: Tensor, data_range: float) -> float:
    """By convolutions in double precision; the window too, which the library has in float32."""
    weights = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window = torch.from_numpy(weights / weights.sum()).view(1, 1, 1, 11).repeat(len(truth), 1, 1, 1)
    return float(convolved(picture[None].double(), truth[None].double(), data_range=data_range, win=window))


@pytest.mark.parametrize("data_range", [1.0, 256.0])
def test_ssim_is_that_of_convolutions_in_double_precision(data_range: float) -> None:
    rng = np.random.default_rng(3)
    truth = torch.from_numpy(rng.random((3, 20, 31)) * data_range)
    picture = truth + torch.from_numpy(rng.normal(0, 0.1, (3, 20, 31)) * data_range)
    expected = oracle(picture, truth, data_range)
    assert 0.5 < expected < 0.99
    assert ssim(picture, truth, data_range) == pytest.approx(expected, abs=1e-12)


def test_flat_and_bright_pictures_lose_nothing_to_rounding() -> None:
    truth = torch.full((1, 40, 40), 0.9)
    picture = truth + 1e-4 * torch.from_numpy(np.random.default_rng(4).normal(0, 1, (1, 40, 40)).astype(np.float32))
    expected = oracle(picture, truth, 1.0)
    assert ssim(picture, truth, 1.0) == pytest.approx(expected, abs=1e-12)
    assert ssim(truth, truth, 1.0) == 1


def test_pictures_below_the_window_have_none() -> None:
    picture = torch.zeros(3, 10, 30)
    assert ssim(picture, picture, 1.0) is None
    assert ssim(torch.zeros(3, 11, 11), torch.zeros(3, 11, 11), 1.0) == 1
