"""A response curve from a file: a run that uses it, an audit that redoes it, and the ways to mix them up."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seqhdr.color.encodings import convert_linear, get_encoding
from seqhdr.color.response import SAMPLES, ResponseCurve, known_curve, sample_values
from seqhdr.media.curve_files import write_curve
from seqhdr.media.exr import read_exr
from seqhdr.media.frames import read_frame


@pytest.fixture
def curve(tmp_path: Path) -> Any:
    """Write a curve and return its path: ``curve("gamma:1.8", "g.cube")``."""

    def write(name: str | ResponseCurve, file: str = "curve.yaml") -> str:
        path = tmp_path / file
        write_curve(path, known_curve(name) if isinstance(name, str) else name)
        return str(path)

    return write


def total(ran: Any) -> dict[str, Any]:
    assert ran.code == 0, ran.err
    return json.loads(ran.out)["total"]  # type: ignore[no-any-return]


def test_light_is_that_of_the_curve_and_the_audit_redoes_it(
    shoot: Any, curve: Any, seqhdr: Any, tmp_path: Path
) -> None:
    source, file = shoot(range(1, 3)), curve("gamma:1.8", "camera.cube")
    out = tmp_path / "out"
    words = ("--model", "classic", "--bins", "strict", "--bit-depth", "float", "--output-space", "acescg")
    ran = seqhdr("run", source, "-o", out, *words, "--input-curve", file, "--no-report")
    assert ran.code == 0, ran.err
    assert "warning" not in ran.err
    channels, info = read_exr(out / "shot_acescg.0001.exr")
    sha256 = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    assert info.attributes["seqhdr:input_curve"] == "camera.cube"
    assert info.attributes["seqhdr:input_curve_sha256"] == sha256
    assert info.attributes["seqhdr:input_space"] == "srgb"
    assert json.loads(info.attributes["seqhdr:settings"])["input_curve"] == sha256

    # The same in plain arithmetic: back through the matrix and the inverse power, each channel is in its bin.
    rgb = torch.from_numpy(np.stack([channels[c] for c in "RGB"])).double()
    light = convert_linear(rgb, get_encoding("acescg"), get_encoding("lin_rec709")).permute(1, 2, 0).numpy()
    codes = read_frame(source % 1).codes.astype(np.float64)
    inner = (codes > 0) & (codes < 255)
    found = 255 * np.abs(light) ** (1 / 1.8)
    # Between two samples, the straight line and the power are less than a fiftieth of a code apart but near black.
    assert np.abs(found - codes)[inner & (codes > 8)].max() < 0.52

    pattern = out / "shot_acescg.%04d.exr"
    audit = total(seqhdr("verify", pattern, "--source", source, "--input-curve", file, "--json"))
    assert audit["exact_share"] == 1.0
    assert audit["clipped"] > 0


def test_verify_asks_for_the_curve_and_for_the_right_one(shoot: Any, curve: Any, convert: Any, seqhdr: Any) -> None:
    source = shoot(range(1, 3))
    right, wrong = curve("gamma:1.8"), curve("gamma:2.4", "other.yaml")
    assert convert(source, "--input-curve", right).code == 0
    pattern = str(Path(right).parent / "out" / "shot_acescct.%04d.exr")
    ran = seqhdr("verify", pattern, "--source", source)
    assert ran.code == 2
    assert "was made with the response curve curve.yaml (SHA-256 " in ran.err
    assert ran.err.endswith("name that file with --input-curve\n")
    ran = seqhdr("verify", pattern, "--source", source, "--input-curve", wrong)
    assert ran.code == 2
    assert "other.yaml is another" in ran.err
    assert seqhdr("verify", pattern, "--source", source, "--input-curve", right).code == 0
    # And where no curve was used, one breaks the promise.
    assert convert(source, out="plain").code == 0
    plain = str(Path(right).parent / "plain" / "shot_acescct.%04d.exr")
    assert seqhdr("verify", plain, "--source", source).code == 0
    assert seqhdr("verify", plain, "--source", source, "--input-curve", wrong).code == 5


def test_another_curve_is_another_setting(shoot: Any, curve: Any, convert: Any) -> None:
    source = shoot(range(1, 3))
    one, other = curve("gamma:1.8"), curve("gamma:2.4", "other.yaml")
    assert convert(source, "--input-curve", one).code == 0
    assert "2 kept" in convert(source, "--input-curve", one, "--skip-existing").err
    assert "0 kept" in convert(source, "--input-curve", other, "--skip-existing").err
    assert "0 kept" in convert(source, "--skip-existing").err


def test_what_a_user_should_know_is_a_warning(shoot: Any, curve: Any, convert: Any) -> None:
    values = sample_values(SAMPLES)
    light = np.stack([values**2.0, values**2.2, values**2.4], axis=1)
    file = curve(ResponseCurve(light, "edges", "low", 0.1, "12 windows are too few"))
    ran = convert(shoot(range(1, 3)), "--input-curve", file, "-q")
    assert ran.code == 0
    first, second = ran.err.splitlines()
    assert first == "warning: curve.yaml: the response curve is of low confidence: 12 windows are too few"
    apart = 100 * float((light.max(axis=1) - light.min(axis=1)).max())
    assert f"R, G and B have curves of their own, up to {apart:.1f} % of light apart" in second
    assert second.endswith("their mean is used for all three")


def test_the_report_of_a_run_audits_with_the_curve(shoot: Any, curve: Any, convert: Any, seqhdr: Any) -> None:
    source, file = shoot(range(1, 4)), curve("gamma:1.8")
    ran = convert(source, "--input-curve", file, "--bins", "strict", "--report")
    assert ran.code == 0, ran.err
    assert "there is no report" not in ran.err
    out = Path(file).parent / "out"
    pattern = out / "shot_acescct.%04d.exr"
    ran = seqhdr("report", pattern, "--source", source, "--input-curve", file, "--min-inside", "100", "--stride", "1")
    assert ran.code == 0, ran.err
    ran = seqhdr("report", pattern, "--source", source)
    assert ran.code == 2
    assert "name that file with --input-curve" in ran.err
    words = ("report", "--compare", pattern, "--source", source, "--input-curve", file, "--min-inside", "100")
    assert seqhdr(*words, "--stride", "1").code == 0


def test_a_curve_that_cannot_be_used_stops_the_run(shoot: Any, convert: Any, tmp_path: Path) -> None:
    source = shoot(range(1, 3))
    (tmp_path / "bad.cube").write_text("LUT_3D_SIZE 2\n")
    for file, code, words in (("bad.cube", 3, "3-D LUT"), ("none.yaml", 3, "No such file"), ("x.lut", 2, "ends in")):
        ran = convert(source, "--input-curve", tmp_path / file)
        assert ran.code == code
        assert words in ran.err
    assert not (tmp_path / "out").exists()
