"""The verb ``report``: parse, one call to the API, exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["report"]


def report(
    patterns: Annotated[
        list[str], typer.Argument(help="Finished shots, of any tool: out/shot_acescct.%04d.exr, comp_####.png")
    ],
    source: Annotated[
        list[str] | None,
        typer.Option(help="Frames they were made from; once for each shot.", show_default="none"),
    ] = None,
    truth: Annotated[
        list[str] | None, typer.Option(help="What they should be; once for each shot.", show_default="none")
    ] = None,
    compare: Annotated[bool, typer.Option("--compare", help="The shots are several results of one shot.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for page and JSON.", show_default="the shot's")
    ] = None,
    frames: Annotated[
        str | None, typer.Option(help="Frames to use, like 1001-1100x2,1200.", show_default="all")
    ] = None,
    max_flicker: Annotated[
        float | None, typer.Option(help="Gate: stops of flicker over the source's.", show_default="none")
    ] = None,
    max_jitter: Annotated[
        float | None, typer.Option(help="Gate: stops of exposure jitter over the source's.", show_default="none")
    ] = None,
    min_inside: Annotated[
        float | None, typer.Option(help="Gate: percent of unclipped channels in their bins.", show_default="none")
    ] = None,
    input_space: Annotated[
        str | None, typer.Option(help="Encoding of the source.", show_default="the header's")
    ] = None,
    input_curve: Annotated[
        str | None, typer.Option(help="Response curve the source was read with.", show_default="none")
    ] = None,
    output_space: Annotated[
        str | None, typer.Option(help="Encoding of the shots.", show_default="the header's, else linear or sRGB")
    ] = None,
    truth_space: Annotated[str | None, typer.Option(help="Encoding of the truth.", show_default="the header's")] = None,
    bins: Annotated[
        str | None, typer.Option(help="Half-width to audit: strict, or in codes.", show_default="the header's")
    ] = None,
    cuts: Annotated[str, typer.Option(help="auto, off, or first frames of new shots: 1010,1055.")] = "auto",
    stride: Annotated[
        str, typer.Option(help="Flicker and bins at every N-th pixel of both directions; 1: every pixel.")
    ] = "auto",
    lpips_backbone: Annotated[
        str | None, typer.Option(help="VGG16 features for LPIPS: a file, or torchvision.", show_default="no LPIPS")
    ] = None,
    metrics: Annotated[bool, typer.Option("--metrics", help="HDR-FLIP and ColorVideoVDP against the truth.")] = False,
    fps: Annotated[
        str | None, typer.Option(help="Frame rate for ColorVideoVDP.", show_default="the header's, else 24")
    ] = None,
    ocio: Annotated[
        str | None, typer.Option(help="OCIO config; wins over $OCIO.", show_default="$OCIO, else built-in ACES")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON instead of five lines.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only warnings and errors.")] = False,
) -> None:
    """Measure flicker, banding, bins and range of shots; write a page and JSON for each, or act as a gate."""
    import json

    from rich.console import Console
    from rich.progress import Progress

    from seqhdr import api_report

    reports: list[dict[str, Any]] = []

    def show(finished: dict[str, Any], page: Path | None) -> None:
        # At once, and not after all shots: a gate that fails ends the command with an error.
        reports.append(finished)
        if quiet or as_json:
            return
        progress.stop()
        print("\n".join((*finished["summary"], *([f"report   {page}"] if page else []))))
        progress.start()

    def show_page(kind: str, page: Path) -> None:
        if not (quiet or as_json):
            progress.stop()
            print(f"{kind:8s} {page}")

    console = Console(stderr=True)
    hidden = quiet or not console.is_terminal
    with Progress(console=console, disable=hidden, transient=True, redirect_stdout=False) as progress:
        tasks: dict[str, Any] = {}

        def on_frame(shot: str, done: int, of: int) -> None:
            task = tasks.get(shot)
            if task is None:
                task = tasks[shot] = progress.add_task("measuring", total=of)
            progress.update(task, completed=done)

        try:
            api_report.report(
                patterns,
                source=source,
                truth=truth,
                compare=compare,
                output=output,
                frames=frames,
                max_flicker=max_flicker,
                max_jitter=max_jitter,
                min_inside=min_inside,
                input_space=input_space,
                input_curve=input_curve,
                output_space=output_space,
                truth_space=truth_space,
                bins=bins,
                cuts=cuts,
                stride=stride,
                lpips_backbone=lpips_backbone,
                metrics=metrics,
                fps=fps,
                ocio=ocio,
                on_frame=on_frame,
                on_report=show,
                on_page=show_page,
            )
        finally:
            # Also where a gate fails: which frames, and by how much, is what a farm reads.
            if as_json and reports:
                print(json.dumps(reports, indent=1))
