"""A memory from a wrong place is found out by its mean, also where no pixel alone would tell."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from seqhdr.model.recall import recall
from seqhdr.model.source import Source


def remembered(decoded: Tensor) -> Tensor:
    return torch.cat((decoded, 0 * decoded, 1 + 0 * decoded[:, :1]), dim=1)


def slope(shift_px: float = 0.0) -> Tensor:
    """A twentieth of a code per pixel to the right: bands of 20 pixels."""
    return (100 + 0.05 * (torch.arange(160.0) + shift_px)).expand(1, 3, 96, 160).contiguous()


def believed(codes: Tensor, before: Tensor, source: Source, flow_px: Tensor) -> Tensor:
    w = source.half_width_lsb.view(-1, 1, 1, 1)
    return recall(codes, remembered(before), flow_px, w, source.max_code).valid


def trusted(source: Source, before: Tensor, codes: Tensor) -> Tensor:
    still = torch.zeros(1, 2, *codes.shape[-2:])
    return believed(codes, before, source, still)


def test_the_right_memory_of_a_slope_is_kept(source: Source) -> None:
    assert trusted(source, slope(), slope().round()).mean() > 0.99


@pytest.mark.parametrize("sign", [1, -1])
def test_one_from_eight_pixels_beside_is_not(source: Source, sign: int) -> None:
    # Wrong by 0.4 code: every pixel alone is well within three half-widths.
    assert trusted(source, slope(8.0 * sign), slope().round()).mean() < 0.1


def test_wide_bins_ask_for_more(source: Source) -> None:
    wide = Source(**{**vars(source), "half_width_lsb": torch.tensor([2.0])})
    assert trusted(wide, slope(8.0), slope().round()).mean() > 0.99
    assert trusted(wide, slope(40.0), slope().round()).mean() < 0.1


def test_one_channel_is_enough(source: Source) -> None:
    before = slope()
    before[:, 1] += 0.4
    assert trusted(source, before, slope().round()).mean() < 0.1


def test_only_the_place_that_drifted_is_dropped(source: Source) -> None:
    before = slope()
    before[..., 64:, :] += 0.4
    valid = trusted(source, before, slope().round())
    assert valid[..., :48, :].mean() > 0.99
    assert valid[..., 80:, :].mean() < 0.1


def test_texture_is_no_drift(source: Source) -> None:
    """Errors of both signs, far larger than the limit, whose mean over a window is above it too."""
    noise = torch.randn(1, 3, 96, 160, generator=torch.Generator().manual_seed(1))
    before = slope() + 0.6 * noise.clamp(-2, 2) + 0.2
    assert trusted(source, before, slope().round()).mean() > 0.8


def test_clipped_channels_do_not_vote(source: Source) -> None:
    codes = torch.full((1, 3, 96, 160), 255.0)
    assert trusted(source, torch.full_like(codes, 254.2), codes).all()


def test_an_area_speaks_for_the_cell_in_its_middle(source: Source) -> None:
    """What drifted is a square of 24 pixels; the cell that is dropped first has it around it on all sides alike."""
    before = slope()
    before[..., 40:64, 72:96] += 0.16
    dropped = (trusted(source, before, slope()) == 0).nonzero()
    assert dropped[:, 2].min() == 48
    assert dropped[:, 2].max() == 55
    assert dropped[:, 3].min() == 80
    assert dropped[:, 3].max() == 87


def test_one_lamp_and_the_border_do_not_outvote_their_surroundings(source: Source) -> None:
    before = slope()
    before[..., 48, 80] += 120
    assert (trusted(source, before, slope()) == 0).sum() == 1
    codes = slope()
    codes[..., :3] += 20  # comes in from outside, by a pan of 3 pixels
    flow_px = torch.zeros(1, 2, 96, 160)
    flow_px[:, 0] = -3.0
    valid = believed(codes, slope(3.0), source, flow_px)
    assert not valid[..., :3].any()
    assert valid[..., 3:].all()


def test_what_comes_in_from_outside_does_not_vote(source: Source) -> None:
    """A pan of 8 pixels brings in what the repeated border misses by 1.2, which no pixel alone would tell."""
    codes = slope()
    before = slope(8.0)
    codes[..., :8] = before[..., :1] + 1.2
    flow_px = torch.zeros(1, 2, 96, 160)
    flow_px[:, 0] = -8.0
    valid = believed(codes, before, source, flow_px)
    assert not valid[..., :8].any()
    assert valid[..., 8:].all()
