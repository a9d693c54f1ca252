"""Measure a model on shots rendered from panoramas, identity beside it.

    python tools/evaluate.py PANORAMAS --model s --clips 2 --frames 16

Each clip: a virtual camera pans inside a panorama, 512x288, exposed and rounded to 8 bits in ACEScct or sRGB. Flow is
DIS, as in ``seqhdr run``. Unclipped channels are scored in dB of the ACEScct encoding (PSNR, peak 1), clipped ones
by the root mean square of log2 ratios, in stops. *flat* are pixels whose 7x7 codes differ by one at most.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor

from seqhdr.color.encodings import ColorEncoding, get_encoding
from seqhdr.model.cards import load_model, read_card, save_model
from seqhdr.model.heap import keep_heap_pages
from seqhdr.model.motion import DisFlow
from seqhdr.model.predict import Predictor
from seqhdr.train.panorama import Panorama, camera_path, load_panorama, render

HEIGHT, WIDTH = 288, 512
LATE = 3  # frames from this index on count as "late": the memory is warm


def clip_of(panorama: Panorama, log: bool, frames: int, rng: np.random.Generator) -> Tensor:
    """A clip of scene-linear frames (T, 3, H, W), exposed for its encoding."""
    speed, heading = rng.uniform(1, 6), rng.uniform(0, 2 * np.pi)
    path = camera_path(
        frames,
        yaw_deg=rng.uniform(-180, 180),
        pitch_deg=rng.uniform(-35, 35),
        focal_px=panorama.pixels_per_radian * np.exp(rng.uniform(np.log(2), np.log(6))),
        pan_px=(speed * np.cos(heading), speed * np.sin(heading)),
        jitter_px=0.3,
        seed=int(rng.integers(2**31)),
    )
    light = np.stack([render(panorama, path, t, HEIGHT, WIDTH) for t in range(frames)])
    peak = light[0].max(axis=-1)
    # Log: the median a stop or two below middle grey. sRGB: 1 to 6 % of the pixels clip, unless that would
    # burn the whole picture.
    gain = 2 ** rng.uniform(-4, -1) / np.median(peak)
    if not log:
        gain = min(1 / np.quantile(peak, 1 - rng.uniform(0.01, 0.06)), 1.0 / np.median(peak))
    return torch.from_numpy(light * np.float32(gain)).permute(0, 3, 1, 2).contiguous()


def flat_mask(codes: Tensor) -> Tensor:
    """True where no channel's codes differ by more than one within 7x7 pixels; (1, 3, H, W) → (1, 1, H, W)."""
    high = F.max_pool2d(codes, 7, 1, 3)
    low = -F.max_pool2d(-codes, 7, 1, 3)
    return (high - low <= 1).all(dim=1, keepdim=True)


class Score:
    """Sums of squares by stratum, for the model and for identity."""

    def __init__(self) -> None:
        self.sums: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(4))

    def add(self, stratum: str, ours: Tensor, identity: Tensor, mask: Tensor) -> None:
        mask = mask.expand_as(ours)
        self.sums[stratum] += (
            float(ours[mask].double().square().sum()),
            float(identity[mask].double().square().sum()),
            float(mask.sum()),
            float(ours[mask].double().sum()),
        )

    def merge(self, other: Score) -> None:
        for key, value in other.sums.items():
            self.sums[key] += value

    def table(self) -> dict[str, dict[str, float]]:
        out = {}
        for key, (ours, identity, count, bias) in self.sums.items():
            if count == 0:
                continue
            if key == "clipped":
                out[key] = {
                    "rmse_stops": (ours / count) ** 0.5,
                    "identity_rmse_stops": (identity / count) ** 0.5,
                    "bias_stops": bias / count,
                }
            else:
                decibel = [-10 * np.log10(x / count) for x in (ours, identity)]
                out[key] = {"psnr_db": decibel[0], "identity_psnr_db": decibel[1], "gain_db": decibel[0] - decibel[1]}
        return {k: {n: round(float(x), 3) for n, x in v.items()} for k, v in out.items()}


