"""The verbs of the methods without learning: parse, one call to the API."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from seqhdr.cli_options import (
    Aov,
    Bins,
    BitDepth,
    Compression,
    Device,
    Fps,
    Frames,
    InputCurve,
    InputSpace,
    LogJson,
    Missing,
    Ocio,
    Output,
    OutputSpace,
    Overwrite,
    Quiet,
    Report,
    SkipExisting,
    Timecode,
    Verbose,
)

__all__ = ["stack"]


def stack(
    patterns: Annotated[
        list[str], typer.Argument(help="One shot, or its exposures: under_%04d.png normal_%04d.png over_%04d.png")
    ],
    output: Output,
    ev: Annotated[
        str | None, typer.Option(help="EV of each exposure: -2,0,2.", show_default="told from the frames")
    ] = None,
    weights: Annotated[str, typer.Option(help="debevec, granados, mann, mitsunaga, robertson.")] = "granados",
    peak_stops: Annotated[float, typer.Option(help="One shot: stops that clipped areas are stretched by.")] = 1.0,
    frames: Frames = None,
    missing: Missing = "error",
    input_space: InputSpace = "srgb",
    input_curve: InputCurve = None,
    output_space: OutputSpace = "acescct",
    ocio: Ocio = None,
    bins: Bins = "auto",
    bit_depth: BitDepth = "half",
    compression: Compression = "zip",
    aov: Aov = "",
    device: Device = "auto",
    fps: Fps = None,
    timecode: Timecode = None,
    overwrite: Overwrite = False,
    skip_existing: SkipExisting = False,
    report: Report = True,
    log_json: LogJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Merge exposures of a shot into log EXR frames; of one alone, virtual ones (a luminance stack)."""
    options: dict[str, Any] = {
        "frames": frames,
        "missing": missing,
        "input_space": input_space,
        "input_curve": input_curve,
        "output_space": output_space,
        "ocio": ocio,
        "bins": bins,
        "bit_depth": bit_depth,
        "compression": compression,
        "aov": tuple(name.strip() for name in aov.split(",") if name.strip()),
        "device": device,
        "fps": fps,
        "timecode": timecode,
        "overwrite": overwrite,
        "skip_existing": skip_existing,
        "report": report,
    }
    from seqhdr import api_classic
    from seqhdr.progress import follow

    with follow(log_json=log_json, quiet=quiet, verbose=verbose) as on_event:
        written = api_classic.stack(
            patterns, output=output, ev=ev, weights=weights, peak_stops=peak_stops, on_event=on_event, **options
        )
    if not quiet and not log_json:
        for shot, summary in zip(written.shots, written.summaries, strict=True):
            print(f"frames   {shot.output}\nsummary  {summary}")
