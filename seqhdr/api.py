"""The whole pipelines, each on one screen: what the command line calls, and what Python users call."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqhdr.errors import FramesFailedError, SeqhdrError, ShotError
from seqhdr.media.atomic import whole_file
from seqhdr.media.shot import Shot, find_shots, output_name
from seqhdr.model.decoder import Decoder
from seqhdr.model.device import choose_device
from seqhdr.model.heap import keep_heap_pages
from seqhdr.model.motion import make_flow
from seqhdr.pipeline.convert import FrameReport, ShotReport, convert_shot, frames_to_keep
from seqhdr.pipeline.decoders import load_decoder
from seqhdr.pipeline.options import RunOptions
from seqhdr.pipeline.plan import plan_shot
from seqhdr.pipeline.report import page_path, report_shot
from seqhdr.pipeline.report_options import ReportOptions
from seqhdr.pipeline.setup import ShotSetup, prepare_shot
from seqhdr.pipeline.verify import VerifyReport, outside, verify_shot

__all__ = ["Event", "RunReport", "outside", "plan", "run", "verify", "verify_to_dict"]


@dataclass(frozen=True)
class Event:
    """Something a progress display or a log wants to know.

    Attributes:
        kind: ``shot`` (one begins), ``frame`` (one is finished), ``warning``, ``failed`` (one frame), ``done``
            (one shot is finished), ``measured`` (one frame, for the report), ``report`` (one is written).
        shot: the pattern.
        message: a sentence for people.
        data: the same for machines, JSON-able.
    """

    kind: str
    shot: str
    message: str
    data: dict[str, Any]


@dataclass(frozen=True)
class RunReport:
    """What a run wrote: one report per shot, and beside the frames a JSON summary and a page for each."""

    shots: tuple[ShotReport, ...]
    summaries: tuple[Path, ...]
    pages: tuple[Path, ...] = ()


def run(
    patterns: str | Path | Sequence[str | Path],
    *,
    output: str | Path,
    on_event: Callable[[Event], None] = lambda event: None,
    **options: Any,
) -> RunReport:
    """Convert shots of 8- to 16-bit frames into log EXR frames.

    Args:
        patterns: one or several, ``shot_%04d.png``, ``shot_####.png`` …
        output: folder for the frames and the summaries.
        on_event: told of shots, frames and warnings as they come.
        options: fields of :class:`RunOptions` by name.

    Returns:
        What was written.

    Raises:
        UsageError: options that contradict each other or name unknown things.
        InputError: the frames cannot be used.
        FramesFailedError: some frames failed; the others were written, and the summary says which.
    """
    keep_heap_pages()
    chosen = RunOptions(output=Path(output), **options)
    shots = _find(patterns, chosen)
    device = choose_device(chosen.device)
    net = load_decoder(chosen.model, device)
    chosen = _suited(chosen, net)
    flow = make_flow(chosen.flow, chosen.flow_weights, device)
    setups = [prepare_shot(shot, chosen, device, flow) for shot in shots]
    # All shots before the first is begun: the refusal of the second must not come hours later.
    reports = [_empty_report(setup, chosen, net) for setup in setups]
    summaries: list[Path] = []
    pages: list[Path] = []
    for setup, report in zip(setups, reports, strict=True):
        _announce(setup, report, chosen, on_event)
        try:
            convert_shot(setup, chosen, net, report, *_listeners(setup, report, on_event))
        except BaseException:
            # Also after Ctrl-C or a full disk the summary says what is there, if it still can.
            with suppress(SeqhdrError):
                _write_summary(setup, chosen, net, report)
            raise
        summaries.append(_write_summary(setup, chosen, net, report))
        _account(report, on_event)
        if chosen.report:
            pages += _measure(setup, report, chosen, on_event)
    _raise_failures(reports)
    return RunReport(tuple(reports), tuple(summaries), tuple(pages))


def plan(patterns: str | Path | Sequence[str | Path], *, output: str | Path, **options: Any) -> list[dict[str, Any]]:
    """What :func:`run` would do, without writing: one JSON-able dictionary per shot.

    Arguments and errors as for :func:`run`. Finding cuts reads every frame.
    """
    chosen = RunOptions(output=Path(output), **options)
    device = choose_device(chosen.device)
    net = load_decoder(chosen.model)
    chosen = _suited(chosen, net)
    flow = make_flow(chosen.flow, chosen.flow_weights, device)
    return [plan_shot(prepare_shot(shot, chosen, device, flow), chosen, net) for shot in _find(patterns, chosen)]


def verify(output: str, *, source: str, **options: Any) -> VerifyReport:
    """Audit written frames against their source; see :func:`seqhdr.pipeline.verify.verify_shot`."""
    return verify_shot(output, source, **options)


def verify_to_dict(report: VerifyReport) -> dict[str, Any]:
    """The audit as JSON-able numbers; shares are 0..1, deviations in codes."""

    def one(audit: Any) -> dict[str, Any]:
        return {
            **dataclasses.asdict(audit),
            "exact_share": audit.exact_share,
            "container_share": audit.container_share,
            "kept": audit.kept,
        }

    return {
        "output": report.output,
        "source": report.source,
        "bins": report.bins,
        "half_width_lsb": report.half_width_lsb if math.isfinite(report.half_width_lsb) else None,
        "storage": report.storage,
        "kept": report.kept,
        "worst_frame": report.worst_frame,
        "total": one(report.total),
        "frames": {str(frame): one(audit) for frame, audit in report.frames.items()},
    }


def _find(patterns: str | Path | Sequence[str | Path], options: RunOptions) -> list[Shot]:
    names = [patterns] if isinstance(patterns, (str, Path)) else list(patterns)
    return find_shots(names, frames=options.frames, missing=options.missing)


def _output_pattern(setup: ShotSetup, options: RunOptions) -> str:
    shot = setup.shot
    name = output_name(shot, options.output_space, shot.frames[0])
    token = f"%0{shot.padding}d" if shot.padding > 1 else "%d"
    return str(options.output / name.replace(f".{shot.number(shot.frames[0])}.exr", f".{token}.exr"))


def _suited(options: RunOptions, net: Decoder) -> RunOptions:
    """Without what carries a memory, where there is none: it would be done for nothing, and claimed in the header."""
    return options if net.remembers else dataclasses.replace(options, flow="off", flow_weights=None, preroll=0)


def _empty_report(setup: ShotSetup, options: RunOptions, net: Decoder) -> ShotReport:
    bins, shot = dataclasses.asdict(setup.bins), setup.shot
    kept = frames_to_keep(setup, options, net)
    return ShotReport(shot.pattern, _output_pattern(setup, options), bins, shot.missing, skipped=kept)


def _listeners(
    setup: ShotSetup, report: ShotReport, on_event: Callable[[Event], None]
) -> tuple[Callable[[FrameReport], None], Callable[[int, str], None]]:
    pattern, total = setup.shot.pattern, len(setup.shot.frames) - len(report.skipped)

    def on_frame(frame: FrameReport) -> None:
        data = {**dataclasses.asdict(frame), "path": str(frame.path), "of": total}
        on_event(Event("frame", pattern, f"{frame.path.name} written", data))

    def on_failure(frame: int, reason: str) -> None:
        on_event(Event("failed", pattern, reason, {"frame": frame, "of": total}))

    return on_frame, on_failure


def _announce(setup: ShotSetup, report: ShotReport, options: RunOptions, on_event: Callable[[Event], None]) -> None:
    shot, bins = setup.shot, setup.bins
    bound = f"w = {bins.half_width_lsb:g}" if bins.bounded else "no bound"
    size = f"{setup.info.width}x{setup.info.height}"
    message = f"{shot.pattern}: {len(shot.frames)} frames, {size}, {bound} ({bins.reason})"
    data: dict[str, Any] = {
        "frames": list(shot.frames),
        "missing": list(shot.missing),
        "bins": dataclasses.asdict(bins),
    }
    data |= {"skipped": report.skipped, "of": len(shot.frames) - len(report.skipped)}
    on_event(Event("shot", shot.pattern, message, data))
    if shot.missing:
        message = f"{len(shot.missing)} frames are missing; --missing {options.missing}"
        on_event(Event("warning", shot.pattern, message, {"missing": list(shot.missing)}))
    if options.compression in ("dwaa", "dwab"):
        message = f"{options.compression} is lossy: it puts bands back and leaves the bins; use zip or pxr24"
        on_event(Event("warning", shot.pattern, message, {}))


def _account(report: ShotReport, on_event: Callable[[Event], None]) -> None:
    overflowed, floored = (sum(getattr(f, key) for f in report.frames) for key in ("overflowed", "floored"))
    if overflowed:
        message = f"{overflowed} values were beyond the largest the file holds, and were held there"
        on_event(Event("warning", report.pattern, message, {"overflowed": overflowed}))
    if floored:
        message = f"{floored} values were darker than the output encoding can say, and were held at its floor"
        on_event(Event("warning", report.pattern, message, {"floored": floored}))
    message = f"{len(report.frames)} frames written, {len(report.skipped)} kept: {report.output}"
    on_event(Event("done", report.pattern, message, {"written": len(report.frames), "output": report.output}))


def _measure(
    setup: ShotSetup, report: ShotReport, options: RunOptions, on_event: Callable[[Event], None]
) -> list[Path]:
    """Write the report of a shot; the frames are there, so that a report that fails is only a warning."""
    shot, written = setup.shot, [*report.skipped, *(frame.frame for frame in report.frames)]
    if not written:
        return []
    wishes = ReportOptions(
        output=options.output,
        frames=options.frames or f"{shot.frames[0]}-{shot.frames[-1]}",
        input_space=options.input_space,
        output_space=options.output_space,
        ocio=options.ocio,
        cuts=_cuts_among(options.cuts, written),
    )
    page = page_path(report.output, wishes)
    if not report.frames and page.exists():
        return [page]

    def on_frame(name: str, done: int, of: int) -> None:
        on_event(Event("measured", shot.pattern, f"{done}/{of} measured", {"done": done, "of": of}))

    try:
        finished = report_shot(report.output, shot.pattern, None, wishes, on_frame=on_frame)
    except SeqhdrError as error:
        on_event(Event("warning", shot.pattern, f"there is no report: {error}", {}))
        return []
    data = {"page": str(finished.page), "data": str(finished.data), "good": finished.report["verdict"]["good"]}
    message = "\n".join((*finished.report["summary"], f"report   {finished.page}"))
    on_event(Event("report", shot.pattern, message, data))
    return [finished.page]


def _cuts_among(cuts: str, written: list[int]) -> str:
    """The named cuts that a chunk of a shot has frames of."""
    if cuts.strip().lower() in ("auto", "off"):
        return cuts
    kept = [part for part in cuts.split(",") if int(part) in written]
    return ",".join(kept) or "off"


def _raise_failures(reports: Sequence[ShotReport]) -> None:
    failed = [(frame, reason) for report in reports for frame, reason in report.failed.items()]
    if not failed:
        return
    if not any(report.frames or report.skipped for report in reports):
        raise ShotError(failed[0][1])
    others = "; all other frames are written" if len(failed) == 1 else f"; so failed {len(failed) - 1} more frames"
    raise FramesFailedError(f"{failed[0][1].rstrip('.')}{others}")


def _write_summary(setup: ShotSetup, options: RunOptions, net: Decoder, report: ShotReport) -> Path:
    """The JSON beside the frames: bytes repeat for the same run; without any frame nothing is written."""
    first = output_name(setup.shot, options.output_space, setup.shot.frames[0])
    path = options.output / f"{first.rsplit('.', 2)[0]}.json"
    nothing_new = not report.frames and (path.exists() or not report.skipped)
    if nothing_new:
        return path
    summary = {
        "source": Path(report.pattern).name,
        "output": Path(report.output).name,
        "size": [setup.info.width, setup.info.height],
        "bits": setup.info.bits,
        "bins": report.bins,
        "model": net.name,
        "model_sha256": net.weights_sha256,
        "missing": list(report.missing),
        "skipped": report.skipped,
        "failed": {str(frame): reason for frame, reason in report.failed.items()},
        "frames": [{**dataclasses.asdict(f), "path": f.path.name} for f in report.frames],
    }
    with whole_file(path) as hidden:
        hidden.write_text(json.dumps(summary, indent=1) + "\n")
    return path
