"""Reports as files: measure a shot, write its page and its JSON; compare several results; list several shots."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from seqhdr.errors import UsageError
from seqhdr.media.atomic import whole_file
from seqhdr.media.shot import EXR_EXTENSIONS, SOURCE_EXTENSIONS, Shot, find_shot
from seqhdr.media.timecode import parse_fps
from seqhdr.pipeline.footage import Footage, open_footage
from seqhdr.pipeline.input_curve import check_header_curve, load_input_curve
from seqhdr.pipeline.material import Material
from seqhdr.pipeline.measure import measure_shot
from seqhdr.pipeline.reference_flow import flow_size
from seqhdr.pipeline.report_numbers import FORMAT, build_report
from seqhdr.pipeline.report_options import ReportOptions
from seqhdr.pipeline.report_pictures import comparison_pictures, shot_pictures
from seqhdr.pipeline.verdict import check_measurable
from seqhdr.pipeline.verify import asked_half_width
from seqhdr.quality.lattice import make_lattice
from seqhdr.quality.page import render_compare, render_index, render_report
from seqhdr.quality.perceptual import PerceptualDistance, load_lpips

__all__ = ["Comparison", "ShotPage", "compare_results", "page_path", "report_shot", "write_index"]

OnFrame = Callable[[str, int, int], None]


@dataclass(frozen=True)
class ShotPage:
    """One report: its numbers, where page and JSON lie, and a thumbnail (JPEG) for an index."""

    report: dict[str, Any]
    page: Path
    data: Path
    thumbnail: bytes | None


@dataclass(frozen=True)
class Comparison:
    """Reports of several results of one shot, and where their common page and JSON lie."""

    reports: tuple[dict[str, Any], ...]
    page: Path
    data: Path


def page_path(pattern: str, options: ReportOptions) -> Path:
    """Where the page of a shot goes; its JSON lies beside it.

    Raises:
        ShotError: the pattern matches no file.
    """
    shot = find_shot(pattern, missing="split", extensions=(*SOURCE_EXTENSIONS, *EXR_EXTENSIONS))
    return _page(shot, options)


def _page(shot: Shot, options: ReportOptions) -> Path:
    return (options.output or shot.directory) / f"{shot.name}.report.html"


def report_shot(
    pattern: str,
    source: str | None,
    truth: str | None,
    options: ReportOptions,
    *,
    on_frame: OnFrame = lambda shot, done, of: None,
) -> ShotPage:
    """Measure one shot and write its page and its JSON.

    Args:
        pattern: the frames to measure.
        source, truth: what they were made from, and what they should be, or None.
        options: the user's wishes; its limits decide the verdict, but raise nothing here.
        on_frame: told the shot, and how many of its frames are done, of how many.

    Raises:
        UsageError: limits that nothing can meet or miss.
        InputError: frames that cannot be used.
        FramesFailedError: the page cannot be written.
    """
    material, bins_reason = _material(pattern, source, truth, options)
    page = _page(material.result.shot, options)
    _make_folder(page.parent)
    found = measure_shot(material, lambda done, of: on_frame(pattern, done, of))
    report = build_report(
        material.result.shot.name,
        material,
        found,
        options.limits,
        bins_reason=bins_reason,
        flow=_flow_words(material),
    )
    pictures = shot_pictures(material, found, report["worst"])
    data = page.with_suffix(".json")
    _write(data, json.dumps(report, indent=1, allow_nan=False) + "\n")
    _write(page, render_report(report, pictures))
    return ShotPage(report, page, data, found.thumbnails[len(found.thumbnails) // 2][1] if found.thumbnails else None)


def compare_results(
    patterns: Sequence[str],
    source: str | None,
    truth: str | None,
    options: ReportOptions,
    *,
    on_frame: OnFrame = lambda shot, done, of: None,
    on_report: Callable[[dict[str, Any]], None] = lambda report: None,
) -> Comparison:
    """Measure several results of one shot and show them side by side; the source itself is one of them, as identity.

    Arguments and errors as for :func:`report_shot`.
    """
    options = dataclasses.replace(options, input_space=options.input_space or _input_space(patterns, options))
    every = [_material(pattern, source, truth, options) for pattern in patterns]
    if source is not None:
        # Its encoding is the input's; the options name that of the results.
        shown = every[0][0]
        width = f"{shown.half_width_lsb:g}" if math.isfinite(shown.half_width_lsb) else None
        as_result = dataclasses.replace(options, output_space=shown.common.encoding.name, bins=options.bins or width)
        every.append(_material(source, source, truth, as_result, like=shown.result.shot))
    labels = _labels([material.result for material, _ in every])
    first = every[0][0].result
    for material, _ in every[1:]:
        other = material.result
        if (other.height, other.width) != (first.height, first.width):
            raise UsageError(
                f"{other.shot.pattern}: is {other.width}x{other.height}, {first.shot.pattern} is "
                f"{first.width}x{first.height}: compare results of one size"
            )
    page = (options.output or first.shot.directory) / f"{first.shot.name}.compare.html"
    _make_folder(page.parent)
    reports = []
    for label, (material, reason) in zip(labels, every, strict=True):
        found = measure_shot(material, lambda done, of, label=label: on_frame(label, done, of))  # type: ignore[misc]
        report = build_report(
            label, material, found, options.limits, bins_reason=reason, flow=_flow_words(material)
        ) | {"is_source": material.result.shot.pattern == source}
        reports.append(report)
        on_report(report)
    shared = set(every[0][0].result.shot.frames).intersection(*(m.result.shot.frames for m, _ in every))
    worst = {row["frame"]: row for report in reversed(reports) for row in report["worst"] if row["frame"] in shared}
    materials = [material for material, _ in every]
    pictures = comparison_pictures(labels, materials, list(worst.values())[::-1], sorted(shared))
    data = page.with_suffix(".json")
    _write(data, json.dumps({"format": FORMAT, "results": reports}, indent=1, allow_nan=False) + "\n")
    _write(page, render_compare(reports, pictures))
    return Comparison(tuple(reports), page, data)


def write_index(written: Sequence[ShotPage], options: ReportOptions) -> Path:
    """Write the page that lists several shots, the one that flickers most first.

    It lies in the folder of the options, else in the one that holds all pages, and beside the first of them where
    that would be the root of the disk.
    """
    folders = [page.page.parent.resolve() for page in written]
    shared = Path(os.path.commonpath(folders))
    folder = options.output or (folders[0] if shared == Path(shared.anchor) else shared)
    # A name that no shot's page can have.
    index = folder / "reports.html"
    hrefs = [Path(os.path.relpath(page.page, folder)).as_posix() for page in written]
    _write(index, render_index([page.report for page in written], hrefs, [page.thumbnail for page in written]))
    return index


def _material(
    pattern: str, source: str | None, truth: str | None, options: ReportOptions, *, like: Shot | None = None
) -> tuple[Material, str | None]:
    """What is to be measured, and why its bins are as wide as they are; of ``like``, only the frames it has too."""
    ocio, curve = options.ocio, load_input_curve(options.input_curve)
    result = open_footage(
        pattern, frames=options.frames, space=options.output_space, ocio=ocio, option="--output-space"
    )
    if like is not None:
        on_disk = set(result.shot.available)
        segments = tuple(tuple(frame for frame in run if frame in on_disk) for run in like.segments)
        kept = tuple(frame for run in segments for frame in run)
        result = dataclasses.replace(result, shot=dataclasses.replace(result.shot, frames=kept, segments=segments))
        # The source as a result: its curve is the input's.
        result = result if curve is None else dataclasses.replace(result, encoding=curve.on(result.encoding))
    header = result.first.attributes
    origin, ideal, reason = None, None, None
    width = 0.5
    if source is not None:
        space = options.input_space or header.get("seqhdr:input_space")
        check_header_curve(header, curve, result.first.path)
        origin = open_footage(source, space=space and str(space), ocio=ocio, option="--input-space")
        origin = origin if curve is None else dataclasses.replace(origin, encoding=curve.on(origin.encoding))
        if origin.first.max_code is None:
            raise UsageError(
                f"{source}: holds {origin.first.storage} values, and a source is 8- to 16-bit codes: "
                "give it as --truth, or leave it out"
            )
        width, reason = _half_width(options.bins, header)
    if truth is not None:
        ideal = open_footage(truth, space=options.truth_space, ocio=ocio, option="--truth-space")
    check_measurable(options.limits, has_source=source is not None, frames=len(result.shot.frames))
    if options.limits.min_inside is not None and math.isinf(width):
        raise UsageError(f"{pattern}: claims no bins, which --min-inside cannot check: name a half-width with --bins")
    if options.metrics and truth is None:
        raise UsageError("--metrics compares with a truth: name it with --truth")
    fps = float(parse_fps(options.fps)) if options.fps else result.first.frames_per_second or 24.0
    lattice = make_lattice(result.height, result.width, None if options.stride == "auto" else _stride(options, result))
    material = Material(
        result,
        origin,
        ideal,
        width,
        options.cuts,
        lattice,
        _lpips(options.lpips_backbone),
        options.metrics,
        frames_per_second=fps,
    )
    return material, reason


def _input_space(patterns: Sequence[str], options: ReportOptions) -> str | None:
    """The encoding of the common source, of which only our own results' headers speak."""
    for pattern in patterns:
        result = open_footage(pattern, frames=options.frames, space="srgb", option="--output-space")
        if "seqhdr:input_space" in result.first.attributes:
            return str(result.first.attributes["seqhdr:input_space"])
    return None


