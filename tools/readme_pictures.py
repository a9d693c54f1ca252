"""The README's pictures: a sky that bands and a lamp that clips, before, after and as they were.

    python tools/readme_pictures.py                 # docs/pictures/sky.png and docs/pictures/lamp.png

Two moving shots are filmed in a made-up panorama, rounded to 8-bit sRGB, written as PNG and converted by
``seqhdr.run``; what is shown is read back from the last EXR. Before, after and truth get the same treatment.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

import seqhdr
from seqhdr.color.encodings import convert_linear, get_encoding
from seqhdr.media.exr import read_exr
from seqhdr.media.frames import read_frame
from seqhdr.train.camera import camera_path
from seqhdr.train.panorama import Panorama, render
from seqhdr.train.procedural import procedural_panorama

FRAMES = 8
WIDTH, HEIGHT = 396, 216
#: Levels are stretched this many times around the mean of what is shown, so that a step of one code is visible.
STRETCH = 12
#: The lamp is shown so many stops darker, as a compositor would look into a highlight.
STOPS = 4
_GAP, _STRIP, _PAPER, _INK = 6, 34, 24, 235
_SRGB, _ACESCCT = get_encoding("srgb"), get_encoding("acescct")

Image = NDArray[np.float32]


@dataclass(frozen=True)
class View:
    """Where the camera looks, how far it turns, and how it is exposed. Pixels are those of frames WIDTH wide."""

    yaw_deg: float
    pitch_deg: float
    focal_px: float
    pan_px: tuple[float, float]
    exposure: float


#: High up and away from the sun there are no clouds that would hide the bands.
SKY = View(yaw_deg=66.0, pitch_deg=-33.0, focal_px=1100.0, pan_px=(3.3, -0.6), exposure=0.9)
LAMP = View(yaw_deg=-15.6, pitch_deg=5.7, focal_px=2200.0, pan_px=(2.3, -0.4), exposure=0.4)


@dataclass(frozen=True)
class Row:
    """Before, after and truth, each (H, W, 3) display values in 0..1, and a line of text over each."""

    panels: tuple[Image, Image, Image]
    titles: tuple[str, str, str]


@dataclass(frozen=True)
class Shown:
    """One picture: rows below each other, and a line of text below all."""

    rows: tuple[Row, ...]
    caption: str


def film(panorama: Panorama, view: View, folder: Path, width: int, height: int, frames: int) -> Image:
    """Write the shot as 8-bit sRGB PNG; returns the last frame's light, (H, W, 3) scene-linear Rec.709."""
    scale = width / WIDTH
    path = camera_path(
        frames,
        yaw_deg=view.yaw_deg,
        pitch_deg=view.pitch_deg,
        focal_px=view.focal_px * scale,
        pan_px=(view.pan_px[0] * scale, view.pan_px[1] * scale),
        jitter_px=0.4 * scale,
        seed=7,
    )
    for index in range(frames):
        light = render(panorama, path, index, height, width) * np.float32(view.exposure)
        codes = (_SRGB.encode(torch.from_numpy(light)) * 255).round().clamp(0, 255).to(torch.uint8).numpy()
        cv2.imwrite(str(folder / f"shot_{1001 + index}.png"), codes[..., ::-1])
    return light


def before_after_truth(
    panorama: Panorama, view: View, *, width: int = WIDTH, height: int = HEIGHT, frames: int = FRAMES, model: str = "s"
) -> tuple[Image, Image, Image]:
    """Film, convert, read back: the last frame's light as 8-bit codes, EXR and truth, (H, W, 3) linear Rec.709."""
    with tempfile.TemporaryDirectory() as temporary:
        folder, last = Path(temporary), 1000 + frames
        truth = film(panorama, view, folder, width, height, frames)
        seqhdr.run(folder / "shot_%04d.png", output=folder / "out", model=model, report=False)
        codes = read_frame(folder / f"shot_{last}.png").codes.astype(np.float32)
        channels, _ = read_exr(folder / "out" / f"shot_acescct.{last}.exr")
    log = torch.from_numpy(np.stack([channels[name].astype(np.float32) for name in "RGB"]))
    after = convert_linear(_ACESCCT.decode(log)[None], _ACESCCT, _SRGB)[0].permute(1, 2, 0).numpy()
    return _SRGB.decode(torch.from_numpy(codes / 255)).numpy(), after, truth


def sky_shown(lights: tuple[Image, Image, Image], stretch: float = STRETCH) -> Shown:
    """As it is, and below with display values stretched around the mean of the source's."""
    plain = _plain(lights)
    mean = plain.panels[0].mean(axis=(0, 1))
    before, after, truth = (np.clip((panel - mean) * np.float32(stretch) + mean, 0, 1) for panel in plain.panels)
    panels = before, after, truth
    counts = [len(np.unique((panel[..., 1] * 255).round())) for panel in panels]
    one, two, three = (f"levels x{stretch:g}: {count} of them" for count in counts)
    caption = f"A sky. Below, levels x{stretch:g} around the mean of the picture; counted are those of green, as shown."
    return Shown((plain, Row(panels, (one, two, three))), caption)


def lamp_shown(lights: tuple[Image, Image, Image], stops: float = STOPS) -> Shown:
    """As it is, and below darker by so many stops."""
    darker = _plain([light * np.float32(2.0**-stops) for light in lights]).panels
    one, two, three = (f"{stops:g} stops down: peak {light.max():.1f}" for light in lights)
    caption = f"A lamp. Below, {stops:g} stops darker; peaks are of linear light before that, the source clips at 1.0."
    return Shown((_plain(lights), Row(darker, (one, two, three))), caption)


def _plain(lights: Sequence[Image]) -> Row:
    before, after, truth = (_SRGB.encode(torch.from_numpy(light).clamp(0, 1)).numpy() for light in lights)
    return Row((before, after, truth), ("8-bit source", "EXR of seqhdr", "truth"))


def sheet(shown: Shown) -> NDArray[np.uint8]:
    """The rows with their titles above and the caption below, (h, w, 3) RGB."""
    height, width = shown.rows[0].panels[0].shape[:2]
    paper = np.full((len(shown.rows) * (height + _STRIP) + _STRIP, 3 * width + 2 * _GAP, 3), _PAPER, np.uint8)
    for top, row in zip(range(0, len(paper), height + _STRIP), shown.rows, strict=False):
        for left, panel, title in zip(range(0, paper.shape[1], width + _GAP), row.panels, row.titles, strict=True):
            paper[top + _STRIP : top + _STRIP + height, left : left + width] = (panel * 255).round()
            _write(paper, title, left, top)
    _write(paper, shown.caption, 0, len(paper) - _STRIP)
    return paper


def _write(paper: NDArray[np.uint8], text: str, left: int, top: int) -> None:
    """A line of text in the strip that begins at ``top``."""
    place = (left + 8, top + _STRIP - 11)
    cv2.putText(paper, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.62, (_INK,) * 3, 1, cv2.LINE_AA)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--model", default="s", help="a shipped model's name, or a file of weights")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    panorama = procedural_panorama(seed=1, height=1024)
    for name, view, show in (("sky", SKY, sky_shown), ("lamp", LAMP, lamp_shown)):
        shown = show(before_after_truth(panorama, view, model=args.model))
        target = args.output / f"{name}.png"
        cv2.imwrite(str(target), sheet(shown)[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
        print(f"{target}  {', '.join(shown.rows[-1].titles)}")


if __name__ == "__main__":
    main()
