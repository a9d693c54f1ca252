"""A shot measured from its files: its own source, other sequences beside it, a truth, and long shots."""

from __future__ import annotations

import gc
import math
import tracemalloc
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from seqhdr.errors import FrameError, ShotError
from seqhdr.pipeline import measure
from seqhdr.pipeline.material import Material
from tests.conftest import picture
from tests.pipeline.measured_shots import column, measured, panning
from tests.pipeline.report_shots import Array, hills, source_values, srgb_codes, write_codes, write_exrs

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
