"""The verb ``calibrate``: what it writes, what it prints, how sure it says it is, and the ways to ask for nonsense."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import seqhdr as facade
from seqhdr.errors import OutputExistsError
from seqhdr.media.curve_files import read_curve
from tests.classic.response_pictures import expose, patches, polygons, rms_error, soft_scene
from tests.conftest import write_frame


@pytest.mark.parametrize("extension", ["yaml", "cube", "spi1d"])
def test_a_known_curve_becomes_a_file_that_run_reads(
    seqhdr: Any, shoot: Any, convert: Any, tmp_path: Path, extension: str
) -> None:
    file = tmp_path / f"camera.{extension}"
    ran = seqhdr("calibrate", "--known", "gamma:2.4", "-o", file)
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0] == "method      known gamma:2.4"
    assert lines[1] == "confidence  high: the curve is given, nothing was estimated"
    assert f"128         {(128 / 255) ** 2.4:.6f}" in lines
    assert lines[-1] == f"written     {file}"
    assert rms_error(read_curve(file)[0].light, "gamma 2.4") < 1e-5
    source = shoot(range(1, 3))
    assert convert(source, "--input-curve", file, "--bins", "strict").code == 0
    ran = seqhdr("verify", tmp_path / "out" / "shot_acescct.%04d.exr", "--source", source, "--input-curve", file)
    assert ran.code == 0, ran.err


def test_a_table_of_any_scale_is_scaled(seqhdr: Any, tmp_path: Path) -> None:
    table = tmp_path / "vendor.cube"
    table.write_text("LUT_1D_SIZE 3\n0 0 0\n2 2 2\n8 8 8\n")
    ran = seqhdr("calibrate", "--known", table, "-o", tmp_path / "curve.yaml", "--json")
    assert ran.code == 0, ran.err
    facts = json.loads(ran.out)
    assert facts["method"] == "table"
    assert facts["points"][0] == {"code": 0, "r": 0, "g": 0, "b": 0}
    assert facts["points"][-1] == {"code": 255, "r": 1, "g": 1, "b": 1}
    assert read_curve(tmp_path / "curve.yaml")[0].sources == ("vendor.cube",)


def test_several_exposures(seqhdr: Any, tmp_path: Path) -> None:
    scene = soft_scene()
    patterns = []
    for name, ev in (("under", -1.0), ("normal", 0.0), ("over", 1.0)):
        for frame in (1, 2):
            codes = expose(scene, "sigmoid", ev, 0.002, frame)
            write_frame(tmp_path / f"{name}_{frame:04d}.png", codes)
        patterns.append(tmp_path / f"{name}_%04d.png")
    file = tmp_path / "curve.spi1d"
    words = ("--ev", "-1,0,1", "--method", "robertson", "-o", file)
    ran = seqhdr("calibrate", *patterns, *words, "--json")
    assert ran.code == 0, ran.err
    facts = json.loads(ran.out)
    assert (facts["method"], facts["confidence"], facts["per_channel"]) == ("robertson", "high", True)
    curve, _ = read_curve(file)
    assert rms_error(curve.light, "sigmoid") < 0.02
    assert curve.sources == ("under_%04d.png", "normal_%04d.png", "over_%04d.png")
    assert facts["spread"] == curve.spread
    # Single files as well, in any order.
    files = [tmp_path / "over_0001.png", tmp_path / "under_0001.png", tmp_path / "normal_0001.png"]
    ran = seqhdr("calibrate", *files, "--ev", "1,-1,0", "-o", tmp_path / "files.yaml")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("method      debevec\nconfidence  high: 3 exposures up to 1 stop")
    assert rms_error(read_curve(tmp_path / "files.yaml")[0].light, "sigmoid") < 0.02


def test_one_picture_takes_the_method_that_can_be_trusted(seqhdr: Any, tmp_path: Path) -> None:
    write_frame(tmp_path / "edges.png", expose(polygons(), "srgb"))
    write_frame(tmp_path / "noise.png", expose(patches(), "srgb", noise=0.04))
    for name, method in (("edges", "edges"), ("noise", "noise")):
        ran = seqhdr("calibrate", tmp_path / f"{name}.png", "-o", tmp_path / f"{name}.yaml")
        assert ran.code == 0, ran.err
        assert ran.out.startswith(f"method      {method}\n")
        assert rms_error(read_curve(tmp_path / f"{name}.yaml")[0].light, "srgb") < 0.05


def test_compressed_frames_are_not_trusted_whatever_they_say(seqhdr: Any, tmp_path: Path) -> None:
    """JPEG of the best quality, also where it was saved as PNG since."""
    codes = expose(patches(), "srgb", noise=0.06)
    written = cv2.imencode(".jpg", codes[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])[1]
    write_frame(tmp_path / "again.png", np.ascontiguousarray(cv2.imdecode(written, cv2.IMREAD_COLOR)[..., ::-1]))
    (tmp_path / "first.jpg").write_bytes(written.tobytes())
    for name in ("again.png", "first.jpg"):
        ran = seqhdr("calibrate", tmp_path / name, "-o", tmp_path / f"{name}.yaml", "--json")
        assert ran.code == 0, ran.err
        facts = json.loads(ran.out)
        assert facts["confidence"] == "low"
        assert facts["reason"].startswith("the frames were compressed (codes err by about ")


def test_low_confidence_is_said_kept_and_warned_of(seqhdr: Any, shoot: Any, convert: Any, tmp_path: Path) -> None:
    source, file = shoot(range(1, 4)), tmp_path / "curve.cube"
    ran = seqhdr("calibrate", source, "-o", file)
    assert ran.code == 0, ran.err
    assert "confidence  low: " in ran.out
    assert "give several exposures of one scene instead, with --ev" in ran.out
    assert read_curve(file)[0].confidence == "low"
    ran = convert(source, "--input-curve", file)
    assert ran.code == 0
    assert "warning: curve.cube: the response curve is of low confidence: " in ran.err


def test_the_api_returns_what_it_writes(tmp_path: Path) -> None:
    found = facade.calibrate(known="srgb", output=tmp_path / "curve.yaml")
    assert np.array_equal(read_curve(found.output)[0].light, found.curve.light)
    with pytest.raises(OutputExistsError, match="use --overwrite"):
        facade.calibrate(known="srgb", output=tmp_path / "curve.yaml")
    facade.calibrate(known="rec709", output=tmp_path / "curve.yaml", overwrite=True)
    assert read_curve(found.output)[0].method == "known rec709"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "nothing to calibrate"),
        (("--known", "srbg"), 2, "did you mean srgb?"),
        (("--known", "srgb", "--method", "edges"), 2, "leave out the frames"),
        (("--known", "none.cube"), 3, "No such file"),
        (("PATTERN", "--method", "edge"), 2, "did you mean edges"),
        (("PATTERN", "--method", "debevec"), 2, "needs several exposures"),
        (("PATTERN", "--ev", "0"), 2, "--ev is for several exposures"),
        (("PATTERN", "PATTERN"), 2, "give the EV of each, like --ev -2,0,2"),
        (("PATTERN", "PATTERN", "--ev", "0,1,2"), 2, "3 numbers, and there are 2 exposures"),
        (("PATTERN", "PATTERN", "--ev", "0,1", "--method", "noise"), 2, "is for one pattern"),
        (("PATTERN", "OTHER", "--ev", "0,1"), 3, "no frame number in common"),
        (("PATTERN", "SMALL", "--ev", "0,1"), 3, "give frames of one size"),
        (("PATTERN", "DEEP", "--ev", "0,1"), 3, "give frames of one size and depth"),
        (("DEEP", "DEEP", "--ev", "0,1"), 3, "has 16 bits, and debevec solves for 8"),
    ],
)
def test_nonsense_is_refused_in_one_sentence(
    seqhdr: Any, shoot: Any, tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    patterns = {
        "PATTERN": shoot(range(1, 3)),
        "OTHER": shoot(range(7, 8), name="other_"),
        "SMALL": shoot(range(1, 3), name="small_", size=(32, 32)),
        "DEEP": shoot(range(1, 3), name="deep_", bits=16),
    }
    ran = seqhdr("calibrate", *(patterns.get(word, word) for word in words), "-o", tmp_path / "curve.yaml")
    assert ran.code == code
    assert said in ran.err
    assert ran.err.startswith("seqhdr: ")
    assert ran.err.count("\n") == 1
    assert not (tmp_path / "curve.yaml").exists()


def test_places_that_cannot_be_written_to_are_refused_first(seqhdr: Any, tmp_path: Path) -> None:
    ran = seqhdr("calibrate", "missing_%04d.png", "-o", tmp_path / "curve.lut")
    assert (ran.code, "ends in .yaml" in ran.err) == (2, True)
    ran = seqhdr("calibrate", "missing_%04d.png", "-o", tmp_path / "none" / "curve.yaml")
    assert (ran.code, "is not there: create it" in ran.err) == (2, True)
