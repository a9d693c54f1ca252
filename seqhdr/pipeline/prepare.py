"""Turn scene-linear EXR and HDR material into training pairs: log truth, 8-bit input, splits by scene, statistics."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqhdr.color.encodings import ColorEncoding, convert_linear, get_encoding
from seqhdr.errors import FramesFailedError, InputError, OutputExistsError, ShotError, UsageError
from seqhdr.media.atomic import whole_file
from seqhdr.train.linear import Material, find_material, read_linear
from seqhdr.train.pair_stats import PairStats, luminance
from seqhdr.train.pairs import ClipInfo, find_clips, make_folder, remove_clip, write_clip_info, write_pair
from seqhdr.train.split import SHARES, SPLITS, split_scenes

__all__ = ["PrepareOptions", "PrepareReport", "prepare"]

# What clip.json says made the clip.
_MAKER = "seqhdr prepare"
_MIDDLE_GREY = 0.18
# More light than this is a fault of the file.
_MOST_LIGHT = 2.0**32


@dataclass(frozen=True)
class PrepareOptions:
    """Everything that decides what :func:`prepare` writes.

    Attributes:
        output: folder of the data set; it is created.
        encoding: what the codes of the input mean, a short name.
        input_space: what the values of the material mean. Any curve is decoded; linear spaces have none.
        exposure_stops: added to everything.
        auto_exposure: first bring each clip's middle to 0.18: the median, over the pixels of its first frame that
            are not black, of the largest of R, G and B. One factor per clip, so that its frames still match.
        bit_depth: of the truth, ``half`` or ``float``.
        shares: of training, validation and test; see :func:`~seqhdr.train.split.split_scenes`.
        seed: of the split.
        overwrite: replace the clips of an earlier run.
    """

    output: Path
    encoding: str = "srgb"
    input_space: str = "lin_rec709"
    exposure_stops: float = 0.0
    auto_exposure: bool = False
    bit_depth: str = "half"
    shares: Sequence[float] = SHARES
    seed: int = 0
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Refuse what can be refused before a file is touched.

        Raises:
            UsageError: a value nobody knows, or an output that is a file.
        """
        if self.bit_depth not in ("half", "float"):
            raise UsageError(f"--bit-depth {self.bit_depth!r} is unknown: choose half or float")
        if not abs(self.exposure_stops) <= 32:
            raise UsageError(f"--exposure is {self.exposure_stops:g} stops: give a number from -32 to 32")
        if os.path.exists(self.output) and not os.path.isdir(self.output):
            raise UsageError(f"{self.output}: is a file, and the output must be a folder: give another -o")


@dataclass(frozen=True)
class PrepareReport:
    """What :func:`prepare` wrote.

    Attributes:
        clips: in the order they were made.
        splits: scene → ``train``, ``val`` or ``test``.
        stats: path of ``stats.json``.
    """

    clips: tuple[ClipInfo, ...]
    splits: dict[str, str]
    stats: Path


def prepare(
    folder: Path,
    options: PrepareOptions,
    on_clip: Callable[[ClipInfo, str], None] = lambda info, split: None,
    on_failure: Callable[[str, str], None] = lambda clip, reason: None,
) -> PrepareReport:
    """Write a data set: ``OUTPUT/{train,val,test}/CLIP/…`` as in :mod:`seqhdr.train.pairs`, and ``stats.json``.

    A clip that cannot be read to its end is left without ``clip.json``, so that it does not count, and the others
    go on. Frame numbers are kept; stills get 1001. The same material and options make the same bytes.

    Args:
        folder: with the material; see :func:`~seqhdr.train.linear.find_material`.
        options: the user's wishes.
        on_clip: told of each finished clip and its split.
        on_failure: told of each clip that cannot be made, and why.

    Raises:
        UsageError: the options name unknown things, or the output cannot be made.
        OutputExistsError: there are clips in the output, or it is the folder of the material.
        ShotError: there is no material.
        FramesFailedError: some clips could not be read, the others were written; or a file could not be written.
    """
    encoding, space = get_encoding(options.encoding), get_encoding(options.input_space)
    if options.output.resolve() == folder.resolve():
        raise OutputExistsError(f"{options.output}: is where the material lies: give another -o")
    material = find_material(folder, leave_out=options.output)
    splits = split_scenes((one.scene for one in material), options.shares, options.seed)
    _make_way(options, {one.name for one in material})
    totals = {split: PairStats() for split in SPLITS}
    clips: list[ClipInfo] = []
    failed: dict[str, str] = {}
    for one in material:
        split = splits[one.scene]
        stats = PairStats(clips=1, scenes={one.scene})
        try:
            info = _write_clip(folder, one, options.output / split / one.name, options, space, encoding, stats)
        except InputError as error:
            failed[one.name] = str(error)
            on_failure(one.name, str(error))
            continue
        totals[split].add(stats)
        clips.append(info)
        on_clip(info, split)
    written = _write_stats(options, totals, splits, failed)
    if failed:
        first, *more = failed.values()
        others = f" (and {len(more)} more, see {written})" if more else ""
        raise FramesFailedError(f"{len(failed)} of {len(material)} clips could not be made: {first}{others}")
    return PrepareReport(tuple(clips), splits, written)


