"""Deflicker by a small network that is fitted to the one shot: gain maps in stops, a cell of the grid to a pixel.

After Lei, Xing and Chen, Blind video temporal consistency via deep video prior (NeurIPS 2020): a network that starts
from nothing learns what frames have in common before it learns what only one of them shows, so it is stopped in time.
Theirs learns pictures; this one learns gain maps, which are small whatever the size of the frames, and are the same
in light of any range. From them are the two outputs and the weights of their iteratively reweighted training, for
flicker with several modes: the main output answers for what it explains better, the minor one for the rest.

What a frame differs by from the line of its neighbours is measured on two halves of the pixels. The network sees what
one half says and is judged by what the other says: flow errors and noise, which only one half has, are not learnt
(Lehtinen et al., Noise2Noise, ICML 2018).
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqhdr.classic.deflicker_gain import MOST_STOPS, GainPlan, flicker_share, left_changes, smooth_cells, stack_flows
from seqhdr.classic.deflicker_measure import ChangeMap, grid_px, sample_cells
from seqhdr.classic.deflicker_paths import REACH, flicker_scale, lines

__all__ = ["PriorFit", "PriorLimits", "fit_prior"]

_CHANNELS = 24
_DILATIONS = (1, 2, 4)
# Frames in a row that a step learns from, and steps between two looks at the held-out pairs: every fourth pair.
_CHUNK = 6
_LOOK = 15
_HELD_OUT = 4
_MOST_LOOKED_AT = 24
# It stops when so many looks in a row have not brought the excess down by this share.
_PATIENCE = 4
_FALL = 0.01
# Less than this share of the flicker on held-out pairs is not worth a gain.
_WORTH = 0.05
_RATE = 4e-3
# Longer stretches are fitted in parts, so that memory is bounded.
_MOST_FRAMES = 240
_SMALL = 0.02
_SMOOTH_CELLS = 1.0
_SCATTER_STOPS = 0.005


@dataclass(frozen=True)
class PriorLimits:
    """What a fit may cost.

    Attributes:
        steps: of training, at most.
        seconds: at most; a fit that ends for this reason may differ from one run to the next.
    """

    steps: int = 300
    seconds: float = 120.0


@dataclass(frozen=True)
class PriorFit:
    """Gains of a stretch of frames, and what they cost.

    Attributes:
        gain_stops: (T, 3, h, w) to be added to those of the plan; all 0 where nothing was worth it.
        steps: of training.
        seconds: that it took.
        memory_bytes: of what it held, at most.
        excess_stops: flicker on held-out pairs before and after, weighted mean of its absolute value; of several fits
            that which has most.
        reason: why it stopped; of several fits the last.
    """

    gain_stops: Tensor
    steps: int
    seconds: float
    memory_bytes: int
    excess_stops: tuple[float, float]
    reason: str


@dataclass(frozen=True)
class _Shot:
    """What is known of a stretch: of both halves, inputs (2, T, C, h, w), changes and weights (2, T, 3, h, w)."""

    inputs: Tensor
    changes: Tensor
    weights: Tensor
    backward: Tensor
    share: Tensor
    scale: float


class _GainNet(nn.Module):
    """(N, C, h, w) → main and minor gain maps (N, 6, h, w) in units of the flicker; nothing at first."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        widths = (inputs, *(_CHANNELS for _ in _DILATIONS))
        self.layers = nn.ModuleList(
            nn.Conv2d(a, _CHANNELS, 3, padding=d, dilation=d, padding_mode="replicate")
            for a, d in zip(widths, _DILATIONS, strict=False)
        )
        self.last = nn.Conv2d(_CHANNELS + inputs, 6, 1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, inputs: Tensor) -> Tensor:
        deep = inputs
        for layer in self.layers:
            deep = F.gelu(layer(deep))
        gains: Tensor = self.last(torch.cat((deep, inputs), dim=1))
        return gains


