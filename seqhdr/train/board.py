"""What a run writes down: a row of numbers now and then, and TensorBoard's curves and pictures."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seqhdr.errors import UsageError
from seqhdr.quality.strata import Table
from seqhdr.train.folder import BOARD, LOG

__all__ = ["Board", "before_after"]

# Differences of half a code are made visible: so many times around the local mean.
_STRETCH = 12.0


class Board:
    """Writes ``log.jsonl`` and, if wanted, TensorBoard's files.

    Args:
        folder: of the run.
        tensorboard: write its files under ``tensorboard/`` too.
        step: steps done so far; rows of later steps, which an interruption left behind, are dropped.

    Raises:
        UsageError: TensorBoard is wanted and not installed.
    """

    def __init__(self, folder: Path, *, tensorboard: bool, step: int = 0) -> None:
        self._log = folder / LOG
        kept = self._log.read_text().splitlines() if step and self._log.exists() else []
        self._log.write_text("".join(f"{line}\n" for line in kept if _step(line) <= step))
        self._writer: Any = None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise UsageError(
                    "train.tensorboard is on and TensorBoard is not installed: pip install 'seqhdr[train]', "
                    "or --set train.tensorboard=false"
                ) from error
            # What other sittings wrote from that step on, TensorBoard forgets.
            self._writer = SummaryWriter(str(folder / BOARD), purge_step=step + 1)

    def row(self, kind: str, step: int, numbers: dict[str, float]) -> None:
        """Write numbers down, under ``kind/name`` in TensorBoard."""
        line = {"kind": kind, "step": step, **{key: float(f"{value:.6g}") for key, value in numbers.items()}}
        with self._log.open("a") as log:
            log.write(json.dumps(line) + "\n")
        if self._writer is not None:
            for key, value in numbers.items():
                self._writer.add_scalar(f"{kind}/{key}", value, step)

    def strata(self, step: int, tables: dict[str, Table]) -> None:
        """Write the validation's numbers by encoding and stratum."""
        numbers = {
            f"{encoding}/{stratum}/{key}": value
            for encoding, table in tables.items()
            for stratum, row in table.items()
            for key, value in row.items()
            if key in ("psnr_db", "gain_db", "gain_codes_db", "rmse_stops", "identity_rmse_stops", "bias_stops")
        }
        self.row("validation", step, numbers)

    def picture(self, name: str, step: int, rgb: Tensor) -> None:
        """Show a picture (3, H, W), 0..1; only TensorBoard can."""
        if self._writer is not None:
            self._writer.add_image(name, rgb.cpu().numpy(), step)

    def close(self) -> None:
        """Finish the files."""
        if self._writer is not None:
            self._writer.close()


def _step(line: str) -> float:
    """The step of a row; infinite where the row broke off."""
    try:
        return float(json.loads(line)["step"])
    except ValueError:
        return math.inf


def before_after(codes: Tensor, offset_lsb: Tensor, value_lsb: Tensor) -> Tensor:
    """Source, result and truth side by side, levels stretched around the local mean so that bands show.

    Args:
        codes, offset_lsb, value_lsb: (3, H, W) in codes.

    Returns:
        (3, H, 3·W) in 0..1.
    """
    pictures = torch.stack((codes, codes + offset_lsb, value_lsb))
    mean = F.avg_pool2d(F.pad(codes[None], (16, 16, 16, 16), mode="replicate"), 33, 1)
    stretched = ((pictures - mean) * _STRETCH + mean).div(255).clamp(0, 1)
    return torch.cat(tuple(stretched), dim=-1)
