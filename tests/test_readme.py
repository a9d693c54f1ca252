"""What the README says is what the project does: its code runs, its options exist, its numbers are the card's."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from seqhdr.cli import app
from seqhdr.model.cards import read_card
from seqhdr.quality.strata import strata_rows

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_python_loop_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    frames = [np.full((48, 64, 3), 100 + n, np.uint8) for n in range(2)]
    exec(code, {"my_frames": frames})
    assert capsys.readouterr().out.count("torch.Size([1, 3, 48, 64])") == 2


def test_every_option_it_names_exists() -> None:
    helps = " ".join(
        CliRunner().invoke(app, [verb, "--help"], env={"COLUMNS": "200"}).output
        for verb in (
            *("run", "verify", "inspect", "report", "synth", "prepare", "train", "eval"),
            *("stack", "calibrate", "deflicker"),
        )
    )
    # The tools have options of their own; theirs stand after "python tools/", torchrun's after its name.
    text = re.sub(r"`(python tools/|torchrun )[^`]*`", "", README)
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - {"--check"}
    assert named
    assert named <= set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", helps))


TITLES = ("8-bit ACEScct in", "8-bit sRGB in", "compressed 8-bit sRGB in", "extracted 8-bit sRGB in")


@pytest.mark.parametrize("title", TITLES)
def test_its_numbers_are_those_of_the_card(title: str) -> None:
    space = title.removesuffix(" in").replace("8-bit ", "").lower()
    measured = read_card("s").measured[space]
    expected = {row.label: (row.model, row.identity, row.gain) for row in strata_rows(measured, {"": measured})}
    table = README[README.index(f"| {title} |") :].split("\n\n")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    assert len(rows) >= 5
    for label, model, identity, gain, _ in rows:
        assert (model, identity, gain) == expected[label]


def test_its_tables_of_codecs_and_flicker_are_the_card_s() -> None:
    tool = runpy.run_path(str(Path(__file__).parents[1] / "tools" / "publish_model.py"))
    measured = read_card("s").measured
    for table in (tool["codec_table"](measured["codecs"]), tool["flicker_table"](measured["flicker"])):
        assert table.count("\n") >= 9
        assert table + "\n\n" in README


def test_a_table_takes_the_place_of_the_one_with_its_head() -> None:
    tool = runpy.run_path(str(Path(__file__).parents[1] / "tools" / "publish_model.py"))
    text = "before\n\n| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n\nafter | a | b |\n"
    new = "| a | b |\n|---|---|\n| 5 | 6 |"
    assert tool["replace_table"](text, new) == text.replace("| 1 | 2 |\n| 3 | 4 |", "| 5 | 6 |")
    with pytest.raises(SystemExit, match="no table or several"):
        tool["replace_table"](text, "| c | d |\n|---|---|")
