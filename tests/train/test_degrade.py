"""From light to codes: each degradation alone against a closed form, and what the truth has to keep."""

from __future__ import annotations

import dataclasses
import json
import math

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from seqhdr.color.encodings import get_encoding
from seqhdr.errors import UnknownNameError, UsageError
from seqhdr.train.codecs import h264, jpeg
from seqhdr.train.degrade import (
    Degradation,
    DegradeConfig,
    degrade,
    draw_degradation,
    exposure_factor,
    flicker_gains,
    lose_resolution,
)
from seqhdr.train.response import Response, apply_response

Clip = NDArray[np.float32]
ENCODINGS = ("acescct", "logc3", "srgb", "rec709")


def soft_clip(frames: int = 3, size: int = 64, stops: float = 2.0, seed: int = 0) -> Clip:
    """(T, H, W, 3) scene-linear: smooth, some stops of variation, each frame of its own."""
    noise = np.random.default_rng(seed).normal(size=(size, size, frames * 3)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 4).reshape(size, size, frames, 3).transpose(2, 0, 1, 3)
    return np.exp2(stops * soft / soft.std()).astype(np.float32)


def decoded(name: str, value_lsb: NDArray[np.float32]) -> NDArray[np.float64]:
    return get_encoding(name).decode(torch.from_numpy(value_lsb).double() / 255).numpy()


def only(**shares: float) -> DegradeConfig:
    """A config with everything off but what is named."""
    off = {f.name: 0.0 for f in dataclasses.fields(DegradeConfig) if f.name.endswith("_share")}
    return dataclasses.replace(DegradeConfig(), **(off | shares))


EVERYTHING = Degradation(
    "srgb",
    -1.5,
    response=Response(),
    noise_shot=1e-4,
    noise_read=1e-3,
    grain_size_px=1.5,
    grain_stops=0.03,
    resolution_factor=1.5,
    dither=True,
    jpeg_quality=80,
    flicker_stops=0.05,
    white_balance_stops=0.05,
    crush=0.02,
    seed=7,
)


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


def test_lost_resolution_takes_what_is_finer_than_its_pixels() -> None:
    factor, size = 2.0, 128
    light = np.exp2(0.1 * np.random.default_rng(0).normal(size=(1, size, size, 3))).astype(np.float32)
    frequency = np.maximum(*np.abs(np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size))))
    fine, coarse = frequency > 1.3 * 0.5 / factor, (frequency > 0) & (frequency < 0.3 * 0.5 / factor)

    def energy(picture: Clip, band: NDArray[np.bool_]) -> float:
        return float((np.abs(np.fft.fft2(np.log2(picture[0, ..., 0]))) ** 2)[band].sum())

    lost = lose_resolution(light, factor)
    assert energy(lost, fine) < 0.03 * energy(light, fine)
    assert energy(lost, coarse) > 0.7 * energy(light, coarse)
    clip = degrade(light, Degradation("acescct", -2.0, resolution_factor=factor))
    blurred = degrade(lost * np.float32(clip.exposure), Degradation("acescct", -2.0))
    # Part of the truth, and of what was exposed before.
    np.testing.assert_allclose(
        clip.value_lsb - clip.value_lsb.mean(), blurred.value_lsb - blurred.value_lsb.mean(), atol=0.1
    )


def test_lost_resolution_keeps_place_light_and_frames() -> None:
    ramp = np.geomspace(0.1, 10, 96, dtype=np.float32)
    light = np.stack(
        [np.broadcast_to(ramp[None, :, None], (60, 96, 3)), np.broadcast_to(2 * ramp[None, :, None], (60, 96, 3))]
    )
    lost = lose_resolution(light, 1.7)
    assert lost.shape == light.shape
    np.testing.assert_allclose(lost[:, :, 6:-6], light[:, :, 6:-6], rtol=0.02)
    lamp = np.full((1, 60, 60, 3), 0.1, np.float32)
    lamp[:, 30, 30] = 1e4
    assert lose_resolution(lamp, 2.3).min() > 0
    np.testing.assert_allclose(lose_resolution(np.zeros((1, 8, 8, 3), np.float32), 1.5), 0, atol=1e-6)


def test_noise_and_grain_belong_to_the_truth_and_differ_between_frames() -> None:
    light = np.full((3, 64, 64, 3), 0.3, np.float32)
    for noisy in ({"noise_shot": 1e-3, "noise_read": 1e-3}, {"grain_size_px": 1.5, "grain_stops": 0.05}):
        clip = degrade(light, Degradation("srgb", -2.0, **noisy, seed=1))
        assert clip.value_lsb.std() > 1
        assert np.abs(clip.value_lsb - clip.codes).max() <= 0.5
        fields = clip.value_lsb - clip.value_lsb.mean()
        assert abs(np.corrcoef(fields[0].ravel(), fields[1].ravel())[0, 1]) < 0.1
        other = degrade(light, Degradation("srgb", -2.0, **noisy, seed=2))
        assert np.abs(other.value_lsb - clip.value_lsb).max() > 1


