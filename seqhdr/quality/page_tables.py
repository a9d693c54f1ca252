"""The tables of the pages, cell by cell: what is measured, of the result and beside it of source, truth or rivals."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from seqhdr.media.ranges import compact
from seqhdr.quality.page_measures import BANDING, BESIDE_SOURCE, FIDELITY, FLICKER, FURTHEST, Measure
from seqhdr.quality.page_plots import result_names
from seqhdr.quality.readable import NOTHING, amount, number, percent, quantity_html

__all__ = [
    "Cell",
    "Table",
    "accuracy_table",
    "banding_table",
    "comparison_table",
    "fidelity_table",
    "flicker_table",
    "frame_table",
    "made_table",
    "method_table",
]

Report = dict[str, Any]
_Write = Callable[[float | None], Markup]

_MOST_FRAMES = 400


@dataclass(frozen=True)
class Cell:
    """One cell; ``best`` is the best of its row, ``frame`` a frame it links to."""

    text: str | Markup
    best: bool = False
    frame: int | None = None


@dataclass(frozen=True)
class Table:
    """A caption, the texts of the head and rows of cells, the first of which is the row's head."""

    caption: str
    head: tuple[str | Markup, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


def _decibels(value: float | None) -> str:
    return amount(value, "dB")


def _stops(value: float | None) -> str:
    return amount(value, "stop")


def _pixels(value: float | None) -> str:
    return amount(value, "px")


#: Heading, key of the frame, how it is written.
_COLUMNS: tuple[tuple[str, str, Callable[[float | None], str]], ...] = (
    ("Flicker, stop", "flicker_stops", _stops),
    ("of the source", "source_flicker_stops", _stops),
    ("of the truth", "truth_flicker_stops", _stops),
    ("over the source", "excess_flicker_stops", _stops),
    ("Jitter, stop", "jitter_stops", _stops),
    ("of the source", "source_jitter_stops", _stops),
    ("Colour jitter, stop", "colour_jitter_stops", _stops),
    ("tOF, px", "tof_px", _pixels),
    ("Counted", "counted_share", percent),
    ("In bands", "banding_index", percent),
    ("of the source", "source_banding_index", percent),
    ("In its bin", "inside_share", percent),
    ("Clipped", "clipped_share", percent),
    ("Gain, stop", "gain_max_stops", _stops),
    ("Most light", "maximum", number),
    ("PSNR, dB", "psnr_db", _decibels),
    ("of identity", "identity_psnr_db", _decibels),
)


def _beside(caption: str, report: Report, measures: Sequence[Measure]) -> Table:
    """A column for the result, and one for the source and the truth each that the report has; no row of nothing."""
    columns = [("result", ""), *((kind, f"{kind}_") for kind in ("source", "truth") if report[kind])]
    kept = [c for c in columns if not c[1] or any(c[1] + m.key in report[m.section] for m in measures)]
    rows = tuple(
        (Cell(m.label), *(Cell(m.written(m.of(report, prefix))) for _, prefix in kept))
        for m in measures
        if any(m.of(report, prefix) is not None for _, prefix in kept)
    )
    return Table(caption, ("", *(name for name, _ in kept)), rows)


def flicker_table(report: Report) -> Table:
    """Everything that is measured over time."""
    table = _beside("Over time", report, FLICKER)
    left = len(table.head) - 2
    more = [
        (Cell(_against(m.label, report, m.key)), Cell(m.written(m.of(report))), *[Cell("")] * left)
        for m in BESIDE_SOURCE
        if report[m.section][m.key] is not None
    ]
    share = report["flicker"]["static_share"]
    if share is not None:
        more.append((Cell("Share where nothing moves"), Cell(percent(share)), *[Cell("")] * left))
    return Table(table.caption, table.head, (*table.rows, *more))


def _against(label: str, report: Report, key: str) -> str:
    """A label that speaks of the source, where the number was held against the truth instead.

    Flicker is held against the source if there is one, tOF and tLP against the truth if there is one.
    """
    truth = report["truth"] if key in ("tof_px", "tlp") else not report["source"]
    return label.replace("source", "truth") if truth else label


def banding_table(report: Report) -> Table:
    """Banding of the result and of the source."""
    return _beside("Banding", report, BANDING)


def fidelity_table(report: Report) -> Table:
    """What the result keeps of the source, and its light."""
    table = _beside("Fidelity and light", report, FIDELITY)
    frame = report["fidelity"]["worst_lsb_frame"]
    rows = list(table.rows)
    if frame is not None:
        after = next((i for i, row in enumerate(rows) if row[0].text == FURTHEST.label), len(rows) - 1)
        rows.insert(after + 1, (Cell("… in frame"), Cell(str(frame), frame=frame)))
    return Table(table.caption, table.head, tuple(rows))


def accuracy_table(report: Report) -> Table | None:
    """Distance to the truth, identity (the source as it is) beside it; None without a truth."""
    accuracy = report["accuracy"]
    if not accuracy:
        return None
    rows = []
    for row in accuracy["rows"]:
        result, identity, sign = row["result"], row["identity"], 1 if row["better"] == "higher" else -1
        both = result is not None and identity is not None
        gain = amount(result - identity, row["unit"]) if both else NOTHING
        if both and result > identity:
            gain = "+" + gain
        rows.append(
            (
                Cell(row["label"]),
                Cell(quantity_html(result, row["unit"]), best=both and sign * (result - identity) > 0),
                Cell(quantity_html(identity, row["unit"]), best=both and sign * (identity - result) > 0),
                Cell(gain),
            )
        )
    curve = accuracy.get("tone_curve")
    note = f"Tone-mapped rows: {curve}." if curve else ""
    return Table("Accuracy, against the truth", ("", "result", "identity", "difference"), tuple(rows), note)


def method_table(report: Report) -> Table:
    """How it was measured."""
    measured = report["measured"]
    stride, window = measured["stride"], measured["window"]
    rows = [
        (
            "Sampled",
            NOTHING if stride is None else f"1 pixel of {stride} × {stride}, {number(measured['samples'])} a frame",
        ),
        ("Motion", measured["flow"] or NOTHING),
        ("Counts as still", NOTHING if measured["static_px"] is None else f"below {number(measured['static_px'])} px"),
        ("Deviation over", NOTHING if window is None else f"{window} frames"),
        ("Bins checked on", measured["audit"] or NOTHING),
        ("Cuts", compact(report["cuts"], most=20) if report["cuts"] else "none"),
    ]
    return Table("How it was measured", (), tuple((Cell(label), Cell(str(text))) for label, text in rows))


def made_table(report: Report) -> Table:
    """Which files were read and where they come from."""
    rows: list[tuple[str, str | None]] = []
    result, source, truth = report["result"], report["source"], report["truth"]
    gaps = compact(result["missing"]) if result["missing"] else ""
    rows += [
        ("Result", result["pattern"]),
        ("Frames", f"{number(result['frames'])}, {result['first']}–{result['last']}" + (gaps and f", without {gaps}")),
        ("Pixels", f"{result['width']} × {result['height']}, {result['storage']}, {result['encoding']}"),
        ("Made by", result["made_by"]),
    ]
    if source:
        half = source["half_width_lsb"]
        bits = f"{source['bits']} bits, " if source["bits"] is not None else ""
        bound = "no bound" if half is None else f"bins of ± {number(half)} code"
        rows += [("Source", source["pattern"]), ("Encoding", f"{bits}{source['encoding']}, {bound}")]
        rows += [("Why these bins", source["bins_reason"])] if source["bins_reason"] else []
    if truth:
        rows += [("Truth", truth["pattern"]), ("Encoding", truth["encoding"])]
    cells = tuple((Cell(label), Cell(NOTHING if text is None else str(text))) for label, text in rows)
    return Table("Files", (), cells)


def frame_table(report: Report, wanted: Sequence[int]) -> Table:
    """One row a frame, without columns that hold nothing; of long shots every nth frame and those ``wanted``."""
    frames = report["frames"]
    every = -(-len(frames) // _MOST_FRAMES) if frames else 1
    keep = set(wanted)
    rows = [frame for i, frame in enumerate(frames) if i % every == 0 or frame["frame"] in keep]
    columns = [c for c in _COLUMNS if any(frame[c[1]] is not None for frame in frames)]
    cells = tuple(
        (Cell(str(row["frame"]), frame=row["frame"]), *(Cell(write(row[key])) for _, key, write in columns))
        for row in rows
    )
    note = f"1 frame of {every} and those named above; all {number(len(frames))} are in the JSON." if every > 1 else ""
    head = (label if key.startswith("source_") else _against(label, report, key) for label, key, _ in columns)
    return Table("Frame by frame", ("Frame", *head), cells, note)


def comparison_table(reports: Sequence[Report]) -> Table:
    """One column for each result; the best of each row is marked.

    Identity, the source as it is, is one of the results where it was measured like them; else it is a column more, as
    far as the first result with a source knows it.
    """
    measured = any(report.get("is_source") for report in reports)
    with_source = next((report for report in reports if report["source"]), None)
    rows: list[tuple[str, _Write, int, list[float | None], float | None]] = []
    for m in (BESIDE_SOURCE[0], *FLICKER, *BESIDE_SOURCE[1:], *BANDING, *FIDELITY):
        identity = m.of(with_source, "source_") if with_source else None
        label = _against(m.label, reports[0], m.key) if m in BESIDE_SOURCE else m.label
        rows.append((label, m.written, m.better, [m.of(report) for report in reports], identity))
    named: dict[tuple[str, str], int] = {}
    for report in reports:
        for row in (report["accuracy"] or {}).get("rows", ()):
            named.setdefault((row["label"], row["unit"]), 1 if row["better"] == "higher" else -1)
    for (label, unit), better in named.items():
        found = [_accuracy_row(report, label, unit) for report in reports]
        identity = next((row["identity"] for row in found if row and row["identity"] is not None), None)
        results = [row["result"] if row else None for row in found]
        written = functools.partial(quantity_html, unit=unit)
        rows.append((f"To the truth: {label}", written, better, results, identity))

    has_identity = not measured and any(row[4] is not None for row in rows)
    table = []
    for label, write, better, values, identity in rows:
        cells = [*values, identity] if has_identity else values
        known = [value for value in cells if value is not None]
        if not known:
            continue
        # What reads alike is equally good.
        best = write(max(known, key=lambda value: better * value))
        differ = better and any(write(value) != best for value in known)
        table.append((Cell(label), *(Cell(write(v), best=bool(differ) and write(v) == best) for v in cells)))
    heads = [_titled(short, full) for short, full in zip(*result_names(reports), strict=True)]
    return Table("Side by side", ("", *heads, *(("identity",) if has_identity else ())), tuple(table))


def _titled(short: str, full: str) -> str | Markup:
    return short if short == full else Markup('<span title="{}">{}</span>').format(full, short)


def _accuracy_row(report: Report, label: str, unit: str) -> dict[str, Any] | None:
    rows = (report["accuracy"] or {}).get("rows", ())
    return next((row for row in rows if (row["label"], row["unit"]) == (label, unit)), None)
