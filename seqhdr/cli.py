"""The command line: parse, one call to the API, exit code. Heavy imports wait until a verb needs them."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from seqhdr import cli_classic, cli_report, cli_train
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
from seqhdr.errors import EXIT_INTERRUPTED, GateError, SeqhdrError

if TYPE_CHECKING:
    from seqhdr.pipeline.verify import VerifyReport

__all__ = ["app", "main"]


class _Verbs(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            # Typer's own handler, further out, would say nothing.
            print("seqhdr: interrupted; finished files are whole", file=sys.stderr)
            sys.exit(EXIT_INTERRUPTED)


app = typer.Typer(
    cls=_Verbs,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="8-bit frame sequences in, 16-bit log EXR sequences out; every unclipped pixel stays inside its code.",
    epilog="Exit codes: 0 ok, 1 bug, 2 usage, 3 bad input, 4 some frames failed, 5 a gate failed, 130 interrupted.",
)


@app.command()
def run(
    patterns: Annotated[
        list[str], typer.Argument(help="Shots: shot_%04d.png, shot_####.png, shot.@@@@.dpx, shot.$F4.tif")
    ],
    output: Output,
    frames: Frames = None,
    missing: Missing = "error",
    input_space: InputSpace = "srgb",
    input_curve: InputCurve = None,
    output_space: OutputSpace = "acescct",
    ocio: Ocio = None,
    bins: Bins = "auto",
    denoise: Annotated[Literal["off", "auto"], typer.Option(help="Decode without the source's noise.")] = "off",
    grain: Annotated[
        Literal["keep", "remove", "regrow"],
        typer.Option(help="With --denoise: keep the grain, remove it, or grow new with the same statistics."),
    ] = "keep",
    deflicker: Annotated[
        Literal["off", "gain", "flow", "prior"], typer.Option(help="Take flicker out, as far as the bins leave room.")
    ] = "off",
    model: Annotated[str, typer.Option(help="Shipped model, a .safetensors file, or classic: no network.")] = "s",
    flow: Annotated[Literal["dis", "raft", "off"], typer.Option(help="Motion between frames.")] = "dis",
    flow_weights: Annotated[
        str | None, typer.Option(help="Of RAFT: a .safetensors or .pth file, or download.", show_default="none")
    ] = None,
    cuts: Annotated[str, typer.Option(help="auto, off, or first frames of new shots: 1010,1055.")] = "auto",
    preroll: Annotated[int, typer.Option(help="Frames before the first that warm up the memory.")] = 8,
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
    """Convert shots of 8- to 16-bit frames into log EXR frames."""
    options: dict[str, Any] = {
        "output": output,
        "frames": frames,
        "missing": missing,
        "input_space": input_space,
        "input_curve": input_curve,
        "output_space": output_space,
        "ocio": ocio,
        "bins": bins,
        "denoise": denoise,
        "grain": grain,
        "deflicker": deflicker,
        "model": model,
        "flow": flow,
        "flow_weights": flow_weights,
        "cuts": cuts,
        "preroll": preroll,
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
    from seqhdr import api
    from seqhdr.progress import follow, show_plan

    if dry_run:
        for planned in api.plan(patterns, **options):
            print(json.dumps(planned)) if log_json else show_plan(planned)
        return
    with follow(log_json=log_json, quiet=quiet, verbose=verbose) as on_event:
        written = api.run(patterns, on_event=on_event, **options)
    if not quiet and not log_json:
        for shot, summary in zip(written.shots, written.summaries, strict=True):
            print(f"frames   {shot.output}\nsummary  {summary}")


@app.command()
def verify(
    output: Annotated[str, typer.Argument(help="The written frames: out/shot_acescct.%04d.exr")],
    source: Annotated[str, typer.Option(help="The frames they were made from: shot_%04d.png")],
    frames: Frames = None,
    input_space: Annotated[
        str | None, typer.Option(help="Encoding of the source.", show_default="the header's")
    ] = None,
    input_curve: Annotated[
        str | None, typer.Option(help="Response curve the frames were made with.", show_default="none")
    ] = None,
    output_space: Annotated[str | None, typer.Option(help="Encoding of the EXR.", show_default="the header's")] = None,
    bins: Annotated[
        str | None, typer.Option(help="strict, or the half-width in codes.", show_default="the header's")
    ] = None,
    ocio: Ocio = None,
    as_json: Json = False,
) -> None:
    """Prove, from the files, that every unclipped channel lies in the bin of its code."""
    from seqhdr import api

    report = api.verify(
        output,
        source=source,
        frames=frames,
        input_space=input_space,
        input_curve=input_curve,
        output_space=output_space,
        bins=bins,
        ocio=ocio,
    )
    if as_json:
        print(json.dumps(api.verify_to_dict(report), indent=1))
    else:
        _show_audit(report)
    if not report.kept:
        total = report.total
        raise GateError(
            f"{output}: {api.outside(total)} of {total.unclipped + total.clipped} channels lie outside their bins "
            f"beyond the container's rounding, worst in frame {report.worst_frame}: convert it again"
        )


@app.command()
def inspect(
    pattern: Annotated[str, typer.Argument(help="A file, or a sequence: out/shot_acescct.%04d.exr")],
    frames: Frames = None,
    as_json: Json = False,
) -> None:
    """Diagnose an image or a sequence: format, range, NaN, banding, periodic patterns."""
    from seqhdr.progress import show_diagnosis

    if Path(pattern).is_file():
        from seqhdr.media.inspect import inspect_image

        diagnosis = inspect_image(pattern).to_dict()
    else:
        from seqhdr.media.inspect import inspect_sequence
        from seqhdr.media.shot import EXR_EXTENSIONS, SOURCE_EXTENSIONS, find_shot

        extensions = (*EXR_EXTENSIONS, *SOURCE_EXTENSIONS)
        shot = find_shot(pattern, frames=frames, missing="split", extensions=extensions)
        diagnosis = inspect_sequence([shot.path(frame) for frame in shot.frames]).to_dict()
    if as_json:
        print(json.dumps(diagnosis, indent=1))
    else:
        show_diagnosis(diagnosis)


def _show_audit(report: VerifyReport) -> None:
    total = report.total
    bound = f"half-width {report.half_width_lsb:g} codes" if math.isfinite(report.half_width_lsb) else "no bound"
    place = f"frame {total.worst_frame}, x {total.worst_x}, y {total.worst_y}, {'RGB'[total.worst_channel]}"
    rows = [
        ("frames", f"{total.frames}, stored as {report.storage}"),
        ("bins", f"{report.bins}, {bound}"),
        ("unclipped channels", f"{total.unclipped}"),
        ("  exactly inside", _percent(total.exact, total.unclipped)),
        ("  within the container's rounding", _percent(total.container, total.unclipped)),
        ("clipped channels", f"{total.clipped}"),
        ("  at or above their code", _percent(total.clipped_container, total.clipped)),
        ("largest deviation", f"{total.worst_lsb:+.4f} codes ({place})"),
        ("worst frame", f"{report.worst_frame}"),
        ("NaN or infinite", f"{total.nonfinite}"),
        ("promise", "kept" if report.kept else "BROKEN"),
    ]
    for name, value in rows:
        print(f"{name:34s} {value}")


def _percent(part: int, whole: int) -> str:
    """A share that reads 100.000 % only if it is all of them."""
    if part == whole:
        return "100.000 %"
    return f"{min(100 * part / whole, 99.999):.3f} % ({whole - part} outside)"


app.command()(cli_classic.stack)
app.command()(cli_classic.calibrate)
app.command()(cli_classic.deflicker)
app.command()(cli_report.report)
app.command()(cli_train.synth)
app.command()(cli_train.prepare)
app.command()(cli_train.train)
app.command("eval")(cli_train.evaluate)


def main() -> None:
    """Entry point: errors the user can mend become one sentence and their exit code; bugs stay tracebacks."""
    try:
        app()
    except SeqhdrError as error:
        print(f"seqhdr: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
