"""What all plots are drawn on: an axis, round numbers along it, and the frame of an inline SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from seqhdr.quality.readable import number, percent

__all__ = ["Axis", "drawing", "finite", "grid_lines", "nice_ticks"]


@dataclass(frozen=True)
class Axis:
    """Where frames and values lie: ``first`` .. ``last`` across, ``bottom`` .. ``top`` up ``height_px``."""

    first: int
    last: int
    bottom: float
    top: float
    height_px: int

    def x(self, frame: float) -> float:
        """0 .. 1 across the plot."""
        return (frame - self.first) / (self.last - self.first)

    def y(self, value: float) -> float:
        """Pixels from the top."""
        return self.height_px * (self.top - value) / (self.top - self.bottom)


def finite(value: float | None) -> float | None:
    """A number as it is; None for what is none, or not finite."""
    return float(value) if value is not None and math.isfinite(value) else None


def nice_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers, evenly spaced by 1, 2, 2.5 or 5 times a power of ten, from at most ``low`` to at least ``high``.

    Args:
        low: finite.
        high: finite, not below ``low``.
        most: as many numbers as there may be at most, 3 or more.
    """
    width = high - low
    if width <= 0:
        width = abs(high) or 1.0
        high = low + width
    power = 10.0 ** math.floor(math.log10(width / most))
    for factor in (1, 2, 2.5, 5, 10, 20, 25, 50):
        step = factor * power
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first < most:
            break
    return [round(i * step, 12) for i in range(first, last + 1)]


def drawing(
    name: str,
    title: str,
    description: str,
    height_px: int,
    parts: Sequence[Markup],
    *,
    frames: Sequence[int] = (),
    unit: str = "",
) -> Markup:
    """An ``<svg>`` that says what it shows; ``name`` begins its ids, a script may read out ``frames``."""
    shown = {"share": "%", "index": ""}.get(unit, unit)
    read = Markup(' data-frames="{}" data-unit="{}"').format(_runs(frames), shown) if frames else ""
    return Markup(
        '<svg class="plot" role="group" height="{h}" aria-labelledby="{n}-title {n}-desc"{read}>'
        '<title id="{n}-title">{title}</title><desc id="{n}-desc">{description}</desc>{parts}</svg>'
    ).format(h=height_px, n=name, title=title, description=description, read=read, parts=Markup("").join(parts))


def _runs(frames: Sequence[int]) -> str:
    """First frame and number of frames of each run of neighbours: ``1001:3 1010:1``."""
    starts = [i for i, frame in enumerate(frames) if i == 0 or frame != frames[i - 1] + 1]
    return " ".join(f"{frames[i]}:{end - i}" for i, end in zip(starts, [*starts[1:], len(frames)], strict=True))


def grid_lines(axis: Axis, ticks: Sequence[float], unit: str) -> list[Markup]:
    """A line and a label left of it for every tick, the first being the base line."""
    out = []
    for tick in ticks:
        y = axis.y(tick)
        label = percent(tick) if unit == "share" else number(tick)
        kind = "grid base" if tick == ticks[0] else "grid"
        out.append(Markup('<line class="{}" x1="0" x2="100%" y1="{y:.2f}" y2="{y:.2f}"/>').format(kind, y=y))
        out.append(Markup('<text class="y" x="-10" y="{:.2f}">{}</text>').format(y + 4, label))
    return out
