"""A memory follows the light of the whole picture, and nothing less than the whole picture."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from seqhdr.model.levelling import level_memory

H, W = 96, 160


def half_width(*values: float) -> Tensor:
    return torch.tensor(values).view(-1, 1, 1, 1)


def memory(seed: int = 0, low: float = 30.0, high: float = 200.0) -> Tensor:
    """(1, 3, H, W) values: soft gradients over the range, a little texture, each channel of its own."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.linspace(0, 1, H), torch.linspace(0, 1, W), indexing="ij")
    soft = torch.stack((x, (x + y) / 2, 1 - y)) + 0.05 * torch.randn(3, H, W, generator=generator)
    return (low + (high - low) * soft.clamp(0, 1))[None]


def everywhere(codes: Tensor) -> Tensor:
    return torch.ones_like(codes[:, :1], dtype=torch.bool)


def changed(before: Tensor, change: str) -> Tensor:
    """The same picture in another light: log codes are shifted, display codes multiplied."""
    gains = torch.tensor([0.85, 0.9, 0.93]).view(1, 3, 1, 1)
    shifts = torch.tensor([20.0, -14.0, 9.0]).view(1, 3, 1, 1)
    return before + shifts if change == "log" else before * gains


@pytest.mark.parametrize("change", ["log", "display"])
@pytest.mark.parametrize("lost", [0.0, 0.33])
def test_a_change_of_exposure_is_recovered_whatever_else_a_third_shows(change: str, lost: float) -> None:
    before = memory()
    after = changed(before, change)
    codes = after.round()
    codes[..., : int(lost * W)] = memory(9).flip(3)[..., : int(lost * W)].round()
    levelled = level_memory(before, codes, everywhere(codes), half_width(0.5), 255.0)
    # Of changes from 9 to 30 codes less than half a code is left, in the lost third too.
    torch.testing.assert_close(levelled, after, atol=0.45, rtol=0)
    assert (levelled - after).abs().mean() < 0.2


def test_a_shift_is_found_to_the_last_digits() -> None:
    before = memory()
    levelled = level_memory(before, before + 12, everywhere(before), half_width(0.5), 255.0)
    torch.testing.assert_close(levelled, before + 12, atol=1e-3, rtol=0)


@pytest.mark.parametrize(("w", "shift"), [(0.5, 0.45), (0.5, -0.45), (2.0, 1.9)])
def test_a_change_below_a_half_width_changes_no_bit(w: float, shift: float) -> None:
    before = memory()
    assert torch.equal(level_memory(before, before + shift, everywhere(before), half_width(w), 255.0), before)


def test_rounding_alone_changes_no_bit() -> None:
    before = memory()
    assert torch.equal(level_memory(before, before.round(), everywhere(before), half_width(0.5), 255.0), before)


@pytest.mark.parametrize(("widths", "share"), [(1.25, 0.25), (1.5, 0.5), (2.0, 1.0), (3.0, 1.0)])
def test_between_one_and_two_half_widths_it_is_followed_ever_more(widths: float, share: float) -> None:
    before, w = memory(), 2.0
    levelled = level_memory(before, before + widths * w, everywhere(before), half_width(w), 255.0)
    torch.testing.assert_close(levelled - before, torch.full_like(before, share * widths * w), atol=2e-3, rtol=0)


def test_a_picture_in_which_no_line_fits_half_is_left_alone() -> None:
    before = memory()
    scattered = before + 240 * (torch.rand(before.shape, generator=torch.Generator().manual_seed(4)) - 0.5)
    chance = torch.rand(before.shape, generator=torch.Generator().manual_seed(5))
    for share, shift in ((0.4, 0.0), (0.6, 20.0)):
        codes = torch.where(chance < share, before + 20, scattered)
        levelled = level_memory(before, codes, everywhere(before), half_width(0.5), 255.0)
        torch.testing.assert_close(levelled, before + shift, atol=0.6 if shift else 0, rtol=0)


def test_within_wide_bins_codes_may_stray_further() -> None:
    """Codes that stray by 15 belong to a line where w is 4, and to none where it is half a code."""
    before = memory()
    codes = before + 20 + 30 * (torch.rand(before.shape, generator=torch.Generator().manual_seed(6)) - 0.5)
    wide, narrow = (level_memory(before, codes, everywhere(before), half_width(w), 255.0) for w in (4.0, 0.5))
    torch.testing.assert_close(wide, before + 20, atol=0.6, rtol=0)
    assert torch.equal(narrow, before)


