"""Runs with --denoise: what is written for --grain keep, remove and regrow, and the promise that it carries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from seqhdr.classic.deband import ClassicDeband
from seqhdr.classic.grain import GrainStatistics
from seqhdr.classic.noise_level import NoiseLevel
from seqhdr.color.encodings import convert_linear, get_encoding
from seqhdr.media.exr import read_exr
from seqhdr.model.predict import Predictor
from seqhdr.pipeline.denoised import Cleaning, DenoisedPredictor, expected_offset

HEIGHT, WIDTH, FRAMES, SIGMA = 128, 192, 4, 3.0
Picture = np.ndarray[Any, np.dtype[Any]]


def clean(frame: int) -> Picture:
    """(H, W, 3) in codes: a slope, and a lamp that clips."""
    x = np.linspace(70, 150, WIDTH)[None, :] + 0.4 * frame + np.zeros((HEIGHT, 1))
    value = np.stack([x, 0.9 * x + 10, 0.8 * x + 30], axis=-1)
    value[8:24, 8:24] = 400
    return value


def write_shot(folder: Path, sigma: float) -> str:
    folder.mkdir()
    for frame in range(1, FRAMES + 1):
        noise = sigma * np.random.default_rng(frame).standard_normal((HEIGHT, WIDTH, 3))
        codes = np.rint(clean(frame) + noise).clip(0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"shot_{frame:04d}.png"), codes[..., ::-1])
    return str(folder / "shot_%04d.png")


@pytest.fixture
def noisy(tmp_path: Path) -> str:
    return write_shot(tmp_path / "in", SIGMA)


@pytest.fixture
def classic(seqhdr: Any, tmp_path: Path) -> Any:
    """``seqhdr run --model classic`` into ``out``: ``classic(pattern, "--denoise", "auto")``."""

    def call(*words: object, out: str = "out") -> Any:
        fixed = ("--model", "classic", "--no-report", "--bit-depth", "float", "--output-space", "srgb")
        return seqhdr("run", *words, "-o", tmp_path / out, *fixed)

    return call


def values(folder: Path, frame: int) -> Picture:
    """(H, W, 3) of a written frame, in codes."""
    channels, _ = read_exr(folder / f"shot_srgb.{frame:04d}.exr")
    return np.stack([channels[name].astype(np.float64) for name in "RGB"], axis=-1) * 255


def summary(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "shot_srgb.json").read_text()))


def error(folder: Path, frame: int) -> float:
    """RMS against the clean shot, in codes, away from the lamp."""
    away = (values(folder, frame) - clean(frame))[:, 48:]
    return float(np.sqrt((away**2).mean()))


def verified(seqhdr: Any, folder: Path, source: str) -> bool:
    ran = seqhdr("verify", folder / "shot_srgb.%04d.exr", "--source", source)
    return ran.code == 0 and "kept" in ran.out


def test_grain_that_is_kept_stays_in_its_strict_bins(noisy: str, classic: Any, seqhdr: Any, tmp_path: Path) -> None:
    assert classic(noisy, "--denoise", "auto").code == 0
    bins = summary(tmp_path / "out")["bins"]
    assert bins["half_width_lsb"] == 0.5
    assert "is kept" in bins["reason"]
    assert bins["evidence"]["noise_g_at_128_lsb"] == pytest.approx(SIGMA, rel=0.15)
    assert verified(seqhdr, tmp_path / "out", noisy)
    assert error(tmp_path / "out", 3) == pytest.approx(SIGMA, rel=0.05)


def test_grain_that_is_removed_is_gone_and_the_bins_are_as_wide_as_it_was(
    noisy: str, classic: Any, seqhdr: Any, tmp_path: Path
) -> None:
    assert classic(noisy, "--denoise", "auto", "--grain", "remove").code == 0
    bins = summary(tmp_path / "out")["bins"]
    assert bins["half_width_lsb"] == pytest.approx(3 * SIGMA, rel=0.2)
    assert "is removed, which takes bins of w = " in bins["reason"]
    assert verified(seqhdr, tmp_path / "out", noisy)
    strict = seqhdr("verify", tmp_path / "out" / "shot_srgb.%04d.exr", "--source", noisy, "--bins", "strict")
    assert strict.code == 5
    assert error(tmp_path / "out", 3) < 0.25 * SIGMA


def test_grain_that_is_grown_anew_is_as_strong_and_other_in_every_frame(
    noisy: str, classic: Any, seqhdr: Any, tmp_path: Path
) -> None:
    for out in ("a", "b"):
        assert classic(noisy, "--denoise", "auto", "--grain", "regrow", out=out).code == 0
    written = [{p.name: p.read_bytes() for p in (tmp_path / out).glob("*.exr")} for out in ("a", "b")]
    assert len(written[0]) == FRAMES
    assert written[0] == written[1]
    assert verified(seqhdr, tmp_path / "a", noisy)
    assert error(tmp_path / "a", 3) == pytest.approx(SIGMA, rel=0.15)
    grain = [(values(tmp_path / "a", frame) - clean(frame))[:, 48:].ravel() for frame in (2, 3)]
    old = np.random.default_rng(3).standard_normal((HEIGHT, WIDTH, 3))[:, 48:].ravel()
    assert abs(np.corrcoef(grain[0], grain[1])[0, 1]) < 0.1
    assert abs(np.corrcoef(grain[1], old)[0, 1]) < 0.25


def test_what_clips_keeps_the_network_s_stops(noisy: str, convert: Any, tmp_path: Path) -> None:
    assert convert(noisy, "--bit-depth", "float", out="off").code == 0
    for grain in ("keep", "remove", "regrow"):
        assert convert(noisy, "--denoise", "auto", "--grain", grain, "--bit-depth", "float", out=grain).code == 0
        channels, _ = read_exr(tmp_path / grain / "shot_acescct.0003.exr")
        ap1 = torch.from_numpy(np.stack([channels[name].astype(np.float32) for name in "RGB"]))[None]
        acescct, lin = get_encoding("acescct"), get_encoding("lin_rec709")
        light = convert_linear(acescct.decode(ap1), acescct, lin)[0].permute(1, 2, 0).numpy()
        assert (light[8:24, 8:24] > 0.995).all()
        gains = json.loads((tmp_path / grain / "shot_acescct.json").read_text())["frames"]
        assert all(frame["max_gain_stops"] > 0 for frame in gains)
        # Beside the lamp nothing was clipped, so nothing rises above the range.
        assert (light[:, 48:] < 0.999).all()


def test_a_clean_shot_is_left_as_it_is(classic: Any, tmp_path: Path) -> None:
    pattern = write_shot(tmp_path / "in", 0.0)
    assert classic(pattern, out="off").code == 0
    assert classic(pattern, "--denoise", "auto", "--grain", "remove").code == 0
    bins, without = (summary(tmp_path / out)["bins"] for out in ("out", "off"))
    assert bins["half_width_lsb"] == without["half_width_lsb"]
    assert bins["reason"].endswith("no even noise was found, so none is removed")
    for frame in range(1, FRAMES + 1):
        np.testing.assert_array_equal(values(tmp_path / "out", frame), values(tmp_path / "off", frame))


@pytest.mark.parametrize("grain", ["remove", "regrow"])
def test_what_excludes_each_other_is_refused(grain: str, noisy: str, classic: Any, tmp_path: Path) -> None:
    alone = classic(noisy, "--grain", grain)
    assert alone.code == 2
    assert "add --denoise auto" in alone.err
    strict = classic(noisy, "--grain", grain, "--denoise", "auto", "--bins", "strict")
    assert strict.code == 2
    assert "use --bins auto" in strict.err
    assert not (tmp_path / "out").exists()


def test_bins_that_were_given_are_kept(noisy: str, classic: Any, seqhdr: Any, tmp_path: Path) -> None:
    assert classic(noisy, "--denoise", "auto", "--grain", "remove", "--bins", "2").code == 0
    assert summary(tmp_path / "out")["bins"]["half_width_lsb"] == 2
    assert verified(seqhdr, tmp_path / "out", noisy)


def test_another_grain_is_made_again_and_the_same_is_not(noisy: str, classic: Any) -> None:
    assert classic(noisy, "--denoise", "auto", "--grain", "remove").code == 0
    again = classic(noisy, "--denoise", "auto", "--grain", "remove", "--skip-existing")
    assert f"0 frames written, {FRAMES} kept" in again.err
    other = classic(noisy, "--denoise", "auto", "--grain", "regrow", "--skip-existing")
    assert f"{FRAMES} frames written, 0 kept" in other.err


def test_a_chunk_is_what_the_whole_shot_is(noisy: str, classic: Any, tmp_path: Path) -> None:
    words = ("--denoise", "auto", "--grain", "regrow", "--cuts", "off")
    assert classic(noisy, *words, out="whole").code == 0
    assert classic(noisy, *words, "--frames", "3-4", out="chunk").code == 0
    for frame in (3, 4):
        np.testing.assert_array_equal(values(tmp_path / "chunk", frame), values(tmp_path / "whole", frame))


def test_a_dry_run_tells_the_noise(noisy: str, classic: Any, tmp_path: Path) -> None:
    ran = classic(noisy, "--denoise", "auto", "--grain", "remove", "--dry-run", "--log-json")
    planned = json.loads(ran.out)
    assert list(planned["noise_lsb"]) == ["64", "128", "191"]
    assert "is removed" in planned["bins"]["reason"]
    assert json.loads(classic(noisy, "--dry-run", "--log-json").out)["noise_lsb"] is None
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("half_width", [0.5, 2.0])
@pytest.mark.parametrize("sigma", [0.2, 1.0, 4.0])
@pytest.mark.parametrize("offset", [-3.0, -0.3, 0.0, 0.4, 1.5])
def test_the_expected_offset_is_the_mean_of_the_noise_within_the_bin(
    half_width: float, sigma: float, offset: float
) -> None:
    x = np.linspace(-half_width, half_width, 20_001)
    weight = np.exp(-(((x - offset) / sigma) ** 2) / 2)
    wanted = float((x * weight).sum() / weight.sum())
    found = expected_offset(np.float32([offset]), np.float32([sigma]), half_width)
    assert found[0] == pytest.approx(wanted, abs=1e-3 * half_width)


def test_without_noise_the_expected_offset_is_the_value_held_in_the_bin() -> None:
    offsets = np.float32([-9, -0.5, -0.2, 0, 0.3, 7])
    found = expected_offset(offsets, np.zeros(6, np.float32), 0.5)
    np.testing.assert_allclose(found, offsets.clip(-0.5, 0.5), atol=2e-3)


def test_the_denoiser_forgets_what_was_before_a_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_back: list[int] = []

    class Spy:
        def __init__(self, noise: NoiseLevel) -> None:
            pass

        def __call__(self, value: Picture, earlier: tuple[Picture, ...]) -> Picture:
            looked_back.append(len(earlier))
            return value

    monkeypatch.setattr("seqhdr.pipeline.denoised.Denoiser", Spy)
    levels = np.array([0, 255], np.float32)
    noise = NoiseLevel(levels, np.ones((2, 3), np.float32), np.full((2, 3), 9), 255)
    grain = GrainStatistics(noise, np.zeros((17, 17, 3), np.float32), np.eye(3, dtype=np.float32), 9)
    predictor = DenoisedPredictor(Predictor(ClassicDeband(), half_width_lsb=1.0), Cleaning("keep", grain, 0.5), 0.5)
    memory, codes = None, np.full((24, 32, 3), 90, np.uint8)
    for number in range(6):
        _, memory = predictor.step(number, codes, None if number == 4 else memory)
    assert looked_back == [0, 1, 2, 2, 0, 1]
