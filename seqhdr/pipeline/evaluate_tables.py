"""An evaluation as JSON, as Markdown and in the terminal."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from seqhdr.color.encodings import get_encoding
from seqhdr.pipeline.evaluate import EvalReport, InputScore, ModelScore
from seqhdr.pipeline.evaluate_flicker import FlickerScore
from seqhdr.quality.strata import strata_rows

__all__ = ["show", "to_dict", "to_markdown"]

_STRATA_COLUMNS = ("stratum", "model", "identity", "gain", "worst scene")
_FLICKER_COLUMNS = ("flicker, 1/1000 stop", "model", "identity", "truth", "over truth", "identity's", "worst scene")
_MEMORY_COLUMNS = ("over truth, 1/1000 stop", "model", "frame by frame", "ratio", "worst scene")


def _headline(model: ModelScore) -> str:
    return f"{model.model} ({model.name}, {f'sha256 {model.sha256[:12]}' if model.sha256 else 'no weights'})"


def _title(part: InputScore) -> str:
    return f"{'compressed ' if part.compressed else ''}8-bit {get_encoding(part.encoding).title} in"


def _facts(report: EvalReport, model: ModelScore) -> str:
    return (
        f"{', '.join(report.data)}: {report.clips} clips, {report.frames} frames; flow {report.flow}; "
        f"{model.seconds_per_frame:.3f} s per frame on {report.device}"
    )


def to_dict(report: EvalReport) -> dict[str, Any]:
    """The report as JSON-able numbers; what is not a finite number becomes None."""
    numbers: dict[str, Any] = _finite(dataclasses.asdict(report))
    return numbers


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_markdown(report: EvalReport) -> str:
    """The report as Markdown: tables per model and kind of input, and below them which scenes fared worst."""
    lines: list[str] = []
    for model in report.models:
        lines += [f"## {_headline(model)}", "", _facts(report, model), ""]
        for part in model.inputs:
            lines += [f"| {_title(part)} | model | identity | gain | worst scene |", "|---|---|---|---|---|"]
            rows = strata_rows(part.total, part.scenes)
            lines += [f"| {r.label} | {r.model} | {r.identity} | {r.gain} | {r.worst} |" for r in rows]
            worst = ", ".join(f"{stratum} {scene}" for stratum, scene in part.worst.items())
            lines += ["", f"{part.clips} clips, {part.frames} frames; worst scene by stratum: {worst}", ""]
            if part.flicker is not None:
                lines += _flicker_markdown(part.flicker)
    return "\n".join(lines)


def _flicker_markdown(flicker: FlickerScore) -> list[str]:
    lines = []
    for columns, rows in _flicker_tables(flicker):
        lines += [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
        lines += [f"| {' | '.join(cells)} |" for *cells, _ in rows] + [""]
    worst = ", ".join(f"{measure} {scene}" for measure, scene in flicker.worst.items())
    return [*lines, f"{_motion_facts(flicker)}; worst scene by measure: {worst}", ""] if lines else []


def _flicker_tables(flicker: FlickerScore) -> list[tuple[tuple[str, ...], list[list[str]]]]:
    """Columns and rows of each table; after the last column, a row has the scene that fares worst by name."""
    total, scenes = flicker.total, flicker.scenes
    over = [
        [
            measure,
            *(_thousandths(row[name]) for name in ("model", "identity", "truth")),
            *(_thousandths(row[name], "+") for name in ("model_excess", "identity_excess")),
            _thousandths(scenes[flicker.worst[measure]][measure]["model_excess"], "+"),
            flicker.worst[measure],
        ]
        for measure, row in total.items()
    ]
    memory = []
    for measure, row in total.items():
        ratios = {scene: table[measure].get("memory_ratio") for scene, table in scenes.items() if measure in table}
        known = {scene: ratio for scene, ratio in ratios.items() if ratio is not None}
        if "single_frame" not in row:
            continue
        worst = max(known, key=lambda scene: (math.isnan(known[scene]), known[scene]), default="")
        excess = (_thousandths(row[name], "+") for name in ("model_excess", "single_frame_excess"))
        memory.append([measure, *excess, _times(row.get("memory_ratio")), _times(known.get(worst)), worst])
    return [(columns, rows) for columns, rows in ((_FLICKER_COLUMNS, over), (_MEMORY_COLUMNS, memory)) if rows]


def _thousandths(stops: float, sign: str = "") -> str:
    return f"{1000 * stops:{sign}.3f}"


def _times(ratio: float | None) -> str:
    """Empty where there is nothing to divide by: without memory, the model flickers no more than the truth."""
    return "" if ratio is None else f"x {ratio:.2f}"


def _motion_facts(flicker: FlickerScore) -> str:
    exact = sum(clip.exact_flow for clip in flicker.clips)
    frames = sum(clip.frames for clip in flicker.clips)
    resting = sum(clip.static_share * clip.frames for clip in flicker.clips) / frames
    known = f"motion known in {exact} of {len(flicker.clips)} clips"
    known += ", else DIS between frames of the truth" if exact < len(flicker.clips) else ""
    return f"{known}; {resting:.0%} at rest"


def show(report: EvalReport, console: Console | None = None) -> None:
    """Print the tables, the worst scenes by name beside their numbers."""
    console = console or Console()
    for model in report.models:
        console.print(f"{_headline(model)}\n{_facts(report, model)}", markup=False)
        for part in model.inputs:
            strata = strata_rows(part.total, part.scenes)
            rows = [[row.label, row.model, row.identity, row.gain, row.worst, row.scene] for row in strata]
            _print(console, f"{_title(part)}, {part.clips} clips, {part.frames} frames", _STRATA_COLUMNS, rows)
            if part.flicker is not None:
                for number, (columns, rows) in enumerate(_flicker_tables(part.flicker)):
                    _print(console, "" if number else _motion_facts(part.flicker), columns, rows)


def _print(console: Console, title: str, columns: tuple[str, ...], rows: list[list[str]]) -> None:
    table = RichTable(title=title or None)
    for column in columns:
        table.add_column(column, justify="left" if column in (columns[0], columns[-1]) else "right")
    for *cells, worst, scene in rows:
        table.add_row(*cells, escape(f"{worst} {scene}"))
    console.print(table)
