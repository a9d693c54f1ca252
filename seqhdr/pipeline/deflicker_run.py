"""``run --deflicker``: convert a shot into a hidden folder, and deflicker it from there into its bins."""

from __future__ import annotations

import dataclasses
import os
import shutil
import uuid
from collections.abc import Callable

from seqhdr.media.shot import output_name
from seqhdr.model.decoder import Decoder
from seqhdr.pipeline.convert import ShotReport, convert_shot
from seqhdr.pipeline.deflicker import deflicker_shot
from seqhdr.pipeline.deflicker_options import DeflickerOptions
from seqhdr.pipeline.options import RunOptions
from seqhdr.pipeline.setup import ShotSetup
from seqhdr.pipeline.shots import Event
from seqhdr.pipeline.write import FrameReport, output_path

__all__ = ["convert_steady"]


def convert_steady(
    setup: ShotSetup,
    options: RunOptions,
    net: Decoder,
    report: ShotReport,
    on_event: Callable[[Event], None],
    on_frame: Callable[[FrameReport], None],
    on_failure: Callable[[int, str], None],
) -> None:
    """Convert and deflicker the frames of a shot, except those that ``report.skipped`` names.

    A gain needs frames before and after, so all frames are converted even where some are kept. The converted ones lie
    in a hidden folder inside the output until the shot is done, or something goes wrong; they double what it takes on
    disk for that time. Arguments and errors as for :func:`seqhdr.pipeline.convert.convert_shot`; ``on_event`` is told
    of warnings.
    """
    shot = setup.shot
    if not set(shot.frames) - set(report.skipped):
        return
    hidden = options.output / f".deflicker.{os.getpid()}.{uuid.uuid4().hex[:8]}"
    aside = dataclasses.replace(options, output=hidden, overwrite=False, skip_existing=False)
    converted = ShotReport(report.pattern, str(hidden), report.bins, report.missing)
    try:
        try:
            convert_shot(setup, aside, net, converted, lambda frame: None, on_failure)
        finally:
            report.failed |= converted.failed
        if not converted.frames:
            return
        made = {frame.frame: frame for frame in converted.frames}

        def told(event: Event) -> None:
            if event.kind in ("warning", "prior"):
                on_event(dataclasses.replace(event, shot=shot.pattern))
            elif event.data.get("step") == "written":
                frame = made[event.data["frame"]]
                finished = dataclasses.replace(frame, path=output_path(shot, options, frame.frame))
                report.frames.append(finished)
                on_frame(finished)

        first = output_name(shot, options.output_space, shot.frames[0])
        number, token = shot.number(shot.frames[0]), f"%0{shot.padding}d" if shot.padding > 1 else "%d"
        pattern = hidden / first.replace(f".{number}.exr", f".{token}.exr")
        wishes = DeflickerOptions(
            output=options.output,
            method=options.deflicker,
            source=shot.pattern,
            input_curve=options.input_curve,
            ocio=options.ocio,
            cuts=_cuts_among(options.cuts, made),
            overwrite=True,
        )
        keep = [frame for frame in report.skipped if frame in made]
        deflicker_shot(str(pattern), wishes, told, keep=keep, settings=setup.settings(options, net))
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _cuts_among(cuts: str, frames: dict[int, FrameReport]) -> str:
    """The named cuts that the converted frames have."""
    if cuts.strip().lower() in ("auto", "off"):
        return cuts
    return ",".join(part for part in cuts.split(",") if part.strip() and int(part) in frames) or "off"
