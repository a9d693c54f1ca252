"""Thumbnails against the sRGB curve, heat maps against the lightness of their colours."""

from __future__ import annotations

import itertools
from typing import Any

import cv2
import numpy as np
import pytest

from seqhdr.quality.thumbnails import heat_legend, heat_map, thumbnail

Image = np.ndarray[Any, np.dtype[Any]]


def decoded(data: bytes) -> Image:
    """(H, W, 3 or 4), red first."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA if image.shape[2] == 4 else cv2.COLOR_BGR2RGB)


def flat(*rgb: float) -> Image:
    return np.full((32, 48, 3), rgb, np.float32)


def shown(*rgb: float) -> list[int]:
    return [int(v) for v in decoded(thumbnail(flat(*rgb), 48))[16, 24]]


@pytest.mark.parametrize(("size", "wide", "expected"), [((864, 1536), 200, (112, 200)), ((30, 40), 200, (30, 40))])
def test_thumbnails_have_the_wanted_width_but_are_never_enlarged(
    size: tuple[int, int], wide: int, expected: tuple[int, int]
) -> None:
    data = thumbnail(np.zeros((*size, 3), np.float32), wide)
    assert data.startswith(b"\xff\xd8")
    assert decoded(data).shape[:2] == expected


def test_a_strip_keeps_a_row() -> None:
    assert decoded(thumbnail(np.ones((2, 2000, 3), np.float32), 100)).shape[:2] == (1, 100)


def test_mid_grey_is_where_srgb_says() -> None:
    # 1.055 · 0.18^(1/2.4) - 0.055 = 0.4614, 118 of 255.
    assert shown(0.18, 0.18, 0.18) == pytest.approx([118] * 3, abs=1)
    # The toe: 12.92 · 0.002 · 255 = 6.6.
    assert shown(0.002, 0.002, 0.002) == pytest.approx([7] * 3, abs=1)


@pytest.mark.parametrize(("light", "rolled"), [(0.6, 0.6), (1.0, 0.8), (4.0, 0.6 + 0.4 * 8.5 / 9.5)])
def test_highlights_roll_off_as_the_formula_says(light: float, rolled: float) -> None:
    code = 255 * (1.055 * rolled ** (1 / 2.4) - 0.055)
    assert shown(light, light, light) == pytest.approx([code] * 3, abs=1.5)


def test_highlights_of_any_height_can_be_told_apart_and_grow() -> None:
    codes = [shown(light, light, light)[1] for light in (0.5, 0.7, 1, 2, 4, 16)]
    assert all(a < b for a, b in itertools.pairwise(codes))


def test_a_bright_lamp_keeps_its_hue() -> None:
    red, green, blue = shown(8.0, 4.0, 2.0)
    linear = [((code / 255 + 0.055) / 1.055) ** 2.4 for code in (red, green, blue)]
    assert linear[1] / linear[0] == pytest.approx(0.5, rel=0.04)
    assert linear[2] / linear[0] == pytest.approx(0.25, rel=0.06)


def test_light_is_averaged_before_the_curve() -> None:
    lines = np.zeros((64, 64, 3), np.float32)
    lines[:, ::2] = 0.36
    assert decoded(thumbnail(lines, 32))[16, 16] == pytest.approx([118] * 3, abs=2)


def test_what_is_no_light_is_black_and_infinity_is_white() -> None:
    assert shown(np.nan, -5, 0) == pytest.approx([0, 0, 0], abs=2)
    assert min(shown(np.inf, np.inf, np.inf)) >= 253
    assert max(shown(-np.inf, -np.inf, -np.inf)) <= 1


def test_light_near_the_end_of_float32_is_white() -> None:
    largest = float(np.finfo(np.float32).max)
    assert shown(largest, largest, largest) == [255, 255, 255]


def test_half_frames_are_taken_as_they_are_and_left_alone() -> None:
    frame = np.full((20, 20, 3), 0.18, np.float16)
    assert decoded(thumbnail(frame, 10))[5, 5] == pytest.approx([118] * 3, abs=1)
    light = flat(0.2, -1.0, np.nan)
    before = light.copy()
    thumbnail(light, 48)
    assert np.array_equal(light, before, equal_nan=True)


def test_heat_grows_lighter_step_by_step() -> None:
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None].repeat(4, 0)
    colours = decoded(heat_map(ramp, 1.0))[0, :, :3].astype(np.float32) / 255
    lightness = cv2.cvtColor(colours[None], cv2.COLOR_RGB2Lab)[0, :, 0]
    steps = np.diff(lightness[::8])
    assert (steps > 0).all()
    # Perceptual: no step is much larger than another, but for the end where black comes out of nothing.
    assert steps.max() < 2.5 * np.median(steps)
    assert lightness[0] < 2
    assert lightness[-1] > 90


def test_heat_is_scaled_to_its_limit_and_held_beyond() -> None:
    values = np.array([[0.0, 0.01, 0.02, 0.5, np.inf, -1.0]], np.float32)
    row = decoded(heat_map(values, 0.02))[0]
    assert np.array_equal(row[2], row[3])
    assert np.array_equal(row[2], row[4])
    assert np.array_equal(row[0], row[5])
    middle = decoded(heat_map(np.array([[0.5]], np.float32), 1.0))[0, 0]
    assert np.array_equal(row[1], middle)


def test_what_was_not_counted_is_transparent() -> None:
    image = decoded(heat_map(np.array([[np.nan, 0.0], [1.0, np.nan]], np.float32), 1.0))
    assert image.shape == (2, 2, 4)
    assert image[..., 3].tolist() == [[0, 255], [255, 0]]


def test_the_legend_shows_the_colours_of_the_map_and_its_limit() -> None:
    legend = heat_legend(0.02, "stop")
    first, last = (decoded(heat_map(np.array([[v]], np.float32), 1.0))[0, 0, :3] for v in (0.0, 1.0))
    for colour in (first, last):
        assert f"rgb({colour[0]}, {colour[1]}, {colour[2]})" in legend
    assert "0.02\u202fstop and more" in legend
    assert "&lt;b&gt;" in heat_legend(1, "<b>")


def test_wrong_shapes_and_limits_are_bugs() -> None:
    with pytest.raises(ValueError, match=r"expected \(H, W, 3\)"):
        thumbnail(np.zeros((4, 4), np.float32), 4)
    with pytest.raises(ValueError, match=r"expected \(h, w\), above 0"):
        heat_map(np.zeros((4, 4), np.float32), 0.0)
    with pytest.raises(ValueError, match=r"expected \(h, w\), above 0"):
        heat_map(np.zeros((4, 4, 3), np.float32), 1.0)
