"""From frames on disk to EXR frames on disk through the command line, looked at with a second reader."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pytest

from seqhdr.media.exr import COMPRESSIONS
from seqhdr.media.frames import read_frame
from seqhdr.model.cards import read_card


def second_reader(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Planes by channel name, and the header, by the OpenEXR project's own library."""
    with OpenEXR.File(str(path), separate_channels=True) as file:
        return {name: channel.pixels.copy() for name, channel in file.channels().items()}, dict(file.header())


def test_one_exr_per_frame_with_the_source_s_numbers(shoot: Any, convert: Any, tmp_path: Path) -> None:
    ran = convert(shoot(range(998, 1002)))
    assert ran.code == 0, ran.err
    names = [f"shot_acescct.{n}.exr" for n in ("0998", "0999", "1000", "1001")]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [*names, "shot_acescct.json"]
    assert str(tmp_path / "out" / "shot_acescct.%04d.exr") in ran.out
    assert str(tmp_path / "out" / "shot_acescct.json") in ran.out
    for name in names:
        planes, header = second_reader(tmp_path / "out" / name)
        assert set(planes) == {"R", "G", "B"}
        assert all(plane.shape == (48, 64) and plane.dtype == np.float16 for plane in planes.values())
        assert header["compression"] == OpenEXR.ZIP_COMPRESSION


def test_the_header_says_where_a_frame_comes_from(shoot: Any, convert: Any, tiny_model: str, tmp_path: Path) -> None:
    pattern = shoot(range(1001, 1004))
    ran = convert(pattern, "--fps", "23.976", "--timecode", "01:00:59:23", "--bins", "2")
    assert ran.code == 0, ran.err
    seen = []
    for frame in range(1001, 1004):
        _, header = second_reader(tmp_path / "out" / f"shot_acescct.{frame}.exr")
        assert header["colorInteropID"] == "ocio:acescct_ap1_scene"
        assert header["seqhdr:version"] == version("seqhdr")
        assert header["seqhdr:model"] == "tiny"
        assert header["seqhdr:model_sha256"] == read_card(tiny_model).sha256
        assert header["seqhdr:input_space"] == "srgb"
        assert header["seqhdr:output_space"] == "acescct"
        assert header["seqhdr:bins"] == "2"
        assert header["seqhdr:half_width"] == 2.0
        assert header["seqhdr:source"] == f"shot_{frame}.png"
        assert header["seqhdr:source_frame"] == frame
        settings = json.loads(header["seqhdr:settings"])
        assert settings["half_width"] == 2.0
        assert settings["flow"] == "dis"
        assert Fraction(str(header["framesPerSecond"])) == Fraction(24000, 1001)
        code = header["timeCode"]
        seen.append((code.hours, code.minutes, code.seconds, code.frame))
        assert str(tmp_path) not in repr(header)
    assert seen == [(1, 0, 59, 23), (1, 1, 0, 0), (1, 1, 0, 1)]


def test_no_rate_and_no_timecode_without_being_told(shoot: Any, convert: Any, tmp_path: Path) -> None:
    assert convert(shoot(range(1, 2))).code == 0
    _, header = second_reader(tmp_path / "out" / "shot_acescct.0001.exr")
    assert "framesPerSecond" not in header
    assert "timeCode" not in header


def test_a_dpx_s_rate_and_timecode_are_kept_and_held_frames_count_on(shoot: Any, convert: Any, tmp_path: Path) -> None:
    one_hour = 0x01000000
    attributes = {"dpx:FrameRate": 24.0, "smpte:TimeCode": (one_hour, 0)}
    pattern = shoot(range(1, 4), extension="dpx", bits=10, attributes=attributes)
    Path(pattern % 2).unlink()
    assert convert(pattern, "--missing", "hold", "--output-space", "cineon").code == 0
    for frame, expected in ((1, 0), (2, 1), (3, 0)):
        _, header = second_reader(tmp_path / "out" / f"shot_cineon.{frame:04d}.exr")
        assert header["framesPerSecond"] == 24
        assert (header["timeCode"].hours, header["timeCode"].frame) == (1, expected)


@pytest.mark.parametrize("depth", ["half", "float"])
def test_alpha_is_carried_untouched(shoot: Any, convert: Any, tmp_path: Path, depth: str) -> None:
    pattern = shoot(range(1001, 1003), alpha=True)
    assert convert(pattern, "--bit-depth", depth, "--bins", "strict").code == 0
    dtype = np.float16 if depth == "half" else np.float32
    for frame in (1001, 1002):
        planes, _ = second_reader(tmp_path / "out" / f"shot_acescct.{frame}.exr")
        source = read_frame(pattern % frame)
        assert source.alpha is not None
        assert planes["A"].dtype == planes["R"].dtype == dtype
        np.testing.assert_array_equal(planes["A"], (source.alpha / np.float32(255)).astype(dtype))
        # Where alpha is 0 the colour is that of the file, not black.
        assert float(planes["G"][10, 0]) > 0.2


