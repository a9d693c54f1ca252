"""The step of exposure, with motion and without."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from seqhdr.color.encodings import get_encoding
from seqhdr.quality.lattice import Picture, make_lattice
from seqhdr.quality.levelling import exposure_step
from seqhdr.quality.stops import stops

H, W = 144, 256
LATTICE = make_lattice(H, W, 2)
SRGB = get_encoding("srgb")
STEP = math.log2(1.02)


def scene(dx: float, dy: float) -> Tensor:
    """(3, H, W) light, moved by (dx, dy) pixels."""
    y, x = np.mgrid[:H, :W].astype(np.float64) - np.array([dy, dx]).reshape(2, 1, 1)
    smooth = 1.1 * np.sin(x / 41 + 1) * np.cos(y / 37) + 0.5 * np.sin(x / 97 - y / 53)
    texture = 0.25 * np.sin(x / 1.3 + np.sin(y / 5)) * np.sin(y / 1.7 + 0.8 * np.sin(x / 9))
    light = 0.22 * 2 ** (smooth + texture / (1 + np.exp((0.55 * H - y) / 4)))
    return torch.from_numpy(np.stack([0.8 * light, light, 1.05 * light**0.95])).float()


def step_between(after: Tensor, before: Tensor, usable: Tensor | None = None) -> float:
    return exposure_step(Picture(stops(after), usable=usable), Picture(stops(before)), LATTICE)


@pytest.mark.parametrize("move", [(0, 0), (1.37, -0.61), (1, 3), (8, 5)])
@pytest.mark.parametrize("bits", [None, 8])
def test_motion_is_told_from_exposure(move: tuple[float, float], bits: int | None) -> None:
    before, after = scene(0, 0), 1.02 * scene(*move)
    if bits:
        before, after = (SRGB.decode((SRGB.encode(light) * 255).round() / 255) for light in (before, after))
    assert step_between(after, before) == pytest.approx(STEP, abs=0.0008)
    assert step_between(before, after) == pytest.approx(-STEP, abs=0.0008)


def test_what_changes_in_a_part_does_not_pull() -> None:
    before, after = scene(0, 0), 1.02 * scene(0.8, 0.4)
    after[:, 40:100, 60:140] *= 1.5
    assert step_between(after, before) == pytest.approx(STEP, abs=0.002)


def test_unusable_pixels_do_not_count() -> None:
    usable = torch.ones(H, W, dtype=torch.bool)
    usable[:, : W // 2 + 20] = False
    after = 1.02 * scene(0, 0)
    after[:, ~usable] *= 3
    assert step_between(after, scene(0, 0), usable) == pytest.approx(STEP, abs=0.0005)
    assert abs(step_between(after, scene(0, 0)) - STEP) > 0.1


def test_where_too_little_is_seen_nothing_is_claimed() -> None:
    assert step_between(1.02 * scene(0, 0), scene(0, 0), torch.zeros(H, W, dtype=torch.bool)) == 0
    corner = torch.zeros(H, W, dtype=torch.bool)
    corner[:48, :48] = True  # nine blocks, of which four have neighbours on both sides or the border
    assert step_between(1.02 * scene(0, 0), scene(0, 0), corner) == 0
    tiny = Picture(torch.ones(3, 3, 40))
    assert exposure_step(Picture(torch.zeros(3, 3, 40)), tiny, make_lattice(3, 40)) == 0
