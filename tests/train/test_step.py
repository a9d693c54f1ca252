"""One step of the optimizer: gradients that add up, memory that is cut, and what may run in bfloat16."""

from __future__ import annotations

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from seqhdr.color.bins import bin_width_stops
from seqhdr.color.encodings import get_encoding
from seqhdr.errors import UsageError
from seqhdr.model.net import ModelConfig, SeqNet
from seqhdr.model.source import log_width_table
from seqhdr.train.batch import ClipBatch, stack_clips
from seqhdr.train.config import DataConfig, LoopConfig, TrainConfig
from seqhdr.train.objective import LossConfig, objective
from seqhdr.train.step import add_means, computes_in_bfloat16, learning_rate, train_step

CPU = torch.device("cpu")


def config(loss: LossConfig | None = None, **loop: object) -> TrainConfig:
    return TrainConfig(
        ModelConfig("tiny", (4, 6)),
        DataConfig(panoramas=("procedural:1",)),
        loss=loss or LossConfig(),
        train=LoopConfig(**{"memory_drop": 0.0, "clip_norm": 0.0, **loop}),  # type: ignore[arg-type]
    )


def clip(seed: int, frames: int = 3, size: int = 32) -> ClipBatch:
    """Smooth light that drifts, rounded to codes; a corner of it is clipped."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    slope, level = rng.uniform(5, 30, (2, 3)), rng.uniform(60, 180, 3)
    value = np.stack([level[:, None, None] + slope[0, :, None, None] * (x + 0.05 * t) for t in range(frames)])
    value += slope[1][:, None, None] * y
    value[:, :, :8, :8] = 260
    values = torch.from_numpy(value[None].astype(np.float32))
    srgb = get_encoding("srgb")
    flow = torch.zeros(1, frames, 2, size, size)
    return ClipBatch(
        codes=values.round().clamp(0, 255),
        value_lsb=values,
        gain_stops=(values > 254.5).float() * 0.7,
        flow_px=flow,
        exact_flow_px=flow,
        visible=torch.ones(1, frames, 1, size, size, dtype=torch.bool),
        half_width_lsb=torch.tensor([0.5]),
        log_width=log_width_table(srgb, 255)[None],
        width_stops=bin_width_stops(srgb, 255)[None],
        encodings=("srgb",),
    )


@pytest.fixture
def net() -> SeqNet:
    torch.manual_seed(5)
    made = SeqNet(ModelConfig("tiny", (4, 6)))
    torch.nn.init.normal_(made.leave.weight, std=0.2)
    return made


def gradients(net: SeqNet, parts: list[ClipBatch], settings: TrainConfig, step: int = 0) -> dict[str, Tensor]:
    """What a step of plain gradient descent at rate 1 takes away from the weights."""
    moved = copy.deepcopy(net)
    train_step(moved, torch.optim.SGD(moved.parameters(), lr=1.0), parts, settings, step, CPU)
    after = dict(moved.named_parameters())
    return {name: (value - after[name]).detach() for name, value in net.named_parameters()}


def assert_close(a: dict[str, Tensor], b: dict[str, Tensor], tolerance: float = 1e-6) -> None:
    largest = max(float(value.abs().max()) for value in a.values())
    assert largest > 1e-3
    for name, value in a.items():
        np.testing.assert_allclose(value.numpy(), b[name].numpy(), atol=tolerance * largest, err_msg=name)


def test_a_step_follows_the_gradient_of_the_objective(net: SeqNet) -> None:
    batch, settings = clip(1), config()
    predictions, _ = net(batch.codes, None, batch.source, batch.flow_px)
    loss, _ = objective(batch, predictions, settings.loss)
    expected = torch.autograd.grad(loss, list(net.parameters()))
    got = gradients(net, [batch], settings)
    assert_close(got, dict(zip(got, expected, strict=True)), 1e-4)


def test_accumulated_batches_count_like_one_large_batch(net: SeqNet) -> None:
    parts, settings = [clip(1), clip(2)], config()
    separate = [gradients(net, [part], settings) for part in parts]
    mean = {name: (separate[0][name] + separate[1][name]) / 2 for name in separate[0]}
    assert_close(mean, gradients(net, parts, settings), 1e-5)
    together = gradients(net, [stack_clips(parts)], config(LossConfig(gain_error=0, gain=0, gain_gradient=0)))
    apart = gradients(net, parts, config(LossConfig(gain_error=0, gain=0, gain_gradient=0, offset_stops=1.0)))
    # The width-weighted term is normalised per batch, so the two agree only roughly there.
    assert_close(together, apart, 0.2)


def test_checkpointing_gives_the_same_gradients(net: SeqNet) -> None:
    plain, again = (gradients(net, [clip(1)], config(recompute=flag)) for flag in (False, True))
    assert_close(plain, again, 1e-6)


def test_truncation_cuts_the_gradient_between_frames(net: SeqNet) -> None:
    batch = clip(1)
    cut = gradients(net, [batch], config(back_frames=1))
    state, expected = None, {name: torch.zeros_like(p) for name, p in net.named_parameters()}
    for t in range(3):
        piece = batch.frames(t, t + 1)
        predictions, state = net(piece.codes, state, piece.source, piece.flow_px)
        loss, _ = objective(piece, predictions, LossConfig())
        for (_, total), part in zip(
            expected.items(), torch.autograd.grad(loss / 3, list(net.parameters())), strict=True
        ):
            total += part
        state = state.detach()
    assert_close(expected, cut, 1e-4)
    whole = gradients(net, [batch], config(back_frames=0))
    assert max(float((whole[name] - cut[name]).abs().max()) for name in whole) > 1e-5


def test_chunks_of_unequal_length_count_by_their_frames(net: SeqNet) -> None:
    batch, settings = clip(1), config(LossConfig(offset=1, offset_stops=0, offset_gradient=0, gain=0, gain_error=0))
    settings = dataclasses.replace(settings, train=dataclasses.replace(settings.train, back_frames=2))
    means = train_step(copy.deepcopy(net), torch.optim.SGD(net.parameters(), lr=0.0), [batch], settings, 0, CPU)
    predictions, _ = net(batch.codes, None, batch.source, batch.flow_px)
    expected, _ = objective(batch, predictions, settings.loss)
    assert float(means["loss"]) == pytest.approx(expected.item(), rel=1e-5)


def test_memory_is_dropped_where_the_dice_say(net: SeqNet) -> None:
    batch = clip(1)
    none, some = (gradients(net, [batch], config(memory_drop=share), step=3) for share in (0.0, 1.0))
    predictions, _ = net(batch.codes, None, batch.source, batch.flow_px, fresh=[True] * 3)
    loss, _ = objective(batch, predictions, LossConfig())
    expected = dict(zip(none, torch.autograd.grad(loss, list(net.parameters())), strict=True))
    assert_close(expected, some, 1e-4)
    assert max(float((none[name] - some[name]).abs().max()) for name in none) > 1e-5


def test_the_gradient_is_held_to_its_limit(net: SeqNet) -> None:
    free = gradients(net, [clip(1)], config())
    held = gradients(net, [clip(1)], config(clip_norm=0.01))
    norm = math.sqrt(sum(float(value.square().sum()) for value in held.values()))
    assert norm == pytest.approx(0.01, rel=1e-3)
    assert sum(float(value.square().sum()) for value in free.values()) > 0.01**2


@pytest.mark.parametrize("term", ["coherence", "exposure"])
def test_a_second_look_adds_its_own_gradient(net: SeqNet, term: str) -> None:
    without, with_it = (gradients(net, [clip(1)], config(LossConfig(**{term: weight}))) for weight in (0.0, 1.0))
    assert max(float((without[name] - with_it[name]).abs().max()) for name in without) > 1e-5


def test_terms_are_reported_unweighted(net: SeqNet) -> None:
    settings = config(LossConfig(offset=2.0, offset_stops=0, offset_gradient=0, gain=0, gain_gradient=0, gain_error=0))
    means = train_step(net, torch.optim.SGD(net.parameters(), lr=0.0), [clip(1)], settings, 0, CPU)
    assert float(means["loss"]) == pytest.approx(2 * float(means["offset"]), rel=1e-5)
    assert set(means) == {"loss", "offset", "gradient_norm"}


def test_one_clip_can_be_learnt_by_heart(net: SeqNet) -> None:
    batch, settings = clip(4), config()
    optimizer = torch.optim.AdamW(net.parameters(), lr=5e-3)
    errors = [float(train_step(net, optimizer, [batch], settings, n, CPU)["offset"]) for n in range(60)]
    # Uniform rounding errors are a quarter of a bin on average.
    assert errors[0] > 0.15
    assert errors[-1] < 0.5 * errors[0]


def test_learning_rates_by_the_book() -> None:
    cosine = LoopConfig(lr=1.0, schedule="cosine", warmup_steps=4)
    assert learning_rate(cosine, 0, 100) == pytest.approx(0.25)
    assert learning_rate(cosine, 50, 100) == pytest.approx(0.5)
    assert learning_rate(cosine, 99, 100) == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.99)))
    constant = LoopConfig(lr=2.0, schedule="constant", warmup_steps=0)
    assert learning_rate(constant, 0, 10) == learning_rate(constant, 9, 10) == 2.0
    plateau = LoopConfig(lr=1.0, schedule="plateau", warmup_steps=2)
    assert [learning_rate(plateau, n, 10) for n in range(3)] == [0.5, 1.0, None]


def test_bfloat16_only_where_it_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not computes_in_bfloat16("auto", CPU)
    assert not computes_in_bfloat16("float32", CPU)
    monkeypatch.setattr("seqhdr.train.step.has_bfloat16", lambda device: False)
    with pytest.raises(UsageError, match=r"train\.precision is bfloat16, which cpu"):
        computes_in_bfloat16("bfloat16", CPU)
    monkeypatch.setattr("seqhdr.train.step.has_bfloat16", lambda device: True)
    assert computes_in_bfloat16("bfloat16", CPU)
    assert computes_in_bfloat16("auto", torch.device("cuda"))


def test_in_bfloat16_the_head_stays_float32(net: SeqNet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqhdr.train.step.has_bfloat16", lambda device: True)
    seen: list[torch.dtype] = []
    net.leave.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].dtype))
    net.bottleneck.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    exact = gradients(net, [clip(1)], config())
    low = gradients(net, [clip(1)], config(precision="bfloat16"))
    assert torch.bfloat16 in seen
    assert seen[-1] == torch.float32
    largest = max(float(value.abs().max()) for value in exact.values())
    for name, value in exact.items():
        assert float((value - low[name]).abs().max()) < 0.1 * largest


# Dynamo itself looks at the gradients of the memory it is handed.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
def test_a_compiled_network_learns_the_same(net: SeqNet) -> None:
    plain = gradients(net, [clip(1)], config())
    net.compile_unet("aot_eager")
    moved = {name: value.detach().clone() for name, value in net.named_parameters()}
    train_step(net, torch.optim.SGD(net.parameters(), lr=1.0), [clip(1)], config(), 0, CPU)
    compiled = {name: moved[name] - value.detach() for name, value in net.named_parameters()}
    assert_close(plain, compiled, 1e-4)


def test_sums_of_means() -> None:
    sums: dict[str, Tensor] = {}
    add_means(sums, {"a": torch.tensor(2.0)}, 0.5)
    add_means(sums, {"a": torch.tensor(4.0), "b": torch.tensor(1.0)}, 0.25)
    assert {name: float(value) for name, value in sums.items()} == {"a": 2.0, "b": 0.25}
