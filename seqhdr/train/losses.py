"""The terms of the training loss, one formula each: how far a prediction is from the truth, in codes and in light.

Pictures are (N, 3, H, W), clips (B, T, 3, H, W). "Log" means values of the ACEScct curve: 0.073 for no light, 0.55 for
diffuse white, 1.0 for 222 times that. Where a term takes a ``weight`` it is a map that broadcasts to the picture, and
the term is the mean with it, Σ w·x / Σ w; a map of zeros gives 0. A difference between pixels counts with the smaller
weight of the two. Every term is 0 for a perfect prediction, except :func:`gain_error`, and is a scalar.
"""

from __future__ import annotations

import kornia.filters
import torch
import torch.nn.functional as F
from pytorch_msssim import ssim
from torch import Tensor

from seqhdr.errors import UsageError
from seqhdr.model.motion import warp

__all__ = [
    "CEILING",
    "color_consistency",
    "fft_magnitude",
    "gain",
    "gain_error",
    "gain_gradient",
    "gain_miss",
    "gain_square",
    "gradient",
    "l1",
    "l1_linear",
    "laplacian_pyramid",
    "ms_ssim_loss",
    "multi_scale_gradient",
    "noise_aware_weight",
    "offset",
    "offset_gradient",
    "offset_miss",
    "offset_stops",
    "square_left",
    "ssim_loss",
    "temporal_consistency",
    "temporal_residual",
]

#: Scene-linear light, diffuse white at 1, at which :func:`l1_linear` stops counting: four stops above white.
CEILING = 16.0
# Bins wider than this many stops, those near black, count no more than this.
_WIDEST_STOPS = 0.5
# Wang et al. 2003: the exponents of the scales, finest first, and the window of SSIM.
_SCALE_EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_WINDOW_PX = 11
# A batch with a smaller share of clipped channels counts as if it had this one, and so less.
_LEAST_CLIPPED = 0.002
# A clip whose codes are off by less than this in log, RMS, counts as if they were off by this: a tenth of a code.
_LEAST_ERROR_LOG = 0.0001
# The coarsest level of a pyramid is not smaller than this.
_SMALLEST_PX = 4


def offset_miss(
    offset_lsb: Tensor, codes: Tensor, value_lsb: Tensor, half_width_lsb: Tensor, clipped: Tensor
) -> Tensor:
    """The signed error of the offsets, in bins: (δ − δ*) / 2w, and 0 where the channel is clipped.

    Args:
        offset_lsb: δ, (B, T, 3, H, W) in codes.
        codes, value_lsb: the same shape; δ* = value − code, held to ±w, because no offset may leave the bin.
        half_width_lsb: (B,) w in codes.
        clipped: bool, the same shape.
    """
    w = half_width_lsb.view(-1, *[1] * (codes.ndim - 1))
    truth = torch.maximum(torch.minimum(value_lsb - codes, w), -w)
    return (offset_lsb - truth) * ((~clipped).to(offset_lsb.dtype) / (2 * w))


def offset(miss: Tensor) -> Tensor:
    """Mean of |δ − δ*| / 2w over all pixels, ``miss`` from :func:`offset_miss`."""
    return miss.abs().mean()


def offset_stops(miss: Tensor, codes: Tensor, width_stops: Tensor) -> Tensor:
    """The same with every pixel weighing as much as its code is wide in stops: dark bins are wide.

    Args:
        miss: (B, T, 3, H, W) from :func:`offset_miss`.
        codes: the same shape.
        width_stops: (B, 256) width of each code in stops, counted up to 0.5.

    Returns:
        For every frame, over the whole batch, Σ |miss|·width / Σ width; then the mean over the frames.
    """
    width = torch.gather(width_stops.clamp_max(_WIDEST_STOPS), 1, codes.flatten(1).round().long()).view_as(miss)
    frame = (0, *range(2, miss.ndim))
    return (miss.abs() * (width / width.mean(dim=frame, keepdim=True))).mean()


def offset_gradient(miss: Tensor) -> Tensor:
    """Mean absolute difference of ``miss`` between neighbours, along x plus along y: errors without ripples."""
    return _roughness(miss, None)


def gain_miss(gain_stops: Tensor, true_gain_stops: Tensor, clipped: Tensor) -> Tensor:
    """The signed error of the stops above clip, and 0 where the channel is not clipped; all of one shape."""
    return (gain_stops - true_gain_stops) * clipped.to(gain_stops.dtype)


