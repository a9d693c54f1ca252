"""Scenes, not frames, are divided, and nothing but their names decides."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from seqhdr.errors import UsageError
from seqhdr.train.split import SPLITS, split_scenes


def names(count: int) -> list[str]:
    return [f"scene {i}" for i in range(count)]


def sizes(count: int, shares: tuple[float, ...] = (0.8, 0.1, 0.1), seed: int = 0) -> tuple[int, ...]:
    counted = Counter(split_scenes(names(count), shares, seed).values())
    return tuple(counted[split] for split in SPLITS)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, (0, 0, 0)),
        (1, (1, 0, 0)),
        (2, (1, 1, 0)),
        (3, (1, 1, 1)),
        (4, (2, 1, 1)),
        (10, (8, 1, 1)),
        (20, (16, 2, 2)),
        (100, (80, 10, 10)),
    ],
)
def test_eighty_ten_ten(count: int, expected: tuple[int, ...]) -> None:
    assert sizes(count) == expected


def test_numbers_are_within_one_of_their_shares_and_nobody_is_left_out() -> None:
    for count in range(3, 120):
        for shares in ((0.8, 0.1, 0.1), (0.7, 0.2, 0.1), (1, 1, 1), (90, 5, 5)):
            got = sizes(count, shares)
            assert sum(got) == count
            assert min(got) >= 1
            fair = np.array(shares) / sum(shares) * count
            if fair.min() >= 1:
                assert np.abs(np.array(got) - fair).max() < 1


def test_neither_order_nor_repeats_matter() -> None:
    listing = names(37)
    expected = split_scenes(listing)
    for seed in range(5):
        shuffled = np.random.default_rng(seed).permutation([*listing, *listing[:9]]).tolist()
        assert split_scenes(shuffled) == expected
    assert list(expected) == sorted(listing)


def test_the_seed_decides_who() -> None:
    splits = [tuple(split_scenes(names(20), seed=seed).values()) for seed in range(8)]
    assert len(set(splits)) == 8
    # Over many seeds each scene is held back about equally often.
    held = Counter(n for seed in range(400) for n, s in split_scenes(names(10), seed=seed).items() if s == "test")
    assert set(held) == set(names(10))
    assert max(held.values()) < 80


def test_a_share_of_nothing_gets_nothing() -> None:
    for count in range(1, 40):
        train, val, test = sizes(count, (0.9, 0.1, 0))
        assert (train + val, test) == (count, 0)
        assert val == min(count - 1, 1) or abs(val - count * 0.1) < 0.5 + 1e-9
    assert sizes(7, (1, 0, 0)) == (7, 0, 0)
    assert sizes(7, (0, 0, 2)) == (0, 0, 7)


@pytest.mark.parametrize(
    "shares", [(0.8, 0.2), (0.8, -0.1, 0.3), (0, 0, 0), (float("nan"), 1, 1), (float("inf"), 1, 1)]
)
def test_shares_that_divide_nothing_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match=r"the shares of train, val, test are \(.*give three numbers"):
        split_scenes(names(5), shares)
