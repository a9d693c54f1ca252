"""Plots as inline SVG that stretch with the page: widths in per cent, heights and letters in pixels.

Colours come from the page's style sheet through the classes ``result``, ``source``, ``truth`` and ``other1`` …
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from seqhdr.quality.readable import amount, number, percent, quantity
from seqhdr.quality.svg import Axis, drawing, finite, grid_lines, nice_ticks

__all__ = ["Mark", "Series", "histogram", "time_plot"]

_SPAN = 1000  # the width of a plot in its own units, and the number of columns curves are thinned out to
_MARK_ROOM = 0.055  # labels of marks nearer than this share of the width would touch


@dataclass(frozen=True)
class Series:
    """A curve: its label, a value for each frame (None where there is none), and the class it is drawn with."""

    label: str
    values: Sequence[float | None]
    role: str = "result"


@dataclass(frozen=True)
class Mark:
    """A frame to look at: what to say about it, and whether this plot is about what is wrong with it."""

    frame: int
    text: str
    strong: bool = True


def time_plot(
    series: Sequence[Series],
    frames: Sequence[int],
    *,
    name: str,
    title: str,
    unit: str,
    cuts: Sequence[int] = (),
    starts: Sequence[int] = (),
    marks: Sequence[Mark] = (),
    failing: Collection[int] = (),
    at_least: float = 0.0,
    from_zero: bool = True,
    height_px: int = 170,
) -> Markup:
    """Curves over the frames of a shot, broken at cuts, at other segment starts and where frames are missing.

    Of more frames than the plot has columns, each column keeps its first, least, largest and last value. A value v
    lies at y = height · (top − v) / (top − bottom), top and bottom being the ends of the axis.

    Args:
        series: the curves, the one marks sit on first. Values that are not finite are gaps.
        frames: the frame number of each value, ascending.
        name: letters and dashes that no other plot of the page has; ids begin with it.
        title: what is plotted.
        unit: of the values, as in :func:`seqhdr.quality.readable.quantity`.
        cuts: frames that follow a cut, drawn as lines.
        starts: frames that do not go on from the one before.
        marks: frames to look at; each that has a value becomes a link to ``#frame-N``.
        failing: frames that are over a limit, drawn below the axis.
        at_least: the axis reaches this far, so that nothing looks large which is not.
        from_zero: whether the axis begins at zero; else at the least value.
        height_px: of the axis.

    Returns:
        An ``<svg>``, or a sentence in a paragraph where there is nothing to plot or all of it is zero.

    Raises:
        ValueError: a curve has another number of values than there are frames.
    """
    for curve in series:
        if len(curve.values) != len(frames):
            raise ValueError(f"got {len(curve.values)} values of {curve.label!r}: expected {len(frames)}, one a frame")
    if len(frames) < 2:
        return Markup('<p class="nothing">A single frame: there is nothing to plot over time.</p>')
    kept = [Series(c.label, [finite(v) for v in c.values], c.role) for c in series]
    kept = [curve for curve in kept if any(v is not None for v in curve.values)]
    if not kept:
        return Markup('<p class="nothing">Not measured.</p>')
    known = [v for curve in kept for v in curve.values if v is not None]
    if from_zero and not any(known):
        return Markup('<p class="nothing">{} in every frame.</p>').format(quantity(0.0, unit))

    low = min(0.0, *known) if from_zero else min(known)
    ticks = nice_ticks(low, max(at_least, *known) if from_zero else max(known))
    axis = Axis(frames[0], frames[-1], ticks[0], ticks[-1], height_px)

    step = min(b - a for a, b in itertools.pairwise(frames))
    begins = {*cuts, *starts, *(b for a, b in itertools.pairwise(frames) if b - a > step)}
    cut_lines = _cut_lines(axis, [f for f in cuts if frames[0] <= f <= frames[-1]])
    curves = [
        Markup(
            '<path class="series {}" d="{}" vector-effect="non-scaling-stroke" data-label="{}" data-values="{}">'
            "<title>{}</title></path>"
        ).format(c.role, _path(axis, frames, c.values, begins), c.label, _read_out(c.values, unit), _extent(c, unit))
        for c in reversed(kept)  # the first one on top
    ]
    below = _below(axis, sorted(set(failing) & set(frames)), step)
    parts = [*grid_lines(axis, ticks, unit), *_frame_labels(axis), *cut_lines]
    parts.append(
        Markup(
            '<svg class="curves" viewBox="0 0 {} {}" preserveAspectRatio="none" width="100%" height="{}">{}</svg>'
        ).format(_SPAN, height_px, height_px, Markup("").join([*curves, *below]))
    )
    parts += _marks(axis, marks, frames, kept[0].values, set(failing))
    return drawing(name, title, _describe(kept, unit, frames, cuts), height_px, parts, frames=frames, unit=unit)


def histogram(
    edges: Sequence[float | None], series: Sequence[Series], *, name: str, title: str, unit: str, height_px: int = 170
) -> Markup:
    """Shares by bin as bars, all series of a bin side by side; a bar is height · share / top of the axis high.

    Args:
        edges: lower ends of the bins, or these and the upper end of the last, which may be None or infinite.
        series: shares 0 .. 1 of each bin; series without any are left out.
        name: as for :func:`time_plot`.
        title: what is counted.
        unit: of the edges.
        height_px: of the axis.

    Returns:
        An ``<svg>``, or a sentence in a paragraph where nothing was counted.

    Raises:
        ValueError: the number of shares and edges do not go together.
    """
    kept = [curve for curve in series if any(finite(v) is not None for v in curve.values)]
    if not kept:
        return Markup('<p class="nothing">Not measured.</p>')
    bins = len(kept[0].values)
    if any(len(curve.values) != bins for curve in kept) or len(edges) not in (bins, bins + 1):
        got = [len(curve.values) for curve in kept]
        raise ValueError(f"got {len(edges)} edges and {got} shares: expected one edge for each share, or one more")
    top = max(v for curve in kept for v in map(finite, curve.values) if v is not None)
    ticks = nice_ticks(0.0, top or 1.0)
    axis = Axis(0, bins, 0.0, ticks[-1], height_px)

    parts = grid_lines(axis, ticks, "share")
    width = 76.0 / bins / len(kept)
    for which, curve in enumerate(kept):
        for i, share in enumerate(map(finite, curve.values)):
            y = axis.y(share or 0.0)
            parts.append(
                Markup(
                    '<rect class="bar {}" x="{:.2f}%" y="{:.2f}" width="{:.2f}%" height="{:.2f}">'
                    "<title>{}: {} in {}</title></rect>"
                ).format(
                    curve.role,
                    100.0 * i / bins + 12.0 / bins + which * width,
                    y,
                    width,
                    height_px - y,
                    curve.label,
                    percent(share),
                    _bin_text(edges, i, unit),
                )
            )
    for i, edge in enumerate(edges[: bins + 1]):
        if edge is not None and math.isfinite(edge):
            minor = "minor" if i % 2 else "major"
            parts.append(
                Markup('<text class="x {}" x="{:.2f}%" y="{}">{}</text>').format(
                    minor, 100.0 * i / bins, height_px + 18, number(edge)
                )
            )
    labels = " and ".join(curve.label for curve in kept)
    return drawing(name, title, f"Shares of {labels} in {bins} bins, in {unit}.", height_px, parts)


def _frame_labels(axis: Axis) -> list[Markup]:
    ticks = nice_ticks(axis.first, axis.last, most=9)
    return [
        Markup('<text class="x" x="{:.2f}%" y="{}">{}</text>').format(
            100 * axis.x(tick), axis.height_px + 20, int(tick)
        )
        for tick in ticks
        if tick == int(tick) and axis.first <= tick <= axis.last
    ]


def _cut_lines(axis: Axis, cuts: Sequence[int]) -> list[Markup]:
    out = []
    for cut in cuts:
        x = 100 * axis.x(cut)
        line = Markup('<line class="cut" x1="{x:.2f}%" x2="{x:.2f}%" y1="-4" y2="{h}"/>')
        out.append(line.format(x=x, h=axis.height_px))
        if len(cuts) <= 6:
            out.append(Markup('<text class="cut" x="{:.2f}%" y="-8">cut {}</text>').format(x, cut))
    return out


def _below(axis: Axis, failing: Sequence[int], step: int) -> list[Markup]:
    """Bars below the axis, each run of frames one, at least two units wide so that a single frame shows."""
    if not failing:
        return []
    pieces = []
    for frame in failing:
        middle, half = _SPAN * axis.x(frame), max(_SPAN * step / (axis.last - axis.first) / 2, 1.0)
        pieces.append(f"M{max(middle - half, 0):.1f} {axis.height_px}H{min(middle + half, _SPAN):.1f}")
    return [Markup('<path class="failing" d="{}" vector-effect="non-scaling-stroke"/>').format("".join(pieces))]


def _path(axis: Axis, frames: Sequence[int], values: Sequence[float | None], begins: set[int]) -> str:
    runs: list[list[tuple[float, float]]] = []
    joined = False
    for frame, value in zip(frames, values, strict=True):
        if value is None:
            joined = False
            continue
        if not joined or frame in begins:
            runs.append([])
        runs[-1].append((_SPAN * axis.x(frame), axis.y(value)))
        joined = True
    # A lonely point gets a line too short to see, whose round ends make it a dot.
    return "".join(
        "M" + "L".join(f"{x:.1f} {y:.2f}" for x, y in _thinned(run)) + ("h.1" if len(run) == 1 else "") for run in runs
    )


def _thinned(run: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """First, least, largest and last point of every column of one unit (Jugel et al., M4, VLDB 2014)."""
    if len(run) <= _SPAN:
        return run
    columns: dict[int, list[tuple[float, float]]] = {}
    for point in run:
        columns.setdefault(int(point[0]), []).append(point)
    out = []
    for points in columns.values():
        chosen = {points[0], min(points, key=lambda p: p[1]), max(points, key=lambda p: p[1]), points[-1]}
        out += sorted(chosen)
    return out


def _marks(
    axis: Axis, marks: Sequence[Mark], frames: Sequence[int], values: Sequence[float | None], failing: set[int]
) -> list[Markup]:
    at = dict(zip(frames, values, strict=True))
    here = sorted((mark for mark in marks if at.get(mark.frame) is not None), key=lambda mark: mark.frame)
    labelled: list[float] = []
    for mark in sorted(here, key=lambda mark: at[mark.frame] or 0.0, reverse=True):
        if all(abs(axis.x(mark.frame) - x) >= _MARK_ROOM for x in labelled):
            labelled.append(axis.x(mark.frame))
    out = []
    for mark in here:
        x, y = axis.x(mark.frame), axis.y(at[mark.frame] or 0.0)
        text = Markup('<text x="{:.2f}%" y="{:.2f}">{}</text>').format(100 * x, y - 10, mark.frame)
        out.append(
            Markup(
                '<a class="mark{kind}" href="#frame-{f}" data-frame="{f}" aria-label="Frame {f}: {text}">'
                '<title>Frame {f}: {text}</title><circle class="reach" cx="{x:.2f}%" cy="{y:.2f}" r="12"/>'
                '<circle class="dot" cx="{x:.2f}%" cy="{y:.2f}" r="4"/>{label}</a>'
            ).format(
                kind=" over" if mark.frame in failing else "" if mark.strong else " weak",
                f=mark.frame,
                text=mark.text,
                x=100 * x,
                y=y,
                label=text if x in labelled else "",
            )
        )
    return out


def _read_out(values: Sequence[float | None], unit: str) -> str:
    """What a script says about each frame, as it is written everywhere else; empty where nothing was measured."""
    return "|".join("" if v is None else amount(v, unit) for v in values)


def _extent(curve: Series, unit: str) -> str:
    known = [v for v in curve.values if v is not None]
    return f"{curve.label} from {quantity(min(known), unit)} to {quantity(max(known), unit)}"


def _describe(series: Sequence[Series], unit: str, frames: Sequence[int], cuts: Sequence[int]) -> str:
    parts = [_extent(curve, unit) for curve in series]
    after = f"; cuts at {', '.join(map(str, cuts[:20]))}" if cuts else ""
    return f"Frames {frames[0]} to {frames[-1]}: {', '.join(parts)}{after}."


def _bin_text(edges: Sequence[float | None], i: int, unit: str) -> str:
    upper = finite(edges[i + 1]) if i + 1 < len(edges) else None
    lower = number(edges[i])
    return f"{lower} and more {unit}" if upper is None else f"{lower} to {number(upper)} {unit}"
