"""The determinism contract of a run, and what happens when a frame, a folder or a disk lets it down."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seqhdr
from seqhdr.errors import FramesFailedError
from seqhdr.media.exr import complete_exr, read_exr


def exrs(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.glob("*.exr"))}


def pixels(folder: Path, frame: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    channels, _ = read_exr(folder / f"shot_acescct.{frame:04d}.exr")
    return np.stack([channels[c].astype(np.float32) for c in "RGB"])


def nothing_half_done(folder: Path) -> bool:
    """Only whole frames and the summary, no temporary file."""
    names = [p.name for p in folder.iterdir()]
    return all(not n.startswith(".") and (n.endswith(".json") or complete_exr(folder / n)) for n in names)


def one_sentence(err: str) -> str:
    """The last line on standard error, which is the only one that begins with the program's name."""
    lines = [line for line in err.splitlines() if line.startswith("seqhdr: ")]
    assert len(lines) == 1, err
    assert err.rstrip().endswith(lines[0])
    assert "Traceback" not in err
    return lines[0]


# --- the same again -------------------------------------------------------------------------------------------


def test_same_input_same_bytes(shoot: Any, convert: Any, tmp_path: Path) -> None:
    pattern = shoot(alpha=True)
    for out in ("a", "b"):
        assert convert(pattern, "--aov", "clip,confidence,delta", "--fps", "24", out=out).code == 0
    assert exrs(tmp_path / "a") == exrs(tmp_path / "b")
    assert (tmp_path / "a" / "shot_acescct.json").read_bytes() == (tmp_path / "b" / "shot_acescct.json").read_bytes()


def test_skip_existing_rewrites_nothing_that_is_complete(shoot: Any, convert: Any, tmp_path: Path) -> None:
    pattern = shoot()
    assert convert(pattern).code == 0
    for path in (tmp_path / "out").iterdir():
        os.utime(path, ns=(10**18, 10**18))
    before = exrs(tmp_path / "out")
    ran = convert(pattern, "--skip-existing", "--output-space", "ACEScct")
    assert ran.code == 0, ran.err
    assert "0 frames written, 4 kept" in ran.err
    assert all(p.stat().st_mtime_ns == 10**18 for p in (tmp_path / "out").iterdir())

    # One cut off by a copy: it alone is made again, and the warm-up before it gives it nearly the same pixels.
    hurt = tmp_path / "out" / "shot_acescct.1003.exr"
    hurt.write_bytes(before[hurt.name][:-200])
    ran = convert(pattern, "--skip-existing")
    assert ran.code == 0, ran.err
    assert "1/1 shot_acescct.1003.exr written" in ran.err
    touched = {p.name for p in (tmp_path / "out").glob("*.exr") if p.stat().st_mtime_ns != 10**18}
    assert touched == {hurt.name}
    assert exrs(tmp_path / "out") == before
    assert json.loads((tmp_path / "out" / "shot_acescct.json").read_text())["skipped"] == [1001, 1002, 1004]


def test_skip_existing_makes_frames_of_other_settings_again(shoot: Any, convert: Any, tmp_path: Path) -> None:
    pattern = shoot(range(1, 3))
    assert convert(pattern, "--bins", "strict").code == 0
    ran = convert(pattern, "--bins", "3", "--skip-existing")
    assert ran.code == 0, ran.err
    assert "2 frames written, 0 kept" in ran.err
    assert convert(pattern, "--bins", "3", out="fresh").code == 0
    assert exrs(tmp_path / "out") == exrs(tmp_path / "fresh")


def test_a_chunk_with_preroll_comes_closer_to_the_whole_shot(shoot: Any, convert: Any, tmp_path: Path) -> None:
    pattern = shoot(range(1, 9))
    assert convert(pattern, "--bins", "4", "--bit-depth", "float", "--cuts", "off", out="whole").code == 0
    apart = []
    for preroll in (0, 2, 4, 6):
        chunk = ("--frames", "7-8", "--preroll", preroll, "--bins", "4", "--bit-depth", "float", "--cuts", "off")
        assert convert(pattern, *chunk, out=str(preroll)).code == 0
        assert sorted(exrs(tmp_path / str(preroll))) == ["shot_acescct.0007.exr", "shot_acescct.0008.exr"]
        apart.append(float(np.abs(pixels(tmp_path / str(preroll), 7) - pixels(tmp_path / "whole", 7)).max()))
    assert apart[0] > 0
    assert apart[2] < apart[0]
    assert apart[3] == 0, "with the whole shot before it, a chunk is the whole shot"


# --- cuts, gaps, several shots --------------------------------------------------------------------------------


