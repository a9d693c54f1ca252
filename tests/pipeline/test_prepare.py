"""Linear material becomes training pairs: right codes, right truth, whole scenes, honest statistics."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import PyOpenColorIO as OCIO  # noqa: N814
import pytest
import torch
from numpy.typing import NDArray

from seqhdr.color.encodings import get_encoding, primaries_matrix
from seqhdr.color.ocio import BUILTIN_CONFIG
from seqhdr.errors import FramesFailedError, OutputExistsError, ShotError, UnknownNameError, UsageError
from seqhdr.media.exr import write_exr
from seqhdr.media.frames import read_frame
from seqhdr.media.patterns import plateau_share
from seqhdr.pipeline.prepare import PrepareOptions, PrepareReport, prepare
from seqhdr.train import pairs
from seqhdr.train.pairs import ClipInfo, find_clips, read_pair, write_clip_info

H, W = 12, 16
Image = NDArray[np.float32]


def light(seed: int = 0, height: int = H, width: int = W) -> Image:
    """(H, W, 3) scene-linear: a soft gradient, some texture and a lamp."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    rng = np.random.default_rng(seed)
    rgb = np.stack((0.1 + x / 40, 0.12 + y / 60, 0.08 + (x + y) / 90), axis=-1)
    rgb *= np.exp2(rng.normal(0, 0.4, (height, width, 1))).astype(np.float32)
    rgb[2:4, 3:5] = (30, 12, 4)
    rgb[1] = np.linspace(0.97, 1.0, width)[:, None]
    rgb[-1, -1] = (-0.01, 0.0, 0.02)
    return rgb.astype(np.float32)


