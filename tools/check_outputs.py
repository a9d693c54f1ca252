"""Traces of the network in what it makes: patterns, lines, grids, seams, fringes, wide skies, and broken motion.

    python tools/check_outputs.py                                    # all parts, painted panoramas
    python tools/check_outputs.py forest.exr --parts grid seams      # some, with your own
    python tools/check_outputs.py --model runs/s/best.safetensors --parts skies --sky-sizes 512x288 3840x2160

Everything but fringes is measured where the truth is smooth, in 8-bit codes; truth and identity (the codes as they
are) stand beside. The measures are in seqhdr/quality/artifacts.py.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from output_clips import FLOWS, SKIES, Frame, blur_offsets, film, paint_sky, predict
from rich.console import Console
from rich.table import Table
from torch import Tensor

from seqhdr.color.bins import clip_mask, decode_offset
from seqhdr.color.encodings import get_encoding
from seqhdr.model.cards import load_model
from seqhdr.model.heap import keep_heap_pages
from seqhdr.model.net import SeqNet
from seqhdr.model.tiles import plan_tiles
from seqhdr.quality import artifacts
from seqhdr.quality.banding import measure_banding, smooth_regions
from seqhdr.quality.levels import frame_levels
from seqhdr.quality.strata import StrataScore, psnr_db
from seqhdr.quality.strata import Table as StrataTable
from seqhdr.train.synthetic import SyntheticClip, open_panorama

PARTS = ("patterns", "grid", "seams", "fringes", "skies", "flows")
ENCODINGS = ("acescct", "srgb")
GRID_PERIODS_PX = (4, 8, 16, 32)
BAND_WIDTHS_PX = ((4, 16), (16, 64), (64, 256))


def _upright(image: Tensor) -> Tensor:
    return image.transpose(-2, -1)


def patterns(frames: Sequence[Frame]) -> dict[str, dict[str, float]]:
    """Pattern → result, truth, identity → amplitude in codes (RMS over windows)."""
    found: dict[str, dict[str, list[Tensor]]] = {}
    for frame in frames:
        smooth = artifacts.smooth_mask(frame.value_lsb)
        for who, picture in frame.pictures.items():
            checks, columns, rows = artifacts.alternations_lsb(picture, smooth)
            numbers = {"checkerboard": checks, "columns alternate": columns, "rows alternate": rows}
            numbers["scanlines"] = artifacts.line_offsets_lsb(picture, smooth)
            numbers["upright lines"] = artifacts.line_offsets_lsb(_upright(picture), _upright(smooth))
            for what, row in numbers.items():
                found.setdefault(what, {}).setdefault(who, []).append(row)
    return {what: {who: artifacts.rms(torch.cat(rows)) for who, rows in row.items()} for what, row in found.items()}


def grid(frames: Sequence[Frame], period_px: int) -> dict[str, tuple[float, float]]:
    """Result, identity → amplitude in codes that is locked to the pixel grid, and what chance would give."""
    out = {}
    for who in ("result", "identity"):
        phasors = []
        for frame in frames:
            smooth, error = artifacts.smooth_mask(frame.value_lsb), frame.errors[who]
            phasors.append(artifacts.grid_phasors(error, smooth, period_px))
            phasors.append(artifacts.grid_phasors(_upright(error), _upright(smooth), period_px))
        out[who] = artifacts.locked_lsb(torch.cat(phasors, dim=1))
    return out


def seams(whole: Sequence[Frame], tiled: Sequence[Frame], tile: int) -> dict[str, dict[str, float]]:
    """Picture → steps at the seams, and elsewhere (RMS, in codes), where tiles begin or end within the frame."""
    height, width = whole[0].codes.shape[1:]
    tiles = plan_tiles(height, width, tile).tiles
    columns = sorted({edge for t in tiles for edge in (t.left, t.right)} - {0, width})
    rows = sorted({edge for t in tiles for edge in (t.top, t.bottom)} - {0, height})
    found: dict[str, tuple[list[Tensor], list[Tensor]]] = {}
    for one, other in zip(whole, tiled, strict=True):
        smooth = artifacts.smooth_mask(one.value_lsb)
        pictures = {"tiled": other.errors["result"], "whole": one.errors["result"], "identity": one.errors["identity"]}
        pictures["tiled - whole"] = other.offset_lsb - one.offset_lsb
        for name, error in pictures.items():
            steps = found.setdefault(name, ([], []))
            for turned, mask, places in ((error, smooth, columns), (_upright(error), _upright(smooth), rows)):
                if places:
                    for collected, jumps in zip(steps, artifacts.seam_jumps_lsb(turned, mask, places), strict=True):
                        collected.append(jumps)
    return {
        name: {"seams": artifacts.rms(torch.cat(at)), "elsewhere": artifacts.rms(torch.cat(away))}
        for name, (at, away) in found.items()
    }


def fringes(frames: Sequence[Frame]) -> dict[str, dict[str, float]]:
    """Place → ``rms`` and ``bias`` of G - (R + B) / 2 against the truth in ACEScct, and identity's."""
    found: dict[str, dict[str, list[Tensor]]] = {}
    for frame in frames:
        space = get_encoding(frame.encoding)
        clipped = clip_mask(frame.codes, 0.5, 255)
        spread = artifacts.local_range(frame.value_lsb.clamp(0, 255), 1)
        near_clip = artifacts.edge_band(clipped)
        strong = artifacts.dilate((spread > 32).any(dim=0, keepdim=True), 4)[0] & ~near_clip & ~clipped.any(dim=0)
        truth = space.decode(frame.value_lsb.clamp(max=254.5) / 255) * torch.exp2(frame.gain_stops)
        result = decode_offset(frame.codes, frame.offset_lsb, frame.result_gain_stops, 0.5, 255, space)
        nothing = torch.zeros_like(frame.codes)
        identity = decode_offset(frame.codes, nothing, nothing, 0.5, 255, space)
        for where, band in (("within 4 px of a clip", near_clip), ("within 4 px of a strong edge", strong)):
            for who, light in (("result", result), ("identity", identity)):
                error = artifacts.chroma_log(light) - artifacts.chroma_log(truth)
                found.setdefault(where, {}).setdefault(who, []).append(error[band])
    out: dict[str, dict[str, float]] = {}
    for where, row in found.items():
        numbers = {who: torch.cat(parts) for who, parts in row.items()}
        out[where] = {who: artifacts.rms(error) for who, error in numbers.items()}
        out[where] |= {f"{who} bias": float(error.mean()) for who, error in numbers.items()}
    return out


