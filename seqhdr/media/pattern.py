"""File patterns with a frame number in them: taking them apart, listing them, refusing what is none.

A pattern names the place of the frame number in one of these ways, all meaning the same::

    shot_%04d.png   shot_####.png   shot_@@@@.png   shot_$F4.png

Four digits stand for four or more, as a counter grows past 9999; never for fewer, never with more zeros.
``%d``, ``#``, ``@`` and ``$F`` stand for a number without padding.
"""

from __future__ import annotations

import difflib
import fnmatch
import os
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from seqhdr.errors import ShotError

__all__ = [
    "EXR_EXTENSIONS",
    "SOURCE_EXTENSIONS",
    "FilePattern",
    "list_sequences",
    "names_in",
    "offer",
    "parse_pattern",
    "sequences",
]

# Extension to the name of the format inside.
SOURCE_EXTENSIONS = {
    ".png": "png",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".jpe": "jpeg",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".dpx": "dpx",
    ".tga": "targa",
    ".bmp": "bmp",
    ".webp": "webp",
}
EXR_EXTENSIONS = {".exr": "openexr"}

_MOVIES = frozenset({".mov", ".mp4", ".mkv", ".mxf", ".avi", ".webm", ".m4v", ".gif"})
_TOKEN = re.compile(r"%(\d*)d|(#+)|(@+)|\$F(\d*)(?![A-Za-z])", re.ASCII)
_UDIM = re.compile(r"<udim>|%\(udim\)d|<uvtile>|u<u>_v<v>", re.IGNORECASE)
_NUMBERED = re.compile(r"(.*?)(-?\d+)(\.[A-Za-z][A-Za-z0-9]*)", re.ASCII | re.DOTALL)
_MOST_DIGITS = 16


@dataclass(frozen=True)
class FilePattern:
    """A file name in three parts; ``padding`` is the least number of digits, sign counted, 1 if unpadded."""

    basename: str
    padding: int
    extension: str

    def number(self, frame: int) -> str:
        """The frame number as it stands in the file name."""
        return f"{frame:0{self.padding}d}"

    def frames(self, names: Sequence[str]) -> tuple[int, ...]:
        """The frames whose names this pattern would itself write, ascending."""
        found = []
        for name in names:
            if not (name.startswith(self.basename) and name.endswith(self.extension)):
                continue
            number = name[len(self.basename) : len(name) - len(self.extension)]
            if re.fullmatch(r"-?\d+", number, re.ASCII) and self.number(int(number)) == number:
                found.append(int(number))
        return tuple(sorted(found))


def parse_pattern(pattern: str, extensions: Collection[str]) -> FilePattern:
    """Take the file name of ``pattern`` apart at its frame number.

    Raises ShotError, naming the fix, for a folder, a glob, UDIM tiles, a single file, a movie, an extension
    not among ``extensions`` (lower case, with the dot), and for no or more than one place of a frame number.
    """
    path = Path(pattern)
    name = path.name
    if path.is_dir():
        found = [str(path / s) for s in list_sequences(path, extensions)]
        what = f"it holds {_listing(found)}" if found else f"and it holds no numbered {_words(extensions)} files"
        raise ShotError(f"{pattern or '.'}: is a folder, not a shot; {what}: give the pattern of one shot.")
    tokens = list(_TOKEN.finditer(name))
    if _UDIM.search(name):
        raise ShotError(f"{pattern}: UDIM tiles are parts of one picture, not frames in time: write shot_####.png.")
    if re.search(r"[*?]", name) or (not tokens and re.search(r"\[.*\]|\{.*\}", name)):
        found = list_sequences(path.parent, extensions)
        meant = [str(path.parent / one) for one in found if fnmatch.fnmatch(one, name)]
        what = f"it means {_listing(meant)}" if meant else "put #### where the frame number stands"
        raise ShotError(f"{pattern}: is a glob: give the pattern of one shot instead; {what}.")
    if len(tokens) > 1:
        written = " and ".join(t[0] for t in tokens)
        raise ShotError(f"{pattern}: has more than one frame number ({written}): write out all but one.")
    suffix = f".{name.rpartition('.')[2]}" if "." in name else ""
    if suffix.lower() in _MOVIES:
        raise ShotError(
            f"{pattern}: is a movie, and frames are needed: extract them first, "
            f"for example with 'ffmpeg -i {name} {path.stem}_%04d.png'."
        )
    if not tokens:
        raise ShotError(_no_number(path, pattern, extensions))
    token = tokens[0]
    base, extension = name[: token.start()], name[token.end() :]
    padding = _padding(token, pattern)
    if "." not in extension:
        raise ShotError(
            f"{pattern}: has no extension after the frame number: write like {name}{next(iter(extensions))}."
        )
    if suffix.lower() not in extensions:
        why = "EXR frames are floating point already" if suffix.lower() in EXR_EXTENSIONS else f"{suffix} is unknown"
        raise ShotError(f"{pattern}: {why}; accepted are {_words(extensions)}: convert the frames to one of these.")
    return FilePattern(base, padding, extension)


