"""PU21, ΔE ITP and the tone curve against the standards' numbers and another library."""

from __future__ import annotations

import colour
import numpy as np
import pytest
import torch

from seqhdr.quality.hdr import PU21_PEAK, WHITE_CD_M2, delta_e_itp, pu21, pu21_luminance, tone_map


def light(seed: int, *shape: int) -> torch.Tensor:
    """Scene-linear Rec.709 from deep shadows to thirty times diffuse white."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(2.0 ** rng.uniform(-9, 5, shape))


def test_pu21_is_nought_at_its_darkest_and_256_at_the_white_of_a_screen() -> None:
    values = pu21(torch.tensor([0.005, 100.0, 10000.0], dtype=torch.float64))
    np.testing.assert_allclose(values, (0, 256.38, 595.39), atol=0.005)
    assert values[1] == pytest.approx(PU21_PEAK, abs=0.5)


def test_pu21_grows_everywhere_and_stops_at_its_ends() -> None:
    cd_m2 = torch.logspace(-2.3, 4, 500, dtype=torch.float64)
    assert bool((pu21(cd_m2).diff() > 0).all())
    ends = pu21(torch.tensor([-3.0, 0.0, 0.005, 1e4, 1e6], dtype=torch.float64))
    assert ends[0] == ends[1] == ends[2]
    assert ends[3] == ends[4]


def test_pu21_follows_its_formula() -> None:
    y = 20.0
    curve = (0.353487901 + 0.3734658629 * y**0.9062562627) / (1 + 8.277049286e-05 * y**0.9062562627)
    expected = 596.3148142 * (curve**0.09150303166 - 0.9099517204)
    assert float(pu21(torch.tensor(y, dtype=torch.float64))) == pytest.approx(expected, rel=1e-12)


def test_diffuse_white_is_shown_at_203_and_luminance_is_that_of_rec709() -> None:
    picture = torch.tensor([1.0, 1, 1, 1, 0, 0], dtype=torch.float64).view(2, 3).T.reshape(1, 3, 1, 2)
    values = pu21_luminance(picture)
    assert values.shape == (1, 1, 1, 2)
    expected = pu21(torch.tensor([203.0, 203.0 * 0.2126], dtype=torch.float64))
    np.testing.assert_allclose(values.flatten(), expected, rtol=1e-6)
    assert float(pu21_luminance(picture, 100.0)[0, 0, 0, 0]) == pytest.approx(256.38, abs=0.005)


def test_delta_e_itp_is_that_of_colour_science() -> None:
    a, b = light(1, 3, 8, 9), light(2, 3, 8, 9)
    to_2020 = colour.matrix_RGB_to_RGB(
        colour.RGB_COLOURSPACES["ITU-R BT.709"], colour.RGB_COLOURSPACES["ITU-R BT.2020"], None
    )
    ictcp = [
        colour.RGB_to_ICtCp(x.permute(1, 2, 0).numpy() * WHITE_CD_M2 @ to_2020.T, method="ITU-R BT.2100-2 PQ")
        for x in (a, b)
    ]
    expected = colour.delta_E(*ictcp, method="ITP")
    found = delta_e_itp(a, b)
    assert found.shape == (8, 9)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, expected, rtol=2e-5)
    torch.testing.assert_close(delta_e_itp(torch.stack((a, b)), torch.stack((b, b)))[0], found)


def test_small_differences_are_not_lost_in_rounding() -> None:
    a = light(3, 3, 20, 20).float()
    b = a * (1 + 2**-12)
    np.testing.assert_allclose(delta_e_itp(a, b), delta_e_itp(a.double(), b.double()), rtol=1e-3)
    assert float(delta_e_itp(a, a).max()) == 0


def test_light_that_no_screen_shows_has_a_difference_all_the_same() -> None:
    picture = torch.tensor([-5.0, -5, -5, 1e6, 1e6, 1e6]).view(2, 3).T.reshape(3, 1, 2)
    black_and_peak = torch.tensor([0.0, 0, 0, 1e4, 1e4, 1e4]).view(2, 3).T.reshape(3, 1, 2)
    np.testing.assert_allclose(delta_e_itp(picture, black_and_peak), 0, atol=1e-3)


def test_the_tone_curve_puts_one_at_half_and_ends_below_one() -> None:
    picture = tone_map(torch.tensor([-2.0, 0.0, 1.0, 3.0, 1e9], dtype=torch.float64))
    half, three_quarters = (1.055 * x ** (1 / 2.4) - 0.055 for x in (0.5, 0.75))
    np.testing.assert_allclose(picture, (0, 0, half, three_quarters, 1), atol=1e-6)
