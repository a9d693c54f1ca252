"""The network as a function: shapes, memory and its age, units, gradients; and what it refuses."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from seqhdr.model.head import Prediction
from seqhdr.model.net import ModelConfig, SeqNet, State
from seqhdr.model.source import Source

Clip = Callable[..., Tensor]


def tensors(result: Prediction | State) -> tuple[Tensor, ...]:
    return tuple(vars(result).values())


def same(one: Prediction | State, two: Prediction | State) -> bool:
    return all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(two), strict=True))


def moved(source: Source, **changes: object) -> Source:
    return Source(**{**vars(source), **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(64, 96), (37, 53), (1, 1), (33, 2)])
def test_shapes_at_any_size(net: SeqNet, source: Source, clip: Clip, size: tuple[int, int]) -> None:
    height, width = size
    flow_px = torch.zeros(1, 2, height, width)
    state = None
    for codes in clip(2, height, width)[0]:
        prediction, state = net.step(codes[None], state, source, flow_px)
        assert prediction.offset_lsb.shape == prediction.gain_stops.shape == (1, 3, height, width)
        assert prediction.gain_error_stops.shape == (1, 1, height, width)
        assert state.decoded.shape == (1, 7, height, width)
        # The bottleneck of three levels is at 1/8 of the padded frame.
        low = (-(-height // 32) * 4, -(-width // 32) * 4)
        assert state.hidden.shape == state.cell.shape == (1, 16, *low)
        assert all(torch.isfinite(t).all() for t in tensors(prediction))


def test_padding_repeats_the_border(net: SeqNet, source: Source, clip: Clip) -> None:
    codes = clip(1, 40, 50)[:, 0]
    padded = torch.nn.functional.pad(codes, (0, 14, 0, 24), mode="replicate")
    small, _ = net.step(codes, None, source, None)
    large, _ = net.step(padded, None, source, None)
    assert torch.equal(small.offset_lsb, large.offset_lsb[..., :40, :50])


@pytest.mark.parametrize("size", [(40, 50), (100, 130)])
def test_eight_frames_are_four_and_four(
    net: SeqNet, source: Source, clip: Clip, pan: Clip, size: tuple[int, int]
) -> None:
    codes, flow_px = clip(8, *size), pan(8, *size)
    whole, last = net(codes, None, source, flow_px)
    first, state = net(codes[:, :4], None, source, flow_px[:, :4])
    second, end = net(codes[:, 4:], state, source, flow_px[:, 4:])
    assert len(whole) == 8
    assert all(same(a, b) for a, b in zip(whole, first + second, strict=True))
    assert same(last, end)


def test_a_clip_is_its_steps(net: SeqNet, source: Source, clip: Clip, pan: Clip) -> None:
    codes, flow_px = clip(3), pan(3)
    whole, _ = net(codes, None, source, flow_px)
    state = None
    for index in range(3):
        prediction, state = net.step(codes[:, index], state, source, flow_px[:, index])
        assert same(prediction, whole[index])


def test_the_memory_matters(net: SeqNet, source: Source, clip: Clip, pan: Clip) -> None:
    codes, flow_px = clip(3), pan(3)
    (*_, warm), state = net(codes, None, source, flow_px)
    (*_, no_flow), _ = net(codes, None, source, None)
    cold, _ = net.step(codes[:, 2], None, source, flow_px[:, 2])
    for other in (no_flow, cold):
        assert (warm.offset_lsb - other.offset_lsb).abs().max() > 0.01
    # Without flow the context still remembers.
    assert (no_flow.offset_lsb - cold.offset_lsb).abs().max() > 1e-4
    assert state.decoded[:, :3].max() <= 254.5


@pytest.mark.parametrize("size", [(64, 96), (128, 96)])
def test_clips_of_a_batch_do_not_mix(net: SeqNet, source: Source, clip: Clip, pan: Clip, size: tuple[int, int]) -> None:
    codes = torch.cat((clip(2, *size, seed=0), clip(2, *size, seed=3)))
    widths = torch.tensor([0.5, 2.0])
    both = Source(widths, source.log_width.expand(2, -1))
    whole, _ = net(codes, None, both, pan(2, *size).expand(2, -1, -1, -1, -1))
    for index in range(2):
        alone = moved(source, half_width_lsb=widths[index : index + 1])
        part, _ = net(codes[index : index + 1], None, alone, pan(2, *size))
        for a, b in zip(whole, part, strict=True):
            torch.testing.assert_close(a.offset_lsb[index : index + 1], b.offset_lsb, atol=2e-3, rtol=0)
        # The bounds of the other clip must not leak: w is per clip.
        assert whole[-1].offset_lsb[index].abs().max() <= widths[index]
    assert whole[-1].offset_lsb[1].abs().max() > 0.5


def test_offsets_are_in_units_of_w_and_levels_of_the_range(net: SeqNet, source: Source, clip: Clip, pan: Clip) -> None:
    deaf = copy.deepcopy(net)
    deaf.enter.weight[:, -2] = 0  # the only input that carries w itself
    # Without clipped places: the end of an open bin, max - 1/2, does not scale.
    codes, flow_px = clip(2).clamp_max(200), pan(2)
    small, _ = deaf(codes, None, source, flow_px)
    scaled = moved(source, half_width_lsb=4 * source.half_width_lsb, max_code=4 * source.max_code)
    large, _ = deaf(4 * codes, None, scaled, flow_px)
    # By a power of two, so that nothing is rounded differently.
    for index in range(2):
        torch.testing.assert_close(large[index].offset_lsb / 4, small[index].offset_lsb, atol=1e-5, rtol=0)


def test_ten_bits(net: SeqNet, source: Source, clip: Clip) -> None:
    codes = clip(1)[:, 0] * 4 + 1
    codes[codes > 1000] = 1023
    result, state = net.step(codes, None, moved(source, max_code=1023.0), None)
    assert result.offset_lsb.abs().max() <= 0.5
    assert (codes > 255).any()
    assert torch.equal(result.gain_stops > 0, codes == 1023)
    assert state.decoded[:, :3].max() <= 1022.5


def test_unbounded_results_may_leave_the_bin(net: SeqNet, source: Source, clip: Clip) -> None:
    loud = copy.deepcopy(net)
    loud.leave.bias += 5
    codes = clip(1)[:, 0]
    assert loud.step(codes, None, source, None)[0].offset_lsb.abs().max() <= 0.5
    assert loud.step(codes, None, moved(source, bounded=False), None)[0].offset_lsb.abs().max() > 0.5


@pytest.fixture
def keeper(net: SeqNet) -> SeqNet:
    """The same network with an output that keeps every code: its memory is the frame before."""
    made = copy.deepcopy(net)
    made.leave.weight.zero_()
    made.leave.bias.zero_()
    made.leave.bias[:44] = -200
    return made


def ages(net: SeqNet, source: Source, codes: Tensor, flow_px: Tensor | None = None, **more: Any) -> list[Tensor]:
    """(H, W) after each frame of a clip (1, T, 3, H, W)."""
    flow_px = codes.new_zeros(1, codes.shape[1], 2, *codes.shape[-2:]) if flow_px is None else flow_px
    return [
        net(codes[:, : t + 1], None, source, flow_px[:, : t + 1], **more)[1].decoded[0, 6]
        for t in range(codes.shape[1])
    ]


def test_the_age_counts_frames(keeper: SeqNet, source: Source, clip: Clip) -> None:
    still = clip(1, 40, 50).expand(1, 5, -1, -1, -1)
    for frame, age in enumerate(ages(keeper, source, still)):
        torch.testing.assert_close(age, torch.full((40, 50), frame + 1.0))


def test_the_age_begins_again_where_the_memory_does_not_fit(keeper: SeqNet, source: Source, clip: Clip) -> None:
    codes = clip(1).expand(1, 4, -1, -1, -1).clone()
    codes[:, 2:, :, 10:20, 10:20] = (codes[:, 2:, :, 10:20, 10:20] + 90) % 200
    last = ages(keeper, source, codes)[-1]
    torch.testing.assert_close(last[10:20, 10:20], torch.full((10, 10), 2.0))
    torch.testing.assert_close(last[:, 48:], torch.full((64, 48), 4.0))


def test_the_age_begins_again_after_a_cut_and_without_flow(keeper: SeqNet, source: Source, clip: Clip) -> None:
    still = clip(1, 40, 50).expand(1, 4, -1, -1, -1)
    found = ages(keeper, source, still, fresh=[False, False, True, False])
    assert [float(age.mean()) for age in found] == pytest.approx([1, 2, 1, 2])
    assert keeper(still, None, source, None)[1].decoded[0, 6].unique().tolist() == [1]


def test_the_network_is_told_sixteen_frames_at_most(net: SeqNet, source: Source, clip: Clip) -> None:
    codes, still = clip(1, 40, 50)[:, 0], torch.zeros(1, 2, 40, 50)
    _, first = net.step(codes, None, source, None)
    first.decoded[:, :3] = codes
    results, kept = [], []
    for age in (3.0, 15.0, 17.0, 20.0, 500.0):
        first.decoded[:, 6] = age
        prediction, state = net.step(codes, first, source, still)
        results.append(prediction)
        kept.append(float(state.decoded[0, 6].max()))
    assert kept == pytest.approx([4, 16, 17, 17, 17], rel=1e-5)
    # From 16 on, all ages are one; before, the network sees the difference.
    assert same(results[2], results[3])
    assert same(results[2], results[4])
    assert not same(results[1], results[2])
    assert not same(results[0], results[1])


def chooser(net: SeqNet, candidate: int) -> SeqNet:
    """The same network with an output that always takes one blur, whatever it sees."""
    made = copy.deepcopy(net)
    made.leave.weight.zero_()
    made.leave.bias.zero_()
    made.leave.bias[:44] = -200
    made.leave.bias[4 * candidate : 4 * candidate + 4] = 200
    return made


@pytest.mark.parametrize("candidate", [1, 3, 5, 7])
def test_blurs_stay_in_float32_under_autocast(net: SeqNet, source: Source, clip: Clip, candidate: int) -> None:
    codes, made = clip(1)[:, 0], chooser(net, candidate)
    wide = moved(source, half_width_lsb=torch.tensor([8.0]))
    exact, _ = made.step(codes, None, wide, None)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed, _ = made.step(codes, None, wide, None)
    torch.testing.assert_close(mixed.offset_lsb, exact.offset_lsb, atol=1e-4, rtol=0)


def test_results_are_float32_under_autocast(net: SeqNet, source: Source, clip: Clip, pan: Clip) -> None:
    codes, flow_px = clip(2), pan(2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (_, mixed), state = net(codes, None, source, flow_px)
    assert {t.dtype for t in (*tensors(mixed), state.decoded)} == {torch.float32}
    assert mixed.offset_lsb.abs().max() <= 0.5
    # bfloat16 leaves at most a few hundred values in a bin; a dequantised gradient needs more.
    assert mixed.offset_lsb.unique().numel() > 0.5 * mixed.offset_lsb.numel() / 2
    (_, exact), _ = net(codes, None, source, flow_px)
    assert (mixed.offset_lsb - exact.offset_lsb).abs().mean() < 0.05


def test_gradients_reach_every_weight(source: Source, clip: Clip, pan: Clip) -> None:
    trained = SeqNet(ModelConfig("small", (8, 12, 16)))
    predictions, state = trained(clip(3), None, source, pan(3))
    sum(p.offset_lsb.square().mean() + p.gain_stops.mean() + p.gain_error_stops.mean() for p in predictions).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in trained.parameters())
    assert state.hidden.requires_grad
    assert not any(t.requires_grad for t in tensors(state.detach()))


def test_bad_arguments_say_what_came_and_what_was_wanted(net: SeqNet, source: Source, clip: Clip) -> None:
    for shape in ((3, 8, 8), (1, 4, 8, 8), (1, 1, 3, 8, 8)):
        with pytest.raises(ValueError, match=r"codes of shape \(.*\): expected \(B, 3, H, W\)"):
            net.step(torch.zeros(shape), None, source, None)
    with pytest.raises(ValueError, match="no frames: expected T ≥ 1"):
        net(torch.zeros(1, 0, 3, 8, 8), None, source)
    _, state = net(clip(1), None, source)
    with pytest.raises(ValueError, match=r"flow of shape \(1, 2, 8, 8\) does not fit"):
        net.step(clip(1)[:, 0], state, source, torch.zeros(1, 2, 8, 8))
