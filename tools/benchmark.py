"""Seconds per frame by stage, the machine's convolution rate, and peak memory.

    python tools/benchmark.py --model s --size 1536x864 --frames 12

Everything is measured in one process on one rendered shot; compare numbers of one run only, the ratios last.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from seqhdr import api
from seqhdr.color.bins import encode_into_bins
from seqhdr.color.encodings import get_encoding
from seqhdr.media.exr import write_exr
from seqhdr.media.frames import read_frame
from seqhdr.model.cards import load_model
from seqhdr.model.heap import keep_heap_pages
from seqhdr.model.motion import DisFlow
from seqhdr.model.net import SeqNet
from seqhdr.model.source import describe_source
from seqhdr.train.camera import camera_path
from seqhdr.train.panorama import render
from seqhdr.train.procedural import procedural_panorama


def render_shot(folder: Path, frames: int, width: int, height: int) -> str:
    panorama = procedural_panorama(height=1024)
    path = camera_path(frames, yaw_deg=14, pitch_deg=-10, focal_px=width * 0.86, pan_px=(3.3, -0.6))
    encode = get_encoding("srgb").encode
    for index in range(frames):
        codes = (encode(torch.from_numpy(render(panorama, path, index, height, width))) * 255).round().clamp(0, 255)
        cv2.imwrite(str(folder / f"shot_{1001 + index}.png"), codes.to(torch.uint8).numpy()[..., ::-1])
    return str(folder / "shot_%04d.png")


def timed(job: Callable[[], object]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def convolution_rate() -> float:
    """Multiply-adds per second of 3x3 convolutions as the network has them, channels-last, best of several."""
    best = 0.0
    for channels, height, width in ((32, 432, 768), (48, 216, 384), (64, 108, 192)):
        layer = torch.nn.Conv2d(channels, channels, 3, padding=1).to(memory_format=torch.channels_last)
        x = torch.randn(1, channels, height, width).to(memory_format=torch.channels_last)
        with torch.inference_mode():
            seconds = min(timed(lambda layer=layer, x=x: layer(x)) for _ in range(10))
        best = max(best, 9 * channels**2 * height * width / seconds)
    return best


def stages(net: SeqNet, folder: Path, frames: int) -> dict[str, float]:
    """Median seconds of each stage, run one after the other."""
    rows: dict[str, list[float]] = {name: [] for name in ("read", "flow", "network", "colour and bins", "write")}
    srgb, acescct = get_encoding("srgb"), get_encoding("acescct")
    source, flow = describe_source(srgb, 0.5, 255), DisFlow()
    before, state = None, None
    for index in range(frames):
        start = time.perf_counter()
        frame = read_frame(folder / f"shot_{1001 + index}.png")
        rows["read"].append(time.perf_counter() - start)
        start = time.perf_counter()
        codes = torch.from_numpy(frame.codes.astype(np.float32)).permute(2, 0, 1)[None]
        flow_px = None if before is None else flow(codes / 255, before / 255)
        rows["flow"].append(time.perf_counter() - start)
        before = codes
        start = time.perf_counter()
        with torch.inference_mode():
            prediction, state = net.step(codes, state, source, flow_px)
        rows["network"].append(time.perf_counter() - start)
        start = time.perf_counter()
        planes = (codes[0].contiguous(), prediction.offset_lsb[0].contiguous(), prediction.gain_stops[0].contiguous())
        pixels, _ = encode_into_bins(*planes, 0.5, 255, srgb, acescct, torch.float16)
        rows["colour and bins"].append(time.perf_counter() - start)
        rgb = np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())
        rows["write"].append(timed(lambda rgb=rgb: write_exr(folder / "stage.exr", {"RGB": rgb}, overwrite=True)))
    return {name: statistics.median(seconds[2:]) for name, seconds in rows.items()}


def end_to_end(pattern: str, folder: Path, model: str, frames: int) -> tuple[float, float, float]:
    """Seconds per frame of a whole run and of its report, and the report's seconds once per shot.

    Without the first two frames of each, which load libraries and warm caches.
    """
    ticks: dict[str, list[float]] = {"frame": [], "measured": []}
    api.run(
        pattern,
        output=folder / "out",
        model=model,
        bins="strict",
        frames=f"1001-{1000 + frames}",
        overwrite=True,
        on_event=lambda event: ticks.get(event.kind, []).append(time.perf_counter()),
    )
    end = time.perf_counter()
    per_frame, measuring = ((times[-1] - times[1]) / (len(times) - 2) for times in ticks.values())
    return per_frame, measuring, end - ticks["measured"][-1]


def peak_memory(pattern: str, folder: Path, model: str, frames: int, *, report: bool = False) -> float:
    """Peak resident GiB of a fresh process that runs so many frames."""
    code = (
        "import resource, sys; from seqhdr import run; "
        f"run({pattern!r}, output={str(folder / 'memory')!r}, model={model!r}, bins='strict', "
        f"frames='1001-{1000 + frames}', overwrite=True, report={report}); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return int(done.stdout.split()[-1]) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="s")
    parser.add_argument("--size", default="1536x864")
    parser.add_argument("--frames", type=int, default=12)
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    keep_heap_pages()
    net = load_model(args.model)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        pattern = render_shot(folder, args.frames, width, height)
        rate = convolution_rate()
        seconds = stages(net, folder, args.frames)
        whole, measuring, page = end_to_end(pattern, folder, args.model, args.frames)
        few, many = (peak_memory(pattern, folder, args.model, n) for n in (4, args.frames))
        reported = peak_memory(pattern, folder, args.model, args.frames, report=True)
    floor = net.macs_per_pixel() * width * height / rate
    table = Table(title=f"model {args.model}, {width}x{height}, {torch.get_num_threads()} threads")
    table.add_column("stage")
    table.add_column("seconds per frame", justify="right")
    for name, value in seconds.items():
        table.add_row(name, f"{value:.3f}")
    table.add_row("sum, one after the other", f"{sum(seconds.values()):.3f}")
    table.add_row("seqhdr run, end to end", f"{whole:.3f}")
    table.add_row("its report", f"{measuring:.3f}")
    console = Console(width=100)
    console.print(table)
    print(f"convolutions   {2 * rate / 1e9:.0f} GFLOP/s measured on this machine")
    print(
        f"network        {net.macs_per_pixel() / 1e3:.1f} kMAC per pixel: {floor:.3f} s at that rate, "
        f"{floor / seconds['network']:.0%} of the network's time"
    )
    print(f"report         {measuring / whole:.0%} of the run's time per frame, and {page:.1f} s once per shot")
    print(
        f"peak memory    {few:.2f} GiB with 4 frames, {many:.2f} GiB with {args.frames}, "
        f"{reported:.2f} GiB with {args.frames} and their report"
    )


if __name__ == "__main__":
    main()
