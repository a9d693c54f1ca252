"""Simple and foreign methods in the place of a network, for tables: what everyone can do without us."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from seqhdr.color.bins import clip_mask
from seqhdr.model.head import Prediction
from seqhdr.model.net import State
from seqhdr.model.source import Source

#: Values (1, 3, H, W) of codes (1, 3, H, W), in codes, of a source.
Values = Callable[[Tensor, Source], Tensor]

# f3kdb's defaults, in codes of 8 bits and pixels: range 15, strength 64 of 16 levels per code.
_F3KDB_RANGE_PX, _F3KDB_THRESHOLD_LSB, _F3KDB_SEED = 15, 4.0, 0
_ERROR_STOPS = 4.0


@dataclass
class Method:
    """A :class:`~seqhdr.model.decoder.Decoder` that says values and nothing above the clip; counts what left its bin.

    Attributes:
        name: for the table.
        values: the method.
        left, of: unclipped channels whose value lies outside ±w of the code, of how many.
    """

    name: str
    values: Values
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    left: int = 0
    of: int = 0

    weights_sha256 = ""
    remembers = False

    def step(
        self, codes: Tensor, state: State | None, source: Source, flow_px: Tensor | None
    ) -> tuple[Prediction, State]:
        """See :meth:`seqhdr.model.net.SeqNet.step`."""
        w = float(source.half_width_lsb[0])
        offset = self.values(codes, source) - codes
        unclipped = ~clip_mask(codes, w, int(source.max_code))
        self.left += int((offset.abs() > w + 1e-3)[unclipped].sum())
        self.of += int(unclipped.sum())
        nothing = codes.new_zeros(0)
        error = torch.full_like(codes[:, :1], _ERROR_STOPS)
        return Prediction(offset, torch.zeros_like(codes), error), State(nothing, nothing, nothing)


def identity(codes: Tensor, source: Source) -> Tensor:
    """The codes as they are: the middle of each bin in codes."""
    return codes


def bin_centre(codes: Tensor, source: Source) -> Tensor:
    """The middle of each bin in light; what a bin without an end has no middle."""
    (encoding,), top, w = source.encodings, source.max_code, source.half_width_lsb.view(-1, 1, 1, 1)
    low, high = (encoding.decode((codes + side * w) / top) for side in (-1, 1))
    bounded = (codes - w > 0) & (codes + w < top)
    return torch.where(bounded, encoding.encode((low + high) / 2) * top, codes)


def f3kdb_like(codes: Tensor, source: Source) -> Tensor:
    """Four pixels at a random distance on a cross: their mean where all are close to the pixel, and a little noise.

    The idea of f3kdb (sample mode 2), written from its description: the distance is drawn per pixel up to 15, "close"
    is the mean within 4 codes and every one of them within as much; the noise hides what is left, here triangular and
    half a code.
    """
    height, width = codes.shape[-2:]
    rng = np.random.default_rng((_F3KDB_SEED, height, width))
    reach = torch.from_numpy(rng.integers(1, _F3KDB_RANGE_PX + 1, (height, width)))
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")

    def at(down: int, right: int) -> Tensor:
        rows, columns = (y + down * reach).clamp(0, height - 1), (x + right * reach).clamp(0, width - 1)
        return codes[..., rows, columns]

    around = torch.stack([at(*where) for where in ((-1, 0), (1, 0), (0, -1), (0, 1))])
    close = ((around - codes).abs() <= _F3KDB_THRESHOLD_LSB).all(dim=0)
    noise = torch.from_numpy((rng.random((2, height, width)) - 0.5).sum(axis=0).astype(np.float32) / 2)
    return torch.where(close, around.mean(dim=0), codes) + noise


def ffmpeg_filters() -> dict[str, Values]:
    """Debanding filters of libavfilter, where PyAV is installed and has them."""
    try:
        from av.filter import filters_available
    except ImportError:
        return {}
    known = {
        # Ten bits hold a quarter of a code; deband reads planes of RGB, gradfun nothing deeper than 8 bits.
        "deband": functools.partial(_filtered, chain=(("deband", ""),), layout="gbrp10le"),
        "gradfun": functools.partial(_filtered, chain=(("gradfun", ""),), layout="gbrp"),
    }
    return {f"ffmpeg {name}": values for name, values in known.items() if name in filters_available}


def _filtered(codes: Tensor, source: Source, *, chain: Sequence[tuple[str, str]], layout: str) -> Tensor:
    import av
    from av.filter import Graph

    deep = layout.endswith("10le")
    scale = 1023 / 255 if deep else 1.0
    picture = (codes[0] * scale).round().numpy().astype(np.uint16 if deep else np.uint8)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture.transpose(1, 2, 0)), format=layout)
    graph = Graph()
    steps = [graph.add_buffer(width=frame.width, height=frame.height, format=layout, time_base="1/24")]
    steps += [graph.add(name, arguments) for name, arguments in chain]
    steps.append(graph.add("buffersink"))
    graph.link_nodes(*steps).configure()
    frame.pts = 0
    graph.push(frame)
    graph.push(None)
    out = graph.pull().to_ndarray()
    return torch.from_numpy(out.astype(np.float32) / scale).permute(2, 0, 1)[None]
