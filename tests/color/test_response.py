"""Response curves: what counts as one, the known ones, and a curve as an encoding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqhdr.color.encodings import get_encoding, same_curve
from seqhdr.color.response import SAMPLES, ResponseCurve, curve_encoding, known_curve, sample_values
from seqhdr.errors import UnknownNameError, UsageError


def three(light: np.ndarray) -> np.ndarray:
    return np.repeat(np.asarray(light, np.float64)[:, None], 3, axis=1)


@pytest.mark.parametrize(
    ("light", "words"),
    [
        ([0.0, 0.5, 0.5, 1.0], "does not rise in R after sample 1"),
        ([0.0, 0.5, 0.4, 1.0], "does not rise"),
        ([0.0, np.nan, 1.0], "not finite"),
        ([-0.1, 0.5, 1.0], "from -0.1 to 1"),
        ([0.0, 0.5, 0.9], "from 0 to 0.9"),
        ([1.0], "shape"),
    ],
)
def test_what_is_no_curve_is_refused(light: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ResponseCurve(three(np.array(light)), "test")


def test_a_curve_cannot_be_changed() -> None:
    light = three(np.array([0.0, 0.2, 1.0]))
    curve = ResponseCurve(light, "test")
    light[1] = 0.5
    assert curve.light[1].tolist() == [0.2, 0.2, 0.2]
    with pytest.raises(ValueError, match="read-only"):
        curve.light[1] = 0.5


@pytest.mark.parametrize("name", ["srgb", "rec709", "gamma:1.8", "Gamma:2.4"])
def test_known_curves_are_their_closed_forms(name: str) -> None:
    curve = known_curve(name)
    codes = np.arange(256) / 255
    if ":" in name:
        expected = codes ** float(name.partition(":")[2])
    else:
        expected = get_encoding(name).decode(torch.from_numpy(codes)).numpy()
    assert np.abs(curve.at(codes) - expected[:, None]).max() < 1e-12
    between = (np.arange(255) + 0.3) / 255
    if name == "srgb":
        assert (
            np.abs(curve.at(between)[:, 0] - get_encoding(name).decode(torch.from_numpy(between)).numpy()).max() < 4e-7
        )
    assert not curve.per_channel
    assert curve.confidence == "high"


@pytest.mark.parametrize(("name", "words"), [("gamma:x", "give a gamma"), ("gamma:9", "give a gamma")])
def test_a_gamma_that_is_none(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        known_curve(name)


@pytest.mark.parametrize("name", ["srbg", "gamma", "srgb:2"])
def test_an_unknown_curve(name: str) -> None:
    with pytest.raises(UnknownNameError, match="yaml"):
        known_curve(name)


@pytest.mark.parametrize("name", ["srgb", "gamma:1.8", "gamma:2.4"])
def test_a_known_curve_as_an_encoding_agrees_with_the_closed_form(name: str) -> None:
    encoding = curve_encoding(known_curve(name), get_encoding("srgb"))
    v = torch.linspace(0, 1, 5001, dtype=torch.float64)
    exact = get_encoding("srgb").decode(v) if name == "srgb" else v ** float(name.partition(":")[2])
    # Straight lines between 1021 samples.
    assert float((encoding.decode(v) - exact).abs().max()) < 1e-6
    assert encoding.primaries == "rec709"
    assert encoding.name == "srgb"
    assert encoding.interop_id is None
    assert not same_curve(encoding, get_encoding("srgb"))


@given(v=st.floats(-0.5, 1.5), name=st.sampled_from(["srgb", "gamma:2.4", "steps"]))
def test_encode_undoes_decode(v: float, name: str) -> None:
    rng = np.random.default_rng(2)
    rise = np.cumsum(np.append(0.0, rng.random(40) + 1e-3))
    steps = ResponseCurve(three(rise / rise[-1]), "steps")
    encoding = curve_encoding(steps if name == "steps" else known_curve(name), get_encoding("srgb"))
    there = encoding.decode(torch.tensor(v, dtype=torch.float64))
    assert float(encoding.encode(there)) == pytest.approx(v, abs=1e-9)


def test_an_encoding_keeps_dtypes_and_shapes_and_has_gradients() -> None:
    encoding = curve_encoding(known_curve("srgb"), get_encoding("acescg"))
    v = torch.rand(2, 3, 4, 5, requires_grad=True)
    light = encoding.decode(v)
    assert light.dtype == torch.float32
    assert light.shape == v.shape
    assert float((encoding.encode(light) - v).detach().abs().max()) < 1e-6
    light.sum().backward()
    assert v.grad is not None
    assert bool((v.grad > 0).all())
    assert bool(torch.isnan(encoding.decode(torch.tensor(float("nan")))))


def test_curves_per_channel_become_their_mean() -> None:
    values = sample_values(SAMPLES)
    light = np.stack([values**1.8, values**2.2, values**2.6], axis=1)
    curve = ResponseCurve(light, "test")
    assert curve.per_channel
    encoding = curve_encoding(curve, get_encoding("srgb"))
    found = encoding.decode(torch.from_numpy(values)).numpy()
    assert np.abs(found - light.mean(axis=1)).max() < 1e-12
