"""The network: a recurrent U-Net with a Conv-LSTM at its bottleneck and the last prediction as memory.

It sees codes only: differences between a pixel and its surroundings in units of the bin's half-width w, so that
half a code is as visible to it as a large step, and one set of weights serves every encoding, bit depth and w.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from seqhdr.model.head import HEAD_CHANNELS, Prediction, Prior, apply_head, clipped_channels, open_share
from seqhdr.model.levelling import level_memory
from seqhdr.model.motion import warp
from seqhdr.model.pyramid import COARSE_CELLS, GATED_CELLS, ScaleSpace, scale_space, upsample

__all__ = ["WIDTH_LUT_SIZE", "ModelConfig", "SeqNet", "Source", "State"]

#: Entries of :attr:`Source.log_width`, spread evenly over the code range.
WIDTH_LUT_SIZE = 256
# A memory that differs from the code by more than this many w does not belong to this pixel.
_VALID_WIDTHS = 3.0
# Differences to the surroundings beyond this many w say only "there is an edge".
_DIFFERENCE_WIDTHS = 4.0
# A memory that differs from the codes by more than so many w on average over an area, and that by one sign for the
# most part, is dropped there. On painted slopes, where no pixel alone tells, motion that is 5 px off then costs nothing
# instead of 0.16 dB (worst clip 0.54 instead of 1.17); on training panoramas it makes no difference; right motion
# loses 0.01 dB. Measured with tools/check_outputs.py.
_AREA_SHARE = 0.7
_AREA_WIDTHS = 0.3
# Such areas are three cells of this many pixels wide, and what they say holds for the cell in their middle.
_CELL_PX = 8
_INPUT_CHANNELS = 12 + 12 + 3 * (1 + len(COARSE_CELLS) + len(GATED_CELLS)) + 3 + 3 + 3 + 3 + 1 + 1 + 1
# A memory of more frames than this is not counted on.
_OLDEST_FRAMES = 16


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
class Source:
    """What the codes of a clip mean, per clip of a batch.

    Attributes:
        half_width_lsb: (B,) w, the bin's half-width in code units.
        log_width: (B, WIDTH_LUT_SIZE) log2 of the width in stops of one code, over the range 0..max_code.
        max_code: 2^N - 1 for N-bit codes.
        bounded: whether the output is held in its bins.
    """

    half_width_lsb: Tensor
    log_width: Tensor
    max_code: float = 255.0
    bounded: bool = True


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

        self.enter = nn.Conv2d(_INPUT_CHANNELS, widths[0], 3, padding=1)
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
    def stride(self) -> int:
        """Frames are padded to multiples of this many pixels."""
        return int(max(2 ** len(self.config.channels), COARSE_CELLS[-1]))

    def macs_per_pixel(self) -> float:
        """Multiply-adds of all convolutions for one pixel of the frame (the fixed blurs not counted)."""
        level = {id(self.enter): 1, id(self.leave): 1, id(self.memory.gates): len(self.config.channels)}
        for index, (encoder, decoder) in enumerate(zip(self.encoders, self.decoders, strict=True), start=1):
            level |= {id(m): index for part in (encoder, decoder) for m in part.modules()}
        for index, (widen, narrow) in enumerate(zip(self.widen, self.narrow, strict=True), start=2):
            level |= {id(widen): index, id(narrow): index}
        level |= {id(m): len(self.config.channels) for m in self.bottleneck.modules()}
        convolutions = (m for m in self.modules() if isinstance(m, nn.Conv2d))
        return float(sum(m.weight.numel() / 4 ** level[id(m)] for m in convolutions))

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
        height, width = codes.shape[-2:]
        w = source.half_width_lsb.view(-1, 1, 1, 1)
        prior = _recall(codes, state, source, flow_px)
        pad = (0, -width % self.stride, 0, -height % self.stride)
        if any(pad):
            codes = F.pad(codes, pad, mode="replicate")
            prior = Prior(
                F.pad(prior.decoded_lsb, pad, mode="replicate"),
                F.pad(prior.gain_stops, pad, mode="replicate"),
                F.pad(prior.valid, pad),
                F.pad(prior.age_frames, pad),
            )
        clipped = clipped_channels(codes, w, source.max_code)
        # Blurs and differences of codes need float32 as much as the head does: half a code must survive.
        with torch.autocast(codes.device.type, enabled=False):
            scales = scale_space(codes, w)
            features = _features(scales, prior, source, clipped)

        def learned() -> tuple[Prediction, Tensor, Tensor]:
            raw, hidden, cell = self._unet(features, state)
            with torch.autocast(codes.device.type, enabled=False):
                share = open_share(scales, w, source.max_code)
                return apply_head(raw, scales, prior, w, share, source.bounded), hidden, cell

        if recompute:
            prediction, hidden, cell = checkpoint(learned, use_reentrant=False, preserve_rng_state=False)
        else:
            prediction, hidden, cell = learned()
        value = torch.minimum(codes + prediction.offset_lsb, torch.full_like(w, source.max_code - 0.5))
        decoded = torch.cat((value, prediction.gain_stops, prior.age_frames + 1), dim=1)[..., :height, :width]
        if any(pad):
            prediction = Prediction(
                prediction.offset_lsb[..., :height, :width],
                prediction.gain_stops[..., :height, :width],
                prediction.gain_error_stops[..., :height, :width],
            )
        return prediction, State(hidden, cell, decoded)

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


def _recall(codes: Tensor, state: State | None, source: Source, flow_px: Tensor | None) -> Prior:
    """Warp the last prediction to this frame, bring it to this frame's level, and say where it can be trusted."""
    if state is None or flow_px is None:
        nothing = torch.zeros_like(codes[:, :1])
        return Prior(codes, torch.zeros_like(codes), nothing, nothing)
    w = source.half_width_lsb.view(-1, 1, 1, 1)
    # No gradient through the warp: the Conv-LSTM carries it, and eight-fold interpolation only blurs it.
    warped, inside = warp(state.decoded.detach(), flow_px)
    decoded, gain, age = torch.split(warped, [3, 3, 1], dim=1)
    clipped = clipped_channels(codes, w, source.max_code)
    decoded = level_memory(decoded, codes, inside & ~clipped, w, source.max_code)
    difference, reach = decoded - codes, _VALID_WIDTHS * w
    # A clipped channel is open above, so only a memory below its bin speaks against it.
    agrees = (difference > -reach) & ((difference < reach) | clipped)
    # Codes are right on average. A memory that is off by one sign over an area came from a wrong place there, be it by
    # less than a code; over texture, signs alternate.
    # What is disbelieved in any case has no say: one lamp would outweigh all around it.
    apart = torch.where(inside & agrees & ~clipped, difference, 0.0)
    mean, size = (
        F.avg_pool2d(image, 3 * _CELL_PX, _CELL_PX, _CELL_PX, ceil_mode=True, count_include_pad=False)
        for image in (apart, apart.abs())
    )
    off = (mean.abs() > torch.maximum(_AREA_WIDTHS * w, _AREA_SHARE * size)).any(1, keepdim=True).to(codes.dtype)
    drifted = F.interpolate(off, scale_factor=_CELL_PX)[..., : codes.shape[-2], : codes.shape[-1]]
    valid = (inside & agrees.all(dim=1, keepdim=True)).to(codes.dtype) * (1 - drifted)
    return Prior(
        torch.where(valid > 0, decoded, codes),
        gain.clamp_min(0) * valid,
        valid,
        age.clamp(1, _OLDEST_FRAMES) * valid,
    )


