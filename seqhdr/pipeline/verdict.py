"""Is the shot good? Limits held against the rows of a report, the five lines people read, and the gate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seqhdr.errors import GateError, UsageError
from seqhdr.media.ranges import compact
from seqhdr.pipeline.report_options import Limits

__all__ = [
    "BANDING_LIMIT",
    "FLICKER_LIMIT_STOPS",
    "FORGIVEN",
    "JITTER_ALONE_LIMIT_STOPS",
    "JITTER_LIMIT_STOPS",
    "check_measurable",
    "checks",
    "raise_gate",
    "sentence",
    "summary_lines",
]

#: Flicker over the source's that a page calls good. A tenth of an 8-bit step at middle grey (0.02 stop) is unseen.
FLICKER_LIMIT_STOPS = 0.002
#: Exposure jitter over the source's that a page calls good: 0.14 % of the light.
JITTER_LIMIT_STOPS = 0.002
#: Exposure jitter where there is nothing to compare with: 0.7 % of the light, about where a flat wall seems to pulse.
JITTER_ALONE_LIMIT_STOPS = 0.01
#: Share of the source's own flicker or jitter that is forgiven where it is more than the limits above: of a camera that
#: shakes or a scene that is lit by fire, a tenth more is the flow's error.
FORGIVEN = 0.1
#: Share of pixels in visible plateaus that a page calls good.
BANDING_LIMIT = 0.02

Row = dict[str, Any]


def checks(rows: Sequence[Row], limits: Limits, against: str | None) -> list[dict[str, Any]]:
    """Hold every frame against the limits; where the user gives none, against our own.

    Args:
        rows: ``frames`` of a report.
        limits: the user's.
        against: ``source`` or ``truth``, whose flicker and jitter are subtracted, or None.

    Returns:
        JSON-able: per check the worst value, the limit, whether it holds, and the frames that fail.
    """
    over = f", over the {against}" if against else ""
    flicker, jitter = (f"{'excess_' if against else ''}{what}_stops" for what in ("flicker", "jitter"))
    # Flicker alone is noise and grain as much as flicker: nobody can say what is too much.
    own_flicker = FLICKER_LIMIT_STOPS if against else None
    own_jitter = JITTER_LIMIT_STOPS if against else JITTER_ALONE_LIMIT_STOPS
    asked = (
        ("flicker", f"Flicker{over}", flicker, _first(limits.max_flicker, own_flicker), "stop", max),
        ("jitter", f"Exposure jitter{over}", jitter, _first(limits.max_jitter, own_jitter), "stop", max),
        ("banding", "Pixels in visible bands", "banding_index", BANDING_LIMIT, "share", max),
        ("inside", "Channels inside their bins", "inside_share", _share(limits.min_inside), "share", min),
        ("nonfinite", "NaN or infinite", "nonfinite", 0, "channels", max),
    )
    found = []
    for name, label, key, limit, unit, worst in asked:
        values = {row["frame"]: row[key] for row in rows if row[key] is not None}
        if limit is None or not values:
            continue
        given = {"flicker": limits.max_flicker, "jitter": limits.max_jitter}.get(name)
        floors = {}
        if against and name in ("flicker", "jitter") and given is None:
            floors = {row["frame"]: FORGIVEN * (row[f"{against}_{name}_stops"] or 0.0) for row in rows}
        failing = [
            frame
            for frame, value in values.items()
            if (value > max(limit, floors.get(frame, limit)) if worst is max else value < limit)
        ]
        found.append(
            {
                "name": name,
                "label": label,
                "value": worst(values.values()),
                "limit": limit,
                "unit": unit,
                "ok": not failing,
                "frames": failing,
            }
        )
    blind = [row["frame"] for row in rows if row.get("blind")]
    if blind:
        # A frame all white or all NaN has no flicker to measure, and must not pass for steady.
        label = "Frames whose flicker is hidden"
        found.append(
            {"name": "blind", "label": label, "value": len(blind), "limit": 0, "unit": "", "ok": False, "frames": blind}
        )
    return found


def check_measurable(limits: Limits, *, has_source: bool, frames: int) -> None:
    """Refuse a gate that nothing could ever fail.

    Raises:
        UsageError: bins without a source, or flicker of a single frame.
    """
    if limits.min_inside is not None and not has_source:
        raise UsageError("--min-inside needs the codes the frames were made from: name them with --source")
    if frames < 2 and (limits.max_flicker is not None or limits.max_jitter is not None):
        raise UsageError("--max-flicker and --max-jitter need more than one frame: check the pattern and --frames")


def raise_gate(pattern: str, found: Sequence[dict[str, Any]], limits: Limits) -> None:
    """Raise if a check that the user asked for fails.

    Raises:
        GateError: it names what fails, by how much, and in which frames.
        UsageError: there is not one number to hold against a limit.
    """
    wanted = {"flicker": limits.max_flicker, "jitter": limits.max_jitter, "inside": limits.min_inside}
    held = {check["name"] for check in found}
    for name, option in (("flicker", "--max-flicker"), ("jitter", "--max-jitter"), ("inside", "--min-inside")):
        if wanted[name] is not None and name not in held:
            raise UsageError(
                f"{pattern}: {option} finds nothing to measure: too few frames follow each other, or all is clipped; "
                "leave it out, or check the pattern and --frames"
            )
    if limits.max_flicker is not None or limits.max_jitter is not None:
        wanted["blind"] = 0
    failing = [check for check in found if not check["ok"] and wanted.get(check["name"]) is not None]
    if not failing:
        return
    parts = []
    for check in failing:
        if check["name"] == "blind":
            parts.append(f"flicker cannot be seen, all is clipped or NaN, in {_frames(check['frames'], most=20)}")
            continue
        side = "below" if check["name"] == "inside" else "above"
        parts.append(
            f"{check['label'].lower()} {_valued(check['value'], check['unit'])} is {side} "
            f"{_valued(check['limit'], check['unit'])} in frame{'s' if len(check['frames']) > 1 else ''} "
            f"{compact(check['frames'])}"
        )
    raise GateError(f"{pattern}: {'; '.join(parts)}")


def sentence(found: Sequence[dict[str, Any]]) -> str:
    """What the checks come to, for people."""
    good = {
        "flicker": "steady",
        "jitter": "even in exposure",
        "banding": "no bands",
        "inside": "every channel in its bin",
        "nonfinite": "no NaN",
    }
    bad = {
        "flicker": "it flickers",
        "jitter": "its exposure jumps",
        "banding": "it has bands",
        "inside": "channels left their bins",
        "nonfinite": "it has NaN or infinite values",
        "blind": "nothing in it can be compared",
    }
    failing = [f"{bad[check['name']]} ({_frames(check['frames'])})" for check in found if not check["ok"]]
    for check in found:
        if check["name"] == "inside" and check["value"] < 1:
            good["inside"] = f"{_percent(check['value'])} of the channels in their bins, or more"
    words = failing or [good[check["name"]] for check in found]
    if not words:
        return "Nothing here could be judged."
    text = ", ".join(words)
    return f"{text[0].upper()}{text[1:]}."


def summary_lines(report: Row) -> list[str]:
    """The five lines a report prints: what it is, flicker, banding, bins, verdict."""
    result, flicker, banding, fidelity = (report[key] for key in ("result", "flicker", "banding", "fidelity"))
    cuts = f", {len(report['cuts'])} cut{'s' if len(report['cuts']) != 1 else ''}" if report["cuts"] else ""
    span = f"{result['first']}-{result['last']}" if result["frames"] > 1 else f"{result['first']}"
    span += f" without {compact(result['missing'], most=4)}" if result["missing"] else ""
    against = "source" if report["source"] else "truth" if report["truth"] else None

    def beside(key: str) -> str:
        value = flicker[f"{against}_{key}"] if against else None
        return f", {against} {value:.4f}" if value is not None else ""

    lines = [
        f"{report['name']}: {result['frames']} frame{'s' if result['frames'] != 1 else ''} {span}, "
        f"{result['width']}x{result['height']}, {result['storage']} {result['encoding']}{cuts}"
    ]
    if flicker["flicker_stops"] is None:
        lines.append("flicker  nothing to compare: no two frames follow each other")
    else:
        jitter = flicker["exposure_jitter_stops"]
        line = f"flicker  {flicker['flicker_stops']:.4f} stop"
        line += beside("flicker_stops")
        if jitter is not None:
            line += f"; exposure jitter {jitter:.4f}{beside('exposure_jitter_stops')}"
        lines.append(f"{line}; worst in frame {flicker['worst_flicker_frame']}")
    line = f"banding  {_percent(banding['banding_index'])} of pixels in visible bands"
    line += f", source {_percent(banding['source_banding_index'])}" if report["source"] else ""
    if banding["levels"] is not None:
        line += f"; {banding['levels']:.0f} levels in a smooth patch"
        line += f", source {banding['source_levels']:.0f}" if banding["source_levels"] is not None else ""
    lines.append(line)
    if fidelity["inside_share"] is not None:
        line = f"bins     {_percent(fidelity['inside_share'])} of unclipped channels inside"
        line += f"; {_percent(fidelity['clipped_share'])} clipped"
        line += f", extended by up to {fidelity['gain_max_stops']:.1f} stops" if fidelity["gain_max_stops"] else ""
    elif fidelity["minimum"] is not None:
        line = f"light    {fidelity['minimum']:.4g} to {fidelity['maximum']:.4g}"
    else:
        line = "light    none"
    line += f"; NaN or infinite: {fidelity['nonfinite']}"
    rows = [row for row in report["accuracy"]["rows"] if row["unit"] == "dB"] if report["accuracy"] else []
    if rows:
        identity = rows[0]["identity"]
        gain = f", identity {identity:.2f}" if identity is not None else ""
        line += f"; {rows[0]['label']} {rows[0]['result']:.2f} dB{gain}"
    lines.append(line)
    lines.append(f"verdict  {'good' if report['verdict']['good'] else 'LOOK AT IT'}: {report['verdict']['sentence']}")
    return lines


def _first(given: float | None, own: float | None) -> float | None:
    return own if given is None else given


def _share(percent: float | None) -> float:
    return 1.0 if percent is None else percent / 100


def _frames(frames: Sequence[int], most: int = 4) -> str:
    return f"frame{'s' if len(frames) > 1 else ''} {compact(frames, most=most)}"


def _percent(share: float) -> str:
    """A share that reads 100 % or 0 % only where it is all or nothing."""
    if share in (0, 1):
        return f"{100 * share:.0f} %"
    return f"{min(max(100 * share, 0.001), 99.999):.3f} %" if share > 0.99 or share < 0.001 else f"{100 * share:.1f} %"


def _valued(value: float, unit: str) -> str:
    return _percent(value) if unit == "share" else f"{value:.4g} {unit}"