def fit_prior(
    maps: Sequence[ChangeMap], plan: GainPlan, lights: Sequence[Tensor], limits: PriorLimits, seed: int = 0
) -> PriorFit:
    """Fit a network to a stretch of frames; to each 240 frames of a longer one.

    Args:
        maps: of every frame but the first: how it differs from the one before.
        plan: made of them; what it leaves is what is learnt.
        lights: (3, h, w) of every frame, log2 of light, mean of each cell.
        limits: what each fit may cost.
        seed: of its first weights and of the order of frames.
    """
    frames = len(maps) + 1
    fits: list[PriorFit] = []
    gains: list[Tensor] = []
    for first in range(0, frames, _MOST_FRAMES):
        last = min(first + _MOST_FRAMES, frames)
        # With the frames around it that lines reach to.
        low, high = max(first - REACH, 0), min(last + REACH, frames)
        part = slice(low, high)
        some = GainPlan(
            plan.gain_stops[part], plan.global_stops[part], plan.kept_stops[part], plan.breaks[part], plan.flicker_stops
        )
        fits.append(_fit(maps[low : high - 1], some, lights[part], limits, seed))
        gains.append(fits[-1].gain_stops[first - low : last - low])
    return PriorFit(
        torch.cat(gains),
        sum(fit.steps for fit in fits),
        sum(fit.seconds for fit in fits),
        max(fit.memory_bytes for fit in fits),
        (max(fit.excess_stops[0] for fit in fits), max(fit.excess_stops[1] for fit in fits)),
        fits[-1].reason,
    )


def _fit(
    maps: Sequence[ChangeMap], plan: GainPlan, lights: Sequence[Tensor], limits: PriorLimits, seed: int
) -> PriorFit:
    """Fit one network to so many frames as memory is meant for."""
    started = time.monotonic()
    nothing = torch.zeros_like(plan.gain_stops)
    if len(maps) < _CHUNK:
        return PriorFit(nothing, 0, 0.0, 0, (0.0, 0.0), "too few frames")
    shot = _describe(maps, plan, lights)
    if shot.scale * float(shot.share.max()) == 0:
        return PriorFit(nothing, 0, time.monotonic() - started, 0, (0.0, 0.0), "nothing flickers")
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        net = _GainNet(shot.inputs.shape[2])
        steps, excess, reason = _train(net, shot, limits, started)
    with torch.no_grad():
        gains = (_gains(net, shot, 0, slice(None))[0] + _gains(net, shot, 1, slice(None))[0]) / 2
    if excess[1] > (1 - _WORTH) * excess[0]:
        gains, reason = nothing, "nothing to learn"
    held = sum(each.numel() * each.element_size() for each in (shot.inputs, shot.changes, shot.weights, shot.backward))
    # The graph of a chunk: a dozen maps per layer and frame.
    held += 12 * 4 * _CHANNELS * len(_DILATIONS) * max(_CHUNK, len(lights)) * plan.gain_stops[0, 0].numel()
    return PriorFit(gains, steps, time.monotonic() - started, held, excess, reason)


def _describe(maps: Sequence[ChangeMap], plan: GainPlan, lights: Sequence[Tensor]) -> _Shot:
    """Measure what is left, on both halves."""
    cells: tuple[int, int] = (plan.gain_stops.shape[-2], plan.gain_stops.shape[-1])
    flows = stack_flows(maps, cells)
    both, error = smooth_cells(*left_changes(maps, plan), _SMOOTH_CELLS)
    known = torch.isfinite(error)
    share = flicker_share(both, flows[0], known)
    scale = flicker_scale(both, plan.breaks)
    level = float(scale.mean().clamp_min(1e-3))
    light = torch.stack(tuple(lights))
    light = (light - light.mean()) / 4
    inputs, changes, weights = [], [], []
    for half in (0, 1):
        left, errors = left_changes(maps, plan, half)
        finite = torch.isfinite(errors)
        fitted = list(lines(left, *flows, plan.breaks, scale, finite))
        offset = torch.stack([line.offset_stops for line in fitted])
        slope = torch.stack([line.slope_stops for line in fitted])
        certain = 1 / (1 + torch.where(finite, errors, 1).amax(dim=1, keepdim=True) / level)
        inputs.append(torch.cat(((offset / level).clamp(-8, 8), certain, light), dim=1))
        changes.append(torch.where(finite, left - slope, 0))
        weights.append(torch.where(finite, 1 / (errors.square() + _SCATTER_STOPS**2), 0))
    stacked = torch.stack(weights)
    stacked = stacked / stacked.mean().clamp_min(1e-12)
    return _Shot(torch.stack(inputs), torch.stack(changes), stacked, flows[0], share, level)


