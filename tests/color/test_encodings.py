"""The closed forms against OpenColorIO, colour-science, their own inverse and naive arithmetic."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import PyOpenColorIO as OCIO  # noqa: N814
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqhdr.color import ocio
from seqhdr.color.encodings import ENCODING_NAMES, convert_linear, get_encoding, primaries_matrix
from seqhdr.errors import UnknownNameError

with warnings.catch_warnings():
    # It says on import that its plots need matplotlib, which nothing here does.
    warnings.filterwarnings("ignore", message='"Matplotlib" related API')
    import colour
    from colour.models import rgb as colour_rgb

OCIO_NAMES = {
    "srgb": "sRGB - Texture",
    "rec709": "Camera Rec.709",
    "gamma22": "Gamma 2.2 Rec.709 - Texture",
    "gamma24": "Gamma 2.4 Rec.709 - Texture",
    "lin_rec709": "Linear Rec.709 (sRGB)",
    "acescct": "ACEScct",
    "acescc": "ACEScc",
    "acescg": "ACEScg",
    "aces2065-1": "ACES2065-1",
    "logc3": "ARRI LogC3 (EI800)",
    "logc4": "ARRI LogC4",
    "slog3": "S-Log3 S-Gamut3.Cine",
    "vlog": "V-Log V-Gamut",
    "log3g10": "Log3G10 REDWideGamutRGB",
    "davinci": "DaVinci Intermediate WideGamut",
}


def through_ocio(pixels: np.ndarray, source: str, target: str) -> np.ndarray:
    processor: Any = ocio._builtin_config().getProcessor(source, target)
    result = np.array(pixels, dtype=np.float32, order="C")
    processor.getOptimizedCPUProcessor(OCIO.OPTIMIZATION_NONE).applyRGB(result)
    return result.astype(np.float64)


def test_every_name_is_checked_against_an_oracle() -> None:
    assert set(OCIO_NAMES) | {"cineon", "ailog"} == set(ENCODING_NAMES)


@pytest.mark.parametrize("name", OCIO_NAMES)
def test_decoding_agrees_with_ocio(name: str) -> None:
    encoding = get_encoding(name)
    # Bright enough that no colour leaves AP0, where some of OCIO's built-in transforms clamp at zero.
    codes = np.random.default_rng(1).uniform(0.0, 1.0, (4000, 3)).astype(np.float32)
    codes[:1001] = np.linspace(0, 1, 1001, dtype=np.float32)[:, None]
    expected = through_ocio(codes, OCIO_NAMES[name], "ACES2065-1")
    light = encoding.decode(torch.from_numpy(codes).double()).numpy()
    found = light @ np.array(encoding.rgb_to_ap0).T
    scale = np.abs(light).max(axis=1, keepdims=True).clip(1e-2)
    assert np.abs(np.where(expected == 0, 0, found - expected) / scale).max() <= 1e-5


@pytest.mark.parametrize("name", OCIO_NAMES)
def test_encoding_agrees_with_ocio(name: str) -> None:
    encoding = get_encoding(name)
    ap0 = np.repeat(np.exp2(np.linspace(-9, 5, 500))[:, None], 3, axis=1)
    expected = through_ocio(ap0, "ACES2065-1", OCIO_NAMES[name])
    found = encoding.encode(torch.from_numpy(ap0.astype(np.float32)).double()).numpy()
    assert np.abs((found - expected) / np.maximum(1.0, np.abs(expected))).max() <= 4e-6


@pytest.mark.parametrize(
    ("name", "oracle", "tolerance"),
    [
        ("cineon", "log_encoding_Cineon", 1e-12),
        ("acescct", "log_encoding_ACEScct", 1e-7),
        ("acescc", "log_encoding_ACEScc", 1e-12),
        ("logc3", "log_encoding_ARRILogC3", 2e-6),
        ("logc4", "log_encoding_ARRILogC4", 1e-9),
        ("slog3", "log_encoding_SLog3", 1e-9),
        ("vlog", "log_encoding_VLog", 1e-6),
        ("log3g10", "log_encoding_Log3G10", 1e-6),
        ("davinci", "oetf_DaVinciIntermediate", 1e-6),
        # The constants of these two standards are rounded, ours meet; see curves.power_with_toe.
        ("srgb", "eotf_inverse_sRGB", 1e-5),
        ("rec709", "oetf_BT709", 4e-4),
    ],
)
def test_encoding_agrees_with_colour_science(name: str, oracle: str, tolerance: float) -> None:
    light = np.concatenate([np.linspace(0, 0.05, 400), np.exp2(np.linspace(-4, 6, 400))])
    with np.errstate(divide="ignore"):
        expected = getattr(colour_rgb.transfer_functions, oracle)(light)
    found = get_encoding(name).encode(torch.from_numpy(light)).numpy()
    assert np.abs(found - np.asarray(expected)).max() <= tolerance


def test_ailog_is_its_formula() -> None:
    encoding = get_encoding("ailog")
    a, b, c = (2**18 - 16) / 117.45, (1023 - 95) / 1023, 95 / 1023
    for v in (0.0, 0.1, 0.5, 0.9, 1.0):
        expected = (2 ** (14 * (v - c) / b + 6) - 2 ** (-14 * c / b + 6)) / a
        assert float(encoding.decode(torch.tensor(v, dtype=torch.float64))) == pytest.approx(expected, abs=1e-12)
    assert float(encoding.encode(torch.tensor(-5.0))) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("name", ENCODING_NAMES)
@given(v=st.floats(-1.5, 2.5))
def test_encode_undoes_decode_on_the_real_line(name: str, v: float) -> None:
    encoding = get_encoding(name)
    expected = v if encoding.floor is None else max(v, encoding.floor)
    found = float(encoding.encode(encoding.decode(torch.tensor(v, dtype=torch.float64))))
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", ENCODING_NAMES)
def test_curves_rise_and_keep_dtype(name: str) -> None:
    encoding = get_encoding(name)
    v = torch.linspace(0, 1, 20001, dtype=torch.float64)
    assert bool((encoding.decode(v).diff() > 0).all())
    assert encoding.decode(v.float()).dtype == torch.float32
    assert encoding.encode(v).dtype == torch.float64


@pytest.mark.parametrize("name", ENCODING_NAMES)
def test_gradients_are_finite_everywhere(name: str) -> None:
    encoding = get_encoding(name)
    for curve in (encoding.decode, encoding.encode):
        x = torch.tensor([-2.0, -1e-9, 0.0, 1e-9, 0.01, 0.5, 1.0, 3.0], requires_grad=True)
        curve(x).sum().backward()
        assert x.grad is not None
        assert bool(torch.isfinite(x.grad).all())


@pytest.mark.parametrize(
    ("name", "gamut", "cat"),
    [
        ("lin_rec709", "ITU-R BT.709", "Bradford"),
        ("acescg", "ACEScg", None),
        ("logc3", "ARRI Wide Gamut 3", "CAT02"),
        ("logc4", "ARRI Wide Gamut 4", "CAT02"),
        ("slog3", "S-Gamut3.Cine", "CAT02"),
        ("vlog", "V-Gamut", "Bradford"),
        ("log3g10", "REDWideGamutRGB", "Bradford"),
        ("davinci", "DaVinci Wide Gamut", "CAT02"),
    ],
)
def test_matrices_agree_with_colour_science(name: str, gamut: str, cat: str | None) -> None:
    spaces = colour.RGB_COLOURSPACES
    expected = colour.matrix_RGB_to_RGB(spaces[gamut], spaces["ACES2065-1"], chromatic_adaptation_transform=cat)
    assert np.abs(np.array(get_encoding(name).rgb_to_ap0) - expected).max() < 2e-4


def test_convert_linear_is_the_matrix_per_pixel_and_nothing_between_equals() -> None:
    srgb, ailog, cct = (get_encoding(n) for n in ("srgb", "ailog", "acescct"))
    rgb = torch.rand(2, 3, 4, 5)
    assert convert_linear(rgb, srgb, ailog) is rgb
    assert torch.equal(primaries_matrix(srgb, ailog), torch.eye(3, dtype=torch.float64))
    matrix = np.linalg.inv(np.array(cct.rgb_to_ap0)) @ np.array(srgb.rgb_to_ap0)
    found = convert_linear(rgb, srgb, cct)
    for n, y, x in np.ndindex(2, 4, 5):
        expected = matrix @ rgb[n, :, y, x].double().numpy()
        assert np.abs(found[n, :, y, x].numpy() - expected).max() < 1e-6


def test_names_are_case_insensitive_and_unknown_ones_get_offers() -> None:
    assert get_encoding("ACEScct") is get_encoding("acescct")
    with pytest.raises(UnknownNameError, match="ACEScct"):
        get_encoding("acessct")
    with pytest.raises(UnknownNameError, match="sRGB - Texture"):
        get_encoding("sRGB - Textur")
