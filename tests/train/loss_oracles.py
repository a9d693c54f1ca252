"""Pictures whose loss is known, and loops over pixels that say what terms and their default sum are."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from seqhdr.model.head import Prediction
from seqhdr.train.batch import ClipBatch


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Numbers of 0..1, float64."""
    return torch.from_numpy(np.random.default_rng(seed).random(shape))


def ramp(slope_x: float, slope_y: float, height: int = 32, width: int = 64) -> Tensor:
    """(1, 3, H, W), the same in all channels."""
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float64), torch.arange(width, dtype=torch.float64), indexing="ij"
    )
    return (slope_x * x + slope_y * y).expand(1, 3, height, width)


def naive_roughness(x: Tensor, weight: Tensor) -> float:
    """Weighted mean |difference| along x plus along y, pixel by pixel."""
    total = 0.0
    for step_y, step_x in ((0, 1), (1, 0)):
        above = below = 0.0
        for n, c, row, column in np.ndindex(*x.shape):
            if row + step_y < x.shape[2] and column + step_x < x.shape[3]:
                there = (n, c, row + step_y, column + step_x)
                count = min(float(weight[n, c, row, column]), float(weight[there]))
                above += count * abs(float(x[there] - x[n, c, row, column]))
                below += count
        total += above / below
    return total


def naive_code_loss(batch: ClipBatch, predictions: list[Prediction], gain_weight: float) -> float:
    """The default sum, frame by frame and difference by difference."""
    total = 0.0
    for t, prediction in enumerate(predictions):
        codes, value = batch.codes[:, t].double().numpy(), batch.value_lsb[:, t].double().numpy()
        w = batch.half_width_lsb.double().numpy().reshape(-1, 1, 1, 1)
        clipped = codes + w >= 255
        error = prediction.offset_lsb.detach().double().numpy() - np.clip(value - codes, -w, w)
        error = np.where(clipped, 0, error / (2 * w))
        width = np.stack(
            [np.minimum(table[c.astype(int)], 0.5) for table, c in zip(batch.width_stops.numpy(), codes, strict=True)]
        )
        miss = np.where(clipped, prediction.gain_stops.detach().numpy() - batch.gain_stops[:, t].numpy(), 0)
        bound = prediction.gain_error_stops.detach().double().numpy()

        def ripple(x: np.ndarray) -> float:
            return float(np.abs(np.diff(x, axis=-1)).mean() + np.abs(np.diff(x, axis=-2)).mean())

        total += np.abs(error).mean() + (np.abs(error) * width).mean() / width.mean() + 0.25 * ripple(error)
        total += gain_weight * (np.abs(miss).mean() + 0.25 * ripple(miss))
        total += 0.05 * np.where(clipped, np.abs(miss) / bound + np.log(bound), 0).mean()
    return total / len(predictions)
