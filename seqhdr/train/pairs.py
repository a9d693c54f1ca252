"""Training pairs on disk: the folders that ``synth`` and ``prepare`` write, and ``train`` and ``eval`` read.

One folder per clip, input and truth under the same name and frame number::

    CLIP/clip.json                what it is: encoding, bins, camera, degradation, seed
    CLIP/input/CLIP.1001.png      8-bit codes
    CLIP/truth/CLIP.1001.exr      RGB in ACEScct, half or float: what the codes should have been
    CLIP/flow/CLIP.1001.exr       backward.u, backward.v, visible.Y: where each pixel was in the frame before

Flow is in pixels, u to the right and v *down*, the rows' direction; ``visible`` is 1 where the pixel's content was
seen in the frame before. Only synthetic clips have a flow folder.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqhdr.color.containers import HALF_MAX
from seqhdr.color.encodings import ColorEncoding, convert_linear, get_encoding
from seqhdr.errors import FrameError, InputError, ShotError, UsageError
from seqhdr.media.atomic import incomplete_file, whole_file
from seqhdr.media.exr import read_exr, write_exr
from seqhdr.media.frames import read_frame
from seqhdr.quality.truth_light import light_to_truth

__all__ = [
    "TRUTH_SPACE",
    "ClipInfo",
    "PairFrame",
    "encode_truth",
    "find_clips",
    "make_folder",
    "read_pair",
    "remove_clip",
    "truth_to_light",
    "write_clip_info",
    "write_pair",
]

#: Encoding of the truth, whatever the input's.
TRUTH_SPACE = "acescct"
_FORMAT = 1
_KINDS = ("input", "truth", "flow")
# Fast and small enough: the default of libpng, 6, takes three times as long for a tenth of the size.
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 3]


@dataclass(frozen=True)
class ClipInfo:
    """What ``clip.json`` says of a clip.

    Attributes:
        folder: where the clip lies; its name is the clip's name.
        frames: frame numbers, ascending.
        width, height: in pixels.
        encoding: what the input's codes mean, a short name.
        half_width_lsb: w, half the width of a bin in codes.
        scene: clips of one scene belong to one split.
        has_flow: whether the flow folder is there.
        made: how it was made, JSON-able: seed, camera, exposure, degradation, source.
    """

    folder: Path
    frames: tuple[int, ...]
    width: int
    height: int
    encoding: str
    half_width_lsb: float
    scene: str
    has_flow: bool = False
    made: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the clip, and the beginning of all its files' names."""
        return self.folder.name

    def path(self, kind: str, frame: int) -> Path:
        """The file of a frame; ``kind`` is ``input``, ``truth`` or ``flow``."""
        extension = "png" if kind == "input" else "exr"
        return self.folder / kind / f"{self.name}.{frame:04d}.{extension}"


@dataclass(frozen=True)
class PairFrame:
    """One frame of a clip, read.

    Attributes:
        codes: (H, W, 3) uint8.
        value_lsb: (3, H, W) float32, the truth in codes of the input's encoding, not cut off at either end.
        gain_stops: (3, H, W) float32 ≥ 0, stops above the top of the range, at most 12.
        flow_px: (H, W, 2) float32 exact backward flow, or None.
        visible: (H, W) bool, or None.
    """

    codes: NDArray[np.uint8]
    value_lsb: Tensor
    gain_stops: Tensor
    flow_px: NDArray[np.float32] | None = None
    visible: NDArray[np.bool_] | None = None


