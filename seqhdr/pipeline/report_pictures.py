"""The pictures of a report: worst frames with heat maps, maps over the shot, and crops for the viewer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from seqhdr.color.encodings import get_encoding, primaries_matrix
from seqhdr.pipeline.footage import Footage, StoredFrame
from seqhdr.pipeline.material import Frames, Material, read_frames, rec709_light
from seqhdr.pipeline.measure import Measured
from seqhdr.quality.banding import banded_regions
from seqhdr.quality.levels import REGION_PX, frame_levels
from seqhdr.quality.page import Pictures, WorstPicture
from seqhdr.quality.thumbnails import heat_legend, heat_map, thumbnail
from seqhdr.quality.viewer import CodePicture, Crop, HalfPicture, pack_viewer

__all__ = ["comparison_pictures", "shot_pictures"]

_PICTURE_PX = 640
_CROP_PX = (216, 384)  # height, width
_CROPS = 4
# A viewer's share of a page that must stay below 5 MB: pictures of all crops together.
_CROP_PIXELS = 4 * 2 * _CROP_PX[0] * _CROP_PX[1]
_HEAT_LIMITS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)

Row = dict[str, Any]
Heat = NDArray[np.float32]


def shot_pictures(material: Material, found: Measured, worst: Sequence[Row]) -> Pictures:
    """Read the worst frames once more and picture them.

    Args:
        material: what was measured.
        found: what came out.
        worst: from :func:`seqhdr.pipeline.report_numbers.worst_frames`; if there are none, the middle frame is shown.

    Raises:
        FrameError: a frame has vanished since.
    """
    frames = material.result.shot.frames
    rows = list(worst) or [_middle(frames)]
    limit = _round_limit(found.heats.values())
    pictured: list[WorstPicture] = []
    crops: list[Crop] = []
    for row in rows:
        read = read_frames(material, row["frame"])
        heat = _heat(row, material, found, read["result"])
        if worst:
            pictured.append(_worst_picture(row, material, read["result"], heat, limit))
        if len(crops) < _most_crops(len(read)):
            pixels = read["result"].pixels
            top, left = _crop_place(_focus(row, material, found, pixels, heat), pixels.shape[:2])
            crops.append(_crop(row, top, left, [(n, material.sequences[n], read[n]) for n in _order(read)]))
    stds = {name: std.map_stops for name, std in (found.std.by_name if found.std else {}).items()}
    most = _round_limit(stds.values())
    maps = [
        (f"{name}, temporal deviation along the motion, 0 to {most:g} stop", heat_map(std, most))
        for name, std in stds.items()
        if np.isfinite(std).any()
    ]
    return Pictures(
        contact_sheet=tuple(found.thumbnails) if len(frames) > 1 else (),
        worst=tuple(pictured),
        maps=tuple(maps),
        viewer=pack_viewer(crops, width=material.result.width, height=material.result.height),
        legend=heat_legend(limit, "stop"),
    )


def comparison_pictures(
    labels: Sequence[str], materials: Sequence[Material], worst: Sequence[Row], shared: Sequence[int]
) -> Pictures:
    """The same places of the same frames in several results.

    Args:
        labels: what the results are called, all different.
        materials: one per result, of one shot.
        worst: frames to show, as for :func:`shot_pictures`, taken from all results together.
        shared: frame numbers that all results have.
    """
    crops: list[Crop] = []
    others = {name: footage for name, footage in materials[0].sequences.items() if name == "truth"}
    for row in list(worst) or ([_middle(shared)] if shared else []):
        if len(crops) == _most_crops(len(labels) + len(others)):
            break
        read = [read_frames(material, row["frame"]) for material in materials]
        pixels = read[0]["result"].pixels
        top, left = _crop_place(_focus(row, materials[0], None, pixels, None), pixels.shape[:2])
        shown = [(label, m.result, r["result"]) for label, m, r in zip(labels, materials, read, strict=True)]
        shown += [(name, footage, read[0][name]) for name, footage in others.items()]
        crops.append(_crop(row, top, left, shown))
    result = materials[0].result
    return Pictures(viewer=pack_viewer(crops, width=result.width, height=result.height) if crops else None)


def _middle(frames: Sequence[int]) -> Row:
    return {"frame": frames[len(frames) // 2], "why": "middle of the shot", "value": None, "unit": ""}


def _order(frames: Frames) -> list[str]:
    """The source first: the viewer shows it on the left of its wipe."""
    return [name for name in ("source", "result", "truth") if name in frames]


def _most_crops(pictures: int) -> int:
    return max(1, min(_CROPS, _CROP_PIXELS // (pictures * _CROP_PX[0] * _CROP_PX[1])))


def _round_limit(maps: Iterable[Heat]) -> float:
    """One scale for several maps: the first round number of stops that hardly anything exceeds."""
    finite = [values[np.isfinite(values)] for values in maps]
    top = max((float(np.quantile(values, 0.995)) for values in finite if values.size), default=0.0)
    return next((limit for limit in _HEAT_LIMITS if limit >= top), _HEAT_LIMITS[-1])


def _heat(row: Row, material: Material, found: Measured, frame: StoredFrame) -> Heat | None:
    if row["why"].startswith("flicker"):
        return found.heats.get(row["frame"])
    if row["why"] == "banding":
        return banded_regions(frame_levels(frame.pixels, material.result.light_of))
    return None


def _worst_picture(row: Row, material: Material, frame: StoredFrame, heat: Heat | None, limit: float) -> WorstPicture:
    step = max(1, frame.pixels.shape[1] // (2 * _PICTURE_PX))
    light = rec709_light(material.result, np.ascontiguousarray(frame.pixels[::step, ::step]))
    height, width = frame.pixels.shape[:2]
    size = min(_PICTURE_PX, width)
    png = None
    if heat is not None:
        shape = (size, max(1, round(size * height / width)))
        wide = cv2.resize(heat, shape, interpolation=cv2.INTER_NEAREST)
        png = heat_map(wide.astype(np.float32, copy=False), 1.0 if row["why"] == "banding" else limit)
    shown = thumbnail(light.permute(1, 2, 0).numpy(), size)
    return WorstPicture(row["frame"], row["why"], shown, png, _caption(row, material.against))


def _caption(row: Row, against: str | None) -> str:
    value = row["value"]
    return {
        "flicker": f"{value:.4f} stop",
        "flicker added": f"{value:.4f} stop more than its {against}",
        "exposure jitter": f"{value:.4f} stop off",
        "banding": f"{100 * value:.1f} % of pixels in visible bands",
        "highlights": f"highlights extended by up to {value:.2f} stops",
    }[row["why"]]


def _focus(
    row: Row, material: Material, found: Measured | None, pixels: NDArray[Any], heat: Heat | None
) -> tuple[float, float]:
    """The place of a frame that is worth a crop, as shares of its height and width."""
    if heat is not None and np.isfinite(heat).any():
        # A place that is hot all over rather than one hot sample.
        smooth = cv2.blur(np.nan_to_num(heat), (9, 9)) if row["why"] != "banding" else np.nan_to_num(heat)
        y, x = np.unravel_index(int(smooth.argmax()), smooth.shape)
        scale = REGION_PX / np.array(pixels.shape[:2]) if row["why"] == "banding" else 1 / np.array(smooth.shape)
        return float((y + 0.5) * scale[0]), float((x + 0.5) * scale[1])
    if row["why"] == "highlights":
        step = max(1, pixels.shape[1] // 512)
        light = material.result.light(np.ascontiguousarray(pixels[::step, ::step])).amax(dim=0)
        row_px, column_px = divmod(int(light.argmax()), light.shape[1])
        return (row_px + 0.5) / light.shape[0], (column_px + 0.5) / light.shape[1]
    return 0.5, 0.5


def _crop_place(focus: tuple[float, float], size: tuple[int, ...]) -> tuple[int, int]:
    """Top and left of a crop around a place, inside the frame."""
    places = []
    for share, whole, part in zip(focus, size, _CROP_PX, strict=True):
        places.append(max(0, min(math.floor(share * whole) - part // 2, whole - part)))
    return places[0], places[1]


def _crop(row: Row, top: int, left: int, shown: Sequence[tuple[str, Footage, StoredFrame]]) -> Crop:
    pictures = []
    for name, footage, frame in shown:
        pixels = np.ascontiguousarray(frame.pixels[top : top + _CROP_PX[0], left : left + _CROP_PX[1]])
        pictures.append(_viewed(name, footage, pixels))
    return Crop(row["frame"], row["why"], left, top, tuple(pictures))


def _viewed(name: str, footage: Footage, pixels: NDArray[Any]) -> HalfPicture | CodePicture:
    if footage.first.max_code is None:
        light = rec709_light(footage, pixels).clamp(-65504, 65504).permute(1, 2, 0)
        return HalfPicture(name, light.half().contiguous().numpy())
    curve = footage.light_of(np.arange(footage.first.max_code + 1))
    first, second, third = (
        (float(row[0]), float(row[1]), float(row[2]))
        for row in primaries_matrix(footage.encoding, get_encoding("lin_rec709"))
    )
    return CodePicture(name, pixels, curve, (first, second, third))
