"""The demo: render a shot from a made-up HDR panorama, and show what came of it.

python tools/demo.py render demo
python tools/demo.py picture demo
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch

from seqhdr.color.encodings import convert_linear, get_encoding
from seqhdr.media.exr import read_exr
from seqhdr.media.frames import read_frame
from seqhdr.train.camera import camera_path
from seqhdr.train.panorama import render
from seqhdr.train.procedural import procedural_panorama

FRAMES, FIRST, HEIGHT, WIDTH = 24, 1001, 720, 1280
#: Levels are stretched this many times around the crop's middle, so that a step of one code is visible.
STRETCH = 12
#: (top, left, height, width) in the frame: the open sky away from the sun, and the sun with its glow.
SKY, SUN = (40, 900, 270, 360), (100, 380, 270, 360)


def render_shot(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    panorama = procedural_panorama(seed=1, height=2048)
    path = camera_path(
        FRAMES, yaw_deg=14.0, pitch_deg=-10.0, focal_px=1100.0, pan_px=(3.3, -0.6), jitter_px=0.4, seed=7
    )
    encode = get_encoding("srgb").encode
    for index in range(FRAMES):
        light = torch.from_numpy(render(panorama, path, index, HEIGHT, WIDTH) * np.float32(0.9))
        codes = (encode(light) * 255).round().clamp(0, 255).to(torch.uint8).numpy()
        cv2.imwrite(str(folder / f"shot_{FIRST + index}.png"), codes[..., ::-1])
    print(f"rendered {folder}/shot_{FIRST}.png ... shot_{FIRST + FRAMES - 1}.png, {WIDTH}x{HEIGHT}, 8 bits")


def make_picture(folder: Path) -> None:
    frame = FIRST + FRAMES // 2
    before = read_frame(folder / f"shot_{frame}.png").codes.astype(np.float32) / 255
    channels, _ = read_exr(folder / "out" / f"shot_acescct.{frame}.exr")
    log = torch.from_numpy(np.stack([channels[name] for name in "RGB"]).astype(np.float32))
    acescct, srgb = get_encoding("acescct"), get_encoding("srgb")
    # Back to the primaries and the curve of the source, so that both halves are seen through the same eyes.
    light = convert_linear(acescct.decode(log)[None], acescct, srgb)[0]
    after = srgb.encode(light).permute(1, 2, 0).numpy()
    linear_before = srgb.decode(torch.from_numpy(before)).numpy()
    linear_after = light.permute(1, 2, 0).numpy()

    def crop(image: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
        top, left, height, width = box
        return image[top : top + height, left : left + width]

    middle = np.median(crop(before, SKY), axis=(0, 1))
    stretched = [np.clip((crop(image, SKY) - middle) * STRETCH + 0.5, 0, 1) for image in (before, after)]
    stops = 4
    pulled = [
        srgb.encode(torch.from_numpy(np.clip(crop(image, SUN) / 2**stops, 0, 1))).numpy()
        for image in (linear_before, linear_after)
    ]
    rows = [np.concatenate(pair, axis=1) for pair in (stretched, pulled)]
    picture = (np.concatenate(rows, axis=0) * 255).round().astype(np.uint8)
    labels = [f"8 bit, levels x{STRETCH}", f"EXR, levels x{STRETCH}", f"8 bit, -{stops} stops", f"EXR, -{stops} stops"]
    for index, label in enumerate(labels):
        corner = (8 + (index % 2) * SKY[3], 20 + (index // 2) * SKY[2])
        for shift, colour in ((1, (0, 0, 0)), (0, (255, 255, 255))):
            place = (corner[0] + shift, corner[1] + shift)
            cv2.putText(picture, label, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)
    target = folder / "before_after.png"
    cv2.imwrite(str(target), picture[..., ::-1])
    print(f"EXR frames    {folder}/out/shot_acescct.{FIRST}.exr ... {FIRST + FRAMES - 1}.exr")
    print(f"JSON summary  {folder}/out/shot_acescct.json")
    print(f"before/after  {target}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("render", "picture"))
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    (render_shot if args.what == "render" else make_picture)(args.folder)


if __name__ == "__main__":
    main()
