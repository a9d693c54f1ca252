"""Convert one shot: read, predict, encode into the bins, write; each frame as soon as it is done."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seqhdr.errors import FrameError, OutputExistsError, SeqhdrError, UsageError
from seqhdr.media.cuts import parse_cuts
from seqhdr.media.exr import complete_exr
from seqhdr.media.frames import Frame, read_frame
from seqhdr.media.shot import Shot
from seqhdr.media.threads import WriteBehind, read_ahead
from seqhdr.model.decoder import Decoder, NamedMethod
from seqhdr.model.predict import Memory, Predictor
from seqhdr.pipeline.denoised import DenoisedPredictor
from seqhdr.pipeline.options import RunOptions
from seqhdr.pipeline.setup import ShotSetup, bound_of
from seqhdr.pipeline.write import FrameReport, FrameWriter, output_path

__all__ = ["ShotReport", "convert_shot", "frames_to_keep", "make_folder", "segments_with_preroll"]


@dataclass
class ShotReport:
    """What happened to one shot; frames are added as they are finished.

    Attributes:
        pattern: the source, as asked for.
        output: the written frames, as a pattern.
        frames: those written.
        skipped: frame numbers that were complete already.
        failed: frame number → why.
        missing: frame numbers without a file.
        bins: mode, w and reason.
    """

    pattern: str
    output: str
    bins: dict[str, Any]
    missing: tuple[int, ...] = ()
    frames: list[FrameReport] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)


def frames_to_keep(setup: ShotSetup, options: RunOptions, net: NamedMethod) -> list[int]:
    """The frames that ``skip_existing`` leaves alone: whole, and made with the same settings.

    Raises:
        OutputExistsError: frames exist and neither ``overwrite`` nor ``skip_existing`` is set.
    """
    shot = setup.shot
    existing = [frame for frame in shot.frames if os.path.exists(output_path(shot, options, frame))]
    if not existing or options.overwrite:
        return []
    if not options.skip_existing:
        raise OutputExistsError(
            f"{output_path(shot, options, existing[0])}: exists already"
            f"{f' with {len(existing) - 1} more' if len(existing) > 1 else ''}; "
            "use --overwrite, --skip-existing or another -o"
        )
    settings = setup.settings(options, net)
    return [frame for frame in existing if complete_exr(output_path(shot, options, frame), settings)]


def convert_shot(
    setup: ShotSetup,
    options: RunOptions,
    net: Decoder,
    report: ShotReport,
    on_frame: Callable[[FrameReport], None],
    on_failure: Callable[[int, str], None] = lambda frame, reason: None,
) -> None:
    """Convert the frames of a shot, except those that ``report.skipped`` names.

    A frame that cannot be read is noted in ``report.failed``, and the next one starts with an empty memory. An
    error of writing ends the shot: the next frame would meet the same full disk.

    Args:
        setup: from :func:`~seqhdr.pipeline.setup.prepare_shot`.
        options: the user's wishes.
        net: what decodes the frames, on its device.
        report: filled while the frames are finished, so that it is right also after an interruption.
        on_frame: called for each finished frame, in order.
        on_failure: called with the number of a frame that cannot be read, and why.

    Raises:
        UsageError: the output folder cannot be made.
        FramesFailedError: a frame cannot be written.
    """
    wanted = set(setup.shot.frames) - set(report.skipped)
    if not wanted:
        return
    make_folder(options.output)
    writer = FrameWriter(setup, options, net)
    cleaning = setup.cleaning
    predictor = Predictor(
        net,
        input_space=setup.source_space,
        half_width_lsb=cleaning.network_half_width_lsb if cleaning else setup.bins.half_width_lsb,
        bits=setup.info.bits,
        bounded=setup.bins.bounded,
        flow=setup.flow,
        tile=setup.tile,
        unrounding=None if cleaning else setup.unrounding,
    )
    denoised = DenoisedPredictor(predictor, cleaning, bound_of(setup.bins), setup.unrounding) if cleaning else None

    def done(finished: list[FrameReport]) -> None:
        report.frames.extend(finished)
        for frame_report in finished:
            on_frame(frame_report)

    with WriteBehind[FrameReport]() as behind:
        try:
            for segment in segments_with_preroll(setup.shot, wanted, options.preroll):
                cuts = parse_cuts(options.cuts, setup.shot.available, bits=setup.info.bits)
                memory: Memory | None = None
                for number, frame in read_ahead(_read(setup, segment)):
                    if isinstance(frame, SeqhdrError):
                        memory = None
                        if number in wanted:
                            report.failed[number] = str(frame)
                            on_failure(number, str(frame))
                        continue
                    if cuts.is_cut(number, frame.codes):
                        memory = None
                    starts = memory is None
                    if denoised is not None:
                        prediction, memory = denoised.step(number, frame.codes, memory)
                    else:
                        prediction, memory = predictor.step(frame.codes, memory)
                    if number in wanted:
                        done(behind.submit(writer.job(number, frame, prediction, starts)))
            done(behind.finish())
        except BaseException:
            # What was handed over is being finished; it belongs into the report before the error goes on.
            done(behind.drain())
            raise


def segments_with_preroll(shot: Shot, wanted: set[int], preroll: int) -> Iterator[list[int]]:
    """The frames to read: each run of wanted ones, with the frames before it that warm up the memory.

    Args:
        shot: its segments divide the asked-for frames where the memory must start afresh.
        wanted: frames to write.
        preroll: how many frames to read ahead of a wanted one.

    Yields:
        Ascending frame numbers that share one memory.
    """
    on_disk = set(shot.available)
    for segment in shot.segments:
        step = segment[1] - segment[0] if len(segment) > 1 else 1
        lead: list[int] = []
        while len(lead) < preroll and (before := segment[0] - step * (len(lead) + 1)) in on_disk:
            lead.append(before)
        line = (*reversed(lead), *segment)
        needed = [any(f in wanted for f in line[i : i + preroll + 1]) for i in range(len(line))]
        for keep, run in itertools.groupby(zip(needed, line, strict=True), key=lambda pair: pair[0]):
            if keep:
                yield [frame for _, frame in run]


def _read(setup: ShotSetup, frames: list[int]) -> Iterator[tuple[int, Frame | SeqhdrError]]:
    for number in frames:
        try:
            yield number, read_frame(setup.shot.source_path(number), expect=setup.info)
        except FrameError as error:
            yield number, error


def make_folder(folder: Path) -> None:
    """Make the output folder.

    Raises:
        UsageError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: cannot become the output folder ({error.strerror}): give another -o") from None
