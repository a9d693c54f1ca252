"""Deflicker a shot on disk: each stretch between cuts is measured first, then read again and written."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqhdr.classic.deflicker_gain import GainPlan
from seqhdr.classic.deflicker_measure import ChangeMap
from seqhdr.classic.deflicker_prior import PriorLimits, fit_prior
from seqhdr.errors import FrameError, FramesFailedError, SeqhdrError, ShotError
from seqhdr.media.atomic import whole_file
from seqhdr.media.cuts import Cuts, parse_cuts
from seqhdr.media.threads import WriteBehind, read_ahead
from seqhdr.pipeline.deflicker_methods import cell_light, filtered_gains, plan_stretch
from seqhdr.pipeline.deflicker_options import DeflickerOptions
from seqhdr.pipeline.deflicker_small import Follower, SmallPicture, enlarge
from seqhdr.pipeline.deflicker_work import DeflickerWork
from seqhdr.pipeline.footage import open_footage
from seqhdr.pipeline.reference_flow import display_exposure, display_picture
from seqhdr.pipeline.shots import Event

__all__ = ["DeflickerReport", "deflicker_shot"]

# A picture whose every gain is below this is left as it is, to the bit: no half float holds the difference.
_LEAST_STOPS = 2e-5


@dataclass
class DeflickerReport:
    """What happened to a shot; frames are added as they are finished.

    Attributes:
        pattern: the frames, as asked for.
        output: the written frames, as a pattern.
        method: what was done.
        frames: frame number → what was done to it, JSON-able: ``gain_stops`` of the whole picture (red, green, blue),
            ``local_stops``, the rms of what differs over the picture, and ``starts``: it follows a cut or a gap.
        failed: frame number → why.
        stretches: of each stretch between cuts, its first and last frame, how much the whole picture flickers (standard
            deviation in stops), and the frames before which the exposure steps and stays.
        summary: path of the JSON with all this.
    """

    pattern: str
    output: str
    method: str
    frames: dict[int, dict[str, Any]] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    stretches: list[dict[str, Any]] = field(default_factory=list)
    summary: Path | None = None


@dataclass(frozen=True)
class _Stretch:
    """Frames without a cut between them, how each but the first differs from the one before, and the light of cells."""

    frames: list[int]
    maps: list[ChangeMap]
    lights: list[Tensor]


def deflicker_shot(
    pattern: str,
    options: DeflickerOptions,
    on_event: Callable[[Event], None] = lambda event: None,
    *,
    keep: Collection[int] = (),
    settings: str | None = None,
) -> DeflickerReport:
    """Deflicker the frames of a shot.

    Args:
        pattern: ``in.%04d.exr`` …, EXR or integer frames of any tool.
        options: the user's wishes.
        on_event: told of the shot, of each frame when it is measured and when it is written, of warnings.
        keep: frames that are read and measured, but not written.
        settings: what the headers say as ``seqhdr:settings``; None says what was done to what was read.

    Returns:
        What was written.

    Raises:
        UsageError: options that contradict each other, frames that exist, an output on top of the input.
        ShotError, FrameError: files missing or unusable.
        FramesFailedError: some frames failed; the others are written.
    """
    footage = open_footage(
        pattern, frames=options.frames, space=options.input_space, ocio=options.ocio, option="--input-space"
    )
    work = DeflickerWork(footage, options, settings)
    report = DeflickerReport(pattern, work.pattern, options.method)
    wanted = set(footage.shot.frames) - set(keep)
    work.refuse(wanted)
    parse_cuts(options.cuts, footage.shot.available)
    work.announce(pattern, on_event)
    try:
        for stretch in _stretches(work, report, on_event):
            _write_stretch(work, stretch, wanted, report, on_event)
    finally:
        if report.frames:
            _write_summary(work, report)
    return _judged(report, on_event)


def _stretches(work: DeflickerWork, report: DeflickerReport, on_event: Callable[[Event], None]) -> Iterator[_Stretch]:
    """Measure all frames; yield each stretch when its last frame is known."""
    follower = Follower()
    for segment in work.shot.segments:
        cuts = parse_cuts(work.options.cuts, work.shot.available)
        frames: list[int] = []
        maps: list[ChangeMap] = []
        lights: list[Tensor] = []
        exposure: float | None = None
        follower.restart()
        for frame, small in read_ahead(_read(work, segment)):
            if isinstance(small, SeqhdrError):
                report.failed[frame] = str(small)
                on_event(Event("failed", report.pattern, str(small), {"frame": frame}))
            else:
                light = torch.exp2(small.log2)[None]
                exposure = exposure or display_exposure(light)
            if isinstance(small, SeqhdrError) or _is_cut(cuts, frame, light, exposure or 1.0):
                if frames:
                    yield _Stretch(frames, maps, lights)
                frames, maps, lights = [], [], []
                follower.restart()
            if not isinstance(small, SeqhdrError):
                change = follower.measure(small)
                frames.append(frame)
                maps += [change] if change is not None else []
                if work.options.method == "prior":
                    lights.append(cell_light(small))
                _tell(work, report, frame, "measured", on_event)
        if frames:
            yield _Stretch(frames, maps, lights)


def _read(work: DeflickerWork, frames: Sequence[int]) -> Iterator[tuple[int, SmallPicture | SeqhdrError]]:
    for frame in frames:
        try:
            yield frame, work.small(frame)
        except FrameError as error:
            yield frame, error


def _is_cut(cuts: Cuts, frame: int, light: Tensor, exposure: float) -> bool:
    shown = display_picture(light, None, exposure)[0].permute(1, 2, 0)
    return cuts.is_cut(frame, (shown * 255).round().to(torch.uint8).numpy())


def _write_stretch(
    work: DeflickerWork,
    stretch: _Stretch,
    wanted: Collection[int],
    report: DeflickerReport,
    on_event: Callable[[Event], None],
) -> None:
    """Find the gains of a stretch, and write its frames."""
    plan = plan_stretch(stretch.maps)
    report.stretches.append(_described(stretch, plan))

    locals_stops: dict[int, float] = {}

    def done(finished: list[int]) -> None:
        for frame in finished:
            index = stretch.frames.index(frame)
            whole = [round(v, 6) for v in plan.global_stops[index].tolist()]
            numbers = {"gain_stops": whole, "local_stops": locals_stops.pop(frame), "starts": index == 0}
            report.frames[frame] = numbers
            _tell(work, report, frame, "written", on_event)

    with WriteBehind[int]() as behind:
        try:
            for frame, gain in zip(stretch.frames, _gains(work, stretch, plan, report, on_event), strict=True):
                if frame in wanted:
                    large = _large(gain, work)
                    locals_stops[frame] = _local_stops(plan, stretch.frames.index(frame), gain)
                    done(behind.submit(lambda frame=frame, large=large: work.write(frame, large)))  # type: ignore[misc]
                else:
                    _tell(work, report, frame, "kept", on_event)
            done(behind.finish())
        except BaseException:
            done(behind.drain())
            raise


def _gains(
    work: DeflickerWork, stretch: _Stretch, plan: GainPlan, report: DeflickerReport, on_event: Callable[[Event], None]
) -> Iterator[Tensor]:
    """Gains (3, h, w) in stops of the frames in order, of any size."""
    if work.options.method == "flow":
        # What cannot be read a second time raises: the frame was there a moment ago.
        pictures = read_ahead(work.small(frame) for frame in stretch.frames)
        yield from filtered_gains(stretch.maps, plan, pictures)
        return
    gains = plan.gain_stops
    if work.options.method == "prior":
        limits = PriorLimits(work.options.prior_steps, work.options.prior_seconds)
        fit = fit_prior(stretch.maps, plan, stretch.lights, limits)
        gains = gains + fit.gain_stops
        before, after = fit.excess_stops
        span = f"frames {stretch.frames[0]}-{stretch.frames[-1]}"
        message = (
            f"prior, {span}: {fit.steps} steps, {fit.seconds:.0f} s, {fit.memory_bytes / 2**20:.0f} MiB, local flicker "
            f"on held-out pairs {before:.4f} to {after:.4f} stop; {fit.reason}"
        )
        numbers = {"steps": fit.steps, "held_out_stops": [round(before, 6), round(after, 6)], "reason": fit.reason}
        report.stretches[-1]["prior"] = numbers
        costs = {"seconds": fit.seconds, "memory_bytes": fit.memory_bytes}
        on_event(Event("prior", report.pattern, message, numbers | costs))
    yield from gains


def _large(gain: Tensor, work: DeflickerWork) -> NDArray[np.float32] | None:
    if float(gain.abs().max()) < _LEAST_STOPS:
        return None
    return enlarge(gain, work.footage.height, work.footage.width)


def _described(stretch: _Stretch, plan: GainPlan) -> dict[str, Any]:
    steps = [frame for frame, broken in zip(stretch.frames, plan.breaks.tolist(), strict=True) if broken]
    span = {"first": stretch.frames[0], "last": stretch.frames[-1]}
    return span | {"flicker_stops": round(plan.flicker_stops, 6), "steps": steps}


def _local_stops(plan: GainPlan, index: int, gain: Tensor) -> float:
    """Root mean square of what a gain does beside that of the whole picture."""
    return round(float((gain - plan.global_stops[index][:, None, None]).square().mean().sqrt()), 6)


def _tell(
    work: DeflickerWork, report: DeflickerReport, frame: int, what: str, on_event: Callable[[Event], None]
) -> None:
    data = {"frame": frame, "step": what, "of": 2 * len(work.shot.frames), "path": str(work.path(frame))}
    on_event(Event("frame", report.pattern, f"{work.path(frame).name} {what}", data))


def _judged(report: DeflickerReport, on_event: Callable[[Event], None]) -> DeflickerReport:
    """Say what was done; raise where frames failed."""
    if report.failed and not report.frames:
        raise ShotError(next(iter(report.failed.values())))
    strongest = max((stretch["flicker_stops"] for stretch in report.stretches), default=0.0)
    message = (
        f"{len(report.frames)} frames written, the whole picture flickered by {strongest:.4f} stop: {report.output}"
    )
    on_event(Event("done", report.pattern, message, {"written": len(report.frames), "output": report.output}))
    if report.failed:
        first = next(iter(report.failed.values())).rstrip(".")
        others = f"; so failed {len(report.failed) - 1} more frames" if len(report.failed) > 1 else ""
        raise FramesFailedError(f"{first}{others or '; all other frames are written'}")
    return report


def _write_summary(work: DeflickerWork, report: DeflickerReport) -> None:
    report.summary = work.options.output / f"{work.shot.name}.deflicker.json"
    numbers = {str(frame): report.frames[frame] for frame in sorted(report.frames)}
    text = {
        "frames_of": Path(report.pattern).name,
        "output": Path(report.output).name,
        "method": report.method,
        "space": work.footage.encoding.name,
        "bounded": work.source is not None,
        "stretches": report.stretches,
        "failed": {str(frame): reason for frame, reason in report.failed.items()},
        "frames": numbers,
    }
    with whole_file(report.summary) as hidden:
        hidden.write_text(json.dumps(text, indent=1) + "\n")
