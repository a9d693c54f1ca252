"""Make a model more careful with light above the clip: lower all its stops by the same shift ahead of the softplus.

    python tools/lower_gains.py best.safetensors --shift 1.0 -o careful.safetensors

A network that learned the mean of the stops overshoots where a sky is barely clipped. Choose the shift on clips that it
has not been trained on. What it says below the clip stays as it is in a frame without memory.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from seqhdr.model.cards import load_model, read_card, save_model
from seqhdr.model.head import STOP_OUTPUTS


def main() -> None:
    """Parse, shift, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights")
    parser.add_argument("--shift", type=float, required=True, help="0 changes nothing")
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    net, before = load_model(args.weights), read_card(args.weights)
    tensors = net.state_dict()
    tensors["leave.bias"] = tensors["leave.bias"].clone()
    tensors["leave.bias"][STOP_OUTPUTS] -= args.shift
    training = {**before.training, "gains_lowered": {"shift": args.shift, "sha256": before.sha256}}
    card = save_model(args.output, net.config, tensors, training)
    print(f"{args.output}  sha256 {card.sha256}")


if __name__ == "__main__":
    main()
