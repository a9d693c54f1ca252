"""Scene-linear material for training: which EXR and HDR sequences and stills a folder holds, and their pixels."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio  # noqa: N813 - the name its own documentation uses
from numpy.typing import NDArray

from seqhdr.errors import FrameError, ShotError
from seqhdr.media.pattern import FilePattern, sequences

__all__ = ["LINEAR_EXTENSIONS", "STILL_FRAME", "Material", "find_material", "read_linear"]

#: Extension to the name of the format inside.
LINEAR_EXTENSIONS = {".exr": "openexr", ".hdr": "hdr"}
#: Frame number of a still.
STILL_FRAME = 1001
# The largest half: what stands for infinity.
_LARGEST = 65504.0
_LONGEST_NAME = 120


@dataclass(frozen=True)
class Material:
    """A clip to be: a run of frames without a gap, or one still.

    Attributes:
        name: of the clip, unique whatever the case, of ASCII letters, digits, ``_`` and ``-`` only.
        scene: what it shows; material of one scene belongs to one split.
        frames: numbers, ascending.
        paths: the file of each frame.
    """

    name: str
    scene: str
    frames: tuple[int, ...]
    paths: tuple[Path, ...]


def find_material(folder: Path, leave_out: Path | None = None) -> tuple[Material, ...]:
    """All EXR and HDR sequences and stills in a folder and the folders below it.

    Files that differ only in the number before their extension are a sequence; where it has a gap, each side is a
    clip of its own. A file without such a number, or with the only one, is a still. Clips are named after the
    folders they lie in and their files. The scene is the topmost folder below ``folder``; what lies in ``folder``
    itself is a scene of its own. Hidden files and folders are skipped, and clips that are training pairs already: what
    lies in a folder with a ``clip.json``, and below it.

    Args:
        folder: where to look.
        leave_out: a folder below it that is not looked into, like that of the output.

    Returns:
        At least one, folder by folder.

    Raises:
        ShotError: the folder is not there or cannot be listed, or there is no such file, or only in clips.
    """
    if not folder.is_dir():
        raise ShotError(f"{folder}: there is no such folder: give the folder that holds the EXR sequences or stills.")
    clips: list[Path] = []
    listings = _listings(folder, leave_out, clips)
    found = [one for directory, names in listings for one in _in_folder(folder, directory, names)]
    if not found and clips:
        raise ShotError(
            f"{folder}: holds only clips that are training pairs already, like {clips[0]}: "
            "give the folder to train or eval as it is."
        )
    if not found:
        kinds = " or ".join(LINEAR_EXTENSIONS)
        raise ShotError(f"{folder}: holds no linear material ({kinds} files, also in its folders): check the path.")
    return tuple(_with_own_names(found))


def read_linear(path: Path) -> tuple[NDArray[np.float32], int]:
    """Read R, G and B of one EXR or HDR file and leave everything else.

    Of several parts the first with plain channels R, G and B is read. Only where none has them, those of a layer
    (``rgba.R``) serve, if there is just one such layer. The picture is the display window: what the data window
    leaves empty is black, what lies outside is cut off.

    Returns:
        (3, H, W) float32, finite, in the encoding of the file: NaN has become 0, infinity ±65504. And how many
        values had to be repaired that way.

    Raises:
        FrameError: the file is missing, damaged, neither EXR nor HDR, deep, or without one set of RGB.
    """
    source = _open(path)
    try:
        part, channels = _find_rgb(path, source)
        spec = source.spec(part, 0)
        # R, G and B of a part stand side by side unless somebody put a channel between them.
        begin = min(channels)
        pixels = source.read_image(part, 0, begin, max(channels) + 1, "float")
        trouble = source.geterror()
    finally:
        source.close()
    if pixels is None or trouble:
        raise FrameError(f"{path}: the picture is cut off or damaged: render or copy it again.")
    rgb = _in_display_window(pixels[..., [channel - begin for channel in channels]], spec).transpose(2, 0, 1)
    repaired = int(np.count_nonzero(~np.isfinite(rgb)))
    return np.nan_to_num(np.ascontiguousarray(rgb), nan=0.0, posinf=_LARGEST, neginf=-_LARGEST), repaired


def _listings(folder: Path, leave_out: Path | None, clips: list[Path]) -> Iterator[tuple[Path, list[str]]]:
    """Each folder with the names of its linear files; links are followed, each folder comes once.

    Folders of finished clips are put into ``clips`` instead.
    """

    def refused(error: OSError) -> None:
        raise ShotError(f"{error.filename}: cannot be listed ({error.strerror}): change its mode or owner.")

    seen = {os.path.realpath(one) for one in (folder, leave_out) if one is not None}
    for where, below, files in os.walk(folder, followlinks=True, onerror=refused):
        if "clip.json" in files:
            clips.append(Path(where))
            below.clear()
            continue
        kept = []
        for name in sorted(below):
            real = os.path.realpath(os.path.join(where, name))
            if name[0] != "." and real not in seen:
                seen.add(real)
                kept.append(name)
        below[:] = kept
        names = [name for name in sorted(files) if name[0] != "." and Path(name).suffix.lower() in LINEAR_EXTENSIONS]
        yield Path(where), names


def _in_folder(root: Path, directory: Path, names: list[str]) -> Iterator[Material]:
    """The sequences and stills among the files of one folder, with names that may not be unique yet."""
    left = dict.fromkeys(names)
    for pattern in sequences(names, LINEAR_EXTENSIONS):
        match = re.fullmatch(r"(.*?)(#+)(\.[^.]+)", pattern, re.DOTALL)
        if match is None:
            raise ValueError(f"got pattern {pattern!r}, expected a name with # for the frame number")
        shape = FilePattern(match[1], len(match[2]), match[3])
        files = {frame: f"{shape.basename}{shape.number(frame)}{shape.extension}" for frame in shape.frames(names)}
        # A number without leading zeros may fit two paddings: the longer sequence, which comes first, keeps it.
        files = {frame: file for frame, file in files.items() if file in left}
        if len(files) < 2:
            continue
        for file in files.values():
            del left[file]
        base = shape.basename.rstrip("._- ")
        runs = _runs(files)
        for run in runs:
            name = base if len(runs) == 1 else f"{base}_{shape.number(run[0])}"
            yield _material(root, directory, base, name, {frame: files[frame] for frame in run})
    for file in left:
        stem = Path(file).stem
        yield _material(root, directory, stem, stem, {STILL_FRAME: file})


def _runs(frames: Iterable[int]) -> list[list[int]]:
    """Ascending frame numbers, divided where one is missing."""
    runs: list[list[int]] = []
    for frame in frames:
        if runs and frame == runs[-1][-1] + 1:
            runs[-1].append(frame)
        else:
            runs.append([frame])
    return runs


def _material(root: Path, directory: Path, base: str, name: str, files: dict[int, str]) -> Material:
    folders = directory.relative_to(root).parts
    # Frames that have only a number are named after their folder.
    inside = folders or (() if base else (root.resolve().name,))
    words = "_".join((*inside, name))
    clean = re.sub(r"[^A-Za-z0-9-]+", "_", words)[-_LONGEST_NAME:].strip("_-")
    scene = folders[0] if folders else base or root.resolve().name
    return Material(clean or "clip", scene, tuple(files), tuple(directory / file for file in files.values()))


def _with_own_names(found: Iterable[Material]) -> Iterator[Material]:
    """Number those whose name is taken; case does not count, as for some file systems."""
    taken: set[str] = set()
    for one in found:
        name, number = one.name, 1
        while name.lower() in taken:
            number += 1
            name = f"{one.name}_{number}"
        taken.add(name.lower())
        yield dataclasses.replace(one, name=name)


def _open(path: Path) -> Any:
    if not path.is_file():
        raise FrameError(f"{path}: there is no such file: check the path.")
    source = oiio.ImageInput.open(str(path))
    if source is None:
        lines = oiio.geterror().strip().splitlines()
        why = lines[0].rstrip(".") if lines else "no reason given"
        raise FrameError(f"{path}: is not a readable EXR or HDR picture ({why}): render or copy it again.")
    if source.format_name() not in LINEAR_EXTENSIONS.values():
        kind = source.format_name().upper()
        source.close()
        raise FrameError(f"{path}: is {kind} inside, neither EXR nor HDR: give scene-linear files.")
    return source


def _find_rgb(path: Path, source: Any) -> tuple[int, tuple[int, int, int]]:
    """The part and the places of R, G and B in it."""
    layers: dict[tuple[int, str], dict[str, int]] = {}
    names: list[str] = []
    part = 0
    while (spec := source.spec(part, 0)).nchannels:
        formats = spec.channelformats or [spec.format] * spec.nchannels
        for at, (name, kind) in enumerate(zip(spec.channelnames, formats, strict=True)):
            names.append(name)
            layer, _, letter = name.rpartition(".")
            # Whole numbers are identifiers, not light, and deep pixels are lists of samples.
            if not spec.deep and str(kind) in ("half", "float"):
                layers.setdefault((part, layer), {})[letter] = at
        part += 1
    source.geterror()  # asking for one part too many leaves a complaint
    whole = [key for key, letters in layers.items() if {"R", "G", "B"} <= letters.keys()]
    chosen = [key for key in whole if not key[1]][:1] or whole
    if not chosen:
        raise FrameError(
            f"{path}: has {_listing(names)} but no R, G and B in half or float: write the picture as plain RGB."
        )
    if len(chosen) > 1:
        several = _listing([layer for _, layer in chosen])
        raise FrameError(f"{path}: has no plain R, G and B but several layers of them ({several}): keep one of them.")
    letters = layers[chosen[0]]
    return chosen[0][0], (letters["R"], letters["G"], letters["B"])


def _listing(names: list[str], most: int = 6) -> str:
    """The first of many names."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _in_display_window(pixels: NDArray[Any], spec: Any) -> NDArray[np.float32]:
    """The data window's (H, W, 3) in its place in the display window."""
    x, y = spec.x - spec.full_x, spec.y - spec.full_y
    height, width = spec.full_height, spec.full_width
    out = np.zeros((height, width, 3), np.float32)
    inside = pixels[max(-y, 0) : max(height - y, 0), max(-x, 0) : max(width - x, 0)]
    top, left = max(y, 0), max(x, 0)
    out[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return out
