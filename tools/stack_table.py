"""Real exposures merged by each method: how much nearer to the light than the one exposure that a run would be given.

    python tools/stack_table.py                                  # painted panoramas
    python tools/stack_table.py PANORAMA ... --ev -2 0 2

Frames are filmed in panoramas and exposed at every EV: rounded to 8-bit sRGB, without and with a camera's noise. The
reference is that nearest to EV 0. Without noise the result is held in its bins, as `seqhdr stack` does by default; with
noise the bins are lifted (`--bins off`), because a bin keeps the noise of the reference.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from seqhdr.classic.exposures import merge_onto_reference
from seqhdr.classic.merge import MERGE_WEIGHTS, NoiseModel
from seqhdr.color.bins import clip_mask, decode_offset
from seqhdr.color.encodings import get_encoding
from seqhdr.train.camera import CameraConfig, draw_path
from seqhdr.train.degrade import Degradation, exposure_stack
from seqhdr.train.scene import render_clip
from seqhdr.train.synthetic import find_panoramas, open_panorama

SIZE = (512, 288)
SRGB, LOG = get_encoding("srgb"), get_encoding("acescct")
#: 5000 electrons at the clip, 5 of read noise.
NOISE = NoiseModel(shot=2e-4, read=1e-3)
# What a picture's median is exposed to, so that a part of it clips at EV 0.
_MEDIAN_STOPS = -2.0


def film(panorama: str, seed: int) -> np.ndarray:
    """(1, H, W, 3) scene-linear light: one frame of a camera in the panorama."""
    world = open_panorama(panorama)
    path = draw_path(np.random.default_rng(seed), CameraConfig(), 1, world.pixels_per_radian, SIZE[1], SIZE[0])
    return render_clip(world, path, [], SIZE[1], SIZE[0]).rgb_lin


def expose(
    light: np.ndarray, stops: Sequence[float], noise: NoiseModel | None, seed: int
) -> tuple[list[Tensor], Tensor]:
    """Codes of every exposure, (3, H, W) each, and the light as the reference is exposed to it, (3, H, W)."""
    shot, read = (noise.shot, noise.read) if noise else (0.0, 0.0)
    degradation = Degradation("srgb", _MEDIAN_STOPS, noise_shot=shot, noise_read=read, seed=seed)
    shown = exposure_stack(light, degradation, stops)
    codes = [torch.from_numpy(clip.codes[0].astype(np.float32)).permute(2, 0, 1).contiguous() for clip in shown]
    reference = shown[reference_of(stops)]
    truth = torch.from_numpy(light[0] * np.float32(reference.exposure)).permute(2, 0, 1)
    return codes, truth.double()


def reference_of(stops: Sequence[float]) -> int:
    return min(range(len(stops)), key=lambda index: (abs(stops[index]), stops[index]))


class Sums:
    """Squares of errors below the clip in log, and above it in stops, of a method and of the reference as it is."""

    def __init__(self) -> None:
        self.below, self.above = [0.0, 0.0], [0.0, 0.0]

    def add(self, light: Tensor, identity: Tensor, truth: Tensor, clipped: Tensor) -> None:
        for index, said in enumerate((light, identity)):
            log = (LOG.encode(said) - LOG.encode(truth))[~clipped]
            stops = (said / truth).clamp(min=2.0**-20).log2()[clipped]
            self.below[index] += float(log.square().sum())
            self.above[index] += float(stops.square().sum())

    @property
    def gain_db(self) -> float:
        return 10 * math.log10(self.below[1] / self.below[0])

    @property
    def clipped_ratio(self) -> float:
        return math.sqrt(self.above[0] / self.above[1]) if self.above[1] else math.nan


def measure(lights: Sequence[np.ndarray], stops: Sequence[float], noise: NoiseModel | None) -> dict[str, Sums]:
    """Method → its errors over all frames."""
    half_width = 0.5 if noise is None else math.inf
    found = {method: Sums() for method in sorted(MERGE_WEIGHTS)}
    for seed, light in enumerate(lights):
        codes, truth = expose(light, stops, noise, seed)
        own = codes[reference_of(stops)]
        nothing = torch.zeros_like(own)
        identity = decode_offset(own, nothing, nothing, half_width, 255, SRGB).double()
        for method, sums in found.items():
            said = merge_onto_reference(codes, stops, reference_of(stops), SRGB, 255, half_width, method, noise)
            merged = decode_offset(own, said.offset_lsb[0], said.gain_stops[0], half_width, 255, SRGB).double()
            sums.add(merged, identity, truth, clip_mask(own, half_width, 255))
    return found


def _cells(sums: Sums) -> tuple[str, str]:
    return f"{sums.gain_db:+.2f}", f"x {sums.clipped_ratio:.3f}"


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("panoramas", nargs="*", default=["procedural:1", "procedural:2"])
    parser.add_argument("--ev", nargs="+", type=float, default=[-4.0, -2.0, 0.0, 2.0, 4.0])
    parser.add_argument("--frames", type=int, default=3, help="of each panorama")
    args = parser.parse_args()
    worlds = find_panoramas(tuple(args.panoramas))
    lights = [film(world, seed) for world in worlds for seed in range(args.frames)]
    table = Table(title=f"EV {', '.join(f'{ev:+g}' for ev in args.ev)}; {len(lights)} frames", title_justify="left")
    for column in ("weights", "no noise, in bins", "clipped", "noise, bins off", "clipped"):
        table.add_column(column, justify="right" if table.columns else "left")
    clean, noisy = (measure(lights, args.ev, noise) for noise in (None, NOISE))
    for method in clean:
        cells = [text for sums in (clean[method], noisy[method]) for text in _cells(sums)]
        table.add_row(method, *cells)
    console = Console()
    console.print(table)
    console.print("gain over the reference alone in dB of PSNR in log; clipped: RMSE in stops over the reference's")


if __name__ == "__main__":
    main()
