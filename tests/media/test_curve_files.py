"""Curves as files: the same numbers come back, OpenColorIO reads the same curve, bad files get one sentence."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import PyOpenColorIO as OCIO  # noqa: N814
import pytest

from seqhdr.color.response import ResponseCurve, known_curve, sample_values
from seqhdr.errors import FramesFailedError, InputError, UsageError
from seqhdr.media.curve_files import read_curve, read_samples, write_curve

EXTENSIONS = ("yaml", "cube", "spi1d")


def curves() -> dict[str, ResponseCurve]:
    values = sample_values(256)
    light = np.stack([values**1.8, values**2.2, 0.3 * values + 0.7 * values**3], axis=1)
    estimated = ResponseCurve(light, "debevec", "low", 0.0625, "it is: a test, no more", ("a_%04d.png", "b.png"))
    return {"known": known_curve("gamma:2.4"), "estimated": estimated}


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("name", ["known", "estimated"])
def test_a_file_gives_back_the_same_curve(tmp_path: Path, extension: str, name: str) -> None:
    curve, path = curves()[name], tmp_path / f"curve.{extension}"
    write_curve(path, curve)
    again, sha256 = read_curve(path)
    assert np.array_equal(again.light, curve.light)
    for field in ("method", "confidence", "spread", "reason", "sources"):
        assert getattr(again, field) == getattr(curve, field), field
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    before = path.read_bytes()
    write_curve(path, again)
    assert path.read_bytes() == before


@pytest.mark.parametrize("extension", ["cube", "spi1d"])
@pytest.mark.parametrize("name", ["known", "estimated"])
def test_opencolorio_reads_the_same_curve(tmp_path: Path, extension: str, name: str) -> None:
    curve, path = curves()[name], tmp_path / f"curve.{extension}"
    write_curve(path, curve)
    transform = OCIO.FileTransform(str(path), interpolation=OCIO.INTERP_LINEAR)
    processor = OCIO.Config.CreateRaw().getProcessor(transform).getOptimizedCPUProcessor(OCIO.OPTIMIZATION_NONE)
    values = np.random.default_rng(3).random(2000)
    values[:2] = 0, 1
    pixels = np.repeat(values[:, None], 3, axis=1).astype(np.float32)
    expected = curve.at(pixels[:, 0].astype(np.float64))
    processor.applyRGB(pixels)
    assert np.abs(pixels - expected).max() < 1e-6


def test_a_lut_of_another_tool(tmp_path: Path) -> None:
    path = tmp_path / "other.spi1d"
    path.write_text("Version 1\nFrom 0.0 1.0\nLength 3\nComponents 1\n{\n 0\n 0.25\n 1\n}\n")
    curve, _ = read_curve(path)
    assert curve.light.tolist() == [[0, 0, 0], [0.25, 0.25, 0.25], [1, 1, 1]]
    assert (curve.method, curve.confidence) == ("table", "high")
    path = tmp_path / "bright.cube"
    path.write_text("LUT_1D_SIZE 3\nLUT_1D_INPUT_RANGE 0 1\n0 0 0\n2 2 2\n8 8 8\n")
    with pytest.raises(InputError, match=r"goes from 0 to 8 in R, not from 0 or more to 1; scale .* --known"):
        read_curve(path)
    scaled, top = read_samples(path)
    assert top == 8
    assert scaled.light[1].tolist() == [0.25, 0.25, 0.25]


BAD = {
    "three.cube": ("LUT_3D_SIZE 2\n" + "0 0 0\n" * 8, "a 3-D LUT"),
    "short.cube": ("LUT_1D_SIZE 3\n0 0 0\n1 1 1\n", "the 3 rows"),
    "unsized.cube": ("0 0 0\n1 1 1\n", "LUT_1D_SIZE"),
    "wide.cube": ("LUT_1D_SIZE 2\nDOMAIN_MAX 2 2 2\n0 0 0\n1 1 1\n", "DOMAIN_MAX 2 2 2"),
    "words.cube": ("LUT_1D_SIZE 2\nzero one two\n1 1 1\n", "zero one two"),
    "flat.cube": ("LUT_1D_SIZE 3\n0 0 0\n0 0 0\n1 1 1\n", "does not rise in R after sample 0"),
    "nan.cube": ("LUT_1D_SIZE 2\n0 0 0\nnan 1 1\n", "not finite"),
    "size.cube": ("LUT_1D_SIZE -2\n0 0 0\n1 1 1\n", "a size of"),
    "open.spi1d": ("Version 1\nFrom 0 1\nLength 2\nComponents 1\n{\n0\n1\n", "no samples between braces"),
    "from.spi1d": ("Version 1\nFrom -1 1\nLength 2\nComponents 1\n{\n0\n1\n}\n", "From 0.0 1.0"),
    "two.spi1d": ("Version 1\nFrom 0 1\nLength 2\nComponents 2\n{\n0 0\n1 1\n}\n", "2 components"),
    "syntax.yaml": ("light: [1, 2\n", "is not YAML"),
    "other.yaml": ("base: x.yaml\n", "does not say 'format"),
    "keys.yaml": ("format: seqhdr response curve\nlight: {r: [0, 1]}\n", "other curves under"),
    "values.yaml": ("format: seqhdr response curve\nlight: {rgb: [0, x, 1]}\n", "lists of numbers"),
    "lengths.yaml": ("format: seqhdr response curve\nlight: {r: [0, 1], g: [0, 1], b: [0, .5, 1]}\n", "lists of num"),
    "trust.yaml": ("format: seqhdr response curve\nconfidence: sure\nlight: {rgb: [0, 1]}\n", "confidence 'sure'"),
    "spread.yaml": ("format: seqhdr response curve\nspread: []\nlight: {rgb: [0, 1]}\n", "of the wrong kind"),
    "binary.cube": (b"\xff\xfe\x00", "not a text file"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_get_one_sentence(tmp_path: Path, name: str) -> None:
    text, words = BAD[name]
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as caught:
        read_curve(path)
    message = str(caught.value)
    assert words in message
    assert message.startswith(f"{path}: is ")
    assert "\n" not in message


def test_names_and_places_that_do_not_work(tmp_path: Path) -> None:
    curve = known_curve("srgb")
    with pytest.raises(UsageError, match=r"ends in \.yaml"):
        write_curve(tmp_path / "curve.lut", curve)
    with pytest.raises(UsageError, match=r"ends in \.yaml"):
        read_curve(tmp_path / "curve.lut")
    with pytest.raises(InputError, match="No such file"):
        read_curve(tmp_path / "none.yaml")
    with pytest.raises(FramesFailedError, match="is not there"):
        write_curve(tmp_path / "none" / "curve.yaml", curve)
    black = tmp_path / "black.cube"
    black.write_text("LUT_1D_SIZE 2\n0 0 0\n0 0 0\n")
    with pytest.raises(InputError, match="has no light"):
        read_samples(black)
    assert [p.name for p in tmp_path.iterdir()] == ["black.cube"]
