"""Train RAFT's architecture from nothing on synthetic shots, whose flow is known exactly, and compare it with DIS.

    python tools/train_raft.py PANORAMAS -o raft_small.safetensors --steps 20000 --device cuda

Clips are rendered as for training the model: camera moves, layers in front, degradations. Panoramas are split by
scene; the table is of scenes the network has not seen. *Zero* is the flow of somebody who thinks nothing moves.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from flow import DisFlow, FlowEstimator, RaftFlow, raft_net, save_raft, sequence_loss
from seqhdr.model.device import choose_device
from seqhdr.model.heap import keep_heap_pages
from seqhdr.train.batch import ClipBatch
from seqhdr.train.config import DataConfig, SceneConfig
from seqhdr.train.dataset import ClipBatches, stream_batches
from seqhdr.train.material import load_material
from seqhdr.train.parallel import World

# What is faster than this is not learnt from (Teed and Deng 2020 leave out the same).
FASTEST_PX = 400.0
SPEEDS = ((0, 2), (2, 8), (8, 32), (32, 400))


def pairs(batch: ClipBatch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Frames, the frames before, exact flow, and where it is known; each frame of a clip after the first is one."""
    now, before = batch.codes[:, 1:].flatten(0, 1) / 255, batch.codes[:, :-1].flatten(0, 1) / 255
    exact = batch.exact_flow_px[:, 1:].flatten(0, 1)
    return now, before, exact, exact.norm(dim=1, keepdim=True) < FASTEST_PX


def train(net: nn.Module, batches: ClipBatches, data: DataConfig, world: World, steps: int, lr: float) -> None:
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, steps + 1, pct_start=0.05, anneal_strategy="linear")
    begun, total = time.monotonic(), 0.0
    for step, batch in enumerate(stream_batches(batches, range(steps), data, pin=world.device.type == "cuda"), 1):
        now, before, exact, known = pairs(batch.to(world.device))
        net.train()
        flows = net(now * 2 - 1, before * 2 - 1, num_flow_updates=8)
        loss = sequence_loss(flows, exact, known)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        total += float(loss.detach())
        if step % 50 == 0:
            print(f"step {step}, loss {total / 50:.3f} px, {step / (time.monotonic() - begun):.2f} steps/s", flush=True)
            total = 0.0


def measure(estimators: dict[str, FlowEstimator], batches: ClipBatches, clips: int) -> dict[str, dict[str, float]]:
    """End-point errors in pixels by speed, on what is visible and on what was hidden, and seconds per frame."""
    sums: dict[str, dict[str, list[float]]] = {name: {} for name in (*estimators, "zero")}
    seconds = dict.fromkeys(sums, 0.0)
    frames = 0
    for number in range(clips):
        batch = batches[number]
        now, before, exact, known = pairs(batch)
        visible = batch.visible[:, 1:].flatten(0, 1)[:, 0]
        frames += len(now)
        speed = exact.norm(dim=1)
        masks = {f"{low}-{high} px": visible & (speed >= low) & (speed < high) for low, high in SPEEDS}
        masks |= {"visible": visible & known[:, 0], "hidden": ~visible & known[:, 0]}
        for name in sums:
            start = time.perf_counter()
            flow = estimators[name](now, before) if name in estimators else torch.zeros_like(exact)
            seconds[name] += time.perf_counter() - start
            error = (flow - exact).norm(dim=1)
            for label, mask in masks.items():
                entry = sums[name].setdefault(label, [0.0, 0.0])
                entry[0] += float(error[mask].double().sum())
                entry[1] += float(mask.sum())
    table = {name: {label: s / max(n, 1) for label, (s, n) in rows.items()} for name, rows in sums.items()}
    return {name: {**rows, "seconds": seconds[name] / frames} for name, rows in table.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("panoramas", nargs="+", help="folders of .exr or .hdr panoramas, or procedural:SEED")
    parser.add_argument("-o", "--output", type=Path, required=True, help="weights to write, .safetensors")
    parser.add_argument("--arch", choices=("small", "large"), default="small")
    parser.add_argument("--steps", type=int, default=20000)
    parser.add_argument("--lr", type=float, default=4e-4)
    parser.add_argument("--clips", type=int, default=4, help="clips of a batch, of three frames")
    parser.add_argument("--side", type=int, default=192, help="of the crops in pixels, a multiple of 8 from 128 on")
    parser.add_argument("--check-clips", type=int, default=12)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    keep_heap_pages()
    world = World(0, 1, choose_device(args.device))
    data = DataConfig(
        panoramas=tuple(args.panoramas),
        frames=3,
        crops={args.side: args.clips},
        crop_shares={args.side: 1.0},
        flow={"exact": 1.0},
        workers=args.workers,
    )
    material = load_material(data, SceneConfig())
    net = raft_net(args.arch).to(world.device)
    train(net, ClipBatches(material.training, data, seed=1), data, world, args.steps, args.lr)
    alone = dataclasses.replace(data, crops={args.side: 1})
    estimators: dict[str, FlowEstimator] = {"raft": RaftFlow.from_net(net), "dis": DisFlow()}
    found = measure(estimators, ClipBatches(material.validation, alone, seed=2), args.check_clips)
    card = {"steps": args.steps, "panoramas": list(material.names), "end_point_error_px": found}
    save_raft(args.output, net, args.arch, card)
    table = Table(title=f"end-point error in pixels, {args.check_clips} clips of unseen scenes, {args.side} px")
    for column in ("flow", *next(iter(found.values()))):
        table.add_column(column, justify="right")
    for name, row in found.items():
        table.add_row(name, *(f"{value:.3f}" for value in row.values()))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
