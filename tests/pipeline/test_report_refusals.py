"""Options that make no sense for a shot are refused in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seqhdr
from seqhdr.errors import GateError, InputError, UnknownNameError, UsageError
from tests.conftest import picture
from tests.pipeline.measured_shots import FRAMES, reported
from tests.pipeline.report_shots import source_values, write_codes, write_exrs


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"min_inside": 99.0}, "--min-inside needs the codes"),
        ({"max_flicker": 0.1, "frames": "2"}, "need more than one frame"),
        ({"max_jitter": 0.1, "frames": "2"}, "need more than one frame"),
        ({"metrics": True}, "--metrics compares with a truth"),
        ({"max_flicker": -1.0}, "--max-flicker -1: give 0 stops or more"),
        ({"min_inside": 101.0}, "--min-inside 101: give from 0 to 100 percent"),
        ({"stride": "0"}, "--stride '0' is neither auto nor a number"),
        ({"stride": "49"}, "--stride 49: frames of 64x48 have no 49th pixel"),
        ({"cuts": "soon"}, "--cuts 'soon' is not understood"),
        ({"cuts": "9"}, "--cuts names frames that are not in the sequence: 9"),
        ({"frames": "one"}, "--frames 'one' is not a frame range"),
        ({"fps": "fast"}, "fast"),
        ({"source": ["a", "b"]}, "--source is given 2 times for 1 shots"),
        ({"truth": ["a", "b"]}, "--truth is given 2 times for 1 shots"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], words: str, shoot: Any) -> None:
    pattern = shoot(FRAMES)
    with pytest.raises(UsageError, match=words):
        seqhdr.report(pattern, **options)
    assert list(Path(pattern).parent.glob("*.report.*")) == []


@pytest.mark.parametrize("bins", ["0.3", "nan", "inf", "wide", "-1"])
def test_bins_that_are_none_are_refused(bins: str, shoot: Any) -> None:
    pattern = shoot(FRAMES)
    with pytest.raises(UsageError, match=rf"--bins '{bins}': give strict, or a half-width of 0.5 codes or more"):
        seqhdr.report(pattern, source=pattern, bins=bins)


def test_spaces_nobody_knows_and_no_shot_at_all_are_refused(shoot: Any) -> None:
    pattern = shoot(FRAMES)
    for option in ("input_space", "output_space", "truth_space"):
        with pytest.raises(UnknownNameError, match="did you mean ACEScct"):
            seqhdr.report(pattern, source=pattern, truth=pattern, **{option: "acesct"})
    with pytest.raises(UsageError, match="no shot given"):
        seqhdr.report([])
    with pytest.raises(InputError, match="no file matches"):
        seqhdr.report(pattern.replace("shot", "shut"))


def test_bins_that_are_not_claimed_cannot_be_gated(tmp_path: Path) -> None:
    source = write_codes(tmp_path, FRAMES, lambda n: picture(n - 1))
    attributes = {"seqhdr:half_width": -1.0, "seqhdr:output_space": "srgb"}
    pattern = write_exrs(tmp_path, FRAMES, source_values, attributes=attributes)
    with pytest.raises(UsageError, match="claims no bins, which --min-inside cannot check: name a half-width"):
        seqhdr.report(pattern, source=source, min_inside=100)
    seqhdr.report(pattern, source=source, min_inside=100, bins="strict")
    report = reported(pattern, source=source)
    assert report["source"]["half_width_lsb"] is report["measured"]["audit"] is None


def test_floats_are_no_source(tmp_path: Path) -> None:
    pattern = write_exrs(tmp_path, FRAMES, source_values)
    with pytest.raises(UsageError, match=r"holds float values, and a source is 8- to 16-bit codes: give it as --truth"):
        seqhdr.report(pattern, source=pattern)


@pytest.mark.parametrize("case", ["jitter of two frames", "flicker across a gap", "all clipped"])
def test_a_gate_that_nothing_could_fail_is_refused(case: str, shoot: Any, tmp_path: Path) -> None:
    if case == "jitter of two frames":
        wanted = {"patterns": shoot(range(1, 3)), "max_jitter": 0.0}
    elif case == "flicker across a gap":
        wanted = {"patterns": shoot([1, 3]), "max_flicker": 0.0}
    else:
        white = write_codes(tmp_path, FRAMES, lambda n: np.full((16, 16, 3), 255, np.uint8))
        wanted = {"patterns": white, "max_flicker": 0.0}
    with pytest.raises((UsageError, GateError)):
        seqhdr.report(**wanted)
