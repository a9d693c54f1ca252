"""The plots of the pages: which numbers of a report are drawn over time, with which cuts, marks and limits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from seqhdr.quality.plots import Mark, Series, histogram, time_plot
from seqhdr.quality.readable import quantity, shortened

__all__ = ["Plot", "deviation_histogram", "main_plot", "overlaid_plots", "result_names", "small_plots"]

Report = dict[str, Any]

_ROLES = ("result", "source", "truth")
_LONGEST_NAME = 28  # letters
#: Stops that axes reach at least: what is below fills no plot, as nobody could see it.
_LEAST_STOPS = {"flicker": 0.002, "jitter": 0.002, "colour": 0.001}


@dataclass(frozen=True)
class Plot:
    """A drawing with what stands above it; ``legend`` holds the curves that have values, as they are called there."""

    title: str
    unit: str
    svg: Markup
    legend: tuple[Series, ...]

    @property
    def flat(self) -> bool:
        """Whether a sentence says all there is to draw."""
        return not self.svg.startswith("<svg")


def result_names(reports: Sequence[Report]) -> tuple[list[str], list[str]]:
    """What the results of a comparison are called, short enough for a legend, and in full for a title.

    The source is one of them where it was measured like a result; it is called identity.
    """
    full = [report["name"] for report in reports]
    short = shortened(full, _LONGEST_NAME)
    sources = [bool(report.get("is_source")) for report in reports]
    return ["identity" if source else name for name, source in zip(short, sources, strict=True)], full


def main_plot(report: Report) -> Plot:
    """Flicker of result, source and truth, with all worst frames and those over the limit."""
    limit, failing = _limit(report, "flicker")
    limit = max(limit, _LEAST_STOPS["flicker"])
    curves = _curves(report, "flicker_stops", "source_flicker_stops", "truth_flicker_stops")
    marks = _marks(report, None, "flicker")
    more = {"marks": marks, "failing": failing, "at_least": limit, "height_px": 220}
    return _plot(report, "flicker", "Flicker along the motion", "stop", curves, **more)


def small_plots(report: Report) -> list[Plot]:
    """The other plots, those that are zero all over last; without a single value only the first two are kept."""
    compared = "truth" if report["truth"] else "source"
    specs = (
        ("jitter", "Exposure jitter", "stop", ("jitter_stops", "source_jitter_stops")),
        ("banding", "Pixels in visible bands", "share", ("banding_index", "source_banding_index")),
        ("colour", "Colour jitter", "stop", ("colour_jitter_stops", "source_colour_jitter_stops")),
        ("clipped", "Clipped channels of the source", "share", ("clipped_share",)),
        ("gain", "Light added above clip, most", "stop", ("gain_max_stops",)),
        ("tof", f"tOF, motion of the result against the {compared}'s", "px", ("tof_px",)),
        ("psnr", "PSNR against the truth", "dB", ("psnr_db", "identity_psnr_db")),
    )
    plots = []
    for i, (name, title, unit, keys) in enumerate(specs):
        curves = _curves(report, *keys)
        if i >= 2 and not _drawn(curves):
            continue
        if name == "psnr":
            curves = [curves[0], Series("identity", curves[1].values, "source")]
        limit, failing = _limit(report, name)
        limit = max(limit, _LEAST_STOPS.get(name, 0.0))
        word = "highlights" if name == "gain" else name
        more = {"marks": _marks(report, word, word), "failing": failing, "at_least": limit, "from_zero": name != "psnr"}
        plots.append(_plot(report, name, title, unit, curves, **more))
    return sorted(plots, key=lambda plot: plot.flat)


def deviation_histogram(report: Report) -> Plot | None:
    """How the deviations over time are distributed; None where they were not measured."""
    counts = report["flicker"]["std_histogram"]
    if counts is None:
        return None
    curves = [Series(role, counts[role], role) for role in _ROLES if counts[role]]
    title = "Deviation over time, along the motion"
    svg = histogram(counts["edges_stops"], curves, name="plot-std", title=title, unit="stop")
    return Plot(title, "stop, share of samples", svg, _drawn(curves))


def overlaid_plots(reports: Sequence[Report], marks: Sequence[Mark]) -> list[Plot]:
    """Several results of one shot in each plot, and the source as identity; the marks go on the first, flicker."""
    specs = (
        ("flicker", "Flicker along the motion", "flicker_stops", "stop"),
        ("jitter", "Exposure jitter", "jitter_stops", "stop"),
        ("colour", "Colour jitter", "colour_jitter_stops", "stop"),
        ("banding", "Pixels in visible bands", "banding_index", "share"),
    )
    frames = sorted({frame["frame"] for report in reports for frame in report["frames"]})
    cuts = sorted({cut for report in reports for cut in report["cuts"]})
    starts = sorted({f["frame"] for report in reports for f in report["frames"] if f["starts_segment"]})
    names, _ = result_names(reports)
    with_source = None
    if not any(report.get("is_source") for report in reports):
        with_source = next((report for report in reports if report["source"]), None)
    plots = []
    for i, (name, title, key, unit) in enumerate(specs):
        curves = [
            Series(name, _at(report, frames, key), "source" if report.get("is_source") else f"other{which % 6 + 1}")
            for which, (name, report) in enumerate(zip(names, reports, strict=True))
        ]
        if with_source:
            curves.append(Series("identity", _at(with_source, frames, f"source_{key}"), "source"))
        svg = time_plot(
            curves,
            frames,
            name=f"plot-{name}",
            title=title,
            unit=unit,
            cuts=cuts,
            starts=starts,
            marks=() if i else marks,
            at_least=_LEAST_STOPS.get(name, 0.0),
            height_px=200,
        )
        plots.append(Plot(title, unit, svg, _drawn(curves)))
    return [plots[0], *sorted(plots[1:], key=lambda plot: plot.flat)]


def _plot(report: Report, name: str, title: str, unit: str, curves: Sequence[Series], **more: Any) -> Plot:
    frames = [frame["frame"] for frame in report["frames"]]
    starts = [frame["frame"] for frame in report["frames"] if frame["starts_segment"]]
    svg = time_plot(
        curves, frames, name=f"plot-{name}", title=title, unit=unit, cuts=report["cuts"], starts=starts, **more
    )
    return Plot(title, unit, svg, _drawn(curves))


def _curves(report: Report, *keys: str) -> list[Series]:
    """The result's key, then the source's and the truth's."""
    return [
        Series(role, [frame[key] for frame in report["frames"]], role) for role, key in zip(_ROLES, keys, strict=False)
    ]


def _at(report: Report, frames: Sequence[int], key: str) -> list[float | None]:
    found = {frame["frame"]: frame[key] for frame in report["frames"]}
    return [found.get(frame) for frame in frames]


def _drawn(curves: Iterable[Series]) -> tuple[Series, ...]:
    return tuple(curve for curve in curves if any(value is not None for value in curve.values))


def _marks(report: Report, word: str | None, about: str) -> list[Mark]:
    """The worst frames: all of them, or those whose reason has a word in it."""
    return [
        Mark(entry["frame"], f"{entry['why']} {quantity(entry['value'], entry['unit'])}", about in entry["why"])
        for entry in report["worst"]
        if word is None or word in entry["why"]
    ]


def _limit(report: Report, word: str) -> tuple[float, list[int]]:
    """Limit and failing frames of the first check whose name has a word in it."""
    check = next((c for c in report["verdict"]["checks"] if word in c["name"]), None)
    return (0.0, []) if check is None else (check["limit"] or 0.0, check["frames"] or [])
