"""Crops for the viewer lie inside the frame, around what is worth a look."""

from __future__ import annotations

import numpy as np
import pytest

from seqhdr.pipeline.report_pictures import _crop_place, _round_limit


@pytest.mark.parametrize(
    ("focus", "size", "place"),
    [
        ((0.5, 0.5), (864, 1536), (324, 576)),
        ((0.0, 0.0), (864, 1536), (0, 0)),
        ((1.0, 1.0), (864, 1536), (864 - 216, 1536 - 384)),
        ((0.9, 0.1), (100, 200), (0, 0)),
        ((0.9, 0.1), (300, 200), (84, 0)),
    ],
)
def test_a_crop_stays_in_the_frame(focus: tuple[float, float], size: tuple[int, int], place: tuple[int, int]) -> None:
    assert _crop_place(focus, size) == place


def test_maps_share_the_first_round_limit_that_hardly_anything_exceeds() -> None:
    calm, wild = np.full((50, 50), 0.004, np.float32), np.full((50, 50), 0.03, np.float32)
    calm[0, 0] = 9.0  # one sample in 2500
    calm[1] = np.nan
    assert _round_limit([calm]) == 0.005
    assert _round_limit([calm, wild]) == 0.05
    assert _round_limit([np.full((2, 2), np.nan, np.float32)]) == 0.005
    assert _round_limit([wild * 1000]) == 1.0
