"""What each further frame of a shot with a moving camera is worth: gain over identity by place in the clip.

    python tools/gain_by_frame.py clips/plain --frames 8

The clips are those of ``seqhdr synth``; those whose picture moves by less than a tenth of a pixel per frame on average
are left out, since nothing new is seen in them. PSNR of unclipped channels in ACEScct, over all clips at once, beside
the same model run frame by frame; flow is DIS.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from seqhdr.color.encodings import get_encoding
from seqhdr.model.cards import load_model
from seqhdr.model.heap import keep_heap_pages
from seqhdr.model.motion import DisFlow
from seqhdr.model.net import SeqNet
from seqhdr.model.predict import Predictor
from seqhdr.quality.strata import StrataScore
from seqhdr.train.pairs import ClipInfo, PairFrame, find_clips, read_pair

LEAST_MOTION_PX = 0.1
# Late in a clip, where a memory is to have collected what it can.
LATE = (6, 8)
Scores = list[tuple[StrataScore, StrataScore]]


def moves(pairs: list[PairFrame]) -> bool:
    """Whether the picture moves; without its flow nobody can tell."""
    flows = [torch.from_numpy(pair.flow_px).norm(dim=-1).mean() for pair in pairs[1:] if pair.flow_px is not None]
    return bool(flows) and float(torch.stack(flows).mean()) >= LEAST_MOTION_PX


def score_clip(net: SeqNet, clip: ClipInfo, pairs: list[PairFrame], scores: Scores) -> None:
    """Add a clip to the scores of its frames: with memory, and without."""
    encoding = get_encoding(clip.encoding)
    predictor = Predictor(net, input_space=encoding, half_width_lsb=clip.half_width_lsb, flow=DisFlow())
    memory = None
    for pair, (remembered, alone) in zip(pairs, scores, strict=True):
        prediction, memory = predictor.step(pair.codes, memory)
        codes = torch.from_numpy(pair.codes).permute(2, 0, 1).float()
        for score, said in ((remembered, prediction), (alone, predictor.step(pair.codes, None)[0])):
            truth = (pair.value_lsb, pair.gain_stops)
            score.add_frame(0, codes, *truth, said.offset_lsb, said.gain_stops, encoding, clip.half_width_lsb)


def gains(scores: Scores) -> list[tuple[float, float]]:
    """In dB over identity, with memory and without, frame by frame."""
    return [tuple(score.table()["whole"]["gain_db"] for score in pair) for pair in scores]


def main() -> None:
    """Read, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--model", default="s")
    parser.add_argument("--frames", type=int, default=8)
    args = parser.parse_args()
    if args.frames < LATE[1]:
        parser.error(f"--frames {args.frames}: give {LATE[1]} or more, which is where the memory is warm")
    keep_heap_pages()
    net = load_model(args.model)
    kinds: dict[str, tuple[int, Scores]] = {}
    for clip in (clip for folder in args.clips for clip in find_clips(folder)):
        pairs = [read_pair(clip, frame, flow=True) for frame in clip.frames[: args.frames]]
        if len(pairs) < args.frames or not moves(pairs):
            continue
        fresh: Scores = [(StrataScore(with_ssim=False), StrataScore(with_ssim=False)) for _ in pairs]
        count, scores = kinds.get(clip.encoding, (0, fresh))
        score_clip(net, clip, pairs, scores)
        kinds[clip.encoding] = count + 1, scores
    for encoding, (count, scores) in kinds.items():
        table = Table(title=f"{get_encoding(encoding).title}, {count} clips that move: gain over identity in dB")
        for column in ("frame", "with memory", "frame by frame"):
            table.add_column(column, justify="right")
        found = gains(scores)
        for number, pair in enumerate(found, start=1):
            table.add_row(str(number), *(f"{gain:+.2f}" for gain in pair))
        late = [sum(pair[which] for pair in found[LATE[0] - 1 : LATE[1]]) / 3 - found[0][which] for which in (0, 1)]
        table.add_row(f"{LATE[0]}-{LATE[1]} over 1", *(f"{gain:+.2f}" for gain in late))
        Console(width=100).print(table)


if __name__ == "__main__":
    main()
