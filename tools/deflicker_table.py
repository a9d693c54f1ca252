"""What each method of ``seqhdr deflicker`` leaves of flicker that was put into a shot, and what it does to a clean one.

    python tools/deflicker_table.py                                 # a painted panorama
    python tools/deflicker_table.py forest.exr --methods gain flow  # your own

Shots are filmed in panoramas by the camera that training uses, with things that move in front of it; motion is known.
Into each are put gains, drawn anew for every frame: 1, 3 and 10 % (standard deviation) of the whole picture, 3 % of
each channel (*colour*), and 3 % of a smooth field with 9 by 5 knots (*local*). A deflicker sees neither the motion
nor what was put in.

- **left**: mean absolute change of the gain that a place has, from frame to frame along the exact motion where nothing
  was hidden, as a share of what was put in. Identity is 100 %.
- **damage**: the rms gain, in stops, that a clean shot is given where nothing was hidden.
- **s/frame**: on small pictures, without reading and writing. That of identity is the time of measuring, which
  all methods share.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from seqhdr.classic.deflicker_prior import PriorLimits, fit_prior
from seqhdr.model.motion import warp
from seqhdr.pipeline.deflicker_methods import cell_light, filtered_gains, plan_stretch
from seqhdr.pipeline.deflicker_small import Follower, enlarge, small_picture
from seqhdr.quality.stops import stops
from seqhdr.train.camera import camera_path
from seqhdr.train.layers import LayerConfig, draw_layers
from seqhdr.train.panorama import Panorama
from seqhdr.train.scene import SceneClip, render_clip
from seqhdr.train.synthetic import open_panorama

MOVES = {
    "still": {},
    "pan by 3.3 px": {"pan_px": (3.3, -0.6)},
    "zoom and shake": {"zoom": 1.006, "jitter_px": 1.0, "seed": 3, "pan_px": (1.0, 0.0)},
}
FLICKERS = ("clean", "1 %", "3 %", "10 %", "colour", "local")
METHODS = ("gain", "flow", "prior")

Gains = NDArray[np.float32]


def film(panorama: Panorama, move: dict, size: tuple[int, int], frames: int) -> SceneClip:
    """A shot with things moving in it, its median near middle grey."""
    width, height = size
    path = camera_path(frames, yaw_deg=14, pitch_deg=-4, focal_px=0.86 * width, **move)
    layers = draw_layers(np.random.default_rng(5), LayerConfig(), frames, height, width, panorama.log2_median)
    clip = render_clip(panorama, path, layers, height, width)
    clip.rgb_lin[:] *= 0.22 / np.median(clip.rgb_lin[0])
    return clip


def flicker(kind: str, frames: int, size: tuple[int, int]) -> Gains:
    """(T, H, W, 3) gains in stops; the same seed for all, so that lines compare."""
    width, height = size
    rng = np.random.default_rng(1)
    if kind == "clean":
        factor = np.ones((frames, 1, 1, 3))
    elif kind == "colour":
        factor = 1 + 0.03 * rng.normal(size=(frames, 1, 1, 3))
    elif kind == "local":
        knots = torch.from_numpy(1 + 0.03 * rng.normal(size=(frames, 1, 5, 9)))
        field = F.interpolate(knots, (height, width), mode="bicubic", align_corners=True)
        factor = field.permute(0, 2, 3, 1).numpy().repeat(3, axis=-1)
    else:
        factor = (1 + float(kind.split()[0]) / 100 * rng.normal(size=(frames, 1, 1, 1)).clip(-3, 3)).repeat(3, axis=-1)
    return np.broadcast_to(np.log2(factor), (frames, height, width, 3)).astype(np.float32)


def change(gains: Gains, clip: SceneClip) -> float:
    """Mean absolute change of gains along the exact motion, in stops."""
    planes, flow_px = torch.from_numpy(gains).permute(0, 3, 1, 2), torch.from_numpy(clip.flow_px).permute(0, 3, 1, 2)
    carried, _ = warp(planes[:-1], flow_px[1:])
    return float((planes[1:] - carried).abs().mean(dim=1)[torch.from_numpy(clip.visible[1:])].mean())


def measure(clip: SceneClip, put_in: Gains, methods: tuple[str, ...], limits: PriorLimits) -> dict[str, dict]:
    """Method → what it leaves, in stops and as a share, its rms gain, seconds per frame, and a note."""
    height, width = clip.visible.shape[1:]
    begun = time.perf_counter()
    pictures = [
        small_picture(stops(torch.from_numpy(light * np.exp2(gain))).permute(2, 0, 1).contiguous())
        for light, gain in zip(clip.rgb_lin, put_in, strict=True)
    ]
    follower = Follower()
    maps = [found for found in map(follower.measure, pictures) if found is not None]
    measured = time.perf_counter() - begun
    plan = plan_stretch(maps)
    planned = time.perf_counter() - begun - measured
    was = change(put_in, clip)
    nothing = {"left": 1.0, "damage_stops": None} if was > 0 else {"left": None, "damage_stops": 0.0}
    rows: dict[str, dict] = {"identity": {"left_stops": was, "seconds": measured / len(pictures)} | nothing}
    for method in methods:
        begun, note = time.perf_counter(), ""
        if method == "flow":
            gains = list(filtered_gains(maps, plan, pictures))
        elif method == "prior":
            fit = fit_prior(maps, plan, [cell_light(picture) for picture in pictures], limits)
            gains, note = list(plan.gain_stops + fit.gain_stops), f"{fit.steps} steps, {fit.memory_bytes >> 20} MiB"
        else:
            gains = list(plan.gain_stops)
        seconds = (time.perf_counter() - begun + planned) / len(pictures)
        large = np.stack([enlarge(gain, height, width) for gain in gains])
        left = change(put_in + large, clip)
        # A clean shot has nothing that a share could be of, and in any other a gain is no damage.
        damage = None if was > 0 else float(np.sqrt(np.square(large[1:][clip.visible[1:]]).mean()))
        share = left / was if was > 0 else None
        rows[method] = {"left_stops": left, "left": share, "damage_stops": damage, "seconds": seconds, "note": note}
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("panoramas", nargs="*", default=["procedural:1"])
    parser.add_argument("--size", default="512x288")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--moves", nargs="+", choices=list(MOVES), default=list(MOVES))
    parser.add_argument("--flickers", nargs="+", choices=FLICKERS, default=list(FLICKERS))
    parser.add_argument("--prior-seconds", type=float, default=PriorLimits().seconds)
    parser.add_argument("--json", type=Path, help="write the numbers there too")
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    limits = PriorLimits(seconds=args.prior_seconds)
    table = Table(title=f"{args.size}, {args.frames} frames")
    for name in ("shot", "put in", "method", "change, stops", "left", "damage, stops", "s/frame", "fit"):
        table.add_column(name, justify="left" if name in ("shot", "put in", "method", "fit") else "right")
    numbers = []
    for name in args.panoramas:
        panorama = open_panorama(name, 1024)
        for move in args.moves:
            clip = film(panorama, MOVES[move], (width, height), args.frames)
            for kind in args.flickers:
                put_in = flicker(kind, args.frames, (width, height))
                for method, row in measure(clip, put_in, tuple(args.methods), limits).items():
                    left = "-" if row["left"] is None else f"{100 * row['left']:.1f} %"
                    damage = "-" if row["damage_stops"] is None else f"{row['damage_stops']:.5f}"
                    shown = (f"{Path(name).stem}, {move}", kind, method, f"{row['left_stops']:.5f}", left, damage)
                    table.add_row(*shown, f"{row['seconds']:.3f}", row.get("note", ""))
                    numbers.append({"panorama": Path(name).stem, "move": move, "put_in": kind, "method": method} | row)
                if args.json:
                    args.json.write_text(json.dumps(numbers, indent=1) + "\n")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
