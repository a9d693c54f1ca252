"""Training runs of a few milliseconds a step, and what they leave behind."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file

from seqhdr.train.checkpoint import peek_progress
from seqhdr.train.config import TrainConfig
from seqhdr.train.config_file import build_config, read_yaml, set_keys
from seqhdr.train.folder import CHECKPOINT
from seqhdr.train.validate import Validation

SMOKE = Path(__file__).parents[2] / "configs" / "train" / "smoke.yaml"
# Ten steps of a few milliseconds.
SMALL = (
    "data.panoramas=['procedural:1']",
    "data.frames=2",
    "data.crops={32: 1}",
    "data.crop_shares={32: 1}",
    "data.flow={exact: 1}",
    "data.validation_clips=1",
    "data.validation_size=32",
    "train.schedule=plateau",
    "train.epochs=2",
    "train.steps_per_epoch=5",
    "train.log_every=1",
    "train.tensorboard=false",
    "train.warmup_steps=3",
)


def settings(*more: str) -> TrainConfig:
    """The smoke run in small, with more keys set."""
    return build_config(TrainConfig, set_keys(read_yaml(SMOKE), (*SMALL, *more)), "smoke.yaml")


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    """What a checkpoint holds."""
    loaded: dict[str, torch.Tensor] = load_file(folder / CHECKPOINT)
    return loaded


def assert_same_run(a: Path, b: Path) -> None:
    """Weights, optimiser and progress are equal but for the time they took."""
    one, other = tensors(a), tensors(b)
    assert one.keys() == other.keys()
    assert any(key.startswith("optimizer.") for key in one)
    for key, value in one.items():
        assert torch.equal(value, other[key]), key
    first, second = peek_progress(a / CHECKPOINT), peek_progress(b / CHECKPOINT)
    assert dataclasses.replace(first, seconds=0.0) == dataclasses.replace(second, seconds=0.0)


def rows(folder: Path) -> list[dict[str, float]]:
    """What the log says but for how fast it was."""
    timing = ("steps_per_s", "data_wait")
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in timing} for line in lines]


def scripted(losses: list[float]) -> Callable[..., Validation]:
    """A validation that finds these losses one after the other."""
    left = iter(losses)
    return lambda *args: Validation(next(left), {}, torch.zeros(3, 2, 6))
