"""A luminance stack: ranges that add up, light that no merge changes, and highlights stretched by a fixed rule."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from seqhdr.classic.deband import ClassicDeband
from seqhdr.classic.merge import MERGE_WEIGHTS
from seqhdr.classic.stack import VIRTUAL_STOPS, LuminanceStack, range_masks, stretch_stops, virtual_exposures
from seqhdr.color.bins import clip_mask
from seqhdr.color.encodings import get_encoding
from seqhdr.model.head import Prediction
from seqhdr.model.source import describe_source

BOX = (Ellipsis, slice(8, 40), slice(10, 50))


def frame(seed: int = 0, height: int = 48, width: int = 64) -> Tensor:
    """(1, 3, H, W): noise over a slope, with a box that clips."""
    random = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))
    codes = (20 + 200 * torch.arange(float(width)) / width + 20 * random).round()
    codes[BOX] = 255
    return codes


def decode(codes: Tensor, stack: LuminanceStack, encoding: str = "srgb", w: float = 0.5) -> Prediction:
    return stack.step(codes, None, describe_source(get_encoding(encoding), w, 255), None)[0]


def test_ranges_add_up_to_one_and_meet_at_one_half() -> None:
    light = torch.logspace(-12, 12, 400, base=2).expand(3, 1, -1)
    masks = range_masks(light)
    assert masks.shape == (len(VIRTUAL_STOPS), 1, 1, 400)
    np.testing.assert_allclose(masks.sum(dim=0), 1, atol=1e-5)
    for index, stops in enumerate(VIRTUAL_STOPS):
        grey = torch.full((3, 1, 1), 0.18 * 2.0**-stops)
        assert float(range_masks(grey)[index]) == pytest.approx(1, abs=1e-5)
        if index:
            between = grey * 2 ** ((VIRTUAL_STOPS[1] - VIRTUAL_STOPS[0]) / 2)
            np.testing.assert_allclose(range_masks(between)[index - 1 : index + 1].flatten(), 0.5, atol=1e-5)
    # Darkness and light below zero belong to the brightest exposure.
    assert float(range_masks(torch.full((3, 1, 1), -1.0))[-1]) == 1


def test_virtual_exposures_show_the_light_so_many_stops_brighter() -> None:
    light = torch.tensor([0.01, 0.18, 3.0]).view(1, 1, 3).expand(3, 1, 3)
    shown = virtual_exposures(light, get_encoding("srgb"), 255)
    expected = [[min(x * 2.0**stops, 1.0) for x in (0.01, 0.18, 3.0)] for stops in VIRTUAL_STOPS]
    np.testing.assert_allclose(get_encoding("srgb").decode(shown[:, 0, 0] / 255), expected, rtol=1e-5)


def test_a_stretch_grows_inwards_by_its_formula_and_goes_on_where_the_frame_cuts() -> None:
    clipped = torch.zeros(3, 40, 60, dtype=torch.bool)
    clipped[:, :, 20:] = True
    stops = stretch_stops(clipped, 3.0)
    assert stops.shape == (1, 40, 60)
    inward = 3 * (1 - torch.exp(-torch.arange(40.0) / 12))
    np.testing.assert_allclose(stops[0, 20, 20:], inward, atol=1e-4)
    np.testing.assert_allclose(stops[0, 0], stops[0, 20], atol=1e-4)
    assert not stops[0, :, :20].any()
    assert (stretch_stops(torch.ones(3, 5, 6, dtype=torch.bool), 3.0) == 3).all()


def test_a_stretch_does_not_colour_the_light() -> None:
    clipped = torch.zeros(3, 40, 60, dtype=torch.bool)
    clipped[0, 5:35, 5:55] = True
    assert not stretch_stops(clipped, 3.0).any()
    clipped[1:, 10:30, 20:40] = True
    stops = stretch_stops(clipped, 3.0)
    assert bool((stops[0] > 0)[11:29, 21:39].all())
    assert not stops[0][~clipped.all(dim=0)].any()
    codes = frame()
    codes[:, 1, 8:40, 30:50] = 200  # half of the box is magenta
    found = decode(codes, LuminanceStack("debevec", 2.0))
    top = math.log2(float(get_encoding("srgb").decode(torch.tensor(254.5 / 255, dtype=torch.float64))))
    assert float(found.gain_stops[..., 8:40, 30:50].max()) < abs(top) + 1e-3
    spread = found.gain_stops[0].amax(dim=0) - found.gain_stops[0].amin(dim=0)
    assert float(spread[8:40, 10:30].max()) < 1e-3


@pytest.mark.parametrize("weights", sorted(MERGE_WEIGHTS))
@pytest.mark.parametrize("encoding", ["srgb", "acescct", "logc3"])
def test_below_the_clip_every_merge_says_what_debanding_says(weights: str, encoding: str) -> None:
    codes = frame()
    smooth, _ = ClassicDeband().step(codes, None, describe_source(get_encoding(encoding), 0.5, 255), None)
    found = decode(codes, LuminanceStack(weights, 2.0), encoding)
    clipped = codes == 255
    np.testing.assert_allclose(found.offset_lsb[~clipped], smooth.offset_lsb[~clipped], atol=2e-3)


def test_above_the_clip_it_says_the_stretch() -> None:
    found = decode(frame(), LuminanceStack("debevec", 2.0))
    clipped = clip_mask(frame(), 0.5, 255)
    # Light above what the top of the range shows, half a code below 1.
    top = math.log2(float(get_encoding("srgb").decode(torch.tensor(254.5 / 255, dtype=torch.float64))))
    stretched = stretch_stops(clipped[0], 2.0).expand(3, -1, -1)
    np.testing.assert_allclose(found.gain_stops[0][clipped[0]], stretched[clipped[0]], atol=abs(top) + 1e-3)
    assert not found.gain_stops[~clipped].any()
    assert float(found.gain_stops.max()) > 1.4
    assert not decode(frame(), LuminanceStack("debevec", 0.0)).gain_stops.gt(abs(top) + 1e-3).any()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), w=st.sampled_from([0.5, 1.5, 4.0]), weights=st.sampled_from(sorted(MERGE_WEIGHTS)))
def test_offsets_stay_in_their_bins_and_stops_are_finite(seed: int, w: float, weights: str) -> None:
    codes = (torch.rand(1, 3, 20, 24, generator=torch.Generator().manual_seed(seed)) * 300).round().clamp(0, 255)
    found = decode(codes, LuminanceStack(weights, 4.0), w=w)
    assert float(found.offset_lsb.abs().max()) <= w
    assert bool(torch.isfinite(found.gain_stops).all())
    assert float(found.gain_stops.min()) >= 0
    assert not found.gain_stops[~clip_mask(codes, w, 255)].any()


def test_without_bounds_only_the_top_code_is_clipped() -> None:
    codes = frame()
    codes[..., :6, :] = 252  # clipped by w = 4, and by no half a code
    space = get_encoding("srgb")
    free = LuminanceStack("debevec", 2.0).step(codes, None, describe_source(space, 4.0, 255, bounded=False), None)[0]
    held = LuminanceStack("debevec", 2.0).step(codes, None, describe_source(space, 4.0, 255), None)[0]
    assert not free.gain_stops[..., :6, :].any()
    assert bool(held.gain_stops[..., :6, :].any())
