"""The training loop: clips in, weights out, resumable at any step."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import ReduceLROnPlateau

from seqhdr.errors import OutputExistsError, UsageError
from seqhdr.model.cards import load_model, read_card, save_model
from seqhdr.model.heap import keep_heap_pages
from seqhdr.model.net import SeqNet
from seqhdr.quality.perceptual import load_lpips
from seqhdr.train.batch import ClipBatch
from seqhdr.train.board import Board
from seqhdr.train.checkpoint import Progress, load_checkpoint, save_checkpoint
from seqhdr.train.config import TrainConfig
from seqhdr.train.dataset import ClipBatches, stream_batches, validation_batches
from seqhdr.train.folder import CHECKPOINT, WEIGHTS, remove_run
from seqhdr.train.gains import learn_gains
from seqhdr.train.material import Material, load_material
from seqhdr.train.pairs import make_folder
from seqhdr.train.parallel import World, any_of, from_first, join_world
from seqhdr.train.step import add_means, computes_in_bfloat16, learning_rate, train_step
from seqhdr.train.validate import validate

__all__ = ["TrainResult", "train"]

OnRow = Callable[[str, int, dict[str, float]], None]


@dataclass(frozen=True)
class TrainResult:
    """How a run ended: its folder, the steps done over all sittings, the lowest validation loss.

    ``finished`` is false where time ran out; such a run can be resumed.
    """

    folder: Path
    step: int
    best: float | None
    finished: bool


def train(
    config: TrainConfig,
    folder: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    on_row: OnRow = lambda kind, step, numbers: None,
    world: World | None = None,
) -> TrainResult:
    """Train until the epochs are over, validation stalls for good, or time is up.

    Ctrl-C and SIGTERM let the step end, write a checkpoint, and raise KeyboardInterrupt; a second one does not wait.
    Under ``torchrun`` every process calls this; the first one writes.

    Args:
        config: everything that decides the result.
        folder: for checkpoint, weights and log; it is created.
        resume: go on from the checkpoint in the folder; without one, begin. Learning rate, weight decay and schedule
            are those of ``config``; where what validation measures has changed, its record begins anew.
        overwrite: begin anew; what the folder holds of an earlier run is removed.
        on_row: told of the rows of the log.
        world: the processes to train with, where the caller has joined them; None joins what ``torchrun`` has started.

    Raises:
        OutputExistsError: the folder holds a run, and it is to be neither resumed nor overwritten.
        UsageError: a setting this machine cannot serve, or the loss is no longer finite.
        WeightsError: the checkpoint is damaged or of another network.
    """
    keep_heap_pages()
    loop = config.train
    with ExitStack() as stack:
        world = world or stack.enter_context(join_world(loop.device))
        stopped = stack.enter_context(_signals())
        run = _Run(config, folder, world, on_row)
        run.begin(resume=resume, overwrite=overwrite)
        interrupted = False
        if not run.progress.finished:
            group = loop.accumulate * world.size
            batches = ClipBatches(run.material.training, config.data, loop.seed, group)
            numbers = range(run.progress.step * group + world.rank, run.total_steps * group, world.size)
            stream = stream_batches(batches, numbers, config.data, pin=world.device.type == "cuda")
            while not run.progress.finished:
                run.step(stream)
                if run.progress.step % loop.log_every == 0:
                    run.log()
                if run.progress.step % loop.steps_per_epoch == 0:
                    run.end_epoch()
                # Asked of all processes, so that all of them leave the loop in the same step.
                interrupted = any_of(world, bool(stopped))
                if interrupted or any_of(world, run.out_of_time):
                    run.keep()
                    break
                run.keep_now_and_then()
        run.close()
        if interrupted:
            raise KeyboardInterrupt
        return TrainResult(folder, run.progress.step, run.progress.best, run.progress.finished)


class _Run:
    """A run in progress: the network, its running mean, the optimizer, and the clock."""

    material: Material

    def __init__(self, config: TrainConfig, folder: Path, world: World, on_row: OnRow) -> None:
        loop = config.train
        self.config, self.folder, self.world, self.on_row = config, folder, world, on_row
        self.progress = Progress()
        self.total_steps = loop.epochs * loop.steps_per_epoch
        torch.manual_seed(loop.seed)
        self.net = _build(config).to(world.device).to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.net).eval().requires_grad_(False)
        if loop.learn == "gains":
            learn_gains(self.net)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=loop.lr, weight_decay=loop.weight_decay)
        self.plateau = ReduceLROnPlateau(self.optimizer, factor=loop.plateau_factor, patience=loop.plateau_patience)
        self.wrapped: nn.Module = self.net
        self.perceptual: nn.Module | None = None
        self.board: Board | None = None
        self.checks: list[ClipBatch] = []

    def begin(self, *, resume: bool, overwrite: bool) -> None:
        """Open checkpoint, data and log."""
        loop, checkpoint = self.config.train, self.folder / CHECKPOINT
        if checkpoint.exists() and not (resume or overwrite):
            raise OutputExistsError(
                f"{self.folder}: holds a run already: --resume it, --overwrite it, or choose another -o"
            )
        if overwrite and self.world.first:
            remove_run(self.folder)
        if resume and checkpoint.exists():
            self._go_on(checkpoint)
        if self.progress.step != from_first(self.world, self.progress.step):
            raise UsageError(
                f"{self.folder}: the processes see different checkpoints there: give an -o that all machines share"
            )
        if not self.progress.finished:
            self.material = load_material(self.config.data, self.config.scene)
            if self.config.loss.lpips > 0:
                self.perceptual = load_lpips(self.config.loss.lpips_backbone).to(self.world.device)
            if self.world.first:
                make_folder(self.folder)
                self.checks = validation_batches(self.material, self.config.data)
                self.board = Board(self.folder, tensorboard=loop.tensorboard, step=self.progress.step)
        if loop.compile != "off":
            self.net.compile_unet(loop.compile)
        if self.world.parallel:
            self.wrapped = DistributedDataParallel(self.net)
        computes_in_bfloat16(loop.precision, self.world.device)  # refuse now what the first step would refuse
        self.started = self.begun = self.logged = self.saved = time.monotonic()
        self.waited, self.steps, self.sums = 0.0, 0, dict[str, Tensor]()

    def _go_on(self, checkpoint: Path) -> None:
        """Take up a run, with the learning rate, weight decay and schedule of this configuration."""
        loop = self.config.train
        progress, before = load_checkpoint(checkpoint, self.net, self.average, self.optimizer)
        if progress.plateau:
            self.plateau.load_state_dict(progress.plateau)
        self.plateau.factor, self.plateau.patience = loop.plateau_factor, loop.plateau_patience
        for group in self.optimizer.param_groups:
            group["weight_decay"] = loop.weight_decay
            if before["train"]["lr"] != loop.lr:
                group["lr"] = loop.lr
        # As JSON, which is how the old one comes back.
        now = json.loads(json.dumps(dataclasses.asdict(self.config)))
        if any(now[part] != before[part] for part in ("loss", "data", "scene")):
            self.plateau._reset()
            progress = dataclasses.replace(progress, best=None, stale=0)
        # A run that had come to its end goes on where it was given more epochs since.
        finished = progress.step >= self.total_steps or 0 < loop.stop_patience <= progress.stale
        self.progress = dataclasses.replace(progress, finished=finished)

    def step(self, stream: Iterator[ClipBatch]) -> None:
        """Take the next batches and learn from them."""
        loop, step, device = self.config.train, self.progress.step, self.world.device
        before = time.monotonic()
        parts = [next(stream).to(device) for _ in range(loop.accumulate)]
        self.waited += time.monotonic() - before
        rate = learning_rate(loop, step, self.total_steps)
        for group in self.optimizer.param_groups if rate is not None else ():
            group["lr"] = rate
        means = train_step(self.wrapped, self.optimizer, parts, self.config, step, device, self.perceptual)
        add_means(self.sums, means, 1.0)
        # Early on the weights move too fast for a long memory.
        decay = min(loop.ema, (step + 1) / (step + 21))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.net.parameters()), 1 - decay)
        self.steps += 1
        self.progress = dataclasses.replace(self.progress, step=step + 1, finished=step + 1 == self.total_steps)

    def log(self) -> None:
        """Write a row of means since the last one."""
        now = time.monotonic()
        row = {name: float(value) / self.steps for name, value in self.sums.items()}
        row |= {"lr": self.optimizer.param_groups[0]["lr"]}
        row |= {"steps_per_s": self.steps / (now - self.logged), "data_wait": self.waited / (now - self.logged)}
        self._check(row["loss"])
        self._write("train", row)
        self.waited, self.steps, self.sums, self.logged = 0.0, 0, {}, now

    def end_epoch(self) -> None:
        """Validate, keep the best weights, lower the learning rate or end the run where nothing improves."""
        loop, loss = self.config.train, 0.0
        if self.board is not None:
            found = validate(self.average, self.checks, self.config.loss, self.world.device, self.perceptual)
            loss = found.loss
            self._check(loss)
            self._write("validation", {"loss": loss})
            self.board.strata(self.progress.step, found.tables)
            self.board.picture("before, after, truth", self.progress.step, found.picture)
        loss = from_first(self.world, loss)
        better = self.progress.best is None or loss < self.progress.best
        stale = 0 if better else self.progress.stale + 1
        best = loss if better else self.progress.best
        ended = self.progress.finished or 0 < loop.stop_patience <= stale
        self.progress = dataclasses.replace(self.progress, best=best, stale=stale, finished=ended)
        if better and self.world.first:
            self._save_weights()
        if loop.schedule == "plateau":
            self.plateau.step(loss)
        self.logged = time.monotonic()
        self.keep()

    def _check(self, loss: float) -> None:
        if math.isfinite(loss):
            return
        kept = (self.folder / CHECKPOINT).exists()
        way = "go on from the last checkpoint with --resume and" if kept else "begin again with"
        raise UsageError(f"{self.folder}: the loss is {loss} at step {self.progress.step}: {way} a lower train.lr")

    @property
    def out_of_time(self) -> bool:
        """Whether this sitting has lasted as long as it may."""
        minutes = self.config.train.minutes
        return bool(0 < 60 * minutes <= time.monotonic() - self.started)

    def keep(self) -> None:
        """Write the checkpoint."""
        now = time.monotonic()
        progress = dataclasses.replace(
            self.progress, seconds=self.progress.seconds + now - self.begun, plateau=self.plateau.state_dict()
        )
        if self.world.first:
            path, config = self.folder / CHECKPOINT, dataclasses.asdict(self.config)
            save_checkpoint(path, self.net, self.average, self.optimizer, progress, config)
        self.progress, self.begun, self.saved = progress, now, now

    def keep_now_and_then(self) -> None:
        """Write the checkpoint if the last one is too old."""
        # Only the first process writes, so that no clock of another has to agree.
        if time.monotonic() - self.saved > 60 * self.config.train.checkpoint_minutes:
            self.keep()

    def close(self) -> None:
        """Finish the log."""
        if self.board is not None:
            self.board.close()

    def _save_weights(self) -> None:
        progress, start = self.progress, self.config.train.start
        training = {
            "data": list(self.material.names),
            "steps": progress.step,
            "minutes": round((progress.seconds + time.monotonic() - self.begun) / 60, 1),
            "processes": self.world.size,
            "config": _without_paths(dataclasses.asdict(self.config)),
        }
        if start is not None:
            training["after"] = read_card(start).training
        measured = {"validation_loss": progress.best}
        save_model(self.folder / WEIGHTS, self.config.model, self.average.state_dict(), training, measured)

    def _write(self, kind: str, numbers: dict[str, float]) -> None:
        if self.board is not None:
            self.board.row(kind, self.progress.step, numbers)
            self.on_row(kind, self.progress.step, numbers)


def _without_paths(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration for a card that travels: of files and folders only their names."""
    data, train, loss = config["data"], config["train"], config["loss"]
    for section, key in ((data, "raft_weights"), (loss, "lpips_backbone"), (train, "start")):
        section[key] = None if section[key] is None else Path(section[key]).name
    for key in ("panoramas", "clips"):
        data[key] = [Path(place).name for place in data[key]]
    return config


def _build(config: TrainConfig) -> SeqNet:
    net = SeqNet(config.model)
    if config.train.start is not None:
        begun = load_model(config.train.start)
        if begun.config.channels != config.model.channels or begun.config.blocks != config.model.blocks:
            raise UsageError(
                f"train.start {config.train.start}: its network is {begun.config}, the configuration's {config.model}: "
                "give both the same sizes"
            )
        net.load_state_dict(begun.state_dict())
    return net


@contextmanager
def _signals() -> Iterator[list[int]]:
    """A list that fills with the signals that asked for an end, so that the step can be ended first."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if len(received) > 1:  # somebody who cannot wait for the step
            raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # Python hears signals in its main thread only; elsewhere nothing can be noted.
    noting = threading.current_thread() is threading.main_thread()
    for number in before if noting else ():
        signal.signal(number, note)
    try:
        yield received
    finally:
        for number, handler in before.items() if noting else ():
            signal.signal(number, handler)
