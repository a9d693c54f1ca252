"""The forward-backward check: its formula pixel by pixel, and scenes whose hidden pixels are known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from flow import occluded

H, W = 24, 32
# A square of SIDE pixels at (LEFT, TOP) in the previous frame that moves by STEP over a resting background.
LEFT, TOP, SIDE, STEP = 8, 6, 7, (5, -3)


def still() -> Tensor:
    return torch.zeros(1, 2, H, W)


def square_at(left: int, top: int) -> Tensor:
    """(H, W) bool."""
    inside = torch.zeros(H, W, dtype=torch.bool)
    inside[top : top + SIDE, left : left + SIDE] = True
    return inside


def naive(backward_px: Tensor, forward_px: Tensor, alpha1: float, alpha2: float) -> Tensor:
    """The formula of the paper, one pixel after the other, in double precision."""
    batch, _, height, width = backward_px.shape
    marked = torch.zeros(batch, 1, height, width, dtype=torch.bool)
    for b in range(batch):
        for y in range(height):
            for x in range(width):
                dx, dy = (float(v) for v in backward_px[b, :, y, x])
                to_x, to_y = x + dx, y + dy
                if not (0 <= to_x <= width - 1 and 0 <= to_y <= height - 1):
                    marked[b, 0, y, x] = True
                    continue
                left, top = min(int(to_x), width - 2), min(int(to_y), height - 2)
                a, c = to_x - left, to_y - top
                there = [0.0, 0.0]
                for j, i, weight in (
                    (0, 0, (1 - a) * (1 - c)),
                    (0, 1, a * (1 - c)),
                    (1, 0, (1 - a) * c),
                    (1, 1, a * c),
                ):
                    for axis in range(2):
                        there[axis] += weight * float(forward_px[b, axis, top + j, left + i])
                gap = (dx + there[0]) ** 2 + (dy + there[1]) ** 2
                size = dx**2 + dy**2 + there[0] ** 2 + there[1] ** 2
                marked[b, 0, y, x] = gap > alpha1 * size + alpha2
    return marked


@pytest.mark.parametrize(("alpha1", "alpha2"), [(0.01, 0.5), (0.1, 0.05), (0.0, 1.0)])
def test_the_formula_pixel_by_pixel(alpha1: float, alpha2: float) -> None:
    generator = torch.Generator().manual_seed(5)
    shift = torch.tensor([2.0, -1.5]).view(1, 2, 1, 1)
    backward_px = shift + 0.5 * torch.randn(2, 2, 14, 17, generator=generator)
    forward_px = -shift + 0.7 * torch.randn(2, 2, 14, 17, generator=generator)
    marked = occluded(backward_px, forward_px, alpha1, alpha2)
    assert marked.shape == (2, 1, 14, 17)
    assert marked.dtype == torch.bool
    assert 0.1 < marked.float().mean() < 0.95
    assert torch.equal(marked, naive(backward_px, forward_px, alpha1, alpha2))


def test_what_a_moving_square_hid_is_found() -> None:
    before, now = square_at(LEFT, TOP), square_at(LEFT + STEP[0], TOP + STEP[1])
    backward_px, forward_px = still(), still()
    for axis in range(2):
        backward_px[0, axis][now] = -STEP[axis]
        forward_px[0, axis][before] = STEP[axis]
    # Background that is seen now and lay behind the square before.
    assert torch.equal(occluded(backward_px, forward_px)[0, 0], before & ~now)
    # The other way round: what the square covers now. Both directions of the check must not be mixed up.
    assert torch.equal(occluded(forward_px, backward_px)[0, 0], now & ~before)


@pytest.mark.parametrize(("dx", "dy"), [(4, 0), (-3, 0), (0, 5), (2, -6)])
def test_of_a_shift_only_the_border_that_came_in_is_new(dx: int, dy: int) -> None:
    flow_px = torch.tensor([dx, dy], dtype=torch.float32).view(1, 2, 1, 1).expand(1, 2, H, W)
    y, x = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
    came_in = (x + dx < 0) | (x + dx >= W) | (y + dy < 0) | (y + dy >= H)
    assert torch.equal(occluded(flow_px, -flow_px)[0, 0], came_in)


def test_half_a_pixel_of_doubt_is_forgiven() -> None:
    doubt = still()
    doubt[:, 0] = 0.7  # 0.49 px² is less than alpha2 and the tiny share of the motion
    assert not occluded(still(), doubt).any()
    assert occluded(still(), 1.1 * doubt).all()


@pytest.mark.parametrize(
    ("backward_shape", "forward_shape"),
    [((1, 2, 8, 8), (1, 2, 8, 9)), ((1, 3, 8, 8), (1, 3, 8, 8)), ((2, 8, 8), (2, 8, 8)), ((1, 2, 8, 8), (1, 3, 8, 8))],
)
def test_other_shapes_are_refused(backward_shape: tuple[int, ...], forward_shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"backward flow of shape .* expected \(B, 2, H, W\) twice"):
        occluded(torch.zeros(backward_shape), torch.zeros(forward_shape))
