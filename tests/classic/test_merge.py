"""Merged exposures: every weight by its formula, an answer for every pixel, and what can be said of any stack."""

from __future__ import annotations

import dataclasses
import itertools
import math
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqhdr.classic.merge import MERGE_WEIGHTS, NoiseModel, granados, mann, merge_exposures, mitsunaga
from seqhdr.color.encodings import ENCODING_NAMES, get_encoding
from seqhdr.errors import UnknownNameError, UsageError
from tests.classic.merge_stacks import (
    CAMERA,
    CURVES,
    METHODS,
    as_stack,
    by_pixel,
    expose,
    merge,
    naive_average,
    naive_counted,
    naive_weights,
    pixel,
    random_codes,
)

# Rounded constants of a published curve, in what they make of a weight.
ROUNDED = 1e-3


@pytest.mark.parametrize("encoding", CURVES)
@pytest.mark.parametrize("method", METHODS)
def test_every_weight_is_its_formula(method: str, encoding: str) -> None:
    t = [0.1, 1.0, 0.4]
    codes = random_codes(3)
    weights = MERGE_WEIGHTS[method](as_stack(codes, t, encoding, 255, CAMERA))
    naive = by_pixel(lambda z: naive_weights(method, z, t, encoding, 255, CAMERA), codes)
    torch.testing.assert_close(weights, naive, rtol=ROUNDED if encoding == "logc3" else 1e-9, atol=1e-12)


@pytest.mark.parametrize("encoding", CURVES)
@pytest.mark.parametrize("method", METHODS)
def test_what_clips_and_what_is_black_counts_by_the_rules(method: str, encoding: str) -> None:
    """Of these codes, half lie at the ends; two exposures are equal."""
    t = [0.25, 4.0, 1.0, 4.0]
    codes = random_codes(4, seed=1)
    decode = CURVES[encoding][0]

    def rule(z: list[float]) -> float:
        return naive_average(z, t, naive_weights(method, z, t, encoding, 255, CAMERA), decode, 255)

    merged = merge(codes, t, encoding, method)
    torch.testing.assert_close(merged, by_pixel(rule, codes), rtol=ROUNDED if encoding == "logc3" else 1e-9, atol=1e-6)


def test_slopes_are_those_of_calculus() -> None:
    """L = V^2.2: dz/dL = z_max / (2.2 V^1.2) and f / f' = z / 2.2, away from black, where a code is a short way."""
    codes = torch.arange(20, 256, dtype=torch.float64).expand(1, 3, 1, -1)
    stack = as_stack(codes, [1.0], "gamma22", 255)
    torch.testing.assert_close(mann(stack), 255 / (2.2 * (codes / 255) ** 1.2), rtol=1e-3, atol=0)
    torch.testing.assert_close(mitsunaga(stack), codes / 2.2, rtol=1e-3, atol=0)


@pytest.mark.parametrize(("noise", "power"), [(NoiseModel(1e-2, 1e-9, 0), 1), (NoiseModel(0, 1e-2, 0), 2)])
def test_where_one_noise_is_all_there_is_the_weight_is_a_power_of_time(noise: NoiseModel, power: int) -> None:
    """Variances of X / t: shot · E / t, and read² / t²."""
    t = [0.125, 1.0]
    light = torch.linspace(0.05, 0.9, 9, dtype=torch.float64).expand(3, 1, -1)
    codes = torch.stack(expose(light, t, "srgb", 255))
    weights = granados(as_stack(codes, t, "srgb", 255, noise))
    ratio = torch.full_like(codes[0], 0.125**power)
    torch.testing.assert_close(weights[0] / weights[1], ratio, rtol=1e-6, atol=0)


@pytest.mark.parametrize("encoding", CURVES)
def test_noise_is_judged_by_the_estimate_not_by_the_pixel(encoding: str) -> None:
    """Equal exposures are then equally good, and their plain mean has no bias."""
    codes = torch.tensor([40.0, 60.0, 90.0]).double().view(3, 1, 1, 1).expand(-1, 3, 2, 2)
    mean = get_encoding(encoding).decode(codes / 255).mean(dim=0)
    torch.testing.assert_close(merge(codes, [1.0, 1.0, 1.0], encoding, "granados"), mean)


@pytest.mark.parametrize("encoding", CURVES)
def test_one_frame_is_its_own_decode_over_its_exposure(encoding: str) -> None:
    codes = torch.arange(256, dtype=torch.float64).expand(3, 2, -1)
    light = get_encoding(encoding).decode(codes / 255)
    for method in METHODS:
        torch.testing.assert_close(merge([codes], [1.0], encoding, method), light)
        torch.testing.assert_close(merge([codes], [8.0], encoding, method), light / 8)