def score(frames: Iterable[Frame]) -> StrataScore:
    """The strata of frames, together."""
    total = StrataScore(with_ssim=False)
    for frame in frames:
        own = (frame.codes, frame.value_lsb, frame.gain_stops, frame.offset_lsb, frame.result_gain_stops)
        total.add_frame(frame.index, *own, get_encoding(frame.encoding), 0.5)
    return total


def gain_by_width(frames: Sequence[Frame]) -> dict[str, float]:
    """Width of the bands in pixels → gain over identity in dB, in codes; only widths that occur."""
    out = {}
    for low, high in BAND_WIDTHS_PX:
        squares = {"result": 0.0, "identity": 0.0}
        for frame in frames:
            widths = artifacts.band_width_px(frame.value_lsb)
            chosen = (widths >= low) & (widths < high)
            for who, error in frame.errors.items():
                squares[who] += float(error[chosen].double().square().sum())
        if squares["identity"] > 0:
            ours, its = (psnr_db(squares[who] / squares["identity"]) for who in ("result", "identity"))
            out[f"{low}-{high}"] = ours - its
    return out


def banded_shares(frame: Frame) -> dict[str, float]:
    """Result, truth, identity → share of pixels in visible bands, stored as half floats in ACEScct's curve."""
    space, log = get_encoding(frame.encoding), get_encoding("acescct")
    out = {}
    for who, picture in frame.pictures.items():
        stored = log.encode(space.decode(picture.double() / 255)).permute(1, 2, 0).numpy().astype(np.float16)
        levels = frame_levels(stored, lambda values: log.decode(torch.from_numpy(values)).numpy())
        out[who] = measure_banding(levels, smooth_regions(levels)).banding_index
    return out


def best_blur(frame: Frame) -> tuple[float, int]:
    """The gain in flat areas of the best of the network's own blurs, alone, and its cells in pixels.

    No picture but a painted sky is so smooth that one blur fits it all; there it says what can be reached.
    """
    gains = []
    for cells, offset in blur_offsets(frame).items():
        table = score([dataclasses.replace(frame, offset_lsb=offset)]).table()
        gains.append((table["flat"]["gain_db"], cells))
    return max(gains)


def compare_flows(net: SeqNet, clips: Sequence[SyntheticClip]) -> dict[str, dict[str, float]]:
    """Kind of motion → PSNR in ACEScct from the second frame on, ``whole`` and ``flat``, of all clips together.

    ``whole, worst`` and ``flat, worst`` are the least that a clip has more than it has from single frames.
    """
    strata = ("whole", "flat")
    out: dict[str, dict[str, float]] = {}
    alone: list[StrataTable] = []
    for kind in FLOWS:
        total, tables = StrataScore(with_ssim=False), []
        for clip in clips:
            own = score(frame for frame in predict(net, clip, kind) if frame.index > 0)
            total.merge(own)
            tables.append(own.table())
        alone = alone or tables
        table = total.table()
        out[kind] = {stratum: table[stratum]["psnr_db"] for stratum in strata if stratum in table}
        for stratum in out[kind].copy():
            pairs = [(a[stratum], b[stratum]) for a, b in zip(tables, alone, strict=True) if stratum in a]
            out[kind][f"{stratum}, worst"] = min(ours["psnr_db"] - its["psnr_db"] for ours, its in pairs)
    return out


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left")
    return table


def _show(number: float, digits: int = 4) -> str:
    return "-" if math.isnan(number) else f"{number:.{digits}f}"


