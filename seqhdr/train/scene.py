"""A shot with everything in it: the view, what moves before it, where each pixel came from, and what was hidden."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seqhdr.train.camera import CameraPath
from seqhdr.train.layers import Layer, place_layer
from seqhdr.train.panorama import Panorama, look

__all__ = ["SceneClip", "render_clip"]

# How much of a pixel may be covered, or open, before it counts as mixed: rounding, and no more. The smallest share of
# a lamp can outshine all that it is mixed with.
_ROUNDING = 1e-5
# Labels: the view is 0, layers count from 1.
_MIXED = -1


@dataclass(frozen=True)
class SceneClip:
    """One shot and its exact motion.

    Attributes:
        rgb_lin: (T, H, W, 3) float32, scene-linear Rec.709; the shot as a whole is not exposed yet, but changes of
            the exposure in it are there.
        flow_px: (T, H, W, 2) float32, exact backward flow in pixels, x first; zero in frame 0. Where two things mix,
            that of the one in front if it covers more than half.
        visible: (T, H, W) bool, true where the thing that fills the pixel also fills the place in the frame before
            that its flow points to, which is all (up to four) pixels around that place: a bilinear fetch is right
            there. False in frame 0, where the flow leaves the picture, where something else was in front, and on
            edges, where two things mix.
    """

    rgb_lin: NDArray[np.float32]
    flow_px: NDArray[np.float32]
    visible: NDArray[np.bool_]


def render_clip(panorama: Panorama, path: CameraPath, layers: Sequence[Layer], height: int, width: int) -> SceneClip:
    """Film a panorama with layers in front.

    Args:
        panorama: the world.
        path: the camera; its length is the shot's.
        layers: from the one farthest behind to the one in front, each with a placement per frame.
        height, width: size in pixels.

    Returns:
        The shot.

    Raises:
        ValueError: a layer has more or fewer placements than the path has frames.
    """
    frames = len(path)
    for layer in layers:
        if len(layer.placements) != frames:
            raise ValueError(f"got a layer of {len(layer.placements)} frames, expected {frames} as in the path")
    rgb_lin = np.empty((frames, height, width, 3), np.float32)
    flow_px = np.empty((frames, height, width, 2), np.float32)
    visible = np.zeros((frames, height, width), np.bool_)
    labels = np.zeros((height, width), np.int8)
    for frame in range(frames):
        light, mattes = _expose(panorama, path, layers, frame, height, width)
        rgb_lin[frame] = (light * path.gain(frame, height, width)).transpose(1, 2, 0)
        before, labels = labels, np.zeros((height, width), np.int8)
        flow_px[frame] = path.flow(frame, height, width)
        for index, (layer, matte) in enumerate(zip(layers, mattes, strict=True)):
            labels[matte > _ROUNDING] = _MIXED
            labels[matte >= 1 - _ROUNDING] = index + 1
            front = matte > 0.5
            if front.any():
                flow_px[frame][front] = layer.flow(frame, height, width)[front]
        if frame > 0:
            visible[frame] = _seen_before(labels, before, flow_px[frame])
    return SceneClip(rgb_lin, flow_px, visible)


def _expose(
    panorama: Panorama, path: CameraPath, layers: Sequence[Layer], frame: int, height: int, width: int
) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
    """Light (3, H, W) and each layer's matte (H, W), averaged while the shutter is open."""
    speed_px = path.speed_px(frame, height, width)
    if path.shutter > 0:
        speed_px = max([speed_px, *(_speed_px(layer, frame) for layer in layers)])
    times = path.instants(frame, speed_px)
    light = np.zeros((3, height, width), np.float32)
    mattes = [np.zeros((height, width), np.float32) for _ in layers]
    for time in times:
        rotation, focal_px = path.at(time)
        view = look(panorama, rotation, focal_px, height, width, path.lens.distortion)
        for layer, covered in zip(layers, mattes, strict=True):
            placed = place_layer(layer, time, height, width)
            if placed is not None:
                (rows, columns), radiance, matte = placed
                behind = view[:, rows, columns]
                behind += matte * (radiance - behind)
                covered[rows, columns] += matte
        light += view
    share = np.float32(1 / len(times))
    return light * share, [matte * share for matte in mattes]


def _speed_px(layer: Layer, frame: int) -> float:
    """How fast the fastest corner of a layer moves around a frame, in pixels per frame."""
    rows, columns = layer.matte.shape
    corners = np.array(((0, columns - 1, 0, columns - 1), (0, 0, rows - 1, rows - 1), (1, 1, 1, 1)))
    around = layer.placements[max(frame - 1, 0) : frame + 2]
    return float(np.abs(np.diff(around @ corners, axis=0)).max(initial=0.0))


def _seen_before(labels: NDArray[np.int8], before: NDArray[np.int8], flow_px: NDArray[np.float32]) -> NDArray[np.bool_]:
    """True where all pixels around the place that the flow points to belonged to the same thing."""
    height, width = labels.shape
    x = flow_px[..., 0] + np.arange(width, dtype=np.float32)
    y = flow_px[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    left, right, above, below = (f(v).astype(np.intp) for v in (x, y) for f in (np.floor, np.ceil))
    same = inside & (labels != _MIXED)
    for row, column in ((above, left), (above, right), (below, left), (below, right)):
        same &= before[row, column] == labels
    return np.asarray(same)
