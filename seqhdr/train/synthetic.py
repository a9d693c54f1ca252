"""One synthetic clip: a camera in a panorama, things that move before it, and what a source does to the picture."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqhdr.color.encodings import convert_linear, get_encoding
from seqhdr.errors import InputError, ShotError, UsageError
from seqhdr.train.augment import augment_clip
from seqhdr.train.camera import CameraPath, draw_path
from seqhdr.train.config import SceneConfig
from seqhdr.train.degrade import DegradedClip, degrade, draw_degradation
from seqhdr.train.layers import draw_layers
from seqhdr.train.panorama import Panorama, load_panorama
from seqhdr.train.procedural import procedural_panorama
from seqhdr.train.scene import render_clip
from seqhdr.train.soften import draw_soft

__all__ = ["PANORAMA_EXTENSIONS", "SyntheticClip", "find_panoramas", "make_clip", "open_panorama"]

PANORAMA_EXTENSIONS = (".exr", ".hdr")
_PAINTED = "procedural:"


@dataclass(frozen=True)
class SyntheticClip:
    """A clip with everything that is known about it.

    Attributes:
        encoding: what the codes mean, a short name.
        degraded: codes and truth, (T, H, W, 3) arrays in the encoding's own primaries.
        flow_px: (T, 2, H, W) float32, exact backward flow; zero in frame 0.
        visible: (T, 1, H, W) bool, true where the content was seen in the frame before.
        made: panorama, camera, number of layers and degradation, JSON-able.
    """

    encoding: str
    degraded: DegradedClip
    flow_px: Tensor
    visible: Tensor
    made: dict[str, Any]


def make_clip(
    panorama: Panorama, scene: SceneConfig, rng: np.random.Generator, frames: int, height: int, width: int
) -> SyntheticClip:
    """Draw a clip and render it; the same generator state makes the same clip.

    Args:
        panorama: the world, scene-linear Rec.709.
        scene: what may happen.
        rng: decides everything.
        frames: T.
        height, width: in pixels; only squares are turned.
    """
    world = draw_soft(panorama, scene.soft, rng)
    path = draw_path(rng, scene.camera, frames, panorama.pixels_per_radian, height, width)
    layers = draw_layers(rng, scene.layers, frames, height, width, world.log2_median)
    view = render_clip(world, path, layers, height, width)
    light = torch.from_numpy(view.rgb_lin).permute(0, 3, 1, 2)
    flow_px = torch.from_numpy(view.flow_px).permute(0, 3, 1, 2)
    visible = torch.from_numpy(view.visible)[:, None]
    # Quarter turns would make upright frames of wide ones.
    augment = dataclasses.replace(scene.augment, rotate=scene.augment.rotate and height == width)
    light, flow_px, visible = augment_clip(light, flow_px, visible, rng, augment)
    degradation = draw_degradation(rng, scene.degrade)
    encoding = get_encoding(degradation.encoding)
    # A log plate lives in wide primaries, where the same colours are less saturated.
    light = convert_linear(light, get_encoding("lin_rec709"), encoding)
    degraded = degrade(np.ascontiguousarray(light.permute(0, 2, 3, 1).numpy()), degradation)
    made = {
        "panorama": panorama.name,
        "softened": world is not panorama,
        "camera": _describe(path),
        "layers": len(layers),
        "exposure": degraded.exposure,
        "degradation": dataclasses.asdict(degradation),
    }
    return SyntheticClip(encoding.name, degraded, flow_px.contiguous(), visible.contiguous(), made)


def find_panoramas(places: tuple[str, ...]) -> tuple[str, ...]:
    """The panoramas in folders, as names for :func:`open_panorama`, sorted within each folder; hidden ones are not.

    Args:
        places: folders, files, or ``procedural:SEED``.

    Raises:
        ShotError: a folder without panoramas, or a place that does not exist.
        UsageError: ``procedural:`` without a number.
    """
    found: list[str] = []
    for place in places:
        if place.startswith(_PAINTED):
            if not place.removeprefix(_PAINTED).isdecimal():
                raise UsageError(f"panorama {place!r}: write {_PAINTED}SEED with a number, like {_PAINTED}1")
            found.append(place)
            continue
        path = Path(place)
        if not path.exists():
            raise ShotError(f"{place}: there is no such folder or file: give a folder of .exr or .hdr panoramas")
        files = [path] if path.is_file() else sorted(filter(_is_panorama, path.iterdir()))
        if not files:
            raise ShotError(f"{place}: holds no .exr or .hdr panoramas: give another folder")
        found += map(str, files)
    return tuple(found)


def _is_panorama(path: Path) -> bool:
    # Hidden ones are what file managers and interrupted copies leave behind.
    return path.suffix.lower() in PANORAMA_EXTENSIONS and path.name[0] != "."


def open_panorama(name: str, painted_height: int = 512) -> Panorama:
    """Load or paint one panorama.

    Raises:
        FrameError: the file cannot be read.
        InputError: it is not twice as wide as high, so no equirectangular panorama.
    """
    if name.startswith(_PAINTED):
        return procedural_panorama(int(name.removeprefix(_PAINTED)), painted_height)
    panorama = load_panorama(Path(name))
    height, width = panorama.log2_rgb.shape[0], round(2 * np.pi * panorama.pixels_per_radian)
    if width != 2 * height:
        raise InputError(f"{name}: is {width}x{height}, and a panorama is twice as wide as high: give another file")
    return panorama


def _describe(path: CameraPath) -> dict[str, Any]:
    """The camera, frame by frame, as numbers that JSON can hold."""
    rotations: NDArray[np.float64] = path.rotations
    return {
        "focal_px": [round(float(f), 4) for f in path.focal_px],
        "rotations": [[round(float(x), 9) for x in matrix.ravel()] for matrix in rotations],
        "exposure_stops": [round(float(x), 6) for x in path.exposure_stops],
        "lens": dataclasses.asdict(path.lens),
        "shutter": path.shutter,
    }
