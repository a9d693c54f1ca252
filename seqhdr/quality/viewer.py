"""Packs crops of pictures at native pixels, bit for bit, into JSON that the report's picture viewer unpacks.

Values are 16 bits: those of a half, or a code. Red and blue are stored as their difference from green, each pixel as
its difference from the one on its left, and that is deflated: a 384x216 crop of film with its 8-bit source takes 200 to
500 kB. ``templates/viewer_unpack.js`` is the way back.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "IDENTITY",
    "CodePicture",
    "Crop",
    "HalfPicture",
    "pack_viewer",
]

Matrix3 = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]

#: Rows of the matrix of a picture whose light has the primaries of Rec.709 already.
IDENTITY: Matrix3 = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@dataclass(frozen=True)
class HalfPicture:
    """A picture as light.

    Args:
        name: what the viewer calls it; may come from a file.
        rgb_lin: (H, W, 3) scene-linear, primaries of Rec.709, diffuse white at 1.0; NaN and infinity are kept.
    """

    name: str
    rgb_lin: NDArray[np.float16]


@dataclass(frozen=True)
class CodePicture:
    """A picture as integer codes, with what they mean.

    Args:
        name: what the viewer calls it; may come from a file.
        codes: (H, W, 3).
        light_of_code: (levels,) scene-linear light of each code in the picture's own primaries, at least as many
            levels as there are codes in use.
        to_rec709: rows of the matrix from those primaries to Rec.709.
    """

    name: str
    codes: NDArray[np.uint8 | np.uint16]
    light_of_code: NDArray[np.float32]
    to_rec709: Matrix3 = IDENTITY


@dataclass(frozen=True)
class Crop:
    """The same pixels of one frame in several pictures.

    Args:
        frame: the frame's number.
        why: why it is worth a look, in a word or two, such as "flicker".
        x: left edge in the whole frame, in pixels.
        y: top edge in the whole frame, in pixels.
        pictures: all of one size, at native pixels, with names that differ.
    """

    frame: int
    why: str
    x: int
    y: int
    pictures: tuple[HalfPicture | CodePicture, ...]


def pack_viewer(crops: Sequence[Crop], *, width: int, height: int) -> dict[str, Any]:
    """What the viewer reads, made of plain dicts, lists, numbers and strings.

    Args:
        crops: in the order in which they are offered; the first is shown.
        width: of the whole frame, in pixels.
        height: of the whole frame, in pixels.

    Returns:
        ``width``, ``height``, ``curves`` (packed ``light_of_code``, each once) and ``crops`` with their pictures.

    Raises:
        ValueError: a crop has no picture, pictures of different sizes or with the same name, or lies outside the frame;
            a picture is not of the type or shape documented; a code has no light.
    """
    curves: list[str] = []
    return {
        "width": width,
        "height": height,
        "crops": [_pack_crop(crop, curves, width, height) for crop in crops],
        "curves": curves,
    }


def _pack_crop(crop: Crop, curves: list[str], width: int, height: int) -> dict[str, Any]:
    names = [picture.name for picture in crop.pictures]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"got pictures {names} in the crop of frame {crop.frame}: expected one at least, names differ")
    shapes = {_pixels(picture).shape for picture in crop.pictures}
    shape = shapes.pop()
    if shapes or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        all_shapes = [_pixels(picture).shape for picture in crop.pictures]
        raise ValueError(f"got pictures of shapes {all_shapes} at frame {crop.frame}: expected one shape (H, W, 3)")
    if not (0 <= crop.x <= width - shape[1] and 0 <= crop.y <= height - shape[0]):
        raise ValueError(
            f"got a crop of {shape[1]}x{shape[0]} at {crop.x}, {crop.y}: expected it inside {width}x{height}"
        )
    return {
        "frame": crop.frame,
        "why": crop.why,
        "x": crop.x,
        "y": crop.y,
        "width": shape[1],
        "height": shape[0],
        "pictures": [_pack_picture(picture, curves) for picture in crop.pictures],
    }


def _pixels(picture: HalfPicture | CodePicture) -> NDArray[Any]:
    return picture.rgb_lin if isinstance(picture, HalfPicture) else picture.codes


def _pack_picture(picture: HalfPicture | CodePicture, curves: list[str]) -> dict[str, Any]:
    if isinstance(picture, HalfPicture):
        if picture.rgb_lin.dtype != np.float16:
            raise ValueError(f"got {picture.rgb_lin.dtype} in {picture.name!r}: expected float16")
        bits = np.ascontiguousarray(picture.rgb_lin).view(np.uint16)
        return {"name": picture.name, "kind": "half", "planes": _pack_planes(bits)}
    codes, light = picture.codes, picture.light_of_code
    if codes.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"got {codes.dtype} in {picture.name!r}: expected uint8 or uint16")
    if light.dtype != np.float32 or light.ndim != 1 or len(light) <= int(codes.max()):
        raise ValueError(
            f"got light_of_code of {light.dtype} {light.shape} in {picture.name!r}: "
            f"expected float32, with more than {codes.max()} levels"
        )
    curve = _pack_curve(light)
    if curve not in curves:
        curves.append(curve)
    return {
        "name": picture.name,
        "kind": "codes",
        "planes": _pack_planes(codes.astype(np.uint16)),
        "curve": curves.index(curve),
        "to_rec709": [list(row) for row in picture.to_rec709],
    }


def _pack_planes(values: NDArray[np.uint16]) -> str:
    # Everything modulo 2^16, so that it comes back whatever the bits mean. Green is left as it is: it has most of the
    # light, and what red and blue have beside it is smooth.
    planes = np.ascontiguousarray(values.transpose(2, 0, 1)).astype(np.uint16)
    planes = np.stack([planes[1], planes[0] - planes[1], planes[2] - planes[1]])
    planes[:, :, 1:] -= planes[:, :, :-1]
    # Small differences of either sign become small numbers: 0, -1, 1, -2, 2 … → 0, 1, 2, 3, 4 …
    signed = planes.view(np.int16)
    folded = (planes << np.uint16(1)) ^ (signed >> np.int16(15)).view(np.uint16)
    return _deflate(cast("NDArray[Any]", folded))


def _pack_curve(light: NDArray[np.float32]) -> str:
    # Neighbouring floats of one sign have neighbouring bits.
    bits = np.ascontiguousarray(light).view(np.uint32)
    return _deflate(np.diff(bits, prepend=np.uint32(0)))


def _deflate(words: NDArray[Any]) -> str:
    # All low bytes, then all higher ones: the latter are nearly all zero.
    little = words.astype(words.dtype.newbyteorder("<")).reshape(-1, 1).view(np.uint8)
    return base64.b64encode(zlib.compress(np.ascontiguousarray(little.T).tobytes(), 9)).decode("ascii")
