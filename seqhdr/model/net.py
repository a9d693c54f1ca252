"""The network: a recurrent U-Net with a Conv-LSTM at its bottleneck and the last prediction as memory.

It sees codes only: differences between a pixel and its surroundings in units of the bin's half-width w, so that
half a code is as visible to it as a large step, and one set of weights serves every encoding, bit depth and w. The same
weights decode a smaller frame first, where wide bands are narrow.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from seqhdr.model.clipping import clipped_channels, open_share
from seqhdr.model.features import FEATURES, frame_features
from seqhdr.model.head import HEAD_CHANNELS, Prediction, apply_head
from seqhdr.model.pyramid import COARSE_CELLS, COARSER, GATED_CELLS, ScaleSpace, scale_space, upsample
from seqhdr.model.recall import Prior, no_prior, pad_prior, recall, reduce_prior
from seqhdr.model.source import Source

__all__ = ["ModelConfig", "SeqNet", "State"]

# A frame whose shorter side, padded, is smaller than this is not decoded at a smaller size first.
_SMALLEST_PX = 96


@dataclass(frozen=True)
class ModelConfig:
    """Size of the network.

    Attributes:
        name: what users call it.
        channels: feature channels at ½, ¼, ⅛ … of the resolution; the last is the bottleneck's.
        blocks: residual blocks on each side of the U at every level.
    """

    name: str
    channels: tuple[int, ...]
    blocks: int = 1


@dataclass(frozen=True)
class State:
    """What is remembered from one frame to the next; plain tensors, so it can be stored, moved and cut.

    Attributes:
        hidden, cell: (B, C, h, w) the Conv-LSTM's, at the bottleneck.
        decoded: (B, 7, H, W) the last frame's values in code units, then its stops above clip, then how many frames
            in a row have gone into each pixel.
    """

    hidden: Tensor
    cell: Tensor
    decoded: Tensor

    def detach(self) -> State:
        """The same values, cut from the graph (truncated back-propagation)."""
        return State(self.hidden.detach(), self.cell.detach(), self.decoded.detach())


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions and a way around them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → the same shape."""
        y: Tensor = self.second(F.silu(self.first(F.silu(x))))
        return x + y


class ConvLSTMCell(nn.Module):
    """Long short-term memory with convolutions for matrix products (Shi et al., NeurIPS 2015), no peepholes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gates = nn.Conv2d(2 * channels, 4 * channels, 3, padding=1)
        # A forget gate that starts open keeps gradients alive over the clip.
        with torch.no_grad():
            self.gates.bias[channels : 2 * channels] = 1.0  # type: ignore[index]

    def forward(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, h, w) each → the new hidden and cell state."""
        enter, forget, out, value = self.gates(torch.cat((x, hidden), dim=1)).chunk(4, dim=1)
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(value)
        return torch.sigmoid(out) * torch.tanh(cell), cell


