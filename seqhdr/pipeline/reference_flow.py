"""Motion for a report: between neighbouring frames of the sequence that is least disturbed, on small pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqhdr.color.encodings import ColorEncoding, get_encoding
from seqhdr.model.motion import DisFlow
from seqhdr.quality.flicker import flow_difference_px
from seqhdr.quality.lattice import Motion
from seqhdr.quality.stops import light_of_stops, stops

__all__ = ["ReferenceFlow", "display_exposure", "display_picture", "flow_size", "small_light"]

_Plane = NDArray[np.float32]
_Matrix = NDArray[np.float64]

# At full size DIS alone would cost a quarter of the conversion.
_FLOW_PIXELS = 400_000
# Below a hundredth of a code nothing is to be levelled, and no picture to be made anew.
_LEVEL_STOPS = 0.0002
# The camera is fitted to means of flow over blocks of so many pixels a side, and to so many of them at least.
_BLOCK = 8
_FEWEST_BLOCKS = 24
# A block counts half at this variance, in codes of 255 squared: with less, DIS has nothing to hold on to.
_TEXTURE = 2.0
# Flow that is further off than this hardly counts; from coarse to fine, so that the fit ends at the motion that most
# of the picture has.
_SCALES_PX = (8.0, 4.0, 2.0, 1.0, 0.5, 0.25, 0.25)
# Then it is fitted to so many pixels, softened: the noise of codes pulls towards no motion, or whole pixels.
_PIXELS = 20_000
_SOFT_PX = 1.0
_ROUNDS = 3
# The camera is followed where it explains the picture around (a square of so many pixels a side) as well as DIS does:
# up to this factor and so many codes of 255 more entirely, beyond so many codes more not at all.
_WINDOW = 17
_FACTOR = 1.25
_CODES = (0.1, 0.4)


def flow_size(height: int, width: int) -> tuple[int, int]:
    """Height and width of the pictures flow is estimated on: the frame's, divided by a whole number if it is large."""
    by = max(1, math.ceil(math.sqrt(height * width / _FLOW_PIXELS)))
    return max(1, height // by), max(1, width // by)


def small_light(stops: Tensor, size: tuple[int, int], to_common: Tensor | None) -> Tensor:
    """A small picture of the same light.

    Args:
        stops: (3, H, W) :func:`seqhdr.quality.stops.stops` in the file's own primaries.
        size: height and width of the result; pixels are averaged in stops, in which lamps do not spread.
        to_common: (3, 3) from light in the file's primaries to common ones; None where they are the same.

    Returns:
        (1, 3, h, w) scene-linear light.
    """
    small = np.stack([cv2.resize(plane, size[::-1], interpolation=cv2.INTER_AREA) for plane in stops.numpy()])
    light = light_of_stops(torch.from_numpy(small))
    return (light if to_common is None else (to_common @ light.flatten(1)).view_as(light))[None]


def display_picture(light: Tensor, encoding: ColorEncoding | None, exposure: float = 1.0) -> Tensor:
    """Light as flow estimators and cut detectors want it: 0..1, as a display shows it.

    Args:
        light: (1, 3, h, w) scene-linear.
        encoding: of the source, so that all sequences look like it; None shows light L as sRGB of L / (1 + L).
        exposure: factor on the light where there is no encoding, see :func:`display_exposure`.
    """
    if encoding is None:
        light = light.clamp(min=0) * exposure
        return get_encoding("srgb").encode(light / (1 + light))
    return encoding.encode(light).clamp(0, 1)


def display_exposure(light: Tensor) -> float:
    """The factor that puts the median of a picture (1, 3, h, w) at middle grey: some renders are lit in candela."""
    middle = float(light[..., ::4, ::4].median())
    return 0.18 / middle if middle > 0 else 1.0


class ReferenceFlow:
    """Estimates the flow between each frame and the one before.

    DIS finds motion where there is texture. In a smooth sky it strays by tenths of a pixel, under a zoom by whole ones,
    and across a sky's gradient that reads as flicker. But mostly a sky moves as the picture around it does, with the
    camera. So a camera's motion (a homography: exact for one that turns and zooms) is fitted to the flow and then to
    the picture, and followed wherever it explains the picture as well as DIS does. What moves otherwise keeps its flow.

    On rendered shots of skies and woods, 512x288 in 8 bits, the mean error along a zoom falls from 0.6 to 0.04 pixel,
    along a pan by 12 px from 0.16 to 0.03.

    Keeps one frame, as light and as it is shown. Estimators own scratch memory: one object per thread.

    Args:
        height, width: of the frames, in pixels.
        encoding: of the source, see :func:`display_picture`.
    """

    def __init__(self, height: int, width: int, encoding: ColorEncoding | None) -> None:
        self._height, self._width = height, width
        self._encoding = encoding
        self._dis = DisFlow("medium")
        self._before: dict[str, Tensor] = {}
        self._shown: dict[str, Tensor] = {}
        self._exposure: float | None = None

    def step(
        self, light: Mapping[str, Tensor], reference: str, compared: str | None, step_stops: float | None
    ) -> tuple[Motion | None, float | None]:
        """The motion that leads to this frame.

        Args:
            light: by sequence, (1, 3, h, w) from :func:`small_light`.
            reference: whose motion it is.
            compared: whose motion ``result`` should have; None compares nothing.
            step_stops: how much brighter the frame of the reference is than the one before, see
                :func:`seqhdr.quality.levelling.exposure_step`; None where there is none before it.

        Returns:
            The motion, and tOF between ``result`` and ``compared`` in pixels of the frame; None where there is none.
        """
        before, self._before = self._before, dict(light)
        names = {reference} | ({"result", compared} if compared is not None else set())
        if self._exposure is None or step_stops is None:
            # Once for each stretch without a cut: a picture shown brighter from frame to frame would seem to move.
            self._exposure = display_exposure(light[reference])
        now = {name: display_picture(light[name], self._encoding, self._exposure) for name in names}
        shown, self._shown = self._shown, now
        if step_stops is None or not before:
            return None, None
        # DIS would take a change of brightness for motion along the gradients.
        then = {}
        for name in names:
            # A result may jitter where its reference does not.
            own = _brighter_stops(light[name], light[reference]) - _brighter_stops(before[name], before[reference])
            own += step_stops
            is_level = name in shown and abs(own) < _LEVEL_STOPS
            levelled = before[name] * 2**own
            then[name] = shown[name] if is_level else display_picture(levelled, self._encoding, self._exposure)
        flows = {name: self._dis(now[name], then[name])[0] for name in sorted(names)}
        forward = self._dis(then[reference], now[reference])[0]
        luma_now, luma_then = ({name: _luma(shown[name]) for name in names} for shown in (now, then))
        camera = _camera(flows[reference], luma_now[reference], luma_then[reference])
        if camera is not None:
            grid_px = _grid_px(*luma_now[reference].shape)
            moved_px = _project(camera, *grid_px)[:2]
            flows = {name: _follow(flows[name], moved_px, luma_now[name], luma_then[name]) for name in flows}
            moved_px = _project(np.linalg.inv(camera), *grid_px)[:2]
            forward = _follow(forward, moved_px, luma_then[reference], luma_now[reference])
        motion = Motion(self._whole(flows[reference]), self._whole(forward))
        if compared is None:
            return motion, None
        return motion, flow_difference_px(*(self._scaled(flows[name]) for name in ("result", compared)))

    def _scaled(self, flow_px: Tensor) -> Tensor:
        """(2, h, w) in its own pixels → (2, h, w) in those of the frame."""
        height, width = flow_px.shape[-2:]
        return flow_px * flow_px.new_tensor([self._width / width, self._height / height])[:, None, None]

    def _whole(self, flow_px: Tensor) -> Tensor:
        """(2, h, w) in its own pixels → (2, H, W) in those of the frame."""
        scaled: NDArray[np.float32] = self._scaled(flow_px).numpy()
        if scaled.shape[1:] == (self._height, self._width):
            return torch.from_numpy(scaled)
        planes = [cv2.resize(p, (self._width, self._height), interpolation=cv2.INTER_LINEAR) for p in scaled]
        return torch.from_numpy(np.stack(planes))


def _brighter_stops(light: Tensor, than: Tensor) -> float:
    """By how many stops one picture (1, 3, h, w) is brighter than another of the same frame: the median."""
    if light is than:
        return 0.0
    ours, other = (stops(each[..., ::8, ::8]) for each in (light, than))
    return float((ours - other).median())


def _luma(shown: Tensor) -> _Plane:
    """(1, 3, h, w) 0..1 → (h, w) 0..255."""
    luma: _Plane = (shown[0].mean(dim=0) * 255).numpy()
    return luma


def _camera(flow_px: Tensor, luma: _Plane, other: _Plane) -> _Matrix | None:
    """The camera's motion.

    Args:
        flow_px: (2, h, w) from the one picture to the other.
        luma, other: the pictures, (h, w) 0..255.

    Returns:
        Homography (3, 3) from places (x, y, 1) of the one to places of the other, the last entry 1; None where there
        is too little to see.
    """
    height, width = luma.shape
    # In units of half a width about the centre, all entries of the matrix are of one size.
    units = np.array([[2 / width, 0, -1], [0, 2 / width, -height / width], [0, 0, 1]])
    matrix = _fit_to_flow(flow_px, luma, units)
    if matrix is None:
        return None
    camera: _Matrix = np.linalg.inv(units) @ _fit_to_picture(matrix, luma, other, units) @ units
    camera = camera / camera[2, 2]
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]]) @ camera[2]
    # A picture on edge, or behind the camera, is no motion.
    return camera if corners.min() > 0.5 else None


