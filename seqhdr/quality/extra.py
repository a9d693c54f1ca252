"""Two metrics of other packages, for those who have them: HDR-FLIP and ColorVideoVDP (``seqhdr[metrics]``)."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqhdr.errors import UsageError
from seqhdr.quality.hdr import WHITE_CD_M2
from seqhdr.quality.perceptual import fit_within

__all__ = ["LONGEST_PX", "VideoDifference", "available", "hdr_flip", "require_all"]

#: Larger pictures are reduced to this before: both metrics take seconds for a full frame.
LONGEST_PX = 768
_FLIP, _VDP = "flip_evaluator", "pycvvdp"
# FLIP's range of exposures is that of the picture; a black one has none.
_FAINT = 1e-6
# Half a second and some: as far as the temporal filters reach, without holding much. Each piece begins as if its
# first frame had stood still before.
_PIECE = 12
# Also where "linear" is measured in cd/m². Peak 1500 cd/m², 30 inches, two screen heights away, 10 lux.
_DISPLAY = "standard_hdr_linear"


def available() -> tuple[str, ...]:
    """The names of those of the two packages that are installed, as modules are named."""
    return tuple(name for name in (_FLIP, _VDP) if importlib.util.find_spec(name) is not None)


def require_all() -> None:
    """Make sure that both packages are there.

    Raises:
        UsageError: one is missing.
    """
    missing = [name for name in (_FLIP, _VDP) if name not in available()]
    if missing:
        raise UsageError(
            f"HDR-FLIP and ColorVideoVDP need {' and '.join(missing)}, not installed here: "
            "run pip install 'seqhdr[metrics]', or ask for neither"
        )


def hdr_flip(rgb_lin: Tensor, truth_lin: Tensor) -> float:
    """HDR-FLIP (Andersson et al., Visualizing errors in rendered high dynamic range images, 2021): 0 is best, 1 worst.

    The mean over the picture, seen at the package's 67 pixels per degree, over the exposures it takes from the truth.

    Args:
        rgb_lin, truth_lin: (3, H, W) scene-linear Rec.709, finite; see :data:`LONGEST_PX`. Light below zero is black.

    Raises:
        UsageError: the package is missing.
    """
    flip = _load(_FLIP)
    ours, truth = (_pixels(fit_within(light, LONGEST_PX)) for light in (rgb_lin, truth_lin))
    return float(flip.evaluate(truth, ours, "HDR", applyMagma=False)[1])


def _pixels(rgb_lin: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(rgb_lin.detach().cpu().float().clamp_min(_FAINT).permute(1, 2, 0).numpy())


class VideoDifference:
    """ColorVideoVDP (Mantiuk et al., SIGGRAPH 2024) of a clip, fed frame by frame; 10 JOD is no visible difference.

    The clip is scored in pieces of :data:`_PIECE` frames, whose scores are averaged by their lengths: memory stays
    bounded, at the price that a change over more than a piece is not seen.

    Args:
        frames_per_second: of the clip, above 0.

    Raises:
        UsageError: the package is missing.
        ValueError: the rate is not above 0.
    """

    def __init__(self, frames_per_second: float) -> None:
        if not frames_per_second > 0:
            raise ValueError(f"got {frames_per_second} frames per second: expected more than 0")
        self._rate = frames_per_second
        package = _load(_VDP)
        self._metric = package.cvvdp(display_name=_DISPLAY, quiet=True, device=torch.device("cpu"))
        self._piece: list[tuple[Tensor, Tensor]] = []
        self._frames, self._jods = 0, 0.0

    def add(self, rgb_lin: Tensor, truth_lin: Tensor) -> None:
        """The next frame, (3, H, W) scene-linear Rec.709 twice, finite; see :data:`LONGEST_PX`."""
        ours, truth = (
            fit_within(light.detach().cpu().float(), LONGEST_PX) * WHITE_CD_M2 for light in (rgb_lin, truth_lin)
        )
        self._piece.append((ours, truth))
        if len(self._piece) == _PIECE:
            self._score()

    def jod(self) -> float | None:
        """The score of all frames so far; None if there are none."""
        if self._piece:
            self._score()
        return self._jods / self._frames if self._frames else None

    @torch.no_grad()
    def _score(self) -> None:
        ours, truth = (torch.stack(pictures, dim=1) for pictures in zip(*self._piece, strict=True))
        with _quiet():
            jod, _ = self._metric.predict(ours, truth, dim_order="CFHW", frames_per_second=self._rate)
        self._jods += float(jod) * len(self._piece)
        self._frames += len(self._piece)
        self._piece.clear()


def _load(name: str) -> ModuleType:
    if name not in available():
        require_all()
    with _quiet():
        return importlib.import_module(name)


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings, no log lines, and the module search path afterwards as before: the packages leave traces in all."""
    level, path = logging.root.manager.disable, list(sys.path)
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        sys.path[:] = path
