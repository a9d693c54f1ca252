"""The pipelines around training, for the command line and for Python: clips, training, measuring."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from seqhdr.errors import UsageError
from seqhdr.media.atomic import whole_file
from seqhdr.model.cards import load_model, read_card, save_model
from seqhdr.model.heap import keep_heap_pages
from seqhdr.pipeline.decoders import CLASSIC, LUMINANCE
from seqhdr.pipeline.evaluate import EvalReport
from seqhdr.pipeline.evaluate import evaluate as evaluate_models
from seqhdr.pipeline.evaluate_tables import show, to_dict, to_markdown
from seqhdr.pipeline.prepare import PrepareOptions, PrepareReport
from seqhdr.pipeline.prepare import prepare as prepare_pairs
from seqhdr.pipeline.synth import SynthOptions
from seqhdr.pipeline.synth import synth as synth_clips
from seqhdr.train.config import SceneConfig, TrainConfig
from seqhdr.train.config_file import build_config, read_yaml, set_keys
from seqhdr.train.loop import TrainResult
from seqhdr.train.pairs import ClipInfo
from seqhdr.train.phases import read_runs, train_runs

__all__ = ["evaluate", "prepare", "show_evaluation", "synth", "train_model"]


def synth(
    panoramas: str | Path | Sequence[str | Path],
    *,
    output: str | Path,
    config: Path | None = None,
    sets: Sequence[str] = (),
    on_clip: Callable[[ClipInfo, int], None] = lambda info, done: None,
    **options: Any,
) -> tuple[ClipInfo, ...]:
    """Render synthetic shots with input, truth, exact flow and a JSON each.

    Args:
        panoramas: folders, files, or ``procedural:SEED``.
        output: folder for the clips.
        config: YAML with the keys of :class:`seqhdr.train.config.SceneConfig`, or with a section ``scene`` of them.
        sets: ``section.key=value`` on top.
        on_clip: told of each finished clip and how many there are by then.
        options: fields of :class:`seqhdr.pipeline.synth.SynthOptions` by name.

    Errors as :func:`seqhdr.pipeline.synth.synth`, and of the configuration UsageError and InputError.
    """
    text = read_yaml(config) if config else {}
    text = set_keys(text.get("scene", text), sets)
    scene = build_config(SceneConfig, text, str(config or "--set"))
    places = [panoramas] if isinstance(panoramas, (str, Path)) else panoramas
    return synth_clips(tuple(map(str, places)), SynthOptions(output=Path(output), **options), scene, on_clip)


def prepare(
    folder: str | Path,
    *,
    output: str | Path,
    on_clip: Callable[[ClipInfo, str], None] = lambda info, split: None,
    on_failure: Callable[[str, str], None] = lambda clip, reason: None,
    **options: Any,
) -> PrepareReport:
    """Turn linear EXR into training pairs; options are fields of :class:`seqhdr.pipeline.prepare.PrepareOptions`.

    Errors as :func:`seqhdr.pipeline.prepare.prepare`.
    """
    return prepare_pairs(Path(folder), PrepareOptions(output=Path(output), **options), on_clip, on_failure)


def train_model(
    config: str | Path,
    *,
    output: str | Path,
    resume: bool = False,
    sets: Sequence[str] = (),
    overwrite: bool = False,
    on_run: Callable[[str, TrainConfig, Path], None] = lambda name, config, folder: None,
    on_row: Callable[[str, int, dict[str, float]], None] = lambda kind, step, numbers: None,
) -> list[TrainResult]:
    """Train what a configuration file asks for, one run or phases.

    Args:
        config: YAML, see ``configs/train``.
        output: folder of the run, or of the phases' folders.
        resume: go on from the last checkpoint.
        sets: ``section.key=value`` on top of the file.
        overwrite: begin anew although there is a run.
        on_run: told of each run that begins: its name, configuration and folder.
        on_row: told of the rows of the log.

    Errors as :func:`seqhdr.train.loop.train`, and of the configuration UsageError and InputError.
    """
    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other: choose one")
    runs = read_runs(Path(config), sets)
    return train_runs(runs, Path(output), resume=resume, overwrite=overwrite, on_run=on_run, on_row=on_row)


def evaluate(
    data: str | Path | Sequence[str | Path],
    models: Sequence[str | Path] = ("s",),
    *,
    json_file: Path | None = None,
    markdown: Path | None = None,
    card: Path | None = None,
    **options: Any,
) -> EvalReport:
    """Measure models on clips with a truth.

    Args:
        data: folders of clips.
        models: shipped names or files.
        json_file, markdown: write the numbers here.
        card: write a copy of the model here, with the numbers in its card; only with a single model.
        options: arguments of :func:`seqhdr.pipeline.evaluate.evaluate` by name.

    Errors as there, and UsageError, before anything is measured, for a card of several models, one that would replace
    its model, and a file in a folder that does not exist.
    """
    if card is not None and len(models) != 1:
        raise UsageError(f"--card takes the numbers of one model, and {len(models)} are given: give one --model")
    if card is not None and str(models[0]) in (CLASSIC, LUMINANCE):
        raise UsageError(f"--card {card}: {models[0]} has no weights to copy: leave it out, or give another --model")
    for option, path in (("--json", json_file), ("--markdown", markdown), ("--card", card)):
        if path is not None and not path.parent.is_dir():
            raise UsageError(f"{option} {path}: the folder {path.parent} is not there: create it or give another path")
    if card is not None and card.exists() and Path(models[0]).exists() and card.samefile(models[0]):
        raise UsageError(f"--card {card}: is the model that is measured: give another path for the copy")
    keep_heap_pages()
    folders = [data] if isinstance(data, (str, Path)) else data
    report = evaluate_models([Path(folder) for folder in folders], models, **options)
    numbers = to_dict(report)
    for path, text in ((json_file, json.dumps(numbers, indent=1) + "\n"), (markdown, to_markdown(report))):
        if path is not None:
            with whole_file(path) as hidden:
                hidden.write_text(text)
    if card is not None:
        net = load_model(models[0])
        parts = {
            f"{'compressed ' if part['compressed'] else ''}{part['encoding']}": part
            for part in numbers["models"][0]["inputs"]
        }
        measured = {kind: part["total"] for kind, part in parts.items()}
        flicker = {kind: part["flicker"]["total"] for kind, part in parts.items() if part["flicker"]}
        if flicker:
            measured["flicker"] = flicker
        measured["how"] = {key: numbers[key] for key in ("data", "clips", "frames", "flow")}
        save_model(card, net.config, net.state_dict(), read_card(models[0]).training, measured)
    return report


def show_evaluation(report: EvalReport) -> None:
    """Print the tables on standard output."""
    show(report)
