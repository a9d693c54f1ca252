"""The sum of all terms, the light they compare, and what it teaches a network."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seqhdr.color.encodings import get_encoding
from seqhdr.errors import UsageError
from seqhdr.model.head import Prediction
from seqhdr.model.net import ModelConfig, SeqNet
from seqhdr.train import losses
from seqhdr.train.batch import ClipBatch
from seqhdr.train.consistency import coherence, exposure_consistency
from seqhdr.train.objective import LossConfig, decode_log, objective
from tests.train.loss_oracles import naive_code_loss
from tests.train.objective_batches import ENCODINGS, HALF_WIDTHS, guesses, make_batch, perfect

SETTINGS = ("saturated_weight", "uncertain_weight", "exposure_stops")
TERMS = [f.name for f in dataclasses.fields(LossConfig) if isinstance(f.default, float) and f.name not in SETTINGS]
# Without lpips, which needs a network, and those that need a second pass, which are no part of the sum.
SUMMED = [name for name in TERMS if name not in ("lpips", "coherence", "exposure")]


def only(**weights: Any) -> LossConfig:
    return LossConfig(**(dict.fromkeys(TERMS, 0.0) | weights))


def test_the_default_agrees_with_a_loop(batch: ClipBatch) -> None:
    predictions = guesses(batch)
    total, terms = objective(batch, predictions, LossConfig())
    assert float(total.detach()) == pytest.approx(naive_code_loss(batch, predictions, 0.3), rel=1e-5)
    assert set(terms) == {"offset", "offset_stops", "offset_gradient", "gain", "gain_gradient", "gain_error"}


def test_the_square_of_the_stops_is_that_of_clipped_channels(batch: ClipBatch) -> None:
    predictions = guesses(batch)
    total, _ = objective(batch, predictions, only(gain_square=2.0))
    squares = [
        (prediction.gain_stops - batch.gain_stops[:, t])[batch.clipped[:, t]].square().detach()
        for t, prediction in enumerate(predictions)
    ]
    assert float(total.detach()) == pytest.approx(2 * float(torch.cat(squares).mean()), rel=1e-5)


def test_the_sum_is_that_of_the_weighted_terms(batch: ClipBatch) -> None:
    weights = {name: 0.1 + 0.07 * index for index, name in enumerate(SUMMED)}
    total, terms = objective(batch, guesses(batch), only(**weights))
    assert list(terms) == list(SUMMED)
    assert all(float(term) != 0 and not term.requires_grad and term.shape == () for term in terms.values())
    expected = sum(weights[name] * float(term) for name, term in terms.items())
    assert float(total.detach()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", SUMMED)
def test_a_term_alone_is_the_same_and_nothing_else_is_computed(name: str, batch: ClipBatch) -> None:
    predictions = guesses(batch)
    total, terms = objective(batch, predictions, only(**{name: 2.0}))
    everything = objective(batch, predictions, only(**dict.fromkeys(SUMMED, 1.0)))[1]
    assert list(terms) == [name]
    torch.testing.assert_close(total.detach(), 2 * everything[name])


@pytest.mark.parametrize("name", SUMMED)
def test_every_term_pulls_with_finite_gradients(name: str, batch: ClipBatch) -> None:
    predictions = guesses(batch)
    objective(batch, predictions, only(**{name: 1.0}))[0].backward()
    gradients = [g for p in predictions for g in (p.offset_lsb.grad, p.gain_stops.grad, p.gain_error_stops.grad)]
    assert all(torch.isfinite(g).all() for g in gradients if g is not None)
    assert any(bool(g.any()) for g in gradients if g is not None)


def test_light_is_not_decoded_for_terms_in_codes(batch: ClipBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    def called(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("seqhdr.train.objective.decode_log", called)
    objective(batch, guesses(batch), LossConfig())
    with pytest.raises(AssertionError, match="decoded"):
        objective(batch, guesses(batch), only(l1_log=1.0))


# Noise that its flow does not carry is not consistent, however perfect.
@pytest.mark.parametrize("name", [name for name in SUMMED if name != "temporal"])
def test_a_perfect_prediction_costs_nothing(name: str, batch: ClipBatch) -> None:
    term = float(objective(batch, perfect(batch, error_stops=2.0), only(**{name: 1.0}))[1][name])
    expected = np.log(2) * float(batch.clipped.float().mean()) if name == "gain_error" else 0
    # Linear light of a log encoding reaches 100 and more, with float32's relative error.
    assert term == pytest.approx(expected, abs=2e-5)


def test_light_is_decoded_by_each_clips_own_encoding_and_width(batch: ClipBatch) -> None:
    offset = torch.full_like(batch.codes, 1.5)
    gain = torch.full_like(batch.codes, 3.0)
    rgb_log, rgb_lin = decode_log(batch, offset, gain)
    for index, (name, w) in enumerate(zip(ENCODINGS, HALF_WIDTHS, strict=True)):
        decode = get_encoding(name).decode
        codes = batch.codes[index].double()
        clipped = codes + w >= 255
        held = codes + min(1.5, w)
        expected = torch.where(clipped, decode(held.clamp(max=254.5) / 255) * 8, decode(held / 255))
        assert 0 < clipped.float().mean() < 0.5
        torch.testing.assert_close(rgb_lin[index].double(), expected, rtol=2e-5, atol=1e-6)
        stops = np.log2(expected.numpy().clip(2.0**-7))
        bright = expected.numpy() > 2.0**-7
        np.testing.assert_allclose(rgb_log[index].numpy()[bright], ((stops + 9.72) / 17.52)[bright], atol=1e-5)


def test_keeping_every_code_leaves_all_of_the_squared_error(batch: ClipBatch) -> None:
    codes = [
        Prediction(torch.zeros_like(guess.offset_lsb), torch.ones_like(guess.gain_stops), guess.gain_error_stops)
        for guess in guesses(batch)
    ]
    config = only(square_left=1.0)
    assert float(objective(batch, codes, config)[1]["square_left"]) == pytest.approx(1)
    assert float(objective(batch, guesses(batch), config)[1]["square_left"]) != pytest.approx(1, abs=0.01)


def test_terms_in_log_compare_true_light(batch: ClipBatch) -> None:
    predictions = guesses(batch)
    config = only(l1_log=1.0, l1_linear=1.0, ssim=1.0, saturated_weight=0.4, uncertain_weight=0.5)
    terms = objective(batch, predictions, config)[1]
    offset, gain, bound = (
        torch.stack([getattr(p, name).detach() for p in predictions], dim=1)
        for name in ("offset_lsb", "gain_stops", "gain_error_stops")
    )
    rgb_log, rgb_lin = decode_log(batch, offset, gain)
    # What was rounded: the light of the values themselves, without a bin and without a top.
    truth = torch.stack([get_encoding(n).decode(v / 255) for n, v in zip(ENCODINGS, batch.value_lsb, strict=True)])
    truth_log = get_encoding("acescct").encode(truth)
    weight = torch.where(batch.clipped, 0.4 / (1 + 0.5 * bound), torch.ones_like(gain))
    expected = ((rgb_log - truth_log).abs() * weight).sum() / weight.sum()
    torch.testing.assert_close(terms["l1_log"], expected, rtol=1e-4, atol=1e-6)
    expected = ((rgb_lin.clamp(max=16) - truth.clamp(max=16)).abs() * weight).sum() / weight.sum()
    torch.testing.assert_close(terms["l1_linear"], expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(terms["ssim"], losses.ssim_loss(rgb_log, truth_log), rtol=1e-4, atol=1e-6)


def test_doubt_is_no_way_to_lower_the_loss(batch: ClipBatch) -> None:
    predictions = guesses(batch)
    objective(batch, predictions, only(l1_log=1.0))[0].backward()
    assert all(p.gain_error_stops.grad is None for p in predictions)


@pytest.mark.parametrize(("flow", "field"), [("exact", "exact_flow_px"), ("given", "flow_px")])
def test_the_temporal_terms_use_the_flow_they_are_told(flow: str, field: str, batch: ClipBatch) -> None:
    predictions = guesses(batch)
    terms = objective(batch, predictions, only(temporal=1.0, temporal_flow=flow))[1]
    offset, gain = (torch.stack([getattr(p, n).detach() for p in predictions], 1) for n in ("offset_lsb", "gain_stops"))
    rgb_log = decode_log(batch, offset, gain)[0]
    expected = losses.temporal_consistency(rgb_log, getattr(batch, field), batch.visible)
    torch.testing.assert_close(terms["temporal"], expected)


def test_the_perceptual_distance_is_asked_with_log_pictures(batch: ClipBatch) -> None:
    class Asked(nn.Module):
        def forward(self, rgb_log: Tensor, truth_log: Tensor) -> Tensor:
            return losses.l1(rgb_log, truth_log)

    config = only(lpips=1.0, lpips_frames=3, l1_log=1.0, saturated_weight=1.0, uncertain_weight=0.0)
    terms = objective(batch, guesses(batch), config, Asked())[1]
    torch.testing.assert_close(terms["lpips"], terms["l1_log"])
    # Fewer frames are the last ones.
    last = objective(batch, guesses(batch), only(lpips=1.0, lpips_frames=1), Asked())[1]["lpips"]
    alone = only(l1_log=1.0, saturated_weight=1.0, uncertain_weight=0.0)
    torch.testing.assert_close(last, objective(batch.frames(2, 3), guesses(batch)[2:], alone)[1]["l1_log"])
    with pytest.raises(ValueError, match="load_lpips"):
        objective(batch, guesses(batch), config)


def test_inside_autocast_it_stays_in_float32(batch: ClipBatch) -> None:
    config = only(**dict.fromkeys(SUMMED, 1.0))
    plain = objective(batch, guesses(batch), config)[1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = objective(batch, guesses(batch), config)[1]
    for name in SUMMED:
        torch.testing.assert_close(mixed[name], plain[name], rtol=0, atol=0)


def test_a_prediction_for_every_frame_is_needed(batch: ClipBatch) -> None:
    with pytest.raises(ValueError, match="got 2 predictions for 3 frames"):
        objective(batch, guesses(batch)[:2], LossConfig())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"gain": -0.1}, "gain is -0.1"),
        ({"saturated_weight": -1.0}, "saturated_weight is -1.0"),
        ({"fft": float("nan")}, "fft is nan"),
        ({"fft": float("inf")}, "fft is inf"),
        ({"temporal_flow": "raft"}, "temporal_flow is 'raft': give one of exact, given"),
        (dict.fromkeys(TERMS, 0.0), "all loss weights are 0"),
    ],
)
def test_configurations_that_cannot_be_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        LossConfig(**wrong)


def test_a_real_network_learns_from_all_of_it() -> None:
    torch.manual_seed(0)
    batch = make_batch(frames=2, size=32)
    net = SeqNet(ModelConfig("tiny", (4, 4, 4)))
    predictions, _ = net(batch.codes, None, batch.source, batch.flow_px)
    total = objective(batch, predictions, only(**dict.fromkeys(SUMMED, 1.0)))[0]
    rng = np.random.default_rng(0)
    (total + coherence(net, batch, rng) + exposure_consistency(net, batch, rng)).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())
    assert all(bool(p.grad.any()) for p in net.leave.parameters())