def write(path: Path, rgb: Image, **planes: Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_exr(path, {"RGB": np.ascontiguousarray(rgb), **planes})


def shot(folder: Path, name: str = "s", frames: tuple[int, ...] = (1001, 1002), seed: int = 0) -> list[Image]:
    pictures = [light(seed * 100 + n) for n in frames]
    for number, rgb in zip(frames, pictures, strict=True):
        write(folder / f"{name}.{number:04d}.exr", rgb)
    return pictures


def run(folder: Path, output: Path, **options: Any) -> PrepareReport:
    return prepare(folder, PrepareOptions(output, **options))


def codes_of(clip: ClipInfo, frame: int) -> NDArray[np.uint8]:
    return read_frame(clip.path("input", frame)).codes


def truth_of(clip: ClipInfo, frame: int) -> tuple[Image, set[str], Any]:
    """(H, W, 3) as a second reader sees it, all channel names, and the type."""
    with OpenEXR.File(str(clip.path("truth", frame)), separate_channels=True) as file:
        planes = {name: channel.pixels.copy() for name, channel in file.channels().items()}
    return np.stack([planes[c] for c in "RGB"], axis=-1), set(planes), planes["R"].dtype


def to_ap1(rgb: Image) -> Image:
    """Through OpenColorIO's own matrix."""
    return through_ocio(rgb, "Linear Rec.709 (sRGB)", "ACEScg")


def through_ocio(rgb: Image, source: str, target: str) -> Image:
    pixels = np.ascontiguousarray(rgb, np.float32).copy()
    processor = OCIO.Config.CreateFromBuiltinConfig(BUILTIN_CONFIG).getProcessor(source, target)
    processor.getDefaultCPUProcessor().applyRGB(pixels)
    return pixels


def acescct(rgb: Image) -> NDArray[np.float64]:
    """Academy S-2016-001, by hand."""
    x = rgb.astype(np.float64)
    return np.where(x > 2**-7, (np.log2(np.maximum(x, 1e-9)) + 9.72) / 17.52, 10.5402377416545 * x + 0.0729055341958355)


def srgb(rgb: Image) -> NDArray[np.float64]:
    """IEC 61966-2-1, by hand."""
    x = rgb.astype(np.float64)
    return np.where(x > 0.0031308, 1.055 * np.maximum(x, 1e-9) ** (1 / 2.4) - 0.055, 12.92 * x)


def assert_codes(codes: NDArray[np.uint8], value: NDArray[np.float64]) -> None:
    """The codes are the values rounded; 0.01 codes for what OpenColorIO and the rounded constants differ by."""
    exact = np.clip(value * 255, 0, 255)
    assert np.abs(codes - exact).max() <= 0.51
    assert np.mean(codes == np.rint(exact)) > 0.97


@pytest.mark.parametrize("bit_depth", ["half", "float"])
def test_codes_and_truth_are_those_of_the_standards(tmp_path: Path, bit_depth: str) -> None:
    pictures = shot(tmp_path / "in" / "alley")
    report = run(tmp_path / "in", tmp_path / "out", bit_depth=bit_depth)
    (clip,) = report.clips
    assert clip.folder == tmp_path / "out" / "train" / "alley_s"
    assert (clip.frames, clip.width, clip.height, clip.encoding) == ((1001, 1002), W, H, "srgb")
    assert (clip.scene, clip.half_width_lsb, clip.has_flow) == ("alley", 0.5, False)
    for frame, rgb in zip(clip.frames, pictures, strict=True):
        assert_codes(codes_of(clip, frame), srgb(rgb))
        stored, names, kind = truth_of(clip, frame)
        assert names == set("RGB")
        assert kind == {"half": np.float16, "float": np.float32}[bit_depth]
        tolerance = 2.0**-11 if bit_depth == "half" else 2e-6
        np.testing.assert_allclose(stored, acescct(to_ap1(rgb)), rtol=tolerance, atol=2e-6)
    assert sorted(p.name for p in (clip.folder / "input").iterdir()) == ["alley_s.1001.png", "alley_s.1002.png"]
    assert sorted(p.name for p in (clip.folder / "truth").iterdir()) == ["alley_s.1001.exr", "alley_s.1002.exr"]


def test_what_was_rounded_lies_in_its_bin(tmp_path: Path) -> None:
    shot(tmp_path / "in")
    for encoding in ("srgb", "logc3", "acescct"):
        (clip,) = run(tmp_path / "in", tmp_path / encoding, encoding=encoding, bit_depth="float").clips
        pair = read_pair(clip, 1001)
        codes = torch.from_numpy(pair.codes).permute(2, 0, 1).float()
        inside = (codes > 0) & (codes < 255)
        assert inside.float().mean() > 0.8
        assert float((pair.value_lsb - codes)[inside].abs().max()) < 0.502
        assert bool((pair.value_lsb[codes == 255] >= 254.49).all())
        assert bool((pair.value_lsb[codes == 0] <= 0.51).all())


@pytest.mark.parametrize(
    ("name", "ocio"), [("acescg", "ACEScg"), ("aces2065-1", "ACES2065-1"), ("lin_rec709", "Linear Rec.709 (sRGB)")]
)
def test_the_light_s_primaries_are_converted(tmp_path: Path, name: str, ocio: str) -> None:
    (rgb, _) = shot(tmp_path / "in")
    (clip,) = run(tmp_path / "in", tmp_path / "out", input_space=name, bit_depth="float").clips
    matrix = primaries_matrix(get_encoding(name), get_encoding("srgb")).numpy()
    assert_codes(codes_of(clip, 1001), srgb(rgb @ matrix.T))
    assert_codes(codes_of(clip, 1001), srgb(through_ocio(rgb, ocio, "Linear Rec.709 (sRGB)")))
    stored, *_ = truth_of(clip, 1001)
    np.testing.assert_allclose(stored, acescct(through_ocio(rgb, ocio, "ACEScg")), atol=1e-5)
    assert clip.made["input_space"] == name


def test_a_log_exr_is_decoded(tmp_path: Path) -> None:
    rgb = light()
    for name, value in (("lin", rgb), ("log", acescct(to_ap1(rgb)).astype(np.float32))):
        write(tmp_path / name / "a.exr", value)
    (lin,) = run(tmp_path / "lin", tmp_path / "out1").clips
    (log,) = run(tmp_path / "log", tmp_path / "out2", input_space="acescct").clips
    assert np.abs(codes_of(lin, 1001).astype(int) - codes_of(log, 1001)).max() <= 1
    np.testing.assert_allclose(truth_of(lin, 1001)[0], truth_of(log, 1001)[0], atol=1e-3)


def test_everything_but_rgb_stays_out(tmp_path: Path) -> None:
    rgb, rest = light(), np.random.default_rng(3).random((H, W, 3)).astype(np.float32)
    write(tmp_path / "plain" / "a.exr", rgb)
    extra = {"A": rest[..., 0], "depth.Z": 100 * rest[..., 1], "crypto00.RGB": rest, "crypto00.A": rest[..., 2]}
    write(tmp_path / "laden" / "a.exr", rgb, **extra)
    (plain,) = run(tmp_path / "plain", tmp_path / "out1").clips
    (laden,) = run(tmp_path / "laden", tmp_path / "out2").clips
    for kind in ("input", "truth"):
        assert plain.path(kind, 1001).read_bytes() == laden.path(kind, 1001).read_bytes()


def test_exposure_is_one_factor(tmp_path: Path) -> None:
    pictures = shot(tmp_path / "in")
    (clip,) = run(tmp_path / "in", tmp_path / "out", exposure_stops=-1.5).clips
    assert_codes(codes_of(clip, 1002), srgb(pictures[1] * 2**-1.5))
    assert clip.made["exposure_stops"] == -1.5


def test_auto_exposure_brings_the_first_frame_to_grey_and_the_others_along(tmp_path: Path) -> None:
    pictures = [0.02 * p for p in shot(tmp_path / "in")]
    pictures[0][:5] = 0  # black is no part of the picture's middle
    pictures[1] *= 3
    for number, rgb in zip((1001, 1002), pictures, strict=True):
        (tmp_path / "in" / f"s.{number}.exr").unlink()
        write(tmp_path / "in" / f"s.{number}.exr", rgb)
    (clip,) = run(tmp_path / "in", tmp_path / "out", auto_exposure=True, exposure_stops=1).clips
    brightest = np.sort(pictures[0].max(axis=-1)[pictures[0].max(axis=-1) > 0])
    factor = 2 * 0.18 / brightest[(len(brightest) - 1) // 2]
    assert clip.made["exposure_stops"] == pytest.approx(np.log2(factor), abs=1e-5)
    for number, rgb in zip((1001, 1002), pictures, strict=True):
        assert_codes(codes_of(clip, number), srgb(rgb * factor))


def test_ten_scenes_are_divided_eight_one_one_and_takes_stay_together(tmp_path: Path) -> None:
    for scene in range(10):
        for take in (1, 2):
            write(tmp_path / "in" / f"scene{scene}" / f"take{take}" / "a.exr", light(scene, 4, 8))
    seen: list[tuple[str, str]] = []
    options = PrepareOptions(tmp_path / "out")
    report = prepare(tmp_path / "in", options, on_clip=lambda info, split: seen.append((info.name, split)))
    assert Counter(report.splits.values()) == {"train": 8, "val": 1, "test": 1}
    assert len(report.clips) == len(seen) == 20
    for clip, (name, split) in zip(report.clips, seen, strict=True):
        assert clip.name == name
        assert split == clip.folder.parent.name == report.splits[clip.scene]
    for split, count in (("train", 16), ("val", 2), ("test", 2)):
        assert len(find_clips(tmp_path / "out" / split)) == count
    stats = json.loads(report.stats.read_text())
    assert stats["split"] == report.splits
    assert [stats[s]["scenes"] for s in ("total", "train", "val", "test")] == [10, 8, 1, 1]
    assert [stats[s]["clips"] for s in ("total", "train", "val", "test")] == [20, 16, 2, 2]


def test_what_is_written_is_what_can_be_found(tmp_path: Path) -> None:
    shot(tmp_path / "in" / "a b", frames=(1, 2, 5))
    report = run(tmp_path / "in", tmp_path / "in" / "dataset")
    assert find_clips(tmp_path / "in" / "dataset") == report.clips
    assert {c.name: c.frames for c in report.clips} == {"a_b_s_0001": (1, 2), "a_b_s_0005": (5,)}
    assert report.clips[0].made["source"] == ["a b/s.0001.exr", "a b/s.0002.exr"]
    # Its own truth is EXR too, and must not become material.
    again = run(tmp_path / "in", tmp_path / "in" / "dataset", overwrite=True)
    assert again.clips == report.clips


def test_statistics_are_those_of_all_frames_at_once(tmp_path: Path) -> None:
    pictures = {f"scene{i}": shot(tmp_path / "in" / f"scene{i}", seed=i) for i in range(4)}
    broken = light(77)
    broken[0, 0] = (np.nan, np.inf, 0.5)
    (tmp_path / "in" / "scene0" / "s.1002.exr").unlink()
    write(tmp_path / "in" / "scene0" / "s.1002.exr", broken)
    pictures["scene0"][1] = np.nan_to_num(broken, nan=0, posinf=65504)
    report = run(tmp_path / "in", tmp_path / "out")
    stats = json.loads(report.stats.read_text())
    for split in ("total", "train", "val", "test"):
        clips = [c for c in report.clips if split in ("total", c.folder.parent.name)]
        frames = [(c, f) for c in clips for f in c.frames]
        codes = np.stack([codes_of(c, f) for c, f in frames])
        truth = np.stack([truth_of(c, f)[0] for c, f in frames]).astype(np.float64)
        got = stats[split]
        assert got["frames"] == len(frames) == 2 * len(clips)
        assert got["repaired_values"] == (2 if "scene0" in {c.scene for c in clips} else 0)
        assert got["clip_share"] == pytest.approx(np.mean(codes == 255), abs=1e-6)
        assert got["black_share"] == pytest.approx(np.mean(codes == 0), abs=1e-6)
        for name, values in (("input", codes / 255), ("truth", truth)):
            np.testing.assert_allclose(got[name]["mean"], values.mean(axis=(0, 1, 2)), atol=1e-6)
            np.testing.assert_allclose(got[name]["std"], values.std(axis=(0, 1, 2)), atol=1e-6)
        for name, read in (("input", codes_of), ("truth", lambda c, f: truth_of(c, f)[0])):
            firsts = [read(c, c.frames[0])[..., i].astype(np.float32) for c in clips for i in range(3)]
            assert got[name]["banding"] == pytest.approx(np.mean([plateau_share(p) for p in firsts]), abs=1e-6)
        luminance = np.stack([p for c in clips for p in pictures[c.scene]]) @ np.array((0.2126, 0.7152, 0.0722))
        stops = np.log2(luminance[luminance > 0])
        low, high = (np.percentile(stops, p, method="inverted_cdf") for p in (0.1, 99.9))
        assert got["range_stops"]["low"] == pytest.approx(low, abs=0.01)
        assert got["range_stops"]["high"] == pytest.approx(high, abs=0.01)
        assert got["range_stops"]["range"] == pytest.approx(high - low, abs=0.02)
        assert got["range_stops"]["largest"] == pytest.approx(stops.max(), abs=1e-5)
    assert stats["total"]["clip_share"] > 0.01
    assert stats["total"]["range_stops"]["largest"] > 14


def test_statistics_see_bands(tmp_path: Path) -> None:
    # Half an 8-bit code per sixteen pixels: the input must band, the truth need not.
    ramp = 0.18 + np.linspace(0, 0.05, 256, dtype=np.float32)
    write(tmp_path / "in" / "sky.exr", np.broadcast_to(ramp[None, :, None], (24, 256, 3)))
    stats = json.loads(run(tmp_path / "in", tmp_path / "out").stats.read_text())["total"]
    assert stats["input"]["banding"] > 0.9
    assert stats["truth"]["banding"] < 0.1


def test_bands_are_looked_for_in_every_eighth_frame(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).random((H, W, 3)).astype(np.float32)
    steps = np.ones((H, 1, 3), np.float32) * np.repeat(np.float32([0.2, 0.21]), W // 2)[None, :, None]
    for number in range(1, 11):
        write(tmp_path / "in" / f"s.{number:02d}.exr", steps if number in (1, 9) else noise)
    stats = json.loads(run(tmp_path / "in", tmp_path / "out").stats.read_text())["total"]
    assert stats["frames"] == 10
    assert stats["truth"]["banding"] == 1


def test_empty_splits_and_black_pictures_have_statistics(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.exr", np.zeros((H, W, 3), np.float32))
    stats = json.loads(run(tmp_path / "in", tmp_path / "out", auto_exposure=True).stats.read_text())
    assert stats["total"]["range_stops"] is None
    assert stats["total"]["black_share"] == 1
    assert stats["test"] == {"clips": 0, "scenes": 0, "frames": 0}


@pytest.mark.parametrize("space", ["lin_rec709", "logc3"])
def test_nothing_infinite_gets_into_a_data_set(tmp_path: Path, space: str) -> None:
    rgb = light()
    rgb[0, :4, 1] = (np.inf, -np.inf, np.nan, 3e38)
    write(tmp_path / "in" / "a.exr", rgb)
    for encoding in ("srgb", "acescct"):
        (clip,) = run(tmp_path / "in", tmp_path / encoding, input_space=space, encoding=encoding).clips
        assert np.isfinite(truth_of(clip, 1001)[0]).all()
        pair = read_pair(clip, 1001)
        assert bool(torch.isfinite(pair.value_lsb).all())
        assert bool(torch.isfinite(pair.gain_stops).all())
        text = (tmp_path / encoding / "stats.json").read_text()
        assert "Infinity" not in text
        assert "NaN" not in text


def snapshot(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_same_material_makes_the_same_bytes(tmp_path: Path) -> None:
    for scene in range(3):
        shot(tmp_path / "in" / f"scene{scene}", seed=scene)
    one, two = (run(tmp_path / "in", tmp_path / name) for name in ("one", "two"))
    assert one.splits == two.splits
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")
    assert len(snapshot(tmp_path / "one")) == 3 * 5 + 1


def test_clips_are_not_overwritten_unasked(tmp_path: Path) -> None:
    shot(tmp_path / "in")
    run(tmp_path / "in", tmp_path / "out")
    before = snapshot(tmp_path / "out")
    with pytest.raises(OutputExistsError, match=r"out: holds 1 clips already: use --overwrite"):
        run(tmp_path / "in", tmp_path / "out", exposure_stops=1)
    assert snapshot(tmp_path / "out") == before
    run(tmp_path / "in", tmp_path / "out", exposure_stops=1, overwrite=True)
    assert snapshot(tmp_path / "out").keys() == before.keys()
    assert snapshot(tmp_path / "out") != before


def test_overwriting_leaves_no_scene_in_two_splits_and_no_foreign_file_out(tmp_path: Path) -> None:
    for scene in range(6):
        write(tmp_path / "in" / f"scene{scene}" / "a.exr", light(scene, 4, 8))
    out = tmp_path / "out"
    first = run(tmp_path / "in", out, seed=1)
    # A note, somebody's clip, and something of somebody's in a clip of ours.
    (out / "train" / "notes.txt").write_text("mine")
    (out / "train" / "synthetic").mkdir()
    write_clip_info(ClipInfo(out / "train" / "synthetic", (1,), 8, 4, "srgb", 0.5, "made up"))
    kept = first.clips[0].folder / "input" / "sketch.txt"
    kept.write_text("mine")
    (tmp_path / "in" / "scene5" / "a.exr").unlink()
    second = run(tmp_path / "in", out, seed=2, overwrite=True)
    assert first.splits != second.splits | {"scene5": first.splits["scene5"]}
    assert {c.name for c in find_clips(out)} == {c.name for c in second.clips} | {"synthetic"}
    assert len(find_clips(out)) == 6
    assert kept.read_text() == (out / "train" / "notes.txt").read_text() == "mine"
    left = {p.parent.parent.name for p in out.rglob("*.png")}
    assert left == {c.name for c in second.clips}


def test_a_bad_frame_costs_its_clip_and_no_other(tmp_path: Path) -> None:
    shot(tmp_path / "in", "good")
    shot(tmp_path / "in", "torn", seed=1)
    shot(tmp_path / "in", "grows", seed=2)
    torn = tmp_path / "in" / "torn.1002.exr"
    torn.write_bytes(torn.read_bytes()[:-200])
    (tmp_path / "in" / "grows.1002.exr").unlink()
    write(tmp_path / "in" / "grows.1002.exr", light(0, H + 2, W))
    write_exr(tmp_path / "in" / "grey.exr", {"Y": light()[..., 0].copy()})
    told: dict[str, str] = {}
    options = PrepareOptions(tmp_path / "out")
    with pytest.raises(FramesFailedError, match=r"3 of 4 clips could not be made: .* \(and 2 more, see .*stats\.json"):
        prepare(tmp_path / "in", options, on_failure=told.__setitem__)
    assert [clip.name for clip in find_clips(tmp_path / "out")] == ["good"]
    assert set(told) == {"torn", "grows", "grey"}
    assert "torn.1002.exr: the picture is cut off" in told["torn"]
    assert "grows.1002.exr: is 16x14, the frames before it are 16x12: move it out" in told["grows"]
    assert "grey.exr: has Y but no R, G and B" in told["grey"]
    stats = json.loads((tmp_path / "out" / "stats.json").read_text())
    assert stats["failed"] == told
    # The first frame of a clip that failed does not count either.
    assert stats["total"]["frames"] == 2
    assert stats["total"]["clips"] == 1


def test_what_failed_can_be_mended(tmp_path: Path) -> None:
    shot(tmp_path / "in")
    last = tmp_path / "in" / "s.1002.exr"
    whole = last.read_bytes()
    last.write_bytes(whole[:-200])
    with pytest.raises(FramesFailedError, match=r"1 of 1 clips could not be made: .*s\.1002\.exr: [^()]*$"):
        run(tmp_path / "in", tmp_path / "out")
    last.write_bytes(whole)
    assert len(run(tmp_path / "in", tmp_path / "out").clips) == 1


def test_a_full_disk_ends_it(tmp_path: Path, tiny_disk: Path) -> None:
    for name in "abcdef":
        write(tmp_path / "in" / f"{name}.exr", np.random.default_rng(1).random((96, 96, 3)).astype(np.float32))
    with pytest.raises(FramesFailedError, match="the disk is full"):
        run(tmp_path / "in", tiny_disk / "out", bit_depth="float")
    done = find_clips(tiny_disk / "out")
    assert 0 < len(done) < 6
    read_pair(done[-1], 1001)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"bit_depth": "double"}, UsageError, "choose half or float"),
        ({"exposure_stops": float("nan")}, UsageError, "-32 to 32"),
        ({"exposure_stops": 40}, UsageError, "-32 to 32"),
        ({"encoding": "srbg"}, UnknownNameError, "did you mean"),
        ({"input_space": "nonsense"}, UnknownNameError, "nonsense"),
        ({"shares": (1, 2)}, UsageError, "give three numbers"),
    ],
)
def test_bad_options_are_refused_before_anything_is_written(
    tmp_path: Path, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    shot(tmp_path / "in")
    with pytest.raises(error, match=words):
        run(tmp_path / "in", tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_bad_folders_are_refused(tmp_path: Path) -> None:
    shot(tmp_path / "in")
    with pytest.raises(OutputExistsError, match="where the material lies"):
        run(tmp_path / "in", tmp_path / "in" / ".." / "in")
    with pytest.raises(UsageError, match="is a file"):
        run(tmp_path / "in", tmp_path / "in" / "s.1001.exr")
    with pytest.raises(UsageError, match="cannot become a folder"):
        run(tmp_path / "in", tmp_path / "in" / "s.1001.exr" / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ShotError, match=r"empty: holds no linear material .*check the path"):
        run(tmp_path / "empty", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_clips_that_lie_in_the_material_stay_what_they_are(tmp_path: Path) -> None:
    shot(tmp_path / "in" / "alley")
    run(tmp_path / "in", tmp_path / "in" / "set", bit_depth="float")
    report = run(tmp_path / "in", tmp_path / "other")
    assert [clip.name for clip in report.clips] == ["alley_s"]
    with pytest.raises(ShotError, match=r"set: holds only clips .*alley_s: give the folder to train or eval as it is"):
        run(tmp_path / "in" / "set", tmp_path / "more")
    assert not (tmp_path / "more").exists()


def test_the_truth_is_encoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = pairs.encode_truth, []

    def counted(*args: Any, **options: Any) -> Any:
        calls.append(args)
        return real(*args, **options)

    for module in (pairs, sys.modules["seqhdr.pipeline.prepare"]):
        monkeypatch.setattr(module, "encode_truth", counted, raising=False)
    shot(tmp_path / "in")
    run(tmp_path / "in", tmp_path / "out")
    assert len(calls) == 2


def test_a_name_too_long_for_the_disk_is_one_sentence(tmp_path: Path) -> None:
    shot(tmp_path / "in")
    with pytest.raises(UsageError, match="cannot become a folder"):
        run(tmp_path / "in", tmp_path / ("x" * 300))
