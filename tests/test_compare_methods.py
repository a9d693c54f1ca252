"""Methods side by side: the foreign ones do what they say, identity gains nothing, numbers are those of eval."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from seqhdr.color.encodings import get_encoding
from seqhdr.model.source import describe_source

TOOLS = Path(__file__).parents[1] / "tools"


@pytest.fixture(scope="module")
def baselines() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TOOLS))
        yield importlib.import_module("baselines")


@pytest.fixture(scope="module")
def compare(baselines: ModuleType) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TOOLS))
        yield importlib.import_module("compare_methods")


def slope(height: int = 96, width: int = 256) -> Tensor:
    x = torch.arange(float(width))
    return (90 + 0.05 * x).expand(1, 3, height, -1) + torch.tensor([0.0, 5.0, 20.0]).view(1, 3, 1, 1)


def rms(error: Tensor) -> float:
    return float(error.square().mean().sqrt())


@pytest.mark.parametrize("encoding", ["srgb", "acescct"])
def test_the_middle_of_a_bin_in_light_has_as_much_light_above_as_below(baselines: ModuleType, encoding: str) -> None:
    space = get_encoding(encoding)
    codes = torch.arange(256.0, dtype=torch.float64).view(1, 1, 16, 16).expand(1, 3, -1, -1)
    value = baselines.bin_centre(codes, describe_source(space, 1.5, 255))
    inner = (codes > 1.5) & (codes < 253.5)
    low, middle, high = (space.decode(v / 255) for v in (codes - 1.5, value, codes + 1.5))
    np.testing.assert_allclose((high - middle)[inner], (middle - low)[inner], rtol=1e-6)
    assert torch.equal(value[~inner], codes[~inner])


def test_foreign_debanding_smooths_bands_and_leaves_edges(baselines: ModuleType) -> None:
    found = baselines.ffmpeg_filters()
    assert set(found) == {"ffmpeg deband", "ffmpeg gradfun"}
    source = describe_source(get_encoding("srgb"), 0.5, 255)
    codes = slope().round()
    codes[..., 200:] += 60
    for name, values in {**found, "f3kdb-like": baselines.f3kdb_like}.items():
        out = values(codes, source)
        assert out.shape == codes.shape
        assert float((out - codes).abs().max()) < 2, name
        steps = (out[0, 0, :, 20:180].diff(dim=-1).abs() > 0.99).float().mean()
        before = (codes[0, 0, :, 20:180].diff(dim=-1).abs() > 0.99).float().mean()
        # gradfun writes eight bits: it dithers.
        if name != "ffmpeg gradfun":
            assert float(steps) < 0.2 * float(before), name
            assert rms((out - slope())[..., 40:160]) < rms((codes - slope())[..., 40:160]), name
    channels = torch.stack([torch.full((8, 8), code) for code in (10.0, 100.0, 200.0)])[None]
    for name, values in found.items():
        np.testing.assert_allclose(values(channels, source), channels, atol=0.3, err_msg=name)


def test_what_leaves_its_bin_is_counted(baselines: ModuleType) -> None:
    codes = torch.full((1, 3, 4, 10), 100.0)
    codes[..., :2] = 255  # open above: nothing to leave
    shifts = torch.tensor([9.0, 0.0, 0.4, 0.6, -0.6, 0.0, 0.0, 0.0, 0.0, 0.0])
    method = baselines.Method("shifted", lambda codes, source: codes + shifts)
    prediction, _ = method.step(codes, None, describe_source(get_encoding("srgb"), 0.5, 255), None)
    assert (method.left, method.of) == (2 * 12, 8 * 12)
    torch.testing.assert_close(prediction.offset_lsb, shifts.expand_as(codes))
    assert not prediction.gain_stops.any()


def test_the_table_has_a_row_for_each_method(
    compare: ModuleType, seqhdr: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    made = seqhdr("synth", "procedural:3", "-o", tmp_path / "clips", "--clips", 1, "--frames", 3, "--size", "96x64")
    assert made.code == 0
    clips, numbers, text = (str(tmp_path / name) for name in ("clips", "m.json", "m.md"))
    names = ["identity", "bin centre", "ffmpeg gradfun", "luminance", "classic", "s", "s+ffmpeg", "s+gain"]
    names += ["s+flow", "s+prior"]
    words = [clips, "--methods", *names, "--json", numbers, "--markdown", text]
    monkeypatch.setattr("sys.argv", ["compare_methods.py", *words])
    compare.main()
    ((kind, table),) = json.loads(Path(numbers).read_text()).items()
    assert kind.endswith("1 clips, 3 frames")
    by_name = {row["method"]: row for row in table}
    assert list(by_name) == [*names[:3], "luminance (granados, 1 stops)", "classic", "s"] + [
        f"s, {name} deflicker" for name in ("ffmpeg", "gain", "flow", "prior")
    ]
    assert by_name["identity"]["whole"] == "+0.00"
    assert by_name["identity"]["left the bins"] == "0.00 %"
    assert float(by_name["ffmpeg gradfun"]["left the bins"].split()[0]) > 0
    assert float(by_name["s"]["whole"]) > 0
    assert by_name["s"]["left the bins"] == "0 %"
    # The clip does not flicker, so there is nothing to take out.
    assert abs(float(by_name["s, gain deflicker"]["whole"]) - float(by_name["s"]["whole"])) < 0.05
    assert len([line for line in Path(text).read_text().splitlines() if line.startswith("| ")]) == 1 + len(names)
    # Its numbers are those of the verb.
    evaluated = seqhdr("eval", clips, "--model", "classic", "--json", tmp_path / "eval.json")
    assert evaluated.code == 0, evaluated.err
    (part,) = json.loads((tmp_path / "eval.json").read_text())["models"][0]["inputs"]
    assert by_name["classic"]["whole"] == f"{part['total']['whole']['gain_db']:+.2f}"


def test_a_method_nobody_knows_is_refused(compare: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["compare_methods.py", "clips", "--methods", "magic"])
    with pytest.raises(SystemExit):
        compare.main()
    assert "unknown method 'magic': choose among identity, bin centre" in capsys.readouterr().err
