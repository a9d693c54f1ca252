"""The smaller frames that are decoded ahead of a frame: what they are, how many, and what they are good for."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from seqhdr.color.encodings import get_encoding
from seqhdr.model import net as network
from seqhdr.model.head import HEAD_CHANNELS
from seqhdr.model.net import SeqNet
from seqhdr.model.pyramid import COARSER, GATED_CELLS, scale_space, upsample
from seqhdr.model.recall import Prior, pad_prior, recall, reduce_prior
from seqhdr.model.source import Source, describe_source
from seqhdr.train.gains import learn_gains

Clip = Callable[..., Tensor]
SMALLER, CANDIDATES = 9, 11
SIGNED_SMALLER = slice(HEAD_CHANNELS - 8, HEAD_CHANNELS - 4)  # the last four are the memory's
COARSER_INPUTS = slice(24 + 3 * 8, 24 + 3 * 9)  # after two times twelve pixels and eight blurs


def half_width(source: Source) -> Tensor:
    return source.half_width_lsb.view(-1, 1, 1, 1)


@pytest.fixture
def seen(net: SeqNet, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the network was shown of each frame, smaller ones first."""
    calls: list[dict[str, Any]] = []
    real = network.frame_features

    def spy(scales: Any, coarser: Tensor, prior: Prior, source: Source, clipped: Tensor, reduced: bool) -> Tensor:
        calls.append({"codes": scales.full, "coarser": coarser, "prior": prior, "reduced": reduced})
        return real(scales, coarser, prior, source, clipped, reduced)

    monkeypatch.setattr(network, "frame_features", spy)
    return calls


@pytest.mark.parametrize(
    ("size", "sizes"),
    [
        ((64, 512), [(64, 512)]),
        ((96, 128), [(32, 32), (96, 128)]),
        # 288 x 512, and its quarter of 72 x 128, are padded to multiples of 32.
        ((288, 512), [(32, 32), (96, 128), (288, 512)]),
    ],
)
def test_a_frame_is_decoded_at_a_quarter_of_its_size_first(
    net: SeqNet, source: Source, clip: Clip, seen: list[dict[str, Any]], size: tuple[int, int], sizes: list[tuple[int]]
) -> None:
    net.step(clip(1, *size)[:, 0], None, source, None)
    assert [tuple(call["codes"].shape[-2:]) for call in seen] == sizes
    assert [call["reduced"] for call in seen] == [True] * (len(sizes) - 1) + [False]


def test_the_smaller_frame_is_an_average_and_stays_within_w_of_it(
    net: SeqNet, source: Source, clip: Clip, seen: list[dict[str, Any]]
) -> None:
    codes = clip(1, 128, 160)[:, 0]
    net.step(codes, None, source, None)
    small, large = seen
    torch.testing.assert_close(small["codes"][..., :40], F.avg_pool2d(codes, COARSER))
    moved = (large["coarser"] - F.avg_pool2d(codes, COARSER)).abs()
    assert 0.05 < moved.mean() < 0.5
    assert moved.max() <= 0.5 + 1e-4


def test_the_smallest_frame_looks_at_its_own_blur_instead(
    net: SeqNet, source: Source, clip: Clip, seen: list[dict[str, Any]]
) -> None:
    codes = clip(1, 64, 96)[:, 0]
    net.step(codes, None, source, None)
    blur = scale_space(codes, half_width(source)).gated[GATED_CELLS.index(COARSER)]
    assert torch.equal(seen[0]["coarser"], blur)


def test_the_network_can_take_what_the_smaller_frame_was_decoded_to(net: SeqNet, source: Source, clip: Clip) -> None:
    """A network that says nothing else: in the smaller frame, too, which has its own blur for want of a smaller one."""
    made = copy.deepcopy(net)
    made.leave.weight.zero_()
    made.leave.bias.zero_()
    made.leave.bias[: 4 * CANDIDATES] = -200
    made.leave.bias[4 * SMALLER : 4 * SMALLER + 4] = 200
    codes, w = clip(1, 128, 128)[:, 0], 0.5
    small = F.avg_pool2d(codes, COARSER)
    blur = upsample(scale_space(small, half_width(source)).gated[GATED_CELLS.index(COARSER)], COARSER)
    wanted = upsample(small + (blur - small).clamp(-w, w), COARSER) - codes
    offset = made.step(codes, None, source, None)[0].offset_lsb
    torch.testing.assert_close(offset, wanted.clamp(-w, w), atol=1e-4, rtol=0)
    assert (wanted.abs() < 0.4).float().mean() > 0.1


def test_the_smaller_frame_has_the_memory_too(
    net: SeqNet, source: Source, clip: Clip, pan: Clip, seen: list[dict[str, Any]]
) -> None:
    codes, flow_px = clip(2, 96, 128), pan(2, 96, 128)
    _, state = net.step(codes[:, 0], None, source, None)
    seen.clear()
    net.step(codes[:, 1], state, source, flow_px[:, 1])
    small, large = (call["prior"] for call in seen)
    whole = recall(codes[:, 1], state.decoded, flow_px[:, 1], half_width(source), 255.0)
    assert torch.equal(large.decoded_lsb, whole.decoded_lsb)
    wanted = reduce_prior(whole, F.avg_pool2d(codes[:, 1], COARSER), COARSER)
    torch.testing.assert_close(small.decoded_lsb[..., :24, :32], wanted.decoded_lsb)
    assert torch.equal(small.valid[..., :24, :32], wanted.valid)
    assert 0.5 < wanted.valid.mean() < 1


