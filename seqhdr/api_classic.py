"""The methods without learning, each on one screen: exposure stacks, response curves, deflicker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seqhdr.classic.stack import LuminanceStack
from seqhdr.color.response import ResponseCurve
from seqhdr.errors import OutputExistsError, UsageError
from seqhdr.media.curve_files import check_curve_name, write_curve
from seqhdr.media.shot import find_shot
from seqhdr.model.device import choose_device
from seqhdr.pipeline.calibrate import check_method, curve_by_name, curve_of_exposures, curve_of_frames
from seqhdr.pipeline.convert import ShotReport, convert_shot
from seqhdr.pipeline.deflicker import DeflickerReport, deflicker_shot
from seqhdr.pipeline.deflicker_options import DeflickerOptions
from seqhdr.pipeline.options import RunOptions
from seqhdr.pipeline.plan import plan_shot
from seqhdr.pipeline.setup import ShotSetup, prepare_shot
from seqhdr.pipeline.shots import Event, RunReport, convert_shots
from seqhdr.pipeline.stack import Bracket, check_weights, convert_bracket, parse_stops, plan_bracket

__all__ = ["Calibration", "DeflickerReport", "calibrate", "deflicker", "plan_stack", "stack"]


@dataclass(frozen=True)
class Calibration:
    """A response curve, and the file it was written to."""

    curve: ResponseCurve
    output: Path


def calibrate(
    patterns: str | Path | Sequence[str | Path] = (),
    *,
    output: str | Path,
    known: str | None = None,
    method: str = "auto",
    ev: str | None = None,
    overwrite: bool = False,
) -> Calibration:
    """Find or take a response curve, and write it where ``input_curve`` of :func:`seqhdr.run` and OpenColorIO read it.

    Args:
        patterns: none with ``known``; one, of which frames or a single file are judged; or one per exposure.
        output: a ``.yaml``, ``.cube`` or ``.spi1d`` file.
        known: ``srgb``, ``rec709``, ``gamma:2.4``, or a file with a table, which is scaled to end at 1.
        method: of several exposures ``debevec`` or ``robertson``, of one ``edges`` or ``noise``; ``auto`` takes the
            first of these for several, and of one the more trustworthy.
        ev: EV of each exposure, ``-2,0,2``.
        overwrite: replace the file.

    Returns:
        The curve; how far it can be trusted is part of it, and of the file.

    Raises:
        UsageError: arguments that contradict each other or name unknown things, or a file that exists.
        InputError: frames or a table that cannot be used.
        FramesFailedError: the file cannot be written.
    """
    names = [str(patterns)] if isinstance(patterns, (str, Path)) else [str(pattern) for pattern in patterns]
    path = Path(output)
    check_curve_name(path)
    check_method(method)
    if not path.parent.is_dir():
        raise UsageError(f"{path}: the folder {path.parent} is not there: create it or choose another -o")
    if path.exists() and not overwrite:
        raise OutputExistsError(f"{path}: exists already; use --overwrite or another -o")
    if known is not None:
        if names or ev is not None or method != "auto":
            raise UsageError("--known is a curve by itself: leave out the frames, --method and --ev")
        curve = curve_by_name(known)
        sources: tuple[str, ...] = (Path(known).name,) if Path(known).is_file() else ()
    elif not names:
        raise UsageError("nothing to calibrate: name frames, or a curve with --known")
    elif len(names) > 1:
        if ev is None:
            raise UsageError(f"{len(names)} patterns are exposures: give the EV of each, like --ev -2,0,2")
        curve = curve_of_exposures(names, parse_stops(ev, len(names)), method)
        sources = tuple(Path(name).name for name in names)
    else:
        if ev is not None:
            raise UsageError("--ev is for several exposures: name one pattern for each")
        curve = curve_of_frames(names[0], method)
        sources = (Path(names[0]).name,)
    curve = replace(curve, sources=sources)
    write_curve(path, curve)
    return Calibration(curve, path)


def deflicker(
    pattern: str | Path,
    *,
    output: str | Path,
    on_event: Callable[[Event], None] = lambda event: None,
    **options: Any,
) -> DeflickerReport:
    """Take the flicker out of a shot of EXR or integer frames of any tool, in light, and write EXR frames.

    Frame numbers, padding, other layers and the header stay. Fades, cuts and steps of exposure that last stay too.

    Args:
        pattern: ``in.%04d.exr`` …
        output: folder for the frames and the summary.
        on_event: told of the shot, of each frame when it is measured and when it is written, of warnings.
        options: fields of :class:`DeflickerOptions` by name.

    Returns:
        What was done to each frame.

    Raises:
        UsageError: options that contradict each other, frames that exist, an output on top of the input.
        InputError: the frames cannot be used.
        FramesFailedError: some frames failed; the others were written.
    """
    return deflicker_shot(str(pattern), DeflickerOptions(output=Path(output), **options), on_event)


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
    chosen, setup, method = _prepare_stack(patterns, output, ev, weights, peak_stops, options)
    if isinstance(method, Bracket) and method.estimated:
        told = ", ".join(f"{stop:+.2f}" for stop in method.stops)
        message = f"EV {told}, told from the frames; --ev gives others"
        on_event(Event("exposures", method.shots[0].pattern, message, {"ev": list(method.stops)}))

    def convert(setup: ShotSetup, report: ShotReport, *listeners: Any) -> None:
        if isinstance(method, Bracket):
            convert_bracket(method, setup, chosen, report, *listeners)
        else:
            convert_shot(setup, chosen, method, report, *listeners)

    return convert_shots([setup], chosen, method, convert, on_event)


def plan_stack(
    patterns: str | Path | Sequence[str | Path],
    *,
    output: str | Path,
    ev: str | None = None,
    weights: str = "granados",
    peak_stops: float = 1.0,
    **options: Any,
) -> dict[str, Any]:
    """What :func:`stack` would do, without writing: a JSON-able dictionary, as :func:`seqhdr.plan` gives one per shot.

    Arguments and errors as for :func:`stack`; the model names weights and EVs.
    """
    chosen, setup, method = _prepare_stack(patterns, output, ev, weights, peak_stops, options)
    return plan_shot(setup, chosen, method)


def _prepare_stack(
    patterns: str | Path | Sequence[str | Path],
    output: str | Path,
    ev: str | None,
    weights: str,
    peak_stops: float,
    options: dict[str, Any],
) -> tuple[RunOptions, ShotSetup, LuminanceStack | Bracket]:
    """Check everything, and decide what makes the frames; the setup is that of the reference."""
    names = [patterns] if isinstance(patterns, (str, Path)) else list(patterns)
    chosen = RunOptions(output=Path(output), flow="off", preroll=0, **options)
    check_weights(weights)
    if chosen.deflicker != "off" or chosen.denoise != "off":
        raise UsageError("a stack is neither denoised nor deflickered: run seqhdr deflicker on what it writes")
    if not 0 <= peak_stops <= 16:
        raise UsageError(f"--peak-stops is {peak_stops:g}: give 0 to 16 stops")
    stops = parse_stops(ev, len(names)) if ev is not None else None
    shots = [find_shot(name, frames=chosen.frames, missing=chosen.missing) for name in names]
    device = choose_device(chosen.device)
    setups = [prepare_shot(shot, chosen, device, None) for shot in shots]
    if len(shots) == 1:
        return chosen, setups[0], LuminanceStack(weights, peak_stops, device)
    bracket = plan_bracket(shots, stops, weights, setups[0].source_space)
    return chosen, setups[bracket.reference], bracket
