"""Flicker and jitter of known size, read through the optical flow, and not across cuts and gaps."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from seqhdr.errors import UsageError
from tests.conftest import picture
from tests.pipeline.measured_shots import column, measured, panning
from tests.pipeline.report_shots import ONE_PERCENT_STOPS, hills, srgb_codes, srgb_light, write_codes, write_exrs

# --- flicker and jitter of known size, through the optical flow -------------------------------------------------


def steady(tmp_path: Path, kind: str, speed_px: float, frames: range) -> dict[str, str]:
    """The same scene without flicker, as a source or as a truth."""
    if kind == "source":
        codes = write_codes(tmp_path, frames, lambda n: srgb_codes(panning(speed_px, n), 16), bits=16)
        return {"source": codes}
    return {"truth": write_exrs(tmp_path, frames, lambda n: panning(speed_px, n), name="truth_")}


@pytest.mark.parametrize("kind", ["source", "truth"])
@pytest.mark.parametrize("speed_px", [0.0, 1.3])
def test_an_alternation_by_one_percent_reads_as_one_percent(kind: str, speed_px: float, tmp_path: Path) -> None:
    frames = range(1, 5)
    beside = steady(tmp_path, kind, speed_px, frames)
    pattern = write_exrs(tmp_path, frames, lambda n: panning(speed_px, n) * np.float32(1.01 if n % 2 else 1))
    found = measured(pattern, **beside)
    for row in found.rows[1:-1]:
        assert row["jitter_stops"] == pytest.approx(ONE_PERCENT_STOPS, rel=0.05)
        assert row[f"{kind}_jitter_stops"] < 0.0005
        assert row["excess_jitter_stops"] == row["jitter_stops"] - row[f"{kind}_jitter_stops"]
    assert column(found, "jitter_stops")[:: len(frames) - 1] == [None, None]
    for row in found.rows[1:]:
        assert row["flicker_stops"] == pytest.approx(ONE_PERCENT_STOPS, rel=0.05)
        sign = 1 if row["frame"] % 2 else -1
        assert row["exposure_stops"] == pytest.approx(sign * ONE_PERCENT_STOPS, rel=0.05)
        assert row["counted_share"] > 0.9


def test_alone_an_alternation_under_a_pan_reads_the_same(tmp_path: Path) -> None:
    pattern = write_exrs(tmp_path, range(1, 5), lambda n: panning(1.3, n) * np.float32(1.01 if n % 2 else 1))
    found = measured(pattern)
    assert column(found, "jitter_stops")[1:-1] == [pytest.approx(ONE_PERCENT_STOPS, rel=0.05)] * 2
    assert column(found, "excess_jitter_stops") == column(found, "excess_flicker_stops") == [None] * 4


def test_where_nothing_changes_nothing_flickers(tmp_path: Path) -> None:
    pattern = write_exrs(tmp_path, range(1, 10), lambda n: hills((48, 32)))
    found = measured(pattern)
    assert max(column(found, "flicker_stops")[1:]) < 1e-5
    assert max(column(found, "jitter_stops")[1:-1]) < 1e-5
    assert found.std is not None
    assert found.std.by_name["result"].static_std_stops < 1e-5


def test_a_fade_is_no_jitter(tmp_path: Path) -> None:
    pattern = write_exrs(tmp_path, range(1, 5), lambda n: panning(1.3, n) * np.float32(0.95**n))
    found = measured(pattern)
    assert max(column(found, "jitter_stops")[1:-1]) < 0.0005
    assert column(found, "exposure_stops")[1:] == [pytest.approx(math.log2(0.95), rel=0.02)] * 3


def test_one_brighter_frame_shows_where_it_comes_and_where_it_goes(tmp_path: Path) -> None:
    frames = range(3, 8)
    beside = steady(tmp_path, "truth", 1.3, frames)
    pattern = write_exrs(tmp_path, frames, lambda n: panning(1.3, n) * np.float32(1.03 if n == 5 else 1))
    found = measured(pattern, **beside)
    flickering = {row["frame"] for row in found.rows if (row["excess_flicker_stops"] or 0) > 0.001}
    assert flickering == {5, 6}
    jitters = {row["frame"]: row["excess_jitter_stops"] for row in found.rows[1:-1]}
    assert jitters[5] == max(jitters.values()) == pytest.approx(math.log2(1.03), rel=0.05)
    assert [jitters[4], jitters[6]] == [pytest.approx(math.log2(1.03) / 2, rel=0.05)] * 2
    assert {5, 6} <= set(found.heats)


# --- cuts and gaps -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["codes", "light"])
@pytest.mark.parametrize(("cuts", "found_cuts"), [("auto", [4]), ("off", []), ("3, 4", [3, 4]), ("1", [])])
def test_across_a_cut_nothing_is_compared(kind: str, cuts: str, found_cuts: list[int], tmp_path: Path) -> None:
    size = (96, 64)
    frames = range(1, 7)
    if kind == "codes":
        pattern = write_codes(tmp_path, frames, lambda n: picture(n, size=size, look=int(n >= 4)))
    else:
        pattern = write_exrs(tmp_path, frames, lambda n: srgb_light(picture(n, size=size, look=int(n >= 4))))
    found = measured(pattern, cuts=cuts)
    assert found.cuts == found_cuts
    starts = [1, *found_cuts]
    for row in found.rows:
        assert row["starts_segment"] is (row["frame"] in starts)
        assert (row["flicker_stops"] is None) is (row["frame"] in starts)
    if 4 in starts:
        assert max(row["flicker_stops"] or 0 for row in found.rows) < 0.02
    else:
        assert found.rows[3]["flicker_stops"] > 0.1
    ends = {n - 1 for n in starts} | {6}
    assert [row["frame"] for row in found.rows if row["jitter_stops"] is None] == sorted({*starts, *ends} - {0})


def test_across_a_gap_nothing_is_compared_and_it_is_no_cut(tmp_path: Path) -> None:
    pattern = write_codes(tmp_path, [1, 2, 3, 6, 7], lambda n: picture(n))
    found = measured(pattern)
    assert column(found, "frame") == [1, 2, 3, 6, 7]
    assert column(found, "starts_segment") == [True, False, False, True, False]
    assert [row["frame"] for row in found.rows if row["flicker_stops"] is None] == [1, 6]
    assert found.cuts == []


def test_cuts_outside_the_shot_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--cuts names frames that are not in the sequence: 9"):
        measured(write_codes(tmp_path, range(1, 3), picture), cuts="9")
