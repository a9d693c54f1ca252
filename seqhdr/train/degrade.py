"""From scene-linear clips to 8-bit codes, the way pictures come to be: exposed, seen by a camera, coded, compressed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqhdr.color.encodings import get_encoding
from seqhdr.media.ycbcr import FULL_BT601, LIMITED_BT601_CUT_DOWN, Lattice
from seqhdr.train.codecs import h264, jpeg
from seqhdr.train.degrade_config import Degradation, DegradeConfig, draw_degradation
from seqhdr.train.noise import film_grain, shot_read_noise
from seqhdr.train.response import apply_response, invert_response

__all__ = [
    "Degradation",
    "DegradeConfig",
    "DegradedClip",
    "degrade",
    "draw_degradation",
    "exposure_factor",
    "exposure_stack",
    "flicker_gains",
    "lose_resolution",
]

# Codes from here on round to the top one.
_TOP = 254.5
_MAX_GAIN_STOPS = 12.0
# Darkest light that counts; logarithms and divisions need a floor.
_DARKEST = 2.0**-24
# Of all errors of compression, this many are to lie within w.
_WITHIN = 0.93
# w is measured on every fourth row and column, exposure too: as good, and sixteen times faster.
_SPARSE = (slice(None), slice(None, None, 4), slice(None, None, 4))


@dataclass(frozen=True)
class DegradedClip:
    """Codes, and the truth about them.

    Attributes:
        codes: (T, H, W, 3) uint8.
        value_lsb: (T, H, W, 3) float32, in codes: what they were before flicker, dither, rounding and compression;
            254.5 or more where light is above the top of the range, not cut off at either end.
        gain_stops: (T, H, W, 3) float32 ≥ 0, stops of light above what reaches code 254.5; held at 12.
        half_width_lsb: w. Flicker does not widen it: the target is held within the bin in any case.
        exposure: factor that the light was multiplied by.
        decoder: how the codes came out of YCbCr, where the way back is known.
    """

    codes: NDArray[np.uint8]
    value_lsb: NDArray[np.float32]
    gain_stops: NDArray[np.float32]
    half_width_lsb: float
    exposure: float
    decoder: Lattice | None = None


def degrade(rgb_lin: NDArray[np.float32], degradation: Degradation) -> DegradedClip:
    """Make codes of a clip; the same light and degradation give the same bytes.

    The order: exposure, resolution, shot and read noise, grain; here the truth is taken, because these belong to the
    picture that is to be kept. A response curve and crushed blacks are looks that were baked in, so they define what
    the codes say: below clip the light of the truth is what the declared encoding makes of ``value_lsb``. Then what
    only corrupts: flicker, dither, rounding, compression.

    Args:
        rgb_lin: (T, H, W, 3) float32 scene-linear in the primaries of the encoding.
        degradation: what happens.

    Raises:
        UnknownNameError: nobody knows the encoding.
        UsageError: H.264 without PyAV.
        ValueError: the clip is not (T, H, W, 3).
    """
    if rgb_lin.ndim != 4 or rgb_lin.shape[-1] != 3:
        raise ValueError(f"rgb_lin: got shape {rgb_lin.shape}, expected (T, H, W, 3)")
    exposure = exposure_factor(rgb_lin, degradation) * 2.0**degradation.ev_stops
    light = rgb_lin.astype(np.float32) * np.float32(exposure)
    if degradation.resolution_factor is not None:
        light = lose_resolution(light, degradation.resolution_factor)
    if degradation.noise_shot or degradation.noise_read:
        light = shot_read_noise(light, degradation.noise_shot, degradation.noise_read, _rng(degradation, 0))
    if degradation.grain_stops:
        light = film_grain(light, degradation.grain_size_px, degradation.grain_stops, _rng(degradation, 1))
    to_value, to_light = _curve(degradation)
    value = (to_value(torch.from_numpy(light)) * 255).numpy()
    top = float(to_light(torch.tensor(_TOP / 255, dtype=torch.float64)))
    gain = np.log2(np.maximum(light, np.float32(top)) * np.float32(1 / top)).clip(0, _MAX_GAIN_STOPS)
    gain[value < _TOP] = 0

    shown = value
    if degradation.flicker_stops or degradation.white_balance_stops:
        flickering = light * flicker_gains(degradation, len(light))[:, None, None]
        shown = (to_value(torch.from_numpy(flickering)) * 255).numpy()
    dithered, w = shown, 0.5
    if degradation.dither:
        rng = _rng(degradation, 2)
        dithered = shown + rng.random(shown.shape, np.float32) - rng.random(shown.shape, np.float32)
        w = 1.5
    codes = np.rint(dithered).clip(0, 255).astype(np.uint8)
    if degradation.jpeg_quality is not None or degradation.h264_crf is not None:
        if degradation.jpeg_quality is not None:
            codes = jpeg(codes, degradation.jpeg_quality)
        if degradation.h264_crf is not None:
            codes = h264(codes, degradation.h264_crf, cut_down=degradation.h264_cut_down)
        error = np.abs(shown[_SPARSE].clip(0, 255) - codes[_SPARSE])
        w = float(np.clip(np.quantile(error, _WITHIN) * degradation.half_width_factor, 0.5, 4.0))
    return DegradedClip(codes, value, gain, w, exposure, _decoder(degradation))


def exposure_stack(
    rgb_lin: NDArray[np.float32], degradation: Degradation, ev_stops: Sequence[float]
) -> list[DegradedClip]:
    """The same clip at several exposures, any EVs: what a camera's bracket, or a network that makes one, would show.

    Every exposure has noise, grain and dither of its own; looks and compression are the same.

    Args:
        rgb_lin: (T, H, W, 3) float32 scene-linear in the primaries of the encoding.
        degradation: what happens; its own ``ev_stops`` come on top.
        ev_stops: stops over the exposure that the degradation says.
    """
    return [
        degrade(
            rgb_lin,
            dataclasses.replace(
                degradation, ev_stops=degradation.ev_stops + ev, seed=(degradation.seed + number) % 2**32
            ),
        )
        for number, ev in enumerate(ev_stops)
    ]


def _decoder(degradation: Degradation) -> Lattice | None:
    """What made the last codes; no lattice for H.264 that is not cut down: its chroma is enlarged in fractions."""
    if degradation.h264_crf is not None:
        return LIMITED_BT601_CUT_DOWN if degradation.h264_cut_down else None
    return None if degradation.jpeg_quality is None else FULL_BT601


def _rng(degradation: Degradation, stage: int) -> np.random.Generator:
    """Every stage has its own noise, so that it does not depend on which others are on."""
    return np.random.default_rng((degradation.seed, stage))


def _curve(degradation: Degradation) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """From exposed light to V = code / 255 with all baked-in looks, and back."""
    encoding, response, crush = get_encoding(degradation.encoding), degradation.response, degradation.crush

    def to_value(light: Tensor) -> Tensor:
        value = encoding.encode(light) if response is None else apply_response(response, light)
        return (value - crush) / (1 - crush) if crush else value

    def to_light(value: Tensor) -> Tensor:
        value = value * (1 - crush) + crush
        return encoding.decode(value) if response is None else invert_response(response, value)

    return to_value, to_light


def exposure_factor(rgb_lin: NDArray[np.float32], degradation: Degradation) -> float:
    """What to multiply a clip's light by, one factor for all frames.

    Without ``clipped`` it puts the median of the brightest channel at 2^median_stops. With it, that share of pixels
    is put above 1.0, unless the median would pass 2^median_stops.

    Args:
        rgb_lin: (T, H, W, 3) scene-linear.
        degradation: of which ``median_stops`` and ``clipped`` are used.
    """
    brightest = np.maximum(rgb_lin[_SPARSE].max(axis=-1), _DARKEST)
    by_median = float(2**degradation.median_stops / np.median(brightest))
    if not degradation.clipped:
        return by_median
    return min(by_median, 1 / float(np.quantile(brightest, 1 - degradation.clipped)))


def flicker_gains(degradation: Degradation, frames: int) -> NDArray[np.float32]:
    """(T, 3) factors on the light of each frame.

    All channels by 2^±flicker_stops at most, then red and blue, each on its own, by 2^±white_balance_stops; green is
    what white balance is measured against.
    """
    stops = _rng(degradation, 3).uniform(-1, 1, (frames, 3))
    balance = degradation.white_balance_stops * stops[:, 1:]
    exposure = degradation.flicker_stops * stops[:, :1]
    return np.exp2(exposure + np.stack((balance[:, 0], 0 * balance[:, 0], balance[:, 1]), axis=1)).astype(np.float32)


def lose_resolution(rgb_lin: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Shrink frames by averaging light over areas, and enlarge them again cubically in log2, where rings stay positive.

    Args:
        rgb_lin: (T, H, W, 3) scene-linear; held at 2^-24 from below.
        factor: ≥ 1, how many times smaller in each direction, to the nearest whole pixel.
    """
    height, width = rgb_lin.shape[1:3]
    small = max(1, round(width / factor)), max(1, round(height / factor))
    out = np.empty_like(rgb_lin)
    for frame, light in enumerate(rgb_lin):
        shrunk = np.log2(np.maximum(cv2.resize(light, small, interpolation=cv2.INTER_AREA), _DARKEST))
        out[frame] = np.exp2(cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_CUBIC))
    return out
