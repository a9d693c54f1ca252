"""What --denoise and --grain do to clips whose truth is known, with and without their noise.

    python tools/grain_table.py procedural:3 PANORAMAS --model s

Each clip is filmed twice by the same camera, in 8-bit sRGB: clean, and with shot and read noise, or with grain 1.6
pixels large. Deviations are in codes (root mean square), over channels between 5 and 240 of all frames but the first
two, which have fewer frames before them to look at:

- **identity, plain, remove** against the clean clip before rounding: the codes as they are, a run without --denoise,
  and one with --denoise auto --grain remove.
- **identity, plain, keep** against the noisy clip before rounding: what those do to the picture with its grain.
- **estimate**: the level function against the true noise, mean over levels, and the level that is furthest from 1.
- **regrow**: standard deviation of result minus clean truth against that of the true noise, level by level, the one
  furthest from 1; and the largest difference of their autocorrelations, up to four pixels apart along a row.
- **seconds** per frame: plain, and with --denoise.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from seqhdr.classic.grain import measure_grain
from seqhdr.classic.noise_level import NoiseSample, estimate_noise
from seqhdr.model.heap import keep_heap_pages
from seqhdr.model.motion import DisFlow
from seqhdr.model.predict import Memory, Predictor
from seqhdr.pipeline.decoders import load_decoder
from seqhdr.pipeline.denoised import Cleaning, DenoisedPredictor
from seqhdr.train.config import SceneConfig
from seqhdr.train.degrade import DegradeConfig
from seqhdr.train.synthetic import find_panoramas, make_clip, open_panorama

NOTHING = {
    f"{name}_share": 0.0
    for name in ("response", "noise", "grain", "resolution", "dither", "jpeg", "h264", "flicker", "crush")
}
KINDS: dict[str, dict[str, Any]] = {
    "noise": {"noise_share": 1.0, "noise_shot": (4e-4, 4e-4), "noise_read": (1e-3, 1e-3)},
    "grain": {"grain_share": 1.0, "grain_size_px": (1.6, 1.6), "grain_stops": (0.05, 0.05)},
}
MAX_CODE, LOWEST, HIGHEST, LEAD = 255, 5, 240, 2
LEVELS, LEAST_PIXELS, LAGS = 16, 3000, (1, 2, 3, 4)
Clip = NDArray[Any]


def film(panorama: str, size: tuple[int, int], frames: int, seed: int, **degrade: Any) -> tuple[Clip, Clip]:
    """Codes and values before rounding, (T, H, W, 3); the draws do not depend on which degradations are on."""
    base = {**NOTHING, "encodings": {"srgb": 1.0}, "display_clipping_share": 1.0, "display_clipped": (0.005, 0.02)}
    scene = SceneConfig(degrade=DegradeConfig(**{**base, "display_limit_stops": (-1.0, 0.0), **degrade}))
    width, height = size
    clip = make_clip(open_panorama(panorama), scene, np.random.default_rng(seed), frames, height, width)
    return clip.degraded.codes, clip.degraded.value_lsb


def decode(codes: Clip, net: Any, cleaning: Cleaning | None, grain: str) -> tuple[Clip, float]:
    """Values of a clip in codes, (T, H, W, 3), and seconds per frame."""
    width = cleaning.network_half_width_lsb if cleaning else 0.5
    predictor = Predictor(net, half_width_lsb=width, flow=DisFlow())
    if cleaning:
        cleaning = dataclasses.replace(cleaning, grain=grain)
        denoised = DenoisedPredictor(predictor, cleaning, cleaning.half_width_lsb)
    memory: Memory | None = None
    out, started = [], time.perf_counter()
    for number, frame in enumerate(codes):
        if cleaning:
            prediction, memory = denoised.step(number, frame, memory)
        else:
            prediction, memory = predictor.step(frame, memory)
        out.append(frame + prediction.offset_lsb[0].permute(1, 2, 0).numpy())
    return np.stack(out), (time.perf_counter() - started) / len(codes)


def furthest(ratios: list[float]) -> float:
    return max(ratios, key=lambda ratio: abs(np.log(max(ratio, 1e-3))), default=float("nan"))


def by_level(found: Clip, clean: Clip, known: Clip) -> dict[tuple[int, int], float]:
    """(level, channel) → standard deviation of ``found``."""
    level = (clean * (LEVELS / (MAX_CODE + 1))).clip(0, LEVELS - 1).astype(int)
    out = {}
    for channel in range(3):
        for index in range(LEVELS):
            at = known[..., channel] & (level[..., channel] == index)
            if at.sum() >= LEAST_PIXELS:
                out[index, channel] = float(found[..., channel][at].std())
    return out


def correlations(noise: Clip, known: Clip) -> NDArray[np.float64]:
    masked = np.where(known, noise, 0.0)
    out = []
    for lag in LAGS:
        both = known[:, :, lag:] & known[:, :, :-lag]
        out.append((masked[:, :, lag:] * masked[:, :, :-lag]).sum() / max(both.sum(), 1))
    return np.array(out) / (masked**2).sum() * known.sum()


def row(panorama: str, kind: str, net: Any, args: argparse.Namespace) -> list[str]:
    size = tuple(map(int, args.size.split("x")))
    _, clean = film(panorama, size, args.frames, args.seed)
    codes, noisy = film(panorama, size, args.frames, args.seed, **KINDS[kind])
    samples = [NoiseSample(codes[i], codes[i - 1]) for i in range(1, len(codes), 2)]
    noise = estimate_noise(samples, MAX_CODE)
    cleaning = Cleaning("keep", measure_grain(samples, noise), 0.5)
    known = ((clean > LOWEST) & (clean < HIGHEST) & (codes < HIGHEST))[LEAD:]

    def rms(result: Clip, truth: Clip) -> str:
        return f"{np.sqrt(np.mean((result - truth)[LEAD:][known] ** 2)):.3f}"

    plain, plain_s = decode(codes, net, None, "keep")
    removed, clean_s = decode(codes, net, cleaning, "remove")
    kept, _ = decode(codes, net, cleaning, "keep")
    grown, _ = decode(codes, net, cleaning, "regrow")
    true = by_level((noisy - clean)[LEAD:], clean[LEAD:], known)
    regrown = by_level((grown - clean)[LEAD:], clean[LEAD:], known)
    centres = {key: (key[0] + 0.5) * (MAX_CODE + 1) / LEVELS for key in true}
    estimates = [float(noise.at(np.full(3, centres[key]))[key[1]]) / true[key] for key in true]
    apart = correlations((grown - clean)[LEAD:], known) - correlations((noisy - clean)[LEAD:], known)
    return [
        f"{panorama.rsplit('/', 1)[-1]} {kind}",
        *(rms(result, clean) for result in (codes, plain, removed)),
        *(rms(result, noisy) for result in (codes, plain, kept)),
        f"{np.mean(estimates):.2f}, {furthest(estimates):.2f}",
        f"{furthest([regrown[key] / true[key] for key in true]):.2f}, {np.abs(apart).max():.3f}",
        f"{plain_s:.2f}, {clean_s:.2f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("panoramas", nargs="+", help="folders, files, or procedural:SEED")
    parser.add_argument("--model", default="s")
    parser.add_argument("--frames", type=int, default=6)
    parser.add_argument("--size", default="512x288")
    parser.add_argument("--seed", type=int, default=4)
    args = parser.parse_args()
    keep_heap_pages()
    net = load_decoder(args.model)
    table = Table(title="noise and grain, deviations in codes")
    clean, noisy = ("identity", "plain", "remove"), ("identity", "plain", "keep")
    for column in ("clip", *clean, *noisy, "estimate", "regrow", "seconds"):
        table.add_column(column, justify="left" if column == "clip" else "right")
    for panorama in find_panoramas(tuple(args.panoramas)):
        for kind in KINDS:
            table.add_row(*row(panorama, kind, net, args))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
