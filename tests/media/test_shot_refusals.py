"""What is not a shot is refused in one sentence that names the file and a way out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from seqhdr.errors import ShotError
from seqhdr.media.shot import find_shot, list_sequences


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    names = [f"shot_{f}.png" for f in range(1001, 1006)]
    names += ["grade.0001.jpg", "grade.0002.jpg", "still.png", "movie.mov", "plate.1001.exr", "tex.1001.png"]
    for name in names:
        (tmp_path / name).touch()
    return tmp_path


def refusal(pattern: str) -> str:
    with pytest.raises(ShotError) as caught:
        find_shot(pattern)
    message = str(caught.value)
    assert caught.value.exit_code == 3
    assert "\n" not in message
    assert message.endswith(".")
    return message


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("shot_*.png", "is a glob.*shot_####.png'"),
        ("shot_????.png", "is a glob.*shot_####.png'"),
        ("shot_100[1-5].png", "is a glob"),
        ("shot_{1001,1002}.png", "is a glob"),
        ("*_%04d.png", "is a glob"),
        ("shot_1001.png", "is one frame, not a shot: give .*shot_####.png', or that with --frames 1001"),
        ("still.png", "without a frame number: name it still_1001.png and give .*still_####.png'"),
        ("tex.<UDIM>.png", "UDIM tiles are parts of one picture"),
        ("tex.%(UDIM)d.png", "UDIM tiles are parts of one picture"),
        ("shot_%04d.exr", "EXR frames are floating point already; accepted are bmp dpx jpe"),
        ("shot_%04d.psd", r"\.psd is unknown"),
        ("shot_%04d", "has no extension after the frame number"),
        ("shot_%4d.png", "pads with blanks: write %04d"),
        ("shot_%099d.png", "no frame number has 99 digits"),
        ("shot_%04d_####.png", "more than one frame number .%04d and ####."),
        ("movie.mov", "is a movie.*ffmpeg -i movie.mov movie_%04d.png"),
        ("shots_%04d.png", "no file matches; .* holds '.*shot_####.png', .*check the name and the padding"),
        ("shot_%03d.png", None),
        ("shot_%05d.png", "no file matches; .* holds '.*shot_####.png'"),
        ("shot_%04d.PNG", "no file matches; .* holds '.*shot_####.png'"),
        ("shot_.png", "no place for a frame number and does not exist; .*shot_####.png'"),
        ("nowhere/shot_%04d.png", "there is no folder .*nowhere"),
        ("still.png/shot_%04d.png", "is not a folder"),
        ("", "is a folder, not a shot; it holds '.*shot_####.png', '.*grade.####.jpg', '.*tex.####.png'"),
    ],
)
def test_refusals(folder: Path, name: str, sentence: str | None) -> None:
    pattern = f"{folder}/{name}" if name else str(folder)
    if sentence is None:
        assert len(find_shot(pattern).frames) == 5  # four digits fit where three are the least
        return
    message = refusal(pattern)
    assert message.startswith(f"{pattern}: ")
    assert re.search(sentence, message), message


def test_an_empty_folder(tmp_path: Path) -> None:
    assert "no numbered bmp dpx jpe" in refusal(str(tmp_path))
    assert "check the path" in refusal(f"{tmp_path}/shot_%04d.png")


def test_what_a_refusal_offers_can_be_pasted(folder: Path) -> None:
    message = refusal(f"{folder}/shot_1003.png")
    offered = message.split("'")[1]
    assert find_shot(offered).frames == (1001, 1002, 1003, 1004, 1005)
    assert find_shot(offered, frames="1003").frames == (1003,)


def test_a_nested_glob_names_its_folder(folder: Path) -> None:
    assert f"'{folder}/shot_####.png'" in refusal(f"{folder}/shot_*.png")


def test_sequences_of_a_folder_longest_first(folder: Path) -> None:
    assert list_sequences(folder) == ["shot_####.png", "grade.####.jpg", "tex.####.png"]
    assert list_sequences(folder, [".exr"]) == ["plate.####.exr"]
    with pytest.raises(ShotError, match="there is no folder"):
        list_sequences(folder / "nowhere")


@pytest.mark.parametrize(
    ("names", "patterns"),
    [
        (["s9.png", "s10.png", "s11.png"], ["s#.png"]),
        (["s_0999.png", "s_1000.png"], ["s_####.png"]),
        (["s_9999.png", "s_10000.png"], ["s_####.png"]),
        (["s_001.png", "s_0001.png"], ["s_####.png", "s_###.png"]),
        (["s.-001.png", "s.0000.png"], ["s.####.png"]),
        (["s-1001.png", "s-1002.png"], ["s-####.png"]),
        (["0001.png"], ["####.png"]),
        ([".hidden_0001.png", "notes.txt", "s_0001.txt"], []),
    ],
)
def test_padding_of_offered_sequences(tmp_path: Path, names: list[str], patterns: list[str]) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert list_sequences(tmp_path) == patterns
