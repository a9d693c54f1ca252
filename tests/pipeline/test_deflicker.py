"""Deflicker on files: what is written, what is kept, what is refused, and that nothing leaves its bin."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seqhdr
from seqhdr.errors import OutputExistsError, UnknownNameError, UsageError
from seqhdr.media.exr import complete_exr, read_exr, write_exr
from seqhdr.pipeline.deflicker_options import METHODS, DeflickerOptions

FRAMES = range(1001, 1013)
#: Stops that the whole picture is brighter by, frame by frame; the last third is one stop brighter for good.
FLICKER = 0.06 * np.array([1, -1, 0.5, -0.7, 1, 0, -1, 0.6, -0.4, 1, -1, 0.3])


def scene(frame: int, look: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(64, 96, 3) scene-linear light with texture that moves by a pixel per frame."""
    rng = np.random.default_rng(3 + look)
    coarse = rng.random((16, 64, 3)).repeat(4, 0).repeat(4, 1)
    world = 0.05 + coarse + 0.2 * rng.random((64, 256, 3))
    return world[:, 60 - frame : 156 - frame].astype(np.float32)


@pytest.fixture
def shot(tmp_path: Path) -> str:
    """Flickering scene-linear half EXR frames with alpha, another layer and a full header."""
    (tmp_path / "in").mkdir()
    for index, frame in enumerate(FRAMES):
        light = scene(index) * np.float32(2 ** FLICKER[index])
        write_exr(
            tmp_path / "in" / f"sh010.{frame}.exr",
            {
                "RGB": light.astype(np.float16),
                "A": np.full((64, 96), 0.25 + index / 64, np.float16),
                "depth.Z": np.full((64, 96), 3.1415927, np.float32),
            },
            attributes={"colorInteropID": "lin_ap1_scene", "comment": "by hand", "seqhdr:model": "s"},
            compression="piz",
            frames_per_second=Fraction(24000, 1001),
            timecode=f"01:00:00:{index:02d}",
        )
    return str(tmp_path / "in" / "sh010.%d.exr")


def exposure(folder: Path, name: str = "sh010.{}.exr") -> list[float]:
    """How much brighter each frame is than the scene in it, in stops."""
    found = []
    for index, frame in enumerate(FRAMES):
        channels, _ = read_exr(folder / name.format(frame))
        rgb = np.stack([channels[c].astype(np.float32) for c in "RGB"], axis=-1)
        found.append(float(np.median(np.log2(rgb / scene(index)))))
    return found


@pytest.mark.parametrize("method", METHODS)
def test_flicker_goes_and_all_else_stays(shot: str, tmp_path: Path, method: str) -> None:
    report = seqhdr.deflicker(shot, output=tmp_path / "out", method=method, prior_steps=20)
    after = np.diff(exposure(tmp_path / "out"))
    assert np.abs(after).mean() < 0.1 * np.abs(np.diff(FLICKER)).mean()
    assert sorted(report.frames) == list(FRAMES)
    for index, frame in enumerate(FRAMES):
        before, was = read_exr(tmp_path / "in" / f"sh010.{frame}.exr")
        channels, info = read_exr(tmp_path / "out" / f"sh010.{frame}.exr")
        assert info.channels == was.channels
        assert info.formats == was.formats
        assert np.array_equal(channels["A"], before["A"])
        assert np.array_equal(channels["depth.Z"], before["depth.Z"])
        assert (info.compression, info.timecode) == ("piz", f"01:00:00:{index:02d}")
        assert info.frames_per_second == Fraction(24000, 1001)
        for name in ("comment", "colorInteropID", "seqhdr:model"):
            assert info.attributes[name] == was.attributes[name]
        assert info.attributes["seqhdr:deflicker"] == method
        assert report.frames[frame]["gain_stops"][1] == pytest.approx(-FLICKER[index], abs=0.04)
    summary = json.loads((tmp_path / "out" / "sh010.deflicker.json").read_text())
    assert list(summary["frames"]) == [str(frame) for frame in FRAMES]


def test_the_same_input_makes_the_same_bytes(shot: str, tmp_path: Path) -> None:
    for out in ("a", "b"):
        seqhdr.deflicker(shot, output=tmp_path / out, method="flow")
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len(names) == len(FRAMES) + 1
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)


