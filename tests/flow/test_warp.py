"""Backward warping: where it looks, what it does at the border, and what it refuses."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from flow import warp


def noise(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 255


def constant(height: int, width: int, dx: float, dy: float) -> Tensor:
    return torch.tensor([dx, dy]).view(1, 2, 1, 1).expand(1, 2, height, width)


def naive_bilinear(image: Tensor, flow_px: Tensor) -> Tensor:
    out = torch.empty_like(image)
    _, _, height, width = image.shape
    for y in range(height):
        for x in range(width):
            at_x = min(max(x + float(flow_px[0, 0, y, x]), 0), width - 1)
            at_y = min(max(y + float(flow_px[0, 1, y, x]), 0), height - 1)
            left, top = math.floor(at_x), math.floor(at_y)
            right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
            a, b = at_x - left, at_y - top
            upper = (1 - a) * image[0, :, top, left] + a * image[0, :, top, right]
            lower = (1 - a) * image[0, :, bottom, left] + a * image[0, :, bottom, right]
            out[0, :, y, x] = (1 - b) * upper + b * lower
    return out


def test_bilinear_is_the_textbook_sum() -> None:
    image = noise(1, 3, 9, 13)
    flow_px = (noise(1, 2, 9, 13) / 255 - 0.5) * 12
    got, _ = warp(image, flow_px, mode="bilinear")
    torch.testing.assert_close(got, naive_bilinear(image, flow_px), atol=1e-3, rtol=0)


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (3, 0), (0, -2), (-4, 5)])
def test_whole_pixels_shift_without_blur(mode: str, dx: int, dy: int) -> None:
    image = noise(1, 3, 20, 31)
    got, inside = warp(image, constant(20, 31, dx, dy), mode=mode)
    y, x = torch.meshgrid(torch.arange(20), torch.arange(31), indexing="ij")
    wanted = image[:, :, (y + dy).clamp(0, 19), (x + dx).clamp(0, 30)]
    # 255 codes between neighbours, and coordinates that are right to a few millionths of a pixel.
    torch.testing.assert_close(got * inside, wanted * inside, atol=5e-3, rtol=0)
    if mode != "bicubic":
        torch.testing.assert_close(got, wanted, atol=5e-3, rtol=0)


def test_bicubic_keeps_a_ramp_where_its_four_taps_are_inside() -> None:
    ramp = torch.arange(24.0).expand(1, 1, 16, 24)
    got, _ = warp(ramp, constant(16, 24, 0.5, 0.25))
    torch.testing.assert_close(got[..., 2:20], ramp[..., 2:20] + 0.5, atol=1e-3, rtol=0)


def test_inside_ends_at_the_centres_of_the_outermost_pixels() -> None:
    flow_px = torch.zeros(1, 2, 4, 5)
    flow_px[0, 0, 0, 0] = -0.01
    flow_px[0, 0, 1, 4] = 0.01
    flow_px[0, 1, 0, 2] = -0.01
    flow_px[0, 1, 3, 3] = 0.01
    flow_px[0, 0, 2, 2] = 2.0
    _, inside = warp(noise(1, 3, 4, 5), flow_px)
    assert inside.shape == (1, 1, 4, 5)
    assert inside.dtype == torch.bool
    outside = {tuple(place) for place in (~inside[0, 0]).nonzero().tolist()}
    assert outside == {(0, 0), (1, 4), (0, 2), (3, 3)}


def test_each_image_of_a_batch_follows_its_own_flow() -> None:
    images = noise(2, 3, 8, 8)
    flows = torch.cat((constant(8, 8, 1, 0), constant(8, 8, 0, -1)))
    got, _ = warp(images, flows)
    for index in range(2):
        alone, _ = warp(images[index : index + 1], flows[index : index + 1])
        assert torch.equal(got[index : index + 1], alone)


@pytest.mark.parametrize("size", [(1, 7), (7, 1), (1, 1)])
def test_an_image_of_one_row_or_column(size: tuple[int, int]) -> None:
    image = noise(1, 3, *size)
    got, inside = warp(image, torch.zeros(1, 2, *size), mode="bilinear")
    torch.testing.assert_close(got, image, atol=1e-3, rtol=0)
    assert inside.all()


def test_far_away_gives_the_border_and_no_nan() -> None:
    got, inside = warp(noise(1, 3, 8, 8), constant(8, 8, 1e6, -1e6))
    assert torch.isfinite(got).all()
    assert not inside.any()


@pytest.mark.parametrize("shape", [(1, 2, 8, 9), (1, 3, 8, 8), (2, 2, 8, 8)])
def test_a_flow_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"flow of shape \(.*\) does not fit .* expected \(1, 2, 8, 8\)"):
        warp(noise(1, 3, 8, 8), torch.zeros(shape))
