"""A shot measured from its files: what flicker, jitter, bins and banding read when their truth is known."""

from __future__ import annotations

import gc
import math
import tracemalloc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seqhdr.errors import FrameError, ShotError, UsageError
from seqhdr.pipeline import measure
from seqhdr.pipeline.footage import Footage, open_footage
from seqhdr.pipeline.material import Material
from seqhdr.pipeline.measure import Measured, measure_shot
from seqhdr.quality.lattice import make_lattice
from tests.conftest import picture
from tests.pipeline.report_shots import (
    ONE_PERCENT_STOPS,
    Array,
    hills,
    source_values,
    srgb_codes,
    srgb_light,
    write_codes,
    write_exrs,
)


def opened(pattern: str | None, space: str | None = None) -> Footage | None:
    return None if pattern is None else open_footage(pattern, space=space, option="--output-space")


def measured(
    pattern: str,
    source: str | None = None,
    truth: str | None = None,
    *,
    space: str | None = None,
    half_width_lsb: float = 0.5,
    cuts: str = "auto",
    stride: int | None = None,
    on_frame: Any = lambda done, of: None,
) -> Measured:
    result = opened(pattern, space)
    assert result is not None
    lattice = make_lattice(result.height, result.width, stride)
    material = Material(result, opened(source), opened(truth), half_width_lsb, cuts, lattice)
    return measure_shot(material, on_frame)


def column(found: Measured, key: str) -> list[Any]:
    return [row[key] for row in found.rows]


# --- identity -------------------------------------------------------------------------------------------------


def test_the_sources_own_codes_are_as_steady_and_as_banded_as_the_source(tmp_path: Path) -> None:
    def sky(frame: int) -> Array:
        y, x = np.mgrid[:64, :96]
        light = 150 + 0.15 * (x + 2 * frame) + 3 * np.sin(y / 9) + 2 * frame  # it gets brighter
        return np.rint(light[..., None] * np.array([0.8, 0.9, 1])).astype(np.uint8)

    source = write_codes(tmp_path, range(1, 5), sky)
    copy = write_exrs(tmp_path, range(1, 5), lambda n: (sky(n) / 255).astype(np.float32))
    found = measured(copy, source, space="srgb")
    assert max(column(found, "source_flicker_stops")[1:]) > 1e-4  # it does flicker
    for row in found.rows[1:]:
        assert row["excess_flicker_stops"] == pytest.approx(0, abs=1e-6)
        assert row["tof_px"] == pytest.approx(0, abs=0.01)
    for row in found.rows[1:-1]:
        assert row["excess_jitter_stops"] == pytest.approx(0, abs=1e-6)
        assert row["colour_jitter_stops"] == pytest.approx(row["source_colour_jitter_stops"], abs=1e-6)
    for key in ("banding_index", "plateau_share", "levels"):
        assert column(found, key) == column(found, f"source_{key}")
    assert min(column(found, "banding_index")) > 0
    assert column(found, "levels")[0] is not None
    assert column(found, "inside_share") == column(found, "exact_share") == [1.0] * 4
    assert found.audit is not None
    assert (found.audit.frames, found.audit.worst_lsb) == (4, pytest.approx(0, abs=1e-4))


# --- flicker and jitter of known size, through the optical flow -------------------------------------------------


def panning(speed_px: float, frame: int) -> Array:
    return hills(shift_px=speed_px * (frame - 1))


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


# --- what is no number, what is clipped ----------------------------------------------------------------------------


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


# --- the other sequences -------------------------------------------------------------------------------------------


def test_primaries_are_made_common_before_anything_is_compared(tmp_path: Path) -> None:
    """The same light in AP1 and in Rec.709 flickers as much."""
    from seqhdr.color.encodings import convert_linear, get_encoding

    def wobble(frame: int) -> Array:
        return panning(0.0, frame) * np.array([1.03 if frame % 2 else 1, 1, 1], np.float32)

    def ap1(frame: int) -> Array:
        light = torch.from_numpy(wobble(frame)).permute(2, 0, 1)
        wide = convert_linear(light, get_encoding("lin_rec709"), get_encoding("acescg"))
        return wide.permute(1, 2, 0).contiguous().numpy()

    source = write_codes(tmp_path, range(1, 4), lambda n: srgb_codes(wobble(n), 16), bits=16)
    pattern = write_exrs(tmp_path, range(1, 4), ap1, attributes={"colorInteropID": "lin_ap1_scene"})
    found = measured(pattern, source)
    assert found.rows[1]["source_flicker_stops"] == pytest.approx(math.log2(1.03) / 3, rel=0.02)
    assert found.rows[1]["excess_flicker_stops"] == pytest.approx(0, abs=1e-4)
    assert found.rows[1]["colour_jitter_stops"] == pytest.approx(math.log2(1.03) * 2 / 3, rel=0.05)


def test_a_held_frame_is_audited_against_the_one_it_was_held_from(tmp_path: Path) -> None:
    source = write_codes(tmp_path, [1, 2, 4], lambda n: picture(5 * n))

    def held(frame: int, from_frame: int) -> str:
        attributes = {"seqhdr:source_frame": from_frame}
        values = (picture(5 * from_frame) / 255).astype(np.float32)
        return write_exrs(tmp_path, [frame], lambda n: values, attributes=attributes)

    for frame, from_frame in ((1, 1), (2, 2), (3, 2), (4, 4)):
        pattern = held(frame, from_frame)
    found = measured(pattern, source, space="srgb", cuts="off")
    assert column(found, "inside_share") == [1.0] * 4
    assert found.rows[2]["flicker_stops"] == pytest.approx(0, abs=1e-5)


