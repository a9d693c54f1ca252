"""Any other colour space: which config, which spaces, and how well they are measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PyOpenColorIO as OCIO  # noqa: N814
import pytest
import torch

from seqhdr.color import ocio
from seqhdr.color.encodings import get_encoding
from seqhdr.errors import InputError, UsageError

CONFIG = """ocio_profile_version: 2
roles:
{roles}
file_rules:
  - !<Rule> {{name: Default, colorspace: ap0}}
displays:
  none:
    - !<View> {{name: Raw, colorspace: ap0}}
colorspaces:
  - !<ColorSpace>
    name: ap0
  - !<ColorSpace>
    name: house log
    aliases: [house]
    to_scene_reference: !<GroupTransform>
      children:
        - !<LogAffineTransform> {{base: 10, log_side_slope: 0.3, log_side_offset: 0.6, direction: inverse}}
        - !<MatrixTransform> {{matrix: [0.7, 0.2, 0.1, 0, 0.1, 0.8, 0.1, 0, 0, 0.1, 0.9, 0, 0, 0, 0, 1]}}
  - !<ColorSpace>
    name: crosstalk
    to_scene_reference: !<GroupTransform>
      children:
        - !<MatrixTransform> {{matrix: [0.7, 0.2, 0.1, 0, 0.1, 0.8, 0.1, 0, 0, 0.1, 0.9, 0, 0, 0, 0, 1]}}
        - !<ExponentTransform> {{value: 2.2}}
  - !<ColorSpace>
    name: clamped
    to_scene_reference: !<RangeTransform> {{min_in_value: 0.2, min_out_value: 0.2}}
"""


def write_config(folder: Path, roles: str = "  aces_interchange: ap0\n  default: ap0") -> str:
    path = folder / "config.ocio"
    path.write_text(CONFIG.format(roles=roles))
    return str(path)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OCIO", raising=False)


def test_a_given_path_wins_over_the_environment_which_wins_over_the_builtin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ocio.load_config().getName() == ocio.BUILTIN_CONFIG
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    path = write_config(one)
    monkeypatch.setenv("OCIO", path)
    assert ocio.has_space(ocio.load_config(), "house log")
    missing = str(two / "absent.ocio")
    with pytest.raises(InputError, match="absent"):
        ocio.load_config(missing)
    monkeypatch.setenv("OCIO", missing)
    with pytest.raises(InputError, match="OCIO"):
        ocio.load_config()
    assert ocio.has_space(ocio.load_config(path), "house log")


def test_an_unreadable_config_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "broken.ocio"
    path.write_text("this is no config: [")
    with pytest.raises(InputError, match=r"broken\.ocio") as caught:
        ocio.load_config(str(path))
    assert "\n" not in str(caught.value)


def test_a_house_space_is_measured_as_it_is(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    encoding = get_encoding("HOUSE", config)
    assert encoding.name == "house log"
    assert encoding.interop_id is None
    expected = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.0, 0.1, 0.9]])
    matrix = np.array(encoding.rgb_to_ap0)
    assert np.abs(matrix / matrix.sum(1, keepdims=True) - expected).max() < 1e-5
    v = torch.rand(2000, dtype=torch.float64) * 1.4 - 0.2
    assert torch.allclose(encoding.decode(v), 10 ** ((v - 0.6) / 0.3), rtol=1e-5)
    assert float((encoding.encode(encoding.decode(v)) - v).abs().max()) < 1e-12
    assert encoding.decode(v.float()).dtype == torch.float32


def test_a_measured_curve_has_a_gradient(tmp_path: Path) -> None:
    encoding = get_encoding("house log", write_config(tmp_path))
    v = torch.tensor([0.3, 0.7], dtype=torch.float64, requires_grad=True)
    encoding.decode(v).sum().backward()
    expected = 10 ** ((v.detach() - 0.6) / 0.3) * np.log(10) / 0.3
    assert v.grad is not None
    assert torch.allclose(v.grad, expected, rtol=1e-2)


@pytest.mark.parametrize("name", ["BMDFilm WideGamut Gen5", "CanonLog2 CinemaGamut D55", "S-Log3 S-Gamut3"])
def test_other_spaces_of_the_builtin_config_agree_with_ocio(name: str) -> None:
    encoding = get_encoding(name)
    processor = ocio.load_config().getProcessor(name, "ACES2065-1").getDefaultCPUProcessor()
    codes = np.random.default_rng(0).uniform(0.1, 1.0, (3000, 3)).astype(np.float32)
    expected = codes.copy()
    processor.applyRGB(expected)
    light = encoding.decode(torch.from_numpy(codes).double()).numpy()
    found = light @ np.array(encoding.rgb_to_ap0).T
    assert np.abs((found - expected) / np.abs(light).max(1, keepdims=True)).max() < 2e-5


@pytest.mark.parametrize(
    ("name", "short"),
    [("sRGB - Texture", "srgb"), ("ACES - ACEScc", "acescc"), ("arri_logc4", "logc4"), ("scene_linear", "acescg")],
)
def test_known_curves_and_primaries_are_recognised(name: str, short: str) -> None:
    found, known = get_encoding(name), get_encoding(short)
    assert found.decode is known.decode
    assert found.primaries == known.primaries
    assert found.rgb_to_ap0 == known.rgb_to_ap0


@pytest.mark.parametrize(
    ("name", "reason"), [("Raw", "data"), ("sRGB - Display", "display"), ("ADX10", "one curve per channel")]
)
def test_spaces_without_bins_are_refused(name: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        get_encoding(name)


@pytest.mark.parametrize(("name", "reason"), [("crosstalk", "one curve"), ("clamped", "same light")])
def test_house_spaces_without_bins_are_refused(name: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=reason):
        get_encoding(name, write_config(tmp_path))


def test_a_config_without_the_interchange_role_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="aces_interchange"):
        get_encoding("house log", write_config(tmp_path, roles="  default: ap0"))


def test_the_pinned_config_exists_in_this_ocio() -> None:
    assert ocio.BUILTIN_CONFIG in {c[0] for c in OCIO.BuiltinConfigRegistry().getBuiltinConfigs()}
