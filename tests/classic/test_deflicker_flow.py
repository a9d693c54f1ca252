"""The recursive filter and the prior: local flicker goes, what is no flicker and what is clean stays."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from seqhdr.classic.deflicker_flow import FilterState, filter_frame
from seqhdr.classic.deflicker_gain import plan_gain
from seqhdr.classic.deflicker_prior import PriorLimits, fit_prior
from tests.classic.deflicker_shots import HEIGHT, WIDTH, SmallShot, cells, small_shot


def filtered(shot: SmallShot, share: float = 1.0) -> Tensor:
    """Gains (T, 3, H, W) of the filter alone, with the exact flow."""
    nothing = torch.zeros(3, HEIGHT, WIDTH)
    state = FilterState(nothing, nothing)
    gains = [nothing]
    for t in range(1, len(shot.log2)):
        state = filter_frame(
            shot.log2[t],
            shot.log2[t - 1],
            shot.usable,
            shot.usable,
            shot.backward_px[t],
            shot.forward_px[t],
            state,
            torch.full((1, HEIGHT, WIDTH), share),
            torch.zeros(3),
        )
        gains.append(state.gain_stops)
    return torch.stack(gains)


@pytest.mark.parametrize("step_px", [0, 2])
def test_the_filter_takes_most_of_local_flicker(step_px: int) -> None:
    shot = small_shot("local", step_px=step_px)
    gains = filtered(shot)
    assert shot.change(gains) < 0.3 * shot.change(torch.zeros_like(gains))


def test_the_filter_leaves_a_clean_shot_and_what_is_no_flicker_alone() -> None:
    assert filtered(small_shot("none")).square().mean().sqrt() < 3e-3
    assert not filtered(small_shot("local", frames=4), share=0.0).any()


def test_a_gain_has_no_detail() -> None:
    gains = filtered(small_shot("global", step_px=0))[-1]
    detail = gains - F.avg_pool2d(gains[None], 9, 1, padding=4, count_include_pad=False)[0]
    assert detail.abs().max() < 0.02 * gains.abs().max()


def test_what_was_hidden_takes_its_gain_from_around() -> None:
    shot = small_shot("none", step_px=0, frames=2)
    level = torch.full((3, HEIGHT, WIDTH), 0.1)
    carried = level.clone()
    carried[:, :, 70:90] = 5.0
    hidden = shot.backward_px[1].clone()
    hidden[0, :, 70:90] = 6.0
    state = filter_frame(
        shot.log2[1], shot.log2[0], shot.usable, shot.usable, torch.zeros_like(hidden), hidden,
        FilterState(carried, torch.zeros_like(level)), torch.ones(1, HEIGHT, WIDTH), torch.zeros(3),
    )  # fmt: skip
    assert state.gain_stops[:, :, 71:76].max() < 1.0
    torch.testing.assert_close(state.gain_stops[:, :, :50], 0.9 * level[:, :, :50], atol=1e-3, rtol=0)


def lights(shot: SmallShot) -> list[Tensor]:
    return [F.avg_pool2d(frame, 8) for frame in shot.log2]


def test_the_prior_takes_local_flicker_and_stops_by_itself() -> None:
    shot = small_shot("local", frames=16)
    plan = plan_gain(shot.maps, cells())
    before = torch.random.get_rng_state()
    fit = fit_prior(shot.maps, plan, lights(shot), PriorLimits(steps=150))
    assert torch.equal(torch.random.get_rng_state(), before), "chance of others is not touched"
    nothing = torch.zeros_like(plan.gain_stops)
    assert shot.change(plan.gain_stops + fit.gain_stops) < 0.25 * shot.change(nothing)
    assert fit.excess_stops[1] < 0.5 * fit.excess_stops[0]
    assert 0 < fit.steps <= 150
    assert fit.memory_bytes > 0


def test_the_prior_is_the_same_every_time() -> None:
    shot = small_shot("local", frames=8)
    plan = plan_gain(shot.maps, cells())
    one, two = (fit_prior(shot.maps, plan, lights(shot), PriorLimits(steps=15)).gain_stops for _ in range(2))
    assert torch.equal(one, two)


def test_the_prior_is_bounded_and_does_nothing_where_nothing_flickers() -> None:
    shot = small_shot("local", frames=8)
    plan = plan_gain(shot.maps, cells())
    assert fit_prior(shot.maps, plan, lights(shot), PriorLimits(steps=15, seconds=1e-6)).steps == 15
    short = fit_prior(shot.maps[:3], plan_gain(shot.maps[:3], cells()), lights(shot)[:4], PriorLimits())
    assert short.reason == "too few frames"
    clean = small_shot("none", frames=12)
    fit = fit_prior(clean.maps, plan_gain(clean.maps, cells()), lights(clean), PriorLimits(steps=60))
    assert fit.gain_stops.square().mean().sqrt() < 3e-3
