"""How fast training is, and how fast it could be: steps, convolutions, waiting for data, memory.

    python tools/benchmark_training.py --model s --steps 40
    python tools/benchmark_training.py --model s --memory-only

Clips come from painted panoramas, with the settings of configs/train. *Convolutions* are the network's own layers,
forward and backward at their sizes, alone: the time a step would take if there were nothing else. Compare numbers of
one run only: machines differ, and so do their neighbours.
"""

from __future__ import annotations

import os

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the command line does, before torch is there

import argparse
import dataclasses
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from seqhdr.color.bins import bin_width_stops
from seqhdr.color.encodings import get_encoding
from seqhdr.model.device import choose_device
from seqhdr.model.heap import keep_heap_pages
from seqhdr.model.net import SeqNet
from seqhdr.model.source import describe_source, log_width_table
from seqhdr.train.batch import ClipBatch
from seqhdr.train.config import TrainConfig
from seqhdr.train.dataset import ClipBatches, stream_batches
from seqhdr.train.material import Material, load_material
from seqhdr.train.phases import read_runs
from seqhdr.train.step import train_step

CONFIGS = Path(__file__).parents[1] / "configs" / "train"
SETS = ("data.panoramas=['procedural:1', 'procedural:2', 'procedural:3', 'procedural:4']",)


def layers(net: SeqNet, side: int) -> Counter[tuple[int, int, int, int]]:
    """(channels in, channels out, kernel, side) of every convolution of a square frame, smaller frames too, counted."""
    found: Counter[tuple[int, int, int, int]] = Counter()
    hooks = []

    def note(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        found[module.in_channels, module.out_channels, module.kernel_size[0], output.shape[-1]] += 1

    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(note))
    source = describe_source(get_encoding("srgb"), 0.5, 255, device=net.device)
    with torch.no_grad():
        net.step(torch.zeros(1, 3, side, side, device=net.device), None, source, None)
    for hook in hooks:
        hook.remove()
    return found


def convolutions(net: SeqNet, clips: int, frames: int, side: int, low: bool) -> tuple[float, float, float]:
    """Seconds of all convolutions of a step, their multiply-adds, and the best layer's multiply-adds per second."""
    device = next(net.parameters()).device
    seconds = operations = best = 0.0
    for (enter, leave, kernel, size), count in layers(net, side).items():
        layer = nn.Conv2d(enter, leave, kernel, padding=kernel // 2).to(device).to(memory_format=torch.channels_last)
        x = torch.randn(clips, enter, size, size, device=device).contiguous(memory_format=torch.channels_last)
        x.requires_grad_(True)
        ticks = []
        for _ in range(9):
            start = clock(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=low):
                y = layer(x)
            y.backward(torch.ones_like(y))
            ticks.append(clock(device) - start)
        median = statistics.median(ticks[2:])
        work = 3.0 * enter * leave * kernel**2 * size**2 * clips  # forward, gradient of the input, of the weights
        seconds += median * count * frames
        operations += work * count * frames
        best = max(best, work / median)
    return seconds, operations, best


def clock(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def steps_alone(net: SeqNet, batch: ClipBatch, config: TrainConfig, steps: int) -> float:
    """Median seconds of a step on one batch that is there already."""
    device = next(net.parameters()).device
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-6)
    ticks = []
    for step in range(steps):
        start = clock(device)
        train_step(net, optimizer, [batch], config, step, device)
        ticks.append(clock(device) - start)
    return statistics.median(ticks[2:])


def steps_with_data(net: SeqNet, material: Material, config: TrainConfig, steps: int) -> tuple[float, float]:
    """Seconds of a step and the share of it spent waiting, clips made by workers at the same time."""
    device = next(net.parameters()).device
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-6)
    batches = ClipBatches(material.training, config.data, seed=1)
    stream = stream_batches(batches, range(steps + 5), config.data, pin=device.type == "cuda")
    waited = 0.0
    for step in range(steps + 5):
        if step == 5:
            begun, waited = clock(device), 0.0
        start = clock(device)
        batch = next(stream).to(device)
        waited += clock(device) - start
        train_step(net, optimizer, [batch], config, step, device)
    total = clock(device) - begun
    return total / steps, waited / total


def peak_memory(model: str, side: int, *, recompute: bool, device: str) -> tuple[float, str]:
    """MiB that one step adds at its peak, in a process of its own, and a digest of its gradients."""
    words = [sys.executable, __file__, "--model", model, "--side", str(side), "--one-step", "--device", device]
    words += ["--recompute"] if recompute else []
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    mebibytes, digest = done.stdout.split()
    return float(mebibytes), digest