def test_a_cut_starts_the_memory_afresh(shoot: Any, convert: Any, tmp_path: Path) -> None:
    pattern = shoot(range(1, 6))
    assert convert(pattern, "--cuts", "3", "--bins", "3", out="cut").code == 0
    assert convert(pattern, "--cuts", "off", "--bins", "3", out="through").code == 0
    chunk = ("--frames", "3-5", "--preroll", "0", "--cuts", "off", "--bins", "3")
    assert convert(pattern, *chunk, out="started").code == 0
    for frame in (1, 2):
        assert np.array_equal(pixels(tmp_path / "cut", frame), pixels(tmp_path / "through", frame))
    for frame in (3, 4, 5):
        assert np.array_equal(pixels(tmp_path / "cut", frame), pixels(tmp_path / "started", frame))
        assert not np.array_equal(pixels(tmp_path / "cut", frame), pixels(tmp_path / "through", frame))


def test_cuts_are_found(shoot: Any, convert: Any, tmp_path: Path) -> None:
    assert convert(shoot(range(1, 6), cut=4)).code == 0
    summary = json.loads((tmp_path / "out" / "shot_acescct.json").read_text())
    assert [f["frame"] for f in summary["frames"] if f["starts_segment"]] == [1, 4]


def test_gaps(shoot: Any, convert: Any, tmp_path: Path) -> None:
    pattern = shoot(range(1, 6))
    Path(pattern % 3).unlink()
    ran = convert(pattern)
    assert ran.code == 3
    assert "a frame is missing (3)" in one_sentence(ran.err)
    assert "--missing hold" in ran.err
    assert not (tmp_path / "out").exists()

    ran = convert(pattern, "--missing", "hold", "--bins", "strict", out="hold")
    assert ran.code == 0, ran.err
    assert "warning: 1 frames are missing; --missing hold" in ran.err
    assert len(exrs(tmp_path / "hold")) == 5
    _, info = read_exr(tmp_path / "hold" / "shot_acescct.0003.exr")
    assert info.attributes["seqhdr:source"] == "shot_0002.png"
    assert info.attributes["seqhdr:source_frame"] == 2

    assert convert(pattern, "--missing", "split", "--bins", "strict", out="split").code == 0
    assert [int(n.split(".")[1]) for n in exrs(tmp_path / "split")] == [1, 2, 4, 5]
    assert convert(pattern, "--frames", "4-5", "--bins", "strict", out="after").code == 0
    for frame in (4, 5):
        assert np.array_equal(pixels(tmp_path / "split", frame), pixels(tmp_path / "after", frame))


def test_several_shots_in_one_call(shoot: Any, convert: Any, tmp_path: Path) -> None:
    one, two = shoot(range(1, 3), name="a_"), shoot(range(7, 9), name="b_", bits=16)
    ran = convert(one, two)
    assert ran.code == 0, ran.err
    names = [f"a_acescct.000{n}.exr" for n in (1, 2)] + [f"b_acescct.000{n}.exr" for n in (7, 8)]
    assert list(exrs(tmp_path / "out")) == names
    assert {p.name for p in (tmp_path / "out").glob("*.json")} == {"a_acescct.json", "b_acescct.json"}
    assert convert(two, out="alone").code == 0
    assert exrs(tmp_path / "alone").items() <= exrs(tmp_path / "out").items()


def test_two_shots_of_one_name_are_refused(shoot: Any, convert: Any, tmp_path: Path) -> None:
    ran = convert(shoot(range(1, 3)), shoot(range(1, 3), folder="other"))
    assert ran.code == 2
    assert "different output folders (-o)" in one_sentence(ran.err)
    assert not (tmp_path / "out").exists()


# --- existing output ------------------------------------------------------------------------------------------


def test_existing_output_is_refused_before_any_shot_is_begun(shoot: Any, convert: Any, tmp_path: Path) -> None:
    one, two = shoot(range(1, 3), name="a_"), shoot(range(1, 3), name="b_")
    assert convert(two).code == 0
    before = exrs(tmp_path / "out")
    ran = convert(one, two)
    assert ran.code == 2
    sentence = one_sentence(ran.err)
    assert "b_acescct.0001.exr: exists already with 1 more" in sentence
    assert "--overwrite, --skip-existing or another -o" in sentence
    assert exrs(tmp_path / "out") == before
    assert convert(one, two, "--overwrite", "--bins", "3").code == 0
    assert len(exrs(tmp_path / "out")) == 4
    assert exrs(tmp_path / "out")["b_acescct.0001.exr"] != before["b_acescct.0001.exr"]


