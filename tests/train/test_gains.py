"""Training of the gains alone: everything below the clip stays as it is, bit for bit."""

from __future__ import annotations

import copy

import pytest
import torch

from seqhdr.color.encodings import get_encoding
from seqhdr.model.head import GAIN_OUTPUTS, HEAD_CHANNELS
from seqhdr.model.net import ModelConfig, SeqNet
from seqhdr.model.source import describe_source
from seqhdr.train import losses
from seqhdr.train.gains import learn_gains


@pytest.fixture
def trained() -> tuple[SeqNet, SeqNet]:
    """A network before and after a few steps towards three stops wherever something is clipped."""
    torch.manual_seed(0)
    before = SeqNet(ModelConfig("tiny", (8, 8)))
    after = copy.deepcopy(before)
    learn_gains(after)
    optimizer = torch.optim.AdamW(after.parameters(), lr=0.05, weight_decay=0.0)
    for _ in range(5):
        prediction, _ = after.step(picture(), None, describe_source(get_encoding("srgb"), 0.5, 255), None)
        loss = (prediction.gain_stops - 3).square().mean() + prediction.offset_lsb.square().mean()
        (loss + prediction.gain_error_stops.mean()).backward()
        optimizer.step()
        optimizer.zero_grad()
    return before, after


def picture() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return (torch.rand(1, 3, 32, 32, generator=generator) * 300).clamp_max(255).round()


def test_offsets_stay_and_gains_move(trained: tuple[SeqNet, SeqNet]) -> None:
    source = describe_source(get_encoding("srgb"), 0.5, 255)
    one, two = (net.step(picture(), None, source, None)[0] for net in trained)
    assert torch.equal(one.offset_lsb, two.offset_lsb)
    assert two.gain_stops.sum() > 1.2 * one.gain_stops.sum()
    assert two.gain_error_stops.mean() < one.gain_error_stops.mean()


def test_no_other_weight_moves(trained: tuple[SeqNet, SeqNet]) -> None:
    before, after = (net.state_dict() for net in trained)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"leave.weight", "leave.bias"}
    changed = (before["leave.weight"] != after["leave.weight"]).flatten(1).any(1).nonzero().flatten().tolist()
    assert set(changed) <= set(range(HEAD_CHANNELS)[GAIN_OUTPUTS])
    assert len(changed) >= 13


def test_the_square_of_gains_is_a_mean_over_clipped_channels() -> None:
    miss, clipped = torch.zeros(1, 1, 3, 10, 10), torch.zeros(1, 1, 3, 10, 10, dtype=torch.bool)
    miss[..., 0, :2], clipped[..., 0, :4] = 3.0, True
    assert float(losses.gain_square(miss, clipped)) == pytest.approx(4.5)


def test_one_clipped_channel_among_very_many_counts_less() -> None:
    miss, clipped = torch.zeros(1, 1, 3, 100, 100), torch.zeros(1, 1, 3, 100, 100, dtype=torch.bool)
    miss[0, 0, 0, 0, 0], clipped[0, 0, 0, 0, 0] = 3.0, True
    assert float(losses.gain_square(miss, clipped)) == pytest.approx(9 / 60)
    assert float(losses.gain_square(0 * miss, 0 * clipped.int() > 0)) == 0