def test_a_cut_and_a_gap_start_afresh(shot: str, tmp_path: Path) -> None:
    for index, frame in enumerate(FRAMES):
        if frame >= 1007:
            light = scene(index, look=1) * np.float32(4 * 2 ** FLICKER[index])
            write_exr(tmp_path / "in" / f"sh010.{frame}.exr", {"RGB": light}, overwrite=True)
        else:
            write_exr(tmp_path / "in" / f"sh010.{frame}.exr", {"RGB": scene(index)}, overwrite=True)
    report = seqhdr.deflicker(shot, output=tmp_path / "out", input_space="lin_rec709", cuts="1007")
    assert [(each["first"], each["last"]) for each in report.stretches] == [(1001, 1006), (1007, 1012)]
    before, _ = read_exr(tmp_path / "in" / "sh010.1006.exr")
    after, _ = read_exr(tmp_path / "out" / "sh010.1006.exr")
    assert np.array_equal(before["G"], after["G"]), "what does not flicker keeps every bit"
    (tmp_path / "in" / "sh010.1004.exr").unlink()
    report = seqhdr.deflicker(shot, output=tmp_path / "gap", input_space="lin_rec709", cuts="off")
    assert [(each["first"], each["last"]) for each in report.stretches] == [(1001, 1003), (1005, 1012)]


def test_sixteen_bit_integers_come_out_as_exr_of_their_own_space(shoot: Any, seqhdr: Any, tmp_path: Path) -> None:
    pattern = shoot(range(1, 7), bits=16, alpha=True, name="plate_")
    ran = seqhdr("deflicker", pattern, "-o", tmp_path / "out", "--bit-depth", "float")
    assert ran.code == 0, ran.err
    channels, info = read_exr(tmp_path / "out" / "plate_0003.exr")
    assert info.attributes["seqhdr:output_space"] == "srgb"
    assert set(info.channels) == set("RGBA")
    assert set(info.formats) == {"float"}
    assert channels["R"].max() <= 1.0
    assert "summary" in ran.out


def test_the_result_stays_in_the_bins_of_its_source(shoot: Any, convert: Any, seqhdr: Any, tmp_path: Path) -> None:
    pattern = shoot(range(1, 7), alpha=True)
    assert convert(pattern, "--bins", "strict").code == 0
    written = str(tmp_path / "out" / "shot_acescct.%04d.exr")
    for method in METHODS:
        words = ("deflicker", written, "--method", method, "--prior-steps", "15", "--cuts", "off")
        assert seqhdr(*words, "--source", pattern, "-o", tmp_path / method).code == 0
        assert seqhdr("verify", tmp_path / method / "shot_acescct.%04d.exr", "--source", pattern).code == 0


