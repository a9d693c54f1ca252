"""Write one converted frame: encode it into its bins, add the layers asked for, and the header."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqhdr.color.bins import clip_mask, decode_offset, encode_into_bins
from seqhdr.media.exr import check_compression, write_exr
from seqhdr.media.frames import Frame
from seqhdr.media.shot import Shot, output_name
from seqhdr.media.timecode import parse_fps, timecode_add
from seqhdr.model.decoder import NamedMethod
from seqhdr.model.head import Prediction
from seqhdr.pipeline.options import RunOptions
from seqhdr.pipeline.setup import ShotSetup, bound_of

__all__ = ["FrameReport", "FrameWriter", "output_path"]


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


def output_path(shot: Shot, options: RunOptions, frame: int) -> Path:
    """Where a frame is written."""
    return options.output / output_name(shot, options.output_space, frame)


class FrameWriter:
    """Turns predictions into files; knows what all frames of a shot have in common."""

    def __init__(self, setup: ShotSetup, options: RunOptions, net: NamedMethod) -> None:
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
        if setup.curve is not None:
            self._attributes |= setup.curve.attributes
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
