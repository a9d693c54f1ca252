"""The grids: numbering, rounding and steps against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqhdr.color.containers import FLOAT, FLOAT24, HALF, Container

GRIDS = pytest.mark.parametrize("container", [HALF, FLOAT, FLOAT24], ids=lambda c: c.name)


def test_numbers_of_halves_are_their_order() -> None:
    values = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite = np.unique(values[np.isfinite(values)])  # sorted, the two zeros together
    index = HALF.index(torch.from_numpy(finite.copy()))
    assert torch.equal(index, torch.arange(len(finite), dtype=torch.int32) - len(finite) // 2)
    assert torch.equal(HALF.value(index), torch.from_numpy(finite))


@GRIDS
@given(x=st.floats(-1e4, 1e4))
def test_nearest_is_on_the_grid_and_no_step_is_nearer(container: Container, x: float) -> None:
    wanted = torch.tensor([x], dtype=torch.float64)
    near = container.nearest(wanted)
    assert near.dtype == container.dtype
    assert torch.equal(container.nearest(near), near)
    index = container.index(near)
    assert torch.equal(container.value(index), near)
    off = abs(float(near) - x)
    for step in (-1, 1):
        # float64 passes through float32 on its way to float24: near a tie it may be off by twice that rounding.
        through_float32 = abs(x) * 2**-23 if container.dropped_bits else 1e-300
        assert off <= abs(float(container.value(index + step)) - x) * (1 + 1e-12) + through_float32
    away = container.value(index + (1 if x >= 0 else -1)).double()
    assert float(container.step(near)) == pytest.approx(abs(float(away) - float(near)), rel=1e-12)


@GRIDS
@given(low=st.floats(-100, 100), width=st.floats(0, 1))
def test_inward_rounds_inward_or_to_nearest(container: Container, low: float, width: float) -> None:
    ends = torch.tensor([low], dtype=torch.float64), torch.tensor([low + width], dtype=torch.float64)
    up, down = (float(end) for end in container.inward(*ends))
    around = torch.tensor([-1, 0, 1], dtype=torch.int32)
    above = [v for v in container.value(container.index(container.nearest(ends[0])) + around).tolist() if v >= low]
    below = [
        v for v in container.value(container.index(container.nearest(ends[1])) + around).tolist() if v <= low + width
    ]
    if min(above) <= max(below):
        assert (up, down) == (min(above), max(below))
    else:
        assert up == float(container.nearest(ends[0]))
        assert down == float(container.nearest(ends[1]))


@GRIDS
def test_infinite_ends_become_the_largest_value(container: Container) -> None:
    inf = torch.tensor([torch.inf], dtype=torch.float64)
    up, down = container.inward(-inf, inf)
    assert float(up) == -container.largest
    assert float(down) == container.largest
