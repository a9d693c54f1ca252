"""How far a chunk that starts in mid-shot differs from the whole shot, by the length of its preroll.

    python tools/preroll.py --model s

One rendered shot, sRGB, strict bins. The chunk is the last eight frames; the whole shot has sixteen more before
them. Two results cannot differ by more than a code, since both stay in the same bin.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from seqhdr.color.encodings import get_encoding
from seqhdr.model.cards import load_model
from seqhdr.model.heap import keep_heap_pages
from seqhdr.model.motion import DisFlow
from seqhdr.model.predict import Predictor
from seqhdr.train.camera import camera_path
from seqhdr.train.panorama import render
from seqhdr.train.procedural import procedural_panorama

HEIGHT, WIDTH, LEAD, CHUNK = 360, 640, 16, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="s")
    args = parser.parse_args()
    keep_heap_pages()
    frames = LEAD + CHUNK
    panorama = procedural_panorama(height=1024)
    path = camera_path(frames, yaw_deg=14, pitch_deg=-10, focal_px=550, pan_px=(3.3, -0.6), jitter_px=0.4)
    light = torch.from_numpy(np.stack([render(panorama, path, t, HEIGHT, WIDTH) for t in range(frames)]))
    shot = (get_encoding("srgb").encode(light) * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    net = load_model(args.model)

    def predict(start: int) -> list[torch.Tensor]:
        predictor = Predictor(net, flow=DisFlow())
        offsets = [prediction.offset_lsb for prediction in predictor.stream(shot[start:])]
        return offsets[-CHUNK:]

    whole = predict(0)
    table = Table(title="chunk against whole shot, in codes")
    for column in (
        "preroll",
        "mean, first frame",
        "99.9 %, first frame",
        "largest, first frame",
        "largest, all frames",
    ):
        table.add_column(column, justify="right")
    for preroll in (0, 1, 2, 4, 8, 12):
        chunk = predict(LEAD - preroll)
        first = (chunk[0] - whole[0]).abs()
        largest = max(float((a - b).abs().max()) for a, b in zip(chunk, whole, strict=True))
        row = (float(first.mean()), float(np.quantile(first.numpy(), 0.999)), float(first.max()), largest)
        table.add_row(str(preroll), *(f"{value:.4f}" for value in row))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
