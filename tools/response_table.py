"""How well ``seqhdr calibrate`` finds curves that are known, beside taking the frames for sRGB.

    python tools/response_table.py

Numbers are RMS errors of light in percent of the light at the top code, of the worst channel. The 8-bit pictures are
those of the tests: soft colour clouds exposed three times for ``debevec`` (EV -2, 0, 2) and ``robertson`` (EV -1, 0,
1), polygons for ``edges``, noisy patches for ``noise``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

# The pictures belong to the tests, which stand beside the tools.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from seqhdr.classic.response_edges import edge_curve
from seqhdr.classic.response_exposures import exposure_curve
from seqhdr.classic.response_noise import noise_curve
from seqhdr.color.response import known_curve
from tests.classic.response_pictures import CURVES, expose, patches, polygons, rms_error, soft_scene

METHODS = ("sRGB taken", "debevec", "robertson", "edges", "noise")


def errors(name: str) -> dict[str, float]:
    """Method → RMS error in light, 0..1."""
    scene = soft_scene()
    found = {"sRGB taken": known_curve("srgb")}
    for method, stops in (("debevec", (-2.0, 0.0, 2.0)), ("robertson", (-1.0, 0.0, 1.0))):
        shown = [expose(scene, name, ev, 0.002, seed).reshape(-1, 3) for seed, ev in enumerate(stops)]
        found[method] = exposure_curve(shown, stops, method)
    found["edges"] = edge_curve([expose(polygons(), name, noise=0.006)], 255)
    found["noise"] = noise_curve([expose(patches(), name, noise=0.03)], 255)
    return {method: rms_error(curve.light, name) for method, curve in found.items()}


def main() -> None:
    """Measure and print."""
    table = Table(title="RMS error of light, percent", title_justify="left")
    for column in ("curve", *METHODS):
        table.add_column(column, justify="right" if table.columns else "left")
    for name in CURVES:
        row = errors(name)
        table.add_row(name, *(f"{100 * row[method]:.2f}" for method in METHODS))
    Console().print(table)


if __name__ == "__main__":
    main()
