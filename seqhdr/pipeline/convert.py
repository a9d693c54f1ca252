"""Convert one shot: read, predict, encode into the bins, write; each frame as soon as it is done."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqhdr.color.bins import clip_mask, decode_offset, encode_into_bins
from seqhdr.errors import FrameError, OutputExistsError, SeqhdrError, UsageError
from seqhdr.media.cuts import parse_cuts
from seqhdr.media.exr import check_compression, complete_exr, write_exr
from seqhdr.media.frames import Frame, read_frame
from seqhdr.media.shot import Shot, output_name
from seqhdr.media.threads import WriteBehind, read_ahead
from seqhdr.media.timecode import parse_fps, timecode_add
from seqhdr.model.decoder import Decoder
from seqhdr.model.head import Prediction
from seqhdr.model.predict import Memory, Predictor
from seqhdr.pipeline.options import RunOptions
from seqhdr.pipeline.setup import ShotSetup, bound_of

__all__ = ["FrameReport", "ShotReport", "convert_shot", "frames_to_keep", "output_path"]


@dataclass(frozen=True)
class FrameReport:
    """What happened to one frame.

    Attributes:
        frame: its number.
        path: the EXR.
        clipped_share: share of channels that are open above, 0..1.
        max_gain_stops: the largest extension above clip.
        overflowed, floored: channels held at the largest half, or at the floor of the output encoding.
        starts_segment: whether the memory was empty: first frame, after a cut or a gap.
    """

    frame: int
    path: Path
    clipped_share: float
    max_gain_stops: float
    overflowed: int
    floored: int
    starts_segment: bool


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


def output_path(shot: Shot, options: RunOptions, frame: int) -> Path:
    """Where a frame is written."""
    return options.output / output_name(shot, options.output_space, frame)


def frames_to_keep(setup: ShotSetup, options: RunOptions, net: Decoder) -> list[int]:
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
    _make_folder(options.output)
    writer = _FrameWriter(setup, options, net)
    predictor = Predictor(
        net,
        input_space=setup.source_space,
        half_width_lsb=setup.bins.half_width_lsb,
        bits=setup.info.bits,
        bounded=setup.bins.bounded,
        flow=setup.flow,
        tile=setup.tile,
        unrounding=setup.unrounding,
    )

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


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: cannot become the output folder ({error.strerror}): give another -o") from None


class _FrameWriter:
    """Turns predictions into files; knows what all frames of a shot have in common."""

    def __init__(self, setup: ShotSetup, options: RunOptions, net: Decoder) -> None:
        self._setup, self._options = setup, options
        self._fps = parse_fps(options.fps) if options.fps else setup.info.frames_per_second
        self._first = setup.shot.frames[0]
        self._checked = False
        bins = setup.bins
        self._attributes: dict[str, str | float] = {
            "seqhdr:version": version("seqhdr"),
            "seqhdr:model": net.name,
            "seqhdr:model_sha256": net.weights_sha256,
            "seqhdr:input_space": setup.source_space.name,
            "seqhdr:output_space": setup.output_space.name,
            "seqhdr:bins": bins.mode,
            "seqhdr:half_width": float(bound_of(bins)) if bins.bounded else -1.0,
            "seqhdr:bins_reason": bins.reason,
            "seqhdr:settings": setup.settings(options, net),
        }
        if setup.output_space.interop_id:
            self._attributes["colorInteropID"] = setup.output_space.interop_id

    def job(self, number: int, frame: Frame, prediction: Prediction, starts: bool) -> Callable[[], FrameReport]:
        """Everything that follows the network, to be run by the writer thread."""
        offset, gain = prediction.offset_lsb[0].cpu(), prediction.gain_stops[0].cpu()
        gain_error = prediction.gain_error_stops[0].cpu()
        return lambda: self._write(number, frame, offset, gain, gain_error, starts)

    def _write(
        self, number: int, frame: Frame, offset: Tensor, gain: Tensor, gain_error: Tensor, starts: bool
    ) -> FrameReport:
        setup, options = self._setup, self._options
        width = bound_of(setup.bins)
        codes = torch.from_numpy(frame.codes.astype(np.float32)).permute(2, 0, 1).contiguous()
        dtype = torch.float16 if options.bit_depth == "half" else torch.float32
        pixels, stats = encode_into_bins(
            codes,
            offset.contiguous(),
            gain.contiguous(),
            width,
            setup.max_code,
            setup.source_space,
            setup.output_space,
            dtype,
            float24=options.compression == "pxr24" and dtype == torch.float32,
        )
        clipped = clip_mask(codes, width, setup.max_code)
        channels: dict[str, NDArray[Any]] = {"RGB": _interleaved(pixels)}
        if frame.alpha is not None:
            channels["A"] = (frame.alpha / np.float32(setup.max_code)).astype(channels["RGB"].dtype)
        channels |= self._aovs(codes, offset, gain, gain_error, clipped)
        path = output_path(setup.shot, options, number)
        write_exr(
            path,
            channels,
            compression=options.compression,
            attributes={
                **self._attributes,
                "seqhdr:source": setup.shot.source_path(number).name,
                "seqhdr:source_frame": setup.shot.source_frame(number),
            },
            frames_per_second=self._fps,
            timecode=self._timecode(number, frame),
            pixel_aspect=frame.pixel_aspect,
            overwrite=True,
        )
        if not self._checked:
            check_compression(path, options.compression)
            self._checked = True
        return FrameReport(
            frame=number,
            path=path,
            clipped_share=float(clipped.float().mean()),
            max_gain_stops=float((gain * clipped).max()),
            overflowed=stats.overflowed,
            floored=stats.floored,
            starts_segment=starts,
        )

    def _timecode(self, number: int, frame: Frame) -> str | None:
        # A held frame counts on from the one that was read for it.
        asked = self._options.timecode
        start, origin = (asked, self._first) if asked else (frame.timecode, self._setup.shot.source_frame(number))
        if start is None or number == origin:
            return start
        return timecode_add(start, number - origin, self._fps) if self._fps else None

    def _aovs(
        self, codes: Tensor, offset: Tensor, gain: Tensor, gain_error: Tensor, clipped: Tensor
    ) -> dict[str, NDArray[Any]]:
        """The layers a compositor asked for; all half, all 0 where nothing was invented but ``confidence``."""
        layers: dict[str, NDArray[Any]] = {}
        if "clip" in self._options.aov:
            layers["clip.RGB"] = _interleaved(clipped.half())
        if "confidence" in self._options.aov:
            # 1 where every channel is known; where one was invented, halved with each stop of expected error.
            certain = torch.exp2(-gain_error[0]).masked_fill(~clipped.any(dim=0), 1.0)
            layers["confidence.Y"] = certain.half().numpy()
        if "delta" in self._options.aov:
            source, width = self._setup.source_space, bound_of(self._setup.bins)
            light = decode_offset(codes, offset, gain, width, self._setup.max_code, source)
            beyond = source.encode(light) * self._setup.max_code - codes
            layers["delta.RGB"] = _interleaved(torch.where(clipped, beyond, offset).half())
        return layers


def _interleaved(planes: Tensor) -> NDArray[Any]:
    """(3, H, W) → (H, W, 3)."""
    return np.ascontiguousarray(planes.permute(1, 2, 0).numpy())
