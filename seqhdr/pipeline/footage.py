"""Any image sequence as something to measure: integer frames or EXR, ours or another tool's, one frame at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqhdr.color.encodings import ColorEncoding, get_encoding
from seqhdr.color.tags import encoding_from_header
from seqhdr.errors import FrameError, SeqhdrError, ShotError
from seqhdr.media.exr import ExrInfo, read_exr
from seqhdr.media.frames import read_frame
from seqhdr.media.ranges import compact
from seqhdr.media.shot import EXR_EXTENSIONS, SOURCE_EXTENSIONS, Shot, find_shot
from seqhdr.quality.stops import stops

__all__ = ["Footage", "StoredFrame", "open_footage", "partner", "read_stored"]

# An EXR without a tag is scene-linear by convention; integers are what a browser would take them for.
_UNTAGGED_EXR = "lin_rec709"
_UNTAGGED_INTEGER = "srgb"
# Primaries in an EXR header that tell linear spaces apart: x, y of red, green, blue.
_CHROMATICITIES = {
    _UNTAGGED_EXR: (0.64, 0.33, 0.30, 0.60, 0.15, 0.06),
    "acescg": (0.713, 0.293, 0.165, 0.830, 0.128, 0.044),
    "aces2065-1": (0.7347, 0.2653, 0.0, 1.0, 0.0001, -0.0770),
}


@dataclass(frozen=True)
class StoredFrame:
    """One frame as its file holds it.

    Attributes:
        path: the file.
        pixels: (H, W, 3) uint8, uint16, float16 or float32; grey is repeated three times.
        max_code: 2^bits - 1 of integers, None of floats.
        storage: ``8 bits`` …, ``half``, ``float``, or ``float24`` (float as PXR24 keeps it).
        attributes: header entries of an EXR; empty for other files.
        frames_per_second: of the header, or None.
    """

    path: Path
    pixels: NDArray[Any]
    max_code: int | None
    storage: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    frames_per_second: float | None = None


@dataclass(frozen=True)
class Footage:
    """A sequence and what its values mean.

    Attributes:
        shot: its frames on disk.
        encoding: of the values.
        assumed: whether the encoding is a convention, because neither the user nor the files name it.
        first: the first frame, whose size and storage all others share.
    """

    shot: Shot
    encoding: ColorEncoding
    assumed: bool
    first: StoredFrame

    @property
    def height(self) -> int:
        """In pixels."""
        return int(self.first.pixels.shape[0])

    @property
    def width(self) -> int:
        """In pixels."""
        return int(self.first.pixels.shape[1])

    def read(self, frame: int) -> StoredFrame:
        """Read a frame.

        Raises:
            FrameError: it is missing, damaged, has no RGB, or is not of the first one's size and storage.
        """
        stored = read_stored(self.shot.path(frame))
        mine, its = stored.pixels.shape, self.first.pixels.shape
        if mine != its or stored.storage != self.first.storage:
            raise FrameError(
                f"{stored.path}: is {mine[1]}x{mine[0]}, {stored.storage}, but {self.first.path.name} is "
                f"{its[1]}x{its[0]}, {self.first.storage}: report such frames apart with --frames"
            )
        return stored

    def light_of(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Stored values of any shape → scene-linear light in the encoding's own primaries; NaN and Inf stay."""
        levels = torch.from_numpy(values.astype(np.float64)) / (self.first.max_code or 1)
        return np.asarray(self.encoding.decode(levels).to(torch.float32).numpy())

    def light(self, pixels: NDArray[Any]) -> Tensor:
        """(h, w, 3) stored values → (3, h, w) float32 light in the encoding's own primaries; not finite reads as 0."""
        return self._planes(pixels, in_stops=False)

    def stops(self, pixels: NDArray[Any]) -> Tensor:
        """(h, w, 3) stored values → (3, h, w) float32 :func:`seqhdr.quality.stops.stops` of their light."""
        return self._planes(pixels, in_stops=True)

    def quantum(self, pixels: NDArray[Any]) -> Tensor:
        """Stops of one code, the wider of up and down: (h, w, 3) stored values → (3, h, w) float32.

        Floats have no codes; they get those of 8-bit sRGB, so that a shot reads alike with and without its source.
        """
        max_code = self.first.max_code
        if max_code is None:
            srgb = get_encoding("srgb")
            value = srgb.encode(self.light(pixels).clamp(0, 1))
            return stops(srgb.decode(value + 1 / 255)) - stops(srgb.decode(value))
        steps = np.diff(_table(self.encoding, pixels.dtype.str, max_code, True)[: max_code + 1])
        wider = np.maximum(np.append(steps, steps[-1]), np.insert(steps, 0, steps[0]))
        return torch.from_numpy(wider[pixels].transpose(2, 0, 1).copy())

    def _planes(self, pixels: NDArray[Any], *, in_stops: bool) -> Tensor:
        if pixels.dtype == np.float32:
            light = self.encoding.decode(torch.from_numpy(pixels).permute(2, 0, 1).contiguous())
            light = light.nan_to_num(0.0, 0.0, 0.0)
            return stops(light) if in_stops else light
        # A look-up is several times as fast as the curve.
        table = _table(self.encoding, pixels.dtype.str, self.first.max_code, in_stops)
        index = pixels.view(np.uint16) if pixels.dtype == np.float16 else pixels
        planes = np.empty((3, *pixels.shape[:2]), np.float32)
        for channel in range(3):
            np.take(table, index[..., channel], out=planes[channel], mode="clip")
        return torch.from_numpy(planes)


