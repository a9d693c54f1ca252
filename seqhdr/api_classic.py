"""The methods without learning, each on one screen: exposure stacks, response curves, deflicker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from seqhdr.classic.stack import LuminanceStack
from seqhdr.errors import UsageError
from seqhdr.media.shot import find_shot
from seqhdr.model.device import choose_device
from seqhdr.pipeline.convert import ShotReport, convert_shot
from seqhdr.pipeline.options import RunOptions
from seqhdr.pipeline.setup import ShotSetup, prepare_shot
from seqhdr.pipeline.shots import Event, RunReport, convert_shots
from seqhdr.pipeline.stack import check_weights, convert_bracket, parse_stops, plan_bracket

__all__ = ["stack"]


def stack(
    patterns: str | Path | Sequence[str | Path],
    *,
    output: str | Path,
    ev: str | None = None,
    weights: str = "granados",
    peak_stops: float = 1.0,
    on_event: Callable[[Event], None] = lambda event: None,
    **options: Any,
) -> RunReport:
    """Merge exposures into log EXR frames: real ones, or virtual ones made of one frame.

    One pattern is a luminance stack (:class:`~seqhdr.classic.stack.LuminanceStack`). Several are exposures of one shot;
    the one nearest to EV 0 is the reference, whose codes the result stays inside, whose light keeps its level, and
    which ghosts give way to.

    Args:
        patterns: one, or one per exposure.
        output: folder for the frames and the summary.
        ev: EV of each exposure, ``-2,0,2``; None tells them from the frames, once for the shot.
        weights: a name in :data:`~seqhdr.classic.merge.MERGE_WEIGHTS`.
        peak_stops: of one pattern: how far clipped areas are stretched.
        on_event: told of shots, frames and warnings as they come.
        options: fields of :class:`RunOptions` by name, but for the model, motion and preroll.

    Returns:
        What was written.

    Raises:
        UsageError: options that contradict each other or name unknown things.
        InputError: the frames cannot be used, or tell no exposures.
        FramesFailedError: some frames failed; the others were written, and the summary says which.
    """
    names = [patterns] if isinstance(patterns, (str, Path)) else list(patterns)
    chosen = RunOptions(output=Path(output), flow="off", preroll=0, **options)
    check_weights(weights)
    if not 0 <= peak_stops <= 16:
        raise UsageError(f"--peak-stops is {peak_stops:g}: give 0 to 16 stops")
    stops = parse_stops(ev, len(names)) if ev is not None else None
    shots = [find_shot(name, frames=chosen.frames, missing=chosen.missing) for name in names]
    device = choose_device(chosen.device)
    if len(shots) == 1:
        net = LuminanceStack(weights, peak_stops, device)
        setup = prepare_shot(shots[0], chosen, device, None)

        def convert(setup: ShotSetup, report: ShotReport, *listeners: Any) -> None:
            convert_shot(setup, chosen, net, report, *listeners)

        return convert_shots([setup], chosen, net, convert, on_event)
    setups = [prepare_shot(shot, chosen, device, None) for shot in shots]
    bracket = plan_bracket(shots, stops, weights, setups[0].source_space)
    if bracket.estimated:
        told = ", ".join(f"{stop:+.2f}" for stop in bracket.stops)
        message = f"EV {told}, told from the frames; --ev gives others"
        on_event(Event("exposures", shots[0].pattern, message, {"ev": list(bracket.stops)}))

    def merge(setup: ShotSetup, report: ShotReport, *listeners: Any) -> None:
        convert_bracket(bracket, setup, chosen, report, *listeners)

    return convert_shots([setups[bracket.reference]], chosen, bracket, merge, on_event)
