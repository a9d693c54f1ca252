"""Small settings of the data, and batches compared."""

from __future__ import annotations

from typing import Any

import torch

from seqhdr.train.batch import ClipBatch
from seqhdr.train.config import DataConfig

_NAMES = ("codes", "value_lsb", "gain_stops", "flow_px", "exact_flow_px", "visible", "half_width_lsb")


def data(**changes: Any) -> DataConfig:
    """One painted panorama, clips of 3 frames of 8x8, their exact flow, no workers; and what is given instead."""
    kept = {"frames": 3, "crops": {8: 1}, "crop_shares": {8: 1.0}, "flow": {"exact": 1.0}, "workers": 0}
    return DataConfig(**{"panoramas": ("procedural:1",), **kept, **changes})


def same(one: ClipBatch, other: ClipBatch) -> bool:
    """Whether two batches agree in every number."""
    return one.encodings == other.encodings and all(torch.equal(getattr(one, n), getattr(other, n)) for n in _NAMES)