def list_sequences(directory: Path, extensions: Collection[str] = tuple(SOURCE_EXTENSIONS)) -> list[str]:
    """The sequences in a folder as file patterns to paste, ``shot_####.png``, the longest first.

    Raises ShotError when the folder cannot be listed.
    """
    return sequences(names_in(directory, str(directory)), extensions)


def names_in(directory: Path, pattern: str) -> list[str]:
    """All file names in a folder, or ShotError naming ``pattern``."""
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:
        raise ShotError(f"{pattern}: there is no folder {directory}: check the path.") from None
    except NotADirectoryError:
        raise ShotError(f"{pattern}: {directory} is not a folder: check the path.") from None
    except PermissionError:
        raise ShotError(f"{pattern}: no permission to list {directory}: change its mode or owner.") from None


def sequences(names: Sequence[str], extensions: Collection[str]) -> list[str]:
    """Group numbered file names into patterns, the longest sequence first."""
    numbers: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in names:
        match = _NUMBERED.fullmatch(name)
        if match is None or match[3].lower() not in extensions or name.startswith("."):
            continue
        base, number, extension = match.groups()
        if number[0] == "-" and base and base[-1] not in "._":
            base, number = f"{base}-", number[1:]  # a dash after a word separates, it does not negate
        numbers[base, extension].append(number)
    counts: Counter[str] = Counter()
    for (base, extension), group in numbers.items():
        padded = {len(n) for n in group if n.lstrip("-").startswith("0") and len(n) > 1}
        plain = min((len(n) for n in group if len(n) not in padded), default=1)
        for number in group:
            width = max((p for p in padded if p <= len(number)), default=plain if plain >= 4 else 1)
            counts[f"{base}{'#' * width}{extension}"] += 1
    return sorted(counts, key=lambda p: (-counts[p], p))


def offer(pattern: str, names: Sequence[str], extensions: Collection[str]) -> str:
    """What the user may have meant: the sequences of the folder that come nearest."""
    found = sequences(names, extensions)
    wanted = Path(pattern).name
    found.sort(key=lambda s: -difflib.SequenceMatcher(None, _TOKEN.sub("#", s), _TOKEN.sub("#", wanted)).ratio())
    folder = Path(pattern).parent
    if not found:
        return f"{folder.resolve()} holds no numbered {_words(extensions)} files: check the path"
    shown = _listing([str(folder / s) for s in found])
    return f"{folder.resolve()} holds {shown}: check the name and the padding"


def _padding(token: re.Match[str], pattern: str) -> int:
    percent, hashes, ats, houdini = token.groups()
    if percent and not percent.startswith("0"):
        raise ShotError(f"{pattern}: {token[0]} pads with blanks: write %0{percent}d.")
    digits = percent if percent is not None else houdini
    padding = int(digits or 1) if digits is not None else len(hashes or ats)
    if padding > _MOST_DIGITS:
        raise ShotError(f"{pattern}: no frame number has {padding} digits: write %04d or ####.")
    return max(padding, 1)


def _no_number(path: Path, pattern: str, extensions: Collection[str]) -> str:
    """The sentence for a name without a frame number."""
    names = names_in(path.parent, pattern)
    match = _NUMBERED.fullmatch(path.name)
    if path.name not in names:
        near = offer(pattern, names, extensions)
        return f"{pattern}: has no place for a frame number and does not exist; {near}."
    if match is None:
        stem, _, extension = path.name.rpartition(".")
        return (
            f"{pattern}: is a single picture without a frame number: "
            f"name it {stem}_1001.{extension} and give '{path.parent / stem}_####.{extension}'."
        )
    own = next((s for s in sequences(names, {match[3].lower()}) if path.name in _members(s, names)), None)
    number = int(
        match[2].lstrip("-") if own is not None and own[len(match[1]) : len(match[1]) + 1] == "-" else match[2]
    )
    whole = path.parent / (own or path.name)
    return f"{pattern}: is one frame, not a shot: give '{whole}', or that with --frames {number}."


def _members(sequence: str, names: Sequence[str]) -> set[str]:
    token = _TOKEN.search(sequence)
    if token is None:
        return set()
    shape = FilePattern(sequence[: token.start()], len(token[0]), sequence[token.end() :])
    return {f"{shape.basename}{shape.number(f)}{shape.extension}" for f in shape.frames(names)}


def _listing(found: Sequence[str], most: int = 4) -> str:
    shown = ", ".join(f"'{s}'" for s in found[:most])
    return shown if len(found) <= most else f"{shown} and {len(found) - most} more"


def _words(extensions: Collection[str]) -> str:
    return " ".join(sorted(e.lstrip(".") for e in extensions))
