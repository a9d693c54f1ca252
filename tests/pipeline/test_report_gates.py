"""Limits on flicker, jitter and bins: which frames are named, and pages that are written all the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seqhdr
from seqhdr.errors import GateError
from tests.conftest import picture
from tests.pipeline.measured_shots import FRAMES, column, reported
from tests.pipeline.report_shots import Array, Page, hills, source_values, write_codes, write_exrs


@pytest.fixture
def brighter_frame(tmp_path: Path) -> dict[str, Any]:
    """A still shot whose frame 5 is 3 % brighter, log2(1.03) = 0.0426 stop, and what it should be."""
    truth = write_exrs(tmp_path, range(1, 8), lambda n: hills((32, 24)), name="truth_")
    bright = write_exrs(tmp_path, range(1, 8), lambda n: hills((32, 24)) * np.float32(1.03 if n == 5 else 1))
    return {"patterns": bright, "truth": truth}


def rounded(raised: pytest.ExceptionInfo[GateError]) -> str:
    """The sentence, with two digits of log2(1.03) = 0.0426: small frames get to 0.0425."""
    return re.sub(r"\b0\.042\d+ stop is", "0.04 stop is", str(raised.value))


@pytest.mark.parametrize(
    ("limits", "frames"),
    [
        ({"max_flicker": 0.042}, "flicker, over the truth 0.04 stop is above 0.042 stop in frames 5-6"),
        ({"max_flicker": 0.043}, None),
        ({"max_jitter": 0.042}, "exposure jitter, over the truth 0.04 stop is above 0.042 stop in frame 5"),
        ({"max_jitter": 0.02}, "exposure jitter, over the truth 0.04 stop is above 0.02 stop in frames 4-6"),
        ({"max_jitter": 0.043}, None),
        (
            {"max_flicker": 0.042, "max_jitter": 0.042},
            "flicker, over the truth 0.04 stop is above 0.042 stop in frames 5-6; "
            "exposure jitter, over the truth 0.04 stop is above 0.042 stop in frame 5",
        ),
        ({}, None),
    ],
)
def test_a_gate_names_the_frames_that_fail(
    limits: dict[str, float], frames: str | None, brighter_frame: dict[str, Any]
) -> None:
    if frames is None:
        result = seqhdr.report(**brighter_frame, **limits)
        assert result.reports[0]["verdict"]["good"] is bool(limits.get("max_flicker") and limits.get("max_jitter"))
        return
    with pytest.raises(GateError) as failed:
        seqhdr.report(**brighter_frame, **limits)
    assert rounded(failed) == f"{brighter_frame['patterns']}: {frames}"
    assert Path(brighter_frame["patterns"]).with_name("comp.report.html").is_file()


def test_without_anything_beside_it_a_gate_takes_flicker_as_it_is(brighter_frame: dict[str, Any]) -> None:
    with pytest.raises(GateError, match=r": flicker 0\.042\d+ stop is above 0.04 stop in frames 5-6$"):
        seqhdr.report(brighter_frame["patterns"], max_flicker=0.04)
    seqhdr.report(brighter_frame["patterns"], max_flicker=0.05, max_jitter=0.05)


def test_worst_frames_say_what_their_flicker_was_held_against(brighter_frame: dict[str, Any]) -> None:
    page = Page(seqhdr.report(**brighter_frame).pages[0])
    texts = " ".join(text for texts in page.texts.values() for text in texts)
    assert "stop more than its truth" in texts
    assert "more than its source" not in texts


@pytest.mark.parametrize(
    ("place", "stride", "caught"), [((0, 0), "1", True), ((21, 33), "2", True), ((20, 33), "2", False)]
)
def test_one_pixel_that_left_its_bin_is_found(
    place: tuple[int, int], stride: str, caught: bool, tmp_path: Path
) -> None:
    def changed(frame: int) -> Array:
        values = source_values(frame)
        if frame == 2:
            values[place][1] += 2 / 255
        return values

    source = write_codes(tmp_path, FRAMES, lambda n: picture(n - 1))
    pattern = write_exrs(tmp_path, FRAMES, changed)
    options: dict[str, Any] = {"source": source, "output_space": "srgb", "stride": stride}
    report = reported(pattern, **options)
    shares = column(report, "inside_share")
    assert report["measured"]["audit"] == ("every pixel" if stride == "1" else "1 of 4 pixels")
    if not caught:
        assert shares == [1.0] * 3
        seqhdr.report(pattern, **options, min_inside=100)
        return
    assert shares[1] < 1 == shares[0] == shares[2]
    assert report["fidelity"]["worst_lsb_frame"] == 2
    assert abs(report["fidelity"]["worst_lsb"]) == pytest.approx(2, abs=0.01)
    with pytest.raises(GateError, match=r"inside their bins 99\.\d+ % is below 100 % in frame 2$"):
        seqhdr.report(pattern, **options, min_inside=100)
    seqhdr.report(pattern, **options, min_inside=99)


def test_a_shot_that_fails_keeps_no_other_from_its_page(brighter_frame: dict[str, Any], tmp_path: Path) -> None:
    steady, bright = brighter_frame["truth"], brighter_frame["patterns"]
    seen: list[str] = []
    with pytest.raises(GateError) as failed:
        seqhdr.report(
            [bright, steady],
            max_jitter=0.03,
            output=tmp_path / "pages",
            on_report=lambda report, page: seen.append(report["name"]),
        )
    assert rounded(failed) == f"{bright}: exposure jitter 0.04 stop is above 0.03 stop in frame 5"
    assert seen == ["comp", "truth"]
    names = {path.name for path in (tmp_path / "pages").iterdir()}
    assert names >= {"comp.report.html", "truth.report.html", "comp.report.json", "reports.html"}
    with pytest.raises(GateError) as both:
        seqhdr.report([bright, bright], max_jitter=0.03, compare=True)
    assert rounded(both).splitlines() == [rounded(failed)] * 2
