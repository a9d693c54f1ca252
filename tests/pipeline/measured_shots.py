"""Shots measured and reported the way tests want them, and single numbers of what comes out."""

from __future__ import annotations

import json
from typing import Any

import seqhdr
from seqhdr.pipeline.footage import Footage, open_footage
from seqhdr.pipeline.material import Material
from seqhdr.pipeline.measure import Measured, measure_shot
from seqhdr.quality.lattice import make_lattice
from tests.pipeline.report_shots import Array, hills, strict_json

FRAMES = range(1, 4)


def panning(speed_px: float, frame: int) -> Array:
    """Light of hills that move to the left."""
    return hills(shift_px=speed_px * (frame - 1))


def _opened(pattern: str | None, space: str | None = None) -> Footage | None:
    return None if pattern is None else open_footage(pattern, space=space, option="--output-space")


def measured(
    pattern: str,
    source: str | None = None,
    truth: str | None = None,
    *,
    space: str | None = None,
    half_width_lsb: float = 0.5,
    cuts: str = "auto",
    stride: int | None = None,
    on_frame: Any = lambda done, of: None,
) -> Measured:
    """What is measured of a sequence, and of a source and a truth beside it."""
    result = _opened(pattern, space)
    assert result is not None
    lattice = make_lattice(result.height, result.width, stride)
    material = Material(result, _opened(source), _opened(truth), half_width_lsb, cuts, lattice)
    return measure_shot(material, on_frame)


def reported(*patterns: str, **options: Any) -> dict[str, Any]:
    """The JSON of a single report, from its file."""
    result = seqhdr.report(patterns, **options)
    (data,) = result.data
    report: dict[str, Any] = strict_json(data)
    assert report == json.loads(json.dumps(result.reports[0]))
    return report


def column(found: Measured | dict[str, Any], key: str) -> list[Any]:
    """One number of every frame, measured or reported."""
    rows = found["frames"] if isinstance(found, dict) else found.rows
    return [row[key] for row in rows]
