"""Real exposures: how far apart they are, what moved between them, and what they say of the reference's codes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from seqhdr.classic.exposures import agreement_masks, estimate_exposures, merge_onto_reference
from seqhdr.classic.merge import MERGE_WEIGHTS
from seqhdr.color.encodings import get_encoding
from seqhdr.errors import InputError

SRGB = get_encoding("srgb")
GHOST = (Ellipsis, slice(20, 50), slice(40, 80))


def scene(seed: int = 0, height: int = 96, width: int = 128) -> Tensor:
    """(3, H, W) float64 light from 2^-9 to 2^3: a smooth slope, half of it with texture."""
    generator = torch.Generator().manual_seed(seed)
    stops = torch.linspace(-9, 3, width, dtype=torch.float64).expand(3, height, width).clone()
    texture = torch.rand(3, height, width, generator=generator, dtype=torch.float64) - 0.5
    stops[:, height // 2 :] += texture[:, height // 2 :]
    return stops.exp2() * torch.tensor([1.0, 0.9, 0.7], dtype=torch.float64).view(3, 1, 1)


def shown(light: Tensor, stops: float, noise: float = 0.0, seed: int = 0) -> Tensor:
    """8-bit sRGB codes of an exposure."""
    exposed = light * 2.0**stops
    if noise:
        random = torch.randn(light.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        exposed = exposed + noise * random * exposed.clamp(min=0.001).sqrt()
    return (SRGB.encode(exposed).clamp(0, 1) * 255).round().float()


@pytest.mark.parametrize("stops", [(-4.0, -2.0, 0.0, 2.0, 4.0), (-1.5, 0.0, 1.5), (0.0, -3.0, 2.5), (1.0, 0.0)])
def test_exposures_are_told_from_frames_in_any_order(stops: tuple[float, ...]) -> None:
    frames = [[shown(scene(t), ev, 0.01, t) for ev in stops] for t in range(2)]
    found = estimate_exposures(frames, SRGB, 255)
    # The darker of the two in the middle is the zero.
    zero = sorted(stops)[(len(stops) - 1) // 2]
    np.testing.assert_allclose(found, np.array(stops) - zero, atol=0.03)


def test_what_moves_in_a_fifth_of_the_picture_does_not_change_them() -> None:
    one, other = shown(scene(), 0), shown(scene(), 2)
    other[:, :20] = 180
    np.testing.assert_allclose(estimate_exposures([[one, other]], SRGB, 255), [0, 2], atol=0.05)


def test_exposures_without_anything_in_common_are_refused() -> None:
    bright, dark = torch.full((3, 20, 20), 255.0), torch.full((3, 20, 20), 3.0)
    with pytest.raises(InputError, match=r"exposures 2 and 1 have 0 channel values in common .*: give --ev$"):
        estimate_exposures([[bright, dark]], SRGB, 255)


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_the_same_scene_agrees_with_itself(noise: float) -> None:
    stops = (-4.0, -2.0, 0.0, 2.0, 4.0)
    masks = agreement_masks([shown(scene(), ev, noise, i) for i, ev in enumerate(stops)], stops, 2, SRGB, 255)
    assert (masks[2] == 1).all()
    assert min(float(mask.mean()) for mask in masks) > 0.99


@pytest.mark.parametrize("moved", [0, 1, 3, 4])
def test_what_moved_in_one_exposure_is_not_heard_there(moved: int) -> None:
    stops = (-4.0, -2.0, 0.0, 2.0, 4.0)
    codes = [shown(scene(), ev) for ev in stops]
    other = scene()
    # A third of a stop would pass for noise; a stop and a half is something else. Black and clipped show nothing.
    other[GHOST] = 0.18 * 2.0 ** -stops[moved] * (3.0 if moved < 2 else 1.0)
    codes[moved] = shown(other, stops[moved])
    truth = scene()
    told = (SRGB.encode(truth * 2.0 ** stops[2]) * 255 > 3).all(dim=0) & (truth < 0.9).all(dim=0)
    far = ((other / truth).log2().abs() > 1.5).all(dim=0) & told
    masks = agreement_masks(codes, stops, 2, SRGB, 255)
    inside = torch.zeros_like(far)
    inside[23:47, 43:77] = True
    assert int((far & inside).sum()) > 100
    assert float(masks[moved][0][far & inside].max()) == 0
    # Far from it, and in the other exposures, nothing is lost.
    assert float(masks[moved][..., :28].min()) == 1
    for index in set(range(5)) - {moved, 2}:
        assert float(masks[index].mean()) > 0.98


@pytest.mark.parametrize("method", sorted(MERGE_WEIGHTS))
def test_a_brighter_exposure_dequantises_the_reference_and_a_darker_one_says_what_it_clips(method: str) -> None:
    stops = (-3.0, 0.0, 3.0)
    codes = [shown(scene(), ev) for ev in stops]
    found = merge_onto_reference(codes, stops, 1, SRGB, 255, 0.5, method)
    offset, gain, error = (x[0].double() for x in (found.offset_lsb, found.gain_stops, found.gain_error_stops))
    own, truth = codes[1].double(), SRGB.encode(scene()) * 255
    clipped = own >= 254.5
    dark = (own > 4) & (own < 80)
    left = (own + offset - truth)[dark].square().mean().sqrt()
    identity = float((own - truth)[dark].square().mean().sqrt())
    # Three stops more light: codes that are a third as wide there. Mann's weights do not ask how long an exposure was,
    # so the darkest one, coarse as it is here, counts as much as the others.
    assert float(left) > identity if method == "mann" else float(left) < 0.55 * identity
    assert float(offset.abs().max()) <= 0.5
    reached = clipped & (codes[0] < 255)
    said = (SRGB.decode((own + offset).clamp(max=254.5) / 255) * gain.exp2()).log2()
    assert float((said - scene().log2())[reached].abs().max()) < 0.02
    assert not gain[~clipped].any()
    everywhere = reached | ~clipped
    assert error[0][everywhere.all(dim=0)].unique().tolist() == pytest.approx([0.1])
    lost = (clipped & ~reached).any(dim=0)
    assert bool(lost.any())
    assert error[0][lost].unique().tolist() == [4.0]
    # The light is at least what the darkest exposure clips at.
    assert float(gain[clipped & ~reached].min()) > 3 - 0.01


def test_no_ghost_gets_into_the_result() -> None:
    stops = (-3.0, 0.0, 3.0)
    codes = [shown(scene(), ev) for ev in stops]
    truth, clipped = codes[1].clone(), codes[1] == 255
    moved = scene()
    moved[GHOST] = 0.02
    moved[:, 60:80, 100:] = 0.05
    codes[0] = shown(moved, -3.0)
    found = merge_onto_reference(codes, stops, 1, SRGB, 255, math.inf)
    value = codes[1] + found.offset_lsb[0]
    # Inside its own code, although nothing holds it there; where it clips, not darker than that.
    where = (Ellipsis, slice(22, 48), slice(42, 78))
    assert float((value - truth)[where][~clipped[where]].abs().max()) < 1.0
    assert float(found.gain_stops[0][:, 64:76, 106:].max()) < 0.01
    assert float(found.gain_error_stops[0, 0, 70, 120]) == 4


def test_what_one_dark_exposure_says_is_asked_of_the_next() -> None:
    # The reference clips, so both dark ones may be right by it; they show different things, and the nearer one counts.
    stops = (-6.0, -3.0, 0.0)
    light = [torch.full((3, 40, 40), said, dtype=torch.float64) for said in (20.0, 3.0, 3.0)]
    masks = agreement_masks([shown(x, ev) for x, ev in zip(light, stops, strict=True)], stops, 2, SRGB, 255)
    assert float(masks[1].min()) == 1
    assert float(masks[0].max()) == 0


def test_a_ghost_is_grown_and_falls_off() -> None:
    stops = (0.0, 1.0)
    light = torch.full((3, 60, 60), 0.1, dtype=torch.float64)
    moved = light.clone()
    moved[:, 20:40, 20:40] = 0.4
    row = agreement_masks([shown(light, 0), shown(moved, 1)], stops, 0, SRGB, 255)[1][0, 30]
    assert float(row[20:40].max()) == 0
    assert float(row[17:20].max()) == 0
    outside = row[8:18]
    assert 0 < float(outside.min()) < float(outside.max()) == 1 or float(row[16]) < 1
    assert bool((row[:20].diff() <= 0).all())
    assert float(row[:10].min()) == 1


def test_light_counts_from_the_reference_whatever_its_ev() -> None:
    codes = [shown(scene(), ev) for ev in (0.0, 2.0)]
    one = merge_onto_reference(codes, (0.0, 2.0), 0, SRGB, 255, 0.5)
    other = merge_onto_reference(codes, (-7.0, -5.0), 0, SRGB, 255, 0.5)
    torch.testing.assert_close(one.offset_lsb, other.offset_lsb)
    torch.testing.assert_close(one.gain_stops, other.gain_stops)