def _fit_to_flow(flow_px: Tensor, luma: _Plane, units: _Matrix) -> _Matrix | None:
    """The homography that most of a flow has, weighted by texture, by iteratively reweighted least squares.

    x' (g x + h y + 1) = a x + b y + c and the same for y' are linear in the unknowns (direct linear transform).
    """
    rows, columns = luma.shape[0] // _BLOCK, luma.shape[1] // _BLOCK
    if rows * columns < _FEWEST_BLOCKS:
        return None
    planes = [plane[: rows * _BLOCK, : columns * _BLOCK] for plane in (luma, luma * luma, *flow_px.numpy())]
    means = [cv2.resize(plane, (columns, rows), interpolation=cv2.INTER_AREA) for plane in planes]
    mean, square, u_px, v_px = (each.astype(np.float64).ravel() for each in means)
    variance = (square - mean**2).clip(min=0)
    texture = variance / (variance + _TEXTURE)
    if texture.sum() < _FEWEST_BLOCKS:
        return None
    y_px, x_px = (np.mgrid[:rows, :columns].reshape(2, -1) + 0.5) * _BLOCK - 0.5
    unit = units[0, 0]
    x, y = x_px * unit + units[0, 2], y_px * unit + units[1, 2]
    to_x, to_y = x + u_px * unit, y + v_px * unit
    zero, one = np.zeros_like(x), np.ones_like(x)
    equations = np.array(
        [[x, y, one, zero, zero, zero, -x * to_x, -y * to_x], [zero, zero, zero, x, y, one, -x * to_y, -y * to_y]]
    )
    wanted = np.array([to_x, to_y])
    textured = texture >= np.median(texture)
    start = [float(np.median(step[textured])) * unit for step in (u_px, v_px)]
    unknowns = np.array([1, 0, start[0], 0, 1, start[1], 0, 0])
    for scale_px in _SCALES_PX:
        off = wanted - np.einsum("kun,u->kn", equations, unknowns)
        weighted = equations * (texture / (1 + np.square(off).sum(axis=0) / (scale_px * unit) ** 2) ** 2)
        squares = np.einsum("kun,kvn->uv", weighted, equations, optimize=True)
        # What nothing in the picture tells about stays as it is.
        held = 1e-6 * np.eye(8)
        unknowns = np.linalg.solve(squares + held, np.einsum("kun,kn->u", weighted, wanted) + held @ unknowns)
    return np.append(unknowns, 1).reshape(3, 3)


