"""Writing and reading OpenEXR frames: whole or not at all, and the same bytes for the same pixels.

The header carries no time of writing, and provenance goes where the caller says, under its own names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio  # noqa: N813 - the name its own documentation uses
from numpy.typing import NDArray

from seqhdr.errors import FrameError, FramesFailedError, OutputExistsError, UnknownNameError
from seqhdr.media.atomic import incomplete_file, whole_file
from seqhdr.media.timecode import timecode_pack, timecode_unpack

__all__ = [
    "COMPRESSIONS",
    "ExrInfo",
    "check_compression",
    "complete_exr",
    "probe_exr",
    "read_exr",
    "write_exr",
]

COMPRESSIONS = ("none", "zip", "zips", "piz", "pxr24", "dwaa", "dwab")

AttributeValue = str | int | float | Fraction | Sequence[float]


@dataclass(frozen=True)
class ExrInfo:
    """What the header of an EXR file says.

    ``channels`` are in the order read_exr returns them, ``formats`` beside them: ``half``, ``float`` or
    ``uint32``.  Windows are (x, y, width, height) in pixels; ``attributes`` holds every header entry as
    OpenImageIO names it, numbers and strings as they are, vectors as tuples.
    """

    width: int
    height: int
    channels: tuple[str, ...]
    formats: tuple[str, ...]
    compression: str
    data_window: tuple[int, int, int, int]
    display_window: tuple[int, int, int, int]
    parts: int = 1
    tiled: bool = False
    pixel_aspect: float = 1.0
    frames_per_second: Fraction | None = None
    timecode: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


def write_exr(
    path: str | Path,
    channels: Mapping[str, NDArray[Any]],
    *,
    compression: str = "zip",
    attributes: Mapping[str, AttributeValue] | None = None,
    chromaticities: Sequence[float] | None = None,
    frames_per_second: Fraction | None = None,
    timecode: str | None = None,
    pixel_aspect: float = 1.0,
    overwrite: bool = False,
) -> None:
    """Write one scanline EXR, atomically: after any failure the folder is as it was.

    ``channels`` maps a channel name to an (H, W) array, ``{"A": alpha, "confidence.Y": c}``, or a group of
    one-letter channels to an (H, W, C) array, ``{"RGB": rgb, "clip.RGB": clip}``; float16 is stored as half,
    float32 as float.  ``attributes`` go into the header as they are named (str, int, float, Fraction, or a
    sequence of floats); ``chromaticities`` are the x, y of red, green, blue and white; ``timecode`` is
    ``HH:MM:SS:FF``.  The same arguments make the same bytes.

    Raises OutputExistsError when the file exists and ``overwrite`` is off, FramesFailedError when it cannot
    be written whole (disk full, no permission, no folder), UnknownNameError for another compression.
    """
    path = Path(path)
    if compression not in COMPRESSIONS:
        raise UnknownNameError("compression", compression, COMPRESSIONS)
    names, pixels, formats = _interleave(channels)
    height, width, count = pixels.shape
    spec = oiio.ImageSpec(width, height, count, formats[0])
    spec.channelnames = names
    spec.channelformats = tuple(oiio.TypeDesc(f) for f in formats)
    spec.attribute("compression", compression)
    spec.attribute("DateTime", "")  # else the library puts the time of writing there
    spec.attribute("PixelAspectRatio", float(pixel_aspect))
    if chromaticities is not None:
        spec.attribute("chromaticities", "float[8]", tuple(float(v) for v in chromaticities))
    if frames_per_second is not None:
        _set(spec, "framesPerSecond", frames_per_second)
    if timecode is not None:
        spec.attribute("smpte:TimeCode", "timecode", (timecode_pack(timecode), 0))
    for name, value in (attributes or {}).items():
        _set(spec, name, value)
    if not overwrite and path.exists():
        raise OutputExistsError(f"{path}: exists already: use --overwrite or --skip-existing, or another folder.")
    with whole_file(path) as hidden:
        output: Any = oiio.ImageOutput.create(str(hidden))
        written = output.open(str(hidden), spec) and output.write_image(pixels)
        reason = output.geterror()
        if not (output.close() and written):
            raise incomplete_file(path, pixels.nbytes, reason or output.geterror())


def probe_exr(path: str | Path) -> ExrInfo:
    """Read the header of the first part of an EXR file.  Raises FrameError when it is none or is cut off."""
    source = _open(Path(path))
    info = _info(source)
    source.close()
    return info


def read_exr(path: str | Path) -> tuple[dict[str, NDArray[Any]], ExrInfo]:
    """Read the first part of an EXR file: (H, W) arrays of the data window by channel name, and the header.

    Each array has the type of the file: float16, float32 or uint32.  Raises FrameError when the file is
    missing, no EXR, deep, or not whole.
    """
    path = Path(path)
    source = _open(path)
    info = _info(source)
    if source.spec().deep:
        raise FrameError(f"{path}: is a deep EXR: flatten it first.")
    arrays: dict[str, NDArray[Any]] = {}
    kinds = set(info.formats)
    # Half is exact in float, so one pass serves both; 32-bit identifiers are not and have one of their own.
    passes = [("uint", {"uint32"}), ("half" if kinds == {"half"} else "float", {"half", "float"})]
    for read_as, serves in passes:
        if not kinds & serves:
            continue
        pixels = source.read_image(format=read_as)
        trouble = source.geterror()
        if pixels is None or trouble:
            raise FrameError(f"{path}: the EXR is cut off or damaged: render or copy it again.")
        for index, (name, stored) in enumerate(zip(info.channels, info.formats, strict=True)):
            if stored in serves:
                plane = pixels[..., index]
                arrays[name] = plane.astype(np.float16) if stored == "half" else np.ascontiguousarray(plane)
    source.close()
    return {name: arrays[name] for name in info.channels}, info


def check_compression(path: str | Path, wanted: str) -> None:
    """Read the header back and raise FramesFailedError unless the file has the compression asked for."""
    found = probe_exr(path).compression
    if found != wanted:
        raise FramesFailedError(
            f"{path}: was written with {found} compression although {wanted} was asked for: "
            "this OpenImageIO cannot write it, so choose another --compression."
        )


def complete_exr(path: str | Path, settings: str | None = None) -> bool:
    """Whether a file is a whole EXR and, with ``settings``, carries them as ``seqhdr:settings``.

    Looks at the header and the last scanlines only: files cut off while written or copied end early.
    """
    path = Path(path)
    try:
        source = _open(path)
    except FrameError:
        return False
    spec = source.spec()
    whole = True
    if settings is not None and spec.get_string_attribute("seqhdr:settings") != settings:
        whole = False
    elif not spec.deep and spec.tile_width == 0:
        bottom = spec.y + spec.height
        last = source.read_scanlines(bottom - 1, bottom, spec.z, 0, spec.nchannels, "float")
        whole = last is not None and not source.geterror()
    else:
        whole = source.read_image(format="float") is not None and not source.geterror()
    source.close()
    return whole


def _interleave(
    channels: Mapping[str, NDArray[Any]],
) -> tuple[tuple[str, ...], NDArray[Any], tuple[str, ...]]:
    """Lay the arrays side by side as (H, W, C), with a channel name and a stored type for each."""
    names: list[str] = []
    planes: list[NDArray[Any]] = []
    formats: list[str] = []
    for key, array in channels.items():
        if array.dtype not in (np.float16, np.float32):
            raise TypeError(f"channel {key!r} is {array.dtype}, not float16 or float32")
        layer, dot, letters = key.rpartition(".")
        if array.ndim == 3 and array.shape[2] != len(letters):
            raise ValueError(f"channel group {key!r} names {len(letters)} channels, its array has {array.shape[2]}")
        planes.append(array if array.ndim == 3 else array[..., None])
        group = [f"{layer}{dot}{letter}" for letter in letters] if array.ndim == 3 else [key]
        names += group
        formats += ["half" if array.dtype == np.float16 else "float"] * len(group)
    if len(set(names)) != len(names):
        raise ValueError(f"a channel is given twice: {names}")
    joined = planes[0] if len(planes) == 1 else np.concatenate(planes, axis=-1)
    return tuple(names), np.ascontiguousarray(joined), tuple(formats)


def _set(spec: Any, name: str, value: AttributeValue) -> None:
    if isinstance(value, Fraction):
        spec.attribute(name, "rational", (value.numerator, value.denominator))
    elif isinstance(value, (str, int, float)):
        spec.attribute(name, value)
    else:
        spec.attribute(name, f"float[{len(value)}]", tuple(float(v) for v in value))


def _open(path: Path) -> Any:
    if not path.is_file():
        raise FrameError(f"{path}: there is no such file: check the path.")
    source = oiio.ImageInput.open(str(path))
    if source is None:
        lines = oiio.geterror().strip().splitlines()
        why = lines[0].rstrip(".") if lines else "no reason given"
        raise FrameError(f"{path}: is not a readable EXR ({why}): render or copy it again.")
    if source.format_name() != "openexr":
        raise FrameError(f"{path}: is {source.format_name().upper()} inside, not EXR: give EXR frames.")
    return source


def _info(source: Any) -> ExrInfo:
    spec = source.spec()
    attributes = {a.name: a.value for a in spec.extra_attribs}
    formats = spec.channelformats or [spec.format] * spec.nchannels
    rate = attributes.get("framesPerSecond")
    packed = attributes.get("smpte:TimeCode")
    return ExrInfo(
        width=spec.width,
        height=spec.height,
        channels=tuple(spec.channelnames),
        formats=tuple({"uint": "uint32"}.get(str(f), str(f)) for f in formats),
        compression=str(attributes.get("compression", "none")).partition(":")[0],
        data_window=(spec.x, spec.y, spec.width, spec.height),
        display_window=(spec.full_x, spec.full_y, spec.full_width, spec.full_height),
        parts=max(1, spec.get_int_attribute("oiio:subimages", 1)),
        tiled=spec.tile_width > 0,
        pixel_aspect=spec.get_float_attribute("PixelAspectRatio", 1.0),
        frames_per_second=Fraction(*rate) if rate and rate[1] > 0 else None,
        timecode=timecode_unpack(int(packed[0])) if packed else None,
        attributes=attributes,
    )
