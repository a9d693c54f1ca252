"""Everything that can go wrong for a reason the user can mend.

Each error carries one sentence that names the file or option, what is wrong and what to do, and the exit
code of the command line. Anything else that is raised is a bug, and is raised as it is.

::

    SeqhdrError
    ├── UsageError            2   the request contradicts itself or names something that does not exist
    │   ├── UnknownNameError      a colour space, model or option value nobody knows
    │   └── OutputExistsError     finished frames would be overwritten
    ├── InputError            3   the material cannot be used
    │   ├── ShotError             the pattern, the gaps, the sizes of a shot
    │   ├── FrameError            one file: truncated, unreadable, vanished, wrong size
    │   └── WeightsError          a weights file: wrong hash, wrong shape, not ours
    ├── FramesFailedError     4   some frames could not be written; the finished ones are kept
    └── GateError             5   a quality gate failed
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "EXIT_BUG",
    "EXIT_INTERRUPTED",
    "FrameError",
    "FramesFailedError",
    "GateError",
    "InputError",
    "OutputExistsError",
    "SeqhdrError",
    "ShotError",
    "UnknownNameError",
    "UsageError",
    "WeightsError",
]

EXIT_BUG = 1
EXIT_INTERRUPTED = 130


class SeqhdrError(Exception):
    """Base of all errors the user can mend; ``exit_code`` is what the command line returns."""

    exit_code = EXIT_BUG


class UsageError(SeqhdrError):
    """The request contradicts itself, or asks for something that does not exist."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name nobody knows; the message offers the nearest ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        known = sorted(set(known))
        lowered = {k.lower(): k for k in reversed(known)}
        near = [lowered[k] for k in difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=0.4)]
        offer = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(known)}."
        super().__init__(f"unknown {kind} {name!r}: {offer}{' ' + hint if hint else ''}")


class OutputExistsError(UsageError):
    """Finished frames would be overwritten, or the output would land on the input."""


class InputError(SeqhdrError):
    """The material cannot be used as it is."""

    exit_code = 3


class ShotError(InputError):
    """The pattern, the frame list, the gaps or the frame sizes of a shot."""


class FrameError(InputError):
    """One file: truncated, unreadable, vanished, of another size or kind than it should be."""


class WeightsError(InputError):
    """A weights file whose hash, shapes or header are not what they should be."""


class FramesFailedError(SeqhdrError):
    """Some frames could not be written; the finished ones are kept."""

    exit_code = 4


class GateError(SeqhdrError):
    """A quality gate failed."""

    exit_code = 5
