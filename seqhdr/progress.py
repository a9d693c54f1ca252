"""What people see while a job runs: a bar on a terminal, plain lines in a log, JSON for machines."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

if TYPE_CHECKING:
    from seqhdr.api import Event

__all__ = ["follow", "show_diagnosis", "show_plan"]


class _FramesPerSecond(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.2f} fps" if task.speed else "- fps")


@contextmanager
def follow(*, log_json: bool, quiet: bool, verbose: bool) -> Iterator[Callable[[Event], None]]:
    """Yield a function that shows events on standard error.

    Args:
        log_json: one JSON object per line and event.
        quiet: only warnings and failed frames.
        verbose: one line per frame instead of a bar.
    """
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if log_json:
        yield _json_line
    elif console.is_terminal and not quiet and not verbose:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            _FramesPerSecond(),
        )
        with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
            yield _bar(progress, console)
    else:
        yield _plain_lines(console, quiet)


def _json_line(event: Event) -> None:
    line = {"kind": event.kind, "shot": event.shot, "message": event.message, **event.data}
    print(json.dumps(line, default=str), file=sys.stderr, flush=True)


def _bar(progress: Progress, console: Console) -> Callable[[Event], None]:
    tasks: dict[str, Any] = {}

    def on_event(event: Event) -> None:
        if event.kind == "shot":
            tasks[event.shot] = progress.add_task(event.shot, total=event.data["of"])
            console.print(event.message, markup=False)
        elif event.kind == "frame":
            progress.advance(tasks[event.shot])
        elif event.kind == "measured":
            measuring = tasks.get(f"report {event.shot}")
            if measuring is None:
                measuring = tasks[f"report {event.shot}"] = progress.add_task("report", total=event.data["of"])
            progress.update(measuring, completed=event.data["done"])
        elif event.kind == "report":
            console.print(event.message, markup=False)
        else:
            if event.kind == "failed":
                progress.advance(tasks[event.shot])
            console.print(f"{event.kind}: {event.message}", markup=False)

    return on_event


def _plain_lines(console: Console, quiet: bool) -> Callable[[Event], None]:
    started = time.monotonic()
    done: dict[str, int] = {}

    def on_event(event: Event) -> None:
        if event.kind in ("warning", "failed"):
            console.print(f"{event.kind}: {event.message}", markup=False)
        elif quiet or event.kind == "measured":
            return
        elif event.kind == "frame":
            done[event.shot] = count = done.get(event.shot, 0) + 1
            rate = sum(done.values()) / max(time.monotonic() - started, 1e-9)
            left = (event.data["of"] - count) / rate
            console.print(
                f"{count}/{event.data['of']} {event.message}, {rate:.2f} fps, {left:.0f} s left", markup=False
            )
        else:
            console.print(event.message, markup=False)

    return on_event


def show_plan(plan: dict[str, Any]) -> None:
    """Print what a run would do."""
    bins = plan["bins"]
    bound = f"half-width {bins['half_width_lsb']:g} codes" if bins["bounded"] else "no bound"
    tiles = f"{plan['tiles']} of {plan['tile_px']} px" if plan["tile_px"] else "none, whole frames"
    rows = {
        "shot": plan["shot"],
        "frames": f"{len(plan['frames'])} ({plan['frames'][0]}-{plan['frames'][-1]})",
        "gaps": _listed(plan["missing"]),
        "unreadable": _listed(list(plan["unreadable"])),
        "segments": ", ".join(f"{first}-{last}" for first, last in plan["segments"]),
        "cuts": _listed(plan["cuts"]),
        "size": f"{plan['size'][0]}x{plan['size'][1]}, {plan['bits']} bits",
        "bins": f"{bound}: {bins['reason']}",
        "model": plan["model"],
        "tiles": tiles,
        "memory": f"about {plan['memory_bytes'] / 2**30:.1f} GiB",
        "writes": plan["first_output"] + " ...",
        "existing": str(plan["existing"]),
    }
    for name, value in rows.items():
        print(f"{name:10s} {value}")


def show_diagnosis(diagnosis: dict[str, Any], indent: int = 0) -> None:
    """Print a nested diagnosis, a line per number."""
    for name, value in diagnosis.items():
        label = " " * indent + str(name)
        if isinstance(value, dict):
            print(label)
            show_diagnosis(value, indent + 2)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for entry in value:
                print(label)
                show_diagnosis(entry, indent + 2)
        else:
            print(f"{label:34s} {_short(value)}")


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(_short(item) for item in value)
    return str(value)


def _listed(frames: list[int]) -> str:
    return ", ".join(map(str, frames)) if frames else "none"
