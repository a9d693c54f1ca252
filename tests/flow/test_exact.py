"""Flow from geometry, against closed forms and against one ray at a time."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from flow import rotation_flow, view_rays

Matrix = NDArray[np.float64]


def yaw(degrees: float) -> Matrix:
    """The camera turned right."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def pitch(degrees: float) -> Matrix:
    """The camera turned down."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[1, 0, 0], [0, c, s], [0, -s, c]])


def roll(degrees: float) -> Matrix:
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def test_rays_go_through_the_pixel_centres() -> None:
    rays = view_rays(5, 8, 4.0)
    assert rays.shape == (5, 8, 3)
    np.testing.assert_allclose(rays[2, 0], (-3.5 / 4, 0, 1))
    np.testing.assert_allclose(rays[4, 7], (3.5 / 4, 0.5, 1))


def test_a_still_camera_has_no_flow() -> None:
    turned = yaw(31) @ pitch(-12)
    flow = rotation_flow(17, 23, 40.0, turned, 40.0, turned)
    assert flow.dtype == np.float32
    np.testing.assert_allclose(flow, 0, atol=1e-5)


@pytest.mark.parametrize("degrees", [-7.0, 0.5, 20.0])
def test_yaw_and_pitch_at_the_centre(degrees: float) -> None:
    expected = 50 * np.tan(np.deg2rad(degrees))
    # What the camera sees in the middle after turning right was on the right before.
    right = rotation_flow(21, 31, 50.0, yaw(degrees), 50.0, np.eye(3))
    np.testing.assert_allclose(right[10, 15], (expected, 0), atol=1e-4)
    down = rotation_flow(21, 31, 50.0, pitch(degrees), 50.0, np.eye(3))
    np.testing.assert_allclose(down[10, 15], (0, expected), atol=1e-4)


def test_zoom_moves_everything_from_the_centre() -> None:
    flow = rotation_flow(11, 15, 60.0, np.eye(3), 40.0, np.eye(3))
    y, x = np.mgrid[:11, :15]
    np.testing.assert_allclose(flow, np.stack(((x - 7) * (40 / 60 - 1), (y - 5) * (40 / 60 - 1)), -1), atol=1e-5)


def test_roll_turns_the_picture_about_its_centre() -> None:
    flow = rotation_flow(11, 15, 30.0, roll(10), 30.0, np.eye(3))
    y, x = np.mgrid[:11, :15] - np.array([5, 7])[:, None, None]
    was = roll(10)[:2, :2] @ np.stack((x.ravel(), y.ravel()))
    np.testing.assert_allclose(flow.reshape(-1, 2).T, was - np.stack((x.ravel(), y.ravel())), atol=1e-5)


def test_one_ray_at_a_time() -> None:
    now, before = yaw(13) @ pitch(5) @ roll(-4), yaw(9) @ pitch(8) @ roll(2)
    height, width, focal, focal_before = 9, 12, 14.0, 15.5
    flow = rotation_flow(height, width, focal, now, focal_before, before)
    for y in range(height):
        for x in range(width):
            ray = np.array([(x - 5.5) / focal, (y - 4) / focal, 1.0])
            world = now @ ray
            local = np.linalg.solve(before, world)
            was = local[:2] / local[2] * focal_before + (5.5, 4)
            np.testing.assert_allclose(flow[y, x], was - (x, y), atol=1e-4)


def test_there_and_back_again() -> None:
    now, before = yaw(3), pitch(2)
    there = rotation_flow(15, 21, 80.0, now, 80.0, before)
    # Rotations that differ from each other by their inverse: the centre's flow is undone up to second order.
    back = rotation_flow(15, 21, 80.0, before, 80.0, now)
    np.testing.assert_allclose(there[7, 10], -back[7, 10], rtol=0.1)


@pytest.mark.parametrize("size", [(15, 21), (16, 22)])
@pytest.mark.parametrize("degrees", [180.0, 150.0, -120.0])
def test_what_was_behind_the_camera_points_far_outside(size: tuple[int, int], degrees: float) -> None:
    height, width = size
    flow = rotation_flow(height, width, 20.0, yaw(degrees), 20.0, np.eye(3))
    assert np.isfinite(flow).all()
    x = flow[..., 0] + np.arange(width)
    y = flow[..., 1] + np.arange(height)[:, None]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    assert not inside.any()


def undistorted(point: Matrix, distortion: float, half_diagonal: float) -> Matrix:
    """The division model as it is written down, for one point relative to the middle."""
    radius = np.hypot(*point) / half_diagonal
    return point / (1 + distortion * radius**2)


def distorted(point: Matrix, distortion: float, half_diagonal: float) -> Matrix:
    """Its inverse by bisection along the ray from the middle."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        reached = undistorted(point / np.hypot(*point) * middle * half_diagonal, distortion, half_diagonal)
        low, high = (middle, high) if np.hypot(*reached) < np.hypot(*point) else (low, middle)
    return point / np.hypot(*point) * low * half_diagonal


