"""OpenCV's DIS behind our protocol: direction, size, precision, and what it does with images too small for it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from flow import DisFlow, FlowEstimator


def texture(height: int, width: int, seed: int = 0) -> Tensor:
    """(H, W) in 0..1, detail at all scales down to a few pixels."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width), np.float32)
    for sigma in (1.5, 3, 6, 12):
        layer = cv2.GaussianBlur(rng.normal(size=(height, width)).astype(np.float32), (0, 0), sigma)
        total += layer / layer.std()
    return torch.from_numpy((total - total.min()) / (total.max() - total.min()))


def crop(world: Tensor, x: int, y: int, height: int = 120, width: int = 160) -> Tensor:
    return world[y : y + height, x : x + width].expand(1, 3, height, width)


@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize(("dx", "dy"), [(3, 0), (-2, 4), (6, -5)])
def test_a_shift_is_found(scale: float, dx: int, dy: int) -> None:
    world = texture(160, 200)
    previous, current = crop(world, 20, 20), crop(world, 20 + dx, 20 + dy)
    flow_px = DisFlow(scale=scale)(current, previous)
    assert flow_px.shape == (1, 2, 120, 160)
    assert flow_px.dtype == torch.float32
    # What is at (x, y) now was dx to the right before: the camera moved right.
    error = (flow_px[0, :, 16:-16, 16:-16] - torch.tensor([dx, dy]).view(2, 1, 1)).abs()
    assert error.flatten(1).quantile(0.95, dim=1).max() < 0.3


def test_half_a_pixel_is_found() -> None:
    world = texture(280, 360)
    small = torch.nn.functional.avg_pool2d(world[None, None], 2)[0, 0]
    shifted = torch.nn.functional.avg_pool2d(world[None, None, :, 1:-1], 2)[0, 0]
    flow_px = DisFlow()(crop(shifted, 4, 4), crop(small, 4, 4))
    assert (flow_px[0, 0, 16:-16, 16:-16] - 0.5).abs().median() < 0.1
    assert flow_px[0, 1, 16:-16, 16:-16].abs().median() < 0.1


def test_equal_frames_have_no_flow() -> None:
    frame = crop(texture(160, 200), 0, 0)
    assert DisFlow()(frame, frame).abs().max() < 0.01


def test_a_batch_is_its_frames_one_by_one() -> None:
    worlds = [texture(160, 200, seed) for seed in (1, 2)]
    current = torch.cat([crop(world, 7, 3) for world in worlds])
    previous = torch.cat([crop(world, 4, 4) for world in worlds])
    estimator = DisFlow()
    both = estimator(current, previous)
    for index in range(2):
        assert torch.equal(both[index], estimator(current[index : index + 1], previous[index : index + 1])[0])


@pytest.mark.parametrize("size", [(31, 200), (200, 16), (1, 1)])
def test_a_tiny_image_has_no_flow(size: tuple[int, int]) -> None:
    frame = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    flow_px = DisFlow()(frame, frame.flip(-1))
    assert flow_px.shape == (1, 2, *size)
    assert not flow_px.any()


def test_odd_sizes_at_half_resolution() -> None:
    world = texture(160, 200)
    flow_px = DisFlow(scale=0.5)(crop(world, 23, 20, 97, 131), crop(world, 20, 20, 97, 131))
    assert flow_px.shape == (1, 2, 97, 131)
    assert (flow_px[0, 0, 16:-16, 16:-16] - 3).abs().median() < 0.3


def test_bad_settings_are_named() -> None:
    with pytest.raises(ValueError, match="unknown DIS preset 'best': expected one of ultrafast, fast, medium"):
        DisFlow(preset="best")
    for scale in (0.0, 1.5, float("nan")):
        with pytest.raises(ValueError, match=f"DIS scale is {scale}: expected more than 0 and at most 1"):
            DisFlow(scale=scale)


def test_it_is_a_flow_estimator() -> None:
    estimator: FlowEstimator = DisFlow()
    assert callable(estimator)


def test_a_small_picture_before_changes_nothing() -> None:
    rng = np.random.default_rng(3)
    large, small = (torch.from_numpy(rng.random((2, 3, side, side), dtype=np.float32)) for side in (128, 40))
    large = torch.nn.functional.avg_pool2d(large, 5, 1, 2)
    used, fresh = DisFlow(), DisFlow()
    used(small[:1], small[1:])
    assert torch.equal(used(large[:1], large[1:]), fresh(large[:1], large[1:]))
