"""Whatever the network says, the result lies in its bins."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from seqhdr.model.clipping import clipped_channels, open_share
from seqhdr.model.head import HEAD_CHANNELS, Prediction, apply_head
from seqhdr.model.pyramid import COARSE_CELLS, COARSER, GATED_CELLS, ScaleSpace, scale_space, upsample
from seqhdr.model.recall import Prior

BLURS = 10  # with the smaller frame, which is enlarged like one
MEMORY = BLURS  # the index of the candidate that is remembered
RESIDUAL = slice(4 * (BLURS + 1), 4 * (BLURS + 1) + 12)
GAIN = slice(RESIDUAL.stop, RESIDUAL.stop + 12)
ERROR, GATE = GAIN.stop, GAIN.stop + 1
SIGNED = slice(GATE + 1, GATE + 1 + 4 * (BLURS + 1))


Parts = tuple[ScaleSpace, Tensor, Prior, Tensor]


def half_width(w: float) -> Tensor:
    return torch.tensor([w]).view(1, 1, 1, 1)


def scene(seed: int, w: float, spread: float = 1.0) -> Parts:
    """Codes with gradients, noise and clipped places, a smaller frame and a memory near them, and what is clipped."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.arange(64.0).expand(1, 3, 64, 64)
    codes = x * 4 + 8 * torch.randn(1, 3, 64, 64, generator=generator)
    codes = codes.round().clamp(0, 255)
    decoded = codes + spread * torch.randn(1, 3, 64, 64, generator=generator)
    gain = 4 * torch.rand(1, 3, 64, 64, generator=generator)
    valid = (torch.rand(1, 1, 64, 64, generator=generator) < 0.6).float()
    prior = Prior(torch.where(valid > 0, decoded, codes), gain * valid, valid, 3 * valid)
    coarser = torch.nn.functional.avg_pool2d(codes, COARSER)
    coarser = coarser + spread * torch.randn(coarser.shape, generator=generator)
    return scale_space(codes, half_width(w)), coarser, prior, clipped_channels(codes, half_width(w), 255)


def candidates(parts: Parts) -> list[Tensor]:
    """All that is blended, in the order of the layout, at full resolution."""
    scales, coarser, prior, _ = parts
    coarse = [upsample(image, cells) for image, cells in zip(scales.coarse, COARSE_CELLS, strict=True)]
    gated = [upsample(image, cells) for image, cells in zip(scales.gated, GATED_CELLS, strict=True)]
    return [*scales.fine, *coarse, *gated, upsample(coarser, COARSER), prior.decoded_lsb]


def head(raw: Tensor, parts: Parts, w: float, bounded: bool = True) -> Prediction:
    scales, coarser, prior, clipped = parts
    return apply_head(raw, scales, coarser, prior, half_width(w), clipped.float(), bounded)


def empty() -> Tensor:
    return torch.zeros(1, HEAD_CHANNELS, 32, 32)


def choose(index: int, logit: float = 200.0) -> Tensor:
    raw = empty()
    raw[:, : 4 * (BLURS + 1)] = -logit
    raw[:, 4 * index : 4 * index + 4] = logit
    return raw


def keep() -> Tensor:
    """All of the softmax on the code itself."""
    raw = empty()
    raw[:, : 4 * (BLURS + 1)] = -200
    return raw


def test_the_layout_is_the_one_these_tests_assume() -> None:
    assert len(candidates(scene(0, 0.5))) == BLURS + 1
    assert SIGNED.stop == HEAD_CHANNELS


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    w=st.floats(0.5, 8, width=32),
    loudness=st.sampled_from([0.1, 3.0, 1e3, 1e6]),
    spread=st.sampled_from([0.1, 5.0, 500.0]),
)
def test_the_result_is_always_in_its_bin(seed: int, w: float, loudness: float, spread: float) -> None:
    raw = loudness * torch.randn(1, HEAD_CHANNELS, 32, 32, generator=torch.Generator().manual_seed(seed))
    parts = scene(seed, w, spread)
    result = head(raw, parts, w)
    assert result.offset_lsb.abs().max() <= w
    assert result.gain_stops.min() >= 0
    assert not result.gain_stops[~parts[3]].any()
    assert result.gain_error_stops.min() > 0
    for tensor in (result.offset_lsb, result.gain_stops, result.gain_error_stops):
        assert torch.isfinite(tensor).all()
        assert tensor.dtype == torch.float32
    assert result.offset_lsb.shape == result.gain_stops.shape == (1, 3, 64, 64)
    assert result.gain_error_stops.shape == (1, 1, 64, 64)


