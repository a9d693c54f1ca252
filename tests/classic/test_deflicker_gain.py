"""Deflicker by gains: flicker of the whole picture goes, a clean shot is left alone, fades and steps stay."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from seqhdr.classic.deflicker_gain import MOST_STOPS, left_changes, plan_gain, smooth_cells
from seqhdr.classic.deflicker_measure import ChangeMap, combine_halves, measure_change
from tests.classic.deflicker_shots import cells, small_shot


def test_the_change_is_measured_along_the_motion_in_both_halves() -> None:
    shot = small_shot("colour")
    for frame, change in enumerate(shot.maps, start=1):
        wanted = (shot.put_in[frame] - shot.put_in[frame - 1])[:, 0, 0]
        measured, error = combine_halves(change)
        # The column that comes in at the border has not been seen before.
        torch.testing.assert_close(
            measured[..., 1:-1], wanted[:, None, None].expand_as(measured[..., 1:-1]), atol=2e-3, rtol=0
        )
        assert torch.isfinite(error[..., 1:-1]).all()
        assert float(change.backward_cells[0].mean()) == pytest.approx(-2 / 8)


def test_what_is_hidden_clipped_or_outside_is_unknown() -> None:
    shot = small_shot("global", frames=2)
    usable = shot.usable.clone()
    usable[0, :, 80:] = False
    flow = shot.backward_px[1]
    change = measure_change(shot.log2[1], shot.log2[0], usable, shot.usable, flow, -flow)
    assert torch.isinf(change.errors_stops[:, 0, :, 10:]).all()
    assert torch.isfinite(change.errors_stops[:, 1:, :, 10:-1]).all()
    contradiction = measure_change(shot.log2[1], shot.log2[0], shot.usable, shot.usable, flow, flow - 4)
    assert torch.isinf(contradiction.errors_stops).all()
    assert not contradiction.halves_stops.any()


def test_a_picture_that_is_no_multiple_of_a_cell_is_refused() -> None:
    odd = torch.zeros(3, 20, 24)
    with pytest.raises(ValueError, match="24x20, expected multiples of 8"):
        measure_change(odd, odd, odd == 0, odd == 0, odd[:2], odd[:2])


@pytest.mark.parametrize("kind", ["global", "colour"])
@pytest.mark.parametrize("step_px", [0, 2])
def test_flicker_of_the_whole_picture_goes(kind: str, step_px: int) -> None:
    shot = small_shot(kind, step_px=step_px)
    plan = plan_gain(shot.maps, cells())
    nothing = torch.zeros_like(plan.gain_stops)
    assert shot.change(plan.gain_stops) < 0.1 * shot.change(nothing)
    deviation = float(shot.put_in[:, :, 0, 0].std(dim=0).max())
    assert plan.flicker_stops == pytest.approx(deviation, rel=0.7)


@pytest.mark.parametrize("step_px", [0, 3])
def test_a_clean_shot_is_left_alone(step_px: int) -> None:
    shot = small_shot("none", step_px=step_px)
    plan = plan_gain(shot.maps, cells())
    assert plan.gain_stops.square().mean().sqrt() < 1e-3
    assert not plan.breaks.any()


def test_a_fade_keeps_its_speed_while_its_flicker_goes() -> None:
    shot = small_shot("global", fade=0.1)
    plan = plan_gain(shot.maps, cells())
    assert shot.change(plan.gain_stops) < 0.1 * shot.change(torch.zeros_like(plan.gain_stops))
    assert plan.kept_stops[1:].mean() == pytest.approx(0.1, abs=0.01)
    torch.testing.assert_close(plan.kept_stops[1:], torch.full((19, 3), 0.1), atol=0.02, rtol=0)


def test_light_that_wanders_and_errors_of_the_flow_are_no_flicker() -> None:
    shot = small_shot("none", step_px=0)
    chance = torch.Generator().manual_seed(9)
    wandering = []
    for change in shot.maps:
        halves = change.halves_stops.clone()
        # A body turns in the light on the left; on the right flow is wrong in a new way each time.
        halves[..., :5] += 0.05
        halves[..., -5:] += 0.05 * torch.randn(1, 3, 1, 1, generator=chance)
        wandering.append(type(change)(halves, change.errors_stops, change.backward_cells, change.forward_cells))
    plan = plan_gain(wandering, cells())
    assert plan.gain_stops.square().mean().sqrt() < 3e-3


def test_what_is_too_bright_for_flicker_stays() -> None:
    shot = small_shot("none", step_px=0)
    flash = []
    for frame, change in enumerate(shot.maps, start=1):
        halves = change.halves_stops + {9: 2.0, 10: -2.0}.get(frame, 0.0)
        flash.append(type(change)(halves, change.errors_stops, change.backward_cells, change.forward_cells))
    plan = plan_gain(flash, cells())
    assert plan.gain_stops.abs().max() <= MOST_STOPS
    assert plan.gain_stops[9].abs().max() == 0


@pytest.mark.parametrize("frames", [1, 2])
def test_one_or_two_frames_tell_nothing(frames: int) -> None:
    plan = plan_gain(small_shot("global", frames=2).maps[: frames - 1], cells())
    assert plan.gain_stops.shape == (frames, 3, *cells())
    assert not plan.gain_stops.any()


def test_what_is_left_is_what_the_gains_leave() -> None:
    shot = small_shot("colour")
    plan = plan_gain(shot.maps, cells())
    left, errors = left_changes(shot.maps, plan)
    raw = torch.stack([combine_halves(change)[0] for change in shot.maps])
    assert left[1:][torch.isfinite(errors[1:])].abs().mean() < 0.1 * raw.abs().mean()


def test_smoothing_does_not_take_in_what_is_unknown() -> None:
    values, errors = torch.zeros(1, 1, 12, 20), torch.full((1, 1, 12, 20), 0.01)
    values[..., :10] = 5.0
    errors[..., :10] = torch.inf
    smooth, error = smooth_cells(values, errors, 1.5)
    assert smooth[..., 10:].abs().max() == 0
    assert torch.isinf(error[..., 0]).all()
    assert error[..., 15].max() < 0.02


def test_what_flickers_in_a_part_only_does_not_move_the_whole_picture() -> None:
    generator = torch.Generator().manual_seed(1)
    maps = []
    for frame in range(16):
        change = 0.002 * torch.randn(3, 12, 20, generator=generator)
        change[..., :8] += 0.01 if frame % 2 else -0.01
        still = torch.zeros(2, 12, 20)
        maps.append(ChangeMap(change.repeat(2, 1, 1, 1), torch.full((2, 3, 12, 20), 0.002), still, still))
    assert not plan_gain(maps, (12, 20)).global_stops.any()
    # All of it by half as much does.
    means = [change.halves_stops.mean(dim=(2, 3), keepdim=True) for change in maps]
    whole = [
        dataclasses.replace(change, halves_stops=mean.expand_as(change.halves_stops))
        for change, mean in zip(maps, means, strict=True)
    ]
    assert float(plan_gain(whole, (12, 20)).global_stops.abs().max()) > 0.001
