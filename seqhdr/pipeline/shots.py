"""What surrounds the conversion of shots: refusals, announcements, the summary and the page of each."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqhdr.errors import FramesFailedError, SeqhdrError, ShotError
from seqhdr.media.atomic import whole_file
from seqhdr.media.shot import output_name
from seqhdr.model.decoder import NamedMethod
from seqhdr.pipeline.convert import ShotReport, frames_to_keep
from seqhdr.pipeline.options import RunOptions
from seqhdr.pipeline.report import page_path, report_shot
from seqhdr.pipeline.report_options import ReportOptions
from seqhdr.pipeline.setup import ShotSetup
from seqhdr.pipeline.write import FrameReport

__all__ = ["ConvertShot", "Event", "RunReport", "convert_shots"]

ConvertShot = Callable[[ShotSetup, ShotReport, Callable[[FrameReport], None], Callable[[int, str], None]], None]


@dataclass(frozen=True)
class Event:
    """Something a progress display or a log wants to know.

    Attributes:
        kind: ``shot`` (one begins), ``frame`` (one is finished), ``warning``, ``failed`` (one frame), ``done``
            (one shot is finished), ``measured`` (one frame, for the report), ``report`` (one is written),
            ``exposures`` (told from the frames).
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


def convert_shots(
    setups: Sequence[ShotSetup],
    options: RunOptions,
    net: NamedMethod,
    convert: ConvertShot,
    on_event: Callable[[Event], None],
) -> RunReport:
    """Convert shots one after the other: refuse, announce, convert, sum up, measure.

    Args:
        setups: of the shots, in order.
        options: the user's wishes.
        net: what makes the frames, for provenance.
        convert: converts one shot; it is given its setup, its report, which it fills, and two listeners: one for
            finished frames, one for the number of a frame that failed and why.
        on_event: told of shots, frames and warnings as they come.

    Returns:
        What was written.

    Raises:
        UsageError: frames exist, or the output folder cannot be made.
        FramesFailedError: some frames failed; the others were written, and the summary says which.
        ShotError: no frame at all could be converted.
    """
    # All shots before the first is begun: the refusal of the second must not come hours later.
    reports = [_empty_report(setup, options, net) for setup in setups]
    summaries: list[Path] = []
    pages: list[Path] = []
    for setup, report in zip(setups, reports, strict=True):
        _announce(setup, report, options, on_event)
        try:
            convert(setup, report, *_listeners(setup, report, on_event))
        except BaseException:
            # Also after Ctrl-C or a full disk the summary says what is there, if it still can.
            with suppress(SeqhdrError):
                _write_summary(setup, options, net, report)
            raise
        summaries.append(_write_summary(setup, options, net, report))
        _account(report, on_event)
        if options.report:
            pages += _measure(setup, report, options, on_event)
    _raise_failures(reports)
    return RunReport(tuple(reports), tuple(summaries), tuple(pages))


def _output_pattern(setup: ShotSetup, options: RunOptions) -> str:
    shot = setup.shot
    name = output_name(shot, options.output_space, shot.frames[0])
    token = f"%0{shot.padding}d" if shot.padding > 1 else "%d"
    return str(options.output / name.replace(f".{shot.number(shot.frames[0])}.exr", f".{token}.exr"))


def _empty_report(setup: ShotSetup, options: RunOptions, net: NamedMethod) -> ShotReport:
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
    for message in setup.curve.warnings if setup.curve else ():
        on_event(Event("warning", shot.pattern, message, {"input_curve": options.input_curve}))
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
        input_curve=options.input_curve,
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


def _write_summary(setup: ShotSetup, options: RunOptions, net: NamedMethod, report: ShotReport) -> Path:
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