@lru_cache(maxsize=16)
def _table(encoding: ColorEncoding, kind: str, max_code: int | None, in_stops: bool) -> NDArray[np.float32]:
    """Light, or its stops, of everything that 16 bits or fewer can hold."""
    every = torch.arange(256 if np.dtype(kind) == np.uint8 else 65536, dtype=torch.float64)
    if max_code is None:
        every = torch.from_numpy(np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float64))
    light = encoding.decode(every / (max_code or 1)).nan_to_num(0.0, 0.0, 0.0)
    return np.asarray((stops(light) if in_stops else light).to(torch.float32).numpy())


def read_stored(path: Path) -> StoredFrame:
    """Read an EXR or an integer frame without touching its values.

    Of an EXR it is the display window: what lies outside the data window is black, and overscan is left out.

    Raises:
        FrameError: it is missing, damaged, or has neither R, G and B nor Y.
    """
    if path.suffix.lower() not in EXR_EXTENSIONS:
        frame = read_frame(path)
        rate = float(frame.frames_per_second) if frame.frames_per_second else None
        return StoredFrame(path, frame.codes, 2**frame.bits - 1, f"{frame.bits} bits", {}, rate)
    channels, info = read_exr(path)
    names = "RGB" if all(name in channels for name in "RGB") else "YYY"
    if names[0] not in channels:
        raise FrameError(
            f"{path}: has no channels R, G and B (it has {', '.join(info.channels)}): "
            "give frames whose picture is in the main layer"
        )
    planes = [channels[name] for name in names]
    wide = np.float16 if all(plane.dtype == np.float16 for plane in planes) else np.float32
    pixels = _displayed(np.stack([plane.astype(wide, copy=False) for plane in planes], axis=-1), info)
    rate = float(info.frames_per_second) if info.frames_per_second else None
    storage = "half" if wide == np.float16 else "float24" if info.compression == "pxr24" else "float"
    return StoredFrame(path, pixels, None, storage, dict(info.attributes), rate)


def _displayed(pixels: NDArray[Any], info: ExrInfo) -> NDArray[Any]:
    """(H, W, 3) of the data window → of the display window."""
    left, top, width, height = info.display_window
    if info.data_window == info.display_window or min(width, height) < 1:
        return pixels
    shown = np.zeros((height, width, 3), pixels.dtype)
    right, down = info.data_window[0] - left, info.data_window[1] - top
    seen = pixels[max(-down, 0) : max(height - down, 0), max(-right, 0) : max(width - right, 0)]
    down, right = max(down, 0), max(right, 0)
    shown[down : down + seen.shape[0], right : right + seen.shape[1]] = seen
    return shown


def open_footage(
    pattern: str, *, frames: str | None = None, space: str | None = None, ocio: str | None = None, option: str
) -> Footage:
    """Find a sequence and look at its first frame.

    Args:
        pattern: ``shot_%04d.png``, ``out/shot_acescct.%04d.exr`` …
        frames: which frames; None for all. Gaps split it.
        space: encoding of the values; None reads it from the header, and falls back on a convention: linear for EXR
            (primaries from the header), sRGB for integers.
        ocio: path of an OCIO config.
        option: what names the encoding on the command line, for error messages.

    Raises:
        ShotError, FrameError: files missing, unreadable, without RGB, or of primaries that have no short name.
        UnknownNameError: an encoding nobody knows.
    """
    shot = _find(pattern, frames)
    first = read_stored(shot.path(shot.frames[0]))
    if space is not None:
        return Footage(shot, get_encoding(space, ocio), False, first)
    tagged = encoding_from_header(first.attributes)
    ours = first.attributes.get("seqhdr:output_space")
    if tagged is None and ours is not None:
        # A space of an OCIO config has no short name, and its config may not be the one of today.
        try:
            tagged = get_encoding(str(ours), ocio)
        except SeqhdrError as error:
            raise ShotError(
                f"{first.path}: is in {ours}, which cannot be looked up ({error}): name the config with --ocio, or "
                f"the space with {option}"
            ) from error
    if tagged is not None:
        return Footage(shot, tagged, False, first)
    return Footage(shot, get_encoding(_convention(first, option)), True, first)


def _find(pattern: str, frames: str | None) -> Shot:
    """The shot; one that has every N-th frame only is whole, not a row of gaps."""
    extensions = (*SOURCE_EXTENSIONS, *EXR_EXTENSIONS)
    shot = find_shot(pattern, frames=frames, missing="split", extensions=extensions)
    steps = {after - before for before, after in zip(shot.frames, shot.frames[1:], strict=False)}
    if frames is None and len(steps) == 1 and steps != {1} and len(shot.frames) > 2:
        every = f"{shot.frames[0]}-{shot.frames[-1]}x{steps.pop()}"
        return find_shot(pattern, frames=every, missing="split", extensions=extensions)
    return shot


def _convention(first: StoredFrame, option: str) -> str:
    if first.max_code is not None:
        return _UNTAGGED_INTEGER
    stated = first.attributes.get("chromaticities")
    if stated is None:
        return _UNTAGGED_EXR
    for name, xy in _CHROMATICITIES.items():
        if np.allclose(np.ravel(stated)[:6], xy, atol=2e-3):
            return name
    raise ShotError(
        f"{first.path}: its primaries are those of none of {', '.join(_CHROMATICITIES)}: name its space with {option}, "
        "like 'Linear Rec.2020'"
    )


def partner(other: Footage, frame: int, stored: StoredFrame, option: str) -> int:
    """The frame of another sequence that belongs to this one: the same number, or the one it was held from.

    Raises:
        ShotError: there is no such frame.
    """
    number = int(stored.attributes.get("seqhdr:source_frame", frame)) if option == "--source" else frame
    if number not in other.shot.available:
        raise ShotError(
            f"{other.shot.pattern}: has no frame {number}, on disk are {compact(other.shot.available)}: "
            f"check {option}, or leave frame {frame} out with --frames"
        )
    return number
