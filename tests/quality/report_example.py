"""A made-up report and its pictures: a shot that is steady but for two frames, with every key of the format."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from seqhdr.quality.page import Pictures, WorstPicture
from seqhdr.quality.thumbnails import heat_legend, heat_map, thumbnail

FIRST = 1001
EDGES = [0, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, None]


def example_report(
    frames: int = 240, source: bool = True, truth: bool = False, name: str = "shot_acescct"
) -> dict[str, Any]:
    """Format 1. Two cuts where there is room for them, frames 1012 and 1013 over the limit, all else steady."""
    rng = np.random.default_rng(frames)
    numbers = [FIRST + i for i in range(frames)]
    cuts = [FIRST + frames * 3 // 10, FIRST + frames * 7 // 10] if frames > 20 else []
    rows = [_row(frame, rng, frame == FIRST or frame in cuts, source, truth) for frame in numbers]
    failing = [row["frame"] for row in rows if (row["excess_flicker_stops"] or 0) > 0.002]
    worst = [{"frame": f, "why": "flicker", "value": rows[f - FIRST]["flicker_stops"], "unit": "stop"} for f in failing]
    if frames > 200:
        worst.append({"frame": 1130, "why": "jitter", "value": rows[129]["jitter_stops"], "unit": "stop"})
        worst.append({"frame": 1200, "why": "banding", "value": rows[199]["banding_index"], "unit": "share"})

    def mean(key: str) -> float | None:
        known = [row[key] for row in rows if row[key] is not None]
        return float(np.mean(known)) if known else None

    def shares(scale: float) -> list[float]:
        counts = np.histogram(scale * rng.lognormal(0, 0.7, 4000), bins=[*EDGES[:-1], np.inf])[0]
        return [float(c) for c in counts / counts.sum()]

    over = ", over the source" if source else ""
    checks = [
        _check("flicker", f"Flicker{over}", [row["excess_flicker_stops"] for row in rows], 0.002, "stop", failing),
        _check("jitter", f"Exposure jitter{over}", [row["excess_jitter_stops"] for row in rows], 0.002, "stop", []),
        _check("banding", "Pixels in visible bands", [row["banding_index"] for row in rows], 0.02, "share", []),
        _check("nonfinite", "NaN or infinite", [0], 0, "channels", []),
    ]
    checks = [check for check in checks if check["value"] is not None]
    good = not failing
    sentence = "Steady, even in exposure, no bands, no NaN." if good else "It flickers (frames 1012-1013)."
    both, three = (lambda v: v if source else None), (lambda v: v if truth else None)
    return {
        "format": 1,
        "name": name,
        "result": {
            "pattern": f"out/{name}.%04d.exr",
            "frames": frames,
            "first": FIRST,
            "last": FIRST + frames - 1,
            "missing": [],
            "width": 1536,
            "height": 864,
            "storage": "half",
            "encoding": "acescct",
            "made_by": "seqhdr 0.1.0, model s, bins auto",
        },
        "source": {
            "pattern": f"plates/{name}_%04d.png",
            "encoding": "srgb",
            "bits": 8,
            "half_width_lsb": 0.5,
            "bins_reason": "no trace of compression",
        }
        if source
        else None,
        "truth": {"pattern": f"truth/{name}.%04d.exr", "encoding": "acescct"} if truth else None,
        "measured": {
            "stride": 6,
            "samples": 36864,
            "flow": "DIS medium at 1/2 size, from the source",
            "static_px": 0.25,
            "window": 8,
            "audit": "1 of 36 pixels" if source else None,
        },
        "verdict": {"good": good, "sentence": sentence, "checks": checks},
        "summary": [
            f"{name}: {frames} frames, 1536x864, half acescct",
            "flicker  0.0041 stop, source 0.0127",
            "banding  0.1 % of pixels in visible bands, source 41.3 %",
            "bins     99.998 % of unclipped channels inside; 1.8 % clipped",
            f"verdict  {'good' if good else 'LOOK AT IT'}: {sentence}",
        ],
        "flicker": {
            "flicker_stops": mean("flicker_stops"),
            "source_flicker_stops": mean("source_flicker_stops"),
            "truth_flicker_stops": mean("truth_flicker_stops"),
            "excess_flicker_stops": mean("excess_flicker_stops"),
            "worst_flicker_frame": 1012 if frames > 20 else None,
            "exposure_jitter_stops": mean("jitter_stops"),
            "source_exposure_jitter_stops": mean("source_jitter_stops"),
            "truth_exposure_jitter_stops": three(0.00031),
            "excess_jitter_stops": mean("excess_jitter_stops"),
            "worst_jitter_frame": 1130 if frames > 200 else None,
            "colour_jitter_stops": mean("colour_jitter_stops"),
            "source_colour_jitter_stops": mean("source_colour_jitter_stops"),
            "truth_colour_jitter_stops": three(0.00021),
            "motion_std_stops": 0.00312,
            "source_motion_std_stops": both(0.00931),
            "truth_motion_std_stops": three(0.00285),
            "static_std_stops": 0.00102,
            "source_static_std_stops": both(0.00698),
            "truth_static_std_stops": three(0.00088),
            "static_share": 0.312,
            "tof_px": both(0.0431),
            "tlp": both(0.0021),
            "std_histogram": {
                "edges_stops": EDGES,
                "result": shares(0.002),
                "source": shares(0.008) if source else None,
                "truth": shares(0.0018) if truth else None,
            },
        },
        "banding": {
            "banding_index": mean("banding_index"),
            "source_banding_index": mean("source_banding_index"),
            "plateau_share": 0.0311,
            "source_plateau_share": both(0.587),
            "levels": 212,
            "source_levels": both(9),
            "worst_banding_frame": 1200 if frames > 200 else None,
        },
        "fidelity": {
            "inside_share": both(0.99998),
            "exact_share": both(1.0),
            "worst_lsb": both(0.503),
            "worst_lsb_frame": both(FIRST + min(frames - 1, 87)),
            "clipped_share": both(0.0181),
            "gain_max_stops": both(3.71),
            "gain_mean_stops": both(0.94),
            "minimum": -0.00213,
            "maximum": 11.73,
            "nonfinite": 0,
            "range_stops": 12.4,
        },
        "accuracy": _accuracy(source) if truth else None,
        "cuts": cuts,
        "worst": worst,
        "frames": rows,
    }


def nothing_measured(report: dict[str, Any]) -> dict[str, Any]:
    """The same report with None for every number that may be None."""
    sections = {key: dict.fromkeys(report[key]) for key in ("flicker", "banding", "fidelity", "measured")}
    keep = ("frame", "starts_segment")
    rows = [{key: value if key in keep else None for key, value in row.items()} for row in report["frames"]]
    verdict = {"good": None, "sentence": "Nothing here could be judged.", "checks": []}
    given = {"result": report["result"] | {"made_by": None}, "source": None, "truth": None, "accuracy": None}
    return report | sections | given | {"frames": rows, "verdict": verdict, "worst": [], "cuts": [], "summary": []}


def example_pictures(viewer: dict[str, Any] | None = None) -> Pictures:
    """A contact sheet of 24 frames, two worst frames and two maps."""
    contact = _contact_sheet()
    y, x = np.mgrid[:90, :160].astype(np.float32)
    heat = 0.02 * np.exp(-((x - 50) ** 2 + (y - 35) ** 2) / 500)
    heat[70:, 100:] = np.nan
    worst = tuple(
        WorstPicture(frame, "flicker", thumbnail(_scene(i), 480), heat_map(heat, 0.02), f"0.0{2 - i}13 stop")
        for i, frame in enumerate((1012, 1013))
    )
    maps = (
        ("Deviation over time, result", heat_map(0.2 * heat, 0.02)),
        ("Deviation over time, source", heat_map(heat, 0.02)),
    )
    return Pictures(contact, worst, maps, viewer, heat_legend(0.02, "stop"))


@functools.cache
def _contact_sheet() -> tuple[tuple[int, bytes], ...]:
    return tuple((FIRST + 10 * i, thumbnail(_scene(i), 200)) for i in range(24))


def _row(frame: int, rng: np.random.Generator, starts: bool, source: bool, truth: bool) -> dict[str, Any]:
    wave = 1 + 0.4 * np.sin(frame / 23)
    own = 0.0036 * wave * rng.uniform(0.85, 1.2) + {1012: 0.0209, 1013: 0.0121}.get(frame, 0)
    its = 0.0118 * wave * rng.uniform(0.9, 1.15)
    jitter = 0.0004 * rng.uniform(0.2, 1.6) + (0.0019 if frame == 1130 else 0)
    banding = 0.001 * rng.uniform(0.4, 1.5) + (0.011 if frame == 1200 else 0)

    def moving(value: float, there: bool = True) -> float | None:
        return None if starts or not there else float(value)

    def still(value: float, there: bool = True) -> float | None:
        return float(value) if there else None

    return {
        "frame": frame,
        "starts_segment": starts,
        "flicker_stops": moving(own),
        "source_flicker_stops": moving(its, source),
        "truth_flicker_stops": moving(own * 0.9, truth),
        "excess_flicker_stops": moving(max(own - its, 0), source),
        "exposure_stops": moving(rng.normal(0, 0.0005)),
        "source_exposure_stops": moving(rng.normal(0, 0.002), source),
        "jitter_stops": moving(jitter),
        "source_jitter_stops": moving(0.0021 * rng.uniform(0.3, 1.5), source),
        "excess_jitter_stops": moving(0, source),
        "colour_jitter_stops": moving(0.0002 * rng.uniform(0.3, 1.5)),
        "source_colour_jitter_stops": moving(0.0012 * rng.uniform(0.3, 1.5), source),
        "tof_px": moving(0.043 * rng.uniform(0.7, 1.4), source),
        "tlp": None,
        "counted_share": moving(0.91 + 0.05 * np.sin(frame / 11)),
        "banding_index": still(banding),
        "source_banding_index": still(0.41 + 0.02 * np.sin(frame / 17), source),
        "inside_share": still(1.0 if frame % 7 else 0.99996, source),
        "clipped_share": still(0.018 * wave, source),
        "gain_max_stops": still(3.1 + 0.6 * np.sin(frame / 31), source),
        "maximum": still(11.0 + 0.7 * np.sin(frame / 31)),
        "nonfinite": 0,
        "psnr_db": still(65 + rng.normal(0, 0.3), truth),
        "identity_psnr_db": still(58.9 + rng.normal(0, 0.05), truth and source),
    }


def _check(
    name: str, label: str, values: list[float | None], limit: float, unit: str, failing: list[int]
) -> dict[str, Any]:
    value = max((v for v in values if v is not None), default=None)
    ok = not failing
    return {"name": name, "label": label, "value": value, "limit": limit, "unit": unit, "ok": ok, "frames": failing}


def _accuracy(source: bool) -> dict[str, Any]:
    rows = [
        ("whole", "dB", 65.08, 58.92, "higher"),
        ("flat areas", "dB", 65.85, 58.84, "higher"),
        ("texture", "dB", 64.76, 58.96, "higher"),
        ("SSIM", "", 0.99982, 0.99893, "higher"),
        ("clipped, log2 RMSE", "stop", 2.219, 3.192, "lower"),
        ("LPIPS", "", 0.0012, 0.0031, "lower"),
        ("PU21-PSNR", "dB", 55.4, 56.1, "higher"),
    ]
    keys = ("label", "unit", "result", "identity", "better")
    listed = [dict(zip(keys, row, strict=True)) | ({} if source else {"identity": None}) for row in rows]
    return {"rows": listed, "tone_curve": "Reinhard 2002, L/(1+L), sRGB"}


def _scene(i: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(216, 384, 3) light: a sky, a ground and a lamp that wanders."""
    y, x = np.mgrid[:216, :384].astype(np.float32)
    sky = np.stack([0.18 + y / 900, 0.3 + y / 900, 0.55 + y / 1500], -1)
    ground = (0.06 + 0.03 * np.sin(x / 9) * np.sin(y / 5))[..., None] * np.array([1.1, 0.9, 0.6], np.float32)
    picture = np.where((y > 140 + 12 * np.sin((x + 14 * i) / 60))[..., None], ground, sky)
    lamp = np.exp(-((x - 80 - 9 * i) ** 2 + (y - 60) ** 2) / 260)[..., None]
    return (picture + 14 * lamp * np.array([1.0, 0.85, 0.6], np.float32)).astype(np.float32)
