"""What tests of the training share: a painted world, a source that rounds, pairs that know their place, a batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from seqhdr.color.encodings import get_encoding
from seqhdr.train.augment import AugmentConfig
from seqhdr.train.batch import ClipBatch
from seqhdr.train.camera import CameraConfig
from seqhdr.train.config import SceneConfig
from seqhdr.train.degrade import DegradeConfig
from seqhdr.train.layers import LayerConfig
from seqhdr.train.pairs import ClipInfo, write_clip_info, write_pair
from seqhdr.train.panorama import Panorama
from seqhdr.train.procedural import procedural_panorama
from tests.train.objective_batches import make_batch

_NOTHING = dict.fromkeys(
    ("response", "noise", "grain", "resolution", "dither", "jpeg", "h264", "flicker", "crush"), 0.0
)


@pytest.fixture(scope="session")
def painted() -> Panorama:
    return procedural_panorama(1, 96)


@pytest.fixture(scope="session")
def plain_scene() -> Callable[..., SceneConfig]:
    """``plain_scene("acescct", camera=…, layers=…)``: nothing but rounding befalls the picture, nothing is turned."""

    def scene(encoding: str = "acescct", **parts: Any) -> SceneConfig:
        shares = {f"{name}_share": share for name, share in _NOTHING.items()}
        still = {"augment": AugmentConfig(flip=False, rotate=False), "layers": LayerConfig(share=0.0)}
        steady = CameraConfig(moves={"pan": 1.0}, exposure_change_share=0.0)
        return SceneConfig(**{"camera": steady, "degrade": DegradeConfig({encoding: 1.0}, **shares), **still, **parts})

    return scene


@pytest.fixture(scope="session")
def clip_that_knows_where() -> Callable[..., ClipInfo]:
    """Write a clip whose codes are column, row and frame, and whose truth, flow and visibility follow from these.

    Of the pixel in column x and row y of frame t the codes are (x, y, 100 + 10·t), the truth in codes is
    ``code + ((7x + 11y + 5·channel) mod 9 - 4) / 10``, the flow is (x - 20.5, 2·y + t / 4) / 16, and it is visible
    where ``(x + 2y + t) mod 3`` is not 0.
    """

    def write(
        folder: Path,
        frames: int = 4,
        size: tuple[int, int] = (44, 56),
        encoding: str = "acescct",
        scene: str | None = None,
        *,
        flow: bool = True,
    ) -> ClipInfo:
        height, width = size
        info = ClipInfo(
            folder, tuple(range(1001, 1001 + frames)), width, height, encoding, 0.5, scene or folder.name, flow
        )
        for kind in ("input", "truth", "flow"):
            (folder / kind).mkdir(parents=True)
        y, x = np.mgrid[:height, :width]
        for t in range(frames):
            codes = np.stack((x, y, np.full_like(x, 100 + 10 * t)), axis=-1).astype(np.uint8)
            parts = [(7 * x + 11 * y + 5 * channel) % 9 - 4 for channel in range(3)]
            value = torch.from_numpy((codes + np.stack(parts, axis=-1) / 10).transpose(2, 0, 1))
            extra: dict[str, NDArray[Any]] = {}
            if flow:
                vectors = np.stack((x - 20.5, 2 * y + t / 4), axis=-1) / 16
                extra = {"flow_px": vectors.astype(np.float32), "visible": (x + 2 * y + t) % 3 != 0}
            write_pair(info, 1001 + t, codes, get_encoding(encoding).decode(value / 255), float_truth=True, **extra)
        write_clip_info(info)
        return info

    return write


@pytest.fixture(scope="session")
def batch() -> ClipBatch:
    """Three frames of three clips, for tests that change nothing in it."""
    return make_batch()
