"""The pages of a report: one for a shot, one that compares results, one that lists shots. Each is a single file.

Names, patterns and header entries come out of files and may hold anything: all of it goes through Jinja2's
autoescaping or markupsafe, and the page's policy lets nothing be fetched from anywhere, nor any script run but its own.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from seqhdr.quality import page_plots as plots
from seqhdr.quality import page_tables as tables
from seqhdr.quality.plots import Mark
from seqhdr.quality.readable import amount, difference, number, percent, quantity, quantity_html

__all__ = ["Pictures", "WorstPicture", "render_compare", "render_index", "render_report"]

Report = dict[str, Any]

_TEMPLATES = Path(__file__).parent / "templates"
_MOST_LINKS = 6  # failing frames of one check that are named

# Name of a check, and where its number over the whole shot is, which is shown beside the worst frame's.
_BESIDE = {
    "flicker": ("flicker", "flicker_stops", "stop"),
    "jitter": ("flicker", "exposure_jitter_stops", "stop"),
    "banding": ("banding", "banding_index", "share"),
}


@dataclass(frozen=True)
class WorstPicture:
    """A frame that is worst in something: JPEG, heat map as PNG if there is one, and a line of text below."""

    frame: int
    why: str
    picture_jpeg: bytes
    heat_png: bytes | None
    caption: str


@dataclass(frozen=True)
class Pictures:
    """What a page shows besides numbers.

    Args:
        contact_sheet: frame number and JPEG.
        worst: the worst frames; those with a heat map are shown first.
        maps: title and PNG of maps over the whole shot.
        viewer: payload of the viewer, made by ``seqhdr.quality.viewer``; None leaves the viewer out.
        legend: what the colours of heat maps and maps mean, made by ``seqhdr.quality.thumbnails.heat_legend``.
    """

    contact_sheet: tuple[tuple[int, bytes], ...] = ()
    worst: tuple[WorstPicture, ...] = ()
    maps: tuple[tuple[str, bytes], ...] = ()
    viewer: dict[str, Any] | None = None
    legend: Markup | None = None


def render_report(report: Report, pictures: Pictures) -> str:
    """The page of one shot.

    Args:
        report: format 1, see ``seqhdr.pipeline.report``; any number may be None.
        pictures: what to show.

    Returns:
        HTML that needs no other file.
    """
    # Those with a map beside them are twice as wide: put together, they leave no gaps.
    pictures = replace(pictures, worst=tuple(sorted(pictures.worst, key=lambda picture: picture.heat_png is None)))
    named = _named_frames(report, pictures)
    frames = tables.frame_table(report, sorted(named))
    pictured = {picture.frame for picture in pictures.worst}
    return _render(
        "report.html",
        report=report,
        pictures=pictures,
        targets=pictured | {row[0].frame for row in frames.rows},
        pictured=pictured,
        checks=[_check(check, report) for check in report["verdict"]["checks"]],
        main_plot=plots.main_plot(report),
        plots=plots.small_plots(report),
        histogram=plots.deviation_histogram(report),
        tables=[
            tables.flicker_table(report),
            tables.fidelity_table(report),
            tables.banding_table(report),
            *filter(None, [tables.accuracy_table(report)]),
        ],
        sources=[tables.made_table(report), tables.method_table(report)],
        frame_table=frames,
    )


def render_compare(reports: Sequence[Report], pictures: Pictures) -> str:
    """The page that sets several results of one shot side by side, identity (the source as it is) among them.

    Args:
        reports: one of each result, with names that tell them apart.
        pictures: what to show; the viewer holds all results.

    Returns:
        HTML that needs no other file.

    Raises:
        ValueError: there are no reports.
    """
    if not reports:
        raise ValueError("got no reports: expected one at least")
    pictured = {picture.frame for picture in pictures.worst}
    short, _ = plots.result_names(reports)
    return _render(
        "compare.html",
        reports=reports,
        results=[(report, name, bool(report.get("is_source"))) for report, name in zip(reports, short, strict=True)],
        pictures=pictures,
        targets=pictured,
        pictured=pictured,
        table=tables.comparison_table(reports),
        plots=plots.overlaid_plots(reports, [Mark(p.frame, p.why) for p in pictures.worst]),
    )


def render_index(reports: Sequence[Report], hrefs: Sequence[str], thumbnails: Sequence[bytes | None]) -> str:
    """The page that lists shots, the one that flickers most over its source (or at all, without one) first.

    Args:
        reports: one of each shot.
        hrefs: path of each report's page, relative to this page, as the file is named (it is quoted here).
        thumbnails: a JPEG of each shot, or None.

    Returns:
        HTML that needs no other file but those it links to.

    Raises:
        ValueError: not one path and one picture for each report.
    """
    if not len(reports) == len(hrefs) == len(thumbnails):
        raise ValueError(
            f"got {len(reports)} reports, {len(hrefs)} paths, {len(thumbnails)} pictures: expected one each"
        )
    rows = []
    for report, href, thumbnail in zip(reports, hrefs, thumbnails, strict=True):
        # The leading dot keeps a name like "javascript:x" a file name.
        link = "./" + quote(href.replace("\\", "/"), safe="/")
        rows.append(_IndexRow(report, link, thumbnail, _worst_flicker(report)))
    rows.sort(key=lambda row: -math.inf if row.worst_stops is None else row.worst_stops, reverse=True)
    return _render("index.html", rows=rows, bad=sum(row.report["verdict"]["good"] is False for row in rows))


@dataclass(frozen=True)
class _IndexRow:
    report: Report
    href: str
    thumbnail: bytes | None
    worst_stops: float | None


def _worst_flicker(report: Report) -> float | None:
    flicker = report["flicker"]
    found = flicker["excess_flicker_stops"]
    found = flicker["flicker_stops"] if found is None else found
    return None if found is None or math.isnan(found) else float(found)


def _render(template: str, **values: Any) -> str:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"quantity": quantity_html, "percent": percent, "number": number, "difference": difference}
    environment.globals |= {"data_uri": _data_uri, "inline": _inline, "json": htmlsafe_json_dumps}
    scripts = []
    if "pictures" in values:
        scripts.append(_inline("report.js"))
        if values["pictures"].viewer is not None:
            scripts.insert(0, Markup(environment.get_template("viewer_scope.js").render()))
    # The page's policy names its scripts by their content, so that nothing else runs, handlers in attributes included.
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode('ascii')}'" for s in scripts]
    policy = Markup(" ".join(hashes) or "'none'")
    return environment.get_template(template).render(scripts=scripts, script_hashes=policy, **values)


def _inline(name: str) -> Markup:
    # Not a template: scripts may contain what Jinja2 would take for its own.
    return Markup((_TEMPLATES / name).read_text(encoding="utf-8"))


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _named_frames(report: Report, pictures: Pictures) -> set[int]:
    """Frames something on the page links to."""
    failing = (frame for check in report["verdict"]["checks"] for frame in (check["frames"] or [])[:_MOST_LINKS])
    contact = (frame for frame, _ in pictures.contact_sheet)
    worst = (entry["frame"] for entry in report["worst"])
    furthest = report["fidelity"]["worst_lsb_frame"]
    return {*failing, *contact, *worst, *report["cuts"], *([] if furthest is None else [furthest])}


def _check(check: dict[str, Any], report: Report) -> dict[str, Any]:
    """A check as it is shown: what was measured, of what, against which limit, and the whole shot's number beside it.

    What is held against the source (or the truth) says so in words rather than by a sign.
    """
    name, value, unit = check["name"], check["value"], check["unit"]
    label, _, against = check["label"].partition(", over the ")
    of = "all clipped, or not a number" if name == "blind" else "in the worst frame"
    if against:
        apart = difference(value, unit).rpartition(" ")[2]
        than = {"less": f"or more below the {against}", "more": f"above the {against}, at worst"}
        of = than.get(apart, f"as in the {against}, at worst")
    limit = quantity(check["limit"], unit)
    held = f"within {limit}" if check["ok"] else f"beyond {limit}"
    if name == "inside":
        held = f"at least {limit}" if check["ok"] else f"below {limit}"
    elif check["ok"] and against and value > check["limit"]:
        held = f"within a tenth of the {against}'s own"
    elif not check["limit"]:
        held = "none allowed"
    overall = []
    if name in _BESIDE:
        section, key, its_unit = _BESIDE[name]
        for kind in ("result", "source", "truth"):
            found = report[section].get(key if kind == "result" else f"{kind}_{key}")
            if found is not None:
                overall.append((kind, amount(found, its_unit) if its_unit == "stop" else quantity(found, its_unit)))
    frames = check["frames"] or []
    shown = {"label": label, "value": abs(value) if against else value, "of": of, "held": held, "overall": overall}
    return check | shown | {"frames": frames[:_MOST_LINKS], "more": max(len(frames) - _MOST_LINKS, 0)}