def noise(clips: int, frames: int, side: int) -> ClipBatch:
    """Clips that take no memory to make, so that all that is added is the step's."""
    srgb = get_encoding("srgb")
    codes = torch.randint(0, 250, (clips, frames, 3, side, side), generator=torch.Generator().manual_seed(1)).float()
    flow = torch.zeros(clips, frames, 2, side, side)
    return ClipBatch(
        codes=codes,
        value_lsb=codes + 0.25,
        gain_stops=torch.zeros_like(codes),
        flow_px=flow,
        exact_flow_px=flow,
        visible=torch.ones(clips, frames, 1, side, side, dtype=torch.bool),
        half_width_lsb=torch.full((clips,), 0.5),
        log_width=log_width_table(srgb, 255).expand(clips, -1).contiguous(),
        width_stops=bin_width_stops(srgb, 255).expand(clips, -1).contiguous(),
        encodings=("srgb",) * clips,
    )


def peak_resident() -> float:
    """MiB this process held at most, by Linux; ``ru_maxrss`` would count the parent's too."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**10


def one_step(net: SeqNet, batch: ClipBatch, config: TrainConfig, recompute: bool) -> None:
    """Print the memory one step adds at its peak, and a digest of the gradients."""
    import hashlib

    device = next(net.parameters()).device
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, recompute=recompute, clip_norm=0.0))
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    before = {name: value.detach().clone() for name, value in net.named_parameters()}
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        start = torch.cuda.memory_allocated()
        train_step(net, optimizer, [batch], config, 0, device)
        added = (torch.cuda.max_memory_allocated() - start) / 2**20
    else:
        start = peak_resident()
        train_step(net, optimizer, [batch], config, 0, device)
        added = peak_resident() - start
    digest = hashlib.sha256()
    for name, value in net.named_parameters():
        digest.update((before[name] - value).detach().cpu().numpy().tobytes())
    print(added, digest.hexdigest()[:12])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="s", choices=("s", "l"))
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", type=int, default=128, help="of the crops")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--compile", default="off")
    parser.add_argument("--memory-only", action="store_true")
    parser.add_argument("--one-step", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--recompute", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    keep_heap_pages()
    device = choose_device(args.device)
    clips = {"s": 4, "l": 2}[args.model] if args.side <= 128 else 1
    sets = (*SETS, f"data.crops={{{args.side}: {clips}}}", f"data.crop_shares={{{args.side}: 1}}")
    sets += (f"data.workers={args.workers}", f"train.precision={args.precision}", "train.recompute=false")
    (config,) = read_runs(CONFIGS / f"{args.model}.yaml", sets).values()
    torch.manual_seed(1)
    net = SeqNet(config.model).to(device).to(memory_format=torch.channels_last)
    if args.one_step:
        one_step(net, noise(clips, config.data.frames, args.side).to(device), config, args.recompute)
        return
    title = f"model {args.model}, {clips} clips of {config.data.frames} frames {args.side}x{args.side}"
    table = Table(title=f"{title}, {device}, {torch.get_num_threads()} threads")
    table.add_column("what")
    table.add_column("value", justify="right")
    if not args.memory_only:
        low = args.precision != "float32" and device.type == "cuda"
        if args.compile != "off":
            net.compile_unet(args.compile)
        material = load_material(config.data, config.scene)
        alone = ClipBatches(material.training, config.data, seed=2)[0].to(device)
        rounds = []
        # In turns, because a neighbour's load comes and goes: each round's ratios belong together.
        for _ in range(args.rounds):
            seconds, operations, best = convolutions(net, clips, config.data.frames, args.side, low)
            step = steps_alone(net, alone, config, args.steps)
            whole, waiting = steps_with_data(net, material, config, args.steps)
            rounds.append((seconds, step, whole, waiting, seconds / step, seconds / whole, operations, best))
        seconds, step, whole, waiting, of_step, of_whole, operations, best = map(
            statistics.median, zip(*rounds, strict=True)
        )
        rows = {
            "step alone": f"{step:.3f} s",
            "step with data made beside it": f"{whole:.3f} s, {1 / whole:.2f} steps/s",
            "waiting for data": f"{waiting:.1%} of the step",
            "convolutions alone": f"{seconds:.3f} s, {2 * operations / seconds / 1e9:.0f} GFLOP/s, "
            f"best layer {2 * best / 1e9:.0f}",
            "convolutions, share of the step alone": f"{of_step:.0%}",
            "convolutions, share of the step with data": f"{of_whole:.0%}",
            "the same by round": ", ".join(f"{r[5]:.0%}" for r in rounds),
        }
        for name, value in rows.items():
            table.add_row(name, value)
    plain, digest = peak_memory(args.model, args.side, recompute=False, device=args.device)
    saved, same = peak_memory(args.model, args.side, recompute=True, device=args.device)
    table.add_row("memory a step adds", f"{plain:.0f} MiB")
    table.add_row("the same with train.recompute", f"{saved:.0f} MiB, {1 - saved / plain:.0%} less")
    table.add_row("gradients of both", "equal bit for bit" if digest == same else "differ")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
