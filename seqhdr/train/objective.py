"""What training minimises: the terms of :mod:`seqhdr.train.losses`, weighted as the configuration says."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seqhdr.color.bounds import decode_offset
from seqhdr.color.encodings import get_encoding
from seqhdr.errors import UsageError
from seqhdr.model.head import Prediction
from seqhdr.train import losses
from seqhdr.train.batch import ClipBatch

__all__ = ["LossConfig", "decode_log", "objective", "true_light"]

_MAX_CODE = 255
_FLOWS = ("exact", "given")
_NO_TERMS = ("saturated_weight", "uncertain_weight", "lpips_frames", "exposure_stops")

_Formula = Callable[[], Tensor]


@dataclass(frozen=True)
class LossConfig:
    """How much each term counts; one of weight 0 is not computed.

    Attributes:
        offset: error of the offsets, in bins.
        offset_stops: the same, weighted by the bins' widths in stops.
        offset_gradient: ripples of that error.
        gain: error of the stops above clip.
        gain_square: square of that error, over clipped channels only.
        gain_gradient: ripples of that error.
        gain_error: how well the expected error of the stops fits.
        square_left: share of the codes' squared error in log that is left, clip by clip.
        l1_log: absolute difference in log.
        l1_linear: absolute difference in scene-linear light up to 16.
        gradient: gradients in log; the usual weight is 1.5.
        multi_scale_gradient: the same over four scales.
        ssim: 1 − SSIM in log.
        ms_ssim: 1 − MS-SSIM in log.
        lpips: perceptual distance of the log pictures.
        color_consistency: agreement of the channels' gradients; the usual weight is 0.2.
        fft: magnitudes of the Fourier transforms in log.
        laplacian: Laplacian pyramid in log.
        temporal: difference to the warped frame before, in log.
        temporal_residual: the same of the error, which real changes of light leave alone.
        coherence: see :func:`seqhdr.train.consistency.coherence`; :func:`objective` does not compute it.
        exposure: see :func:`seqhdr.train.consistency.exposure_consistency`; the same.
        saturated_weight: how much a clipped channel counts in log, where a known one counts 1.
        uncertain_weight: a clipped channel counts 1 + this · expected error in stops times less.
        temporal_flow: the flow of the temporal terms; ``exact``: as it really is, ``given``: what the network got.
        lpips_frames: how many frames of each clip, the last ones, ``lpips`` looks at. On a CPU each takes longer than
            everything else together.
        exposure_stops: largest EV, either way, of the other exposure of the term ``exposure``.
        lpips_backbone: see :func:`seqhdr.quality.perceptual.load_lpips`.

    Raises:
        UsageError: a weight is negative or not finite, all terms have the weight 0, or the flow has no such name.
    """

    offset: float = 1.0
    offset_stops: float = 1.0
    offset_gradient: float = 0.25
    gain: float = 0.3
    gain_square: float = 0.0
    gain_gradient: float = 0.075
    gain_error: float = 0.05
    square_left: float = 0.0
    l1_log: float = 0.0
    l1_linear: float = 0.0
    gradient: float = 0.0
    multi_scale_gradient: float = 0.0
    ssim: float = 0.0
    ms_ssim: float = 0.0
    lpips: float = 0.0
    color_consistency: float = 0.0
    fft: float = 0.0
    laplacian: float = 0.0
    temporal: float = 0.0
    temporal_residual: float = 0.0
    coherence: float = 0.0
    exposure: float = 0.0
    saturated_weight: float = 0.25
    uncertain_weight: float = 1.0
    temporal_flow: str = "exact"
    lpips_frames: int = 1
    exposure_stops: float = 3.0
    lpips_backbone: str | None = None

    def __post_init__(self) -> None:
        """Refuse what no training can use."""
        numbers = {f.name: v for f in dataclasses.fields(self) if isinstance(v := getattr(self, f.name), int | float)}
        for name, weight in numbers.items():
            if not 0 <= weight < math.inf:
                raise UsageError(f"loss weight {name} is {weight}: give a finite number of 0 or more")
        if not any(weight for name, weight in numbers.items() if name not in _NO_TERMS):
            raise UsageError("all loss weights are 0, so there is nothing to learn: give at least one term a weight")
        if self.lpips_frames < 1:
            raise UsageError(f"lpips_frames is {self.lpips_frames}: give 1 or more, or lpips the weight 0")
        if self.temporal_flow not in _FLOWS:
            raise UsageError(f"temporal_flow is {self.temporal_flow!r}: give one of {', '.join(_FLOWS)}")


def decode_log(batch: ClipBatch, offset_lsb: Tensor, gain_stops: Tensor) -> tuple[Tensor, Tensor]:
    """What offsets and stops say in light, each clip by its own encoding and w; differentiable.

    Args:
        batch: the clips.
        offset_lsb, gain_stops: (B, T, 3, H, W).

    Returns:
        ``rgb_log`` and ``rgb_lin``, (B, T, 3, H, W): scene-linear light in the clip's own primaries, and the ACEScct
        curve of it. The primaries stay, since matrices would only mix known channels with clipped ones.
    """
    light = [
        decode_offset(codes, offset, gain, w, _MAX_CODE, get_encoding(name))
        for codes, offset, gain, w, name in zip(
            batch.codes, offset_lsb, gain_stops, batch.half_width_lsb.tolist(), batch.encodings, strict=True
        )
    ]
    rgb_lin = torch.stack(light)
    return get_encoding("acescct").encode(rgb_lin), rgb_lin


def objective(
    batch: ClipBatch, predictions: list[Prediction], config: LossConfig, perceptual: nn.Module | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of all terms that have a weight; always in float32, also inside autocast.

    Terms in log compare the prediction's light with the true light. L1s, gradients, colour consistency and the
    Laplacian pyramid count clipped channels less (:func:`seqhdr.train.losses.noise_aware_weight`). SSIM, MS-SSIM,
    LPIPS and the Fourier magnitudes have no place for a weight: clipped channels count fully there. The temporal terms
    count what is visible in both frames.

    Args:
        batch: B clips of T frames.
        predictions: one per frame.
        config: the weights.
        perceptual: from :func:`seqhdr.quality.perceptual.load_lpips`, for the term ``lpips``.

    Returns:
        The sum, and every term that was computed, unweighted and detached.

    Raises:
        UsageError: the crops are too small for a term.
        ValueError: there are not T predictions, or ``lpips`` has a weight and ``perceptual`` is missing.
    """
    if len(predictions) != batch.codes.shape[1]:
        raise ValueError(f"got {len(predictions)} predictions for {batch.codes.shape[1]} frames: expected one each")
    if config.lpips > 0 and perceptual is None:
        raise ValueError("got no perceptual distance, but lpips has a weight: expected that of load_lpips")
    with torch.autocast(batch.codes.device.type, enabled=False):
        offset_lsb, gain_stops, gain_error_stops = (
            torch.stack([getattr(prediction, name) for prediction in predictions], dim=1).float()
            for name in ("offset_lsb", "gain_stops", "gain_error_stops")
        )
        formulas = _code_formulas(batch, offset_lsb, gain_stops, gain_error_stops)
        formulas |= _log_formulas(batch, offset_lsb, gain_stops, gain_error_stops, config, perceptual)
        terms = {name: formula() for name, formula in formulas.items() if getattr(config, name) > 0}
        total = batch.codes.new_zeros(())
        for name, term in terms.items():
            total = total + getattr(config, name) * term
    return total, {name: term.detach() for name, term in terms.items()}