def make_folder(folder: Path) -> None:
    """Make a folder and those above it; one that is there already is fine.

    Raises:
        UsageError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: cannot become a folder ({error.strerror}): give another -o") from None


def remove_clip(clip: ClipInfo) -> None:
    """Delete the files of a clip that its description names, and the folders that are empty then.

    Nothing has to be there. What else lies in the folders stays.

    Raises:
        UsageError: a file cannot be deleted.
    """
    try:
        # The description first: what is interrupted from here on does not count as a clip.
        (clip.folder / "clip.json").unlink(missing_ok=True)
        for kind in _KINDS:
            for frame in clip.frames:
                clip.path(kind, frame).unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{clip.folder}: cannot be replaced ({error.strerror}): give another -o") from None
    for folder in (*(clip.folder / kind for kind in _KINDS), clip.folder):
        with suppress(OSError):
            folder.rmdir()


def write_clip_info(info: ClipInfo) -> None:
    """Write ``clip.json``, last of all files of a clip: a folder without it is unfinished."""
    text = {"format": _FORMAT, **dataclasses.asdict(info)}
    del text["folder"]
    with whole_file(info.folder / "clip.json") as hidden:
        hidden.write_text(json.dumps(text, indent=1, default=list) + "\n")


def write_pair(
    info: ClipInfo,
    frame: int,
    codes: NDArray[np.uint8],
    rgb_lin: Tensor,
    *,
    float_truth: bool,
    flow_px: NDArray[np.float32] | None = None,
    visible: NDArray[np.bool_] | None = None,
) -> NDArray[Any]:
    """Write the files of one frame.

    Args:
        info: the clip; its folders exist.
        frame: number of the frame.
        codes: (H, W, 3) uint8.
        rgb_lin: (3, H, W) scene-linear truth in the primaries of the clip's encoding.
        float_truth: 32 bits instead of half. Half keeps 10 bits of mantissa, about 1/10 code in the upper half of
            the range, which costs the last tenths of a dB where a model is good.
        flow_px, visible: as in :class:`PairFrame`.

    Returns:
        The truth as it is stored, see :func:`encode_truth`.

    Raises:
        FramesFailedError: a file could not be written whole.
    """
    coded, picture = cv2.imencode(".png", codes[..., ::-1], _PNG)
    with whole_file(info.path("input", frame)) as hidden:
        if not coded:
            raise incomplete_file(hidden, codes.nbytes, "PNG encoder failed")
        hidden.write_bytes(picture.tobytes())
    space = get_encoding(TRUTH_SPACE)
    rgb_log = encode_truth(rgb_lin, get_encoding(info.encoding), float_truth=float_truth)
    pixels = np.ascontiguousarray(rgb_log.transpose(1, 2, 0))
    tags = {"colorInteropID": space.interop_id} if space.interop_id else {}
    write_exr(info.path("truth", frame), {"RGB": pixels}, attributes=tags, overwrite=True)
    if flow_px is not None and visible is not None:
        planes: dict[str, NDArray[Any]] = {
            "backward.u": np.ascontiguousarray(flow_px[..., 0]),
            "backward.v": np.ascontiguousarray(flow_px[..., 1]),
            "visible.Y": visible.astype(np.float16),
        }
        write_exr(info.path("flow", frame), planes, overwrite=True)
    return rgb_log


def encode_truth(rgb_lin: Tensor, encoding: ColorEncoding, *, float_truth: bool) -> NDArray[Any]:
    """Light (3, H, W) in the primaries of ``encoding`` → the truth as it is stored, (3, H, W) float16 or float32.

    What half cannot hold is held at ±65504: far below black the curve is a steep line.
    """
    space = get_encoding(TRUTH_SPACE)
    rgb_log = space.encode(convert_linear(rgb_lin.double(), encoding, space))
    return np.asarray((rgb_log.float() if float_truth else rgb_log.clamp(-HALF_MAX, HALF_MAX).half()).numpy())


def find_clips(folder: Path) -> tuple[ClipInfo, ...]:
    """All clips below a folder, by path.

    Raises:
        ShotError: there are none.
        InputError: a ``clip.json`` cannot be understood.
    """
    found = tuple(_read_info(path) for path in sorted(folder.rglob("clip.json")))
    if not found:
        raise ShotError(f"{folder}: holds no clips (no clip.json below it): make some with 'seqhdr synth' or 'prepare'")
    return found


def _read_info(path: Path) -> ClipInfo:
    try:
        text = json.loads(path.read_text())
        if text.pop("format") != _FORMAT:
            raise ValueError(f"its format is not {_FORMAT}")
        text["frames"] = tuple(int(n) for n in text["frames"])
        info = ClipInfo(folder=path.parent, **text)
        get_encoding(info.encoding)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UsageError) as error:
        raise InputError(f"{path}: is not a clip's description ({error}): make the clip again") from error
    return info


def read_pair(info: ClipInfo, frame: int, *, flow: bool = True) -> PairFrame:
    """Read the files of one frame.

    Raises:
        FrameError: a file is missing, damaged, not of the clip's size, or the input has more than 8 bits.
    """
    picture = read_frame(info.path("input", frame))
    codes = picture.codes
    _check_size(info, info.path("input", frame), codes)
    if picture.bits != 8:
        raise FrameError(f"{info.path('input', frame)}: has {picture.bits} bits instead of 8: make the clip again")
    rgb_log = torch.from_numpy(np.stack(_planes(info, "truth", frame, ("R", "G", "B"))).astype(np.float32))
    encoding, space = get_encoding(info.encoding), get_encoding(TRUTH_SPACE)
    value_lsb, gain_stops = light_to_truth(convert_linear(space.decode(rgb_log), space, encoding), encoding)
    if encoding.primaries == space.primaries and encoding.name == space.name:
        value_lsb = rgb_log * 255  # without the detour through light, which costs the last bits
    if not (flow and info.has_flow):
        return PairFrame(codes, value_lsb, gain_stops)
    u, v, seen = _planes(info, "flow", frame, ("backward.u", "backward.v", "visible.Y"))
    return PairFrame(codes, value_lsb, gain_stops, np.stack((u, v), axis=-1), seen > 0.5)


def truth_to_light(value_lsb: Tensor, gain_stops: Tensor, encoding: ColorEncoding) -> Tensor:
    """The way back: scene-linear light in the primaries of ``encoding``, top of the range · 2^stops above it."""
    top = encoding.decode(torch.tensor(254.5 / 255, dtype=torch.float64)).to(value_lsb)
    return torch.where(gain_stops > 0, top * torch.exp2(gain_stops), encoding.decode(value_lsb / 255))


def _planes(info: ClipInfo, kind: str, frame: int, names: Sequence[str]) -> list[NDArray[Any]]:
    path = info.path(kind, frame)
    planes, _ = read_exr(path)
    missing = [name for name in names if name not in planes]
    if missing:
        raise FrameError(f"{path}: has no channel {', '.join(missing)}: make the clip again")
    _check_size(info, path, planes[names[0]])
    return [planes[name] for name in names]


def _check_size(info: ClipInfo, path: Path, pixels: NDArray[Any]) -> None:
    height, width = pixels.shape[:2]
    if (height, width) != (info.height, info.width):
        raise FrameError(f"{path}: is {width}x{height}, clip.json says {info.width}x{info.height}: make the clip again")