def test_noise_is_as_strong_as_told_in_exposed_light() -> None:
    light = np.full((2, 96, 96, 3), 7.0, np.float32)
    clip = degrade(light, Degradation("acescct", -2.0, noise_shot=1e-3, noise_read=5e-3, seed=1))
    noise = decoded("acescct", clip.value_lsb)
    assert noise.mean() == pytest.approx(0.25, rel=0.01)
    assert noise.var() == pytest.approx(1e-3 * 0.25 + 5e-3**2, rel=0.05)


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


def test_a_degradation_says_it_all() -> None:
    light = soft_clip()
    kept = light.copy()
    first, again = degrade(light, EVERYTHING), degrade(light, EVERYTHING)
    other = degrade(light, dataclasses.replace(EVERYTHING, seed=8))
    for name in ("codes", "value_lsb", "gain_stops", "half_width_lsb", "exposure"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.codes, other.codes)
    assert not np.array_equal(first.value_lsb, other.value_lsb)
    np.testing.assert_array_equal(light, kept)


def test_the_noise_of_one_stage_does_not_depend_on_another() -> None:
    light = soft_clip()
    dither = Degradation("acescct", -2.0, dither=True, seed=4)
    grained = dataclasses.replace(dither, grain_size_px=1.0, grain_stops=1e-6)
    assert (degrade(light, dither).codes != degrade(light, grained).codes).mean() < 1e-3


def test_off_is_the_plain_path() -> None:
    light = soft_clip()
    rng = np.random.default_rng(0)
    for _ in range(10):
        drawn = draw_degradation(rng, only())
        plain = Degradation(drawn.encoding, drawn.median_stops, drawn.clipped)
        assert dataclasses.replace(drawn, seed=0, half_width_factor=1.0) == plain
        np.testing.assert_array_equal(degrade(light, drawn).codes, degrade(light, plain).codes)


def test_switching_one_off_leaves_the_others_as_they_were() -> None:
    # JPEG and H.264 share one number, so each is looked at on its own below.
    shares = {
        "response_share": {"response": None},
        "noise_share": {"noise_shot": 0.0, "noise_read": 0.0},
        "grain_share": {"grain_size_px": 0.0, "grain_stops": 0.0},
        "resolution_share": {"resolution_factor": None},
        "dither_share": {"dither": False},
        "jpeg_share": {"jpeg_quality": None},
        "flicker_share": {"flicker_stops": 0.0, "white_balance_stops": 0.0},
        "crush_share": {"crush": 0.0},
    }
    on = only(**dict.fromkeys(shares, 1.0))
    for share, off in shares.items():
        for seed in range(5):
            drawn = draw_degradation(np.random.default_rng(seed), on)
            without = draw_degradation(np.random.default_rng(seed), dataclasses.replace(on, **{share: 0.0}))
            assert without == dataclasses.replace(drawn, **off)
    assert draw_degradation(np.random.default_rng(0), on).grain_stops > 0


