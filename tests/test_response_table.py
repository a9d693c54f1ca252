"""The table of response curves: what is known is found, and taking it for sRGB is right for sRGB only."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest


def test_a_row_has_the_errors_of_every_method(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "tools"))
    tool = importlib.import_module("response_table")
    row = tool.errors("gamma 1.8")
    assert tuple(row) == tool.METHODS
    assert row["sRGB taken"] > 0.05
    assert max(row["debevec"], row["robertson"]) < 0.02
    assert max(row["edges"], row["noise"]) < 0.05
