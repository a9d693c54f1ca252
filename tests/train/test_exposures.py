"""Other exposures of the same light: as inputs, at any EV, and as a promise that what is decoded stays the same."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seqhdr.color.encodings import get_encoding
from seqhdr.model.head import Prediction
from seqhdr.model.source import Source
from seqhdr.train.batch import ClipBatch
from seqhdr.train.consistency import expose_first_frame, exposure_consistency
from seqhdr.train.degrade import Degradation, degrade, draw_degradation, exposure_stack
from seqhdr.train.objective import true_light
from tests.train.degrade_examples import EVERYTHING, only, soft_clip
from tests.train.objective_batches import make_batch, perfect


def plain_batch(size: int = 24) -> ClipBatch:
    """Three clips of one frame that were only rounded."""
    batch = make_batch(frames=1, size=size)
    return dataclasses.replace(batch, codes=batch.value_lsb.round().clamp(0, 255), half_width_lsb=torch.full((3,), 0.5))


class Knowing(nn.Module):
    """Says the truth about the pictures it has been shown, in their order, or that truth and something more."""

    def __init__(self, truths: list[ClipBatch], shifts: tuple[float, float] = (0.0, 0.0)) -> None:
        super().__init__()
        self.shifts = nn.Parameter(torch.tensor(shifts))
        self.truths, self.calls = truths, 0

    def forward(
        self, codes: Tensor, state: None, source: Source, flow_px: None
    ) -> tuple[list[Prediction], dict[str, Tensor]]:
        truth = self.truths[self.calls]
        assert torch.equal(codes, truth.codes)
        (said,) = perfect(truth)
        shift = self.shifts[self.calls]
        self.calls += 1
        return [dataclasses.replace(said, offset_lsb=said.offset_lsb + shift, gain_stops=said.gain_stops + shift)], {}


def drawn_ev(seed: int, stops: float = 3.0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).uniform(-stops, stops, 3)).float()


@pytest.mark.parametrize("ev", [-6.5, -1.0, 0.37, 3.0])
def test_light_is_so_many_stops_brighter_whatever_the_exposure_was(ev: float) -> None:
    light = soft_clip()
    before = Degradation("srgb", -1.0, ev_stops=0.5)
    plain, (shifted,) = degrade(light, before), exposure_stack(light, before, [ev])
    assert shifted.exposure == pytest.approx(plain.exposure * 2**ev, rel=1e-6)
    encode = get_encoding("srgb").encode
    expected = encode(torch.from_numpy(light).double() * plain.exposure * 2**ev).numpy() * 255
    np.testing.assert_allclose(shifted.value_lsb, expected, rtol=1e-5, atol=1e-3)


def test_a_stack_has_looks_in_common_and_noise_of_its_own() -> None:
    light = soft_clip(frames=1)
    one, two = exposure_stack(light, EVERYTHING, [0.0, 0.0])
    assert np.array_equal(one.codes, degrade(light, EVERYTHING).codes)
    assert not np.array_equal(one.codes, two.codes)
    assert abs(float(one.value_lsb.mean() - two.value_lsb.mean())) < 1


def test_exposures_are_drawn_as_often_as_their_share_and_change_nothing_else() -> None:
    on, off = only(ev_share=0.3, ev_stops=(-2.0, 4.0)), only()
    pairs = [[draw_degradation(np.random.default_rng(n), config) for config in (on, off)] for n in range(800)]
    shifts = np.array([shifted.ev_stops for shifted, _ in pairs])
    assert np.mean(shifts != 0) == pytest.approx(0.3, abs=0.06)
    assert shifts.min() == pytest.approx(-2, abs=0.2)
    assert shifts.max() == pytest.approx(4, abs=0.2)
    assert all(dataclasses.replace(shifted, ev_stops=0.0) == plain for shifted, plain in pairs)


def test_the_first_frame_at_ev_0_is_what_it_was_before_anything_corrupted_it() -> None:
    batch = make_batch(frames=2)
    shown = expose_first_frame(batch, torch.zeros(3))
    assert shown.codes.shape[1] == 1
    torch.testing.assert_close(shown.codes, batch.value_lsb[:, :1].round().clamp(0, 255))
    torch.testing.assert_close(shown.gain_stops, batch.gain_stops[:, :1], atol=1e-4, rtol=0)
    assert shown.half_width_lsb.tolist() == [0.5] * 3


def test_other_exposures_have_their_own_codes_and_truth() -> None:
    batch, ev = plain_batch(), torch.tensor([-2.0, 1.5, 3.0])
    shown = expose_first_frame(batch, ev)
    light = true_light(batch)[1].double()
    for index, name in enumerate(batch.encodings):
        value = get_encoding(name).encode(light[index] * 2.0 ** float(ev[index])) * 255
        assert float((shown.codes[index] - value.round().clamp(0, 255)).abs().max()) <= 1  # a value next to a half
        below = value < 254.4
        torch.testing.assert_close(shown.value_lsb[index][below], value[below].float(), rtol=1e-5, atol=2e-3)
    # The light of its truth, at the exposure of the clips, is that of the clips; 10 stops are the most make_batch has.
    back = true_light(shown)[1] * torch.exp2(-ev).view(-1, 1, 1, 1, 1)
    known = shown.value_lsb > -0.5
    torch.testing.assert_close(back[known], true_light(batch)[1][known], rtol=2e-3, atol=1e-5)
    assert bool(shown.clipped[2].sum() > batch.clipped[2].sum())
    assert bool(shown.clipped[0].sum() < batch.clipped[0].sum())


def test_one_who_knows_the_light_is_consistent() -> None:
    batch = plain_batch()
    net = Knowing([batch, expose_first_frame(batch, drawn_ev(4))])
    loss = exposure_consistency(net, batch, np.random.default_rng(4))
    assert net.calls == 2
    assert float(loss.detach()) < 2e-4


def test_keeping_every_code_is_not() -> None:
    class Keeping(nn.Module):
        def forward(self, codes: Tensor, state: None, source: Source, flow_px: None) -> tuple[list[Prediction], None]:
            nothing = torch.zeros_like(codes[:, 0])
            return [Prediction(nothing, nothing, nothing[:, :1] + 1)], None

    batch = plain_batch()
    assert float(exposure_consistency(Keeping(), batch, np.random.default_rng(4))) > 5e-4


@pytest.mark.parametrize("seed", range(4))
def test_the_one_with_the_wider_code_learns(seed: int) -> None:
    batch, ev = plain_batch(), drawn_ev(seed)
    other = expose_first_frame(batch, ev)
    net = Knowing([batch, other], (0.02, -0.03))
    exposure_consistency(net, batch, np.random.default_rng(seed)).backward()

    def width(b: ClipBatch, index: int) -> Tensor:
        found = b.width_stops[index][b.codes[index].long()]
        return found.masked_fill((b.codes[index] >= 254.5) | (b.codes[index] <= 0.5), torch.inf)

    first, second = 0, 0
    for index in range(3):
        own, its = width(batch, index), width(other, index)
        learns = (own > its) | ((own == its) & bool(ev[index] < 0))
        first, second = first + int(learns.sum()), second + int((~learns).sum())
    assert first > 0
    assert second > 0
    assert net.shifts.grad is not None
    assert bool((net.shifts.grad != 0).all())


@pytest.mark.parametrize(("darker", "gain_stops", "learner"), [(True, 0.01, 0), (False, 0.01, 1), (True, 9.0, 0)])
def test_of_what_the_clip_clips_the_darker_exposure_teaches(darker: bool, gain_stops: float, learner: int) -> None:
    """Barely clipped, it is known where it is exposed darker; brighter, or far above, both clip."""
    batch = plain_batch()
    white = dataclasses.replace(
        batch,
        codes=torch.full_like(batch.codes, 255),
        value_lsb=torch.full_like(batch.value_lsb, 255),
        gain_stops=torch.full_like(batch.gain_stops, gain_stops),
    )
    seed = next(s for s in range(99) if bool(((drawn_ev(s) < -0.5) if darker else (drawn_ev(s) > 0.5)).all()))
    net = Knowing([white, expose_first_frame(white, drawn_ev(seed))], (0.02, 0.03))
    exposure_consistency(net, white, np.random.default_rng(seed)).backward()
    assert net.shifts.grad is not None
    assert float(net.shifts.grad[learner]) != 0
    assert float(net.shifts.grad[1 - learner]) == 0


def test_exposures_repeat_with_their_seed() -> None:
    batch = plain_batch()

    def loss(seed: int) -> float:
        net = Knowing([batch, expose_first_frame(batch, drawn_ev(seed))], (0.1, 0.3))
        return float(exposure_consistency(net, batch, np.random.default_rng(seed)).detach())

    assert loss(1) == loss(1) != loss(2)