def _fit_to_picture(matrix: _Matrix, luma: _Plane, other: _Plane, units: _Matrix) -> _Matrix:
    """A homography in ``units`` made exact on the pictures themselves (Lucas and Kanade 1981), robustly."""
    height, width = luma.shape
    unit, left, top = (float(units[at]) for at in ((0, 0), (0, 2), (1, 2)))
    stride = max(1, math.isqrt(height * width // _PIXELS))
    here, there = (cv2.GaussianBlur(plane, (0, 0), _SOFT_PX) for plane in (luma, other))
    planes = (there, cv2.Sobel(there, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(there, cv2.CV_32F, 0, 1, scale=1 / 8))
    here = here[::stride, ::stride]
    y_px, x_px = np.mgrid[:height:stride, :width:stride].astype(np.float32)
    x, y = x_px * unit + left, y_px * unit + top
    for _ in range(_ROUNDS):
        to_x, to_y, depth = _project(matrix, x, y)
        at_px = (to_x - left) / unit, (to_y - top) / unit
        inside = (at_px[0] >= 2) & (at_px[0] <= width - 3) & (at_px[1] >= 2) & (at_px[1] <= height - 3)
        if np.count_nonzero(inside) < inside.size // 5:
            return matrix  # a whip of the camera
        seen, right, down = (_moved(plane, at_px, cv2.INTER_CUBIC)[inside] for plane in planes)
        off = here[inside] - seen
        right, down = (slope / (unit * depth[inside]) for slope in (right, down))
        away = -(right * to_x[inside] + down * to_y[inside])
        xs, ys = x[inside], y[inside]
        # The last unknown is a step of brightness, which is not to be taken for motion.
        slopes = np.stack(
            [right * xs, right * ys, right, down * xs, down * ys, down, away * xs, away * ys, np.ones_like(xs)]
        )
        scale = 1.5 * float(np.median(np.abs(off))) + 0.05
        weighted = slopes / np.square(1 + np.square(off / scale))
        squares = (weighted @ slopes.T).astype(np.float64)
        held = 1e-9 * np.trace(squares) * np.eye(9)
        step = np.linalg.solve(squares + held, (weighted @ off).astype(np.float64))
        matrix = matrix + np.append(step[:8], 0).reshape(3, 3)
    return matrix


def _project(matrix: NDArray[np.floating[Any]], x: _Plane, y: _Plane) -> tuple[_Plane, _Plane, _Plane]:
    """Where a homography takes places, and what it divides by; numpy would make float64 of its own scalars."""
    row_x, row_y, row_depth = matrix.tolist()
    depth = row_depth[0] * x + row_depth[1] * y + row_depth[2]
    return (row_x[0] * x + row_x[1] * y + row_x[2]) / depth, (row_y[0] * x + row_y[1] * y + row_y[2]) / depth, depth


def _grid_px(height: int, width: int) -> tuple[_Plane, _Plane]:
    """x (1, width) and y (height, 1) of all pixels."""
    y, x = np.ogrid[:height, :width]
    return x.astype(np.float32), y.astype(np.float32)


def _follow(flow_px: Tensor, moved_px: Sequence[_Plane], luma: _Plane, other: _Plane) -> Tensor:
    """Flow (2, h, w) that leads where the camera leads, to ``moved_px``, wherever that explains the picture as well."""
    flow: NDArray[np.float32] = flow_px.numpy()
    grid_px = _grid_px(*luma.shape)
    own_px = [step + along for step, along in zip(flow, grid_px, strict=True)]
    most, least = _CODES
    worse = _mismatch(luma, other, moved_px) - _FACTOR * _mismatch(luma, other, own_px)
    share = ((least - worse) * (1 / (least - most))).clip(0, 1)
    return torch.from_numpy(
        np.stack([step + share * (to - own) for step, to, own in zip(flow, moved_px, own_px, strict=True)])
    )


def _mismatch(luma: _Plane, other: _Plane, at_px: Sequence[_Plane]) -> _Plane:
    """How far a picture is from the other one moved here: (h, w) codes of 255, mean over the window."""
    mean: Any = cv2.blur(cv2.absdiff(luma, _moved(other, at_px, cv2.INTER_LINEAR)), (_WINDOW, _WINDOW))
    return np.asarray(mean, np.float32)


def _moved(plane: NDArray[Any], at_px: Sequence[_Plane], method: int) -> _Plane:
    """A picture at places, the border repeated."""
    x_px, y_px = at_px
    seen: Any = cv2.remap(plane, x_px, y_px, method, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(seen, np.float32)