def _space_to_depth(image: Tensor) -> Tensor:
    """(B, C, H, W) → (B, 4C, H/2, W/2), channels-last."""
    batch, channels, height, width = image.shape
    blocks = image.reshape(batch, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 3, 5, 1)
    return blocks.reshape(batch, height // 2, width // 2, 4 * channels).permute(0, 3, 1, 2)


def _features(scales: ScaleSpace, prior: Prior, source: Source, clipped: Tensor) -> Tensor:
    """All inputs of the U-Net at half resolution, (B, _INPUT_CHANNELS, H/2, W/2)."""
    unit = 1 / source.half_width_lsb.view(-1, 1, 1, 1)

    def relative(image: Tensor, centre: Tensor) -> Tensor:
        # In place: nothing here carries a gradient, and at full resolution every pass over memory counts.
        return (image - centre).mul_(0.5 * unit).clamp_(-0.5 * _DIFFERENCE_WIDTHS, 0.5 * _DIFFERENCE_WIDTHS)

    half = scales.half
    level = half / source.max_code
    entry = (level * (WIDTH_LUT_SIZE - 1)).round().long().clamp(0, WIDTH_LUT_SIZE - 1)
    log_width = torch.gather(source.log_width, 1, entry.flatten(1)).view_as(level)
    blurs = [F.avg_pool2d(scales.fine[1], 2)]
    for images, cells in ((scales.coarse, COARSE_CELLS), (scales.gated, GATED_CELLS)):
        blurs += [upsample(image, size // 2) for image, size in zip(images, cells, strict=True)]
    return torch.cat(
        (
            _space_to_depth(relative(scales.fine[0], scales.full)),
            _space_to_depth(relative(prior.decoded_lsb, scales.full)),
            *(relative(image, half) for image in blurs),
            level * 2 - 1,
            log_width * 0.25 + 1,
            F.avg_pool2d(clipped.to(half.dtype), 2),
            F.avg_pool2d(prior.gain_stops, 2) * 0.25,
            F.avg_pool2d(prior.valid, 2),
            F.avg_pool2d(torch.log2(1 + prior.age_frames) * 0.25, 2),
            torch.log2(2 * source.half_width_lsb).view(-1, 1, 1, 1).expand(-1, 1, *half.shape[-2:]),
        ),
        dim=1,
    )
