"""The whole pipelines, each on one screen: what the command line calls, and what Python users call."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from seqhdr.classic.denoise import EARLIER_FRAMES
from seqhdr.media.shot import Shot, find_shots
from seqhdr.model.decoder import Decoder
from seqhdr.model.device import choose_device
from seqhdr.model.heap import keep_heap_pages
from seqhdr.model.motion import make_flow
from seqhdr.pipeline.convert import ShotReport, convert_shot
from seqhdr.pipeline.decoders import load_decoder
from seqhdr.pipeline.deflicker_run import convert_steady
from seqhdr.pipeline.options import RunOptions
from seqhdr.pipeline.plan import plan_shot
from seqhdr.pipeline.setup import ShotSetup, prepare_shot
from seqhdr.pipeline.shots import Event, RunReport, convert_shots
from seqhdr.pipeline.verify import VerifyReport, outside, verify_shot

__all__ = ["Event", "RunReport", "outside", "plan", "run", "verify", "verify_to_dict"]


def run(
    patterns: str | Path | Sequence[str | Path],
    *,
    output: str | Path,
    on_event: Callable[[Event], None] = lambda event: None,
    **options: Any,
) -> RunReport:
    """Convert shots of 8- to 16-bit frames into log EXR frames.

    Args:
        patterns: one or several, ``shot_%04d.png``, ``shot_####.png`` …
        output: folder for the frames and the summaries.
        on_event: told of shots, frames and warnings as they come.
        options: fields of :class:`RunOptions` by name.

    Returns:
        What was written.

    Raises:
        UsageError: options that contradict each other or name unknown things.
        InputError: the frames cannot be used.
        FramesFailedError: some frames failed; the others were written, and the summary says which.
    """
    keep_heap_pages()
    chosen = RunOptions(output=Path(output), **options)
    shots = _find(patterns, chosen)
    device = choose_device(chosen.device)
    net = load_decoder(chosen.model, device)
    chosen = _suited(chosen, net)
    flow = make_flow(chosen.flow, chosen.flow_weights, device)
    setups = [prepare_shot(shot, chosen, device, flow) for shot in shots]

    def convert(setup: ShotSetup, report: ShotReport, *listeners: Any) -> None:
        if chosen.deflicker == "off":
            convert_shot(setup, chosen, net, report, *listeners)
        else:
            convert_steady(setup, chosen, net, report, on_event, *listeners)

    return convert_shots(setups, chosen, net, convert, on_event)


def plan(patterns: str | Path | Sequence[str | Path], *, output: str | Path, **options: Any) -> list[dict[str, Any]]:
    """What :func:`run` would do, without writing: one JSON-able dictionary per shot.

    Arguments and errors as for :func:`run`. Finding cuts reads every frame.
    """
    chosen = RunOptions(output=Path(output), **options)
    device = choose_device(chosen.device)
    net = load_decoder(chosen.model)
    chosen = _suited(chosen, net)
    flow = make_flow(chosen.flow, chosen.flow_weights, device)
    return [plan_shot(prepare_shot(shot, chosen, device, flow), chosen, net) for shot in _find(patterns, chosen)]


def verify(output: str, *, source: str, **options: Any) -> VerifyReport:
    """Audit written frames against their source; see :func:`seqhdr.pipeline.verify.verify_shot`."""
    return verify_shot(output, source, **options)


def verify_to_dict(report: VerifyReport) -> dict[str, Any]:
    """The audit as JSON-able numbers; shares are 0..1, deviations in codes."""

    def one(audit: Any) -> dict[str, Any]:
        return {
            **dataclasses.asdict(audit),
            "exact_share": audit.exact_share,
            "container_share": audit.container_share,
            "kept": audit.kept,
        }

    return {
        "output": report.output,
        "source": report.source,
        "bins": report.bins,
        "half_width_lsb": report.half_width_lsb if math.isfinite(report.half_width_lsb) else None,
        "storage": report.storage,
        "kept": report.kept,
        "worst_frame": report.worst_frame,
        "total": one(report.total),
        "frames": {str(frame): one(audit) for frame, audit in report.frames.items()},
    }


def _find(patterns: str | Path | Sequence[str | Path], options: RunOptions) -> list[Shot]:
    names = [patterns] if isinstance(patterns, (str, Path)) else list(patterns)
    return find_shots(names, frames=options.frames, missing=options.missing)


def _suited(options: RunOptions, net: Decoder) -> RunOptions:
    """Without what carries a memory, where there is none: it would be done for nothing, and claimed in the header."""
    # The denoiser looks at frames before, too.
    preroll = 0 if options.denoise == "off" else min(options.preroll, EARLIER_FRAMES)
    return options if net.remembers else dataclasses.replace(options, flow="off", flow_weights=None, preroll=preroll)
