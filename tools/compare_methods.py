"""Every method there is on the same clips: what everyone can do without us, our methods without learning, the network.

    python tools/compare_methods.py clips/plain                        # all of them
    python tools/compare_methods.py clips/plain --limit 4 --json methods.json --markdown methods.md
    python tools/compare_methods.py clips/plain --methods identity classic s

Debanding of others is measured as it comes, also where it leaves the bins (how often stands beside); deflickers are
held in them, as `run --deflicker` does. Clips are those of ``seqhdr synth``. They do not flicker, so deflickers show
what they cost; what they are worth is in ``tools/deflicker_table.py``.
"""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from baselines import Method, bin_centre, f3kdb_like, ffmpeg_filters, identity
from deflickered import Deflickered
from rich.console import Console
from rich.table import Table

from seqhdr.media.atomic import whole_file
from seqhdr.model.decoder import Decoder
from seqhdr.pipeline.decoders import load_decoder
from seqhdr.pipeline.evaluate import InputScore, ModelScore, evaluate

COLUMNS = (
    "method",
    "whole",
    "flat",
    "texture",
    "worst scene, flat",
    "clipped",
    "flicker over truth",
    "left the bins",
    "ms",
)
DEFLICKERS = ("gain", "flow", "prior")
LEGEND = (
    "Gain over identity in dB of PSNR in log (ACEScct), unclipped; clipped: RMSE in stops over identity's; flicker: "
    "warped residual beyond the truth's in 1/1000 stop; left the bins: unclipped channels of all clips; ms per frame "
    "with motion, without reading."
)


def methods(folders: Sequence[Path]) -> dict[str, Callable[[], Decoder]]:
    """Name → what makes the method, the simple ones first, deflickers of what the network decodes last."""
    foreign = ffmpeg_filters()
    if not foreign:
        print("PyAV is not installed or has no debanding filters: ffmpeg's are left out (pip install 'seqhdr[train]')")
    simple = {"identity": identity, "bin centre": bin_centre, "f3kdb-like": f3kdb_like, **foreign}
    found: dict[str, Callable[[], Decoder]] = {}
    for name, values in simple.items():
        found[name] = functools.partial(Method, name, values)
    for name in ("luminance", "classic", "s"):
        found[name] = functools.partial(load_decoder, name)
    for name in ("ffmpeg", *DEFLICKERS) if foreign else DEFLICKERS:
        found[f"s+{name}"] = functools.partial(_deflickered, name, folders)
    return found


def _deflickered(method: str, folders: Sequence[Path]) -> Decoder:
    return Deflickered(load_decoder("s"), method, folders)


def rows(models: Sequence[ModelScore], decoders: Sequence[Decoder], place: int) -> list[list[str]]:
    """One row per method for the ``place``-th kind of input."""
    return [row(model.inputs[place], model, decoder) for model, decoder in zip(models, decoders, strict=True)]


def row(part: InputScore, model: ModelScore, decoder: Decoder) -> list[str]:
    """The cells of a method; what a clip does not have is a dash."""

    def gain(table: dict[str, dict[str, float]], stratum: str) -> str:
        return f"{table[stratum]['gain_db']:+.2f}" if stratum in table else "-"

    worst = part.scenes[part.worst["flat"]] if "flat" in part.worst else {}
    clipped = part.total.get("clipped")
    ratio = f"x {clipped['rmse_stops'] / clipped['identity_rmse_stops']:.3f}" if clipped else "-"
    flicker = part.flicker.total.get("flicker") if part.flicker else None
    over = f"{1000 * flicker['model_excess']:+.3f}" if flicker else "-"
    left = f"{100 * decoder.left / max(decoder.of, 1):.2f} %" if isinstance(decoder, Method) else "0 %"
    gains = [gain(part.total, stratum) for stratum in ("whole", "flat", "texture")]
    return [model.name, *gains, gain(worst, "flat"), ratio, over, left, f"{1000 * model.seconds_per_frame:.0f}"]


def title(part: InputScore) -> str:
    return f"{'compressed ' if part.compressed else ''}{part.encoding}, {part.clips} clips, {part.frames} frames"


def to_markdown(tables: dict[str, list[list[str]]]) -> str:
    lines = [LEGEND, ""]
    for name, cells in tables.items():
        lines += [f"**{name}**", "", f"| {' | '.join(COLUMNS)} |", "|---" + "|--:" * (len(COLUMNS) - 1) + "|"]
        lines += [f"| {' | '.join(line)} |" for line in cells] + [""]
    return "\n".join(lines)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--methods", nargs="+", help="names of the first column; all of them otherwise")
    parser.add_argument("--limit", type=int, help="clips of each kind of input; all otherwise")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    args = parser.parse_args()
    known = methods(args.clips)
    unknown = set(args.methods or ()) - set(known)
    if unknown:
        parser.error(f"unknown method {min(unknown)!r}: choose among {', '.join(known)}")
    decoders = [known[name]() for name in args.methods or known]
    report = evaluate(args.clips, decoders, limit=args.limit)
    tables = {title(part): rows(report.models, decoders, n) for n, part in enumerate(report.models[0].inputs)}
    console = Console(width=140)
    for name, cells in tables.items():
        table = Table(title=name, title_justify="left")
        for number, column in enumerate(COLUMNS):
            table.add_column(column, justify="right" if number else "left")
        for line in cells:
            table.add_row(*line)
        console.print(table)
    console.print(LEGEND)
    numbers: dict[str, Any] = {
        name: [dict(zip(COLUMNS, line, strict=True)) for line in cells] for name, cells in tables.items()
    }
    for path, text in ((args.json, json.dumps(numbers, indent=1) + "\n"), (args.markdown, to_markdown(tables))):
        if path is not None:
            with whole_file(path) as hidden:
                hidden.write_text(text)


if __name__ == "__main__":
    main()
