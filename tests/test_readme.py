"""What the README says is what the project does: its code runs, its options exist, its numbers are the card's."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from seqhdr.cli import app
from seqhdr.model.cards import read_card

README = (Path(__file__).parents[1] / "README.md").read_text()
STRATA = {"whole": "whole", "flat areas": "flat", "texture": "texture", "first frame": "first frame"}
STRATA |= {"fourth frame on": "late frames"}


def test_the_python_loop_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    frames = [np.full((48, 64, 3), 100 + n, np.uint8) for n in range(2)]
    exec(code, {"my_frames": frames})
    assert capsys.readouterr().out.count("torch.Size([1, 3, 48, 64])") == 2


def test_every_option_it_names_exists() -> None:
    helps = " ".join(
        CliRunner().invoke(app, [verb, "--help"], env={"COLUMNS": "200"}).output
        for verb in ("run", "verify", "inspect")
    )
    # The tools have options of their own; theirs stand after "python tools/".
    text = re.sub(r"`python tools/[^`]*`", "", README)
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - {"--check"}
    assert named
    assert named <= set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", helps))


@pytest.mark.parametrize("space", ["acescct", "srgb"])
def test_its_numbers_are_those_of_the_card(space: str) -> None:
    measured = read_card("s").measured[space]
    title = {"acescct": "ACEScct", "srgb": "sRGB"}[space]
    table = README[README.index(f"| 8-bit {title} in |") :].split("\n\n")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    assert len(rows) >= 5
    for name, model, identity, gain, _ in rows:
        if name.startswith("clipped"):
            stops = measured["clipped"]
            assert (model, identity) == (f"{stops['rmse_stops']:.3f}", f"{stops['identity_rmse_stops']:.3f}")
            continue
        numbers = measured[STRATA[name]]
        assert model == f"{numbers['psnr_db']:.2f} dB"
        assert identity == f"{numbers['identity_psnr_db']:.2f}"
        assert float(gain) == pytest.approx(numbers["gain_db"], abs=0.011)
