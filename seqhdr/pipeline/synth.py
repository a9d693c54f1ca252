"""Synthetic clips on disk: rendered from panoramas, with input, truth, exact flow and everything that was drawn."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from seqhdr.color.encodings import get_encoding
from seqhdr.errors import InputError, OutputExistsError, UnknownNameError, UsageError
from seqhdr.train.config import SceneConfig
from seqhdr.train.pairs import (
    ClipInfo,
    find_clips,
    make_folder,
    remove_clip,
    truth_to_light,
    write_clip_info,
    write_pair,
)
from seqhdr.train.panorama import Panorama
from seqhdr.train.synthetic import SyntheticClip, find_panoramas, make_clip, open_panorama

__all__ = ["SynthOptions", "synth"]

_FIRST_FRAME = 1001
# What clip.json says made the clip.
_MAKER = "seqhdr synth"


@dataclass(frozen=True)
class SynthOptions:
    """What ``synth`` is asked for.

    Attributes:
        output: folder of the clips.
        clips: how many, spread evenly over the panoramas.
        frames: of each clip.
        width, height: of the frames, in pixels.
        seed: the same seed makes the same bytes.
        bit_depth: of the truth, ``half`` or ``float``.
        overwrite: replace the clips of an earlier run, all of them.

    Raises:
        UsageError: a count below 1.
        UnknownNameError: another bit depth.
    """

    output: Path
    clips: int = 20
    frames: int = 16
    width: int = 512
    height: int = 288
    seed: int = 7
    bit_depth: str = "float"
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be rendered."""
        for name in ("clips", "frames", "width", "height"):
            if getattr(self, name) < 1:
                raise UsageError(f"--{name} is {getattr(self, name)}: give 1 or more")
        if self.seed < 0:
            raise UsageError(f"--seed is {self.seed}: give 0 or more")
        if self.bit_depth not in ("half", "float"):
            raise UnknownNameError("value of --bit-depth", self.bit_depth, ("half", "float"))
        if os.path.exists(self.output) and not os.path.isdir(self.output):
            raise UsageError(f"{self.output}: is a file, and the output must be a folder: give another -o")


def synth(
    places: tuple[str, ...],
    options: SynthOptions,
    scene: SceneConfig,
    on_clip: Callable[[ClipInfo, int], None] = lambda info, done: None,
) -> tuple[ClipInfo, ...]:
    """Render clips.

    Args:
        places: folders of panoramas, files, or ``procedural:SEED``.
        options: how many, how large, where to.
        scene: what may happen in them.
        on_clip: told of each finished clip and how many there are by then.

    Returns:
        The clips, in the order of their numbers.

    Raises:
        ShotError: no panoramas.
        FrameError: a panorama that cannot be read.
        UsageError: the output cannot be made.
        OutputExistsError: the folder holds clips already.
        FramesFailedError: a file could not be written; the clips before it are whole.
    """
    panoramas = find_panoramas(places)
    _make_way(options)
    written: dict[int, ClipInfo] = {}
    for place, name in enumerate(panoramas[: options.clips]):
        panorama = open_panorama(name)
        for number in range(place, options.clips, len(panoramas)):
            written[number] = _write(number, panorama, options, scene)
            on_clip(written[number], len(written))
    return tuple(written[number] for number in sorted(written))


def _make_way(options: SynthOptions) -> None:
    """Refuse an output that holds clips, or remove the files of those that an earlier run made."""
    make_folder(options.output)
    for path in sorted(options.output.glob("*/clip.json")):
        if not options.overwrite:
            raise OutputExistsError(f"{path.parent}: exists already: use --overwrite, or choose another -o")
        # A description that cannot be read does not say that the clip is ours.
        with suppress(InputError):
            clip = find_clips(path.parent)[0]
            if clip.made.get("by") == _MAKER:
                remove_clip(clip)


def _write(number: int, panorama: Panorama, options: SynthOptions, scene: SceneConfig) -> ClipInfo:
    # The number alone decides the clip: more clips, or another panorama's file, leave the others as they are.
    rng = np.random.default_rng((options.seed, number))
    made = make_clip(panorama, scene, rng, options.frames, options.height, options.width)
    info = _describe(number, panorama, made, options)
    remove_clip(info)  # what somebody else has under this name does not count until all frames are there again
    for kind in ("input", "truth", "flow"):
        make_folder(info.folder / kind)
    encoding = get_encoding(info.encoding)
    for index, frame in enumerate(info.frames):
        value, stops = (
            torch.from_numpy(np.ascontiguousarray(array[index])).permute(2, 0, 1)
            for array in (made.degraded.value_lsb, made.degraded.gain_stops)
        )
        write_pair(
            info,
            frame,
            made.degraded.codes[index],
            truth_to_light(value, stops, encoding),
            float_truth=options.bit_depth == "float",
            flow_px=made.flow_px[index].permute(1, 2, 0).contiguous().numpy(),
            visible=made.visible[index, 0].numpy(),
        )
    write_clip_info(info)
    return info


def _describe(number: int, panorama: Panorama, made: SyntheticClip, options: SynthOptions) -> ClipInfo:
    tag = re.sub(r"[^A-Za-z0-9-]+", "_", panorama.name).strip("_") or "panorama"
    return ClipInfo(
        folder=options.output / f"{tag}_{number + 1:04d}",
        frames=tuple(range(_FIRST_FRAME, _FIRST_FRAME + options.frames)),
        width=options.width,
        height=options.height,
        encoding=made.encoding,
        half_width_lsb=made.degraded.half_width_lsb,
        scene=panorama.name,
        has_flow=True,
        made={"by": _MAKER, "seed": options.seed, "number": number, **made.made},
    )
