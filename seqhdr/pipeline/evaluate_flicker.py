"""How much models flicker on clips whose light and motion are known, with the codes and the truth beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from seqhdr.color.bounds import clip_mask, decode_offset
from seqhdr.color.encodings import get_encoding
from seqhdr.model.head import Prediction
from seqhdr.pipeline.reference_flow import ReferenceFlow, flow_size, small_light
from seqhdr.quality.flicker import FlickerMeter, exposure_jitter
from seqhdr.quality.lattice import Lattice, Motion, Picture, make_lattice
from seqhdr.quality.levelling import exposure_step
from seqhdr.quality.stops import stops
from seqhdr.quality.temporal_std import SequenceStd
from seqhdr.train.pairs import ClipInfo, PairFrame, truth_to_light

__all__ = ["MEASURES", "ClipFlicker", "ClipMeter", "FlickerScore", "FlickerTable", "forward_flow", "sum_up"]

#: All measures, in the order of a table; see :class:`ClipFlicker`.
MEASURES = ("flicker", "exposure jitter", "std along motion", "std at rest")

#: Measure → name of a number → the number, in stops; see :class:`ClipFlicker`.
FlickerTable = dict[str, dict[str, float]]

_MAX_CODE = 255
# A place that less than half a pixel lands on belongs to what is hidden: it lies on an edge.
_LEAST_LANDED = 0.5
# What rests in a clip that moves is a sliver about the middle of a zoom, and says little.
_LEAST_RESTING = 0.02
# Less is float32's rounding, and a ratio to it says nothing.
_LEAST_EXCESS_STOPS = 1e-5


@dataclass(frozen=True)
class ClipFlicker:
    """One model on one clip.

    ``table`` has the measures that the clip is long enough for. ``flicker`` is the warped residual of
    :class:`seqhdr.quality.flicker.FlickerMeter`, mean over the frames; ``exposure jitter`` that of
    :func:`seqhdr.quality.flicker.exposure_jitter`; ``std along motion`` and ``std at rest`` are the temporal standard
    deviations of :class:`seqhdr.quality.temporal_std.StdMeter`, at rest where 2 % of the picture rest at least. Clipped
    pixels are left out of all, and where the clip tells how its camera's exposure changed, that is taken out first.

    Each measure has ``model``, ``identity`` (the codes as they are) and ``truth`` in stops, and the excess of the first
    two over the truth: ``model_excess`` and ``identity_excess``. A model that was also run frame by frame, without
    memory, has ``single_frame`` and ``single_frame_excess``, and ``memory_ratio``, its excess over the one without
    memory, where that one is above 1e-5 stop.

    Attributes:
        name: of the clip.
        scene: of the clip.
        frames: how many it has.
        exact_flow: whether its motion is known; else it is estimated between the frames of the truth.
        static_share: share of the samples that rest; 0 where the clip is too short to tell.
        table: the numbers.
    """

    name: str
    scene: str
    frames: int
    exact_flow: bool
    static_share: float
    table: FlickerTable


@dataclass(frozen=True)
class FlickerScore:
    """One model on the clips of one kind of input.

    Attributes:
        total: all of them together, as in :class:`ClipFlicker`: means of the clips weighted by their frames, where
            nothing moves by frames times resting area.
        scenes: the same for the clips of each scene.
        worst: measure → the scene in which the model exceeds the truth most.
        clips: each of them, in the order they were measured.
    """

    total: FlickerTable
    scenes: dict[str, FlickerTable]
    worst: dict[str, str]
    clips: tuple[ClipFlicker, ...]


class ClipMeter:
    """Measures one clip, frame after frame, all models at the same pixels.

    Args:
        clip: whose frames come.
    """

    def __init__(self, clip: ClipInfo) -> None:
        self._clip, self._encoding = clip, get_encoding(clip.encoding)
        self._lattice: Lattice = make_lattice(clip.height, clip.width)
        self._meter = FlickerMeter(self._lattice, main="truth")
        self._flow = None if clip.has_flow else ReferenceFlow(clip.height, clip.width, self._encoding)
        self._before: Picture | None = None
        # An exposure that is pulled in the shot is no flicker, and so large that it would drown what is.
        told = (clip.made.get("camera") or {}).get("exposure_stops") or ()
        self._exposure_stops = told if len(told) == len(clip.frames) else [0.0] * len(clip.frames)
        self._models: list[tuple[str, ...]] = []
        # Sequence → its flicker and its change of exposure, frame by frame.
        self._flicker: dict[str, list[float]] = {}
        self._exposures: dict[str, list[float | None]] = {}

    def add(self, pair: PairFrame, predictions: Sequence[Mapping[str, Prediction]]) -> None:
        """Measure the next frame.

        Args:
            pair: the frame, with its flow if the clip has it.
            predictions: of each model, ``model`` and perhaps ``single_frame``; the same in all frames.
        """
        self._models = [tuple(made) for made in predictions]
        codes = torch.from_numpy(pair.codes).permute(2, 0, 1).float()
        zero = torch.zeros_like(codes)
        light = {"truth": truth_to_light(pair.value_lsb, pair.gain_stops, self._encoding)}
        light["identity"] = self._light(codes, zero, zero)
        for number, made in enumerate(predictions):
            for name, one in made.items():
                light[_key(number, name)] = self._light(codes, one.offset_lsb[0].cpu(), one.gain_stops[0].cpu())
        usable = ~clip_mask(codes, self._clip.half_width_lsb, _MAX_CODE).any(dim=0)
        gain = 2 ** -self._exposure_stops[len(self._exposures.get("truth", ()))]
        pictures = {name: Picture(stops(values * gain).contiguous(), usable=usable) for name, values in light.items()}
        found = self._meter.add(pictures, "truth", self._motion(pair, pictures["truth"]))
        self._before = pictures["truth"]
        for name in pictures:
            change = found.by_name.get(name) if found else None
            self._exposures.setdefault(name, []).append(change.exposure_stops if change else None)
            if change:
                self._flicker.setdefault(name, []).append(change.flicker_stops)

    def finish(self) -> list[ClipFlicker]:
        """What was measured, of each model."""
        std = self._meter.finish()
        share = std.static_share or 0.0
        numbers = {name: self._numbers(name, std.by_name.get(name), share) for name in self._exposures}
        out = []
        for number, made in enumerate(self._models):
            named = {name: numbers[_key(number, name)] for name in made}
            named |= {name: numbers[name] for name in ("identity", "truth")}
            table = {
                measure: _with_excess({name: found[measure] for name, found in named.items()})
                for measure in MEASURES
                if measure in numbers["truth"]
            }
            clip = self._clip
            out.append(ClipFlicker(clip.name, clip.scene, len(clip.frames), self._flow is None, share, table))
        return out

    def _light(self, codes: Tensor, offset_lsb: Tensor, gain_stops: Tensor) -> Tensor:
        w = self._clip.half_width_lsb
        return decode_offset(codes, offset_lsb, gain_stops, w, _MAX_CODE, self._encoding)

    def _motion(self, pair: PairFrame, truth: Picture) -> Motion | None:
        before = self._before
        if self._flow is None:
            if before is None or pair.flow_px is None or pair.visible is None:
                return None
            backward_px = torch.from_numpy(pair.flow_px).permute(2, 0, 1).float().contiguous()
            return Motion(backward_px, forward_flow(backward_px, torch.from_numpy(pair.visible)))
        step_stops = None if before is None else exposure_step(truth, before, self._lattice)
        light = small_light(truth.stops, flow_size(*truth.stops.shape[1:]), None)
        return self._flow.step({"truth": light}, "truth", None, step_stops)[0]

    def _numbers(self, name: str, std: SequenceStd | None, share: float) -> dict[str, float]:
        jitter = [value for value in exposure_jitter(self._exposures[name]) if value is not None]
        flicker = self._flicker.get(name, [])
        found = (
            sum(flicker) / len(flicker) if flicker else None,
            sum(jitter) / len(jitter) if jitter else None,
            std.motion_std_stops if std else None,
            std.static_std_stops if std and share >= _LEAST_RESTING else None,
        )
        return {measure: value for measure, value in zip(MEASURES, found, strict=True) if value is not None}


def _key(number: int, name: str) -> str:
    return f"{name} {number}"


def forward_flow(backward_px: Tensor, visible: Tensor) -> Tensor:
    """The flow from the previous frame to the current one, out of the exact flow that leads back.

    Every visible pixel lands on the place it came from and brings its own motion there, turned round; it is shared out
    over the four pixels around that place, bilinearly, and each pixel takes the mean of what lands on it. The current
    frame hides the rest: there the flow leads far out of the frame, so that
    :func:`seqhdr.model.motion.occluded` finds it whichever way it looks.

    Args:
        backward_px: (2, H, W) exact flow from the current frame to the previous one in pixels, x first.
        visible: (H, W) bool, whether the pixel's content was seen in the previous frame.

    Returns:
        (2, H, W) float32, finite.
    """
    _, height, width = backward_px.shape
    seen = visible.numpy()
    u, v = (component[seen] for component in backward_px.numpy().astype(np.float64))
    row, column = np.nonzero(seen)
    x, y = column + u, row + v
    left, top = np.floor(x), np.floor(y)
    landed = np.zeros((3, height * width))
    for across, down in ((0, 0), (1, 0), (0, 1), (1, 1)):
        to_x, to_y = left + across, top + down
        inside = (to_x >= 0) & (to_x < width) & (to_y >= 0) & (to_y < height)
        weight = ((1 - np.abs(x - to_x)) * (1 - np.abs(y - to_y)))[inside]
        place = (to_y * width + to_x)[inside].astype(np.int64)
        for sums, brought in zip(landed, (-u[inside] * weight, -v[inside] * weight, weight), strict=True):
            sums += np.bincount(place, brought, height * width)
    held = landed[2] >= _LEAST_LANDED
    forward = np.full((2, height * width), 4.0 * max(height, width), np.float32)
    forward[:, held] = landed[:2, held] / landed[2, held]
    return torch.from_numpy(forward).view(2, height, width)


def _with_excess(row: dict[str, float]) -> dict[str, float]:
    """Numbers of the sequences, and what follows from them."""
    names = [name for name in ("model", "identity", "single_frame") if name in row]
    out = row | {f"{name}_excess": row[name] - row["truth"] for name in names}
    if out.get("single_frame_excess", 0) > _LEAST_EXCESS_STOPS:
        out["memory_ratio"] = out["model_excess"] / out["single_frame_excess"]
    return out


def sum_up(clips: Sequence[ClipFlicker]) -> FlickerScore:
    """Clips together, and scene by scene."""
    scenes = {
        scene: _pool([clip for clip in clips if clip.scene == scene]) for scene in sorted({c.scene for c in clips})
    }
    total = _pool(clips)
    return FlickerScore(total, scenes, {measure: _worst(scenes, measure) for measure in total}, tuple(clips))


def _pool(clips: Sequence[ClipFlicker]) -> FlickerTable:
    out: FlickerTable = {}
    for measure in MEASURES:
        held = [
            (clip.table[measure], clip.frames * (clip.static_share if measure == "std at rest" else 1))
            for clip in clips
            if measure in clip.table
        ]
        if held:
            weights = sum(weight for _, weight in held)
            names = [name for name in ("model", "single_frame", "identity", "truth") if name in held[0][0]]
            out[measure] = _with_excess({n: sum(row[n] * weight for row, weight in held) / weights for n in names})
    return out


def _worst(scenes: Mapping[str, FlickerTable], measure: str) -> str:
    """The scene in which the model exceeds the truth most; NaN is worse than any."""
    excess = {scene: table[measure]["model_excess"] for scene, table in scenes.items() if measure in table}
    return max(excess, key=lambda scene: (math.isnan(excess[scene]), excess[scene]))
