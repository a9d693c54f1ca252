"""Frame ranges against a parser written the slow and obvious way."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqhdr.errors import UsageError
from seqhdr.media.ranges import compact, parse_frames


def naive(text: str) -> list[int]:
    """Expand ``a``, ``a-b`` and ``a-bxN`` by counting; no other notation."""
    frames: set[int] = set()
    for part in text.split(","):
        part, _, step = part.partition("x")
        dash = part.find("-", 1)
        first, last = (int(part[:dash]), int(part[dash + 1 :])) if dash > 0 else (int(part), int(part))
        direction = 1 if last >= first else -1
        frame = first
        while (last - frame) * direction >= 0:
            frames.add(frame)
            frame += direction * int(step or 1)
    return sorted(frames)


_NUMBER = st.integers(-200, 1500)
_PART = st.one_of(
    _NUMBER.map(str),
    st.tuples(_NUMBER, _NUMBER).map(lambda t: f"{t[0]}-{t[1]}"),
    st.tuples(_NUMBER, _NUMBER, st.integers(1, 40)).map(lambda t: f"{t[0]}-{t[1]}x{t[2]}"),
)


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(_PART, min_size=1, max_size=5))
def test_ranges_agree_with_counting(parts: list[str]) -> None:
    text = ",".join(parts)
    found = parse_frames(text)
    assert list(found.frames) == naive(text)
    assert [f for run in found.runs for f in run] == list(found.frames)


@settings(deadline=None)  # a busy machine is no failure
@given(st.text(alphabet="0123456789-,x:y. ٣a", max_size=12))
def test_anything_else_is_refused_or_a_range_of_whole_frames(text: str) -> None:
    try:
        found = parse_frames(text)
    except UsageError:
        return
    assert all(isinstance(f, int) for f in found.frames)
    assert list(found.frames) == sorted(set(found.frames))


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        "a",
        "1-",
        "1 2",
        "1.5",
        "1-10x0.5",
        "1-10x0",
        "1-10x",
        "1..5",
        "1-5;7",
        "+5",
        "1-99999999999",
        "٣",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--frames .* write it like 1001-1100"):
        parse_frames(text)


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        ("1-3", [(1, 2, 3)]),
        ("1-5x2,20", [(1, 3, 5), (20,)]),
        ("1-3,4-6", [(1, 2, 3, 4, 5, 6)]),
        ("1-3, 10-12", [(1, 2, 3), (10, 11, 12)]),
        ("5-1x2,2", [(1, 2, 3, 5)]),
        ("-3--1", [(-3, -2, -1)]),
    ],
)
def test_runs_are_what_belongs_together_in_time(text: str, runs: list[tuple[int, ...]]) -> None:
    assert list(parse_frames(text).runs) == runs


@settings(deadline=None)  # a busy machine is no failure
@given(st.sets(st.integers(-50, 300), min_size=1, max_size=40))
def test_compact_says_the_same_frames(frames: set[int]) -> None:
    assert list(parse_frames(compact(frames, most=10_000)).frames) == sorted(frames)


def test_compact_counts_what_it_leaves_out() -> None:
    assert compact([1, 2, 3, 10]) == "1-3, 10"
    scattered = [f * f for f in range(1, 60)]
    assert compact(scattered, most=2).endswith("more ranges")
