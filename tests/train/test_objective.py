"""The sum of all terms, the light they compare, and pictures that move."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn

from seqhdr.color.bins import bin_width_stops
from seqhdr.color.encodings import get_encoding
from seqhdr.errors import UsageError
from seqhdr.model.head import Prediction
from seqhdr.model.net import ModelConfig, SeqNet, Source
from seqhdr.model.source import log_width_table
from seqhdr.train import losses
from seqhdr.train.batch import ClipBatch
from seqhdr.train.objective import LossConfig, coherence, decode_log, objective

ENCODINGS = ("srgb", "acescct", "logc3")
HALF_WIDTHS = (0.5, 0.5, 2.0)
SETTINGS = ("saturated_weight", "uncertain_weight")
TERMS = [f.name for f in dataclasses.fields(LossConfig) if isinstance(f.default, float) and f.name not in SETTINGS]
# Without lpips, which needs a network, and coherence, which is not a part of the sum.
SUMMED = [name for name in TERMS if name not in ("lpips", "coherence")]


def only(**weights: Any) -> LossConfig:
    return LossConfig(**(dict.fromkeys(TERMS, 0.0) | weights))


def make_batch(frames: int = 3, size: int = 24, seed: int = 0) -> ClipBatch:
    """Three clips, each with its own encoding and w, with noise, clipped lights, and black."""
    rng = np.random.default_rng(seed)
    shape = (len(ENCODINGS), frames, 3, size, size)
    value = torch.from_numpy(rng.uniform(5, 250, shape).astype(np.float32))
    value[..., :4, :4] = torch.from_numpy(rng.uniform(254.6, 300, shape).astype(np.float32))[..., :4, :4]
    value[..., 4:6, :4] = 0.25
    codes = value.round().clamp(0, 255)
    w = torch.tensor(HALF_WIDTHS)
    # A wide bin: the code is off by as much as it may be.
    codes[2] = (codes[2] + torch.from_numpy(rng.integers(-1, 2, shape[1:]).astype(np.float32))).clamp(0, 255)
    gain = []
    for name, v in zip(ENCODINGS, value, strict=True):
        decode = get_encoding(name).decode
        stops = torch.log2(decode(v / 255).clamp_min(1e-6) / decode(torch.tensor(254.5 / 255)))
        gain.append(stops.clamp(0, 10))
    flow = torch.from_numpy(rng.normal(0, 1, (len(ENCODINGS), frames, 2, size, size)).astype(np.float32))
    return ClipBatch(
        codes=codes,
        value_lsb=value,
        gain_stops=torch.stack(gain),
        flow_px=-flow,
        exact_flow_px=flow,
        visible=torch.from_numpy(rng.random((len(ENCODINGS), frames, 1, size, size)) < 0.8),
        half_width_lsb=w,
        log_width=torch.stack([log_width_table(get_encoding(name), 255) for name in ENCODINGS]),
        width_stops=torch.stack([bin_width_stops(get_encoding(name), 255) for name in ENCODINGS]),
        encodings=ENCODINGS,
    )


def guesses(batch: ClipBatch, seed: int = 1) -> list[Prediction]:
    """Random predictions, one per frame, that want gradients."""
    rng = np.random.default_rng(seed)

    def uniform(low: float, high: float, like: Tensor) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, like.shape).astype(np.float32))

    w = batch.half_width_lsb.view(-1, 1, 1, 1)
    return [
        Prediction(
            (uniform(-1, 1, codes) * w).requires_grad_(),
            uniform(0, 3, codes).requires_grad_(),
            uniform(0.1, 2, codes[:, :1]).requires_grad_(),
        )
        for codes in batch.codes.unbind(1)
    ]


def perfect(batch: ClipBatch, error_stops: float = 1.0) -> list[Prediction]:
    w = batch.half_width_lsb.view(-1, 1, 1, 1)
    return [
        Prediction(
            torch.maximum(torch.minimum(value - codes, w), -w),
            gain,
            torch.full_like(codes[:, :1], error_stops),
        )
        for codes, value, gain in zip(
            batch.codes.unbind(1), batch.value_lsb.unbind(1), batch.gain_stops.unbind(1), strict=True
        )
    ]


@pytest.fixture(scope="module")
def batch() -> ClipBatch:
    return make_batch()


def naive_code_loss(batch: ClipBatch, predictions: list[Prediction], gain_weight: float) -> float:
    """The sum that trained the shipped model, frame by frame and difference by difference."""
    total = 0.0
    for t, prediction in enumerate(predictions):
        codes, value = batch.codes[:, t].double().numpy(), batch.value_lsb[:, t].double().numpy()
        w = batch.half_width_lsb.double().numpy().reshape(-1, 1, 1, 1)
        clipped = codes + w >= 255
        error = prediction.offset_lsb.detach().double().numpy() - np.clip(value - codes, -w, w)
        error = np.where(clipped, 0, error / (2 * w))
        width = np.stack(
            [np.minimum(table[c.astype(int)], 0.5) for table, c in zip(batch.width_stops.numpy(), codes, strict=True)]
        )
        miss = np.where(clipped, prediction.gain_stops.detach().numpy() - batch.gain_stops[:, t].numpy(), 0)
        bound = prediction.gain_error_stops.detach().double().numpy()

        def ripple(x: np.ndarray) -> float:
            return float(np.abs(np.diff(x, axis=-1)).mean() + np.abs(np.diff(x, axis=-2)).mean())

        total += np.abs(error).mean() + (np.abs(error) * width).mean() / width.mean() + 0.25 * ripple(error)
        total += gain_weight * (np.abs(miss).mean() + 0.25 * ripple(miss))
        total += 0.05 * np.where(clipped, np.abs(miss) / bound + np.log(bound), 0).mean()
    return total / len(predictions)


def test_the_default_is_what_trained_the_shipped_model(batch: ClipBatch) -> None:
    predictions = guesses(batch)
    total, terms = objective(batch, predictions, LossConfig())
    assert float(total.detach()) == pytest.approx(naive_code_loss(batch, predictions, 0.3), rel=1e-5)
    assert set(terms) == {"offset", "offset_stops", "offset_gradient", "gain", "gain_gradient", "gain_error"}


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


class Painter(nn.Module):
    """Says a fixed function of codes and place; remembers what it was asked."""

    def __init__(self, by_place: float = 0.0, scale: float = 0.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))
        self.by_place = by_place
        self.seen: list[Tensor] = []
        self.with_graph: list[bool] = []

    def forward(
        self, codes: Tensor, state: None, source: Source, flow_px: None
    ) -> tuple[list[Prediction], dict[str, Tensor]]:
        assert state is None
        assert flow_px is None
        assert codes.shape[1] == 1
        self.seen.append(codes[:, 0])
        self.with_graph.append(torch.is_grad_enabled())
        place = torch.arange(codes.shape[-1]) % 2 * self.by_place
        offset = self.scale * torch.sin(codes[:, 0]) + place
        zeros = torch.zeros_like(offset)
        return [Prediction(offset, zeros, zeros[:, :1] + 1)], {}


def flat_batch(code: float) -> ClipBatch:
    batch = make_batch(frames=2, size=32)
    return dataclasses.replace(batch, codes=torch.full_like(batch.codes, code))


def test_a_network_that_moves_along_is_coherent() -> None:
    loss = coherence(Painter(scale=0.3), flat_batch(100.0), np.random.default_rng(0))
    assert float(loss.detach()) == pytest.approx(0, abs=1e-5)


def test_a_network_that_knows_where_it_is_is_not() -> None:
    loss = coherence(Painter(by_place=0.4), flat_batch(100.0), np.random.default_rng(0), rotation_deg=0, zoom=0)
    # A whole column's shift would cost all of it in every pixel.
    assert 0.01 < float(loss.detach()) < 0.4


def test_keeping_the_code_costs_only_the_rounding(batch: ClipBatch) -> None:
    still = dataclasses.replace(batch, half_width_lsb=torch.full((3,), 0.5))
    loss = coherence(Painter(), still, np.random.default_rng(0))
    # What rounding cuts off is anything up to half a code.
    assert float(loss.detach()) == pytest.approx(0.25, abs=0.02)


def test_coherence_agrees_with_a_transform_of_another_library() -> None:
    batch, net = make_batch(frames=1, size=32, seed=3), Painter(by_place=0.2, scale=0.3)
    batch.codes[..., 12:18, 14:20] = 255
    given = {"shift_px": 9.0, "rotation_deg": 4.0, "zoom": 0.05}
    loss = coherence(net, batch, np.random.default_rng(5), **given)

    draws = np.random.default_rng(5).uniform(-1, 1, (3, 4)) * (9.0, 9.0, np.deg2rad(4.0), 0.05)
    above = below = 0.0
    for index, (x, y, angle, zoom) in enumerate(draws):
        w = HALF_WIDTHS[index]
        turn = (1 + zoom) * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # rows, columns
        centre = np.array([15.5, 15.5])
        back = np.linalg.inv(turn)
        start = centre - back @ (centre + np.array([y, x]))

        def move(picture: np.ndarray, back: np.ndarray = back, start: np.ndarray = start, **kw: Any) -> np.ndarray:
            return ndimage.affine_transform(picture, back, start, order=1, **{"mode": "nearest"} | kw)

        place = np.arange(32) % 2 * 0.2
        inside = move(np.ones((32, 32)), mode="grid-constant") > 0.999
        for codes in batch.codes[index, 0].double().numpy():
            moved = np.rint(move(codes))
            error = moved + 0.3 * np.sin(moved) + place - move(codes + 0.3 * np.sin(codes) + place)
            counts = inside & (move((codes + w >= 255).astype(float)) < 1e-3)
            above += (np.abs(error) / (2 * w) * counts)[4:-4, 4:-4].sum()
            below += counts[4:-4, 4:-4].sum()
    # A value next to a half may be rounded otherwise by the other library.
    assert float(loss.detach()) == pytest.approx(above / below, rel=1e-3)
    assert bool((net.seen[1] == net.seen[1].round()).all())
    assert not torch.equal(net.seen[0], net.seen[1])


def test_only_the_moved_picture_is_pulled_and_lights_do_not_count() -> None:
    net = Painter(scale=0.3)
    batch = make_batch(frames=1, size=32)
    coherence(net, batch, np.random.default_rng(1)).backward()
    assert net.with_graph == [False, True]
    assert net.scale.grad is not None
    assert float(net.scale.grad) != 0
    white = coherence(Painter(by_place=0.4), flat_batch(255.0), np.random.default_rng(0))
    assert float(white.detach()) == 0


def test_moves_repeat_with_their_seed() -> None:
    batch, net = make_batch(frames=1, size=32), Painter(scale=0.3, by_place=0.2)
    first, again, other = (float(coherence(net, batch, np.random.default_rng(s)).detach()) for s in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_real_network_learns_from_all_of_it() -> None:
    torch.manual_seed(0)
    batch = make_batch(frames=2, size=32)
    net = SeqNet(ModelConfig("tiny", (4, 4, 4)))
    predictions, _ = net(batch.codes, None, batch.source, batch.flow_px)
    total = objective(batch, predictions, only(**dict.fromkeys(SUMMED, 1.0)))[0]
    (total + coherence(net, batch, np.random.default_rng(0))).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())
    assert all(bool(p.grad.any()) for p in net.leave.parameters())
