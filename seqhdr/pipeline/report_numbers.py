"""From the frames of a shot to the numbers of the shot: means, worst frames, and the JSON they are written as."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from seqhdr.pipeline.footage import Footage
from seqhdr.pipeline.material import Material
from seqhdr.pipeline.measure import Measured
from seqhdr.pipeline.report_options import Limits
from seqhdr.pipeline.verdict import checks, sentence, summary_lines
from seqhdr.quality.temporal_std import STATIC_PX, STD_EDGES_STOPS, WINDOW, StdSummary
from seqhdr.quality.truth import TONE_CURVE

__all__ = ["FORMAT", "build_report", "worst_frames"]

#: Of the JSON. A number whose meaning changes raises it.
FORMAT = 1

_WORST = 6
# What is less, in stops or as a share, is rounding.
_WORTH_A_LOOK = 1e-4

Row = dict[str, Any]


def build_report(
    name: str, material: Material, found: Measured, limits: Limits, *, bins_reason: str | None, flow: str
) -> Row:
    """The JSON of a report.

    Args:
        name: what the shot is called.
        material: what was measured.
        found: what came out.
        limits: the user's.
        bins_reason: why the bins are as wide as they are, or None.
        flow: how motion was found, a few words.

    Returns:
        JSON-able, no NaN or infinity in it. Stops are those of :func:`seqhdr.quality.stops.stops`; shares are 0..1.
    """
    result, source, truth = material.result, material.source, material.truth
    rows = [_plain(row) for row in found.rows]
    lattice = material.lattice
    every = f"1 of {lattice.stride**2} pixels" if lattice.stride > 1 else "every pixel"
    report: Row = {
        "format": FORMAT,
        "name": name,
        "is_source": False,
        "result": {
            "pattern": result.shot.pattern,
            "frames": len(result.shot.frames),
            "first": result.shot.frames[0],
            "last": result.shot.frames[-1],
            "missing": list(result.shot.missing),
            "width": result.width,
            "height": result.height,
            "storage": result.first.storage,
            "encoding": _named(result),
            "made_by": _made_by(result),
        },
        "source": None,
        "truth": None if truth is None else {"pattern": truth.shot.pattern, "encoding": _named(truth)},
        "measured": {
            "stride": lattice.stride,
            "samples": lattice.rows * lattice.columns,
            "flow": flow,
            "static_px": STATIC_PX,
            "window": WINDOW,
            "audit": every if found.audit else None,
        },
    }
    if source is not None:
        report["source"] = {
            "pattern": source.shot.pattern,
            "encoding": _named(source),
            "bits": int(source.first.max_code or 255).bit_length(),
            "half_width_lsb": material.half_width_lsb if math.isfinite(material.half_width_lsb) else None,
            "bins_reason": bins_reason,
        }
    held = checks(rows, limits, material.against)
    report["verdict"] = {"good": all(check["ok"] for check in held), "sentence": sentence(held), "checks": held}
    report["flicker"] = _flicker(rows, found.std, material)
    report["banding"] = _banding(rows)
    report["fidelity"] = _fidelity(rows, found)
    report["accuracy"] = {"rows": found.accuracy, "tone_curve": TONE_CURVE} if found.accuracy else None
    report["cuts"] = found.cuts
    report["worst"] = worst_frames(rows)
    report["frames"] = rows
    report["summary"] = summary_lines(report)
    return report


def worst_frames(rows: Sequence[Row]) -> list[Row]:
    """The frames to look at: those that flicker, jitter, band or were extended most; flicker also over the source.

    Returns:
        ``frame``, ``why``, ``value`` and ``unit`` of each; at most six, each frame once.
    """
    excess = any(row["excess_flicker_stops"] is not None for row in rows)
    wanted = (
        ("flicker added", "excess_flicker_stops", "stop", 2),
        ("flicker", "flicker_stops", "stop", 1 if excess else 3),
        ("exposure jitter", "excess_jitter_stops" if excess else "jitter_stops", "stop", 1),
        ("banding", "banding_index", "share", 1),
        ("highlights", "gain_max_stops", "stop", 1),
    )
    chosen: dict[int, Row] = {}
    for why, key, unit, count in wanted:
        ranked = sorted((row for row in rows if (row[key] or 0) > _WORTH_A_LOOK), key=lambda row: -row[key])
        fresh = [row for row in ranked if row["frame"] not in chosen][:count]
        chosen |= {r["frame"]: {"frame": r["frame"], "why": why, "value": r[key], "unit": unit} for r in fresh}
    return list(chosen.values())[:_WORST]


def _flicker(rows: list[Row], std: StdSummary | None, material: Material) -> Row:
    out: Row = {}
    for name in ("result", "source", "truth"):
        prefix = "" if name == "result" else f"{name}_"
        own = std.by_name.get(name) if std else None
        out[f"{prefix}flicker_stops"] = _mean(rows, f"{prefix}flicker_stops")
        out[f"{prefix}exposure_jitter_stops"] = _mean(rows, f"{prefix}jitter_stops")
        out[f"{prefix}colour_jitter_stops"] = _mean(rows, f"{prefix}colour_jitter_stops")
        out[f"{prefix}motion_std_stops"] = own.motion_std_stops if own else None
        out[f"{prefix}static_std_stops"] = own.static_std_stops if own else None
    out["excess_flicker_stops"] = _mean(rows, "excess_flicker_stops")
    out["excess_jitter_stops"] = _mean(rows, "excess_jitter_stops")
    beside = "excess_" if material.against else ""
    out["worst_flicker_frame"] = _worst(rows, f"{beside}flicker_stops")
    out["worst_jitter_frame"] = _worst(rows, f"{beside}jitter_stops")
    out["static_share"] = std.static_share if std else None
    out["tof_px"], out["tlp"] = _mean(rows, "tof_px"), _mean(rows, "tlp")
    counted = std.by_name if std and std.by_name and any(s.motion_shares.any() for s in std.by_name.values()) else {}
    out["std_histogram"] = None
    if counted:
        shares = {name: _shares(counted[name].motion_shares) if name in counted else None for name in _NAMES}
        # JSON has no infinity: the last bin is open, and has no edge above.
        out["std_histogram"] = {"edges_stops": [edge for edge in STD_EDGES_STOPS if math.isfinite(edge)], **shares}
    return out


_NAMES = ("result", "source", "truth")


def _shares(values: Any) -> list[float]:
    return [float(value) for value in values]


def _banding(rows: list[Row]) -> Row:
    keys = ("banding_index", "plateau_share", "levels")
    out = {f"{prefix}{key}": _mean(rows, f"{prefix}{key}") for prefix in ("", "source_") for key in keys}
    return out | {"worst_banding_frame": _worst(rows, "banding_index")}


def _fidelity(rows: list[Row], found: Measured) -> Row:
    audit, (clipped, stops) = found.audit, found.gains
    lows = [r.minimum for r in found.ranges if r.minimum is not None]
    highs = [r.maximum for r in found.ranges if r.maximum is not None]
    spans = [r.range_stops for r in found.ranges if r.range_stops is not None]
    gains = [row["gain_max_stops"] for row in rows if row["gain_max_stops"] is not None]
    return {
        "inside_share": audit.container_share if audit else None,
        "exact_share": audit.exact_share if audit else None,
        "worst_lsb": audit.worst_lsb if audit else None,
        "worst_lsb_frame": audit.worst_frame if audit else None,
        "clipped_share": _mean(rows, "clipped_share"),
        "gain_max_stops": max(gains, default=None),
        "gain_mean_stops": stops / clipped if clipped else None,
        "minimum": min(lows, default=None),
        "maximum": max(highs, default=None),
        "nonfinite": sum(row["nonfinite"] for row in rows),
        "range_stops": max(spans, default=None),
    }


def _mean(rows: list[Row], key: str) -> float | None:
    values = [row[key] for row in rows if row.get(key) is not None]
    return float(np.mean(values)) if values else None


def _worst(rows: list[Row], key: str) -> int | None:
    values = [(row[key], row["frame"]) for row in rows if row.get(key) is not None]
    return max(values, key=lambda pair: pair[0])[1] if values else None


def _named(footage: Footage) -> str:
    return f"{footage.encoding.name} (assumed)" if footage.assumed else footage.encoding.name


def _made_by(footage: Footage) -> str | None:
    entries = footage.first.attributes
    if "seqhdr:version" in entries:
        told = {key: entries.get(f"seqhdr:{key}", "?") for key in ("version", "model", "bins")}
        return f"seqhdr {told['version']}, model {told['model']}, bins {told['bins']}"
    return str(entries["Software"]) if entries.get("Software") else None


def _plain(row: Row) -> Row:
    """Python's own numbers, and None for what is not finite: JSON knows neither NaN nor numpy."""
    out: Row = {}
    for key, value in row.items():
        number = value.item() if isinstance(value, np.generic) else value
        out[key] = None if isinstance(number, float) and not math.isfinite(number) else number
    for prefix in ("source_", "truth_"):
        for key in ("flicker_stops", "exposure_stops", "jitter_stops", "colour_jitter_stops"):
            out.setdefault(f"{prefix}{key}", None)
    return out