def score_clip(predictor: Predictor, light: Tensor, source: ColorEncoding, log_space: ColorEncoding) -> Score:
    truth = source.encode(light) * 255
    codes = truth.round().clamp(0, 255)
    target = log_space.encode(light)
    score = Score()
    frames = (frame.permute(1, 2, 0).to(torch.uint8).numpy() for frame in codes)
    for index, prediction in enumerate(predictor.stream(frames)):
        here = codes[index : index + 1]
        clipped = here >= 254.5
        known = ~clipped
        if source.name == log_space.name:  # the codes are the log encoding itself
            error = (here + prediction.offset_lsb - truth[index : index + 1]) / 255
            identity = (here - truth[index : index + 1]) / 255
        else:
            error = log_space.encode(source.decode((here + prediction.offset_lsb) / 255)) - target[index : index + 1]
            identity = log_space.encode(source.decode(here / 255)) - target[index : index + 1]
        flat = flat_mask(here)
        score.add("whole", error, identity, known)
        score.add("flat", error, identity, known & flat)
        score.add("texture", error, identity, known & ~flat)
        score.add(
            "first frame" if index == 0 else "late frames" if index >= LATE else "frames 2-3", error, identity, known
        )
        top = source.decode(torch.tensor(254.5 / 255))
        stops = torch.log2(light[index : index + 1].clamp_min(1e-6) / top).clamp(0, 12)
        score.add("clipped", prediction.gain_stops - stops, stops, clipped)
    return score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("panoramas", type=Path, help="folder of .exr or .hdr panoramas nobody trained on")
    parser.add_argument("--model", default="s", help="shipped name or path of weights")
    parser.add_argument("--clips", type=int, default=2, help="clips per panorama and encoding")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--flow", choices=("dis", "off"), default="dis")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    parser.add_argument("--card", type=Path, help="write a copy of the weights here, with the numbers in their card")
    args = parser.parse_args()
    keep_heap_pages()
    net = load_model(args.model)
    log_space = get_encoding("acescct")
    files = sorted(p for p in args.panoramas.iterdir() if p.suffix in (".exr", ".hdr"))
    result: dict[str, dict[str, object]] = {}
    for name in ("acescct", "srgb"):
        source = get_encoding(name)
        predictor = Predictor(net, input_space=source, flow=DisFlow() if args.flow == "dis" else None)
        total, scenes = Score(), {}
        for file in files:
            panorama, scene = load_panorama(file), Score()
            rng = np.random.default_rng((args.seed, *file.stem.encode()))
            for _ in range(args.clips):
                light = clip_of(panorama, name == "acescct", args.frames, rng)
                scene.merge(score_clip(predictor, light, source, log_space))
            total.merge(scene)
            scenes[file.stem] = scene.table()
        result[name] = {"total": total.table(), "scenes": scenes}
        show(name, total.table(), scenes)
    if args.card:
        measured = {name: part["total"] for name, part in result.items()}
        command = f"tools/evaluate.py PANORAMAS --clips {args.clips} --frames {args.frames} --seed {args.seed}"
        measured["how"] = {"command": command, "panoramas": [file.stem for file in files], "flow": args.flow}
        save_model(args.card, net.config, net.state_dict(), read_card(args.model).training, measured)
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


def show(name: str, total: dict[str, dict[str, float]], scenes: dict[str, dict[str, dict[str, float]]]) -> None:
    console = Console(width=110)
    table = Table(title=f"8-bit {name}")
    for column in ("stratum", "model", "identity", "gain", "worst scene"):
        table.add_column(column, justify="left" if column in ("stratum", "worst scene") else "right")
    for key, row in total.items():
        if key == "clipped":
            ratio = {s: t[key]["rmse_stops"] / t[key]["identity_rmse_stops"] for s, t in scenes.items() if key in t}
            worst = max(ratio, key=lambda s: ratio[s])
            cells = (f"{row['rmse_stops']:.3f} stops", f"{row['identity_rmse_stops']:.3f}")
            last = f"x {row['rmse_stops'] / row['identity_rmse_stops']:.3f}"
            table.add_row(f"clipped (bias {row['bias_stops']:+.2f})", *cells, last, f"x {ratio[worst]:.3f} {worst}")
        else:
            gains = {s: t[key]["gain_db"] for s, t in scenes.items() if key in t}
            worst = min(gains, key=lambda s: gains[s])
            cells = (f"{row['psnr_db']:.2f} dB", f"{row['identity_psnr_db']:.2f}", f"{row['gain_db']:+.2f}")
            table.add_row(key, *cells, f"{gains[worst]:+.2f} {worst}")
    console.print(table)


if __name__ == "__main__":
    main()
