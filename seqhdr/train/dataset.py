"""Batches by number: the same number is the same batch, on any machine and after any interruption."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from seqhdr.model.motion import FlowEstimator, make_flow
from seqhdr.train.batch import ClipBatch, stack_clips
from seqhdr.train.config import DataConfig
from seqhdr.train.material import Material
from seqhdr.train.sources import ClipSource

__all__ = ["ClipBatches", "stream_batches", "validation_batches"]

# What random numbers are for: they must differ between training and validation although the seeds may not.
_SIZES, _CLIPS, _CHECKS = 1, 2, 4
# A flow that points outside of every frame: the network then has no warped memory.
_NOWHERE_PX = 1e6
# How much a worker steps back. A convolution waits for its slowest thread, so a worker on the same core as one of them
# costs more than the time it takes.
_YIELDING = 15


class ClipBatches(Dataset[ClipBatch]):
    """Batch number n, made when asked for.

    Args:
        sources: with the share of the clips each gives.
        data: sizes and flows.
        seed: with it and the number, a batch is determined.
        group: batches that make one optimizer step, over all processes; they have one size of crop.
        validation: other clips than training draws with the same seed.
    """

    def __init__(
        self,
        sources: Sequence[tuple[ClipSource, float]],
        data: DataConfig,
        seed: int,
        group: int = 1,
        *,
        validation: bool = False,
    ) -> None:
        self._sources = [source for source, _ in sources]
        self._shares = _normalised([share for _, share in sources])
        self._data = data
        self._seed = seed
        self._group = group
        self._clips_for = _CHECKS if validation else _CLIPS
        self._raft: FlowEstimator | None = None

    def __getitem__(self, number: int) -> ClipBatch:
        """The batch, on the CPU."""
        sizes = list(self._data.crops)
        shares = _normalised([self._data.crop_shares[size] for size in sizes])
        size = int(np.random.default_rng((self._seed, _SIZES, number // self._group)).choice(sizes, p=shares))
        rng = np.random.default_rng((self._seed, self._clips_for, number))
        return stack_clips([self._clip(rng, size) for _ in range(self._data.crops[size])])

    def _clip(self, rng: np.random.Generator, size: int) -> ClipBatch:
        source = self._sources[int(rng.choice(len(self._sources), p=self._shares))]
        clip = source.clip(rng, self._data.frames, size)
        kinds = list(self._data.flow)
        kind = str(rng.choice(kinds, p=_normalised([self._data.flow[k] for k in kinds])))
        return dataclasses.replace(clip, flow_px=self._flow(kind, clip, rng))

    def _flow(self, kind: str, clip: ClipBatch, rng: np.random.Generator) -> Tensor:
        exact, later = clip.exact_flow_px, clip.exact_flow_px[0, 1:]
        if kind == "exact" or len(later) == 0:
            return exact
        if kind == "none":
            return _after_first(torch.full_like(later, _NOWHERE_PX))
        if kind == "broken":
            return _after_first(_break_flow(later, rng))
        if kind == "raft" and self._raft is None:
            self._raft = make_flow("raft", self._data.raft_weights, "cpu")
        # A small picture changes OpenCV's DIS for good, so every clip gets its own; that takes no longer.
        estimator = self._raft if kind == "raft" else make_flow("dis")
        assert estimator is not None, kind
        picture = clip.codes[0] / 255
        return _after_first(estimator(picture[1:], picture[:-1]))


def _break_flow(flow_px: Tensor, rng: np.random.Generator) -> Tensor:
    """Motion (T, 2, H, W) made wrong: by a smooth field of an eighth to eight pixels, by one shift, or altogether."""
    size_px, kind = 2 ** rng.uniform(-3, 3), rng.choice(3, p=(0.6, 0.25, 0.15))
    if kind == 0:
        rough = rng.normal(0, size_px, (len(flow_px), 2, 4, 4)).astype(np.float32)
        field = torch.from_numpy(rough)
        return flow_px + F.interpolate(field, size=flow_px.shape[-2:], mode="bicubic", align_corners=False)
    if kind == 1:
        return flow_px + torch.from_numpy(rng.normal(0, size_px, (1, 2, 1, 1)).astype(np.float32))
    return torch.zeros_like(flow_px)


def stream_batches(batches: ClipBatches, numbers: Sequence[int], data: DataConfig, *, pin: bool) -> Iterator[ClipBatch]:
    """Batches in order, made ahead by worker processes.

    Args:
        batches: what to take them from.
        numbers: which, in this order.
        data: says how many workers, and how far ahead.
        pin: in page-locked memory, for a GPU.
    """
    loader: DataLoader[ClipBatch] = DataLoader(
        batches,
        batch_size=None,
        sampler=numbers,
        num_workers=data.workers,
        prefetch_factor=data.prefetch if data.workers else None,
        pin_memory=pin,
        worker_init_fn=_be_quiet,
    )
    # A forked worker inherits OpenCV's pool of threads without the threads, and would wait for them forever. This ends
    # the pool here, where its threads can still be joined, until the workers are there.
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        return iter(loader)
    finally:
        cv2.setNumThreads(threads)


def validation_batches(material: Material, data: DataConfig) -> list[ClipBatch]:
    """The same clips every time, one per batch, with DIS flow as a user would have it."""
    size = data.validation_size
    alone = dataclasses.replace(data, crops={size: 1}, crop_shares={size: 1.0}, flow={"dis": 1.0})
    batches = ClipBatches(material.validation, alone, data.validation_seed, validation=True)
    return [batches[number] for number in range(data.validation_clips)]


def _after_first(flow_px: Tensor) -> Tensor:
    """(T - 1, 2, H, W) → (1, T, 2, H, W): the first frame has none before it."""
    return torch.cat((torch.zeros_like(flow_px[:1]), flow_px))[None]


def _be_quiet(worker: int) -> None:
    """Ctrl-C is the training process's business, and so are the cores: clips are made in the time it leaves."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(_YIELDING)


def _normalised(shares: Sequence[float]) -> list[float]:
    total = sum(shares)
    return [share / total for share in shares]
