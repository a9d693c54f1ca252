"""One process or many: what ``torchrun`` says of the others, and the few words the processes exchange."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist

from seqhdr.model.device import choose_device

__all__ = ["World", "any_of", "from_first", "join_world"]


@dataclass(frozen=True)
class World:
    """Who this process is.

    Attributes:
        rank: number of the process; process 0 writes and validates.
        size: how many there are.
        device: what this one computes on.
        parallel: whether gradients are exchanged; also true for a world of one that ``torchrun`` has started.
    """

    rank: int
    size: int
    device: torch.device
    parallel: bool = False

    @property
    def first(self) -> bool:
        """Whether this is process 0."""
        return self.rank == 0


@contextmanager
def join_world(device: str) -> Iterator[World]:
    """Join the processes ``torchrun`` has started, or be alone.

    Args:
        device: ``auto``, ``cpu``, ``cuda``; with several GPUs each process of a machine takes its own.

    Raises:
        UsageError: the device is not there.
    """
    if "RANK" not in os.environ:
        yield World(0, 1, choose_device(device))
        return
    chosen = choose_device(device)
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield World(dist.get_rank(), dist.get_world_size(), chosen, parallel=True)
        dist.barrier()  # nobody hangs up while another still talks
    finally:
        dist.destroy_process_group()


def any_of(world: World, flag: bool) -> bool:
    """Whether any process says yes; all processes must ask."""
    if world.size == 1:
        return flag
    votes = torch.tensor(float(flag), device=world.device)
    dist.all_reduce(votes, dist.ReduceOp.MAX)
    return bool(votes.item())


def from_first(world: World, number: float) -> float:
    """The number process 0 has; all processes must ask."""
    if world.size == 1:
        return number
    told = torch.tensor(number, dtype=torch.float64, device=world.device)
    dist.broadcast(told, 0)
    return float(told.item())
