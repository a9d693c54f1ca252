"""How much what is seen at one place varies over some frames: along the motion, and where nothing moves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqhdr.model.motion import occluded
from seqhdr.quality.lattice import Lattice, Motion, Picture, all_usable, sample, whole_around

__all__ = ["STATIC_PX", "STD_EDGES_STOPS", "WINDOW", "SequenceStd", "StdMeter", "StdSummary"]

#: What strays less than this from where it was in the first frame of a window is at rest.
STATIC_PX = 0.25
#: Frames over which deviations are taken.
WINDOW = 8
#: Edges of the histogram's ten bins, in stops.
STD_EDGES_STOPS = (0.0, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, math.inf)

# A standard deviation of fewer values says little.
_FEWEST = 4


@dataclass(frozen=True)
class SequenceStd:
    """Temporal standard deviations of one sequence, rms over the channels, weighted as flicker is.

    An alternation by 1 % (0.0144 stop) has one of 0.0077 over 8 frames. A perfect shot at rest has 0. Along the motion,
    errors of the flow add up over a window: rendered pans and zooms in half floats read 0.0005 to 0.0035 stop, their
    8-bit sources 0.003 to 0.009.

    Attributes:
        motion_std_stops: along the motion, mean over particles and windows; None where no particle lived long enough.
        static_std_stops: at fixed pixels where nothing moves; None where everything does.
        motion_shares: weighted shares of the particles in the bins of :data:`STD_EDGES_STOPS`, (10,) float64; they
            sum to 1, or are all 0 where there is no particle.
        map_stops: (h, w) float32, mean over the windows along the motion, at the sample where a particle began; NaN
            where none lived long enough.
    """

    motion_std_stops: float | None
    static_std_stops: float | None
    motion_shares: NDArray[np.float64]
    map_stops: NDArray[np.float32]


@dataclass(frozen=True)
class StdSummary:
    """Temporal standard deviations of a shot.

    Attributes:
        by_name: of each sequence.
        static_share: share of the samples that rest, mean over the windows; None where no window was long enough.
    """

    by_name: dict[str, SequenceStd]
    static_share: float | None


class _Spread:
    """Running mean and sum of squares about it at every place (Welford, Technometrics 4(3), 1962)."""

    def __init__(self, values: Tensor) -> None:
        self._mean = values.clone()
        self._squares = torch.zeros_like(values)

    def add(self, values: Tensor, count: Tensor, alive: Tensor) -> None:
        """Count values (3, h, w) where ``alive`` (h, w); ``count`` (h, w) is how many those places have with them."""
        step = torch.where(alive, values - self._mean, 0)
        self._mean += step / count
        self._squares += step * (values - self._mean)

    def std(self, count: Tensor) -> Tensor:
        """Sample standard deviation, rms over the channels: (h, w)."""
        return (self._squares.mean(dim=0) / (count - 1).clamp(min=1)).sqrt()


class _Sums:
    """What all windows of one sequence have in common."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.moving = np.zeros(2)  # sum of weight x std, sum of weights
        self.resting = np.zeros(2)
        self.bins = np.zeros(len(STD_EDGES_STOPS) - 1)
        self.std_map = torch.zeros(shape)
        self.windows_map = torch.zeros(shape)

    def summary(self) -> SequenceStd:
        shares = self.bins / self.bins.sum() if self.bins.sum() > 0 else self.bins
        std_map = torch.where(self.windows_map > 0, self.std_map / self.windows_map, math.nan)
        return SequenceStd(_mean(self.moving), _mean(self.resting), shares, std_map.numpy())


def _mean(sums: NDArray[np.float64]) -> float | None:
    return float(sums[0] / sums[1]) if sums[1] > 0 else None