def _train(net: _GainNet, shot: _Shot, limits: PriorLimits, started: float) -> tuple[int, tuple[float, float], str]:
    """Fit until the excess flicker on held-out pairs stops falling; the weights that had least are kept."""
    frames = shot.inputs.shape[1]
    order = torch.Generator().manual_seed(1)
    optimiser = torch.optim.Adam(net.parameters(), lr=_RATE)
    first = best = _excess(net, shot)
    kept = {name: value.clone() for name, value in net.state_dict().items()}
    waited, step, reason = 0, 0, "most steps"
    for step in range(1, limits.steps + 1):
        start = int(torch.randint(0, max(frames - _CHUNK, 0) + 1, (1,), generator=order))
        half = int(torch.randint(0, 2, (1,), generator=order))
        loss = _loss(net, shot, half, start)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if step % _LOOK:
            continue
        excess = _excess(net, shot)
        waited = 0 if excess < (1 - _FALL) * best else waited + 1
        if excess < best:
            best, kept = excess, {name: value.clone() for name, value in net.state_dict().items()}
        if waited >= _PATIENCE or not math.isfinite(excess):
            reason = "held-out flicker no longer falls"
            break
        if time.monotonic() - started > limits.seconds:
            reason = "most seconds"
            break
    net.load_state_dict(kept)
    return step, (first, best), reason


def _loss(net: _GainNet, shot: _Shot, half: int, start: int) -> Tensor:
    """What is left of the changes of a chunk of frames, on the half of the pixels that the network does not see."""
    part = slice(start, start + _CHUNK)
    main, minor = _gains(net, shot, half, part)
    pairs = torch.arange(start + 1, min(start + _CHUNK, shot.inputs.shape[1]))
    pairs = pairs[pairs % _HELD_OUT != 0]
    left_main, left_minor = (_left(gains, shot, 1 - half, pairs, start).abs() for gains in (main, minor))
    weights = shot.weights[1 - half, pairs]
    # Lei et al., eq. 5: a place counts for the main output where that explains it better, or well enough.
    confident = (left_main < left_minor.clamp_min(shot.scale)).detach()
    misses = torch.where(confident, left_main, left_minor)
    return (weights * misses).mean() / shot.scale + _SMALL * main.abs().mean() / shot.scale


@torch.no_grad()
def _excess(net: _GainNet, shot: _Shot) -> float:
    """Weighted mean of the flicker's absolute value on held-out pairs and unseen halves, in stops."""
    every = torch.arange(_HELD_OUT, shot.inputs.shape[1], _HELD_OUT)
    every = every[:: max(1, math.ceil(len(every) / _MOST_LOOKED_AT))]
    total = weight = 0.0
    for pair in every.tolist():
        for half in (0, 1):
            main, _ = _gains(net, shot, half, slice(pair - 1, pair + 1))
            weights = shot.weights[1 - half, pair] * shot.share[pair]
            left = _left(main, shot, 1 - half, torch.tensor([pair]), pair - 1)[0]
            total += float((weights * left.abs()).sum())
            weight += float(weights.sum())
    return total / weight if weight > 0 else 0.0


def _gains(net: _GainNet, shot: _Shot, half: int, part: slice) -> tuple[Tensor, Tensor]:
    """Main and minor gains (n, 3, h, w) in stops of some frames, as one half of the pixels tells them."""
    both = torch.tanh(net(shot.inputs[half, part]) * (shot.scale / MOST_STOPS)) * MOST_STOPS
    both = both * shot.share[part]
    return both[:, :3], both[:, 3:]


def _left(gains: Tensor, shot: _Shot, half: int, pairs: Tensor, first: int) -> Tensor:
    """What is left of the changes into the frames ``pairs`` when gains, those of frames from ``first``, are added."""
    at = grid_px(*gains.shape[-2:]) + shot.backward[pairs].permute(0, 2, 3, 1)
    return shot.changes[half, pairs] + gains[pairs - first] - sample_cells(gains[pairs - 1 - first], at)
