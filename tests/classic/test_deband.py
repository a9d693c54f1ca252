"""Debanding without a network: in its bins, of any width of band, and blind to texture."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from seqhdr.classic.deband import ClassicDeband, deband
from seqhdr.color.encodings import get_encoding
from seqhdr.model.predict import Predictor
from seqhdr.model.source import describe_source


def half_width(w: float = 0.5) -> Tensor:
    return torch.tensor([w]).view(1, 1, 1, 1)


def rms(error: Tensor) -> float:
    return float(error.square().mean().sqrt())


def slope(codes_per_px: float, height: int = 256, width: int = 384) -> Tensor:
    x = torch.arange(float(width))
    y = torch.arange(float(height))[:, None]
    return (90 + codes_per_px * (x + 0.3 * y)).expand(1, 3, -1, -1) + torch.tensor([0.0, 0.3, 0.6]).view(1, 3, 1, 1)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    w=st.sampled_from([0.5, 1.5, 4.0]),
    spread=st.sampled_from([0.3, 3.0, 60.0]),
)
def test_every_value_stays_in_its_bin(seed: int, height: int, width: int, w: float, spread: float) -> None:
    noise = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(seed))
    codes = (128 + spread * noise).round().clamp(0, 255)
    values = deband(codes, half_width(w).expand(2, 1, 1, 1))
    assert values.shape == codes.shape
    assert (values - codes).abs().max() <= w + 1e-4
    source = describe_source(get_encoding("srgb"), w, 255)
    prediction, _ = ClassicDeband().step(codes[:1], None, source, None)
    assert prediction.offset_lsb.abs().max() <= w
    assert not prediction.gain_stops.any()


@pytest.mark.parametrize("codes_per_px", [0.3, 0.1, 0.03])
def test_bands_of_any_width_go(codes_per_px: float) -> None:
    truth = slope(codes_per_px)
    codes = truth.round()
    inside = (..., slice(40, -40), slice(40, -40))
    before, after = rms((codes - truth)[inside]), rms((deband(codes, half_width()) - truth)[inside])
    assert before == pytest.approx(12**-0.5, rel=0.1)
    assert after < 0.4 * before


def test_where_codes_do_not_change_nothing_does() -> None:
    codes = torch.full((1, 3, 50, 70), 77.0)
    torch.testing.assert_close(deband(codes, half_width()), codes)


def test_texture_is_left_alone() -> None:
    noise = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(3))
    codes = (120 + 12 * noise).round()
    assert (deband(codes, half_width()) - codes).abs().mean() < 0.01


def test_texture_is_smoothed_the_less_the_more_codes_it_spans() -> None:
    noise = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(6))
    textures = [(120 + spread * noise).round() for spread in (0.4, 1, 2)]
    moved = [float((deband(codes, half_width()) - codes).abs().mean()) for codes in textures]
    assert moved[0] > 0.05
    assert moved[1] < 0.5 * moved[0]
    assert moved[2] < 1e-3


def test_the_gate_opens_over_several_pixels() -> None:
    """Of an edge, the pull of its surroundings comes in step by step: the most is a third of it at once."""
    truth = slope(0.0)
    truth[..., 192:] += 40
    codes = truth.round()
    codes[..., ::2, :] += 1  # stripes that flat places lose: the offset is the gate
    share = (deband(codes, half_width()) - codes)[0, 0, 128].abs()
    ramp = share[170:192]
    assert ramp[0] > 0.3
    assert ramp[-1] < 0.5 * ramp[0]
    assert (ramp[:-1] - ramp[1:]).max() < 0.4 * ramp[0]


def test_large_codes_round_no_offset_out_of_its_bin() -> None:
    """At 60 000 a float32 counts in 256ths, and 2.69 is none."""
    w, codes = 2.69, torch.full((1, 3, 64, 64), 60_000.0)
    codes[..., ::8, ::8] += 5
    assert (deband(codes, half_width(w)) - codes).abs().max() > w
    prediction, _ = ClassicDeband().step(codes, None, describe_source(get_encoding("srgb"), w, 65535), None)
    assert prediction.offset_lsb.abs().max() <= w


def test_an_edge_is_neither_moved_nor_ringed() -> None:
    truth = slope(0.05)
    truth[..., 200:] += 80
    codes = truth.round()
    values = deband(codes, half_width())
    # What lies beyond the edge pulls by a quarter of a code at most; five pixels on it has no say.
    assert (values - codes)[..., 198:202].abs().max() < 0.25
    left, right = (slice(40, -40), slice(150, 190)), (slice(40, -40), slice(210, 250))
    for side in (left, right):
        assert rms((values - truth)[..., *side]) < 0.75 * rms((codes - truth)[..., *side])


def test_one_channel_that_has_texture_speaks_for_all() -> None:
    """Bands of one channel are hidden by the others, whose texture would suffer."""
    codes = slope(0.05).round()
    noise = torch.randn(256, 384, generator=torch.Generator().manual_seed(4))
    codes[:, 1] = (codes[:, 1] + 12 * noise).round()
    assert (deband(codes, half_width()) - codes).abs().mean() < 0.02


def test_wide_bins_smooth_what_narrow_ones_leave() -> None:
    truth = slope(0.05)
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(5))
    codes = (truth + 1.2 * noise).round()
    narrow, wide = (rms(deband(codes, half_width(w)) - truth) for w in (0.5, 3.0))
    assert wide < 0.4 * rms(codes - truth)
    assert narrow > 0.8 * rms(codes - truth)


def test_clips_of_a_batch_do_not_mix() -> None:
    codes = torch.cat((slope(0.05).round(), slope(0.2).round()))
    widths = torch.tensor([0.5, 2.0]).view(2, 1, 1, 1)
    both = deband(codes, widths)
    for index in range(2):
        alone = deband(codes[index : index + 1], widths[index : index + 1])
        torch.testing.assert_close(both[index : index + 1], alone)


def test_it_takes_a_networks_place_and_asks_for_no_motion() -> None:
    def unasked(current: Tensor, previous: Tensor) -> Tensor:
        raise AssertionError("no motion is of use")

    value = cv2.GaussianBlur(np.random.default_rng(0).normal(100, 60, (80, 96, 3)), (0, 0), 20)
    frames = [np.rint(value.clip(0, 255)).astype(np.uint8)] * 3
    whole = list(Predictor(ClassicDeband(), flow=unasked).stream(frames))
    assert len(whole) == 3
    assert all(torch.equal(one.offset_lsb, whole[0].offset_lsb) for one in whole)
    assert whole[0].offset_lsb.abs().mean() > 0.1
    # Of a clipped channel it knows nothing: a confidence of 2^-4.
    assert (whole[0].gain_error_stops == 4).all()


def test_tiles_agree_with_the_whole_frame(paint_slope: Callable[[int, int], np.ndarray]) -> None:
    codes = paint_slope(300, 520)
    whole = next(iter(Predictor(ClassicDeband()).stream([codes]))).offset_lsb
    tiled = next(iter(Predictor(ClassicDeband(), tile=256).stream([codes]))).offset_lsb
    assert (whole - tiled).abs().mean() < 0.03
    assert tiled.abs().max() <= 0.5


@pytest.fixture
def paint_slope() -> Callable[[int, int], np.ndarray]:
    def paint(height: int, width: int) -> np.ndarray:
        y, x = np.mgrid[:height, :width]
        value = np.stack((90 + 0.03 * x + 0.05 * y, 100 + 0.04 * x, 120 + 0.06 * y), axis=-1)
        return np.rint(value).astype(np.uint8)

    return paint
