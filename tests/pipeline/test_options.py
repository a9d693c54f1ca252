"""What can be refused before a file is touched is refused there, in one sentence with the way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seqhdr.errors import UnknownNameError, UsageError
from seqhdr.pipeline.options import AOVS, RunOptions, fixed_width


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"missing": "hodl"}, "unknown value of --missing 'hodl': did you mean hold?"),
        ({"flow": "rafts"}, "unknown value of --flow 'rafts': did you mean raft?"),
        ({"bit_depth": "16"}, "unknown value of --bit-depth"),
        ({"compression": "zipp"}, "did you mean zip"),
        ({"aov": ("clip", "deltas")}, "unknown value of --aov 'deltas': did you mean delta?"),
        ({"overwrite": True, "skip_existing": True}, "exclude each other"),
        ({"preroll": -1}, "--preroll is -1: give 0 or more"),
        ({"bins": "tight"}, "--bins 'tight' is neither auto, strict, soft, off, nor"),
        ({"bins": "0.4"}, "from 0.5 to 16 codes"),
        ({"bins": "17"}, "from 0.5 to 16 codes"),
        ({"bins": "nan"}, "from 0.5 to 16 codes"),
        ({"tile": "big"}, "--tile 'big' is neither auto, off, nor a number"),
        ({"tile": "-512"}, "--tile '-512'"),
        ({"fps": "fast"}, "'fast' is not a frame rate"),
        ({"timecode": "1:2"}, "'1:2' is not a timecode"),
        ({"timecode": "01:00:00:24", "fps": "24"}, "has no place at 24 frames per second"),
    ],
)
def test_refused_at_once(tmp_path: Path, wish: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        RunOptions(output=tmp_path / "out", **wish)
    assert message in str(refused.value)
    assert refused.value.exit_code == 2
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(UsageError, match=r"out: is a file, and the output must be a folder: give another -o"):
        RunOptions(output=tmp_path / "out")


def test_unknown_names_are_told_apart() -> None:
    with pytest.raises(UnknownNameError):
        RunOptions(output=Path("out"), compression="gzip")


@pytest.mark.parametrize(("text", "width"), [("0.5", 0.5), ("2", 2.0), ("16", 16.0), ("1.35", 1.35)])
def test_a_width_in_codes(text: str, width: float) -> None:
    assert fixed_width(text) == width
    assert RunOptions(output=Path("out"), bins=text).bins == text


def test_what_decides_the_bytes_and_what_does_not() -> None:
    base = RunOptions(output=Path("a")).decisive()
    same = RunOptions(output=Path("b"), frames="1-5", preroll=3, overwrite=True, device="cpu").decisive()
    assert base == same
    changes: list[dict[str, Any]] = [
        {"missing": "hold"},
        {"input_space": "rec709"},
        {"output_space": "acescg"},
        {"bins": "strict"},
        {"flow": "off"},
        {"cuts": "off"},
        {"tile": "512"},
        {"bit_depth": "float"},
        {"compression": "piz"},
        {"aov": AOVS},
        {"fps": "24"},
        {"timecode": "01:00:00:00"},
        {"deflicker": "gain"},
        {"denoise": "auto"},
        {"denoise": "auto", "grain": "regrow"},
    ]
    for change in changes:
        assert RunOptions(output=Path("a"), **change).decisive() != base, change
