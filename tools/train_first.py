"""Train a first model from a folder of panoramas, on the CPU, in a given number of minutes.

    python tools/train_first.py PANORAMAS -o first.safetensors --minutes 70

Every clip is rendered on the fly: a virtual camera turns inside a panorama, the view is exposed, encoded, and
rounded to 8 bits; a part of the clips also goes through JPEG or H.264. The learning rate follows the clock, so that the
run ends when it should on any machine.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor

from flow import DisFlow
from seqhdr.color.bins import bin_width_stops
from seqhdr.color.encodings import get_encoding
from seqhdr.model.cards import load_model, read_card, save_model
from seqhdr.model.heap import keep_heap_pages
from seqhdr.model.net import ModelConfig, SeqNet, Source
from seqhdr.model.source import log_width_table
from seqhdr.train.panorama import Panorama, camera_path, load_panorama, render

FRAMES = 6
# Batch by crop size, about equal in pixels: wide crops teach the wide blurs, small ones bring variety.
BATCH = {128: 4, 192: 2, 256: 1}
SIZE_SHARES = (0.55, 0.28, 0.17)
LOG, DISPLAY = {"acescct": 0.82, "logc3": 0.18}, {"srgb": 0.78, "rec709": 0.22}


class Clips(torch.utils.data.IterableDataset[dict[str, Tensor]]):
    """Endless random clips."""

    def __init__(self, panoramas: list[Panorama], seed: int, display_share: float) -> None:
        self.panoramas, self.seed = panoramas, seed
        self.names = {name: share * (1 - display_share) for name, share in LOG.items()}
        self.names |= {name: share * display_share for name, share in DISPLAY.items()}

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        cv2.setNumThreads(1)
        torch.set_num_threads(1)
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng((self.seed, worker.id if worker else 0))
        encodings = {name: get_encoding(name) for name in self.names}
        dis = DisFlow("fast")
        while True:
            size = int(rng.choice(list(BATCH), p=SIZE_SHARES))
            clips = [self.clip(rng, encodings, dis, size) for _ in range(BATCH[size])]
            yield {key: torch.stack([clip[key] for clip in clips]) for key in clips[0]}

    def clip(self, rng: np.random.Generator, encodings: dict, dis: DisFlow, size: int) -> dict[str, Tensor]:
        panorama = self.panoramas[rng.integers(len(self.panoramas))]
        speed = 0.0 if rng.random() < 0.1 else float(np.exp(rng.uniform(np.log(0.15), np.log(12))))
        heading = rng.uniform(0, 2 * np.pi)
        path = camera_path(
            FRAMES,
            yaw_deg=rng.uniform(-180, 180),
            pitch_deg=float(np.clip(rng.normal(0, 28), -75, 75)),
            roll_deg=rng.uniform(-180, 180) if rng.random() < 0.3 else rng.normal(0, 5),
            focal_px=panorama.pixels_per_radian * float(np.exp(rng.uniform(np.log(0.75), np.log(6)))),
            pan_px=(speed * np.cos(heading), speed * np.sin(heading)),
            roll_rate_deg=rng.normal(0, 0.3) * (rng.random() < 0.3),
            zoom=1 + rng.normal(0, 0.006) * (rng.random() < 0.3),
            jitter_px=rng.uniform(0, 1.5) * (rng.random() < 0.3),
            seed=int(rng.integers(2**31)),
        )
        light = np.stack([render(panorama, path, t, size, size) for t in range(FRAMES)])
        if rng.random() < 0.5:
            light = light[:, :, ::-1].copy()
            mirrored = True
        else:
            mirrored = False
        name = str(rng.choice(list(self.names), p=list(self.names.values())))
        encoding = encodings[name]
        light *= self.exposure(rng, light, log=name in LOG)
        value = encoding.encode(torch.from_numpy(light)) * 255
        if rng.random() < 0.2:  # grain is part of the truth: what the sensor saw is what must be kept
            value += torch.from_numpy(rng.normal(0, rng.uniform(0.1, 1.5), light.shape).astype(np.float32))
        value = value.permute(0, 3, 1, 2).contiguous()
        codes = value.round().clamp(0, 255)
        w = 0.5
        kind = rng.random()
        if kind < 0.24:
            rgb = codes.permute(0, 2, 3, 1).to(torch.uint8).numpy()
            squeezed = jpeg(rgb, int(rng.integers(55, 97))) if kind < 0.12 else h264(rgb, int(rng.integers(16, 31)))
            codes = torch.from_numpy(squeezed).permute(0, 3, 1, 2).float()
            error = (value.clamp(0, 255) - codes).abs()[:, :, ::4, ::4]
            w = float(np.clip(torch.quantile(error, 0.93) * rng.uniform(0.8, 1.25), 0.5, 4.0))
        exact = np.stack([path.flow(t, size, size) for t in range(FRAMES)])
        if mirrored:
            exact = exact[:, :, ::-1].copy()
            exact[..., 0] *= -1
        flow = self.flow(rng, torch.from_numpy(exact).permute(0, 3, 1, 2).contiguous(), codes, dis)
        return {
            "value": value,
            "codes": codes,
            "flow": flow,
            "w": torch.tensor(w),
            "log_width": log_width_table(encoding, 255),
            "stops": torch.log2(
                encoding.decode(value / 255).clamp_min(1e-6) / encoding.decode(torch.tensor(254.5 / 255))
            ).clamp(0, 10),
            "width": bin_width_stops(encoding, 255),
        }

    @staticmethod
    def exposure(rng: np.random.Generator, light: np.ndarray, log: bool) -> float:
        luma = light[:, ::4, ::4].max(axis=-1)
        if log:
            return float(2 ** rng.uniform(-5.5, 0.5) / np.median(luma))
        if rng.random() < 0.65:
            share = np.exp(rng.uniform(np.log(0.002), np.log(0.12)))
            gain = 1 / np.quantile(luma, 1 - share)
            # A flat wall must not be pushed into clipping only because some pixel has to be.
            return float(min(gain, 2 ** rng.uniform(-3, 1) / np.median(luma)))
        return float(2 ** rng.uniform(-6, -1) / np.median(luma))

    @staticmethod
    def flow(rng: np.random.Generator, exact: Tensor, codes: Tensor, dis: DisFlow) -> Tensor:
        kind = rng.random()
        if kind < 0.55:
            estimated = dis(codes[1:] / 255, codes[:-1] / 255)
            return torch.cat((torch.zeros_like(estimated[:1]), estimated))
        if kind < 0.8:
            return exact
        error_px = 2 ** rng.uniform(-3, 2)
        rough = torch.from_numpy(rng.normal(0, error_px, (FRAMES, 2, 4, 4)).astype(np.float32))
        return exact + F.interpolate(rough, size=exact.shape[-2:], mode="bicubic")


def jpeg(rgb: np.ndarray, quality: int) -> np.ndarray:
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality]
    return np.stack([cv2.imdecode(cv2.imencode(".jpg", f, settings)[1], cv2.IMREAD_COLOR) for f in rgb])


def h264(rgb: np.ndarray, crf: int) -> np.ndarray:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=Fraction(24), options={"crf": str(crf), "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt, stream.thread_count = (
            rgb.shape[2],
            rgb.shape[1],
            "yuv420p",
            1,
        )
        for frame in rgb:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        out.mux(stream.encode())
    buffer.seek(0)
    with av.open(buffer) as back:
        return np.stack([f.to_ndarray(format="rgb24") for f in back.decode(video=0)])


def loss_of(
    net: SeqNet, batch: dict[str, Tensor], drop: np.ndarray, gain_weight: float
) -> tuple[Tensor, dict[str, float]]:
    value, codes, flow = batch["value"], batch["codes"], batch["flow"]
    w = batch["w"].view(-1, 1, 1, 1)
    source = Source(batch["w"], batch["log_width"])
    state, total, terms = None, torch.zeros(()), {"offset": 0.0, "gain": 0.0, "identity": 0.0}
    for t in range(codes.shape[1]):
        if drop[t]:
            state = None
        prediction, state = net.step(codes[:, t], state, source, flow[:, t])
        clipped = codes[:, t] + w >= 255
        known = (~clipped).float()
        truth = torch.maximum(torch.minimum(value[:, t] - codes[:, t], w), -w)
        error = (prediction.offset_lsb - truth) * known / (2 * w)
        width = torch.gather(batch["width"], 1, codes[:, t].flatten(1).long()).view_as(known).clamp_max(0.5)
        edges = (error[..., 1:] - error[..., :-1]).abs().mean() + (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
        offset = error.abs().mean() + (error.abs() * width).mean() / width.mean() + 0.25 * edges
        signed = (prediction.gain_stops - batch["stops"][:, t]) * clipped
        miss = signed.abs()
        ripple = (signed[..., 1:] - signed[..., :-1]).abs().mean() + (
            signed[..., 1:, :] - signed[..., :-1, :]
        ).abs().mean()
        bound = prediction.gain_error_stops
        # Laplace likelihood: the bound that explains the misses best is their expected size.
        likelihood = ((miss.detach() / bound + bound.log()) * clipped).mean()
        total = total + offset + gain_weight * (miss.mean() + 0.25 * ripple) + 0.05 * likelihood
        terms["offset"] += float(error.detach().abs().mean())
        terms["identity"] += float((truth * known / (2 * w)).abs().mean())
        terms["gain"] += float(miss.detach().sum() / clipped.sum().clamp_min(1))
    return total / codes.shape[1], {k: v / codes.shape[1] for k, v in terms.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("panoramas", type=Path, help="folder of .exr or .hdr panoramas")
    parser.add_argument("-o", "--output", type=Path, required=True, help="weights to write")
    parser.add_argument("--config", type=Path, default=Path("configs/model/s.yaml"))
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", type=Path, help="weights to go on from")
    parser.add_argument("--gain-weight", type=float, default=0.3, help="weight of the loss on stops above clip")
    parser.add_argument("--display-share", type=float, default=0.45, help="share of clips in display encodings")
    args = parser.parse_args()
    keep_heap_pages()
    torch.manual_seed(args.seed)
    files = sorted(p for p in args.panoramas.iterdir() if p.suffix in (".exr", ".hdr"))
    config = yaml.safe_load(args.config.read_text())
    net = SeqNet(ModelConfig(config["name"], tuple(config["channels"]), config["blocks"]))
    net = net.to(memory_format=torch.channels_last)
    earlier: dict[str, object] = {}
    if args.start:
        earlier = {"after": read_card(args.start).training}
        net.load_state_dict(load_model(args.start).state_dict())
    ema = {k: v.clone() for k, v in net.state_dict().items()}
    optimizer = torch.optim.AdamW(net.parameters(), lr=args.lr, weight_decay=1e-3)
    clips = Clips([load_panorama(p) for p in files], args.seed, args.display_share)
    loader = iter(torch.utils.data.DataLoader(clips, batch_size=None, num_workers=1, prefetch_factor=4))
    rng = np.random.default_rng(args.seed)
    start = saved = logged = time.monotonic()
    step, waited, sums = 0, 0.0, {}
    while (progress := (time.monotonic() - start) / (60 * args.minutes)) < 1:
        rate = args.lr * min((step + 1) / 100, 0.5 * (1 + math.cos(math.pi * progress)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        before = time.monotonic()
        batch = next(loader)
        waited += time.monotonic() - before
        loss, terms = loss_of(net, batch, rng.random(FRAMES) < 0.07, args.gain_weight)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        step += 1
        decay = min(0.998, step / (step + 20))
        with torch.no_grad():
            for key, tensor in net.state_dict().items():
                ema[key].lerp_(tensor, 1 - decay)
        for key, number in terms.items():
            sums[key] = sums.get(key, 0.0) + number
        now = time.monotonic()
        if step % 50 == 0:
            row = {k: round(v / 50, 4) for k, v in sums.items()}
            row |= {"step": step, "minutes": round((now - start) / 60, 2), "lr": rate}
            row |= {"steps_per_s": round(50 / (now - logged), 3), "wait": round(waited / (now - logged), 3)}
            print(json.dumps(row), flush=True)
            sums, logged, waited = {}, now, 0.0
        if now - saved > 180:
            save(net.config, ema, args, files, earlier, step, now - start)
            saved = now
    save(net.config, ema, args, files, earlier, step, time.monotonic() - start)


def save(
    config: ModelConfig,
    ema: dict[str, Tensor],
    args: argparse.Namespace,
    files: list[Path],
    earlier: dict[str, object],
    step: int,
    seconds: float,
) -> None:
    training = {
        "script": "tools/train_first.py",
        "data": f"{len(files)} panoramas, 1024x512, scene-linear Rec.709, CC0 (Poly Haven)",
        "panoramas": [p.stem for p in files],
        "steps": step,
        "clip": f"{FRAMES} frames; batch by crop size {BATCH} in shares {SIZE_SHARES}",
        "minutes": round(seconds / 60, 1),
        "lr": args.lr,
        "seed": args.seed,
        "encodings": {"log": LOG, "display": DISPLAY, "display_share": args.display_share},
        "gain_weight": args.gain_weight,
        "degradation": "76 % plain rounding, 12 % JPEG q55-96, 12 % H.264 crf 16-30",
        "flow": "55 % DIS, 25 % exact, 20 % exact with smooth errors",
        **earlier,
    }
    save_model(args.output, config, ema, training)


if __name__ == "__main__":
    main()
