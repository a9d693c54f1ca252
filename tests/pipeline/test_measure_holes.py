"""What a frame does not tell is left out of its numbers and counted: no numbers, clipped channels, open bins."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import picture
from tests.pipeline.measured_shots import column, measured
from tests.pipeline.report_shots import Array, hills, source_values, srgb_codes, write_codes, write_exrs


def test_nan_and_infinity_are_counted_and_left_out(tmp_path: Path) -> None:
    frames = range(1, 5)
    clean = write_exrs(tmp_path, frames, lambda n: hills((64, 48)), name="clean_")

    def holed(frame: int) -> Array:
        pixels = hills((64, 48))
        if frame == 3:
            pixels[20:24, 30:34] = [np.nan, np.inf, -np.inf]
            pixels[0, 0, 1] = np.nan
        return pixels

    found = measured(write_exrs(tmp_path, frames, holed), truth=clean)
    assert column(found, "nonfinite") == [0, 0, 49, 0]
    assert [(r.nan_count, r.inf_count) for r in found.ranges] == [(0, 0), (0, 0), (17, 32), (0, 0)]
    assert max(column(found, "flicker_stops")[1:]) < 1e-5
    whole, before, after = (found.rows[i]["counted_share"] for i in (1, 2, 3))
    assert before == pytest.approx(whole - 17 / (64 * 48), abs=1e-6)
    # Bicubic interpolation reads 4x4 pixels of the frame before: more is left out after than in the frame itself.
    assert after < before
    assert np.isnan(found.heats[3][20:24, 30:34]).all()
    assert found.ranges[2].maximum == pytest.approx(float(hills((64, 48)).max()), rel=1e-3)


def test_frames_without_a_single_number_are_measured_all_the_same(tmp_path: Path) -> None:
    found = measured(write_exrs(tmp_path, range(1, 4), lambda n: np.full((16, 16, 3), np.nan, np.float32)))
    assert column(found, "nonfinite") == [16 * 16 * 3] * 3
    assert column(found, "flicker_stops") == column(found, "maximum") == [None] * 3
    assert column(found, "counted_share") == [None, 0.0, 0.0]


@pytest.mark.parametrize("kind", ["white", "nan", "white with its source", "nan beside its source"])
def test_a_frame_that_hides_its_flicker_is_named_unless_its_source_does_so_too(kind: str, tmp_path: Path) -> None:
    def codes(frame: int) -> Array:
        return np.full((16, 16, 3), 255, np.uint8) if frame == 3 else srgb_codes(hills((16, 16)), 8)

    def light(frame: int) -> Array:
        return np.full((16, 16, 3), np.nan, np.float32) if frame == 3 else hills((16, 16))

    frames = range(1, 6)
    result = write_exrs(tmp_path, frames, light) if "nan" in kind else write_codes(tmp_path, frames, codes)
    source = None
    if "source" in kind:
        steady = "beside" in kind
        source = write_codes(tmp_path / "in", frames, lambda n: codes(1 if steady else n))
    blind = "with" not in kind
    assert column(measured(result, source, cuts="off"), "blind") == [False, False, blind, blind, False]
    # With no frame before them, frames have no flicker that could be hidden.
    assert not any(column(measured(result, source, cuts="3,4"), "blind"))


@pytest.mark.parametrize(("rows", "blind"), [(13, False), (15, True)])
def test_a_frame_with_less_than_a_tenth_to_see_hides_its_flicker_too(rows: int, blind: bool, tmp_path: Path) -> None:
    def light(frame: int) -> Array:
        picture = hills((16, 16)).copy()
        picture[: rows if frame == 3 else 0] = np.nan
        return picture

    found = measured(write_exrs(tmp_path, range(1, 6), light), cuts="off")
    assert column(found, "blind") == [False, False, blind, blind, False]


def test_clipped_channels_are_left_out_of_flicker_and_measured_as_gain(tmp_path: Path) -> None:
    def codes(frame: int) -> Array:
        pixels = np.full((48, 64, 3), 100, np.uint8)
        pixels[:, :16] = 255
        return pixels

    def extended(frame: int) -> Array:
        values = np.full((48, 64, 3), 100 / 255, np.float32)
        values[:, :16] = 2.0 if frame == 2 else 1.0  # what is above clip may do as it likes
        return values

    source = write_codes(tmp_path, range(1, 4), codes)
    found = measured(write_exrs(tmp_path, range(1, 4), extended), source, space="srgb")
    assert max(column(found, "flicker_stops")[1:]) < 1e-5
    assert column(found, "clipped_share") == [0.25] * 3
    assert column(found, "inside_share") == [1.0] * 3
    stops = math.log2(((2 + 0.055) / 1.055) ** 2.4)
    lowest = math.log2(((254.5 / 255 + 0.055) / 1.055) ** 2.4)
    assert column(found, "gain_max_stops") == [pytest.approx(0, abs=0.01), pytest.approx(stops, abs=0.01), 0.0] or (
        found.rows[1]["gain_max_stops"] == pytest.approx(stops - lowest, abs=0.01)
    )
    count, total = found.gains
    assert count == 3 * 3 * 48 * 16
    assert total / count == pytest.approx(sum(column(found, "gain_max_stops")) / 3, rel=1e-4)


def test_wide_bins_leave_nearly_clipped_codes_out(tmp_path: Path) -> None:
    source = write_codes(tmp_path, range(1, 3), lambda n: np.full((16, 16, 3), 252, np.uint8))
    result = write_exrs(tmp_path, range(1, 3), lambda n: np.full((16, 16, 3), 252.0 / 255, np.float32))
    assert measured(result, source, space="srgb").rows[1]["counted_share"] == 1.0
    wide = measured(result, source, space="srgb", half_width_lsb=3.5)
    assert wide.rows[1]["counted_share"] == 0.0
    assert wide.rows[1]["clipped_share"] == 1.0


def test_without_a_bound_nothing_is_audited(tmp_path: Path) -> None:
    source = write_codes(tmp_path, range(1, 3), picture)
    found = measured(write_exrs(tmp_path, range(1, 3), source_values), source, space="srgb", half_width_lsb=math.inf)
    assert found.audit is None
    assert column(found, "inside_share") == column(found, "exact_share") == [None, None]
    assert max(column(found, "clipped_share")) > 0
