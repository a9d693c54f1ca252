"""Blocks that a codec leaves: the steps of an error picture across the lines of the 8-pixel grid, beyond its own.

JPEG codes 8×8 pixels at a time, H.264 4×4 or 8×8 within macroblocks of 16×16, so what they get wrong jumps where two
blocks meet, at every eighth row and column. The *error picture* is measured, a result or a source minus the truth,
so that edges of the picture itself do not count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["BlockSums", "block_sums", "error_luma"]

_BLOCK = 8
# BT.601, section 2.5.1: blocks are made in luma by these weights.
_WEIGHTS = (0.299, 0.587, 0.114)
# Steps needed on both sides of the comparison: a few hundred say nothing about a mean of squares.
_MIN_STEPS = 64


@dataclass(frozen=True)
class BlockSums:
    """What was counted of one or more error pictures; sums of parts add up to those of the whole.

    Attributes:
        lines: (number, sum of squares, sum of fourth powers) of the steps across the lines of the grid.
        between: the same of the steps two pixels away from them, and as far from those of a grid of 4 pixels.
    """

    lines: tuple[float, float, float] = (0.0, 0.0, 0.0)
    between: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __add__(self, other: BlockSums) -> BlockSums:
        """Both together."""
        lines = (a + b for a, b in zip(self.lines, other.lines, strict=True))
        between = (a + b for a, b in zip(self.between, other.between, strict=True))
        return BlockSums(_three(*lines), _three(*between))

    @property
    def energy_lsb2(self) -> float | None:
        """Mean square of the steps across the lines minus that of the steps between, in codes².

        Blocks that are even in themselves read as the mean square of the jumps from one to the next, whether they
        are 8 or 4 pixels large; what knows no grid, like noise, texture, ramps or a shift of all values, reads as
        0 on average, so one picture can read below 0. None where there are fewer than 64 steps of either.
        """
        if min(self.lines[0], self.between[0]) < _MIN_STEPS:
            return None
        return self.lines[1] / self.lines[0] - self.between[1] / self.between[0]

    @property
    def standard_error_lsb2(self) -> float | None:
        """Of the energy, if the eight steps of a block's side, which tend to be alike, tell no more than one."""
        if self.energy_lsb2 is None:
            return None
        variance = 0.0
        for count, squares, fourths in (self.lines, self.between):
            variance += max(fourths / count - (squares / count) ** 2, 0.0) * _BLOCK / count
        return math.sqrt(variance)


def block_sums(error_lsb: Tensor, mask: Tensor) -> BlockSums:
    """Count the steps of one error picture, along rows and along columns.

    With d[x] = e[x] - e[x-1], the *step* at x is k[x] = d[x] - (d[x-1] + d[x+1]) / 2: how far the jump from pixel
    x-1 to x differs from those beside it, so that a ramp has none. Of a jump by s alone, k is s there, -s/2 at its
    neighbours and 0 elsewhere; of white noise, k² is five times its variance everywhere. Lines lie at x = 8n.
    Steps at x = 8n ± 2 are what they are compared with: neither those nor their neighbours are lines of a grid of 8
    or of 4 pixels, which H.264 has too.

    Args:
        error_lsb: (H, W), in codes, its first row and column the first of a block.
        mask: (H, W) bool; a step counts where all its four pixels are in it.

    Raises:
        ValueError: the shapes differ, or are not (H, W).
    """
    if error_lsb.ndim != 2 or error_lsb.shape != mask.shape:
        raise ValueError(f"got error {tuple(error_lsb.shape)}, mask {tuple(mask.shape)}: expected the same (H, W)")
    counted = [torch.zeros(3, dtype=torch.float64) for _ in range(2)]
    for error, known in ((error_lsb, mask), (error_lsb.T, mask.T)):
        jumps = error.double().diff(dim=1)
        # Column i holds the step at x = i + 2.
        steps = jumps[:, 1:-1] - (jumps[:, :-2] + jumps[:, 2:]) / 2
        seen = known[:, 3:] & known[:, 2:-1] & known[:, 1:-2] & known[:, :-3]
        for sums, places in zip(counted, (slice(_BLOCK - 2, None, _BLOCK), slice(0, None, _BLOCK // 2)), strict=True):
            squares = steps[:, places][seen[:, places]].square()
            sums += torch.stack([torch.tensor(float(len(squares))).double(), squares.sum(), squares.square().sum()])
    lines, between = (_three(*sums.tolist()) for sums in counted)
    return BlockSums(lines, between)


def error_luma(error_lsb: Tensor) -> Tensor:
    """Luma (H, W) of errors (3, H, W) in R, G and B, all in codes, by the weights of BT.601."""
    return torch.einsum("c,chw->hw", torch.tensor(_WEIGHTS, dtype=error_lsb.dtype), error_lsb)


def _three(number: float, squares: float, fourths: float) -> tuple[float, float, float]:
    return number, squares, fourths