def _code_formulas(
    batch: ClipBatch, offset_lsb: Tensor, gain_stops: Tensor, gain_error_stops: Tensor
) -> dict[str, _Formula]:
    clipped = batch.clipped

    @functools.cache
    def offset_miss() -> Tensor:
        return losses.offset_miss(offset_lsb, batch.codes, batch.value_lsb, batch.half_width_lsb, clipped)

    @functools.cache
    def gain_miss() -> Tensor:
        return losses.gain_miss(gain_stops, batch.gain_stops, clipped)

    return {
        "offset": lambda: losses.offset(offset_miss()),
        "offset_stops": lambda: losses.offset_stops(offset_miss(), batch.codes, batch.width_stops),
        "offset_gradient": lambda: losses.offset_gradient(offset_miss()),
        "gain": lambda: losses.gain(gain_miss()),
        "gain_square": lambda: losses.gain_square(gain_miss(), clipped),
        "gain_gradient": lambda: losses.gain_gradient(gain_miss()),
        "gain_error": lambda: losses.gain_error(gain_miss(), gain_error_stops, clipped),
    }


def _log_formulas(
    batch: ClipBatch,
    offset_lsb: Tensor,
    gain_stops: Tensor,
    gain_error_stops: Tensor,
    config: LossConfig,
    perceptual: nn.Module | None,
) -> dict[str, _Formula]:
    flow_px = batch.exact_flow_px if config.temporal_flow == "exact" else batch.flow_px

    @functools.cache
    def light() -> tuple[Tensor, Tensor]:
        return decode_log(batch, offset_lsb, gain_stops)

    @functools.cache
    def truth() -> tuple[Tensor, Tensor]:
        return true_light(batch)

    @functools.cache
    def weight() -> Tensor:
        return losses.noise_aware_weight(
            batch.clipped, gain_error_stops, config.saturated_weight, config.uncertain_weight
        )

    def square_left() -> Tensor:
        nothing = torch.zeros_like(offset_lsb)
        return losses.square_left(light()[0], truth()[0], decode_log(batch, nothing, nothing)[0], batch.clipped)

    def weighed(formula: Callable[[Tensor, Tensor, Tensor], Tensor], space: int = 0) -> _Formula:
        return lambda: formula(light()[space], truth()[space], weight())

    def plain(formula: Callable[[Tensor, Tensor], Tensor]) -> _Formula:
        return lambda: formula(light()[0], truth()[0])

    formulas: dict[str, _Formula] = {
        "square_left": square_left,
        "l1_log": weighed(losses.l1),
        "l1_linear": weighed(losses.l1_linear, space=1),
        "gradient": weighed(losses.gradient),
        "multi_scale_gradient": weighed(losses.multi_scale_gradient),
        "ssim": plain(losses.ssim_loss),
        "ms_ssim": plain(losses.ms_ssim_loss),
        "color_consistency": weighed(losses.color_consistency),
        "fft": plain(losses.fft_magnitude),
        "laplacian": weighed(losses.laplacian_pyramid),
        "temporal": lambda: losses.temporal_consistency(light()[0], flow_px, batch.visible),
        "temporal_residual": lambda: losses.temporal_residual(light()[0], truth()[0], flow_px, batch.visible),
    }
    if perceptual is not None:
        # From the end of the clip, where the memory is warm.
        first = max(0, batch.codes.shape[1] - config.lpips_frames)
        formulas["lpips"] = lambda: perceptual(light()[0][:, first:], truth()[0][:, first:])
    return formulas


def true_light(batch: ClipBatch) -> tuple[Tensor, Tensor]:
    """What :func:`decode_log` would say of a perfect prediction that no bin held back."""
    top = _MAX_CODE - 0.5
    # Above the top of the range the stops say how much; below it they are 0 and the value says it all. What lies
    # below the lowest bin, light below zero, cannot be asked for.
    value = batch.value_lsb.clamp(-0.5, top) / _MAX_CODE
    shine = torch.exp2(batch.gain_stops)
    rgb_lin = (
        torch.stack([get_encoding(name).decode(v) for name, v in zip(batch.encodings, value, strict=True)]) * shine
    )
    return get_encoding("acescct").encode(rgb_lin), rgb_lin
