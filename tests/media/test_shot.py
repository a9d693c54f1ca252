"""Finding shots: every notation, padding, gaps, segments and output names."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqhdr.errors import ShotError, UsageError
from seqhdr.media.pattern import FilePattern, parse_pattern, sequences
from seqhdr.media.shot import EXR_EXTENSIONS, SOURCE_EXTENSIONS, find_shot, find_shots, output_name

Touch = Callable[..., Path]


@pytest.fixture
def touch(tmp_path: Path) -> Touch:
    """Make empty files by name and return their folder."""

    def make(*names: str) -> Path:
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return make


@pytest.fixture
def shot_dir(touch: Touch) -> Path:
    return touch(*(f"shot_{f}.png" for f in range(1001, 1011)))


@pytest.mark.parametrize("number", ["%04d", "####", "@@@@", "$F4"])
def test_every_notation_of_four_digits_finds_the_same_shot(shot_dir: Path, number: str) -> None:
    shot = find_shot(f"{shot_dir}/shot_{number}.png")
    assert shot.frames == tuple(range(1001, 1011))
    assert (shot.basename, shot.extension, shot.padding, shot.name) == ("shot_", ".png", 4, "shot")
    assert shot.path(1003) == shot_dir / "shot_1003.png"
    assert shot.missing == ()
    assert shot.segments == (shot.frames,)
    assert shot.pattern == f"{shot_dir}/shot_{number}.png"


@pytest.mark.parametrize("number", ["%d", "#", "@", "$F"])
def test_unpadded_notations_match_unpadded_numbers_only(touch: Touch, number: str) -> None:
    folder = touch("a.8.png", "a.9.png", "a.10.png", "a.0011.png")
    shot = find_shot(f"{folder}/a.{number}.png")
    assert shot.frames == (8, 9, 10)
    assert output_name(shot, "ACEScct", 9) == "a_acescct.9.exr"


def test_padding_is_a_minimum_and_never_less(touch: Touch) -> None:
    folder = touch("s.999.png", "s.9999.png", "s.10000.png", "s.010001.png", "s.0998.png")
    shot = find_shot(f"{folder}/s.####.png", missing="split")
    assert shot.available == (998, 9999, 10000)
    assert shot.number(10000) == "10000"


def test_negative_frames_sort_before_zero(touch: Touch) -> None:
    folder = touch("s.-002.png", "s.-001.png", "s.0000.png", "s.0001.png")
    shot = find_shot(f"{folder}/s.%04d.png")
    assert shot.frames == (-2, -1, 0, 1)
    assert output_name(shot, "acescct", -2) == "s_acescct.-002.exr"


def test_a_dash_before_the_number_is_a_separator_when_the_pattern_says_so(touch: Touch) -> None:
    folder = touch("plate_v002-0001.png", "plate_v002-0002.png")
    assert find_shot(f"{folder}/plate_v002-####.png").frames == (1, 2)


_BASES = st.sampled_from(["shot_", "", "v2.", "plate_v002-", "clip1_", "a b_", "100%_", "1001-1010_", "é."])
_STYLES = st.sampled_from(["%0{n}d", "#", "@", "$F{n}"])


@settings(deadline=None)  # a busy machine is no failure
@given(
    base=_BASES,
    padding=st.integers(1, 6),
    style=_STYLES,
    frames=st.sets(st.integers(-50, 12_000), max_size=20),
    other=st.sets(st.tuples(st.integers(0, 12_000), st.integers(1, 6)), max_size=10),
)
def test_a_pattern_matches_exactly_what_printf_writes(
    base: str, padding: int, style: str, frames: set[int], other: set[tuple[int, int]]
) -> None:
    names = {base + f"%0{padding}d.png" % f for f in frames} | {base + f"%0{p}d.png" % f for f, p in other}
    token = style * padding if style in "#@" else style.format(n=padding)
    shape = parse_pattern(f"nowhere/{base}{token}.png", SOURCE_EXTENSIONS)
    candidates = sorted(frames | {f for f, _ in other})
    expected = tuple(f for f in candidates if base + f"%0{padding}d.png" % f in names)
    assert shape == FilePattern(base, padding, ".png")
    assert shape.frames(sorted(names)) == expected


@settings(deadline=None)  # a busy machine is no failure
@given(padding=st.integers(1, 6), frames=st.sets(st.integers(0, 12_000), min_size=1, max_size=30))
def test_sequences_offered_match_all_the_files_they_stand_for(padding: int, frames: set[int]) -> None:
    names = sorted(f"shot_%0{padding}d.png" % f for f in frames)
    found = sequences(names, SOURCE_EXTENSIONS)
    matched = [f for s in found for f in parse_pattern(f"nowhere/{s}", SOURCE_EXTENSIONS).frames(names)]
    assert sorted(matched) == sorted(frames)


def test_frames_choose_and_order(shot_dir: Path) -> None:
    shot = find_shot(f"{shot_dir}/shot_####.png", frames="1010,1007-1001x2,1001")
    assert shot.frames == (1001, 1003, 1005, 1007, 1010)
    assert shot.missing == ()
    assert shot.segments == ((1001, 1003, 1005, 1007), (1010,))
    assert shot.available == tuple(range(1001, 1011))


def test_a_single_frame_is_a_shot_of_one(touch: Touch) -> None:
    shot = find_shot(f"{touch('still_1001.png')}/still_####.png", frames="1001")
    assert shot.frames == (1001,)


@pytest.fixture
def gappy(touch: Touch) -> Path:
    return touch(*(f"shot_{f}.png" for f in range(1001, 1013) if f not in (1003, 1004, 1005, 1010)))


def test_gaps_are_listed_with_the_ways_out(gappy: Path) -> None:
    with pytest.raises(ShotError, match=r"4 frames are missing \(1003-1005, 1010\).*--missing hold.*split"):
        find_shot(f"{gappy}/shot_%04d.png")


def test_hold_repeats_the_frame_before(gappy: Path) -> None:
    shot = find_shot(f"{gappy}/shot_%04d.png", missing="hold")
    assert shot.frames == tuple(range(1001, 1013))
    assert shot.missing == (1003, 1004, 1005, 1010)
    assert [shot.source_frame(f) for f in (1002, 1003, 1005, 1006, 1010)] == [1002, 1002, 1002, 1006, 1009]
    assert shot.source_path(1004).name == "shot_1002.png"
    assert shot.segments == (shot.frames,)


def test_split_cuts_where_a_frame_is_missing(gappy: Path) -> None:
    shot = find_shot(f"{gappy}/shot_%04d.png", missing="split")
    assert shot.segments == ((1001, 1002), (1006, 1007, 1008, 1009), (1011, 1012))
    assert shot.frames == sum(shot.segments, ())
    assert shot.missing == (1003, 1004, 1005, 1010)


def test_asked_for_frames_that_do_not_exist_are_missing(shot_dir: Path) -> None:
    with pytest.raises(ShotError, match=r"2 frames are missing \(1011-1012\)"):
        find_shot(f"{shot_dir}/shot_%04d.png", frames="1009-1012")
    shot = find_shot(f"{shot_dir}/shot_%04d.png", frames="1009-1012", missing="hold")
    assert shot.source_frame(1012) == 1010
    with pytest.raises(ShotError, match=r"nothing to hold for frames 999-1000.*start --frames at 1001"):
        find_shot(f"{shot_dir}/shot_%04d.png", frames="999-1002", missing="hold")
    with pytest.raises(ShotError, match=r"none of the frames 1-5 exists, on disk are 1001-1010"):
        find_shot(f"{shot_dir}/shot_%04d.png", frames="1-5", missing="hold")


def test_hold_reaches_back_before_the_range(gappy: Path) -> None:
    shot = find_shot(f"{gappy}/shot_%04d.png", frames="1004-1007", missing="hold")
    assert shot.source_frame(1004) == 1002


def test_steps_are_not_gaps_but_a_shot_on_twos_is_told_how_to_say_so(touch: Touch) -> None:
    folder = touch(*(f"s.{f}.png" for f in range(1001, 1021, 2)))
    assert len(find_shot(f"{folder}/s.####.png", frames="1001-1019x2").frames) == 10
    with pytest.raises(ShotError, match=r"--frames 1001-1019x2"):
        find_shot(f"{folder}/s.####.png")


def test_a_gap_that_exists_under_another_extension_says_so(touch: Touch) -> None:
    folder = touch("s_1001.png", "s_1002.jpg", "s_1003.png")
    with pytest.raises(ShotError, match=r"1002; 1002 exist as s_####\.jpg"):
        find_shot(f"{folder}/s_%04d.png")


def test_timestamps_are_no_frame_range(touch: Touch) -> None:
    folder = touch("s_1700000000.png", "s_1800000000.png")
    with pytest.raises(ShotError, match="which is no frame count"):
        find_shot(f"{folder}/s_%d.png")


def test_unknown_missing_mode(shot_dir: Path) -> None:
    with pytest.raises(UsageError, match="error, hold, split"):
        find_shot(f"{shot_dir}/shot_%04d.png", missing="skip")


def test_several_shots_and_colliding_names(touch: Touch) -> None:
    folder = touch("a/x_1001.png", "a/y_1001.png", "b/X.1001.jpg")
    shots = find_shots([f"{folder}/a/x_%04d.png", f"{folder}/a/y_%04d.png"])
    assert [s.name for s in shots] == ["x", "y"]
    with pytest.raises(UsageError, match=r"would both write .*_\*\.exr.*\(-o\)"):
        find_shots([f"{folder}/a/x_%04d.png", f"{folder}/b/X.####.jpg"])
    with pytest.raises(UsageError, match="no shot given"):
        find_shots([])


@pytest.mark.parametrize(
    ("file", "pattern", "space", "written"),
    [
        ("shot_1001.png", "shot_####.png", "ACEScct", "shot_acescct.1001.exr"),
        ("shot.1001.png", "shot.####.png", "lin_rec709", "shot_lin_rec709.1001.exr"),
        ("shot-1001.tiff", "shot-####.tiff", "ACES - ACES2065-1", "shot_aces_-_aces2065-1.1001.exr"),
        ("sh010/1001.png", "sh010/%04d.png", "acescct", "sh010_acescct.1001.exr"),
        ("shot.1001.left.png", "shot.####.left.png", "logc4", "shot_left_logc4.1001.exr"),
        ("shot.001001.png", "shot.######.png", "logc4", "shot_logc4.001001.exr"),
    ],
)
def test_output_names(touch: Touch, file: str, pattern: str, space: str, written: str) -> None:
    shot = find_shot(f"{touch(file)}/{pattern}")
    assert output_name(shot, space, 1001) == written


def test_written_frames_are_found_again(touch: Touch) -> None:
    folder = touch("shot_acescct.1001.exr", "shot_acescct.1002.exr", ".shot_acescct.1003.exr.1.ab.tmp.exr")
    shot = find_shot(f"{folder}/shot_acescct.%04d.exr", extensions=EXR_EXTENSIONS)
    assert shot.frames == (1001, 1002)


@settings(deadline=None, max_examples=30)
@given(st.sets(st.integers(1, 40), min_size=1), st.sets(st.integers(1, 40), min_size=1))
def test_segments_hold_every_frame_once(on_disk: set[int], asked: set[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for f in on_disk:
            (Path(folder) / f"s.{f:04d}.png").touch()
        text = ",".join(map(str, sorted(asked)))
        if not on_disk & asked:
            with pytest.raises(ShotError, match="none of the frames"):
                find_shot(f"{folder}/s.####.png", frames=text, missing="split")
            return
        shot = find_shot(f"{folder}/s.####.png", frames=text, missing="split")
    assert sum(shot.segments, ()) == shot.frames == tuple(sorted(on_disk & asked))
    assert shot.missing == tuple(sorted(asked - on_disk))
    for segment in shot.segments:
        assert segment == tuple(range(segment[0], segment[-1] + 1))


def test_finding_shots_imports_nothing_heavy() -> None:
    code = (
        "import sys, seqhdr.media.shot; "
        "print([m for m in ('torch', 'numpy', 'OpenImageIO', 'cv2') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
