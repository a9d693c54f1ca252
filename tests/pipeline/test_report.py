"""Reports of anything that is a sequence: alone, with a source or a truth, with gaps, cuts and holes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seqhdr
from seqhdr.errors import GateError
from tests.conftest import picture
from tests.pipeline.measured_shots import FRAMES, column, reported
from tests.pipeline.report_shots import Array, Page, hills, source_values, srgb_codes, write_codes, write_exrs


def half(frame: int) -> Array:
    return hills((64, 48)).astype(np.float16)


def grey(frame: int) -> Array:
    return hills((64, 48))[..., 0]


@pytest.mark.parametrize(
    ("write", "storage", "encoding"),
    [
        (lambda at, shoot: write_exrs(at, FRAMES, half), "half", "lin_rec709 (assumed)"),
        (lambda at, shoot: write_exrs(at, FRAMES, lambda n: hills((64, 48))), "float", "lin_rec709 (assumed)"),
        (lambda at, shoot: write_exrs(at, FRAMES, grey), "float", "lin_rec709 (assumed)"),
        (lambda at, shoot: shoot(FRAMES), "8 bits", "srgb (assumed)"),
        (lambda at, shoot: shoot(FRAMES, bits=16), "16 bits", "srgb (assumed)"),
        (lambda at, shoot: shoot(FRAMES, bits=10, extension="dpx"), "10 bits", "srgb (assumed)"),
        (lambda at, shoot: shoot(FRAMES, alpha=True), "8 bits", "srgb (assumed)"),
        (lambda at, shoot: shoot(FRAMES, size=(8, 8)), "8 bits", "srgb (assumed)"),
        (lambda at, shoot: shoot(FRAMES, size=(1, 1)), "8 bits", "srgb (assumed)"),
    ],
    ids=["half", "float", "grey", "8 bits", "16 bits", "dpx", "alpha", "8x8", "1x1"],
)
def test_any_sequence_alone(write: Callable[..., str], storage: str, encoding: str, shoot: Any, tmp_path: Path) -> None:
    pattern = write(tmp_path, shoot)
    report = reported(pattern)
    assert (report["result"]["storage"], report["result"]["encoding"]) == (storage, encoding)
    assert report["source"] is report["truth"] is report["accuracy"] is None
    assert report["fidelity"]["inside_share"] is None
    assert report["flicker"]["flicker_stops"] is not None
    assert report["flicker"]["excess_flicker_stops"] is None
    assert [check["name"] for check in report["verdict"]["checks"]] == ["jitter", "banding", "nonfinite"]
    page = Page(Path(pattern).parent / f"{report['name']}.report.html")
    assert page.text("h1") == report["name"]
    assert "\n".join(report["summary"]) in page.text("pre")
    assert all(source.startswith("data:image/") for source in page.sources)
    assert {href[1:] for href in page.hrefs if href.startswith("#")} <= page.ids


def test_our_own_frames_say_themselves_what_they_are(shoot: Any, convert: Any, tmp_path: Path) -> None:
    source = shoot()
    assert convert(source).code == 0
    pattern = str(tmp_path / "out" / "shot_acescct.%04d.exr")
    alone = reported(pattern, output=tmp_path / "alone")
    assert (alone["name"], alone["result"]["encoding"], alone["source"]) == ("shot_acescct", "acescct", None)
    assert alone["result"]["made_by"].startswith("seqhdr ")
    beside = reported(pattern, source=source, output=tmp_path / "beside")
    assert beside["source"]["encoding"] == "srgb"
    assert beside["source"]["half_width_lsb"] == pytest.approx(0.5)
    assert beside["source"]["bins_reason"]
    assert beside["fidelity"]["inside_share"] == 1.0
    assert beside["fidelity"]["clipped_share"] > 0
    # From here on the headers are overruled.
    asked = reported(pattern, source=source, output=tmp_path / "asked", bins="2.5", input_space="rec709")
    assert (asked["source"]["half_width_lsb"], asked["source"]["bins_reason"]) == (2.5, "as asked for")
    assert asked["source"]["encoding"] == "rec709"
    assert asked["fidelity"]["inside_share"] < 1


def test_a_truth_alone_and_a_source_beside_it(tmp_path: Path) -> None:
    truth = write_exrs(tmp_path, FRAMES, lambda n: hills((64, 48)), name="truth_")
    source = write_codes(tmp_path, FRAMES, lambda n: srgb_codes(hills((64, 48)), 8))
    result = write_exrs(tmp_path, FRAMES, lambda n: hills((64, 48)) * np.float32(1.01))
    alone = reported(result, truth=truth, output=tmp_path / "alone")
    assert alone["flicker"]["truth_flicker_stops"] is not None
    assert alone["flicker"]["source_flicker_stops"] is None
    assert alone["fidelity"]["inside_share"] is None
    assert {row["identity"] for row in alone["accuracy"]["rows"]} == {None}
    assert "flicker, over the truth" in [check["label"].lower() for check in alone["verdict"]["checks"]]
    both = reported(result, truth=truth, source=source, output=tmp_path / "both")
    assert both["fidelity"]["inside_share"] is not None
    assert None not in {row["identity"] for row in both["accuracy"]["rows"]}
    assert "flicker, over the source" in [check["label"].lower() for check in both["verdict"]["checks"]]


def test_a_single_frame_has_no_flicker_and_is_still_reported(shoot: Any) -> None:
    report = reported(shoot(range(7, 8)))
    assert report["summary"][1] == "flicker  nothing to compare: no two frames follow each other"
    assert column(report, "flicker_stops") == [None]
    assert report["flicker"]["std_histogram"] is None
    assert (report["result"]["first"], report["result"]["last"], report["result"]["frames"]) == (7, 7, 1)


def test_a_gap_and_a_cut_are_told(shoot: Any) -> None:
    pattern = shoot([1, 2, 3, 5, 6, 7, 8], cut=7, size=(96, 64))
    report = reported(pattern)
    assert report["result"]["missing"] == [4]
    assert report["cuts"] == [7]
    assert report["summary"][0] == "shot: 7 frames 1-8 without 4, 96x64, 8 bits srgb (assumed), 1 cut"
    assert [row["frame"] for row in report["frames"] if row["flicker_stops"] is None] == [1, 5, 7]
    assert reported(pattern, cuts="off")["cuts"] == []
    named = reported(pattern, cuts="3,8", frames="1-8")
    assert named["cuts"] == [3, 8]
    page = Page(Path(pattern).parent / "shot.report.html")
    assert "without 4" in page.text("td")


def test_frames_with_nan_are_counted_and_named(tmp_path: Path) -> None:
    def holed(frame: int) -> Array:
        pixels = source_values(frame)
        if frame == 2:
            pixels[5, 5] = [np.nan, np.inf, -np.inf]
        return pixels

    source = write_codes(tmp_path, FRAMES, lambda n: picture(n - 1))
    pattern = write_exrs(tmp_path, FRAMES, holed)
    for output, beside in (("a", {"source": source}), ("b", {"truth": pattern}), ("c", {})):
        report = reported(pattern, output_space="srgb", output=tmp_path / output, **beside)
        assert column(report, "nonfinite") == [0, 3, 0]
        assert report["fidelity"]["nonfinite"] == 3
        assert "it has NaN or infinite values (frame 2)" in report["verdict"]["sentence"].replace("It", "it")
        assert not report["verdict"]["good"]
    with pytest.raises(GateError, match=r"below 100 % in frame 2$"):
        seqhdr.report(pattern, source=source, output_space="srgb", min_inside=100)


def test_frames_of_nothing_but_nan_are_reported(tmp_path: Path) -> None:
    pattern = write_exrs(tmp_path, FRAMES, lambda n: np.full((16, 16, 3), np.nan, np.float32))
    report = reported(pattern)
    assert report["fidelity"]["maximum"] is None
    assert not report["verdict"]["good"]
