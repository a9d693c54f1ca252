"""Camera paths: what they say of themselves, what their flow is, and what chance makes of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from seqhdr.errors import UnknownNameError, UsageError
from seqhdr.train.camera import MOVES, CameraConfig, CameraPath, Lens, camera_path, draw_path

PPR, SIDE = 163.0, 64
STILL = CameraConfig(roll_rate_share=0.0)


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


def only(move: str, config: CameraConfig = STILL) -> CameraConfig:
    return dataclasses.replace(config, moves={move: 1.0})


def paths(config: CameraConfig, count: int, frames: int = 24) -> list[CameraPath]:
    rng = np.random.default_rng(11)
    return [draw_path(rng, config, frames, PPR, SIDE, SIDE) for _ in range(count)]


def speeds_px(path: CameraPath) -> NDArray[np.float64]:
    """How far the middle of the picture moves, per frame, from the angle between view axes."""
    forward = path.rotations[:, :, 2]
    turned = np.linalg.norm(np.cross(forward[1:], forward[:-1]), axis=-1)
    return np.arcsin(np.minimum(turned, 1)) * path.focal_px[0]


def test_the_same_seed_draws_the_same_bytes() -> None:
    config = CameraConfig(exposure_change_share=0.5, distortion=0.2, vignette=0.5, shutter=0.5)
    for first, second in zip(paths(config, 20), paths(config, 20), strict=True):
        assert first.rotations.tobytes() == second.rotations.tobytes()
        assert first.focal_px.tobytes() == second.focal_px.tobytes()
        assert first.exposure_stops.tobytes() == second.exposure_stops.tobytes()
        assert (first.lens, first.shutter) == (second.lens, second.shutter)
    starts = {path.rotations[0].tobytes() for path in paths(config, 20)}
    assert len(starts) == 20


def test_a_static_camera_is_static() -> None:
    for path in paths(only("static", CameraConfig()), 5):
        assert np.ptp(path.rotations, axis=0).max() == 0
        assert np.ptp(path.focal_px) == 0
        assert not path.flow(5, 16, 16).any()


@pytest.mark.parametrize("move", ["pan", "handheld", "zoom", "whip"])
def test_every_other_camera_moves(move: str) -> None:
    for path in paths(only(move), 10):
        assert path.flow(12, 16, 16).any()
        np.testing.assert_allclose(path.rotations @ path.rotations.transpose(0, 2, 1), [np.eye(3)] * 24, atol=1e-12)


def test_pans_cover_their_speeds_and_are_smooth() -> None:
    speeds = np.array([speeds_px(path) for path in paths(only("pan"), 300)])
    fastest = speeds.max(axis=1)
    assert 0.149 < fastest.min() < 0.2
    assert 9 < fastest.max() < 12.01
    # Even in the logarithm: half of them are slower than the middle of the range in octaves.
    assert 0.4 < np.mean(fastest < np.sqrt(0.15 * 12)) < 0.6
    assert np.abs(np.diff(speeds, axis=1)).max() < 0.5
    assert (speeds.min(axis=1) > 0.45 * fastest).all()


def test_pans_go_everywhere_as_fast_whatever_the_pitch() -> None:
    steep = dataclasses.replace(only("pan"), pitch_deg=1000.0, speed_px=(3, 3))
    fast = np.array([speeds_px(path).max() for path in paths(steep, 40)])
    # Yaw about the vertical would be four times too slow at the steepest pitch.
    np.testing.assert_allclose(fast, 3, rtol=0.03)
    flows = np.array([path.flow(12, 3, 3)[1, 1] for path in paths(only("pan"), 80)])
    quadrants = {(x > 0, y > 0) for x, y in flows}
    assert len(quadrants) == 4


def test_a_whip_whips() -> None:
    first_fast = set()
    for path in paths(only("whip"), 60):
        speed = speeds_px(path)
        fast = speed > 0.45 * speed.max()
        assert 19.9 < speed.max() < 60.1
        assert 1 <= fast.sum() <= 4
        # One burst, slow before and after it.
        assert np.abs(np.diff(np.pad(fast.astype(int), 1))).sum() == 2
        assert np.sort(speed)[: 23 - 4].max() <= 0.11 * speed.max()
        first_fast.add(int(np.argmax(fast)))
    assert len(first_fast) > 8


def test_hands_sway_about_a_pan() -> None:
    config = dataclasses.replace(only("handheld"), speed_px=(0.2, 0.2), jitter_px=(1.5, 1.5))
    pans = dataclasses.replace(only("pan"), speed_px=(0.2, 0.2))

    def unrest(path: CameraPath) -> float:
        local = path.rotations[0].T @ path.rotations[:, :, 2].T
        offset = np.arctan2(local[:2], local[2]).T * path.focal_px[0]
        time = np.arange(len(offset))
        return float(np.std(offset - np.stack([np.polyval(np.polyfit(time, o, 1), time) for o in offset.T], -1)))

    swaying = [unrest(path) for path in paths(config, 60, frames=100)]
    assert 1.0 < np.mean(swaying) < 1.7
    assert max(unrest(path) for path in paths(pans, 20, frames=100)) < 0.7 * min(swaying)


def test_zooms_go_both_ways_and_keep_to_the_range() -> None:
    rates = []
    for path in paths(only("zoom"), 200, frames=60):
        steps = np.diff(np.log(path.focal_px))
        np.testing.assert_allclose(steps, steps[0], atol=1e-12)
        assert path.focal_px.min() > 0.75 * PPR * 0.999
        assert path.focal_px.max() < 6 * PPR * 1.001
        rates.append(steps[0])
    assert max(rates) > 0.01
    assert min(rates) < -0.01
    assert np.abs(rates).max() <= 0.015 + 1e-9
    # A zoom that has no room turns round.
    assert np.abs(rates).min() >= 0.001 - 1e-9


def test_oversampling_covers_its_range() -> None:
    times = np.array([path.focal_px[0] / PPR for path in paths(CameraConfig(), 400, frames=1)])
    assert 0.75 <= times.min() < 0.8
    assert 5.6 < times.max() <= 6
    assert 0.4 < np.mean(times < np.sqrt(0.75 * 6)) < 0.6


def test_no_view_is_absurdly_wide() -> None:
    path = draw_path(np.random.default_rng(0), CameraConfig(), 1, 10.0, 90, 160)
    assert np.rad2deg(2 * np.arctan(80 / path.focal_px[0])) <= 120.0001


def test_moves_come_in_their_shares() -> None:
    config = dataclasses.replace(STILL, moves={"static": 1.0, "whip": 3.0})
    drawn = paths(config, 300)
    whips = np.mean([speeds_px(path).max() > 15 for path in drawn])
    stills = np.mean([np.ptp(path.rotations, axis=0).max() == 0 for path in drawn])
    assert whips + stills == 1
    assert 0.68 < whips < 0.82
    assert set(CameraConfig().moves) == set(MOVES)


def test_exposure_changes_smoothly_from_one_level_to_another() -> None:
    config = CameraConfig(exposure_change_share=0.5, exposure_change_stops=(0.5, 2.0))
    stops = np.array([path.exposure_stops for path in paths(config, 300)])
    changing = np.ptp(stops, axis=1) > 0
    assert 0.4 < changing.mean() < 0.6
    assert not stops[:, 0].any()
    moved = stops[changing]
    assert ((np.diff(moved, axis=1) >= 0).all(axis=1) | (np.diff(moved, axis=1) <= 0).all(axis=1)).all()
    assert moved.min() < -1.5
    assert moved.max() > 1.5
    assert np.abs(moved).max() <= 2
    # A smoothstep is at its steepest 1.5 times as steep as it is on average; over two frames at least.
    assert np.abs(np.diff(moved, axis=1)).max() <= 1.5


def test_a_lens_is_off_unless_asked_for() -> None:
    assert {(path.lens, path.shutter) for path in paths(CameraConfig(), 20)} == {(Lens(0, 0), 0)}
    drawn = paths(CameraConfig(distortion=0.3, vignette=0.8, shutter=0.5), 300)
    for values, limits in (
        ([path.lens.distortion for path in drawn], (-0.3, 0.3)),
        ([path.lens.vignette for path in drawn], (0, 0.8)),
        ([path.shutter for path in drawn], (0, 0.5)),
    ):
        np.testing.assert_allclose((min(values), max(values)), limits, atol=0.02)
        assert limits[0] <= min(values)
        assert max(values) <= limits[1]


def test_the_vignette_is_the_fourth_power_of_the_cosine() -> None:
    height, width, focal = 30, 41, 25.0
    path = camera_path(1, focal_px=focal)
    y, x = np.mgrid[:height, :width] - np.array((14.5, 20.0))[:, None, None]
    cosine = focal / np.sqrt(focal**2 + x**2 + y**2)
    for strength in (1.0, 0.4):
        gain = dataclasses.replace(path, lens=Lens(vignette=strength)).gain(0, height, width)
        np.testing.assert_allclose(gain, 1 + strength * (cosine**4 - 1), rtol=1e-5)
    np.testing.assert_array_equal(path.gain(0, height, width), 1)
    bent = dataclasses.replace(path, lens=Lens(-0.4, 1.0), exposure_stops=np.array([1.0])).gain(0, height, width)
    radius = np.hypot(14.5, 20) / (1 - 0.4 * (14.5**2 + 20**2) / (15**2 + 20.5**2))
    np.testing.assert_allclose(bent[0, 0], 2 * np.cos(np.arctan(radius / focal)) ** 4, rtol=1e-5)


def test_between_frames_the_camera_turns_steadily() -> None:
    path = camera_path(3, yaw_deg=10, focal_px=100, pan_px=(7, 0), zoom=1.1)
    per_frame = np.rad2deg(7 / 100)
    for time in (0.0, 0.25, 1.0, 1.7, 2.0, -0.3, 2.4):
        rotation, focal = path.at(time)
        expected = camera_path(1, yaw_deg=10 + time * per_frame, focal_px=1).rotations[0]
        np.testing.assert_allclose(rotation, expected, atol=1e-9)
        assert focal == pytest.approx(100 * 1.1**time)
    for frame in range(3):
        assert path.at(frame)[0].tobytes() == path.rotations[frame].tobytes()


def test_an_open_shutter_looks_once_per_pixel_of_motion() -> None:
    path = dataclasses.replace(camera_path(3, focal_px=400, pan_px=(11.6, 0)), shutter=0.5)
    speed = path.speed_px(1, 20, 30)
    assert 11.5 < speed < 11.8
    times = np.array(path.instants(1, speed))
    np.testing.assert_allclose(times, 1 + 0.5 * ((np.arange(6) + 0.5) / 6 - 0.5))
    assert len(path.instants(1, 1e9)) == 32
    assert path.instants(1, 0.0) == [1]
    assert dataclasses.replace(path, shutter=0.0).instants(2, speed) == [2]


@pytest.mark.parametrize(
    "broken",
    [
        {"moves": {}},
        {"moves": {"pan": -1.0, "zoom": 2.0}},
        {"speed_px": (0.0, 3.0)},
        {"whip_px": (60.0, 20.0)},
        {"distortion": 1.0},
        {"shutter": 1.5},
        {"vignette": -0.1},
    ],
)
def test_what_cannot_be_drawn_is_refused_by_name(broken: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(broken))):
        CameraConfig(**broken)


def test_an_unknown_move_is_offered_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean whip"):
        CameraConfig(moves={"whipp": 1.0})


@pytest.mark.parametrize("frames", [1, 2, 3])
@pytest.mark.parametrize("move", MOVES)
def test_short_shots_work_too(move: str, frames: int) -> None:
    config = dataclasses.replace(only(move), exposure_change_share=1.0)
    for path in paths(config, 20, frames):
        assert path.rotations.shape == (frames, 3, 3)
        assert len(path) == len(path.exposure_stops) == frames
        assert np.isfinite(path.rotations).all()
