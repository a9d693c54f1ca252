"""The step of exposure between two frames, told apart from motion before there is any flow."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F

from seqhdr.quality.lattice import Lattice, Picture, all_usable

__all__ = ["exposure_step"]

_BLOCK = 8  # samples a side
_FEWEST = 12  # blocks, for three unknowns
_ROUNDS = 10
_NOISE_STOPS = 1e-4


def exposure_step(current: Picture, previous: Picture, lattice: Lattice) -> float:
    """How much brighter a frame is than the one before, in stops.

    Flow estimators take a change of brightness for motion along the gradient, and what they explain away is missing
    from the flicker: DIS, given a clip that alternates by 1 %, leaves as little as two thirds of it. So the light of
    the frame before is to be multiplied by 2^step before flow is estimated.

    Over means of blocks, change = step - u · gradient is solved for the step and one motion u of the whole picture
    (Lucas and Kanade 1981, with a gain as unknown as in Negahdaripour, IEEE TPAMI 20(9), 1998), with least absolute
    deviations, so that what moves or changes otherwise does not pull. A move along one bare gradient cannot be told
    from exposure by anyone.

    Args:
        current: the frame.
        previous: the one before, of the same sequence.
        lattice: where they are compared.

    Returns:
        Stops; 0 where too little is usable in both.
    """
    usable = all_usable((current, previous))
    now, before = (picture.pick(lattice).mean(dim=0) for picture in (current, previous))
    counted = torch.ones(now.shape, dtype=torch.bool) if usable is None else lattice.pick(usable)
    block = min(_BLOCK, *(side // 4 for side in now.shape))
    if block == 0:
        return 0.0
    held = F.avg_pool2d(counted[None].float(), block)[0]
    sums = F.avg_pool2d(torch.where(counted, torch.stack((now - before, (now + before) / 2)), 0), block)
    change, look = torch.where(held >= 0.5, sums / held, math.nan).double().numpy()
    # Gradients next to blocks that are not counted are NaN, and go with them.
    rows = np.stack((np.ones_like(look), *np.gradient(look), change), axis=-1).reshape(-1, 4)
    rows = rows[np.isfinite(rows).all(axis=1)]
    if len(rows) < _FEWEST:
        return 0.0
    unknowns = np.zeros(3)
    weights = np.ones(len(rows))
    for _ in range(_ROUNDS):
        unknowns = np.linalg.lstsq(rows[:, :3] * weights[:, None], rows[:, 3] * weights, rcond=None)[0]
        # Squares divided by their own size are absolute values (iteratively reweighted least squares).
        weights = np.abs(rows[:, 3] - rows[:, :3] @ unknowns).clip(_NOISE_STOPS) ** -0.5
    return float(unknowns[0])
