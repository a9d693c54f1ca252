"""Exposure stacks of known light, and a merge that goes pixel by pixel in plain Python."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from seqhdr.classic.merge import MERGE_WEIGHTS, ExposureStack, NoiseModel, merge_exposures
from seqhdr.color.encodings import get_encoding

METHODS = sorted(MERGE_WEIGHTS)
#: 2000 electrons at the clip, 4 of read noise.
CAMERA = NoiseModel(shot=5e-4, read=2e-3)

PythonCurve = Callable[[float], float]


def _srgb_decode(v: float) -> float:
    # The standard's power, and the tangent to it that passes through no light.
    joint = 0.055 / 1.4
    if v > joint:
        return ((v + 0.055) / 1.055) ** 2.4
    return v / joint * ((joint + 0.055) / 1.055) ** 2.4


def _srgb_encode(x: float) -> float:
    joint = 0.055 / 1.4
    if x > _srgb_decode(joint):
        return 1.055 * x ** (1 / 2.4) - 0.055
    return x / _srgb_decode(joint) * joint


def _logc3_decode(v: float) -> float:
    # The six digits of ARRI's table for exposure index 800.
    if v > 5.367655 * 0.010591 + 0.092809:
        return (10 ** ((v - 0.385537) / 0.247190) - 0.052272) / 5.555556
    return (v - 0.092809) / 5.367655


def _logc3_encode(x: float) -> float:
    if x > 0.010591:
        return 0.247190 * math.log10(5.555556 * x + 0.052272) + 0.385537
    return 5.367655 * x + 0.092809


#: Name of an encoding → its decode and encode, of one number.
CURVES: dict[str, tuple[PythonCurve, PythonCurve]] = {
    "lin_rec709": (lambda v: v, lambda x: x),
    "srgb": (_srgb_decode, _srgb_encode),
    "gamma22": (lambda v: math.copysign(abs(v) ** 2.2, v), lambda x: math.copysign(abs(x) ** (1 / 2.2), x)),
    "logc3": (_logc3_decode, _logc3_encode),
}


def _code_light(decode: PythonCurve, value: float, max_code: float) -> float:
    return decode(value + 0.5 / max_code) - decode(value - 0.5 / max_code)


def naive_counted(codes: Sequence[float], t: Sequence[float], max_code: float) -> list[int]:
    """The exposures of one pixel that may have a say."""
    return [i for i, code in enumerate(codes) if (code < max_code or t[i] == min(t)) and (code > 0 or t[i] == max(t))]


def naive_average(
    codes: Sequence[float], t: Sequence[float], weights: Sequence[float], decode: PythonCurve, max_code: float
) -> float:
    """Σ w X / t / Σ w of one pixel, by the rules of who counts."""
    counted = naive_counted(codes, t, max_code)
    taken = {i: weights[i] for i in counted if weights[i] > 0}
    if not taken and counted:
        taken = {i: 1.0 for i in counted if t[i] == max(t[j] for j in counted)}
    if not taken:
        clipped = [i for i, code in enumerate(codes) if code >= max_code]
        taken = {i: 1.0 for i in clipped if t[i] == min(t[j] for j in clipped)}
    return sum(w * decode(codes[i] / max_code) / t[i] for i, w in taken.items()) / sum(taken.values())


def naive_weights(
    method: str, codes: Sequence[float], t: Sequence[float], encoding: str, max_code: float, noise: NoiseModel
) -> list[float]:
    """The weights of one pixel's exposures."""
    decode, encode = CURVES[encoding]
    clip = decode(1.0)
    if method == "granados":
        weights = list(t)
        for _ in range(2):
            estimate = naive_average(codes, t, weights, decode, max_code)
            for i, exposure in enumerate(t):
                light = min(max(estimate * exposure, decode(0.0)), clip)
                rounding = noise.quantisation * _code_light(decode, encode(light), max_code) / clip
                variance = noise.shot * max(light / clip, 0) + noise.read**2 + rounding**2
                weights[i] = exposure**2 / variance
        return weights
    weights = []
    for code, exposure in zip(codes, t, strict=True):
        step = _code_light(decode, code / max_code, max_code)
        if method == "debevec":
            weight = code if code < max_code / 2 else max_code - code
        elif method == "mann":
            weight = 1 / step
        elif method == "mitsunaga":
            weight = max(decode(code / max_code), 0.0) / step
        else:
            weight = math.exp(-((2 * (code - max_code / 2) / (max_code / 2)) ** 2)) * exposure**2
        weights.append(weight)
    return weights


