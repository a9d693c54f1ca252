"""Several exposures of one frame, merged into scene-linear light: E = Σ w X / t / Σ w.

X is what a frame shows, decoded; t is how long it was exposed. What the methods differ in is w. Most of them judge a
pixel by its code; :func:`granados` judges it by the noise that the camera makes, which is best where that is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from seqhdr.color.encodings import ColorEncoding
from seqhdr.errors import UnknownNameError, UsageError

__all__ = [
    "MERGE_WEIGHTS",
    "ExposureStack",
    "NoiseModel",
    "debevec",
    "granados",
    "mann",
    "merge_exposures",
    "mitsunaga",
    "robertson",
]

# Each judges the noise by a better estimate; a third moves the result by a thousandth of its error.
_PASSES = 2
# Further apart, weights with the square of t leave the range of float32.
_WIDEST_STOPS = 40
# Less is taken as this much, so that no weight is infinite: far below any camera's noise, and a code's share of light
# in any curve but one that is flat there.
_LEAST_VARIANCE = 1e-30
_LEAST_WIDTH = 1e-20


@dataclass(frozen=True)
class NoiseModel:
    """The noise of one exposure: variance(X) = shot · X + read² + (quantisation · light of a code at X)².

    Light is counted in units of what clips, so X = 1 at the largest code. Without arguments it is a middling camera:
    10 000 electrons at the clip, 5 electrons of read noise, codes rounded. On stacks without any noise that adds about
    a fifth to the error; to know of no noise triples it on 8-bit log codes that have some.

    Attributes:
        shot: ≥ 0, variance per light: the light of one photo-electron, one over the electrons that clip.
        read: ≥ 0, standard deviation in the dark, in light.
        quantisation: ≥ 0, standard deviation of the rounding, in codes; 12^-½ where codes are rounded to the nearest.

    Raises:
        ValueError: a negative or infinite number, or neither read nor quantisation above 0: then darkness would have
            no noise, and any weight.
    """

    shot: float = 1e-4
    read: float = 5e-4
    quantisation: float = 12**-0.5

    def __post_init__(self) -> None:
        """Refuse what is no noise."""
        numbers = (self.shot, self.read, self.quantisation)
        if not all(0 <= number < math.inf for number in numbers) or self.read + self.quantisation == 0:
            raise ValueError(
                f"noise: got shot = {self.shot}, read = {self.read}, quantisation = {self.quantisation}, expected "
                "finite numbers from 0 on, and read or quantisation above 0"
            )


@dataclass(frozen=True)
class ExposureStack:
    """N exposures of one frame, as the weights see them.

    Attributes:
        codes: (N, 3, H, W) whole numbers 0..``max_code``, float32 or float64.
        exposures: (N, 1, 1, 1) relative exposures t, linear, above 0, of the same dtype.
        encoding: what the codes mean; its primaries play no part.
        max_code: the largest code, where frames clip.
        noise: of each exposure.
        masks: (N, 1 or 3, H or 1, W or 1) from 0 on, what each exposure's weights are multiplied by.
    """

    codes: Tensor
    exposures: Tensor
    encoding: ColorEncoding
    max_code: float
    noise: NoiseModel
    masks: Tensor = field(default_factory=lambda: torch.ones(1, 1, 1, 1))


def debevec(stack: ExposureStack) -> Tensor:
    """A hat over the codes z: w = min(z, z_max - z).

    Debevec and Malik, "Recovering high dynamic range radiance maps from photographs" (SIGGRAPH 1997). They average
    logarithms of light; here light itself is averaged, by this method as by all: noise around black has no logarithm.

    Returns:
        (N, 3, H, W) in codes, 0 at both ends and z_max / 2 at most.
    """
    return torch.minimum(stack.codes, stack.max_code - stack.codes)


def granados(stack: ExposureStack) -> Tensor:
    """The inverse variance of X / t: w = t² / variance(E t), the best there is where the noise is known.

    Granados, Ajdin, Wand, Theobalt, Seidel and Lensch, "Optimal HDR reconstruction with linear digital cameras" (CVPR
    2010), without its dark current and its gain of each pixel. The variance is that of :class:`NoiseModel`, at the
    light which the estimate E says: were it that of the pixel, one that is dark by chance would weigh more. E starts
    as all light over all time, Σ X / Σ t, the best where shot noise is all there is, and is improved twice. Rounding
    is taken as wide as a code is at that light, so any encoding will do, not only a linear one.

    Returns:
        (N, 3, H, W), per light² in units of what clips, at t = 1.
    """
    t = stack.exposures
    weights = t.expand_as(stack.codes)
    for _ in range(_PASSES):
        weights = t.square() / _variance(stack, _average(stack, weights) * t)
    return weights


def mann(stack: ExposureStack) -> Tensor:
    """The slope of the response, codes per light: w = dz / dX.

    Mann and Picard, "On being 'undigital' with digital cameras: extending dynamic range by combining differently
    exposed pictures" (IS&T annual conference 1995): a pixel is as certain as the response is steep. Over the logarithm
    of light the slope would be that of :func:`mitsunaga`. The response is the encoding, and its slope is one code over
    the light between half a code below z and half a code above; of a linear one it is the same everywhere.

    Returns:
        (N, 3, H, W) in codes per light, above 0.
    """
    return 1 / _code_light(stack, stack.codes / stack.max_code)


def mitsunaga(stack: ExposureStack) -> Tensor:
    """Signal over noise where the noise is the same in all codes: w = f / f', with X = f(z) the decoded light.

    Mitsunaga and Nayar, "Radiometric self calibration" (CVPR 1999). f is the encoding's decode, f' is taken as in
    :func:`mann`. Light below zero, which some encodings have codes for, weighs nothing.

    Returns:
        (N, 3, H, W) in codes, from 0 on.
    """
    value = stack.codes / stack.max_code
    return stack.encoding.decode(value).clamp(min=0) / _code_light(stack, value)


def robertson(stack: ExposureStack) -> Tensor:
    """A bell over the codes z, times t²: w = exp(-4 (z - m)² / m²) t², with m = z_max / 2.

    Robertson, Borman and Stevenson, "Dynamic range improvement through multiple exposures" (ICIP 1999) and
    "Estimation-theoretic approach to dynamic range enhancement using multiple exposures" (Journal of Electronic Imaging
    12(2), 2003). They write E = Σ b t X / Σ b t², with b the bell: the t² is what that makes of the weight of X / t.

    Returns:
        (N, 3, H, W), above 0 and t² at most.
    """
    middle = stack.max_code / 2
    return torch.exp(-4 * (stack.codes / middle - 1).square()) * stack.exposures.square()


#: Name of a method → the weights w of a stack, before those of clipped and black pixels are taken away.
MERGE_WEIGHTS: Mapping[str, Callable[[ExposureStack], Tensor]] = {
    "debevec": debevec,
    "granados": granados,
    "mann": mann,
    "mitsunaga": mitsunaga,
    "robertson": robertson,
}


def merge_exposures(
    codes: Sequence[Tensor],
    exposures: Sequence[float],
    encoding: ColorEncoding,
    max_code: float,
    method: str = "granados",
    noise: NoiseModel | None = None,
    masks: Sequence[Tensor] | None = None,
) -> Tensor:
    """Merge several exposures of one frame, each channel by itself.

    Clipped pixels (codes from ``max_code`` on) count in the darkest exposure only, black ones (code 0) in the brightest
    only. Where all that counts weighs nothing, the brightest of that is taken as it is. Where nothing counts, as
    between a dark exposure that is black and a bright one that clips, the darkest that clips is taken: the light is at
    least that. So every pixel has an answer, and it lies between the smallest and the largest X / t of what counts.

    Args:
        codes: one (3, H, W) per exposure, whole numbers 0..``max_code`` in float32 or float64, in any order. They show
            the same at the same place.
        exposures: t of each, above 0, linear: 2^EV. Only ratios matter to the weights.
        encoding: what the codes mean.
        max_code: the largest code, where frames clip: 255 of 8 bits.
        method: a name in :data:`MERGE_WEIGHTS`.
        noise: the camera's, read by ``granados`` only; without it a middling camera is assumed.
        masks: one (1, H, W) or (3, H, W) per exposure, from 0 on, times its weights; where a mask is 0 the exposure
            does not count, not even as the brightest or the darkest.

    Returns:
        (3, H, W) scene-linear light in the encoding's primaries, in the dtype of the codes: what an exposure of t = 1
        shows, and more than the encoding can say where darker ones tell it.

    Raises:
        UnknownNameError: there is no such method.
        UsageError: not as many exposures as frames, none at all, one that is not a number above 0, or more than 40
            stops between the darkest and the brightest.
        ValueError: frames of other shapes or dtypes, a ``max_code`` that is not above 0, not as many masks as frames,
            or a pixel that no mask lets through.
    """
    if method not in MERGE_WEIGHTS:
        raise UnknownNameError("merge method", method, MERGE_WEIGHTS)
    _check_exposures(exposures, len(codes))
    shapes = [tuple(frame.shape) for frame in codes]
    if len(set(shapes)) > 1 or len(shapes[0]) != 3 or shapes[0][0] != 3:
        raise ValueError(f"codes: got shapes {shapes}, expected the same (3, H, W) of all")
    dtypes = {frame.dtype for frame in codes}
    if len(dtypes) > 1 or not dtypes <= {torch.float32, torch.float64}:
        raise ValueError(f"codes: got {sorted(map(str, dtypes))}, expected either float32 or float64 of all")
    if not max_code > 0:
        raise ValueError(f"max_code: got {max_code}, expected a code above 0")
    # Relative to the longest, so that weights do not depend on the unit of time.
    longest = max(exposures)
    times = codes[0].new_tensor([t / longest for t in exposures]).view(-1, 1, 1, 1)
    heard = torch.ones_like(times) if masks is None else torch.stack(tuple(masks)).to(times)
    if len(heard) != len(codes):
        raise ValueError(f"masks: got {len(heard)} for {len(codes)} frames, expected one each")
    if not bool((heard > 0).any(dim=0).all()):
        raise ValueError("masks: got a pixel that no mask lets through, expected at least one above 0 everywhere")
    stack = ExposureStack(torch.stack(tuple(codes)), times, encoding, max_code, noise or NoiseModel(), heard)
    return _average(stack, MERGE_WEIGHTS[method](stack)) / longest


def _check_exposures(exposures: Sequence[float], frames: int) -> None:
    """Refuse exposures that do not fit the frames or cannot be used."""
    if len(exposures) != frames or frames == 0:
        raise UsageError(f"got {len(exposures)} exposures for {frames} frames: give one exposure for each frame.")
    for index, t in enumerate(exposures):
        if not 0 < t < math.inf:
            raise UsageError(f"exposure {index + 1} of {frames} is {t}: give a linear exposure above 0, such as 2^EV.")
    stops = math.log2(max(exposures)) - math.log2(min(exposures))
    if stops > _WIDEST_STOPS:
        raise UsageError(
            f"exposures lie {stops:.0f} stops apart, at most {_WIDEST_STOPS} can be merged: give linear exposures."
        )


def _average(stack: ExposureStack, weights: Tensor) -> Tensor:
    """(3, H, W): Σ w X / t / Σ w over what counts; see :func:`merge_exposures` for what does."""
    t, heard = stack.exposures, stack.masks > 0
    clipped, black = heard & (stack.codes >= stack.max_code), heard & (stack.codes <= 0)
    shortest, longest = torch.where(heard, t, math.inf).amin(dim=0), torch.where(heard, t, 0).amax(dim=0)
    counts = heard & (~clipped | (t == shortest)) & (~black | (t == longest))
    weights = torch.where(counts, weights * stack.masks, 0)
    # Of equal exposures all are taken, or the order of the frames would matter.
    brightest = counts & (t == torch.where(counts, t, 0).amax(dim=0))
    darkest_clipped = clipped & (t == torch.where(clipped, t, math.inf).amin(dim=0))
    as_it_is = torch.where(counts.any(dim=0), brightest, darkest_clipped)
    weights = torch.where(weights.sum(dim=0) > 0, weights, as_it_is.to(weights))
    light = stack.encoding.decode(stack.codes / stack.max_code)
    return (weights * light / t).sum(dim=0) / weights.sum(dim=0)


def _variance(stack: ExposureStack, light: Tensor) -> Tensor:
    """Of X, by the noise model, in units of what clips; ``light`` (N, 3, H, W) is what the frames should show."""
    noise, encoding = stack.noise, stack.encoding
    dark, clip = (encoding.decode(light.new_tensor(end)) for end in (0.0, 1.0))
    # Beyond the ends there are no codes.
    shown = torch.minimum(torch.maximum(light, dark), clip)
    rounding = noise.quantisation * _code_light(stack, encoding.encode(shown)) / clip
    variance = noise.shot * (shown / clip).clamp(min=0) + noise.read**2 + rounding.square()
    return variance.clamp(min=_LEAST_VARIANCE)


def _code_light(stack: ExposureStack, value: Tensor) -> Tensor:
    """Light between half a code below and half a code above V; a power's slope at black would be 0, this is not."""
    half = 0.5 / stack.max_code
    width = stack.encoding.decode(value + half) - stack.encoding.decode(value - half)
    return width.clamp(min=_LEAST_WIDTH)
