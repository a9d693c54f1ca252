"""Paths of light and the lines through them: fades stay, flicker goes, steps are found and flashes are none."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from seqhdr.classic.deflicker_paths import find_breaks, flicker_scale, lines, shrink, to_and_fro

FRAMES = 24
NO_BREAKS = torch.zeros(FRAMES, dtype=torch.bool)


def noise(seed: int = 1, deviation: float = 0.03) -> Tensor:
    return deviation * torch.randn(FRAMES, generator=torch.Generator().manual_seed(seed))


def changes_of(light_stops: Tensor) -> Tensor:
    """(T,) light → (T, 1) changes."""
    return torch.cat((torch.zeros(1), light_stops.diff()))[:, None]


def smoothed(light_stops: Tensor, breaks: Tensor = NO_BREAKS) -> Tensor:
    """The light with its offsets, of one place that does not move."""
    changes = changes_of(light_stops)[..., None, None]
    still = torch.zeros(FRAMES, 2, 1, 1)
    known = torch.ones_like(changes, dtype=torch.bool)
    fitted = lines(changes, still, still, breaks, flicker_scale(changes, breaks), known)
    return light_stops + torch.stack([line.offset_stops[0, 0, 0] for line in fitted])


@pytest.mark.parametrize("per_frame", [0.0, 0.02, -0.3])
def test_a_fade_without_flicker_is_left_alone_up_to_both_ends(per_frame: float) -> None:
    fade = per_frame * torch.arange(float(FRAMES))
    torch.testing.assert_close(smoothed(fade), fade, atol=1e-5, rtol=0)


def test_white_flicker_keeps_a_twentieth_of_its_changes() -> None:
    light = 0.1 * torch.arange(float(FRAMES)) + noise()
    left = (smoothed(light).diff() - 0.1).abs().mean() / noise().diff().abs().mean()
    assert left < 0.08


def test_an_alternation_goes_entirely() -> None:
    light = 0.02 * torch.tensor([0.0, 1.0] * (FRAMES // 2))
    assert smoothed(light)[4:-4].diff().abs().max() < 2e-3


def test_a_flash_of_one_frame_goes_and_its_neighbours_stay() -> None:
    light = torch.zeros(FRAMES)
    light[10] = 0.3
    assert smoothed(light).abs().max() < 1e-3


def test_a_step_that_lasts_is_a_break_and_stays_where_it_is() -> None:
    light = noise(deviation=0.01)
    light[13:] += 0.4
    changes = changes_of(light)
    breaks = find_breaks(changes, flicker_scale(changes[..., None, None], NO_BREAKS)[:, 0, 0])
    assert torch.nonzero(breaks).flatten().tolist() == [13]
    steady = smoothed(light, breaks)
    assert float(steady[13] - steady[12]) == pytest.approx(0.4, abs=0.02)
    assert (steady[13:].diff().abs().mean() / noise(deviation=0.01)[13:].diff().abs().mean()) < 0.15


@pytest.mark.parametrize("seed", range(4))
def test_flicker_and_flashes_are_no_breaks(seed: int) -> None:
    light = noise(seed)
    light[10] += 0.5
    changes = changes_of(light)
    scale = flicker_scale(changes[..., None, None], NO_BREAKS)[:, 0, 0]
    assert not find_breaks(changes, scale).any()


def test_the_scale_is_that_of_the_flicker_and_not_of_the_fade() -> None:
    many = 0.03 * torch.randn(2000, generator=torch.Generator().manual_seed(2)) + 0.2 * torch.arange(2000.0)
    changes = changes_of(many)[..., None, None]
    scale = flicker_scale(changes, torch.zeros(2000, dtype=torch.bool))
    assert float(scale) == pytest.approx(0.03, rel=0.1)


def test_a_path_follows_the_motion() -> None:
    # One cell flickers and moves on by a cell per frame; beside it nothing does.
    cells, beat = 40, noise(5)
    light = torch.zeros(FRAMES, cells)
    for frame in range(FRAMES):
        light[frame, frame + 8] = beat[frame]
    changes = torch.zeros(FRAMES, 1, 1, cells)
    for frame in range(1, FRAMES):
        changes[frame, 0, 0] = light[frame] - light[frame - 1].roll(1)
    backward = torch.zeros(FRAMES, 2, 1, cells)
    backward[:, 0] = -1
    known = torch.ones_like(changes, dtype=torch.bool)
    scale = torch.full((1, 1, cells), 0.03)
    offset = torch.stack(
        [line.offset_stops[0, 0] for line in lines(changes, backward, -backward, NO_BREAKS, scale, known)]
    )
    followed = torch.stack([(light + offset)[frame, frame + 8] for frame in range(FRAMES)])
    assert followed.diff().abs().mean() < 0.1 * beat.diff().abs().mean()
    beside = torch.stack([offset[frame, frame + 11] for frame in range(FRAMES)])
    assert beside.abs().max() < 1e-6


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [("flicker", 0.8, 1.2), ("alternation", 1.9, 2.1), ("noise", -0.2, 0.2), ("drift", -3, -1.9)],
)
def test_what_goes_to_and_fro(kind: str, low: float, high: float) -> None:
    random = torch.randn(4000, generator=torch.Generator().manual_seed(3))
    changes = {
        "flicker": changes_of(random)[:, 0],
        "alternation": torch.tensor([1.0, -1.0] * 2000),
        "noise": random,
        "drift": torch.ones(4000),
    }[kind][:, None, None, None]
    back, energy = to_and_fro(changes, torch.zeros(4000, 2, 1, 1), torch.ones_like(changes, dtype=torch.bool))
    assert low < float(back.sum() / energy.sum()) < high


def test_shrinking_leaves_nothing_of_chance_and_nearly_all_of_what_is_sure() -> None:
    error = torch.tensor(0.01)
    assert shrink(torch.tensor(0.019), error) == 0
    assert float(shrink(torch.tensor(-0.2), error)) == pytest.approx(-0.2, rel=0.011)
