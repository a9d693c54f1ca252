"""Statistics of training pairs, summed up frame by frame: range, clipping, mean and deviation, banding."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from seqhdr.color.encodings import ColorEncoding, convert_linear, get_encoding
from seqhdr.media.patterns import plateau_share

__all__ = ["PairStats", "luminance"]

# Recommendation ITU-R BT.709: the shares of linear R, G and B in luminance.
_LUMINANCE = (0.2126, 0.7152, 0.0722)
# Luminance is counted by its logarithm; what lies beyond the ends is counted at them.
_LOWEST_STOP, _HIGHEST_STOP, _BINS_PER_STOP = -32, 32, 64
_PERCENTILES = (0.1, 99.9)
# Finding plateaus takes longer than all the rest, and bands do not come and go within a few frames.
_BANDING_EVERY = 8
# What simply adds up when two sets of frames are put together.
_SUMS = (
    *("clips", "frames", "pixels", "repaired", "clipped", "black"),
    *("stops", "sums", "squares", "plateaus", "planes"),
)


@dataclass
class PairStats:
    """Sums over frames from which the statistics follow, in the same memory for any number of frames.

    Attributes:
        clips, scenes, frames, pixels: what was counted.
        repaired: values that were NaN or infinite.
        clipped, black: channels at code 255 and at code 0.
        largest: luminance, scene-linear.
        stops: histogram of log2 luminance.
        sums, squares: (2, 3) of values and their squares; input (codes / 255), then truth (log), by R, G and B.
        plateaus: (2,) sum of the plateau shares of ``planes`` channels each of input and truth: of the first frame
            of a clip and every eighth from there.
    """

    clips: int = 0
    scenes: set[str] = field(default_factory=set)
    frames: int = 0
    pixels: int = 0
    repaired: int = 0
    clipped: int = 0
    black: int = 0
    largest: float = 0.0
    stops: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros((_HIGHEST_STOP - _LOWEST_STOP) * _BINS_PER_STOP, np.int64)
    )
    sums: NDArray[np.float64] = field(default_factory=lambda: np.zeros((2, 3)))
    squares: NDArray[np.float64] = field(default_factory=lambda: np.zeros((2, 3)))
    plateaus: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    planes: int = 0

    def count(
        self, codes: NDArray[np.uint8], rgb_log: NDArray[Any], luminance: NDArray[np.float64], repaired: int
    ) -> None:
        """Add one frame: codes (H, W, 3), truth as stored (3, H, W), linear luminance (H, W)."""
        pair = (codes.transpose(2, 0, 1).astype(np.float64) / 255, rgb_log.astype(np.float64))
        if self.frames % _BANDING_EVERY == 0:
            shares = [[plateau_share(plane.astype(np.float32)) for plane in picture] for picture in pair]
            self.plateaus += np.sum(shares, axis=1)
            self.planes += 3
        for row, picture in enumerate(pair):
            self.sums[row] += picture.sum(axis=(1, 2))
            self.squares[row] += np.square(picture).sum(axis=(1, 2))
        lit = luminance[luminance > 0]
        at = np.floor((np.log2(lit) - _LOWEST_STOP) * _BINS_PER_STOP).astype(np.int64)
        self.stops += np.bincount(at.clip(0, len(self.stops) - 1), minlength=len(self.stops))
        self.largest = max(self.largest, float(luminance.max()))
        self.clipped += int(np.count_nonzero(codes == 255))
        self.black += int(np.count_nonzero(codes == 0))
        self.frames += 1
        self.pixels += luminance.size
        self.repaired += repaired

    def add(self, other: PairStats) -> None:
        """Add the frames of another."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.scenes |= other.scenes
        self.largest = max(self.largest, other.largest)

    def summary(self) -> dict[str, Any]:
        """JSON-able numbers; None where there is nothing to tell."""
        out: dict[str, Any] = {"clips": self.clips, "scenes": len(self.scenes), "frames": self.frames}
        if self.frames == 0:
            return out
        mean = self.sums / self.pixels
        std = np.sqrt(np.maximum(self.squares / self.pixels - mean**2, 0))
        out |= {
            "repaired_values": self.repaired,
            "range_stops": self._range(),
            "clip_share": _short(self.clipped / (3 * self.pixels)),
            "black_share": _short(self.black / (3 * self.pixels)),
        }
        for row, name in enumerate(("input", "truth")):
            out[name] = {
                "mean": [_short(v) for v in mean[row]],
                "std": [_short(v) for v in std[row]],
                "banding": _short(self.plateaus[row] / self.planes),
            }
        return out

    def _range(self) -> dict[str, float] | None:
        """log2 luminance over the pixels that have any: percentiles to 1/64 stop, the largest exactly."""
        total = np.cumsum(self.stops)
        if total[-1] == 0:
            return None
        low, high = (
            _LOWEST_STOP + (int(np.searchsorted(total, total[-1] * percent / 100)) + 0.5) / _BINS_PER_STOP
            for percent in _PERCENTILES
        )
        return {"low": low, "high": high, "range": high - low, "largest": _short(math.log2(self.largest))}


def luminance(rgb_lin: Tensor, encoding: ColorEncoding) -> NDArray[np.float64]:
    """Light (3, H, W) float64 in the primaries of ``encoding`` → linear luminance (H, W) by BT.709."""
    red, green, blue = convert_linear(rgb_lin, encoding, get_encoding("lin_rec709"))
    return np.asarray((_LUMINANCE[0] * red + _LUMINANCE[1] * green + _LUMINANCE[2] * blue).numpy())


def _short(value: float) -> float:
    """Six decimals: enough to compare, and no noise of summation."""
    return round(float(value), 6)