@pytest.mark.parametrize("wish", [("--cuts", "99"), ("--tile", "100"), ("--output-space", "acescctt"), ("--ocio", "x")])
def test_a_wish_that_does_not_fit_the_shot_is_refused_before_it_begins(
    shoot: Any, convert: Any, tmp_path: Path, wish: tuple[str, str]
) -> None:
    ran = convert(shoot(range(1, 3)), *wish, *(("--output-space", "Nobody's") if wish[0] == "--ocio" else ()))
    assert ran.code in (2, 3)
    one_sentence(ran.err)
    assert not (tmp_path / "out").exists()


# --- bad frames -----------------------------------------------------------------------------------------------


def test_a_truncated_frame_fails_alone(shoot: Any, convert: Any, tmp_path: Path) -> None:
    pattern = shoot(range(1, 6))
    hurt = Path(pattern % 3)
    hurt.write_bytes(hurt.read_bytes()[:-300])
    ran = convert(pattern, "--bins", "strict")
    assert ran.code == 4
    sentence = one_sentence(ran.err)
    assert f"{hurt}: the PNG is cut off" in sentence
    assert "render or copy it again; all other frames are written" in sentence
    assert f"failed: {hurt}" in ran.err
    assert [int(n.split(".")[1]) for n in exrs(tmp_path / "out")] == [1, 2, 4, 5]
    assert nothing_half_done(tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "shot_acescct.json").read_text())
    assert list(summary["failed"]) == ["3"]
    assert [f["frame"] for f in summary["frames"] if f["starts_segment"]] == [1, 4]

    # Copied again, one more call finishes the shot.
    shoot(range(1, 6))
    ran = convert(pattern, "--bins", "strict", "--skip-existing")
    assert ran.code == 0, ran.err
    assert len(exrs(tmp_path / "out")) == 5


def test_two_bad_frames_are_counted_and_all_bad_ones_make_the_input_unusable(
    shoot: Any, convert: Any, tmp_path: Path
) -> None:
    pattern = shoot(range(1, 4))
    for frame in (1, 2):
        Path(pattern % frame).write_bytes(b"not a picture")
    ran = convert(pattern)
    assert ran.code == 4
    assert "so failed 1 more frames" in one_sentence(ran.err)
    Path(pattern % 3).write_bytes(b"")
    ran = convert(pattern, out="none")
    assert ran.code == 3
    one_sentence(ran.err)
    assert not (tmp_path / "none").exists()


def test_a_wrong_extension(shoot: Any, convert: Any, tmp_path: Path) -> None:
    pattern = shoot(range(1, 4), extension="jpg")
    for frame in range(1, 4):
        Path(pattern % frame).rename(Path(pattern % frame).with_suffix(".png"))
    ran = convert(pattern.replace(".jpg", ".png"))
    assert ran.code == 3
    sentence = one_sentence(ran.err)
    assert "shot_0001.png: is JPEG inside, not PNG" in sentence
    assert "rename the frames to end in .jpg" in sentence
    assert not (tmp_path / "out").exists()


def test_a_change_of_size_and_of_depth_in_the_middle(shoot: Any, convert: Any, tmp_path: Path) -> None:
    pattern = shoot(range(1, 4))
    shoot(range(4, 6), size=(80, 48))
    ran = convert(pattern)
    assert ran.code == 3
    assert "frame 4 is 80x48, frame 1 is 64x48: run each size as its own shot" in one_sentence(ran.err)
    shoot(range(4, 6), bits=16)
    ran = convert(pattern)
    assert ran.code == 3
    assert "frame 4 has 16 bits, frame 1 has 8" in one_sentence(ran.err)
    assert not (tmp_path / "out").exists()


def run_api(pattern: str, tmp_path: Path, model: str, on_event: Any = lambda event: None) -> None:
    seqhdr.run(pattern, output=tmp_path / "out", model=model, device="cpu", report=False, on_event=on_event)


def test_a_frame_that_vanishes_or_changes_size_on_the_way(shoot: Any, tiny_model: str, tmp_path: Path) -> None:
    pattern = shoot(range(1, 7))
    told = []

    def on_event(event: seqhdr.Event) -> None:
        told.append((event.kind, event.data.get("frame")))
        if event.kind == "shot":
            Path(pattern % 3).unlink()
            shoot(range(5, 6), size=(32, 48))

    with pytest.raises(FramesFailedError) as failed:
        run_api(pattern, tmp_path, tiny_model, on_event)
    assert "shot_0003.png: the file is not there (any more)" in str(failed.value)
    summary = json.loads((tmp_path / "out" / "shot_acescct.json").read_text())
    assert list(summary["failed"]) == ["3", "5"]
    assert "is 32x48 8-bit without alpha, but the shot began 64x48" in summary["failed"]["5"]
    assert [f["frame"] for f in summary["frames"]] == [1, 2, 4, 6]
    assert nothing_half_done(tmp_path / "out")
    # Told when it happens, not at the end.
    assert told.index(("failed", 3)) < told.index(("frame", 6))


