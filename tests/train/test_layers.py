"""Moving foreground: where it lies, how it moves, what it looks like."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from seqhdr.errors import UsageError
from seqhdr.train.layers import Layer, LayerConfig, draw_layers, place_layer

SIDE, FRAMES, MEDIAN = 128, 24, -2.5
ALWAYS = LayerConfig(share=1.0)


def drawn(config: LayerConfig, count: int, seed: int = 0) -> list[tuple[Layer, ...]]:
    rng = np.random.default_rng(seed)
    return [draw_layers(rng, config, FRAMES, SIDE, SIDE, MEDIAN) for _ in range(count)]


def turned(angle_deg: float, scale: float, shift: tuple[float, float]) -> NDArray[np.float64]:
    c, s = scale * np.cos(np.deg2rad(angle_deg)), scale * np.sin(np.deg2rad(angle_deg))
    return np.array([[c, -s, shift[0]], [s, c, shift[1]]])


def smooth_layer(*placements: NDArray[np.float64]) -> Layer:
    """A slope in each channel, and a matte that is a slope as well: splines are exact for both."""
    y, x = np.mgrid[:30, :40]
    texture = np.stack((x / 10, y / 10, (x + y) / 20), -1).astype(np.float32)
    return Layer(texture, (x / 100 + y / 200).astype(np.float32), np.stack(placements))


def test_a_layer_lies_where_its_placement_says() -> None:
    layer = smooth_layer(turned(25, 1.3, (50, 31)), turned(25, 1.3, (-400, 31)))
    placed = place_layer(layer, 0, 70, 90)
    assert placed is not None
    (rows, columns), radiance, matte = placed
    checked = 0
    for y in range(70):
        for x in range(90):
            local = np.linalg.solve(layer.placements[0][:, :2], (x, y) - layer.placements[0][:, 2])
            if np.all(local > 2) and local[0] < 37 and local[1] < 27:
                row, column = y - rows.start, x - columns.start
                assert rows.start <= y < rows.stop
                assert columns.start <= x < columns.stop
                texture = (local[0] / 10, local[1] / 10, local.sum() / 20)
                np.testing.assert_allclose(np.log2(radiance[:, row, column]), texture, atol=1e-4)
                assert matte[row, column] == pytest.approx(local[0] / 100 + local[1] / 200, abs=1e-5)
                checked += 1
    assert checked > 300
    assert place_layer(layer, 1, 70, 90) is None


def test_a_layer_is_cut_off_at_the_frame() -> None:
    layer = smooth_layer(turned(0, 1, (-20, -10)))
    placed = place_layer(layer, 0, 12, 200)
    assert placed is not None
    (rows, columns), radiance, matte = placed
    assert (rows, columns) == (slice(0, 12), slice(0, 20))
    assert radiance.shape == (3, 12, 20)
    assert matte.shape == (12, 20)


def test_flow_follows_the_texture() -> None:
    layer = smooth_layer(turned(10, 1.0, (20, 9)), turned(14, 1.05, (23, 7)))
    flow = layer.flow(1, 50, 70)
    for local in ((0, 0), (12.5, 3), (39, 29)):
        now, before = (placement @ (*local, 1) for placement in layer.placements[::-1])
        x, y = np.round(now).astype(int)
        # Affine: the flow at a pixel and the derivative of the map give the flow right at the texture's point.
        step = (flow[y, x + 1] - flow[y, x]) * (now[0] - x) + (flow[y + 1, x] - flow[y, x]) * (now[1] - y)
        np.testing.assert_allclose(flow[y, x] + step, before - now, atol=1e-4)
    assert not layer.flow(0, 40, 60).any()
    still = Layer(layer.texture_log2, layer.matte, layer.placements[[0, 0]])
    assert not still.flow(1, 40, 60).any()


def test_between_frames_a_layer_is_between_its_placements() -> None:
    layer = smooth_layer(turned(0, 1, (0, 0)), turned(0, 1, (4, 2)), turned(0, 1, (10, 2)))
    for time, shift in ((0, (0, 0)), (0.5, (2, 1)), (1.25, (5.5, 2)), (2, (10, 2)), (2.5, (13, 2)), (-0.5, (-2, -1))):
        np.testing.assert_allclose(layer.at(time)[:, 2], shift)
    alone = smooth_layer(turned(0, 1, (3, 3)))
    np.testing.assert_array_equal(alone.at(0.4), alone.placements[0])


def test_the_same_seed_draws_the_same_bytes() -> None:
    for first, second in zip(drawn(ALWAYS, 10), drawn(ALWAYS, 10), strict=True):
        assert len(first) == len(second)
        for a, b in zip(first, second, strict=True):
            assert a.texture_log2.tobytes() == b.texture_log2.tobytes()
            assert a.matte.tobytes() == b.matte.tobytes()
            assert a.placements.tobytes() == b.placements.tobytes()
    assert drawn(ALWAYS, 1)[0][0].placements.tobytes() != drawn(ALWAYS, 1, seed=1)[0][0].placements.tobytes()


def test_layers_come_in_their_share_and_number() -> None:
    numbers = np.array([len(layers) for layers in drawn(LayerConfig(share=0.3, most=3, size=(0.1, 0.12)), 300)])
    assert 0.22 < np.mean(numbers > 0) < 0.38
    assert set(numbers) == {0, 1, 2, 3}
    assert not any(drawn(LayerConfig(share=0.0), 20))


def test_mattes_are_full_inside_and_fade_within_two_pixels() -> None:
    for layers in drawn(ALWAYS, 60):
        for layer in layers:
            matte = layer.matte
            assert matte.dtype == np.float32
            assert matte.min() == 0
            assert matte.max() == 1
            assert not matte[[0, -1]].any()
            assert not matte[:, [0, -1]].any()
            share = (matte >= 0.5).mean()
            assert 0.02 < share < 1
            # The soft edge is about as many pixels as the outline is long.
            solid = matte >= 0.5
            outline = np.count_nonzero(np.diff(solid, axis=0)) + np.count_nonzero(np.diff(solid, axis=1))
            assert 0.5 * outline < np.count_nonzero((matte > 0.01) & (matte < 0.99)) < 1.5 * outline


def test_sizes_and_speeds_cover_their_ranges() -> None:
    config = dataclasses.replace(ALWAYS, scale_rate=0.0, static_share=0.0)
    layers = [layer for layers in drawn(config, 200) for layer in layers]
    sides = np.array([layer.matte.shape for layer in layers]) - 8
    assert 11 < sides.min() < 16
    assert 58 < sides.max() <= 64
    speeds = []
    for layer in layers:
        rows, columns = layer.matte.shape
        centres = layer.placements @ ((columns - 1) / 2, (rows - 1) / 2, 1)
        steps = np.diff(centres, axis=0)
        np.testing.assert_allclose(steps, np.broadcast_to(steps[0], steps.shape), atol=1e-9)
        speeds.append(np.hypot(*steps[0]))
        # In the picture in the middle of the shot.
        middle = (centres[11] + centres[12]) / 2
        assert np.all((middle >= 0) & (middle <= SIDE - 1))
    assert 0.3 <= min(speeds) < 0.35
    assert 7 < max(speeds) <= 8


def test_some_layers_never_move() -> None:
    layers = [layer for layers in drawn(dataclasses.replace(ALWAYS, static_share=0.5), 100) for layer in layers]
    still = [np.ptp(layer.placements, axis=0).max() == 0 for layer in layers]
    assert 0.4 < np.mean(still) < 0.6


def test_layers_turn_and_grow() -> None:
    layers = [layer for layers in drawn(dataclasses.replace(ALWAYS, static_share=0.0), 100) for layer in layers]
    linear = np.array([layer.placements[:, :, :2] for layer in layers])
    growth = np.diff(np.log(np.linalg.det(linear)) / 2, axis=1)
    turn = np.rad2deg(np.diff(np.unwrap(np.arctan2(linear[:, :, 1, 0], linear[:, :, 0, 0])), axis=1))
    assert 0.003 < growth.std() < 0.005
    assert 0.8 < turn.std() < 1.2


def test_brightness_keeps_to_the_scene_but_for_emitters() -> None:
    plain = dataclasses.replace(ALWAYS, emitter_share=0.0)
    levels = [np.median(layer.texture_log2) for layers in drawn(plain, 150) for layer in layers]
    assert np.mean(levels) == pytest.approx(MEDIAN, abs=0.4)
    assert np.std(levels) < 3
    glowing = dataclasses.replace(ALWAYS, emitter_share=1.0, colour_stops=0.0, smooth_share=1.0)
    brightest = [layer.texture_log2.max() - MEDIAN for layers in drawn(glowing, 100) for layer in layers]
    assert min(brightest) > 3.9
    assert max(brightest) > 9


def test_smooth_textures_are_smooth_and_the_others_are_not() -> None:
    config = dataclasses.replace(ALWAYS, contrast_stops=(1.0, 1.0), emitter_share=0.0)

    def roughness(smooth_share: float) -> NDArray[np.float64]:
        shots = drawn(dataclasses.replace(config, smooth_share=smooth_share), 60)
        return np.array([np.abs(np.diff(layer.texture_log2, 2, axis=0)).mean() for s in shots for layer in s])

    assert roughness(1.0).max() < 0.15
    assert np.median(roughness(0.0)) > 0.2
    flat = [np.ptp(layer.texture_log2[..., 0]) for s in drawn(ALWAYS, 60) for layer in s]
    assert 0.1 < np.mean(np.equal(flat, 0)) < 0.35


@pytest.mark.parametrize(
    "broken",
    [
        {"share": 1.2},
        {"smooth_share": -0.1},
        {"size": (0.5, 0.1)},
        {"speed_px": (0, 1)},
        {"most": 0},
        {"emitter_stops": (3.0, 2.0)},
    ],
)
def test_what_cannot_be_drawn_is_refused_by_name(broken: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(broken))):
        LayerConfig(**broken)


def test_a_thumbnail_of_one_frame_works_too() -> None:
    rng = np.random.default_rng(3)
    for _ in range(30):
        for layer in draw_layers(rng, ALWAYS, 1, 16, 20, MEDIAN):
            assert layer.placements.shape == (1, 2, 3)
            assert np.isfinite(layer.texture_log2).all()
            assert np.isfinite(layer.matte).all()
