"""The folder of a training run: the names of what lies in it, and how it is cleared."""

from __future__ import annotations

from pathlib import Path

from seqhdr.errors import UsageError

__all__ = ["BOARD", "CHECKPOINT", "LOG", "WEIGHTS", "remove_run"]

#: Everything needed to go on.
CHECKPOINT = "last.checkpoint.safetensors"
#: The weights with the lowest validation loss, a model that ``seqhdr run --model`` takes.
WEIGHTS = "best.safetensors"
#: One JSON object per row.
LOG = "log.jsonl"
#: TensorBoard's files.
BOARD = "tensorboard"


def remove_run(folder: Path) -> None:
    """Remove what a run has written into its folder, and nothing else.

    Raises:
        UsageError: a file cannot be removed.
    """
    try:
        for name in (CHECKPOINT, WEIGHTS, LOG):
            (folder / name).unlink(missing_ok=True)
        for events in (folder / BOARD).glob("events.out.tfevents.*"):
            events.unlink()
    except OSError as error:
        raise UsageError(f"{folder}: the run in it cannot be removed ({error.strerror}): choose another -o") from error
