"""A camera that turns in place: where it looks and how long it exposes, frame by frame, and what lens it has."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from seqhdr.errors import UnknownNameError, UsageError
from seqhdr.model.motion import rotation_flow, view_rays

__all__ = ["MOVES", "CameraConfig", "CameraPath", "Lens", "camera_path", "draw_path"]

#: The kinds of camera moves that :func:`draw_path` knows.
MOVES = ("static", "pan", "handheld", "zoom", "whip")

# The poles of a panorama are painted or blurred in most; few shots look there.
_STEEPEST_DEG = 75.0
# More views than this per frame cost more than the last pixel of blur is worth.
_MOST_INSTANTS = 32
# A whip's burst takes so many frames, from still to fast to still.
_BURST_FRAMES = (2, 4)
# Periods of a hand's sway in frames, and how many of them make up its path.
_SWAY_FRAMES, _SWAYS = (3.0, 40.0), 5

_Angles: TypeAlias = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Lens:
    """What a lens does to a picture besides projecting it; by default nothing.

    Attributes:
        distortion: λ of the division model with radius 1 in the picture's corners, see
            :func:`flow.exact.view_rays`; negative is barrel, positive pincushion. Between -1 and 1.
        vignette: 0..1, share of the natural cos⁴ falloff off the axis.
    """

    distortion: float = 0.0
    vignette: float = 0.0

    def falloff(self, height: int, width: int, focal_px: float) -> NDArray[np.float32]:
        """What is left of the light, (H, W) in 0..1: 1 - vignette·(1 - cos⁴ of the angle off the axis)."""
        rays = view_rays(height, width, focal_px, self.distortion)
        cosine = rays[..., 2] / np.linalg.norm(rays, axis=-1)
        return np.asarray(1 - self.vignette * (1 - cosine**4), np.float32)


@dataclass(frozen=True)
class CameraPath:
    """Where a camera that turns in place looks, frame by frame.

    Attributes:
        rotations: (T, 3, 3) float64, columns are the camera's axes (right, down, forward) in the world.
        focal_px: (T,) float64, focal lengths in pixels.
        exposure_stops: (T,) float64, exposure of each frame relative to the shot's own; by default all 0.
        lens: the same for all frames.
        shutter: how long the shutter is open, 0..1 of the time between two frames, centred on each frame. 0 freezes
            all motion.
    """

    rotations: NDArray[np.float64]
    focal_px: NDArray[np.float64]
    exposure_stops: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    lens: Lens = Lens()
    shutter: float = 0.0

    def __post_init__(self) -> None:
        """Fill in a steady exposure."""
        if self.exposure_stops.size == 0:
            object.__setattr__(self, "exposure_stops", np.zeros(len(self.focal_px)))

    def __len__(self) -> int:
        """How many frames."""
        return len(self.focal_px)

    def flow(self, frame: int, height: int, width: int) -> NDArray[np.float32]:
        """Exact backward flow of ``frame`` to the one before, (H, W, 2) pixels; zero for the first frame."""
        if frame == 0:
            return np.zeros((height, width, 2), np.float32)
        focal, focal_before = float(self.focal_px[frame]), float(self.focal_px[frame - 1])
        now, before = self.rotations[frame], self.rotations[frame - 1]
        return rotation_flow(height, width, focal, now, focal_before, before, self.lens.distortion)

    def at(self, time: float) -> tuple[NDArray[np.float64], float]:
        """Rotation (3, 3) and focal length in pixels at a time in frames, also between frames and a little beyond.

        Between two frames the camera turns at a steady rate about a fixed axis.
        """
        before = int(np.clip(np.floor(time), 0, max(len(self) - 2, 0)))
        after, share = min(before + 1, len(self) - 1), time - before
        if share in (0, 1):
            return self.rotations[before + int(share)], float(self.focal_px[before + int(share)])
        turn, _ = cv2.Rodrigues(self.rotations[before].T @ self.rotations[after])
        part, _ = cv2.Rodrigues(share * turn)
        focal = self.focal_px[before] ** (1 - share) * self.focal_px[after] ** share
        return np.asarray(self.rotations[before] @ part), float(focal)

    def speed_px(self, frame: int, height: int, width: int) -> float:
        """How fast the picture moves at most around a frame, in pixels per frame; 0 if the shutter freezes it."""
        flows = [self.flow(t, height, width) for t in (frame, frame + 1) if self.shutter > 0 and 0 < t < len(self)]
        return float(max((np.minimum(np.abs(flow), height + width).max() for flow in flows), default=0.0))

    def instants(self, frame: int, speed_px: float) -> list[float]:
        """Times in frames at which a frame is looked at while the shutter is open, evenly spread about ``frame``.

        About one for every pixel that something moves meanwhile; only ``frame`` itself if nothing does.
        """
        count = int(np.clip(np.ceil(self.shutter * speed_px), 1, _MOST_INSTANTS))
        return [frame + self.shutter * ((index + 0.5) / count - 0.5) for index in range(count)]

    def gain(self, frame: int, height: int, width: int) -> NDArray[np.float32]:
        """What the exposure and the lens make of the light, a factor that broadcasts to (H, W)."""
        exposure = np.full((1, 1), 2.0 ** self.exposure_stops[frame], np.float32)
        lens = self.lens
        return exposure * lens.falloff(height, width, float(self.focal_px[frame])) if lens.vignette > 0 else exposure


@dataclass(frozen=True)
class CameraConfig:
    """How the cameras of made-up shots move. Ranges are (lowest, highest).

    Attributes:
        moves: shares of the kinds of moves, of :data:`MOVES`; they need not sum to 1.
        speed_px: of every move but the still one, pixels per frame in the middle of the picture, drawn evenly in its
            logarithm. The slow part of a whip is at most a tenth as fast as its burst.
        whip_px: top speed of a whip in pixels per frame.
        jitter_px: standard deviation of a hand's sway in pixels.
        zoom_rate: change of the focal length per frame, 0.01 is 1 %; in and out are as likely.
        pitch_deg: standard deviation of the pitch the shot starts with.
        roll_deg: standard deviation of the roll the shot starts with.
        roll_any_share: share of shots that are rolled by any angle instead.
        roll_rate_deg: standard deviation of the roll per frame, in shots that roll.
        roll_rate_share: share of shots that go on rolling.
        oversampling: focal length relative to that of a natively sharp view, drawn evenly in its logarithm; 1 is as
            sharp as the panorama, 6 shows each of its pixels six pixels wide.
        exposure_change_share: share of shots whose exposure changes.
        exposure_change_stops: by how many stops, up or down, from one steady level to another.
        distortion: largest distortion of a lens either way, see :class:`Lens`.
        vignette: largest vignette of a lens, see :class:`Lens`.
        shutter: longest open shutter, see :class:`CameraPath`.

    Raises:
        UnknownNameError: a kind of move that does not exist.
        UsageError: shares or ranges that cannot be drawn from.
    """

    moves: dict[str, float] = field(
        default_factory=lambda: {"static": 0.1, "pan": 0.45, "handheld": 0.25, "zoom": 0.14, "whip": 0.06}
    )
    speed_px: tuple[float, float] = (0.15, 12.0)
    whip_px: tuple[float, float] = (20.0, 60.0)
    jitter_px: tuple[float, float] = (0.1, 1.5)
    zoom_rate: tuple[float, float] = (0.001, 0.015)
    pitch_deg: float = 28.0
    roll_deg: float = 5.0
    roll_any_share: float = 0.3
    roll_rate_deg: float = 0.3
    roll_rate_share: float = 0.3
    oversampling: tuple[float, float] = (0.75, 6.0)
    exposure_change_share: float = 0.1
    exposure_change_stops: tuple[float, float] = (0.2, 2.0)
    distortion: float = 0.0
    vignette: float = 0.0
    shutter: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn from."""
        for name in self.moves:
            if name not in MOVES:
                raise UnknownNameError("camera move", name, MOVES)
        if any(share < 0 for share in self.moves.values()) or sum(self.moves.values()) <= 0:
            raise UsageError(f"moves: the shares are {self.moves}; give none below 0 and at least one above")
        for name in ("speed_px", "whip_px", "jitter_px", "zoom_rate", "oversampling", "exposure_change_stops"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise UsageError(
                    f"{name}: {low} to {high} is no range; give a lowest above 0 and a highest not below it"
                )
        for name, most in (("distortion", 0.99), ("vignette", 1.0), ("shutter", 1.0)):
            if not 0 <= getattr(self, name) <= most:
                raise UsageError(f"{name}: is {getattr(self, name)}; give a number from 0 to {most}")


def camera_path(
    frames: int,
    *,
    yaw_deg: float = 0.0,
    pitch_deg: float = 0.0,
    roll_deg: float = 0.0,
    focal_px: float,
    pan_px: tuple[float, float] = (0.0, 0.0),
    roll_rate_deg: float = 0.0,
    zoom: float = 1.0,
    jitter_px: float = 0.0,
    seed: int = 0,
) -> CameraPath:
    """A steady pan with hand-held jitter.

    Args:
        frames: how many.
        yaw_deg, pitch_deg, roll_deg: where the first frame looks; positive pitch looks down.
        focal_px: focal length in pixels.
        pan_px: motion of the picture's centre in pixels per frame, right and down.
        roll_rate_deg: roll per frame.
        zoom: factor on the focal length per frame.
        jitter_px: standard deviation of the smoothed shake in pixels.
        seed: of the shake.
    """
    rng = np.random.default_rng(seed)
    shake = rng.normal(size=(frames + 4, 2))
    shake = jitter_px * (shake[:-4] + shake[1:-3] + shake[2:-2] + shake[3:-1] + shake[4:]) / np.sqrt(5)
    time = np.arange(frames)
    focal = np.asarray(focal_px * zoom**time, np.float64)
    degrees_per_px = np.rad2deg(1 / focal_px)
    yaw = yaw_deg + (time * pan_px[0] + shake[:, 0]) * degrees_per_px
    pitch = pitch_deg + (time * pan_px[1] + shake[:, 1]) * degrees_per_px
    return CameraPath(_rotations(yaw, pitch, roll_deg + time * roll_rate_deg), focal)


def draw_path(
    rng: np.random.Generator, config: CameraConfig, frames: int, pixels_per_radian: float, height: int, width: int
) -> CameraPath:
    """A random shot.

    Args:
        rng: where all chance comes from.
        config: what is likely.
        frames: how many.
        pixels_per_radian: of the panorama, :attr:`seqhdr.train.panorama.Panorama.pixels_per_radian`.
        height, width: size of the picture in pixels.

    Returns:
        The path. Its focal lengths stay inside ``config.oversampling``, but are long enough that no side of the
        picture spans more than 120°.
    """
    kinds = [name for name in MOVES if config.moves.get(name, 0) > 0]
    shares = np.array([config.moves[name] for name in kinds])
    move = kinds[int(rng.choice(len(kinds), p=shares / shares.sum()))]

    widest = max(height, width) / (2 * np.tan(np.deg2rad(60)))
    low, high = (max(np.log(times * pixels_per_radian), np.log(widest)) for times in config.oversampling)
    log_focal = np.full(frames, rng.uniform(low, high))
    if move == "zoom":
        change = _log_uniform(rng, config.zoom_rate) * max(frames - 1, 1) * rng.choice((-1, 1))
        if not low <= log_focal[0] + change <= high:
            change = -change
        log_focal = np.linspace(log_focal[0], np.clip(log_focal[0] + change, low, high), frames)
    focal = np.exp(log_focal)

    pitch = float(np.clip(rng.normal(0, config.pitch_deg), -_STEEPEST_DEG, _STEEPEST_DEG))
    roll = rng.uniform(-180, 180) if rng.random() < config.roll_any_share else rng.normal(0, config.roll_deg)
    start = _rotations(np.array([rng.uniform(-180, 180)]), np.array([pitch]), np.array([roll]))
    rotations = np.repeat(start, frames, axis=0)
    if move != "static":
        yaw, tilt = np.rad2deg(_pan(rng, config, move, frames).T / focal[0])
        roll_rate = rng.normal(0, config.roll_rate_deg) if rng.random() < config.roll_rate_share else 0.0
        # About the camera's own axes: a pan is as fast when it looks up, and goes where the picture says.
        rotations = np.asarray(start[0]) @ _rotations(yaw, tilt, roll_rate * np.arange(frames))

    exposure = np.zeros(frames)
    if rng.random() < config.exposure_change_share:
        exposure = _log_uniform(rng, config.exposure_change_stops) * rng.choice((-1, 1)) * _ramp(rng, frames)
    lens = Lens(config.distortion * rng.uniform(-1, 1), config.vignette * rng.uniform(0, 1))
    return CameraPath(rotations, focal, exposure, lens, config.shutter * rng.uniform(0, 1))


def _pan(rng: np.random.Generator, config: CameraConfig, move: str, frames: int) -> NDArray[np.float64]:
    """How far the picture's centre has gone at each frame, (T, 2) in pixels, right and down."""
    steps = max(frames - 1, 0)
    heading = rng.uniform(0, 2 * np.pi)
    direction = np.array((np.cos(heading), np.sin(heading)))
    speed = _log_uniform(rng, config.speed_px)
    # No pan is wholly steady: it gathers way or loses it.
    profile = np.linspace(rng.uniform(0.5, 1), rng.uniform(0.5, 1), steps)
    velocity = speed * profile / max(profile.max(initial=0), 1e-9)
    if move == "whip":
        top = _log_uniform(rng, config.whip_px)
        velocity = np.minimum(velocity, 0.1 * top)
        length = min(int(rng.integers(_BURST_FRAMES[0], _BURST_FRAMES[1] + 1)), steps)
        first = int(rng.integers(0, steps - length + 1))
        burst = np.sin(np.pi * (np.arange(length) + 0.5) / max(length, 1)) ** 2
        velocity[first : first + length] += (top - velocity[first : first + length]) * burst / burst.max(initial=1e-9)
    offset = np.concatenate((np.zeros((1, 2)), np.cumsum(velocity[:, None] * direction, axis=0)))[:frames]
    if move == "handheld":
        offset += _log_uniform(rng, config.jitter_px) * _sway(rng, frames)
    return np.asarray(offset)


def _sway(rng: np.random.Generator, frames: int) -> NDArray[np.float64]:
    """A hand's unrest, (T, 2) of unit standard deviation: a few sines, the slower the larger."""
    shortest, longest = np.log(_SWAY_FRAMES)
    period = np.exp(rng.uniform(shortest, longest, (_SWAYS, 1, 2)))
    phase = rng.uniform(0, 2 * np.pi, (_SWAYS, 1, 2))
    amplitude = np.sqrt(period)
    waves = amplitude * np.sin(2 * np.pi * np.arange(frames)[None, :, None] / period + phase)
    return np.asarray(waves.sum(axis=0) / np.sqrt((amplitude**2).sum(axis=0) / 2))


def _ramp(rng: np.random.Generator, frames: int) -> NDArray[np.float64]:
    """From 0 to 1 somewhere in the shot, (T,), without a jerk at either end."""
    length = rng.uniform(min(2, frames), max(frames, 2))
    first = rng.uniform(0, max(frames - length, 0))
    share = np.clip((np.arange(frames) - first) / length, 0, 1)
    return np.asarray(share**2 * (3 - 2 * share))


def _log_uniform(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(limits))))


def _rotations(yaw_deg: _Angles, pitch_deg: _Angles, roll_deg: _Angles) -> NDArray[np.float64]:
    """Roll about the view axis, then pitch, then yaw about the vertical: (T,) each → (T, 3, 3)."""
    return np.asarray(_turns(1, yaw_deg) @ _turns(0, -pitch_deg) @ _turns(2, roll_deg), np.float64)


def _turns(axis: int, degrees: _Angles) -> NDArray[np.float64]:
    """Turns about one axis by the right-hand rule, (T, 3, 3)."""
    turns = np.tile(np.eye(3), (len(degrees), 1, 1))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    turns[:, first, first] = turns[:, second, second] = np.cos(np.deg2rad(degrees))
    turns[:, second, first] = np.sin(np.deg2rad(degrees))
    turns[:, first, second] = -turns[:, second, first]
    return turns