@pytest.mark.parametrize("index", range(BLURS))
@pytest.mark.parametrize("w", [0.5, 2.5])
def test_a_chosen_blur_comes_out_pulled_into_the_bin(index: int, w: float) -> None:
    parts = scene(1, w)
    wanted = (candidates(parts)[index] - parts[0].full).clamp(-w, w)
    torch.testing.assert_close(head(choose(index), parts, w).offset_lsb, wanted, atol=1e-4, rtol=0)


def test_a_chosen_memory_comes_out_where_it_is_valid() -> None:
    parts = scene(2, 0.5)
    scales, _, prior, _ = parts
    wanted = (prior.decoded_lsb - scales.full).clamp(-0.5, 0.5) * prior.valid
    torch.testing.assert_close(head(choose(MEMORY), parts, 0.5).offset_lsb, wanted, atol=1e-4, rtol=0)


def test_an_invalid_memory_changes_nothing() -> None:
    scales, coarser, prior, clipped = scene(3, 0.5)
    raw = torch.randn(1, HEAD_CHANNELS, 32, 32, generator=torch.Generator().manual_seed(0))
    nowhere = torch.zeros_like(prior.valid)
    one = head(raw, (scales, coarser, Prior(scales.full, prior.gain_stops, nowhere, nowhere), clipped), 0.5)
    raw[:, 4 * MEMORY : 4 * MEMORY + 4] += 7
    raw[:, SIGNED][:, 4 * MEMORY :] += 7
    two = head(raw, (scales, coarser, Prior(scales.full, prior.gain_stops + 9, nowhere, nowhere), clipped), 0.5)
    assert torch.equal(one.offset_lsb, two.offset_lsb)
    assert torch.equal(one.gain_stops, two.gain_stops)
    assert one.offset_lsb.std() > 0.1


@pytest.mark.parametrize("index", range(BLURS + 1))
@pytest.mark.parametrize("weight", [-0.4, 0.7])
def test_a_signed_weight_moves_by_its_share_of_the_pull(index: int, weight: float) -> None:
    w = 2.5
    parts, raw = scene(7, w, spread=4.0), keep()
    raw[:, SIGNED][:, 4 * index : 4 * index + 4] = weight
    pulled = (candidates(parts)[index] - parts[0].full).clamp(-w, w)
    torch.testing.assert_close(head(raw, parts, w).offset_lsb, weight * pulled, atol=1e-4, rtol=0)
    assert pulled.abs().mean() > 0.5


@pytest.mark.parametrize("bounded", [True, False])
def test_a_blend_of_large_signed_weights_is_held_in_the_bin_in_any_case(bounded: bool) -> None:
    w = 2.5
    parts, raw = scene(8, w), keep()
    raw[:, SIGNED][:, 0:4] = -3
    pulled = (parts[0].fine[0] - parts[0].full).clamp(-w, w)
    held = (-3 * pulled).clamp(-w, w)
    torch.testing.assert_close(head(raw, parts, w, bounded=bounded).offset_lsb, held, atol=1e-4, rtol=0)
    raw[:, RESIDUAL] = 0.5
    both = (-3 * pulled + w / 4).clamp(-w, w) if bounded else held + w / 4
    torch.testing.assert_close(head(raw, parts, w, bounded=bounded).offset_lsb, both, atol=1e-4, rtol=0)


def test_the_difference_of_two_blurs_is_within_reach() -> None:
    w = 2.5
    parts, raw = scene(9, w), choose(0)
    raw[:, SIGNED][:, 0:4] = 0.5
    raw[:, SIGNED][:, 4 * 6 : 4 * 7] = -0.5
    fine, gated = ((candidates(parts)[k] - parts[0].full).clamp(-w, w) for k in (0, 6))
    wanted = (1.5 * fine - 0.5 * gated).clamp(-w, w)
    torch.testing.assert_close(head(raw, parts, w).offset_lsb, wanted, atol=1e-4, rtol=0)


def test_each_of_four_pixels_has_its_own_signed_weights() -> None:
    parts, raw = scene(10, 2.5), keep()
    raw[:, SIGNED][:, 4 * 3 + 1] = 0.5
    wanted = 0.5 * (candidates(parts)[3] - parts[0].full).clamp(-2.5, 2.5)
    offset = head(raw, parts, 2.5).offset_lsb
    torch.testing.assert_close(offset[..., ::2, 1::2], wanted[..., ::2, 1::2], atol=1e-4, rtol=0)
    assert wanted[..., ::2, 1::2].abs().mean() > 0.2
    assert not offset[..., 1::2, :].any()
    assert not offset[..., ::2].any()