def pattern_table(frames: Sequence[Frame]) -> Table:
    table = _table("patterns, RMS amplitude in codes where the truth is smooth", "", "result", "truth", "identity")
    for what, row in patterns(frames).items():
        table.add_row(what, *(_show(row[who]) for who in ("result", "truth", "identity")))
    return table


def grid_table(frames: Sequence[Frame]) -> Table:
    columns = ("period", "result", "by chance", "identity", "by chance")
    table = _table("errors locked to the pixel grid, in codes where the truth is smooth", *columns)
    for period_px in GRID_PERIODS_PX:
        found = grid(frames, period_px)
        table.add_row(f"{period_px} px", *(_show(number) for who in ("result", "identity") for number in found[who]))
    return table


def seam_table(net: SeqNet, clips: Sequence[SyntheticClip], tile: int) -> Table:
    whole = [frame for clip in clips for frame in predict(net, clip)]
    tiled = [frame for clip in clips for frame in predict(net, clip, tile=tile)]
    table = _table(f"steps of the error, RMS in codes, tiles of {tile} px", "", "at seams", "elsewhere")
    for what, row in seams(whole, tiled, tile).items():
        table.add_row(what, _show(row["seams"]), _show(row["elsewhere"]))
    return table


def fringe_table(frames: Sequence[Frame]) -> Table:
    columns = ("", "result", "identity", "result, mean", "identity, mean")
    table = _table("G - (R + B) / 2 against the truth, in ACEScct", *columns)
    for where, row in fringes(frames).items():
        names = ("result", "identity", "result bias", "identity bias")
        table.add_row(where, *(_show(row[name], 5) for name in names))
    return table


def sky_table(net: SeqNet, sizes: Sequence[tuple[int, int]]) -> Table:
    widths = [f"{low}-{high} px" for low, high in BAND_WIDTHS_PX]
    columns = ("sky", "size", "flat", "one blur", *widths, "banded", "source's")
    table = _table("painted skies, one frame: gain over identity in dB, by the width of the bands", *columns)
    for encoding in ENCODINGS:
        for kind in SKIES:
            for size in sizes:
                frames = list(predict(net, paint_sky(kind, encoding, size)))
                flat, by_width = score(frames).table()["flat"]["gain_db"], gain_by_width(frames)
                gains = [_show(by_width.get(f"{low}-{high}", math.nan), 2) for low, high in BAND_WIDTHS_PX]
                banded, (reached, cells) = banded_shares(frames[0]), best_blur(frames[0])
                shares = [f"{100 * banded[who]:.1f} %" for who in ("result", "identity")]
                name, whole = f"{encoding}, {kind}", f"{size[0]}x{size[1]}"
                table.add_row(name, whole, _show(flat, 2), f"{reached:.2f} ({cells} px)", *gains, *shares)
    return table


def flow_table(net: SeqNet, clips: Sequence[SyntheticClip]) -> Table:
    columns = ("motion", "whole", "over single", "worst clip", "flat", "over single", "worst clip")
    table = _table("PSNR in ACEScct from the second frame on, in dB", *columns)
    found = compare_flows(net, clips)
    alone = found["single frame"]
    for kind, row in found.items():
        cells = []
        for stratum in ("whole", "flat"):
            number, worst = (row.get(name, math.nan) for name in (stratum, f"{stratum}, worst"))
            cells += [_show(number, 2), f"{number - alone.get(stratum, math.nan):+.2f}", f"{worst:+.2f}"]
        table.add_row(kind, *cells)
    return table


def parse_size(text: str) -> tuple[int, int]:
    width, height = map(int, text.split("x"))
    return width, height


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("panoramas", nargs="*", default=["procedural:1", "procedural:2", "procedural:3"])
    parser.add_argument("--model", default="s")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--size", type=parse_size, default=(512, 288), help="of the clips")
    parser.add_argument("--frames", type=int, default=5, help="of a clip, 2 or more")
    parser.add_argument("--sky-sizes", type=parse_size, nargs="+", default=[(512, 288), (1536, 864)])
    parser.add_argument("--tile", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    keep_heap_pages()
    net = load_model(args.model)
    clips = [
        film(open_panorama(name, 1024), encoding, args.size, args.frames, args.seed + index)
        for index, name in enumerate(args.panoramas)
        for encoding in ENCODINGS
    ]
    frames: list[Frame] = []
    if {"patterns", "grid", "fringes"} & set(args.parts):
        frames = [frame for clip in clips for frame in predict(net, clip)]
    if {"patterns", "grid"} & set(args.parts):
        skies = (paint_sky(kind, encoding, args.size, 2) for kind in SKIES for encoding in ENCODINGS)
        smooth = frames + [frame for sky in skies for frame in predict(net, sky)]
    console = Console(width=110)
    for part in args.parts:
        if part == "patterns":
            table = pattern_table(smooth)
        elif part == "grid":
            table = grid_table(smooth)
        elif part == "seams":
            table = seam_table(net, clips, args.tile)
        elif part == "fringes":
            table = fringe_table(frames)
        elif part == "skies":
            table = sky_table(net, args.sky_sizes)
        else:
            table = flow_table(net, clips)
        console.print(table)


if __name__ == "__main__":
    main()
