"""Reports: measure finished shots and write a page for people and JSON for machines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqhdr.errors import GateError, UsageError
from seqhdr.model.heap import keep_heap_pages
from seqhdr.pipeline.report import ShotPage, compare_results, page_path, report_shot, write_index
from seqhdr.pipeline.report_options import Limits, ReportOptions
from seqhdr.pipeline.verdict import raise_gate

__all__ = ["ReportResult", "report"]

Patterns = str | Path | Sequence[str | Path]


@dataclass(frozen=True)
class ReportResult:
    """What was measured and written.

    Attributes:
        reports: one JSON-able dictionary per shot, as in the JSON files.
        pages: one HTML file per shot; of a comparison, one for all.
        data: the JSON files.
        index: the page that lists several shots, or None.
    """

    reports: tuple[dict[str, Any], ...]
    pages: tuple[Path, ...]
    data: tuple[Path, ...]
    index: Path | None = None


def report(
    patterns: Patterns,
    *,
    source: Patterns | None = None,
    truth: Patterns | None = None,
    compare: bool = False,
    max_flicker: float | None = None,
    max_jitter: float | None = None,
    min_inside: float | None = None,
    on_frame: Callable[[str, int, int], None] = lambda shot, done, of: None,
    on_report: Callable[[dict[str, Any], Path | None], None] = lambda report, page: None,
    on_page: Callable[[str, Path], None] = lambda kind, page: None,
    **options: Any,
) -> ReportResult:
    """Measure shots: flicker, banding, bins, range, and the distance to a truth where there is one.

    Args:
        patterns: one or several results, EXR or integer frames, from any tool.
        source: what they were made from, one for each result in the same order; of a comparison, one for all.
        truth: what they should be, likewise.
        compare: the patterns are several results of one shot, shown side by side.
        max_flicker, max_jitter, min_inside: see :class:`seqhdr.pipeline.report_options.Limits`.
        on_frame: told the shot, and how many of its frames are measured, of how many.
        on_report: told of each finished report, and of its page; of a comparison, whose page comes last, of None.
        on_page: told of the page that several reports share, ``compare`` or ``index``.
        options: fields of :class:`seqhdr.pipeline.report_options.ReportOptions` by name.

    Returns:
        What was written.

    Raises:
        UsageError: options that contradict each other.
        InputError: frames that cannot be used.
        GateError: frames fail a limit; all reports are written all the same.
    """
    keep_heap_pages()
    limits = Limits(max_flicker, max_jitter, min_inside)
    if options.get("output") is not None:
        options["output"] = Path(options["output"])
    if "stride" in options:
        options["stride"] = str(options["stride"])
    chosen = ReportOptions(**options, limits=limits)
    shots = _listed(patterns)
    if not shots:
        raise UsageError("no shot given: name one like 'out/shot_acescct.%04d.exr'")
    if compare:
        return _compare(shots, _listed(source), _listed(truth), chosen, on_frame, on_report, on_page)
    sources = _partners(shots, _listed(source), "--source")
    truths = _partners(shots, _listed(truth), "--truth")
    # Before the first is measured: the refusal of the last must not come hours later.
    pages = [page_path(pattern, chosen).resolve() for pattern in shots]
    twice = next((page for page in pages if pages.count(page) > 1), None)
    if twice is not None:
        raise UsageError(f"{twice}: two of the shots would write it: report them into different folders with -o")
    written: list[ShotPage] = []
    for pattern, its_source, its_truth in zip(shots, sources, truths, strict=True):
        page = report_shot(pattern, its_source, its_truth, chosen, on_frame=on_frame)
        written.append(page)
        on_report(page.report, page.page)
    index = write_index(written, chosen) if len(written) > 1 else None
    if index is not None:
        on_page("index", index)
    result = ReportResult(
        tuple(page.report for page in written),
        tuple(page.page for page in written),
        tuple(page.data for page in written),
        index,
    )
    _gate(result.reports, limits)
    return result


def _compare(
    shots: list[str],
    source: list[str],
    truth: list[str],
    options: ReportOptions,
    on_frame: Callable[[str, int, int], None],
    on_report: Callable[[dict[str, Any], Path | None], None],
    on_page: Callable[[str, Path], None],
) -> ReportResult:
    for option, given in (("--source", source), ("--truth", truth)):
        if len(given) > 1:
            raise UsageError(f"--compare shows results of one shot: give {option} once, not {len(given)} times")
    if len(shots) + len(source) < 2:
        raise UsageError("--compare needs two results or more, or one and its --source")
    compared = compare_results(
        shots,
        source[0] if source else None,
        truth[0] if truth else None,
        options,
        on_frame=on_frame,
        on_report=lambda report: on_report(report, None),
    )
    result = ReportResult(compared.reports, (compared.page,), (compared.data,))
    on_page("compare", compared.page)
    _gate(result.reports, options.limits)
    return result


def _gate(reports: Sequence[dict[str, Any]], limits: Limits) -> None:
    """Raise one error for all shots that fail a limit."""
    failures = []
    for one in reports:
        try:
            raise_gate(one["result"]["pattern"], one["verdict"]["checks"], limits)
        except GateError as error:
            failures.append(str(error))
    if failures:
        raise GateError("\n".join(failures))


def _listed(patterns: Patterns | None) -> list[str]:
    if patterns is None:
        return []
    return [str(patterns)] if isinstance(patterns, (str, Path)) else [str(pattern) for pattern in patterns]


def _partners(shots: list[str], given: list[str], option: str) -> list[str | None]:
    if given and len(given) != len(shots):
        raise UsageError(
            f"{option} is given {len(given)} times for {len(shots)} shots: give it once for each, in the same order"
        )
    return list(given) if given else [None] * len(shots)
