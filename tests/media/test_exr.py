"""Written EXR frames read by a second reader, byte for byte repeatable, with their whole header."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pytest
from numpy.typing import NDArray

from seqhdr.errors import FrameError, FramesFailedError, OutputExistsError, UnknownNameError
from seqhdr.media.exr import COMPRESSIONS, check_compression, complete_exr, probe_exr, read_exr, write_exr

LOSSLESS = tuple(c for c in COMPRESSIONS if c not in ("pxr24", "dwaa", "dwab"))
ACES_AP1 = (0.713, 0.293, 0.165, 0.830, 0.128, 0.044, 0.32168, 0.33767)


def picture(*shape: int, kind: Any = np.float16) -> NDArray[Any]:
    return np.random.default_rng(5).normal(0.4, 0.2, shape).astype(kind)


def second_reader(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    with OpenEXR.File(str(path), separate_channels=True) as file:
        return dict(file.header()), {name: c.pixels.copy() for name, c in file.channels().items()}


@pytest.mark.parametrize("compression", LOSSLESS)
@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_a_second_reader_sees_the_same_pixels(tmp_path: Path, compression: str, kind: Any) -> None:
    rgb = picture(37, 53, 3, kind=kind)
    path = tmp_path / "a.1001.exr"
    write_exr(path, {"RGB": rgb}, compression=compression)
    header, channels = second_reader(path)
    assert set(channels) == {"R", "G", "B"}
    for index, name in enumerate("RGB"):
        assert channels[name].dtype == kind
        np.testing.assert_array_equal(channels[name], rgb[..., index])
    assert header["compression"].name == f"{compression.upper().replace('NONE', 'NO')}_COMPRESSION"
    assert header["type"] == OpenEXR.scanlineimage
    check_compression(path, compression)


@pytest.mark.parametrize("compression", ["pxr24", "dwaa", "dwab"])
def test_lossy_compressions(tmp_path: Path, compression: str) -> None:
    ramp = np.linspace(0.1, 0.9, 64, dtype=np.float32)[None, :, None].repeat(32, 0).repeat(3, -1)
    path = tmp_path / "a.exr"
    write_exr(path, {"RGB": ramp}, compression=compression)
    check_compression(path, compression)
    _, channels = second_reader(path)
    np.testing.assert_allclose(channels["R"], ramp[..., 0], atol=2e-5 if compression == "pxr24" else 5e-3)


def test_layers_of_both_kinds_keep_their_types(tmp_path: Path) -> None:
    path = tmp_path / "a.exr"
    given = {
        "RGB": picture(9, 11, 3),
        "A": picture(9, 11),
        "clip.RGB": picture(9, 11, 3),
        "confidence.Y": picture(9, 11, kind=np.float32),
        "delta.RGB": picture(9, 11, 3, kind=np.float32),
    }
    write_exr(path, given)
    _, channels = second_reader(path)
    ours, info = read_exr(path)
    expected = {"A": given["A"], "confidence.Y": given["confidence.Y"]}
    for group in ("RGB", "clip.RGB", "delta.RGB"):
        for index, letter in enumerate("RGB"):
            expected[group.removesuffix("RGB") + letter] = given[group][..., index]
    assert set(channels) == set(ours) == set(expected)
    assert set(info.channels[:4]) == set("RGBA")
    for name, plane in expected.items():
        for found in (channels[name], ours[name]):
            assert found.dtype == plane.dtype
            np.testing.assert_array_equal(found, plane)
        stored = info.formats[info.channels.index(name)]
        assert stored == {"float16": "half", "float32": "float"}[str(plane.dtype)]


def test_extreme_values_survive(tmp_path: Path) -> None:
    values = np.array([[0.0, -0.0, 65504.0, 6e-8, np.inf, -np.inf, np.nan, 1.0]], np.float16)
    write_exr(tmp_path / "a.exr", {"Y": values, "Z": values.astype(np.float32)})
    _, channels = second_reader(tmp_path / "a.exr")
    ours, _ = read_exr(tmp_path / "a.exr")
    for found in (channels, ours):
        np.testing.assert_array_equal(found["Y"].view(np.uint16), values.view(np.uint16))
        np.testing.assert_array_equal(found["Z"], values.astype(np.float32))


def test_the_whole_header(tmp_path: Path) -> None:
    path = tmp_path / "a.exr"
    provenance = {
        "colorInteropID": "lin_ap1_scene",
        "seqhdr:version": "0.1.0",
        "seqhdr:settings": '{"bins": "strict", "name": "é"}',
        "seqhdr:halfWidth": 0.5,
        "seqhdr:frame": 1001,
        "seqhdr:rate": Fraction(1, 3),
        "seqhdr:vector": (1.0, 2.0, 3.0),
    }
    write_exr(
        path,
        {"RGBA": picture(9, 11, 4)},
        attributes=provenance,
        chromaticities=ACES_AP1,
        frames_per_second=Fraction(24000, 1001),
        timecode="01:02:03:04",
        pixel_aspect=2.0,
    )
    header, _ = second_reader(path)
    assert header["colorInteropID"] == "lin_ap1_scene"
    assert header["framesPerSecond"] == Fraction(24000, 1001)
    stamp = header["timeCode"]
    assert (stamp.hours, stamp.minutes, stamp.seconds, stamp.frame, stamp.dropFrame) == (1, 2, 3, 4, 0)
    assert header["pixelAspectRatio"] == 2.0
    np.testing.assert_allclose(header["chromaticities"], ACES_AP1, atol=1e-6)
    assert header["seqhdr:version"] == "0.1.0"
    assert header["seqhdr:settings"] == provenance["seqhdr:settings"]
    assert header["seqhdr:halfWidth"] == 0.5
    assert header["seqhdr:frame"] == 1001
    assert header["seqhdr:rate"] == Fraction(1, 3)
    np.testing.assert_array_equal(header["seqhdr:vector"], (1, 2, 3))
    for window in (header["dataWindow"], header["displayWindow"]):
        assert [list(corner) for corner in window] == [[0, 0], [10, 8]]
    assert "capDate" not in header

    info = probe_exr(path)
    assert (info.width, info.height, info.compression, info.parts, info.tiled) == (11, 9, "zip", 1, False)
    assert info.data_window == info.display_window == (0, 0, 11, 9)
    assert info.frames_per_second == Fraction(24000, 1001)
    assert info.timecode == "01:02:03:04"
    assert info.pixel_aspect == 2.0
    assert info.attributes["seqhdr:version"] == "0.1.0"


def test_drop_frame_reaches_the_header(tmp_path: Path) -> None:
    write_exr(tmp_path / "a.exr", {"Y": picture(4, 4)}, timecode="10:59:59;28")
    header, _ = second_reader(tmp_path / "a.exr")
    stamp = header["timeCode"]
    assert (stamp.hours, stamp.minutes, stamp.seconds, stamp.frame, stamp.dropFrame) == (10, 59, 59, 28, 1)
    assert probe_exr(tmp_path / "a.exr").timecode == "10:59:59;28"


def test_what_is_not_known_is_not_in_the_header(tmp_path: Path) -> None:
    write_exr(tmp_path / "a.exr", {"Y": picture(4, 4)})
    header, _ = second_reader(tmp_path / "a.exr")
    assert not {"timeCode", "framesPerSecond", "chromaticities", "capDate", "colorInteropID"} & set(header)
    info = probe_exr(tmp_path / "a.exr")
    assert (info.timecode, info.frames_per_second) == (None, None)


def test_the_same_frame_makes_the_same_bytes(tmp_path: Path) -> None:
    rgb = picture(40, 60, 3)
    for name in ("a.exr", "b.exr"):
        write_exr(tmp_path / name, {"RGB": rgb}, attributes={"seqhdr:version": "0.1.0"}, timecode="00:00:00:01")
        time.sleep(1.1 if name == "a.exr" else 0)  # a clock in the header would tick by now
    assert (tmp_path / "a.exr").read_bytes() == (tmp_path / "b.exr").read_bytes()


def test_arrays_that_are_views_are_written_as_seen(tmp_path: Path) -> None:
    rgb = picture(3, 12, 9).transpose(1, 2, 0)[::-1]
    write_exr(tmp_path / "a.exr", {"RGB": rgb})
    ours, _ = read_exr(tmp_path / "a.exr")
    np.testing.assert_array_equal(ours["G"], rgb[..., 1])


def test_files_of_other_writers(tmp_path: Path) -> None:
    """Data window apart from the display window, 32-bit identifiers, several parts, tiles."""
    path = tmp_path / "other.exr"
    ids = np.arange(12, dtype=np.uint32).reshape(3, 4) + 2**31
    header = {
        "compression": OpenEXR.ZIPS_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        "dataWindow": (np.array([2, 5], np.int32), np.array([5, 7], np.int32)),
        "displayWindow": (np.array([0, 0], np.int32), np.array([99, 49], np.int32)),
    }
    z = picture(3, 4, kind=np.float32)
    parts = [
        OpenEXR.Part(dict(header), {"id": ids, "Z": z}, "one"),
        OpenEXR.Part(dict(header), {"Y": z}, "two"),
    ]
    with OpenEXR.File(parts) as file:
        file.write(str(path))
    arrays, info = read_exr(path)
    assert (info.parts, info.compression) == (2, "zips")
    assert info.data_window == (2, 5, 4, 3)
    assert info.display_window == (0, 0, 100, 50)
    np.testing.assert_array_equal(arrays["id"], ids)
    np.testing.assert_array_equal(arrays["Z"], z)
    assert dict(zip(info.channels, info.formats, strict=True)) == {"id": "uint32", "Z": "float"}
    assert complete_exr(path)


def test_complete_tells_whole_files_with_these_settings(tmp_path: Path) -> None:
    path = tmp_path / "a.exr"
    write_exr(path, {"RGB": picture(64, 64, 3)}, attributes={"seqhdr:settings": "abc"})
    assert complete_exr(path)
    assert complete_exr(path, "abc")
    assert not complete_exr(path, "abd")
    assert not complete_exr(tmp_path / "gone.exr")
    write_exr(path, {"RGB": picture(64, 64, 3)}, overwrite=True)
    assert not complete_exr(path, "abc")


@pytest.mark.parametrize("compression", ["none", "zip", "zips", "piz"])
def test_a_file_cut_off_anywhere_is_not_complete_and_not_read(tmp_path: Path, compression: str) -> None:
    whole = tmp_path / "whole.exr"
    write_exr(whole, {"RGB": picture(50, 40, 3)}, compression=compression)
    data = whole.read_bytes()
    cut = tmp_path / "cut.exr"
    for size in (0, 3, 4, 40, 100, 300, *range(400, len(data), len(data) // 20), len(data) - 1):
        cut.write_bytes(data[:size])
        assert not complete_exr(cut), size
        with pytest.raises(FrameError):
            read_exr(cut)


def test_not_exr(tmp_path: Path) -> None:
    path = tmp_path / "a.exr"
    path.write_text("no picture")
    with pytest.raises(FrameError, match="is not a readable EXR"):
        read_exr(path)
    with pytest.raises(FrameError, match="no such file"):
        probe_exr(tmp_path / "gone.exr")
    assert not complete_exr(path)


def test_refused_arguments(tmp_path: Path) -> None:
    path = tmp_path / "a.exr"
    with pytest.raises(UnknownNameError, match="did you mean zip"):
        write_exr(path, {"Y": picture(4, 4)}, compression="zipp")
    with pytest.raises(TypeError, match="float64"):
        write_exr(path, {"Y": picture(4, 4, kind=np.float64)})
    with pytest.raises(ValueError, match="names 3 channels, its array has 4"):
        write_exr(path, {"RGB": picture(4, 4, 4)})
    with pytest.raises(ValueError, match="given twice"):
        write_exr(path, {"RGB": picture(4, 4, 3), "R": picture(4, 4)})
    assert list(tmp_path.iterdir()) == []


def test_existing_files_are_kept_unless_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.exr"
    path.write_text("precious")
    with pytest.raises(OutputExistsError, match=r"--overwrite or --skip-existing"):
        write_exr(path, {"Y": picture(4, 4)})
    assert path.read_text() == "precious"
    write_exr(path, {"Y": picture(4, 4)}, overwrite=True)
    assert complete_exr(path)


def test_a_compression_that_was_not_written_is_noticed(tmp_path: Path) -> None:
    write_exr(tmp_path / "a.exr", {"Y": picture(4, 4)}, compression="zips")
    with pytest.raises(FramesFailedError, match="zips compression although piz"):
        check_compression(tmp_path / "a.exr", "piz")
