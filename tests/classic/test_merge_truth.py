"""Merged exposures beside light that is known, with noise and without, and beside other programs."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from seqhdr.classic.merge import NoiseModel, debevec, merge_exposures, robertson
from seqhdr.color.encodings import get_encoding
from tests.classic.merge_stacks import CAMERA, CURVES, METHODS, as_stack, expose, light_of, merge, rmse_stops


def test_the_hat_is_that_of_colour_hdri() -> None:
    """Figures of colour-hdri 0.2.6: weighting_function_Debevec1997(codes / 255, 0, 1), whose largest is 1."""
    codes = torch.tensor([0, 1, 25, 51, 102, 127, 128, 153, 200, 254, 255], dtype=torch.float64)
    theirs = [0, 0.007874015748031496, 0.19685039370078738, 0.4015748031496063, 0.8031496062992126, 1, 1]
    theirs += [0.8031496062992126, 0.4330708661417323, 0.007874015748031468, 0]
    ours = debevec(as_stack(codes.expand(1, 3, 1, -1), [1.0], "lin_rec709", 255))[0, 0, 0]
    torch.testing.assert_close(ours / ours.max(), torch.tensor(theirs, dtype=torch.float64))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("encoding", "t", "margin"),
    [
        ("lin_rec709", [0.25, 0.5, 1.0, 2.0, 4.0], 1.08),
        ("srgb", [0.25, 0.5, 1.0, 2.0, 4.0], 1.10),
        ("lin_rec709", [2**-6, 2**-4, 2**-2, 1.0], 1.04),
        ("srgb", [2**-6, 2**-4, 2**-2, 1.0], 1.06),
    ],
)
def test_with_noise_granados_is_the_best_by_a_margin(encoding: str, t: list[float], margin: float, seed: int) -> None:
    """Every other method's error is at least ``margin`` times that of granados, told the noise or not.

    2000 electrons at the clip, 4 of read noise. Untold it assumes a camera with five times the electrons.
    """
    truth = light_of(t, encoding, 255, seed=seed)
    frames = expose(truth, t, encoding, 255, CAMERA, seed=seed + 100)
    errors = {method: rmse_stops(merge(frames, t, encoding, method), truth) for method in METHODS}
    best = errors.pop("granados")
    assert min(errors.values()) > margin * best
    assert rmse_stops(merge_exposures(frames, t, get_encoding(encoding), 255), truth) < 1.03 * best


def test_an_unknown_camera_is_better_taken_for_a_middling_one_than_for_one_without_noise() -> None:
    """Where log codes do have no noise that costs a fifth, where they have it saves more."""
    t = [2**-6, 2**-4, 2**-2, 1.0]
    truth = light_of(t, "logc3", 255)
    for noise, least, most in ((None, 1.0, 1.25), (CAMERA, 0.0, 0.4)):
        frames = expose(truth, t, "logc3", 255, noise)
        middling, silent = (
            rmse_stops(merge_exposures(frames, t, get_encoding("logc3"), 255, "granados", assumed), truth)
            for assumed in (None, NoiseModel(0, 0))
        )
        assert least * silent < middling < most * silent


@pytest.mark.parametrize("max_code", [255, 1023])
@pytest.mark.parametrize("encoding", CURVES)
@pytest.mark.parametrize("method", METHODS)
def test_without_noise_the_merge_is_the_truth_within_rounding(method: str, encoding: str, max_code: int) -> None:
    """Each X / t is off by what half a code is worth there, and a mean is off no more than the worst of them."""
    t = [2**-5, 0.25, 1.0]
    truth = light_of(t, encoding, max_code, least_lsb=2)
    frames = expose(truth, t, encoding, max_code)
    merged = merge(frames, t, encoding, method, max_code)
    decode = get_encoding(encoding).decode
    bound = torch.zeros_like(truth)
    for codes, exposure in zip(frames, t, strict=True):
        ends = [(decode((codes + side) / max_code) - decode(codes / max_code)).abs() for side in (-0.5, 0.5)]
        counts = ((codes < max_code) | (exposure == min(t))) & ((codes > 0) | (exposure == max(t)))
        bound = torch.maximum(bound, torch.where(counts, torch.maximum(*ends) / exposure, 0))
    assert ((merged - truth).abs() <= bound * (1 + 1e-9)).all()
    # A bound from the darkest exposure is wide; on the whole no method leaves much of it.
    assert (merged / truth).log2().abs().median() < 12 / max_code


def smooth(t: list[float], *, grey: bool) -> list[Tensor]:
    """Linear codes of light that neither clips nor is black in 0.25, 1 and 4."""
    row = torch.linspace(0.02, 0.24, 64, dtype=torch.float64).expand(48, -1)
    light = (row, row, row) if grey else (row, row.flip(1), row * 0.5 + 0.06)
    return expose(torch.stack(light), t, "lin_rec709", 255)


def by_opencv(merger: cv2.MergeDebevec | cv2.MergeRobertson, frames: list[Tensor], t: list[float]) -> Tensor:
    images = [frame.permute(1, 2, 0).numpy().astype(np.uint8) for frame in frames]
    return torch.from_numpy(merger.process(images, times=np.float32(t))).permute(2, 0, 1).double()


def test_opencvs_debevec_agrees() -> None:
    """It weighs a pixel's channels by the mean of their hats, and averages the logarithm of light, counted in codes.

    Here each channel has a weight of its own, and light itself is averaged. On a grey frame where nothing clips only
    the mean differs, by less than half a percent, as all exposures say nearly the same. The hats of OpenCV 5 are the
    same; those of older versions are one higher, which leaves a weight to what clips.
    """
    t = [0.25, 1.0, 4.0]
    grey, colours = smooth(t, grey=True), smooth(t, grey=False)
    merged = merge(grey, t, "lin_rec709", "debevec")
    torch.testing.assert_close(merged, by_opencv(cv2.createMergeDebevec(), grey, t) / 255, rtol=0.005, atol=0)
    # By its own rules, but from this hat.
    codes = torch.stack(colours)
    logs = (codes / 255).log() - torch.tensor(t).log().view(-1, 1, 1, 1)
    hat = debevec(as_stack(codes, t, "lin_rec709", 255)).mean(dim=1, keepdim=True)
    ours = [((hat + more) * logs).sum(dim=0).div((hat + more).sum(dim=0)).exp() for more in (0, 1)]
    theirs = by_opencv(cv2.createMergeDebevec(), colours, t) / 255
    assert min(float((one / theirs - 1).abs().max()) for one in ours) < 1e-5


def test_opencvs_robertson_agrees() -> None:
    """The same bell, but lowered by e^-4 to be 0 at both ends, within a fifth of a percent; light in codes / 128."""
    t = [0.25, 1.0, 4.0]
    frames = smooth(t, grey=False)
    theirs = by_opencv(cv2.createMergeRobertson(), frames, t) * 128 / 255
    torch.testing.assert_close(merge(frames, t, "lin_rec709", "robertson"), theirs, rtol=0.002, atol=0)
    stack = as_stack(torch.stack(frames), t, "lin_rec709", 255)
    lowered = robertson(stack) - math.exp(-4) * stack.exposures**2
    ours = (lowered * stack.codes / 255 / stack.exposures).sum(dim=0) / lowered.sum(dim=0)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
