"""From light to codes: exposure and each degradation of codes alone against a closed form."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from seqhdr.color.encodings import get_encoding
from seqhdr.train.codecs import h264, jpeg
from seqhdr.train.degrade import Degradation, degrade, exposure_factor, flicker_gains
from seqhdr.train.response import Response, apply_response
from tests.train.degrade_examples import EVERYTHING, decoded, soft_clip

ENCODINGS = ("acescct", "logc3", "srgb", "rec709")


@pytest.mark.parametrize("name", ENCODINGS)
def test_plain_rounding_is_within_half_a_code_of_the_encoded_light(name: str) -> None:
    light = soft_clip()
    clip = degrade(light, Degradation(name, -1.0))
    encoded = get_encoding(name).encode(torch.from_numpy(light).double() * clip.exposure).numpy() * 255
    np.testing.assert_allclose(clip.value_lsb, encoded, atol=1e-3)
    np.testing.assert_array_equal(clip.codes, np.rint(clip.value_lsb).clip(0, 255))
    inside = clip.value_lsb < 254.5
    assert np.abs(clip.value_lsb - clip.codes)[inside].max() <= 0.5
    assert clip.half_width_lsb == 0.5
    assert clip.codes.dtype == np.uint8
    assert clip.value_lsb.dtype == clip.gain_stops.dtype == np.float32
    assert clip.codes.shape == clip.value_lsb.shape == clip.gain_stops.shape == light.shape


@pytest.mark.parametrize("name", ["srgb", "rec709"])
def test_what_is_above_the_top_has_its_stops(name: str) -> None:
    light = soft_clip(stops=4)
    light[0, 0, 0] = 1e9
    clip = degrade(light, Degradation(name, 0.5))
    top = float(get_encoding(name).decode(torch.tensor(254.5 / 255).double()))
    above = clip.value_lsb >= 254.5
    np.testing.assert_array_equal(clip.codes == 255, above)
    assert 0.1 < above.mean() < 0.9
    expected = np.log2(light.astype(float) * clip.exposure / top)
    np.testing.assert_allclose(clip.gain_stops[above], expected.clip(0, 12)[above], atol=1e-3)
    np.testing.assert_array_equal(clip.gain_stops[~above], 0)
    assert clip.gain_stops[0, 0, 0].tolist() == [12, 12, 12]
    assert clip.value_lsb[0, 0, 0, 0] > 10_000


def test_stops_start_from_nothing_at_the_top() -> None:
    ramp = np.geomspace(0.98, 1.02, 3 * 128 * 128, dtype=np.float32).reshape(1, 128, 128, 3)
    white, crushed = 254.5 / 255, 254.5 / 255 * 0.98 + 0.02
    # sRGB and the sigmoid (n = 1), solved for the light of code 254.5.
    tops = ((white + 0.055) / 1.055) ** 2.4, 0.6 * crushed / (1.6 - crushed)
    looks = {}, {"response": Response("sigmoid", 1.0, 0.6), "crush": 0.02}
    for top, look in zip(tops, looks, strict=True):
        clip = degrade(ramp, Degradation("srgb", 0.0, **look))
        above = clip.value_lsb >= 254.5
        assert above.any()
        np.testing.assert_array_equal(clip.gain_stops[~above], 0)
        expected = np.log2(ramp[above].astype(float) * clip.exposure / top)
        np.testing.assert_allclose(clip.gain_stops[above], expected, atol=2e-5)
        assert clip.gain_stops[above].min() < 1e-5


def test_log_codes_clip_where_their_range_ends() -> None:
    light = soft_clip(stops=1)
    light[:, :8] = 2.0**10
    clip = degrade(light, Degradation("acescct", 0.0))
    top = float(get_encoding("acescct").decode(torch.tensor(254.5 / 255).double()))
    assert (clip.codes[:, :8] == 255).all()
    np.testing.assert_allclose(clip.gain_stops[:, :8], math.log2(2**10 * clip.exposure / top), atol=1e-3)


def test_the_median_goes_where_it_is_told() -> None:
    light = soft_clip(seed=1)
    for stops in (-5.0, 0.5):
        exposed = light * exposure_factor(light, Degradation("acescct", stops))
        assert math.log2(np.median(exposed.max(axis=-1))) == pytest.approx(stops, abs=0.1)
    brighter = degrade(light * 3, Degradation("srgb", -2.0))
    assert np.abs(brighter.codes.astype(int) - degrade(light, Degradation("srgb", -2.0)).codes).max() <= 1


def test_the_share_that_clips_is_the_one_drawn() -> None:
    light = np.exp2(np.random.default_rng(0).normal(0, 2, (6, 128, 128, 3))).astype(np.float32)
    for share in (0.02, 0.1):
        clip = degrade(light, Degradation("srgb", 4.0, clipped=share))
        assert (clip.value_lsb.max(axis=-1) > 255).mean() == pytest.approx(share, rel=0.2)


def test_a_flat_wall_is_not_pushed_into_clipping() -> None:
    wall = np.full((2, 64, 64, 3), 0.5, np.float32) * np.exp2(np.random.default_rng(0).normal(0, 0.01, (2, 64, 64, 1)))
    degradation = Degradation("srgb", -2.0, clipped=0.1)
    assert exposure_factor(wall.astype(np.float32), degradation) == pytest.approx(0.25 / 0.5, rel=0.01)
    assert degrade(wall.astype(np.float32), degradation).codes.max() < 150


def test_darkness_does_not_divide_by_zero() -> None:
    clip = degrade(np.zeros((2, 8, 8, 3), np.float32), dataclasses.replace(EVERYTHING, clipped=0.01))
    assert np.isfinite(clip.value_lsb).all()
    assert np.isfinite(clip.exposure)


def test_dither_is_triangular_two_codes_wide_and_centred() -> None:
    # A level between two codes, so that the mean of the codes must say it.
    light = np.full((4, 128, 128, 3), 0.2, np.float32)
    light[:, :64] = 0.05
    plain = Degradation("srgb", -3.0)
    clip = degrade(light, dataclasses.replace(plain, dither=True, seed=1))
    error = clip.codes - clip.value_lsb
    assert clip.half_width_lsb == 1.5
    assert np.abs(error).max() <= 1.5 + 1e-4
    assert np.abs(error).max() > 1.3
    for half in (error[:, :64], error[:, 64:]):
        assert abs(half.mean()) < 0.01
        # Triangular dither makes the error's variance that of the dither (1/6) plus that of rounding (1/12).
        assert half.var() == pytest.approx(1 / 4, rel=0.03)
    assert not np.array_equal(error[0], error[1])
    np.testing.assert_array_equal(clip.value_lsb, degrade(light, plain).value_lsb)


@pytest.mark.parametrize("kind", ["jpeg", "h264"])
def test_compression_is_told_by_a_w_that_holds_most_errors(kind: str) -> None:
    light = soft_clip(frames=4, size=128, stops=0.2, seed=2)
    plain = degrade(light, Degradation("srgb", -2.0, seed=3))
    setting = {"jpeg_quality": 90} if kind == "jpeg" else {"h264_crf": 18}
    clip = degrade(light, Degradation("srgb", -2.0, **setting, seed=3))
    expected = jpeg(plain.codes, 90) if kind == "jpeg" else h264(plain.codes, 18)
    np.testing.assert_array_equal(clip.codes, expected)
    np.testing.assert_array_equal(clip.value_lsb, plain.value_lsb)
    error = np.abs(clip.codes - clip.value_lsb.clip(0, 255))
    assert 0.5 < clip.half_width_lsb < 4
    assert (error <= clip.half_width_lsb).mean() == pytest.approx(0.93, abs=0.02)
    widened = degrade(light, Degradation("srgb", -2.0, **setting, half_width_factor=1.2, seed=3))
    assert widened.half_width_lsb == pytest.approx(min(1.2 * clip.half_width_lsb, 4))


def test_w_stays_within_its_limits() -> None:
    rough = np.exp2(np.random.default_rng(0).normal(0, 1.5, (1, 64, 64, 3))).astype(np.float32)
    assert degrade(rough, Degradation("srgb", -2.0, jpeg_quality=5)).half_width_lsb == 4
    flat = np.ones((1, 64, 64, 3), np.float32)
    assert degrade(flat, Degradation("srgb", -2.0, jpeg_quality=97, half_width_factor=0.01)).half_width_lsb == 0.5


def test_flicker_moves_the_codes_and_not_the_truth() -> None:
    light = soft_clip(frames=6, stops=1)
    plain = degrade(light, Degradation("acescct", -2.0, seed=5))
    degradation = Degradation("acescct", -2.0, flicker_stops=0.5, white_balance_stops=0.2, seed=5)
    clip = degrade(light, degradation)
    np.testing.assert_array_equal(clip.value_lsb, plain.value_lsb)
    np.testing.assert_array_equal(clip.gain_stops, plain.gain_stops)
    assert clip.half_width_lsb == 0.5
    # ACEScct has 255 / 17.52 codes per stop above 2^-7.
    stops = np.log2(flicker_gains(degradation, 6))
    moved = (clip.codes - clip.value_lsb).mean(axis=(1, 2)) / (255 / 17.52)
    np.testing.assert_allclose(moved, stops, atol=0.01)
    assert np.ptp(stops[:, 1]) > 0.1


def test_flicker_dims_a_whole_frame_and_white_balance_keeps_green() -> None:
    flicker = np.log2(flicker_gains(Degradation("srgb", flicker_stops=0.3, seed=1), 200))
    assert np.ptp(flicker, axis=1).max() == 0
    assert 0.28 < np.abs(flicker).max() <= 0.3001
    balance = np.log2(flicker_gains(Degradation("srgb", white_balance_stops=0.2, seed=1), 200))
    np.testing.assert_array_equal(balance[:, 1], 0)
    assert 0.19 < np.abs(balance).max() <= 0.2001
    assert abs(np.corrcoef(balance[:, 0], balance[:, 2])[0, 1]) < 0.3
    both = Degradation("srgb", flicker_stops=0.3, white_balance_stops=0.2, seed=1)
    np.testing.assert_allclose(np.log2(flicker_gains(both, 200)), flicker + balance, atol=1e-6)


@pytest.mark.parametrize("name", ["srgb", "acescct"])
def test_crushed_blacks_are_a_line_in_codes(name: str) -> None:
    light = soft_clip(stops=3)
    plain = degrade(light, Degradation(name, -3.0)).value_lsb.astype(float)
    clip = degrade(light, Degradation(name, -3.0, crush=0.04))
    np.testing.assert_allclose(clip.value_lsb, (plain - 0.04 * 255) / 0.96, atol=2e-3)
    np.testing.assert_array_equal(clip.codes, np.rint(clip.value_lsb).clip(0, 255))
    if name == "srgb":
        assert (clip.codes[plain < 10] == 0).all()
        assert (plain < 10).any()


@pytest.mark.parametrize("name", ["srgb", "rec709"])
@pytest.mark.parametrize("response", [Response("sigmoid", 0.8, 0.5), Response("srgb")])
def test_a_response_defines_what_the_codes_say(name: str, response: Response) -> None:
    light = soft_clip(stops=3)
    clip = degrade(light, Degradation(name, -1.0, response=response))
    exposed = light.astype(float) * clip.exposure
    curve = apply_response(response, torch.from_numpy(exposed)).numpy()
    np.testing.assert_allclose(clip.value_lsb, 255 * curve, rtol=1e-4, atol=1e-3)
    below = exposed < 0.99
    # The declared encoding, not the camera, turns codes into light: what comes out is the picture with its look.
    width = decoded(name, clip.value_lsb + 0.5) - decoded(name, clip.value_lsb - 0.5)
    off = np.abs(decoded(name, clip.codes.astype(np.float32)) - decoded(name, (255 * curve).astype(np.float32)))
    assert (off <= 0.51 * width)[below].all()
    # Above clip it is scene light that counts.
    above = exposed > 1.01
    np.testing.assert_allclose(clip.gain_stops[above], np.log2(exposed[above]).clip(0, 12), atol=0.03)
    assert (clip.codes[above] == 255).all()
    assert (clip.value_lsb[above] >= 254.5).all()
    assert above.any()
    assert below.any()


def test_exposure_looks_and_balance_are_the_same_in_all_frames() -> None:
    frame = soft_clip(frames=1)
    clip = degrade(np.repeat(frame, 4, axis=0), Degradation("srgb", -1.0, 0.05, Response(), crush=0.03))
    for t in range(1, 4):
        np.testing.assert_array_equal(clip.codes[t], clip.codes[0])
        np.testing.assert_array_equal(clip.value_lsb[t], clip.value_lsb[0])
    # One factor, although one of these frames is brighter: it must stay so.
    brighter = degrade(np.concatenate((frame, 2 * frame)), Degradation("acescct", -2.0))
    rise = brighter.value_lsb[1] - brighter.value_lsb[0]
    np.testing.assert_allclose(rise[brighter.value_lsb[0] > 50], 255 / 17.52, atol=1e-2)


def test_h264_comes_back_the_way_that_was_drawn() -> None:
    light = np.linspace(0.02, 0.6, 2 * 32 * 32 * 3, dtype=np.float32).reshape(2, 32, 32, 3)
    plain = degrade(light, Degradation("srgb")).codes
    found = [degrade(light, Degradation("srgb", h264_crf=20, h264_cut_down=cut)).codes for cut in (False, True)]
    for cut in (False, True):
        np.testing.assert_array_equal(found[cut], h264(plain, 20, cut_down=cut))
    # Grey has no chroma to cut down, so only luma loses the half code that rounding down costs on average.
    assert (found[1].astype(float) - found[0]).mean() == pytest.approx(-0.5, abs=0.1)
