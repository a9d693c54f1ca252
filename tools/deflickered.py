"""A decoder followed by a deflicker, in the place of a decoder: for tables."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from seqhdr.classic.deflicker_prior import PriorLimits, fit_prior
from seqhdr.color.bins import clip_mask, decode_offset
from seqhdr.color.encodings import ColorEncoding, get_encoding
from seqhdr.media.compression import estimate_half_width
from seqhdr.media.unround import unrounding
from seqhdr.model.decoder import Decoder
from seqhdr.model.head import Prediction
from seqhdr.model.motion import DisFlow
from seqhdr.model.net import State
from seqhdr.model.predict import Predictor
from seqhdr.model.source import Source
from seqhdr.pipeline.deflicker_methods import cell_light, filtered_gains, plan_stretch
from seqhdr.pipeline.deflicker_small import Follower, enlarge, small_picture
from seqhdr.quality.stops import stops
from seqhdr.train.pairs import ClipInfo, find_clips, read_pair

__all__ = ["Deflickered", "deflicker_gains", "ffmpeg_deflicker_gains"]

_TOP = 255


@dataclass(frozen=True)
class _Decoded:
    """A frame: codes and prediction (3, H, W)."""

    codes: Tensor
    prediction: Prediction


class Deflickered:
    """Decodes a whole clip when its first frame comes, deflickers it, and hands out frame by frame.

    Args:
        base: what decodes the frames.
        method: ``gain``, ``flow``, ``prior``, or ``ffmpeg``.
        folders: where the clips are; a clip is told by its first frame.
    """

    weights_sha256 = ""
    remembers = False

    def __init__(self, base: Decoder, method: str, folders: Sequence[Path]) -> None:
        self.name = f"{base.name}, {method} deflicker"
        self.device = base.device
        self._base, self._method = base, method
        clips = [clip for folder in folders for clip in find_clips(folder)]
        self._clips = [(clip, _thumbnail(_codes(clip, clip.frames[0]))) for clip in clips]
        self._ready: deque[Prediction] = deque()

    def step(
        self, codes: Tensor, state: State | None, source: Source, flow_px: Tensor | None
    ) -> tuple[Prediction, State]:
        """See :meth:`seqhdr.model.net.SeqNet.step`."""
        if state is None:
            # The predictor around this one records nothing for gradients, and a network is fitted here.
            with torch.inference_mode(False), torch.enable_grad():
                self._ready = deque(self._whole_clip(self._find(codes[0])))
        nothing = codes.new_zeros(0)
        return self._ready.popleft(), State(nothing, nothing, nothing)

    def _find(self, codes: Tensor) -> ClipInfo:
        """The clip whose first frame this is; where a decoder's rounding was undone, it is off by a code or so."""
        shown = _thumbnail(codes)
        return min(self._clips, key=lambda known: _distance(known[1], shown))[0]

    def _whole_clip(self, clip: ClipInfo) -> list[Prediction]:
        space, w = get_encoding(clip.encoding), clip.half_width_lsb
        undone = None
        if w > 0.5:
            first = read_pair(clip, clip.frames[0], flow=False).codes
            lattice = estimate_half_width([first], container="png").lattice
            undone = unrounding(lattice) if lattice else None
        predictor = Predictor(self._base, input_space=space, half_width_lsb=w, flow=DisFlow(), unrounding=undone)
        frames, memory = [], None
        for number in clip.frames:
            prediction, memory = predictor.step(read_pair(clip, number, flow=False).codes, memory)
            frames.append(_Decoded(_codes(clip, number), prediction))
        light = [_light(frame, w, space) for frame in frames]
        find = ffmpeg_deflicker_gains if self._method == "ffmpeg" else deflicker_gains
        gains = find(light, self._method)
        return [_changed(frame, shown, gain, w, space) for frame, shown, gain in zip(frames, light, gains, strict=True)]


def deflicker_gains(light: Sequence[Tensor], method: str) -> list[Tensor]:
    """What a method of ``seqhdr deflicker`` would multiply frames by: (3, H, W) stops of each.

    Args:
        light: (3, H, W) scene-linear of each frame.
        method: ``gain``, ``flow`` or ``prior``.
    """
    height, width = light[0].shape[-2:]
    pictures = [small_picture(stops(frame).contiguous()) for frame in light]
    follower = Follower()
    maps = [found for found in map(follower.measure, pictures) if found is not None]
    plan = plan_stretch(maps)
    small: Sequence[Tensor] = list(plan.gain_stops)
    if method == "flow":
        small = list(filtered_gains(maps, plan, pictures))
    elif method == "prior":
        fit = fit_prior(maps, plan, [cell_light(picture) for picture in pictures], PriorLimits())
        small = list(plan.gain_stops + fit.gain_stops)
    return [torch.from_numpy(enlarge(gain, height, width)).permute(2, 0, 1) for gain in small]


def ffmpeg_deflicker_gains(light: Sequence[Tensor], method: str = "ffmpeg") -> list[Tensor]:
    """The same of libavfilter's ``deflicker``, which scales 16-bit luma by the means of five frames around.

    Args:
        light: (3, H, W) scene-linear of each frame; shown to the filter in the sRGB curve up to 1.
        method: is not read.
    """
    import av
    from av.filter import Graph

    curve = get_encoding("srgb")
    luma = [curve.encode(frame.mean(dim=0).clamp(0, 1)) for frame in light]
    height, width = luma[0].shape
    graph = Graph()
    steps = [graph.add_buffer(width=width, height=height, format="gray16le", time_base="1/24")]
    steps += [graph.add("deflicker", ""), graph.add("buffersink")]
    graph.link_nodes(*steps).configure()
    out: list[Tensor] = []

    def pull() -> None:
        while True:
            try:
                frame = graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            out.append(torch.from_numpy(frame.to_ndarray().astype(np.float32) / 65535))

    for index, picture in enumerate(luma):
        frame = av.VideoFrame.from_ndarray((picture * 65535).round().numpy().astype(np.uint16), format="gray16le")
        frame.pts = index
        graph.push(frame)
        pull()
    graph.push(None)
    pull()
    gains = []
    for before, after in zip(luma, out, strict=True):
        one, other = (curve.decode(value.clamp(min=1 / 1023)) for value in (before, after))
        gains.append((other / one).log2().expand(3, -1, -1))
    return gains


def _codes(clip: ClipInfo, number: int) -> Tensor:
    return torch.from_numpy(read_pair(clip, number, flow=False).codes).permute(2, 0, 1).float()


def _thumbnail(codes: Tensor) -> Tensor:
    return codes[:, ::8, ::8]


def _distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().mean()) if one.shape == other.shape else float("inf")


def _light(frame: _Decoded, w: float, space: ColorEncoding) -> Tensor:
    prediction = frame.prediction
    return decode_offset(frame.codes, prediction.offset_lsb[0], prediction.gain_stops[0], w, _TOP, space)


def _changed(frame: _Decoded, light: Tensor, gain_stops: Tensor, w: float, space: ColorEncoding) -> Prediction:
    """The prediction whose light is ``gain_stops`` brighter, as far as its bins allow."""
    clipped = clip_mask(frame.codes, w, _TOP)
    value = space.encode(light * gain_stops.exp2()) * _TOP
    offset = torch.where(clipped, frame.prediction.offset_lsb[0], (value - frame.codes).clamp(-w, w))
    above = torch.where(clipped, (frame.prediction.gain_stops[0] + gain_stops).clamp(min=0), 0)
    return Prediction(offset[None], above[None], frame.prediction.gain_error_stops)