def test_only_what_counts_is_looked_at() -> None:
    before = memory()
    codes = before + 40
    codes[..., : W * 3 // 4] = 7
    counts = everywhere(codes)
    counts[..., : W * 3 // 4] = False
    levelled = level_memory(before, codes, counts, half_width(0.5), 255.0)
    torch.testing.assert_close(levelled, before + 40, atol=1e-2, rtol=0)


def test_channels_count_each_for_themselves() -> None:
    before = memory()
    codes = before + 15
    counts = everywhere(codes).repeat(1, 3, 1, 1)
    counts[:, 1] = False
    levelled = level_memory(before, codes, counts, half_width(0.5), 255.0)
    assert torch.equal(levelled[:, 1], before[:, 1])
    torch.testing.assert_close(levelled[:, ::2], before[:, ::2] + 15, atol=1e-2, rtol=0)


def test_without_a_pixel_that_counts_nothing_moves() -> None:
    before = memory()
    assert torch.equal(level_memory(before, before + 15, ~everywhere(before), half_width(0.5), 255.0), before)


def test_clips_of_a_batch_are_levelled_each_for_itself() -> None:
    before = torch.cat((memory(0), memory(1), memory(2)))
    codes = torch.cat((before[:1] + 20, before[1:2] + 2.5, 0.8 * before[2:]))
    widths = half_width(0.5, 2.0, 0.5)
    together = level_memory(before, codes, everywhere(codes), widths, 255.0)
    for clip in range(3):
        part = slice(clip, clip + 1)
        alone = level_memory(before[part], codes[part], everywhere(codes[part]), widths[part], 255.0)
        torch.testing.assert_close(together[part], alone, atol=1e-3, rtol=0)
    # 2.5 codes are 1.25 of the second's half-widths: a quarter is followed.
    torch.testing.assert_close(together[1], before[1] + 2.5 / 4, atol=2e-3, rtol=0)


@pytest.mark.parametrize("change", ["log", "display"])
def test_codes_of_ten_bits_are_codes_of_eight_scaled(change: str) -> None:
    before, scale = memory(), 1023 / 255
    codes = changed(before, change)
    codes[..., :50] = memory(9).flip(3)[..., :50]
    eight = level_memory(before, codes, everywhere(codes), half_width(0.5), 255.0)
    ten = level_memory(scale * before, scale * codes, everywhere(codes), half_width(0.5 * scale), 1023.0)
    torch.testing.assert_close(ten, scale * eight, atol=0.02, rtol=0)


def test_a_large_picture_is_looked_at_here_and_there() -> None:
    before = memory().repeat(1, 1, 6, 4)
    assert before.shape[-1] * before.shape[-2] > 300_000
    codes = changed(before, "display").round()
    levelled = level_memory(before, codes, everywhere(codes), half_width(0.5), 255.0)
    torch.testing.assert_close(levelled, changed(before, "display"), atol=0.45, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 2)])
def test_a_picture_of_a_few_pixels_makes_no_nonsense(size: tuple[int, int]) -> None:
    before = memory()[..., : size[0], : size[1]].contiguous()
    levelled = level_memory(before, before + 30, everywhere(before), half_width(0.5), 255.0)
    torch.testing.assert_close(levelled, before + 30, atol=1e-3, rtol=0)
    flat = torch.full_like(before, 80.0)
    torch.testing.assert_close(level_memory(flat, flat - 30, everywhere(flat), half_width(0.5), 255.0), flat - 30)


@pytest.mark.parametrize("size", [(1, 64_000), (64_000, 1), (2, 128_000)])
def test_strips_are_pictures_too(size: tuple[int, int]) -> None:
    codes = torch.linspace(20, 200, max(size)).expand(1, 3, *(size if size[1] > 2 else size[::-1]))
    codes = codes if size[1] > 2 else codes.transpose(2, 3)
    counts = torch.ones_like(codes[:, :1], dtype=torch.bool)
    moved = level_memory(codes - 10, codes, counts, torch.full((1, 1, 1, 1), 0.5), 255)
    torch.testing.assert_close(moved, codes, atol=0.05, rtol=0)


@pytest.mark.parametrize(("share", "follows"), [(0.02, False), (0.2, True)])
def test_a_few_pixels_do_not_speak_for_the_picture(share: float, follows: bool) -> None:
    codes = torch.linspace(20, 200, 128).expand(1, 3, 96, 128).contiguous()
    counts = torch.rand(1, 1, 96, 128, generator=torch.Generator().manual_seed(1)) < share
    moved = level_memory(codes - 10, codes, counts, torch.full((1, 1, 1, 1), 0.5), 255)
    assert torch.equal(moved, codes - 10) != follows
