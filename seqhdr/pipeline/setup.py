"""What is decided once per shot, before its first frame: sizes, bins, tiles, settings."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch

from seqhdr.classic.grain import measure_grain
from seqhdr.classic.noise_level import NoiseSample, estimate_noise
from seqhdr.color.encodings import ColorEncoding, get_encoding
from seqhdr.errors import FrameError, ShotError
from seqhdr.media.compression import estimate_half_width
from seqhdr.media.cuts import parse_cuts
from seqhdr.media.frames import FrameInfo, probe_frame, read_frame
from seqhdr.media.shot import Shot
from seqhdr.media.unround import Unrounding, unrounding
from seqhdr.media.ycbcr import LATTICES
from seqhdr.model.decoder import NamedMethod
from seqhdr.model.motion import FlowEstimator, RaftFlow
from seqhdr.model.tiles import automatic_tile, plan_tiles
from seqhdr.pipeline.denoised import Cleaning
from seqhdr.pipeline.input_curve import InputCurve, load_input_curve
from seqhdr.pipeline.options import BINS_MODES, SMALLEST_SOFT_WIDTH_LSB, RunOptions, fixed_width

__all__ = ["BinsChoice", "ShotSetup", "prepare_shot"]

# Frames looked at to estimate w, spread over all that exist, so that every chunk of a shot decides alike.
_SAMPLED_FRAMES = 5


@dataclass(frozen=True)
class BinsChoice:
    """How wide the bins are, and why.

    ``half_width_lsb`` is w in codes, ``bounded`` whether the output is held in its bins, ``reason`` a sentence for
    the user, ``evidence`` the numbers behind it, ``unrounded`` the decoder whose rounding is undone, or None.
    """

    mode: str
    half_width_lsb: float
    bounded: bool
    reason: str
    evidence: dict[str, float | int | str]
    unrounded: str | None = None


@dataclass(frozen=True)
class ShotSetup:
    """A shot, ready to run: its frames' header, encodings, bins, tile side in pixels (None: whole frames), flow.

    ``curve`` is the response curve that ``source_space`` has in place of its own, or None; ``cleaning``
    what is done about the noise: None where nothing was asked for, or none found.
    """

    shot: Shot
    info: FrameInfo
    source_space: ColorEncoding
    output_space: ColorEncoding
    bins: BinsChoice
    tile: int | None
    flow: FlowEstimator | None
    curve: InputCurve | None = None
    cleaning: Cleaning | None = None

    @property
    def unrounding(self) -> Unrounding | None:
        """What undoes the rounding of the decoder that made the source, where one was recognised."""
        lattice = next((lattice for lattice in LATTICES if lattice.name == self.bins.unrounded), None)
        return unrounding(lattice) if lattice else None

    @property
    def max_code(self) -> int:
        """The highest code of the source."""
        return int(2**self.info.bits - 1)

    def settings(self, options: RunOptions, net: NamedMethod) -> str:
        """Everything that decides the bytes of a frame, as canonical JSON."""
        decisive: dict[str, Any] = options.decisive()
        decisive |= {
            "seqhdr": version("seqhdr"),
            "input_space": self.source_space.name,
            "output_space": self.output_space.name,
            "model": net.weights_sha256 or net.name,
            "half_width": self.bins.half_width_lsb,
            "unrounded": self.bins.unrounded,
            "tile": self.tile,
            "config": os.path.basename(options.ocio or os.environ.get("OCIO", "")) or "built-in",
        }
        if self.curve is not None:
            decisive["input_curve"] = self.curve.sha256
        if self.cleaning is not None:
            decisive["noise"] = self.cleaning.statistics.noise.summary()
        if isinstance(self.flow, RaftFlow):
            decisive["flow_weights"] = self.flow.weights_sha256
        return json.dumps(decisive, sort_keys=True, default=list)


def prepare_shot(shot: Shot, options: RunOptions, device: torch.device, flow: FlowEstimator | None) -> ShotSetup:
    """Decide everything that holds for the whole shot.

    Args:
        shot: its frames.
        options: the user's wishes.
        device: where the network runs.
        flow: the estimator they ask for; shots that are run one after the other may share it.

    Raises:
        ShotError: the frames differ in size or bit depth.
        FrameError: no frame's header can be read.
        UnknownNameError: a colour space nobody knows.
        InputError: a response curve that cannot be used.
        UsageError: cuts outside the shot, or tiles too small.
    """
    curve = load_input_curve(options.input_curve)
    source_space = get_encoding(options.input_space, options.ocio)
    source_space = source_space if curve is None else curve.on(source_space)
    output_space = get_encoding(options.output_space, options.ocio)
    info = _common_header(shot)
    tile = _tile(options.tile, info, device)
    # Refused now rather than at the first frame, or after the shots before this one.
    plan_tiles(info.height, info.width, tile)
    parse_cuts(options.cuts, shot.available)
    bins, cleaning = _choose_cleaning(shot, options, info, _choose_bins(shot, options.bins, info))
    return ShotSetup(shot, info, source_space, output_space, bins, tile, flow, curve, cleaning)


def _common_header(shot: Shot) -> FrameInfo:
    """The header all frames share; frames whose header cannot be read fail later, one by one."""
    first: tuple[int, FrameInfo] | None = None
    trouble: FrameError | None = None
    for frame in shot.frames:
        try:
            info = probe_frame(shot.source_path(frame))
        except FrameError as error:
            trouble = trouble or error
            continue
        if first is None:
            first = (frame, info)
        elif (info.width, info.height) != (first[1].width, first[1].height):
            raise ShotError(
                f"{shot.pattern}: frame {frame} is {info.width}x{info.height}, frame {first[0]} is "
                f"{first[1].width}x{first[1].height}: run each size as its own shot with --frames"
            )
        elif info.bits != first[1].bits:
            raise ShotError(
                f"{shot.pattern}: frame {frame} has {info.bits} bits, frame {first[0]} has {first[1].bits}: "
                "run each bit depth as its own shot with --frames"
            )
    if first is None:
        raise trouble or ShotError(f"{shot.pattern}: the shot has no frames")
    return first[1]


def _choose_bins(shot: Shot, mode: str, info: FrameInfo) -> BinsChoice:
    if mode == "strict":
        return BinsChoice(mode, 0.5, True, "strict: the source is taken as lossless", {})
    if mode not in BINS_MODES:
        return BinsChoice(mode, fixed_width(mode), True, f"set to {fixed_width(mode):g} by --bins", {})
    estimate = estimate_half_width(_sample(shot.available, shot), bits=info.bits, container=shot.extension)
    width, reason = estimate.half_width_lsb, estimate.reason
    if mode == "soft" and width < SMALLEST_SOFT_WIDTH_LSB:
        width, reason = SMALLEST_SOFT_WIDTH_LSB, f"soft, although there is {reason}"
    undone = estimate.lattice.name if estimate.lattice else None
    if undone:
        reason += "; what that decoder's rounding took is put back first"
    return BinsChoice(mode, width, mode != "off", reason, estimate.evidence, undone)


def _choose_cleaning(
    shot: Shot, options: RunOptions, info: FrameInfo, bins: BinsChoice
) -> tuple[BinsChoice, Cleaning | None]:
    """The bins, as wide as what is done about the noise needs them, and what that is."""
    if options.denoise == "off":
        return bins, None
    samples = _noise_samples(shot.available, shot)
    noise = estimate_noise(samples, 2**info.bits - 1)
    evidence: dict[str, float | int | str] = {
        f"noise_{name}_at_{level}_lsb": sigma
        for level, sigmas in noise.summary().items()
        for name, sigma in zip("rgb", sigmas, strict=True)
    }
    bins = dataclasses.replace(bins, evidence=bins.evidence | evidence)
    if not noise.found:
        return dataclasses.replace(bins, reason=f"{bins.reason}; no even noise was found, so none is removed"), None
    cleaning = Cleaning(options.grain, measure_grain(samples, noise), bins.half_width_lsb)
    width, reason = bins.half_width_lsb, f"{bins.reason}; {cleaning.words}"
    if bins.mode in ("auto", "soft") and cleaning.half_width_lsb > width:
        width = cleaning.half_width_lsb
        reason += f", which takes bins of w = {width:g} instead of {bins.half_width_lsb:g}"
    return dataclasses.replace(bins, half_width_lsb=width, reason=reason), cleaning


def _noise_samples(frames: Sequence[int], shot: Shot) -> list[NoiseSample]:
    """Sampled frames, each with one beside it that differs: the last before it, or the next where there is none."""
    samples, trouble = [], None
    for place in _places(len(frames)):
        beside = [near for near in (place - 1, place - 2, place + 1, place + 2) if 0 <= near < len(frames)]
        try:
            codes = read_frame(shot.path(frames[place])).codes
            others = (read_frame(shot.path(frames[near])).codes for near in beside)
            other = next((o for o in others if o.shape == codes.shape and (o != codes).any()), None)
        except FrameError as error:
            trouble = error
            continue
        samples.append(NoiseSample(codes, other))
    if not samples and trouble is not None:
        raise trouble
    return samples


def _places(frames: int) -> list[int]:
    """Which of so many frames are looked at."""
    count = min(_SAMPLED_FRAMES, frames)
    return sorted({round(i * (frames - 1) / max(count - 1, 1)) for i in range(count)})


def _sample(frames: Sequence[int], shot: Shot) -> list[Any]:
    sampled, trouble = [], None
    for place in _places(len(frames)):
        try:
            sampled.append(read_frame(shot.path(frames[place])).codes)
        except FrameError as error:
            trouble = error
    if not sampled and trouble is not None:
        raise trouble
    return sampled


def _tile(choice: str, info: FrameInfo, device: torch.device) -> int | None:
    if choice == "off":
        return None
    if choice != "auto":
        return int(choice)
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory
    else:
        # All of the machine's memory, not what is free: the same command must cut the same tiles every time.
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return automatic_tile(info.height, info.width, memory)


def bound_of(bins: BinsChoice) -> float:
    """The half-width the output is held to: infinite where bins are off."""
    return bins.half_width_lsb if bins.bounded else math.inf
