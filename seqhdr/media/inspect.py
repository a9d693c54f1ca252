"""What is in an image file or a sequence, and what is wrong with it: read as stored, judged by numbers.

Values are the stored ones: half and float as they are, integers divided by their white (``2**bits - 1``).
Only the range in stops looks through the encoding, where the header names one that seqhdr knows; without such
a tag it is that of the stored values.
The measures of banding and of periodic patterns are defined in ``seqhdr.media.patterns``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seqhdr.errors import InputError
from seqhdr.media.exr import read_exr
from seqhdr.media.frames import read_frame
from seqhdr.media.patterns import blockiness, nyquist_excess, plateau_share

__all__ = [
    "AlphaDiagnosis",
    "ChannelDiagnosis",
    "ImageDiagnosis",
    "SequenceDiagnosis",
    "inspect_image",
    "inspect_sequence",
]

Plane = npt.NDArray[np.float32]

_COLOUR_CHANNELS = ("R", "G", "B")
_COLOUR_TAGS = ("colorInteropID", "oiio:ColorSpace", "chromaticities")


@dataclass(frozen=True)
class ChannelDiagnosis:
    """One channel. Shares are 0 .. 1 of all pixels; minimum and maximum are of the finite values.

    ``range_stops`` is log2 of the largest over the smallest positive light (0 without positive light), and
    ``light_maximum`` the largest light, both of the stored values themselves where the encoding is not known;
    ``share_at_maximum`` the share of pixels at the maximum (clipping), ``distinct_levels`` the number of
    different finite values. ``plateau_share``, ``nyquist_*_db`` and ``blockiness_8`` are defined in patterns.py;
    the last four are None where the picture is too small (16 pixels) to tell.
    """

    name: str
    storage: str
    minimum: float
    maximum: float
    range_stops: float
    light_maximum: float
    share_below_zero: float
    share_above_one: float
    share_nan: float
    share_inf: float
    share_at_maximum: float
    distinct_levels: int
    plateau_share: float
    nyquist_y_db: float | None
    nyquist_x_db: float | None
    nyquist_both_db: float | None
    blockiness_8: float | None


@dataclass(frozen=True)
class AlphaDiagnosis:
    """The alpha channel: its range, and whether the colours look multiplied by it.

    ``share_colour_above_alpha`` is the share of pixels with alpha < 1 in which a colour exceeds alpha;
    ``associated`` is True where that is under 1 %, False above it, None where alpha is 1 everywhere.
    """

    minimum: float
    maximum: float
    share_colour_above_alpha: float
    associated: bool | None


@dataclass(frozen=True)
class ImageDiagnosis:
    """One file: header, channels, and in ``hints`` one sentence for everything that looks wrong.

    ``colour_tags`` holds what the header says of colorInteropID, oiio:ColorSpace, chromaticities or an ICC
    profile, ``provenance`` its ``seqhdr:*`` entries.
    """

    path: str
    width: int
    height: int
    format: str
    compression: str | None
    colour_tags: Mapping[str, Any]
    provenance: Mapping[str, Any]
    channels: tuple[ChannelDiagnosis, ...]
    alpha: AlphaDiagnosis | None
    hints: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and finite numbers, for JSON."""
        return {key: _plain(value) for key, value in asdict(self).items()}


