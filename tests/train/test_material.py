"""What there is to train on: whole scenes held back, panoramas and pairs side by side."""

from __future__ import annotations

import dataclasses
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import OpenImageIO as oiio  # noqa: N813
import pytest
import torch

from seqhdr.errors import ShotError
from seqhdr.train.config import SceneConfig
from seqhdr.train.dataset import ClipBatches, validation_batches
from seqhdr.train.material import Material, load_material
from seqhdr.train.pairs import ClipInfo
from seqhdr.train.panorama import Panorama
from seqhdr.train.sources import ClipSource, PanoramaSource
from seqhdr.train.split import split_scenes
from tests.train.small_data import data, same

Scene = Callable[..., SceneConfig]
WriteClip = Callable[..., ClipInfo]


def write_panoramas(folder: Path, names: str) -> None:
    folder.mkdir()
    for level, name in enumerate(names):
        output = oiio.ImageOutput.create(str(folder / f"{name}.exr"))
        assert output.open(str(folder / f"{name}.exr"), oiio.ImageSpec(32, 16, 3, "float"))
        assert output.write_image(np.full((16, 32, 3), 0.1 * (level + 1), np.float32))
        output.close()


def worlds(part: tuple[tuple[ClipSource, float], ...]) -> set[str]:
    source = part[0][0]
    assert isinstance(source, PanoramaSource)
    return {panorama.name for panorama in source.panoramas}


def test_panoramas_for_validation_are_no_others_twin(tmp_path: Path, plain_scene: Scene) -> None:
    write_panoramas(tmp_path / "here", "abcdef")
    config = data(panoramas=(str(tmp_path / "here"),), validation_share=0.34)
    material = load_material(config, plain_scene())
    expected = split_scenes("abcdef", (0.66, 0.34, 0))
    for part, split in ((material.training, "train"), (material.validation, "val")):
        assert worlds(part) == {name for name, where in expected.items() if where == split}
        assert [share for _, share in part] == [1.0]
    assert len(worlds(material.validation)) == 2
    assert set(material.names) == worlds(material.training)
    # The folder may be called something else on another machine.
    shutil.move(tmp_path / "here", tmp_path / "there")
    moved = load_material(dataclasses.replace(config, panoramas=(str(tmp_path / "there"),)), plain_scene())
    assert worlds(moved.validation) == worlds(material.validation)


def test_a_single_panorama_serves_for_both(tmp_path: Path, plain_scene: Scene) -> None:
    write_panoramas(tmp_path / "one", "a")
    material = load_material(data(panoramas=(str(tmp_path / "one"),)), plain_scene())
    assert worlds(material.training) == worlds(material.validation) == {"a"}
    assert material.names == ("a",)


def test_validation_clips_are_the_same_every_time_and_none_is_trained_on(painted: Panorama, plain_scene: Scene) -> None:
    source = PanoramaSource((painted,), SceneConfig())
    material = Material(((source, 1.0),), ((source, 1.0),), ("painted",))
    config = data(
        crops={32: 1}, crop_shares={32: 1.0}, flow={"exact": 1.0}, frames=2, validation_clips=5, validation_size=32
    )
    first, again = (validation_batches(material, config) for _ in range(2))
    assert len(first) == 5
    assert all(same(one, other) for one, other in zip(first, again, strict=True))
    assert all(batch.codes.shape == (1, 2, 3, 32, 32) for batch in first)
    # With DIS, as a user would have it, and not what training is given.
    assert not any(torch.equal(batch.flow_px, batch.exact_flow_px) for batch in first)
    other = validation_batches(material, dataclasses.replace(config, validation_seed=2))
    assert not any(same(one, two) for one, two in zip(first, other, strict=True))
    # Training with the same seed, panorama and size draws others.
    trained = ClipBatches(material.training, config, config.validation_seed)
    for number, batch in enumerate(first):
        assert not torch.equal(trained[number].codes, batch.codes)


def names(part: tuple[tuple[ClipSource, float], ...]) -> set[str]:
    return {info.name for info in part[-1][0]._clips}  # type: ignore[attr-defined]


def test_prepared_pairs_are_taken_as_they_were_divided(
    tmp_path: Path, plain_scene: Scene, clip_that_knows_where: WriteClip
) -> None:
    for split, clips in (("train", "abc"), ("val", "d")):
        for name in clips:
            clip_that_knows_where(tmp_path / split / name, frames=3)
    # What is kept for test is not used, nor is anything else of its scene.
    clip_that_knows_where(tmp_path / "test" / "e", frames=3, scene="e")
    clip_that_knows_where(tmp_path / "train" / "f", frames=3, scene="e")
    material = load_material(data(panoramas=(), clips=(str(tmp_path),)), plain_scene())
    assert names(material.training) == {"a", "b", "c"}
    assert names(material.validation) == {"d"}
    assert set(material.names) == {"a", "b", "c"}
    assert [share for _, share in material.training] == [1.0]
    # Without a val part, what there is has to serve for both.
    shutil.rmtree(tmp_path / "val" / "d")
    for there in (True, False):
        assert (tmp_path / "val").exists() == there
        assert names(load_material(data(panoramas=(), clips=(str(tmp_path),)), plain_scene()).validation) == set("abc")
        if there:
            (tmp_path / "val").rmdir()


