"""The verbs of the methods without learning: parse, one call to the API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from seqhdr.cli_options import (
    Aov,
    Bins,
    BitDepth,
    Compression,
    Device,
    DryRun,
    Fps,
    Frames,
    InputCurve,
    InputSpace,
    Json,
    LogJson,
    Missing,
    Ocio,
    Output,
    OutputSpace,
    Overwrite,
    Quiet,
    Report,
    SkipExisting,
    Tile,
    Timecode,
    Verbose,
)

__all__ = ["calibrate", "deflicker", "stack"]


def calibrate(
    output: Annotated[Path, typer.Option("--output", "-o", help="The curve: a .yaml, .cube or .spi1d file.")],
    patterns: Annotated[
        list[str] | None, typer.Argument(help="One shot or image, or one per exposure.", show_default="none")
    ] = None,
    known: Annotated[
        str | None, typer.Option(help="srgb, rec709, gamma:2.4, or a file with a table.", show_default="none")
    ] = None,
    method: Annotated[str, typer.Option(help="auto, debevec, robertson, edges, noise.")] = "auto",
    ev: Annotated[str | None, typer.Option(help="EV of each exposure: -2,0,2.", show_default="none")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    as_json: Json = False,
) -> None:
    """Find the response curve of a camera, from exposures or from one shot, for run --input-curve and OCIO."""
    import numpy as np

    from seqhdr import api_classic

    found = api_classic.calibrate(patterns or (), output=output, known=known, method=method, ev=ev, overwrite=overwrite)
    curve = found.curve
    codes = np.array([0, 16, 32, 64, 96, 128, 160, 192, 224, 240, 255])
    points = [(int(code), *map(float, light)) for code, light in zip(codes, curve.at(codes / 255), strict=True)]
    if as_json:
        facts: dict[str, Any] = {"output": str(found.output), "method": curve.method, "confidence": curve.confidence}
        facts |= {"spread": curve.spread, "reason": curve.reason, "per_channel": curve.per_channel}
        print(json.dumps(facts | {"points": [dict(zip(("code", *"rgb"), p, strict=True)) for p in points]}, indent=1))
        return
    print(f"method      {curve.method}\nconfidence  {curve.confidence}: {curve.reason}\ncode        light")
    for code, *light in points:
        shown = light if curve.per_channel else light[:1]
        print(f"{code:<11d} {'  '.join(f'{value:.6f}' for value in shown)}")
    print(f"written     {found.output}")


def deflicker(
    pattern: Annotated[str, typer.Argument(help="The frames, EXR or integers of any tool: in.%04d.exr")],
    output: Output,
    method: Annotated[
        str,
        typer.Option(help="gain: of the whole picture and broad parts. flow, prior: parts too, filtered or learnt."),
    ] = "gain",
    frames: Frames = None,
    input_space: Annotated[
        str | None, typer.Option(help="Encoding of the frames.", show_default="the header's, else linear or sRGB")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(help="Frames they were made from: the result stays in their bins.", show_default="none"),
    ] = None,
    source_space: Annotated[
        str | None, typer.Option(help="Encoding of the source.", show_default="the header's, else srgb")
    ] = None,
    input_curve: Annotated[
        str | None, typer.Option(help="Response curve the source was read with.", show_default="none")
    ] = None,
    bins: Annotated[
        str | None, typer.Option(help="With --source: strict, or the half-width in codes.", show_default="the header's")
    ] = None,
    ocio: Ocio = None,
    cuts: Annotated[str, typer.Option(help="auto, off, or first frames of new shots: 1010,1055.")] = "auto",
    bit_depth: Annotated[
        str | None, typer.Option(help="Of the EXR: half, float.", show_default="the frames', half for integers")
    ] = None,
    compression: Annotated[
        str | None, typer.Option(help="none, zip, zips, piz, pxr24, dwaa, dwab.", show_default="the frames', else zip")
    ] = None,
    prior_steps: Annotated[int, typer.Option(help="Of the prior's fit between two cuts, at most.")] = 300,
    prior_seconds: Annotated[float, typer.Option(help="That such a fit takes, at most.")] = 120.0,
    overwrite: Overwrite = False,
    log_json: LogJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Take flicker out of a finished shot: 16 bits in, 16 bits out; fades and cuts stay."""
    options: dict[str, Any] = {
        "method": method,
        "frames": frames,
        "input_space": input_space,
        "source": source,
        "source_space": source_space,
        "input_curve": input_curve,
        "bins": bins,
        "ocio": ocio,
        "cuts": cuts,
        "bit_depth": bit_depth,
        "compression": compression,
        "prior_steps": prior_steps,
        "prior_seconds": prior_seconds,
        "overwrite": overwrite,
    }
    from seqhdr import api_classic
    from seqhdr.progress import follow

    with follow(log_json=log_json, quiet=quiet, verbose=verbose) as on_event:
        written = api_classic.deflicker(pattern, output=output, on_event=on_event, **options)
    if not quiet and not log_json:
        print(f"frames   {written.output}\nsummary  {written.summary}")


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
    tile: Tile = "auto",
    bit_depth: BitDepth = "half",
    compression: Compression = "zip",
    aov: Aov = "",
    device: Device = "auto",
    fps: Fps = None,
    timecode: Timecode = None,
    overwrite: Overwrite = False,
    skip_existing: SkipExisting = False,
    report: Report = True,
    dry_run: DryRun = False,
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
        "tile": tile,
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
    from seqhdr.progress import follow, show_plan

    stacked: dict[str, Any] = {"output": output, "ev": ev, "weights": weights, "peak_stops": peak_stops}
    if dry_run:
        planned = api_classic.plan_stack(patterns, **stacked, **options)
        print(json.dumps(planned)) if log_json else show_plan(planned)
        return
    with follow(log_json=log_json, quiet=quiet, verbose=verbose) as on_event:
        written = api_classic.stack(patterns, on_event=on_event, **stacked, **options)
    if not quiet and not log_json:
        for shot, summary in zip(written.shots, written.summaries, strict=True):
            print(f"frames   {shot.output}\nsummary  {summary}")