def gain(miss: Tensor) -> Tensor:
    """Mean |miss| in stops, ``miss`` from :func:`gain_miss`.

    The mean goes over all pixels, clipped or not, so that a picture with one clipped pixel does not count like one
    with a clipped sky.
    """
    return miss.abs().mean()


def gain_square(miss: Tensor, clipped: Tensor) -> Tensor:
    """Mean of miss² over the clipped channels, in stops².

    Least for the mean of what may lie above the clip, where the absolute difference is least for the median: most of
    what is clipped is barely so, and a median forgets the lamps. Batches with few clipped channels count less.

    Args:
        miss: (B, T, 3, H, W) from :func:`gain_miss`.
        clipped: bool, the same shape.
    """
    return miss.square().sum() / max(float(clipped.sum()), _LEAST_CLIPPED * miss.numel())


def gain_gradient(miss: Tensor) -> Tensor:
    """Mean absolute difference of ``miss`` between neighbours, along x plus along y, in stops."""
    return _roughness(miss, None)


def gain_error(miss: Tensor, gain_error_stops: Tensor, clipped: Tensor) -> Tensor:
    """Negative log likelihood of the misses under a Laplace distribution of scale b: log b + |miss| / b.

    It is least where b is the expected absolute error. The misses are detached: this term teaches how sure to be, not
    what to say. Mean over all pixels, clipped or not; may be negative.

    Args:
        miss: (B, T, 3, H, W) from :func:`gain_miss`.
        gain_error_stops: b, (B, T, 1, H, W), positive.
        clipped: bool, the shape of ``miss``.
    """
    return ((miss.detach().abs() / gain_error_stops + gain_error_stops.log()) * clipped.to(miss.dtype)).mean()


