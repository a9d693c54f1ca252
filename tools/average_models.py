"""One model out of two: every weight a mean of theirs. Meant for two that one training started from the other.

    python tools/average_models.py before.safetensors tuned.safetensors --share 0.6 -o averaged.safetensors

Means of such weights often keep what each of them is good at (Wortsman et al., Model soups, ICML 2022).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from seqhdr.model.cards import load_model, read_card, save_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first")
    parser.add_argument("second")
    parser.add_argument("--share", type=float, default=0.5, help="of the second model, 0 to 1")
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    one, other = load_model(args.first), load_model(args.second)
    if one.config != other.config:
        parser.error(f"{args.first} is a model {one.config}, {args.second} {other.config}: give two of one size")
    first, second = one.state_dict(), other.state_dict()
    tensors = {name: (1 - args.share) * first[name] + args.share * second[name] for name in first}
    cards = [read_card(path) for path in (args.first, args.second)]
    training = {
        "data": cards[0].training.get("data"),  # the second started from the first, and so has seen all of it
        "averaged": [
            {"share": share, "sha256": card.sha256, "training": card.training}
            for share, card in zip((1 - args.share, args.share), cards, strict=True)
        ],
    }
    card = save_model(args.output, one.config, tensors, training)
    print(f"{args.output}  sha256 {card.sha256}")


if __name__ == "__main__":
    main()
