"""What a run makes of compressed sources, codec by codec, identity (the codes as they are) beside every number.

    python tools/compressed_table.py PANORAMAS --clips 2 --json compressed.json

Clips are filmed in each panorama by the camera of ``seqhdr synth`` (configs/synth/compressed.yaml without its codecs,
seed 2026: the same light as its clips of the same numbers), rounded to 8-bit sRGB, and go through every codec, so that
lines compare: JPEG of quality 85 with 4:2:0 chroma, and H.264 at crf 18, 23 and 28, decoded to the nearest code and as
``ffmpeg`` does unless told otherwise (*cut down*). The decoded frames are written as PNG, and a run's own set-up
chooses w and the decoder whose rounding is undone (``--bins auto``); then the model goes from frame to frame with DIS
flow and its memory. *lossless* is the control: the rounded frames as they are. Where a compressed source has *clips at
1/2*, the run found no trace of the codec in them, and held them to half a code.

- **whole**: PSNR of the code values against those before rounding, peak 255, over all unclipped channels. A channel
  is clipped where its code is (code + w >= 255), and also where its true value is (254.5 or more) though a codec made
  less of it: such a lamp may be off by any amount, and nothing within w of the code can mend that.
- **flat areas**: the same where the *truth*, before rounding and compression, spans one code or less within 7x7 pixels
  in every channel. Codes would not do: the noise and the blocks of a codec would empty just the areas they spoil.
  *flat* is the share of all pixels; below 0.1 % of a scene there is no gain.
- **blocks**: the steps that the error (result minus truth, source minus truth; luma, in codes) makes across the lines
  of the 8-pixel grid: mean square there minus mean square two pixels beside, where neither 8x8 nor 4x4 blocks meet, in
  codes². Blocks that differ by s from one to the next read s², noise and texture 0 (:mod:`seqhdr.quality.blocks`).
  *x 0.6* says that the result has 0.6 of identity's. There is none where identity's own is not above four standard
  errors. **blocks, flat areas** are those where they are seen: in texture steps are larger, but hidden.

Each is over all clips at once, and for the scene that fares worst. *wanted* is what the model should reach.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor

from seqhdr.color.bins import clip_mask
from seqhdr.media.shot import find_shot
from seqhdr.model.cards import load_model
from seqhdr.model.heap import keep_heap_pages
from seqhdr.model.motion import FlowEstimator, make_flow
from seqhdr.model.net import SeqNet
from seqhdr.model.predict import Predictor
from seqhdr.pipeline.options import RunOptions
from seqhdr.pipeline.setup import ShotSetup, prepare_shot
from seqhdr.quality.blocks import BlockSums, block_sums, error_luma
from seqhdr.quality.strata import flat_mask, psnr_db
from seqhdr.train.codecs import h264, jpeg
from seqhdr.train.config import SceneConfig
from seqhdr.train.config_file import build_config, read_yaml, set_keys
from seqhdr.train.synthetic import find_panoramas, make_clip, open_panorama

CONFIG = Path(__file__).parents[1] / "configs" / "synth" / "compressed.yaml"
SEED = 2026
TOP, TRUTH_TOP = 255, 254.5
ENOUGH_FLAT, SURE = 1e-3, 4.0

Frames = NDArray[np.uint8]


def _h264(crf: int, cut_down: bool) -> Callable[[Frames], Frames]:
    return lambda codes: h264(codes, crf, cut_down=cut_down)


#: Line of the table → what makes its source of rounded frames (T, H, W, 3).
CODECS: dict[str, Callable[[Frames], Frames]] = {
    "lossless": lambda codes: codes,
    "JPEG 85": lambda codes: jpeg(codes, 85),
    **{f"H.264 crf {crf}, nearest": _h264(crf, cut_down=False) for crf in (18, 23, 28)},
    **{f"H.264 crf {crf}, cut down": _h264(crf, cut_down=True) for crf in (18, 23, 28)},
}
#: What is measured → its label; "as eval" counts what only the truth clips too, up to the top of the range, as
#: ``seqhdr eval`` does, and goes to JSON.
PSNRS = {"whole": "whole", "flat": "flat areas", "as eval": "whole, as eval counts"}
BLOCKS = {"blocks": "blocks", "flat blocks": "blocks, flat areas"}


def wanted(source: str, measure: str) -> float | None:
    """The gain in dB, or the share of identity's blocks, that the model should reach."""
    if source == "lossless" or measure == "as eval":
        return None
    if measure in BLOCKS:
        return 0.6
    return 1.5 if measure == "flat" else 1.0 if source.startswith("JPEG") else 0.5