def test_without_a_source_the_header_promises_no_bins(shoot: Any, convert: Any, seqhdr: Any, tmp_path: Path) -> None:
    pattern = shoot(range(1, 9))
    assert convert(pattern, "--bins", "strict").code == 0
    folder = tmp_path / "out"
    for index, path in enumerate(sorted(folder.glob("*.exr"))):
        channels, info = read_exr(path)
        lit = {name: plane + np.float16(0.01 * (index % 2)) for name, plane in channels.items()}
        write_exr(path, lit, attributes=dict(info.attributes), overwrite=True)
    assert seqhdr("deflicker", folder / "shot_acescct.%04d.exr", "-o", tmp_path / "free", "--cuts", "off").code == 0
    _, info = read_exr(tmp_path / "free" / "shot_acescct.0003.exr")
    assert info.attributes["seqhdr:bins"] == "off"
    assert info.attributes["seqhdr:half_width"] < 0


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"method": "gains"}, "unknown value of --method 'gains': did you mean gain?"),
        ({"bins": "strict"}, "--bins is about the source's codes: add --source"),
        ({"source_space": "srgb"}, "--source-space is about the source's codes"),
        ({"bit_depth": "16"}, "unknown value of --bit-depth"),
        ({"compression": "zipp"}, "unknown value of --compression 'zipp': did you mean zip"),
        ({"prior_seconds": 0.0}, "must be above 0"),
    ],
)
def test_refused_at_once(tmp_path: Path, wish: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        DeflickerOptions(output=tmp_path / "out", **wish)
    assert message in str(refused.value)
    assert isinstance(refused.value, UnknownNameError) == message.startswith("unknown")


def test_nothing_is_overwritten_unasked(shot: str, tmp_path: Path) -> None:
    with pytest.raises(OutputExistsError, match="holds the frames themselves"):
        seqhdr.deflicker(shot, output=tmp_path / "in", overwrite=True)
    seqhdr.deflicker(shot, output=tmp_path / "out", frames="1001-1004")
    with pytest.raises(OutputExistsError, match=r"sh010.1001.exr: exists already with 3 more; use --overwrite"):
        seqhdr.deflicker(shot, output=tmp_path / "out")
    seqhdr.deflicker(shot, output=tmp_path / "out", overwrite=True)
    assert all(complete_exr(tmp_path / "out" / f"sh010.{frame}.exr") for frame in FRAMES)


def test_a_frame_that_cannot_be_read_costs_only_itself(shot: str, seqhdr: Any, tmp_path: Path) -> None:
    hurt = tmp_path / "in" / "sh010.1005.exr"
    hurt.write_bytes(hurt.read_bytes()[:2000])
    ran = seqhdr("deflicker", shot, "-o", tmp_path / "out", "--cuts", "off")
    assert ran.code == 4
    assert "sh010.1005.exr" in ran.err.splitlines()[-1]
    written = sorted(path.name for path in (tmp_path / "out").glob("*.exr"))
    assert written == [f"sh010.{frame}.exr" for frame in FRAMES if frame != 1005]


def test_a_data_window_smaller_than_the_picture_becomes_the_picture(tmp_path: Path) -> None:
    import OpenImageIO as oiio  # noqa: N813

    (tmp_path / "in").mkdir()
    for frame in range(1, 5):
        spec = oiio.ImageSpec(40, 32, 3, "half")
        spec.x, spec.y, spec.full_width, spec.full_height = 8, 4, 64, 48
        output = oiio.ImageOutput.create(str(tmp_path / "in" / f"a.{frame}.exr"))
        assert output.open(str(tmp_path / "in" / f"a.{frame}.exr"), spec)
        assert output.write_image(np.full((32, 40, 3), 0.5, np.float32))
        output.close()
    seqhdr.deflicker(str(tmp_path / "in" / "a.%d.exr"), output=tmp_path / "out")
    channels, info = read_exr(tmp_path / "out" / "a.2.exr")
    assert (info.width, info.height) == (64, 48)
    assert float(channels["R"][4, 8]) == 0.5
    assert not channels["R"][:4].any()


# --- run --deflicker ------------------------------------------------------------------------------------------


def frames_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.exr"))}


def test_run_deflickers_inside_the_bins(shoot: Any, convert: Any, seqhdr: Any, tmp_path: Path) -> None:
    pattern = shoot(range(1, 9), alpha=True)
    ran = convert(pattern, "--deflicker", "gain", "--bins", "strict")
    assert ran.code == 0, ran.err
    assert seqhdr("verify", tmp_path / "out" / "shot_acescct.%04d.exr", "--source", pattern).code == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    exrs = [f"shot_acescct.{frame:04d}.exr" for frame in range(1, 9)]
    assert names == sorted([*exrs, "shot_acescct.json", "shot_acescct.deflicker.json"]), "the hidden folder is gone"
    summary = json.loads((tmp_path / "out" / "shot_acescct.json").read_text())
    assert [each["path"] for each in summary["frames"]] == exrs
    _, info = read_exr(tmp_path / "out" / exrs[0])
    assert json.loads(info.attributes["seqhdr:settings"])["deflicker"] == "gain"


def test_run_keeps_complete_frames_and_makes_the_rest_the_same(shoot: Any, convert: Any, tmp_path: Path) -> None:
    pattern = shoot(range(1, 9))
    words = (pattern, "--deflicker", "gain", "--bins", "3")
    assert convert(*words).code == 0
    before = frames_of(tmp_path / "out")
    (tmp_path / "out" / "shot_acescct.0004.exr").unlink()
    ran = convert(*words, "--skip-existing")
    assert ran.code == 0, ran.err
    assert "1 frames written, 7 kept" in ran.err
    assert frames_of(tmp_path / "out") == before
    ran = convert(pattern, "--bins", "3", "--skip-existing")
    assert "8 frames written, 0 kept" in ran.err, "without a deflicker they are other frames"


def test_a_run_that_is_interrupted_leaves_whole_frames_and_no_hidden_folder(
    shoot: Any, convert: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seqhdr.pipeline import deflicker_work

    pattern = shoot(range(1, 9))
    plain = deflicker_work.write_exr

    def fails_at_the_third(path: Path, *args: Any, **options: Any) -> None:
        if path.name.endswith("0003.exr"):
            raise KeyboardInterrupt
        plain(path, *args, **options)

    monkeypatch.setattr(deflicker_work, "write_exr", fails_at_the_third)
    assert convert(pattern, "--deflicker", "gain").code == 130
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert not [name for name in names if name.startswith(".")]
    assert all(complete_exr(tmp_path / "out" / name) for name in names if name.endswith(".exr"))
    assert 0 < len(frames_of(tmp_path / "out")) < 8


def test_a_dry_run_writes_nothing(shoot: Any, convert: Any, tmp_path: Path) -> None:
    assert convert(shoot(), "--deflicker", "prior", "--dry-run").code == 0
    assert not (tmp_path / "out").exists()


def test_a_deflicker_is_among_what_decides_a_run(tmp_path: Path) -> None:
    from seqhdr.pipeline.options import RunOptions

    plain = RunOptions(output=tmp_path / "out")
    assert RunOptions(output=tmp_path / "out", deflicker="flow").decisive() != plain.decisive()
    with pytest.raises(UnknownNameError, match="unknown value of --deflicker 'flows': did you mean flow"):
        RunOptions(output=tmp_path / "out", deflicker="flows")
