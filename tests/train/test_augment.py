"""Mirrors, turns and crops: pixels only move, and the flow moves with them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from flow import warp
from seqhdr.train.augment import AugmentConfig, augment_clip, random_crop

FRAMES, SIZE = 3, 12


def clip(height: int = SIZE, width: int = SIZE, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    light = np.exp2(rng.normal(0, 6, (FRAMES, 3, height, width))).astype(np.float32)
    flow = rng.normal(0, 2, (FRAMES, 2, height, width)).astype(np.float32)
    return (
        torch.from_numpy(light),
        torch.from_numpy(flow),
        torch.from_numpy(rng.random((FRAMES, 1, height, width)) < 0.7),
    )


def expected_light(light: Tensor, mirrored: bool, turns: int) -> np.ndarray:
    out = light.numpy()
    return np.rot90(out[..., ::-1] if mirrored else out, turns, (2, 3))


def which(before: Tensor, after: Tensor) -> tuple[bool, int]:
    """The mirroring and the quarter turns that were made, found by trying all."""
    found = [
        (mirrored, turns)
        for mirrored in (False, True)
        for turns in range(4)
        if np.array_equal(expected_light(before, mirrored, turns), after.numpy())
    ]
    assert len(found) == 1, "not one of the eight permutations, bit for bit"
    return found[0]


def test_pixels_move_bit_for_bit_and_all_eight_ways_come_up() -> None:
    light, flow, visible = clip()
    seen = set()
    for seed in range(60):
        moved, _, still = augment_clip(light, flow, visible, np.random.default_rng(seed), AugmentConfig())
        mirrored, turns = which(light, moved)
        assert still.dtype == torch.bool
        np.testing.assert_array_equal(still, expected_light(visible, mirrored, turns))
        seen.add((mirrored, turns))
    assert len(seen) == 8


def test_each_switch_does_its_own() -> None:
    light, flow, visible = clip()

    def ways(config: AugmentConfig) -> set[tuple[bool, int]]:
        rngs = (np.random.default_rng(seed) for seed in range(30))
        return {which(light, augment_clip(light, flow, visible, rng, config)[0]) for rng in rngs}

    assert ways(AugmentConfig(flip=False, rotate=False)) == {(False, 0)}
    assert ways(AugmentConfig(rotate=False)) == {(False, 0), (True, 0)}
    assert ways(AugmentConfig(flip=False)) == {(False, turns) for turns in range(4)}


def test_frames_that_are_not_square_can_be_mirrored() -> None:
    light, flow, visible = clip(8, 14)
    config = AugmentConfig(rotate=False)
    ways = {which(light, augment_clip(light, flow, visible, np.random.default_rng(s), config)[0])[0] for s in range(12)}
    assert ways == {False, True}


def test_the_turned_flow_still_carries_one_frame_to_the_next() -> None:
    rng = np.random.default_rng(4)
    # Whole pixels, so that warping is exact: each frame is fetched from the one before.
    before = torch.from_numpy(rng.random((1, 3, SIZE, SIZE)).astype(np.float32))
    rows, columns = np.mgrid[:SIZE, :SIZE]
    target_y, target_x = rng.integers(0, SIZE, (2, SIZE, SIZE))
    flow = torch.from_numpy(np.stack((target_x - columns, target_y - rows)).astype(np.float32))[None]
    after = before[:, :, target_y, target_x]
    light = torch.cat((before, after))
    flows = torch.cat((torch.zeros_like(flow), flow))
    visible = torch.ones(2, 1, SIZE, SIZE, dtype=torch.bool)
    turned_at_all = set()
    for seed in range(24):
        moved, vectors, _ = augment_clip(light, flows, visible, np.random.default_rng(seed), AugmentConfig())
        carried, inside = warp(moved[:1], vectors[1:], mode="bilinear")
        assert inside.float().mean() > 0.95
        np.testing.assert_allclose(carried, moved[1:], atol=1e-4)
        assert not vectors[0].any()
        turned_at_all.add(which(light, moved))
    assert len(turned_at_all) == 8


def test_brightness_is_one_exposure_for_all_frames() -> None:
    light, flow, visible = clip()
    config = AugmentConfig(flip=False, rotate=False, brightness_stops=(-2.0, 1.0))
    stops = []
    for seed in range(40):
        moved, vectors, still = augment_clip(light, flow, visible, np.random.default_rng(seed), config)
        ratio = torch.log2(moved / light)
        assert float(ratio.max() - ratio.min()) < 1e-5
        stops.append(float(ratio.mean()))
        torch.testing.assert_close(vectors, flow, rtol=0, atol=0)
        assert torch.equal(still, visible)
    assert -2 <= min(stops) < -1.5
    assert 0.5 < max(stops) <= 1


def test_a_seed_says_it_all_and_torch_s_own_dice_stay_untouched() -> None:
    light, flow, visible = clip()
    config = AugmentConfig(brightness_stops=(-1.0, 1.0))
    state = torch.get_rng_state()
    for seed in range(8):
        first = augment_clip(light, flow, visible, np.random.default_rng(seed), config)
        torch.manual_seed(seed)
        second = augment_clip(light, flow, visible, np.random.default_rng(seed), config)
        torch.set_rng_state(state)
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
        augment_clip(light, flow, visible, np.random.default_rng(seed), config)
        assert torch.equal(torch.get_rng_state(), state)


def test_the_clip_given_is_not_changed() -> None:
    given, kept = clip(), clip()
    for seed in range(6):
        for moved in augment_clip(*given, np.random.default_rng(seed), AugmentConfig()):
            assert moved.shape[0] == FRAMES
    assert all(torch.equal(a, b) for a, b in zip(given, kept, strict=True))


def test_quarter_turns_need_squares_and_shapes_must_agree() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"got frames of 8 x 14 pixels, expected square"):
        augment_clip(*clip(8, 14), rng, AugmentConfig())
    light, flow, visible = clip()
    with pytest.raises(ValueError, match=r"got shapes .* expected"):
        augment_clip(light, flow[:, :, :-1], visible, rng, AugmentConfig())


def test_crops_reach_everywhere_and_stay_inside() -> None:
    rng = np.random.default_rng(0)
    picture = np.arange(7 * 9).reshape(7, 9)
    corners = set()
    for _ in range(400):
        rows, columns = random_crop(rng, 7, 9, 5)
        assert picture[rows, columns].shape == (5, 5)
        corners.add((rows.start, columns.start))
    assert corners == {(top, left) for top in range(3) for left in range(5)}
    assert random_crop(rng, 5, 5, 5) == (slice(0, 5), slice(0, 5))


@pytest.mark.parametrize("size", [0, 8, 10])
def test_a_crop_larger_than_the_frame_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=rf"got a size of {size}, expected 1\.\.7"):
        random_crop(np.random.default_rng(0), 7, 9, size)