def _make_way(options: PrepareOptions, names: set[str]) -> None:
    """Refuse an output that holds clips, or remove the files of those that this run replaces."""
    make_folder(options.output)
    folders = [options.output / split for split in SPLITS]
    existing = [clip for one in folders if any(one.glob("*/clip.json")) for clip in find_clips(one)]
    if existing and not options.overwrite:
        raise OutputExistsError(
            f"{options.output}: holds {len(existing)} clips already: use --overwrite to replace them, or another -o"
        )
    if existing:
        # Until the new ones are known, none are better than those of other clips.
        with suppress(OSError):
            (options.output / "stats.json").unlink()
    for clip in existing:
        # Also those of other names: a clip that stayed behind could show a scene that now is in another split.
        if clip.made.get("by") == _MAKER or clip.name in names:
            remove_clip(clip)


def _write_clip(
    root: Path,
    one: Material,
    target: Path,
    options: PrepareOptions,
    space: ColorEncoding,
    encoding: ColorEncoding,
    stats: PairStats,
) -> ClipInfo:
    """Stream the frames of one clip, one in memory at a time."""
    info: ClipInfo | None = None
    stops = options.exposure_stops
    float_truth = options.bit_depth == "float"
    for frame, path in zip(one.frames, one.paths, strict=True):
        values, repaired = read_linear(path)
        size = (values.shape[2], values.shape[1])
        rgb_lin = _light(values, space, encoding)
        if info is None:
            stops += _stops_to_grey(rgb_lin) if options.auto_exposure else 0.0
            source = [p.relative_to(root).as_posix() for p in one.paths]
            made = {"by": _MAKER, "source": source, "input_space": space.name, "exposure_stops": round(stops, 6)}
            info = ClipInfo(target, one.frames, *size, encoding.name, 0.5, one.scene, made=made)
            for kind in ("input", "truth"):
                make_folder(target / kind)
        elif size != (info.width, info.height):
            raise ShotError(
                f"{path}: is {size[0]}x{size[1]}, the frames before it are {info.width}x{info.height}: "
                "move it out of the sequence, or render it again."
            )
        rgb_lin = rgb_lin * 2.0**stops
        planes = (encoding.encode(rgb_lin) * 255).round().clamp(0, 255).byte().permute(1, 2, 0)
        codes = np.ascontiguousarray(planes.numpy())
        rgb_log = write_pair(info, frame, codes, rgb_lin, float_truth=float_truth)
        stats.count(codes, rgb_log, luminance(rgb_lin, encoding), repaired)
    if info is None:
        raise ValueError(f"got material {one.name} without frames, expected at least one")
    write_clip_info(info)
    return info


def _light(values: NDArray[np.float32], space: ColorEncoding, encoding: ColorEncoding) -> Tensor:
    """Values of the file → (3, H, W) float64 light in the primaries of the input's encoding."""
    light = space.decode(torch.from_numpy(values).double())
    # A curve may take what was only large to infinity, and the matrix that to NaN.
    return convert_linear(light.clamp(-_MOST_LIGHT, _MOST_LIGHT), space, encoding)


def _stops_to_grey(rgb_lin: Tensor) -> float:
    brightest = rgb_lin.amax(dim=0)
    lit = brightest[brightest > 0]
    return math.log2(_MIDDLE_GREY / float(lit.median())) if len(lit) else 0.0


def _write_stats(
    options: PrepareOptions, totals: dict[str, PairStats], splits: dict[str, str], failed: dict[str, str]
) -> Path:
    total = PairStats()
    for stats in totals.values():
        total.add(stats)
    settings = dataclasses.asdict(options)
    del settings["output"], settings["overwrite"]
    text = {
        "settings": settings,
        "total": total.summary(),
        **{split: stats.summary() for split, stats in totals.items()},
        "split": splits,
        "failed": failed,
    }
    path = options.output / "stats.json"
    with whole_file(path) as hidden:
        hidden.write_text(json.dumps(text, indent=1) + "\n")
    return path