class SeqNet(nn.Module):
    """Codes in, offsets and stops out, one frame at a time or a clip at once.

    Args:
        config: sizes.
    """

    #: The motion between frames carries its memory.
    remembers = True

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if len(config.channels) < 2:
            raise ValueError(f"config {config.name!r} has {len(config.channels)} levels: expected 2 or more")
        if config.blocks < 1:
            raise ValueError(f"config {config.name!r} has {config.blocks} blocks at a level: expected 1 or more")
        self.config = config
        #: Hash of the loaded weights, for provenance; empty while they are random.
        self.weights_sha256 = ""
        widths = config.channels

        def stage(channels: int) -> nn.Sequential:
            return nn.Sequential(*(ResidualBlock(channels) for _ in range(config.blocks)))

        self.enter = nn.Conv2d(FEATURES, widths[0], 3, padding=1)
        self.encoders = nn.ModuleList(stage(c) for c in widths[:-1])
        self.widen = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in itertools.pairwise(widths))
        self.bottleneck = stage(widths[-1])
        self.memory = ConvLSTMCell(widths[-1])
        self.narrow = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in itertools.pairwise(widths))
        self.decoders = nn.ModuleList(stage(c) for c in widths[:-1])
        self.leave = nn.Conv2d(widths[0], HEAD_CHANNELS, 1)
        nn.init.normal_(self.leave.weight, std=0.01)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    @property
    def name(self) -> str:
        """What users call it."""
        return self.config.name

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.parameters()).device

    @property
    def stride(self) -> int:
        """Frames are padded to multiples of this many pixels."""
        return int(max(2 ** len(self.config.channels), COARSE_CELLS[-1]))

    def macs_per_pixel(self) -> float:
        """Multiply-adds of all convolutions for one pixel of a large frame, smaller frames with it, blurs without."""
        level = {id(self.enter): 1, id(self.leave): 1, id(self.memory.gates): len(self.config.channels)}
        for index, (encoder, decoder) in enumerate(zip(self.encoders, self.decoders, strict=True), start=1):
            level |= {id(m): index for part in (encoder, decoder) for m in part.modules()}
        for index, (widen, narrow) in enumerate(zip(self.widen, self.narrow, strict=True), start=2):
            level |= {id(widen): index, id(narrow): index}
        level |= {id(m): len(self.config.channels) for m in self.bottleneck.modules()}
        convolutions = (m for m in self.modules() if isinstance(m, nn.Conv2d))
        once = float(sum(m.weight.numel() / 4 ** level[id(m)] for m in convolutions))
        return once / (1 - 1 / COARSER**2)

    def forward(
        self,
        codes: Tensor,
        state: State | None,
        source: Source,
        flow_px: Tensor | None = None,
        *,
        fresh: Sequence[bool] | None = None,
        recompute: bool = False,
    ) -> tuple[list[Prediction], State]:
        """Decode a clip.

        Args:
            codes: (B, T, 3, H, W) float32, 0..max_code; whole numbers unless a decoder's rounding was undone.
            state: what an earlier call returned, or None at the start of a shot.
            source: what the codes mean.
            flow_px: (B, T, 2, H, W) backward flow of each frame to the one before it (the first frame's is used
                only with a state), or None for no warped memory.
            fresh: one flag per frame, true where the memory is dropped before it, as at a cut.
            recompute: gradient checkpointing (Chen et al., 2016): keep one frame's activations at a time and compute
                them again in the backward pass. The same gradients for less memory and about a third more time.

        Returns:
            One prediction per frame, and the state after the last.
        """
        predictions = []
        for index in range(codes.shape[1]):
            flow = None if flow_px is None else flow_px[:, index]
            if fresh is not None and fresh[index]:
                state = None
            prediction, state = self.step(codes[:, index], state, source, flow, recompute=recompute)
            predictions.append(prediction)
        if state is None:
            raise ValueError("the clip has no frames: expected T ≥ 1")
        return predictions, state

    def step(
        self, codes: Tensor, state: State | None, source: Source, flow_px: Tensor | None, *, recompute: bool = False
    ) -> tuple[Prediction, State]:
        """Decode one frame; arguments as for :meth:`forward` without T."""
        if codes.ndim != 4 or codes.shape[1] != 3:
            raise ValueError(f"codes of shape {tuple(codes.shape)}: expected (B, 3, H, W)")
        w = source.half_width_lsb.view(-1, 1, 1, 1)
        if state is None or flow_px is None:
            prior = no_prior(codes)
        else:
            prior = recall(codes, state.decoded, flow_px, w, source.max_code)
        prediction, hidden, cell = self._decode(codes, prior, source, state, recompute)
        top = torch.full_like(w, source.max_code - 0.5)
        value = torch.minimum(codes + prediction.offset_lsb, top)
        decoded = torch.cat((value, prediction.gain_stops, prior.age_frames + 1), dim=1)
        return prediction, State(hidden, cell, decoded)

    def _decode(
        self,
        codes: Tensor,
        prior: Prior,
        source: Source,
        state: State | None,
        recompute: bool,
        reduced: bool = False,
    ) -> tuple[Prediction, Tensor, Tensor]:
        """The prediction, and what the Conv-LSTM remembers; ``reduced`` says that these codes are averages.

        The Conv-LSTM remembers at full size only: smaller frames have the reduced prior and need no state.
        """
        height, width = codes.shape[-2:]
        pad = (0, -width % self.stride, 0, -height % self.stride)
        if any(pad):
            codes, prior = F.pad(codes, pad, mode="replicate"), pad_prior(prior, pad)
        w = source.half_width_lsb.view(-1, 1, 1, 1)
        clipped = clipped_channels(codes, w, source.max_code)
        # Blurs and differences of codes need float32 as much as the head does: half a code must survive.
        with torch.autocast(codes.device.type, enabled=False):
            scales = scale_space(codes, w)
        coarser = self._coarser(scales, prior, source, recompute)
        with torch.autocast(codes.device.type, enabled=False):
            features = frame_features(scales, coarser, prior, source, clipped, reduced)

        def learned() -> tuple[Prediction, Tensor, Tensor]:
            raw, hidden, cell = self._unet(features, state)
            with torch.autocast(codes.device.type, enabled=False):
                share = open_share(scales, w, source.max_code)
                return apply_head(raw, scales, coarser, prior, w, share, source.bounded), hidden, cell

        if recompute:
            prediction, hidden, cell = checkpoint(learned, use_reentrant=False, preserve_rng_state=False)
        else:
            prediction, hidden, cell = learned()
        if any(pad):
            prediction = Prediction(
                prediction.offset_lsb[..., :height, :width],
                prediction.gain_stops[..., :height, :width],
                prediction.gain_error_stops[..., :height, :width],
            )
        return prediction, hidden, cell

    def _coarser(self, scales: ScaleSpace, prior: Prior, source: Source, recompute: bool) -> Tensor:
        """(B, 3, H/4, W/4) in codes: what the same network makes of the frame averaged over squares.

        Bands too wide for any blur are narrow there, and so on down to small frames. An average of values lies within w
        of the average of their codes, so that the bins are of one width at all sizes.
        """
        # A deep network pads small frames up to its stride: one that came out no smaller would never end.
        if min(scales.full.shape[-2:]) < max(_SMALLEST_PX, self.stride + 1):
            return scales.gated[GATED_CELLS.index(COARSER)]
        with torch.autocast(scales.full.device.type, enabled=False):
            small = F.avg_pool2d(scales.full, COARSER)
            before = reduce_prior(prior, small, COARSER)
        # Where only the last layer's gains learn, nothing of a smaller frame can: its gains go nowhere.
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.enter.weight.requires_grad):
            return small + self._decode(small, before, source, None, recompute, reduced=True)[0].offset_lsb

    def compile_unet(self, backend: str = "inductor") -> None:
        """Let ``torch.compile`` translate the learned part; the blurs and the head around it stay as they are."""
        self._unet = torch.compile(self._unet, backend=backend)  # type: ignore[method-assign]

    def _unet(self, features: Tensor, state: State | None) -> tuple[Tensor, Tensor, Tensor]:
        x, skips = self.enter(features.contiguous(memory_format=torch.channels_last)), []
        for encode, widen in zip(self.encoders, self.widen, strict=True):
            x = encode(x)
            skips.append(x)
            x = widen(F.avg_pool2d(x, 2))
        x = self.bottleneck(x)
        zeros = torch.zeros_like(x)
        hidden, cell = (zeros, zeros) if state is None else (state.hidden, state.cell)
        hidden, cell = self.memory(x, hidden, cell)
        x = x + hidden
        for decode, narrow, skip in zip(reversed(self.decoders), reversed(self.narrow), reversed(skips), strict=True):
            x = decode(upsample(narrow(x), 2) + skip)
        with torch.autocast(x.device.type, enabled=False):
            raw: Tensor = self.leave(F.silu(x.float()))
        return raw, hidden, cell