def test_shares_and_ranges_are_kept() -> None:
    config = DegradeConfig()
    rng = np.random.default_rng(0)
    drawn = [draw_degradation(rng, config) for _ in range(3000)]

    def share(of: list[bool]) -> float:
        return sum(of) / len(of)

    display = [d for d in drawn if d.encoding in ("srgb", "rec709")]
    log = [d for d in drawn if d.encoding in ("acescct", "logc3")]
    for name, expected in config.encodings.items():
        assert share([d.encoding == name for d in drawn]) == pytest.approx(expected, abs=0.03)
    assert share([d.clipped > 0 for d in display]) == pytest.approx(0.65, abs=0.04)
    assert share([d.response is not None for d in display]) == pytest.approx(0.2, abs=0.03)
    assert not any(d.response or d.clipped for d in log)
    kinds = [d.response.kind == "srgb" for d in display if d.response]
    assert share(kinds) == pytest.approx(0.3, abs=0.08)
    assert share([d.noise_shot > 0 for d in drawn]) == pytest.approx(0.1, abs=0.02)
    assert share([d.grain_stops > 0 for d in drawn]) == pytest.approx(0.15, abs=0.025)
    assert share([d.resolution_factor is not None for d in drawn]) == pytest.approx(0.1, abs=0.02)
    assert share([d.dither for d in drawn]) == pytest.approx(0.05, abs=0.015)
    assert share([d.jpeg_quality is not None for d in drawn]) == pytest.approx(0.12, abs=0.02)
    assert share([d.h264_crf is not None for d in drawn]) == pytest.approx(0.12, abs=0.02)
    assert share([d.flicker_stops > 0 for d in drawn]) == pytest.approx(0.05, abs=0.015)
    assert share([d.crush > 0 for d in drawn]) == pytest.approx(0.05, abs=0.015)
    assert not any(d.jpeg_quality is not None and d.h264_crf is not None for d in drawn)
    assert share([d.h264_cut_down for d in drawn]) == pytest.approx(0.6, abs=0.03)

    def within(values: list[float], low: float, high: float, reach: float = 0.2) -> None:
        assert low <= min(values) < low + reach * (high - low)
        assert high >= max(values) > high - reach * (high - low)

    within([d.median_stops for d in log], -5.5, 0.5)
    within([d.median_stops for d in display if d.clipped], -3, 1)
    within([d.median_stops for d in display if not d.clipped], -6, -1)
    within([d.clipped for d in display if d.clipped], 0.002, 0.12)
    within([d.jpeg_quality for d in drawn if d.jpeg_quality is not None], 55, 97)
    within([d.h264_crf for d in drawn if d.h264_crf is not None], 16, 30)
    within([d.resolution_factor for d in drawn if d.resolution_factor is not None], 1.2, 3)
    within([d.grain_stops for d in drawn if d.grain_stops], 0.005, 0.1)
    within([d.noise_read for d in drawn if d.noise_read], 1e-4, 4e-3)
    within([d.half_width_factor for d in drawn], 0.8, 1.25)
    assert len({d.seed for d in drawn}) == len(drawn)


def test_the_same_seed_draws_the_same_and_it_goes_into_json() -> None:
    config = only(
        **{f.name: 1.0 for f in dataclasses.fields(DegradeConfig) if f.name.endswith("_share")} | {"h264_share": 0.0}
    )
    for seed in range(10):
        drawn = draw_degradation(np.random.default_rng(seed), config)
        assert drawn == draw_degradation(np.random.default_rng(seed), config)
        told = json.loads(json.dumps(dataclasses.asdict(drawn)))
        response = told.pop("response")
        assert Degradation(**told, response=response and Response(**response)) == drawn


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"noise_share": 1.5}, "noise_share: 1.5 is not a share"),
        ({"dither_share": math.nan}, "dither_share: nan is not a share"),
        ({"jpeg_quality": (90.0, 60.0)}, "jpeg_quality: .* is not a range"),
        ({"h264_crf": (16.0, 60.0)}, r"h264_crf: .* in 0.0\.\.51.0"),
        ({"noise_shot": (0.0, 0.1)}, "noise_shot: .* is not a range"),
        ({"log_median_stops": (math.nan, 1.0)}, "log_median_stops: .* is not a range"),
        ({"encodings": {}}, "encodings: .* no positive shares"),
        ({"encodings": {"srgb": 0.0}}, "encodings: .* no positive shares"),
        ({"encodings": {"srgb": 1.0, "rec709": -0.1}}, "encodings: .* no positive shares"),
        ({"jpeg_share": 0.7, "h264_share": 0.4}, "exclude each other"),
    ],
)
def test_a_config_that_cannot_be_drawn_is_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        DegradeConfig(**wrong)  # type: ignore[arg-type]


def test_unknown_encodings_and_shapes_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="srbg"):
        draw_degradation(np.random.default_rng(0), DegradeConfig(encodings={"srbg": 1.0}))
    with pytest.raises(ValueError, match=r"got shape \(8, 8, 3\), expected \(T, H, W, 3\)"):
        degrade(np.ones((8, 8, 3), np.float32), Degradation("srgb"))


def test_h264_comes_back_the_way_that_was_drawn() -> None:
    light = np.linspace(0.02, 0.6, 2 * 32 * 32 * 3, dtype=np.float32).reshape(2, 32, 32, 3)
    plain = degrade(light, Degradation("srgb")).codes
    found = [degrade(light, Degradation("srgb", h264_crf=20, h264_cut_down=cut)).codes for cut in (False, True)]
    for cut in (False, True):
        np.testing.assert_array_equal(found[cut], h264(plain, 20, cut_down=cut))
    # Grey has no chroma to cut down, so only luma loses the half code that rounding down costs on average.
    assert (found[1].astype(float) - found[0]).mean() == pytest.approx(-0.5, abs=0.1)
