"""The virtual camera: what it sees, how it moves, and what it cannot read."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import OpenImageIO as oiio  # noqa: N813
import pytest
import torch
from numpy.typing import NDArray

from flow import warp
from seqhdr.errors import FrameError
from seqhdr.train.panorama import CameraPath, Panorama, camera_path, load_panorama, panorama_from_linear, render

Image = NDArray[np.float32]


def soft_noise(height: int = 128, seed: int = 0) -> Image:
    """(H, 2H, 3) scene-linear, a few stops of smooth variation that runs across the seam."""
    noise = np.random.default_rng(seed).normal(size=(height, 2 * height, 3)).astype(np.float32)
    wide = cv2.GaussianBlur(np.concatenate((noise,) * 3, axis=1), (0, 0), 4)[:, 2 * height : 4 * height]
    return np.exp2(wide / wide.std())


@pytest.fixture(scope="module")
def world() -> Panorama:
    return panorama_from_linear("noise", soft_noise())


def write_exr(path: Path, pixels: Image) -> None:
    output = oiio.ImageOutput.create(str(path))
    assert output.open(str(path), oiio.ImageSpec(pixels.shape[1], pixels.shape[0], pixels.shape[2], "half"))
    assert output.write_image(pixels)
    output.close()


def test_a_constant_world_looks_constant_everywhere() -> None:
    world = panorama_from_linear("grey", np.full((32, 64, 3), 0.18, np.float32))
    for yaw, pitch in ((0, 0), (180, 0), (-90, 60), (10, 90), (10, -90)):
        path = camera_path(1, yaw_deg=yaw, pitch_deg=pitch, roll_deg=17, focal_px=20)
        np.testing.assert_allclose(render(world, path, 0, 24, 40), 0.18, rtol=1e-5)


def test_the_camera_looks_where_it_is_told() -> None:
    rows, columns = np.mgrid[:64, :128]
    longitude, latitude = (columns + 0.5) / 128 * 360 - 180, (rows + 0.5) / 64 * 180 - 90
    pixels = np.exp2(np.stack((longitude / 90, latitude / 45, 0 * latitude), axis=-1)).astype(np.float32)
    world = panorama_from_linear("map", pixels)
    for yaw, pitch in ((0, 0), (50, 20), (-130, -35)):
        path = camera_path(1, yaw_deg=yaw, pitch_deg=pitch, focal_px=100)
        seen = np.log2(render(world, path, 0, 5, 5)[2, 2])
        # Positive yaw looks right, positive pitch looks down, where rows and latitude grow.
        np.testing.assert_allclose(seen[:2], (yaw / 90, pitch / 45), atol=0.02)
    centre = np.log2(render(world, camera_path(1, focal_px=40), 0, 31, 31))
    assert np.all(np.diff(centre[15, :, 0]) > 0)
    assert np.all(np.diff(centre[:, 15, 1]) > 0)


def test_the_seam_is_a_place_like_any_other() -> None:
    pixels = soft_noise(seed=3)
    turned = np.roll(pixels, pixels.shape[1] // 2, axis=1)
    behind = render(panorama_from_linear("a", pixels), camera_path(1, yaw_deg=180, focal_px=60), 0, 48, 64)
    ahead = render(panorama_from_linear("b", turned), camera_path(1, yaw_deg=0, focal_px=60), 0, 48, 64)
    np.testing.assert_allclose(np.log2(behind), np.log2(ahead), atol=0.02)


def test_a_mirrored_world_gives_a_mirrored_view() -> None:
    pixels = soft_noise(seed=4)
    there = camera_path(1, yaw_deg=25, pitch_deg=-10, roll_deg=6, focal_px=50)
    mirrored = camera_path(1, yaw_deg=-25, pitch_deg=-10, roll_deg=-6, focal_px=50)
    view = render(panorama_from_linear("a", pixels), there, 0, 40, 56)
    other = render(panorama_from_linear("b", pixels[:, ::-1]), mirrored, 0, 40, 56)
    np.testing.assert_allclose(np.log2(view), np.log2(other[:, ::-1]), atol=0.02)


def test_lamps_leave_no_dark_rings() -> None:
    pixels = np.full((64, 128, 3), 0.1, np.float32)
    pixels[30:34, 62:66] = 5000
    view = render(panorama_from_linear("lamp", pixels), camera_path(1, focal_px=80), 0, 64, 64)
    assert view.min() > 0.01
    assert view.max() > 3000


def test_exact_flow_carries_one_frame_to_the_next(world: Panorama) -> None:
    path = camera_path(
        5, yaw_deg=20, pitch_deg=12, focal_px=60, pan_px=(4, -2.5), roll_rate_deg=1.5, zoom=1.01, jitter_px=0.5, seed=2
    )
    views = [torch.from_numpy(np.log2(render(world, path, t, 72, 96))).permute(2, 0, 1)[None] for t in range(5)]
    for frame in range(1, 5):
        flow_px = torch.from_numpy(path.flow(frame, 72, 96)).permute(2, 0, 1)[None]
        carried, inside = warp(views[frame - 1], flow_px)
        error = (carried - views[frame]).abs()[..., 3:-3, 3:-3]
        still = (views[frame - 1] - views[frame]).abs()[..., 3:-3, 3:-3]
        known = inside[..., 3:-3, 3:-3].expand_as(error)
        assert known.float().mean() > 0.8
        # Both are interpolations of the same noise of about one stop.
        assert error[known].mean() < 0.01
        assert error[known].mean() < 0.05 * still[known].mean()


def test_the_first_frame_has_no_flow() -> None:
    path = camera_path(3, yaw_deg=33, pitch_deg=-21, roll_deg=5, focal_px=70, pan_px=(3, 1))
    first = path.flow(0, 20, 30)
    assert first.shape == (20, 30, 2)
    assert first.dtype == np.float32
    assert not first.any()
    assert path.flow(1, 20, 30).any()


def test_a_pan_is_in_pixels() -> None:
    path = camera_path(4, focal_px=500, pan_px=(2.5, -1.5))
    # The camera moves right and up, so what is in the middle now was right of it and above it before.
    np.testing.assert_allclose(path.flow(2, 31, 41)[15, 20], (2.5, -1.5), atol=0.01)


def test_jitter_repeats_with_its_seed() -> None:
    def shaken(seed: int, jitter_px: float = 0.7) -> CameraPath:
        return camera_path(200, focal_px=300, jitter_px=jitter_px, seed=seed)

    np.testing.assert_array_equal(shaken(1).rotations, shaken(1).rotations)
    assert not np.array_equal(shaken(1).rotations, shaken(2).rotations)
    yaw_px = np.arctan2(shaken(1).rotations[:, 0, 2], shaken(1).rotations[:, 2, 2]) * 300
    assert 0.4 < yaw_px.std() < 1.0
    assert np.ptp(shaken(1, 0.0).rotations, axis=0).max() == 0


def test_rotations_are_rotations() -> None:
    path = camera_path(6, yaw_deg=170, pitch_deg=60, roll_deg=-40, focal_px=90, pan_px=(9, 9), jitter_px=3, zoom=0.9)
    np.testing.assert_allclose(
        path.rotations @ path.rotations.transpose(0, 2, 1), np.broadcast_to(np.eye(3), (6, 3, 3)), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(path.rotations), 1)
    np.testing.assert_allclose(path.focal_px, 90 * 0.9 ** np.arange(6))


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    pixels = soft_noise(16)
    pixels[0, 0] = (np.inf, 1, 2)
    pixels[1, 1] = (np.nan, -3, 2)
    write_exr(tmp_path / "place.exr", pixels)
    world = load_panorama(tmp_path / "place.exr")
    assert world.name == "place"
    assert world.pixels_per_radian == pytest.approx(32 / (2 * np.pi))
    inner = np.exp2(world.log2_rgb[:, 8:-8])
    assert np.isfinite(world.log2_rgb).all()
    np.testing.assert_allclose(inner[2:], pixels[2:], rtol=1e-3)
    np.testing.assert_allclose(inner[0, 0], (65504, 1, 2), rtol=1e-3)
    np.testing.assert_allclose(inner[1, 1], (2.0**-24, 2.0**-24, 2), rtol=1e-3)


def test_a_fourth_channel_is_left_out(tmp_path: Path) -> None:
    pixels = np.concatenate((soft_noise(8), np.zeros((8, 16, 1), np.float32)), axis=-1)
    write_exr(tmp_path / "rgba.exr", pixels)
    assert load_panorama(tmp_path / "rgba.exr").log2_rgb.shape == (8, 32, 3)


@pytest.mark.parametrize("kind", ["missing", "text", "cut short", "folder", "grey"])
def test_what_is_no_panorama_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bad.exr"
    if kind == "text":
        path.write_text("not a picture")
    elif kind == "cut short":
        write_exr(path, soft_noise(64))
        path.write_bytes(path.read_bytes()[:2000])
    elif kind == "folder":
        path.mkdir()
    elif kind == "grey":
        write_exr(path, soft_noise(8)[..., :1].copy())
    with pytest.raises(FrameError, match=r"bad\.exr: "):
        load_panorama(path)