@pytest.fixture
def public(shoot: Any, tiny_model: str) -> Iterator[Path]:
    """A folder everyone may enter, with a shot of three frames and the model."""
    folder = Path(tempfile.mkdtemp())
    try:
        shutil.copytree(Path(shoot(range(1, 4))).parent, folder / "in")
        shutil.copy(tiny_model, folder / "tiny.safetensors")
        (folder / "out").mkdir()
        for path in (folder, *folder.iterdir()):
            path.chmod(0o777)
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def not_root() -> Iterator[None]:
    """Root may do everything, so for a while this process is someone else."""
    root = os.geteuid() == 0
    try:
        if root:
            os.seteuid(65534)
        yield
    finally:
        if root:
            os.seteuid(0)


def run_in(folder: Path, **options: Any) -> None:
    model = str(folder / "tiny.safetensors")
    options = {"output": folder / "out", "model": model, "device": "cpu", "report": False, **options}
    seqhdr.run(str(folder / "in" / "shot_%04d.png"), **options)


@pytest.mark.skipif(os.name != "posix", reason="modes are a POSIX matter")
def test_an_unreadable_frame(public: Path) -> None:
    (public / "in" / "shot_0002.png").chmod(0)
    with (
        not_root(),
        pytest.raises(FramesFailedError, match=r"shot_0002\.png: no permission to read it: change its mode or owner"),
    ):
        run_in(public)
    assert [int(n.split(".")[1]) for n in exrs(public / "out")] == [1, 3]


# --- bad folders and disks ------------------------------------------------------------------------------------


def test_an_output_that_is_a_source_frame_or_lies_below_one(shoot: Any, convert: Any, tmp_path: Path) -> None:
    pattern = shoot(range(1, 3))
    frame = Path(pattern % 1)
    before = frame.read_bytes()
    ran = convert(pattern, out=str(frame))
    assert ran.code == 2
    assert "is a file, and the output must be a folder" in one_sentence(ran.err)
    ran = convert(pattern, out=str(frame / "out"))
    assert ran.code == 2
    assert "cannot become the output folder (Not a directory): give another -o" in one_sentence(ran.err)
    assert frame.read_bytes() == before


def test_the_output_may_lie_beside_the_input(shoot: Any, convert: Any, tmp_path: Path) -> None:
    pattern = shoot(range(1, 3))
    before = [Path(pattern % n).read_bytes() for n in (1, 2)]
    assert convert(pattern, out="in").code == 0
    assert [Path(pattern % n).read_bytes() for n in (1, 2)] == before
    assert len(exrs(tmp_path / "in")) == 2


def test_an_empty_shot(convert: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    ran = convert(tmp_path / "in" / "shot_%04d.png")
    assert ran.code == 3
    assert "no file matches" in one_sentence(ran.err)
    assert not (tmp_path / "out").exists()


def test_a_full_disk_ends_the_run_and_keeps_what_is_whole(shoot: Any, convert: Any, tiny_disk: Path) -> None:
    pattern = shoot(range(1, 16), size=(128, 96))
    ran = convert(pattern, "--compression", "none", out=str(tiny_disk / "out"))
    assert ran.code == 4
    sentence = one_sentence(ran.err)
    assert ".exr: the disk is full" in sentence
    assert "make room and run again with --skip-existing" in sentence
    written = exrs(tiny_disk / "out")
    assert 0 < len(written) < 15
    assert nothing_half_done(tiny_disk / "out")
    for name in written:
        assert f"{name} written" in ran.err
    with suppress(FileNotFoundError):
        summary = json.loads((tiny_disk / "out" / "shot_acescct.json").read_text())
        assert [f["path"] for f in summary["frames"]] == list(written)


@pytest.mark.skipif(os.name != "posix", reason="modes are a POSIX matter")
def test_no_permission_on_the_output_folder(public: Path) -> None:
    (public / "out").chmod(0o555)
    with (
        not_root(),
        pytest.raises(FramesFailedError, match=r"no permission to write into .*out: change its mode or choose"),
    ):
        run_in(public)
    with (
        not_root(),
        pytest.raises(seqhdr.UsageError, match=r"cannot become the output folder \(Permission denied\)"),
    ):
        run_in(public, output=public / "out" / "deeper")
    assert list((public / "out").iterdir()) == []
