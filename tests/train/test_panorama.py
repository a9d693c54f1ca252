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
from seqhdr.train import panorama
from seqhdr.train.camera import CameraPath, Lens, camera_path
from seqhdr.train.panorama import Panorama, load_panorama, look, panorama_from_linear, render, sample_spline

Image = NDArray[np.float32]


def soft_noise(height: int = 128, seed: int = 0) -> Image:
    """(H, 2H, 3) scene-linear, a few stops of smooth variation that runs across the seam."""
    noise = np.random.default_rng(seed).normal(size=(height, 2 * height, 3)).astype(np.float32)
    wide = cv2.GaussianBlur(np.concatenate((noise,) * 3, axis=1), (0, 0), 4)[:, 2 * height : 4 * height]
    return np.exp2(wide / wide.std())


@pytest.fixture(scope="module")
def world() -> Panorama:
    return panorama_from_linear("noise", soft_noise())


def write_file(path: Path, pixels: Image, names: tuple[str, ...] = (), kind: str = "half") -> None:
    output = oiio.ImageOutput.create(str(path))
    spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], pixels.shape[2], kind)
    if names:
        spec.channelnames = names
    assert output.open(str(path), spec)
    assert output.write_image(pixels)
    output.close()


def as_loaded(path: Path, monkeypatch: pytest.MonkeyPatch) -> Image:
    """(H, W, 3) linear light that a file becomes, before it is made a panorama."""
    taken: list[Image] = []

    def take(name: str, rgb_lin: Image) -> Panorama:
        taken.append(rgb_lin)
        return panorama_from_linear(name, rgb_lin)

    monkeypatch.setattr(panorama, "panorama_from_linear", take)
    load_panorama(path)
    return taken[0]


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
    # 15.6 stops from one pixel to the next. Cubics as OpenCV and PyTorch have them dip by 1.9 stops here.
    assert view.min() > 0.1 * 2**-1.0
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


def test_the_picture_is_kept_as_it_was() -> None:
    pixels = soft_noise(128)
    kept = panorama_from_linear("noise", pixels).log2_rgb
    assert kept.shape == (128, 256, 3)
    # The noise tears at the poles, where a row meets its own other half.
    np.testing.assert_allclose(kept[2:-2], np.log2(pixels)[2:-2], atol=0.01)


def cubic_b_spline(distance: float) -> float:
    """The textbook's kernel."""
    d = abs(distance)
    return 2 / 3 - d * d + d**3 / 2 if d < 1 else (2 - d) ** 3 / 6 if d < 2 else 0.0


def test_four_fetches_are_sixteen_taps() -> None:
    rng = np.random.default_rng(5)
    planes = rng.normal(size=(2, 9, 12)).astype(np.float32)
    x, y = rng.uniform(2, 9, (4, 5)).astype(np.float32), rng.uniform(2, 6, (4, 5)).astype(np.float32)
    x[0, 0], y[0, 0] = 4, 3
    seen = sample_spline(planes, x, y)
    assert seen.shape == (2, 4, 5)
    for place in np.ndindex(4, 5):
        weights = np.array(
            [[cubic_b_spline(y[place] - j) * cubic_b_spline(x[place] - i) for i in range(12)] for j in range(9)]
        )
        np.testing.assert_allclose(seen[(slice(None), *place)], (planes * weights).sum((1, 2)), atol=2e-6)


def test_outside_the_outermost_coefficients_go_on() -> None:
    planes = np.random.default_rng(6).normal(size=(1, 6, 7)).astype(np.float32)
    corner = np.full((1, 1), -40, np.float32)
    np.testing.assert_allclose(sample_spline(planes, corner, corner)[0, 0, 0], planes[0, 0, 0], rtol=1e-6)


def test_a_gradient_shown_six_times_as_large_has_no_stairs() -> None:
    columns = (np.arange(256) + 0.5) / 256 * 360 - 180
    slope = np.broadcast_to(np.exp2(columns / 20)[None, :, None], (128, 256, 3)).astype(np.float32)
    world = panorama_from_linear("slope", slope)
    focal = 6 * world.pixels_per_radian
    row = np.log2(render(world, camera_path(1, focal_px=focal), 0, 3, 121)[1, :, 0].astype(np.float64))
    angle = np.rad2deg(np.arctan((np.arange(121) - 60) / focal))
    steps = np.diff(row) / (np.diff(angle) / 20)
    # The cubics of OpenCV and PyTorch (a = -0.75) make steps of 0.75 to 1.47 of what they should be.
    np.testing.assert_allclose(steps, 1, atol=0.01)