@pytest.mark.parametrize("distortion", [-0.4, -0.1, 0.1, 0.3])
def test_a_lens_bends_rays_by_the_division_model(distortion: float) -> None:
    rays = view_rays(12, 16, 20.0, distortion)
    for y, x in ((0, 0), (3, 11), (11, 15)):
        point = undistorted(np.array((x - 7.5, y - 5.5)), distortion, 10.0)
        np.testing.assert_allclose(rays[y, x, :2] / rays[y, x, 2], point / 20, rtol=1e-12)
    # Barrel: the corners look farther out than a pinhole's.
    corner = np.hypot(*(rays[0, 0, :2] / rays[0, 0, 2]))
    assert (corner > np.hypot(7.5, 5.5) / 20) == (distortion < 0)


@pytest.mark.parametrize("distortion", [-0.4, -0.1, 0.1, 0.3])
def test_flow_through_a_lens_is_what_numerical_inversion_finds(distortion: float) -> None:
    now, before = yaw(13) @ pitch(5) @ roll(-4), yaw(9) @ pitch(8) @ roll(2)
    height, width, focal, focal_before = 12, 16, 20.0, 21.0
    flow = rotation_flow(height, width, focal, now, focal_before, before, distortion)
    half_diagonal = np.hypot(height, width) / 2
    checked = 0
    for y in range(height):
        for x in range(width):
            point = undistorted(np.array((x - 7.5, y - 5.5)), distortion, half_diagonal)
            local = before.T @ now @ np.array((*(point / focal), 1.0))
            was = distorted(local[:2] / local[2] * focal_before, distortion, half_diagonal)
            if np.hypot(*was) < half_diagonal * 0.999:  # the bisection looks no farther than the corners
                np.testing.assert_allclose(flow[y, x], was - (x - 7.5, y - 5.5), atol=1e-5)
                checked += 1
    assert checked > 100


@pytest.mark.parametrize("distortion", [-0.5, 0.4])
def test_a_lens_and_back_is_where_it_was(distortion: float) -> None:
    # Nearly the same view twice: out through the lens and in again.
    turned = yaw(31) @ pitch(-12)
    flow = rotation_flow(40, 60, 35.0, turned, 35.0, turned @ yaw(1e-9), distortion)
    np.testing.assert_allclose(flow, 0, atol=1e-5)


def test_the_same_view_has_no_flow_to_the_last_bit() -> None:
    turned = yaw(31) @ pitch(-12)
    assert not rotation_flow(17, 23, 40.0, turned, 40.0, turned.copy(), 0.2).any()
    assert rotation_flow(17, 23, 40.0, turned, 40.1, turned, 0.2).any()


def test_a_pincushion_never_saw_what_lies_beyond_its_fold() -> None:
    # Radius 1 / (2·sqrt(λ)) of the undistorted picture is the farthest it can show.
    distortion, focal, half_diagonal = 0.5, 20.0, np.hypot(21, 31) / 2
    farthest = np.arctan(half_diagonal / (2 * np.sqrt(distortion)) / focal)
    for share, seen in ((0.95, True), (1.05, False)):
        angle = float(np.rad2deg(farthest * share))
        flow = rotation_flow(21, 31, focal, yaw(angle), focal, np.eye(3), distortion)
        assert (np.abs(flow[10, 15]).max() < 1e3) == seen


@pytest.mark.parametrize("distortion", [-1.0, 1.0, 1.5, float("nan")])
def test_a_lens_that_folds_the_picture_is_refused(distortion: float) -> None:
    with pytest.raises(ValueError, match="distortion"):
        view_rays(8, 8, 10.0, distortion)
    with pytest.raises(ValueError, match="distortion"):
        rotation_flow(8, 8, 10.0, yaw(3), 10.0, np.eye(3), distortion)