def by_pixel(rule: Callable[[list[float]], float | list[float]], stack: Tensor) -> Tensor:
    """Ask ``rule`` for each pixel's codes (N) in turn: (3, H, W), or (N, 3, H, W) where it answers with a list."""
    pixels = stack.flatten(1).T.tolist()
    answers = torch.tensor([rule(codes) for codes in pixels], dtype=torch.float64)
    return answers.T.reshape(-1, *stack.shape[1:]).squeeze(0) if answers.ndim > 1 else answers.view(stack.shape[1:])


def as_stack(
    codes: Tensor, t: Sequence[float], encoding: str, max_code: float, noise: NoiseModel | None = None
) -> ExposureStack:
    """The codes (N, 3, H, W) and exposures as weights see them."""
    exposures = torch.tensor(t, dtype=codes.dtype).view(-1, 1, 1, 1)
    return ExposureStack(codes, exposures, get_encoding(encoding), max_code, noise or NoiseModel())


def merge(
    codes: Sequence[Tensor] | Tensor, t: list[float], encoding: str, method: str, max_code: float = 255
) -> Tensor:
    """What is tested, told the noise of :data:`CAMERA`."""
    return merge_exposures(list(codes), t, get_encoding(encoding), max_code, method, CAMERA)


def pixel(*codes: float) -> list[Tensor]:
    """(3, 1, 1) per code, the same in all channels."""
    return [torch.full((3, 1, 1), float(code)) for code in codes]


def random_codes(count: int, max_code: int = 255, *, height: int = 6, width: int = 8, seed: int = 0) -> Tensor:
    """(N, 3, H, W) float64 without sense or order, a quarter of them at each end."""
    rng = np.random.default_rng(seed)
    spread = rng.integers(-max_code // 2, 2 * max_code - max_code // 2, (count, 3, height, width))
    return torch.from_numpy(spread.clip(0, max_code).astype(np.float64))


def light_of(
    t: Sequence[float], encoding: str, max_code: float, *, least_lsb: float = 8, side: int = 64, seed: int = 0
) -> Tensor:
    """(3, H, W) float64, its logarithm spread evenly: ``least_lsb`` linear codes where t is longest, to 0.9 of what
    clips where it is shortest."""
    clip = CURVES[encoding][0](1.0)
    low, high = math.log2(least_lsb / max_code * clip / max(t)), math.log2(0.9 * clip / min(t))
    return torch.from_numpy(2 ** np.random.default_rng(seed).uniform(low, high, (3, side, side)))


def expose(
    rgb_lin: Tensor, t: Sequence[float], encoding: str, max_code: float, noise: NoiseModel | None = None, seed: int = 0
) -> list[Tensor]:
    """What a camera makes of light: shot and read noise, the curve, whole codes. Without noise only the last two."""
    rng = np.random.default_rng(seed)
    clip = CURVES[encoding][0](1.0)
    frames = []
    for exposure in t:
        light = rgb_lin / clip * exposure
        if noise is not None:
            deviation = (noise.shot * light + noise.read**2).sqrt()
            light = light + deviation * torch.from_numpy(rng.standard_normal(light.shape))
        codes = get_encoding(encoding).encode(light * clip) * max_code
        frames.append(codes.round().clamp(0, max_code))
    return frames


def rmse_stops(rgb_lin: Tensor, truth: Tensor) -> float:
    """Relative RMSE, in log2; what is no light at all is taken as four stops below the darkest truth."""
    stops = (rgb_lin.clamp(min=float(truth.min()) / 16) / truth).log2()
    return float(stops.square().mean().sqrt())