def test_a_source_or_truth_of_another_size_or_with_other_frames_is_refused(tmp_path: Path) -> None:
    result = write_exrs(tmp_path, range(1, 4), source_values)
    small = write_codes(tmp_path, range(1, 4), lambda n: picture(n, size=(32, 24)), name="small_")
    short = write_codes(tmp_path, range(1, 3), picture, name="short_")
    for name in ("source", "truth"):
        other = {name: small}
        with pytest.raises(FrameError, match=rf"comp_0001.exr: is 64x48, its {name} is 32x24: check --{name}"):
            measured(result, **other)
        with pytest.raises(ShotError, match=rf"has no frame 3, on disk are 1-2: check --{name}"):
            measured(result, **{name: short})


def test_accuracy_is_the_distance_to_the_truth_by_frame(tmp_path: Path) -> None:
    truth = write_exrs(tmp_path, range(1, 3), lambda n: hills((64, 48)), name="truth_")
    codes = srgb_codes(hills((64, 48)), 8)
    source = write_codes(tmp_path, range(1, 3), lambda n: codes)
    result = write_exrs(tmp_path, range(1, 3), lambda n: hills((64, 48)) if n == 1 else (codes / 255).astype("f4"))
    assert measured(result, source).accuracy == []
    same = measured(truth, source, truth)
    assert min(column(same, "psnr_db")) > 100
    assert max(column(same, "identity_psnr_db")) < 75
    assert {row["label"] for row in same.accuracy} >= {"PSNR, whole", "SSIM, whole"}
    alone = measured(result, truth=truth)
    assert alone.rows[0]["psnr_db"] > 100 > alone.rows[1]["psnr_db"]
    assert column(alone, "identity_psnr_db") == [None, None]


def test_accuracy_is_told_apart_by_the_frames_since_the_last_cut(tmp_path: Path) -> None:
    light = hills((32, 24))
    truth = write_exrs(tmp_path, range(1, 7), lambda n: light, name="truth_")
    source = write_codes(tmp_path, range(1, 7), lambda n: srgb_codes(light, 8))
    result = write_exrs(tmp_path, range(1, 7), lambda n: light * np.float32(1.01 if n in (1, 5) else 1))
    found = measured(result, source, truth, cuts="5")
    psnr_db = {row["label"]: row["result"] for row in found.accuracy if row["label"].startswith("PSNR, ")}
    assert psnr_db["PSNR, first frame"] < 70
    assert psnr_db["PSNR, frames 2-3"] > 100
    assert psnr_db["PSNR, fourth frame on"] > 100


# --- long shots ----------------------------------------------------------------------------------------------------


def test_progress_is_told_frame_by_frame_and_pictures_are_spread_evenly(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    pattern = write_codes(tmp_path, range(11, 46), lambda n: picture(n, size=(16, 16)))
    found = measured(pattern, cuts="off", on_frame=lambda done, of: told.append((done, of)))
    assert told == [(n, 35) for n in range(1, 36)]
    shown = [number for number, _ in found.thumbnails]
    assert len(shown) == 24
    assert (shown[0], shown[-1]) == (11, 45)
    assert set(np.diff(shown)) <= {1, 2}
    assert all(jpeg.startswith(b"\xff\xd8") for _, jpeg in found.thumbnails)
    assert len(found.heats) <= 8
    ranked = sorted(found.rows[1:], key=lambda row: -row["flicker_stops"])
    assert {row["frame"] for row in ranked[:4]} <= set(found.heats)


def test_memory_does_not_grow_with_the_shot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = (96, 64)
    frames = range(1, 23)
    frame_bytes = size[0] * size[1] * 3 * 4
    source = write_codes(tmp_path, frames, lambda n: picture(n % 4, size=size))
    pattern = write_exrs(tmp_path, frames, lambda n: source_values(n % 4, first=0, size=size))
    pixels: list[weakref.ref[Array]] = []
    read = measure.read_frames

    def noted(material: Material, number: int) -> measure.Frames:
        stored = read(material, number)
        pixels.extend(weakref.ref(frame.pixels) for frame in stored.values())
        return stored

    held: dict[int, tuple[int, int, int]] = {}

    def look(done: int, of: int) -> None:
        if done in (10, of):
            gc.collect()
            tensors = (t for t in gc.get_objects() if type(t) is torch.Tensor)
            storages = {s.data_ptr(): s.nbytes() for s in (t.untyped_storage() for t in tensors)}
            alive = sum(ref() is not None for ref in pixels)
            held[done] = alive, sum(storages.values()), tracemalloc.get_traced_memory()[0]

    monkeypatch.setattr(measure, "read_frames", noted)
    tracemalloc.start()
    try:
        measured(pattern, source, source, space="srgb", cuts="off", on_frame=look)
    finally:
        tracemalloc.stop()
    early, late = held[10], held[22]
    # Of three sequences: one frame is measured, one waits and one is read ahead, and one is what the flow came from.
    assert max(early[0], late[0]) <= 12
    assert late[1] < early[1] + 6 * frame_bytes
    # What is kept on purpose, heat maps of eight frames and small JPEG of 24, is less than this.
    assert late[2] < early[2] + 6 * frame_bytes