def test_the_poles_are_places_like_any_other() -> None:
    # A picture of the height above one oblique plane: smooth everywhere, the poles included.
    latitude = ((np.arange(128) + 0.5) / 128 - 0.5)[:, None] * np.pi
    longitude = ((np.arange(256) + 0.5) / 256 - 0.5)[None, :] * 2 * np.pi
    x, y, z = np.cos(latitude) * np.sin(longitude), np.sin(latitude), np.cos(latitude) * np.cos(longitude)
    log2 = 2 * x - y + 0.5 * z
    world = panorama_from_linear("plane", np.repeat(np.exp2(log2)[..., None], 3, -1).astype(np.float32))
    for pitch in (90, -90, 40):
        path = camera_path(1, yaw_deg=30, pitch_deg=pitch, focal_px=60)
        down = np.stack(
            np.broadcast_arrays(np.arange(-20, 21)[None, :] / 60, np.arange(-20, 21)[:, None] / 60, 1.0), -1
        )
        rays = down / np.linalg.norm(down, axis=-1, keepdims=True) @ path.rotations[0].T
        expected = rays @ (2, -1, 0.5)
        seen = np.log2(render(world, path, 0, 41, 41)[..., 0])
        np.testing.assert_allclose(seen, expected, atol=2e-4)


