"""Convert one shot that was exposed several times: read the exposures of a frame, merge them, write one EXR."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from seqhdr.classic.exposures import estimate_exposures, merge_onto_reference
from seqhdr.classic.merge import MERGE_WEIGHTS
from seqhdr.color.encodings import ColorEncoding
from seqhdr.errors import FrameError, InputError, SeqhdrError, ShotError, UnknownNameError, UsageError
from seqhdr.media.frames import Frame, FrameInfo, probe_frame, read_frame
from seqhdr.media.shot import Shot
from seqhdr.media.threads import WriteBehind, read_ahead
from seqhdr.pipeline.convert import ShotReport, make_folder
from seqhdr.pipeline.options import RunOptions
from seqhdr.pipeline.setup import ShotSetup, bound_of
from seqhdr.pipeline.write import FrameReport, FrameWriter

__all__ = ["Bracket", "check_weights", "convert_bracket", "parse_stops", "plan_bracket"]

# Frames from which exposures are estimated, spread over all that exist, so that every chunk of a shot decides alike.
_SAMPLED_FRAMES = 5


@dataclass(frozen=True)
class Bracket:
    """One shot in several exposures, and how they are merged.

    Attributes:
        shots: one per exposure, of the same frames.
        stops: EV of each.
        reference: index of the exposure whose codes the result stays inside, that nearest to EV 0.
        estimated: whether the EVs were told from the frames.
        weights: a name in :data:`~seqhdr.classic.merge.MERGE_WEIGHTS`.
    """

    shots: tuple[Shot, ...]
    stops: tuple[float, ...]
    reference: int
    estimated: bool
    weights: str

    #: There are none.
    weights_sha256 = ""

    @property
    def name(self) -> str:
        """What goes into headers: with the settings, so that ``--skip-existing`` tells them apart."""
        return f"stack ({self.weights}, EV {', '.join(f'{ev:+.3g}' for ev in self.stops)})"


def check_weights(weights: str) -> None:
    """Refuse a merge that nobody knows.

    Raises:
        UnknownNameError: there is no such name.
    """
    if weights not in MERGE_WEIGHTS:
        raise UnknownNameError("value of --weights", weights, MERGE_WEIGHTS)


def parse_stops(text: str, exposures: int) -> tuple[float, ...]:
    """Read ``--ev -2,0,2``.

    Raises:
        UsageError: not a number for each exposure, or the same for two.
    """
    try:
        stops = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--ev {text!r} is no list of numbers: give one EV per exposure, like -2,0,2") from None
    if len(stops) != exposures:
        raise UsageError(f"--ev has {len(stops)} numbers, and there are {exposures} exposures: give one EV for each")
    if len(set(stops)) < len(stops) or not all(abs(ev) <= 20 for ev in stops):
        raise UsageError(f"--ev {text}: give a different EV from -20 to 20 for each exposure")
    return stops


def plan_bracket(
    shots: Sequence[Shot], stops: tuple[float, ...] | None, weights: str, encoding: ColorEncoding
) -> Bracket:
    """Decide how far the exposures of a shot lie apart, once for all its frames.

    Args:
        shots: one per exposure.
        stops: EV of each; None: they are estimated.
        weights: how they are merged.
        encoding: what the codes mean.

    Raises:
        ShotError: the exposures have other frames, sizes or bit depths than the first.
        InputError: the EVs cannot be told from the frames.
    """
    infos = [_check_same(shots[0], shot) for shot in shots]
    chosen = stops or tuple(_estimate(shots, infos[0], encoding))
    reference = min(range(len(shots)), key=lambda index: (abs(chosen[index]), chosen[index]))
    return Bracket(tuple(shots), chosen, reference, stops is None, weights)


def convert_bracket(
    bracket: Bracket,
    setup: ShotSetup,
    options: RunOptions,
    report: ShotReport,
    on_frame: Callable[[FrameReport], None],
    on_failure: Callable[[int, str], None] = lambda frame, reason: None,
) -> None:
    """Convert the frames of a shot, except those that ``report.skipped`` names.

    A frame of which an exposure cannot be read is noted in ``report.failed``.

    Args:
        bracket: from :func:`plan_bracket`.
        setup: of the reference exposure.
        options: the user's wishes.
        report: filled while the frames are finished.
        on_frame: called for each finished frame, in order.
        on_failure: called with the number of a frame that cannot be read, and why.

    Raises:
        UsageError: the output folder cannot be made.
        FramesFailedError: a frame cannot be written.
    """
    wanted = [frame for frame in setup.shot.frames if frame not in set(report.skipped)]
    if not wanted:
        return
    make_folder(options.output)
    writer = FrameWriter(setup, options, bracket)

    def done(finished: list[FrameReport]) -> None:
        report.frames.extend(finished)
        for frame_report in finished:
            on_frame(frame_report)

    with WriteBehind[FrameReport]() as behind:
        try:
            for number, frames in read_ahead(_read(bracket, setup.info, wanted)):
                if isinstance(frames, SeqhdrError):
                    report.failed[number] = str(frames)
                    on_failure(number, str(frames))
                    continue
                with torch.inference_mode():
                    prediction = merge_onto_reference(
                        [_codes(frame) for frame in frames],
                        bracket.stops,
                        bracket.reference,
                        setup.source_space,
                        setup.max_code,
                        bound_of(setup.bins),
                        bracket.weights,
                    )
                done(behind.submit(writer.job(number, frames[bracket.reference], prediction, True)))
            done(behind.finish())
        except BaseException:
            # What was handed over is being finished; it belongs into the report before the error goes on.
            done(behind.drain())
            raise


def _read(bracket: Bracket, info: FrameInfo, frames: Sequence[int]) -> Iterator[tuple[int, list[Frame] | SeqhdrError]]:
    for number in frames:
        try:
            yield number, [read_frame(shot.source_path(number), expect=info) for shot in bracket.shots]
        except FrameError as error:
            yield number, error


def _codes(frame: Frame) -> Tensor:
    return torch.from_numpy(frame.codes.astype(np.float32)).permute(2, 0, 1).contiguous()


def _check_same(first: Shot, shot: Shot) -> FrameInfo:
    """The header of the exposure's first frame."""
    if shot.frames != first.frames:
        raise ShotError(
            f"{shot.pattern}: has other frames than {first.pattern} ({len(shot.frames)} and {len(first.frames)}): "
            "choose those that all exposures have with --frames"
        )
    info, its = (probe_frame(s.source_path(s.frames[0])) for s in (first, shot))
    if (info.width, info.height, info.bits) != (its.width, its.height, its.bits):
        raise ShotError(
            f"{shot.pattern}: is {its.width}x{its.height} with {its.bits} bits, {first.pattern} is "
            f"{info.width}x{info.height} with {info.bits}: exposures of one shot have one size and one bit depth"
        )
    return its


def _estimate(shots: Sequence[Shot], info: FrameInfo, encoding: ColorEncoding) -> list[float]:
    common = sorted(set(shots[0].available).intersection(*(shot.available for shot in shots)))
    count = min(_SAMPLED_FRAMES, len(common))
    places = sorted({round(i * (len(common) - 1) / max(count - 1, 1)) for i in range(count)})
    frames = []
    trouble: FrameError | None = None
    for place in places:
        try:
            frames.append([_codes(read_frame(shot.path(common[place]), expect=info)) for shot in shots])
        except FrameError as error:
            trouble = trouble or error
    if not frames:
        raise trouble or ShotError(f"{shots[0].pattern}: the exposures have no frame in common: check the patterns")
    try:
        found = estimate_exposures(frames, encoding, 2**info.bits - 1)
    except InputError as error:
        raise InputError(f"{shots[0].pattern}: {error}") from None
    if not all(math.isfinite(ev) for ev in found) or len({round(ev, 3) for ev in found}) < len(found):
        listed = ", ".join(f"{ev:+.3f}" for ev in found)
        raise InputError(f"{shots[0].pattern}: exposures look the same (EV {listed}): check the patterns, or give --ev")
    return found
