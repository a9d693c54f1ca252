"""Training in phases: one run after another, each from the best weights of the one before."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from seqhdr.errors import InputError
from seqhdr.quality.perceptual import load_lpips
from seqhdr.train.config import TrainConfig
from seqhdr.train.config_file import build_config, read_yaml, set_keys
from seqhdr.train.folder import WEIGHTS, remove_run
from seqhdr.train.loop import TrainResult, train
from seqhdr.train.parallel import join_world
from seqhdr.train.step import computes_in_bfloat16

__all__ = ["read_runs", "train_runs"]


def read_runs(path: Path, assignments: Sequence[str] = ()) -> dict[str, TrainConfig]:
    """The runs a configuration file asks for: one, or those its key ``phases`` lists.

    Args:
        path: a YAML file; ``phases`` names files relative to it.
        assignments: ``section.key=value``, put on top of every run.

    Returns:
        Name → configuration, in order. The name of a single run is empty.

    Raises:
        InputError: a file cannot be read, or ``phases`` is no list of files with names of their own.
        UsageError: a key nobody knows, or a value of the wrong kind.
    """
    text = read_yaml(path)
    if "phases" not in text:
        return {"": build_config(TrainConfig, set_keys(text, assignments), str(path))}
    names = text["phases"]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names) or len(text) > 1:
        raise InputError(f"{path}: phases must list file names, and nothing may stand beside it")
    files = [path.parent / name for name in names]
    if len({file.stem for file in files}) < len(files):
        raise InputError(f"{path}: phases lists two files of one name, which would train into one folder: rename one")
    texts: list[dict[str, Any]] = [set_keys(read_yaml(file), assignments) for file in files]
    return {file.stem: build_config(TrainConfig, text, str(file)) for file, text in zip(files, texts, strict=True)}


def train_runs(
    runs: dict[str, TrainConfig],
    folder: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    on_run: Callable[[str, TrainConfig, Path], None] = lambda name, config, folder: None,
    on_row: Callable[[str, int, dict[str, float]], None] = lambda kind, step, numbers: None,
) -> list[TrainResult]:
    """Train the runs in order, each in a folder of its name; arguments and errors as for ``train``.

    With ``resume``, runs that are finished are passed over, and the one that was interrupted goes on. What a later run
    needs is looked for before the first one begins.

    Returns:
        One result per run that was begun; the last one is unfinished where time ran out.
    """
    results: list[TrainResult] = []
    # One world for all of them: processes that part and meet again between two runs can miss each other.
    with join_world(next(iter(runs.values())).train.device) as world:
        for backbone in {config.loss.lpips_backbone for config in runs.values() if config.loss.lpips > 0}:
            load_lpips(backbone)
        for config in runs.values():
            computes_in_bfloat16(config.train.precision, world.device)
        for name in runs if overwrite and world.first else ():
            remove_run(folder / name)
        for name, config in runs.items():
            if results:
                start = str(results[-1].folder / WEIGHTS)
                config = dataclasses.replace(config, train=dataclasses.replace(config.train, start=start))
            on_run(name, config, folder / name)
            options = {"resume": resume, "overwrite": overwrite}
            results.append(train(config, folder / name, **options, on_row=on_row, world=world))
            if not results[-1].finished:
                break
    return results