def _stride(options: ReportOptions, result: Footage) -> int:
    stride, smallest = int(options.stride), min(result.height, result.width)
    if stride > smallest:
        raise UsageError(f"--stride {stride}: frames of {result.width}x{result.height} have no {stride}th pixel")
    return stride


def _half_width(given: str | None, header: Any) -> tuple[float, str | None]:
    """w to audit, and why."""
    if given is not None:
        return asked_half_width(given), "as asked for"
    claimed = header.get("seqhdr:half_width")
    if claimed is None:
        return 0.5, "the files claim none: half a code, as for a lossless source"
    return (float(claimed) if float(claimed) >= 0 else math.inf), str(header.get("seqhdr:bins_reason", "")) or None


@lru_cache(maxsize=1)
def _lpips(backbone: str | None) -> PerceptualDistance | None:
    return load_lpips(backbone) if backbone else None


def _flow_words(material: Material) -> str:
    small = flow_size(material.result.height, material.result.width)
    by = material.result.height // small[0]
    size = "full size" if by == 1 else f"1/{by} size"
    return f"DIS medium at {size} and the camera's motion, from the {material.against or 'result'}"


def _labels(results: Sequence[Footage]) -> list[str]:
    """Names that differ: the shot's, else with as many folders before it as it takes, else with a number."""
    paths = [(*result.shot.directory.resolve().parts, result.shot.name) for result in results]
    for depth in range(1, max(map(len, paths)) + 1):
        names = ["/".join(parts[-depth:]) for parts in paths]
        if len(set(names)) == len(names):
            return names
    return [f"{parts[-1]} ({index + 1})" for index, parts in enumerate(paths)]


def _make_folder(folder: Path) -> None:
    """Make sure of a place to write to, before hours go into measuring."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: cannot become a folder ({error.strerror}): give another -o") from None
    if not os.access(folder, os.W_OK):
        raise UsageError(f"{folder}: no permission to write into it: give another -o")


def _write(path: Path, text: str) -> None:
    with whole_file(path) as hidden:
        hidden.write_text(text, encoding="utf-8")