def test_a_scene_is_on_one_side_wherever_it_comes_from(
    tmp_path: Path, plain_scene: Scene, clip_that_knows_where: WriteClip
) -> None:
    write_panoramas(tmp_path / "skies", "abcdef")
    for scene in "abc":
        clip_that_knows_where(tmp_path / "loose" / f"{scene}_0001", frames=3, scene=scene)
    for scene in "de":
        clip_that_knows_where(tmp_path / "split" / ("val" if scene == "d" else "train") / scene, frames=3, scene=scene)
    config = data(
        panoramas=(str(tmp_path / "skies"),),
        clips=(str(tmp_path / "loose"), str(tmp_path / "split")),
        validation_share=0.4,
    )
    material = load_material(config, plain_scene())

    def scenes(part: tuple[tuple[ClipSource, float], ...]) -> set[str]:
        return worlds(part) | {info.scene for info in part[1][0]._clips}  # type: ignore[attr-defined]

    assert not scenes(material.training) & scenes(material.validation)
    assert "d" in scenes(material.validation)
    assert "e" in scenes(material.training)
    assert scenes(material.training) | scenes(material.validation) == set("abcdef")


def test_pairs_that_nobody_divided_are_divided_by_scene(
    tmp_path: Path, plain_scene: Scene, clip_that_knows_where: WriteClip
) -> None:
    scenes = ("wood", "sea", "town", "hill")
    for scene in scenes:
        for part in (1, 2):
            clip_that_knows_where(tmp_path / f"{scene}{part}", frames=3, scene=scene)
    material = load_material(data(panoramas=(), clips=(str(tmp_path),)), plain_scene())
    expected = split_scenes(scenes, (0.9, 0.1, 0.0))
    held_back = {scene for scene, split in expected.items() if split == "val"}
    assert len(held_back) == 1
    assert names(material.validation) == {f"{scene}{part}" for scene in held_back for part in (1, 2)}
    assert names(material.training) == {f"{s}{part}" for s in set(scenes) - held_back for part in (1, 2)}
    # Validation sees only them.
    config = data(panoramas=(), clips=(str(tmp_path),), validation_clips=3, validation_size=32)
    for batch in validation_batches(material, config):
        assert batch.encodings == ("acescct",)


def test_panoramas_and_pairs_share_the_clips(
    tmp_path: Path, plain_scene: Scene, clip_that_knows_where: WriteClip
) -> None:
    write_panoramas(tmp_path / "skies", "ab")
    for name in "xyz":
        clip_that_knows_where(tmp_path / "pairs" / name, frames=3, encoding="logc3")
    config = data(panoramas=(str(tmp_path / "skies"),), clips=(str(tmp_path / "pairs"),), clips_share=0.25)
    material = load_material(config, plain_scene())
    for part in (material.training, material.validation):
        assert [share for _, share in part] == [0.75, 0.25]
        assert [type(source).__name__ for source, _ in part] == ["PanoramaSource", "PairSource"]
    assert set(material.names) == worlds(material.training) | names(material.training)
    drawn = ClipBatches(material.training, config, 1)
    spaces = Counter(drawn[number].encodings[0] for number in range(80))
    assert 5 < spaces["logc3"] < 36
    assert spaces["acescct"] == 80 - spaces["logc3"]


def test_pairs_are_remade_where_that_is_asked_for(
    tmp_path: Path, plain_scene: Scene, clip_that_knows_where: WriteClip
) -> None:
    for name in "xyz":
        clip_that_knows_where(tmp_path / name, frames=3)
    for remake, encoding in ((False, "acescct"), (True, "srgb")):
        config = data(panoramas=(), clips=(str(tmp_path),), remake_input=remake)
        material = load_material(config, plain_scene("srgb"))
        for part in (material.training, material.validation):
            assert ClipBatches(part, config, 1)[0].encodings == (encoding,)


def test_without_clips_to_train_on_the_folder_is_named(tmp_path: Path, plain_scene: Scene) -> None:
    with pytest.raises(ShotError, match=r"holds no clips"):
        load_material(data(panoramas=(), clips=(str(tmp_path),)), plain_scene())
    (tmp_path / "train").mkdir()
    with pytest.raises(ShotError, match=r"train: holds no clips"):
        load_material(data(panoramas=(), clips=(str(tmp_path),)), plain_scene())
