"""Measure models on clips with known truth: one table per model and kind of input, identity beside every number."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from seqhdr.color.encodings import get_encoding
from seqhdr.errors import UnknownNameError, UsageError
from seqhdr.media.compression import estimate_half_width
from seqhdr.media.threads import read_ahead
from seqhdr.media.unround import Unrounding, unrounding
from seqhdr.model.decoder import Decoder
from seqhdr.model.device import choose_device
from seqhdr.model.head import Prediction
from seqhdr.model.motion import FlowEstimator, make_flow
from seqhdr.model.predict import Memory, Predictor
from seqhdr.pipeline.decoders import load_decoder
from seqhdr.pipeline.evaluate_flicker import ClipFlicker, ClipMeter, FlickerScore, sum_up
from seqhdr.quality.strata import StrataScore, Table, worst_scene
from seqhdr.train.pairs import ClipInfo, PairFrame, find_clips, read_pair

__all__ = ["EvalReport", "FlowName", "InputScore", "ModelScore", "evaluate"]

FlowName = Literal["dis", "off", "exact", "raft"]
_FLOWS = ("dis", "off", "exact", "raft")


@dataclass(frozen=True)
class InputScore:
    """One model on the clips of one kind of input.

    Attributes:
        encoding: what the codes mean, a short name.
        compressed: whether the bins are wider than those of a lossless source, w > ½.
        clips, frames: how many were measured.
        total: all of them together, see :meth:`seqhdr.quality.strata.StrataScore.table`.
        scenes: the same for the clips of each scene.
        worst: stratum → the scene that fares worst there, see :func:`seqhdr.quality.strata.worst_scene`.
        flicker: what changes from frame to frame; None where it was not measured.
    """

    encoding: str
    compressed: bool
    clips: int
    frames: int
    total: Table
    scenes: dict[str, Table]
    worst: dict[str, str]
    flicker: FlickerScore | None = None


@dataclass(frozen=True)
class ModelScore:
    """One model on all clips.

    Attributes:
        model: as it was asked for; of a path, the file's name.
        name: what its card calls it.
        sha256: of its weights; empty for a method without.
        seconds_per_frame: flow and network, without reading and measuring.
        inputs: by encoding, lossless before compressed.
    """

    model: str
    name: str
    sha256: str
    seconds_per_frame: float
    inputs: tuple[InputScore, ...]


@dataclass(frozen=True)
class EvalReport:
    """Models on clips.

    Attributes:
        models: in the order they were asked for.
        data: names of the folders the clips are from.
        clips, frames: how many were measured.
        flow: where the motion comes from.
        device: where the networks ran.
    """

    models: tuple[ModelScore, ...]
    data: tuple[str, ...]
    clips: int
    frames: int
    flow: str
    device: str


class _ExactFlow:
    """Flow that is known: hands out what was put in for the frame at hand."""

    def __init__(self) -> None:
        self.flow_px: Tensor | None = None

    def __call__(self, current: Tensor, previous: Tensor) -> Tensor:
        """See :class:`flow.FlowEstimator`."""
        if self.flow_px is None:
            raise ValueError("got no flow for this frame: expected the flow of its file")
        return self.flow_px.to(current.device)


class _Running:
    """One model at work: its scores so far, and the memory of the clip at hand."""

    def __init__(self, model: str | Path, net: Decoder, flow: FlowEstimator | None, *, single_frame: bool) -> None:
        self._model, self._net, self._flow = Path(model).name, net, flow
        self._single_frame = single_frame
        self._memory: Memory | None = None
        # (encoding, compressed) → scene → its score.
        self._scores: dict[tuple[str, bool], dict[str, StrataScore]] = {}
        self._flicker: dict[tuple[str, bool], list[ClipFlicker]] = {}
        self._seconds = 0.0

    def begin(self, clip: ClipInfo, decoder: Unrounding | None) -> None:
        self._clip, self._encoding = clip, get_encoding(clip.encoding)
        self._memory = None
        w = clip.half_width_lsb
        self._predictor = Predictor(
            self._net, input_space=self._encoding, half_width_lsb=w, flow=self._flow, unrounding=decoder
        )
        self._score = self._scores.setdefault(_kind(clip), {}).setdefault(clip.scene, StrataScore())

    def add(self, index: int, pair: PairFrame) -> dict[str, Prediction]:
        """Predict and score a frame: what the model says of it, and what it says without memory, if asked to."""
        started = time.perf_counter()
        prediction, self._memory = self._predictor.step(pair.codes, self._memory)
        offset, gain = prediction.offset_lsb.cpu(), prediction.gain_stops.cpu()  # waits for the device, too
        self._seconds += time.perf_counter() - started
        codes = torch.from_numpy(pair.codes).permute(2, 0, 1).float()
        w = self._clip.half_width_lsb
        self._score.add_frame(index, codes, pair.value_lsb, pair.gain_stops, offset, gain, self._encoding, w)
        if not self._single_frame:
            return {"model": prediction}
        # A first frame has no memory anyway, nor has any of a method without one.
        alone = self._predictor.step(pair.codes, None)[0] if index and self._net.remembers else prediction
        return {"model": prediction, "single_frame": alone}

    def end(self, flicker: ClipFlicker) -> None:
        """Take what the clip at hand flickers by."""
        self._flicker.setdefault(_kind(self._clip), []).append(flicker)

    def result(self, clips: Sequence[ClipInfo]) -> ModelScore:
        """What was measured on these clips, which are all that were begun."""
        parts = []
        for kind, scenes in self._scores.items():
            total = StrataScore()
            for score in scenes.values():
                total.merge(score)
            measured = [clip for clip in clips if _kind(clip) == kind]
            tables = {scene: score.table() for scene, score in sorted(scenes.items())}
            summed = total.table()
            worst = {stratum: worst_scene(tables, stratum) for stratum in summed}
            flicker = sum_up(self._flicker[kind]) if kind in self._flicker else None
            parts.append(InputScore(*kind, len(measured), _count_frames(measured), summed, tables, worst, flicker))
        seconds = self._seconds / max(_count_frames(clips), 1)
        return ModelScore(self._model, self._net.name, self._net.weights_sha256, seconds, tuple(parts))


def evaluate(
    folders: Sequence[Path],
    models: Sequence[str | Path | Decoder],
    *,
    flow: FlowName = "dis",
    flow_weights: str | None = None,
    limit: int | None = None,
    device: str = "cpu",
    flicker: bool = True,
    single_frame: bool = False,
    on_frame: Callable[[int, int], None] = lambda done, of: None,
) -> EvalReport:
    """Run models over clips and measure them against the truth, frame by frame, in bounded memory.

    Args:
        folders: with clips somewhere below, as ``synth`` and ``prepare`` write them; a clip found twice counts once.
        models: shipped names, paths of weights, ``classic`` or ``luminance``, or decoders that are there already.
        flow: where the motion comes from; ``exact`` reads it from the clips, the others estimate it.
        flow_weights: of RAFT, a path or ``download``; None for the others.
        limit: of each kind of input (encoding, lossless or compressed) at most this many clips, spread evenly over
            those found; None for all.
        device: where the networks run, ``auto`` or torch's name for it.
        flicker: measure what changes from frame to frame too, along the clips' exact flow, or DIS where they have none.
        single_frame: run the models also frame by frame, without memory, to see how much less flicker the memory
            leaves. Takes twice the time.
        on_frame: told how many frames all models have done, of how many.

    Returns:
        The report.

    Raises:
        UsageError: options that contradict each other, or ``exact`` flow where a clip has none.
        UnknownNameError: a model or flow nobody knows.
        ShotError: no clips.
        FrameError: a frame is missing or damaged.
        InputError, WeightsError: a clip's description or a weights file cannot be used.
    """
    _check_options(flow, flow_weights, limit)
    if single_frame and not flicker:
        raise UsageError("--single-frame compares flicker, and --no-flicker measures none: leave one of them out")
    if not folders or not models:
        raise UsageError("nothing to measure: give at least one folder of clips and one model")
    target = choose_device(device)
    nets = [load_decoder(model, target) if isinstance(model, (str, Path)) else model for model in models]
    clips = _choose_clips(folders, limit)
    exact = _ExactFlow() if flow == "exact" else None
    if exact:
        _check_flow(clips)
    estimator = exact or make_flow(flow, flow_weights, target)
    running = [
        _Running(model if isinstance(model, (str, Path)) else net.name, net, estimator, single_frame=single_frame)
        for model, net in zip(models, nets, strict=True)
    ]
    frames = _count_frames(clips)
    numbers = ((clip, index, frame) for clip in clips for index, frame in enumerate(clip.frames))
    with_flow = exact is not None or flicker
    pairs = ((clip, index, read_pair(clip, frame, flow=with_flow)) for clip, index, frame in numbers)
    meter: ClipMeter | None = None
    for done, (clip, index, pair) in enumerate(read_ahead(pairs), start=1):
        if exact:
            exact.flow_px = None if pair.flow_px is None else torch.from_numpy(pair.flow_px).permute(2, 0, 1)[None]
        if index == 0:
            meter = ClipMeter(clip) if flicker else None
            decoder = _decoder(clip, pair)
            for one in running:
                one.begin(clip, decoder)
        predictions = [one.add(index, pair) for one in running]
        if meter is not None:
            meter.add(pair, predictions)
            if index == len(clip.frames) - 1:
                for one, measured in zip(running, meter.finish(), strict=True):
                    one.end(measured)
        on_frame(done, frames)
    data = tuple(folder.resolve().name for folder in folders)
    return EvalReport(tuple(one.result(clips) for one in running), data, len(clips), frames, flow, str(target))


def _decoder(clip: ClipInfo, first: PairFrame) -> Unrounding | None:
    """The decoder that a run would recognise, of a compressed clip."""
    if clip.half_width_lsb <= 0.5:
        return None
    lattice = estimate_half_width([first.codes], container="png").lattice
    return unrounding(lattice) if lattice else None


def _check_options(flow: str, flow_weights: str | None, limit: int | None) -> None:
    if flow not in _FLOWS:
        raise UnknownNameError("value of --flow", flow, _FLOWS)
    if flow == "raft" and flow_weights is None:
        raise UsageError("--flow raft has no weights: add --flow-weights with a file, or with download")
    if flow != "raft" and flow_weights is not None:
        raise UsageError(f"--flow-weights is for RAFT, and --flow is {flow}: leave it out or add --flow raft")
    if limit is not None and limit < 1:
        raise UsageError(f"--limit {limit}: give at least 1 clip, or leave it out for all")


def _count_frames(clips: Sequence[ClipInfo]) -> int:
    return sum(len(clip.frames) for clip in clips)


def _kind(clip: ClipInfo) -> tuple[str, bool]:
    return clip.encoding, clip.half_width_lsb > 0.5


def _choose_clips(folders: Sequence[Path], limit: int | None) -> list[ClipInfo]:
    found = {clip.folder.resolve(): clip for folder in folders for clip in find_clips(folder)}
    kinds: dict[tuple[str, bool], list[ClipInfo]] = {}
    for clip in found.values():
        kinds.setdefault(_kind(clip), []).append(clip)
    chosen = []
    for _, clips in sorted(kinds.items()):
        count = min(limit or len(clips), len(clips))
        chosen += [clips[index * len(clips) // count] for index in range(count)]
    return chosen


def _check_flow(clips: Sequence[ClipInfo]) -> None:
    without = [str(clip.folder) for clip in clips if not clip.has_flow]
    if without:
        cure = "measure with --flow dis, or make clips with 'seqhdr synth', which writes their flow"
        raise UsageError(f"{without[0]}: has no exact flow ({len(without)} of {len(clips)} clips): {cure}")