def test_each_of_four_pixels_has_its_own_weights() -> None:
    parts = scene(4, 2.5)
    raw = empty()
    raw[:, 0:4] = torch.tensor([200.0, -200, -200, -200]).view(1, 4, 1, 1)
    raw[:, 4 : 4 * (BLURS + 1)] = -200
    offset = head(raw, parts, 2.5).offset_lsb
    wanted = (parts[0].fine[0] - parts[0].full).clamp(-2.5, 2.5)
    torch.testing.assert_close(offset[..., ::2, ::2], wanted[..., ::2, ::2], atol=1e-4, rtol=0)
    assert not offset[..., 1::2, :].any()
    assert not offset[..., 1::2].any()


def test_keeping_the_code_is_the_default_when_all_else_is_unlikely() -> None:
    assert not head(keep(), scene(5, 0.5), 0.5).offset_lsb.any()


@pytest.mark.parametrize("w", [0.5, 3.0])
def test_the_residual_counts_half_widths(w: float) -> None:
    raw = keep()
    raw[:, RESIDUAL] = 0.5
    torch.testing.assert_close(head(raw, scene(6, w), w).offset_lsb, torch.full((1, 3, 64, 64), w / 4))
    raw[:, RESIDUAL] = 10
    assert torch.equal(head(raw, scene(6, w), w).offset_lsb, torch.full((1, 3, 64, 64), w))
    free = head(raw, scene(6, w), w, bounded=False).offset_lsb
    torch.testing.assert_close(free, torch.full((1, 3, 64, 64), 5 * w))


def test_remembered_gains_are_kept_only_where_they_are_valid() -> None:
    codes = torch.full((1, 3, 64, 64), 255.0)
    valid = torch.zeros(1, 1, 64, 64)
    valid[..., :32] = 1
    prior = Prior(codes, 3 * valid.expand(1, 3, -1, -1), valid, valid)
    raw = empty()
    raw[:, GATE] = 200
    scales = scale_space(codes, half_width(0.5))
    gain = head(raw, (scales, scales.coarse[0], prior, torch.ones(1, 3, 64, 64, dtype=torch.bool)), 0.5).gain_stops
    torch.testing.assert_close(gain[..., :32], torch.full((1, 3, 64, 32), 3.0))
    fresh = torch.nn.functional.softplus(torch.tensor(-2.0))
    torch.testing.assert_close(gain[..., 32:], fresh.expand(1, 3, 64, 32))


def test_a_channel_is_clipped_where_its_bin_reaches_the_top() -> None:
    codes = torch.tensor([251.0, 252, 253, 254, 255]).view(1, 1, 1, 5)
    assert clipped_channels(codes, half_width(0.5), 255).flatten().tolist() == [False] * 4 + [True]
    assert clipped_channels(codes, half_width(3), 255).flatten().tolist() == [False] + [True] * 4
    assert not clipped_channels(codes, half_width(0.5), 1023).any()


def test_the_share_of_a_lossless_source_is_its_clip_test() -> None:
    codes = torch.randint(240, 256, (1, 3, 32, 32)).float()
    share = open_share(scale_space(codes, half_width(0.5)), half_width(0.5), 255.0)
    assert torch.equal(share, (codes == 255).float())


def test_with_wide_bins_a_ramp_into_the_top_opens_smoothly() -> None:
    codes = torch.linspace(245, 255, 64).expand(1, 3, 64, 64).contiguous()
    share = open_share(scale_space(codes, half_width(2.5)), half_width(2.5), 255.0)
    assert share[codes < 252.5].max() == 0
    assert share[..., -1].min() == 1
    steps = share[..., 1:] - share[..., :-1]
    assert steps.min() >= 0
    assert steps.max() < 0.12  # a hard test would step by 1


def test_where_all_channels_are_clipped_they_rise_alike() -> None:
    codes = torch.full((1, 3, 64, 64), 255.0)
    codes[:, 2, :, :32] = 200.0
    scales, nowhere = scale_space(codes, half_width(0.5)), torch.zeros(1, 1, 64, 64)
    nothing = Prior(codes, torch.zeros_like(codes), nowhere, nowhere)
    raw = empty()
    raw[:, GAIN.start : GAIN.start + 4] = 3.0  # the network wants more of red
    result = apply_head(raw, scales, scales.coarse[0], nothing, half_width(0.5), (codes == 255).float(), True)
    red, green, blue = result.gain_stops[0]
    torch.testing.assert_close(red[:, 32:], green[:, 32:])
    torch.testing.assert_close(red[:, 32:], blue[:, 32:])
    assert (red[:, :32] > green[:, :32] + 1).all()  # with blue known, the others keep their own
    assert not blue[:, :32].any()