@dataclass(frozen=True)
class SequenceDiagnosis:
    """Several files as one: the worst of every number, and where they disagree.

    ``channels`` holds per name the smallest minimum, distinct level count and range, and the largest of
    everything else. ``differences`` names the files whose size, channels, storage, compression or colour
    tags are not those of the first. ``bad_frames`` are the files with NaN or Inf.
    """

    count: int
    first: ImageDiagnosis
    channels: tuple[ChannelDiagnosis, ...]
    differences: tuple[str, ...]
    bad_frames: tuple[str, ...]
    hints: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and finite numbers, for JSON."""
        return {key: _plain(value) for key, value in asdict(self).items()}


def inspect_image(path: str | Path) -> ImageDiagnosis:
    """Diagnose one EXR (half, float or uint32; any channels; first part) or 8- to 16-bit integer image.

    Raises:
        FrameError: missing, unreadable or incomplete file, or a format that is not supported.
    """
    path = Path(path)
    tags: dict[str, Any]
    if path.suffix.lower() == ".exr":
        arrays, header = read_exr(path)
        storages = dict(zip(header.channels, header.formats, strict=True))
        planes = {name: np.asarray(a, np.float32) for name, a in arrays.items()}
        file_format, compression, attributes = "openexr", header.compression, dict(header.attributes)
        tags = {key: attributes[key] for key in _COLOUR_TAGS if key in attributes}
    else:
        frame = read_frame(path)
        white = np.float32(2**frame.bits - 1)
        planes = {n: np.asarray(frame.codes[..., i] / white, np.float32) for i, n in enumerate("RGB")}
        if frame.alpha is not None:
            planes["A"] = np.asarray(frame.alpha / white, np.float32)
        storages = dict.fromkeys(planes, f"uint{frame.bits}")
        file_format, compression, attributes = frame.info.format, None, {}
        tags = {"profile": frame.info.profile} if frame.info.profile else {}
    decode = _decoder(attributes)
    channels = tuple(
        _channel(name, storages[name], plane, decode if name in _COLOUR_CHANNELS else _stored)
        for name, plane in planes.items()
    )
    alpha = _alpha(planes)
    height, width = next(iter(planes.values())).shape
    return ImageDiagnosis(
        path=str(path),
        width=width,
        height=height,
        format=file_format,
        compression=compression,
        colour_tags=tags,
        provenance={k: v for k, v in attributes.items() if k.startswith("seqhdr:")},
        channels=channels,
        alpha=alpha,
        hints=_hints(channels, width * height, alpha, file_format),
    )


def inspect_sequence(paths: Iterable[str | Path]) -> SequenceDiagnosis:
    """Diagnose files one after another and sum them up; one frame is in memory at a time.

    Raises:
        InputError: no files.
        FrameError: as inspect_image.
    """
    images = [inspect_image(path) for path in paths]
    if not images:
        raise InputError("there are no files to inspect: check the pattern and the folder.")
    first = images[0]
    differences = []
    for image in images[1:]:
        other = [
            what
            for what, one, two in (
                ("size", (image.width, image.height), (first.width, first.height)),
                ("channels", [c.name for c in image.channels], [c.name for c in first.channels]),
                ("storage", [c.storage for c in image.channels], [c.storage for c in first.channels]),
                ("compression", image.compression, first.compression),
                ("colour tags", image.colour_tags, first.colour_tags),
            )
            if one != two
        ]
        if other:
            differences.append(f"{image.path}: {', '.join(other)} unlike the first frame")
    merged: dict[str, list[ChannelDiagnosis]] = {}
    for image in images:
        for channel in image.channels:
            merged.setdefault(channel.name, []).append(channel)
    counts: dict[str, int] = {}
    for image in images:
        for hint in image.hints:
            counts[hint] = counts.get(hint, 0) + 1
    return SequenceDiagnosis(
        count=len(images),
        first=first,
        channels=tuple(_worst(same) for same in merged.values()),
        differences=tuple(differences),
        bad_frames=tuple(i.path for i in images if any(c.share_nan + c.share_inf > 0 for c in i.channels)),
        hints=tuple(f"{hint} ({n} of {len(images)} frames)" for hint, n in counts.items()),
    )


def _stored(levels: Plane) -> Plane:
    return levels


def _decoder(attributes: Mapping[str, Any]) -> Callable[[Plane], Plane]:
    """From stored values to light, as far as the header tells the encoding."""
    if not {"seqhdr:output_space", "colorInteropID"} & attributes.keys():
        return _stored
    # Imported late: the curves need torch, which files without a tag need not wait for.
    import torch

    from seqhdr.color.tags import encoding_from_header

    encoding = encoding_from_header(attributes)
    if encoding is None:
        return _stored
    return lambda levels: np.asarray(encoding.decode(torch.from_numpy(levels)), np.float32)


def _channel(name: str, storage: str, plane: Plane, decode: Callable[[Plane], Plane]) -> ChannelDiagnosis:
    finite = np.isfinite(plane)
    values = plane[finite]
    clean = np.where(finite, plane, np.float32(0))
    levels = np.unique(values)
    low, high = (float(levels[0]), float(levels[-1])) if len(levels) else (0.0, 0.0)
    light = decode(levels)
    positive = light[light > 0]
    y_db, x_db, both_db = nyquist_excess(clean)
    return ChannelDiagnosis(
        name=name,
        storage=storage,
        minimum=low,
        maximum=high,
        range_stops=float(np.log2(positive.max()) - np.log2(positive.min())) if len(positive) else 0.0,
        light_maximum=float(light.max()) if len(light) else 0.0,
        share_below_zero=float((values < 0).sum() / plane.size),
        share_above_one=float((values > 1).sum() / plane.size),
        share_nan=float(np.isnan(plane).mean()),
        share_inf=float(np.isinf(plane).mean()),
        share_at_maximum=float((values == high).sum() / plane.size),
        distinct_levels=len(levels),
        plateau_share=plateau_share(clean),
        nyquist_y_db=y_db,
        nyquist_x_db=x_db,
        nyquist_both_db=both_db,
        blockiness_8=blockiness(clean),
    )


def _alpha(planes: Mapping[str, Plane]) -> AlphaDiagnosis | None:
    alpha = planes.get("A")
    if alpha is None:
        return None
    finite = alpha[np.isfinite(alpha)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    see_through = alpha < 1
    colours = [planes[name][see_through] for name in "RGB" if name in planes]
    if not see_through.any() or not colours:
        return AlphaDiagnosis(low, high, 0.0, None)
    # Half a code of 10 bits: the rounding of a product is not a sign of anything.
    above = float((np.max(colours, axis=0) > alpha[see_through] + 0.0005).mean())
    return AlphaDiagnosis(low, high, above, above < 0.01)


def _hints(
    channels: tuple[ChannelDiagnosis, ...], pixels: int, alpha: AlphaDiagnosis | None, file_format: str
) -> tuple[str, ...]:
    colours = [c for c in channels if c.name != "A" and c.storage != "uint32"]
    found = []

    def names(chosen: list[ChannelDiagnosis]) -> str:
        return ", ".join(c.name for c in chosen)

    if bad := [c for c in channels if c.share_nan + c.share_inf > 0]:
        found.append(f"NaN or Inf in {names(bad)}")
    deep = [c for c in colours if c.storage != "uint8"]
    if (few := [c for c in deep if 1 < c.distinct_levels <= 256]) and pixels >= 4096:
        found.append(f"{names(few)} use at most 256 levels: 8-bit values in a deeper file")
    if banded := [c for c in colours if c.plateau_share > 0.25]:
        found.append(f"banding: plateaus one level apart in {names(banded)}")
    for what, key in (("scanlines", "y"), ("columns", "x"), ("a checkerboard", "both")):
        strong = [c for c in colours if (getattr(c, f"nyquist_{key}_db") or 0.0) > 10]
        if strong:
            found.append(f"{what} of two pixels' period in {names(strong)}")
    if blocky := [c for c in colours if (c.blockiness_8 or 1.0) > 1.3]:
        found.append(f"edges every 8 pixels in {names(blocky)}: blocks of a compression, or a grid in the picture")
    # PNG stores unassociated alpha by definition, EXR associated.
    if file_format == "openexr" and alpha is not None and alpha.associated is False:
        found.append("colours exceed alpha: probably not multiplied by it, as EXR asks for")
    return tuple(found)


def _worst(same: list[ChannelDiagnosis]) -> ChannelDiagnosis:
    smallest = {"minimum", "distinct_levels", "range_stops"}
    merged: dict[str, Any] = {"name": same[0].name, "storage": same[0].storage}
    for key in ChannelDiagnosis.__dataclass_fields__:
        if key not in merged:
            values = [v for c in same if (v := getattr(c, key)) is not None]
            merged[key] = (min if key in smallest else max)(values) if values else None
    return ChannelDiagnosis(**merged)


def _plain(value: Any) -> Any:
    """Tuples to lists, NumPy numbers to Python's, anything unknown to text."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        return value.item()
    return value if isinstance(value, str | int | float | bool | None) else str(value)
