"""One frame as it is stored: its bands and range, its bins, and what was put above clip."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqhdr.color.bins import BinAudit, audit, clip_mask
from seqhdr.color.encodings import convert_linear
from seqhdr.pipeline.material import Frames, Material
from seqhdr.quality.banding import measure_banding, smooth_regions
from seqhdr.quality.lattice import Lattice
from seqhdr.quality.levels import FrameLevels
from seqhdr.quality.light_range import FrameRange, measure_range
from seqhdr.quality.truth_light import light_to_truth

__all__ = ["BinNumbers", "bin_numbers", "picked", "stored_numbers"]

Row = dict[str, Any]


@dataclass(frozen=True)
class BinNumbers:
    """What the source's codes say of a frame, at the pixels of the lattice.

    Attributes:
        row: ``inside_share``, ``exact_share``, ``clipped_share``, ``gain_max_stops``.
        audit: of the bins; None where no bound is claimed.
        clipped: how many channels are open above.
        gain_stops: sum of the stops they were extended by.
    """

    row: Row
    audit: BinAudit | None
    clipped: int
    gain_stops: float


def picked(pixels: NDArray[Any], lattice: Lattice) -> NDArray[Any]:
    """The pixels (H, W, 3) of a lattice: (h, w, 3), contiguous."""
    start = lattice.stride // 2
    return np.ascontiguousarray(pixels[start :: lattice.stride, start :: lattice.stride])


def stored_numbers(levels: Mapping[str, FrameLevels], reference: str) -> tuple[Row, FrameRange]:
    """Bands before and after, and the range of the result.

    Args:
        levels: by sequence.
        reference: the one that says which regions are smooth.
    """
    regions = smooth_regions(levels[reference])
    banding = {name: measure_banding(levels[name], regions) for name in levels if name != "truth"}
    extent = measure_range(levels["result"])
    result, source = banding["result"], banding.get("source")
    row: Row = {
        "banding_index": result.banding_index,
        "plateau_share": result.plateau_share,
        "levels": result.levels,
        "source_banding_index": source.banding_index if source else None,
        "source_plateau_share": source.plateau_share if source else None,
        "source_levels": source.levels if source else None,
        "maximum": extent.maximum,
        "nonfinite": extent.nan_count + extent.inf_count,
    }
    return row, extent


def bin_numbers(number: int, frames: Frames, material: Material) -> BinNumbers | None:
    """Audit a frame against its codes, and count what was put above clip; None without a source."""
    source = material.source
    if source is None:
        return None
    width, max_code = material.half_width_lsb, frames["source"].max_code or 255
    result = picked(frames["result"].pixels, material.lattice)
    codes = torch.from_numpy(picked(frames["source"].pixels, material.lattice).astype(np.float32))
    codes = codes.permute(2, 0, 1).contiguous()
    clipped = clip_mask(codes, width, max_code)
    light = convert_linear(material.result.light(result), material.result.encoding, source.encoding)
    beyond = light_to_truth(light, source.encoding, max_code)[1][clipped]
    row: Row = {
        "inside_share": None,
        "exact_share": None,
        "clipped_share": float(clipped.float().mean()),
        "gain_max_stops": float(beyond.max()) if beyond.numel() else 0.0,
    }
    found = None
    if math.isfinite(width):
        stored = torch.from_numpy(result.astype(np.float32)).permute(2, 0, 1).double()
        storage = frames["result"].storage
        found = audit(
            stored / (frames["result"].max_code or 1),
            codes,
            width,
            max_code,
            source.encoding,
            material.result.encoding,
            storage == "half",
            float24=storage == "float24",
            frame=number,
        )
        row |= {"inside_share": found.container_share, "exact_share": found.exact_share}
    return BinNumbers(row, found, beyond.numel(), float(beyond.double().sum()))
