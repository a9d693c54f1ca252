"""The meter against a truth: what is perfect, what is identity, what can be worked out, and what the strata say."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seqhdr.color.encodings import convert_linear, get_encoding
from seqhdr.errors import UsageError
from seqhdr.quality import extra
from seqhdr.quality.hdr import delta_e_itp, pu21_luminance, tone_map
from seqhdr.quality.perceptual import PerceptualDistance, fit_within, temporal_lpips
from seqhdr.quality.ssim import ssim
from seqhdr.quality.strata import PERFECT_DB, StrataScore
from seqhdr.quality.truth import FrameTruth, TruthMeter
from seqhdr.quality.truth_light import light_to_truth

ACESCCT, LINEAR = get_encoding("acescct"), get_encoding("lin_rec709")
Codes = NDArray[Any]


class AbsoluteDifference(nn.Module):
    """Stands in for the network: mean |a - b|, and remembers the sizes it was asked with."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, a: Tensor, b: Tensor, *, normalize: bool) -> Tensor:
        assert normalize
        self.sizes.append(tuple(a.shape))
        return (a - b).abs().mean()


def make_frame(seed: int, name: str = "srgb", bits: int = 8, height: int = 24, width: int = 32) -> tuple[Codes, Tensor]:
    """Codes and the light they were made of: a smooth left half, a noisy right one, a highlight in a corner."""
    rng, encoding, top = np.random.default_rng(seed), get_encoding(name), 2**bits - 1
    value = np.broadcast_to(np.linspace(0.5, 0.503, width), (3, height, width)).copy()
    value[..., width // 2 :] = rng.uniform(0.1, 0.9, (3, height, width - width // 2))
    light = encoding.decode(torch.from_numpy(value))
    light[:, :4, -6:] = 3 * encoding.decode(torch.ones(1, dtype=torch.float64))
    codes = (encoding.encode(light) * top).round().clamp(0, top).numpy()
    return codes.transpose(1, 2, 0).astype(np.uint8 if bits == 8 else np.uint16), light.float()


def as_light(codes: Codes, name: str = "srgb", bits: int = 8) -> Tensor:
    value = torch.from_numpy(codes.astype(np.float64).transpose(2, 0, 1)) / (2**bits - 1)
    return get_encoding(name).decode(value).float()


def by_label(meter: TruthMeter) -> dict[str, dict[str, Any]]:
    return {row["label"]: row for row in meter.rows()}


@pytest.mark.parametrize(("name", "bits"), [("srgb", 8), ("logc3", 8), ("acescct", 8), ("srgb", 16)])
def test_the_truth_itself_is_perfect_in_every_row(name: str, bits: int) -> None:
    meter = TruthMeter(encoding=get_encoding(name), bits=bits, lpips=PerceptualDistance(AbsoluteDifference()))
    for index in range(4):
        codes, light = make_frame(index, name, bits)
        assert meter.add(index, light, light, codes).psnr_db == PERFECT_DB
    rows = meter.rows()
    assert len(rows) >= 13
    for row in rows:
        perfect = {"dB": PERFECT_DB, "stop": 0}.get(row["unit"], 1 if "SSIM" in row["label"] else 0)
        assert row["result"] == pytest.approx(perfect, abs=1e-12), row["label"]
        worse = row["identity"] < row["result"] if row["better"] == "higher" else row["identity"] > row["result"]
        assert worse, row["label"]
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows


@pytest.mark.parametrize(("name", "w", "bits"), [("srgb", 0.5, 8), ("logc3", 2.0, 8), ("srgb", 0.5, 10)])
def test_identity_as_the_result_gains_nothing_in_any_row(name: str, w: float, bits: int) -> None:
    meter = TruthMeter(
        encoding=get_encoding(name), half_width_lsb=w, bits=bits, lpips=PerceptualDistance(AbsoluteDifference())
    )
    for index in range(4):
        codes, light = make_frame(index, name, bits)
        frame = meter.add(index, as_light(codes, name, bits), light, codes)
        assert frame.psnr_db == pytest.approx(frame.identity_psnr_db, abs=2e-3)
    rows = meter.rows()
    assert any("codes" in row["label"] for row in rows) == (w > 0.5)
    for row in rows:
        # Identity in stops is nought by definition; the top code lies half a code above the top of the range.
        tolerance = 0.03 if row["unit"] == "stop" else 2e-3 if row["unit"] == "dB" else 1e-6
        assert row["result"] == pytest.approx(row["identity"], abs=tolerance), row["label"]


def test_a_known_error_gives_the_psnr_of_its_size() -> None:
    meter = TruthMeter(encoding=ACESCCT)
    codes, light = make_frame(0, "acescct")
    result = ACESCCT.decode(ACESCCT.encode(light.double()) + 0.001).float()
    frame = meter.add(0, result, light, codes)
    assert frame.psnr_db == pytest.approx(60, abs=0.01)
    assert meter.table()["whole"]["psnr_db"] == frame.psnr_db
    without = TruthMeter(encoding=None)
    assert without.add(0, result, light) == FrameTruth(pytest.approx(60, abs=0.01), None)


def test_a_known_error_in_stops_gives_its_size_and_its_bias() -> None:
    meter = TruthMeter(encoding=get_encoding("srgb"))
    codes, light = make_frame(0)
    clipped = torch.from_numpy((codes == 255).transpose(2, 0, 1).copy())
    meter.add(0, torch.where(clipped, light / 2, light), light, codes)
    rows = by_label(meter)
    top = ((254.5 / 255 + 0.055) / 1.055) ** 2.4
    identity = math.log2(3 / top)
    for label in ("clipped, log2 RMSE", "clipped, bias (size)"):
        assert rows[label] == {
            "label": label,
            "unit": "stop",
            "better": "lower",
            "result": pytest.approx(1, abs=1e-5),
            "identity": pytest.approx(identity, abs=1e-5),
        }
    assert meter.table()["clipped"]["bias_stops"] == pytest.approx(-1, abs=1e-5)
    assert rows["PSNR, whole"]["result"] == PERFECT_DB


@pytest.mark.parametrize(("name", "w", "bits"), [("srgb", 0.5, 8), ("logc3", 1.5, 8), ("srgb", 0.5, 12)])
def test_the_table_is_that_of_the_strata_fed_with_codes(name: str, w: float, bits: int) -> None:
    encoding, top = get_encoding(name), 2**bits - 1
    meter = TruthMeter(encoding=encoding, half_width_lsb=w, bits=bits)
    score, frames = StrataScore(max_code=top), []
    for index in range(5):
        codes, light = make_frame(index, name, bits)
        rng = np.random.default_rng(100 + index)
        offset = torch.from_numpy(rng.uniform(-0.4, 0.4, light.shape))
        here = torch.from_numpy(codes.astype(np.float64).transpose(2, 0, 1))
        result = encoding.decode((here + offset) / top)
        result[here == top] = encoding.decode(torch.tensor((top - 0.5) / top, dtype=torch.float64)) * 2
        gain = torch.where(here == top, 1.0, 0.0)
        frames.append(meter.add(index % 4, result.float(), light, codes))
        value, stops = light_to_truth(light.double(), encoding, top)
        score.add_frame(index % 4, here, value, stops, offset, gain, encoding, w)
    expected = score.table()
    assert list(meter.table()) == list(expected)
    for stratum, row in expected.items():
        # ssim shows the truth where clipped, so that offsets there do not matter
        assert meter.table()[stratum] == pytest.approx(row, abs=2e-3), stratum
    squares = [10 ** (-frame.psnr_db / 10) for frame in frames if frame.psnr_db is not None]
    assert -10 * math.log10(np.mean(squares)) == pytest.approx(expected["whole"]["psnr_db"], abs=0.05)


def test_perceptual_rows_are_means_over_frames_of_light_in_rec709() -> None:
    encoding, network = get_encoding("logc3"), AbsoluteDifference()
    meter = TruthMeter(encoding=encoding, lpips=PerceptualDistance(network))
    expected: dict[str, list[float]] = {}
    for index in range(3):
        codes, light = make_frame(index, "logc3")
        result = light * (1.02 + 0.01 * index)
        meter.add(index, result, light, codes)
        a, b = (convert_linear(x, encoding, LINEAR) for x in (result, light))
        expected.setdefault("ΔE ITP, mean", []).append(float(delta_e_itp(a, b).mean()))
        similar = ssim(pu21_luminance(a), pu21_luminance(b), 256.0), ssim(tone_map(a), tone_map(b), 1.0)
        expected.setdefault("PU21-SSIM, luminance", []).append(similar[0] or 0)
        expected.setdefault("SSIM, tone-mapped", []).append(similar[1] or 0)
        mse = [float((f(a) - f(b)).square().mean()) for f in (pu21_luminance, tone_map)]
        expected.setdefault("pu21", []).append(mse[0] / 256**2)
        expected.setdefault("tone", []).append(mse[1])
        logs = [ACESCCT.encode(x).clamp(0, 1) for x in (result, light)]
        expected.setdefault("LPIPS", []).append(float((logs[0] - logs[1]).abs().mean()))
    rows = by_label(meter)
    means = {label: float(np.mean(numbers)) for label, numbers in expected.items()}
    for label in ("ΔE ITP, mean", "PU21-SSIM, luminance", "SSIM, tone-mapped", "LPIPS"):
        assert rows[label]["result"] == pytest.approx(means[label], rel=1e-5), label
        assert rows[label]["result"] != pytest.approx(rows[label]["identity"], rel=1e-5), label
    for label, key in (("PU21-PSNR, luminance", "pu21"), ("PSNR, tone-mapped", "tone")):
        assert rows[label]["result"] == pytest.approx(-10 * math.log10(means[key]), abs=1e-4), label
        assert rows[label]["unit"] == "dB"


def test_without_a_source_all_pixels_count_and_there_is_no_identity() -> None:
    meter = TruthMeter(encoding=None)
    _, light = make_frame(0)
    result = light * 1.01
    meter.add(0, result, light)
    rows = by_label(meter)
    a, b = ACESCCT.encode(result), ACESCCT.encode(light)
    assert rows["PSNR, whole"]["result"] == pytest.approx(-10 * math.log10(float((a - b).square().mean())), abs=1e-3)
    assert rows["SSIM, whole"]["result"] == pytest.approx(ssim(a, b, 1.0), abs=1e-9)
    assert all(row["identity"] is None for row in rows.values())
    assert rows["PSNR, whole"]["better"] == rows["SSIM, whole"]["better"] == "higher"
    assert meter.table() == {}


def test_light_by_way_of_an_acescct_file_loses_next_to_nothing() -> None:
    encoding, meter = get_encoding("srgb"), TruthMeter(encoding=get_encoding("srgb"))
    codes, light = make_frame(0)
    rgb_log = ACESCCT.encode(convert_linear(light.double(), encoding, ACESCCT)).float()
    result = convert_linear(ACESCCT.decode(rgb_log), ACESCCT, encoding)
    frame = meter.add(0, result, light, codes)
    assert frame.psnr_db is not None
    assert frame.psnr_db > 115
    assert by_label(meter)["ΔE ITP, mean"]["result"] < 2e-3


def test_pixels_that_are_no_number_count_as_black_and_infinite_ones_as_bright() -> None:
    codes, light = make_frame(0)
    broken, mended = light.clone(), light.clone()
    for value, (replacement, column) in zip(
        (math.nan, math.inf, -math.inf), ((0.0, 3), (65504.0, 4), (-65504.0, 5)), strict=True
    ):
        broken[0, 9, column], mended[0, 9, column] = value, replacement
    meters = [TruthMeter(encoding=get_encoding("srgb")) for _ in range(2)]
    for meter, result in zip(meters, (broken, mended), strict=True):
        meter.add(0, result, light, codes)
    assert meters[0].rows() == meters[1].rows()
    assert meters[0].rows()[0]["result"] < 60
    json.dumps(meters[0].rows(), allow_nan=False)


def test_tiny_and_wholly_clipped_frames_leave_out_what_cannot_be_measured() -> None:
    network = AbsoluteDifference()
    meter = TruthMeter(encoding=get_encoding("srgb"), lpips=PerceptualDistance(network))
    codes = np.full((6, 8, 3), 255, np.uint8)
    light = torch.full((3, 6, 8), 4.0)
    assert meter.add(0, light, light, codes) == FrameTruth(None, None)
    labels = list(by_label(meter))
    assert not any("SSIM" in label or "PSNR, whole" in label or label == "LPIPS" for label in labels)
    assert "clipped, log2 RMSE" in labels
    assert network.sizes == []
    assert TruthMeter(encoding=None).rows() == []


def test_shapes_and_codes_have_to_fit() -> None:
    codes, light = make_frame(0)
    srgb = get_encoding("srgb")
    with pytest.raises(ValueError, match="no codes"):
        TruthMeter(encoding=srgb).add(0, light, light)
    with pytest.raises(ValueError, match="got codes"):
        TruthMeter(encoding=None).add(0, light, light, codes)
    for wrong in ((light[:, 1:], light, codes), (light, light, codes[:, 1:]), (light[:2], light[:2], codes[..., :2])):
        with pytest.raises(ValueError, match=r"expected one shape \(3, H, W\)"):
            TruthMeter(encoding=srgb).add(0, *wrong)


def test_pictures_for_lpips_are_at_most_512_pixels_long() -> None:
    network = AbsoluteDifference()
    meter = TruthMeter(encoding=None, lpips=PerceptualDistance(network))
    light = torch.full((3, 40, 1024), 0.2)
    meter.add(0, light * 1.1, light)
    assert network.sizes == [(1, 3, 20, 512)]
    thin = torch.full((3, 30, 1024), 0.2)  # 15 rows would be left
    meter.add(1, thin, thin)
    assert len(network.sizes) == 1


def test_reducing_a_picture_averages_what_a_pixel_covers() -> None:
    picture = torch.arange(48.0).view(1, 6, 8).repeat(3, 1, 1)
    small = fit_within(picture, 4)
    assert small.shape == (3, 3, 4)
    assert float(small[0, 0, 0]) == pytest.approx((0 + 1 + 8 + 9) / 4)
    torch.testing.assert_close(fit_within(picture[None], 4)[0], small)
    assert fit_within(picture, 8) is picture
    assert fit_within(torch.zeros(3, 2, 900), 10).shape == (3, 1, 10)


def test_temporal_lpips_compares_the_changes_not_the_pictures() -> None:
    network = AbsoluteDifference()
    distance = PerceptualDistance(network)
    first, second = torch.full((3, 16, 16), 0.2), torch.full((3, 16, 16), 0.3)
    assert temporal_lpips(distance, first, second, first + 0.4, second + 0.4) == pytest.approx(0, abs=1e-6)
    assert temporal_lpips(distance, first, second + 0.05, first, second) == pytest.approx(0.05, abs=1e-6)
    assert temporal_lpips(distance, first, second, first, second + 0.05) == pytest.approx(0.05, abs=1e-6)
    large = torch.zeros(3, 40, 1024)
    temporal_lpips(distance, large, large, large, large)
    assert network.sizes[-1] == (1, 3, 20, 512)


@pytest.mark.skipif(len(extra.available()) < 2, reason="seqhdr[metrics] is not installed")
def test_flip_and_jod_stand_beside_those_of_identity() -> None:
    meter = TruthMeter(encoding=get_encoding("srgb"), extra=True)
    flips, identities = [], []
    for index in range(5):
        codes, light = make_frame(index, height=32)
        meter.add(index, light * 1.002, light, codes)
        flips.append(extra.hdr_flip(light * 1.002, light))
        identities.append(extra.hdr_flip(as_light(codes), light))
    rows = by_label(meter)
    # every fourth frame
    assert rows["HDR-FLIP, mean"]["result"] == pytest.approx((flips[0] + flips[4]) / 2, rel=1e-5)
    assert rows["HDR-FLIP, mean"]["identity"] == pytest.approx((identities[0] + identities[4]) / 2, rel=1e-5)
    assert rows["ColorVideoVDP"]["identity"] < rows["ColorVideoVDP"]["result"] <= 10
    assert rows["ColorVideoVDP"]["unit"] == "JOD"
    assert [rows[label]["better"] for label in ("HDR-FLIP, mean", "ColorVideoVDP")] == ["lower", "higher"]


@pytest.mark.parametrize("there", [("flip_evaluator",), ("pycvvdp",), ()])
def test_extra_metrics_are_asked_for_before_any_frame(there: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extra, "available", lambda: there)
    with pytest.raises(UsageError, match="seqhdr\\[metrics\\]"):
        TruthMeter(encoding=None, extra=True)


def test_light_to_truth_counts_codes_and_stops_of_any_depth() -> None:
    encoding, top = get_encoding("srgb"), 1023
    edge = encoding.decode(torch.tensor([[[(top - 0.5) / top]]], dtype=torch.float64))
    value, stops = light_to_truth(edge * torch.tensor([0.5, 1, 2, 2**13]), encoding, top)
    np.testing.assert_allclose(stops.flatten(), (0, 0, 1, 12), atol=1e-9)
    assert float(value[0, 0, 1]) == pytest.approx(top - 0.5)


def test_strata_of_deeper_codes_say_the_same_of_the_same_picture() -> None:
    tables = []
    for scale in (1, 4):
        score = StrataScore(max_code=255 * scale)
        for index in range(4):
            codes, light = make_frame(index)
            here = torch.from_numpy(codes.astype(np.float64).transpose(2, 0, 1))
            here[:, ::2, :8] += 1  # still flat: one code of eight bits
            value, stops = light_to_truth(light.double(), get_encoding("srgb"))
            offset = 0.3 * torch.sin(here)
            frame = (here * scale, value * scale, stops, offset * scale, stops * 0.9)
            score.add_frame(index, *frame, get_encoding("srgb"), 1.5 * scale)
        tables.append(score.table())
    assert {"flat", "texture", "clipped"} <= set(tables[0])
    for stratum, row in tables[0].items():
        assert tables[1][stratum] == pytest.approx(row, rel=1e-9), stratum
