"""What there is to learn from, and which scenes are kept apart to validate on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seqhdr.errors import ShotError
from seqhdr.train.config import DataConfig, SceneConfig
from seqhdr.train.pairs import ClipInfo, find_clips
from seqhdr.train.sources import ClipSource, PairSource, PanoramaSource
from seqhdr.train.split import SPLITS, split_scenes
from seqhdr.train.synthetic import find_panoramas, open_panorama

__all__ = ["Material", "load_material"]


@dataclass(frozen=True)
class Material:
    """What there is to learn from, and apart from it what there is to validate on.

    Attributes:
        training, validation: sources with the share of the clips each gives.
        names: panoramas and clips of the training part, for the model's card.
    """

    training: tuple[tuple[ClipSource, float], ...]
    validation: tuple[tuple[ClipSource, float], ...]
    names: tuple[str, ...]


def load_material(data: DataConfig, scene: SceneConfig) -> Material:
    """Open panoramas and pairs, and hold back whole scenes for validation.

    A scene is on one side only, wherever it comes from: a panorama and the clips that were made of it share a name.
    Folders that ``prepare`` has split keep their split, and what they hold for test is not used at all.

    Raises:
        ShotError: a folder holds nothing that can be used, or nothing is left to train on.
        FrameError: a panorama cannot be read.
    """
    panoramas = [open_panorama(place) for place in find_panoramas(data.panoramas)] if data.panoramas else []
    clips, decided = _find_pairs(data.clips)
    undecided = {panorama.name for panorama in panoramas} | {clip.scene for clip in clips}
    # By name and not by path, which is another one on another machine.
    share = data.validation_share
    sides = split_scenes(undecided - decided.keys(), (1 - share, share, 0.0)) | decided
    for scenes in ({panorama.name for panorama in panoramas}, {clip.scene for clip in clips}):
        # A few scenes may all have fallen to validation; then they are needed more in training.
        if not any(sides[name] == "train" for name in scenes):
            sides |= dict.fromkeys(scenes - decided.keys(), "train")
    weight = data.clips_share if panoramas and clips else float(bool(clips))
    training: list[tuple[ClipSource, float]] = []
    validation: list[tuple[ClipSource, float]] = []
    names: list[str] = []
    if panoramas:
        learn, check = ([p for p in panoramas if sides[p.name] == side] for side in ("train", "val"))
        if not learn:
            raise ShotError(f"{', '.join(data.panoramas)}: every panorama is held back for validation: give more")
        training.append((PanoramaSource(learn, scene), 1 - weight))
        # A single panorama has to serve for both; the clips differ all the same.
        validation.append((PanoramaSource(check or learn, scene), 1 - weight))
        names += [panorama.name for panorama in learn]
    if clips:
        taught, checked = ([c for c in clips if sides[c.scene] == side] for side in ("train", "val"))
        if not taught:
            raise ShotError(f"{', '.join(data.clips)}: no clips to train on: make more scenes with 'seqhdr prepare'")
        for part, sources in ((taught, training), (checked or taught, validation)):
            pairs = PairSource(part, scene, data.frames, remake=data.remake_input, cache_mb=data.cache_mb)
            sources.append((pairs, weight))
        names += [clip.name for clip in taught]
    return Material(tuple(training), tuple(validation), tuple(names))


def _find_pairs(folders: Sequence[str]) -> tuple[list[ClipInfo], dict[str, str]]:
    """All clips, and the side of every scene whose folder is split already."""
    clips: list[ClipInfo] = []
    sides: dict[str, set[str]] = {}
    for folder in folders:
        path = Path(folder)
        if not (path / "train").is_dir():
            clips += find_clips(path)
            continue
        for side in SPLITS:
            if side == "train" or next((path / side).rglob("clip.json"), None) is not None:
                found = find_clips(path / side)
                clips += found
                for clip in found:
                    sides.setdefault(clip.scene, set()).add(side)
    # Where two folders disagree, the scene is kept out of training.
    return clips, {scene: max(told, key=SPLITS.index) for scene, told in sides.items()}