@pytest.mark.parametrize("method", METHODS)
def test_every_pixel_has_an_answer(method: str) -> None:
    t = [0.01, 0.1, 1.0]

    def value(*codes: float) -> float:
        return float(merge(pixel(*codes), t, "lin_rec709", method)[0, 0, 0])

    # Too bright for all, too dark for all, and between a black and a clipped one.
    assert value(255, 255, 255) == pytest.approx(100)
    assert value(0, 0, 0) == 0
    assert value(0, 255, 255) == pytest.approx(10)
    assert value(0, 0, 255) == pytest.approx(1)
    # Clipped ones have no say where another has, black ones neither.
    assert value(51, 255, 255) == pytest.approx(20)
    assert value(0, 0, 51) == pytest.approx(0.2)


@pytest.mark.parametrize("encoding", ENCODING_NAMES)
@pytest.mark.parametrize("method", METHODS)
def test_no_encoding_makes_it_nan(method: str, encoding: str) -> None:
    """Curves that are flat at black, have codes below it, or none; exposures as far apart as may be."""
    codes = random_codes(3, seed=2).float()
    for t in ([0.25, 1.0, 4.0], [2.0**-30, 1.0, 2.0**10]):
        merged = merge(codes, t, encoding, method)
        assert merged.shape == (3, 6, 8)
        assert merged.dtype == torch.float32
        assert merged.isfinite().all()


@pytest.mark.parametrize("method", METHODS)
def test_a_curve_that_is_flat_at_its_ends_does_not_make_it_nan(method: str) -> None:
    flat = dataclasses.replace(get_encoding("lin_rec709"), decode=lambda v: v.clamp(0.3, 0.7))
    assert merge_exposures(list(random_codes(3)), [0.25, 1.0, 4.0], flat, 255, method).isfinite().all()


def test_noise_too_small_for_float32_weighs_like_a_little() -> None:
    """Of equal noise only the ratios of t² matter."""
    codes, t = list(random_codes(3, seed=4).float()), [0.25, 1.0, 4.0]
    little, less = (
        merge_exposures(codes, t, get_encoding("srgb"), 255, "granados", NoiseModel(0, read, 0))
        for read in (1e-2, 1e-25)
    )
    torch.testing.assert_close(less, little)


def test_light_below_zero_does_not_weigh_and_does_not_turn_the_sign() -> None:
    """LogC3 has codes below black: mitsunaga finds no signal in them, so the brightest is taken."""
    merged = merge(pixel(20, 22), [1.0, 2.0], "logc3", "mitsunaga")
    below = float(get_encoding("logc3").decode(torch.tensor(22 / 255))) / 2
    assert below < 0
    torch.testing.assert_close(merged, torch.full((3, 1, 1), below))


def test_channels_are_merged_each_by_itself() -> None:
    codes = random_codes(3, seed=3)
    t = [0.25, 1.0, 4.0]
    for method in METHODS:
        flipped = merge(codes.flip(1), t, "srgb", method)
        torch.testing.assert_close(flipped.flip(0), merge(codes, t, "srgb", method))


STACKS = {
    "seed": st.integers(0, 2**31),
    "t": st.lists(st.sampled_from([2.0**ev for ev in range(-6, 7)]), min_size=1, max_size=5),
    "encoding": st.sampled_from(sorted(CURVES)),
    "method": st.sampled_from(METHODS),
}


@settings(max_examples=40, deadline=None)
@given(**STACKS)
def test_the_estimate_lies_among_what_counts(seed: int, t: list[float], encoding: str, method: str) -> None:
    codes = random_codes(len(t), height=3, width=5, seed=seed)
    merged = merge(codes, t, encoding, method)
    decode = get_encoding(encoding).decode
    each = decode(codes / 255) / torch.tensor(t).view(-1, 1, 1, 1)
    for z, x, estimate in zip(
        codes.flatten(1).T.tolist(), each.flatten(1).T.tolist(), merged.flatten().tolist(), strict=True
    ):
        counted = naive_counted(z, t, 255) or [i for i, code in enumerate(z) if code == 255]
        slack = 1e-9 * max(map(abs, x))
        assert min(x[i] for i in counted) - slack <= estimate <= max(x[i] for i in counted) + slack


