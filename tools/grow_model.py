"""Bring weights of the layout before the gated blurs to the present one: what is new starts at nothing.

    python tools/grow_model.py before.safetensors -o grown.safetensors

The gated blurs begin as softer copies of what the network made of the plain ones of the same size, all signed weights
and the age of the memory at zero. Such a network is a start for training, not a result.
The shipped weights were grown from those of sha256 003aa66a20f7.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from seqhdr.model.cards import read_card, save_model
from seqhdr.model.net import SeqNet
from seqhdr.model.pyramid import COARSE_CELLS, FINE_WIDTHS, GATED_CELLS

# Of the former layout: input channels up to the blurs' end and in all, and outputs per half-resolution pixel.
_BLURS_END, _INPUTS, _OUTPUTS = 39, 53, 54
# Taken off the logits of the copies. Ahead of a softmax, full copies would outvote the rest.
_SOFTER = 0.7


def grow(old: dict[str, Tensor], new: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a network of the present layout, filled from one of the former.

    Args:
        old: tensors of the former layout.
        new: of a fresh network of the same sizes, for the shapes.
    """
    return {
        **old,
        "enter.weight": _grown_inputs(old["enter.weight"], new["enter.weight"]),
        "leave.weight": _grown_outputs(old["leave.weight"], new["leave.weight"], softer=0.0),
        "leave.bias": _grown_outputs(old["leave.bias"], new["leave.bias"], softer=_SOFTER),
    }


def _grown_inputs(old: Tensor, new: Tensor) -> Tensor:
    """Gated blurs come after the plain ones, the age of the memory last but one; both unseen."""
    enter, gated = torch.zeros_like(new), 3 * len(GATED_CELLS)
    enter[:, :_BLURS_END] = old[:, :_BLURS_END]
    enter[:, _BLURS_END + gated : _INPUTS - 1 + gated] = old[:, _BLURS_END : _INPUTS - 1]
    enter[:, -1] = old[:, -1]
    return enter


def _grown_outputs(old: Tensor, new: Tensor, softer: float) -> Tensor:
    """Logits of the gated blurs come after those of the plain ones, signed weights at the end, four rows for each."""
    leave, logits = torch.zeros_like(new), old.split(4)
    plain = len(FINE_WIDTHS) + len(COARSE_CELLS)
    # The plain blur of the same cells, or of the smallest.
    like = [len(FINE_WIDTHS) + COARSE_CELLS.index(max(cells, COARSE_CELLS[0])) for cells in GATED_CELLS]
    copies = [logits[index] - softer for index in like]
    kept = torch.cat((*logits[:plain], *copies, old[4 * plain :]))
    leave[: len(kept)] = kept
    return leave


def main() -> None:
    """Parse, grow, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    card = read_card(args.weights)
    old = load_file(args.weights)
    if old["enter.weight"].shape[1] != _INPUTS or old["leave.weight"].shape[0] != _OUTPUTS:
        parser.error(f"{args.weights} is not of the former layout: give weights from before it")
    grown = grow(old, SeqNet(card.config).state_dict())
    grown_card = save_model(args.output, card.config, grown, {**card.training, "grown_from": card.sha256})
    print(f"{args.output}  sha256 {grown_card.sha256}")


if __name__ == "__main__":
    main()
