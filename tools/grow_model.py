"""Bring weights of the layout before the coarser decode to the present one: what is new starts at nothing.

    python tools/grow_model.py before.safetensors -o grown.safetensors

The coarser decode begins as a softer copy of what the network made of its widest blur; its inputs and its signed
weights at zero. Such a network is a start for training, not a result.
The shipped weights were grown from those of sha256 e31eb24a4b09.
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
_BLURS_END, _INPUTS, _OUTPUTS = 48, 63, 106
# Taken off the logits of the copy. Ahead of a softmax, a full copy would outvote the rest.
_SOFTER = 1.0


def grow(old: dict[str, Tensor], new: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a network of the present layout, filled from one of the former.

    Args:
        old: tensors of the former layout.
        new: of a fresh network of the same sizes, for the shapes.
    """
    return {
        **old,
        "enter.weight": _grown_inputs(old["enter.weight"], new["enter.weight"]),
        "leave.weight": _grown_outputs(old["leave.weight"], softer=0.0),
        "leave.bias": _grown_outputs(old["leave.bias"], softer=_SOFTER),
    }


def _grown_inputs(old: Tensor, new: Tensor) -> Tensor:
    """The coarser decode comes after the blurs, the level at the end; both unseen."""
    enter = torch.zeros_like(new)
    enter[:, :_BLURS_END] = old[:, :_BLURS_END]
    enter[:, _BLURS_END + 3 : -1] = old[:, _BLURS_END:]
    return enter


def _grown_outputs(old: Tensor, softer: float) -> Tensor:
    """Logits and signed weights of the coarser decode come after those of the blurs, four rows for each."""
    plain = 4 * (len(FINE_WIDTHS) + len(COARSE_CELLS))
    blurs = plain + 4 * len(GATED_CELLS)
    copy = old[plain - 4 : plain] - softer
    return torch.cat((old[:blurs], copy, old[blurs:-4], torch.zeros_like(copy), old[-4:]))


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
