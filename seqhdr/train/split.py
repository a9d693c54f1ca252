"""Dividing scenes among training, validation and test: whole scenes, by their names alone."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence

from seqhdr.errors import UsageError

__all__ = ["SHARES", "SPLITS", "split_scenes"]

SPLITS = ("train", "val", "test")
#: What each of the splits gets unless told otherwise.
SHARES = (0.8, 0.1, 0.1)


def split_scenes(scenes: Iterable[str], shares: Sequence[float] = SHARES, seed: int = 0) -> dict[str, str]:
    """Give every scene to one split.

    Scenes are ranked by the SHA-256 of seed and name and the ranking is cut, so that neither the order of a
    listing nor its repeats matter. Numbers of scenes are rounded by largest remainder; then every split whose
    share is not zero gets at least one scene, taken from the largest. Where there are fewer scenes than such
    splits, the earlier ones come first: a single scene is for training, of two the second is for validation.

    Args:
        scenes: names, in any order.
        shares: of training, validation and test, in any unit; a split with share 0 gets nothing.
        seed: another seed, another ranking.

    Returns:
        Scene → ``train``, ``val`` or ``test``, in the order of the names.

    Raises:
        UsageError: the shares are not three numbers ≥ 0 of which at least one is above 0.
    """
    if len(shares) != len(SPLITS) or not all(math.isfinite(s) and s >= 0 for s in shares) or sum(shares) == 0:
        given = ", ".join(f"{share:g}" for share in shares)
        raise UsageError(f"the shares of {', '.join(SPLITS)} are ({given}): give three numbers like 0.8, 0.1, 0.1")
    ranked = sorted(set(scenes), key=lambda name: (hashlib.sha256(f"{seed}:{name}".encode()).digest(), name))
    counts = _counts(len(ranked), shares)
    ends = [sum(counts[: i + 1]) for i in range(len(SPLITS))]
    chosen = {name: next(s for s, end in zip(SPLITS, ends, strict=True) if at < end) for at, name in enumerate(ranked)}
    return dict(sorted(chosen.items()))


def _counts(total: int, shares: Sequence[float]) -> list[int]:
    """How many of ``total`` scenes each split gets."""
    quotas = [total * share / sum(shares) for share in shares]
    counts = [int(quota + 1e-9) for quota in quotas]
    by_remainder = sorted(range(len(shares)), key=lambda i: counts[i] - quotas[i])
    for i in by_remainder[: total - sum(counts)]:
        counts[i] += 1
    for i, share in enumerate(shares):
        richest = max(range(len(shares)), key=counts.__getitem__)
        if share > 0 and counts[i] == 0 and counts[richest] > 1:
            counts[richest] -= 1
            counts[i] += 1
    return counts