@settings(max_examples=40, deadline=None)
@given(**STACKS, order=st.randoms(use_true_random=False))
def test_the_order_of_the_frames_changes_nothing(
    seed: int, t: list[float], encoding: str, method: str, order: Random
) -> None:
    codes = random_codes(len(t), height=3, width=5, seed=seed)
    indices = list(range(len(t)))
    order.shuffle(indices)
    shuffled = merge(codes[indices], [t[i] for i in indices], encoding, method)
    torch.testing.assert_close(shuffled, merge(codes, t, encoding, method), rtol=1e-9, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(**STACKS, factor=st.floats(1e-6, 1e6))
def test_k_times_the_exposure_is_one_kth_of_the_light(
    seed: int, t: list[float], encoding: str, method: str, factor: float
) -> None:
    codes = random_codes(len(t), height=3, width=5, seed=seed)
    scaled = merge(codes, [factor * one for one in t], encoding, method)
    torch.testing.assert_close(scaled * factor, merge(codes, t, encoding, method), rtol=1e-7, atol=1e-12)


def test_an_unknown_method_is_named_with_its_neighbours() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown merge method 'debevek': did you mean debevec"):
        merge(pixel(1, 2), [1.0, 2.0], "srgb", "debevek")


@pytest.mark.parametrize(
    ("frames", "t", "sentence"),
    [
        (2, [1.0], r"got 1 exposures for 2 frames: give one exposure for each frame\."),
        (0, [], r"got 0 exposures for 0 frames"),
        (2, [1.0, 0.0], r"exposure 2 of 2 is 0\.0: give a linear exposure above 0"),
        (2, [-1.0, 1.0], r"exposure 1 of 2 is -1\.0"),
        (2, [1.0, math.nan], r"exposure 2 of 2 is nan"),
        (2, [math.inf, 1.0], r"exposure 1 of 2 is inf"),
        (2, [2.0**-21, 2.0**20], r"41 stops apart, at most 40"),
    ],
)
def test_exposures_that_cannot_be_meant_are_refused(frames: int, t: list[float], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        merge(pixel(*range(1, frames + 1)), t, "srgb", "granados")


def test_frames_that_do_not_fit_are_refused() -> None:
    frame = torch.ones(3, 4, 5)
    for other in (torch.ones(3, 5, 4), torch.ones(1, 3, 4, 5)):
        with pytest.raises(ValueError, match=r"got shapes .* expected the same \(3, H, W\)"):
            merge([frame, other], [1.0, 2.0], "srgb", "mann")
    for shape in ((1, 4, 5), (3, 4)):
        with pytest.raises(ValueError, match=r"expected the same \(3, H, W\)"):
            merge([torch.ones(shape)] * 2, [1.0, 2.0], "srgb", "mann")
    with pytest.raises(ValueError, match=r"expected either float32 or float64"):
        merge([frame, frame.double()], [1.0, 2.0], "srgb", "mann")
    with pytest.raises(ValueError, match=r"expected either float32 or float64"):
        merge([frame.byte()] * 2, [1.0, 2.0], "srgb", "mann")
    with pytest.raises(ValueError, match=r"got 0, expected a code above 0"):
        merge([frame] * 2, [1.0, 2.0], "srgb", "mann", max_code=0)


@pytest.mark.parametrize("numbers", [(-1, 0, 1), (0, -1, 1), (0, 0, -1), (1, 0, 0), (math.nan, 0, 1), (0, math.inf, 1)])
def test_noise_that_is_none_is_refused(numbers: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match=r"noise: got shot = .* expected"):
        NoiseModel(*numbers)


@pytest.mark.parametrize("method", METHODS)
def test_an_exposure_that_is_not_heard_might_as_well_not_be_there(method: str) -> None:
    generator = torch.Generator().manual_seed(5)
    codes = torch.randint(0, 256, (3, 3, 48, 50), generator=generator).double()
    # Black and clipped ones are many: who is the brightest and the darkest must not be asked of the unheard.
    codes[torch.rand(codes.shape, generator=generator) < 0.25] = 0
    codes[torch.rand(codes.shape, generator=generator) < 0.25] = 255
    heard = torch.rand((3, 1, 48, 50), generator=generator) < 0.5
    heard[0] |= ~heard.any(dim=0)
    times, space = [0.25, 1.0, 4.0], get_encoding("srgb")
    masked = merge_exposures(list(codes), times, space, 255, method, masks=list(heard.double()))
    for subset in itertools.product((False, True), repeat=3):
        here = (heard[:, 0] == torch.tensor(subset).view(3, 1, 1)).all(dim=0)
        if not any(subset) or not bool(here.any()):
            continue
        kept = [index for index, there in enumerate(subset) if there]
        alone = merge_exposures([codes[i] for i in kept], [times[i] for i in kept], space, 255, method)
        torch.testing.assert_close(masked[:, here], alone[:, here], rtol=1e-9, atol=1e-12)


def test_a_mask_multiplies_the_weight_and_every_pixel_needs_one() -> None:
    space = get_encoding("lin_rec709")
    codes = [torch.full((3, 2, 2), code, dtype=torch.float64) for code in (100.0, 150.0)]
    ones = torch.ones(1, 2, 2)
    merged = merge_exposures(codes, [1.0, 1.0], space, 255, "mann", masks=[ones, 3 * ones])
    np.testing.assert_allclose(merged * 255, (100 + 3 * 150) / 4)
    with pytest.raises(ValueError, match="masks: got 1 for 2 frames"):
        merge_exposures(codes, [1.0, 1.0], space, 255, masks=[ones])
    hole = ones.clone()
    hole[0, 0, 0] = 0
    with pytest.raises(ValueError, match="a pixel that no mask lets through"):
        merge_exposures(codes, [1.0, 1.0], space, 255, masks=[hole, hole])
