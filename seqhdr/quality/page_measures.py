"""The numbers of a report that its tables show: where each one is, how it is written, and which of two is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from seqhdr.quality.readable import difference, quantity_html

__all__ = ["BANDING", "BESIDE_SOURCE", "FIDELITY", "FLICKER", "FURTHEST", "Measure"]

Report = dict[str, Any]


@dataclass(frozen=True)
class Measure:
    """A number of a report: where it is, and which of two is better (1 the larger, -1 the smaller, 0 neither).

    What is ``relative`` is a difference to the source's.
    """

    label: str
    section: str
    key: str
    unit: str
    better: int = -1
    relative: bool = False

    def of(self, report: Report, prefix: str = "") -> float | None:
        """The number, or None; of what a channel is off its code, only how far."""
        value: float | None = report[self.section].get(prefix + self.key)
        return abs(value) if self.key == "worst_lsb" and value is not None else value

    def written(self, value: float | None) -> Markup:
        """The number as it stands in a cell."""
        if self.relative:
            return Markup.escape(difference(value, self.unit))
        return quantity_html(value, self.unit)


#: Of result, source and truth, over time.
FLICKER = (
    Measure("Flicker along the motion", "flicker", "flicker_stops", "stop"),
    Measure("Exposure jitter", "flicker", "exposure_jitter_stops", "stop"),
    Measure("Colour jitter", "flicker", "colour_jitter_stops", "stop"),
    Measure("Deviation over time, along the motion", "flicker", "motion_std_stops", "stop"),
    Measure("Deviation over time, where nothing moves", "flicker", "static_std_stops", "stop"),
)
#: Of the result, held against its source.
BESIDE_SOURCE = (
    Measure("Flicker, beside the source's", "flicker", "excess_flicker_stops", "stop", relative=True),
    Measure("Exposure jitter, beside the source's", "flicker", "excess_jitter_stops", "stop", relative=True),
    Measure("tOF, flow of result against source", "flicker", "tof_px", "px"),
    Measure("tLP, change in LPIPS against source", "flicker", "tlp", ""),
)
#: Of result and source.
BANDING = (
    Measure("Pixels in visible bands", "banding", "banding_index", "share"),
    Measure("Pixels in plateaus of any step", "banding", "plateau_share", "share"),
    Measure("Levels in smooth regions", "banding", "levels", "", 1),
)
#: The frame in which it was found stands below it.
FURTHEST = Measure("Furthest from its code, in codes", "fidelity", "worst_lsb", "")
#: Of the result.
FIDELITY = (
    Measure("Channels inside their bin", "fidelity", "inside_share", "share", 1),
    Measure("Channels that give their code back", "fidelity", "exact_share", "share", 1),
    FURTHEST,
    Measure("Clipped channels of the source", "fidelity", "clipped_share", "share", 0),
    Measure("Light added above clip, most", "fidelity", "gain_max_stops", "stop", 0),
    Measure("Light added above clip, mean", "fidelity", "gain_mean_stops", "stop", 0),
    Measure("Least light", "fidelity", "minimum", "", 0),
    Measure("Most light", "fidelity", "maximum", "", 0),
    Measure("Range", "fidelity", "range_stops", "stop", 0),
    Measure("NaN and infinite channels", "fidelity", "nonfinite", ""),
)