def l1(rgb_log: Tensor, truth_log: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean absolute difference, in log."""
    return _mean((rgb_log - truth_log).abs(), weight)


def square_left(rgb_log: Tensor, truth_log: Tensor, identity_log: Tensor, clipped: Tensor) -> Tensor:
    """How much of the squared error of the codes is left, over all channels that are not clipped: 10^(-gain / 10).

    The ratio is taken clip by clip and then averaged, so that a dark display-encoded clip, whose codes are wide in log,
    does not outvote the others.

    Args:
        rgb_log, truth_log: (B, T, 3, H, W) in log.
        identity_log: what the codes alone say, the same shape.
        clipped: bool, the same shape.
    """
    known = (~clipped).to(rgb_log.dtype)
    left, all_of_it = (((x - truth_log).square() * known).flatten(1).sum(dim=1) for x in (rgb_log, identity_log))
    return (left / all_of_it.clamp_min(_LEAST_ERROR_LOG**2 * known[0].numel())).mean()


def l1_linear(rgb_lin: Tensor, truth_lin: Tensor, weight: Tensor | None = None, ceiling: float = CEILING) -> Tensor:
    """Mean absolute difference in scene-linear light, both sides held at ``ceiling``.

    A sun has 10^5 times the light of what it shines on: without a ceiling a few pixels of it would be the whole loss.
    What happens above the ceiling is left to the terms in log.
    """
    return _mean((rgb_lin.clamp(max=ceiling) - truth_lin.clamp(max=ceiling)).abs(), weight)


def gradient(rgb_log: Tensor, truth_log: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean absolute difference of the forward differences along x, plus the same along y."""
    return _roughness(rgb_log - truth_log, weight)


def multi_scale_gradient(rgb_log: Tensor, truth_log: Tensor, weight: Tensor | None = None, scales: int = 4) -> Tensor:
    """Mean of :func:`gradient` over a pyramid, each level the 2×2 means of the one before it (Li & Snavely 2018).

    Bands are steps of half a code that lie many pixels apart: only coarse levels tell them from noise. Small pictures
    have fewer levels; an odd last row or column is left out of the next level, and weights are averaged like pixels.
    """
    rest = _images(rgb_log - truth_log)
    weight = None if weight is None else _images(weight.expand_as(rgb_log))
    parts = [_roughness(rest, weight)]
    while len(parts) < scales and min(rest.shape[-2:]) >= 2 * _SMALLEST_PX:
        rest = F.avg_pool2d(rest, 2)
        weight = None if weight is None else F.avg_pool2d(weight, 2)
        parts.append(_roughness(rest, weight))
    return torch.stack(parts).mean()


def ssim_loss(rgb_log: Tensor, truth_log: Tensor) -> Tensor:
    """1 − SSIM (Wang et al. 2004), mean over pixels, channels and pictures; 11-pixel window, data range 1.

    Takes no weight: a window mixes its pixels before there is anything to weigh.

    Raises:
        UsageError: the pictures are smaller than the window.
    """
    rgb_log, truth_log = _images(rgb_log), _images(truth_log)
    _check_window(rgb_log)
    similarity: Tensor = ssim(rgb_log, truth_log, data_range=1.0, win_size=_WINDOW_PX)
    return 1 - similarity


def ms_ssim_loss(rgb_log: Tensor, truth_log: Tensor) -> Tensor:
    """1 − MS-SSIM (Wang et al. 2003), mean over pictures; data range 1. Takes no weight, as SSIM.

    Wang et al. define it for grey pictures; here the channels' mean is taken at each scale, before the exponents.

    Five scales need more than 160 pixels. Smaller pictures get as many scales as the 11-pixel window fits into, and
    the exponents of those are scaled to the same sum. A scale that agrees with the truth by less than 10^-4 counts as
    10^-4 and has no gradient, since that of a small power has no bound at zero.

    Raises:
        UsageError: the pictures are smaller than the window.
    """
    a, b = _images(rgb_log), _images(truth_log)
    _check_window(a)
    scales = 1
    while scales < len(_SCALE_EXPONENTS) and min(a.shape[-2:]) >> scales >= _WINDOW_PX:
        scales += 1
    exponents = [e / sum(_SCALE_EXPONENTS[:scales]) * sum(_SCALE_EXPONENTS) for e in _SCALE_EXPONENTS[:scales]]
    product = a.new_ones(a.shape[0])
    for scale, exponent in enumerate(exponents):
        last = scale == scales - 1
        # All scales but the last compare contrast and structure only: a huge first constant makes the luminance's
        # factor 1.
        constants = (0.01 if last else 1e6, 0.03)
        agreement: Tensor = ssim(a, b, data_range=1.0, win_size=_WINDOW_PX, K=constants, size_average=False)
        product = product * agreement.clamp_min(1e-4) ** exponent
        if not last:
            a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return 1 - product.mean()


def color_consistency(rgb_log: Tensor, truth_log: Tensor, weight: Tensor | None = None) -> Tensor:
    """How far the gradients of R, G and B agree otherwise than the truth's do.

    Mean absolute error of the forward differences of R−G, G−B and B−R along x, plus the same along y: coloured edges
    and coloured bands. A pair of channels counts with the smaller weight of the two.
    """
    error = rgb_log - truth_log
    if weight is not None:
        weight = weight.expand_as(error)
        weight = torch.minimum(weight, weight.roll(-1, dims=-3))
    return _roughness(error - error.roll(-1, dims=-3), weight)


def fft_magnitude(rgb_log: Tensor, truth_log: Tensor) -> Tensor:
    """Mean absolute difference of the magnitudes of the orthonormal Fourier transforms of every channel.

    Phase is left out, so texture may sit elsewhere but must have the same strength at every frequency; orthonormal, so
    noise of a given strength counts the same in pictures of all sizes. Takes no weight: a frequency has no place.
    """
    a, b = (torch.fft.rfft2(x, norm="ortho").abs() for x in (rgb_log, truth_log))
    difference: Tensor = a - b
    return difference.abs().mean()


def laplacian_pyramid(rgb_log: Tensor, truth_log: Tensor, weight: Tensor | None = None, levels: int = 5) -> Tensor:
    """L1 over the levels of the Laplacian pyramid (Burt & Adelson 1983), kernel 1 4 6 4 1.

    The mean of the levels' means: a level counts the same however few pixels it has, which is Lap₁ of Bojanowski et
    al. 2018 (there sums, times 4 per level) per pixel and level. The last level is the blurred rest. Small pictures
    have fewer levels; weights are blurred like pixels.
    """
    # The pyramid is linear: that of the difference is the difference of the two.
    rest = _images(rgb_log - truth_log)
    weight = None if weight is None else _images(weight.expand_as(rgb_log))
    parts: list[Tensor] = []
    while len(parts) < levels - 1 and min(rest.shape[-2:]) >= 2 * _SMALLEST_PX:
        smaller = _binomial(rest)[..., ::2, ::2]
        spread = torch.zeros_like(rest)
        spread[..., ::2, ::2] = smaller
        parts.append(_mean((rest - 4 * _binomial(spread)).abs(), weight))
        rest = smaller
        weight = None if weight is None else _binomial(weight)[..., ::2, ::2]
    parts.append(_mean(rest.abs(), weight))
    return torch.stack(parts).mean()


def temporal_consistency(rgb_log: Tensor, flow_px: Tensor, visible: Tensor) -> Tensor:
    """‖Ŷ_t − W(Ŷ_{t−1}, F)‖₁ per pixel and channel (Lai et al. 2018), W bilinear.

    Args:
        rgb_log: (B, T, 3, H, W).
        flow_px: (B, T, 2, H, W) backward flow F in pixels; that of frame 0 is not used.
        visible: (B, T, 1, H, W) bool, where the frame before saw the same; only there, and only where F points inside
            the picture, a pixel counts.

    Returns:
        The mean over the pixels that count; 0 where there are none or only one frame.
    """
    if rgb_log.shape[1] < 2:
        return rgb_log[:, :0].sum()
    now, flow, seen = (x[:, 1:].flatten(0, 1) for x in (rgb_log, flow_px, visible))
    before, inside = warp(rgb_log[:, :-1].flatten(0, 1), flow, mode="bilinear")
    return _mean((now - before).abs(), (inside & seen).to(now.dtype))


def temporal_residual(rgb_log: Tensor, truth_log: Tensor, flow_px: Tensor, visible: Tensor) -> Tensor:
    """:func:`temporal_consistency` of the error Ŷ − Y: what flickers counts, real changes of light do not."""
    return temporal_consistency(rgb_log - truth_log, flow_px, visible)


def noise_aware_weight(clipped: Tensor, gain_error_stops: Tensor, saturated: float, uncertain: float) -> Tensor:
    """How much a channel's error in log should count: less where the source holds no answer.

    Args:
        clipped: (..., 3, H, W) bool.
        gain_error_stops: (..., 1, H, W) the expected error of the stops above clip.
        saturated: weight of a clipped channel without expected error; known channels weigh 1.
        uncertain: a clipped channel's weight is divided by 1 + ``uncertain`` · expected error.

    Returns:
        (..., 3, H, W), detached: expecting errors must not be a way to lower the loss.
    """
    doubtful = saturated / (1 + uncertain * gain_error_stops.detach())
    return torch.where(clipped, doubtful, torch.ones_like(doubtful))


def _images(x: Tensor) -> Tensor:
    """Clips as pictures: (..., C, H, W) → (N, C, H, W)."""
    return x.flatten(0, -4)


def _mean(x: Tensor, weight: Tensor | None) -> Tensor:
    if weight is None:
        return x.mean()
    weight = weight.expand_as(x)
    return (x * weight).sum() / weight.sum().clamp_min(torch.finfo(x.dtype).tiny)


def _roughness(x: Tensor, weight: Tensor | None) -> Tensor:
    """Mean |forward difference| along x plus that along y."""
    across = down = None
    if weight is not None:
        weight = weight.expand_as(x)
        across = torch.minimum(weight[..., 1:], weight[..., :-1])
        down = torch.minimum(weight[..., 1:, :], weight[..., :-1, :])
    return _mean((x[..., 1:] - x[..., :-1]).abs(), across) + _mean((x[..., 1:, :] - x[..., :-1, :]).abs(), down)


def _binomial(x: Tensor) -> Tensor:
    """Blur by 1 4 6 4 1 over 16 both ways, mirrored at the border pixels."""
    taps = x.new_tensor([[1.0, 4.0, 6.0, 4.0, 1.0]]) / 16
    blurred: Tensor = kornia.filters.filter2d_separable(x, taps, taps, border_type="reflect")
    return blurred


def _check_window(images: Tensor) -> None:
    height, width = images.shape[-2:]
    if min(height, width) < _WINDOW_PX:
        raise UsageError(
            f"SSIM and MS-SSIM need crops of {_WINDOW_PX} pixels or more, got {width}x{height}: "
            "train on larger crops or give both the weight 0"
        )
