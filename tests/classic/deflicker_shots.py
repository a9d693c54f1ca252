"""A small textured shot whose motion is known, for the deflickers: maps, small pictures, and what was put in."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from seqhdr.classic.deflicker_measure import CELL_PX, ChangeMap, measure_change

HEIGHT, WIDTH = 96, 160


@dataclass(frozen=True)
class SmallShot:
    """log2 (T, 3, H, W) as it is deflickered, the flicker that is in it, flows (T, 2, H, W), maps between frames."""

    log2: Tensor
    put_in: Tensor
    backward_px: Tensor
    forward_px: Tensor
    maps: list[ChangeMap]

    @property
    def usable(self) -> Tensor:
        """All is well everywhere."""
        return torch.ones(3, HEIGHT, WIDTH, dtype=torch.bool)

    def change(self, gains: Tensor) -> float:
        """Mean change of the flicker along the motion when gains (T, 3, h, w) are added, away from the borders."""
        large = F.interpolate(gains, (HEIGHT, WIDTH), mode="bicubic", align_corners=False)
        total = self.put_in + large
        step = int(-self.backward_px[1, 0, 0, 0])
        moved = total[:-1].roll(step, dims=3)
        return float((total[1:] - moved)[..., 8 + step : -8].abs().mean())


def small_shot(kind: str = "none", frames: int = 20, step_px: int = 2, fade: float = 0.0, seed: int = 4) -> SmallShot:
    """A texture that moves to the right by whole pixels, with flicker of 3 %: ``global``, ``colour``, ``local``."""
    chance = torch.Generator().manual_seed(seed)
    world = torch.randn(1, 3, HEIGHT // 4, WIDTH, generator=chance)
    world = F.interpolate(world, (HEIGHT, 4 * WIDTH), mode="bicubic", align_corners=False)[0] - 2
    deviation = math.log2(1.03)
    shape = {"none": (1, 1, 1), "global": (1, 1, 1), "colour": (3, 1, 1), "local": (1, 4, 6)}[kind]
    put_in = deviation * torch.randn(frames, *shape, generator=chance) * (kind != "none")
    if kind == "local":
        put_in = F.interpolate(put_in, (HEIGHT, WIDTH), mode="bicubic", align_corners=True)
    put_in = put_in.expand(frames, 3, HEIGHT, WIDTH).contiguous()
    start = 2 * WIDTH
    log2 = torch.stack([world[..., start - step_px * t : start - step_px * t + WIDTH] for t in range(frames)])
    log2 = log2 + put_in + fade * torch.arange(float(frames)).view(-1, 1, 1, 1)
    backward = torch.zeros(frames, 2, HEIGHT, WIDTH)
    backward[:, 0] = -step_px
    whole = torch.ones(3, HEIGHT, WIDTH, dtype=torch.bool)
    maps = [measure_change(log2[t], log2[t - 1], whole, whole, backward[t], -backward[t]) for t in range(1, frames)]
    return SmallShot(log2, put_in, backward, -backward, maps)


def cells() -> tuple[int, int]:
    return HEIGHT // CELL_PX, WIDTH // CELL_PX