def test_layers_show_what_was_invented(shoot: Any, convert: Any, tmp_path: Path) -> None:
    pattern = shoot(range(1001, 1004))
    ran = convert(pattern, "--bins", "strict", "--aov", "clip,confidence,delta", "--bit-depth", "float")
    assert ran.code == 0, ran.err
    moved = 0.0
    for frame in range(1001, 1004):
        planes, _ = second_reader(tmp_path / "out" / f"shot_acescct.{frame}.exr")
        codes = read_frame(pattern % frame).codes
        layers = {f"{layer}.{c}" for layer in ("clip", "delta") for c in "RGB"}
        assert set(planes) == {"R", "G", "B", "confidence.Y"} | layers
        assert all(planes[name].dtype == np.float16 for name in layers | {"confidence.Y"})
        open_above = codes == 255
        assert open_above.any()
        for index, channel in enumerate("RGB"):
            np.testing.assert_array_equal(planes[f"clip.{channel}"] == 1, open_above[..., index])
            np.testing.assert_array_equal(planes[f"clip.{channel}"] == 0, ~open_above[..., index])
            delta = planes[f"delta.{channel}"].astype(np.float32)
            assert np.abs(delta[~open_above[..., index]]).max() <= 0.5
            assert delta[open_above[..., index]].min() >= -0.5 if open_above[..., index].any() else True
            moved = max(moved, float(np.abs(delta).max()))
        confidence = planes["confidence.Y"].astype(np.float32)
        assert (confidence[~open_above.any(axis=-1)] == 1).all()
        assert (confidence[open_above.any(axis=-1)] < 1).all()
        assert (confidence > 0).all()
    assert moved > 0.1, "a model that changes nothing tests nothing"


def test_only_the_layers_asked_for(shoot: Any, convert: Any, tmp_path: Path) -> None:
    assert convert(shoot(range(1, 2)), "--aov", "confidence").code == 0
    planes, _ = second_reader(tmp_path / "out" / "shot_acescct.0001.exr")
    assert set(planes) == {"R", "G", "B", "confidence.Y"}


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_compression_is_written_as_asked(shoot: Any, convert: Any, tmp_path: Path, compression: str) -> None:
    ran = convert(shoot(range(1, 2)), "--compression", compression, "--flow", "off")
    assert ran.code == 0, ran.err
    planes, header = second_reader(tmp_path / "out" / "shot_acescct.0001.exr")
    assert header["compression"] == getattr(
        OpenEXR, f"{'NO' if compression == 'none' else compression.upper()}_COMPRESSION"
    )
    assert np.isfinite(planes["R"].astype(np.float32)).all()
    assert ("puts bands back" in ran.err) == compression.startswith("dwa")


def test_lossless_compressions_hold_the_same_pixels(shoot: Any, convert: Any, tmp_path: Path) -> None:
    pattern = shoot(range(1, 2))
    planes = {}
    for compression in ("none", "zip", "zips", "piz", "pxr24"):
        assert convert(pattern, "--compression", compression, out=compression).code == 0
        planes[compression], _ = second_reader(tmp_path / compression / "shot_acescct.0001.exr")
    for compression in ("zip", "zips", "piz", "pxr24"):
        for channel in "RGB":
            np.testing.assert_array_equal(planes["none"][channel], planes[compression][channel])


def test_the_summary_says_what_was_done(shoot: Any, convert: Any, tmp_path: Path) -> None:
    pattern = shoot(range(1001, 1005), cut=1003)
    Path(pattern % 1002).unlink()
    assert convert(pattern, "--missing", "split", "--bins", "strict").code == 0
    text = (tmp_path / "out" / "shot_acescct.json").read_text()
    summary = json.loads(text)
    assert summary["source"] == "shot_%04d.png"
    assert summary["output"] == "shot_acescct.%04d.exr"
    assert summary["size"] == [64, 48]
    assert summary["bits"] == 8
    assert summary["bins"]["half_width_lsb"] == 0.5
    assert summary["model"] == "tiny"
    assert summary["missing"] == [1002]
    assert summary["skipped"] == []
    assert summary["failed"] == {}
    assert [f["frame"] for f in summary["frames"]] == [1001, 1003, 1004]
    assert [f["path"] for f in summary["frames"]] == [f"shot_acescct.{n}.exr" for n in (1001, 1003, 1004)]
    assert [f["starts_segment"] for f in summary["frames"]] == [True, True, False]
    codes = read_frame(pattern % 1001).codes
    assert summary["frames"][0]["clipped_share"] == pytest.approx((codes == 255).mean())
    assert summary["frames"][0]["max_gain_stops"] > 0
    assert str(tmp_path) not in text


def test_python_users_get_the_same_as_the_command_line(
    shoot: Any, convert: Any, tiny_model: str, tmp_path: Path
) -> None:
    import seqhdr

    pattern = shoot(range(1001, 1003))
    assert convert(pattern).code == 0
    events: list[Any] = []
    listen: Callable[[Any], None] = events.append
    report = seqhdr.run(pattern, output=tmp_path / "api", model=tiny_model, device="cpu", on_event=listen)
    assert [f.frame for f in report.shots[0].frames] == [1001, 1002]
    assert report.summaries == (tmp_path / "api" / "shot_acescct.json",)
    assert [e.kind for e in events] == ["shot", "frame", "frame", "done", "measured", "measured", "report"]
    assert report.pages == (tmp_path / "api" / "shot_acescct.report.html",)
    for name in ("shot_acescct.1001.exr", "shot_acescct.1002.exr", "shot_acescct.json"):
        assert (tmp_path / "api" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
