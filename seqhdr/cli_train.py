"""The verbs around training: synth, prepare, train, eval. Each is one call of the API."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from seqhdr.errors import UsageError

__all__ = ["evaluate", "prepare", "synth", "train"]

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what exists.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only errors.")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", help="section.key=value, over the file; repeatable.", show_default="none")
]


def synth(
    panoramas: Annotated[
        list[str], typer.Argument(help="Folders of .exr/.hdr panoramas, files, or procedural:SEED for a painted one.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the clips.")],
    clips: Annotated[int, typer.Option(help="How many, spread evenly over the panoramas.")] = 20,
    frames: Annotated[int, typer.Option(help="Frames of each clip.")] = 16,
    size: Annotated[str, typer.Option(help="Width x height in pixels.")] = "512x288",
    seed: Annotated[int, typer.Option(help="The same seed makes the same bytes.")] = 7,
    config: Annotated[
        Path | None, typer.Option(help="YAML with camera, layers, degrade.", show_default="built-in")
    ] = None,
    sets: Sets = None,
    bit_depth: Annotated[Literal["half", "float"], typer.Option(help="Of the truth.")] = "float",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Render synthetic shots: 8-bit input, log EXR truth, exact flow, and a JSON of all that was drawn."""
    from seqhdr import api_train

    width, height = _size(size)
    made = api_train.synth(
        panoramas,
        output=output,
        clips=clips,
        frames=frames,
        width=width,
        height=height,
        seed=seed,
        config=config,
        sets=tuple(sets or ()),
        bit_depth=bit_depth,
        overwrite=overwrite,
        on_clip=lambda info, done: None if quiet else print(f"{done}/{clips} {info.folder}"),
    )
    if not quiet:
        print(f"{len(made)} clips of {frames} frames: {output}")


def prepare(
    folder: Annotated[Path, typer.Argument(help="Folder of linear EXR sequences or stills, searched to the bottom.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the data set.")],
    encoding: Annotated[str, typer.Option(help="Of the 8-bit input: srgb, acescct, logc3 ...")] = "srgb",
    input_space: Annotated[str, typer.Option(help="What the material's values mean.")] = "lin_rec709",
    exposure: Annotated[float, typer.Option(help="Stops added to everything.")] = 0.0,
    auto_exposure: Annotated[
        bool, typer.Option("--auto-exposure", help="Bring each clip's middle to 0.18 first, by one factor.")
    ] = False,
    bit_depth: Annotated[Literal["half", "float"], typer.Option(help="Of the truth.")] = "half",
    seed: Annotated[int, typer.Option(help="Of the split into train, val and test.")] = 0,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Turn linear EXR into training pairs, split 80/10/10 by scene, with statistics."""
    from seqhdr import api_train

    report = api_train.prepare(
        folder,
        output=output,
        encoding=encoding,
        input_space=input_space,
        exposure_stops=exposure,
        auto_exposure=auto_exposure,
        bit_depth=bit_depth,
        seed=seed,
        overwrite=overwrite,
        on_clip=lambda info, split: None if quiet else print(f"{split:5s} {info.name}, {len(info.frames)} frames"),
        on_failure=lambda clip, reason: print(f"failed {clip}: {reason}"),
    )
    if not quiet:
        print(f"{len(report.clips)} clips: {output}\nstatistics: {report.stats}")


def train(
    config: Annotated[Path, typer.Argument(help="A file like configs/train/s.yaml, or one that lists phases.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the run.", show_default="runs/NAME")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in the folder.")] = False,
    sets: Sets = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Train a model from panoramas, from pairs, or from both; several processes under torchrun."""
    # Threads that wait for work in a loop keep a core from the worker that makes the clips; libgomp, which asks for
    # this when it is loaded, would let them loop for milliseconds.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    from seqhdr import api_train

    folder = output or Path("runs") / config.stem
    # Under torchrun every process comes here; one of them speaks.
    quiet = quiet or os.environ.get("RANK", "0") != "0"
    results = api_train.train_model(
        config,
        output=folder,
        resume=resume,
        sets=tuple(sets or ()),
        overwrite=overwrite,
        on_run=lambda name, config, folder: None if quiet else print(f"{name or config.model.name}: {folder}"),
        on_row=lambda kind, step, row: None if quiet else print(_row(kind, step, row), flush=True),
    )
    last = results[-1]
    if not quiet:
        best = "none yet" if last.best is None else f"{last.best:.6g}"
        print(f"{last.step} steps, lowest validation loss {best}: {last.folder}")
        if not last.finished:
            print("time is up; go on with --resume")


def evaluate(
    data: Annotated[list[Path], typer.Argument(help="Folders of clips, as synth and prepare write them.")],
    model: Annotated[
        list[str] | None, typer.Option(help="Shipped name, file, or classic; repeatable.", show_default="s")
    ] = None,
    flow: Annotated[Literal["dis", "raft", "off", "exact"], typer.Option(help="Motion between frames.")] = "dis",
    flow_weights: Annotated[
        str | None, typer.Option(help="RAFT's weights: a path, or download.", show_default="none")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="At most so many clips of each kind of input.", show_default="all")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    flicker: Annotated[
        bool, typer.Option("--flicker/--no-flicker", help="Measure what changes from frame to frame.")
    ] = True,
    single_frame: Annotated[
        bool, typer.Option("--single-frame", help="Run without memory too and compare flicker; twice the time.")
    ] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the numbers here.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the tables here.")] = None,
    card: Annotated[
        Path | None, typer.Option(help="Write a copy of the model here, with the numbers in its card.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Measure models on clips with a truth: error by stratum and flicker, identity beside them."""
    from rich.console import Console
    from rich.progress import Progress

    from seqhdr import api_train

    with Progress(console=Console(stderr=True), disable=quiet, transient=True) as progress:
        task = progress.add_task("frames")
        report = api_train.evaluate(
            data,
            model or ["s"],
            flow=flow,
            flow_weights=flow_weights,
            limit=limit,
            device=device,
            flicker=flicker,
            single_frame=single_frame,
            json_file=json_file,
            markdown=markdown,
            card=card,
            on_frame=lambda done, of: progress.update(task, completed=done, total=of),
        )
    if not quiet:
        api_train.show_evaluation(report)


def _size(text: str) -> tuple[int, int]:
    width, by, height = text.lower().partition("x")
    if not (by and width.isdigit() and height.isdigit()):
        raise UsageError(f"--size {text!r}: write it as width x height, like 512x288")
    return int(width), int(height)


def _row(kind: str, step: int, row: dict[str, float]) -> str:
    return json.dumps({"kind": kind, "step": step, **{name: float(f"{value:.4g}") for name, value in row.items()}})
