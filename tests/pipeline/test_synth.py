"""Synthetic clips on disk: the same seed is the same bytes, and truth, flow and codes belong together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
import torch

from flow import warp
from seqhdr.color.encodings import get_encoding
from seqhdr.errors import OutputExistsError, ShotError, UnknownNameError, UsageError
from seqhdr.pipeline.synth import SynthOptions, synth
from seqhdr.train import synthetic
from seqhdr.train.camera import CameraConfig
from seqhdr.train.config import SceneConfig
from seqhdr.train.degrade_config import DegradeConfig
from seqhdr.train.pairs import ClipInfo, find_clips, read_pair, write_clip_info
from seqhdr.train.panorama import Panorama
from seqhdr.train.procedural import procedural_panorama

PLACES = ("procedural:1", "procedural:2")
OFF = {f"{name}_share": 0.0 for name in ("response", "noise", "grain", "resolution", "dither", "jpeg", "h264")}
OFF |= {f"{name}_share": 0.0 for name in ("flicker", "crush")}
PLAIN = SceneConfig(camera=CameraConfig(moves={"pan": 1.0}), degrade=DegradeConfig(**OFF))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _small_worlds(monkeypatch: pytest.MonkeyPatch) -> None:
    def paint(seed: int, height: int) -> Panorama:
        return procedural_panorama(seed, 128)

    monkeypatch.setattr(synthetic, "procedural_panorama", paint)


def make(output: Path, scene: SceneConfig = PLAIN, **options: object) -> tuple[ClipInfo, ...]:
    sizes = {"clips": 4, "frames": 3, "width": 64, "height": 48, **options}
    return synth(PLACES, SynthOptions(output=output, **sizes), scene)  # type: ignore[arg-type]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_same_seed_makes_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        make(tmp_path / name, SceneConfig(), seed=seed)
    a, b, c = (contents(tmp_path / name) for name in "abc")
    assert len(a) == 4 * (3 * 3 + 1)
    assert a == b
    assert a.keys() == c.keys()
    assert all(a[name] != c[name] for name in a if "/input/" in name)


def test_more_clips_leave_the_first_ones_as_they_are(tmp_path: Path) -> None:
    make(tmp_path / "few", clips=2)
    make(tmp_path / "many", clips=4)
    few, many = contents(tmp_path / "few"), contents(tmp_path / "many")
    assert few.items() <= many.items()


def test_every_panorama_gets_its_share(tmp_path: Path) -> None:
    clips = make(tmp_path, clips=4)
    assert [clip.scene for clip in clips] == ["procedural-1", "procedural-2"] * 2
    assert [clip.made["number"] for clip in clips] == [0, 1, 2, 3]
    assert sorted(clip.name for clip in find_clips(tmp_path)) == sorted(clip.name for clip in clips)


def test_codes_are_the_rounded_truth(tmp_path: Path) -> None:
    for clip in make(tmp_path):
        assert clip.half_width_lsb == 0.5
        for frame in clip.frames:
            pair = read_pair(clip, frame)
            codes = torch.from_numpy(pair.codes).permute(2, 0, 1).float()
            known = (codes > 0) & (codes < 255)
            assert known.float().mean() > 0.3
            assert float((pair.value_lsb - codes)[known].abs().max()) <= 0.5 + 1e-3
            assert bool((pair.gain_stops[codes == 255] >= 0).all())


def test_the_truth_is_acescct_for_every_reader(tmp_path: Path) -> None:
    clip = next(c for c in make(tmp_path, clips=6) if c.encoding == "srgb")
    rgb = OpenEXR.File(str(clip.path("truth", clip.frames[0]))).channels()["RGB"].pixels
    assert rgb.dtype == np.float32
    # Another way to the codes: AP1 light to Rec.709 by the published matrix, then the sRGB curve.
    light = get_encoding("acescct").decode(torch.from_numpy(rgb).double()).numpy()
    matrix = np.array([[1.70505, -0.62179, -0.08326], [-0.13026, 1.14080, -0.01055], [-0.02400, -0.12897, 1.15297]])
    linear = light @ matrix.T
    codes = read_pair(clip, clip.frames[0]).codes
    known = ((codes > 2) & (codes < 255)).all(axis=-1)
    encoded = np.where(linear > 0.0031308, 1.055 * np.abs(linear) ** (1 / 2.4) - 0.055, 12.92 * linear) * 255
    assert np.abs(encoded - codes)[known].max() < 0.55


def test_the_flow_on_disk_carries_one_frame_to_the_next(tmp_path: Path) -> None:
    worst = []
    for clip in make(tmp_path, clips=3, frames=3, width=96, height=64):
        pairs = [read_pair(clip, frame) for frame in clip.frames]
        assert pairs[0].flow_px is not None
        assert not pairs[0].flow_px.any()
        flow_px, visible = pairs[2].flow_px, pairs[2].visible
        assert flow_px is not None
        assert visible is not None
        carried, inside = warp(pairs[1].value_lsb[None].clamp(0, 255), torch.from_numpy(flow_px).permute(2, 0, 1)[None])
        seen = (torch.from_numpy(visible)[None, None] & inside).expand_as(carried)
        miss = (carried - pairs[2].value_lsb[None].clamp(0, 255)).abs()[seen].median()
        still = (pairs[1].value_lsb - pairs[2].value_lsb).abs()[seen[0]].median()
        worst.append((float(miss), float(still)))
    assert sum(miss for miss, _ in worst) < 0.5 * sum(still for _, still in worst)


def test_flow_channels_have_the_names_compositors_know(tmp_path: Path) -> None:
    clip = make(tmp_path, clips=1)[0]
    names = set(OpenEXR.File(str(clip.path("flow", clip.frames[1])), separate_channels=True).channels())
    assert names == {"backward.u", "backward.v", "visible.Y"}


def test_the_json_says_what_was_drawn(tmp_path: Path) -> None:
    clip = make(tmp_path, SceneConfig(), clips=2)[1]
    text = json.loads((clip.folder / "clip.json").read_text())
    assert text["made"]["seed"] == 7
    assert len(text["made"]["camera"]["rotations"]) == 3
    assert text["made"]["degradation"]["encoding"] == text["encoding"]
    assert text["made"]["exposure"] > 0
    assert text["frames"] == [1001, 1002, 1003]


def test_half_truth_is_half_as_large(tmp_path: Path) -> None:
    clip = make(tmp_path / "half", clips=1, bit_depth="half")[0]
    rgb = OpenEXR.File(str(clip.path("truth", 1001))).channels()["RGB"].pixels
    assert rgb.dtype == np.float16


def test_existing_clips_are_kept_unless_told(tmp_path: Path) -> None:
    make(tmp_path, clips=2)
    before = contents(tmp_path)
    with pytest.raises(OutputExistsError, match="exists already: use --overwrite"):
        make(tmp_path, clips=2, seed=8)
    assert contents(tmp_path) == before
    make(tmp_path, clips=2, seed=8, overwrite=True)
    assert contents(tmp_path) != before


def test_overwriting_leaves_nothing_old_behind_and_no_foreign_file_out(tmp_path: Path) -> None:
    make(tmp_path / "new", clips=1, frames=2, seed=8)
    make(tmp_path / "out", clips=3, frames=3)
    # Somebody's clip, one whose description is broken, and a note in a clip of ours.
    mine = tmp_path / "out" / "procedural-2_0002" / "truth" / "notes.txt"
    mine.write_text("mine")
    for name in ("plate", "broken"):
        (tmp_path / "out" / name / "input").mkdir(parents=True)
        (tmp_path / "out" / name / "input" / f"{name}.1001.png").write_text("mine")
    write_clip_info(ClipInfo(tmp_path / "out" / "plate", (1001,), 8, 4, "srgb", 0.5, "plate", made={"seed": 7}))
    (tmp_path / "out" / "broken" / "clip.json").write_text("{")
    make(tmp_path / "out", clips=1, frames=2, seed=8, overwrite=True)
    new, out = contents(tmp_path / "new"), contents(tmp_path / "out")
    assert new.items() <= out.items()
    foreign = {"plate/clip.json", "plate/input/plate.1001.png", "broken/clip.json", "broken/input/broken.1001.png"}
    assert out.keys() - new.keys() == {*foreign, "procedural-2_0002/truth/notes.txt"}


def test_a_clip_of_the_same_name_is_replaced_whoever_made_it(tmp_path: Path) -> None:
    folder = tmp_path / "procedural-1_0001"
    folder.mkdir()
    for text in ("{", None):
        if text is None:
            write_clip_info(ClipInfo(folder, (1001,), 8, 4, "srgb", 0.5, "plate"))
        else:
            (folder / "clip.json").write_text(text)
        (clip,) = make(tmp_path, clips=1, overwrite=True)
        assert find_clips(tmp_path)[0].made["seed"] == 7
        read_pair(clip, 1001)


def test_an_output_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for output in (tmp_path / "file" / "out", tmp_path / ("x" * 300)):
        with pytest.raises(UsageError, match=r"cannot become a folder \(.*\): give another -o"):
            make(output)
    (tmp_path / "procedural-1_0001").mkdir()
    (tmp_path / "procedural-1_0001" / "truth").touch()
    with pytest.raises(UsageError, match=r"0001: cannot be replaced \(Not a directory\): give another"):
        make(tmp_path)


def test_a_clip_that_cannot_be_finished_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from seqhdr.pipeline import synth as module

    original, written = module.write_pair, [0]

    def fail(*args: object, **options: object) -> None:
        written[0] += 1
        if written[0] == 5:
            raise KeyboardInterrupt
        original(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "write_pair", fail)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path, clips=2)
    assert len(find_clips(tmp_path)) == 1


@pytest.mark.parametrize("wrong", [{"clips": 0}, {"frames": 0}, {"width": -1}, {"seed": -1}])
def test_impossible_counts_are_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=f"--{next(iter(wrong))} is"):
        make(tmp_path, **wrong)


def test_unknown_depths_and_places_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown value of --bit-depth"):
        make(tmp_path, bit_depth="quarter")
    with pytest.raises(ShotError, match="there is no such folder"):
        synth((str(tmp_path / "nowhere"),), SynthOptions(output=tmp_path), PLAIN)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        SynthOptions(output=tmp_path / "file")
