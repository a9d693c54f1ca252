"""The measures of artefacts against closed forms and plain loops: what is put in comes out, and nothing else."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from seqhdr.color.encodings import get_encoding
from seqhdr.quality.artifacts import (
    alternations_lsb,
    band_width_px,
    chroma_log,
    dilate,
    edge_band,
    grid_phasors,
    line_offsets_lsb,
    local_range,
    locked_lsb,
    rms,
    seam_jumps_lsb,
    smooth_mask,
)

HEIGHT, WIDTH = 70, 150


def gradient(height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    """(3, H, W) codes of slopes that differ from channel to channel."""
    y, x = torch.meshgrid(torch.arange(height).double(), torch.arange(width).double(), indexing="ij")
    return torch.stack((20 + 0.9 * x + 0.1 * y, 60 + 0.02 * x - 0.3 * y, 100 - 0.1 * x + 0.2 * y))


def everywhere(image: Tensor) -> Tensor:
    return torch.ones(1, *image.shape[1:], dtype=torch.bool)


def waves(period_px: float, phase: float = 0.0, height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    return torch.cos(2 * math.pi * torch.arange(width).double() / period_px + phase).expand(3, height, width)


def test_slopes_are_smooth_and_bends_edges_and_clipped_pixels_are_not() -> None:
    value = gradient()
    assert smooth_mask(value).all()
    for where, change in (((1, 30, 50), 0.06), ((0, 30, 50), 300.0), ((2, 30, 50), -500.0)):
        bent = value.clone()
        bent[where] += change
        smooth = smooth_mask(bent)
        # The bend of one pixel is seen by its neighbours too, and counts within 3 pixels of each of those.
        assert not smooth[0, 26:35, 50].any()
        assert not smooth[0, 30, 46:55].any()
        assert smooth[0, 25, 50]
        assert smooth[0, 30, 45]
        assert not smooth[0, 33, 53]
        assert smooth[0, 34, 54]


def test_what_lies_beyond_the_range_is_not_smooth_however_straight() -> None:
    assert not smooth_mask(torch.full((3, 20, 20), 254.5)).any()
    assert not smooth_mask(torch.full((3, 20, 20), 0.0)).any()
    assert smooth_mask(torch.full((3, 20, 20), 254.4))[0, 10, 10]


def test_dilate_and_local_range_agree_with_loops() -> None:
    rng = np.random.default_rng(1)
    image, mask = rng.normal(size=(2, 12, 17)), rng.random((2, 12, 17)) < 0.03
    grown, spread = np.zeros_like(mask), np.zeros_like(image)
    for c, y, x in np.ndindex(image.shape):
        around = (c, slice(max(y - 2, 0), y + 3), slice(max(x - 2, 0), x + 3))
        grown[c, y, x] = mask[around].any()
        spread[c, y, x] = np.ptp(image[around])
    assert np.array_equal(dilate(torch.from_numpy(mask), 2).numpy(), grown)
    assert np.array_equal(local_range(torch.from_numpy(image), 2).numpy(), spread)


def test_rms_is_the_root_of_the_mean_square_and_nan_of_nothing() -> None:
    assert rms(torch.tensor([3.0, -4.0])) == pytest.approx(math.sqrt(12.5))
    assert math.isnan(rms(torch.zeros(0)))


@pytest.mark.parametrize(("place", "axes"), [(0, "xy"), (1, "x"), (2, "y")])
def test_each_alternation_is_found_with_its_amplitude_on_any_slope_and_only_it(place: int, axes: str) -> None:
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    sign = 1 - 2.0 * (((x if "x" in axes else 0) + (y if "y" in axes else 0)) % 2).double()
    found = alternations_lsb(gradient() + 0.002 * (x * y).double() + 0.1 * sign, everywhere(gradient()))
    wanted = torch.zeros(3, dtype=torch.float64)
    wanted[place] = 0.1
    # 70x150 hold 4x9 windows, of which the first of each row and column touch the border; three channels.
    assert found.shape == (3, 3 * 8 * 3)
    torch.testing.assert_close(found, wanted[:, None].expand_as(found), atol=1e-12, rtol=0)


def test_alternations_of_white_noise_are_as_small_as_their_closed_form() -> None:
    noise = torch.from_numpy(np.random.default_rng(2).normal(0, 0.3, (3, 640, 640)))
    found = alternations_lsb(noise, everywhere(noise))
    # Per axis, h·s is (1, 2, 1) / 4 seen on s·noise, whose sums over a long window weigh each pixel by 1 again.
    for row in found:
        assert rms(row) == pytest.approx(0.3 / 16, rel=0.08)


def test_alternations_count_only_windows_in_the_mask_and_none_that_touches_what_is_not() -> None:
    image, smooth = gradient(), everywhere(gradient())
    smooth[:, 16, 40] = False  # at the border there is no window above that would look at it
    assert alternations_lsb(image, smooth).shape == (3, (3 * 8 - 1) * 3)
    smooth[:, 16, 40], smooth[:, 32, 40] = True, False  # the first row of a window; the one above looks at it too
    assert alternations_lsb(image, smooth).shape == (3, (3 * 8 - 2) * 3)


def test_line_offsets_of_alternating_rows_and_of_one_row() -> None:
    image, smooth = gradient(64, 96), everywhere(gradient(64, 96))
    assert float(line_offsets_lsb(image, smooth).abs().max()) < 1e-12
    rows = torch.zeros(64).double()
    rows[::2], rows[1::2] = 0.1, -0.1
    found = line_offsets_lsb(image + rows[:, None], smooth)
    assert found.shape == (3 * 60 * 3,)
    torch.testing.assert_close(found.abs(), torch.full_like(found, 0.1), atol=1e-12, rtol=0)
    rows.zero_()
    rows[30] = 0.1
    one = line_offsets_lsb(image + rows[:, None], smooth).view(3, 60, 3)
    torch.testing.assert_close(one[0, 26:31, 0] * 16, torch.tensor((0.1, -0.4, 0.6, -0.4, 0.1)).double())


def test_line_offsets_need_the_whole_piece_of_five_rows_and_32_pixels() -> None:
    image, smooth = gradient(64, 96), everywhere(gradient(64, 96))
    smooth[:, 30, 40] = False
    assert line_offsets_lsb(image, smooth).numel() == 3 * (60 * 3 - 5)
    assert line_offsets_lsb(image[:, :4], smooth[:, :4]).numel() == 0
    assert line_offsets_lsb(image[..., :31], smooth[..., :31]).numel() == 0


@pytest.mark.parametrize("period_px", [4, 8, 16, 32])
@pytest.mark.parametrize("phase", [0.0, 2.0])
def test_a_phasor_is_the_amplitude_and_phase_of_a_wave_on_any_slope(period_px: int, phase: float) -> None:
    image = gradient(2 * period_px, 9 * period_px)
    found = grid_phasors(image + 0.05 * waves(period_px, phase, *image.shape[1:]), everywhere(image), period_px)
    assert found.shape == (3, 2 * 2)
    wanted = torch.full_like(found, 0.05 * complex(math.cos(phase), math.sin(phase)))
    # The slope of best fit takes some of a wave with it.
    torch.testing.assert_close(found, wanted, atol=0.05 * 0.02, rtol=0)


def test_a_phasor_does_not_see_half_and_double_the_period() -> None:
    smooth = everywhere(gradient())
    for other in (4, 16):
        assert float(grid_phasors(0.05 * waves(other), smooth, 8).abs().max()) < 0.05 * 0.05


def test_windows_with_a_rough_pixel_do_not_count_and_too_small_frames_have_none() -> None:
    image, smooth = gradient(16, 64), everywhere(gradient(16, 64))
    smooth[0, 9, 40] = False
    assert grid_phasors(image, smooth, 8).shape == (3, 3)
    assert grid_phasors(image, smooth, 32).shape == grid_phasors(image[:, :7], smooth[:, :7], 8).shape == (3, 0)
    assert all(math.isnan(number) for number in locked_lsb(grid_phasors(image, smooth, 32)))
    with pytest.raises(ValueError, match="expected 3 or more"):
        grid_phasors(image, smooth, 2)


def test_a_grid_is_locked_whichever_sign_it_has_in_each_place() -> None:
    rng = np.random.default_rng(3)
    signs = torch.from_numpy(rng.choice((-1.0, 1.0), (1, 400)))
    phasors = (0.05 * torch.polar(signs.abs(), torch.full_like(signs, 0.7)) * signs).expand(3, 400)
    locked, _ = locked_lsb(phasors)
    assert locked == pytest.approx(0.05)


def test_random_phases_are_locked_no_more_than_chance() -> None:
    rng = np.random.default_rng(4)
    tries = []
    for _ in range(200):
        phasors = torch.polar(
            torch.full((1, 100), 0.05).double(), torch.from_numpy(rng.uniform(0, 2 * math.pi, (1, 100)))
        )
        # Channels that say the same are no further evidence.
        locked, chance = locked_lsb(phasors.expand(3, 100))
        assert chance == pytest.approx(0.05 / 100**0.25)
        tries.append(locked**4)
    spread = torch.polar(torch.ones(1, 7).double(), torch.arange(7).double()[None] * math.pi / 7)
    assert locked_lsb(spread)[0] < 1e-7
    assert np.mean(tries) ** 0.25 == pytest.approx(0.05 / 100**0.25, rel=0.15)


def test_cells_enlarged_bilinearly_leave_a_locked_grid_and_a_moved_picture_does_not() -> None:
    """What the measure is for: a bent picture, averaged over cells and enlarged again, is off by a pattern of cells."""
    y, x = torch.meshgrid(torch.arange(256).double(), torch.arange(256).double(), indexing="ij")
    bent = (40 * torch.sin(x / 23 + y / 41)).expand(3, 256, 256)
    cells = torch.nn.functional.avg_pool2d(bent[None], 8)
    enlarged = torch.nn.functional.interpolate(cells, scale_factor=8, mode="bilinear")[0]
    whole = torch.nn.functional.avg_pool2d(bent[None], 9, stride=1, padding=4, count_include_pad=False)[0]
    inner = everywhere(bent)
    inner[:, :8] = inner[:, -8:] = False
    inner[..., :8] = inner[..., -8:] = False
    locked, chance = locked_lsb(grid_phasors(enlarged - bent, inner, 8))
    smooth, _ = locked_lsb(grid_phasors(whole - bent, inner, 8))
    assert locked > 5 * chance / 2
    assert locked > 10 * smooth


def test_a_step_is_found_at_its_seam_and_nowhere_else() -> None:
    error, smooth = torch.zeros(3, 48, 100).double(), everywhere(torch.zeros(3, 48, 100))
    error[:, :, 60:] = 0.2
    at, away = seam_jumps_lsb(error, smooth, [60])
    assert at.tolist() == pytest.approx([0.2] * 9)
    assert float(away.abs().max()) == 0
    # 93 places from 4 to 96, less the 15 next to the seam.
    assert away.numel() == 9 * (93 - 15)
    at, away = seam_jumps_lsb(error, smooth, [40, 80])
    assert float(at.abs().max()) == 0
    assert float(away.max()) == pytest.approx(0.2)
    smooth[:, 5, 62] = False
    assert seam_jumps_lsb(error, smooth, [60])[0].numel() == 6


def test_the_band_of_an_edge_reaches_so_far_on_both_sides_of_every_channels_own() -> None:
    marked = torch.zeros(3, 20, 40, dtype=torch.bool)
    marked[0, :, 20:] = True
    marked[2, :, 30:] = True
    band = edge_band(marked, 4)
    assert band[10].nonzero().flatten().tolist() == [*range(16, 24), *range(26, 34)]
    assert not edge_band(torch.ones(3, 9, 9, dtype=torch.bool)).any()


def test_chroma_is_nothing_for_grey_and_a_stop_of_green_is_one_part_in_17_and_a_half() -> None:
    grey = torch.full((3, 2, 2), 0.18).double()
    assert float(chroma_log(grey).abs().max()) < 1e-12
    green = grey * torch.tensor((1.0, 2.0, 1.0)).view(3, 1, 1)
    torch.testing.assert_close(chroma_log(green), torch.full((2, 2), 1 / 17.52).double())
    purple = grey * torch.tensor((2.0, 1.0, 1.0)).view(3, 1, 1)
    torch.testing.assert_close(chroma_log(purple), torch.full((2, 2), -0.5 / 17.52).double())
    assert get_encoding("acescct").encode(grey).shape == grey.shape


def test_bands_are_as_wide_as_the_slope_says_and_endless_where_there_is_none() -> None:
    y, x = torch.meshgrid(torch.arange(9).double(), torch.arange(11).double(), indexing="ij")
    widths = band_width_px(torch.stack((0.03 * x + 0.04 * y, 0.1 * x, 0 * x)))
    torch.testing.assert_close(widths[0], torch.full((9, 11), 20.0).double())
    torch.testing.assert_close(widths[1], torch.full((9, 11), 10.0).double())
    assert torch.isinf(widths[2]).all()


@pytest.mark.parametrize("size", [(3, 100), (48, 7)])
def test_a_frame_too_small_for_a_step_has_none(size: tuple[int, int]) -> None:
    error = torch.zeros(3, *size).double()
    at, away = seam_jumps_lsb(error, everywhere(error.float()), [4])
    assert at.shape == away.shape == (0,)
