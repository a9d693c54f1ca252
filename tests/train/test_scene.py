"""Whole shots: the picture, its motion, and what was hidden, all saying the same."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from flow import warp
from seqhdr.train.camera import CameraConfig, Lens, camera_path, draw_path
from seqhdr.train.layers import Layer, LayerConfig, draw_layers
from seqhdr.train.panorama import Panorama, panorama_from_linear, render
from seqhdr.train.scene import SceneClip, render_clip

HEIGHT, WIDTH = 60, 80


@pytest.fixture(scope="module")
def world() -> Panorama:
    noise = np.random.default_rng(0).normal(size=(128, 256, 3)).astype(np.float32)
    wide = cv2.GaussianBlur(np.concatenate((noise,) * 3, axis=1), (0, 0), 4)[:, 256:512]
    return panorama_from_linear("noise", np.exp2(wide / wide.std()))


def slid(*shifts: tuple[float, float]) -> NDArray[np.float64]:
    return np.array([[[1, 0, x], [0, 1, y]] for x, y in shifts], np.float64)


def box(rows: int, columns: int, log2: float, placements: NDArray[np.float64], soft: float = 0.0) -> Layer:
    """A flat box whose matte is 1 well inside and 0 well outside; the margin is 4 px."""
    matte = np.zeros((rows + 8, columns + 8), np.float32)
    matte[4:-4, 4:-4] = 1
    if soft:
        matte = cv2.GaussianBlur(matte, (0, 0), soft)
    return Layer(np.full((rows + 8, columns + 8, 3), log2, np.float32), matte, placements)


def missed(clip: SceneClip, frame: int) -> NDArray[np.float32]:
    """(H, W), how far the warped frame before is from the frame, in stops."""
    log2 = torch.from_numpy(np.log2(clip.rgb_lin[frame - 1 : frame + 1])).permute(0, 3, 1, 2)
    flow_px = torch.from_numpy(clip.flow_px[frame]).permute(2, 0, 1)[None]
    carried, _ = warp(log2[:1], flow_px, "bilinear")
    return (carried[0] - log2[1]).abs().amax(0).numpy()


def test_without_layers_a_clip_is_the_view(world: Panorama) -> None:
    path = camera_path(3, yaw_deg=20, focal_px=70, pan_px=(3, 1))
    path = dataclasses.replace(path, lens=Lens(-0.1, 0.5), exposure_stops=np.array((0, 0.5, 1)))
    clip = render_clip(world, path, (), HEIGHT, WIDTH)
    assert (clip.rgb_lin.dtype, clip.flow_px.dtype, clip.visible.dtype) == (np.float32, np.float32, np.bool_)
    for frame in range(3):
        np.testing.assert_allclose(clip.rgb_lin[frame], render(world, path, frame, HEIGHT, WIDTH), rtol=1e-6)
        np.testing.assert_array_equal(clip.flow_px[frame], path.flow(frame, HEIGHT, WIDTH))
        y, x = np.mgrid[:HEIGHT, :WIDTH]
        was_x, was_y = x + clip.flow_px[frame, ..., 0], y + clip.flow_px[frame, ..., 1]
        inside = (was_x >= 0) & (was_x <= WIDTH - 1) & (was_y >= 0) & (was_y <= HEIGHT - 1)
        np.testing.assert_array_equal(clip.visible[frame], inside & (frame > 0))
    assert 0.7 < clip.visible[1:].mean() < 0.99


@pytest.mark.parametrize("distortion", [0.0, -0.2])
def test_what_is_visible_is_carried_over_and_what_is_not_is_not(world: Panorama, distortion: float) -> None:
    path = camera_path(6, yaw_deg=20, pitch_deg=10, focal_px=110, pan_px=(2, -1.2), roll_rate_deg=0.7, zoom=1.01)
    path = dataclasses.replace(path, lens=Lens(distortion))
    # Much brighter and much darker than the noise, so that a mistake shows.
    first = box(24, 20, 5.0, slid(*((10 + 5.3 * t, 8 + 2.6 * t) for t in range(6))), soft=0.5)
    second = box(16, 30, -6.0, slid(*((50 - 4.1 * t, 30 - 1.7 * t) for t in range(6))), soft=0.5)
    clip = render_clip(world, path, (first, second), HEIGHT, WIDTH)
    hidden = []
    for frame in range(1, 6):
        error, visible = missed(clip, frame), clip.visible[frame]
        assert 0.6 < visible.mean() < 0.95
        assert np.median(error[visible]) < 0.01
        assert error[visible].max() < 0.1
        y, x = np.mgrid[:HEIGHT, :WIDTH]
        was_x, was_y = x + clip.flow_px[frame, ..., 0], y + clip.flow_px[frame, ..., 1]
        inside = (was_x >= 0) & (was_x <= WIDTH - 1) & (was_y >= 0) & (was_y <= HEIGHT - 1)
        hidden.append(error[~visible & inside])
    assert np.mean(np.concatenate(hidden) > 1) > 0.25


def test_occlusion_is_what_a_loop_over_pixels_finds(world: Panorama) -> None:
    path = camera_path(4, yaw_deg=20, focal_px=90, pan_px=(2, 1))
    shifts = ((4, 9), (9, 12), (14, 15), (19, 18))
    # Whole-pixel steps and a matte of a step: a pixel is covered, clear, or one of the two rows that the spline mixes.
    layer = box(20, 26, 4.0, slid(*shifts))
    clip = render_clip(world, path, (layer,), HEIGHT, WIDTH)

    def thing(frame: int, x: int, y: int) -> str:
        column, row = x - shifts[frame][0], y - shifts[frame][1]
        # Covered to 1 - 1/6 in the outermost row, and by 1/6 next to it; in corners by products of these.
        across = {3: 1 / 6, 4: 5 / 6, 29: 5 / 6, 30: 1 / 6}.get(column, float(4 < column < 29))
        along = {3: 1 / 6, 4: 5 / 6, 23: 5 / 6, 24: 1 / 6}.get(row, float(4 < row < 23))
        cover = across * along
        return "layer" if cover == 1 else "view" if cover == 0 else "edge"

    for frame in range(4):
        turned = path.flow(frame, HEIGHT, WIDTH)
        for y in range(HEIGHT):
            for x in range(WIDTH):
                here = thing(frame, x, y)
                if here == "layer":
                    expected = np.array((-5.0, -3.0)) if frame > 0 else np.zeros(2)
                    np.testing.assert_allclose(clip.flow_px[frame, y, x], expected, atol=1e-5)
                if here == "view":
                    np.testing.assert_array_equal(clip.flow_px[frame, y, x], turned[y, x])
                was_x, was_y = (x, y) + clip.flow_px[frame, y, x]
                seen = frame > 0 and 0 <= was_x <= WIDTH - 1 and 0 <= was_y <= HEIGHT - 1 and here != "edge"
                if seen:
                    around = {
                        (i, j) for i in (np.floor(was_x), np.ceil(was_x)) for j in (np.floor(was_y), np.ceil(was_y))
                    }
                    seen = all(thing(frame - 1, int(i), int(j)) == here for i, j in around)
                assert clip.visible[frame, y, x] == seen, (frame, x, y, here)
    assert 0.5 < clip.visible[1:].mean() < 0.95


def test_layers_cover_each_other_in_their_order(world: Panorama) -> None:
    path = camera_path(2, yaw_deg=20, focal_px=90, pan_px=(1, 0))
    back = box(30, 30, 3.0, slid((10, 10), (12, 10)))
    front = box(10, 10, -3.0, slid((20, 20), (20, 23)))
    clip = render_clip(world, path, (back, front), HEIGHT, WIDTH)
    np.testing.assert_allclose(np.log2(clip.rgb_lin[1, 31, 28]), -3, atol=1e-4)
    np.testing.assert_allclose(np.log2(clip.rgb_lin[1, 18, 20]), 3, atol=1e-4)
    np.testing.assert_allclose(clip.flow_px[1, 31, 28], (0, -3), atol=1e-5)
    np.testing.assert_allclose(clip.flow_px[1, 18, 20], (-2, 0), atol=1e-5)
    other = render_clip(world, path, (front, back), HEIGHT, WIDTH)
    np.testing.assert_allclose(np.log2(other.rgb_lin[1, 31, 28]), 3, atol=1e-4)


def test_edges_mix_light_and_not_its_logarithm(world: Panorama) -> None:
    path = camera_path(1, yaw_deg=20, focal_px=90)
    texture = np.full((40, 40, 3), 6.0, np.float32)
    half = Layer(texture, np.full((40, 40), 0.25, np.float32), slid((10, 10)))
    clip, bare = (render_clip(world, path, layers, HEIGHT, WIDTH) for layers in ((half,), ()))
    np.testing.assert_allclose(clip.rgb_lin[0, 30, 30], 0.75 * bare.rgb_lin[0, 30, 30] + 0.25 * 64, rtol=1e-5)
    np.testing.assert_array_equal(clip.rgb_lin[0, 5], bare.rgb_lin[0, 5])


def test_lens_and_exposure_are_in_front_of_everything(world: Panorama) -> None:
    path = camera_path(2, yaw_deg=20, focal_px=60)
    layer = box(30, 30, 1.0, slid((10, 10), (10, 10)))
    plain = render_clip(world, path, (layer,), HEIGHT, WIDTH).rgb_lin
    path = dataclasses.replace(path, exposure_stops=np.array((0, 1.5)), lens=Lens(vignette=0.7))
    seen = render_clip(world, path, (layer,), HEIGHT, WIDTH).rgb_lin
    falloff = path.lens.falloff(HEIGHT, WIDTH, 60)[..., None]
    np.testing.assert_allclose(seen[0], plain[0] * falloff, rtol=1e-5)
    np.testing.assert_allclose(seen[1], plain[1] * falloff * 2**1.5, rtol=1e-5)


def test_where_nothing_moves_all_frames_are_the_same_bytes(world: Panorama) -> None:
    rng = np.random.default_rng(4)
    config = CameraConfig(moves={"static": 1.0}, exposure_change_share=0.0)
    path = draw_path(rng, config, 4, world.pixels_per_radian, HEIGHT, WIDTH)
    layers = draw_layers(rng, LayerConfig(share=1.0, static_share=1.0), 4, HEIGHT, WIDTH, world.log2_median)
    clip = render_clip(world, path, layers, HEIGHT, WIDTH)
    assert layers
    assert len({frame.tobytes() for frame in clip.rgb_lin}) == 1
    assert not clip.flow_px.any()
    # Everything was seen before but for the edges, of which nobody says what they are.
    assert not clip.visible[0].any()
    assert 0.7 < clip.visible[1:].mean() < 1


def test_motion_blur_smears_layers_and_view_alike(world: Panorama) -> None:
    path = camera_path(3, yaw_deg=20, focal_px=90, pan_px=(6, 0))
    layer = box(30, 24, 6.0, slid((0, 10), (16, 10), (32, 10)))
    sharp = render_clip(world, path, (layer,), HEIGHT, WIDTH)
    blurred = render_clip(world, dataclasses.replace(path, shutter=0.5), (layer,), HEIGHT, WIDTH)
    # The layer's left edge stands at 19.5 in frame 1 and sweeps over 8 px: its cover grows evenly over them.
    cover = (blurred.rgb_lin[1, 25, :, 0] / 64)[14:26]
    expected = np.clip((np.arange(14, 26) - 15.5) / 8, 0, 1)
    np.testing.assert_allclose(cover, expected, atol=0.07)
    np.testing.assert_allclose(blurred.rgb_lin[1, 5, :, 0], bare_row(world), rtol=0.02)
    # Flow stays that of the frame's own time; the smeared edge belongs to nobody.
    np.testing.assert_allclose(blurred.flow_px[1, 25, 30], (-16, 0), atol=1e-5)
    assert blurred.visible[1].sum() < sharp.visible[1].sum()
    assert not blurred.visible[1, 25, 17:23].any()


def bare_row(world: Panorama) -> NDArray[np.float32]:
    """Row 5 of frame 1 by brute force: the pan filmed at 60 times the rate, the middle half of the interval."""
    fast = camera_path(121, yaw_deg=20, focal_px=90, pan_px=(0.1, 0))
    return np.mean([render(world, fast, t, HEIGHT, WIDTH)[5, :, 0] for t in range(45, 76)], axis=0)


def test_the_same_seed_films_the_same_bytes(world: Panorama) -> None:
    def film(seed: int) -> SceneClip:
        rng = np.random.default_rng(seed)
        path = draw_path(rng, CameraConfig(), 4, world.pixels_per_radian, 40, 40)
        layers = draw_layers(rng, LayerConfig(share=1.0), 4, 40, 40, world.log2_median)
        return render_clip(world, path, layers, 40, 40)

    first, again, other = film(3), film(3), film(4)
    for name in ("rgb_lin", "flow_px", "visible"):
        assert getattr(first, name).tobytes() == getattr(again, name).tobytes()
    assert first.rgb_lin.tobytes() != other.rgb_lin.tobytes()
    assert np.isfinite(first.rgb_lin).all()
    assert first.rgb_lin.min() > 0


def test_a_layer_of_another_length_is_refused(world: Panorama) -> None:
    with pytest.raises(ValueError, match="got a layer of 2 frames, expected 3"):
        render_clip(world, camera_path(3, focal_px=50), (box(8, 8, 0, slid((0, 0), (1, 1))),), 20, 20)
