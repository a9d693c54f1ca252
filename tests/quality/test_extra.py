"""HDR-FLIP and ColorVideoVDP: perfect is perfect, worse is worse, and nothing leaks."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from seqhdr.errors import UsageError
from seqhdr.quality import extra
from seqhdr.quality.extra import LONGEST_PX, VideoDifference, available, hdr_flip, require_all

needs_flip = pytest.mark.skipif("flip_evaluator" not in available(), reason="flip-evaluator is not installed")
needs_vdp = pytest.mark.skipif("pycvvdp" not in available(), reason="cvvdp is not installed")


def light(seed: int = 0, height: int = 40, width: int = 48) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random((3, height, width), np.float32) * 3)


def noisy(picture: Tensor, amount: float, seed: int = 1) -> Tensor:
    noise = np.random.default_rng(seed).normal(0, amount, picture.shape).astype(np.float32)
    return (picture + torch.from_numpy(noise)).clamp_min(0)


def jod(pairs: list[tuple[Tensor, Tensor]]) -> float | None:
    video = VideoDifference(24.0)
    for ours, truth in pairs:
        video.add(ours, truth)
    return video.jod()


@needs_flip
def test_flip_is_nought_for_the_truth_and_grows_with_the_error() -> None:
    truth = light()
    assert hdr_flip(truth, truth) == 0
    assert 0 < hdr_flip(noisy(truth, 0.05), truth) < hdr_flip(noisy(truth, 0.2), truth) < 1


@needs_flip
def test_flip_takes_the_truth_as_its_reference() -> None:
    import flip_evaluator

    truth, ours = light(2), light(2) * 40
    a, b = (np.ascontiguousarray(x.permute(1, 2, 0).numpy()).clip(1e-6) for x in (truth, ours))
    expected, other = (flip_evaluator.evaluate(*pair, "HDR", applyMagma=False)[1] for pair in ((a, b), (b, a)))
    assert hdr_flip(ours, truth) == pytest.approx(expected, rel=1e-6)
    assert abs(expected - other) > 0.01


@needs_flip
@pytest.mark.parametrize("level", [0.0, -1.0])
def test_flip_of_a_black_truth_is_a_number(level: float) -> None:
    black = torch.full((3, 24, 24), level)
    assert hdr_flip(black, black) == 0
    assert 0 < hdr_flip(light(0, 24, 24), black) <= 1


@needs_vdp
def test_ten_jod_for_the_truth_and_fewer_the_worse_it_gets() -> None:
    truth = light()
    assert jod([(truth, truth)] * 3) == 10
    good, bad = (jod([(noisy(truth, amount, seed), truth) for seed in range(3)]) for amount in (0.1, 0.5))
    assert good is not None
    assert bad is not None
    assert bad < good < 10


@needs_vdp
def test_flicker_costs_more_than_a_steady_error() -> None:
    truth = torch.full((3, 40, 48), 0.5)
    steady = jod([(truth * 1.05, truth)] * 6)
    flickering = jod([(truth * (1.05 if index % 2 else 0.95), truth) for index in range(6)])
    assert flickering is not None
    assert steady is not None
    assert flickering < steady


@needs_vdp
def test_pieces_count_by_their_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extra, "_PIECE", 3)
    truth = light()
    pairs = [(noisy(truth, 0.2 * (1 + index), index), truth) for index in range(5)]
    first, second = jod(pairs[:3]), jod(pairs[3:])
    assert first is not None
    assert second is not None
    assert jod(pairs) == pytest.approx((3 * first + 2 * second) / 5, abs=1e-6)
    video = VideoDifference(24.0)
    for pair in pairs * 3:
        video.add(*pair)
        assert len(video._piece) < 3


@needs_vdp
def test_no_frames_have_no_score_and_a_clip_needs_a_rate() -> None:
    assert jod([]) is None
    for rate in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="frames per second"):
            VideoDifference(rate)


@needs_flip
@needs_vdp
def test_large_pictures_are_reduced_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extra, "LONGEST_PX", 24)
    truth = light(5, 40, 48)
    # Errors that cancel within what becomes one pixel are gone.
    fine = torch.ones(3, 40, 48)
    fine[:, :, 1::2] = -1
    assert hdr_flip(truth + 0.1 * fine, truth) == pytest.approx(0, abs=1e-3)
    video = VideoDifference(24.0)
    video.add(truth + 0.1 * fine, truth)
    assert video._piece[0][0].shape == (3, 20, 24)
    assert LONGEST_PX == 768


@needs_vdp
def test_the_screen_shows_white_at_203_and_ends_at_1500() -> None:
    shade = 1 - light() / 15  # 0.8 to 1
    below, beyond = shade * (1400 / 203), shade * (2000 / 203)
    scores = [jod([(torch.full_like(detailed, float(detailed.mean())), detailed)]) for detailed in (below, beyond)]
    assert scores[0] is not None
    assert scores[0] < 10  # without its detail
    assert scores[1] == 10


@needs_flip
@needs_vdp
def test_nothing_is_printed_and_the_search_path_stays() -> None:
    # In a process of its own: most of what leaks does so when the packages are first imported.
    program = (
        "import sys, warnings; warnings.simplefilter('error'); import torch; from seqhdr.quality.extra import *; "
        "before, light = list(sys.path), torch.full((3, 24, 24), 9e4); light[0, 0, 0] = 0; "
        "hdr_flip(light, light / 2); video = VideoDifference(24.0); video.add(light, light); video.jod(); "
        "assert sys.path == before"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("missing", ["flip_evaluator", "pycvvdp"])
def test_a_missing_package_is_named_with_the_way_to_get_it(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else object())
    assert missing not in available()
    with pytest.raises(UsageError, match=rf"{missing}.*pip install 'seqhdr\[metrics\]'"):
        require_all()
    with pytest.raises(UsageError, match=missing):
        VideoDifference(24.0) if missing == "pycvvdp" else hdr_flip(light(), light())
