"""The predictor: frames in, predictions out, one at a time, with a memory that can be carried."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqhdr.color.encodings import ColorEncoding, get_encoding
from seqhdr.errors import UsageError
from seqhdr.media.unround import Unrounding
from seqhdr.model.decoder import Decoder
from seqhdr.model.head import Prediction
from seqhdr.model.motion import FlowEstimator
from seqhdr.model.net import State
from seqhdr.model.source import describe_source
from seqhdr.model.tiles import TileGrid, plan_tiles

__all__ = ["Memory", "Predictor"]


@dataclass(frozen=True)
class Memory:
    """Everything a shot remembers between two frames.

    Attributes:
        states: the network's state, one per tile.
        codes: (1, 3, H, W) the last frame, from which the flow to the next is estimated.
    """

    states: tuple[State, ...]
    codes: Tensor


class Predictor:
    """Streams a shot through the network in memory that does not depend on its length.

    Args:
        net: from :func:`seqhdr.load_model`, or a method without learning.
        input_space: name or encoding of the codes; it tells the network how wide a code is in stops.
        half_width_lsb: w, half the width of a bin in codes; ½ for a lossless source.
        bits: of the source.
        bounded: hold the result inside its bins.
        flow: estimator of the motion between frames, or None for no warped memory.
        tile: side of the tiles in pixels, or None for whole frames.
        unrounding: what undoes the rounding of the decoder that made 8-bit codes, or None. The network starts from the
            decoder's own values then; the result stays within w of the codes all the same.
    """

    def __init__(
        self,
        net: Decoder,
        *,
        input_space: str | ColorEncoding = "srgb",
        half_width_lsb: float = 0.5,
        bits: int = 8,
        bounded: bool = True,
        flow: FlowEstimator | None = None,
        tile: int | None = None,
        unrounding: Unrounding | None = None,
    ) -> None:
        self._net = net
        self._flow = flow if net.remembers else None
        self._tile = tile
        self._device = net.device
        self._max_code = 2**bits - 1
        encoding = get_encoding(input_space) if isinstance(input_space, str) else input_space
        self._unrounding, self._half_width_lsb, self._bounded = unrounding, half_width_lsb, bounded
        self._source = describe_source(encoding, half_width_lsb, self._max_code, bounded=bounded, device=self._device)
        self._grid: TileGrid | None = None
        self._weights: list[Tensor] = []

    def stream(self, frames: Iterable[NDArray[np.unsignedinteger]]) -> Iterator[Prediction]:
        """Predict the frames of one shot without cuts, each as soon as it comes.

        Args:
            frames: (H, W, 3) codes, all of one size.

        Yields:
            One prediction per frame, tensors (1, 3, H, W).
        """
        memory: Memory | None = None
        for codes in frames:
            prediction, memory = self.step(codes, memory)
            yield prediction

    @torch.inference_mode()
    def step(self, codes: NDArray[np.unsignedinteger], memory: Memory | None) -> tuple[Prediction, Memory]:
        """Predict one frame.

        Args:
            codes: (H, W, 3) integers 0 .. 2^bits - 1.
            memory: what the frame before returned; None at the start of a shot and after a cut.

        Returns:
            The prediction and the memory for the next frame.

        Raises:
            UsageError: the frame has another size than the memory, or the memory other tiles.
        """
        here = torch.from_numpy(codes.astype(np.float32)).permute(2, 0, 1)[None].to(self._device)
        lift = None if self._unrounding is None else self._lift(codes, self._unrounding).to(self._device)
        if lift is not None:
            here = here + lift
        height, width = here.shape[-2:]
        grid = self._plan(height, width)
        if memory is not None:
            _check(memory, grid)
        flow_px = None
        if memory is not None and self._flow is not None:
            flow_px = self._flow(here / self._max_code, memory.codes / self._max_code)
        if len(grid.tiles) == 1:
            state = memory.states[0] if memory else None
            prediction, state = self._net.step(here, state, self._source, flow_px)
            return self._of_codes(prediction, lift), Memory((state,), here)
        prediction, memory = self._step_tiles(here, memory, flow_px, grid)
        return self._of_codes(prediction, lift), memory

    def _lift(self, codes: NDArray[np.unsignedinteger], unrounding: Unrounding) -> Tensor:
        """What undoes the rounding, (1, 3, H, W), in codes; nothing becomes clipped by it."""
        lift = unrounding.closed_lift_lsb(codes.astype(np.uint8), self._half_width_lsb)
        return torch.from_numpy(np.ascontiguousarray(lift.transpose(2, 0, 1)))[None]

    def _of_codes(self, prediction: Prediction, lift: Tensor | None) -> Prediction:
        """The prediction about the codes as they are, and held within w of them."""
        if lift is None:
            return prediction
        offset, w = prediction.offset_lsb + lift, self._half_width_lsb
        return dataclasses.replace(prediction, offset_lsb=offset.clamp(-w, w) if self._bounded else offset)

    def _plan(self, height: int, width: int) -> TileGrid:
        grid = plan_tiles(height, width, self._tile)
        if grid != self._grid:
            self._grid = grid
            self._weights = [torch.from_numpy(weight).to(self._device) for weight in grid.weights()]
        return grid

    def _step_tiles(
        self, here: Tensor, memory: Memory | None, flow_px: Tensor | None, grid: TileGrid
    ) -> tuple[Prediction, Memory]:
        offset, gain, error = torch.zeros_like(here), torch.zeros_like(here), torch.zeros_like(here[:, :1])
        states = []
        for index, (tile, weight) in enumerate(zip(grid.tiles, self._weights, strict=True)):
            cut = (..., *tile.index)
            state = memory.states[index] if memory else None
            flow = None if flow_px is None else flow_px[cut].contiguous()
            part, state = self._net.step(here[cut].contiguous(), state, self._source, flow)
            offset[cut] += weight * part.offset_lsb
            gain[cut] += weight * part.gain_stops
            error[cut] += weight * part.gain_error_stops
            states.append(state)
        if self._source.bounded:  # the weights sum to one only up to rounding
            w = self._source.half_width_lsb.view(-1, 1, 1, 1)
            offset = torch.maximum(torch.minimum(offset, w), -w)
        return Prediction(offset, gain, error), Memory(tuple(states), here)


def _check(memory: Memory, grid: TileGrid) -> None:
    """Raise UsageError unless the memory is one of this grid."""
    height, width = memory.codes.shape[-2:]
    if (height, width) != (grid.height, grid.width):
        raise UsageError(
            f"frame of {grid.width}x{grid.height} pixels after frames of {width}x{height}: "
            "start a new shot without memory"
        )
    if len(memory.states) != len(grid.tiles):
        raise UsageError(
            f"memory of {len(memory.states)} tiles for a frame of {len(grid.tiles)}: "
            "carry it only between predictors of the same tile"
        )
