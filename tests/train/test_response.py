"""Camera response curves: ends, shape, and the way back."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from seqhdr.train.response import Response, apply_response, invert_response

CURVES = (
    Response(),
    Response("sigmoid", 0.7, 0.4),
    Response("sigmoid", 1.1, 0.8),
    Response("sigmoid", 0.5, 3.0),
    Response("srgb"),
)


@pytest.mark.parametrize("response", CURVES)
def test_black_and_the_clip_level_stay_where_they_are(response: Response) -> None:
    ends = apply_response(response, torch.tensor((0.0, 1.0), dtype=torch.float64))
    np.testing.assert_allclose(ends, (0, 1), atol=1e-12)


@pytest.mark.parametrize("response", CURVES)
def test_more_light_is_a_higher_code_even_above_clip(response: Response) -> None:
    light = torch.cat((torch.linspace(-0.1, 1, 2000), torch.logspace(0.01, 3, 300))).double()
    assert (torch.diff(apply_response(response, light)) > 0).all()


@pytest.mark.parametrize("response", CURVES)
def test_there_is_a_way_back(response: Response) -> None:
    light = torch.cat((-torch.logspace(-1, -6, 50), torch.zeros(1), torch.logspace(-6, 1, 100))).double()
    back = invert_response(response, apply_response(response, light))
    np.testing.assert_allclose(back, light, rtol=1e-9, atol=1e-15)
    value = torch.linspace(0, 1, 256)
    np.testing.assert_allclose(apply_response(response, invert_response(response, value)), value, atol=1e-6)


def test_the_sigmoid_is_the_published_one() -> None:
    for n, sigma in ((0.9, 0.6), (1.0, 0.5), (0.7, 0.8)):
        for light in (0.01, 0.18, 0.5, 4.0):
            expected = (1 + sigma) * light**n / (light**n + sigma)
            got = apply_response(Response("sigmoid", n, sigma), torch.tensor(light, dtype=torch.float64))
            assert float(got) == pytest.approx(expected, rel=1e-12)
    # By hand: 1.5 · 0.25 / 0.75.
    assert float(apply_response(Response("sigmoid", 1.0, 0.5), torch.tensor(0.25))) == pytest.approx(0.5)
    assert float(apply_response(Response("sigmoid", 1.0, 0.5), torch.tensor(1e9))) == pytest.approx(1.5)


def test_srgb_is_the_standard_s_curve() -> None:
    for light in (0.001, 0.0031, 0.02, 0.18, 0.7):
        expected = 12.92 * light if light <= 0.0031308 else 1.055 * math.pow(light, 1 / 2.4) - 0.055
        assert float(apply_response(Response("srgb"), torch.tensor(light).double())) == pytest.approx(
            expected, abs=2e-5
        )


def test_negative_light_is_mirrored_and_never_nan() -> None:
    light = torch.tensor((-0.2, -1e-30, 0.0, 1e-30, 0.2))
    value = apply_response(Response("sigmoid", 0.8, 0.5), light)
    np.testing.assert_array_equal(value, -value.flip(0))
    assert torch.isfinite(value).all()


@pytest.mark.parametrize(("kind", "n", "sigma"), [("linear", 1, 1), ("sigmoid", 0, 1), ("sigmoid", 1, -1)])
def test_what_is_no_curve_is_refused(kind: str, n: float, sigma: float) -> None:
    with pytest.raises(ValueError, match=r"response.*got .*expected"):
        Response(kind, n, sigma)
