"""Clips for checking what a model makes: filmed, painted and converted, with motion that is right or wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from seqhdr.model.head import Prediction
from seqhdr.model.motion import DisFlow, FlowEstimator
from seqhdr.model.net import SeqNet
from seqhdr.model.predict import Memory, Predictor
from seqhdr.model.pyramid import COARSE_CELLS, scale_space, upsample
from seqhdr.train.config import SceneConfig
from seqhdr.train.degrade import DegradeConfig, DegradedClip
from seqhdr.train.layers import LayerConfig
from seqhdr.train.panorama import Panorama
from seqhdr.train.synthetic import SyntheticClip, make_clip

SKIES = ("slope", "radial")
#: Motion that the network may be given; ``single frame`` drops all memory, ``off`` only what needs motion.
FLOWS = ("single frame", "off", "exact", "dis", "zero", "smooth errors", "5 px off")
_CORRUPTIONS = ("response", "noise", "grain", "resolution", "dither", "jpeg", "h264", "flicker", "crush")


@dataclass(frozen=True)
class Frame:
    """One frame of a clip and what became of it, tensors (3, H, W) in codes and stops."""

    index: int
    encoding: str
    codes: Tensor
    value_lsb: Tensor
    gain_stops: Tensor
    offset_lsb: Tensor
    result_gain_stops: Tensor

    @property
    def pictures(self) -> dict[str, Tensor]:
        """Result, truth and identity in codes."""
        return {"result": self.codes + self.offset_lsb, "truth": self.value_lsb, "identity": self.codes}

    @property
    def errors(self) -> dict[str, Tensor]:
        """Result and identity, less the truth, in codes."""
        return {name: picture - self.value_lsb for name, picture in self.pictures.items() if name != "truth"}


def film(panorama: Panorama, encoding: str, size: tuple[int, int], frames: int, seed: int = 0) -> SyntheticClip:
    """A clip that was only rounded to 8 bits; in sRGB something in it clips."""
    degrade = DegradeConfig(
        encodings={encoding: 1.0},
        log_median_stops=(-4, -1),
        display_clipping_share=1.0,
        display_clipped=(0.01, 0.06),
        display_limit_stops=(-0.5, 0.5),
        **{f"{name}_share": 0.0 for name in _CORRUPTIONS},
    )
    scene = SceneConfig(degrade=degrade, layers=LayerConfig(share=0.3))
    return make_clip(panorama, scene, np.random.default_rng(seed), frames, size[1], size[0])


def paint_sky(kind: str, encoding: str, size: tuple[int, int], frames: int = 1, seed: int = 0) -> SyntheticClip:
    """A cloudless sky that moves by a 160th of the frame's width per frame; a larger size is the same picture, larger.

    Each channel rises by 8 to 50 codes over the frame's width: bands are 10 to 64 pixels wide at 512, 75 to 480 at
    3840.
    """
    width, height = size
    rng = np.random.default_rng((seed, SKIES.index(kind)))
    span = np.exp(rng.uniform(math.log(8), math.log(50), 3))
    start, angle, place = rng.uniform(60, 150, 3), rng.uniform(0.2, 1.3), rng.uniform(0.2, 0.8, 2)
    step_px = np.array((width / 160, width / 400))
    value = np.empty((frames, height, width, 3), np.float32)
    for frame in range(frames):
        x, y = (np.arange(n) + 0.5 - frame * step for n, step in zip((width, height), step_px, strict=True))
        u, v = x[None, :] / width, y[:, None] / width
        if kind == "slope":
            shape = np.cos(angle) * u + np.sin(angle) * v + 0.15 * np.sin(3 * u + 2 * v)
        else:
            shape = 1.2 * (1 - np.exp(-((u - place[0]) ** 2 + (v - 0.5 * place[1]) ** 2) / 0.4))
        value[frame] = start + span * shape[..., None]
    codes = np.rint(value).astype(np.uint8)
    flow = torch.zeros(frames, 2, height, width)
    flow[1:] -= torch.from_numpy(step_px).float().view(2, 1, 1)
    degraded = DegradedClip(codes, value, np.zeros_like(value), 0.5, 1.0)
    return SyntheticClip(encoding, degraded, flow, torch.zeros(frames, 1, height, width, dtype=torch.bool), {})


def choose_flow(kind: str, clip: SyntheticClip) -> FlowEstimator | None:
    """An estimator that answers with a kind of :data:`FLOWS` for the frames of this clip, one after the other."""
    if kind in ("off", "single frame"):
        return None
    if kind == "dis":
        return DisFlow()
    exact = clip.flow_px[1:]
    answers = exact
    if kind == "zero":
        answers = torch.zeros_like(exact)
    elif kind == "smooth errors":
        rng = np.random.default_rng(5)
        rough = torch.from_numpy(rng.normal(0, 4, (len(exact), 2, 4, 4)).astype(np.float32))
        answers = exact + F.interpolate(rough, size=exact.shape[-2:], mode="bicubic", align_corners=False)
    elif kind == "5 px off":
        answers = exact + torch.tensor((4.0, 3.0)).view(2, 1, 1)
    queue = iter(answers)
    return lambda current, previous: next(queue)[None]


def predict(net: SeqNet, clip: SyntheticClip, flow: str = "exact", tile: int | None = None) -> Iterator[Frame]:
    """The frames of a clip, converted."""
    predictor = Predictor(net, input_space=clip.encoding, flow=choose_flow(flow, clip), tile=tile)
    memory: Memory | None = None
    for index, codes in enumerate(clip.degraded.codes):
        prediction: Prediction
        prediction, memory = predictor.step(codes, None if flow == "single frame" else memory)
        arrays = (codes, clip.degraded.value_lsb[index], clip.degraded.gain_stops[index])
        planes = [torch.from_numpy(array.astype(np.float32)).permute(2, 0, 1) for array in arrays]
        yield Frame(index, clip.encoding, *planes, prediction.offset_lsb[0], prediction.gain_stops[0])


def blur_offsets(frame: Frame) -> dict[int, Tensor]:
    """Cells in pixels → what each of the network's coarse blurs, alone and pulled into the bins, adds to the codes."""
    height, width = frame.codes.shape[1:]
    pad = (0, -width % COARSE_CELLS[-1], 0, -height % COARSE_CELLS[-1])
    padded = F.pad(frame.codes[None], pad, mode="replicate")
    blurs = scale_space(padded, torch.full((1, 1, 1, 1), 0.5)).coarse
    enlarged = (upsample(image, cells)[0, :, :height, :width] for cells, image in zip(COARSE_CELLS, blurs, strict=True))
    return {cells: (blur - frame.codes).clamp(-0.5, 0.5) for cells, blur in zip(COARSE_CELLS, enlarged, strict=True)}