@dataclass(frozen=True)
class Score:
    """Sums over frames. Of each PSNR: channels, squares of the result's error, squares of identity's, in codes²."""

    pixels: int = 0
    flat_pixels: int = 0
    squares: dict[str, tuple[float, float, float]] = field(default_factory=lambda: dict.fromkeys(PSNRS, (0.0,) * 3))
    blocks: dict[str, tuple[BlockSums, BlockSums]] = field(
        default_factory=lambda: dict.fromkeys(BLOCKS, (BlockSums(), BlockSums()))
    )

    def __add__(self, other: Score) -> Score:
        def both(mine: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
            return {name: tuple(a + b for a, b in zip(mine[name], theirs[name], strict=True)) for name in mine}

        pixels, flat = self.pixels + other.pixels, self.flat_pixels + other.flat_pixels
        return Score(pixels, flat, both(self.squares, other.squares), both(self.blocks, other.blocks))

    def numbers(self) -> dict[str, dict[str, float | None]]:
        """Result, identity and gain of everything measured: dB and their difference; codes² and their ratio."""
        out: dict[str, dict[str, float | None]] = {}
        for name, (count, *sums) in self.squares.items():
            ours, its = (psnr_db(each / count / TOP**2) if count else None for each in sums)
            out[name] = {"result": ours, "identity": its, "gain": None if ours is None else ours - its}
        for name, (mine, theirs) in self.blocks.items():
            ours, its, error = mine.energy_lsb2, theirs.energy_lsb2, theirs.standard_error_lsb2
            sure = its is not None and its > SURE * error
            out[name] = {"result": ours, "identity": its, "gain": ours / its if sure else None}
        if self.flat_pixels < ENOUGH_FLAT * self.pixels:
            out["flat"]["gain"] = out["flat blocks"]["gain"] = None
        return out


def score_frame(codes: Tensor, value_lsb: Tensor, offset_lsb: Tensor, half_width_lsb: float) -> Score:
    """Count one frame: codes, the truth in codes before rounding, and what the model adds; all (3, H, W)."""
    codes, truth, offset = (tensor.detach().cpu().double() for tensor in (codes, value_lsb, offset_lsb))
    unclipped = ~clip_mask(codes, half_width_lsb, TOP)
    known = unclipped & (truth < TRUTH_TOP)
    flat = flat_mask(value_lsb[None])[0, 0]
    result, identity = codes + offset - truth, codes - truth
    squares = {}
    for name, mask in (("whole", known), ("flat", known & flat), ("as eval", unclipped)):
        beyond = (truth - TRUTH_TOP).clamp_min(0)
        errors = (result + beyond, identity + beyond)
        squares[name] = tuple(float(x) for x in (mask.sum(), *(e[mask].square().sum() for e in errors)))
    seen = known.all(dim=0)
    blocks = {}
    for name, mask in (("blocks", seen), ("flat blocks", seen & flat)):
        blocks[name] = tuple(block_sums(error_luma(error), mask) for error in (result, identity))
    return Score(flat.numel(), int(flat.sum()), squares, blocks)


@dataclass(frozen=True)
class ClipScore:
    """One clip through one codec."""

    source: str
    scene: str
    score: Score
    half_width_lsb: float
    unrounded: str | None
    seconds: float  # flow, network and undoing


def set_up(frames: Frames, flow: FlowEstimator | None) -> ShotSetup:
    """What a run decides about these frames (T, H, W, 3) as PNG."""
    with tempfile.TemporaryDirectory() as folder:
        for number, codes in enumerate(frames, start=1001):
            cv2.imwrite(f"{folder}/shot_{number}.png", codes[..., ::-1])
        return prepare_shot(find_shot(f"{folder}/shot_%04d.png"), RunOptions(Path(folder)), torch.device("cpu"), flow)


def measure(source: str, scene: str, frames: Frames, value_lsb: Tensor, net: SeqNet) -> ClipScore:
    """Run the model over a clip; the truth is (T, 3, H, W)."""
    flow = make_flow("dis")
    setup = set_up(frames, flow)
    w, unrounding = setup.bins.half_width_lsb, setup.unrounding
    predictor = Predictor(net, half_width_lsb=w, flow=flow, tile=setup.tile, unrounding=unrounding)
    total, memory, seconds = Score(), None, 0.0
    for codes, truth in zip(frames, value_lsb, strict=True):
        started = time.perf_counter()
        prediction, memory = predictor.step(codes, memory)
        seconds += time.perf_counter() - started
        total += score_frame(torch.from_numpy(codes).permute(2, 0, 1), truth, prediction.offset_lsb[0], w)
    return ClipScore(source, scene, total, w, setup.bins.unrounded, seconds)


def film(places: tuple[str, ...], clips: int, frames: int, size: tuple[int, int]) -> Iterator[tuple[str, Any]]:
    """Scenes and their clips, which are those that ``seqhdr synth --clips SCENES*CLIPS`` numbers the same way."""
    text = set_keys(read_yaml(CONFIG), ("degrade.jpeg_share=0", "degrade.h264_share=0"))
    config = build_config(SceneConfig, text, str(CONFIG))
    names = find_panoramas(places)
    for place, name in enumerate(names):
        panorama = open_panorama(name)
        for number in range(place, clips * len(names), len(names)):
            rng = np.random.default_rng((SEED, number))
            yield panorama.name, make_clip(panorama, config, rng, frames, size[1], size[0]).degraded


def worst_scene(scenes: dict[str, dict[str, Any]], name: str) -> tuple[str, float] | None:
    """The scene of least gain, or of most blocks against identity's; what is not a number is worse than any."""
    gains = {scene: numbers[name]["gain"] for scene, numbers in scenes.items() if numbers[name]["gain"] is not None}
    if not gains:
        return None
    sign = 1 if name in BLOCKS else -1
    worst = max(gains, key=lambda scene: (math.isnan(gains[scene]), sign * gains[scene]))
    return worst, gains[worst]


def sum_up(source: str, clips: list[ClipScore], frames: int) -> dict[str, Any]:
    """One codec's part of the JSON."""
    scenes: dict[str, Score] = {}
    for clip in clips:
        scenes[clip.scene] = scenes.get(clip.scene, Score()) + clip.score
    total = sum(scenes.values(), Score())
    tables = {scene: score.numbers() for scene, score in scenes.items()}
    measures: dict[str, dict[str, Any]] = {}
    for name, numbers in total.numbers().items():
        target, gain = wanted(source, name), numbers["gain"]
        met = None
        if target is not None and gain is not None:
            met = bool(gain <= target if name in BLOCKS else gain >= target)
        worst = worst_scene(tables, name)
        shown = {"scene": worst[0], "gain": worst[1]} if worst else None
        measures[name] = {**numbers, "wanted": target, "met": met, "worst": shown}
    return {
        "source": source,
        "half_width_lsb": sorted(clip.half_width_lsb for clip in clips),
        "unrounded": sorted({clip.unrounded or "nothing" for clip in clips}),
        "flat_share": total.flat_pixels / total.pixels,
        "seconds_per_frame": sum(clip.seconds for clip in clips) / (len(clips) * frames),
        "measures": measures,
        "scenes": tables,
    }


def show(report: dict[str, Any], console: Console) -> None:
    """Print the tables: first what a run decided, then what came of it."""
    chosen = Table(title=f"{report['clips']} clips of {report['frames']} frames {report['size']}, --bins auto")
    for column in ("source", "w in codes", "clips at 1/2", "rounding undone", "flat", "s per frame"):
        chosen.add_column(column, justify="left" if column in ("source", "rounding undone") else "right")
    measured = Table()
    for column in ("source", "measure", "result", "identity", "gain", "wanted", "met", "worst scene", "scene"):
        justify = "left" if column in ("source", "measure", "met", "scene") else "right"
        measured.add_column(column, justify=justify, no_wrap=column != "scene")
    for part in report["sources"]:
        widths, undone = part["half_width_lsb"], "; ".join(part["unrounded"])
        span, narrow = f"{widths[0]:.2f} - {widths[-1]:.2f}", str(widths.count(0.5))
        share, seconds = f"{part['flat_share']:.1%}", f"{part['seconds_per_frame']:.2f}"
        chosen.add_row(part["source"], span, narrow, undone, share, seconds)
        for place, (name, label) in enumerate(({**PSNRS, **BLOCKS}).items()):
            if name != "as eval":
                measured.add_row("" if place else part["source"], label, *cells(name, part["measures"][name]))
        measured.add_section()
    console.print(chosen)
    console.print(measured)


def cells(name: str, numbers: dict[str, Any]) -> tuple[str, ...]:
    value, gain = ("{:.3f}", "x {:.2f}") if name in BLOCKS else ("{:.2f} dB", "{:+.2f}")
    worst = numbers["worst"] or {"gain": None, "scene": ""}

    def text(shape: str, number: float | None) -> str:
        return "-" if number is None else shape.format(number)

    met = {None: "", True: "yes", False: "NO"}[numbers["met"]]
    ours, its = text(value, numbers["result"]), text(value, numbers["identity"])
    goal = "" if numbers["wanted"] is None else gain.format(numbers["wanted"])
    return ours, its, text(gain, numbers["gain"]), goal, met, text(gain, worst["gain"]), worst["scene"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("panoramas", nargs="+", help="folders or files, or procedural:SEED")
    parser.add_argument("--model", default="s", help="a shipped name or a file of weights")
    parser.add_argument("--clips", type=int, default=2, help="of each panorama")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--size", default="512x288")
    parser.add_argument("--json", type=Path, help="write all numbers here, scene by scene")
    args = parser.parse_args()
    keep_heap_pages()
    net = load_model(args.model)
    width, height = map(int, args.size.split("x"))
    scores: dict[str, list[ClipScore]] = {source: [] for source in CODECS}
    for scene, clip in film(tuple(args.panoramas), args.clips, args.frames, (width, height)):
        value = torch.from_numpy(np.ascontiguousarray(clip.value_lsb.transpose(0, 3, 1, 2)))
        for source, codec in CODECS.items():
            scores[source].append(measure(source, scene, codec(clip.codes), value, net))
    report = {
        "model": net.config.name,
        "sha256": net.weights_sha256,
        "seed": SEED,
        "clips": len(scores["lossless"]),
        "frames": args.frames,
        "size": args.size,
        "sources": [sum_up(source, clips, args.frames) for source, clips in scores.items()],
    }
    show(report, Console(width=150))
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
