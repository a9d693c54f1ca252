"""What a report reads on shots that are perfect, and on the same with every second frame 1 % brighter.

    python tools/flicker_floor.py                        # a painted panorama
    python tools/flicker_floor.py forest.exr --yaw 30    # your own

Shots are filmed with the camera that training uses and written to disk: 8-bit sRGB as source, linear EXR as result.
log2(1.01) is 0.01435 stop.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from seqhdr import api_report
from seqhdr.color.encodings import get_encoding
from seqhdr.media.exr import write_exr
from seqhdr.train.camera import camera_path
from seqhdr.train.panorama import Panorama, render
from seqhdr.train.synthetic import open_panorama

MOVES = {
    "still": {},
    "pan by 3.3 px": {"pan_px": (3.3, -0.6)},
    "pan by 12.3 px": {"pan_px": (12.3, -2.2)},
    "zoom and shake": {"zoom": 1.01, "jitter_px": 1.0, "seed": 3, "pan_px": (1.0, 0.0)},
}


def film(panorama: Panorama, move: dict, size: tuple[int, int], frames: int, yaw_deg: float) -> NDArray[np.float32]:
    """(T, H, W, 3) light, its median near middle grey."""
    width, height = size
    path = camera_path(frames, yaw_deg=yaw_deg, pitch_deg=-10, focal_px=0.86 * width, **move)
    light = np.stack([render(panorama, path, index, height, width) for index in range(frames)])
    return (light * (0.22 / np.median(light))).astype(np.float32)


def write(folder: Path, light: NDArray[np.float32], gain: float) -> tuple[str, str]:
    """Result and source as files; every second frame of the result is brighter by the factor."""
    for index, frame in enumerate(light):
        write_exr(folder / f"result.{index + 1:04d}.exr", {"RGB": frame * np.float32(gain if index % 2 else 1)})
        codes = (get_encoding("srgb").encode(torch.from_numpy(frame)) * 255).round().clamp(0, 255)
        cv2.imwrite(str(folder / f"source.{index + 1:04d}.png"), codes.to(torch.uint8).numpy()[..., ::-1])
    return str(folder / "result.%04d.exr"), str(folder / "source.%04d.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("panoramas", nargs="*", default=["procedural:1"])
    parser.add_argument("--size", default="512x288")
    parser.add_argument("--frames", type=int, default=9)
    parser.add_argument("--yaw", type=float, default=14.0, help="where the camera looks, in degrees")
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    table = Table(title=f"stops, {args.size}, {args.frames} frames")
    for column in ("shot", "result", "beside", "flicker", "source's", "jitter", "worst jitter"):
        table.add_column(column, justify="left" if column in ("shot", "result", "beside") else "right")
    for name in args.panoramas:
        panorama = open_panorama(name, 1024)
        for label, move in MOVES.items():
            light = film(panorama, move, (width, height), args.frames, args.yaw)
            for kind, gain in (("perfect", 1.0), ("1 % alternating", 1.01)):
                with tempfile.TemporaryDirectory() as temporary:
                    result, source = write(Path(temporary), light, gain)
                    for beside in (source, None):
                        (report,) = api_report.report(result, source=beside, output_space="lin_rec709").reports
                        flicker = report["flicker"]
                        worst = max(row["jitter_stops"] or 0.0 for row in report["frames"])
                        own = "-" if beside is None else f"{flicker['source_flicker_stops']:.4f}"
                        numbers = [f"{flicker['flicker_stops']:.4f}", own]
                        numbers += [f"{flicker['exposure_jitter_stops']:.4f}", f"{worst:.4f}"]
                        shown = f"{Path(name).stem}, {label}"
                        table.add_row(shown, kind, "8-bit source" if beside else "nothing", *numbers)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