class StdMeter:
    """Follows particles through windows of some frames and measures how their values vary.

    A window begins with a particle at every sample of the lattice. The forward flow moves it on from frame to frame,
    and its value is read once from each frame itself: nothing is warped twice. It ends where it is hidden, where a
    sequence is clipped, or outside the frame. Particles that stay within :data:`STATIC_PX` for the whole window are
    also measured at the pixel where they began, without any interpolation.

    Args:
        lattice: where particles begin.
        window: frames in a window; 4 at least.

    Raises:
        ValueError: the window is too short.
    """

    def __init__(self, lattice: Lattice, *, window: int = WINDOW) -> None:
        if window < _FEWEST:
            raise ValueError(f"got a window of {window} frames: expected {_FEWEST} at least")
        self._lattice = lattice
        self._window = window
        self._seeds_px = lattice.positions_px()
        self._frames = 0  # of the current window
        self._moving: dict[str, _Spread] = {}
        self._resting: dict[str, _Spread] = {}
        self._sums: dict[str, _Sums] = {}
        self._static = np.zeros(2)  # sum of shares, windows

    def add(
        self, pictures: Mapping[str, Picture], here: Mapping[str, Tensor], weights: Tensor, motion: Motion | None
    ) -> None:
        """Count one frame.

        Args:
            pictures: of every sequence.
            here: what they show at the samples, (3, h, w) stops in common primaries.
            weights: (h, w) weights of the samples in this frame.
            motion: from the frame before; None for the first frame of a segment.
        """
        if motion is None or self._frames == self._window:
            self._close()
        usable = all_usable(pictures.values())
        if motion is None or self._frames == 0:
            self._weights = weights
            self._at_px = self._seeds_px
            self._alive = torch.ones(weights.shape, dtype=torch.bool) if usable is None else self._lattice.pick(usable)
            self._rests = self._alive
            self._count = self._alive.float()
            self._moving = {name: _Spread(values) for name, values in here.items()}
            self._resting = {name: _Spread(values) for name, values in here.items()}
            self._frames = 1
            return
        hidden = occluded(motion.forward_px[None], motion.backward_px[None], at_px=self._at_px[None])[0, 0]
        step, _ = sample(motion.forward_px, self._at_px, "bilinear")
        self._at_px = self._at_px + step.permute(1, 2, 0)
        self._alive = self._alive & ~hidden
        if usable is not None:
            self._alive &= whole_around(usable, self._at_px)
        self._rests = self._rests & self._alive & ((self._at_px - self._seeds_px).square().sum(-1) < STATIC_PX**2)
        self._frames += 1
        self._count += self._alive
        resting = self._count.new_full((), self._frames)
        for name, picture in pictures.items():
            self._moving[name].add(picture.at(self._at_px), self._count.clamp(min=1), self._alive)
            self._resting[name].add(here[name], resting, self._rests)

    def finish(self) -> StdSummary:
        """Close the last window and sum up."""
        self._close()
        share = _mean(self._static)
        return StdSummary({name: sums.summary() for name, sums in self._sums.items()}, share)

    def _close(self) -> None:
        """Put the current window into the sums, if it is long enough."""
        frames, self._frames = self._frames, 0
        if frames < _FEWEST:
            return
        self._static += [float(self._rests.float().mean()), 1]
        counted = self._count >= _FEWEST
        weights, resting_weights = self._weights[counted].double().numpy(), self._weights[self._rests].double().numpy()
        for name, spread in self._moving.items():
            sums = self._sums.setdefault(name, _Sums((self._lattice.rows, self._lattice.columns)))
            std = spread.std(self._count)
            chosen = std[counted].double().numpy()
            sums.moving += [(weights * chosen).sum(), weights.sum()]
            sums.bins += np.histogram(chosen, STD_EDGES_STOPS, weights=weights)[0]
            sums.std_map += torch.where(counted, std, 0)
            sums.windows_map += counted
            rest = self._resting[name].std(self._count.new_full((), frames))[self._rests].double().numpy()
            sums.resting += [(resting_weights * rest).sum(), resting_weights.sum()]
