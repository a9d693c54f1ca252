"""One frame of a deflicker: read with all its layers, given its gains, held in its bins, written with its header."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqhdr.color.bins import clip_mask, encode_into_bins
from seqhdr.color.containers import HALF_MAX
from seqhdr.color.encodings import ColorEncoding, convert_linear
from seqhdr.errors import FrameError
from seqhdr.media.exr import COMPRESSIONS, AttributeValue, ExrInfo, read_exr
from seqhdr.media.frames import read_frame
from seqhdr.media.shot import EXR_EXTENSIONS

__all__ = ["LayeredFrame", "SourceBins", "apply_gain", "kept_header", "own_compression", "read_layers"]

# What the writer sets itself, and what describes the file that was read and not the picture.
_OWN = ("compression", "PixelAspectRatio", "DateTime", "chromaticities", "framesPerSecond", "smpte:TimeCode", "name")
_OWN_PREFIXES = ("oiio:", "openexr:", "ImageDescription.", "dpx:", "tiff:", "png:", "nuke/full_layer_names")
_PICTURE = {"RGB": ("R", "G", "B"), "Y": ("Y",)}


@dataclass(frozen=True)
class LayeredFrame:
    """A frame as its file holds it, with all layers.

    Attributes:
        pixels: (H, W, 3) of the picture: uint8, uint16, float16 or float32.
        picture: names of its channels in the file, R, G and B or Y.
        layers: channel name → (H, W) float16 or float32, in the order of the file; alpha is ``A``. Those of the
            picture are among them, unless the file holds integers.
        max_code: 2^bits - 1 of integers, None of floats.
        info: header of an EXR, or None.
        pixel_aspect, frames_per_second, timecode: of the header.
    """

    pixels: NDArray[Any]
    picture: tuple[str, ...]
    layers: Mapping[str, NDArray[Any]]
    max_code: int | None
    info: ExrInfo | None
    pixel_aspect: float
    frames_per_second: Fraction | None
    timecode: str | None


@dataclass(frozen=True)
class SourceBins:
    """The bins that a result is held in.

    Attributes:
        codes: (3, H, W) float32 whole numbers of the source.
        half_width_lsb: w in codes, finite.
        max_code: 2^bits - 1.
        encoding: of the codes.
        space: its name, which a response curve does not change.
    """

    codes: Tensor
    half_width_lsb: float
    max_code: int
    encoding: ColorEncoding
    space: str


def read_layers(path: Path) -> LayeredFrame:
    """Read a frame with everything in it; of an EXR, the display window of its first part.

    Raises:
        FrameError: it is missing, damaged, without a picture, or holds what cannot be written again.
    """
    if path.suffix.lower() not in EXR_EXTENSIONS:
        frame = read_frame(path)
        top = 2**frame.bits - 1
        layers = {} if frame.alpha is None else {"A": frame.alpha.astype(np.float32) / np.float32(top)}
        about = (frame.pixel_aspect, frame.frames_per_second, frame.timecode)
        return LayeredFrame(frame.codes, ("R", "G", "B"), layers, top, None, *about)
    channels, info = read_exr(path)
    picture = next((names for names in _PICTURE.values() if set(names) <= channels.keys()), None)
    if picture is None:
        raise FrameError(f"{path}: has no channels R, G and B: give frames whose picture is in the main layer")
    whole = next((name for name, plane in channels.items() if plane.dtype == np.uint32), None)
    if whole is not None:
        raise FrameError(
            f"{path}: its layer {whole} holds 32-bit integers, which would be lost: write it to a file apart"
        )
    shown = {name: _displayed(plane, info) for name, plane in channels.items()}
    pixels = np.stack([shown[name] for name in (picture if len(picture) == 3 else picture * 3)], axis=-1)
    return LayeredFrame(pixels, picture, shown, None, info, info.pixel_aspect, info.frames_per_second, info.timecode)


def apply_gain(
    frame: LayeredFrame,
    gain_stops: NDArray[np.float32] | None,
    encoding: ColorEncoding,
    bins: SourceBins | None,
    dtype: type[np.floating[Any]],
    *,
    float24: bool = False,
) -> NDArray[Any]:
    """The picture with its gains, in the encoding it had.

    Args:
        frame: as it was read.
        gain_stops: (H, W, 3) to be added in stops of light; None for nothing at all, which keeps every bit.
        encoding: of the picture.
        bins: where every channel has to stay; None for anywhere.
        dtype: float16 or float32, of the result.
        float24: keep to the floats that PXR24 stores without loss; only read with ``bins``.

    Returns:
        (H, W, 3) of that dtype. What is not finite stays as it is; what is too bright for half is held at its largest.
    """
    values = frame.pixels.astype(np.float32) / np.float32(frame.max_code or 1)
    if gain_stops is None and bins is None:
        return values.astype(dtype) if frame.max_code is not None else frame.pixels.astype(dtype)
    levels = torch.from_numpy(values).permute(2, 0, 1).contiguous()
    light = encoding.decode(levels)
    if gain_stops is not None:
        light = light * torch.exp2(torch.from_numpy(gain_stops).permute(2, 0, 1))
    if bins is not None:
        return _into_bins(light, encoding, bins, dtype, float24)
    encoded = encoding.encode(light)
    assert gain_stops is not None
    untouched = ~torch.isfinite(levels) | (torch.from_numpy(gain_stops).permute(2, 0, 1) == 0)
    encoded = torch.where(untouched, levels, encoded)
    if dtype is np.float16:
        encoded = torch.where(torch.isfinite(levels), encoded.clamp(-HALF_MAX, HALF_MAX), encoded)
    return np.ascontiguousarray(encoded.permute(1, 2, 0).numpy().astype(dtype))


def kept_header(
    frame: LayeredFrame, encoding: ColorEncoding | None, own: Mapping[str, AttributeValue]
) -> dict[str, Any]:
    """What the header of the result says: all that the frame's said about the picture, and what is new.

    Args:
        frame: as it was read.
        encoding: of the picture, which the header is to name; None leaves that as it was.
        own: entries that are added or replaced.

    Returns:
        Arguments for :func:`seqhdr.media.exr.write_exr`.
    """
    attributes: dict[str, AttributeValue] = {}
    kept = frame.info.attributes if frame.info is not None else {}
    for name, value in kept.items():
        if name not in _OWN and not name.startswith(_OWN_PREFIXES) and _writable(value):
            attributes[name] = value
    attributes["seqhdr:version"] = version("seqhdr")
    if encoding is not None:
        attributes["seqhdr:output_space"] = encoding.name
    if encoding is not None and encoding.interop_id:
        attributes["colorInteropID"] = encoding.interop_id
    chromaticities = kept.get("chromaticities")
    return {
        "attributes": attributes | dict(own),
        "chromaticities": None if chromaticities is None else [float(v) for v in np.ravel(chromaticities)],
        "frames_per_second": frame.frames_per_second,
        "timecode": frame.timecode,
        "pixel_aspect": frame.pixel_aspect,
    }


def own_compression(frame: LayeredFrame) -> str:
    """The compression a frame has, or zip where it has none that can be written."""
    name = frame.info.compression if frame.info is not None else "zip"
    return name if name in COMPRESSIONS else "zip"


def _into_bins(
    light: Tensor, encoding: ColorEncoding, bins: SourceBins, dtype: type[np.floating[Any]], float24: bool
) -> NDArray[Any]:
    """Light (3, H, W) as near as the bins allow, in the encoding: (H, W, 3)."""
    codes, top = bins.codes, bins.max_code
    shown = convert_linear(light, encoding, bins.encoding)
    clipped = clip_mask(codes, bins.half_width_lsb, top)
    offset = torch.where(clipped, 0, bins.encoding.encode(shown) * top - codes).nan_to_num(0, 0, 0)
    # Open bins begin half a code under the top; what is above that is a gain.
    base = bins.encoding.decode(codes.clamp(max=top - 0.5) / top)
    gain = torch.where(clipped, (shown.clamp_min(1e-9) / base).log2(), 0).nan_to_num(0, 0, 0).clamp_min(0)
    kind = torch.float16 if dtype is np.float16 else torch.float32
    encoded, _ = encode_into_bins(
        codes, offset.contiguous(), gain.contiguous(), bins.half_width_lsb, top, bins.encoding, encoding, kind,
        float24=float24 and kind == torch.float32,
    )  # fmt: skip
    return np.ascontiguousarray(encoded.permute(1, 2, 0).numpy())


def _displayed(plane: NDArray[Any], info: ExrInfo) -> NDArray[Any]:
    """(H, W) of the data window → of the display window: overscan is left out, what is missing is 0."""
    left, top, width, height = info.display_window
    if info.data_window == info.display_window or min(width, height) < 1:
        return plane
    shown = np.zeros((height, width), plane.dtype)
    right, down = info.data_window[0] - left, info.data_window[1] - top
    seen = plane[max(-down, 0) : max(height - down, 0), max(-right, 0) : max(width - right, 0)]
    down, right = max(down, 0), max(right, 0)
    shown[down : down + seen.shape[0], right : right + seen.shape[1]] = seen
    return shown


def _writable(value: object) -> bool:
    if isinstance(value, (str, int, float)):
        return not isinstance(value, float) or math.isfinite(value)
    return isinstance(value, tuple) and bool(value) and all(isinstance(each, float) for each in value)
