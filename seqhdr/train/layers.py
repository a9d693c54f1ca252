"""Things that move in front of the camera's view: painted textures with a shape and a motion of their own."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from seqhdr.errors import UsageError
from seqhdr.train.panorama import sample_spline

__all__ = ["Layer", "LayerConfig", "draw_layers", "place_layer"]

# Empty pixels around every shape, so that its edge fades out inside the texture.
_MARGIN = 4
# Width of an edge before it is sampled, which adds about one pixel more.
_EDGE_PX = 1.0
_SHAPES, _SMOOTH, _ROUGH = ("ellipse", "box", "blob"), ("flat", "gradient"), ("noise", "stripes", "checks")


@dataclass(frozen=True)
class Layer:
    """One flat thing and where it is in each frame.

    Attributes:
        texture_log2: (h, w, 3) float32, log2 of scene-linear Rec.709 radiance. It and the matte are coefficients of
            cubic splines: what is seen is a little softer.
        matte: (h, w) float32, 0..1, how much of what is behind is covered; 0 along the border.
        placements: (T, 2, 3) float64, affine maps from texture pixels (x, y, 1) to frame pixels, one per frame.
    """

    texture_log2: NDArray[np.float32]
    matte: NDArray[np.float32]
    placements: NDArray[np.float64]

    def at(self, time: float) -> NDArray[np.float64]:
        """Placement (2, 3) at a time in frames, also between frames and a little beyond."""
        last = len(self.placements) - 1
        before = int(np.clip(np.floor(time), 0, max(last - 1, 0)))
        share = time - before
        if share == 0:
            return np.asarray(self.placements[before])
        after = self.placements[min(before + 1, last)]
        return np.asarray(self.placements[before] + share * (after - self.placements[before]))

    def flow(self, frame: int, height: int, width: int) -> NDArray[np.float32]:
        """Exact backward flow of ``frame`` to the one before, (H, W, 2) pixels; zero for the first frame.

        It goes on beyond the layer's shape, as if the layer had no end.
        """
        if frame == 0 or np.array_equal(self.placements[frame], self.placements[frame - 1]):
            return np.zeros((height, width, 2), np.float32)
        back = _squared(self.placements[frame - 1]) @ np.linalg.inv(_squared(self.placements[frame]))
        (xx, xy, x0), (yx, yy, y0) = back[:2]
        x, y = np.arange(width)[None, :], np.arange(height)[:, None]
        return np.stack(((xx - 1) * x + xy * y + x0, yx * x + (yy - 1) * y + y0), axis=-1).astype(np.float32)


@dataclass(frozen=True)
class LayerConfig:
    """What moves in front of made-up shots. Ranges are (lowest, highest).

    Attributes:
        share: share of the shots that have any foreground.
        most: highest number of layers in a shot.
        size: length and width of a layer as shares of the frame's shorter side.
        speed_px: pixels per frame, drawn evenly in its logarithm.
        static_share: share of the layers that do not move at all.
        turn_deg: standard deviation of the turn per frame.
        scale_rate: standard deviation of the growth per frame, 0.01 is 1 %.
        level_stops: standard deviation of a layer's brightness about the scene's median.
        contrast_stops: standard deviation of the texture.
        colour_stops: standard deviation of the difference between the channels.
        smooth_share: share of flat or gradient textures; the others are noise, stripes or checks.
        emitter_share: share of layers that glow far above everything else.
        emitter_stops: their brightness above the scene's median.

    Raises:
        UsageError: shares or ranges that cannot be drawn from.
    """

    share: float = 0.35
    most: int = 3
    size: tuple[float, float] = (0.1, 0.5)
    speed_px: tuple[float, float] = (0.3, 8.0)
    static_share: float = 0.1
    turn_deg: float = 1.0
    scale_rate: float = 0.004
    level_stops: float = 1.8
    contrast_stops: tuple[float, float] = (0.1, 1.5)
    colour_stops: float = 0.5
    smooth_share: float = 0.4
    emitter_share: float = 0.12
    emitter_stops: tuple[float, float] = (4.0, 10.0)

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn from."""
        for name in ("share", "static_share", "smooth_share", "emitter_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name}: is {getattr(self, name)}; give a share from 0 to 1")
        for name in ("size", "speed_px", "contrast_stops"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise UsageError(
                    f"{name}: {low} to {high} is no range; give a lowest above 0 and a highest not below it"
                )
        if self.emitter_stops[0] > self.emitter_stops[1]:
            raise UsageError(f"emitter_stops: {self.emitter_stops} is no range; give the lowest first")
        if self.most < 1:
            raise UsageError(f"most: is {self.most}; give at least 1, or share = 0 for no layers")


def draw_layers(
    rng: np.random.Generator, config: LayerConfig, frames: int, height: int, width: int, log2_median: float
) -> tuple[Layer, ...]:
    """Random foreground for one shot.

    Args:
        rng: where all chance comes from.
        config: what is likely.
        frames: how many.
        height, width: size of the picture in pixels.
        log2_median: log2 of the scene's median radiance.

    Returns:
        The layers, from the one farthest behind to the one in front; each is in the picture in the middle of the
        shot. Often none.
    """
    if rng.random() >= config.share:
        return ()
    return tuple(
        _draw_layer(rng, config, frames, height, width, log2_median) for _ in range(rng.integers(1, config.most + 1))
    )


def place_layer(
    layer: Layer, time: float, height: int, width: int
) -> tuple[tuple[slice, slice], NDArray[np.float32], NDArray[np.float32]] | None:
    """A layer as it lies in the picture at one instant.

    Args:
        layer: which.
        time: in frames.
        height, width: size of the picture in pixels.

    Returns:
        The part of the picture that it lies in (rows, columns); there its radiance (3, h, w), scene-linear; and its
        matte (h, w). None if it is outside the picture.
    """
    placement = layer.at(time)
    rows, columns = layer.matte.shape
    corners = np.array(((0, columns - 1, 0, columns - 1), (0, 0, rows - 1, rows - 1), (1, 1, 1, 1)))
    reached = placement @ corners
    left, top = np.clip(np.floor(reached.min(axis=1)), 0, (width, height)).astype(int)
    right, bottom = np.clip(np.ceil(reached.max(axis=1)) + 1, 0, (width, height)).astype(int)
    if left >= right or top >= bottom:
        return None
    (xx, xy, x0), (yx, yy, y0) = np.linalg.inv(_squared(placement))[:2]
    x, y = np.arange(left, right)[None, :], np.arange(top, bottom)[:, None]
    planes = np.concatenate((layer.texture_log2.transpose(2, 0, 1), layer.matte[None]))
    seen = sample_spline(planes, (xx * x + xy * y + x0).astype(np.float32), (yx * x + yy * y + y0).astype(np.float32))
    return (slice(top, bottom), slice(left, right)), np.exp2(seen[:3]), seen[3]


def _draw_layer(
    rng: np.random.Generator, config: LayerConfig, frames: int, height: int, width: int, log2_median: float
) -> Layer:
    side = min(height, width)
    rows, columns = (max(int(side * rng.uniform(*config.size)), 4) + 2 * _MARGIN for _ in range(2))
    matte = _matte(rng, str(rng.choice(_SHAPES)), rows, columns)
    kind = str(rng.choice(_SMOOTH if rng.random() < config.smooth_share else _ROUGH))
    level = rng.normal(0, config.level_stops)
    if rng.random() < config.emitter_share:
        level = rng.uniform(*config.emitter_stops)
    colour = rng.normal(0, config.colour_stops, 3)
    contrast = _log_uniform(rng, config.contrast_stops) * (1 + 0.25 * rng.normal(size=3))
    pattern = _pattern(rng, kind, rows, columns)
    texture = (log2_median + level + colour + contrast * pattern[..., None]).astype(np.float32)

    time = np.arange(frames) - (frames - 1) / 2
    speed, turn, growth = _log_uniform(rng, config.speed_px), *rng.normal(0, (config.turn_deg, config.scale_rate))
    if rng.random() < config.static_share:
        speed = turn = growth = 0.0
    heading, angle = rng.uniform(0, 2 * np.pi), rng.uniform(0, 2 * np.pi)
    centre = np.array((rng.uniform(0, width - 1), rng.uniform(0, height - 1)))
    centres = centre + speed * time[:, None] * np.array((np.cos(heading), np.sin(heading)))
    angles, scales = angle + np.deg2rad(turn) * time, np.exp(growth * time)
    turned = np.stack((np.cos(angles), -np.sin(angles), np.sin(angles), np.cos(angles)), axis=-1).reshape(-1, 2, 2)
    linear = scales[:, None, None] * turned
    shift = centres - linear @ np.array(((columns - 1) / 2, (rows - 1) / 2))
    return Layer(texture, matte, np.concatenate((linear, shift[..., None]), axis=-1))


def _matte(rng: np.random.Generator, shape: str, rows: int, columns: int) -> NDArray[np.float32]:
    """A shape that fills the texture up to its margin, from the distance to its outline in pixels."""
    y, x = np.mgrid[:rows, :columns] - np.array(((rows - 1) / 2, (columns - 1) / 2))[:, None, None]
    half_y, half_x = (rows - 1) / 2 - _MARGIN, (columns - 1) / 2 - _MARGIN
    if shape == "box":
        radius = rng.uniform(0, 0.5) * min(half_y, half_x)
        out_y, out_x = np.abs(y) - half_y + radius, np.abs(x) - half_x + radius
        outside = np.hypot(np.maximum(out_y, 0), np.maximum(out_x, 0)) + np.minimum(np.maximum(out_y, out_x), 0)
        distance = radius - outside
    else:
        # Not yet a distance: positive inside, zero on the outline. Divided by its slope it is one, to first order.
        field = 1 - np.hypot(y / half_y, x / half_x)
        if shape == "blob":
            field = field - 0.3 * np.maximum(1 - _noise(rng, rows, columns, 3), 0) * (1 - field)
        distance = field / np.maximum(np.hypot(*np.gradient(field)), 1e-3)
    matte = np.clip(distance / _EDGE_PX + 0.5, 0, 1)
    matte[[0, -1]] = matte[:, [0, -1]] = 0
    return np.asarray(matte, np.float32)


def _pattern(rng: np.random.Generator, kind: str, rows: int, columns: int) -> NDArray[np.float64]:
    """(rows, columns) of about unit deviation and no mean."""
    y, x = np.mgrid[:rows, :columns] / max(rows, columns) - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    if kind == "flat":
        return np.zeros((rows, columns))
    if kind == "gradient":
        return np.asarray(3 * along + rng.normal(0, 3) * across**2)
    if kind == "noise":
        return _noise(rng, rows, columns, 6)
    # From half a dozen pixels per period to the whole layer.
    period = np.exp(rng.uniform(np.log(min(6 / max(rows, columns), 0.4)), np.log(0.5)))
    stripes = np.sign(np.sin(2 * np.pi * along / period))
    return np.asarray(stripes if kind == "stripes" else stripes * np.sign(np.sin(2 * np.pi * across / period)))


def _noise(rng: np.random.Generator, rows: int, columns: int, octaves: int) -> NDArray[np.float64]:
    """Fractal value noise of about unit deviation."""
    total = np.zeros((rows, columns))
    for octave in range(octaves):
        cells = 3 * 2**octave
        grid = rng.normal(size=(min(cells, rows), min(cells, columns)))
        total += 0.6**octave * cv2.resize(grid, (columns, rows), interpolation=cv2.INTER_CUBIC)
    return np.asarray(total)


def _squared(placement: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, 3) → (3, 3)."""
    return np.concatenate((placement, ((0.0, 0.0, 1.0),)))


def _log_uniform(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(limits))))
