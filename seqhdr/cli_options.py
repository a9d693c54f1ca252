"""Options that several verbs have, with one name and one sentence each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = [
    "Aov",
    "Bins",
    "BitDepth",
    "Compression",
    "Device",
    "DryRun",
    "Fps",
    "Frames",
    "InputCurve",
    "InputSpace",
    "Json",
    "LogJson",
    "Missing",
    "Ocio",
    "Output",
    "OutputSpace",
    "Overwrite",
    "Quiet",
    "Report",
    "SkipExisting",
    "Tile",
    "Timecode",
    "Verbose",
]

Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for the EXR frames.")]
Frames = Annotated[str | None, typer.Option(help="Frames to use, like 1001-1100x2,1200.", show_default="all")]
Missing = Annotated[
    Literal["error", "hold", "split"],
    typer.Option(help="A gap: stop, repeat the frame before, or start afresh after it."),
]
InputSpace = Annotated[str, typer.Option(help="Encoding of the frames.")]
InputCurve = Annotated[
    str | None, typer.Option(help="Response curve in place of that encoding's.", show_default="none")
]
OutputSpace = Annotated[str, typer.Option(help="Encoding of the EXR.")]
Ocio = Annotated[
    str | None, typer.Option(help="OCIO config; wins over $OCIO.", show_default="$OCIO, else built-in ACES")
]
Bins = Annotated[str, typer.Option(help="auto, strict, soft, off, or the half-width in codes.")]
Tile = Annotated[str, typer.Option(help="auto, off, or the side of a tile in pixels.")]
BitDepth = Annotated[Literal["half", "float"], typer.Option(help="Of the EXR.")]
Compression = Annotated[str, typer.Option(help="none, zip, zips, piz, pxr24, dwaa, dwab.")]
Aov = Annotated[str, typer.Option(help="Extra layers: clip,confidence,delta.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Fps = Annotated[
    str | None, typer.Option(help="Frame rate for the header: 24, 23.976, 24000/1001.", show_default="the source's")
]
Timecode = Annotated[str | None, typer.Option(help="Of the first frame, HH:MM:SS:FF.", show_default="the source's")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing frames.")]
SkipExisting = Annotated[
    bool, typer.Option("--skip-existing", help="Keep complete frames made with the same settings.")
]
Report = Annotated[
    bool, typer.Option("--report/--no-report", help="Measure what was written, and put a page beside it.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show frames, gaps, cuts, tiles and memory; write nothing.")]
LogJson = Annotated[bool, typer.Option("--log-json", help="One JSON object per event on standard error.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only warnings and errors.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="One line per frame, also on a terminal.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