def fine_checker(height: int = 128) -> Image:
    rows, columns = np.mgrid[:height, : 2 * height]
    return np.repeat(np.where((rows // 2 + columns // 2) % 2, 4.0, 0.25)[..., None], 3, axis=-1).astype(np.float32)


def test_supersampling_comes_near_to_what_a_sensor_would_see() -> None:
    world = panorama_from_linear("checker", fine_checker())
    path = camera_path(1, yaw_deg=3, pitch_deg=7, roll_deg=11, focal_px=0.8 * world.pixels_per_radian)
    brute = look(world, path.rotations[0], 16 * path.focal_px[0], 16 * 24, 16 * 32, supersample=1)
    sensor = brute.reshape(3, 24, 16, 32, 16).mean(axis=(2, 4)).transpose(1, 2, 0)
    error = {n: np.abs(render(world, path, 0, 24, 32, n) - sensor).mean() for n in (None, 1, 2, 4)}
    assert error[None] == error[2]
    assert error[2] < 0.25 * error[1]
    assert error[4] < 0.5 * error[2]


def test_views_are_supersampled_where_they_would_alias() -> None:
    world = panorama_from_linear("checker", fine_checker())
    for times, expected in ((0.5, 3), (0.75, 2), (1.4, 2), (1.6, 1), (6, 1)):
        path = camera_path(1, pitch_deg=5, focal_px=times * world.pixels_per_radian)
        seen = render(world, path, 0, 16, 16)
        np.testing.assert_array_equal(seen, render(world, path, 0, 16, 16, expected))
        assert not np.array_equal(seen, render(world, path, 0, 16, 16, expected + 1))


def test_a_lens_shows_what_its_rays_say(world: Panorama) -> None:
    straight = camera_path(1, yaw_deg=20, pitch_deg=-8, focal_px=60)
    bent = CameraPath(straight.rotations, straight.focal_px, lens=Lens(distortion=-0.3))
    seen, pinhole = np.log2(render(world, bent, 0, 41, 61, 1)), np.log2(render(world, straight, 0, 81, 101, 1))
    half_diagonal = np.hypot(41, 61) / 2
    for y, x in ((20, 30), (2, 5), (35, 50), (0, 60)):
        point = np.array((x - 30, y - 20))
        place = point / (1 - 0.3 * (point @ point) / half_diagonal**2) + (50, 40)
        expected = cv2.remap(pinhole, *np.float32(place[:, None, None]), cv2.INTER_LINEAR)[0, 0]
        np.testing.assert_allclose(seen[y, x], expected, atol=0.03)
    assert np.abs(seen - pinhole[20:61, 20:81])[:3].mean() > 0.2


def test_the_exposure_of_a_frame_is_what_its_stops_say(world: Panorama) -> None:
    steady = camera_path(3, yaw_deg=20, focal_px=60)
    rolling = CameraPath(steady.rotations, steady.focal_px, np.array((0, 1.0, -0.5)))
    for frame, factor in enumerate((1, 2, 2**-0.5)):
        ratio = render(world, rolling, frame, 16, 24) / render(world, steady, frame, 16, 24)
        np.testing.assert_allclose(ratio, factor, rtol=1e-6)


def test_an_open_shutter_averages_what_passes_meanwhile(world: Panorama) -> None:
    sharp = camera_path(3, yaw_deg=20, focal_px=60, pan_px=(8, 0))
    blurred = render(world, CameraPath(sharp.rotations, sharp.focal_px, shutter=0.5), 1, 24, 32)
    # Brute force: the same pan filmed at 64 times the rate, of which the middle half of the interval is averaged.
    fast = camera_path(129, yaw_deg=20, focal_px=60, pan_px=(8 / 64, 0))
    average = np.mean([render(world, fast, t, 24, 32) for t in range(48, 81)], axis=0)
    still = render(world, sharp, 1, 24, 32)
    assert np.abs(blurred / average - 1).mean() < 0.1 * np.abs(still / average - 1).mean()
    stopped = CameraPath(sharp.rotations[:1], sharp.focal_px[:1], shutter=0.5)
    np.testing.assert_array_equal(render(world, stopped, 0, 24, 32), render(world, sharp, 0, 24, 32))


@pytest.mark.parametrize("distortion", [-0.3, 0.25])
def test_exact_flow_carries_frames_through_a_lens(world: Panorama, distortion: float) -> None:
    pinhole = camera_path(2, yaw_deg=20, pitch_deg=12, focal_px=60, pan_px=(5, -3), roll_rate_deg=2, zoom=1.02)
    path = CameraPath(pinhole.rotations, pinhole.focal_px, lens=Lens(distortion))
    views = [torch.from_numpy(np.log2(render(world, path, t, 72, 96))).permute(2, 0, 1)[None] for t in range(2)]

    def missed(flow_px: Image) -> float:
        carried, inside = warp(views[0], torch.from_numpy(flow_px).permute(2, 0, 1)[None])
        error = (carried - views[1]).abs()[..., 3:-3, 3:-3]
        return float(error[inside[..., 3:-3, 3:-3].expand_as(error)].mean())

    assert missed(path.flow(1, 72, 96)) < 0.01
    assert missed(path.flow(1, 72, 96)) < 0.3 * missed(pinhole.flow(1, 72, 96))


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    pixels = soft_noise(16).astype(np.float16).astype(np.float32)
    pixels[0, 0] = (np.inf, 1, 2)
    pixels[1, 1] = (np.nan, -3, 2)
    write_file(tmp_path / "place.exr", pixels)
    world = load_panorama(tmp_path / "place.exr")
    assert world.name == "place"
    assert world.pixels_per_radian == pytest.approx(32 / (2 * np.pi))
    assert np.isfinite(world.log2_rgb).all()
    pixels[0, 0, 0], pixels[1, 1, :2] = 65504, 2.0**-24
    read = panorama_from_linear("as it should be", pixels)
    np.testing.assert_allclose(world.spline_log2, read.spline_log2, atol=0.01)
    assert world.log2_median == pytest.approx(np.median(np.log2(pixels.mean(axis=-1))), abs=1e-3)


def test_a_fourth_channel_is_left_out(tmp_path: Path) -> None:
    pixels = np.concatenate((soft_noise(8), np.zeros((8, 16, 1), np.float32)), axis=-1)
    write_file(tmp_path / "rgba.exr", pixels)
    assert load_panorama(tmp_path / "rgba.exr").log2_rgb.shape == (8, 16, 3)


@pytest.mark.parametrize("kind", ["missing", "text", "cut short", "folder", "grey"])
def test_what_is_no_panorama_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bad.exr"
    if kind == "text":
        path.write_text("not a picture")
    elif kind == "cut short":
        write_file(path, soft_noise(64))
        path.write_bytes(path.read_bytes()[:2000])
    elif kind == "folder":
        path.mkdir()
    elif kind == "grey":
        write_file(path, soft_noise(8)[..., :1].copy())
    with pytest.raises(FrameError, match=r"bad\.exr: "):
        load_panorama(path)


@pytest.mark.parametrize("layer", ["", "rgba."])
def test_channels_are_known_by_name(tmp_path: Path, layer: str) -> None:
    light = soft_noise(8)
    planes = {"AO.Y": light[..., 0] * 0, **{layer + name: light[..., "RGB".index(name)] for name in "BGR"}}
    write_file(tmp_path / "layers.exr", np.stack(list(planes.values()), axis=-1), tuple(planes), "float")
    expected = panorama_from_linear("", light)
    np.testing.assert_array_equal(load_panorama(tmp_path / "layers.exr").spline_log2, expected.spline_log2)


def test_of_unnamed_channels_the_first_three_count(tmp_path: Path) -> None:
    light = np.concatenate((soft_noise(8), np.zeros((8, 16, 1), np.float32)), axis=-1)
    write_file(tmp_path / "other.exr", light, ("a.1", "a.2", "a.3", "b.R"), "float")
    expected = panorama_from_linear("", light[..., :3])
    np.testing.assert_array_equal(load_panorama(tmp_path / "other.exr").spline_log2, expected.spline_log2)


def ramp() -> Image:
    """(64, 512, 3): a sky from 0.1 to 4.3, of a colour, and a black row."""
    light = np.linspace(0.1, 4.3, 512, dtype=np.float32)[None, :, None] * np.float32([0.4, 0.7, 1.0])
    light = np.repeat(light, 64, axis=0)
    light[5] = 0
    return light


def test_radiance_files_are_without_bands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    light = ramp()
    write_file(tmp_path / "sky.hdr", light, kind="float")
    file = oiio.ImageInput.open(str(tmp_path / "sky.hdr"))
    stored = np.asarray(file.read_image(0, 0, 0, 3, oiio.FLOAT))
    file.close()
    # The step as the file itself shows it: from one value of the largest channel to the next, octave by octave.
    levels = np.unique(stored[..., 2])
    step = np.zeros(stored.shape[:2])
    for octave in range(-4, 3):
        inside = levels[(levels >= 2.0**octave) & (levels < 2.0 ** (octave + 1))]
        step[(stored[..., 2] >= 2.0**octave) & (stored[..., 2] < 2.0 ** (octave + 1))] = np.diff(inside).min()
    loaded = as_loaded(tmp_path / "sky.hdr", monkeypatch)
    assert np.unique(loaded[..., 2]).size > 20 * levels.size
    lit = step > 0
    assert 0.98 < lit.mean() < 1
    added = ((loaded - stored)[lit] / step[lit][:, None]).astype(np.float64)
    assert 0 <= added.min() < 0.01
    assert 0.99 < added.max() <= 1
    # A uniform share has a mean of 1/2; the light itself was anywhere in the step, too.
    missed = ((loaded - light)[lit] / step[lit][:, None]).mean(axis=0)
    np.testing.assert_allclose(missed, 0, atol=0.02)
    assert np.abs(((stored - light)[lit] / step[lit][:, None]).mean(axis=0)).min() > 0.4
    assert not loaded[5].any()


def test_the_same_radiance_file_is_the_same_panorama(tmp_path: Path) -> None:
    write_file(tmp_path / "a.hdr", ramp(), kind="float")
    (tmp_path / "b.hdr").write_bytes((tmp_path / "a.hdr").read_bytes())
    write_file(tmp_path / "c.hdr", ramp()[::-1].copy(), kind="float")
    a, again, b, c = (load_panorama(tmp_path / f"{name}.hdr").spline_log2 for name in "aabc")
    np.testing.assert_array_equal(a, again)
    np.testing.assert_array_equal(a, b)
    # Another file has another share in every pixel.
    assert np.mean(a == c[:, ::-1]) < 0.2


def test_other_files_keep_their_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_file(tmp_path / "sky.exr", ramp(), kind="float")
    np.testing.assert_array_equal(as_loaded(tmp_path / "sky.exr", monkeypatch), ramp())