def test_a_reduced_memory_is_valid_where_all_of_a_square_was() -> None:
    generator = torch.Generator().manual_seed(1)
    decoded, gain = (10 * torch.rand(2, 3, 16, 24, generator=generator) for _ in range(2))
    valid = (torch.rand(2, 1, 16, 24, generator=generator) < 0.97).float()
    small = 100 + torch.rand(2, 3, 4, 6, generator=generator)
    found = reduce_prior(Prior(decoded, gain * valid, valid, 5 * valid), small, 4)
    for clip in range(2):
        for row in range(4):
            for column in range(6):
                square = (clip, ..., slice(4 * row, 4 * row + 4), slice(4 * column, 4 * column + 4))
                place = (clip, slice(None), row, column)
                whole = bool(valid[square].all())
                wanted = decoded[square].mean((-1, -2)) if whole else small[place]
                torch.testing.assert_close(found.decoded_lsb[place], wanted)
                torch.testing.assert_close(found.gain_stops[place], gain[square].mean((-1, -2)) * whole)
                assert found.valid[place] == whole
                assert found.age_frames[place] == 5 * whole
    assert 0.2 < found.valid.mean() < 0.9


def test_a_padded_memory_repeats_the_border_and_is_not_valid_there() -> None:
    image = torch.rand(1, 3, 5, 7, generator=torch.Generator().manual_seed(2))
    ones = torch.ones(1, 1, 5, 7)
    padded = pad_prior(Prior(image, 2 * image, ones, 3 * ones), (0, 2, 0, 3))
    assert torch.equal(padded.decoded_lsb, F.pad(image, (0, 2, 0, 3), mode="replicate"))
    assert torch.equal(padded.gain_stops, 2 * padded.decoded_lsb)
    assert padded.valid[..., :5, :7].all()
    assert padded.valid.sum() == 35
    assert torch.equal(padded.age_frames, 3 * padded.valid)


@pytest.mark.parametrize("way", ["the blend", "what the network sees"])
def test_gradients_go_through_the_smaller_frame_both_ways(net: SeqNet, source: Source, clip: Clip, way: str) -> None:
    """Only a smaller frame has a level that is not zero, so its weights learn through the smaller frame alone."""
    made = copy.deepcopy(net).train().requires_grad_(True)
    with torch.no_grad():
        if way == "the blend":
            made.enter.weight[:, COARSER_INPUTS] = 0
        else:
            made.leave.weight[4 * SMALLER : 4 * SMALLER + 4] = 0
            made.leave.bias[4 * SMALLER : 4 * SMALLER + 4] = -200
            made.leave.weight[SIGNED_SMALLER], made.leave.bias[SIGNED_SMALLER] = 0, 0
    prediction, _ = made.step(clip(1, 96, 128)[:, 0], None, source, None)
    prediction.offset_lsb.square().mean().backward()
    assert made.enter.weight.grad is not None
    assert made.enter.weight.grad[:, -1].abs().sum() > 0


def test_recomputed_gradients_are_the_same_and_smaller_frames_are_recomputed_too(
    net: SeqNet, source: Source, clip: Clip, pan: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes, flow_px, real, kept = clip(2, 96, 128), pan(2, 96, 128), network.checkpoint, []
    monkeypatch.setattr(network, "checkpoint", lambda *args, **more: kept.append(1) or real(*args, **more))
    found = []
    for recompute in (False, True):
        made = copy.deepcopy(net).train().requires_grad_(True)
        predictions, _ = made(codes, None, source, flow_px, recompute=recompute)
        sum(p.offset_lsb.square().mean() for p in predictions).backward()
        found.append({name: p.grad for name, p in made.named_parameters() if p.grad is not None})
    assert len(kept) == 4  # two frames, each with a smaller one
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name])


def test_where_only_gains_learn_the_smaller_frame_costs_no_gradient(
    net: SeqNet, source: Source, clip: Clip, seen: list[dict[str, Any]]
) -> None:
    made = copy.deepcopy(net)
    for train, wanted in ((learn_gains, False), (lambda net: net.requires_grad_(True), True)):
        train(made)
        seen.clear()
        made.step(clip(1, 96, 128)[:, 0], None, source, None)
        assert seen[-1]["coarser"].requires_grad == wanted


def test_smaller_frames_too_are_float32_under_autocast(net: SeqNet, source: Source, clip: Clip) -> None:
    codes = clip(1, 96, 130)[:, 0]
    exact, _ = net.step(codes, None, source, None)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed, _ = net.step(codes, None, source, None)
    assert mixed.offset_lsb.dtype == torch.float32
    assert mixed.offset_lsb.abs().max() <= 0.5
    assert (mixed.offset_lsb - exact.offset_lsb).abs().mean() < 0.05


@pytest.mark.parametrize(("bits", "w", "bounded"), [(8, 3.0, True), (10, 0.5, True), (16, 0.5, True), (8, 0.5, False)])
@pytest.mark.parametrize("size", [(95, 97), (97, 160), (130, 97)])
def test_all_units_hold_at_sizes_that_have_smaller_frames(
    net: SeqNet, clip: Clip, pan: Clip, bits: int, w: float, bounded: bool, size: tuple[int, int]
) -> None:
    source = describe_source(get_encoding("srgb"), w, 2**bits - 1, bounded=bounded)
    codes = (clip(2, *size) * (2**bits - 1) / 255).round()
    predictions, state = net(codes, None, source, pan(2, *size))
    for prediction in predictions:
        assert prediction.offset_lsb.shape == (1, 3, *size)
        assert torch.isfinite(prediction.offset_lsb).all()
        assert prediction.offset_lsb.abs().max() <= (w if bounded else 20 * w)
    assert state.decoded.shape == (1, 7, *size)
