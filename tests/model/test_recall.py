"""What is kept of the frame before: where it is believed, at which level, and how its age counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from seqhdr.model.recall import Prior, recall
from seqhdr.model.source import Source


def moved(source: Source, **changes: object) -> Source:
    return Source(**{**vars(source), **changes})  # type: ignore[arg-type]


def remembered(decoded: Tensor, gain: float = 0.0, age: float = 1.0) -> Tensor:
    """What is kept of a frame that was decoded to this."""
    return torch.cat((decoded, torch.full_like(decoded, gain), torch.full_like(decoded[:, :1], age)), dim=1)


def recalled(codes: Tensor, decoded: Tensor, source: Source, flow_px: Tensor) -> Prior:
    return recall(codes, decoded, flow_px, source.half_width_lsb.view(-1, 1, 1, 1), source.max_code)


def shift(dx: float, like: Tensor) -> Tensor:
    return torch.tensor([dx, 0.0]).view(1, 2, 1, 1).expand(1, 2, *like.shape[-2:])


def pixel(decoded: float, code: float, source: Source, gain: float = 0.0) -> Prior:
    """Of a pixel that differs from its memory in a picture that does not.

    What surrounds it keeps the level: where all of a picture differs, its exposure is what has changed.
    """
    codes = torch.linspace(20, 235, 32).expand(1, 3, 32, 32).contiguous()
    before = codes.clone()
    codes[..., 16, 16], before[..., 16, 16] = code, decoded
    prior = recalled(codes, remembered(before, gain), source, shift(0.0, codes))
    return Prior(*(part[..., 16:17, 16:17] for part in vars(prior).values()))


def test_a_memory_is_believed_within_three_half_widths(source: Source) -> None:
    assert pixel(101.4, 100, source).valid.all()
    assert not pixel(101.6, 100, source).valid.any()
    assert not pixel(98.4, 100, source).valid.any()
    wide = moved(source, half_width_lsb=torch.tensor([2.0]))
    assert pixel(105.9, 100, wide).valid.all()
    assert not pixel(106.1, 100, wide).valid.any()


def test_a_disbelieved_memory_leaves_no_trace(source: Source) -> None:
    prior = pixel(140, 100, source, gain=2.0)
    assert (prior.decoded_lsb == 100).all()
    assert not prior.gain_stops.any()
    assert not prior.age_frames.any()


def test_a_clipped_channel_believes_anything_above(source: Source) -> None:
    opened = moved(source, half_width_lsb=torch.tensor([2.0]))
    assert pixel(254.5, 253, opened, gain=2.0).valid.all()
    torch.testing.assert_close(pixel(254.5, 253, opened, gain=2.0).gain_stops, torch.full((1, 3, 1, 1), 2.0))
    assert not pixel(240, 253, opened).valid.any()


def test_a_memory_from_outside_the_frame_is_not_believed(source: Source) -> None:
    codes = torch.full((1, 3, 8, 8), 100.0)
    prior = recalled(codes, remembered(codes, age=4), source, shift(3.0, codes))
    assert prior.valid[..., :5].all()
    assert not prior.valid[..., 5:].any()
    torch.testing.assert_close(prior.age_frames[..., :5], torch.full((1, 1, 8, 5), 4.0))
    assert not prior.age_frames[..., 5:].any()


@pytest.mark.parametrize("pull", [20.0, -20.0])
def test_a_memory_follows_a_pull_of_the_whole_picture(source: Source, paint: Callable[..., Any], pull: float) -> None:
    """A pull of 20 codes, as of a third of a stop in log: without levelling, nothing of the memory would be left."""
    before = torch.from_numpy(paint(64, 96)).permute(2, 0, 1)[None].float().clamp(30, 220)
    after = before + pull
    prior = recalled(after, remembered(before, age=5), source, shift(0.0, after))
    assert prior.valid.all()
    torch.testing.assert_close(prior.age_frames, torch.full((1, 1, 64, 96), 5.0))
    torch.testing.assert_close(prior.decoded_lsb, after, atol=0.05, rtol=0)


def test_clipped_channels_do_not_level_the_memory(source: Source) -> None:
    """Half of the picture clips after the pull, where 40 codes more look like none."""
    before = torch.linspace(120, 250, 64).expand(1, 3, 64, 64).contiguous()
    after = (before + 40).clamp_max(255)
    prior = recalled(after, remembered(before), source, shift(0.0, after))
    known = after < 254
    assert 0.6 < known.float().mean() < 0.8
    torch.testing.assert_close(prior.decoded_lsb[known], after[known], atol=0.3, rtol=0)


def test_the_age_moves_with_the_picture(source: Source) -> None:
    codes = torch.full((1, 3, 8, 16), 100.0)
    decoded = remembered(codes)
    decoded[:, 6] = torch.arange(1.0, 17)
    prior = recalled(codes, decoded, source, shift(2.0, codes))
    torch.testing.assert_close(prior.age_frames[0, 0, :, :14], torch.arange(3.0, 17).expand(8, 14))
